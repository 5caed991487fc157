"""A system that has no process to give: the supervisor goes on and hears its signals."""

from __future__ import annotations

import errno
import os
import signal
import socket
from collections.abc import Callable, Iterator

import pytest

from blockdev.clock import ManualClock
from objstore.asgi.workers import Supervisor
from objstore.config import FIRST_BACKOFF_NS

STOP_SIGNALS = {signal.SIGINT, signal.SIGTERM}


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def supervisor(clock: ManualClock) -> Iterator[Supervisor]:
    with socket.socket() as listener:
        yield Supervisor(listener, 1, lambda *_: 0, clock=clock, grace_s=1.0, on_ready=lambda: None)


def refuse(error: BaseException) -> Callable[..., int]:
    def call(*_: object) -> int:
        raise error

    return call


def held_back() -> set[signal.Signals]:
    return STOP_SIGNALS & signal.pthread_sigmask(signal.SIG_BLOCK, ())


@pytest.mark.parametrize("what", ["fork", "socketpair"])
def test_a_worker_that_cannot_be_started_is_tried_again_later(
    supervisor: Supervisor, clock: ManualClock, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    before = set(os.listdir("/proc/self/fd"))
    refusal = refuse(OSError(errno.EAGAIN, "no more"))
    monkeypatch.setattr(os if what == "fork" else socket, what, refusal)
    delays_ns = []
    for _ in range(3):
        supervisor._start(0)
        due_ns = supervisor._restart_ns[0]
        assert due_ns is not None
        delays_ns.append(due_ns - clock.monotonic_ns())
        assert not held_back()
    assert delays_ns == [0, FIRST_BACKOFF_NS, 2 * FIRST_BACKOFF_NS]
    assert supervisor._workers == [None]
    assert set(os.listdir("/proc/self/fd")) == before


def test_what_else_fork_may_raise_leaves_the_signals_as_they_were(
    supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fork", refuse(MemoryError()))
    with pytest.raises(MemoryError):
        supervisor._start(0)
    assert not held_back()
