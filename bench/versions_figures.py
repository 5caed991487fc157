"""What the cases of `bench.versions` share: sizes, figures, and costs taken in turn."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

KIB: Final = 1024
MIB: Final = 1024 * KIB
PAGE: Final = 1000


@dataclass(frozen=True)
class Size:
    """How much a run does.

    `puts`: in a round, and appends.  `versions`: of each key that is listed.
    """

    puts: int
    rounds: int
    versions: int
    copied_bytes: int
    read_bytes: int


FULL: Final = Size(300, 5, 5, 1024 * MIB, 64 * MIB)
QUICK: Final = Size(20, 2, 2, 4 * MIB, 5 * MIB)


@dataclass(frozen=True)
class Figure:
    """A result.  `goal`: at least, or at most unless `more_is_better`; None for none."""

    name: str
    value: float
    unit: str
    goal: float | None = None
    more_is_better: bool = True

    def line(self) -> str:
        """As the terminal has it."""
        text = f"{self.name:58}{self.value:12,.2f} {self.unit}"
        if self.goal is None:
            return text
        is_reached = self.value >= self.goal if self.more_is_better else self.value <= self.goal
        sign = "≥" if self.more_is_better else "≤"
        return f"{text:76}{sign} {self.goal:g}  {'reached' if is_reached else 'MISSED'}"


@dataclass(frozen=True)
class Cost:
    """Of one action, in microseconds: elapsed, and CPU."""

    wall_us: float
    cpu_us: float


def measured(action: Callable[[], int]) -> Cost:
    """What one operation of `action` cost; it returns how many it did."""
    started_ns, cpu_ns = time.perf_counter_ns(), time.process_time_ns()
    count = action()
    cpu_ns, ended_ns = time.process_time_ns() - cpu_ns, time.perf_counter_ns()
    return Cost((ended_ns - started_ns) / count / 1e3, cpu_ns / count / 1e3)


def in_turn(actions: Sequence[Callable[[], int]], rounds: int) -> list[Cost]:
    """The median cost of each: A B, B A, A B …"""
    costs: list[list[Cost]] = [[] for _ in actions]
    for number in range(rounds):
        order = range(len(actions)) if number % 2 == 0 else reversed(range(len(actions)))
        for place in order:
            costs[place].append(measured(actions[place]))
    return [median_cost(taken) for taken in costs]


def median_cost(taken: Sequence[Cost]) -> Cost:
    """Elapsed and CPU, each the median."""
    return Cost(
        statistics.median(cost.wall_us for cost in taken),
        statistics.median(cost.cpu_us for cost in taken),
    )
