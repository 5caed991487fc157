"""Renaming: the object is there under its new key, and gone under the old one, in one commit.

A batch of the log counts as a whole or not at all, after a kill and after a power loss.  So
nobody sees both keys, or neither.  The new version names the extents of the old one; only
the bytes of a small object, which lie in its record, are written again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from objstore.cause import present_cause
from objstore.engine import rows
from objstore.engine.append_base import current_row
from objstore.engine.apply import manifest_body
from objstore.engine.conditions import check_read, check_target
from objstore.engine.core import Core, decided_bucket, encode_key
from objstore.engine.delete import delete_marker
from objstore.engine.get import find_row
from objstore.engine.locks import new_lock
from objstore.engine.operation import Decision
from objstore.engine.payload import VersionChangedError, read_payload
from objstore.engine.put import info_of
from objstore.engine.space import FOR_WRITES
from objstore.engine.telling import CREATED_COPY
from objstore.engine.versions import has_versions, null_flag, stored_id
from objstore.errors import (
    NotModifiedError,
    PreconditionFailedError,
    RenameToItselfError,
    TokenReusedError,
)
from objstore.index import keys, schema
from objstore.index.base import ReadTransaction
from objstore.index.schema import (
    FLAG_EXTENTS,
    FLAG_MANIFEST,
    FLAG_NULL,
    BucketBody,
    GoneBody,
    Head,
    VersionBody,
    unpack_head,
)
from objstore.log import format as log
from objstore.log.format import Record
from objstore.model import NO_LOCK, Conditions, ObjectInfo

_GONE = schema.encode(GoneBody())
_SLACK_BYTES = 1024
_MARKER_BOUND_BYTES = 160
_HALF_TOKEN_BYTES = 8
_NO_UPLOAD = b"r"
"""Ends a token, which is kept where a version has its upload's id: no id is so long."""


@dataclass(frozen=True, slots=True)
class Renaming:
    """What is asked for.  `owner`: of the delete marker that the source may leave."""

    bucket: str
    source_key: str
    key: str
    source_conditions: Conditions
    conditions: Conditions
    owner: str
    client_token: str

    def token(self) -> bytes:
        """What a renamed version keeps of the request, for a repeat to be known by.

        Half of it stands for the client's token, half for all else that was asked for.
        """
        if not self.client_token:
            return b""
        said = (self.bucket, self.source_key, self.key, self.source_conditions, self.conditions)
        token = _half(self.client_token.encode()) + _half(msgspec.msgpack.encode(said))
        return token + _NO_UPLOAD


def _half(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=_HALF_TOKEN_BYTES).digest()


class RenameObject:
    """Make a version of the target from the source's current one, and that one go.

    `done`: the object, where an earlier request with the same token has renamed it.
    """

    leaves_segments = FOR_WRITES
    event = CREATED_COPY
    most_events = 2

    def __init__(self, core: Core, renaming: Renaming) -> None:
        self._core, self._renaming = core, renaming
        self.cause = present_cause()
        self._source_key, self._key = encode_key(renaming.source_key), encode_key(renaming.key)
        self._token = renaming.token()
        self.done: ObjectInfo | None = None
        self.has_versions = False
        self._row: bytes | None = None
        self._payload = bytearray()
        with core.index.read() as txn:
            bucket_id = core.bucket(txn, renaming.bucket).bucket_id
            self._row = current_row(txn, bucket_id, self._source_key)
            runs = 0 if self._row is None else self._run_bytes(txn, self._row)
        if self._row is not None:
            name = (renaming.bucket, renaming.source_key, "")
            self._payload = read_payload(core, name, self._row)
        self.size_bound_bytes = self._bound(runs)

    def _run_bytes(self, txn: ReadTransaction, row: bytes) -> int:
        """The most that records of the parts take under the new key."""
        prefix = keys.manifest_prefix(unpack_head(row).version_seq)
        overhead_bytes = log.RECORD_HEAD_BYTES + len(self._key)
        return sum(len(run) + overhead_bytes for _key, run in txn.scan(prefix, keys.after(prefix)))

    def _bound(self, run_bytes: int) -> int:
        row_bytes = 0 if self._row is None else len(self._row)
        names_bytes = len(self._key) + len(self._source_key) + 4 * len(self._renaming.owner)
        heads_bytes = 2 * log.RECORD_HEAD_BYTES + _MARKER_BOUND_BYTES + _SLACK_BYTES
        return row_bytes + len(self._payload) + run_bytes + names_bytes + heads_bytes

    def decide(self, decision: Decision) -> Sequence[Record]:
        renaming = self._renaming
        bucket = decided_bucket(self._core, decision, renaming.bucket)
        self.has_versions = has_versions(bucket)
        target = current_row(decision.txn, bucket.bucket_id, self._key)
        if self._is_repeat(target):
            assert target is not None
            self.done = self._info(renaming.key, target)
            return []
        row = find_row(self._core, decision.txn, renaming.bucket, renaming.source_key, "")
        _check_source(renaming.source_conditions, self._info(renaming.source_key, row))
        target_info = None if target is None else self._info(renaming.key, target)
        check_target(renaming.conditions, target_info)
        if row != self._row:
            raise VersionChangedError
        records = self._records(decision, bucket, row)
        if sum(record.stored_bytes for record in records) > self.size_bound_bytes:
            raise VersionChangedError  # its last part has grown, or compaction has split one
        return records

    def _is_repeat(self, target: bytes | None) -> bool:
        """Whether the target is what this very request has made already.

        Raises:
            TokenReusedError: another request with its token has made it.
        """
        if target is None or not self._token:
            return False
        token = schema.decode_version(schema.row_body(target)).upload_id
        if token[:_HALF_TOKEN_BYTES] != self._token[:_HALF_TOKEN_BYTES]:
            return False
        if token != self._token:
            raise TokenReusedError("the client token is that of a request with other parameters")
        return True

    def _info(self, key: str, row: bytes) -> ObjectInfo:
        body = schema.decode_version(schema.row_body(row))
        return rows.object_info(
            self._renaming.bucket, key, unpack_head(row), body, has_versions=self.has_versions
        )

    def _records(self, decision: Decision, bucket: BucketBody, row: bytes) -> list[Record]:
        head, body = unpack_head(row), schema.decode_version(schema.row_body(row))
        null = null_flag(bucket)
        version = Record(
            log.VERSION,
            bucket.bucket_id,
            self._key,
            schema.encode(self._new_body(bucket, null, body, decision.now_ms)),
            decision.next_lsn,
            null | head.flags & (FLAG_EXTENTS | FLAG_MANIFEST),
            self._payload,
            head.payload_xxh3,
        )
        runs = self._runs(decision.txn, bucket.bucket_id, head, version.version_seq)
        return [version, *runs, self._source_gone(bucket, head, decision.now_ms)]

    def _new_body(
        self, bucket: BucketBody, null: int, body: VersionBody, now_ms: int
    ) -> VersionBody:
        """As the source's.  A lock is its version's own, and that may stay behind."""
        return msgspec.structs.replace(
            body,
            version_id=stored_id(null),
            upload_id=self._token,
            lock=new_lock(bucket, NO_LOCK, now_ms),
        )

    def _runs(
        self, txn: ReadTransaction, bucket_id: int, head: Head, version_seq: int
    ) -> list[Record]:
        if not head.flags & FLAG_MANIFEST:
            return []
        prefix = keys.manifest_prefix(head.version_seq)
        return [
            Record(log.MANIFEST, bucket_id, self._key, manifest_body(run), version_seq)
            for _key, run in txn.scan(prefix, keys.after(prefix))
        ]

    def _source_gone(self, bucket: BucketBody, head: Head, now_ms: int) -> Record:
        """The end of the source: a delete marker where its bucket has versions."""
        if has_versions(bucket):
            return delete_marker(bucket, self._source_key, self._renaming.owner, now_ms)
        return Record(
            log.VERSION_GONE,
            bucket.bucket_id,
            self._source_key,
            _GONE,
            head.version_seq,
            head.flags & FLAG_NULL,
        )


def _check_source(conditions: Conditions, info: ObjectInfo) -> None:
    """As for a read, but that an object which is not to be read again has failed its condition."""
    try:
        check_read(conditions, info)
    except NotModifiedError as error:
        raise PreconditionFailedError(error.condition) from None


def rename(core: Core, renaming: Renaming) -> ObjectInfo:
    """See `ObjectStore.rename`."""
    if renaming.source_key == renaming.key:
        raise RenameToItselfError("The source and the target of a rename are the same object.")
    while True:
        try:
            operation = RenameObject(core, renaming)
            records = core.commit(operation)
        except VersionChangedError:
            continue
        if operation.done is not None:
            return operation.done
        return info_of(renaming.bucket, records[0], has_versions=operation.has_versions)
