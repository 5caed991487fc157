"""Volumes, snapshots and block stores as the tests make them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from blockdev.block_codec import BLOCK_BYTES, BlockMissingError
from blockdev.blocks import BlockStore, FileBlockStore, MemoryBlockStore
from blockdev.clock import Clock, ManualClock
from blockdev.device import BlockDevice, Buffer
from blockdev.live import LiveVolume, format_volume
from blockdev.memory import MemoryDevice
from blockdev.seeded import SeededNumbers
from blockdev.snapshot import SnapshotStore
from blockdev.snapshot_map import blocks_of
from blockdev.volume_map import MAP_BYTES

WAIT_S = 60.0
"""After so long a test gives up, and fails."""


def open_store(folder: Path, blocks: BlockStore | None = None) -> SnapshotStore:
    """The snapshot store in `folder`, over files unless told otherwise."""
    folder.mkdir(parents=True, exist_ok=True)
    blocks = blocks or FileBlockStore.open(folder / "blocks")
    return SnapshotStore.open(folder / "region.sqlite", folder / "snapshots", blocks)


def open_memory_volume(
    size_bytes: int,
    store: SnapshotStore | None = None,
    origin_id: str = "",
    *,
    volume: str = "vol-1",
    clock: Clock | None = None,
    wrap: Callable[[BlockDevice], BlockDevice] = lambda device: device,
) -> LiveVolume:
    """A new volume in memory; `wrap` goes around both of its devices."""
    map_device = wrap(MemoryDevice(MAP_BYTES))
    format_volume(map_device, size_bytes, volume, store, origin_id)
    data = wrap(MemoryDevice(size_bytes))
    opened = LiveVolume(data, map_device, clock=clock or ManualClock(), store=store)
    opened.start()
    return opened


def read(device: BlockDevice, offset_bytes: int, length_bytes: int) -> bytes:
    """What a device holds there."""
    buffer = bytearray(b"\xaa" * length_bytes)
    device.read_into(offset_bytes, buffer)
    return bytes(buffer)


def image_of(store: SnapshotStore, snapshot_id: str) -> bytes:
    """A completed snapshot as bytes, every block of it verified."""
    with store.open_map(snapshot_id) as map_:
        size_bytes = map_.size_bytes
        image = bytearray(blocks_of(size_bytes) * BLOCK_BYTES)
        for index, digest in map_.entries():
            image[index * BLOCK_BYTES : (index + 1) * BLOCK_BYTES] = store.blocks.get(digest)
    assert not any(image[size_bytes:])
    return bytes(image[:size_bytes])


def pattern_block(seed: int) -> bytes:
    """A block of random bytes, the same for the same seed."""
    numbers = SeededNumbers(seed)
    return b"".join(numbers.next_u64().to_bytes(8, "little") for _ in range(64)) * 1024


class VolatileBlockStore:
    """A block store whose power can be cut: what was put and not synced is lost, or spoilt."""

    def __init__(self) -> None:
        self._durable = MemoryBlockStore()
        self._unsynced: dict[bytes, bytes] = {}
        self._deleted: set[bytes] = set()
        self._spoilt: set[bytes] = set()

    def put(self, digest: bytes, plain: Buffer) -> int:
        self._spoilt.discard(digest)
        self._deleted.discard(digest)
        self._unsynced[digest] = bytes(plain)
        return len(plain)

    def get(self, digest: bytes) -> bytes:
        if digest in self._unsynced:
            return self._unsynced[digest]
        if digest in self._deleted or digest in self._spoilt:
            raise BlockMissingError(digest.hex())
        return self._durable.get(digest)

    def delete(self, digest: bytes) -> None:
        self._unsynced.pop(digest, None)
        self._deleted.add(digest)

    def hashes(self) -> Iterator[bytes]:
        found = (set(self._durable.hashes()) - self._deleted) | set(self._unsynced) | self._spoilt
        return iter(sorted(found))

    def sync(self) -> None:
        for digest, plain in list(self._unsynced.items()):
            self._durable.put(digest, plain)
            self._unsynced.pop(digest, None)
        for digest in list(self._deleted):
            self._durable.delete(digest)
            self._deleted.discard(digest)

    def cut(self, seed: int) -> None:
        """Cut the power: each put and delete since the last sync may have happened, or not."""
        numbers = SeededNumbers(seed)
        for digest, plain in sorted(self._unsynced.items()):
            fate = numbers.below(3)
            if fate == 0:
                self._durable.put(digest, plain)
            elif fate == 1 and digest not in set(self._durable.hashes()):
                self._spoilt.add(digest)
        for digest in sorted(self._deleted):
            if numbers.chance(0.5):
                self._durable.delete(digest)
        self._unsynced.clear()
        self._deleted.clear()
