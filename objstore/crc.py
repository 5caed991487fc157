"""CRCs: computed as bytes come, and joined.  Of two blocks of bytes, the CRC of both together
follows from theirs and the length of the second; that is what no hash can do.

Digests are big-endian, and base64 where they are text, as S3 has them.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Callable

from awscrt import checksums as crt

from blockdev import Buffer

Compute = Callable[[Buffer, int], int]
Combine = Callable[[int, int, int], int]

# By the name of the algorithm: length of a digest in bytes, what goes on with a CRC over more
# bytes, and what joins two.  zlib's CRC32 is faster than awscrt's on processors without AVX-512.
CRCS: dict[str, tuple[int, Compute, Combine]] = {
    "CRC32": (4, zlib.crc32, crt.combine_crc32),
    "CRC32C": (4, crt.crc32c, crt.combine_crc32c),
    "CRC64NVME": (8, crt.crc64nvme, crt.combine_crc64nvme),
}


class CrcHasher:
    """A CRC under way; `digest` is big-endian."""

    __slots__ = ("_compute", "_size_bytes", "value")

    def __init__(self, compute: Compute, size_bytes: int) -> None:
        self._compute = compute
        self._size_bytes = size_bytes
        self.value = 0

    def update(self, data: Buffer, /) -> None:
        self.value = self._compute(data, self.value)

    def digest(self) -> bytes:
        return self.value.to_bytes(self._size_bytes, "big")


def new_crc(algorithm: str) -> CrcHasher:
    """Start a CRC, one of `CRCS`.

    Raises:
        KeyError: the algorithm is no CRC.
    """
    size_bytes, compute, _combine = CRCS[algorithm]
    return CrcHasher(compute, size_bytes)


def joined(algorithm: str, first: str, second: str, second_bytes: int) -> str:
    """The CRC of two blocks in base64, from theirs and the length of the second in bytes.

    Raises:
        KeyError: the algorithm is no CRC.
        ValueError: a digest is not base64.
    """
    size_bytes, _compute, combine = CRCS[algorithm]
    whole = combine(_number(first), _number(second), second_bytes)
    return base64.b64encode(whole.to_bytes(size_bytes, "big")).decode("ascii")


def _number(text: str) -> int:
    return int.from_bytes(base64.b64decode(text, validate=True), "big")
