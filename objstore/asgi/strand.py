"""Blocking calls off the event loop: in order, bounded, and back on the loop when done."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any, TypeVar

logger = logging.getLogger("objstore.http")

T = TypeVar("T")


class Completions:
    """Results from other threads, handed to the event loop a burst at a time.

    Waking the loop is a system call: a commit that completes fifty requests wakes it once,
    and one on the loop's own thread not at all.  Make it on that thread.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._loop_thread = threading.get_ident()
        self._done: deque[tuple[asyncio.Future[Any], Any, BaseException | None]] = deque()
        self._is_scheduled = False

    def future(self) -> asyncio.Future[Any]:
        """A future to give to `complete`."""
        return self._loop.create_future()

    def complete(
        self, future: asyncio.Future[Any], value: Any, error: BaseException | None
    ) -> None:
        """Settle `future` soon; call from any thread."""
        if threading.get_ident() == self._loop_thread:
            _settle(future, value, error)
            return
        # The entry first, the flag second, and `_deliver` the other way round: whoever
        # finds the flag set has its entry seen by the delivery that is under way.
        self._done.append((future, value, error))
        if not self._is_scheduled:
            self._is_scheduled = True
            try:
                self._loop.call_soon_threadsafe(self._deliver)
            except RuntimeError:
                logger.debug("a result came after the event loop had closed")

    def _deliver(self) -> None:
        self._is_scheduled = False
        while self._done:
            _settle(*self._done.popleft())


def _settle(future: asyncio.Future[Any], value: Any, error: BaseException | None) -> None:
    if future.done():
        return  # cancelled: its request is gone
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result(value)


class Strand:
    """Calls that must not overlap, run one after the other by the threads of an executor."""

    def __init__(self, executor: Executor, completions: Completions) -> None:
        self._executor = executor
        self._completions = completions
        self._calls: deque[tuple[Callable[[], Any], asyncio.Future[Any] | None]] = deque()
        self._is_running = False

    def post(self, call: Callable[[], object], then: Callable[[], object] | None = None) -> None:
        """Run `call` after those before it, and `then` on the event loop; neither may raise."""
        if then is None:
            self._add(call, None)
            return
        future = self._completions.future()
        future.add_done_callback(lambda _: then())
        self._add(call, future)

    async def call(self, call: Callable[[], T]) -> T:
        """Run `call` after those before it and wait for what it returns or raises."""
        future = self._completions.future()
        self._add(call, future)
        result: T = await future
        return result

    def _add(self, call: Callable[[], Any], future: asyncio.Future[Any] | None) -> None:
        self._calls.append((call, future))
        if not self._is_running:
            self._is_running = True
            self._resume()

    def _resume(self) -> None:
        stopped = self._completions.future()
        stopped.add_done_callback(self._on_stopped)
        self._executor.submit(self._run, stopped)

    def _on_stopped(self, stopped: asyncio.Future[Any]) -> None:
        # A call may have come after the thread found none.
        if self._calls:
            self._resume()
        else:
            self._is_running = False

    def _run(self, stopped: asyncio.Future[Any]) -> None:
        while self._calls:
            call, future = self._calls.popleft()
            value, error = None, None
            try:
                value = call()
            except BaseException as raised:
                error = raised
            if future is not None:
                self._completions.complete(future, value, error)
            elif error is not None:
                logger.error("a background call failed", exc_info=error)
        self._completions.complete(stopped, None, None)
