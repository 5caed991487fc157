"""Object lock: what may not be removed, and until when.

A bucket that has object lock keeps versions for ever after: its setting is never taken
away, and its versioning never suspended.  So nothing is ever overwritten in it, and a
locked version could only go by a delete that names it, which is refused here.  Compaction
and recovery move records or drop what a tombstone has buried; they bury nothing.
"""

from __future__ import annotations

import msgspec

from objstore.engine import rows
from objstore.errors import InvalidArgumentError, NoObjectLockError, ObjectLockedError
from objstore.index import schema
from objstore.index.schema import BucketBody, LockRow
from objstore.model import DefaultRetention, ObjectLock

OBJECT_LOCK = "object-lock"
"""The bucket's setting: an encoded `DefaultRetention`."""

GOVERNANCE, COMPLIANCE = "GOVERNANCE", "COMPLIANCE"
MODES = (GOVERNANCE, COMPLIANCE)
MAX_RETAIN_UNTIL_MS = 253_402_300_799_999
"""The last millisecond of the year 9999: no date behind it can be written down."""

_DAY_MS = 24 * 3600 * 1000
_YEAR_DAYS = 365
_MAX_DAYS = 36_500
"""S3 takes at most a hundred years as a default."""

encode_default = msgspec.msgpack.Encoder().encode
_decode_default = msgspec.msgpack.Decoder(DefaultRetention).decode


def has_lock(bucket: BucketBody) -> bool:
    """Whether the bucket has object lock."""
    return OBJECT_LOCK in bucket.settings


def default_retention(bucket: BucketBody) -> DefaultRetention:
    """The retention of new versions; one without a mode where there is none."""
    setting = bucket.settings.get(OBJECT_LOCK)
    return _decode_default(setting) if setting else DefaultRetention()


def new_lock(
    bucket: BucketBody, wanted: ObjectLock, now_ms: int, *, may_have_ended: bool = False
) -> LockRow | None:
    """The lock of a new version: what its writer wants, else the bucket's default.

    `may_have_ended`: of an upload, whose retention was to come when it began.

    Raises:
        NoObjectLockError: a lock is wanted, and the bucket has no object lock.
        InvalidArgumentError: the retention would have ended already.
    """
    if OBJECT_LOCK not in bucket.settings:
        if wanted:
            raise NoObjectLockError
        return None
    if wanted.mode:
        if not may_have_ended:
            check_retention(wanted.mode, wanted.retain_until_ms, now_ms)
        return rows.lock_row(wanted)
    default = default_retention(bucket)
    if not default.mode:
        return rows.lock_row(wanted)
    days = default.days + default.years * _YEAR_DAYS
    return LockRow(default.mode, now_ms + days * _DAY_MS, wanted.legal_hold)


def check_retention(mode: str, retain_until_ms: int, now_ms: int) -> None:
    """Raises `InvalidArgumentError` unless mode and date are those of a retention to come."""
    if mode not in MODES:
        raise InvalidArgumentError("Unknown wormMode directive.", "x-amz-object-lock-mode", mode)
    if retain_until_ms > MAX_RETAIN_UNTIL_MS:
        raise InvalidArgumentError(
            "The retain until date is after the year 9999", "x-amz-object-lock-retain-until-date"
        )
    if retain_until_ms <= now_ms:
        raise InvalidArgumentError(
            "The retain until date must be in the future!", "x-amz-object-lock-retain-until-date"
        )


def protects(lock: LockRow | None, now_ms: int, *, bypass: bool) -> bool:
    """Whether a version with `lock` must stay; `bypass`: governance does not count."""
    if lock is None:
        return False
    if lock.legal_hold:
        return True
    if lock.retain_until_ms <= now_ms:
        return False
    return lock.mode == COMPLIANCE or (lock.mode == GOVERNANCE and not bypass)


def check_removable(row: bytes, now_ms: int, *, bypass: bool) -> None:
    """Raises `ObjectLockedError` if the version of `row` must stay."""
    lock = schema.decode_version(schema.row_body(row)).lock
    if protects(lock, now_ms, bypass=bypass):
        raise ObjectLockedError("Access Denied because object protected by object lock.")


def check_default(default: DefaultRetention) -> None:
    """Raises `InvalidArgumentError` unless it is a mode with days or years, or nothing."""
    if not default.mode and not default.days and not default.years:
        return
    if default.mode not in MODES:
        raise InvalidArgumentError("the mode is GOVERNANCE or COMPLIANCE", "Mode", default.mode)
    if bool(default.days) == bool(default.years):
        raise InvalidArgumentError("a default retention has either days or years", "Days")
    for argument, span, most in (
        ("Days", default.days, _MAX_DAYS),
        ("Years", default.years, _MAX_DAYS // _YEAR_DAYS),
    ):
        if span < 0:
            raise InvalidArgumentError(
                "Default retention period must be a positive integer value.", argument, str(span)
            )
        if span > most:
            raise InvalidArgumentError("Default retention period too large.", argument, str(span))
