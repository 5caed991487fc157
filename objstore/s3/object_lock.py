"""Object lock in requests and answers: retention, legal hold, a bucket's default.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-lock.html
"""

from __future__ import annotations

from typing import Final

from objstore.errors import NoSuchSettingError
from objstore.model import NO_LOCK, ObjectInfo, ObjectLock
from objstore.s3.digests import BodyDigests
from objstore.s3.errors import NEEDS_DIGEST, invalid_argument, invalid_request
from objstore.s3.formats import iso_date_ms, parse_iso_date_ms
from objstore.s3.http import Context, Headers, Request

MODE: Final = b"x-amz-object-lock-mode"
RETAIN_UNTIL: Final = b"x-amz-object-lock-retain-until-date"
LEGAL_HOLD: Final = b"x-amz-object-lock-legal-hold"
HEADERS = frozenset((MODE, RETAIN_UNTIL, LEGAL_HOLD))
BYPASS: Final = b"x-amz-bypass-governance-retention"

MODES = ("GOVERNANCE", "COMPLIANCE")
_HOLDS = {"ON": True, "OFF": False}


def wanted_lock(request: Request) -> ObjectLock:
    """The lock that a writer asks for; NO_LOCK leaves it to the bucket.

    Raises:
        S3Error: InvalidArgument, where the headers are malformed or incomplete.
    """
    if request.header_map.keys().isdisjoint(HEADERS):
        return NO_LOCK
    mode, until = request.header(MODE), request.header(RETAIN_UNTIL)
    if (mode is None) != (until is None):
        missing = MODE if mode is None else RETAIN_UNTIL
        raise invalid_argument(
            "x-amz-object-lock-retain-until-date and x-amz-object-lock-mode must both be supplied",
            missing.decode("ascii"),
        )
    hold = request.header(LEGAL_HOLD)
    if hold is not None and hold not in _HOLDS:
        raise invalid_argument(
            "Legal Hold must be either of 'ON' or 'OFF'", LEGAL_HOLD.decode("ascii"), hold
        )
    is_held = None if hold is None else _HOLDS[hold]
    if mode is None or until is None:
        return ObjectLock(legal_hold=is_held)
    if mode not in MODES:
        raise invalid_argument("Unknown wormMode directive.", MODE.decode("ascii"), mode)
    until_ms = parse_iso_date_ms(until)
    if until_ms is None:
        raise invalid_argument(
            "The retain until date must be provided in ISO 8601 format",
            RETAIN_UNTIL.decode("ascii"),
            until,
        )
    return ObjectLock(mode, until_ms, is_held)


def lock_headers(info: ObjectInfo) -> Headers:
    """The headers that tell of an object's lock."""
    lock = info.attributes.lock
    headers: Headers = []
    if lock.mode:
        until = iso_date_ms(lock.retain_until_ms)
        headers.append((MODE, lock.mode.encode("ascii")))
        headers.append((RETAIN_UNTIL, until.encode("ascii")))
    if lock.legal_hold is not None:
        headers.append((LEGAL_HOLD, b"ON" if lock.legal_hold else b"OFF"))
    return headers


def check_has_digest(ctx: Context, request: Request, digests: BodyDigests) -> None:
    """What is to be locked has to come with a digest: nobody can put it right afterwards.

    Raises:
        S3Error: InvalidRequest, where a lock is asked for, or the bucket's default gives one.
    """
    if digests.is_sent:
        return
    if not request.header_map.keys().isdisjoint(HEADERS) or _locks_by_default(ctx, request.bucket):
        raise invalid_request(NEEDS_DIGEST)


def _locks_by_default(ctx: Context, bucket: str) -> bool:
    try:
        return bool(ctx.store.object_lock(bucket).mode)
    except NoSuchSettingError:
        return False
