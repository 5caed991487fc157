"""Raw images copied into devices and out of them."""

from __future__ import annotations

import errno
import os
import random
from pathlib import Path

import pytest

from blockdev.errors import DeviceFullError, DeviceIOError, OutOfRangeError
from blockdev.filters.fault import Fault, FaultDevice, FaultRule, Operation
from blockdev.images import PIECE_BYTES, copy_in, copy_out, device_blocks, image_bytes
from blockdev.memory import MemoryDevice
from tests.unit.nbd_servers import Journal

MIB = 1024 * 1024
SIZE = 16 * MIB + 300


def ignore(_: int) -> None:
    """Progress that nobody looks at."""


def content_of(device: MemoryDevice) -> bytes:
    buffer = bytearray(device.geometry.size_bytes)
    device.read_into(0, buffer)
    return bytes(buffer)


@pytest.fixture
def image(tmp_path: Path, seed: int) -> Path:
    """Data, holes, and zeroes that are stored."""
    path = tmp_path / "image"
    numbers = random.Random(seed)
    with path.open("wb") as file:
        for at, length in ((0, 100_000), (5 * MIB + 77, 2 * MIB), (SIZE - 300, 300)):
            file.seek(at)
            file.write(numbers.randbytes(length))
        file.seek(10 * MIB)
        file.write(bytes(2 * MIB))
    return path


def test_in_and_out_again(image: Path, tmp_path: Path) -> None:
    device = MemoryDevice(SIZE)
    seen: list[int] = []
    written_bytes = copy_in(image, device, seen.append)
    assert content_of(device) == image.read_bytes()
    assert sum(seen) == SIZE == image_bytes(image)
    assert written_bytes <= 5 * MIB
    seen.clear()
    back = tmp_path / "back"
    copy_out(back, SIZE, device_blocks(device, seen.append))
    assert back.read_bytes() == image.read_bytes()
    assert sum(seen) == SIZE
    assert back.stat().st_blocks * 512 <= 6 * MIB
    assert list(tmp_path.glob("*.partial")) == []


def test_zeroes_are_not_stored_and_what_was_there_goes(image: Path) -> None:
    device = MemoryDevice(SIZE)
    device.write(0, b"\xff" * SIZE)
    copy_in(image, device, ignore)
    assert content_of(device) == image.read_bytes()
    assert device.allocated_bytes < 6 * MIB


def test_an_untouched_device_is_not_discarded_on(image: Path) -> None:
    journal = Journal(MemoryDevice(SIZE))
    copy_in(image, journal, ignore)
    assert set(journal.names()) == {"write", "flush"}
    assert journal.names()[-1] == "flush"


def test_what_lies_behind_the_image_is_left_alone(image: Path) -> None:
    device = MemoryDevice(SIZE + MIB)
    device.write(SIZE, b"b" * MIB)
    copy_in(image, device, ignore)
    assert content_of(device) == image.read_bytes() + b"b" * MIB


def test_an_empty_image_and_an_empty_device(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.touch()
    device = MemoryDevice(SIZE)
    assert copy_in(empty, device, ignore) == 0
    assert copy_out(tmp_path / "out", SIZE, device_blocks(device, ignore)) == 0
    assert (tmp_path / "out").stat().st_size == SIZE
    assert (tmp_path / "out").stat().st_blocks == 0


def test_an_image_that_is_too_large_is_an_error_of_the_device(image: Path) -> None:
    with pytest.raises(OutOfRangeError):
        copy_in(image, MemoryDevice(MIB), ignore)


def test_a_device_that_fails_leaves_no_file(image: Path, tmp_path: Path) -> None:
    device = MemoryDevice(SIZE)
    copy_in(image, device, ignore)
    failing = FaultDevice(
        device, [FaultRule(Fault.IO_ERROR, frozenset({Operation.READ}), first_call=3)]
    )
    with pytest.raises(DeviceIOError, match="injected"):
        copy_out(tmp_path / "out", SIZE, device_blocks(failing, ignore))
    assert {path.name for path in tmp_path.iterdir()} == {"image"}
    full = FaultDevice(MemoryDevice(SIZE), [FaultRule(Fault.FULL, frozenset({Operation.WRITE}))])
    with pytest.raises(DeviceFullError):
        copy_in(image, full, ignore)


def test_blocks_may_come_from_anywhere(tmp_path: Path) -> None:
    blocks = [(2 * PIECE_BYTES, b"a" * PIECE_BYTES), (0, bytes(PIECE_BYTES)), (5, b"xyz")]
    out = tmp_path / "out"
    assert copy_out(out, 4 * PIECE_BYTES, blocks) == PIECE_BYTES + 3
    expected = bytearray(4 * PIECE_BYTES)
    expected[5:8] = b"xyz"
    expected[2 * PIECE_BYTES : 3 * PIECE_BYTES] = b"a" * PIECE_BYTES
    assert out.read_bytes() == expected


def test_an_older_file_is_replaced_only_when_the_new_one_is_whole(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.write_bytes(b"old")

    def breaking() -> list[tuple[int, bytes]]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        copy_out(out, 10, (block for _ in range(1) for block in breaking()))
    assert out.read_bytes() == b"old"
    copy_out(out, 10, [(0, b"new")])
    assert out.read_bytes() == b"new" + bytes(7)
    assert os.listdir(tmp_path) == ["out"]


def test_a_file_system_that_cannot_tell_holes(image: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def lseek(fd: int, at: int, whence: int) -> int:
        raise OSError(errno.EINVAL, "no such whence")

    monkeypatch.setattr("blockdev.images.os.lseek", lseek)
    device = MemoryDevice(SIZE)
    copy_in(image, device, ignore)
    assert content_of(device) == image.read_bytes()
    assert device.allocated_bytes < 6 * MIB


def test_an_image_that_shrinks_is_an_error(image: Path) -> None:
    def shrink(_: int) -> None:
        os.truncate(image, MIB)

    with pytest.raises(OSError, match="shorter"):
        copy_in(image, MemoryDevice(SIZE), shrink)
