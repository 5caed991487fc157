"""PowerLossDevice loses what it may lose, and never what it may not.

Most tests look at many seeds: what must survive has to survive all of them,
and what may be lost has to be lost in some, or the device tests nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from blockdev.device import BlockDevice, Extent
from blockdev.errors import DeviceClosedError
from blockdev.file import FileDevice
from blockdev.filters.fault import Fault, FaultDevice, FaultRule, Operation
from blockdev.filters.powerloss import PowerLossDevice
from blockdev.memory import MemoryDevice

SECTOR = 512
SIZE = 64 * SECTOR + 100
SEEDS = range(200)


def read(device: BlockDevice, offset_bytes: int, length_bytes: int) -> bytes:
    buffer = bytearray(length_bytes)
    device.read_into(offset_bytes, buffer)
    return bytes(buffer)


def survivors(
    story: Callable[[PowerLossDevice], None], offset_bytes: int, length_bytes: int
) -> set[bytes]:
    """What a range holds after `story` and a power cut, over all seeds."""
    found = set()
    for seed in SEEDS:
        device = PowerLossDevice(MemoryDevice(SIZE))
        story(device)
        found.add(read(device.cut(seed), offset_bytes, length_bytes))
    return found


def test_an_unsynced_write_is_torn_in_every_way() -> None:
    found = survivors(lambda device: device.write(0, b"x" * 3 * SECTOR), 0, 3 * SECTOR)
    parts = [b"\0" * SECTOR, b"x" * SECTOR]
    assert found == {a + b + c for a in parts for b in parts for c in parts}


def test_a_flushed_write_survives_always() -> None:
    def story(device: PowerLossDevice) -> None:
        device.write(100, b"kept" * 1000)
        device.flush()
        device.write(8000, b"lost?")

    assert survivors(story, 100, 4000) == {b"kept" * 1000}


def test_without_the_flush_it_would_not() -> None:
    """The test above can fail: the same story, on a layer that swallows flushes."""
    found = set()
    for seed in SEEDS:
        power = PowerLossDevice(MemoryDevice(SIZE))
        rule = FaultRule(Fault.LOSE, frozenset({Operation.FLUSH}))
        device = FaultDevice(power, [rule])
        device.write(0, b"kept")
        device.flush()
        found.add(read(power.cut(seed), 0, 4))
    assert found == {b"kept", bytes(4)}


def test_a_fua_write_survives_always_and_alone() -> None:
    def story(device: PowerLossDevice) -> None:
        device.write(0, b"a" * SECTOR)
        device.write(SECTOR, b"b" * SECTOR, fua=True)
        device.write(2 * SECTOR, b"c" * SECTOR)

    b = b"b" * SECTOR
    a_or_not = [bytes(SECTOR), b"a" * SECTOR]
    c_or_not = [bytes(SECTOR), b"c" * SECTOR]
    assert survivors(story, 0, 3 * SECTOR) == {a + b + c for a in a_or_not for c in c_or_not}


def test_a_fua_write_is_not_undone_by_older_versions_of_its_sector() -> None:
    def story(device: PowerLossDevice) -> None:
        device.write(0, b"old!" * (SECTOR // 4))
        device.write(100, b"durable", fua=True)

    before, after = bytes(100), bytes(SECTOR - 107)
    old_before, old_after = (b"old!" * 25), (b"old!" * 128)[107:]
    assert survivors(story, 0, SECTOR) == {
        before + b"durable" + after,
        old_before + b"durable" + old_after,
    }


def test_any_version_of_a_sector_may_be_the_one_that_survives() -> None:
    def story(device: PowerLossDevice) -> None:
        device.write(0, b"0" * SECTOR)
        device.flush()
        for version in (b"1", b"2", b"3"):
            device.write(0, version * SECTOR)

    assert survivors(story, 0, SECTOR) == {v * SECTOR for v in (b"0", b"1", b"2", b"3")}


def test_later_writes_may_survive_earlier_ones() -> None:
    def story(device: PowerLossDevice) -> None:
        device.write(0, b"first")
        device.write(SECTOR, b"second")

    found = survivors(story, 0, SECTOR + 6)
    assert bytes(SECTOR) + b"second" in found
    assert b"first" + bytes(SECTOR - 5 + 6) in found


@pytest.mark.parametrize("change", ["write_zeroes", "discard"])
def test_zeroes_and_discards_are_unsynced_too(change: str) -> None:
    def story(device: PowerLossDevice) -> None:
        device.write(0, b"x" * 2 * SECTOR)
        device.flush()
        getattr(device, change)(100, SECTOR)

    found = survivors(story, 0, 2 * SECTOR)
    first = {b"x" * SECTOR, b"x" * 100 + bytes(SECTOR - 100)}
    second = {b"x" * SECTOR, bytes(100) + b"x" * (SECTOR - 100)}
    assert found == {a + b for a in first for b in second}


@pytest.mark.parametrize("change", ["write_zeroes", "discard"])
def test_flushed_zeroes_and_discards_survive_always(change: str) -> None:
    def story(device: PowerLossDevice) -> None:
        device.write(0, b"x" * SIZE)
        device.flush()
        getattr(device, change)(100, SIZE - 100)
        device.flush()

    assert survivors(story, 0, SIZE) == {b"x" * 100 + bytes(SIZE - 100)}


def test_zeroes_over_unsynced_data_may_be_lost_with_it_or_without_it() -> None:
    def story(device: PowerLossDevice) -> None:
        device.write(0, b"1" * SECTOR)
        device.flush()
        device.write(0, b"2" * SECTOR)
        device.discard(0, SECTOR)

    assert survivors(story, 0, SECTOR) == {b"1" * SECTOR, b"2" * SECTOR, bytes(SECTOR)}


def test_all_lost_and_all_kept_are_among_the_outcomes() -> None:
    found = survivors(lambda device: device.write(0, b"x" * 64 * SECTOR), 0, 64 * SECTOR)
    assert bytes(64 * SECTOR) in found
    assert b"x" * 64 * SECTOR in found
    assert len(found) > 100


def test_the_same_seed_leaves_the_same_bytes() -> None:
    def outcome(seed: int) -> bytes:
        device = PowerLossDevice(MemoryDevice(SIZE))
        for at in (0, 700, 300, 9000):
            device.write(at, bytes([at % 251]) * 2000)
        return read(device.cut(seed), 0, SIZE)

    assert outcome(7) == outcome(7)
    assert outcome(7) != outcome(8)


def test_readers_see_the_latest_until_the_cut() -> None:
    device = PowerLossDevice(MemoryDevice(SIZE))
    device.write(10, b"one" * 500)
    device.write(20, b"two")
    assert read(device, 10, 16) == b"oneoneoneo" + b"two" + b"neo"
    buffer = bytearray(3)
    assert device.try_read_into(20, buffer)
    assert buffer == b"two"


def test_after_a_cut_the_old_handle_is_dead_and_the_new_one_goes_on() -> None:
    device = PowerLossDevice(MemoryDevice(SIZE))
    device.write(0, b"kept")
    device.flush()
    after = device.cut(3)
    for call in (device.flush, lambda: device.write(0, b"x"), lambda: read(device, 0, 1)):
        with pytest.raises(DeviceClosedError, match=r"power was cut \(seed 3\)"):
            call()
    with pytest.raises(DeviceClosedError):
        device.cut(4)
    device.close()
    assert device.restart() is after
    assert after.unsynced_bytes == 0
    after.write(4, b"more")
    after.flush()
    assert read(after.cut(5), 0, 8) == b"keptmore"


def test_no_restart_without_a_cut() -> None:
    with pytest.raises(ValueError, match="not cut"):
        PowerLossDevice(MemoryDevice(SIZE)).restart()


def test_a_cut_during_a_durable_write_tears_it() -> None:
    found = set()
    for seed in SEEDS:
        device = PowerLossDevice(MemoryDevice(SIZE))
        device.cut_during(2, seed)
        device.write(10 * SECTOR, b"before")
        with pytest.raises(DeviceClosedError, match="power was cut"):
            device.write(0, b"x" * 2 * SECTOR, fua=True)
        found.add(read(device.restart(), 0, 2 * SECTOR))
    parts = [b"\0" * SECTOR, b"x" * SECTOR]
    assert found == {a + b for a in parts for b in parts}


def test_a_cut_during_a_flush_leaves_part_of_it() -> None:
    found = set()
    for seed in SEEDS:
        device = PowerLossDevice(MemoryDevice(SIZE))
        device.write(0, b"x" * 2 * SECTOR)
        device.cut_during(1, seed)
        with pytest.raises(DeviceClosedError, match="power was cut"):
            device.flush()
        found.add(read(device.restart(), 0, 2 * SECTOR))
    assert len(found) == 4


@pytest.mark.parametrize("change", ["write_zeroes", "discard"])
def test_a_cut_during_other_changes(change: str) -> None:
    device = PowerLossDevice(MemoryDevice(SIZE))
    device.cut_during(1, 0)
    with pytest.raises(DeviceClosedError, match="power was cut"):
        getattr(device, change)(0, 1000)
    device.restart().write(0, b"x")


def test_calls_to_cut_are_numbered_from_one() -> None:
    with pytest.raises(ValueError, match="from 1"):
        PowerLossDevice(MemoryDevice(SIZE)).cut_during(0, 0)


def test_the_device_below_gets_nothing_before_the_flush() -> None:
    below = MemoryDevice(SIZE)
    device = PowerLossDevice(below)
    device.write(0, b"x" * SECTOR)
    device.write_zeroes(5 * SECTOR, SECTOR)
    assert read(below, 0, SIZE) == bytes(SIZE)
    assert device.unsynced_bytes == SECTOR
    device.flush()
    assert read(below, 0, SECTOR) == b"x" * SECTOR
    assert device.unsynced_bytes == 0


def test_a_failed_flush_keeps_everything_unsynced() -> None:
    faults = FaultDevice(MemoryDevice(SIZE), [FaultRule(Fault.FULL, last_call=1)])
    device = PowerLossDevice(faults)
    device.write(0, b"x" * 1000)
    with pytest.raises(Exception, match="injected"):
        device.flush()
    assert device.unsynced_bytes == 2 * SECTOR
    assert read(device, 0, 1000) == b"x" * 1000


def test_closing_is_no_power_cut(tmp_path: Path) -> None:
    path = tmp_path / "device"
    device = PowerLossDevice(FileDevice.open(path, size_bytes=SIZE))
    device.write(5, b"still in the page cache")
    device.close()
    assert read(FileDevice.open(path), 5, 23) == b"still in the page cache"


def test_large_empty_ranges_cost_nothing() -> None:
    device = PowerLossDevice(MemoryDevice(8 << 40))
    device.write(5 << 40, b"x" * SECTOR)
    device.discard(0, 8 << 40)
    assert device.unsynced_bytes == SECTOR
    assert read(device, 5 << 40, 2) == bytes(2)
    assert list(device.extents(0, 8 << 40)) == [Extent(0, 8 << 40, False)]


def test_extents_show_what_will_be_stored() -> None:
    device = PowerLossDevice(MemoryDevice(SIZE, page_bytes=SECTOR))
    device.write(2 * SECTOR, b"x" * 4 * SECTOR)
    device.flush()
    device.write(0, b"y")
    device.discard(3 * SECTOR, SECTOR)
    expected = [
        Extent(0, SECTOR, True),
        Extent(SECTOR, SECTOR, False),
        Extent(2 * SECTOR, SECTOR, True),
        Extent(3 * SECTOR, SECTOR, False),
        Extent(4 * SECTOR, 2 * SECTOR, True),
        Extent(6 * SECTOR, SIZE - 6 * SECTOR, False),
    ]
    assert list(device.extents(0, SIZE)) == expected
    device.flush()
    assert list(device.extents(0, SIZE)) == expected


def test_rewriting_one_place_forever_takes_bounded_memory() -> None:
    """The oldest versions are forgotten: the last 64 and the durable one compete."""
    seen = set()
    for seed in SEEDS:
        device = PowerLossDevice(MemoryDevice(SIZE))
        for number in range(1, 201):
            device.write(0, bytes([number]))
        seen.add(read(device.cut(seed), 0, 1)[0])
    assert seen - {0} <= set(range(137, 201))
    assert len(seen) > 20
