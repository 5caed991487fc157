"""kill -9 in the midst of snapshots, while writes go on.

The worker (`snapshot_worker.py`) journals what it is about to do and what was done.  It is
killed at a random moment, again and again; each new one goes on with what it finds.  In the
end every snapshot that was begun and not deleted is there, each is the state of one moment,
that moment lies between the call and its return, and no block is missing or leaked.

    OBJSTORE_KILLS=1000   more of it
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from blockdev.clock import SystemClock
from blockdev.live import LiveVolume
from tests.crash.snapshot_worker import SIZE_BYTES, WRITERS, writes_in
from tests.volumes import WAIT_S, image_of, open_store, read

KILLS = max(1, int(os.environ.get("OBJSTORE_KILLS", "50")) // 5)


class Journal:
    """What the workers said."""

    def __init__(self) -> None:
        self.asked: dict[str, list[int]] = {}
        self.answered: dict[str, list[int]] = {}
        self.deleting: set[str] = set()
        self.deleted: set[str] = set()

    def read(self, line: str) -> None:
        kind, name, *numbers = line.split()
        if kind == "S":
            self.asked[name] = list(map(int, numbers))
        elif kind == "D":
            self.answered[name] = list(map(int, numbers))
        elif kind == "X":
            self.deleting.add(name)
        elif kind == "Y":
            self.deleted.add(name)


def run_and_kill(folder: Path, incarnation: int, lines: int, delay_s: float) -> list[str]:
    """Start a worker, read so many lines of its journal, kill it, read the rest."""
    arguments = [sys.executable, "-m", "tests.crash.snapshot_worker", str(folder), str(incarnation)]
    complaints = folder / "stderr"
    with (
        complaints.open("wb") as stderr,
        subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=stderr, text=True) as worker,
    ):
        assert worker.stdout is not None
        watchdog = threading.Timer(WAIT_S, worker.kill)  # whatever it is: the test goes on
        watchdog.start()
        said = [worker.stdout.readline() for _ in range(lines)]
        threading.Event().wait(delay_s)
        worker.kill()
        rest = worker.stdout.read()
        watchdog.cancel()
    errors = complaints.read_text()
    assert "Traceback" not in errors, errors
    assert said[-1], errors
    # A kill may have come within the last line.
    return [line for line in "".join([*said, rest]).splitlines(keepends=True) if line[-1] == "\n"]


@pytest.mark.slow
def test_killed_in_the_midst_of_snapshots(tmp_path: Path, seed: int) -> None:
    numbers = random.Random(seed)
    journal = Journal()
    for incarnation in range(KILLS):
        lines = numbers.randrange(1, 30)
        for line in run_and_kill(tmp_path, incarnation, lines, numbers.random() * 0.05):
            journal.read(line)
    assert len(journal.answered) > KILLS // 2
    with open_store(tmp_path) as store:
        store.recover()
        volume = LiveVolume.open(tmp_path / "volume", clock=SystemClock(), store=store)
        assert volume.wait_snapshots(WAIT_S)
        for writer in range(WRITERS):
            writes_in(read(volume, 0, SIZE_BYTES), writer)
        volume.close()
        store.recover()
        states = {status.snapshot_id: status.state for status in store.statuses()}
        for name in journal.answered.keys() - journal.deleting:
            assert states.get(name) == "completed", (name, store.statuses())
        assert not journal.deleted & states.keys()
        for name, state in states.items():
            if state == "completed":
                check_moment(journal, name, image_of(store, name))
            else:
                assert name not in journal.answered, (name, store.status(name))
        assert store.check() == []


def check_moment(journal: Journal, name: str, image: bytes) -> None:
    """The image is of one moment, between the call and its return."""
    for writer in range(WRITERS):
        writes = writes_in(image, writer)
        assert writes >= journal.asked[name][writer]
        if name in journal.answered:
            assert writes <= journal.answered[name][writer]
