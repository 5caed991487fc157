"""What an append builds on: the object as it is, and what has to be known of it beforehand.

All that takes time is done here, outside of the writer lock.  The commit compares what it
finds with what this was prepared for, and has it prepared again where that differs.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from objstore.config import MAX_PARTS
from objstore.crc import CRCS, CrcHasher, joined, new_crc
from objstore.engine import encryption, rows
from objstore.engine.apply import manifest_body
from objstore.engine.conditions import check_write
from objstore.engine.core import Core
from objstore.engine.encryption import StreamKey
from objstore.engine.extent_writer import ExtentWriter
from objstore.engine.part_digests import Digest, new_digest
from objstore.engine.payload import read_payload
from objstore.engine.versions import null_flag
from objstore.errors import (
    AppendOffsetError,
    EncryptionMismatchError,
    NotAppendableError,
    ObjectReplacedError,
    TooManyPartsError,
)
from objstore.index import keys, schema
from objstore.index.base import ReadTransaction
from objstore.index.schema import (
    FLAG_DELETE_MARKER,
    FLAG_EXTENTS,
    FLAG_MANIFEST,
    FLAG_NULL,
    BucketBody,
    ChecksumRow,
    Extent,
    Head,
    ManifestPart,
    SealRow,
    VersionBody,
    unpack_head,
)
from objstore.log import format as log
from objstore.model import Checksum, Conditions, Encryption, ObjectAttributes

_SENT_BY_SDKS = "content-type"
"""A header that some SDKs send with every body: an append to an object does not change it."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where to append.  `attributes`: of the object, where the append makes it."""

    bucket: str
    key: bytes
    offset_bytes: int
    attributes: ObjectAttributes
    conditions: Conditions
    customer_key: bytes = field(default=b"", repr=False)


@dataclass(slots=True)
class Base:
    """The object that an append was prepared for; all empty where there is none.

    `digest`: over the ETags of its parts.  `checksums`: of the object once it has grown.
    `extents`: where the bytes of a small object have been written to, from the log.
    `record_bytes`: what is written again of it, at most.
    """

    row: bytes | None
    digest: Digest
    checksums: list[ChecksumRow]
    record_bytes: int = 0
    writer: ExtentWriter | None = None

    @property
    def extents(self) -> list[Extent]:
        return self.writer.extents if self.writer is not None else []

    def still_is(self, row: bytes | None) -> bool:
        """Whether `row` is of the same bytes in the same parts, and has not become longer.

        The number of a version says which bytes it has, but for those appended since.
        """
        if self.row is None or row is None:
            return self.row is row
        old, new = unpack_head(self.row), unpack_head(row)
        return (
            old.version_seq == new.version_seq
            and old.flags == new.flags
            and len(row) <= len(self.row)
            and _part_count(self.row) == _part_count(row)
        )

    def settle(self, *, is_doubtful: bool) -> None:
        """The extents are committed, or not wanted; see `ExtentWriter.settle`."""
        if self.writer is not None:
            self.writer.settle(is_doubtful=is_doubtful)


def current_row(txn: ReadTransaction, bucket_id: int, key: bytes) -> bytes | None:
    """The row of the present object; None without one, and where a marker hides it."""
    row = txn.get(keys.current(bucket_id, key))
    return None if row is None or row[schema.FLAGS_AT] & FLAG_DELETE_MARKER else row


def _part_count(row: bytes) -> int:
    return schema.decode_listing(schema.row_body(row)).etag_parts


def check_append(target: Target, row: bytes | None) -> None:
    """Check what an append asks of the present object.

    Raises:
        PreconditionFailedError, NoSuchKeyError: as `check_write`.
        AppendOffsetError: its size is another than the offset.
        NotAppendableError: the append says what only the making of an object can say.
        TooManyPartsError: it has 10,000 parts.
    """
    body = None if row is None else schema.decode_listing(schema.row_body(row))
    etag = None if body is None else rows.etag_text(body.etag, body.etag_parts)
    check_write(target.conditions, target.key.decode(), etag)
    size_bytes = 0 if body is None else body.size_bytes
    if target.offset_bytes != size_bytes:
        raise AppendOffsetError(target.offset_bytes, size_bytes)
    if body is None:
        return
    attributes = target.attributes
    has_class = attributes.storage_class in (rows.STANDARD, body.storage_class or rows.STANDARD)
    for named, what in (
        (attributes.metadata, "user-defined object metadata"),
        (attributes.tags, "object tags"),
        (attributes.headers.keys() - {_SENT_BY_SDKS}, "standard headers"),
        (not has_class, "another storage class"),
    ):
        if named:
            raise NotAppendableError(
                f"Cannot specify both a write offset value and {what} for existing objects."
            )
    if body.etag_parts >= MAX_PARTS:
        raise TooManyPartsError(f"the object has {MAX_PARTS} parts already")


def seal_for(
    core: Core, bucket: BucketBody, target: Target, row: bytes | None
) -> tuple[SealRow | None, StreamKey | None]:
    """How the bytes to append are encrypted: as the object is, or as one that they make.

    Returns:
        The object's seal, of a new one with the salt of its one stream; and what encrypts
        the bytes.

    Raises:
        EncryptionMismatchError: the append asks for another encryption than the object has.
        StoreError: as `encryption.data_key_of`, or as `encryption.make_seal`.
    """
    asked = target.attributes.encryption
    if row is None:
        wanted = encryption.wanted_of(bucket, asked, target.customer_key)
        if not wanted:
            return None, None
        return encryption.make_stream_seal(core, wanted, target.customer_key)
    seal = schema.decode_version(schema.row_body(row)).seal
    if asked and not _is_as_asked(core, seal, asked):
        raise EncryptionMismatchError
    return seal, encryption.stream_of(core, seal, target.customer_key)


def _is_as_asked(core: Core, seal: SealRow | None, asked: Encryption) -> bool:
    """Whether the object is encrypted in the way, and with the key, that an append names."""
    if seal is None or asked.algorithm != seal.algorithm:
        return False
    if asked.algorithm not in encryption.SSE_KMS:
        return True
    if asked.key_id and core.key_service.resolve(asked.key_id) != seal.key_id:
        return False
    return not asked.context or asked.context.encode() == seal.context


def check_seal(seal: SealRow | None, row: bytes) -> None:
    """Whether the object's data key is still the one that the bytes were encrypted with.

    Raises:
        ObjectReplacedError: it is another object by now.
    """
    found = schema.decode_version(schema.row_body(row)).seal
    keys_of = [each.wrapped_key if each is not None else b"" for each in (seal, found)]
    if keys_of[0] != keys_of[1]:
        raise ObjectReplacedError("the object was replaced meanwhile; append to it again")


def prepare(
    core: Core,
    target: Target,
    part: ManifestPart,
    given: Sequence[Checksum],
    seal: SealRow | None = None,
) -> Base:
    """The present object, as what `part` is to be appended to; `given`: checksums of a client.

    `seal`: of the object that the part was encrypted for.

    Raises:
        StoreError: as `check_append`; or its checksums cannot be made to hold for more bytes.
    """
    with core.index.read() as txn:
        bucket = core.bucket(txn, target.bucket)
        row = current_row(txn, bucket.bucket_id, target.key)
        check_append(target, row)
        if row is None:
            return Base(None, new_digest([]), part.checksums)
        check_seal(seal, row)
        head, body = unpack_head(row), schema.decode_version(schema.row_body(row))
        whole = full_checksums(txn, head, body)
        base = Base(
            row,
            core.part_digests.of(txn, head, body),
            grown_checksums(body.size_bytes, whole, part, given),
            _record_bytes(txn, bucket, target.key, head, row),
        )
    if not head.flags & (FLAG_EXTENTS | FLAG_MANIFEST) and body.size_bytes:
        base.writer = _written_out(core, target, row)
    return base


def _written_out(core: Core, target: Target, row: bytes) -> ExtentWriter:
    """The bytes of a small object in an extent, durable there."""
    payload = read_payload(core, (target.bucket, target.key.decode(), ""), row)
    writer = ExtentWriter(core, len(payload))
    try:
        writer.write(payload)
        writer.finish()
        core.flush()
    except BaseException:
        writer.settle(is_doubtful=False)
        raise
    return writer


def _record_bytes(
    txn: ReadTransaction, bucket: BucketBody, key: bytes, head: Head, row: bytes
) -> int:
    """What is written again: the version's record, and its last run of parts, or all runs."""
    total_bytes = len(row) + 2 * (log.RECORD_HEAD_BYTES + len(key))
    if not head.flags & FLAG_MANIFEST:
        return total_bytes
    prefix = keys.manifest_prefix(head.version_seq)
    if head.flags & null_flag(bucket) & FLAG_NULL:
        last = txn.last(prefix, keys.after(prefix))
        return total_bytes + (len(last[1]) if last is not None else 0)
    for _key, run in txn.scan(prefix, keys.after(prefix)):
        total_bytes += len(run) + log.RECORD_HEAD_BYTES + len(key)
    return total_bytes


# --- checksums ----------------------------------------------------------------------


def running_crcs(row: bytes | None) -> dict[str, CrcHasher]:
    """The CRCs that bytes appended to this object need, so that its own can go on."""
    if row is None:
        return {}
    checksums = schema.decode_listing(schema.row_body(row)).checksums
    return {each.algorithm: new_crc(each.algorithm) for each in checksums if each.algorithm in CRCS}


def part_checksums(given: Iterable[Checksum], crcs: Mapping[str, CrcHasher]) -> list[ChecksumRow]:
    """Checksums of the bytes appended: those that a client gave, and the CRCs computed."""
    found = {row.algorithm: row for row in rows.checksum_rows(given)}
    for name, crc in crcs.items():
        value = base64.b64encode(crc.digest()).decode("ascii")
        found.setdefault(name, ChecksumRow(name, value))
    return list(found.values())


def full_checksums(txn: ReadTransaction, head: Head, body: VersionBody) -> list[ChecksumRow]:
    """The object's checksums, where all can hold for more bytes: CRCs of the full object.

    A composite CRC becomes one, from those of the parts.

    Raises:
        NotAppendableError: one cannot; nobody would know it without reading the object.
    """
    found = []
    for row in body.checksums:
        if row.algorithm not in CRCS and body.size_bytes:
            raise NotAppendableError(
                f"An object with a checksum of type {row.algorithm.lower()} cannot be appended to."
            )
        found.append(_joined_parts(txn, head, row.algorithm) if row.composite else row)
    return found


def _joined_parts(txn: ReadTransaction, head: Head, algorithm: str) -> ChecksumRow:
    value = ""
    prefix = keys.manifest_prefix(head.version_seq)
    for _key, run in txn.scan(prefix, keys.after(prefix)):
        for part in schema.decode_manifest(manifest_body(run)).parts:
            own = next((row.value for row in part.checksums if row.algorithm == algorithm), None)
            if own is None:
                raise NotAppendableError(
                    f"A part of the object has no checksum of type {algorithm.lower()}."
                )
            value = _joined(algorithm, value, own, part.size_bytes) if value else own
    if not value:
        raise NotAppendableError(f"The {algorithm} of the object is not that of its bytes.")
    return ChecksumRow(algorithm, value)


def _joined(algorithm: str, first: str, second: str, second_bytes: int) -> str:
    try:
        return joined(algorithm, first, second, second_bytes)
    except (ValueError, OverflowError):
        raise NotAppendableError(f"The object has no valid {algorithm}.") from None


def grown_checksums(
    size_bytes: int, whole: Sequence[ChecksumRow], part: ManifestPart, given: Sequence[Checksum]
) -> list[ChecksumRow]:
    """The checksums of the object and its new part together.

    An object without any stays so; an empty one takes those of what is appended.

    Raises:
        NotAppendableError: the client gave one of another algorithm than the object's.
        ObjectReplacedError: the object is not the one that the append was opened for.
    """
    if not size_bytes:
        return part.checksums
    names = [row.algorithm for row in whole]
    for checksum in given:
        if names and checksum.algorithm not in names:
            raise NotAppendableError(
                f"Checksum Type mismatch occurred, expected checksum Type: {names[0].lower()}, "
                f"actual checksum Type: {checksum.algorithm.lower()}."
            )
    added = {row.algorithm: row.value for row in part.checksums}
    grown = []
    for row in whole:
        if row.algorithm not in added:
            raise ObjectReplacedError("the object was replaced meanwhile; append to it again")
        value = _joined(row.algorithm, row.value, added[row.algorithm], part.size_bytes)
        grown.append(ChecksumRow(row.algorithm, value))
    return grown
