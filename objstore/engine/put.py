"""Writing objects: small ones in the log, larger ones streamed ahead of their record."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

from xxhash import xxh3_64_intdigest

from blockdev import Buffer
from objstore import hashing
from objstore.cause import Ask, present_cause
from objstore.config import MAX_PUT_BYTES
from objstore.engine import encryption, rows
from objstore.engine.body_stream import BodyStream
from objstore.engine.conditions import check_write
from objstore.engine.core import Core, decided_bucket, encode_key
from objstore.engine.encryption import SEAL_BOUND_BYTES
from objstore.engine.frames import FRAME_BYTES, TAG_BYTES
from objstore.engine.locks import default_retention, new_lock
from objstore.engine.operation import Decision, NotPreparedError
from objstore.engine.space import FOR_WRITES
from objstore.engine.telling import CREATED_PUT
from objstore.engine.versions import has_versions, null_flag, stored_id, version_id
from objstore.errors import DigestRequiredError
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
    NO_ENCRYPTION,
    Checksum,
    Conditions,
    Encryption,
    ObjectAttributes,
    ObjectInfo,
)

_BODY_BOUND_BYTES = 512
_EXTENT_BOUND_BYTES = 32
NEEDS_DIGEST = "what is to be locked has to come with a digest"


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
    """What is kept of an object's bytes: as they came, or encrypted as was `wanted`."""

    wanted: Encryption
    etag: bytes
    payload: Buffer
    payload_xxh3: int
    seal: SealRow | None


@dataclass(slots=True)
class PutObject:
    """Make an object current.  `payload` for the log, or `extents` on the device.

    `is_resolved`: how the bytes are encrypted has been decided, and done: `seal` says it.
    Otherwise the writer's wish and the bucket's setting decide it in the commit; only a
    payload can still be encrypted then: `sealed` is what was encrypted, before the commit,
    as it will presumably be wanted.  `etag`: the bytes' MD5, unless that was decided.
    `check`: asked first in the commit; raises what stands in the way.
    `has_digest`: the writer sent one along; what is to be locked without is refused.
    """

    core: Core
    bucket: str
    key: bytes
    size_bytes: int
    etag: bytes
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
    event: str = CREATED_PUT
    cause: Ask | None = field(default_factory=present_cause, repr=False)
    check: Callable[[Decision], None] | None = field(default=None, repr=False)
    has_digest: bool = True
    sealed: _Stored | None = field(default=None, repr=False)

    @property
    def size_bound_bytes(self) -> int:
        return (
            log.RECORD_HEAD_BYTES
            + _BODY_BOUND_BYTES
            + SEAL_BOUND_BYTES
            + len(self.key)
            + len(self.payload)
            + TAG_BYTES * (1 + len(self.payload) // FRAME_BYTES)
            + attributes_bound_bytes(self.attributes)
            + _EXTENT_BOUND_BYTES * len(self.extents)
        )

    def decide(self, decision: Decision) -> Sequence[Record]:
        if self.check is not None:
            self.check(decision)
        bucket = decided_bucket(self.core, decision, self.bucket)
        bucket_id = bucket.bucket_id
        if self.conditions:
            check_current(decision.txn, bucket_id, self.key, self.conditions)
        flags = null_flag(bucket)
        self.has_versions = has_versions(bucket)
        etag, payload, payload_xxh3, seal = self.etag, self.payload, self.payload_xxh3, self.seal
        if not self.is_resolved and (bucket.settings or self._asks_encryption()):
            _wanted, etag, payload, payload_xxh3, seal = self._stored(bucket)
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
        if body.lock is not None and body.lock.mode and not self.has_digest:
            raise DigestRequiredError(NEEDS_DIGEST)
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

    def _asks_encryption(self) -> bool:
        return bool(self.customer_key) or self.attributes.encryption is not NO_ENCRYPTION

    def _stored(self, bucket: BucketBody) -> _Stored:
        """The payload as it is to be stored.  What came stays: a commit may be tried again."""
        wanted = encryption.wanted_of(bucket, self.attributes.encryption, self.customer_key)
        if not wanted:
            return _Stored(wanted, self.etag, self.payload, self.payload_xxh3, self.seal)
        if self.sealed is None or self.sealed.wanted != wanted:
            raise NotPreparedError(partial(self.encrypt, wanted))
        return self.sealed

    def encrypt(self, wanted: Encryption) -> None:
        """Encrypt the payload, which asks the key service: not while others wait.

        Raises:
            StoreError: as `encryption.make_seal`.
        """
        assert not self.extents, "streamed bytes are encrypted as they come"
        core = self.core
        seal, stream_key = encryption.make_stream_seal(core, wanted, self.customer_key)
        payload = encryption.sealed(stream_key, self.payload)
        etag = encryption.etag_of(core, seal, self.etag)
        payload_xxh3 = xxh3_64_intdigest(payload) if payload else 0
        self.sealed = _Stored(wanted, etag, payload, payload_xxh3, seal)


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
    *,
    has_digest: bool = True,
) -> PutObject:
    """The operation that puts a body of at most `log_inline_bytes`."""
    digest = md5 or hashing.md5(body)
    payload_xxh3 = xxh3_64_intdigest(body) if len(body) else 0
    operation = PutObject(
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
        has_digest=has_digest,
    )
    presumed = encryption.presumed_of(core, bucket, attributes.encryption, customer_key)
    if presumed:
        encryption.try_ahead(partial(operation.encrypt, presumed))
    return operation


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
        customer_key: bytes = b"",
        *,
        has_digest: bool = True,
    ) -> None:
        self._has_digest = has_digest
        self._bucket, self._key = bucket, encode_key(key)
        self._attributes, self._conditions = attributes, conditions
        self._cause = present_cause()
        self.event = CREATED_PUT
        self.check: Callable[[Decision], None] | None = None
        with core.index.read() as txn:
            found = core.bucket(txn, bucket)
        if not has_digest and default_retention(found).mode:
            raise DigestRequiredError(NEEDS_DIGEST)
        wanted = encryption.wanted_of(found, attributes.encryption, customer_key)
        self._object_seal, stream_key = None, None
        if wanted:
            self._object_seal, stream_key = encryption.make_stream_seal(core, wanted, customer_key)
        inline_bytes = core.config.log_inline_bytes
        super().__init__(core, size_bytes, hashers, inline_bytes, stream_key)

    def commit(self, *, checksums: tuple[Checksum, ...] = ()) -> ObjectInfo:
        """Make the object current; durable on return.

        Raises:
            StoreError: a condition did not hold, the bucket is gone, the store is full …;
                the bytes are given up.
        """
        try:
            self.finish()
            payload = self._payload()
            operation = PutObject(
                self._core,
                self._bucket,
                self._key,
                self.size_bytes,
                encryption.etag_of(self._core, self._object_seal, self.md5),
                self._attributes,
                self._conditions,
                checksums,
                payload,
                xxh3_64_intdigest(payload) if payload else 0,
                self._durable_extents(),
                seal=self._object_seal,
                is_resolved=True,
                event=self.event,
                cause=self._cause,
                check=self.check,
                has_digest=self._has_digest,
            )
            record = self._commit(operation)
        finally:
            self.abort()
        return info_of(self._bucket, record, has_versions=operation.has_versions)
