"""Stores so small that segments roll, fill, compact and fall free all the time."""

from __future__ import annotations

import os
import random
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from blockdev import BlockDevice
from objstore import ObjectStore
from objstore.config import KIB, MIB, StoreConfig

TINY = StoreConfig(
    device_bytes=64 * MIB,
    segment_bytes=128 * KIB,
    log_inline_bytes=4 * KIB,
    zero_ahead_bytes=0,
    io_bytes=16 * KIB,
    checksum_chunk_bytes=4 * KIB,
    checkpoint_log_bytes=192 * KIB,
    checkpoint_bytes_per_s=10**12,
    maintenance_interval_s=0,
    reserve_bytes=0,
    index_map_bytes=1024 * MIB,
    min_part_bytes=0,
)

SIZES = (0, 1, 100, 4095, 4096, 4097, 16_384, 20_000, 70_000, 140_000, 300_000)
"""Around every threshold of TINY: inline, a chunk, a block of I/O, half a segment, several."""


def pattern(seed: int, size_bytes: int) -> bytes:
    """Bytes that no other seed has."""
    return random.Random(seed).randbytes(size_bytes)


def forget_index(folder: Path) -> None:
    """What a power loss leaves of the index: nothing that can be used."""
    shutil.rmtree(folder / "index", ignore_errors=True)


def forget_checkpoints(folder: Path, *, keep_oldest: bool = False) -> None:
    """Remove the checkpoints, or all but the oldest of them."""
    notes = sorted((folder / "checkpoints").glob("*.json"))
    for note in notes[1:] if keep_oldest else notes:
        note.unlink()
        note.with_suffix(".mdb").unlink()


def contents(store: ObjectStore, bucket: str) -> dict[str, bytes]:
    """Every object of a bucket, by way of the listing."""
    found: dict[str, bytes] = {}
    after = ""
    while True:
        page = store.list(bucket, start_after=after, limit=100)
        for entry in page.entries:
            with store.get(bucket, entry.key) as reader:
                found[entry.key] = reader.read()
            assert len(found[entry.key]) == entry.size_bytes
        if page.next_after is None:
            return found
        after = page.next_after


def assert_clean(store: ObjectStore) -> None:
    """Fail with a list of what `check` finds."""
    problems = store.check()
    assert problems == [], "\n".join(map(str, problems))


@contextmanager
def memory_folder() -> Iterator[Path]:
    """A folder in memory where there is one: hundreds of stores are opened in it."""
    shared = Path("/dev/shm")
    base = shared if shared.is_dir() and os.access(shared, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="objstore-test-", dir=base) as folder:
        yield Path(folder)


def open_tiny(folder: Path, device: BlockDevice, config: StoreConfig = TINY) -> ObjectStore:
    return ObjectStore.open(folder, config=config, device=device)
