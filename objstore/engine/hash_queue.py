"""MD5 of a stream's blocks, beside the thread that writes them."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor

from blockdev import Buffer

THREAD_BYTES = 64 * 1024
"""Less than this is hashed sooner than another thread has begun."""


class Use:
    """Of a block by several threads: `done` is called when the last of them has ended it.

    It begins with one user, who made it.
    """

    __slots__ = ("_count", "_done", "_mutex")

    def __init__(self, done: Callable[[], object] | None) -> None:
        self._done = done
        self._count = 1
        self._mutex = threading.Lock()

    def begin(self) -> None:
        """Count one user more."""
        with self._mutex:
            self._count += 1

    def end(self) -> None:
        """A user needs the block no longer."""
        with self._mutex:
            self._count -= 1
            is_last = self._count == 0
        if is_last and self._done is not None:
            self._done()


class HashQueue:
    """Feeds blocks to a hasher in order, on threads of a pool, one thread at a time.

    MD5 is what a large object waits for.  While blocks are queued its thread goes from one
    to the next, and nobody has to be woken in between.  One thread calls the methods.

    Args:
        update: of the hasher; must not raise.
        limit: blocks that may wait; `put` waits while there are as many.
    """

    def __init__(self, pool: Executor, update: Callable[[Buffer], object], limit: int) -> None:
        self._pool = pool
        self._update = update
        self._limit = limit
        self._blocks: deque[tuple[memoryview, Use]] = deque()
        self._changed = threading.Condition()
        self._is_running = False

    def put(self, block: memoryview, use: Use) -> None:
        """Queue `block`, which stays as it is until `use` ends; a small one may be hashed here."""
        with self._changed:
            if not self._is_running and len(block) < THREAD_BYTES:
                self._update(block)
                return
            while len(self._blocks) >= self._limit:
                self._changed.wait()
            if not self._is_running:
                self._pool.submit(self._run)
                self._is_running = True
            use.begin()
            self._blocks.append((block, use))

    def join(self) -> None:
        """Wait until all that was queued has been hashed."""
        with self._changed:
            while self._is_running:
                self._changed.wait()

    def _run(self) -> None:
        while (entry := self._next()) is not None:
            block, use = entry
            self._update(block)
            use.end()

    def _next(self) -> tuple[memoryview, Use] | None:
        with self._changed:
            if self._blocks:
                entry = self._blocks.popleft()
                if len(self._blocks) == self._limit - 1:
                    self._changed.notify_all()
                return entry
            self._is_running = False
            self._changed.notify_all()
            return None
