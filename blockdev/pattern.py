"""A workload described in a few figures: ``rate=5000,size=16k,read=70%,duration=1h``."""

from __future__ import annotations

import re
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from math import log
from typing import Any, Final

from blockdev.credits import NS_PER_S
from blockdev.entropy import SeededEntropy
from blockdev.model import GIB, MIB
from blockdev.workload import MAX_DEPTH, NEVER_NS, Io, Workload

MAX_RATE: Final = 10_000_000
MAX_SECONDS: Final = 400 * 86_400
MAX_IO_BYTES: Final = 1 << 30
MAX_IOS: Final = 1_000_000_000
"""An hour of simulation; a mistake in a unit would take years."""

_DRAWS: Final = 4096
_PAUSES: Final = tuple(-log(1 - (i + 0.5) / 4096) for i in range(4096))
"""Equally likely pauses of independent arrivals, in units of the mean."""


class PatternError(ValueError):
    """A pattern with a part that is wrong; the message names it."""


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
        rate = "as many as it does" if self.rate is None else f"{self.rate:,g} a second"
        return (
            f"I/Os of {self.io_bytes / 1024:g} KiB, {rate}, {self.read_share:.0%} reads, "
            f"{self.random_share:.0%} random, for {self.seconds:,g} s, depth {self.depth}"
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


def parse_pattern(text: str, defaults: Pattern) -> Pattern:
    """``rate=5000,size=16k,read=70%``; what is left out is as in `defaults`.

    Raises:
        PatternError: an unknown part, one given twice, or a value out of its bounds.
    """
    values: dict[str, Any] = {}
    for part in text.split(","):
        key, equals, value = (word.strip() for word in part.partition("="))
        known = _PARTS.get(key)
        if known is None or not equals:
            raise PatternError(f"unknown part {part.strip()!r}; known are {', '.join(_PARTS)}")
        field, parse = known
        if field in values:
            raise PatternError(f"{key} is given twice")
        try:
            values[field] = parse(value)
        except ValueError as error:
            raise PatternError(f"{key}={value}: {error}") from None
    pattern = replace(defaults, **values)
    if pattern.span_bytes < pattern.io_bytes:
        raise PatternError(f"an I/O of {pattern.io_bytes} bytes does not fit into the span")
    if pattern.rate is not None and pattern.rate * pattern.seconds > MAX_IOS:
        raise PatternError(f"{pattern.rate * pattern.seconds:,.0f} I/Os are over {MAX_IOS:,}")
    return pattern


def _within(least: float, most: float, what: str) -> Callable[[str], float]:
    def parse(text: str) -> float:
        if not re.fullmatch(r"[0-9]{1,12}(\.[0-9]{1,9})?", text):
            raise ValueError(f"not {what}")
        value = float(text)
        if not least <= value <= most:
            raise ValueError(f"not {what} from {least:g} to {most:,g}")
        return value

    return parse


def _share(text: str) -> float:
    number = _within(0, 100, "a percentage")(text.removesuffix("%"))
    return number / 100 if text.endswith("%") else _within(0, 1, "a share")(text)


def _whole(most: int, what: str) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not re.fullmatch("[0-9]{1,12}", text):
            raise ValueError(f"not {what}")
        return int(_within(1, most, what)(text))

    return parse


_BINARY: Final = {"": 1, "k": 1024, "m": MIB, "g": GIB, "t": 1024 * GIB}
_SECONDS: Final = {"": 1, "s": 1, "m": 60, "h": 3_600, "d": 86_400}


def _bytes_up_to(most: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        found = re.fullmatch(r"([0-9]{1,12})([kmgt]?)(i?b)?", text.lower())
        if found is None:
            raise ValueError("not a size such as 4096, 16k or 1m")
        size_bytes = int(found[1]) * _BINARY[found[2]]
        if not 1 <= size_bytes <= most:
            raise ValueError(f"not a size from 1 to {most:,} bytes")
        return size_bytes

    return parse


def _duration(text: str) -> float:
    found = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,6})?)([smhd]?)", text.lower())
    if found is None:
        raise ValueError("not a duration such as 90s, 10m, 1h or 1d")
    seconds = float(found[1]) * _SECONDS[found[2]]
    if not 0 < seconds <= MAX_SECONDS:
        raise ValueError(f"not a duration up to {MAX_SECONDS // 86_400} days")
    return seconds


def _arrivals(text: str) -> bool:
    if text not in ("even", "poisson"):
        raise ValueError("neither even nor poisson")
    return text == "even"


_PARTS: Final[dict[str, tuple[str, Callable[[str], Any]]]] = {
    "rate": ("rate", _within(0.001, MAX_RATE, "a rate")),
    "size": ("io_bytes", _bytes_up_to(MAX_IO_BYTES)),
    "read": ("read_share", _share),
    "random": ("random_share", _share),
    "duration": ("seconds", _duration),
    "depth": ("depth", _whole(MAX_DEPTH, "a depth")),
    "span": ("span_bytes", _bytes_up_to(1 << 50)),
    "arrivals": ("is_even", _arrivals),
}
