"""Calls handed to a pool of threads, each run once or not at all."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor


def submit_once(pool: Executor, call: Callable[[], object]) -> None:
    """Have a thread of `pool` run `call`; if this raises, none ever will.

    A `ThreadPoolExecutor` queues a call before it starts a thread for it.  When there is no
    thread to be had it raises, and one that it has already may yet come upon the call.

    Raises:
        Exception: the pool takes no more calls, or the system gives it no thread.
    """
    calls = deque((call,))

    def run() -> None:
        claimed = _claim(calls)
        if claimed is not None:
            claimed()

    try:
        pool.submit(run)
    except BaseException:
        if _claim(calls) is not None:
            raise


def _claim(calls: deque[Callable[[], object]]) -> Callable[[], object] | None:
    """The call, for the first of all threads that asks."""
    try:
        return calls.pop()
    except IndexError:
        return None
