"""MetricsDevice counts what happened, exactly, on a clock that stands still."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable

import pytest

from blockdev.clock import ManualClock, SystemClock
from blockdev.device import BlockDevice, Buffer
from blockdev.errors import DeviceError, DeviceIOError
from blockdev.filters.fault import Fault, FaultDevice, FaultRule
from blockdev.filters.metrics import LATENCY_BUCKETS, MetricsDevice, OperationMetrics
from blockdev.filters.passthrough import Passthrough
from blockdev.memory import MemoryDevice


class SlowDevice(Passthrough):
    """Takes `delay_ns` of its clock for each call, and declines to read at once if told to."""

    def __init__(self, below: BlockDevice, clock: ManualClock) -> None:
        super().__init__(below)
        self.clock = clock
        self.delay_ns = 0
        self.declines = False

    def read_into(self, offset_bytes: int, buffer: bytearray | memoryview) -> None:
        self.clock.advance(self.delay_ns)
        super().read_into(offset_bytes, buffer)

    def try_read_into(self, offset_bytes: int, buffer: bytearray | memoryview) -> bool:
        self.clock.advance(self.delay_ns)
        return not self.declines

    def write(self, offset_bytes: int, data: Buffer, *, fua: bool = False) -> None:
        self.clock.advance(self.delay_ns)
        super().write(offset_bytes, data, fua=fua)

    def flush(self) -> None:
        self.clock.advance(self.delay_ns)
        super().flush()


@pytest.fixture
def slow() -> SlowDevice:
    return SlowDevice(MemoryDevice(65_536), ManualClock())


@pytest.fixture
def device(slow: SlowDevice) -> MetricsDevice:
    return MetricsDevice(slow, slow.clock)


def only(buckets: dict[int, int]) -> tuple[int, ...]:
    return tuple(buckets.get(bucket, 0) for bucket in range(LATENCY_BUCKETS))


def test_each_kind_of_call_has_its_own_figures(device: MetricsDevice, slow: SlowDevice) -> None:
    slow.delay_ns = 100
    device.read_into(0, bytearray(10))
    device.read_into(0, memoryview(bytearray(80)).cast("Q"))
    device.try_read_into(0, bytearray(5))
    device.write(0, b"x" * 1000)
    device.write(0, b"x" * 7, fua=True)
    device.write_zeroes(0, 500)
    device.discard(0, 400)
    device.flush()
    found = device.snapshot()
    assert found.reads == OperationMetrics(2, 0, 0, 90, 200, only({7: 2}))
    assert found.try_reads == OperationMetrics(1, 0, 0, 5, 100, only({7: 1}))
    assert found.writes == OperationMetrics(1, 0, 0, 1000, 100, only({7: 1}))
    assert found.durable_writes == OperationMetrics(1, 0, 0, 7, 100, only({7: 1}))
    assert found.zeroes == OperationMetrics(1, 0, 0, 500, 0, only({0: 1}))
    assert found.discards == OperationMetrics(1, 0, 0, 400, 0, only({0: 1}))
    assert found.flushes == OperationMetrics(1, 0, 0, 0, 100, only({7: 1}))


@pytest.mark.parametrize(
    ("delay_ns", "bucket"),
    [(0, 0), (1, 1), (2, 2), (3, 2), (4, 3), (1023, 10), (1024, 11), (1 << 60, 47)],
)
def test_buckets_are_powers_of_two(
    device: MetricsDevice, slow: SlowDevice, delay_ns: int, bucket: int
) -> None:
    slow.delay_ns = delay_ns
    device.flush()
    assert device.snapshot().flushes.latency_buckets == only({bucket: 1})


def test_declined_reads_move_no_bytes(device: MetricsDevice, slow: SlowDevice) -> None:
    slow.declines = True
    assert not device.try_read_into(0, bytearray(4096))
    assert device.snapshot().try_reads == OperationMetrics(1, 0, 1, 0, 0, only({0: 1}))


def test_errors_are_counted_and_passed_on() -> None:
    faults = FaultDevice(MemoryDevice(1000), [FaultRule(Fault.IO_ERROR)])
    device = MetricsDevice(faults, ManualClock())
    calls: list[Callable[[], object]] = [
        lambda: device.read_into(0, bytearray(10)),
        lambda: device.try_read_into(0, bytearray(10)),
        lambda: device.write(0, b"x"),
        lambda: device.write(0, b"x", fua=True),
        lambda: device.write_zeroes(0, 10),
        lambda: device.discard(0, 10),
        lambda: device.flush(),
    ]
    for call in calls:
        with pytest.raises(DeviceError):
            call()
    found = device.snapshot()
    for field in dataclasses.fields(found):
        assert getattr(found, field.name) == OperationMetrics(1, 1, 0, 0, 0, only({0: 1}))


def test_a_snapshot_is_frozen_and_differences_are_what_came_between(
    device: MetricsDevice, slow: SlowDevice
) -> None:
    device.write(0, b"x" * 100)
    before = device.snapshot()
    slow.delay_ns = 50
    device.write(0, b"x" * 30)
    with pytest.raises(dataclasses.FrozenInstanceError):
        before.writes = before.reads  # type: ignore[misc]
    assert before.writes.calls == 1
    between = device.snapshot().since(before)
    assert between.writes == OperationMetrics(1, 0, 0, 30, 50, only({6: 1}))
    assert between.reads.calls == 0


def test_quantiles_bound_the_latency_from_above(device: MetricsDevice, slow: SlowDevice) -> None:
    assert device.snapshot().flushes.quantile_ns(0.5) == 0
    for delay_ns in [100] * 90 + [5000] * 10:
        slow.delay_ns = delay_ns
        device.flush()
    flushes = device.snapshot().flushes
    assert flushes.quantile_ns(0.5) == 127
    assert flushes.quantile_ns(0.9) == 127
    assert flushes.quantile_ns(0.91) == 8191
    assert flushes.quantile_ns(1.0) == 8191


def test_no_count_is_lost_between_threads() -> None:
    device = MetricsDevice(MemoryDevice(4096), SystemClock())

    def work() -> None:
        for _ in range(3000):
            device.write(0, b"abc")

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    writes = device.snapshot().writes
    assert (writes.calls, writes.bytes, sum(writes.latency_buckets)) == (12_000, 36_000, 12_000)


def test_errors_from_below_keep_their_kind() -> None:
    faults = FaultDevice(MemoryDevice(1000), [FaultRule(Fault.IO_ERROR)])
    with pytest.raises(DeviceIOError, match="injected: flush"):
        MetricsDevice(faults, ManualClock()).flush()
