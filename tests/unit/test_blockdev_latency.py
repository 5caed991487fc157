"""Latency distributions, and the filter that makes I/O take as long."""

from __future__ import annotations

import pytest

from blockdev.clock import ManualClock, SystemClock
from blockdev.entropy import SeededEntropy
from blockdev.errors import DeviceClosedError, OutOfRangeError
from blockdev.filters.delay import DelayDevice
from blockdev.latency import (
    NO_LATENCY,
    QUANTILES,
    Latency,
    LatencyModel,
    LatencySampler,
    quantiles_ns,
)
from blockdev.memory import MemoryDevice
from blockdev.profiles import VOLUME_TYPES

US = 1_000
MODEL = LatencyModel(Latency(400 * US, 900 * US), Latency(700 * US, 3_000 * US))


def test_a_table_has_the_median_and_the_percentile_it_was_made_of() -> None:
    table = quantiles_ns(MODEL.read)
    assert len(table) == QUANTILES
    assert list(table) == sorted(table)
    assert table[QUANTILES // 2] == pytest.approx(400 * US, rel=0.01)
    assert table[QUANTILES * 99 // 100] == pytest.approx(900 * US, rel=0.01)
    assert sum(table) / QUANTILES == pytest.approx(MODEL.read.mean_ns, rel=0.01)


def test_a_constant_and_nothing_are_distributions_too() -> None:
    assert set(quantiles_ns(Latency(5 * US, 5 * US))) == {5 * US}
    assert set(quantiles_ns(Latency(0, 0))) == {0}
    assert Latency(0, 0).mean_ns == 0
    assert NO_LATENCY.is_zero
    assert not MODEL.is_zero


@pytest.mark.parametrize("figures", [(2, 1), (-1, 1), (0, 1)])
def test_impossible_figures_are_refused(figures: tuple[int, int]) -> None:
    with pytest.raises(ValueError):
        Latency(*figures)


def test_a_sampler_draws_from_the_distribution(seed: int) -> None:
    sampler = LatencySampler(MODEL, SeededEntropy(seed))
    for is_write, latency in ((False, MODEL.read), (True, MODEL.write)):
        drawn = sorted(sampler.sample_ns(is_write) for _ in range(100_000))
        assert drawn[50_000] == pytest.approx(latency.median_ns, rel=0.02)
        assert drawn[99_000] == pytest.approx(latency.p99_ns, rel=0.1)


def test_the_same_seed_gives_the_same_latencies(seed: int) -> None:
    first, again, other = (
        [LatencySampler(MODEL, SeededEntropy(seed + step)).sample_ns(False) for _ in range(3)]
        for step in (0, 0, 1)
    )
    assert first == again != other


def delayed(model: LatencyModel) -> tuple[DelayDevice, ManualClock]:
    clock = ManualClock()
    return DelayDevice(MemoryDevice(1 << 20), model, clock, SeededEntropy(9)), clock


def test_reads_writes_and_zeroes_take_time_and_the_rest_does_not() -> None:
    device, clock = delayed(LatencyModel(Latency(3, 3), Latency(500, 500)))
    device.read_into(0, bytearray(10))
    assert clock.monotonic_ns() == 3
    device.write(0, b"x", fua=True)
    assert clock.monotonic_ns() == 503
    device.write_zeroes(0, 10)
    assert clock.monotonic_ns() == 1_003
    device.flush()
    device.discard(0, 4096)
    assert clock.monotonic_ns() == 1_003


def test_what_the_device_below_takes_is_part_of_it() -> None:
    class Slow(MemoryDevice):
        def read_into(self, offset_bytes: int, buffer: bytearray | memoryview) -> None:
            clock.advance(2_000)

    clock = ManualClock()
    model = LatencyModel(Latency(3_000, 3_000), Latency(1, 1))
    device = DelayDevice(Slow(4096), model, clock, SeededEntropy(1))
    device.read_into(0, bytearray(1))
    assert clock.monotonic_ns() == 3_000


def test_a_read_that_takes_time_is_declined_without_it() -> None:
    device, clock = delayed(MODEL)
    assert not device.try_read_into(0, bytearray(10))
    assert device.try_read_into(0, bytearray())
    with pytest.raises(OutOfRangeError):
        device.try_read_into(1 << 20, bytearray(1))
    device.close()
    with pytest.raises(DeviceClosedError):
        device.try_read_into(0, bytearray(10))
    assert clock.monotonic_ns() == 0
    assert delayed(NO_LATENCY)[0].try_read_into(0, bytearray(10))


def test_the_real_clock_truly_waits() -> None:
    clock = SystemClock()
    model = LatencyModel(Latency(2_000_000, 2_000_000), Latency(1, 1))
    device = DelayDevice(MemoryDevice(4096), model, clock, SeededEntropy(1))
    started_ns = clock.monotonic_ns()
    for _ in range(5):
        device.read_into(0, bytearray(512))
    assert clock.monotonic_ns() - started_ns >= 10_000_000


def test_every_type_has_a_latency() -> None:
    assert not any(kind.latency.is_zero for kind in VOLUME_TYPES.values())
