"""What a volume may do and when: token buckets in exact arithmetic.

Nothing here reads a clock, takes a lock or sleeps.  Time is handed in as integer
nanoseconds, tokens are counted in integers of a billionth, so that a rate of n tokens a
second is n billionths a nanosecond and a day of simulated I/O ends on the right nanosecond.

A reservation takes its tokens at once, into debt if need be, and says when the debt will
be paid: whoever came first is served first, and nobody has to ask again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from blockdev.latency import NO_LATENCY, LatencyModel

NS_PER_S: Final = 1_000_000_000

MERGE_STREAMS: Final = 16
"""How many runs of sequential I/O are followed at a time in each direction; the one begun
longest ago is forgotten first."""

_NEVER_NS: Final = 1 << 100


@dataclass(frozen=True, slots=True)
class Rate:
    """So many tokens a second, of which `depth` may be saved up and used at once.

    `read_cost`, `write_cost`: tokens for one unit (or byte) that is read or written.  They
    differ where a disk reads faster than it writes and both share its time.
    """

    tokens_per_s: int
    depth: int
    read_cost: int = 1
    write_cost: int = 1

    def __post_init__(self) -> None:
        if min(self.tokens_per_s, self.depth, self.read_cost, self.write_cost) < 1:
            raise ValueError(f"a rate of nothing: {self}")


@dataclass(frozen=True, slots=True)
class Limits:
    """Everything that bounds a volume or a disk; pure data.

    `unit_bytes`: how I/O is counted; a larger one is split.
    `ios`: units a second.  `throughput`: bytes a second.  Both hold at any time.
    `credits`: the burst bucket: filling at the baseline, `depth` its size, taken from by
    every unit: I/Os on gp2, bytes on st1 and sc1 (see `counts_whole_units`).
    `counts_whole_units`: a unit counts with all its bytes, however few were moved, against
    throughput and credits: hard disks.
    `merges`: sequential I/O is put together up to a unit.
    `latency`: what an I/O takes that no limit holds up.
    """

    unit_bytes: int
    ios: Rate
    throughput: Rate
    credits: Rate | None = None
    counts_whole_units: bool = False
    merges: bool = True
    latency: LatencyModel = NO_LATENCY

    @property
    def credits_per_unit(self) -> int:
        """What a unit takes out of the burst bucket."""
        return self.unit_bytes if self.counts_whole_units else 1


def earned(limits: Limits, credits: float, elapsed_ns: int) -> float:
    """The credit balance after `elapsed_ns` without any I/O; 0 for types without credits."""
    if limits.credits is None:
        return 0.0
    grown = credits + limits.credits.tokens_per_s * elapsed_ns / NS_PER_S
    return min(float(limits.credits.depth), grown)


class Bucket:
    """Tokens that come in at a rate and are taken out, into debt if need be."""

    __slots__ = ("_depth", "_rate", "_spent")

    # In billionths: what is in the bucket is now * rate - spent.  As time goes on, that
    # would grow past the depth; `spent` is moved up when tokens are next taken.

    def __init__(self, rate: Rate, now_ns: int, tokens: int | None = None) -> None:
        """A bucket of `tokens`, full if that is None."""
        self._rate = rate.tokens_per_s
        self._depth = rate.depth * NS_PER_S
        level = self._depth if tokens is None else min(tokens * NS_PER_S, self._depth)
        self._spent = now_ns * self._rate - level

    def take(self, tokens: int, now_ns: int) -> int:
        """Take `tokens` out; returns the time in nanoseconds at which no debt is left."""
        earned = now_ns * self._rate
        spent = self._spent
        if earned - spent > self._depth:
            spent = earned - self._depth
        spent += tokens * NS_PER_S
        self._spent = spent
        if spent <= earned:
            return now_ns
        return -(-spent // self._rate)

    def holds(self, tokens: int, now_ns: int) -> bool:
        """Whether `tokens` can be taken without debt."""
        return self.billionths(now_ns) >= tokens * NS_PER_S

    def billionths(self, now_ns: int) -> int:
        """What is in it, in billionths of a token; negative for a debt."""
        return min(self._depth, now_ns * self._rate - self._spent)

    def refit(self, rate: Rate, now_ns: int) -> None:
        """Go on at another rate with what is in it, or as much of that as will fit."""
        level = self.billionths(now_ns)
        self._rate = rate.tokens_per_s
        self._depth = rate.depth * NS_PER_S
        self._spent = now_ns * self._rate - min(level, self._depth)


class UnitCounter:
    """Counts I/O in units: large ones are split, sequential ones put together.

    An I/O that begins where one in the same direction ended fills the rest of that one's
    last unit before it counts as more.
    """

    __slots__ = ("_merges", "_room", "_unit_bytes")

    def __init__(self, unit_bytes: int, merges: bool) -> None:
        self._unit_bytes = unit_bytes
        self._merges = merges
        # For reads and for writes: where an I/O ended, and what its last unit has room for.
        self._room: tuple[dict[int, int], dict[int, int]] = ({}, {})

    def count(
        self, offset_bytes: int, length_bytes: int, is_write: bool, ends_run: bool = False
    ) -> int:
        """How many units an I/O is, after all that came before it; `ends_run`: and before
        what comes, which cannot be put together with it."""
        room = self._room[is_write]
        left = room.pop(offset_bytes, 0) - length_bytes
        units = 0
        if left < 0:
            units = -(left // self._unit_bytes)
            left += units * self._unit_bytes
        if left and self._merges and length_bytes and not ends_run:
            room[offset_bytes + length_bytes] = left
            if len(room) > MERGE_STREAMS:
                del room[next(iter(room))]
        return units

    def end_writes(self) -> None:
        """Put nothing together with writes that came before this."""
        self._room[True].clear()

    def foresee(self, offset_bytes: int, length_bytes: int, is_write: bool) -> int:
        """What `count` would say, without counting."""
        over = length_bytes - self._room[is_write].get(offset_bytes, 0)
        return max(0, -(-over // self._unit_bytes))


class Meter:
    """The state of one volume's limits.  Whoever shares it shares the volume's budget.

    Not safe to share between threads; `filters.throttle.Budget` is.

    `snapshot_in_progress`: set it while a snapshot of an st1 or sc1 volume is copied: its
    throughput is then held to the baseline, which is as far as AWS says it may drop.
    """

    def __init__(self, limits: Limits, now_ns: int, credits: float | None = None) -> None:
        """Begin at `now_ns` with `credits` in the burst bucket, full if that is None."""
        self.snapshot_in_progress = False
        self._now_ns = now_ns
        self._ios = Bucket(limits.ios, now_ns)
        self._throughput = Bucket(limits.throughput, now_ns)
        self._credits: Bucket | None = None
        self._credits_per_unit = 0
        self._scheduled: Limits | None = None
        self._scheduled_ns = _NEVER_NS
        self._fit(limits, now_ns, None if credits is None else int(credits))

    @property
    def limits(self) -> Limits:
        """Those in force."""
        return self._limits

    def reserve(
        self,
        offset_bytes: int,
        length_bytes: int,
        is_write: bool,
        now_ns: int,
        ends_run: bool = False,
    ) -> int:
        """Take what an I/O costs; returns when it may begin, in nanoseconds, `now_ns` or later.

        `ends_run`: nothing is merged with it that comes after it.
        """
        if now_ns >= self._scheduled_ns:
            self._apply_schedule()
        units = self._counter.count(offset_bytes, length_bytes, is_write, ends_run)
        moved = units * self._unit_bytes if self._whole_units else length_bytes
        io_cost, byte_cost = self._costs[is_write]
        ready_ns = self._ios.take(units * io_cost, now_ns)
        paid_ns = self._throughput.take(moved * byte_cost, now_ns)
        if paid_ns > ready_ns:
            ready_ns = paid_ns
        if self._credits is not None:
            paid_ns = self._credits.take(units * self._credits_per_unit, now_ns)
            if paid_ns > ready_ns:
                ready_ns = paid_ns
            if self.snapshot_in_progress and self._whole_units:
                ready_ns = max(ready_ns, self._baseline.take(moved, now_ns))
        return ready_ns

    def end_writes(self) -> None:
        """A flush: what was written before it is not merged with what is written after."""
        self._counter.end_writes()

    def is_free(self, offset_bytes: int, length_bytes: int, is_write: bool, now_ns: int) -> bool:
        """Whether `reserve` would answer `now_ns`; takes nothing."""
        if now_ns >= self._scheduled_ns:
            self._apply_schedule()
        units = self._counter.foresee(offset_bytes, length_bytes, is_write)
        moved = units * self._unit_bytes if self._whole_units else length_bytes
        io_cost, byte_cost = self._costs[is_write]
        if not self._ios.holds(units * io_cost, now_ns):
            return False
        if not self._throughput.holds(moved * byte_cost, now_ns):
            return False
        if self._credits is None:
            return True
        held = self.snapshot_in_progress and self._whole_units
        if held and not self._baseline.holds(moved, now_ns):
            return False
        return self._credits.holds(units * self._credits_per_unit, now_ns)

    def credit_balance(self, now_ns: int) -> float | None:
        """I/O credits (gp2) or bytes (st1, sc1) in the burst bucket; None if there is none."""
        if now_ns >= self._scheduled_ns:
            self._apply_schedule()
        if self._credits is None:
            return None
        return max(0, self._credits.billionths(now_ns)) / NS_PER_S

    def change(self, limits: Limits, now_ns: int) -> None:
        """Go on with other limits, at once.

        The credit balance is kept, as far as it fits, if it counts the same thing; a type
        that had none before begins with a full bucket.  What was scheduled is forgotten.
        """
        if now_ns >= self._scheduled_ns:
            self._apply_schedule()
        self._scheduled, self._scheduled_ns = None, _NEVER_NS
        self._ios.refit(limits.ios, now_ns)
        self._throughput.refit(limits.throughput, now_ns)
        self._fit(limits, now_ns, None)

    def schedule(self, limits: Limits, at_ns: int) -> None:
        """Let other limits come into force at `at_ns`; one such change at most is pending."""
        self._scheduled, self._scheduled_ns = limits, at_ns

    def _apply_schedule(self) -> None:
        limits, at_ns = self._scheduled, self._scheduled_ns
        if limits is not None:
            self._scheduled_ns = _NEVER_NS
            self.change(limits, at_ns)

    def _fit(self, limits: Limits, now_ns: int, credits: int | None) -> None:
        """Put `limits` in force, all but the two rates, whose debts go on."""
        self._limits = limits
        self._unit_bytes = limits.unit_bytes
        self._costs = (
            (limits.ios.read_cost, limits.throughput.read_cost),
            (limits.ios.write_cost, limits.throughput.write_cost),
        )
        self._counter = UnitCounter(limits.unit_bytes, limits.merges)
        self._fit_credits(limits, now_ns, credits)

    def _fit_credits(self, limits: Limits, now_ns: int, credits: int | None) -> None:
        rate, bucket = limits.credits, self._credits
        same_kind = limits.credits_per_unit == self._credits_per_unit
        self._whole_units = limits.counts_whole_units
        self._credits_per_unit = limits.credits_per_unit
        if rate is None:
            self._credits = None
            return
        self._baseline = Bucket(Rate(rate.tokens_per_s, limits.unit_bytes), now_ns)
        if bucket is not None and same_kind:
            bucket.refit(rate, now_ns)
        else:
            self._credits = Bucket(rate, now_ns, credits)
