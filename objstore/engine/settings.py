"""Settings of a bucket: versioning, object lock, default encryption, tags and the rest.

Each is some bytes under a name in the bucket's record.  Changing one writes that record
again, in a commit like any other: whoever writes an object sees it, or does not, at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import msgspec

from objstore.cause import UNKNOWN, present_cause
from objstore.engine import encryption, locks
from objstore.engine.core import Core
from objstore.engine.notifications import NOTIFICATION, Notifications
from objstore.engine.notifications import decode as decode_notifications
from objstore.engine.operation import Decision
from objstore.engine.space import FOR_WRITES
from objstore.engine.telling import EVENT_BOUND_BYTES, TEST, event_record
from objstore.engine.versions import ENABLED, SUSPENDED, VERSIONING
from objstore.errors import (
    BucketStateError,
    InvalidArgumentError,
    NoSuchSettingError,
    SettingChangedError,
)
from objstore.index import schema
from objstore.index.schema import BucketBody, EventBody
from objstore.log import format as log
from objstore.log.format import Record
from objstore.model import DefaultRetention, Encryption

_BODY_BOUND_BYTES = 1024

Settings: TypeAlias = dict[str, bytes]
Change: TypeAlias = Callable[[Settings], None]
"""Changes a copy of the settings, or raises a `StoreError`."""


class ChangeSettings:
    """Change the settings of a bucket as `change` says."""

    leaves_segments = FOR_WRITES

    def __init__(self, core: Core, bucket: str, change: Change, adds_bytes: int) -> None:
        self._core, self._bucket, self._change = core, bucket, change
        with core.index.read() as txn:
            settings = core.bucket(txn, bucket).settings
        self.size_bound_bytes = _BODY_BOUND_BYTES + 2 * held_bytes(settings) + adds_bytes

    def decide(self, decision: Decision) -> Sequence[Record]:
        old = self._core.bucket(decision.txn, self._bucket)
        settings = dict(old.settings)
        self._change(settings)
        if settings == old.settings:
            return []
        body = schema.encode(msgspec.structs.replace(old, settings=settings))
        return [Record(log.BUCKET, old.bucket_id, self._bucket.encode(), body)]


class ChangeNotifications(ChangeSettings):
    """Change whom a bucket tells; each of them is sent a test event, as S3 does it."""

    def __init__(
        self, core: Core, bucket: str, change: Change, adds_bytes: int, told: Notifications
    ) -> None:
        self._told = told.destinations()
        super().__init__(core, bucket, change, adds_bytes)
        self.size_bound_bytes += len(self._told) * EVENT_BOUND_BYTES
        ask = present_cause()
        self._cause = UNKNOWN if ask is None else ask()

    def decide(self, decision: Decision) -> Sequence[Record]:
        records = list(super().decide(decision))
        bucket = self._core.bucket(decision.txn, self._bucket)
        body = EventBody(
            TEST,
            decision.now_ms,
            self._bucket,
            region=bucket.region,
            owner=bucket.owner,
            request_id=self._cause.request_id,
        )
        tests = [event_record(bucket.bucket_id, name, body) for name in self._told]
        return [*records, *tests]


def held_bytes(settings: Settings) -> int:
    """At most what settings take in a bucket's record."""
    return sum(len(name) + len(value) + 10 for name, value in settings.items())


def check_name(name: str) -> None:
    """Raises `InvalidArgumentError` where a setting is not to be made by its name."""
    if name in (VERSIONING, locks.OBJECT_LOCK, encryption.SETTING):
        raise InvalidArgumentError(f"{name!r} has a method of its own", "name", name)


def read(core: Core, bucket: str) -> BucketBody:
    with core.index.read() as txn:
        return core.bucket(txn, bucket)


def get(core: Core, bucket: str, name: str) -> bytes:
    """See `ObjectStore.bucket_setting`."""
    value = read(core, bucket).settings.get(name)
    if value is None:
        raise NoSuchSettingError(name)
    return value


def change(
    core: Core, bucket: str, name: str, value: bytes | None, given: Mapping[str, bytes | None]
) -> None:
    """See `ObjectStore.set_bucket_setting`."""
    check_name(name)

    def apply(settings: Settings) -> None:
        for other, expected in given.items():
            if settings.get(other) != expected:
                raise SettingChangedError(other)
        _set(settings, name, value)

    adds_bytes = len(name) + len(value or b"") + 10
    if name == NOTIFICATION and value is not None:
        told = decode_notifications(value)
        core.commit(ChangeNotifications(core, bucket, apply, adds_bytes, told))
    else:
        core.commit(ChangeSettings(core, bucket, apply, adds_bytes))


def versioning(core: Core, bucket: str) -> str:
    """See `ObjectStore.versioning`."""
    return read(core, bucket).settings.get(VERSIONING, b"").decode()


def set_versioning(core: Core, bucket: str, status: str) -> None:
    """See `ObjectStore.set_versioning`."""
    value = status.encode()
    if value not in (ENABLED, SUSPENDED):
        raise InvalidArgumentError("versioning is Enabled or Suspended", "Status", status)

    def apply(settings: Settings) -> None:
        if value == SUSPENDED and locks.OBJECT_LOCK in settings:
            raise BucketStateError(
                "An Object Lock configuration is present on this bucket, so the versioning state "
                "cannot be changed."
            )
        settings[VERSIONING] = value

    core.commit(ChangeSettings(core, bucket, apply, 64))


def default_encryption(core: Core, bucket: str) -> Encryption:
    """See `ObjectStore.bucket_encryption`."""
    return encryption.default_of(read(core, bucket))


def set_default_encryption(
    core: Core, bucket: str, default: Encryption | None, also: Mapping[str, bytes | None]
) -> None:
    """See `ObjectStore.set_bucket_encryption`."""
    changes = dict(also)
    for name in changes:
        check_name(name)
    if default is not None:
        changes[encryption.SETTING] = encryption.encode_default(default)

    def apply(settings: Settings) -> None:
        for name, value in changes.items():
            _set(settings, name, value)

    adds_bytes = sum(len(name) + len(value or b"") + 10 for name, value in changes.items())
    core.commit(ChangeSettings(core, bucket, apply, adds_bytes))


def _set(settings: Settings, name: str, value: bytes | None) -> None:
    if value is None:
        settings.pop(name, None)
    else:
        settings[name] = value


def object_lock(core: Core, bucket: str) -> DefaultRetention:
    """See `ObjectStore.object_lock`."""
    body = read(core, bucket)
    if not locks.has_lock(body):
        raise NoSuchSettingError(locks.OBJECT_LOCK)
    return locks.default_retention(body)


def set_object_lock(core: Core, bucket: str, default: DefaultRetention) -> None:
    """See `ObjectStore.set_object_lock`."""
    locks.check_default(default)
    encoded = locks.encode_default(default)

    def apply(settings: Settings) -> None:
        if settings.get(VERSIONING) != ENABLED:
            raise BucketStateError(
                "Versioning must be 'Enabled' on the bucket to apply a Object Lock configuration"
            )
        settings[locks.OBJECT_LOCK] = encoded

    core.commit(ChangeSettings(core, bucket, apply, len(encoded) + 64))
