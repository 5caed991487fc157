"""Device images: a small store's every byte in one compressed file."""

from __future__ import annotations

from pathlib import Path

import zstandard

from blockdev import BlockDevice, MemoryDevice

FOLDER = Path(__file__).parent / "images"
_PIECE_BYTES = 64 * 1024


def pack(device: BlockDevice) -> bytes:
    """The device, compressed; the same bytes for the same device."""
    data = bytearray(device.geometry.size_bytes)
    device.read_into(0, data)
    return zstandard.ZstdCompressor(level=19).compress(bytes(data))


def unpack(path: Path) -> MemoryDevice:
    """A device as it was packed; what is zero has no storage."""
    data = zstandard.ZstdDecompressor().decompress(path.read_bytes())
    device = MemoryDevice(len(data))
    for start in range(0, len(data), _PIECE_BYTES):
        piece = data[start : start + _PIECE_BYTES]
        if any(piece):
            device.write(start, piece)
    return device
