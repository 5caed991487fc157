"""Streaming bytes into data segments, outside any lock."""

from __future__ import annotations

from array import array
from sys import byteorder

from xxhash import xxh3_64, xxh3_64_intdigest

from blockdev import Buffer, DeviceError
from objstore.config import FIRST_EXTENT_BYTES
from objstore.engine.core import Core
from objstore.engine.extents import CHECKSUM_BYTES, seed, stored_bytes, table_offset
from objstore.engine.space import FOR_WRITES, Range
from objstore.errors import StoreFullError
from objstore.index.schema import Extent


class ExtentWriter:
    """Writes one object's bytes; then `extents` says where they are.

    Nothing refers to the bytes until a record with the extents is committed:
    `settle` after that, or instead of it.  One thread at a time.
    """

    def __init__(
        self, core: Core, size_bytes: int | None, leaves_segments: int = FOR_WRITES
    ) -> None:
        """`size_bytes`: how many will come, if known; one extent then, if there is room.

        `leaves_segments`: as in `space.allocate`.
        """
        self._leaves_segments = leaves_segments
        self._core = core
        self._chunk_bytes = core.superblock.chunk_bytes
        self._left_bytes = size_bytes
        self._next_bytes = min(FIRST_EXTENT_BYTES, core.layout.segment_bytes // 4)
        self._ranges: list[Range] = []
        self._table = array("Q")
        self._partial: xxh3_64 | None = None
        self._nonce = 0
        self._filled_bytes = 0
        self._capacity_bytes = 0
        self.extents: list[Extent] = []

    def write(self, data: Buffer) -> None:
        """Append `data`; it is on the device, not yet durable, on return.

        Raises:
            StoreFullError: no space; the object cannot be finished.
            StorePoisonedError: the device failed.
        """
        view = memoryview(data)
        try:
            while len(view):
                if self._filled_bytes == self._capacity_bytes:
                    self._seal()
                    self._open()
                piece = view[: self._capacity_bytes - self._filled_bytes]
                offset_bytes = self._ranges[-1].offset_bytes + self._filled_bytes
                self._core.device.write(offset_bytes, piece)
                self._hash(piece)
                self._filled_bytes += len(piece)
                view = view[len(piece) :]
        except DeviceError as error:
            raise self._core.device_failure(error) from error

    def finish(self) -> None:
        """Write the last extent's checksums; all bytes have come."""
        try:
            self._seal()
        except DeviceError as error:
            raise self._core.device_failure(error) from error

    def settle(self, *, is_doubtful: bool) -> None:
        """The extents are committed, or not wanted any more; idempotent.

        `is_doubtful`: as in `Space.settle`.
        """
        ranges, self._ranges = self._ranges, []
        for reserved in ranges:
            self._core.space.settle(reserved, is_doubtful=is_doubtful)

    def _open(self) -> None:
        """Reserve the next extent."""
        if self._leaves_segments == FOR_WRITES and not self._core.committer.has_reserve():
            raise StoreFullError("the file system is full; delete something, then retry")
        known = self._left_bytes
        want_bytes = known or max(self._next_bytes, 1)
        least_bytes = min(want_bytes, self._core.layout.segment_bytes)
        total_bytes = stored_bytes(want_bytes, self._chunk_bytes)
        reserved = self._core.space.reserve(
            total_bytes, min(least_bytes, total_bytes), self._leaves_segments
        )
        self._ranges.append(reserved)
        self._capacity_bytes = min(want_bytes, self._usable_bytes(reserved.length_bytes))
        self._filled_bytes = 0
        self._nonce = self._core.nonce()
        if known:
            self._left_bytes = known - self._capacity_bytes
        self._next_bytes = min(self._next_bytes * 2, self._usable_bytes(self._half_segment()))

    def _half_segment(self) -> int:
        return self._core.layout.segment_bytes // 2

    def _usable_bytes(self, reserved_bytes: int) -> int:
        """How much data fits into a range along with its checksums."""
        chunks = reserved_bytes // (self._chunk_bytes + CHECKSUM_BYTES)
        whole_bytes = chunks * self._chunk_bytes
        rest_bytes = reserved_bytes - whole_bytes - (chunks + 1) * CHECKSUM_BYTES
        return whole_bytes + max(0, rest_bytes)

    def _hash(self, piece: memoryview) -> None:
        """Checksums of whole chunks at once, of the rest as it comes."""
        position = 0
        in_chunk = self._filled_bytes % self._chunk_bytes
        while position < len(piece):
            part = piece[position : position + self._chunk_bytes - in_chunk]
            position += len(part)
            chunk_seed = seed(self._nonce, len(self._table))
            if len(part) == self._chunk_bytes:
                self._table.append(xxh3_64_intdigest(part, chunk_seed))
                continue
            if self._partial is None:
                self._partial = xxh3_64(seed=chunk_seed)
            self._partial.update(part)
            in_chunk += len(part)
            if in_chunk == self._chunk_bytes:
                self._table.append(self._partial.intdigest())
                self._partial, in_chunk = None, 0

    def _seal(self) -> None:
        """Write the checksums behind the data of the extent under way."""
        if not self._filled_bytes:
            return
        if self._partial is not None:
            self._table.append(self._partial.intdigest())
            self._partial = None
        if byteorder == "big":
            self._table.byteswap()
        start = self._ranges[-1].offset_bytes
        self._core.device.write(start + table_offset(self._filled_bytes), self._table.tobytes())
        self.extents.append(Extent(start, self._filled_bytes, self._nonce))
        used_bytes = stored_bytes(self._filled_bytes, self._chunk_bytes)
        self._core.space.shrink(self._ranges[-1], used_bytes)
        self._table = array("Q")
        self._filled_bytes = self._capacity_bytes = 0
