"""Parts of completed objects: lists of them, and reads of one by its number.

What the parts of an upload were is kept in its object's manifest rows, in the order of
their numbers, which need not be without gaps.  An object that was put in one piece can be
read as its own part 1, as S3 has it, and lists none.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from objstore.engine import encryption, rows
from objstore.engine.apply import manifest_body
from objstore.engine.conditions import check_read
from objstore.engine.core import Core
from objstore.engine.get import find, get
from objstore.engine.reader import ObjectReader
from objstore.errors import InvalidRangeError, NoSuchPartError
from objstore.index import keys, schema
from objstore.index.base import ReadTransaction
from objstore.index.schema import FLAG_MANIFEST, Head, ManifestBody
from objstore.model import (
    NO_CONDITIONS,
    ByteRange,
    Conditions,
    ObjectInfo,
    ObjectPart,
    ObjectPartPage,
)


class _PartNumber(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """The first field of a `ManifestPart` alone."""

    part_number: int


class _PartNumbers(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A `ManifestBody` of which nothing but the numbers is decoded: a tenth of the time."""

    start_byte: int
    parts: list[_PartNumber]


_decode_numbers = msgspec.msgpack.Decoder(_PartNumbers).decode


def list_parts(
    core: Core,
    bucket: str,
    key: str,
    version_id: str,
    after: int,
    limit: int,
    conditions: Conditions,
) -> ObjectPartPage:
    """See `ObjectStore.list_object_parts`."""
    parts: list[ObjectPart] = []
    with core.index.read() as txn:
        head, info = _find(core, txn, bucket, key, version_id)
        if conditions:
            check_read(conditions, info)
        if limit > 0:
            for part in _parts_after(txn, head, after):
                if len(parts) == limit:
                    return ObjectPartPage(tuple(parts), parts[-1].part_number, info)
                parts.append(part)
    return ObjectPartPage(tuple(parts), None, info)


def part_at(core: Core, bucket: str, key: str, start_byte: int, version_id: str) -> ObjectPartPage:
    """See `ObjectStore.object_part_at`."""
    with core.index.read() as txn:
        head, info = _find(core, txn, bucket, key, version_id)
        found: list[ObjectPart] = []
        prefix = keys.manifest_prefix(head.version_seq)
        row = txn.last(prefix, keys.manifest(head.version_seq, start_byte) + b"\x00")
        if head.flags & FLAG_MANIFEST and row is not None:
            manifest = schema.decode_manifest(manifest_body(row[1]))
            found = [part for part in _parts_of(manifest) if part.start_byte == start_byte]
    return ObjectPartPage(tuple(found), None, info)


def head_part(
    core: Core,
    bucket: str,
    key: str,
    number: int,
    conditions: Conditions,
    version_id: str,
    customer_key: bytes | None,
) -> ObjectInfo:
    """`ObjectStore.head` of a part."""
    with core.index.read() as txn:
        head, info = _find(core, txn, bucket, key, version_id, customer_key)
        if conditions:
            check_read(conditions, info)
        part = _part(txn, head, info, number)
    return msgspec.structs.replace(info, part=part)


def get_part(
    core: Core,
    bucket: str,
    key: str,
    number: int,
    conditions: Conditions,
    version_id: str,
    customer_key: bytes,
) -> ObjectReader:
    """`ObjectStore.get` of a part."""
    while True:
        info = head_part(core, bucket, key, number, conditions, version_id, customer_key)
        part = info.part
        assert part is not None
        if not part.size_bytes:
            return ObjectReader(core, info, part.start_byte, 0, bytearray())
        wanted = ByteRange(part.start_byte, part.start_byte + part.size_bytes - 1)
        reader = _open(core, info, wanted, version_id, customer_key)
        if reader is not None:
            return reader


def _open(
    core: Core, info: ObjectInfo, wanted: ByteRange, version_id: str, customer_key: bytes
) -> ObjectReader | None:
    """A reader of what was looked up; None if the object has been replaced since."""
    try:
        reader = get(core, info.bucket, info.key, wanted, NO_CONDITIONS, version_id, customer_key)
    except InvalidRangeError:  # what is there now is shorter
        return None
    if reader.info.version_seq != info.version_seq:
        reader.close()
        return None
    reader.info = info
    return reader


def _find(
    core: Core,
    txn: ReadTransaction,
    bucket: str,
    key: str,
    version_id: str,
    customer_key: bytes | None = None,
) -> tuple[Head, ObjectInfo]:
    """The object; `customer_key`: that of its reader, None where no bytes are read."""
    row, has_versions = find(core, txn, bucket, key, version_id)
    head = schema.unpack_head(row)
    body = schema.decode_version(schema.row_body(row))
    if customer_key is not None:
        encryption.check_customer_key(body.seal, customer_key)
    return head, rows.object_info(bucket, key, head, body, has_versions=has_versions)


def _part(txn: ReadTransaction, head: Head, info: ObjectInfo, number: int) -> ObjectPart:
    """The part of this number.

    Raises:
        NoSuchPartError: the object has none.
    """
    if not head.flags & FLAG_MANIFEST:
        if number == 1:
            return ObjectPart(1, 0, info.size_bytes, info.etag, info.checksums)
        raise NoSuchPartError(number, 1)
    part = next(_parts_after(txn, head, number - 1), None)
    if part is None or part.part_number != number:
        raise NoSuchPartError(number, info.part_count)
    return part


def _parts_after(txn: ReadTransaction, head: Head, after: int) -> Iterator[ObjectPart]:
    """The parts with numbers greater than `after`, in order; none of an object without any."""
    if not head.flags & FLAG_MANIFEST:
        return
    prefix = keys.manifest_prefix(head.version_seq)
    for _key, row in txn.scan(prefix, keys.after(prefix)):
        encoded = manifest_body(row)
        if _decode_numbers(encoded).parts[-1].part_number > after:
            for part in _parts_of(schema.decode_manifest(encoded)):
                if part.part_number > after:
                    yield part


def _parts_of(manifest: ManifestBody) -> Iterator[ObjectPart]:
    start_byte = manifest.start_byte
    for part in manifest.parts:
        checksums = rows.checksums_of(part.checksums)
        yield ObjectPart(part.part_number, start_byte, part.size_bytes, part.etag.hex(), checksums)
        start_byte += part.size_bytes
