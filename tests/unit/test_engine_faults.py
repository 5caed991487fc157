"""Devices that fail, fill up and forget: the store stays whole and says what is wrong."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest

from blockdev import MemoryDevice
from blockdev.filters import Fault, FaultDevice, FaultRule, Operation
from objstore import CompletedPart, ObjectStore
from objstore.config import KIB, MIB
from objstore.errors import (
    CorruptionError,
    NoSuchKeyError,
    StoreFullError,
    StorePoisonedError,
    StoreUnavailableError,
)
from objstore.index import keys
from objstore.index.base import IndexFullError
from objstore.index.lmdb_index import LmdbIndex
from objstore.index.schema import unpack_head
from tests.crash.tiny import TINY, assert_clean, contents, forget_index, open_tiny, pattern

BUCKET = "bucket"
WRITES = frozenset({Operation.WRITE})


def faulty_store(folder: Path) -> tuple[ObjectStore, FaultDevice]:
    device = FaultDevice(MemoryDevice(TINY.device_bytes))
    store = open_tiny(folder, device)
    store.create_bucket(BUCKET)
    return store, device


def reopened(store: ObjectStore, folder: Path, device: FaultDevice) -> ObjectStore:
    store.close()
    device.disarm_all()
    return open_tiny(folder, device)


# --- a device that fails --------------------------------------------------------------


@pytest.mark.parametrize("fault", [Fault.IO_ERROR, Fault.TEAR])
@pytest.mark.parametrize("loses_index", [False, True])
def test_a_commit_that_fails_ends_all_writing(
    fault: Fault, loses_index: bool, tmp_path: Path
) -> None:
    store, device = faulty_store(tmp_path)
    store.put(BUCKET, "before", b"before")
    device.arm(FaultRule(fault, WRITES, first_call=1, last_call=1))
    with pytest.raises(StorePoisonedError):
        store.put(BUCKET, "lost", b"lost")
    for _ in range(2):
        with pytest.raises(StorePoisonedError):
            store.put(BUCKET, "refused", b"refused")
        with pytest.raises(StorePoisonedError):
            store.delete(BUCKET, "before")
    assert contents(store, BUCKET) == {"before": b"before"}
    if loses_index:
        store.close()
        forget_index(tmp_path)
    store = reopened(store, tmp_path, device)
    found = contents(store, BUCKET)
    found.pop("lost", None)
    assert found == {"before": b"before"}
    store.put(BUCKET, "after", b"after")
    assert_clean(store)
    store.close()


@pytest.mark.parametrize("operation", [Operation.WRITE, Operation.FLUSH])
def test_a_large_object_whose_bytes_fail_to_arrive(operation: Operation, tmp_path: Path) -> None:
    """A failed flush is never retried: everything written since the last may be gone."""
    store, device = faulty_store(tmp_path)
    store.put(BUCKET, "before", pattern(1, 300_000))
    armed = device.arm(FaultRule(Fault.IO_ERROR, frozenset({operation}), first_call=1, last_call=1))
    with pytest.raises(StorePoisonedError):
        store.put(BUCKET, "lost", pattern(2, 300_000))
    with pytest.raises(StorePoisonedError):
        store.put(BUCKET, "refused", pattern(3, 300_000))
    assert armed.hits == 1
    assert contents(store, BUCKET) == {"before": pattern(1, 300_000)}
    store = reopened(store, tmp_path, device)
    assert contents(store, BUCKET) == {"before": pattern(1, 300_000)}
    assert_clean(store)
    store.close()


def test_a_failure_of_the_device_while_reading(tmp_path: Path) -> None:
    """Reported as an error of the store; nothing is poisoned by it."""
    store, device = faulty_store(tmp_path)
    bodies = {"small": pattern(1, 2_000), "large": pattern(2, 300_000)}
    for key, body in bodies.items():
        store.put(BUCKET, key, body)
    for key in bodies:
        device.arm(FaultRule(Fault.IO_ERROR, frozenset({Operation.READ})))
        with pytest.raises(StoreUnavailableError), store.get(BUCKET, key) as reader:
            reader.read()
        device.disarm_all()
    store.put(BUCKET, "after", b"")
    assert contents(store, BUCKET) == bodies | {"after": b""}
    store.close()


# --- a device that decays ---------------------------------------------------------------


def place_of(store: ObjectStore, key: str) -> tuple[int, int]:
    """(offset of the record, offset of the payload) of an object."""
    with store._core.index.read() as txn:
        bucket_id = store._core.bucket(txn, BUCKET).bucket_id
        row = txn.get(keys.current(bucket_id, key.encode()))
        assert row is not None
        return unpack_head(row).record_offset, unpack_head(row).payload_offset


def extents_of(store: ObjectStore) -> list[int]:
    with store._core.index.read() as txn:
        return [keys.parse_extent(key)[1] for key, _row in txn.scan(b"x", b"y")]


def decayed_store(folder: Path) -> tuple[ObjectStore, FaultDevice, dict[str, bytes]]:
    store, device = faulty_store(folder)
    bodies = {f"small-{n}": pattern(n, 2_000) for n in range(60)}
    bodies |= {f"large-{n}": pattern(n, 20_000) for n in range(3)}
    for key, body in bodies.items():
        store.put(BUCKET, key, body)
    return store, device, bodies


def assert_reads_right_or_not_at_all(store: ObjectStore, bodies: dict[str, bytes]) -> list[str]:
    """The keys that cannot be read; every other one reads as it was put."""
    damaged = []
    for key, body in bodies.items():
        try:
            with store.get(BUCKET, key) as reader:
                assert reader.read() == body
        except CorruptionError:
            damaged.append(key)
    return damaged


def test_a_bit_flips_in_the_payload_of_a_record(tmp_path: Path) -> None:
    store, device, bodies = decayed_store(tmp_path)
    device.flip_bit(place_of(store, "small-3")[1] + 999, 5)
    assert assert_reads_right_or_not_at_all(store, bodies) == ["small-3"]
    assert any("small-3" in str(problem) for problem in store.check())
    store.close()


@pytest.mark.parametrize("at", [0, 4_095, 4_096, 19_999, 20_000, 20_032])
def test_a_bit_flips_in_an_extent_or_its_checksums(at: int, tmp_path: Path) -> None:
    store, device, bodies = decayed_store(tmp_path)
    device.flip_bit(extents_of(store)[0] + at)
    assert assert_reads_right_or_not_at_all(store, bodies) == ["large-0"]
    assert [problem.where for problem in store.check()] == ["data"]
    store.close()


@pytest.mark.parametrize("header_bytes", [80, 4096 - 2200])
def test_a_bit_flips_in_a_batch(header_bytes: int, tmp_path: Path) -> None:
    """In the batch's header or a record's: reads do not need them, `check` finds them."""
    store, device, bodies = decayed_store(tmp_path)
    record_at, _payload = place_of(store, "small-3")
    device.flip_bit(record_at - 60 if header_bytes == 80 else record_at + 20)
    assert assert_reads_right_or_not_at_all(store, bodies) == []
    assert [problem for problem in store.check() if problem.where == "log"]
    store.close()
    forget_index(tmp_path)
    with pytest.raises(CorruptionError, match="damaged"):
        open_tiny(tmp_path, device)


def test_compaction_leaves_a_damaged_segment_alone(tmp_path: Path) -> None:
    """It must not move damage on with a fresh checksum, nor give the rest of it up."""
    store, device, bodies = decayed_store(tmp_path)
    device.flip_bit(place_of(store, "small-3")[1])
    device.flip_bit(extents_of(store)[0])
    for key in list(bodies):
        if key.endswith(("1", "2", "4", "5", "6", "7", "8", "9")):
            store.delete(BUCKET, key)
            del bodies[key]
    for _ in range(3):
        store.maintain()
    assert assert_reads_right_or_not_at_all(store, bodies) == ["small-3", "large-0"]
    for key in ("small-3", "large-0"):
        store.put(BUCKET, key, b"anew")
        bodies[key] = b"anew"
    assert assert_reads_right_or_not_at_all(store, bodies) == []
    store.close()


# --- a device that is full ----------------------------------------------------------------


def fill(store: ObjectStore, first: int, size_bytes: int) -> dict[str, bytes]:
    """Put objects until the store says that it is full."""
    put: dict[str, bytes] = {}
    for number in range(first, first + 20_000):
        key, body = f"key-{number:06}", pattern(number, size_bytes)
        try:
            store.put(BUCKET, key, body)
        except StoreFullError:
            return put
        put[key] = body
    raise AssertionError("the device never fills up")


@pytest.mark.parametrize(
    "size_bytes",
    [
        100,
        3_000,
        20_000,
        100_000,
        400_000,
    ],
)
def test_filled_to_the_brim_and_emptied_again_and_again(size_bytes: int, tmp_path: Path) -> None:
    device = MemoryDevice(4 * MIB)
    config = replace(TINY, device_bytes=4 * MIB)
    filled: list[int] = []
    with open_tiny(tmp_path, device, config) as store:
        store.create_bucket(BUCKET)
        for cycle in range(4):
            bodies = fill(store, cycle * 100_000, size_bytes)
            filled.append(len(bodies))
            assert contents(store, BUCKET) == bodies
            assert_clean(store)
            with pytest.raises(StoreFullError):
                store.put(BUCKET, "one more", pattern(0, size_bytes))
            for key in bodies:
                store.delete(BUCKET, key)
            store.maintain()
            assert contents(store, BUCKET) == {}
            assert_clean(store)
    assert min(filled) >= filled[0] * 0.8, f"space is lost: {filled}"
    assert filled[0] * size_bytes > MIB or size_bytes == 100


@pytest.mark.parametrize(
    "size_bytes",
    [
        100,
        3_000,
        20_000,
        100_000,
    ],
)
def test_a_full_store_from_which_every_third_is_deleted(size_bytes: int, tmp_path: Path) -> None:
    """The worst for compaction: no segment is sparse, all have something to give."""
    device = MemoryDevice(4 * MIB)
    config = replace(TINY, device_bytes=4 * MIB)
    with open_tiny(tmp_path, device, config) as store:
        store.create_bucket(BUCKET)
        bodies = fill(store, 0, size_bytes)
        for key in list(bodies)[::3]:
            store.delete(BUCKET, key)
            del bodies[key]
        store.maintain()
        assert contents(store, BUCKET) == bodies
        put = fill(store, 100_000, size_bytes)
        assert put, "a third of the store was deleted, and there is no room for anything"
        assert contents(store, BUCKET) == bodies | put
        assert_clean(store)
        for key in (*bodies, *put):
            store.delete(BUCKET, key)
        store.maintain()
        assert fill(store, 200_000, size_bytes)


def test_what_a_large_delete_frees_is_usable_at_once(tmp_path: Path) -> None:
    """Without a round of maintenance in between."""
    device = MemoryDevice(4 * MIB)
    with open_tiny(tmp_path, device, replace(TINY, device_bytes=4 * MIB)) as store:
        store.create_bucket(BUCKET)
        bodies = fill(store, 0, 400_000)
        for number in range(20):
            store.delete(BUCKET, sorted(bodies)[0])
            del bodies[sorted(bodies)[0]]
            bodies[f"new-{number:06}"] = pattern(number, 400_000)
            store.put(BUCKET, f"new-{number:06}", pattern(number, 400_000))
        assert contents(store, BUCKET) == bodies


def parts_until_full(store: ObjectStore, upload: str) -> int:
    for number in range(1, 100):
        try:
            with store.open_part(BUCKET, "key", upload, number) as part:
                part.write(pattern(number, 200_000))
                part.commit()
        except StoreFullError:
            return number
    raise AssertionError("the device never fills up")


def test_an_upload_given_up_leaves_its_space(tmp_path: Path) -> None:
    device = MemoryDevice(4 * MIB)
    with open_tiny(tmp_path, device, replace(TINY, device_bytes=4 * MIB)) as store:
        store.create_bucket(BUCKET)
        for _ in range(5):
            upload = store.create_upload(BUCKET, "key").upload_id
            assert parts_until_full(store, upload) > 5
            store.abort_upload(BUCKET, "key", upload)
        for _ in range(5):
            with store.open_put(BUCKET, "key", size_bytes=2 * MIB) as stream:
                stream.write(bytes(MIB))
        store.put(BUCKET, "key", bytes(2 * MIB))
        assert_clean(store)


def test_a_file_system_that_is_full(tmp_path: Path) -> None:
    """As a device says it: no harm done, writes go on once there is room."""
    store, device = faulty_store(tmp_path)
    bodies = {"small": pattern(1, 2_000), "large": pattern(2, 300_000)}
    for key, body in bodies.items():
        store.put(BUCKET, key, body)
    device.arm(FaultRule(Fault.FULL, WRITES))
    for size_bytes in (100, 300_000):
        with pytest.raises(StoreFullError):
            store.put(BUCKET, "more", pattern(3, size_bytes))
    assert contents(store, BUCKET) == bodies
    device.disarm_all()
    store.put(BUCKET, "more", pattern(3, 300_000))
    assert contents(store, BUCKET) == bodies | {"more": pattern(3, 300_000)}
    assert_clean(store)
    store.close()


@pytest.mark.parametrize("size_bytes", [100, 20_000, 300_000])
def test_no_room_for_the_index(
    size_bytes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its files grow, too; the last commits may fail where the device had room."""
    store, _device = faulty_store(tmp_path)
    store.put(BUCKET, "before", pattern(1, size_bytes))

    @contextmanager
    def full(index: LmdbIndex) -> Iterator[object]:
        with write(index) as txn:
            yield txn
            raise IndexFullError("no space left")

    write = LmdbIndex.write
    with monkeypatch.context() as patch:
        patch.setattr(LmdbIndex, "write", full)
        for _ in range(3):
            with pytest.raises(StoreFullError):
                store.put(BUCKET, "refused", pattern(2, size_bytes))
        assert contents(store, BUCKET) == {"before": pattern(1, size_bytes)}
    store.put(BUCKET, "after", pattern(3, size_bytes))
    assert_clean(store)
    store.close()
    forget_index(tmp_path)
    with open_tiny(tmp_path, _device) as store:
        assert contents(store, BUCKET).keys() == {"before", "after"}
        assert_clean(store)


@pytest.fixture
def small_mount(tmp_path: Path) -> Iterator[Path]:
    """A file system of 24 MiB of its own."""
    folder = tmp_path / "mount"
    folder.mkdir()
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system takes root")
    mount = ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("this system does not let us mount a tmpfs")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("size_bytes", [1_000, 400_000])
def test_a_real_file_system_that_is_full(size_bytes: int, small_mount: Path) -> None:
    """Writes are refused, reads and deletes go on, and what is freed is usable at once."""
    config = replace(TINY, reserve_bytes=4 * MIB, device_bytes=256 * MIB, batch_ops=8)
    folder = small_mount / "store"
    with ObjectStore.open(folder, config=config) as store:
        store.create_bucket(BUCKET)
        for cycle in range(3):
            bodies = fill(store, cycle * 100_000, size_bytes)
            assert contents(store, BUCKET) == bodies
            for number, key in enumerate(bodies):
                store.delete(BUCKET, key)
                if number % 100 == 0:
                    store.maintain()  # as it does by itself, a second apart
            store.maintain()
        store.put(BUCKET, "last", pattern(1, size_bytes))
        with pytest.raises(NoSuchKeyError):
            store.get(BUCKET, "key-000000")
        assert_clean(store)


def test_a_file_system_filled_by_somebody_else(small_mount: Path) -> None:
    """Nothing at all is left, not even the reserve: no write, and no harm."""
    config = replace(TINY, reserve_bytes=0, device_bytes=256 * MIB)
    folder = small_mount / "store"
    with ObjectStore.open(folder, config=config) as store:
        bodies = {f"key-{number}": pattern(number, 3_000) for number in range(20)}
        for key, body in bodies.items():
            store.put(BUCKET, key, body)
        hog = small_mount / "hog"
        with suppress(OSError), hog.open("wb", buffering=0) as sink:
            while sink.write(bytes(64 * KIB)):
                pass
        refused = 0
        for number in range(50):
            key, body = f"new-{number}", pattern(number, 60_000 if number % 2 else 3_000)
            try:
                store.put(BUCKET, key, body)
                bodies[key] = body
            except StoreFullError:
                refused += 1
        assert refused
        assert contents(store, BUCKET) == bodies
        hog.unlink()
        for number in range(20):
            store.put(BUCKET, f"after-{number}", pattern(number, 60_000))
            bodies[f"after-{number}"] = pattern(number, 60_000)
        assert contents(store, BUCKET) == bodies
        assert_clean(store)


def test_completing_an_upload_in_a_store_that_is_full(tmp_path: Path) -> None:
    device = MemoryDevice(4 * MIB)
    with open_tiny(tmp_path, device, replace(TINY, device_bytes=4 * MIB)) as store:
        store.create_bucket(BUCKET)
        upload = store.create_upload(BUCKET, "key").upload_id
        with store.open_part(BUCKET, "key", upload, 1) as part:
            part.write(pattern(1, 200_000))
            etag = part.commit().etag
        bodies = fill(store, 0, 3_000) | fill(store, 100_000, 1)
        with pytest.raises(StoreFullError):
            store.complete_upload(BUCKET, "key", upload, [CompletedPart(1, etag)])
        for key in bodies:
            store.delete(BUCKET, key)
        store.maintain()
        store.complete_upload(BUCKET, "key", upload, [CompletedPart(1, etag)])
        assert contents(store, BUCKET) == {"key": pattern(1, 200_000)}
        assert_clean(store)
