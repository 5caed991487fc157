"""A workload on a volume in virtual time: what would be delivered, and how late.

Hours of I/O take seconds, since nobody waits: the meter says when an I/O may begin, the
latency model how long it takes, and a queue of the workload's depth when the next one goes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from heapq import heapreplace
from typing import Final

from blockdev.credits import NS_PER_S, Limits, Meter
from blockdev.entropy import SeededEntropy
from blockdev.latency import LatencySampler
from blockdev.workload import Workload

MAX_INTERVALS: Final = 1_200
"""A course of time longer than this is told in intervals twice as long, and so on."""

_MANTISSA_BITS: Final = 7
_HALF: Final = 1 << (_MANTISSA_BITS - 1)


class LatencyHistogram:
    """Counts of latencies, each known to 1.6 %; takes 30 KiB however many there are."""

    __slots__ = ("counts", "longest_ns", "total_ns")

    def __init__(self) -> None:
        self.counts = [0] * (64 * _HALF)
        self.longest_ns = 0
        self.total_ns = 0

    def add(self, latency_ns: int) -> None:
        """Count one.

        Below 128 each value has a place; above, 64 places for each power of two.
        """
        shift = latency_ns.bit_length() - _MANTISSA_BITS
        if shift > 0:
            self.counts[shift * _HALF + (latency_ns >> shift)] += 1
        else:
            self.counts[latency_ns] += 1
        self.total_ns += latency_ns
        if latency_ns > self.longest_ns:
            self.longest_ns = latency_ns

    def quantile_ns(self, share: float) -> int:
        """What `share` of the latencies do not exceed, to 1.6 %; 0 if there are none."""
        left = share * sum(self.counts)
        for place, count in enumerate(self.counts):
            left -= count
            if count and left <= 0:
                return min(_upper_end(place), self.longest_ns)
        return self.longest_ns


def _upper_end(place: int) -> int:
    shift = max(0, place // _HALF - 1)
    return ((place - shift * _HALF + 1) << shift) - 1


@dataclass(slots=True)
class Course:
    """The run in intervals of equal length, which double when there are too many.

    `ios`, `bytes`: that ended in each interval.  `credits`: the balance at its start, empty
    for a volume that has none.
    """

    interval_ns: int = NS_PER_S // 10
    ios: list[int] = field(default_factory=list)
    bytes: list[int] = field(default_factory=list)
    credits: list[float] = field(default_factory=list)

    def ended(self, at_ns: int, length_bytes: int) -> None:
        """Count an I/O that ended at `at_ns` from the start."""
        number = at_ns // self.interval_ns
        if number >= len(self.ios):
            while number >= MAX_INTERVALS:
                self.halve()
                number = at_ns // self.interval_ns
            missing = number + 1 - len(self.ios)
            self.ios += [0] * missing
            self.bytes += [0] * missing
        self.ios[number] += 1
        self.bytes[number] += length_bytes

    def next_edge_ns(self) -> int:
        """When the credit balance is next asked for."""
        return len(self.credits) * self.interval_ns

    def halve(self) -> None:
        """Make the intervals twice as long."""
        self.interval_ns *= 2
        self.ios = _pair_up(self.ios)
        self.bytes = _pair_up(self.bytes)
        self.credits = self.credits[::2]


def _pair_up(values: list[int]) -> list[int]:
    return [sum(values[at : at + 2]) for at in range(0, len(values), 2)]


@dataclass(slots=True)
class Outcome:
    """What a workload got.

    `elapsed_ns`: from the start to the end of the last I/O.  `delayed`: I/Os that a limit
    held up.  `credits_gone_ns`: when an I/O first found the burst bucket empty, None if none
    did or there is no bucket.  `credits_left`, `credits_full`: balance at the end, and what
    the bucket holds; None without one.
    """

    latencies: LatencyHistogram
    course: Course
    ios: int = 0
    bytes: int = 0
    elapsed_ns: int = 0
    delayed: int = 0
    credits_gone_ns: int | None = None
    credits_left: float | None = None
    credits_full: float | None = None

    @property
    def iops(self) -> float:
        """Delivered, on average."""
        return self.ios / self.elapsed_ns * NS_PER_S if self.elapsed_ns else 0.0

    @property
    def bytes_per_s(self) -> float:
        """Delivered, on average."""
        return self.bytes / self.elapsed_ns * NS_PER_S if self.elapsed_ns else 0.0


def simulate(
    workload: Workload, limits: Limits, *, seed: int = 1, credit_share: float = 1.0
) -> Outcome:
    """Run a workload on a volume with `limits`; the same seed gives the same outcome.

    `credit_share`: how full its burst bucket is at the start, 0.0 to 1.0.
    """
    run = _Run(limits, seed, credit_share)
    slots = [0] * workload.depth  # when each place in the queue is free again
    reserve, sample_ns, add_latency = run.meter.reserve, run.sampler.sample_ns, run.latencies.add
    ended, is_paced, ends_ns = run.course.ended, workload.is_paced, workload.ends_ns
    for asked_ns, offset_bytes, length_bytes, is_write in workload.ios():
        start_ns = slots[0]
        if asked_ns > start_ns:
            start_ns = asked_ns
        if start_ns >= ends_ns:
            break
        if not length_bytes:
            run.meter.end_writes()
            continue
        if start_ns >= run.next_look_ns:
            run.look_at_credits(start_ns)
        ready_ns = reserve(offset_bytes, length_bytes, is_write != 0, start_ns)
        if ready_ns > start_ns:
            run.note_delay(start_ns)
        done_ns = ready_ns + sample_ns(is_write != 0)
        heapreplace(slots, done_ns)
        add_latency(done_ns - (asked_ns if is_paced else start_ns))
        ended(done_ns, length_bytes)
    return run.outcome(max(slots))


class _Run:
    """What a simulation keeps, and its rarer steps."""

    def __init__(self, limits: Limits, seed: int, credit_share: float) -> None:
        self._full = None if limits.credits is None else float(limits.credits.depth)
        self.meter = Meter(limits, 0, (self._full or 0.0) * credit_share)
        self.sampler = LatencySampler(limits.latency, SeededEntropy(seed))
        self.latencies = LatencyHistogram()
        self.course = Course()
        self.next_look_ns = 0 if limits.credits else 1 << 100
        self._delayed = 0
        self._gone_ns: int | None = None

    def look_at_credits(self, now_ns: int) -> None:
        """Note the balance at the edges of intervals that have gone by since the last look."""
        course = self.course
        while (edge_ns := course.next_edge_ns()) <= now_ns:
            if len(course.credits) >= MAX_INTERVALS:
                course.halve()
                continue
            course.credits.append(self.meter.credit_balance(edge_ns) or 0.0)
        self.next_look_ns = edge_ns

    def note_delay(self, now_ns: int) -> None:
        """An I/O was held up; was it for want of credits?"""
        self._delayed += 1
        if self._gone_ns is None and self._full is not None:
            balance = self.meter.credit_balance(now_ns) or 0.0
            if balance < self.meter.limits.credits_per_unit:
                self._gone_ns = now_ns

    def outcome(self, ended_ns: int) -> Outcome:
        """Everything that is known at the end."""
        return Outcome(
            latencies=self.latencies,
            course=self.course,
            ios=sum(self.course.ios),
            bytes=sum(self.course.bytes),
            elapsed_ns=ended_ns,
            delayed=self._delayed,
            credits_gone_ns=self._gone_ns,
            credits_left=self.meter.credit_balance(ended_ns),
            credits_full=self._full,
        )
