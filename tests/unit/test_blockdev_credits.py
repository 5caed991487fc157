"""Token buckets, counting in units, and the meter of a volume, in exact arithmetic."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blockdev.credits import (
    MERGE_STREAMS,
    NS_PER_S,
    Bucket,
    Meter,
    Rate,
    UnitCounter,
    earned,
)
from blockdev.instance_store import INSTANCE_STORES, shared_rate
from blockdev.model import GIB, MIB, VolumeSpec
from blockdev.profiles import limits

KIB = 1024
SSD, HDD = 256 * KIB, MIB


def counted(unit_bytes: int, ios: list[tuple[int, int, bool]], merges: bool = True) -> int:
    counter = UnitCounter(unit_bytes, merges)
    return sum(counter.count(*io) for io in ios)


def test_the_published_examples_of_counting() -> None:
    """The EC2 user guide, "I/O characteristics"."""
    assert counted(SSD, [(0, 1024 * KIB, False)]) == 4
    assert counted(HDD, [(0, 1024 * KIB, False)]) == 1
    sequential = [(number * 32 * KIB, 32 * KIB, False) for number in range(8)]
    scattered = [(number * GIB, 32 * KIB, False) for number in range(8)]
    assert counted(SSD, sequential) == 1
    assert counted(HDD, sequential) == 1
    assert counted(SSD, scattered) == 8


def test_what_is_merged_and_what_is_not() -> None:
    assert counted(SSD, [(0, SSD, False), (SSD, 4 * KIB, False)]) == 2  # the first one is full
    assert counted(SSD, [(0, 4 * KIB, False), (4 * KIB, 4 * KIB, True)]) == 2  # not a write to it
    assert counted(SSD, [(4 * KIB, 4 * KIB, False), (0, 4 * KIB, False)]) == 2  # backwards
    assert counted(SSD, [(0, 4 * KIB, False), (0, 4 * KIB, False)]) == 2  # the same again
    assert counted(SSD, [(0, 4 * KIB, False), (4 * KIB, SSD, False)]) == 2  # 260 KiB
    assert counted(SSD, [(0, 4 * KIB, True), (4 * KIB, 4 * KIB, True)], merges=False) == 2
    assert counted(SSD, [(0, 0, False)]) == 0


def test_several_runs_at_a_time_are_followed() -> None:
    runs = [(run * GIB + step * KIB, KIB, True) for step in range(256) for run in range(16)]
    assert counted(SSD, runs) == 16
    many = [
        (run * GIB + step * KIB, KIB, True) for step in range(4) for run in range(MERGE_STREAMS + 1)
    ]
    assert counted(SSD, many) == len(many)


ios = st.lists(
    st.tuples(st.integers(0, 40).map(lambda n: n * 4096), st.integers(0, 3 * SSD), st.booleans()),
    max_size=60,
)


@given(ios, st.booleans())
def test_counting_is_bounded_and_foreseen(ios: list[tuple[int, int, bool]], merges: bool) -> None:
    counter = UnitCounter(SSD, merges)
    total = 0
    for io in ios:
        foreseen = counter.foresee(*io)
        assert counter.count(*io) == foreseen
        assert foreseen <= -(-io[1] // SSD)
        total += foreseen
    assert total * SSD >= sum(length for _, length, _ in ios)


class Ideal:
    """The bucket again, in fractions and without any trick."""

    def __init__(self, rate: Rate, now_ns: int) -> None:
        self.rate, self.level, self.at_ns = rate, Fraction(rate.depth), now_ns

    def take(self, tokens: int, now_ns: int) -> int:
        grown = self.level + Fraction(self.rate.tokens_per_s * (now_ns - self.at_ns), NS_PER_S)
        self.level, self.at_ns = min(grown, Fraction(self.rate.depth)) - tokens, now_ns
        if self.level >= 0:
            return now_ns
        wait = -self.level * NS_PER_S / self.rate.tokens_per_s
        return now_ns + -(-wait.numerator // wait.denominator)


rates = st.builds(Rate, st.integers(1, 10**10), st.integers(1, 10**8))
steps = st.lists(st.tuples(st.integers(0, 10**11), st.integers(0, 10**8)), max_size=50)


@given(rates, st.integers(0, 10**18), steps)
def test_a_bucket_is_exact(rate: Rate, now_ns: int, steps: list[tuple[int, int]]) -> None:
    bucket, ideal = Bucket(rate, now_ns), Ideal(rate, now_ns)
    for pause_ns, tokens in steps:
        now_ns += pause_ns
        holds = bucket.holds(tokens, now_ns)
        ready_ns = bucket.take(tokens, now_ns)
        assert ready_ns == ideal.take(tokens, now_ns)
        assert holds == (ready_ns == now_ns)
        assert Fraction(bucket.billionths(now_ns), NS_PER_S) == ideal.level


def test_a_day_of_ios_ends_on_the_nanosecond() -> None:
    bucket = Bucket(Rate(7, 1), 0)
    now_ns = 0
    for _ in range(7 * 86_400 + 1):
        now_ns = bucket.take(1, now_ns)
    assert now_ns == 86_400 * NS_PER_S


specs = st.sampled_from(
    [
        VolumeSpec("gp2", 100),
        VolumeSpec("gp3", 10),
        VolumeSpec("st1", 125),
        VolumeSpec("sc1", 200),
        VolumeSpec("io2", 10, 1_000),
        VolumeSpec("standard", 5),
    ]
)


@given(specs, ios, st.integers(0, 10**9), st.booleans())
def test_a_meter_foresees_what_it_will_say(
    spec: VolumeSpec, ios: list[tuple[int, int, bool]], pause_ns: int, snapshot: bool
) -> None:
    meter, now_ns = Meter(limits(spec), 5), 5
    meter.snapshot_in_progress = snapshot
    for io in ios:
        now_ns += pause_ns
        free = meter.is_free(*io, now_ns)
        ready_ns = meter.reserve(*io, now_ns)
        assert free == (ready_ns == now_ns)


def test_who_comes_first_is_served_first() -> None:
    meter = Meter(limits(VolumeSpec("gp3", 10)), 0)
    ready = [meter.reserve(number * GIB, 4096, True, 0) for number in range(6_000)]
    assert ready == sorted(ready)
    assert ready[-1] == pytest.approx(2 * NS_PER_S, rel=0.01)


def test_sharing_a_meter_is_sharing_the_budget() -> None:
    """Two clients of one volume get half each, of IOPS that are no more for there being two."""
    meter = Meter(limits(VolumeSpec("io2", 10, 1_000)), 0)
    clock_ns = [0, 0]
    served = [0, 0]
    while min(clock_ns) < 10 * NS_PER_S:
        client = clock_ns.index(min(clock_ns))
        at = (2 * served[client] + client) * GIB
        clock_ns[client] = meter.reserve(at, 4096, False, clock_ns[client])
        served[client] += 1
    assert sum(served) == pytest.approx(10_000, rel=0.01)
    assert served[0] == pytest.approx(served[1], rel=0.01)


def test_credits_can_be_carried_over_a_restart() -> None:
    figures = limits(VolumeSpec("gp2", 100))
    meter = Meter(figures, 0, credits=1_000.0)
    assert meter.credit_balance(0) == 1_000
    assert meter.credit_balance(10 * NS_PER_S) == 4_000
    assert earned(figures, 1_000.0, 10 * NS_PER_S) == 4_000
    assert earned(figures, 1_000.0, 10**6 * NS_PER_S) == 5_400_000
    assert earned(limits(VolumeSpec("gp3", 100)), 1_000.0, NS_PER_S) == 0
    assert Meter(figures, 0, credits=1e12).credit_balance(0) == 5_400_000


def test_a_debt_is_no_balance() -> None:
    meter = Meter(limits(VolumeSpec("gp2", 100)), 0, credits=0)
    meter.reserve(0, 100 * SSD, True, 0)
    assert meter.credit_balance(0) == 0
    assert meter.credit_balance(NS_PER_S) == 200


def test_a_change_keeps_the_credits() -> None:
    meter = Meter(limits(VolumeSpec("gp2", 100)), 0, credits=1_000)
    meter.change(limits(VolumeSpec("gp2", 200)), NS_PER_S)
    assert meter.credit_balance(NS_PER_S) == 1_300
    assert meter.credit_balance(2 * NS_PER_S) == 1_900
    meter.change(limits(VolumeSpec("gp3", 200)), 2 * NS_PER_S)
    assert meter.credit_balance(2 * NS_PER_S) is None
    meter.change(limits(VolumeSpec("st1", 200)), 2 * NS_PER_S)
    assert meter.credit_balance(2 * NS_PER_S) == 200 * GIB
    meter.change(limits(VolumeSpec("gp2", 200)), 2 * NS_PER_S)
    assert meter.credit_balance(2 * NS_PER_S) == 5_400_000


def test_a_change_keeps_the_debts() -> None:
    meter = Meter(limits(VolumeSpec("gp3", 10)), 0)
    for number in range(6_030):
        meter.reserve(number * GIB, 4096, True, 0)
    meter.change(limits(VolumeSpec("io2", 20, 12_000)), 0)
    assert meter.reserve(0, 4096, True, 0) == pytest.approx(0.5 * NS_PER_S, rel=0.01)


def test_scheduled_limits_come_into_force_when_their_time_has_come() -> None:
    slow, fast = limits(VolumeSpec("io2", 10, 100)), limits(VolumeSpec("io2", 100, 10_000))
    meter = Meter(slow, 0)
    meter.schedule(fast, 5 * NS_PER_S)
    meter.reserve(0, 4096, False, 4 * NS_PER_S)
    assert not meter.is_free(GIB, 4096, False, 4 * NS_PER_S)
    assert meter.limits is slow
    assert meter.is_free(GIB, 4096, False, 5 * NS_PER_S)
    assert meter.limits is fast
    meter.schedule(slow, 9 * NS_PER_S)
    meter.change(fast, 6 * NS_PER_S)
    meter.reserve(0, 4096, False, 10 * NS_PER_S)
    assert meter.limits is fast  # a change forgets what was scheduled


def test_credits_gained_before_a_schedule_count_at_the_old_rate() -> None:
    meter = Meter(limits(VolumeSpec("gp2", 100)), 0, credits=0)
    meter.schedule(limits(VolumeSpec("gp2", 200)), 10 * NS_PER_S)
    assert meter.credit_balance(20 * NS_PER_S) == 10 * 300 + 10 * 600


def test_reads_and_writes_share_a_disks_time() -> None:
    rate = shared_rate(100_000, 40_000)
    assert rate.tokens_per_s / rate.read_cost == 100_000
    assert rate.tokens_per_s / rate.write_cost == 40_000
    figures = INSTANCE_STORES["i4i.large"].disk_limits()
    meter, now_ns, reads, writes = Meter(figures, 0), 0, 0, 0
    while now_ns < NS_PER_S:
        is_write = (reads + writes) % 2 == 1
        now_ns = meter.reserve((reads + writes) * MIB, 4096, is_write, now_ns)
        reads, writes = reads + (not is_write), writes + is_write
    assert reads / 50_000 + writes / 27_500 == pytest.approx(1, rel=0.02)


def test_a_rate_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError):
        Rate(0, 1)
    with pytest.raises(ValueError):
        Rate(1, 0)
