"""The tables that AWS publishes, measured on the simulator in virtual time.

Source: the EC2 user guide as of June 2023, "Amazon EBS volume types".  Everything published
must come out within 1 %.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from blockdev.clock import ManualClock
from blockdev.credits import NS_PER_S, Limits, Meter, Rate
from blockdev.device import Buffer
from blockdev.filters.passthrough import Passthrough
from blockdev.filters.throttle import Budget, ThrottleDevice
from blockdev.memory import MemoryDevice
from blockdev.model import GIB, MIB, VolumeSpec
from blockdev.profiles import limits

PERCENT = 0.01
FAR_APART = 1 << 30


def gp2_burst_s(size_gib: int) -> tuple[float, Meter, int]:
    """Drive a new volume at 3,000 IOPS until it no longer keeps up: seconds, meter and time.

    One reservation stands for the 3,000 I/Os of a second: units of a byte, and throughput
    that does not matter, as with small I/O.
    """
    endless = Rate(1 << 50, 1 << 50)
    meter = Meter(replace(limits(VolumeSpec("gp2", size_gib)), unit_bytes=1, throughput=endless), 0)
    now_ns = 0
    while True:
        ready_ns = meter.reserve(0, 3_000, False, now_ns)
        if ready_ns - now_ns > 1.02 * NS_PER_S:
            return now_ns / NS_PER_S, meter, ready_ns
        now_ns = ready_ns


@pytest.mark.parametrize(
    ("size_gib", "burst_s", "refill_s"),
    [
        (1, 1_862, 54_000),
        (33, 1_862, 54_000),
        (100, 2_000, 18_000),
        (250, 2_400, 7_200),
        (334, 2_703, 5_389),
        (500, 3_600, 3_600),
        (750, 7_200, 2_400),
    ],
)
def test_gp2_burst_and_refill(size_gib: int, burst_s: int, refill_s: int) -> None:
    lasted_s, meter, now_ns = gp2_burst_s(size_gib)
    assert lasted_s == pytest.approx(burst_s, rel=PERCENT)
    assert meter.credit_balance(now_ns) == pytest.approx(0, abs=1)
    almost_ns = now_ns + round(refill_s * 0.99 * NS_PER_S)
    full_ns = now_ns + round(refill_s * 1.01 * NS_PER_S)
    assert 5_300_000 < (meter.credit_balance(almost_ns) or 0) < 5_400_000
    assert meter.credit_balance(full_ns) == 5_400_000


@pytest.mark.parametrize(("size_gib", "iops"), [(1_000, 3_000), (5_334, 16_000), (16_384, 16_000)])
def test_gp2_whose_baseline_is_the_burst_has_no_credits(size_gib: int, iops: int) -> None:
    meter = Meter(limits(VolumeSpec("gp2", size_gib)), 0)
    assert meter.credit_balance(0) is None
    assert random_iops(meter, 4096, 10.0) == pytest.approx(iops, rel=PERCENT)


def random_iops(meter: Meter, length_bytes: int, seconds: float, from_ns: int = 0) -> float:
    """I/Os a second of a client that issues the next one as soon as one may begin."""
    return random_ios(meter, length_bytes, seconds, from_ns)[0]


def random_ios(meter: Meter, length_bytes: int, seconds: float, from_ns: int) -> tuple[float, int]:
    """As `random_iops`, with the time at which it ends."""
    now_ns, count = from_ns, 0
    while now_ns < from_ns + seconds * NS_PER_S:
        now_ns = meter.reserve(count * FAR_APART, length_bytes, False, now_ns)
        count += 1
    return count / (now_ns - from_ns) * NS_PER_S, now_ns


def test_gp2_of_100_gib_io_by_io() -> None:
    """A hundredth of the credits: 20 s at 3,000 IOPS, then 300 for as long as one likes."""
    meter = Meter(limits(VolumeSpec("gp2", 100)), 0, credits=54_000)
    burst, now_ns = random_ios(meter, 16 * 1024, 19.9, 0)
    _, now_ns = random_ios(meter, 16 * 1024, 0.2, now_ns)
    baseline, _ = random_ios(meter, 16 * 1024, 60, now_ns)
    assert burst == pytest.approx(3_000, rel=PERCENT)
    assert baseline == pytest.approx(300, rel=PERCENT)


class Bottomless(Passthrough):
    """Moves no bytes, so that hours of large I/O take no time."""

    def read_into(self, offset_bytes: int, buffer: bytearray | memoryview) -> None:
        pass

    def write(self, offset_bytes: int, data: Buffer, *, fua: bool = False) -> None:
        pass


def mibps(device: ThrottleDevice, clock: ManualClock, seconds: float, length_bytes: int) -> float:
    """Sequential reads of `length_bytes` through the device for at least `seconds`."""
    started_ns, moved = clock.monotonic_ns(), 0
    buffer = bytearray(length_bytes)
    size_bytes = device.geometry.size_bytes
    while clock.monotonic_ns() < started_ns + seconds * NS_PER_S:
        device.read_into(moved % size_bytes, buffer)
        moved += length_bytes
    return moved / MIB / (clock.monotonic_ns() - started_ns) * NS_PER_S


def volume(spec: VolumeSpec, credits: float | None = None) -> tuple[ThrottleDevice, ManualClock]:
    clock = ManualClock()
    below = Bottomless(MemoryDevice(spec.size_gib * GIB))
    budget = Budget(limits(spec), clock.monotonic_ns(), credits)
    return ThrottleDevice(below, budget, clock), clock


def test_seven_hours_of_large_reads_on_gp2_of_100_gib() -> None:
    """128 MiB/s in I/Os of 256 KiB are 512 IOPS; without credits 300 of them are 75 MiB/s."""
    device, clock = volume(VolumeSpec("gp2", 100))
    lasts_s = 5_400_000 / (512 - 300)
    assert mibps(device, clock, lasts_s * 0.98, 64 * MIB) == pytest.approx(128, rel=PERCENT)
    mibps(device, clock, lasts_s * 0.04, 64 * MIB)
    assert device.budget.credit_balance(clock.monotonic_ns()) == pytest.approx(0, abs=512)
    assert mibps(device, clock, 3_600, 64 * MIB) == pytest.approx(75, rel=PERCENT)


ST1 = [(0.125, 5, 31), (0.5, 20, 125), (1, 40, 250), (2, 80, 500), (5, 200, 500), (12, 480, 500)]
SC1 = [(0.125, 1.5, 10), (0.5, 6, 40), (1, 12, 80), (3, 36, 240), (3.125, 37.5, 250)]
SC1 += [(8, 96, 250), (16, 192, 250)]


@pytest.mark.parametrize(
    ("kind", "tib", "base_mibps", "burst_mibps"),
    [("st1", *row) for row in ST1] + [("sc1", *row) for row in SC1],
)
def test_hdd_base_and_burst(kind: str, tib: float, base_mibps: float, burst_mibps: float) -> None:
    device, clock = volume(VolumeSpec(kind, int(tib * 1024)))
    assert mibps(device, clock, 300, MIB) == pytest.approx(burst_mibps, rel=PERCENT)
    bucket = device.budget.credit_balance(clock.monotonic_ns()) or 0
    assert bucket == pytest.approx(
        tib * 2**40 - 300 * (burst_mibps - base_mibps) * MIB, rel=2 * PERCENT
    )
    device, clock = volume(VolumeSpec(kind, int(tib * 1024)), credits=0)
    assert mibps(device, clock, 1_800, MIB) == pytest.approx(base_mibps, rel=PERCENT)


def test_st1_of_a_tib_until_its_credits_are_gone() -> None:
    device, clock = volume(VolumeSpec("st1", 1024))
    lasts_s = 2**40 / MIB / (250 - 40)
    assert mibps(device, clock, lasts_s * 0.99, 16 * MIB) == pytest.approx(250, rel=PERCENT)
    mibps(device, clock, lasts_s * 0.02, 16 * MIB)
    assert mibps(device, clock, 1_800, MIB) == pytest.approx(40, rel=PERCENT)
    clock.advance(26_215 * NS_PER_S)  # 1 TiB at 40 MiB/s
    assert device.budget.credit_balance(clock.monotonic_ns()) == pytest.approx(2**40, rel=PERCENT)


@pytest.mark.parametrize("tib", [12.5, 13, 16])
def test_st1_whose_base_is_the_burst(tib: float) -> None:
    device, clock = volume(VolumeSpec("st1", int(tib * 1024)))
    assert device.budget.credit_balance(0) is None
    assert mibps(device, clock, 300, MIB) == pytest.approx(500, rel=PERCENT)


@pytest.mark.parametrize(
    ("tib", "st1_h", "sc1_h"),
    [(1, 1.17, 3.64), (2, 1.17, 3.64), (3, 1.75, 3.64), (5, 2.91, 5.83), (16, 9.32, 18.64)],
)
def test_scan_of_a_whole_volume(tib: int, st1_h: float, sc1_h: float) -> None:
    for kind, hours in (("st1", st1_h), ("sc1", sc1_h)):
        device, clock = volume(VolumeSpec(kind, tib * 1024))
        buffer = bytearray(64 * MIB)
        for offset_bytes in range(0, tib * 2**40, len(buffer)):
            device.read_into(offset_bytes, buffer)
        assert clock.monotonic_ns() / NS_PER_S / 3_600 == pytest.approx(hours, rel=PERCENT)


def test_a_snapshot_holds_st1_to_its_base() -> None:
    device, clock = volume(VolumeSpec("st1", 1024))
    assert mibps(device, clock, 100, MIB) == pytest.approx(250, rel=PERCENT)
    device.budget.snapshot_in_progress = True
    assert mibps(device, clock, 500, MIB) == pytest.approx(40, rel=PERCENT)
    device.budget.snapshot_in_progress = False
    assert mibps(device, clock, 100, MIB) == pytest.approx(250, rel=PERCENT)


@pytest.mark.parametrize(
    ("spec", "expected_mibps"),
    [
        (VolumeSpec("io1", 4, 100), 25),
        (VolumeSpec("io1", 100, 2_000), 500),
        (VolumeSpec("io1", 640, 32_000), 500),
        (VolumeSpec("io1", 960, 48_000), 750),
        (VolumeSpec("io1", 1_280, 64_000), 1_000),
        (VolumeSpec("io2", 100, 1_000), 250),  # 256 MiB/s would be 1,024 I/Os of 256 KiB
        (VolumeSpec("io2", 64, 16_000), 4_000),
        (VolumeSpec("io2", 256, 256_000), 4_000),
        (VolumeSpec("gp3", 1), 125),
        (VolumeSpec("gp3", 100, 6_000, 250), 250),
        (VolumeSpec("gp3", 160, 80_000, 2_000), 2_000),
        (VolumeSpec("gp2", 170), 128),
        (VolumeSpec("gp2", 171), 250),
        (VolumeSpec("gp2", 334), 250),
        (VolumeSpec("standard", 100), 90),
    ],
    ids=str,
)
def test_throughput_of_large_sequential_io(spec: VolumeSpec, expected_mibps: float) -> None:
    device, clock = volume(spec)
    assert mibps(device, clock, 60, 4 * MIB) == pytest.approx(expected_mibps, rel=PERCENT)


@pytest.mark.parametrize(
    ("spec", "iops"),
    [
        (VolumeSpec("gp3", 1), 3_000),
        (VolumeSpec("gp3", 100, 6_000, 250), 6_000),
        (VolumeSpec("io1", 4, 100), 100),
        (VolumeSpec("io2", 200, 10_000), 10_000),
        (VolumeSpec("st1", 1024), 250),
        (VolumeSpec("sc1", 1024), 80),
        (VolumeSpec("standard", 100), 100),
    ],
    ids=str,
)
def test_small_random_io(spec: VolumeSpec, iops: int) -> None:
    """On hard disks each counts as a whole MiB, however small."""
    assert random_iops(Meter(limits(spec), 0), 4096, 10.0) == pytest.approx(iops, rel=2 * PERCENT)


def test_one_clock_is_as_good_as_the_other() -> None:
    """A clock that wakes sleepers late, as a real one does, gives the same rate in the end."""

    class Late(ManualClock):
        def sleep_until(self, deadline_ns: int) -> None:
            super().sleep_until(deadline_ns + 60_000)

    figures: Limits = limits(VolumeSpec("gp3", 100))
    ends_ns = []
    for clock in (ManualClock(), Late()):
        budget = Budget(figures, clock.monotonic_ns())
        device = ThrottleDevice(Bottomless(MemoryDevice(GIB)), budget, clock)
        buffer = bytearray(4096)
        for number in range(30_000):
            device.read_into(number * 8192 % GIB, buffer)
        ends_ns.append(clock.monotonic_ns())
    assert ends_ns[0] == pytest.approx(10 * NS_PER_S, rel=PERCENT)
    assert ends_ns[1] - ends_ns[0] <= 60_000
