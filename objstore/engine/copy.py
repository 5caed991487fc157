"""Copying inside the store: small objects are written again, large ones shared.

Encrypted bytes are shared as well: the data key is wrapped anew for the copy, and neither
key nor bytes change.  Only where the one is encrypted and the other is not, or where the
ETag has to become an MD5 that it is not, a large object is read and written again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TypeAlias

import msgspec

from objstore.cause import present_cause
from objstore.config import COPY_ATTEMPTS
from objstore.engine import encryption, rows
from objstore.engine.apply import manifest_body
from objstore.engine.buckets import ensure
from objstore.engine.conditions import check_read
from objstore.engine.core import Core, encode_key
from objstore.engine.get import find_row, get
from objstore.engine.locks import new_lock
from objstore.engine.operation import Decision, NotPreparedError
from objstore.engine.put import (
    PutStream,
    attributes_bound_bytes,
    check_current,
    info_of,
    small_put,
)
from objstore.engine.reader import ObjectReader
from objstore.engine.space import FOR_WRITES
from objstore.engine.telling import CREATED_COPY
from objstore.engine.versions import has_versions, null_flag, stored_id
from objstore.errors import ConflictError, SourceChangedError
from objstore.index import keys, schema
from objstore.index.schema import (
    FLAG_EXTENTS,
    FLAG_MANIFEST,
    BucketBody,
    Head,
    SealRow,
    VersionBody,
)
from objstore.log import format as log
from objstore.log.format import Record
from objstore.model import (
    NO_ENCRYPTION,
    NO_LOCK,
    Checksum,
    Conditions,
    Encryption,
    ObjectAttributes,
    ObjectInfo,
)

_ROW_BOUND_BYTES = 8192
_SHAREABLE = FLAG_EXTENTS | FLAG_MANIFEST

Source: TypeAlias = tuple[str, str, str]
"""Bucket, key, and version id, which is empty for the current version."""


@dataclass(frozen=True, slots=True)
class Copying:
    """What is asked for.  `attributes`, `checksums`: None for the source's own."""

    source: Source
    bucket: str
    key: str
    attributes: ObjectAttributes | None
    source_conditions: Conditions
    conditions: Conditions
    checksums: Sequence[Checksum] | None
    customer_key: bytes = field(default=b"", repr=False)
    source_customer_key: bytes = field(default=b"", repr=False)

    def attributes_for(self, source: ObjectAttributes) -> ObjectAttributes:
        """Those of the copy."""
        return self.attributes or kept_attributes(source)

    def key_for(self, attributes: ObjectAttributes) -> bytes:
        """The customer's key of the copy; one that is as its source keeps that one's."""
        if self.attributes is None and attributes.encryption.algorithm == encryption.SSE_C:
            return self.customer_key or self.source_customer_key
        return self.customer_key


class CopyShared:
    """Make an object of another's extents, which both use from then on."""

    leaves_segments = FOR_WRITES
    event = CREATED_COPY

    def __init__(self, core: Core, copying: Copying, source_seq: int) -> None:
        """`source_seq`: of the version that was looked at, and found fit to be shared.

        Raises:
            SourceChangedError: the source is another by now.
        """
        self.cause = present_cause()
        self._core, self._copying = core, copying
        self._source, self._bucket = copying.source, copying.bucket
        self._source_seq = source_seq
        self._key = encode_key(copying.key)
        self._seal: SealRow | None = None
        self._sealed_as: tuple[SealRow | None, Encryption] = (None, NO_ENCRYPTION)
        self.has_versions = False
        self.size_bound_bytes = self._bound()

    def _bound(self) -> int:
        """From the source as it is now; a change before the commit is noticed there."""
        with self._core.index.read() as txn:
            row = find_row(self._core, txn, *self._source)
            self._check_head(schema.unpack_head(row))
            prefix = keys.manifest_prefix(self._source_seq)
            # Each manifest row becomes a record with the new key.
            overhead_bytes = len(self._key) + log.RECORD_HEAD_BYTES
            runs = txn.scan(prefix, keys.after(prefix))
            manifests = sum(len(run) + overhead_bytes for _key, run in runs)
        self._rewrap_ahead(schema.decode_version(schema.row_body(row)))
        bound_bytes = len(row) + manifests + _ROW_BOUND_BYTES + len(self._key)
        attributes = self._copying.attributes or ObjectAttributes()
        return bound_bytes + attributes_bound_bytes(attributes) + encryption.SEAL_BOUND_BYTES

    def _check_head(self, head: Head) -> None:
        # The bytes of another version may lie in the log, where its record alone has them.
        if head.version_seq != self._source_seq or not head.flags & _SHAREABLE:
            raise SourceChangedError

    def decide(self, decision: Decision) -> Sequence[Record]:
        row = find_row(self._core, decision.txn, *self._source)
        head, body = schema.unpack_head(row), schema.decode_version(schema.row_body(row))
        self._check_head(head)
        source_info = rows.object_info(*self._source[:2], head, body)
        check_read(self._copying.source_conditions, source_info)
        bucket = self._core.bucket(decision.txn, self._bucket)
        bucket_id = bucket.bucket_id
        if self._copying.conditions:
            check_current(decision.txn, bucket_id, self._key, self._copying.conditions)
        flags = null_flag(bucket)
        self.has_versions = has_versions(bucket)
        version_seq = decision.next_lsn
        encoded = schema.encode(self._new_body(bucket, flags, body, decision.now_ms))
        flags |= head.flags & _SHAREABLE
        records = [Record(log.VERSION, bucket_id, self._key, encoded, version_seq, flags)]
        prefix = keys.manifest_prefix(head.version_seq)
        for _key, manifest in decision.txn.scan(prefix, keys.after(prefix)):
            part_body = manifest_body(manifest)
            records.append(Record(log.MANIFEST, bucket_id, self._key, part_body, version_seq))
        if sum(record.stored_bytes for record in records) > self.size_bound_bytes:
            raise SourceChangedError  # an append has made it longer meanwhile
        return records

    def _new_body(
        self, bucket: BucketBody, flags: int, body: VersionBody, now_ms: int
    ) -> VersionBody:
        copying = self._copying
        attributes = copying.attributes_for(rows.attributes_of(body))
        checksums = (
            body.checksums if copying.checksums is None else rows.checksum_rows(copying.checksums)
        )
        seal = self._new_seal(bucket, body, attributes)
        etag = body.etag
        if not body.etag_parts:  # of one that goes on to hide what it is of, a new one
            etag = encryption.etag_of(self._core, seal, etag)
        return VersionBody(
            body.size_bytes,
            now_ms,
            etag,
            body.etag_parts,
            rows.stored_class(attributes.storage_class),
            attributes.owner,
            checksums,
            dict(attributes.headers),
            dict(attributes.metadata),
            dict(attributes.tags),
            stored_id(flags),
            body.extents,
            b"",
            new_lock(bucket, attributes.lock, now_ms),
            seal,
        )

    def _new_seal(
        self, bucket: BucketBody, body: VersionBody, attributes: ObjectAttributes
    ) -> SealRow | None:
        customer_key = self._copying.key_for(attributes)
        wanted = encryption.wanted_of(bucket, attributes.encryption, customer_key)
        if not encryption.can_share(body.seal, wanted):
            raise NotShareableError
        if body.seal is None:
            return None
        if self._seal is None or self._sealed_as != (body.seal, wanted):
            raise NotPreparedError(partial(self._rewrap, body.seal, wanted, customer_key))
        return self._seal

    def _rewrap_ahead(self, body: VersionBody) -> None:
        if body.seal is None:
            return
        attributes = self._copying.attributes_for(rows.attributes_of(body))
        customer_key = self._copying.key_for(attributes)
        presumed = encryption.presumed_of(
            self._core, self._bucket, attributes.encryption, customer_key
        )
        if presumed and encryption.can_share(body.seal, presumed):
            encryption.try_ahead(partial(self._rewrap, body.seal, presumed, customer_key))

    def _rewrap(self, seal: SealRow, wanted: Encryption, customer_key: bytes) -> None:
        """Wrap the data key anew, which asks the key service: not while others wait."""
        source_key = self._copying.source_customer_key
        self._seal = encryption.rewrap(self._core, seal, wanted, customer_key, source_key)
        self._sealed_as = (seal, wanted)


def kept_attributes(attributes: ObjectAttributes) -> ObjectAttributes:
    """What a copy has of its source: all but the lock, which is the version's own."""
    return msgspec.structs.replace(attributes, lock=NO_LOCK)


class NotShareableError(ConflictError):
    """The copy cannot have the bytes as they are stored; write them again."""

    def __init__(self) -> None:
        super().__init__("the copy is encrypted otherwise than its source")


def copy(core: Core, copying: Copying) -> ObjectInfo:
    """See `ObjectStore.copy`."""
    bucket, key, version_id = copying.source
    for _attempt in range(COPY_ATTEMPTS):
        with get(
            core,
            bucket,
            key,
            None,
            copying.source_conditions,
            version_id,
            copying.source_customer_key,
        ) as reader:
            ensure(core, copying.bucket, copying.key)
            info = reader.info
            try:
                if not reader.extent_count and not info.part_count:
                    return _put_again(core, copying, info, reader.read())
                try:
                    shared = CopyShared(core, copying, info.version_seq)
                    record = core.commit(shared)[0]
                    return info_of(copying.bucket, record, has_versions=shared.has_versions)
                except NotShareableError:
                    return _written_again(core, copying, reader)
            except SourceChangedError:
                continue
    raise SourceChangedError


class _SameSource:
    """Asked in the commit of a copy with bytes of its own: are they still the source's?

    A copy is of its source as it is at the moment of the commit, however it is made.
    """

    def __init__(self, core: Core, copying: Copying, info: ObjectInfo) -> None:
        self._core, self._copying, self._info = core, copying, info

    def __call__(self, decision: Decision) -> None:
        """Raises SourceChangedError, or why the source cannot be read by now."""
        source = self._copying.source
        row = find_row(self._core, decision.txn, *source)
        head, body = schema.unpack_head(row), schema.decode_version(schema.row_body(row))
        now, then = rows.object_info(*source[:2], head, body), self._info
        if (now.version_seq, now.etag) != (then.version_seq, then.etag):
            raise SourceChangedError
        keeps = self._copying.attributes is None
        if keeps and kept_attributes(now.attributes) != kept_attributes(then.attributes):
            raise SourceChangedError


def _put_again(core: Core, copying: Copying, info: ObjectInfo, payload: bytes) -> ObjectInfo:
    attributes = copying.attributes_for(info.attributes)
    has_md5 = encryption.is_md5_etag(info.attributes.encryption)
    operation = small_put(
        core,
        copying.bucket,
        copying.key,
        payload,
        attributes,
        copying.conditions,
        info.checksums if copying.checksums is None else copying.checksums,
        bytes.fromhex(info.etag) if has_md5 else None,
        copying.key_for(attributes),
    )
    operation.event, operation.check = CREATED_COPY, _SameSource(core, copying, info)
    (record,) = core.commit(operation)
    return info_of(copying.bucket, record, has_versions=operation.has_versions)


def _written_again(core: Core, copying: Copying, reader: ObjectReader) -> ObjectInfo:
    """The copy with bytes of its own, in one piece as S3 makes it: its ETag is of all bytes."""
    info = reader.info
    attributes = copying.attributes_for(info.attributes)
    checksums = copying.checksums
    if checksums is None:
        checksums = [checksum for checksum in info.checksums if checksum.type != "COMPOSITE"]
    with PutStream(
        core,
        copying.bucket,
        copying.key,
        info.size_bytes,
        attributes,
        copying.conditions,
        (),
        copying.key_for(attributes),
    ) as stream:
        stream.event, stream.check = CREATED_COPY, _SameSource(core, copying, info)
        for piece in reader:
            stream.write(piece)
        return stream.commit(checksums=tuple(checksums))
