"""MemoryDevice, SeededNumbers and the manual clock: what the contract suite does not reach."""

from __future__ import annotations

import pytest

from blockdev.clock import ManualClock, SystemClock
from blockdev.device import Extent, Geometry, check_range, stack
from blockdev.errors import OutOfRangeError
from blockdev.filters.passthrough import Passthrough
from blockdev.memory import MemoryDevice
from blockdev.seeded import SeededNumbers

TIB = 1 << 40


def test_eight_tebibytes_cost_what_was_written() -> None:
    device = MemoryDevice(8 * TIB)
    device.write(7 * TIB + 12_345, b"far out")
    device.write(0, b"near")
    buffer = bytearray(7)
    device.read_into(7 * TIB + 12_345, buffer)
    assert buffer == b"far out"
    assert device.allocated_bytes == 2 * 65_536
    device.discard(1, 8 * TIB - 1)
    assert device.allocated_bytes == 65_536
    assert list(device.extents(0, 8 * TIB)) == [
        Extent(0, 65_536, True),
        Extent(65_536, 8 * TIB - 65_536, False),
    ]
    device.read_into(0, buffer)
    assert buffer == b"n" + bytes(6)


def test_extents_join_neighbouring_pages() -> None:
    device = MemoryDevice(1000, page_bytes=100)
    device.write(250, b"x" * 100)
    device.write(990, b"y")
    assert list(device.extents(0, 1000)) == [
        Extent(0, 200, False),
        Extent(200, 200, True),
        Extent(400, 500, False),
        Extent(900, 100, True),
    ]
    assert list(device.extents(250, 660)) == [
        Extent(250, 150, True),
        Extent(400, 500, False),
        Extent(900, 10, True),
    ]


def test_a_discard_up_to_the_end_frees_the_last_page_even_if_cut_short() -> None:
    device = MemoryDevice(1050, page_bytes=100)
    device.write(1000, b"x" * 50)
    device.discard(1000, 50)
    assert device.allocated_bytes == 0


@pytest.mark.parametrize(("size_bytes", "page_bytes"), [(0, 100), (-1, 100), (100, 0)])
def test_no_device_of_nothing(size_bytes: int, page_bytes: int) -> None:
    with pytest.raises(ValueError, match="no device of"):
        MemoryDevice(size_bytes, page_bytes=page_bytes)


def test_the_last_filter_named_is_on_top() -> None:
    class Upper(Passthrough):
        pass

    device = MemoryDevice(100)
    top = stack(device, Passthrough, Upper)
    assert type(top) is Upper
    assert type(top.below) is Passthrough
    assert top.below.below is device
    assert stack(device) is device


def test_an_out_of_range_error_says_what_was_asked_of_what() -> None:
    with pytest.raises(OutOfRangeError, match=r"range 90\+11 lies outside a device of 100 bytes"):
        check_range(Geometry(100), 90, 11)


def test_seeded_numbers_are_the_published_ones() -> None:
    """The first outputs for seed 0 of the authors' reference implementation (splitmix64.c)."""
    numbers = SeededNumbers(0)
    assert [numbers.next_u64() for _ in range(3)] == [
        0xE220A8397B1DCDAF,
        0x6E789E6AA1B965F4,
        0x06C45D188009454F,
    ]


def test_seeded_numbers_keep_to_their_bounds_and_reach_them() -> None:
    numbers = SeededNumbers(42)
    assert {numbers.below(5) for _ in range(200)} == {0, 1, 2, 3, 4}
    assert not any(numbers.chance(0.0) for _ in range(100))
    assert all(numbers.chance(1.0) for _ in range(100))
    hits = sum(numbers.chance(0.25) for _ in range(4000))
    assert 800 < hits < 1200


def test_the_manual_clock_moves_only_when_told() -> None:
    clock = ManualClock(start_ns=1000)
    assert (clock.now_ns(), clock.monotonic_ns()) == (1000, 0)
    clock.advance(5)
    clock.sleep_until(20)
    clock.sleep_until(10)
    assert (clock.now_ns(), clock.monotonic_ns()) == (1020, 20)
    with pytest.raises(ValueError, match="backwards"):
        clock.advance(-1)


def test_the_system_clock_sleeps_until_a_deadline() -> None:
    clock = SystemClock()
    deadline_ns = clock.monotonic_ns() + 2_000_000
    clock.sleep_until(deadline_ns)
    assert clock.monotonic_ns() >= deadline_ns
    assert clock.now_ns() > 1_600_000_000_000_000_000
