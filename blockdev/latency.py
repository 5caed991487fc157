"""How long an I/O takes that nothing holds up: lognormal distributions, drawn from quickly.

A service time has a long tail to the right and none to the left, which a lognormal
distribution describes with two figures that people know: the median and the 99th percentile.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from functools import lru_cache
from math import exp, log
from statistics import NormalDist
from typing import Final

from blockdev.entropy import Entropy

QUANTILES: Final = 4096
"""Steps of a tabulated distribution; the highest stands for the percentile 99.988."""

_DRAWS: Final = 4096
_DRAW_SHIFT: Final = 4
"""A draw has 16 bits, a table 12."""

_P99_SIGMAS: Final = NormalDist().inv_cdf(0.99)


@dataclass(frozen=True, slots=True)
class Latency:
    """A lognormal distribution by its median and its 99th percentile, in nanoseconds.

    Both are 0 for what takes no time.

    Raises:
        ValueError: a figure is negative, or the percentile below the median.
    """

    median_ns: int
    p99_ns: int

    def __post_init__(self) -> None:
        if not 0 <= self.median_ns <= self.p99_ns or (self.median_ns == 0 < self.p99_ns):
            raise ValueError(f"no lognormal distribution: {self}")

    @property
    def sigma(self) -> float:
        """Standard deviation of the logarithm."""
        return log(self.p99_ns / self.median_ns) / _P99_SIGMAS if self.median_ns else 0.0

    @property
    def mean_ns(self) -> float:
        """The average, which the tail draws above the median."""
        return self.median_ns * exp(self.sigma**2 / 2)


@dataclass(frozen=True, slots=True)
class LatencyModel:
    """What reads and writes take of their own; queueing for a limit comes on top of it."""

    read: Latency
    write: Latency

    @property
    def is_zero(self) -> bool:
        """Whether nothing takes any time."""
        return self.read.p99_ns == 0 == self.write.p99_ns


NO_LATENCY: Final = LatencyModel(Latency(0, 0), Latency(0, 0))


@lru_cache(maxsize=64)
def quantiles_ns(latency: Latency) -> array[int]:
    """The distribution as QUANTILES equally likely values in rising order.

    Do not change what is returned: it is shared.
    """
    if not latency.median_ns:
        return array("q", bytes(8 * QUANTILES))
    normal = NormalDist(log(latency.median_ns), latency.sigma) if latency.sigma else None
    if normal is None:
        return array("q", [latency.median_ns] * QUANTILES)
    return array("q", [round(exp(normal.inv_cdf((i + 0.5) / QUANTILES))) for i in range(QUANTILES)])


class LatencySampler:
    """Draws from a model with the given randomness; safe to share between threads."""

    __slots__ = ("_at", "_draws", "_entropy", "_tables")

    def __init__(self, model: LatencyModel, entropy: Entropy) -> None:
        self._entropy = entropy
        self._tables = quantiles_ns(model.read), quantiles_ns(model.write)
        self._draws = array("H")
        self._at = 0

    def sample_ns(self, is_write: bool) -> int:
        """What one I/O takes, in nanoseconds."""
        # Two threads may meet here and use a draw twice.  That harms nobody, and a lock
        # would cost more than all the rest.
        draws, at = self._draws, self._at
        if at >= len(draws):
            draws, at = self._refill(), 0
        self._at = at + 1
        return self._tables[is_write][draws[at] >> _DRAW_SHIFT]

    def _refill(self) -> array[int]:
        draws = array("H")
        draws.frombytes(self._entropy.token_bytes(_DRAWS * draws.itemsize))
        self._draws = draws
        return draws
