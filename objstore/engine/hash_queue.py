"""MD5 of a stream's blocks, beside the thread that writes them."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor

from blockdev import Buffer
from objstore.engine.pool import submit_once

_LOG = logging.getLogger("objstore.hash")

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

    Should `update` fail, for want of memory perhaps, the digest is spoilt for good: what is
    queued is let go of unhashed, `put` raises what it failed with, and so does `join`.

    Args:
        update: of the hasher.
        limit: blocks that may wait; `put` waits while there are as many.
    """

    def __init__(self, pool: Executor, update: Callable[[Buffer], object], limit: int) -> None:
        self._pool = pool
        self._update = update
        self._limit = limit
        self._blocks: deque[tuple[memoryview, Use]] = deque()
        self._changed = threading.Condition()
        self._is_running = False
        self._failure: BaseException | None = None
        self._is_told = False

    def put(self, block: memoryview, use: Use) -> None:
        """Queue `block`, which stays as it is until `use` ends; a small one may be hashed here.

        Raises:
            Exception: what hashing this block or an earlier one failed with; or the pool
                takes no more.  `block` is not queued.
        """
        with self._changed:
            self._raise_failure()
            if not self._is_running and len(block) < THREAD_BYTES:
                self._hash(block)
                self._raise_failure()
                return
            while len(self._blocks) >= self._limit:
                self._changed.wait()
            self._raise_failure()
            if not self._is_running:
                submit_once(self._pool, self._run)
                self._is_running = True
            use.begin()
            self._blocks.append((block, use))

    def join(self) -> None:
        """Wait until all that was queued has been hashed, or let go of.

        Raises:
            Exception: what hashing failed with, unless somebody was told of it already, who
                gives the stream up: that waits here, too.
        """
        with self._changed:
            while self._is_running:
                self._changed.wait()
            if not self._is_told:
                self._raise_failure()

    def _raise_failure(self) -> None:
        if self._failure is not None:
            self._is_told = True
            raise self._failure

    def _run(self) -> None:
        while (entry := self._next()) is not None:
            block, use = entry
            try:
                if self._failure is None:
                    self._hash(block)
            finally:
                self._end(use)

    def _hash(self, block: memoryview) -> None:
        try:
            self._update(block)
        except BaseException as error:
            self._failure = error  # the thread goes on: it has the other blocks to let go of

    def _end(self, use: Use) -> None:
        try:
            use.end()
        except Exception:
            _LOG.exception("the owner of a block failed when told that it is free")

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
