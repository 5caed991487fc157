"""How a 512 KiB block of a snapshot is named and stored, wherever the store keeps it.

A block's name is the XXH3-128 of its plain bytes.  What is stored is a header of
four bytes, ``OBK`` and the kind, and the block: compressed with zstandard (kind
``z``), or as it is where that saves nothing (kind ``r``).

XXH3 finds what a disk or a cable spoils; it is not proof against somebody who makes
two blocks with one hash on purpose.  A store therefore compares before it takes an
existing block for a new one (`blocks.py`), and says so when they differ.
"""

from __future__ import annotations

import threading
from typing import Final

import xxhash
import zstandard

from blockdev.device import Buffer, byte_view
from blockdev.errors import DeviceIOError
from blockdev.model import SNAPSHOT_BLOCK_BYTES

BLOCK_BYTES: Final = SNAPSHOT_BLOCK_BYTES
DIGEST_BYTES: Final = 16
ZERO_BLOCK: Final = bytes(BLOCK_BYTES)

COMPRESSION_LEVEL: Final = 1
"""On lines of text level 3 makes blocks a fifth smaller and takes a third longer.  At level 1
a snapshot of an installation's files comes to 364 MB/s on two cores (`bench/snapshots.py`),
where 300 are wanted: there is no room for more."""

_MAGIC: Final = b"OBK"
_RAW: Final = b"r"
_ZSTD: Final = b"z"
_HEADER_BYTES: Final = 4

STORED_BYTES_MAX: Final = _HEADER_BYTES + BLOCK_BYTES
"""No stored block is longer."""


class BlockMissingError(DeviceIOError):
    """A block that a snapshot refers to is not in the store."""


class BlockCorruptError(DeviceIOError):
    """What is stored under a digest is not the block of that digest."""


class BlockCollisionError(DeviceIOError):
    """Two different blocks have the same digest; the second one was not stored."""


class _Codecs(threading.local):
    """zstandard's contexts: quick to use again, not to be shared between threads."""

    def __init__(self) -> None:
        self.compressor = zstandard.ZstdCompressor(level=COMPRESSION_LEVEL)
        self.decompressor = zstandard.ZstdDecompressor()


_codecs = _Codecs()


def digest_of(plain: Buffer) -> bytes:
    """The name of a block: XXH3-128 of its bytes, 16 bytes, big-endian."""
    return xxhash.xxh3_128_digest(plain)


def is_zero(plain: Buffer) -> bool:
    """Whether a block holds nothing but zeroes, so that no snapshot stores it."""
    view = byte_view(plain)
    if len(view) == BLOCK_BYTES:
        # memcmp ends at the first byte that differs; `any` would look at each as an object.
        return bytes(view[:64]) == ZERO_BLOCK[:64] and bytes(view) == ZERO_BLOCK
    return bytes(view) == bytes(len(view))


def encode(plain: Buffer) -> bytes:
    """The stored form of a block.

    Raises:
        ValueError: it is not BLOCK_BYTES long.
    """
    view = byte_view(plain)
    if len(view) != BLOCK_BYTES:
        raise ValueError(f"a block has {BLOCK_BYTES} bytes, not {len(view)}")
    compressed = _codecs.compressor.compress(view)
    if len(compressed) < BLOCK_BYTES:
        return b"".join((_MAGIC, _ZSTD, compressed))
    return b"".join((_MAGIC, _RAW, view))


def decode(stored: bytes, digest: bytes) -> bytes:
    """The plain bytes of a stored block.

    Raises:
        BlockCorruptError: they are not the block of that digest.
    """
    plain = _unpack(stored, digest)
    if len(plain) != BLOCK_BYTES or digest_of(plain) != digest:
        raise BlockCorruptError(f"block {digest.hex()}: the bytes stored do not match its digest")
    return plain


def _unpack(stored: bytes, digest: bytes) -> bytes:
    kind = stored[3:_HEADER_BYTES]
    if stored[:3] != _MAGIC or len(stored) > STORED_BYTES_MAX or kind not in (_RAW, _ZSTD):
        raise BlockCorruptError(f"block {digest.hex()}: this is no stored block")
    body = memoryview(stored)[_HEADER_BYTES:]
    if kind == _RAW:
        return bytes(body)
    try:
        if zstandard.frame_content_size(body) != BLOCK_BYTES:  # a spoilt frame may claim any
            raise BlockCorruptError(f"block {digest.hex()}: it is not {BLOCK_BYTES} bytes long")
        return _codecs.decompressor.decompress(
            body, max_output_size=BLOCK_BYTES, allow_extra_data=False
        )
    except zstandard.ZstdError as error:
        raise BlockCorruptError(f"block {digest.hex()}: {error}") from error
