"""Writing objects: small ones in the log, larger ones streamed ahead of their record."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import BinaryIO, NamedTuple, Self

from xxhash import xxh3_64_intdigest

from blockdev import Buffer
from objstore import hashing
from objstore.config import MAX_PUT_BYTES
from objstore.engine import encryption, rows
from objstore.engine.conditions import check_write
from objstore.engine.core import Core, decided_bucket, encode_key
from objstore.engine.encryption import SEAL_BOUND_BYTES
from objstore.engine.extent_writer import ExtentWriter
from objstore.engine.frames import stored_size
from objstore.engine.hash_queue import HashQueue, Use
from objstore.engine.locks import new_lock
from objstore.engine.operation import Decision, Operation
from objstore.engine.space import FOR_WRITES
from objstore.engine.versions import has_versions, null_flag, stored_id, version_id
from objstore.errors import EntityTooLargeError, IncompleteBodyError, InvalidArgumentError
from objstore.index import keys, schema
from objstore.index.base import ReadTransaction
from objstore.index.schema import (
    FLAG_DELETE_MARKER,
    FLAG_EXTENTS,
    BucketBody,
    Extent,
    Head,
    SealRow,
    VersionBody,
)
from objstore.log import format as log
from objstore.log.format import Record
from objstore.model import (
    Checksum,
    Conditions,
    Encryption,
    ObjectAttributes,
    ObjectInfo,
)

_BODY_BOUND_BYTES = 512
_EXTENT_BOUND_BYTES = 32


def attributes_bound_bytes(attributes: ObjectAttributes) -> int:
    """At most what attributes take in a record's body: text, and 5 bytes a string."""
    bound_bytes = len(attributes.owner) * 4 + len(attributes.storage_class)
    bound_bytes += len(attributes.encryption.context) * 4
    if not (attributes.headers or attributes.metadata or attributes.tags):
        return bound_bytes
    for texts in (attributes.headers, attributes.metadata, attributes.tags):
        for name, value in texts.items():
            bound_bytes += 4 * (len(name) + len(value)) + 10
    return bound_bytes


def check_current(txn: ReadTransaction, bucket_id: int, key: bytes, conditions: Conditions) -> None:
    """Check the conditions of a write against the present object; a marker is none.

    Raises:
        PreconditionFailedError, NoSuchKeyError: as `check_write`.
    """
    row = txn.get(keys.current(bucket_id, key))
    etag = None
    if row is not None and not row[schema.FLAGS_AT] & FLAG_DELETE_MARKER:
        body = schema.decode_listing(schema.row_body(row))
        etag = rows.etag_text(body.etag, body.etag_parts)
    check_write(conditions, key.decode(), etag)


def new_body(
    bucket: BucketBody,
    flags: int,
    now_ms: int,
    size_bytes: int,
    etag: bytes,
    attributes: ObjectAttributes,
    checksums: Sequence[Checksum],
    extents: list[Extent],
    seal: SealRow | None = None,
) -> VersionBody:
    """The body of a new version's record, an object of one piece.

    Raises:
        BucketStateError, InvalidArgumentError: its lock is not to be had.
    """
    lock = None
    if bucket.settings or attributes.lock:
        lock = new_lock(bucket, attributes.lock, now_ms)
    return VersionBody(
        size_bytes,
        now_ms,
        etag,
        0,
        rows.stored_class(attributes.storage_class),
        attributes.owner,
        rows.checksum_rows(checksums),
        dict(attributes.headers),
        dict(attributes.metadata),
        dict(attributes.tags),
        stored_id(flags),
        extents,
        b"",
        lock,
        seal,
    )


class _Stored(NamedTuple):
    """What is kept of an object's bytes: as they came, or encrypted."""

    etag: bytes
    payload: Buffer
    payload_xxh3: int
    seal: SealRow | None


@dataclass(slots=True)
class PutObject:
    """Make an object current.  `payload` for the log, or `extents` on the device.

    `is_resolved`: how the bytes are encrypted has been decided, and done: `seal` says it.
    Otherwise the writer's wish and the bucket's setting decide it in the commit; only a
    payload can still be encrypted then.
    """

    core: Core
    bucket: str
    key: bytes
    size_bytes: int
    md5: bytes
    attributes: ObjectAttributes
    conditions: Conditions
    checksums: Sequence[Checksum]
    payload: Buffer = field(repr=False)
    payload_xxh3: int
    extents: list[Extent]
    customer_key: bytes = field(default=b"", repr=False)
    seal: SealRow | None = None
    is_resolved: bool = False
    leaves_segments: int = FOR_WRITES
    body: VersionBody | None = None
    has_versions: bool = False

    @property
    def size_bound_bytes(self) -> int:
        return (
            log.RECORD_HEAD_BYTES
            + _BODY_BOUND_BYTES
            + SEAL_BOUND_BYTES
            + len(self.key)
            + stored_size(len(self.payload))
            + attributes_bound_bytes(self.attributes)
            + _EXTENT_BOUND_BYTES * len(self.extents)
        )

    def decide(self, decision: Decision) -> Sequence[Record]:
        bucket = decided_bucket(self.core, decision, self.bucket)
        bucket_id = bucket.bucket_id
        if self.conditions:
            check_current(decision.txn, bucket_id, self.key, self.conditions)
        flags = null_flag(bucket)
        self.has_versions = has_versions(bucket)
        etag, payload, payload_xxh3, seal = self._stored(bucket)
        self.body = body = new_body(
            bucket,
            flags,
            decision.now_ms,
            self.size_bytes,
            etag,
            self.attributes,
            self.checksums,
            self.extents,
            seal,
        )
        return [
            Record(
                log.VERSION,
                bucket_id,
                self.key,
                schema.encode(body),
                0,
                flags | (FLAG_EXTENTS if self.extents else 0),
                payload,
                payload_xxh3,
            )
        ]

    def _stored(self, bucket: BucketBody) -> _Stored:
        """The payload as it is to be stored.  What came stays: a commit may be tried again."""
        if not self.is_resolved:
            asked = self.attributes.encryption
            wanted = encryption.wanted_of(bucket, asked, self.customer_key)
            if wanted:
                return self._sealed(wanted)
        return _Stored(self.md5, self.payload, self.payload_xxh3, self.seal)

    def _sealed(self, wanted: Encryption) -> _Stored:
        assert not self.extents, "streamed bytes are encrypted as they come"
        core = self.core
        seal, stream_key = encryption.make_stream_seal(core, wanted, self.customer_key)
        payload = encryption.sealed(stream_key, self.payload)
        etag = encryption.etag_of(core, seal, self.md5)
        return _Stored(etag, payload, xxh3_64_intdigest(payload) if payload else 0, seal)


def put_info(operation: PutObject, record: Record) -> ObjectInfo:
    """What a committed put has made."""
    body = operation.body
    assert body is not None
    is_as_asked = body.lock is None and body.seal is None
    return ObjectInfo(
        operation.bucket,
        record.key.decode(),
        operation.size_bytes,
        body.etag.hex(),
        body.modified_ms,
        operation.attributes if is_as_asked else rows.attributes_of(body),
        tuple(operation.checksums),
        0,
        version_id(record.flags, record.version_seq, body.modified_ms),
        record.version_seq,
        None,
        operation.has_versions,
    )


def info_of(bucket: str, record: Record, *, has_versions: bool = False) -> ObjectInfo:
    """What a committed version's record says."""
    head = Head(record.lsn, record.version_seq, 0, 0, 0, 0, 0, record.flags)
    body = schema.decode_version(record.body)
    return rows.object_info(bucket, record.key.decode(), head, body, has_versions=has_versions)


def small_put(
    core: Core,
    bucket: str,
    key: str,
    body: Buffer,
    attributes: ObjectAttributes,
    conditions: Conditions,
    checksums: Sequence[Checksum],
    md5: bytes | None,
    customer_key: bytes = b"",
) -> PutObject:
    """The operation that puts a body of at most `log_inline_bytes`."""
    digest = md5 or hashing.md5(body)
    payload_xxh3 = xxh3_64_intdigest(body) if len(body) else 0
    return PutObject(
        core,
        bucket,
        encode_key(key),
        len(body),
        digest,
        attributes,
        conditions,
        checksums,
        body,
        payload_xxh3,
        [],
        customer_key,
    )


def blocks_of(data: Buffer | BinaryIO | Iterable[Buffer], io_bytes: int) -> Iterator[Buffer]:
    """`data` in pieces of about `io_bytes`, whatever form it came in."""
    if isinstance(data, (bytes, bytearray, memoryview)):
        view = memoryview(data).cast("B")
        for start in range(0, len(view), io_bytes):
            yield view[start : start + io_bytes]
        return
    read = getattr(data, "read", None)
    if read is not None:
        while block := read(io_bytes):
            yield block
        return
    gathered = bytearray()
    if not isinstance(data, Iterable):
        raise InvalidArgumentError(
            f"bytes, a binary file or an iterable of bytes, not {type(data).__name__}", "data"
        )
    for piece in data:
        gathered += piece
        if len(gathered) >= io_bytes:
            yield gathered
            gathered = bytearray()
    if gathered:
        yield gathered


def keep() -> None:
    """The `done` of `BodyStream.write` for callers that leave their blocks alone."""


class BodyStream:
    """Bytes on their way in: kept while they are few, streamed to extents when more.

    The MD5 takes longer than all the rest, and is computed on another thread, which may
    fall behind by a few blocks; other digests are computed on this one, between the writes.
    Subclasses say what is committed.
    """

    limit_bytes = MAX_PUT_BYTES

    def __init__(
        self,
        core: Core,
        size_bytes: int | None,
        hashers: Sequence[Callable[[Buffer], object]],
        inline_bytes: int,
    ) -> None:
        self._check_limit(size_bytes or 0)
        self._core = core
        self._declared_bytes = size_bytes
        self._inline_bytes = inline_bytes
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._md5_queue: HashQueue | None = None
        self._hashers = hashers
        self._head: bytearray | None = bytearray()
        self._writer: ExtentWriter | None = None
        self._is_finished = False
        self._is_settled = False
        self._is_doubtful = False
        self.size_bytes = 0

    @property
    def md5(self) -> bytes:
        """MD5 of the bytes, 16 bytes; after `finish`."""
        return self._md5.digest()

    def write(self, data: Buffer, done: Callable[[], object] | None = None) -> None:
        """Append `data`; blocks of `config.io_bytes` are the fast ones.

        Without `done`, the caller may change `data` on return.  With it, only once `done`
        was called: on any thread, once, whether or not this raises.

        Raises:
            EntityTooLargeError: more than an object or part may have.
            IncompleteBodyError: more than was declared.
            StoreFullError: no space.
        """
        use = Use(done)
        try:
            view = memoryview(data).cast("B")
            if len(view):
                self._append(view, use)
        finally:
            use.end()
            if done is None and self._md5_queue is not None:
                self._md5_queue.join()

    def _append(self, view: memoryview, use: Use) -> None:
        self._check_limit(self.size_bytes + len(view))
        if self._declared_bytes is not None and self.size_bytes + len(view) > self._declared_bytes:
            raise IncompleteBodyError(f"more than the {self._declared_bytes} bytes declared")
        self.size_bytes += len(view)
        if self._head is not None:
            if len(self._head) + len(view) <= self._inline_bytes:
                self._head += view
                return
            head, self._head = self._head, None
            self._writer = ExtentWriter(self._core, self._declared_bytes)
            if head:
                self._store(memoryview(head), Use(None))
        self._store(view, use)

    def _store(self, view: memoryview, use: Use) -> None:
        assert self._writer is not None
        if self._md5_queue is None:
            core = self._core
            self._md5_queue = HashQueue(
                core.hash_pool(), self._md5.update, core.config.md5_queue_blocks
            )
        self._md5_queue.put(view, use)
        self._writer.write(view)
        for hasher in self._hashers:
            hasher(view)

    def finish(self) -> None:
        """All bytes have come: digests are complete, streamed bytes durable.  Idempotent.

        Raises:
            IncompleteBodyError: fewer than were declared.
        """
        if self._is_finished:
            return
        if self._declared_bytes is not None and self.size_bytes != self._declared_bytes:
            raise IncompleteBodyError(
                f"{self.size_bytes} bytes came of the {self._declared_bytes} declared"
            )
        if self._head is not None:
            for hasher in (self._md5.update, *self._hashers):
                hasher(self._head)
        else:
            assert self._writer is not None
            assert self._md5_queue is not None
            self._writer.finish()
            # While the last blocks are hashed.
            self._core.flush()
            self._md5_queue.join()
        self._is_finished = True

    def _durable_extents(self) -> list[Extent]:
        """The extents that the streamed bytes lie in; `finish` has made them durable."""
        assert self._is_finished
        return self._writer.extents if self._writer is not None else []

    def _commit(self, operation: Operation) -> Record:
        """Commit the one record of `operation`, which refers to the bytes."""
        self._is_doubtful = True
        (record,) = self._core.commit(operation)
        self._is_doubtful = False
        return record

    def abort(self) -> None:
        """Give the bytes up; idempotent, and nothing after a commit."""
        if not self._is_settled:
            self._is_settled = True
            if self._md5_queue is not None:
                self._md5_queue.join()
            if self._writer is not None:
                self._writer.settle(is_doubtful=self._is_doubtful)

    def _check_limit(self, size_bytes: int) -> None:
        if size_bytes > self.limit_bytes:
            raise EntityTooLargeError(size_bytes, self.limit_bytes)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.abort()


class PutStream(BodyStream):
    """A put under way; see `ObjectStore.open_put`."""

    limit_bytes = MAX_PUT_BYTES

    def __init__(
        self,
        core: Core,
        bucket: str,
        key: str,
        size_bytes: int | None,
        attributes: ObjectAttributes,
        conditions: Conditions,
        hashers: Sequence[Callable[[Buffer], object]],
    ) -> None:
        super().__init__(core, size_bytes, hashers, core.config.log_inline_bytes)
        self._bucket, self._key = bucket, encode_key(key)
        self._attributes, self._conditions = attributes, conditions
        with core.index.read() as txn:
            core.bucket(txn, bucket)

    def commit(self, *, checksums: tuple[Checksum, ...] = ()) -> ObjectInfo:
        """Make the object current; durable on return.

        Raises:
            StoreError: a condition did not hold, the bucket is gone, the store is full …;
                the bytes are given up.
        """
        try:
            self.finish()
            payload = self._head or b""
            operation = PutObject(
                self._core,
                self._bucket,
                self._key,
                self.size_bytes,
                self.md5,
                self._attributes,
                self._conditions,
                checksums,
                payload,
                xxh3_64_intdigest(payload) if payload else 0,
                self._durable_extents(),
            )
            record = self._commit(operation)
        finally:
            self.abort()
        return info_of(self._bucket, record, has_versions=operation.has_versions)
