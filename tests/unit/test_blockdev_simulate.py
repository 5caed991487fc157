"""Workloads in virtual time: patterns, queues, latencies, and the course of the run."""

from __future__ import annotations

import io
import itertools
import random
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blockdev.clock import ManualClock
from blockdev.credits import NS_PER_S
from blockdev.device import stack
from blockdev.entropy import SeededEntropy
from blockdev.filters.delay import DelayDevice
from blockdev.filters.throttle import Budget, ThrottleDevice
from blockdev.iolog import read_iolog
from blockdev.memory import MemoryDevice
from blockdev.model import GIB, VolumeSpec
from blockdev.pattern import Pattern
from blockdev.profiles import limits
from blockdev.simulate import MAX_INTERVALS, Course, LatencyHistogram, simulate
from blockdev.workload import NEVER_NS, Io, Workload, from_iolog

GP2_100, GP3_100, ST1 = VolumeSpec("gp2", 100), VolumeSpec("gp3", 100), VolumeSpec("st1", 500)


def ios_of(**figures: object) -> list[Io]:
    return list(Pattern(**figures).workload().ios())  # type: ignore[arg-type]


def test_a_pattern_is_what_it_says() -> None:
    ios = ios_of(io_bytes=16_384, rate=1_000, read_share=0.7, random_share=0.25, seconds=20.0)
    assert len(ios) == 20_000
    assert [asked_ns for asked_ns, *_ in ios[:3]] == [0, 1_000_000, 2_000_000]
    assert {length for _, _, length, _ in ios} == {16_384}
    assert all(offset % 16_384 == 0 and offset < GIB for _, offset, _, _ in ios)
    assert sum(not is_write for *_, is_write in ios) == pytest.approx(14_000, rel=0.03)
    ends = [{0}, {GIB // 2}]
    sequential = 0
    for _, offset, length, is_write in ios:
        sequential += offset in ends[is_write]
        ends[is_write].add(offset + length)
    assert sequential == pytest.approx(15_000, rel=0.2)


def test_the_same_pattern_is_the_same_stream_and_another_seed_another() -> None:
    figures = {"rate": 100.0, "read_share": 0.5}
    assert ios_of(**figures) == ios_of(**figures)
    assert ios_of(**figures) != ios_of(**figures, seed=2)


def test_all_sequential_goes_through_the_span_and_round() -> None:
    ios = ios_of(rate=10, random_share=0.0, seconds=1.0, span_bytes=4 * 4096)
    assert [offset // 4096 for _, offset, *_ in ios] == [0, 1, 2, 3, 0, 1, 2, 3, 0, 1]


def test_independent_clients_are_as_many_but_not_even() -> None:
    ios = ios_of(rate=1_000, seconds=30.0, is_even=False)
    assert len(ios) == pytest.approx(30_000, rel=0.03)
    pauses = [b[0] - a[0] for a, b in itertools.pairwise(ios)]
    short = sum(pause < 1_000_000 for pause in pauses) / len(pauses)
    assert short == pytest.approx(1 - 1 / 2.718_281_8, abs=0.02)


def test_a_slow_enough_workload_gets_the_latency_of_the_type() -> None:
    outcome = simulate(Pattern(rate=1_000, seconds=100.0).workload(), limits(GP3_100))
    model = limits(GP3_100).latency.read
    assert outcome.ios == 100_000
    assert outcome.delayed == 0
    assert outcome.iops == pytest.approx(1_000, rel=0.01)
    assert outcome.latencies.quantile_ns(0.5) == pytest.approx(model.median_ns, rel=0.04)
    assert outcome.latencies.quantile_ns(0.99) == pytest.approx(model.p99_ns, rel=0.1)
    assert outcome.latencies.total_ns / outcome.ios == pytest.approx(model.mean_ns, rel=0.02)


def test_credits_run_out_when_arithmetic_says() -> None:
    """A hundredth of the bucket lasts 54,000 / (3,000 - 300) s at 3,000 IOPS, the rest more."""
    pattern = Pattern(rate=3_000, seconds=30.0)
    gone = simulate(pattern.workload(), limits(GP2_100), credit_share=0.01).credits_gone_ns
    assert gone is not None
    assert gone / NS_PER_S == pytest.approx(20, rel=0.01)
    outcome = simulate(pattern.workload(), limits(GP2_100))
    assert outcome.credits_gone_ns is None
    assert outcome.credits_left == pytest.approx(5_400_000 - 30 * 2_700, rel=0.001)


def test_without_a_rate_depth_and_latency_decide() -> None:
    """Little's law: depth / latency, until a limit is met."""
    figures = limits(GP3_100)
    one = simulate(Pattern(depth=1, seconds=30.0).workload(), figures)
    assert one.iops == pytest.approx(NS_PER_S / figures.latency.read.mean_ns, rel=0.03)
    many = simulate(Pattern(depth=64, seconds=30.0).workload(), figures)
    assert many.iops == pytest.approx(3_000, rel=0.01)
    assert many.latencies.quantile_ns(0.5) == pytest.approx(64 / 3_000 * NS_PER_S, rel=0.1)
    assert many.delayed > 0.99 * many.ios


def test_a_paced_workload_counts_its_waiting_from_when_it_asked() -> None:
    outcome = simulate(Pattern(rate=6_000, seconds=10.0).workload(), limits(GP3_100))
    assert outcome.elapsed_ns == pytest.approx(20 * NS_PER_S, rel=0.01)
    assert outcome.latencies.quantile_ns(1.0) == pytest.approx(10 * NS_PER_S, rel=0.02)
    assert outcome.latencies.quantile_ns(0.5) == pytest.approx(5 * NS_PER_S, rel=0.02)


def test_an_iolog_is_replayed_at_its_times_or_one_after_the_other() -> None:
    lines = [f"f read {n << 20} 4096\n" for n in range(20)]
    v3 = "".join(["fio version 3 iolog\n", *(f"{n}00000 {line}" for n, line in enumerate(lines))])
    v2 = "".join(["fio version 2 iolog\n", *lines])
    paced = from_iolog(read_iolog(io.StringIO(v3), "v3"), "v3", 4)
    outcome = simulate(paced, limits(GP3_100))
    assert outcome.ios == 20
    assert 1.9 < outcome.elapsed_ns / NS_PER_S < 2.0
    serial = from_iolog(read_iolog(io.StringIO(v2), "v2"), "v2", 1)
    outcome = simulate(serial, limits(GP3_100))
    assert outcome.elapsed_ns == outcome.latencies.total_ns


def test_a_sync_ends_a_run_of_writes() -> None:
    writes = [f"f write {n * 4096} 4096\n" for n in range(3_000)]
    synced = [line for write in writes for line in (write, "f datasync 0 0\n")]
    spent = []
    for lines in (writes, synced):
        log = read_iolog(["fio version 2 iolog\n", *lines], "log")
        workload = from_iolog(log, "log", 1)
        outcome = simulate(workload, limits(VolumeSpec("gp2", 1)), credit_share=0.5)
        assert outcome.ios == 3_000
        earned = 100 * outcome.elapsed_ns / NS_PER_S
        spent.append(2_700_000 + earned - (outcome.credits_left or 0))
    assert spent == pytest.approx([3_000 / 64, 3_000], abs=1)


def test_it_says_what_the_filters_do(seed: int) -> None:
    """The same I/Os through the real throttle and delay on a manual clock: the same end."""
    figures = limits(VolumeSpec("gp2", 1))
    pattern = Pattern(depth=1, seconds=600.0, read_share=0.5, seed=seed)
    ios = [io for _, io in zip(range(5_000), pattern.workload().ios(), strict=False)]

    def stream() -> Iterator[Io]:
        return iter(ios)

    workload = Workload("", 1, stream, False, NEVER_NS, GIB)
    outcome = simulate(workload, figures, seed=seed)
    clock = ManualClock()
    device = stack(
        MemoryDevice(GIB),
        lambda below: DelayDevice(below, figures.latency, clock, SeededEntropy(seed)),
        lambda below: ThrottleDevice(below, Budget(figures, 0), clock),
    )
    for _, offset, length, is_write in ios:
        if is_write:
            device.write(offset, bytes(length))
        else:
            device.read_into(offset, bytearray(length))
    assert clock.monotonic_ns() == outcome.elapsed_ns


def test_hard_disks_and_random_io_do_not_go_together() -> None:
    pattern = Pattern(depth=16, io_bytes=16_384, seconds=60.0)
    scattered = simulate(pattern.workload(), limits(ST1))
    pattern = Pattern(depth=16, io_bytes=16_384, seconds=60.0, random_share=0.0)
    in_a_row = simulate(pattern.workload(), limits(ST1))
    assert scattered.iops == pytest.approx(500 / 1024 * 250, rel=0.03)
    assert in_a_row.iops > 10 * scattered.iops


@given(st.lists(st.integers(0, 1 << 50), min_size=1, max_size=200), st.floats(0.01, 1.0))
def test_a_histogram_is_right_to_under_two_percent(values: list[int], share: float) -> None:
    histogram = LatencyHistogram()
    for value in values:
        histogram.add(value)
    rank = -int(-share * len(values) // 1)
    exact = sorted(values)[max(1, rank) - 1]
    assert exact <= histogram.quantile_ns(share) <= exact + exact // 63
    assert histogram.longest_ns == max(values)
    assert histogram.quantile_ns(1.0) == max(values)


def test_an_empty_histogram_has_no_latency() -> None:
    assert LatencyHistogram().quantile_ns(0.5) == 0


def test_a_course_loses_nothing_and_stays_bounded(seed: int) -> None:
    numbers = random.Random(seed)
    course = Course()
    for _ in range(5_000):
        course.ended(numbers.randrange(10**15), 7)
    assert len(course.ios) <= MAX_INTERVALS
    assert sum(course.ios) == 5_000
    assert sum(course.bytes) == 35_000
    assert course.interval_ns * MAX_INTERVALS >= 10**15 // 2


def test_the_course_shows_the_credits_fall() -> None:
    outcome = simulate(Pattern(rate=3_000, seconds=130.0).workload(), limits(GP2_100))
    course = outcome.course
    assert len(course.ios) <= MAX_INTERVALS
    assert len(course.credits) == pytest.approx(len(course.ios), abs=2)
    assert course.credits == sorted(course.credits, reverse=True)
    at_100_s = course.credits[100 * NS_PER_S // course.interval_ns]
    assert at_100_s == pytest.approx(5_400_000 - 100 * 2_700, rel=0.001)
    steady = course.ios[10:-10]
    per_s = [ios / course.interval_ns * NS_PER_S for ios in steady]
    assert min(per_s) == pytest.approx(3_000, rel=0.03)
