"""kill -9 under load: two processes of three threads each write into one store, and die.

The driver reads what each worker journals: what it is about to do, and what it was told
is done.  It kills one of them, or both at once, in the midst of whatever they do, checks
the whole store while the other goes on, and looks at what the dead one left:

* a key holds what was acknowledged last, or what its one operation under way would leave;
* an operation under way on several keys happened to all of them or to none;
* nothing is visible that nobody asked for, and every content is whole.

Compaction, checkpoints and the giving back of space run meanwhile, all the time.  After
some rounds in which all have died the index is thrown away, too.

    OBJSTORE_KILLS=1000   more of it
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from objstore import ObjectStore
from tests.crash.kill_worker import BUCKET, read_all
from tests.crash.tiny import TINY, assert_clean, forget_index, memory_folder

KILLS = int(os.environ.get("OBJSTORE_KILLS", "50"))
WORKERS = 2

Change = dict[str, int | None]


class Journal:
    """What the workers said, and so what the store must and may hold."""

    def __init__(self) -> None:
        self.acknowledged: dict[str, int] = {}
        self.under_way: dict[str, Change] = {}
        self.wanted: dict[str, set[int]] = {}
        self.acknowledgements = 0
        self.refusals = 0
        self.failures: list[str] = []
        self.moved = threading.Condition()

    def read(self, line: str) -> None:
        kind, _, rest = line.partition(" ")
        with self.moved:
            if kind == "X":
                self.failures.append(rest.replace("\t", "\n"))
            elif kind in ("I", "A", "R"):
                writer, *changes = rest.split()
                self._note(kind, writer, [change.rpartition("=") for change in changes])
            self.moved.notify_all()

    def _note(self, kind: str, writer: str, changes: list[tuple[str, str, str]]) -> None:
        change = {key: None if value == "-" else int(value) for key, _, value in changes}
        if kind == "I":
            self.under_way[writer] = change
            for key, value in change.items():
                if value is not None:
                    self.wanted.setdefault(key, set()).add(value)
            return
        del self.under_way[writer]
        if kind == "R":
            self.refusals += 1
            return
        self.acknowledgements += 1
        self.settle(change)

    def settle(self, change: Change) -> None:
        for key, value in change.items():
            if value is None:
                self.acknowledged.pop(key, None)
            else:
                self.acknowledged[key] = value

    def unwanted(self, found: dict[str, int]) -> dict[str, int]:
        """What the store holds that nobody has asked for."""
        return {
            key: content
            for key, content in found.items()
            if content not in self.wanted.get(key, set())
        }

    def wait_for(self, acknowledgements: int) -> None:
        """Until there are so many; the workers stall only if they hang."""
        with self.moved:
            done = self.moved.wait_for(
                lambda: self.failures or self.acknowledgements >= acknowledgements, timeout=120
            )
            assert not self.failures, self.failures[0]
            assert done, "the workers acknowledge nothing any more"


class Worker:
    """A process that is started again and again."""

    def __init__(self, folder: Path, name: str, journal: Journal, rng: random.Random) -> None:
        self.folder, self.name, self.journal, self.rng = folder, name, journal, rng
        self.start()

    incarnations = 0

    def start(self) -> None:
        Worker.incarnations += 1
        arguments = (self.folder, self.name, Worker.incarnations, self.rng.getrandbits(32))
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.crash.kill_worker", *map(str, arguments)],
            stdout=subprocess.PIPE,
        )
        self.reader = threading.Thread(target=self._read)
        self.reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.endswith(b"\n"):
                self.journal.read(line.decode().rstrip("\n"))

    def kill(self) -> None:
        """kill -9; on return all that it had said has been read."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.reader.join()
        assert self.process.stdout is not None
        self.process.stdout.close()


@contextmanager
def opened(folder: Path) -> Iterator[ObjectStore]:
    with ObjectStore.open(folder, config=TINY) as store:
        yield store


def verify(folder: Path, journal: Journal, dead: list[Worker]) -> None:
    """The whole store is clean, and the dead workers' keys are what they may be."""
    with opened(folder) as store:
        assert_clean(store)
        found = read_all(store)
    with journal.moved:
        # What a living worker has just announced may not have been read yet.
        journal.moved.wait_for(lambda: not journal.unwanted(found), timeout=60)
        assert not journal.unwanted(found), "nobody has put that there"
        for worker in dead:
            settle_dead(worker, found, journal)
            prefix = f"own/{worker.name}."
            left = {key: value for key, value in found.items() if key.startswith(prefix)}
            known = journal.acknowledged.items()
            assert left == {key: value for key, value in known if key.startswith(prefix)}
        for key in journal.acknowledged:
            assert key in found or key.startswith("own/"), f"{key} is lost"


def settle_dead(worker: Worker, found: dict[str, int], journal: Journal) -> None:
    """What was under way happened wholly or not at all; which of the two is known now."""
    for writer in [name for name in journal.under_way if name.startswith(f"{worker.name}.")]:
        change = journal.under_way.pop(writer)
        if any(key.startswith("shared/") for key in change):
            continue
        if all(found.get(key) == value for key, value in change.items()):
            journal.settle(change)


def test_kill_9_loses_nothing(seed: int) -> None:
    rng = random.Random(seed)
    journal = Journal()
    killed = 0
    with memory_folder() as folder:
        with opened(folder) as store:
            store.create_bucket(BUCKET)
        workers = [Worker(folder, f"w{number}", journal, rng) for number in range(WORKERS)]
        try:
            while killed < KILLS:
                journal.wait_for(journal.acknowledgements + rng.randrange(10, 150))
                dead = workers if rng.random() < 0.3 else [rng.choice(workers)]
                for worker in dead:
                    worker.kill()
                killed += len(dead)
                if len(dead) == WORKERS and rng.random() < 0.5:
                    forget_index(folder)
                verify(folder, journal, dead)
                for worker in dead:
                    worker.start()
        finally:
            for worker in workers:
                if worker.process.poll() is None:
                    worker.kill()
        verify(folder, journal, workers)
    print(f"{killed} kills, {journal.acknowledgements} acknowledged, {journal.refusals} refused")
    assert journal.acknowledgements > killed * 10
