"""Multipart uploads: parts are extents; completing one writes metadata alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from blockdev import Buffer
from objstore.config import (
    MAX_PART_BYTES,
    MAX_PARTS,
)
from objstore.engine import encryption, rows
from objstore.engine.body_stream import BodyStream
from objstore.engine.core import Core, encode_key
from objstore.engine.locks import new_lock
from objstore.engine.operation import Decision, NotPreparedError
from objstore.engine.put import attributes_bound_bytes
from objstore.engine.space import FOR_DELETES, FOR_WRITES
from objstore.errors import (
    InvalidArgumentError,
    NoSuchUploadError,
)
from objstore.index import keys, schema
from objstore.index.base import ReadTransaction
from objstore.index.schema import (
    BucketBody,
    GoneBody,
    PartBody,
    SealRow,
    UploadBody,
)
from objstore.log import format as log
from objstore.log.format import Record
from objstore.model import (
    Checksum,
    Encryption,
    ObjectAttributes,
    PartInfo,
    UploadInfo,
)

_BODY_BOUND_BYTES = 512
_CHECKSUM_BOUND_BYTES = 160
_EXTENT_BOUND_BYTES = 32


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
