"""Two copies of the superblock: one is enough, a damaged one is told of and written again."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from xxhash import xxh3_64_intdigest

from blockdev import BlockDevice, DeviceClosedError, MemoryDevice
from blockdev.filters import Fault, FaultDevice, FaultRule, Operation
from blockdev.filters.powerloss import PowerLossDevice
from objstore import ObjectStore
from objstore.engine.check import check_store, rebuild_index
from objstore.errors import CorruptionError
from objstore.log.format import SUPERBLOCK_COPIES, Superblock
from objstore.log.reader import read_bytes, read_superblock_copies
from tests.crash.tiny import TINY, contents, open_tiny
from tests.stores import SMALL_CONFIG, assert_whole

BUCKET = "bucket"
PAGE_BYTES = 4096
FIELDS_BYTES = 72
DEADLINE_S = 60
COPIES = pytest.mark.parametrize("copy", SUPERBLOCK_COPIES)
OTHER = {0: PAGE_BYTES, PAGE_BYTES: 0}


def bytes_at(device: BlockDevice, copy: int) -> bytes:
    return bytes(read_bytes(device, copy, PAGE_BYTES))


def flip(page: bytes, at: int = 20) -> bytes:
    return page[:at] + bytes([page[at] ^ 4]) + page[at + 1 :]


def made(folder: Path) -> MemoryDevice:
    """The device of a store of one object."""
    device = MemoryDevice(TINY.device_bytes)
    with open_tiny(folder, device) as store:
        store.put(BUCKET, "key", b"bytes")
    return device


def assert_serves(folder: Path, device: BlockDevice) -> None:
    with open_tiny(folder, device) as store:
        assert contents(store, BUCKET) == {"key": b"bytes"}
        assert store.check() == []
    assert bytes_at(device, 0)[:FIELDS_BYTES] == bytes_at(device, PAGE_BYTES)[:FIELDS_BYTES]


# --- one copy --------------------------------------------------------------------------


@COPIES
@pytest.mark.parametrize("is_blank", [False, True])
def test_a_damaged_copy_is_written_again(
    tmp_path: Path, copy: int, is_blank: bool, caplog: pytest.LogCaptureFixture
) -> None:
    device = made(tmp_path)
    whole = bytes_at(device, copy)
    device.write(copy, bytes(PAGE_BYTES) if is_blank else flip(whole))
    assert_serves(tmp_path, device)
    assert bytes_at(device, copy) == whole
    lines = [record.getMessage() for record in caplog.records if "superblock" in record.message]
    assert len(lines) == 1
    assert f"at byte {copy} was damaged" in lines[0]
    assert ("blank" in lines[0]) is is_blank


@COPIES
def test_it_is_durable_at_once(tmp_path: Path, copy: int) -> None:
    below = made(tmp_path)
    below.write(copy, flip(bytes_at(below, copy)))
    device = PowerLossDevice(below)
    store = open_tiny(tmp_path, device)
    assert device.unsynced_bytes == 0
    survivor = device.cut(seed=1)
    store.close()
    assert read_superblock_copies(survivor).damaged == {}


@COPIES
def test_a_copy_that_cannot_be_read_is_damaged(tmp_path: Path, copy: int) -> None:
    """A bad sector: writing it again is what makes the disk put another in its place."""
    device = FaultDevice(made(tmp_path))
    fault = FaultRule(
        Fault.IO_ERROR,
        frozenset({Operation.READ}),
        offset_bytes=copy,
        length_bytes=PAGE_BYTES,
        last_call=1,
    )
    device.arm(fault)
    assert list(read_superblock_copies(device).damaged) == [copy]
    device.disarm_all()
    device.arm(fault)
    assert_serves(tmp_path, device)


@COPIES
def test_a_copy_that_cannot_be_written_is_left_to_the_next(
    tmp_path: Path, copy: int, caplog: pytest.LogCaptureFixture
) -> None:
    device = FaultDevice(made(tmp_path))
    device.write(copy, flip(bytes_at(device, copy)))
    device.arm(
        FaultRule(
            Fault.IO_ERROR,
            frozenset({Operation.WRITE}),
            offset_bytes=copy,
            length_bytes=PAGE_BYTES,
        )
    )
    with open_tiny(tmp_path, device) as store:
        assert contents(store, BUCKET) == {"key": b"bytes"}
        assert [problem.where for problem in store.check()] == ["superblock"]
    assert [record.levelno for record in caplog.records if "superblock" in record.message] == [
        logging.ERROR
    ]
    device.disarm_all()
    assert_serves(tmp_path, device)


def test_the_padding_says_nothing(tmp_path: Path) -> None:
    device = made(tmp_path)
    device.write(100, b"a later release, perhaps")
    with open_tiny(tmp_path, device) as store:
        assert store.check() == []
    assert bytes_at(device, 0)[100:107] == b"a later"


# --- both copies ------------------------------------------------------------------------


def test_both_copies_damaged(tmp_path: Path) -> None:
    device = made(tmp_path)
    for copy in SUPERBLOCK_COPIES:
        device.write(copy, flip(bytes_at(device, copy)))
    before = [bytes_at(device, copy) for copy in SUPERBLOCK_COPIES]
    with pytest.raises(CorruptionError, match="no copy of the superblock is whole"):
        open_tiny(tmp_path, device)
    assert [bytes_at(device, copy) for copy in SUPERBLOCK_COPIES] == before


def test_a_copy_that_cannot_be_read_beside_a_blank_one_is_no_blank_device(tmp_path: Path) -> None:
    device = FaultDevice(MemoryDevice(TINY.device_bytes))
    device.arm(FaultRule(Fault.IO_ERROR, frozenset({Operation.READ}), length_bytes=PAGE_BYTES))
    with pytest.raises(CorruptionError, match="byte 4096: blank"):
        open_tiny(tmp_path, device)
    device.disarm_all()
    assert not any(bytes_at(device, 0))


@COPIES
def test_copies_of_different_stores(tmp_path: Path, copy: int) -> None:
    device, other = made(tmp_path / "one"), made(tmp_path / "other")
    device.write(copy, bytes_at(other, copy))
    before = [bytes_at(device, at) for at in SUPERBLOCK_COPIES]
    with pytest.raises(CorruptionError, match="copies of the superblock are of different stores"):
        open_tiny(tmp_path / "one", device)
    assert [bytes_at(device, at) for at in SUPERBLOCK_COPIES] == before


@COPIES
def test_a_later_format_is_not_overwritten(tmp_path: Path, copy: int) -> None:
    """A release that was to bring the store to its own format was stopped halfway."""
    device = made(tmp_path)
    page = bytearray(bytes_at(device, copy))
    page[8] = 2
    page[64:72] = xxh3_64_intdigest(bytes(page[:64])).to_bytes(8, "little")
    device.write(copy, page)
    with pytest.raises(CorruptionError, match="store format 2; this release reads 1"):
        open_tiny(tmp_path, device)
    assert bytes_at(device, copy) == page


# --- the store open already ----------------------------------------------------------------


def test_a_store_that_is_open_tells_what_became_of_its_copies(tmp_path: Path) -> None:
    device, other = made(tmp_path / "one"), made(tmp_path / "other")
    page, foreign = bytes_at(device, 0), bytes_at(other, 0)

    def told(first: bytes, second: bytes) -> list[str]:
        device.write(0, first)
        device.write(PAGE_BYTES, second)
        problems = store.check()
        assert {problem.where for problem in problems} <= {"superblock"}
        return [problem.what for problem in problems]

    with open_tiny(tmp_path / "one", device) as store:
        assert told(page, page) == []
        (text,) = told(page, flip(page))
        assert "the copy at byte 4096 is damaged" in text
        (text,) = told(flip(page), flip(page))
        assert "no copy of the superblock is whole" in text
        (text,) = told(bytes(PAGE_BYTES), bytes(PAGE_BYTES))
        assert "blank" in text
        (text,) = told(foreign, page)
        assert "different stores" in text
        (text,) = told(foreign, foreign)
        assert "another store" in text
        assert told(page, page) == []


@pytest.fixture
def neighbour(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that has the store in `tmp_path` open; it puts an object for each line."""
    program = (
        "import sys; from objstore import ObjectStore; from tests.stores import SMALL_CONFIG\n"
        f"with ObjectStore.open({os.fspath(tmp_path)!r}, config=SMALL_CONFIG) as store:\n"
        "    for line in sys.stdin:\n"
        "        store.put('bucket', line.strip(), b'bytes')\n"
        "        print('done', flush=True)\n"
    )
    pipe = subprocess.PIPE
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=pipe, stdout=pipe, text=True
    ) as process:
        yield process
        process.kill()


def put_by(neighbour: subprocess.Popen[str], key: str) -> None:
    assert neighbour.stdin is not None
    assert neighbour.stdout is not None
    neighbour.stdin.write(f"{key}\n")
    neighbour.stdin.flush()
    assert neighbour.stdout.readline() == "done\n"


def write_at(path: Path, offset_bytes: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset_bytes)
        file.write(data)


@COPIES
def test_beside_other_processes(
    tmp_path: Path, neighbour: subprocess.Popen[str], copy: int
) -> None:
    put_by(neighbour, "first")
    device = tmp_path / "device"
    with device.open("rb") as file:
        page = file.read(PAGE_BYTES)
    write_at(device, copy, flip(page))
    for _ in range(2):  # a check mends nothing
        (problem,) = check_store(tmp_path)
        assert problem.where == "superblock"
        assert f"the copy at byte {copy} is damaged" in problem.what
    with ObjectStore.open(tmp_path, config=SMALL_CONFIG) as store:
        assert store.head(BUCKET, "first").size_bytes == 5
        assert store.check() == []
    assert_whole(tmp_path)
    put_by(neighbour, "second")

    write_at(device, 0, flip(page) + flip(page))
    (problem,) = check_store(tmp_path)
    assert "no copy of the superblock is whole" in problem.what
    with pytest.raises(CorruptionError, match="no copy of the superblock is whole"):
        ObjectStore.open(tmp_path, config=SMALL_CONFIG)
    put_by(neighbour, "third")

    foreign = Superblock.unpack(page)._replace(store_id=b"another store's!").pack()
    write_at(device, copy, page)
    write_at(device, OTHER[copy], foreign)
    (problem,) = check_store(tmp_path)
    assert "different stores" in problem.what
    with pytest.raises(CorruptionError, match="different stores"):
        ObjectStore.open(tmp_path, config=SMALL_CONFIG)

    write_at(device, 0, page + page)
    put_by(neighbour, "fourth")
    assert neighbour.stdin is not None
    neighbour.stdin.close()
    assert neighbour.wait(DEADLINE_S) == 0
    assert_whole(tmp_path)
    with ObjectStore.open(tmp_path, config=SMALL_CONFIG) as store:
        assert contents(store, BUCKET).keys() == {"first", "second", "third", "fourth"}


@COPIES
def test_rebuild_index_writes_it_again(tmp_path: Path, copy: int) -> None:
    with ObjectStore.open(tmp_path, config=SMALL_CONFIG) as store:
        store.put(BUCKET, "key", b"bytes")
    write_at(tmp_path / "device", copy, bytes(PAGE_BYTES))
    assert [problem.where for problem in check_store(tmp_path)] == ["superblock"]
    assert rebuild_index(tmp_path).problems == []
    assert_whole(tmp_path)


# --- the power is cut ------------------------------------------------------------------------

CUTS = pytest.mark.parametrize("cut_seed", range(40))


@CUTS
@COPIES
def test_a_power_cut_while_a_copy_is_written_again(
    tmp_path: Path, copy: int, cut_seed: int
) -> None:
    """The seed of a cut is the number in the test's name."""
    below = made(tmp_path)
    below.write(copy, bytes(range(256)) * 16)
    device = PowerLossDevice(below)
    device.cut_during(1, cut_seed)
    with pytest.raises(DeviceClosedError):
        open_tiny(tmp_path, device)
    assert_serves(tmp_path, device.restart())


@CUTS
@pytest.mark.parametrize("call", [1, 2, 3])
def test_a_power_cut_while_a_store_is_made(tmp_path: Path, call: int, cut_seed: int) -> None:
    """In the first copy, in the second, in the flush after them: there is a store, or none."""
    device = PowerLossDevice(MemoryDevice(TINY.device_bytes))
    device.cut_during(call, cut_seed)
    with pytest.raises(DeviceClosedError):
        open_tiny(tmp_path, device)
    survivor = device.restart()
    with open_tiny(tmp_path, survivor) as store:
        store.put(BUCKET, "key", b"bytes")
    assert_serves(tmp_path, survivor)
