"""Arithmetic of extents in data segments: how bytes and their checksums lie there.

An extent is its data, then, from the next multiple of 8, one XXH3-64 for each
chunk of data, little-endian, seeded with the extent's nonce plus the chunk's
number.  The next extent starts at a multiple of 4 KiB.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from objstore.errors import CorruptionError
from objstore.index.schema import Extent
from objstore.log.format import Layout, align_up

_MASK_64 = 2**64 - 1
CHECKSUM_BYTES = 8


def chunk_count(length_bytes: int, chunk_bytes: int) -> int:
    return -(-length_bytes // chunk_bytes)


def table_offset(length_bytes: int) -> int:
    """Where the checksums begin, from the extent's start."""
    return align_up(length_bytes, CHECKSUM_BYTES)


def stored_bytes(length_bytes: int, chunk_bytes: int) -> int:
    """What an extent of so much data takes on the device."""
    table_bytes = chunk_count(length_bytes, chunk_bytes) * CHECKSUM_BYTES
    return align_up(table_offset(length_bytes) + table_bytes)


def seed(nonce: int, chunk: int) -> int:
    """What the checksum of chunk number `chunk` is seeded with."""
    return (nonce + chunk) & _MASK_64


def span(extent: Extent, layout: Layout, chunk_bytes: int) -> tuple[int, int]:
    """(first segment, number of segments) that the extent lies in."""
    first = layout.segment_of(extent.offset_bytes)
    end = extent.offset_bytes + stored_bytes(extent.length_bytes, chunk_bytes)
    return first, layout.segment_of(end - 1) - first + 1


def is_same(extent: Extent, other: Extent) -> bool:
    """Whether two are of the same bytes on the device, whichever slice of them each means."""
    return (extent.offset_bytes, extent.nonce) == (other.offset_bytes, other.nonce)


def sliced(extent: Extent, start: int, length: int) -> Extent:
    """`length` bytes from byte `start` on of what `extent` means; all of it stays whole."""
    skip_bytes = extent.skip_bytes + start
    if not skip_bytes and length == extent.length_bytes:
        return Extent(extent.offset_bytes, extent.length_bytes, extent.nonce)
    return Extent(extent.offset_bytes, extent.length_bytes, extent.nonce, skip_bytes, length)


def cut(placed: Iterable[tuple[int, Extent]], start: int, length: int) -> list[Extent]:
    """The extents of `length` bytes from byte `start` on.

    Args:
        placed: (first byte, extent), ascending, as `get.object_extents` gives them.

    Raises:
        CorruptionError: they do not hold all of these bytes.
    """
    found: list[Extent] = []
    missing_bytes = length
    for at, extent in placed:
        low = max(start, at)
        high = min(start + length, at + extent.size_bytes)
        if low < high:
            found.append(sliced(extent, low - at, high - low))
            missing_bytes -= high - low
    if missing_bytes:
        raise CorruptionError(f"{missing_bytes} of {length} bytes from {start} on are nowhere")
    return found


def placed_from(extents: Iterable[Extent]) -> Iterator[tuple[int, Extent]]:
    """Extents that follow each other from byte 0 on, as `cut` takes them."""
    at = 0
    for extent in extents:
        yield at, extent
        at += extent.size_bytes


def moved(extents: Iterable[Extent], old: Extent, new: Sequence[Extent]) -> list[Extent]:
    """`extents` after all bytes of `old` were written again as `new`; slices stay slices."""
    result: list[Extent] = []
    for extent in extents:
        if is_same(extent, old):
            result += cut(placed_from(new), extent.skip_bytes, extent.size_bytes)
        else:
            result.append(extent)
    return result
