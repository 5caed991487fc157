"""Small mutations of one event loop, committed together.

On a fast device, going through the committer's thread and back costs more than the
write: five thread switches, and the interpreter handed over each time.  So the loop commits
what its turns have gathered on its own thread.  While the device is slow, the committer's
thread does it and the loop goes on with the reads; on a device that is known to be slow,
always.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Protocol, TypeAlias

from blockdev import Clock
from objstore.asgi.strand import Completions
from objstore.config import (
    CONTENDED_TURNS,
    GATHER_TURNS,
    LONG_COMMIT_NS,
    MAX_SLOW_PAUSE_NS,
    SLOW_COMMIT_NS,
    SLOW_PAUSE_NS,
)

COMMIT_WEIGHT = 0.1
MOST_COMMIT_NS = 2 * SLOW_COMMIT_NS
"""Weight of the newest commit in the moving average of what commits take, and the most that
it counts for: a device is slow when commit after commit is, not when one had to wait a
little.  One of over `LONG_COMMIT_NS` decides alone: a few of those are felt by every reader."""

Done: TypeAlias = Callable[[Any, BaseException | None], None]
Submit: TypeAlias = Callable[[Done, bool], None]
"""Hands a mutation to the engine: what to call when it has ended, and whether to hold it."""


class Holding(Protocol):
    """The part of `ObjectStore` that commits what was held."""

    @property
    def clock(self) -> Clock: ...
    @property
    def is_being_written(self) -> bool: ...
    def commit_held(self) -> None: ...


class Gather:
    """Submits mutations to be held, and commits them; one for each event loop.

    `may_commit`: whether the loop itself may commit at all.
    """

    def __init__(
        self, store: Holding, completions: Completions, *, may_commit: bool = True
    ) -> None:
        self._store = store
        self._completions = completions
        self._may_commit = may_commit
        self._loop = asyncio.get_running_loop()
        self._holds_after_ns = 0
        self._pause_ns = SLOW_PAUSE_NS
        self._commit_ns = 0.0
        self._newest: asyncio.Future[Any] | None = None
        self._is_due = False
        self._turns = 0
        self._held = self._held_before = self._last_held = 0

    async def run(self, submit: Submit) -> Any:
        """Have a mutation committed; what the engine made of it.

        Raises:
            StoreError: it was refused, or the store cannot write.
        """
        future = self._completions.future()
        complete = self._completions.complete
        hold = self._may_commit and self._store.clock.monotonic_ns() >= self._holds_after_ns
        submit(lambda value, error: complete(future, value, error), hold)
        if hold:
            self._held += 1
            self._newest = future
            if not self._is_due:
                self._is_due = True
                self._turns = 0
                self._loop.call_soon(self._end_turn)
        return await future

    def _end_turn(self) -> None:
        """Commit, or wait for another turn of the loop that may bring more.

        It may when this one has, or when the batch before was larger.  A client that sends
        one request at a time need not wait: the batch before was its own, and so is this one.
        While a batch is being written, by another thread of this process or by another
        process, the loop would only stand still behind it: it reads on instead.
        """
        held = self._held
        expects_more = held > self._held_before or held < self._last_held
        is_alone = held == 1 and self._last_held <= 1
        waits = expects_more and not is_alone and self._turns < GATHER_TURNS
        if waits or (self._turns < CONTENDED_TURNS and self._store.is_being_written):
            self._turns += 1
            self._held_before = held
            self._loop.call_soon(self._end_turn)
            return
        self._last_held = held
        self._held = self._held_before = 0
        self._is_due = False
        self._commit()

    def _commit(self) -> None:
        newest, self._newest = self._newest, None
        # Whoever would have waited for what was held has committed it, where this is done.
        was_open = newest is not None and not newest.done()
        clock = self._store.clock
        started_ns = clock.monotonic_ns()
        self._store.commit_held()
        if was_open and newest is not None and newest.done():
            ended_ns = clock.monotonic_ns()
            self._judge(ended_ns - started_ns, ended_ns)

    def _judge(self, commit_ns: int, now_ns: int) -> None:
        """Leave commits to the thread for a while if they take long.

        The average stays at the limit meanwhile, so that the first commit after the pause is
        a trial: one that is slow again doubles the pause, one that is not ends the matter.
        """
        counted_ns = min(commit_ns, MOST_COMMIT_NS)
        self._commit_ns += (counted_ns - self._commit_ns) * COMMIT_WEIGHT
        if commit_ns > LONG_COMMIT_NS or self._commit_ns > SLOW_COMMIT_NS:
            self._commit_ns = SLOW_COMMIT_NS
            self._holds_after_ns = now_ns + self._pause_ns
            self._pause_ns = min(2 * self._pause_ns, MAX_SLOW_PAUSE_NS)
        else:
            self._pause_ns = SLOW_PAUSE_NS
