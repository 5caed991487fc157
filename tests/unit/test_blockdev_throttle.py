"""The throttle: what costs, what waits, and who shares."""

from __future__ import annotations

import threading

import pytest

from blockdev.clock import ManualClock, SystemClock
from blockdev.credits import NS_PER_S, Limits, Rate
from blockdev.device import stack
from blockdev.entropy import SeededEntropy
from blockdev.errors import DeviceClosedError, OutOfRangeError
from blockdev.filters.delay import DelayDevice
from blockdev.filters.metrics import MetricsDevice
from blockdev.filters.passthrough import Passthrough
from blockdev.filters.throttle import Budget, ThrottleDevice
from blockdev.memory import MemoryDevice
from blockdev.model import GIB, MIB, VolumeSpec
from blockdev.profiles import limits

TEN_A_SECOND = Limits(256 * 1024, Rate(10, 1), Rate(1 << 40, 1 << 40))


def throttled(figures: Limits = TEN_A_SECOND) -> tuple[ThrottleDevice, ManualClock]:
    clock = ManualClock()
    budget = Budget(figures, clock.monotonic_ns())
    return ThrottleDevice(MemoryDevice(GIB), budget, clock), clock


def test_reads_writes_and_zeroes_wait_and_the_rest_does_not() -> None:
    device, clock = throttled()
    device.read_into(0, bytearray(4096))
    assert clock.monotonic_ns() == 0
    device.write(MIB, b"x" * 4096)
    assert clock.monotonic_ns() == NS_PER_S // 10
    device.write_zeroes(2 * MIB, 4096)
    assert clock.monotonic_ns() == 2 * NS_PER_S // 10
    device.discard(3 * MIB, MIB)
    device.flush()
    list(device.extents(0, 4 * MIB))
    device.write(4 * MIB, b"")
    assert clock.monotonic_ns() == 2 * NS_PER_S // 10


def test_what_is_flushed_is_not_merged_with_what_comes_after() -> None:
    device, clock = throttled()
    for number in range(8):
        device.write(number * 4096, b"x" * 4096)
    assert clock.monotonic_ns() == 0
    device.flush()
    device.write(8 * 4096, b"x" * 4096)
    assert clock.monotonic_ns() == NS_PER_S // 10
    device.write(9 * 4096, b"x" * 4096)
    assert clock.monotonic_ns() == NS_PER_S // 10


def test_what_is_durable_at_once_is_not_merged_with_what_comes_after() -> None:
    device, clock = throttled()
    device.write(0, b"x" * 4096)
    device.write(4096, b"x" * 4096, fua=True)  # still of the first one's unit
    assert clock.monotonic_ns() == 0
    device.write(8192, b"x" * 4096, fua=True)
    assert clock.monotonic_ns() == NS_PER_S // 10
    device.read_into(0, bytearray(4096))
    device.read_into(4096, bytearray(4096))
    assert clock.monotonic_ns() == 2 * NS_PER_S // 10  # reads go on in their own run


def test_what_is_refused_costs_nothing() -> None:
    device, clock = throttled()
    for at in (-1, GIB, GIB - 1):
        with pytest.raises(OutOfRangeError):
            device.read_into(at, bytearray(4096))
        with pytest.raises(OutOfRangeError):
            device.write(at, bytes(4096))
    with pytest.raises(OutOfRangeError):
        device.write_zeroes(0, -1)
    device.close()
    with pytest.raises(DeviceClosedError):
        device.write(0, bytes(4096))
    assert device.budget.is_free(0, 4096, True, clock.monotonic_ns())
    assert clock.monotonic_ns() == 0


def test_a_view_counts_in_bytes() -> None:
    device, clock = throttled(Limits(256 * 1024, Rate(1 << 30, 1 << 30), Rate(4096, 4096)))
    device.write(0, memoryview(bytes(8192)).cast("Q"))
    assert clock.monotonic_ns() == NS_PER_S
    device.read_into(0, memoryview(bytearray(4096)).cast("I"))
    assert clock.monotonic_ns() == 2 * NS_PER_S


def test_a_read_that_would_wait_is_declined_and_not_charged() -> None:
    device, clock = throttled()
    buffer = bytearray(4096)
    assert device.try_read_into(0, buffer)
    assert not device.try_read_into(MIB, buffer)
    assert not device.try_read_into(MIB, buffer)
    device.read_into(MIB, buffer)
    assert clock.monotonic_ns() == NS_PER_S // 10


class Declines(Passthrough):
    def try_read_into(self, offset_bytes: int, buffer: bytearray | memoryview) -> bool:
        return False


def test_a_read_that_is_declined_below_is_paid_for_once() -> None:
    clock = ManualClock()
    device = ThrottleDevice(Declines(MemoryDevice(GIB)), Budget(TEN_A_SECOND, 0), clock)
    buffer = bytearray(4096)
    assert not device.try_read_into(0, buffer)
    device.read_into(0, buffer)
    assert clock.monotonic_ns() == 0


def test_attachments_share_one_budget() -> None:
    clock, below = ManualClock(), MemoryDevice(GIB)
    budget = Budget(TEN_A_SECOND, 0)
    devices = [ThrottleDevice(below, budget, clock) for _ in range(16)]
    for number in range(101):
        devices[number % 16].write(number * MIB, b"x" * 4096)
    assert clock.monotonic_ns() == 10 * NS_PER_S


def test_the_real_clock_truly_waits() -> None:
    clock = SystemClock()
    figures = Limits(4096, Rate(1_000, 1), Rate(1 << 40, 1 << 40))
    started_ns = clock.monotonic_ns()
    device = ThrottleDevice(MemoryDevice(GIB), Budget(figures, started_ns), clock)
    for number in range(51):
        device.read_into(number * MIB, bytearray(4096))
    assert clock.monotonic_ns() - started_ns >= 50 * NS_PER_S // 1_000


def test_threads_get_no_more_than_one_would() -> None:
    clock = SystemClock()
    figures = Limits(4096, Rate(2_000, 1), Rate(1 << 40, 1 << 40))
    started_ns = clock.monotonic_ns()
    device = ThrottleDevice(MemoryDevice(GIB), Budget(figures, started_ns), clock)

    def work(number: int) -> None:
        for step in range(25):
            device.write((number * 25 + step) * MIB, b"x" * 4096)

    workers = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert clock.monotonic_ns() - started_ns >= 199 * NS_PER_S // 2_000


def test_a_modified_volume_goes_on_with_the_new_limits() -> None:
    device, clock = throttled()
    budget = device.budget
    budget.change(limits(VolumeSpec("gp3", 10)), clock.monotonic_ns())
    assert budget.limits == limits(VolumeSpec("gp3", 10))
    for number in range(3_030):
        device.read_into(number * 256 * 1024, bytearray(512))
    assert clock.monotonic_ns() == pytest.approx(NS_PER_S, rel=0.01)
    budget.schedule(limits(VolumeSpec("io2", 10, 100)), clock.monotonic_ns())
    started_ns = clock.monotonic_ns()
    for number in range(101):
        device.read_into(number * 256 * 1024, bytearray(512))
    assert clock.monotonic_ns() - started_ns == pytest.approx(NS_PER_S, rel=0.03)


def test_queueing_shows_as_latency_above_the_throttle_and_not_below() -> None:
    clock = ManualClock()
    figures = limits(VolumeSpec("io2", 10, 100))
    inner = MetricsDevice(MemoryDevice(GIB), clock)
    outer = stack(
        inner,
        lambda below: DelayDevice(below, figures.latency, clock, SeededEntropy(3)),
        lambda below: ThrottleDevice(below, Budget(figures, clock.monotonic_ns()), clock),
        lambda below: MetricsDevice(below, clock),
    )
    assert isinstance(outer, MetricsDevice)
    for number in range(200):
        outer.read_into(number * MIB, bytearray(4096))
    assert inner.snapshot().reads.total_ns == 0
    assert outer.snapshot().reads.total_ns == pytest.approx(2 * NS_PER_S, rel=0.02)
