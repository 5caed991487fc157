"""When the thread that reads requests carries them out itself: a decision without effects.

Handing a request to another thread costs some 20 to 50 µs here, more than a read from
memory takes; not handing it over makes every request behind it wait, which on a throttled
device takes milliseconds.  So the device is tried now and then, and as long as it is
quick, the reading thread does the work.
"""

from __future__ import annotations

from typing import Final

QUICK_NS: Final = 150_000
"""A call that takes less is not worth another thread."""

TRIALS: Final = 4
"""Calls of one trial; the quickest counts, as any one may have met with other work."""

FIRST_PAUSE: Final = 64
LONGEST_PAUSE: Final = 16_384
"""Requests between trials; doubled each time the device turns out to be slow."""


class Pace:
    """Decides for one kind of call on one connection; for the reading thread only."""

    def __init__(self) -> None:
        self._quick = False
        self._pause = FIRST_PAUSE
        self._until_trial = 0
        self._trial: list[int] = []
        self._slow_in_a_row = 0

    def inline(self) -> bool:
        """Whether the next call is to be made at once; then `note` must be told its time."""
        if self._quick or self._trial:
            return True
        self._until_trial -= 1
        return self._until_trial < 0

    def note(self, elapsed_ns: int) -> None:
        """How long a call took that was made at once."""
        if self._quick:
            self._watch(elapsed_ns)
        else:
            self._try(elapsed_ns)

    def _watch(self, elapsed_ns: int) -> None:
        if elapsed_ns < QUICK_NS:
            self._slow_in_a_row = 0
            return
        self._slow_in_a_row += 1
        if self._slow_in_a_row == 2:  # one may be a page that was not in the cache
            self._quick = False
            self._until_trial = self._pause

    def _try(self, elapsed_ns: int) -> None:
        self._trial.append(elapsed_ns)
        self._quick = elapsed_ns < QUICK_NS
        if self._quick:
            self._trial, self._slow_in_a_row = [], 0
            self._pause = FIRST_PAUSE
        elif len(self._trial) == TRIALS:
            self._trial = []
            self._until_trial = self._pause
            self._pause = min(2 * self._pause, LONGEST_PAUSE)
