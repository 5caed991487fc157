"""What answers say of a version's object lock."""

from __future__ import annotations

from objstore.model import ObjectInfo
from objstore.s3.formats import iso_date_ms
from objstore.s3.http import Headers


def lock_headers(info: ObjectInfo) -> Headers:
    """The headers that tell of an object's lock."""
    lock = info.attributes.lock
    headers: Headers = []
    if lock.mode:
        until = iso_date_ms(lock.retain_until_ms)
        headers.append((b"x-amz-object-lock-mode", lock.mode.encode("ascii")))
        headers.append((b"x-amz-object-lock-retain-until-date", until.encode("ascii")))
    if lock.legal_hold:
        headers.append((b"x-amz-object-lock-legal-hold", b"ON"))
    return headers
