"""Where the access log of a bucket goes, and what its objects are called."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from typing import Final

import msgspec

SETTING: Final = "logging"
EVENT_TIME: Final = "EventTime"
DELIVERY_TIME: Final = "DeliveryTime"
_NS_PER_S: Final = 1_000_000_000


class Logging(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A bucket's access log.

    `date_source`: of the partition, `EVENT_TIME` or `DELIVERY_TIME`; empty for the simple
        form of keys, ``PREFIX2026-11-27-06-30-00-UNIQUE``.
    """

    target: str
    prefix: str = ""
    date_source: str = ""


encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Logging).decode


@lru_cache(maxsize=1024)
def decode(setting: bytes) -> Logging:
    """What a bucket's setting says."""
    return _decode(setting)


def object_key(
    logging: Logging, bucket: str, region: str, account: str, day: str, stamp: str
) -> str:
    """The key of an object of log lines.

    Args:
        day: of the events, ``2026-11-27``.
        stamp: what `new_stamp` made when the object was delivered.
    """
    if not logging.date_source:
        return logging.prefix + stamp
    if logging.date_source == EVENT_TIME:
        # of the time of day, S3 says nothing where an object is named by its events
        stamp = f"{day}-00-00-00-{stamp.rpartition('-')[2]}"
    date = stamp[:10].replace("-", "/")
    return f"{logging.prefix}{account}/{region}/{bucket}/{date}/{stamp}"


def new_stamp(now_ns: int, unique: bytes) -> str:
    """The end of a key: the time in UTC, and 16 digits that nobody else has."""
    moment = datetime.fromtimestamp(now_ns // _NS_PER_S, UTC)
    return f"{moment:%Y-%m-%d-%H-%M-%S}-{unique.hex().upper()}"
