"""Ghosts: batches on the device whose writer died before the index took them.

The next writer, in this process or another, knows nothing of them: it writes its own
batch, of another length, with the same number.  When the index is lost after that, the
log alone must say which of the two counts.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from blockdev import DeviceFullError, DeviceIOError, MemoryDevice
from blockdev.device import Buffer
from blockdev.filters import Passthrough
from objstore import ObjectStore
from objstore.config import KIB
from objstore.engine.compaction import segments_of
from objstore.engine.extent_moves import compact_data_segment
from objstore.errors import StoreUnavailableError
from objstore.index.schema import SEGMENT_DATA
from tests.crash.tiny import (
    TINY,
    assert_clean,
    contents,
    forget_checkpoints,
    forget_index,
    memory_folder,
    open_tiny,
    pattern,
)

BUCKET = "bucket"
CONFIG = replace(TINY, log_inline_bytes=40 * KIB)


class KilledError(BaseException):
    """Stands for a kill -9 just after a write reached the device."""


class DeadlyDevice(Passthrough):
    """Does a write in full and then kills the writer, when told to."""

    kills = False

    def write(self, offset_bytes: int, data: Buffer, *, fua: bool = False) -> None:
        super().write(offset_bytes, data, fua=fua)
        if fua and self.kills:
            self.kills = False
            raise KilledError


def open_deadly(folder: Path) -> tuple[ObjectStore, DeadlyDevice]:
    device = DeadlyDevice(MemoryDevice(CONFIG.device_bytes))
    return open_tiny(folder, device, CONFIG), device


def lose_index(store: ObjectStore, folder: Path, device: DeadlyDevice) -> ObjectStore:
    store.close()
    forget_index(folder)
    forget_checkpoints(folder)
    return open_tiny(folder, device, CONFIG)


@pytest.mark.parametrize(("killed_bytes", "next_bytes"), [(100, 40_000), (40_000, 100)])
@pytest.mark.parametrize("filled", range(8))
def test_a_ghost_beside_a_roll(
    killed_bytes: int, next_bytes: int, filled: int, tmp_path: Path
) -> None:
    """One of the two fits into the segment, the other one begins a new segment."""
    store, device = open_deadly(tmp_path)
    expected: dict[str, bytes] = {}

    def put(key: str, size_bytes: int) -> None:
        expected[key] = pattern(size_bytes, size_bytes)
        store.put(BUCKET, key, expected[key])

    put("first", 40_000)
    for number in range(filled):
        put(f"filler-{number}", 6_000)
    device.kills = True
    with pytest.raises(KilledError):
        store.put(BUCKET, "ghost", pattern(1, killed_bytes))
    put("after", next_bytes)
    put("last", 200)
    assert contents(store, BUCKET) == expected
    assert_clean(store)
    store = lose_index(store, tmp_path, device)
    assert contents(store, BUCKET) == expected
    assert_clean(store)
    store.close()


def test_ghosts_everywhere(seed: int) -> None:
    rng = random.Random(seed)
    with memory_folder() as folder:
        store, device = open_deadly(folder)
        store.create_bucket(BUCKET)
        known: dict[str, bytes] = {}
        for _ in range(60):
            for _ in range(rng.randrange(1, 25)):
                device.kills = rng.random() < 0.3
                key = f"key-{rng.randrange(20)}"
                body = pattern(rng.getrandbits(64), rng.choice((10, 5_000, 20_000, 40_000)))
                try:
                    store.put(BUCKET, key, body)
                    known[key] = body
                except KilledError:
                    pass
            device.kills = False
            if rng.random() < 0.3:
                store.maintain()
            assert contents(store, BUCKET) == known
            assert_clean(store)
            # The last write may have died: it counts for the log, and either way is right.
            store.put(BUCKET, "settled", b"")
            known["settled"] = b""
            store = lose_index(store, folder, device)
            assert contents(store, BUCKET) == known
        store.close()


# --- ghosts of the living -------------------------------------------------------------


class LateFailure(Passthrough):
    """Does a durable write in full and then says that it failed, when told to."""

    fails = 0

    def write(self, offset_bytes: int, data: Buffer, *, fua: bool = False) -> None:
        super().write(offset_bytes, data, fua=fua)
        if fua and self.fails:
            self.fails -= 1
            raise self.error

    error: Exception = DeviceIOError("the bytes are in the cache, the medium has said no")


@pytest.mark.parametrize("error", [DeviceIOError("late"), DeviceFullError("late")])
@pytest.mark.parametrize("operation", ["put", "move"])
def test_what_a_refused_batch_refers_to_stays_until_another_takes_its_place(
    error: Exception, operation: str, tmp_path: Path
) -> None:
    """The writer lives, gives its space back, and the batch comes back in a replay."""
    device = LateFailure(MemoryDevice(CONFIG.device_bytes))
    device.error = error
    store = open_tiny(tmp_path, device, CONFIG)
    old, new = pattern(1, 50_000), pattern(2, 55_000)
    store.put(BUCKET, "key", old)
    store.put(BUCKET, "neighbour", old)
    with store._core.index.read() as txn:
        (segment,) = [name for name, row in segments_of(txn) if row.kind == SEGMENT_DATA]
    store._core.space.end_all()
    device.fails = 2  # a store that is full tries a second time
    act: Callable[[], object] = partial(store.put, BUCKET, "key", new)
    if operation == "move":
        act = partial(compact_data_segment, store._core, segment)
    with pytest.raises(StoreUnavailableError):
        act()
    assert device.fails < 2
    device.fails = 0
    store.close()
    store = open_tiny(tmp_path, device, CONFIG)  # one whose device failed must be reopened
    store._core.reclaim()  # gives back what nobody can need
    assert contents(store, BUCKET) == {"key": old, "neighbour": old}
    store = lose_index(store, tmp_path, device)  # type: ignore[arg-type]
    found = contents(store, BUCKET)
    assert found["neighbour"] == old
    assert found["key"] in ((old, new) if operation == "put" else (old,))
    assert_clean(store)
    store.close()
