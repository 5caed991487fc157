"""A process that is killed: it writes to a volume, and takes and deletes snapshots of it.

Each writer counts.  Its n-th write puts n into slot n modulo SLOTS of its own part of the
volume.  So the part says of itself whether it is the state of one moment: after n writes
each slot holds the largest number up to n that belongs there, and nothing else.

Standard output is the journal, a line at a time: ``S name a…`` before a snapshot is begun,
with how many writes of each writer were acknowledged, ``D name b…`` when its point in time
is fixed, with how many were begun; ``X name`` before one is deleted, ``Y name`` after.

    python -m tests.crash.snapshot_worker FOLDER INCARNATION
"""

from __future__ import annotations

import itertools
import sys
import threading
from pathlib import Path

from blockdev.block_codec import BLOCK_BYTES
from blockdev.captures import TooManyPendingError
from blockdev.clock import SystemClock
from blockdev.live import LiveVolume
from tests.volumes import open_store, read

WRITERS = 2
SLOTS = 24
SLOT_BYTES = 4096
STRIDE_BYTES = BLOCK_BYTES // 3 // SLOT_BYTES * SLOT_BYTES
PART_BYTES = SLOTS * STRIDE_BYTES
SIZE_BYTES = WRITERS * PART_BYTES
KEPT = 4


def content(number: int) -> bytes:
    """What the `number`-th write puts into its slot."""
    return number.to_bytes(8, "big") * (SLOT_BYTES // 8)


def writes_in(image: bytes, writer: int) -> int:
    """After how many writes a part looks like this.

    Raises:
        AssertionError: after no number of them: it is not the state of one moment.
    """
    at = writer * PART_BYTES
    slots = [
        image[at + slot * STRIDE_BYTES : at + slot * STRIDE_BYTES + SLOT_BYTES]
        for slot in range(SLOTS)
    ]
    numbers = [int.from_bytes(slot[:8], "big") for slot in slots]
    latest = max(numbers)
    for slot, (found, number) in enumerate(zip(slots, numbers, strict=True)):
        assert found == content(number), f"writer {writer}, slot {slot}: torn"
        expected = latest - (latest - slot) % SLOTS
        assert number == max(expected, 0), (
            f"writer {writer}, slot {slot} of {latest} writes: {number}"
        )
    return latest


class Writer(threading.Thread):
    """Writes until the process dies."""

    def __init__(self, volume: LiveVolume, writer: int, done: int) -> None:
        super().__init__(daemon=True)
        self._volume = volume
        self._writer = writer
        self.begun = self.done = done

    def run(self) -> None:
        for number in itertools.count(self.done + 1):
            self.begun = number
            at = self._writer * PART_BYTES + number % SLOTS * STRIDE_BYTES
            self._volume.write(at, content(number), fua=number % 50 == 0)
            self.done = number


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main(folder: Path, incarnation: int) -> None:
    store = open_store(folder)
    store.recover()
    LiveVolume.create(folder / "volume", size_bytes=SIZE_BYTES, volume="vol-1")
    volume = LiveVolume.open(folder / "volume", clock=SystemClock(), store=store)
    image = read(volume, 0, SIZE_BYTES)
    writers = [Writer(volume, number, writes_in(image, number)) for number in range(WRITERS)]
    for writer in writers:
        writer.start()
    for number in itertools.count():
        name = f"snap-{incarnation}-{number}"
        say(f"S {name} {' '.join(str(writer.done) for writer in writers)}")
        try:
            volume.begin_snapshot(name)
        except TooManyPendingError:
            volume.wait_snapshots(0.01)
            continue
        say(f"D {name} {' '.join(str(writer.begun) for writer in writers)}")
        for status in store.statuses()[:-KEPT]:
            say(f"X {status.snapshot_id}")
            store.delete(status.snapshot_id)
            say(f"Y {status.snapshot_id}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
