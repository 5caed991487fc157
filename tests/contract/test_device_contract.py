"""The block device contract, sentence by sentence, over every device and every filter."""

from __future__ import annotations

import array
import functools
import random
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from blockdev.device import BlockDevice
from blockdev.errors import DeviceClosedError, OutOfRangeError
from tests.contract.device_cases import CASES, DeviceCase, Scratch

MIB = 1024 * 1024
SIZE = 2 * MIB + 300  # not a multiple of a sector, so that the last one is cut short

ODD_RANGES = [
    (0, 1),
    (511, 2),
    (1, 510),
    (512, 512),
    (4095, 4098),
    (65535, 2),
    (100_003, 200_001),
    (MIB // 2 - 7, MIB + 13),
    (SIZE - 1, 1),
    (SIZE - 301, 301),
]

OUTSIDE = [(-1, 1), (-1, 0), (SIZE, 1), (SIZE - 1, 2), (SIZE + 1, 0), (1 << 62, 1), (0, SIZE + 1)]

Call = Callable[[BlockDevice, int, int], object]

RANGE_CALLS: dict[str, Call] = {
    "read_into": lambda device, at, length: device.read_into(at, bytearray(length)),
    "try_read_into": lambda device, at, length: device.try_read_into(at, bytearray(length)),
    "write": lambda device, at, length: device.write(at, bytes(length)),
    "write-fua": lambda device, at, length: device.write(at, bytes(length), fua=True),
    "write_zeroes": lambda device, at, length: device.write_zeroes(at, length),
    "discard": lambda device, at, length: device.discard(at, length),
    "extents": lambda device, at, length: device.extents(at, length),
}


@pytest.fixture(params=CASES, ids=lambda case: case.name)
def case(request: pytest.FixtureRequest) -> DeviceCase:
    found: DeviceCase = request.param
    return found


@pytest.fixture
def device(case: DeviceCase, tmp_path: Path) -> Iterator[BlockDevice]:
    with ExitStack() as undo:
        device = case.make(Scratch(tmp_path, undo), SIZE)
        undo.callback(device.close)
        yield device


def read(device: BlockDevice, offset_bytes: int, length_bytes: int) -> bytes:
    buffer = bytearray(b"\xaa" * length_bytes)
    device.read_into(offset_bytes, buffer)
    return bytes(buffer)


@functools.cache
def pattern(length_bytes: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(length_bytes)


def test_is_a_block_device_of_the_asked_size(device: BlockDevice) -> None:
    assert isinstance(device, BlockDevice)
    assert device.geometry.size_bytes == SIZE
    assert device.geometry.sector_bytes >= 512
    assert device.geometry.preferred_bytes % device.geometry.sector_bytes == 0
    assert device.geometry == device.geometry


def test_what_was_never_written_reads_as_zero(device: BlockDevice) -> None:
    assert read(device, 0, SIZE) == bytes(SIZE)


@pytest.mark.parametrize("fua", [False, True])
def test_a_write_is_visible_at_once_and_touches_nothing_else(
    device: BlockDevice, fua: bool
) -> None:
    content = bytearray(pattern(SIZE))
    device.write(0, content)
    for at, length in ODD_RANGES:
        data = pattern(length, seed=at)
        device.write(at, data, fua=fua)
        content[at : at + length] = data
        assert read(device, at, length) == data
        assert read(device, 0, SIZE) == content


BUFFERS: list[bytes | bytearray | memoryview] = [
    b"some bytes",
    bytearray(b"a bytearray"),
    memoryview(b"a view"),
    memoryview(b"..a slice..")[2:-2],
    memoryview(array.array("I", [1, 2, 3])),
    memoryview(array.array("d", [])),
    memoryview(bytes(24)).cast("H", (3, 4)),
]


@pytest.mark.parametrize("fua", [False, True])
def test_any_contiguous_buffer_counts_in_bytes(device: BlockDevice, fua: bool) -> None:
    for number, data in enumerate(BUFFERS):
        at = 1000 + 100 * number
        expected = bytes(data)
        device.write(at, data, fua=fua)
        assert read(device, at, len(expected) + 8) == expected + bytes(8)


def test_reads_into_any_writable_buffer(device: BlockDevice) -> None:
    data = pattern(64)
    device.write(300, data)
    words = array.array("I", [0] * 16)
    device.read_into(300, memoryview(words))
    assert words.tobytes() == data
    page = bytearray(100)
    device.read_into(300, memoryview(page)[10:74])
    assert page == bytes(10) + data + bytes(26)


def test_a_written_buffer_is_the_callers_again(device: BlockDevice) -> None:
    data = bytearray(b"\x11" * 5000)
    device.write(0, data)
    device.write(8192, memoryview(data), fua=True)
    data[:] = b"\x22" * 5000
    assert read(device, 0, 5000) == b"\x11" * 5000
    assert read(device, 8192, 5000) == b"\x11" * 5000


@pytest.mark.parametrize("name", RANGE_CALLS)
def test_outside_the_device_raises_before_any_effect(device: BlockDevice, name: str) -> None:
    content = pattern(SIZE)
    device.write(0, content)
    for at, length in OUTSIDE:
        with pytest.raises(OutOfRangeError):
            RANGE_CALLS[name](device, at, length)
    assert read(device, 0, SIZE) == content


def test_a_read_outside_leaves_the_buffer_alone(device: BlockDevice) -> None:
    buffer = bytearray(b"\x55" * 1000)
    for call in (device.read_into, device.try_read_into):
        with pytest.raises(OutOfRangeError):
            call(SIZE - 999, buffer)
    assert buffer == b"\x55" * 1000


@pytest.mark.parametrize("name", ["write_zeroes", "discard", "extents"])
def test_a_negative_length_is_outside(device: BlockDevice, name: str) -> None:
    with pytest.raises(OutOfRangeError):
        RANGE_CALLS[name](device, 1000, -1)


@pytest.mark.parametrize("name", RANGE_CALLS)
def test_length_zero_does_nothing(device: BlockDevice, name: str) -> None:
    content = pattern(SIZE)
    device.write(0, content)
    for at in (0, 777, SIZE):
        RANGE_CALLS[name](device, at, 0)
    assert list(device.extents(777, 0)) == []
    assert read(device, 0, SIZE) == content


@pytest.mark.parametrize("name", ["write_zeroes", "discard"])
def test_zeroed_and_discarded_ranges_read_as_zero(device: BlockDevice, name: str) -> None:
    for at, length in ODD_RANGES:
        content = bytearray(pattern(SIZE))
        device.write(0, content)
        device.flush()
        RANGE_CALLS[name](device, at, length)
        content[at : at + length] = bytes(length)
        assert read(device, 0, SIZE) == content
        device.flush()
        assert read(device, 0, SIZE) == content
        device.write(at, b"x")
        assert read(device, at, 1) == b"x"


def test_extents_cover_the_range_exactly(device: BlockDevice) -> None:
    device.write(0, pattern(70_000))
    device.write(MIB + 5, pattern(300_000))
    device.flush()
    device.discard(MIB + 100_000, 131_072)
    device.write_zeroes(2 * MIB - 9, 200)
    for at, length in [*ODD_RANGES, (0, SIZE), (70_001, MIB)]:
        next_byte = at
        for extent in device.extents(at, length):
            assert extent.offset_bytes == next_byte
            assert extent.length_bytes > 0
            if not extent.allocated:
                assert not any(read(device, extent.offset_bytes, extent.length_bytes))
            next_byte += extent.length_bytes
        assert next_byte == at + length


@pytest.mark.parametrize("flush", [False, True])
def test_written_and_zeroed_ranges_are_allocated(device: BlockDevice, flush: bool) -> None:
    ranges = [(MIB // 2, 10_000), (MIB - 3, MIB + 77)]
    device.write(MIB // 2, b"x" * 10_000)
    device.write_zeroes(MIB - 3, MIB + 77)
    if flush:
        device.flush()
    for at, length in ranges:
        assert all(extent.allocated for extent in device.extents(at, length))


def test_zeroes_written_over_a_discarded_range_are_allocated(device: BlockDevice) -> None:
    device.write(0, pattern(SIZE))
    device.discard(0, SIZE)
    device.write_zeroes(0, MIB)
    device.flush()
    assert all(extent.allocated for extent in device.extents(0, MIB))


def test_storage_comes_with_writes_and_goes_with_discards(
    case: DeviceCase, device: BlockDevice
) -> None:
    if not case.sparse:
        pytest.skip("a disk cannot say what it stores")
    assert not any(extent.allocated for extent in device.extents(0, SIZE))
    device.write(0, pattern(SIZE))
    device.discard(MIB // 2, MIB)
    device.flush()
    middle = list(device.extents(MIB // 2 + 65_536, MIB - 131_072))
    assert [extent.allocated for extent in middle] == [False]


def test_try_read_gives_the_bytes_or_says_no(device: BlockDevice) -> None:
    content = pattern(SIZE)
    device.write(0, content)
    for at, length in ODD_RANGES:
        buffer = bytearray(length)
        answer = device.try_read_into(at, buffer)
        assert answer is True or answer is False
        if not answer:
            device.read_into(at, buffer)
        assert buffer == content[at : at + length]


def test_try_read_of_what_memory_holds_does_not_wait(case: DeviceCase, device: BlockDevice) -> None:
    device.write(4096, b"y" * 4096)
    buffer = bytearray(4096)
    answer = device.try_read_into(4096, buffer)
    if "memory" in case.name or "odd-pages" in case.name:
        assert answer
        assert buffer == b"y" * 4096


def test_a_flush_changes_no_byte_and_may_be_repeated(device: BlockDevice) -> None:
    device.flush()
    content = pattern(SIZE)
    device.write(0, content)
    device.flush()
    device.flush()
    assert read(device, 0, SIZE) == content


def test_the_last_write_wins(device: BlockDevice) -> None:
    expected = bytearray(20_000)
    numbers = random.Random(5)
    for round_number in range(200):
        at = numbers.randrange(19_000)
        data = bytes([round_number]) * numbers.randrange(1, 1000)
        device.write(at, data, fua=round_number % 7 == 0)
        expected[at : at + len(data)] = data
    assert read(device, 0, 20_000) == expected


def test_threads_on_disjoint_ranges_do_not_disturb_each_other(device: BlockDevice) -> None:
    """Neighbouring stripes of 777 bytes share sectors and pages, but no byte."""
    threads, stripes, stripe = 4, 40, 777
    failures: list[BaseException] = []

    def work(number: int) -> None:
        numbers = random.Random(number)
        mine = {index: bytes(stripe) for index in range(number, threads * stripes, threads)}
        try:
            for _ in range(120):
                index = numbers.choice(list(mine))
                change_stripe(device, numbers, mine, index, stripe)
                index = numbers.choice(list(mine))
                assert read(device, index * stripe, stripe) == mine[index]
            for index, content in mine.items():
                assert read(device, index * stripe, stripe) == content
        except BaseException as error:
            failures.append(error)

    workers = [threading.Thread(target=work, args=(number,)) for number in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert failures == []


def change_stripe(
    device: BlockDevice,
    numbers: random.Random,
    mine: dict[int, bytes],
    index: int,
    stripe: int,
) -> None:
    action = numbers.choice(["write", "write", "fua", "zeroes", "discard", "flush"])
    if action == "flush":
        device.flush()
        return
    if action in ("write", "fua"):
        mine[index] = numbers.randbytes(stripe)
        device.write(index * stripe, mine[index], fua=action == "fua")
        return
    change = device.write_zeroes if action == "zeroes" else device.discard
    change(index * stripe, stripe)
    mine[index] = bytes(stripe)


def test_overlapping_calls_from_threads_leave_the_device_usable(device: BlockDevice) -> None:
    def work(fill: int) -> None:
        for _ in range(30):
            device.write(1000, bytes([fill]) * 5000)
            read(device, 500, 6000)
            device.discard(3000, 1000)

    workers = [threading.Thread(target=work, args=(fill,)) for fill in (1, 2, 3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert set(read(device, 1000, 5000)) <= {0, 1, 2, 3}
    assert read(device, 0, 1000) == bytes(1000)
    assert read(device, 6000, 1000) == bytes(1000)
    device.write(1000, b"\x09" * 5000)
    assert read(device, 1000, 5000) == b"\x09" * 5000


def test_close_is_idempotent_and_ends_every_use(device: BlockDevice) -> None:
    device.write(0, b"x")
    device.close()
    device.close()
    for call in RANGE_CALLS.values():
        for length in (0, 100):
            with pytest.raises(DeviceClosedError):
                call(device, 0, length)
    with pytest.raises(DeviceClosedError):
        device.flush()
    assert device.geometry.size_bytes == SIZE


def test_close_while_others_use_it(device: BlockDevice) -> None:
    """Each of them sees the bytes or `DeviceClosedError`, and nothing else."""
    device.write(0, b"\x77" * 4096)
    reading = threading.Barrier(4)
    outcomes: list[object] = []

    def work() -> None:
        buffer = bytearray(4096)
        reading.wait()
        try:
            while True:
                device.read_into(0, buffer)
                assert buffer == b"\x77" * 4096
        except BaseException as error:
            outcomes.append(type(error))

    workers = [threading.Thread(target=work) for _ in range(3)]
    for worker in workers:
        worker.start()
    reading.wait()
    device.close()
    for worker in workers:
        worker.join()
    assert outcomes == [DeviceClosedError] * 3
