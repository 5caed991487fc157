"""Deleting: a key, which in a bucket with versioning leaves a delete marker, or one version."""

from __future__ import annotations

from collections.abc import Sequence

from objstore.cause import present_cause
from objstore.engine import locks
from objstore.engine.conditions import check_delete, check_delete_of_nothing
from objstore.engine.core import Core, decided_bucket, encode_key
from objstore.engine.operation import Decision
from objstore.engine.space import FOR_DELETES
from objstore.engine.telling import REMOVED
from objstore.engine.versions import (
    ENABLED,
    VERSIONING,
    find_version,
    has_versions,
    stored_id,
    version_id,
)
from objstore.errors import NoSuchVersionError, StoreError
from objstore.index import keys, schema
from objstore.index.base import ReadTransaction
from objstore.index.schema import (
    FLAG_DELETE_MARKER,
    FLAG_NULL,
    BucketBody,
    GoneBody,
    VersionBody,
)
from objstore.log import format as log
from objstore.log.format import Record
from objstore.model import DeleteResult, DeleteTarget

_GONE = schema.encode(GoneBody())
_MARKER_BOUND_BYTES = 160


class DeleteObjects:
    """Delete keys, or versions of them; what is not there is no error.

    `bypass_governance`: retention in governance mode does not count.
    `is_alone`: with one target, what is wrong with it is raised.  With several, each has
    an outcome of its own.
    """

    leaves_segments = FOR_DELETES
    event = REMOVED

    def __init__(
        self,
        core: Core,
        bucket: str,
        targets: Sequence[DeleteTarget],
        *,
        owner: str = "",
        bypass_governance: bool = False,
        is_alone: bool = False,
    ) -> None:
        self._core, self._bucket = core, bucket
        self._targets = targets
        self.cause = present_cause()
        self.most_events = len(targets)
        self.gone_ids: dict[int, str] = {}
        self._keys = [encode_key(target.key) for target in targets]
        self._owner = owner
        self._bypass = bypass_governance
        self._is_alone = is_alone
        self._outcomes: list[Record | StoreError | None] = []
        self._made_ms = 0
        self.size_bound_bytes = sum(
            log.RECORD_HEAD_BYTES + _MARKER_BOUND_BYTES + 4 * len(owner) + len(key)
            for key in self._keys
        )

    def decide(self, decision: Decision) -> Sequence[Record]:
        bucket = decided_bucket(self._core, decision, self._bucket)
        self._made_ms = decision.now_ms
        outcomes = self._outcomes = []
        seen: set[tuple[bytes, str]] = set()
        for target, key in zip(self._targets, self._keys, strict=True):
            name = (key, target.version_id)
            try:
                if name in seen:
                    outcomes.append(self._decide_again(bucket, target, key))
                else:
                    outcomes.append(self._decide_one(decision.txn, bucket, target, key))
                    seen.add(name)
            except StoreError as error:
                if self._is_alone:
                    raise
                outcomes.append(error)
        return [outcome for outcome in outcomes if isinstance(outcome, Record)]

    def _decide_again(self, bucket: BucketBody, target: DeleteTarget, key: bytes) -> Record | None:
        """What is named twice is deleted once: the second finds nothing, as in S3.

        Unless it makes a delete marker, as each delete by key does where there are versions.
        """
        is_hidden = not target.version_id and has_versions(bucket)
        check_delete_of_nothing(target.conditions, target.key, is_hidden=is_hidden)
        if target.conditions or not is_hidden:
            return None
        return delete_marker(bucket, key, self._owner, self._made_ms)

    def _decide_one(
        self, txn: ReadTransaction, bucket: BucketBody, target: DeleteTarget, key: bytes
    ) -> Record | None:
        if target.version_id:
            return self._remove_version(txn, bucket, target, key)
        row = txn.get(keys.current(bucket.bucket_id, key))
        if target.conditions:
            if row is None or row[schema.FLAGS_AT] & FLAG_DELETE_MARKER:
                is_hidden = row is not None
                check_delete_of_nothing(target.conditions, target.key, is_hidden=is_hidden)
                return None
            check_delete(target.conditions, row)
        if has_versions(bucket):
            return delete_marker(bucket, key, self._owner, self._made_ms)
        if row is None:
            return None
        seq = schema.unpack_head(row).version_seq
        return Record(log.VERSION_GONE, bucket.bucket_id, key, _GONE, seq, FLAG_NULL)

    def _remove_version(
        self, txn: ReadTransaction, bucket: BucketBody, target: DeleteTarget, key: bytes
    ) -> Record | None:
        try:
            _row_key, row = find_version(txn, bucket.bucket_id, key, target.version_id)
        except NoSuchVersionError:
            if target.conditions.if_match:
                raise
            return None
        head = schema.unpack_head(row)
        if target.conditions:
            check_delete(target.conditions, row)
        if locks.has_lock(bucket):
            locks.check_removable(row, self._made_ms, bypass=self._bypass)
        self.gone_ids[head.version_seq] = target.version_id
        flags = head.flags & (FLAG_NULL | FLAG_DELETE_MARKER)
        return Record(log.VERSION_GONE, bucket.bucket_id, key, _GONE, head.version_seq, flags)

    def results(self) -> list[DeleteResult]:
        """What became of each target; after the commit."""
        return [
            self._result(target, outcome)
            for target, outcome in zip(self._targets, self._outcomes, strict=True)
        ]

    def _result(self, target: DeleteTarget, outcome: Record | StoreError | None) -> DeleteResult:
        if isinstance(outcome, StoreError):
            return DeleteResult(target.key, False, target.version_id or None, False, outcome)
        if outcome is None:
            return DeleteResult(target.key, False, target.version_id or None)
        is_marker = bool(outcome.flags & FLAG_DELETE_MARKER)
        if outcome.kind == log.VERSION:
            made = version_id(outcome.flags, outcome.version_seq, self._made_ms)
            return DeleteResult(target.key, True, made, True)
        return DeleteResult(target.key, True, target.version_id or None, is_marker)


def delete_marker(bucket: BucketBody, key: bytes, owner: str, now_ms: int) -> Record:
    """A delete marker: a version of its own, or while versioning is suspended the null one."""
    flags = FLAG_DELETE_MARKER
    if bucket.settings[VERSIONING] != ENABLED:
        flags |= FLAG_NULL
    body = VersionBody(0, now_ms, b"", 0, "", owner, [], {}, {}, {}, stored_id(flags))
    return Record(log.VERSION, bucket.bucket_id, key, schema.encode(body), 0, flags)


def delete_many(
    core: Core,
    bucket: str,
    targets: Sequence[DeleteTarget],
    *,
    owner: str,
    bypass_governance: bool,
    is_alone: bool,
) -> list[DeleteResult]:
    """One commit for all; a result for each target, in order."""
    if not targets:
        with core.index.read() as txn:
            core.bucket(txn, bucket)
        return []
    operation = DeleteObjects(
        core,
        bucket,
        targets,
        owner=owner,
        bypass_governance=bypass_governance,
        is_alone=is_alone,
    )
    core.commit(operation)
    return operation.results()
