"""Progress on stderr, where a person watches; nothing where nobody does."""

from __future__ import annotations

import shutil
from typing import Final, TextIO

from blockdev.clock import Clock
from blockdev.commands.output import human_bytes

_BAR_COLUMNS: Final = 24
_REDRAW_NS: Final = 100_000_000


class Progress:
    """A bar for `total` of something; draws at most ten times a second, on a terminal only.

    With `is_bytes` the rate and the amount are shown, otherwise the percentage alone.
    Use as a context manager: the line is cleared at the end, whatever happened.
    """

    def __init__(
        self, label: str, total: int, *, stream: TextIO, clock: Clock, is_bytes: bool = True
    ) -> None:
        self._label, self._total = label, total
        self._stream, self._now_ns = stream, clock.monotonic_ns
        self._is_bytes = is_bytes
        self._is_shown = stream.isatty()
        self._started_ns = clock.monotonic_ns()
        self._drawn_ns: int | None = None
        self._done = 0

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        if self._drawn_ns is not None:
            self._stream.write("\r\x1b[K")
            self._stream.flush()

    def advance(self, amount: int) -> None:
        """So much more is done."""
        self.update(self._done + amount)

    def update(self, done: int) -> None:
        """So much is done in all."""
        self._done = done
        if not self._is_shown:
            return
        now_ns = self._now_ns()
        if self._drawn_ns is None or now_ns - self._drawn_ns >= _REDRAW_NS:
            self._drawn_ns = now_ns
            self._draw(now_ns)

    def _draw(self, now_ns: int) -> None:
        share = min(self._done / self._total, 1.0) if self._total else 1.0
        full = int(share * _BAR_COLUMNS)
        bar = "#" * full + "-" * (_BAR_COLUMNS - full)
        line = f"{self._label} [{bar}] {share:4.0%}"
        if self._is_bytes:
            elapsed_s = max(now_ns - self._started_ns, 1) / 1e9
            rate = human_bytes(self._done / elapsed_s)
            line += f" {human_bytes(self._done)} of {human_bytes(self._total)}, {rate}/s"
        columns = shutil.get_terminal_size().columns
        self._stream.write("\r\x1b[K" + line[: columns - 1])
        self._stream.flush()
