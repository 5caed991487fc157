"""Time as an interface: nothing else in the tree reads the machine's clock.

Two clocks exist.  `SystemClock` is the machine's; `ManualClock` stands still
until told otherwise, so that hours of simulated I/O or a year of lifecycle
take milliseconds.  All values are integer nanoseconds.
"""

from __future__ import annotations

import threading
import time
from typing import Protocol

from blockdev.linux import sharpen_timers


class _Sleeper(threading.local):
    """A thread that sleeps here has its timers sharpened once: I/O is simulated in microseconds."""

    def __init__(self) -> None:
        sharpen_timers()

    def sleep(self, seconds: float) -> None:
        """Sleep as `time.sleep` does."""
        time.sleep(seconds)


_SLEEPER = _Sleeper()


class Clock(Protocol):
    """Where the time comes from."""

    def now_ns(self) -> int:
        """Wall-clock time in nanoseconds since the Unix epoch (UTC)."""
        ...

    def monotonic_ns(self) -> int:
        """A reading in nanoseconds that never goes backwards; only differences mean anything."""
        ...

    def sleep_until(self, deadline_ns: int) -> None:
        """Block until `monotonic_ns()` is at least `deadline_ns`."""
        ...


class SystemClock:
    """The machine's own clock."""

    def now_ns(self) -> int:
        return time.time_ns()

    def monotonic_ns(self) -> int:
        return time.monotonic_ns()

    def sleep_until(self, deadline_ns: int) -> None:
        while (left_ns := deadline_ns - time.monotonic_ns()) > 0:
            _SLEEPER.sleep(left_ns / 1e9)


class ManualClock:
    """A clock that moves only by `advance`; sleeping on it advances it.

    Wall-clock and monotonic time move together.  Safe to share between threads.
    """

    def __init__(self, start_ns: int = 1_700_000_000_000_000_000) -> None:
        self._lock = threading.Lock()
        self._start_ns = start_ns
        self._elapsed_ns = 0

    def now_ns(self) -> int:
        return self._start_ns + self._elapsed_ns

    def monotonic_ns(self) -> int:
        return self._elapsed_ns

    def advance(self, delta_ns: int) -> None:
        """Move the clock `delta_ns` nanoseconds forward.

        Raises:
            ValueError: `delta_ns` is negative; time does not go backwards.
        """
        if delta_ns < 0:
            raise ValueError(f"a clock cannot go backwards: asked for {delta_ns} ns")
        with self._lock:
            self._elapsed_ns += delta_ns

    def sleep_until(self, deadline_ns: int) -> None:
        with self._lock:
            self._elapsed_ns = max(self._elapsed_ns, deadline_ns)
