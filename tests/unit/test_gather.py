"""When the event loop commits itself, and when it leaves that to the thread."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from blockdev.clock import ManualClock
from objstore.asgi.gather import Gather
from objstore.asgi.strand import Completions
from objstore.config import (
    LONG_COMMIT_NS,
    MAX_SLOW_PAUSE_NS,
    SLOW_COMMIT_NS,
    SLOW_PAUSE_NS,
)

Done = Callable[[Any, BaseException | None], None]
FAST_NS = SLOW_COMMIT_NS // 10
SLOW_NS = 2 * SLOW_COMMIT_NS


class Device:
    """A store whose commits take as long as `commit_ns` says, by its own clock."""

    is_being_written = False

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.commit_ns = FAST_NS
        self.held: list[Done] = []
        self.holds: list[bool] = []

    def submit(self, done: Done, hold: bool) -> None:
        self.holds.append(hold)
        if hold:
            self.held.append(done)
        else:
            done(None, None)

    def take_along(self) -> None:
        """Another writer commits what is held."""
        held, self.held = self.held, []
        for done in held:
            done(None, None)

    def commit_held(self) -> None:
        self.clock.advance(self.commit_ns)
        self.take_along()


class Puts:
    """Puts one at a time, and tells which of them the loop committed."""

    def __init__(self, device: Device) -> None:
        self.device = device
        self.gather = Gather(device, Completions(asyncio.get_running_loop()))

    async def put(self, commit_ns: int) -> bool:
        """A put whose commit takes so long, and whether the loop made it."""
        self.device.commit_ns = commit_ns
        await self.gather.run(self.device.submit)
        return self.device.holds[-1]

    async def pause_ns(self) -> int:
        """How long the loop leaves commits alone from now on; a trial is due after that."""
        begun_ns = self.device.clock.monotonic_ns()
        step_ns = SLOW_PAUSE_NS // 4
        while self.device.clock.monotonic_ns() < self.gather._holds_after_ns:
            assert not await self.put(0)
            self.device.clock.advance(step_ns)
        return self.device.clock.monotonic_ns() - begun_ns


def run(test: Callable[[Puts], Any]) -> None:
    async def start() -> None:
        await test(Puts(Device()))

    asyncio.run(start())


def test_one_commit_that_had_to_wait_says_little() -> None:
    async def test(puts: Puts) -> None:
        for _ in range(50):
            assert await puts.put(SLOW_NS * 5)
            for _ in range(10):
                assert await puts.put(FAST_NS)

    run(test)


def test_commit_after_commit_that_is_slow_makes_a_pause() -> None:
    async def test(puts: Puts) -> None:
        assert [await puts.put(SLOW_NS * 5) for _ in range(9)] == [True] * 7 + [False] * 2
        assert await puts.pause_ns() == SLOW_PAUSE_NS

    run(test)


def test_one_long_commit_makes_a_pause() -> None:
    async def test(puts: Puts) -> None:
        assert await puts.put(LONG_COMMIT_NS)
        assert await puts.put(LONG_COMMIT_NS + 1)
        assert not await puts.put(FAST_NS)

    run(test)


def test_pauses_double_while_trials_fail_and_are_short_again_after_one_that_does_not() -> None:
    async def test(puts: Puts) -> None:
        pauses_ns: list[int] = []
        for _ in range(9):  # one slow commit each time, though it is no long one
            commit_ns = SLOW_NS if pauses_ns else LONG_COMMIT_NS + 1
            assert await puts.put(commit_ns)
            pauses_ns.append(await puts.pause_ns())
        assert pauses_ns[:6] == [SLOW_PAUSE_NS << number for number in range(6)]
        assert pauses_ns[-2:] == [MAX_SLOW_PAUSE_NS] * 2
        assert await puts.put(FAST_NS)
        assert await puts.put(LONG_COMMIT_NS + 1)
        assert await puts.pause_ns() == SLOW_PAUSE_NS

    run(test)


def test_a_device_of_slow_commits_costs_the_loop_little() -> None:
    """Of 100 ms a commit, as on a busy disk: seven of them a second once held up all reads."""

    async def test(puts: Puts) -> None:
        clock = puts.device.clock
        blocked_ns = 0
        begun_ns = clock.monotonic_ns()
        while clock.monotonic_ns() - begun_ns < 600 * 10**9:
            blocked_ns += 100_000_000 * await puts.put(100_000_000)
            clock.advance(100_000_000)
        assert blocked_ns <= 20 * 100_000_000

    run(test)


def test_what_others_have_committed_says_nothing_of_the_device() -> None:
    async def test(puts: Puts) -> None:
        assert await puts.put(LONG_COMMIT_NS + 1)
        await puts.pause_ns()
        average_ns = puts.gather._commit_ns
        task = asyncio.ensure_future(puts.gather.run(puts.device.submit))
        await asyncio.sleep(0)
        puts.device.commit_ns = 0
        puts.device.take_along()
        await task
        await asyncio.sleep(0.01)
        assert puts.gather._commit_ns == average_ns
        assert await puts.put(SLOW_NS)
        assert await puts.pause_ns() == 2 * SLOW_PAUSE_NS

    run(test)
