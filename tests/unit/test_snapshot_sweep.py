"""Blocks that nothing needs: no file without a row, whoever sweeps, puts or fails meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from blockdev.block_codec import digest_of
from blockdev.blocks import FileBlockStore
from blockdev.device import Buffer
from blockdev.errors import DeviceIOError
from blockdev.refs import NotPendingError
from blockdev.snapshot import SnapshotStore

MIB = 1 << 20
PLAIN = {name: name.encode() * (MIB // 2) for name in "abc"}


class Interfering(FileBlockStore):
    """Does `before_put` or `before_sync` once, before the next of them."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.before_put: Callable[[], object] | None = None
        self.before_sync: Callable[[], object] | None = None

    def put(self, digest: bytes, plain: Buffer) -> int:
        action, self.before_put = self.before_put, None
        if action is not None:
            action()
        return super().put(digest, plain)

    def sync(self) -> None:
        action, self.before_sync = self.before_sync, None
        if action is not None:
            action()
        super().sync()


class Folder:
    """A folder that several processes have open, each by a store of its own."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._stores: list[SnapshotStore] = []

    def open(self) -> tuple[SnapshotStore, Interfering]:
        FileBlockStore.open(self.path / "blocks").close()
        blocks = Interfering(self.path / "blocks")
        store = SnapshotStore.open(self.path / "rows.sqlite", self.path / "maps", blocks)
        self._stores.append(store)
        return store, blocks

    def has(self, name: str) -> bool:
        return digest_of(PLAIN[name]) in set(self._stores[0].blocks.hashes())

    def is_known(self, name: str) -> bool:
        """Whether there is a row for the block."""
        with self._stores[0].reading() as connection:
            row = connection.execute(
                "SELECT 1 FROM snap_blocks WHERE digest = ?", (digest_of(PLAIN[name]),)
            ).fetchone()
        return row is not None

    def bring_back(self, name: str) -> None:
        """What a power loss may do to a file whose removal was not synced."""
        FileBlockStore.open(self.path / "blocks").put(digest_of(PLAIN[name]), PLAIN[name])

    def close(self) -> None:
        assert self._stores[0].check() == []
        for store in self._stores:
            store.close()


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def make(store: SnapshotStore, name: str) -> None:
    """A completed snapshot `name` of one block."""
    draft = store.begin(name, size_bytes=MIB)
    draft.put(0, PLAIN[name])
    draft.complete()


def test_what_another_sweep_has_not_synced_is_not_forgotten(folder: Folder) -> None:
    """Nor is it when a third snapshot is deleted by whoever syncs only his own folders."""
    one, blocks = folder.open()
    other, _ = folder.open()
    make(one, "a")
    make(one, "b")
    known: list[bool] = []

    def delete_b() -> None:
        other.delete("b")
        known.append(folder.is_known("a"))

    blocks.before_sync = delete_b
    one.delete("a")
    assert known == [True]
    assert not folder.is_known("a")
    assert not folder.is_known("b")
    assert not folder.has("a")
    folder.close()


class Killed(BaseException):
    """Ends a call where a process might be killed."""


def kill() -> None:
    raise Killed


def fail() -> None:
    raise DeviceIOError("the medium")


def test_a_sweep_that_was_killed_before_its_sync_is_done_again(folder: Folder) -> None:
    one, blocks = folder.open()
    make(one, "a")
    blocks.before_sync = kill
    with suppress(Killed):
        one.delete("a")
    folder.bring_back("a")
    other, _ = folder.open()
    make(other, "b")
    other.delete("b")  # somebody else's sweep does not take it for its own
    assert folder.is_known("a")
    other.recover()
    assert not folder.has("a")
    assert not folder.is_known("a")
    folder.close()


def test_a_sweep_whose_sync_fails_is_done_again_by_the_next(folder: Folder) -> None:
    one, blocks = folder.open()
    make(one, "a")
    make(one, "b")
    blocks.before_sync = fail
    one.delete("a")
    folder.bring_back("a")
    assert folder.is_known("a")
    one.delete("b")
    assert not folder.has("a")
    assert not folder.is_known("a")
    folder.close()


def test_a_block_that_is_needed_again_before_the_sync(folder: Folder) -> None:
    one, blocks = folder.open()
    other, _ = folder.open()
    make(one, "a")

    def again() -> None:
        draft = other.begin("again", size_bytes=MIB)
        draft.put(1, PLAIN["a"])
        draft.complete()

    blocks.before_sync = again
    one.delete("a")
    assert one.read_block("again", 1) == PLAIN["a"]
    other.delete("again")
    assert not folder.has("a")
    folder.close()


@pytest.mark.parametrize("how", ["deleted", "failed", "needed by another"])
def test_a_put_that_comes_after_its_snapshot_was_swept(folder: Folder, how: str) -> None:
    """The block was noted; then the snapshot ends, and the sweep finds no file to remove."""
    one, blocks = folder.open()
    other, _ = folder.open()
    draft = one.begin("draft", size_bytes=MIB)

    def end() -> None:
        if how == "failed":
            other.draft("draft").fail("too late")
        else:
            other.delete("draft")
        assert not folder.is_known("a")
        if how == "needed by another":
            make(other, "a")

    blocks.before_put = end
    with suppress(NotPendingError):
        draft.put(0, PLAIN["a"])
    is_needed = how == "needed by another"
    assert folder.has("a") == is_needed
    assert folder.is_known("a") == is_needed
    if is_needed:
        assert other.read_block("a", 0) == PLAIN["a"]
    folder.close()


def test_a_put_that_fails_after_its_snapshot_was_swept(folder: Folder) -> None:
    """The files of the other blocks of the same call may have come."""
    one, blocks = folder.open()
    other, _ = folder.open()
    draft = one.begin("draft", size_bytes=2 * MIB)

    def end() -> None:
        other.delete("draft")
        blocks.before_sync = fail

    blocks.before_put = end
    with pytest.raises(DeviceIOError):
        draft.put_many([(index, PLAIN[name]) for index, name in enumerate("abc")])
    assert not any(folder.has(name) or folder.is_known(name) for name in "abc")
    folder.close()
