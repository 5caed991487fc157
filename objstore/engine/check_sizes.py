"""The part of the whole-store check that compares sizes: all bytes of an object are somewhere.

The bytes of an extent are checked once, as a whole, whoever uses it.  What each owner takes
of it is compared here: slices lie within their extents, and those of an object or a part
add up to its size, encrypted or not.  A small object's are the payload of its record.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from objstore.engine.apply import manifest_body
from objstore.engine.frames import stored_size
from objstore.engine.reader import stored_bytes
from objstore.index import keys, schema
from objstore.index.base import ReadTransaction
from objstore.index.schema import (
    FLAG_DELETE_MARKER,
    FLAG_EXTENTS,
    FLAG_MANIFEST,
    FLAGS_AT,
    Extent,
    ManifestPart,
    PartBody,
    row_body,
    unpack_head,
)


def size_problems(txn: ReadTransaction) -> Iterator[str]:
    """What does not add up, in words."""
    for prefix in (b"o", b"v"):
        for key, row in txn.scan(prefix, keys.after(prefix)):
            flags = row[FLAGS_AT]
            if flags & FLAG_DELETE_MARKER:
                continue
            body = schema.decode_version(row_body(row))
            if flags & FLAG_MANIFEST:
                found_bytes = _bytes_of_parts(txn, unpack_head(row).version_seq)
                if found_bytes != body.size_bytes:
                    yield f"the parts of row {key!r} hold {found_bytes} of {body.size_bytes} bytes"
            elif flags & FLAG_EXTENTS:
                yield from _compared(key, body.extents, stored_bytes(body))
            elif (found_bytes := unpack_head(row).payload_bytes) != stored_bytes(body):
                yield (
                    f"the record of row {key!r} holds {found_bytes} bytes instead of "
                    f"{stored_bytes(body)}"
                )
    for key, row in txn.scan(b"m", keys.after(b"m")):
        for manifest_part in schema.decode_manifest(manifest_body(row)).parts:
            yield from _part_problems(key, manifest_part)
    for key, row in txn.scan(b"p", keys.after(b"p")):
        yield from _part_problems(key, schema.decode_part(row_body(row)))


def _bytes_of_parts(txn: ReadTransaction, version_seq: int) -> int:
    prefix = keys.manifest_prefix(version_seq)
    return sum(
        part.size_bytes
        for _key, row in txn.scan(prefix, keys.after(prefix))
        for part in schema.decode_manifest(manifest_body(row)).parts
    )


def _part_problems(key: bytes, part: ManifestPart | PartBody) -> Iterator[str]:
    size_bytes = part.size_bytes
    yield from _compared(key, part.extents, stored_size(size_bytes) if part.salt else size_bytes)


def _compared(key: bytes, extents: Sequence[Extent], wanted_bytes: int) -> Iterator[str]:
    for extent in extents:
        if extent.skip_bytes + extent.size_bytes > extent.length_bytes:
            yield f"row {key!r} uses more than there is of the extent at {extent.offset_bytes}"
    found_bytes = sum(extent.size_bytes for extent in extents)
    if found_bytes != wanted_bytes:
        yield f"the extents of row {key!r} hold {found_bytes} bytes instead of {wanted_bytes}"
