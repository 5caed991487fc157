"""A sync of the block store is a barrier, whoever else is at one."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from blockdev.blocks import FileBlockStore, digest_of
from blockdev.errors import DeviceError, DeviceIOError

DEADLINE_S = 60
PLAIN = bytes(range(256)) * 2048


class SlowSync:
    """`os.fsync` that waits to be let through, and then fails if it is told to."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self.released = threading.Event()
        self.error: OSError | None = None
        self.done = 0
        self._fsync = os.fsync

    def __call__(self, descriptor: int) -> None:
        self.reached.set()
        assert self.released.wait(DEADLINE_S)
        if self.error is not None:
            raise self.error
        self._fsync(descriptor)
        self.done += 1


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch, store: FileBlockStore) -> SlowSync:
    slow = SlowSync()
    monkeypatch.setattr("blockdev.blocks.os.fsync", slow)
    return slow


@pytest.fixture
def store(tmp_path: Path) -> FileBlockStore:
    return FileBlockStore.open(tmp_path / "blocks")


def sync_twice(store: FileBlockStore, slow: SlowSync) -> list[DeviceError | int]:
    """The first sync is held at its file while a second begins; how each ended, in any order."""
    ends: list[DeviceError | int] = []

    def sync() -> None:
        try:
            store.sync()
        except DeviceError as error:
            ends.append(error)
        else:
            ends.append(slow.done)

    store.put(digest_of(PLAIN), PLAIN)
    threads = [threading.Thread(target=sync, daemon=True) for _ in range(2)]
    threads[0].start()
    assert slow.reached.wait(DEADLINE_S)
    threads[1].start()
    threads[1].join(0.2)  # time enough to go wrong in
    slow.released.set()
    for thread in threads:
        thread.join(DEADLINE_S)
        assert not thread.is_alive()
    return ends


def test_a_second_sync_waits_for_what_the_first_is_at(
    store: FileBlockStore, slow: SlowSync
) -> None:
    ends = sync_twice(store, slow)
    assert len(ends) == 2
    assert all(isinstance(end, int) and end >= 1 for end in ends), "it returned before the fsync"


def test_a_failed_sync_is_told_to_whoever_waits_and_is_not_tried_again(
    store: FileBlockStore, slow: SlowSync
) -> None:
    slow.error = OSError(5, "Input/output error")
    ends = sync_twice(store, slow)
    assert len(ends) == 2
    assert all(isinstance(end, DeviceIOError) for end in ends)
    slow.error = None
    with pytest.raises(DeviceIOError, match="open it again"):
        store.sync()
    store.close()
    again = FileBlockStore.open(store.folder)
    again.put(digest_of(PLAIN), PLAIN)
    again.sync()
    assert again.get(digest_of(PLAIN)) == PLAIN
    again.close()
