"""The two ways in which a signed request writes its time."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache

_ISO_BASIC = re.compile(rb"\d{8}T\d{6}Z")


# Clients on one clock send the same second over and over.
@lru_cache(maxsize=1024)
def parse_iso_basic(text: bytes) -> int | None:
    """Seconds since the epoch of ``yyyymmddThhmmssZ``; None if it is not such a time."""
    if not _ISO_BASIC.fullmatch(text):
        return None
    try:
        moment = datetime.strptime(text.decode("ascii"), "%Y%m%dT%H%M%SZ")
    except ValueError:
        return None
    return int(moment.replace(tzinfo=UTC).timestamp())


def parse_http_date(text: bytes) -> int | None:
    """Seconds since the epoch of an HTTP date (RFC 9110, 5.6.7); None if it is not one."""
    try:
        moment = parsedate_to_datetime(text.decode("ascii"))
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return int(moment.timestamp())


def iso_basic(time_s: int) -> bytes:
    """``yyyymmddThhmmssZ`` of seconds since the epoch."""
    return datetime.fromtimestamp(time_s, UTC).strftime("%Y%m%dT%H%M%SZ").encode("ascii")


def iso_extended(time_s: int) -> str:
    """``yyyy-mm-ddThh:mm:ssZ`` of seconds since the epoch, as in S3's error documents."""
    return datetime.fromtimestamp(time_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
