"""HashQueue and Use: order, bounds, and when a block may be used again."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from blockdev import Buffer
from objstore.engine.hash_queue import THREAD_BYTES, HashQueue, Use
from objstore.engine.pool import submit_once

DEADLINE_S = 30.0


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as executor:
        yield executor


def test_blocks_of_all_sizes_are_hashed_in_order(pool: ThreadPoolExecutor, seed: int) -> None:
    md5, expected = hashlib.md5(), hashlib.md5()
    queue = HashQueue(pool, md5.update, 3)
    for number in range(200):
        size_bytes = THREAD_BYTES + number if (number * seed) % 3 else number
        block = number.to_bytes(2, "little") * size_bytes
        expected.update(block)
        queue.put(memoryview(block), Use(None))
    queue.join()
    assert md5.digest() == expected.digest()


def test_a_block_is_free_when_its_last_user_has_ended() -> None:
    ended: list[str] = []
    use = Use(lambda: ended.append("done"))
    use.begin()
    use.begin()
    use.end()
    use.end()
    assert not ended
    use.end()
    assert ended == ["done"]


def test_a_block_is_in_use_until_it_is_hashed_and_only_so_many_wait(
    pool: ThreadPoolExecutor,
) -> None:
    go_on, is_full, freed = threading.Event(), threading.Event(), threading.Semaphore(0)

    def update(_block: Buffer) -> None:
        assert go_on.wait(DEADLINE_S)

    queue = HashQueue(pool, update, 2)

    def fill() -> None:
        for number in range(4):  # one is being hashed, two wait
            if number == 3:
                is_full.set()
            use = Use(freed.release)
            queue.put(memoryview(bytes(THREAD_BYTES)), use)
            use.end()

    filler = threading.Thread(target=fill)
    filler.start()
    assert is_full.wait(DEADLINE_S)
    assert not freed.acquire(blocking=False)
    go_on.set()
    filler.join(DEADLINE_S)
    assert not filler.is_alive()
    queue.join()
    assert all(freed.acquire(timeout=DEADLINE_S) for _ in range(4))
    assert not freed.acquire(blocking=False)


class Breaks:
    """A hasher that has no memory left for the blocks after the first `works`."""

    def __init__(self, works: int) -> None:
        self.works = works
        self.go_on = threading.Event()
        self.hashed = 0

    def __call__(self, block: Buffer) -> None:
        assert self.go_on.wait(DEADLINE_S)
        if self.hashed == self.works:
            raise MemoryError
        self.hashed += 1


def ended_in_time(call: Callable[[], object]) -> None:
    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    thread.join(DEADLINE_S)
    assert not thread.is_alive()


@pytest.mark.parametrize("works", range(4))
def test_a_hasher_that_fails_lets_all_blocks_go_and_keeps_nobody_waiting(
    pool: ThreadPoolExecutor, works: int
) -> None:
    freed = threading.Semaphore(0)
    update = Breaks(works)
    queue = HashQueue(pool, update, 2)
    put = 0
    failures = []

    def put_one() -> None:
        nonlocal put
        use = Use(freed.release)
        put += 1
        try:
            queue.put(memoryview(bytes(THREAD_BYTES)), use)
        finally:
            use.end()

    def fill() -> None:
        """As a stream does: on until something fails, then give up."""
        try:
            for _ in range(3):  # one is being hashed, two wait
                put_one()
            update.go_on.set()
            put_one()
            queue.join()
        except MemoryError as error:
            failures.append(error)
        queue.join()

    ended_in_time(fill)
    assert len(failures) == 1
    assert update.hashed == works
    assert all(freed.acquire(timeout=DEADLINE_S) for _ in range(put))
    assert not freed.acquire(blocking=False)
    with pytest.raises(MemoryError):
        queue.put(memoryview(bytes(1)), Use(None))


def test_a_small_block_that_cannot_be_hashed(pool: ThreadPoolExecutor) -> None:
    update = Breaks(0)
    update.go_on.set()
    queue = HashQueue(pool, update, 2)
    for _ in range(2):
        with pytest.raises(MemoryError):
            queue.put(memoryview(b"small"), Use(None))


class NoThread(ThreadPoolExecutor):
    """A pool that queues a call and then has no thread for it."""

    has_thread = False

    def submit(self, call: Any, /, *arguments: Any, **named: Any) -> Future[Any]:
        future = super().submit(call, *arguments, **named)
        if not self.has_thread:
            raise RuntimeError("can't start new thread")
        return future


def test_a_pool_without_a_thread_neither_blocks_nor_hashes_twice() -> None:
    """What was refused may be found in the pool's queue later on: it must not run then."""
    release = threading.Event()
    md5 = hashlib.md5()
    with NoThread(1) as pool:
        pool.has_thread = True
        pool.submit(release.wait, DEADLINE_S)
        pool.has_thread = False
        queue = HashQueue(pool, md5.update, 2)
        use = Use(None)
        with pytest.raises(RuntimeError, match="new thread"):
            queue.put(memoryview(bytes(THREAD_BYTES)), use)
        queue.join()
        pool.has_thread = True
        queue.put(memoryview(b"1" * THREAD_BYTES), Use(None))
        release.set()
        queue.join()
    assert md5.digest() == hashlib.md5(b"1" * THREAD_BYTES).digest()


def test_a_call_is_run_once_or_not_at_all() -> None:
    """Without a thread it raises, unless another thread of the pool was there first."""
    ran: list[str] = []
    with ThreadPoolExecutor(1) as pool:

        class Late(NoThread):
            def submit(self, call: Any, /, *arguments: Any, **named: Any) -> Future[Any]:
                pool.submit(call).result(DEADLINE_S)
                raise RuntimeError("can't start new thread")

        submit_once(Late(1), lambda: ran.append("late"))
        submit_once(pool, lambda: ran.append("as usual"))
    assert ran == ["late", "as usual"]
    with pytest.raises(RuntimeError):
        submit_once(pool, lambda: ran.append("closed"))
    assert ran == ["late", "as usual"]
