"""kill -9 among writers on one key: one order of all calls explains what everybody was told.

Two processes write, read and delete one key, with conditions and without.  First the one is
killed, then, after some more calls, the other; sometimes the index is thrown away as well.
What was under way then has happened or has not: the checker may choose.  What was answered
has happened, also for whoever looks afterwards, and each write made one version.

    OBJSTORE_KILLS=1000   more of it
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from objstore import ObjectStore
from objstore.errors import NoSuchKeyError
from tests.crash.kill_worker import CONFIG
from tests.crash.tiny import assert_clean, forget_index, memory_folder
from tests.linearizability import UNKNOWN, Call, State, is_linearizable
from tests.simulation.history_worker import KEY, etag_of, now

BUCKET = "bucket"
ROUNDS = max(1, int(os.environ.get("OBJSTORE_KILLS", "50")) // 10)
TIMEOUT_S = 120


class Victim:
    """A process whose calls are read as it makes them."""

    def __init__(self, folder: Path, name: str, seed: int) -> None:
        self._begun: dict[int, list[Any]] = {}
        self._done: dict[int, list[Any]] = {}
        self._moved = threading.Condition()
        command = (sys.executable, "-m", "tests.crash.history_kill_worker")
        self._process = subprocess.Popen(
            [*command, folder, BUCKET, name, str(seed)],
            stdout=subprocess.PIPE,
            cwd=Path(__file__).parents[2],
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if not line.endswith(b"\n"):
                break  # cut short by the kill
            number, *said = json.loads(line)
            with self._moved:
                (self._done if number in self._begun else self._begun)[number] = said
                self._moved.notify_all()

    def wait_for(self, more: int) -> None:
        """Until it has made so many more calls."""
        with self._moved:
            wanted = len(self._done) + more
            is_moving = self._moved.wait_for(lambda: len(self._done) >= wanted, TIMEOUT_S)
        assert is_moving, "the worker makes no more calls"

    def kill(self) -> None:
        """kill -9; on return all that it had said has been read."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGKILL)
        self._process.wait(TIMEOUT_S)
        self._reader.join(TIMEOUT_S)
        assert self._process.stdout is not None
        self._process.stdout.close()

    def calls(self) -> list[Call]:
        """What it has done; what it was killed at has no result and no end."""
        calls = []
        for number, (kind, argument, expected, began) in self._begun.items():
            if number in self._done:
                result, ended = self._done[number]
                calls.append(Call(kind, argument, expected, result, began, ended))
            else:
                calls.append(Call(kind, argument, expected, UNKNOWN, began))
        return calls


def look(store: ObjectStore) -> State:
    """What the key holds: its ETag, which is that of its bytes."""
    try:
        with store.get(BUCKET, KEY) as reader:
            etag: str = reader.info.etag
            assert etag_of(reader.read()) == etag
            return etag
    except NoSuchKeyError:
        return None


def a_round(folder: Path, name: str, dice: random.Random) -> list[Call]:
    """The calls of two processes until both are dead."""
    victims = [Victim(folder, f"{name}.{n}", dice.getrandbits(32)) for n in range(2)]
    try:
        victims[0].wait_for(dice.randrange(5, 40))
        victims[1].wait_for(1)
        victims[0].kill()
        victims[1].wait_for(dice.randrange(1, 20))
    finally:
        for victim in victims:
            victim.kill()
    return [call for victim in victims for call in victim.calls()]


def successes(calls: Sequence[Call]) -> int:
    """How many writes were answered as done."""
    return sum(call.kind != "get" and call.result == "ok" for call in calls)


def interrupted(calls: Sequence[Call]) -> int:
    """How many writes were under way at a kill."""
    return sum(call.kind != "get" and call.result is UNKNOWN for call in calls)


@pytest.mark.parametrize("status", ["", "Enabled"])
def test_kills_among_writers(seed: int, status: str) -> None:
    dice = random.Random(seed)
    history: list[Call] = []
    with memory_folder() as folder:
        with ObjectStore.open(folder, config=CONFIG) as store:
            store.create_bucket(BUCKET)
            if status:
                store.set_versioning(BUCKET, status)
        state: State = None
        for number in range(ROUNDS):
            calls = a_round(folder, f"r{number}", dice)
            if dice.random() < 0.4:
                forget_index(folder)
            with ObjectStore.open(folder, config=CONFIG) as store:
                began = now()
                found = look(store)
                assert_clean(store)
                page = store.list_versions(BUCKET, limit=10**6)
                assert page.next_key is None
            calls.append(Call("get", result=found, began=began, ended=now()))
            assert is_linearizable(calls, state), f"round {number}"
            state = found
            history += calls
            if status:
                least = successes(history)
                assert least <= len(page.entries) <= least + interrupted(history)
    assert successes(history) > ROUNDS, "next to nothing was written"
