"""What requests and answers say of a version's object lock."""

from __future__ import annotations

from objstore.model import NO_LOCK, ObjectInfo, ObjectLock
from objstore.s3.errors import S3Error, invalid_argument
from objstore.s3.formats import iso_date_ms, parse_iso_date_ms
from objstore.s3.http import Headers, Request

MODE = b"x-amz-object-lock-mode"
RETAIN_UNTIL = b"x-amz-object-lock-retain-until-date"
LEGAL_HOLD = b"x-amz-object-lock-legal-hold"
HEADERS = frozenset((MODE, RETAIN_UNTIL, LEGAL_HOLD))


def wanted_lock(request: Request) -> ObjectLock:
    """The lock that a writer asks for.

    Raises:
        S3Error: InvalidArgument where mode and date do not come together, or are none.
    """
    if request.header_map.keys().isdisjoint(HEADERS):
        return NO_LOCK
    mode, until = request.header(MODE), request.header(RETAIN_UNTIL)
    hold = request.header(LEGAL_HOLD)
    if (mode is None) != (until is None):
        raise invalid_argument(
            "x-amz-object-lock-retain-until-date and x-amz-object-lock-mode must both be supplied",
            "x-amz-object-lock-mode",
            mode or "",
        )
    if hold not in (None, "ON", "OFF"):
        raise invalid_argument(
            "Legal Hold must be either of 'ON' or 'OFF'", "x-amz-object-lock-legal-hold", hold
        )
    return ObjectLock(mode or "", _date_ms(until) if until else 0, hold == "ON")


def _date_ms(text: str) -> int:
    found = parse_iso_date_ms(text)
    if found is None:
        raise S3Error(
            "InvalidArgument",
            "The retain until date must be provided in ISO 8601 format",
            extra={"ArgumentName": "x-amz-object-lock-retain-until-date", "ArgumentValue": text},
        )
    return found


def lock_headers(info: ObjectInfo) -> Headers:
    """The headers that tell of an object's lock."""
    lock = info.attributes.lock
    if lock is NO_LOCK or not lock:
        return []
    headers: Headers = []
    if lock.mode:
        until = iso_date_ms(lock.retain_until_ms)
        headers += [(MODE, lock.mode.encode()), (RETAIN_UNTIL, until.encode())]
    if lock.legal_hold:
        headers.append((LEGAL_HOLD, b"ON"))
    return headers
