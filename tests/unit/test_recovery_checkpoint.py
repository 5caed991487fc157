"""Checkpoints: which are taken for whole, and what happens when none is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from xxhash import xxh3_64_intdigest

from blockdev import ManualClock
from objstore.engine import checkpoint
from objstore.index.memory_index import MemoryIndex
from tests.unit.recovery_stores import BUCKET, Sandbox, contents, fill, live_rows


@pytest.fixture
def sandbox(tmp_path: Path) -> Sandbox:
    return Sandbox(tmp_path)


def with_two_checkpoints(sandbox: Sandbox) -> dict[str, bytes]:
    """A store with checkpoints after batches 4 and 8, and more log after them."""
    with sandbox.open() as store:
        store.create_bucket(BUCKET)
        put = fill(store, 3, "first")
        assert store.checkpoint() == 4
        put |= fill(store, 4, "second")
        assert store.checkpoint() == 8
        put |= fill(store, 2, "third")
    return put


def kept(sandbox: Sandbox) -> list[checkpoint.Checkpoint]:
    return checkpoint.find(sandbox.folder / "checkpoints", sandbox.superblock.store_id)


def replayed(sandbox: Sandbox, put: dict[str, bytes]) -> int:
    """How many batches are replayed; everything is there."""
    with sandbox.reopen_from_log() as store:
        assert contents(store) == put
        assert store.check() == []
        assert store.recovery is not None
        return store.recovery.batches


def test_only_what_came_after_the_newest_is_replayed(sandbox: Sandbox) -> None:
    put = with_two_checkpoints(sandbox)
    assert [(found.seq, found.lsn) for found in kept(sandbox)] == [(8, 10), (4, 6)]
    assert replayed(sandbox, put) == 2


def test_two_are_kept(sandbox: Sandbox) -> None:
    with_two_checkpoints(sandbox)
    with sandbox.open() as store:
        assert store.checkpoint() == 10
    assert [found.seq for found in kept(sandbox)] == [10, 8]
    assert len(list((sandbox.folder / "checkpoints").iterdir())) == 4


@pytest.mark.parametrize("damage", ["flip", "cut", "grow", "empty"])
def test_a_damaged_image_is_passed_over(sandbox: Sandbox, damage: str) -> None:
    put = with_two_checkpoints(sandbox)
    newest = kept(sandbox)[0]
    image = bytearray(newest.path.read_bytes())
    match damage:
        case "flip":
            image[len(image) // 2] ^= 1
        case "cut":
            del image[-1:]
        case "grow":
            image += b"\x00"
        case "empty":
            image.clear()
    newest.path.write_bytes(image)
    assert replayed(sandbox, put) == 6


def test_without_a_whole_image_the_log_is_enough(sandbox: Sandbox) -> None:
    put = with_two_checkpoints(sandbox)
    for found in kept(sandbox):
        found.path.write_bytes(b"no image")
    assert replayed(sandbox, put) == 10


def test_an_image_with_a_right_checksum_that_is_no_index(sandbox: Sandbox) -> None:
    """Nobody but a defect makes such a one; what is older is still enough."""
    put = with_two_checkpoints(sandbox)
    newest = kept(sandbox)[0]
    newest.path.write_bytes(b"x" * 8192)
    note = json.loads(newest.note_path.read_text())
    note |= {"bytes": 8192, "xxh3": f"{xxh3_64_intdigest(b'x' * 8192):016x}"}
    newest.note_path.write_text(json.dumps(note))
    assert replayed(sandbox, put) == 6


@pytest.mark.parametrize(
    "note",
    ["", "not json", "[]", "{}", '{"seq": "x"}', '{"seq": 8, "xxh3": 5}'],
)
def test_a_note_that_is_none_makes_the_image_none(sandbox: Sandbox, note: str) -> None:
    put = with_two_checkpoints(sandbox)
    newest = kept(sandbox)[0]
    newest.note_path.write_text(note)
    assert [found.seq for found in kept(sandbox)] == [4]
    assert replayed(sandbox, put) == 6


def test_notes_without_images_and_of_other_stores_do_not_count(sandbox: Sandbox) -> None:
    put = with_two_checkpoints(sandbox)
    newest, older = kept(sandbox)
    newest.path.unlink()
    note = json.loads(older.note_path.read_text())
    older.note_path.write_text(json.dumps({**note, "store_id": "00" * 16}))
    assert kept(sandbox) == []
    assert replayed(sandbox, put) == 10


def test_a_checkpoint_of_the_last_batch_leaves_nothing_to_replay(sandbox: Sandbox) -> None:
    put = with_two_checkpoints(sandbox)
    with sandbox.open() as store:
        store.checkpoint()
        expected = live_rows(store)
    assert replayed(sandbox, put) == 0
    with sandbox.open() as store:
        assert live_rows(store) == expected


def test_leases_and_quarantine_do_not_come_back_from_a_checkpoint(sandbox: Sandbox) -> None:
    with sandbox.open() as store:
        with store.open_put(BUCKET, "large") as stream:
            stream.write(b"x" * 20_000)
            store.checkpoint()
            stream.commit()
        store.checkpoint()
    with sandbox.reopen_from_log() as store, store._core.index.read() as txn:
        assert not list(txn.scan(b"~l", b"~m"))


class FailingIndex(MemoryIndex):
    """Its image stops half way."""

    def copy_to(self, fd: int) -> None:
        super().copy_to(fd)
        raise OSError("the index cannot be read")


def test_a_copy_that_fails_leaves_no_checkpoint(sandbox: Sandbox, tmp_path: Path) -> None:
    with sandbox.open() as store:
        store.put(BUCKET, "key", b"")
        rows = live_rows(store)
    index = FailingIndex()
    with index.write() as txn:
        for key, row in rows:
            txn.put(key, row)
    folder = tmp_path / "failing"
    with pytest.raises(OSError, match="cannot be read"):
        checkpoint.write(index, folder, b"s" * 16, ManualClock(), 10**9)
    assert list(folder.iterdir()) == []
    found = checkpoint.write(twin(rows), folder, b"s" * 16, ManualClock(), 10**9)
    assert checkpoint.find(folder, b"s" * 16) == [found]
    assert found.path.stat().st_size == found.bytes


def twin(rows: list[tuple[bytes, bytes]]) -> MemoryIndex:
    index = MemoryIndex()
    with index.write() as txn:
        for key, row in rows:
            txn.put(key, row)
    return index


def test_the_copy_is_throttled_by_the_clock(sandbox: Sandbox, tmp_path: Path) -> None:
    with sandbox.open() as store:
        fill(store, 20)
        rows = live_rows(store)
    clock = ManualClock()
    found = checkpoint.write(twin(rows), tmp_path / "slow", b"s" * 16, clock, 1000)
    assert clock.monotonic_ns() == found.bytes * 1_000_000
