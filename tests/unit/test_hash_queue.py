"""HashQueue and Use: order, bounds, and when a block may be used again."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from blockdev import Buffer
from objstore.engine.hash_queue import THREAD_BYTES, HashQueue, Use

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
