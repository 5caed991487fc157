"""Arithmetic of extents in data segments: how bytes and their checksums lie there.

An extent is its data, then, from the next multiple of 8, one XXH3-64 for each
chunk of data, little-endian, seeded with the extent's nonce plus the chunk's
number.  The next extent starts at a multiple of 4 KiB.
"""

from __future__ import annotations

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
