"""Small stores on a device in memory whose index can be lost, and whose bytes can be spoilt."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from blockdev import ManualClock, MemoryDevice
from objstore import ObjectStore
from objstore.config import KIB, MIB, StoreConfig
from objstore.engine.operation import Decision
from objstore.engine.recovery import Replay, put_initial_rows
from objstore.engine.space import FOR_WRITES
from objstore.entropy import SeededEntropy
from objstore.index import keys
from objstore.index.memory_index import MemoryIndex
from objstore.log import format as log
from objstore.log.format import Layout, Record, SegmentHead, Superblock
from objstore.log.reader import Batch, log_segments, read_batches, read_superblock

CONFIG = StoreConfig(
    segment_bytes=64 * KIB,
    log_inline_bytes=4 * KIB,
    checksum_chunk_bytes=4 * KIB,
    zero_ahead_bytes=4 * KIB,
    io_bytes=16 * KIB,
    checkpoint_log_bytes=10**12,
    checkpoint_bytes_per_s=10**12,
    maintenance_interval_s=0,
    reserve_bytes=0,
    min_part_bytes=0,
    index_map_bytes=256 * MIB,
)
DEVICE_BYTES = 2 * MIB
BUCKET = "bucket"
PAGE_BYTES = log.ALIGNMENT_BYTES
SEGMENT_BATCHES = CONFIG.segment_bytes // PAGE_BYTES - 2
"""Batches of a page that a segment takes at least before the log goes on in another."""


@dataclass(slots=True)
class Sandbox:
    """A folder and a device that outlive the stores opened on them."""

    folder: Path
    config: StoreConfig = CONFIG
    device: MemoryDevice = field(default_factory=lambda: MemoryDevice(DEVICE_BYTES))
    entropy: SeededEntropy = field(default_factory=lambda: SeededEntropy(7))

    def open(self) -> ObjectStore:
        return ObjectStore.open(
            self.folder,
            config=self.config,
            clock=ManualClock(),
            entropy=self.entropy,
            device=self.device,
        )

    def lose_index(self) -> None:
        """What a power loss does, at worst."""
        shutil.rmtree(self.folder / "index")

    def reopen_from_log(self) -> ObjectStore:
        self.lose_index()
        return self.open()

    def write_as_file(self) -> Path:
        """The same store with its device in a file, for what takes a folder."""
        data = bytearray(self.device.geometry.size_bytes)
        self.device.read_into(0, data)
        (self.folder / "device").write_bytes(data)
        return self.folder

    # --- the log as it stands on the device ------------------------------------------

    @property
    def superblock(self) -> Superblock:
        superblock = read_superblock(self.device)
        assert superblock is not None
        return superblock

    @property
    def layout(self) -> Layout:
        return Layout.of(self.superblock)

    def heads(self) -> list[SegmentHead]:
        return log_segments(self.device, self.layout, self.superblock.store_id)

    def batches(self) -> list[Batch]:
        """Every batch of every log segment on the device, in order."""
        return [
            batch
            for head in self.heads()
            for batch in read_batches(self.device, self.layout, head)
            if isinstance(batch, Batch)
        ]

    def flip(self, offset_bytes: int, bit: int = 1) -> None:
        byte = bytearray(1)
        self.device.read_into(offset_bytes, byte)
        self.device.write(offset_bytes, bytes([byte[0] ^ bit]))

    def rebuilt(self, log_only: bool = True) -> list[tuple[bytes, bytes]]:
        """The rows that the log alone gives."""
        twin = MemoryIndex()
        with twin.write() as txn:
            put_initial_rows(txn, self.layout)
        report = Replay(self.device, twin, self.superblock).run()
        assert report.problems == []
        with twin.read() as txn:
            return list(durable_rows(txn))


def durable_rows(txn: object) -> Iterator[tuple[bytes, bytes]]:
    scan = txn.scan  # type: ignore[attr-defined]
    yield from scan(b"\x00", keys.RUNTIME)


def live_rows(store: ObjectStore) -> list[tuple[bytes, bytes]]:
    with store._core.index.read() as txn:
        return list(durable_rows(txn))


def contents(store: ObjectStore) -> dict[str, bytes]:
    """Every object of the bucket; empty if there is no bucket."""
    found: dict[str, bytes] = {}
    if not store.list_buckets():
        return found
    for entry in store.list(BUCKET, limit=10_000).entries:
        with store.get(BUCKET, entry.key) as reader:
            found[entry.key] = reader.read()
    return found


def fill(store: ObjectStore, count: int, prefix: str = "key") -> dict[str, bytes]:
    """`count` small objects, a batch of one page each."""
    put = {f"{prefix}-{number:03}": f"{prefix} {number}".encode() * 9 for number in range(count)}
    for key, data in put.items():
        store.put(BUCKET, key, data)
    return put


@dataclass(slots=True)
class Raw:
    """Records as they are given, for what no operation writes."""

    records: Sequence[Record]
    size_bound_bytes: int = 8 * KIB
    leaves_segments: int = FOR_WRITES

    def decide(self, decision: Decision) -> Sequence[Record]:
        return self.records


def append(store: ObjectStore, *records: Record) -> Sequence[Record]:
    return store._core.committer.commit(Raw(records))


def random_bytes(rng: random.Random, *sizes: int) -> bytes:
    return rng.randbytes(rng.choice(sizes))
