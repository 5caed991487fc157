"""kill -9 among versions: puts, markers, appends, renames, slices, removals, held versions.

A process of three threads makes and removes versions in three buckets (versioned, suspended,
with object lock), while compaction and checkpoints run all the time, and is killed.  Then

* each key has the versions that were acknowledged, in their order, each with its bytes and
  its hold; or, as a whole, what the one operation under way would leave: of a rename both
  keys or neither;
* the store is whole, and the same, after the index was thrown away and came back.

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
from pathlib import Path
from typing import Any

from objstore import ObjectStore
from objstore.model import DefaultRetention
from tests.crash.kill_worker import CONFIG
from tests.crash.tiny import TINY, assert_clean, forget_checkpoints, forget_index, memory_folder
from tests.crash.version_kill_worker import LOCKED, SUSPENDED, VERSIONED, State, read_all

ROUNDS = max(2, int(os.environ.get("OBJSTORE_KILLS", "50")) // 6)
TIMEOUT_S = 120


class Journal:
    """What was acknowledged of each key, and what each thread was about to do."""

    def __init__(self) -> None:
        self.acknowledged: State = {}
        self.under_way: dict[str, State] = {}
        self.count = self.held = 0
        self.failures: list[str] = []
        self.moved = threading.Condition()

    def note(self, writer: str, kind: str, after: Any) -> None:
        with self.moved:
            if kind == "X":
                self.failures.append(after)
            elif kind == "I":
                self.under_way[writer] = after
            else:
                del self.under_way[writer]
                self.acknowledged |= after
                self.count += 1
                self.held += any(version[2] for has in after.values() for version in has)
            self.moved.notify_all()

    def wait_for(self, more: int) -> None:
        with self.moved:
            wanted = self.count + more
            done = self.moved.wait_for(lambda: self.failures or self.count >= wanted, TIMEOUT_S)
        assert not self.failures, self.failures[0]
        assert done, "the worker acknowledges nothing any more"

    def settle(self, found: State) -> None:
        """Take what was under way for done where it was; fails where it was done in part.

        What was not done may be yet, until the next write: where its batch had reached the
        device, it stands behind the log's end, and a recovery without the index takes it.
        """
        for writer, after in list(self.under_way.items()):
            is_done = [_is(found.get(name, []), versions) for name, versions in after.items()]
            if all(is_done):
                self.acknowledged |= {name: found.get(name, []) for name in after}
                del self.under_way[writer]
        assert found == {name: has for name, has in self.acknowledged.items() if has}


def _is(found: list[Any], wanted: list[Any]) -> bool:
    """Whether these are the versions that an operation was to leave, of which one is new."""
    if len(found) != len(wanted):
        return False
    return all(
        old[1:] == new[1:] and new[0] in ("?", old[0])
        for old, new in zip(found, wanted, strict=True)
    )


def run_and_kill(folder: Path, journal: Journal, dice: random.Random) -> None:
    """A process that is killed in the midst of whatever it does; all it said has been read."""
    journal.under_way.clear()  # its first write is in the place of what was never acknowledged
    command = (sys.executable, "-m", "tests.crash.version_kill_worker")
    process = subprocess.Popen(
        [*command, folder, str(dice.getrandbits(32))],
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    )

    def read() -> None:
        assert process.stdout is not None
        for line in process.stdout:
            if line.endswith(b"\n"):
                journal.note(*json.loads(line))

    reader = threading.Thread(target=read)
    reader.start()
    try:
        journal.wait_for(dice.randrange(20, 150))
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait(TIMEOUT_S)
        reader.join(TIMEOUT_S)
        assert process.stdout is not None
        process.stdout.close()


def verify(folder: Path, journal: Journal) -> None:
    with ObjectStore.open(folder, config=TINY) as store:
        assert_clean(store)
        journal.settle(read_all(store, "t"))


def test_kill_9_among_versions(seed: int) -> None:
    dice = random.Random(seed)
    journal = Journal()
    with memory_folder() as folder:
        with ObjectStore.open(folder, config=CONFIG) as store:
            for bucket in (VERSIONED, SUSPENDED):
                store.create_bucket(bucket)
                store.set_versioning(bucket, "Enabled")
            store.set_versioning(SUSPENDED, "Suspended")
            store.create_bucket(LOCKED, object_lock=True)
            store.set_object_lock(LOCKED, DefaultRetention())
        for _round in range(ROUNDS):
            run_and_kill(folder, journal, dice)
            verify(folder, journal)
            if dice.random() < 0.6:
                forget_index(folder)
                if dice.random() < 0.5:
                    forget_checkpoints(folder)
                verify(folder, journal)
    assert journal.count > ROUNDS * 20
    assert journal.held, "no version was ever held"
