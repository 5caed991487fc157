"""Recovery: what it trusts, what it finds damaged, and rows that only a replay meets."""

from __future__ import annotations

from pathlib import Path

import pytest

from blockdev import MemoryDevice
from objstore import ObjectStore
from objstore.engine import opening
from objstore.engine.check import rebuild
from objstore.engine.opening import Folder
from objstore.engine.recovery import Replay
from objstore.errors import CorruptionError
from tests.crash.tiny import (
    TINY,
    assert_clean,
    contents,
    forget_checkpoints,
    forget_index,
    open_tiny,
    pattern,
)

BUCKET = "bucket"


class KilledError(BaseException):
    """Stands for a kill -9."""


def fill(store: ObjectStore, first: int, count: int) -> dict[str, bytes]:
    written = {f"key-{n}": pattern(n, 2_000) for n in range(first, first + count)}
    for key, body in written.items():
        store.put(BUCKET, key, body)
    return written


def lose_index(store: ObjectStore, folder: Path, device: MemoryDevice) -> ObjectStore:
    store.close()
    forget_index(folder)
    forget_checkpoints(folder)
    return open_tiny(folder, device)


@pytest.mark.parametrize("has_checkpoint", [True, False])
def test_killed_in_the_midst_of_a_recovery(
    has_checkpoint: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The half-made index must not be trusted: it would overwrite the end of the log."""
    device = MemoryDevice(TINY.device_bytes)
    store = open_tiny(tmp_path, device)
    expected = fill(store, 0, 20)
    if has_checkpoint:
        store.checkpoint()
    expected |= fill(store, 20, 20)
    store.close()
    forget_index(tmp_path)

    def killed(replay: Replay) -> None:
        raise KilledError

    monkeypatch.setattr(Replay, "run", killed)
    with pytest.raises(KilledError):
        open_tiny(tmp_path, device)
    monkeypatch.undo()
    with open_tiny(tmp_path, device) as store:
        assert store.recovery is not None
        assert contents(store, BUCKET) == expected
        assert_clean(store)


def test_killed_in_the_midst_of_a_rebuild(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    device = MemoryDevice(TINY.device_bytes)
    with open_tiny(tmp_path, device) as store:
        expected = fill(store, 0, 20)

    def killed(replay: Replay) -> None:
        raise KilledError

    monkeypatch.setattr(Replay, "run", killed)
    with pytest.raises(KilledError):
        rebuild(Folder(tmp_path), device, TINY)
    monkeypatch.undo()
    with open_tiny(tmp_path, device) as store:
        assert contents(store, BUCKET) == expected


@pytest.mark.parametrize("damage", [b"", b"garbage" * 5_000])
def test_an_index_that_is_none_is_made_anew(damage: bytes, tmp_path: Path) -> None:
    device = MemoryDevice(TINY.device_bytes)
    with open_tiny(tmp_path, device) as store:
        expected = fill(store, 0, 20)
    (tmp_path / "index" / "data.mdb").write_bytes(damage)
    with open_tiny(tmp_path, device) as store:
        assert contents(store, BUCKET) == expected
        assert_clean(store)


def test_an_index_of_another_boot_is_not_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unless the last process to close the store said that it was synced."""
    device = MemoryDevice(TINY.device_bytes)
    boot_id = tmp_path / "boot_id"
    boot_id.write_text("first")
    monkeypatch.setattr(opening, "_BOOT_ID", boot_id)
    open_tiny(tmp_path / "store", device).close()
    boot_id.write_text("second")
    store = open_tiny(tmp_path / "store", device)
    assert store.recovery is None
    state = (tmp_path / "store" / "state.json").read_text()
    store.close()
    (tmp_path / "store" / "state.json").write_text(state)  # as it was while the store was open
    with open_tiny(tmp_path / "store", device) as store:
        assert store.recovery is None
    (tmp_path / "store" / "state.json").write_text(state)
    boot_id.write_text("third")
    with open_tiny(tmp_path / "store", device) as store:
        assert store.recovery is not None


def test_buckets_that_come_and_go_leave_nothing_behind(tmp_path: Path) -> None:
    """Compaction moves tombstones past others; a replay meets them in that order."""
    device = MemoryDevice(TINY.device_bytes)
    store = open_tiny(tmp_path, device)
    kept: dict[str, bytes] = {}
    for round_ in range(12):
        for name in ("first", "second"):
            store.create_bucket(name)
            for number in range(6):
                store.put(name, f"key-{number}", pattern(number, 3_000))
        kept |= fill(store, round_ * 20, 20)
        for name in ("first", "second"):
            store.delete_many(name, [f"key-{number}" for number in range(6)])
            store.delete_bucket(name)
        for key in sorted(kept)[::2]:
            store.delete(BUCKET, key)
            del kept[key]
        store.maintain()
        assert_clean(store)
        if round_ % 3 == 2:
            store = lose_index(store, tmp_path, device)
            assert contents(store, BUCKET) == kept
            assert [info.name for info in store.list_buckets()] == [BUCKET]
    store.close()


def test_both_superblocks_matter(tmp_path: Path) -> None:
    """One copy may be damaged; with both gone, nothing is guessed and nothing is made anew."""
    device = MemoryDevice(TINY.device_bytes)
    with open_tiny(tmp_path, device) as store:
        expected = fill(store, 0, 5)
    device.write(100, b"\xff" * 10)  # between the fields and the checksum: harmless padding
    store_id = bytearray(1)
    device.read_into(16, store_id)
    damaged = bytes([store_id[0] ^ 0xFF])
    device.write(16, damaged)
    with open_tiny(tmp_path, device) as store:
        assert contents(store, BUCKET) == expected
    for copy in (0, 4096):
        device.write(copy + 16, damaged)
    with pytest.raises(CorruptionError, match="superblock"):
        open_tiny(tmp_path, device)


@pytest.mark.parametrize("is_blank", [True, False])
def test_a_device_of_something_else_is_left_alone(is_blank: bool, tmp_path: Path) -> None:
    device = MemoryDevice(TINY.device_bytes)
    if is_blank:
        open_tiny(tmp_path, device).close()
        return
    device.write(0, b"a file system, perhaps")
    with pytest.raises(CorruptionError, match="holds no store"):
        open_tiny(tmp_path, device)
    start = bytearray(22)
    device.read_into(0, start)
    assert start == b"a file system, perhaps"
