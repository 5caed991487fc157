"""Opening: who waits for whom, what no store can be made of, when an index is believed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from blockdev import MemoryDevice
from objstore import ObjectStore
from objstore.config import KIB, LOCK_POLL_NS, LOCK_WAIT_NS
from objstore.engine import opening
from objstore.engine.sharing import FileLock
from objstore.errors import StoreError, StoreLockedError
from tests.crash.tiny import TINY, contents, open_tiny


class SleepingClock:
    """A clock that only sleeping moves on; `on_sleep` happens meanwhile."""

    def __init__(self, on_sleep: Callable[[], None] = lambda: None) -> None:
        self.monotonic = 0
        self.slept: list[int] = []
        self.on_sleep = on_sleep

    def now_ns(self) -> int:
        return self.monotonic

    def monotonic_ns(self) -> int:
        return self.monotonic

    def sleep_until(self, deadline_ns: int) -> None:
        self.slept.append(deadline_ns - self.monotonic)
        self.monotonic = max(self.monotonic, deadline_ns)
        self.on_sleep()


@pytest.fixture
def recovering(tmp_path: Path) -> FileLock:
    """The lock as a process holds it that recovers the store in `tmp_path`."""
    with open_tiny(tmp_path, MemoryDevice(TINY.device_bytes)):
        pass
    lock = FileLock(tmp_path / "run" / "lock")
    assert lock.try_exclusive()
    return lock


def test_a_recovery_that_takes_too_long_is_not_waited_for(
    tmp_path: Path, recovering: FileLock
) -> None:
    clock = SleepingClock()
    with pytest.raises(StoreLockedError, match="for a minute"):
        ObjectStore.open(tmp_path, config=TINY, clock=clock, device=MemoryDevice(TINY.device_bytes))
    assert set(clock.slept) == {LOCK_POLL_NS}
    assert clock.monotonic == LOCK_WAIT_NS
    recovering.close()


def test_a_recovery_that_ends_lets_the_next_in(tmp_path: Path) -> None:
    device = MemoryDevice(TINY.device_bytes)
    with open_tiny(tmp_path, device) as store:
        store.put("bucket", "key", b"x")
    lock = FileLock(tmp_path / "run" / "lock")
    assert lock.try_exclusive()
    clock = SleepingClock(on_sleep=lock.close)
    with ObjectStore.open(tmp_path, config=TINY, clock=clock, device=device) as store:
        assert contents(store, "bucket") == {"key": b"x"}
    assert clock.slept[0] == LOCK_POLL_NS


def test_another_one_gets_in_while_the_lock_goes_from_exclusive_to_shared(tmp_path: Path) -> None:
    """Changing a lock gives it up for a moment."""
    mine, other = FileLock(tmp_path / "lock"), FileLock(tmp_path / "lock")
    assert other.try_exclusive()
    clock = SleepingClock(on_sleep=other.close)
    opening._share(mine, clock)
    assert clock.slept == [LOCK_POLL_NS]
    mine.close()


@pytest.mark.parametrize("segment_bytes", [32 * KIB, 64 * KIB + 512])
def test_segments_that_no_store_has(tmp_path: Path, segment_bytes: int) -> None:
    device = MemoryDevice(TINY.device_bytes)
    with pytest.raises(StoreError, match="a multiple of 4 KiB"):
        open_tiny(tmp_path, device, replace(TINY, segment_bytes=segment_bytes))
    with open_tiny(tmp_path, device) as store:
        assert store.list_buckets() == []


def test_a_device_that_is_too_small(tmp_path: Path) -> None:
    device = MemoryDevice(4 * TINY.segment_bytes)
    with pytest.raises(StoreError, match="too small for 4 segments"):
        open_tiny(tmp_path, device)
    first = bytearray(4096)
    device.read_into(0, first)
    assert not any(first)


@pytest.mark.parametrize("is_clean", [True, False])
def test_a_machine_without_a_boot_id(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_clean: bool
) -> None:
    """Then only an index that was synced is believed."""
    monkeypatch.setattr(opening, "_BOOT_ID", tmp_path / "none")
    device = MemoryDevice(TINY.device_bytes)
    folder = tmp_path / "store"
    with open_tiny(folder, device) as store:
        store.put("bucket", "key", b"x")
        superblock = store._core.superblock
    if not is_clean:
        opening.mark(opening.Folder(folder), superblock, is_clean=False)
    with open_tiny(folder, device) as store:
        assert (store.recovery is None) is is_clean
        assert contents(store, "bucket") == {"key": b"x"}
