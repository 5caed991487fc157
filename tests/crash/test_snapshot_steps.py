"""Every step of making, copying and deleting snapshots fails, or is the last, in turn.

One story is told again and again.  A step is what comes between two moments that a crash
can tell apart: before and after each put, delete and sync of blocks, each transaction's
begin and commit, each map.  After a *kill* the store is opened anew; after a *fault* the
same process goes on.  Either way nothing is missing, nothing is leaked, and what was
reported as done is there.
"""

from __future__ import annotations

import contextlib
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from blockdev.block_codec import BLOCK_BYTES
from blockdev.blocks import MemoryBlockStore
from blockdev.captures import CopyPlan, TooManyPendingError
from blockdev.clock import ManualClock
from blockdev.device import BlockDevice
from blockdev.errors import DeviceError, DeviceFullError, DeviceIOError
from blockdev.filters.passthrough import Passthrough
from blockdev.live import LiveVolume, format_volume
from blockdev.memory import MemoryDevice
from blockdev.refs import NotPendingError
from blockdev.snapshot import SnapshotStore
from blockdev.volume_map import MAP_BYTES
from tests.faults import Killed, SteppedBlocks, Steps, with_steps
from tests.volumes import WAIT_S, image_of, open_store, pattern_block, read

MEMORY_FILES = Path("/dev/shm")
SIZE = 6 * BLOCK_BYTES + 1000


@dataclass(frozen=True)
class Kind:
    """A kind of trouble, and the steps that can meet with it (none: all)."""

    name: str
    strike: Callable[[], BaseException]
    only: frozenset[str]


def _full() -> BaseException:
    return DeviceFullError("injected: no space left")


def _io() -> BaseException:
    return DeviceIOError("injected: the medium failed")


def _database() -> BaseException:
    return sqlite3.OperationalError("injected: database or disk is full")


KINDS = [
    Kind("killed", Killed, frozenset()),
    Kind("full", _full, frozenset({"put", "sync", "map"})),
    Kind("io", _io, frozenset({"put", "put done", "get", "delete", "sync", "map", "map done"})),
    Kind("database", _database, frozenset({"begin", "commit", "committed"})),
]
FAULTS = (DeviceError, sqlite3.Error, NotPendingError, KeyError)


class Plugged(Passthrough):
    """A device that is there again after the volume on it was closed, or its process ended."""

    def close(self) -> None:
        """Nothing is closed."""


class Story:
    """A volume, its snapshots, and what of them was reported as done."""

    def __init__(self, path: Path, steps: Steps) -> None:
        self.path = path
        self.blocks = MemoryBlockStore()
        self.steps = steps
        self.data: BlockDevice = Plugged(MemoryDevice(SIZE))
        self.map: BlockDevice = Plugged(MemoryDevice(MAP_BYTES))
        self.model = bytearray(SIZE)
        self.images: dict[str, bytes] = {}
        self.unsure: dict[str, bytes] = {}
        format_volume(self.map, SIZE, "vol-1")
        self.store = open_store(path, SteppedBlocks(self.blocks, steps))
        self.volume = self.open()

    def open(self) -> LiveVolume:
        volume = LiveVolume(
            self.data,
            self.map,
            clock=ManualClock(),
            store=self.store,
            copy_plan=CopyPlan(batch_blocks=2, background=False),
        )
        volume.start()
        return volume

    def write(self, index: int, seed: int) -> None:
        """A client's write: no trouble of a snapshot may fail it."""
        plain = pattern_block(seed)
        self.model[index * BLOCK_BYTES : (index + 1) * BLOCK_BYTES] = plain
        self.volume.write(index * BLOCK_BYTES, plain)

    def snapshot(self, name: str) -> None:
        self.unsure[name] = bytes(self.model)
        with contextlib.suppress(*FAULTS, TooManyPendingError):
            self.volume.begin_snapshot(name)
            self.images[name] = self.unsure[name]

    def delete(self, name: str) -> None:
        image = self.images.pop(name, b"")
        try:
            self.store.delete(name)
        except KeyError:
            return
        except FAULTS:
            if self.exists(name):
                self.images[name] = image
            return
        assert not self.exists(name)

    def exists(self, name: str) -> bool:
        return name in {status.snapshot_id for status in self.store.statuses()}

    def tell(self) -> None:
        """Two in a row, writes over what is not copied yet, a cancelled one, deletions, a copy."""
        self.write(0, 1)
        self.write(1, 2)
        self.write(3, 3)
        self.snapshot("s1")
        self.write(0, 4)
        self.snapshot("s2")
        self.write(1, 5)
        self.volume.discard(3 * BLOCK_BYTES, BLOCK_BYTES)
        self.model[3 * BLOCK_BYTES : 4 * BLOCK_BYTES] = bytes(BLOCK_BYTES)
        self.snapshot("s3")
        self.volume.step_snapshots()
        self.delete("s2")
        self.write(2, 1)
        self.volume.wait_snapshots(WAIT_S)
        with contextlib.suppress(*FAULTS):
            self.store.copy(self.store, "s1", "s4")
            self.images["s4"] = self.images["s1"]
        self.delete("s1")
        self.snapshot("s5")
        self.volume.wait_snapshots(WAIT_S)
        self.delete("s4")


def settle(story: Story, killed: bool) -> None:
    """What holds afterwards, whatever happened."""
    story.volume.wait_snapshots(WAIT_S)
    story.store.recover()
    for status in story.store.statuses():
        if status.state == "pending":
            assert status.snapshot_id == "s4"  # whoever was copying it does so again
            story.store.copy(story.store, "s1", "s4")
    for status in story.store.statuses():
        assert status.state in ("completed", "error"), status
        if status.state == "completed":
            image = story.images.get(status.snapshot_id, story.unsure.get(status.snapshot_id))
            found = image_of(story.store, status.snapshot_id)
            assert found == (image or story.unsure["s1"]), status
    for name in story.images:
        assert story.store.status(name).state == "completed" or not killed, name
    assert read(story.volume, 0, SIZE) == story.model
    assert story.store.check() == []
    story.volume.begin_snapshot("last")
    story.volume.wait_snapshots(WAIT_S)
    assert image_of(story.store, "last") == story.model


def count_steps(path: Path, monkeypatch: pytest.MonkeyPatch, kind: Kind) -> list[str]:
    """The steps of an untroubled story, which itself must end well."""
    steps = Steps(only=kind.only)
    story = Story(path, steps)
    with monkeypatch.context() as patch:
        with_steps(patch, steps)
        story.tell()
        names = list(steps.names)
    assert sorted(story.images) == ["s3", "s5"]
    settle(story, killed=True)
    assert {status.state for status in story.store.statuses()} == {"completed"}
    story.store.close()
    return names


@contextlib.contextmanager
def folder_in_memory(otherwise: Path) -> Iterator[Path]:
    """A folder in memory where there is such a place: these stories sync thousands of times."""
    if not MEMORY_FILES.is_dir():
        yield otherwise
        return
    with tempfile.TemporaryDirectory(dir=MEMORY_FILES, prefix="blockdev-steps-") as path:
        yield Path(path)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    with folder_in_memory(tmp_path) as path:
        yield path


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_trouble_at_every_step(folder: Path, monkeypatch: pytest.MonkeyPatch, kind: Kind) -> None:
    names = count_steps(folder / "whole", monkeypatch, kind)
    assert kind.only <= {*names, "get"}
    for at in range(1, len(names) + 1):
        steps = Steps(at, kind.strike, kind.only)
        story = Story(folder / f"{at}", steps)
        try:
            with monkeypatch.context() as patch:
                with_steps(patch, steps)
                story.tell()
        except Killed:
            reopen_after_kill(story)
        except FAULTS as error:
            raise AssertionError(f"step {at} ({names[at - 1]}) failed a client") from error
        assert steps.count >= at
        settle(story, steps.is_dead)
        story.volume.close()
        story.store.close()


def reopen_after_kill(story: Story) -> None:
    """The next process: devices, blocks and rows as they were left."""
    story.store.close()
    story.store = open_store(story.path, story.blocks)
    story.store.recover()
    survived = read(story.data, 0, SIZE)
    story.volume = story.open()
    # The write that the process died in was not acknowledged: done, or not.
    for at in range(0, SIZE, BLOCK_BYTES):
        story.model[at : at + BLOCK_BYTES] = survived[at : at + BLOCK_BYTES]


def test_a_full_block_store_fails_that_snapshot_only(tmp_path: Path) -> None:
    steps = Steps()
    story = Story(tmp_path, steps)
    story.write(0, 1)
    story.snapshot("s1")
    story.volume.wait_snapshots(WAIT_S)
    story.write(1, 2)
    story.snapshot("s2")
    full = Steps(1, _full)
    story.store._blocks = SteppedBlocks(story.blocks, full)
    story.volume.step_snapshots()
    status = story.store.status("s2")
    assert (status.state, status.reason) == ("error", "injected: no space left")
    story.snapshot("s3")
    story.volume.wait_snapshots(WAIT_S)
    assert image_of(story.store, "s1") == story.images["s1"]
    assert image_of(story.store, "s3") == story.model
    assert story.store.check() == []
    story.store.close()


def test_a_write_over_a_block_that_cannot_be_stored_is_done_all_the_same(tmp_path: Path) -> None:
    """The snapshots that need the old block fail; the one begun afterwards does not."""
    story = Story(tmp_path, Steps())
    story.write(0, 1)
    story.snapshot("s1")
    story.write(1, 2)
    story.snapshot("s2")
    story.store._blocks = SteppedBlocks(story.blocks, Steps(1, _full))
    story.write(0, 3)
    story.snapshot("s3")
    story.volume.wait_snapshots(WAIT_S)
    states = {status.snapshot_id: status.state for status in story.store.statuses()}
    assert states == {"s1": "error", "s2": "error", "s3": "completed"}
    assert image_of(story.store, "s3") == story.model
    assert read(story.volume, 0, SIZE) == story.model
    assert story.store.check() == []
    story.store.close()


def test_a_lost_block_is_remembered_by_the_next_process(tmp_path: Path) -> None:
    """The failure was noted before the old content went, so that no resumed copy takes the new."""
    story = Story(tmp_path, Steps())
    story.write(0, 1)
    story.snapshot("s1")
    story.store._blocks = SteppedBlocks(story.blocks, Steps(1, _io))
    story.write(0, 3)
    story.store.close()
    story.store = SnapshotStore.open(
        tmp_path / "region.sqlite", tmp_path / "snapshots", story.blocks
    )
    story.volume = story.open()
    assert story.store.status("s1").state == "error"
    story.snapshot("s2")
    story.volume.wait_snapshots(WAIT_S)
    assert image_of(story.store, "s2") == story.model
    assert story.store.check() == []
    story.store.close()
