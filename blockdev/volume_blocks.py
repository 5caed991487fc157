"""The blocks of a live volume in memory: which are here, which changed, and in what order
bits and data become durable.

What must stay true, at every moment and after every crash:

1. A block's remote bit is cleared in memory after its content is in the data file, and on
   the map's device after that content is durable.
2. Before a block that was not marked as changed is written to, its bit is set in memory and
   its region's bit is durable.  A crash leaves it marked, by the slot or by the region.
3. Bits that the map's device does not have yet are written at `flush`, after the data.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Final

from blockdev.block_codec import BLOCK_BYTES
from blockdev.blocks import BlockStore
from blockdev.device import BlockDevice
from blockdev.errors import DeviceClosedError, DeviceError, DeviceIOError
from blockdev.snapshot_map import SnapshotMap, blocks_of, set_bits
from blockdev.volume_map import (
    REGION_BLOCKS,
    SECTOR_BLOCKS,
    SECTOR_BYTES,
    Header,
    VolumeMap,
    bitmap_bytes,
)

STRIPES: Final = 64
"""Locks that the blocks share: loads and copies of different blocks seldom wait for each other."""


@dataclass(frozen=True, slots=True)
class _Unsaved:
    """Sectors of bitmaps as they were at one moment, to be written once data is durable."""

    changed: dict[int, bytes]
    remote: dict[int, bytes]


class VolumeBlocks:
    """Data, map and the bits of both.  Thread-safe."""

    def __init__(
        self,
        data: BlockDevice,
        map_: VolumeMap,
        origin: SnapshotMap | None = None,
        store: BlockStore | None = None,
    ) -> None:
        header = map_.header
        self.data = data
        self.map = map_
        self.origin = origin
        self.changed = map_.read_slot(header.live_slot, header.size_bytes)
        self.remote = map_.read_remote()
        self.remote_left = int.from_bytes(self.remote, "little").bit_count()
        self._store = store
        self._remote_saved = bytes(self.remote)
        self._regions = bytearray(map_.regions_bytes(header.size_bytes))
        self._unsaved_changed: set[int] = set()
        self._unsaved_remote: set[int] = set()
        self._lock = threading.Lock()
        self._flush_lock = threading.Lock()
        self._stripes = tuple(threading.Lock() for _ in range(STRIPES))
        self._failed = False
        if not header.clean:
            self._distrust_regions()

    @property
    def header(self) -> Header:
        """What the map says."""
        return self.map.header

    @property
    def limit(self) -> int:
        """How many blocks the volume has."""
        return blocks_of(self.map.header.size_bytes)

    def stripe(self, index: int) -> threading.Lock:
        """The lock of a block: held while it is loaded, copied, or overwritten as a whole."""
        return self._stripes[index % STRIPES]

    def length_of(self, index: int, size_bytes: int) -> int:
        """The length of a block in a volume of that size: the last one may be short."""
        return min(BLOCK_BYTES, size_bytes - index * BLOCK_BYTES)

    # Bits.

    def is_remote(self, index: int) -> bool:
        """Whether a block's content is still in the origin."""
        return bool(self.remote[index >> 3] >> (index & 7) & 1)

    def remote_within(self, first: int, stop: int) -> list[int]:
        """The remote blocks of a range, in order."""
        if not self.remote_left:
            return []
        start = first & ~7
        found = set_bits(self.remote[first >> 3 : (stop + 7) >> 3], start)
        return [index for index in found if first <= index < stop]

    def mark_changed(self, first: int, stop: int) -> None:
        """Before blocks are written to: mark them, durably by their region at least."""
        changed = self.changed
        with self._lock:
            for index in range(first, stop):
                byte, bit = index >> 3, 1 << (index & 7)
                if changed[byte] & bit:
                    continue
                self._open_region(index // REGION_BLOCKS)
                changed[byte] |= bit
                self._unsaved_changed.add(index // SECTOR_BLOCKS)

    def mark_loaded(self, index: int) -> None:
        """After a remote block's content was put into the data file."""
        with self._lock:
            byte, bit = index >> 3, 1 << (index & 7)
            if self.remote[byte] & bit:
                self.remote[byte] &= ~bit
                self.remote_left -= 1
                self._unsaved_remote.add(index // SECTOR_BLOCKS)

    def has_unsaved(self, first: int, stop: int) -> bool:
        """Whether a crash would bring back the origin's content of one of these blocks."""
        return any(
            (self._remote_saved[index >> 3] & ~self.remote[index >> 3]) >> (index & 7) & 1
            for index in range(first, stop)
        )

    def add_changed(self, bits: bytearray) -> None:
        """More blocks are changed: what a failed snapshot was to copy.  Not durable by itself."""
        with self._lock:
            merge(self.changed, bits)
            self._unsaved_changed.update(range(len(bits) // SECTOR_BYTES))

    # Content.

    def load(self, index: int) -> bool:
        """Fetch a remote block into the data file; False if somebody else was first.

        Raises:
            DeviceIOError: the block store has lost or spoilt it.
        """
        with self.stripe(index):
            if not self.is_remote(index):
                return False
            plain = self._fetch(index)
            length_bytes = self.length_of(index, self.header.size_bytes)
            self.data.write(index * BLOCK_BYTES, memoryview(plain)[:length_bytes])
            self.mark_loaded(index)
        return True

    def origin_digest(self, index: int) -> bytes:
        """The digest of a remote block."""
        digest = self.origin.get(index) if self.origin is not None else None
        if digest is None:
            raise DeviceIOError(f"block {index} is remote, and its origin does not have it")
        return digest

    def read_block(self, index: int, size_bytes: int) -> bytearray | None:
        """A block that is here, filled up with zeroes; None for a hole."""
        length_bytes = self.length_of(index, size_bytes)
        at = index * BLOCK_BYTES
        if not any(extent.allocated for extent in self.data.extents(at, length_bytes)):
            return None
        plain = bytearray(BLOCK_BYTES)
        self.data.read_into(at, memoryview(plain)[:length_bytes])
        return plain

    def stored_here(self) -> bytearray:
        """All blocks that may differ from the origin, for want of a bitmap that says which."""
        bits = bytearray(len(self.changed))
        for first, stop in self.allocated_blocks(0, self.header.size_bytes):
            for index in range(first, stop):
                bits[index >> 3] |= 1 << (index & 7)
        if self.origin is not None:
            for index, _ in self.origin.entries():
                bits[index >> 3] |= 1 << (index & 7)
        return bytearray(here & ~there for here, there in zip(bits, self.remote, strict=True))

    def allocated_blocks(self, offset_bytes: int, length_bytes: int) -> Iterator[tuple[int, int]]:
        """Runs of blocks (first, one past the last) that the data file stores bytes of."""
        for extent in self.data.extents(offset_bytes, length_bytes):
            if extent.allocated:
                end_bytes = extent.offset_bytes + extent.length_bytes
                yield extent.offset_bytes // BLOCK_BYTES, blocks_of(end_bytes)

    # Durability.

    def flush(self) -> None:
        """Make data durable, and then what the map has to say of it.

        One at a time: whoever comes second may rely on what the first one took along.

        Raises:
            DeviceError: it failed; so do all later ones, until the volume is opened again.
        """
        with self._flush_lock:
            if self._failed:
                raise DeviceIOError("an earlier flush failed: reopen the volume")
            unsaved = self._take_unsaved()
            try:
                self.data.flush()
                self._save(unsaved)
            except DeviceError as error:
                self._failed = not isinstance(error, DeviceClosedError)
                raise

    def write_header(self, change: Callable[[Header], Header]) -> None:
        """Change the header, durably."""
        with self._lock:
            self.map.write_header(change(self.map.header))

    def freeze(self, change: Callable[[Header], Header]) -> bytearray:
        """Count changes anew, in the live slot of a changed header; return what was changed.

        Only while nobody writes, and after a `flush`.
        """
        with self._flush_lock, self._lock:
            self.map.write_header(change(self.map.header))
            frozen = bytearray(self.changed)
            self.changed[:] = bytes(len(frozen))
            self._unsaved_changed.clear()
            self._regions[:] = bytes(len(self._regions))
            self.map.clear_regions()
        return frozen

    def close_clean(self) -> None:
        """Flush, and note that the regions need not be looked at when the volume is opened."""
        self.flush()
        with self._lock:
            self.map.clear_regions()
            self.map.flush()
            self.map.write_header(replace(self.map.header, clean=True))

    def grow(self, data: BlockDevice, size_bytes: int) -> None:
        """Go on with a larger data device; only while nobody writes."""
        # A flush under way would put back what it has of the shorter map.
        with self._flush_lock, self._lock:
            self.map.write_header(replace(self.map.header, size_bytes=size_bytes))
            self.data = data
            more = bitmap_bytes(size_bytes) - len(self.changed)
            self.changed.extend(bytes(more))
            self.remote.extend(bytes(more))
            self._remote_saved += bytes(more)
            regions_bytes = self.map.regions_bytes(size_bytes)
            self._regions.extend(bytes(regions_bytes - len(self._regions)))

    def all_saved(self) -> bool:
        """Whether no block is remote, not even for a crash."""
        return not self.remote_left and not any(self._remote_saved)

    def _fetch(self, index: int) -> bytes:
        digest = self.origin_digest(index)
        if self._store is None:
            raise DeviceIOError("the volume was opened without the store of its origin")
        return self._store.get(digest)

    def _open_region(self, region: int) -> None:
        byte, bit = region >> 3, 1 << (region & 7)
        if not self._regions[byte] & bit:
            self._regions[byte] |= bit
            try:
                self.map.write_regions(self._regions, region, 1)
            except BaseException:
                self._regions[byte] &= ~bit
                raise

    def _distrust_regions(self) -> None:
        """After a crash: all blocks of the regions that were written to count as changed."""
        for region in set_bits(self.map.read_regions()):
            first = region * REGION_BLOCKS
            for byte in range(first >> 3, min((first + REGION_BLOCKS) >> 3, len(self.changed))):
                self.changed[byte] |= 0xFF & ~self.remote[byte]
            self._unsaved_changed.add(first // SECTOR_BLOCKS)
        clear_beyond(self.changed, self.limit)
        self._regions = self.map.read_regions()

    def _take_unsaved(self) -> _Unsaved:
        with self._lock:
            unsaved = _Unsaved(
                {number: _sector(self.changed, number) for number in self._unsaved_changed},
                {number: _sector(self.remote, number) for number in self._unsaved_remote},
            )
            self._unsaved_changed.clear()
            self._unsaved_remote.clear()
        return unsaved

    def _save(self, unsaved: _Unsaved) -> None:
        if not unsaved.changed and not unsaved.remote:
            return
        for number, content in unsaved.changed.items():
            self.map.write_slot(self.header.live_slot, content, number)
        for number, content in unsaved.remote.items():
            self.map.write_remote(content, number)
        self.map.flush()
        saved = bytearray(self._remote_saved)
        for number, content in unsaved.remote.items():
            saved[number * SECTOR_BYTES : (number + 1) * SECTOR_BYTES] = content
        self._remote_saved = bytes(saved)


def merge(into: bytearray, bits: bytes | bytearray) -> None:
    """Set all bits of `bits`, which is no longer than `into`, in place."""
    length = len(bits)
    both = int.from_bytes(into[:length], "little") | int.from_bytes(bits, "little")
    into[:length] = both.to_bytes(length, "little")


def clear_beyond(bits: bytearray, limit: int) -> None:
    """Clear the bits from `limit` on."""
    kept = int.from_bytes(bits, "little") & ((1 << limit) - 1)
    bits[:] = kept.to_bytes(len(bits), "little")


def _sector(bits: bytearray, number: int) -> bytes:
    return bytes(bits[number * SECTOR_BYTES : (number + 1) * SECTOR_BYTES])
