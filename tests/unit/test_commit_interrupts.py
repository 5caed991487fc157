"""An interrupt at every line of the commit: whoever waits for it still ends.

KeyboardInterrupt comes to the main thread between any two lines, as far as a caller can tell.
Here a trace function raises it before the n-th line that a writer runs in `commit.py` or
`ticket.py`, for every n that there is, while others write beside it.
"""

from __future__ import annotations

import linecache
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from blockdev import MemoryDevice
from objstore import ObjectStore
from objstore.engine import commit, ticket
from objstore.errors import StoreUnavailableError
from tests.crash.tiny import TINY, assert_clean
from tests.unit.test_commit_chain import Gate

DEADLINE_S = 60
BUCKET = "bucket"
MAX_LINES = 1000
TRACED = {commit.__file__, ticket.__file__}


class Interrupt:
    """Raises KeyboardInterrupt before the `at`-th line; `is_raised`: whether it came to that."""

    def __init__(self, at: int) -> None:
        self._left = at
        self._last: dict[FrameType, int] = {}
        self.is_raised = False

    def trace(self, frame: FrameType, event: str, _: Any) -> Callable[..., Any] | None:
        if frame.f_code.co_filename not in TRACED:
            return None
        if event == "line" and not self._is_end_of_with(frame):
            self._left -= 1
            if self._left == 0:
                self.is_raised = True
                raise KeyboardInterrupt
        return self.trace

    def _is_end_of_with(self, frame: FrameType) -> bool:
        """At the end of its block the line of a `with` comes again, before the lock is let go of.

        The interpreter looks for signals at no such moment: it would keep all locks for ever.
        """
        last = self._last.get(frame, 0)
        self._last[frame] = frame.f_lineno
        text = linecache.getline(frame.f_code.co_filename, frame.f_lineno)
        return text.lstrip().startswith("with ") and last > frame.f_lineno


class Writers:
    """A store, its gate, and what became of each write."""

    def __init__(self, folder: Path) -> None:
        self.gate = Gate(MemoryDevice(TINY.device_bytes))
        self.store = ObjectStore.open(folder, config=TINY, device=self.gate)
        self.store.create_bucket(BUCKET)
        self.threads: list[threading.Thread] = []
        self.outcomes: dict[str, BaseException | None] = {}
        self.told: list[str] = []
        self.is_told = threading.Semaphore(0)

    def put(self, key: str) -> None:
        try:
            self.store.put(BUCKET, key, key.encode())
        except BaseException as error:
            self.outcomes[key] = error
        else:
            self.outcomes[key] = None

    def submit(self, key: str, *, hold: bool = False) -> None:
        def done(_: object, error: BaseException | None) -> None:
            self.outcomes[key] = error
            self.told.append(key)
            self.is_told.release()

        self.store.submit_put(BUCKET, key, key.encode(), done, hold=hold)

    def start(self, action: Callable[[], object]) -> threading.Thread:
        """Do `action` in a thread; returns once it is queued, at the device, or has ended.

        Or after a moment: nothing depends on the order in which they come.
        """
        waiting = self.store._core.committer._queue
        before = (len(waiting), self.gate.reached.is_set())
        thread = threading.Thread(target=action, daemon=True)
        thread.start()
        self.threads.append(thread)
        for _ in range(50):
            if not thread.is_alive() or (len(waiting), self.gate.reached.is_set()) != before:
                break
            thread.join(0.001)
        return thread

    def interrupted(
        self, action: Callable[[], object], at: int
    ) -> tuple[Interrupt, Callable[[], None]]:
        """`action` with an interrupt, for a thread to run."""
        interrupt = Interrupt(at)

        def run() -> None:
            sys.settrace(interrupt.trace)
            try:
                action()
            except KeyboardInterrupt:
                pass
            finally:
                sys.settrace(None)

        return interrupt, run

    def end(self, others: Sequence[str]) -> None:
        """Open the gate: all end, and `others` were written or were told to try again."""
        self.gate.opened.set()
        for thread in self.threads:
            thread.join(DEADLINE_S)
            assert not thread.is_alive(), "a writer waits for ever"
        self.threads.clear()
        for key in others:
            error = self.outcomes[key]
            assert error is None or isinstance(error, StoreUnavailableError), error
            if error is None:
                assert self.store.head(BUCKET, key).size_bytes == len(key)
        self.start(lambda: self.put("after")).join(DEADLINE_S)
        self.threads.clear()
        assert self.outcomes.pop("after") is None, "the store writes no more"

    def close(self) -> None:
        assert_clean(self.store)
        closer = threading.Thread(target=self.store.close, daemon=True)
        closer.start()
        closer.join(DEADLINE_S)
        assert not closer.is_alive()


@pytest.fixture
def writers(tmp_path: Path) -> Iterator[Writers]:
    made = Writers(tmp_path)
    yield made
    made.close()


def rounds(writers: Writers, scenario: Callable[[int], Interrupt]) -> None:
    """The scenario with an interrupt at each line, until there are no more."""
    for at in range(1, MAX_LINES):
        writers.gate.reached.clear()
        writers.gate.opened.clear()
        if not scenario(at).is_raised:
            assert at > 15, "hardly a line was traced"
            return
    raise AssertionError("it never ends")


def test_a_leader_is_interrupted(writers: Writers) -> None:
    """Others queue behind it while it is at the device, if it gets there."""

    def scenario(at: int) -> Interrupt:
        interrupt, run = writers.interrupted(lambda: writers.put("victim"), at)
        writers.start(run)
        others = [f"other-{number}" for number in range(2)]
        for key in others:
            writers.start(lambda key=key: writers.put(key))  # type: ignore[misc]
        writers.submit("submitted")
        writers.end(others)
        assert writers.is_told.acquire(timeout=DEADLINE_S)
        return interrupt

    rounds(writers, scenario)
    assert not writers.is_told.acquire(blocking=False), "a caller was told twice"


@pytest.mark.parametrize("place", range(3))
def test_a_waiting_writer_is_interrupted(writers: Writers, place: int) -> None:
    """One is at the device; of three behind it one is interrupted: before, in or after the wait.

    The first of them is the next leader.
    """

    def scenario(at: int) -> Interrupt:
        writers.start(lambda: writers.put("leader"))
        interrupt, run = writers.interrupted(lambda: writers.put("victim"), at)
        keys = ["leader"]
        for number in range(3):
            if number == place:
                writers.start(run)
                continue
            keys.append(f"other-{number}")
            writers.start(lambda key=keys[-1]: writers.put(key))  # type: ignore[misc]
        writers.end(keys)
        return interrupt

    rounds(writers, scenario)


@pytest.mark.parametrize("is_alone", [False, True])
def test_who_submits_is_interrupted(writers: Writers, is_alone: bool) -> None:
    """What it submitted is committed or not; those behind it are, and are told once."""

    def scenario(at: int) -> Interrupt:
        if not is_alone:
            writers.start(lambda: writers.put("leader"))
        interrupt, run = writers.interrupted(lambda: writers.submit("victim"), at)
        writers.start(run)
        writers.start(lambda: writers.put("other"))
        writers.submit("submitted")
        writers.end(["other"])
        before = writers.told.count("submitted")
        while writers.told.count("submitted") == before and before < at:
            assert writers.is_told.acquire(timeout=DEADLINE_S)
        assert writers.told.count("submitted") == at
        return interrupt

    rounds(writers, scenario)


@pytest.mark.parametrize("how", ["held", "submit", "put"])
def test_who_commits_what_is_held_is_interrupted(writers: Writers, how: str) -> None:
    """The one that holds it, or another that would have to wait for it."""
    actions: dict[str, Callable[[], object]] = {
        "held": writers.store.commit_held,
        "submit": lambda: writers.submit("victim"),
        "put": lambda: writers.put("victim"),
    }

    def scenario(at: int) -> Interrupt:
        for number in range(3):
            writers.submit(f"held-{number}", hold=True)
        interrupt, run = writers.interrupted(actions[how], at)
        writers.start(run)
        writers.start(lambda: writers.put("other"))
        writers.end(["other"])
        for number in range(3):
            while writers.told.count(f"held-{number}") < at:
                assert writers.is_told.acquire(timeout=DEADLINE_S)
        return interrupt

    rounds(writers, scenario)
    assert {writers.told.count(f"held-{number}") for number in range(3)} == {
        writers.told.count("held-0")
    }


STORM = """
import faulthandler, signal, sys, threading
from objstore import ObjectStore
from objstore.errors import StoreUnavailableError

faulthandler.dump_traceback_later(60, exit=True)
store = ObjectStore.open(sys.argv[1])
store.create_bucket("bucket")
is_exposed = False
written = []

def strike(*_):
    if is_exposed:
        raise KeyboardInterrupt

def put(number):
    for count in range(300):
        try:
            store.put("bucket", f"{number}-{count}", b"x")
        except StoreUnavailableError:
            continue
        written.append(f"{number}-{count}")

signal.signal(signal.SIGALRM, strike)
threads = [threading.Thread(target=put, args=(number,), daemon=True) for number in range(3)]
for thread in threads:
    thread.start()
struck = 0
signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
while any(thread.is_alive() for thread in threads) or struck < 50:
    try:
        is_exposed = True
        store.put("bucket", "exposed", b"x")
        is_exposed = False
    except (KeyboardInterrupt, StoreUnavailableError) as error:
        is_exposed = False
        struck += isinstance(error, KeyboardInterrupt)
signal.setitimer(signal.ITIMER_REAL, 0)
store.put("bucket", "after", b"x")
for key in written:
    store.head("bucket", key)
assert store.check() == []
store.close()
print("whole")
"""


def test_a_storm_of_signals_in_the_main_thread(tmp_path: Path) -> None:
    """Real ones, which also come while an earlier one is being dealt with."""
    # Unmeasured: a KeyboardInterrupt within coverage's own lock leaves it locked for good.
    plain = {name: value for name, value in os.environ.items() if "COVERAGE" not in name}
    done = subprocess.run(
        [sys.executable, "-c", STORM, str(tmp_path)],
        env=plain,
        capture_output=True,
        text=True,
        timeout=2 * DEADLINE_S,
        check=False,
    )
    assert done.stdout == "whole\n", done.stderr
