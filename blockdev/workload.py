"""What is asked of a volume: a recorded log, or a pattern described in words.

Either is a stream of I/Os that can be had again as often as there are types to compare.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from math import log as ln
from typing import Final

from blockdev.credits import NS_PER_S
from blockdev.entropy import SeededEntropy
from blockdev.iolog import Iolog
from blockdev.model import GIB

Io = tuple[int, int, int, int]
"""Time asked in ns, offset, length, and 1 for a write."""

NEVER_NS: Final = 1 << 62

MAX_DEPTH: Final = 65_536
MAX_RATE: Final = 10_000_000
MAX_SECONDS: Final = 400 * 86_400
MAX_IO_BYTES: Final = 1 << 30

_DRAWS: Final = 4096
_PAUSES: Final = tuple(-ln(1 - (i + 0.5) / 4096) for i in range(4096))
"""Equally likely pauses of independent arrivals, in units of the mean."""


@dataclass(frozen=True, slots=True)
class Workload:
    """A stream of I/Os.

    `title`: for people.  `depth`: how many are under way at once, at most.
    `ios`: makes the stream anew.  `is_paced`: an I/O is asked for at its time, whatever
    becomes of those before it, and its latency counts from then; otherwise it is asked for
    when there is room, and its latency counts from there.
    `ends_ns`: nothing is begun from then on.
    `span_bytes`: it reaches from 0 up to here.
    """

    title: str
    depth: int
    ios: Callable[[], Iterator[Io]]
    is_paced: bool
    ends_ns: int
    span_bytes: int


@dataclass(frozen=True, slots=True)
class Pattern:
    """I/O described by a few figures.

    `rate`: I/Os a second, None for as many as the volume does at `depth`.
    `io_bytes`: of each.  `read_share`, `random_share`: 0.0 to 1.0; what is not random goes
    on where the last one in its direction ended.
    `seconds`: how long.  `span_bytes`: the part of the volume that is used.
    `is_even`: asked for at even pauses, not as by independent clients (Poisson).
    """

    io_bytes: int = 4096
    rate: float | None = None
    read_share: float = 1.0
    random_share: float = 1.0
    seconds: float = 60.0
    depth: int = 32
    span_bytes: int = GIB
    is_even: bool = True
    seed: int = 1

    def workload(self) -> Workload:
        """The stream; the same for the same figures."""
        ends_ns = round(self.seconds * NS_PER_S)
        return Workload(
            title=self._title(),
            depth=self.depth,
            ios=partial(_pattern_ios, self, ends_ns),
            is_paced=self.rate is not None,
            ends_ns=ends_ns if self.rate is None else NEVER_NS,
            span_bytes=self.span_bytes,
        )

    def _title(self) -> str:
        rate = "as many" if self.rate is None else f"{self.rate:,g} a second"
        return (
            f"{rate} I/Os of {self.io_bytes / 1024:g} KiB, {self.read_share:.0%} reads, "
            f"{self.random_share:.0%} random, for {self.seconds:,g} s, depth {self.depth}"
        )


def from_iolog(log: Iolog, name: str, depth: int) -> Workload:
    """The log as a workload; one of version 2 keeps `depth` I/Os under way."""
    order = "at their times" if log.is_paced else "one after the other"
    return Workload(
        title=f"{len(log):,} I/Os of {name}, {order}, depth {depth}",
        depth=depth,
        ios=log.ios,
        is_paced=log.is_paced,
        ends_ns=NEVER_NS,
        span_bytes=log.span_bytes,
    )


def _pattern_ios(pattern: Pattern, ends_ns: int) -> Iterator[Io]:
    """One draw of 64 bits decides an I/O: 16 bits direction, 16 randomness, 32 place."""
    io_bytes = pattern.io_bytes
    slots = max(1, pattern.span_bytes // io_bytes)
    reads_below = round(pattern.read_share * 65_536)
    random_below = round(pattern.random_share * 65_536)
    at = [0, slots // 2]  # where the sequential reads and writes have got to
    times = _times(pattern)
    for draw in _draws(pattern.seed):
        asked_ns = next(times)
        if asked_ns >= ends_ns:
            return
        is_write = draw & 0xFFFF >= reads_below
        if draw >> 16 & 0xFFFF < random_below:
            slot = (draw >> 32) * slots >> 32
        else:
            slot = at[is_write]
            at[is_write] = slot + 1 if slot + 1 < slots else 0
        yield asked_ns, slot * io_bytes, io_bytes, is_write


def _draws(seed: int) -> Iterator[int]:
    entropy = SeededEntropy(seed)
    while True:
        draws = array("Q")
        draws.frombytes(entropy.token_bytes(_DRAWS * 8))
        yield from draws


def _times(pattern: Pattern) -> Iterator[int]:
    """When each I/O is asked for, without end."""
    if pattern.rate is None:
        while True:
            yield 0
    if pattern.is_even:
        number = 0
        while True:
            yield int(number * NS_PER_S / pattern.rate)
            number += 1
    mean_ns = NS_PER_S / pattern.rate
    now_ns = 0.0
    for draw in _draws(pattern.seed + 1):
        yield int(now_ns)
        now_ns += _PAUSES[draw & 0xFFF] * mean_ns
