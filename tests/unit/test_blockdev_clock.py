"""The two clocks."""

from __future__ import annotations

import ctypes
import threading

import pytest

from blockdev.clock import Clock, ManualClock, SystemClock

PR_GET_TIMERSLACK = 30


@pytest.mark.parametrize("clock", [ManualClock(), SystemClock()], ids=["manual", "system"])
def test_sleeping_ends_no_sooner_than_asked(clock: Clock) -> None:
    deadline_ns = clock.monotonic_ns() + 3_000_000
    clock.sleep_until(deadline_ns)
    assert clock.monotonic_ns() >= deadline_ns
    before_ns = clock.monotonic_ns()
    clock.sleep_until(before_ns - 1)
    assert clock.monotonic_ns() >= before_ns


def test_a_manual_clock_moves_only_when_told() -> None:
    clock = ManualClock(start_ns=100)
    assert (clock.now_ns(), clock.monotonic_ns()) == (100, 0)
    clock.advance(5)
    clock.sleep_until(3)
    assert (clock.now_ns(), clock.monotonic_ns()) == (105, 5)
    with pytest.raises(ValueError):
        clock.advance(-1)


def test_a_thread_that_sleeps_is_woken_on_time() -> None:
    """The kernel may delay a thread's timers by its slack, which is 50 µs at first."""
    slacks_ns: list[int] = []

    def work() -> None:
        SystemClock().sleep_until(SystemClock().monotonic_ns() + 1_000)
        slacks_ns.append(ctypes.CDLL(None).prctl(PR_GET_TIMERSLACK, 0, 0, 0, 0))

    worker = threading.Thread(target=work)
    worker.start()
    worker.join()
    assert slacks_ns == [1]
