"""What is asked of a volume: a stream of I/Os that can be had again for every type compared."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from blockdev.iolog import Iolog

Io = tuple[int, int, int, int]
"""Time asked in ns, offset, length, and 1 for a write; a length of 0 is a sync."""

NEVER_NS: Final = 1 << 62

MAX_DEPTH: Final = 65_536
"""I/Os under way at once."""


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


def from_iolog(log: Iolog, name: str, depth: int) -> Workload:
    """The log as a workload; one of version 2 keeps `depth` I/Os under way."""
    order = "at their times" if log.is_paced else "one after the other"
    return Workload(
        title=f"{log.count:,} I/Os of {name}, {order}, depth {depth}",
        depth=depth,
        ios=log.ios,
        is_paced=log.is_paced,
        ends_ns=NEVER_NS,
        span_bytes=log.span_bytes,
    )
