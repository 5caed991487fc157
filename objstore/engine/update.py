"""Changing what is said of a version: its tags, its lock, never its bytes.

The version's record is written again with another body.  It stays the same version: its
number, its id, its time and its parts are kept.  The bytes of a small object are in the
record, and are written again with it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import msgspec

from objstore.cause import present_cause
from objstore.engine import locks, rows
from objstore.engine.core import Core, encode_key
from objstore.engine.get import find_row
from objstore.engine.locks import protects
from objstore.engine.operation import Decision
from objstore.engine.payload import VersionChangedError, read_payload
from objstore.engine.put import attributes_bound_bytes, info_of
from objstore.engine.space import FOR_WRITES
from objstore.engine.telling import RETENTION_PUT, TAGGING_DELETED, TAGGING_PUT
from objstore.engine.versions import has_versions
from objstore.errors import (
    InvalidArgumentError,
    NoObjectLockError,
    ObjectLockedError,
)
from objstore.index import schema
from objstore.index.schema import BucketBody, LockRow, VersionBody, unpack_head
from objstore.log import format as log
from objstore.log.format import Record
from objstore.model import ObjectAttributes, ObjectInfo

_SLACK_BYTES = 256

Change: TypeAlias = Callable[[BucketBody, VersionBody, int], VersionBody]
"""Makes the new body of a bucket, the old body and the time in ms, or raises a `StoreError`."""


class UpdateVersion:
    """Write a version's record again, with the body that `change` makes.

    `adds_bytes`: by how much the body may grow.  `event`: what it is told as.
    """

    leaves_segments = FOR_WRITES

    def __init__(
        self,
        core: Core,
        name: tuple[str, str, str],
        change: Change,
        adds_bytes: int,
        event: str,
    ) -> None:
        self.event = event
        self.cause = present_cause()
        self._core, self._name, self._change = core, name, change
        self._key = encode_key(name[1])
        with core.index.read() as txn:
            self._row = find_row(core, txn, *name)
        head = unpack_head(self._row)
        self._payload = read_payload(core, name, self._row)
        self.has_versions = False
        self.size_bound_bytes = head.charge_bytes + adds_bytes + _SLACK_BYTES

    def decide(self, decision: Decision) -> Sequence[Record]:
        bucket = self._core.bucket(decision.txn, self._name[0])
        row = find_row(self._core, decision.txn, *self._name)
        if row != self._row:
            raise VersionChangedError
        head = unpack_head(row)
        self.has_versions = has_versions(bucket)
        body = self._change(bucket, schema.decode_version(schema.row_body(row)), decision.now_ms)
        return [
            Record(
                log.VERSION,
                bucket.bucket_id,
                self._key,
                schema.encode(body),
                head.version_seq,
                head.flags,
                self._payload,
                head.payload_xxh3,
            )
        ]


def update(
    core: Core,
    bucket: str,
    key: str,
    version_id: str,
    change: Change,
    adds_bytes: int,
    event: str = "",
) -> ObjectInfo:
    """Change the current object, or the version named; what is known of it then."""
    while True:
        try:
            operation = UpdateVersion(core, (bucket, key, version_id), change, adds_bytes, event)
            (record,) = core.commit(operation)
        except VersionChangedError:
            continue
        return info_of(bucket, record, has_versions=operation.has_versions)


def set_tags(
    core: Core, bucket: str, key: str, version_id: str, tags: dict[str, str]
) -> ObjectInfo:
    """See `ObjectStore.set_tags`."""

    def change(_bucket: BucketBody, body: VersionBody, _now_ms: int) -> VersionBody:
        return msgspec.structs.replace(body, tags=tags)

    adds_bytes = attributes_bound_bytes(ObjectAttributes(tags=tags))
    event = TAGGING_PUT if tags else TAGGING_DELETED
    return update(core, bucket, key, version_id, change, adds_bytes, event)


def set_legal_hold(core: Core, bucket: str, key: str, version_id: str, is_held: bool) -> ObjectInfo:
    """See `ObjectStore.set_legal_hold`."""

    def change(bucket: BucketBody, body: VersionBody, _now_ms: int) -> VersionBody:
        _check_has_lock(bucket)
        old = body.lock or LockRow()
        new = rows.lock_of(LockRow(old.mode, old.retain_until_ms, is_held))
        return msgspec.structs.replace(body, lock=rows.lock_row(new))

    return update(core, bucket, key, version_id, change, _SLACK_BYTES)


def set_retention(
    core: Core,
    bucket: str,
    key: str,
    version_id: str,
    mode: str,
    retain_until_ms: int,
    bypass_governance: bool,
) -> ObjectInfo:
    """See `ObjectStore.set_retention`."""
    if bool(mode) != bool(retain_until_ms):
        raise InvalidArgumentError("a retention has a mode and a date", "Mode", mode)

    def change(bucket: BucketBody, body: VersionBody, now_ms: int) -> VersionBody:
        _check_has_lock(bucket)
        old = body.lock or LockRow()
        new = LockRow(mode, retain_until_ms, old.legal_hold)
        if mode:
            locks.check_retention(mode, retain_until_ms, now_ms)
        if _loosens(old, new):
            now = LockRow(old.mode, old.retain_until_ms)  # a legal hold is another matter
            if protects(now, now_ms, bypass=bypass_governance):
                raise ObjectLockedError("Access Denied because object protected by object lock.")
        return msgspec.structs.replace(body, lock=rows.lock_row(rows.lock_of(new)))

    return update(core, bucket, key, version_id, change, _SLACK_BYTES, RETENTION_PUT)


def _loosens(old: LockRow, new: LockRow) -> bool:
    """Whether `new` is shorter than `old`, or of another mode.

    From GOVERNANCE to COMPLIANCE as well: whoever may lift the one cannot lift the other any
    more, and is asked to say that they mean it.
    """
    return new.mode != old.mode or new.retain_until_ms < old.retain_until_ms


def _check_has_lock(bucket: BucketBody) -> None:
    if not locks.has_lock(bucket):
        raise NoObjectLockError
