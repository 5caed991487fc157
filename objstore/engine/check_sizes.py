"""The part of the whole-store check that compares sizes: extents hold what they should.

The bytes of an extent are checked once, as a whole, whoever uses it.  What each owner takes
of it is compared here: slices lie within their extents, and those of an object or a part
add up to its size, encrypted or not.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from objstore.engine.apply import manifest_body
from objstore.engine.frames import stored_size
from objstore.index import keys, schema
from objstore.index.base import ReadTransaction
from objstore.index.schema import FLAG_EXTENTS, FLAGS_AT, Extent, ManifestPart, PartBody, row_body


def size_problems(txn: ReadTransaction) -> Iterator[str]:
    """What does not add up, in words."""
    for prefix in (b"o", b"v"):
        for key, row in txn.scan(prefix, keys.after(prefix)):
            if row[FLAGS_AT] & FLAG_EXTENTS:
                body = schema.decode_version(row_body(row))
                size_bytes = body.size_bytes
                wanted_bytes = size_bytes if body.seal is None else stored_size(size_bytes)
                yield from _compared(key, body.extents, wanted_bytes)
    for key, row in txn.scan(b"m", keys.after(b"m")):
        for manifest_part in schema.decode_manifest(manifest_body(row)).parts:
            yield from _part_problems(key, manifest_part)
    for key, row in txn.scan(b"p", keys.after(b"p")):
        yield from _part_problems(key, schema.decode_part(row_body(row)))


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
