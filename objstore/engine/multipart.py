"""Multipart uploads: parts are extents; completing one writes metadata alone."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterable, Sequence
from functools import partial

from blockdev import Buffer
from objstore.cause import present_cause
from objstore.config import (
    COMPLETED_VERSIONS_SEARCHED,
    MAX_OBJECT_BYTES,
    MAX_PART_BYTES,
    MAX_PARTS,
)
from objstore.engine import encryption, rows
from objstore.engine.apply import manifest_body
from objstore.engine.body_stream import BodyStream
from objstore.engine.core import Core, encode_key
from objstore.engine.locks import new_lock
from objstore.engine.operation import Decision, NotPreparedError
from objstore.engine.put import attributes_bound_bytes, check_current, info_of
from objstore.engine.space import FOR_DELETES, FOR_WRITES
from objstore.engine.telling import CREATED_COMPLETED
from objstore.engine.versions import has_versions, null_flag, stored_id
from objstore.errors import (
    EntityTooLargeError,
    EntityTooSmallError,
    InvalidArgumentError,
    InvalidPartError,
    InvalidPartOrderError,
    NoSuchUploadError,
)
from objstore.index import keys, schema
from objstore.index.base import ReadTransaction
from objstore.index.schema import (
    FLAG_MANIFEST,
    BucketBody,
    GoneBody,
    ManifestBody,
    ManifestPart,
    PartBody,
    SealRow,
    UploadBody,
    VersionBody,
)
from objstore.log import format as log
from objstore.log.format import Record
from objstore.model import (
    NO_LOCK,
    Checksum,
    CompletedPart,
    Conditions,
    Encryption,
    ObjectAttributes,
    ObjectInfo,
    PartInfo,
    UploadInfo,
)

_BODY_BOUND_BYTES = 512
_CHECKSUM_BOUND_BYTES = 160
_EXTENT_BOUND_BYTES = 32
_PARTS_A_MANIFEST = 32


def decode_upload_id(upload_id: str) -> bytes:
    """Raises `NoSuchUploadError` for what was never an upload id of this store."""
    try:
        decoded = bytes.fromhex(upload_id)
    except ValueError:
        decoded = b""
    if len(decoded) != 16:
        raise NoSuchUploadError(f"there is no upload {upload_id!r}")
    return decoded


def find_upload(core: Core, txn: ReadTransaction, bucket: str, key: bytes, upload: bytes) -> bytes:
    """The upload's row.

    Raises:
        NoSuchBucketError, NoSuchUploadError: there is no such thing.
    """
    row = txn.get(keys.upload(core.bucket(txn, bucket).bucket_id, key, upload))
    if row is None:
        raise NoSuchUploadError(f"there is no upload {upload.hex()} of {key.decode()!r}")
    return row


# --- create and abort -------------------------------------------------------------


class CreateUpload:
    leaves_segments = FOR_WRITES

    def __init__(
        self,
        core: Core,
        bucket: str,
        key: str,
        attributes: ObjectAttributes,
        checksum: tuple[str, str],
        customer_key: bytes,
    ) -> None:
        self._core, self._bucket, self._key = core, bucket, encode_key(key)
        self._attributes, self._checksum = attributes, checksum
        self._customer_key = customer_key
        self._upload_id = core.entropy.token_bytes(16)
        self._seal: SealRow | None = None
        self._sealed_as = encryption.presumed_of(core, bucket, attributes.encryption, customer_key)
        if self._sealed_as:
            encryption.try_ahead(partial(self._make_seal, self._sealed_as))
        bound_bytes = attributes_bound_bytes(attributes) + encryption.SEAL_BOUND_BYTES
        self.size_bound_bytes = _BODY_BOUND_BYTES + len(self._key) + bound_bytes

    def decide(self, decision: Decision) -> Sequence[Record]:
        bucket = self._core.bucket(decision.txn, self._bucket)
        attributes = self._attributes
        new_lock(
            bucket, attributes.lock, decision.now_ms
        )  # one that is not to be had is refused now
        body = UploadBody(
            self._upload_id,
            decision.now_ms,
            dict(attributes.headers),
            dict(attributes.metadata),
            dict(attributes.tags),
            attributes.storage_class,
            attributes.owner,
            *self._checksum,
            rows.lock_row(attributes.lock),
            self._wanted_seal(bucket),
        )
        return [Record(log.UPLOAD, bucket.bucket_id, self._key, schema.encode(body))]

    def _wanted_seal(self, bucket: BucketBody) -> SealRow | None:
        """Of all the parts to come: each has a salt of its own."""
        asked = self._attributes.encryption
        wanted = encryption.wanted_of(bucket, asked, self._customer_key)
        if not wanted:
            return None
        if self._seal is None or self._sealed_as != wanted:
            raise NotPreparedError(partial(self._make_seal, wanted))
        return self._seal

    def _make_seal(self, wanted: Encryption) -> None:
        self._seal, _data_key = encryption.make_seal(self._core, wanted, self._customer_key)
        self._sealed_as = wanted


class AbortUpload:
    leaves_segments = FOR_DELETES

    def __init__(self, core: Core, bucket: str, key: str, upload_id: str) -> None:
        self._core, self._bucket, self._key = core, bucket, encode_key(key)
        self._upload_id = decode_upload_id(upload_id)
        self.size_bound_bytes = _BODY_BOUND_BYTES + len(self._key)

    def decide(self, decision: Decision) -> Sequence[Record]:
        find_upload(self._core, decision.txn, self._bucket, self._key, self._upload_id)
        bucket_id = self._core.bucket(decision.txn, self._bucket).bucket_id
        return [upload_gone(bucket_id, self._key, self._upload_id)]


def upload_gone(bucket_id: int, key: bytes, upload_id: bytes) -> Record:
    return Record(log.UPLOAD_GONE, bucket_id, key, schema.encode(GoneBody(0, upload_id)))


def create(
    core: Core,
    bucket: str,
    key: str,
    attributes: ObjectAttributes,
    checksum: tuple[str, str],
    customer_key: bytes,
) -> UploadInfo:
    (record,) = core.commit(CreateUpload(core, bucket, key, attributes, checksum, customer_key))
    return rows.upload_info(bucket, key, schema.decode_upload(record.body))


def head(core: Core, bucket: str, key: str, upload_id: str) -> UploadInfo:
    upload = decode_upload_id(upload_id)
    with core.index.read() as txn:
        row = find_upload(core, txn, bucket, encode_key(key), upload)
    return rows.upload_info(bucket, key, schema.decode_upload(schema.row_body(row)))


# --- parts ------------------------------------------------------------------------


def check_part_number(part_number: int) -> None:
    """Raises `InvalidArgumentError` unless it is between 1 and 10,000."""
    if not 1 <= part_number <= MAX_PARTS:
        raise InvalidArgumentError(
            f"part number {part_number} is not between 1 and {MAX_PARTS}",
            "partNumber",
            str(part_number),
        )


class PutPart:
    """Make an uploaded part known; it replaces an earlier one of its number."""

    leaves_segments = FOR_WRITES

    def __init__(self, core: Core, bucket: str, key: bytes, body: PartBody) -> None:
        self._core, self._bucket, self._key, self._body = core, bucket, key, body
        self.size_bound_bytes = (
            _BODY_BOUND_BYTES
            + len(key)
            + _CHECKSUM_BOUND_BYTES * len(body.checksums)
            + _EXTENT_BOUND_BYTES * len(body.extents)
        )

    def decide(self, decision: Decision) -> Sequence[Record]:
        find_upload(self._core, decision.txn, self._bucket, self._key, self._body.upload_id)
        bucket_id = self._core.bucket(decision.txn, self._bucket).bucket_id
        body = PartBody(
            self._body.upload_id,
            self._body.part_number,
            self._body.size_bytes,
            decision.now_ms,
            self._body.etag,
            self._body.checksums,
            self._body.extents,
            salt=self._body.salt,
        )
        return [Record(log.PART, bucket_id, self._key, schema.encode(body))]


class PartStream(BodyStream):
    """A part under way; see `ObjectStore.open_part`."""

    limit_bytes = MAX_PART_BYTES

    def __init__(
        self,
        core: Core,
        bucket: str,
        key: str,
        upload_id: str,
        part_number: int,
        size_bytes: int | None,
        hashers: Sequence[Callable[[Buffer], object]],
        customer_key: bytes = b"",
    ) -> None:
        check_part_number(part_number)
        self._bucket, self._key = bucket, encode_key(key)
        self._upload, self._part_number = decode_upload_id(upload_id), part_number
        with core.index.read() as txn:
            row = find_upload(core, txn, bucket, self._key, self._upload)
        self._seal = schema.decode_upload(schema.row_body(row)).seal
        stream_key = encryption.stream_of(core, self._seal, customer_key)
        # Parts always lie in extents, however small: their object shares them later.
        super().__init__(core, size_bytes, hashers, 0, stream_key)

    def commit(self, *, checksums: tuple[Checksum, ...] = ()) -> PartInfo:
        """Make the part known; durable on return.

        Raises:
            NoSuchUploadError: the upload was completed or aborted meanwhile.
        """
        try:
            self.finish()
            body = PartBody(
                self._upload,
                self._part_number,
                self.size_bytes,
                0,
                encryption.etag_of(self._core, self._seal, self.md5),
                rows.checksum_rows(checksums),
                self._durable_extents(),
                salt=self._salt,
            )
            record = self._commit(PutPart(self._core, self._bucket, self._key, body))
        finally:
            self.abort()
        return rows.part_info(schema.decode_part(record.body))


# --- complete ---------------------------------------------------------------------


class CompleteUpload:
    """Make an object of an upload's parts, and the upload go."""

    leaves_segments = FOR_WRITES
    event = CREATED_COMPLETED

    def __init__(
        self,
        core: Core,
        bucket: str,
        key: str,
        upload_id: str,
        parts: Sequence[CompletedPart],
        conditions: Conditions,
        checksums: Sequence[Checksum],
        customer_key: bytes = b"",
    ) -> None:
        self._core, self._bucket, self._key = core, bucket, encode_key(key)
        self._customer_key = customer_key
        self.cause = present_cause()
        self._upload = decode_upload_id(upload_id)
        self._parts = check_order(parts)
        self._conditions, self._checksums = conditions, checksums
        self.has_versions = False
        self.size_bound_bytes = self._bound()

    def _bound(self) -> int:
        with self._core.index.read() as txn:
            row = find_upload(self._core, txn, self._bucket, self._key, self._upload)
            prefix = keys.parts_prefix(self._upload)
            parts = sum(len(row) for _key, row in txn.scan(prefix, keys.after(prefix)))
        manifests = len(self._parts) // _PARTS_A_MANIFEST + 1
        overhead_bytes = log.RECORD_HEAD_BYTES + len(self._key) + 64
        return len(row) + parts + _BODY_BOUND_BYTES * 4 + (manifests + 2) * overhead_bytes

    def decide(self, decision: Decision) -> Sequence[Record]:
        row = find_upload(self._core, decision.txn, self._bucket, self._key, self._upload)
        bucket = self._core.bucket(decision.txn, self._bucket)
        bucket_id = bucket.bucket_id
        parts = self._stored_parts(decision.txn)
        if self._conditions:
            check_current(decision.txn, bucket_id, self._key, self._conditions)
        flags = null_flag(bucket)
        self.has_versions = has_versions(bucket)
        upload = schema.decode_upload(schema.row_body(row))
        if self._customer_key:  # it need not come: no bytes are read or written
            encryption.check_customer_key(upload.seal, self._customer_key)
        body = self._object_body(bucket, flags, upload, parts, decision.now_ms)
        if body.size_bytes > MAX_OBJECT_BYTES:
            raise EntityTooLargeError(body.size_bytes, MAX_OBJECT_BYTES)
        version_seq = decision.next_lsn
        encoded = schema.encode(body)
        flags |= FLAG_MANIFEST
        records = [Record(log.VERSION, bucket_id, self._key, encoded, version_seq, flags)]
        for manifest in manifests_of(parts):
            part_body = schema.encode(manifest)
            records.append(Record(log.MANIFEST, bucket_id, self._key, part_body, version_seq))
        records.append(upload_gone(bucket_id, self._key, self._upload))
        return records

    def _stored_parts(self, txn: ReadTransaction) -> list[PartBody]:
        stored = []
        for part in self._parts:
            row = txn.get(keys.part(self._upload, part.part_number))
            body = schema.decode_part(schema.row_body(row)) if row is not None else None
            if body is None or body.etag.hex() != part.etag or not _agree(part, body):
                raise InvalidPartError(
                    f"part {part.part_number} was not uploaded, or with another ETag or checksum",
                    "PartNumber",
                    str(part.part_number),
                )
            stored.append(body)
        least_bytes = self._core.config.min_part_bytes
        for body in stored[:-1]:
            if body.size_bytes < least_bytes:
                raise EntityTooSmallError(
                    body.size_bytes, least_bytes, body.part_number, body.etag.hex()
                )
        return stored

    def _object_body(
        self,
        bucket: BucketBody,
        flags: int,
        upload: UploadBody,
        parts: Sequence[PartBody],
        now_ms: int,
    ) -> VersionBody:
        digests = b"".join(part.etag for part in parts)
        lock = NO_LOCK if upload.lock is None else rows.lock_of(upload.lock)
        return VersionBody(
            sum(part.size_bytes for part in parts),
            now_ms,
            hashlib.md5(digests, usedforsecurity=False).digest(),
            len(parts),
            rows.stored_class(upload.storage_class),
            upload.owner,
            rows.checksum_rows(self._checksums),
            upload.headers,
            upload.metadata,
            upload.tags,
            stored_id(flags),
            [],
            self._upload,
            new_lock(bucket, lock, now_ms, may_have_ended=True),
            upload.seal,
        )


def check_order(parts: Sequence[CompletedPart]) -> Sequence[CompletedPart]:
    """Raises unless there are 1 to 10,000 parts with ascending numbers."""
    if not 1 <= len(parts) <= MAX_PARTS:
        raise InvalidArgumentError(f"a completion names 1 to {MAX_PARTS} parts", "Part")
    for before, after in itertools.pairwise(parts):
        if before.part_number >= after.part_number:
            raise InvalidPartOrderError(
                f"part {after.part_number} comes after part {before.part_number}",
                "PartNumber",
                str(after.part_number),
            )
    return parts


def _agree(part: CompletedPart, body: PartBody) -> bool:
    """Whether the checksums named in the completion are those of the upload."""
    stored = {row.algorithm: row.value for row in body.checksums}
    return all(stored.get(c.algorithm) == c.value for c in part.checksums)


def manifests_of(parts: Iterable[PartBody]) -> list[ManifestBody]:
    """The parts in runs of a row each; empty parts have no bytes to find.

    Rows are told apart by where they begin: a run of empty parts alone goes on, or the next
    one would take its place.
    """
    manifests: list[ManifestBody] = []
    position = 0
    for part in parts:
        is_full = not manifests or len(manifests[-1].parts) >= _PARTS_A_MANIFEST
        if is_full and (not manifests or position > manifests[-1].start_byte):
            manifests.append(ManifestBody(position, []))
        entry = ManifestPart(
            part.part_number, part.size_bytes, part.etag, part.checksums, part.extents, part.salt
        )
        manifests[-1].parts.append(entry)
        position += part.size_bytes
    return manifests


def complete(
    core: Core,
    bucket: str,
    key: str,
    upload_id: str,
    parts: Sequence[CompletedPart],
    conditions: Conditions,
    checksums: Sequence[Checksum],
    customer_key: bytes,
) -> ObjectInfo:
    """See `ObjectStore.complete_upload`."""
    try:
        operation = CompleteUpload(
            core, bucket, key, upload_id, parts, conditions, checksums, customer_key
        )
        record = core.commit(operation)[0]
        return info_of(bucket, record, has_versions=operation.has_versions)
    except NoSuchUploadError:
        done = _completed(core, bucket, key, upload_id, parts, customer_key)
        if done is None:
            raise
        return done


def _completed(
    core: Core,
    bucket: str,
    key: str,
    upload_id: str,
    parts: Sequence[CompletedPart],
    customer_key: bytes,
) -> ObjectInfo | None:
    """The object that the upload was completed to by these parts, if a version still is that.

    Raises:
        StoreError: as `check_order`; the customer's key is not the upload's.
    """
    upload = decode_upload_id(upload_id)
    wanted = [(part.part_number, part.etag) for part in check_order(parts)]
    with core.index.read() as txn:
        found = core.bucket(txn, bucket)
        current = txn.get(keys.current(found.bucket_id, encode_key(key)))
        stored = [] if current is None else [current]
        if has_versions(found):
            prefix = keys.versions_prefix(found.bucket_id, encode_key(key))
            older = txn.page(prefix, keys.after(prefix), COMPLETED_VERSIONS_SEARCHED)
            stored += [row for _key, row in older]
        for row in stored:
            head, body = schema.unpack_head(row), schema.decode_version(schema.row_body(row))
            if not head.flags & FLAG_MANIFEST or body.upload_id != upload:
                continue
            if _part_names(txn, head.version_seq) != wanted:
                continue  # of other parts, or an append has made it longer
            if customer_key:
                encryption.check_customer_key(body.seal, customer_key)
            return rows.object_info(bucket, key, head, body, has_versions=has_versions(found))
    return None


def _part_names(txn: ReadTransaction, version_seq: int) -> list[tuple[int, str]]:
    prefix = keys.manifest_prefix(version_seq)
    return [
        (part.part_number, part.etag.hex())
        for _key, row in txn.scan(prefix, keys.after(prefix))
        for part in schema.decode_manifest(manifest_body(row)).parts
    ]
