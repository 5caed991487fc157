"""Who may do what while others share the store: locks, pins, waiting callers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from blockdev import MemoryDevice
from blockdev.filters import Passthrough
from objstore import ObjectReader, ObjectStore
from objstore.engine.sharing import Slots, SoleLock
from objstore.errors import StoreError
from objstore.model import ObjectInfo
from tests.crash.tiny import TINY, assert_clean, forget_index, open_tiny, pattern


def test_maintenance_is_for_one_thread_of_one_process(tmp_path: Path) -> None:
    mine, other = SoleLock(tmp_path / "lock"), SoleLock(tmp_path / "lock")
    assert mine.try_exclusive()
    assert not mine.try_exclusive(), "a second thread of this process got in"
    assert not other.try_exclusive(), "another process got in"
    mine.release()
    assert other.try_exclusive()
    assert not mine.try_exclusive()
    other.release()
    assert mine.try_exclusive()
    mine.release()
    mine.close()
    other.close()


class StallingDevice(Passthrough):
    """Holds a discard up until it is let go."""

    def __init__(self) -> None:
        super().__init__(MemoryDevice(TINY.device_bytes))
        self.is_stalling = False
        self.reached, self.go_on = threading.Event(), threading.Event()

    def discard(self, offset_bytes: int, length_bytes: int) -> None:
        if self.is_stalling:
            self.is_stalling = False
            self.reached.set()
            self.go_on.wait()
        super().discard(offset_bytes, length_bytes)


def test_a_slow_discard_does_not_hit_what_was_written_there_since(tmp_path: Path) -> None:
    """Two rounds of giving space back at once: the later discard would come too late."""
    device = StallingDevice()
    with open_tiny(tmp_path, device) as store:
        store.put("bucket", "old", pattern(1, 100_000))
        store.delete("bucket", "old")
        device.is_stalling = True
        slow = threading.Thread(target=store.maintain)
        slow.start()
        device.reached.wait()
        store.maintain()
        for number in range(8):
            store.put("bucket", f"new-{number}", pattern(number, 100_000))
        device.go_on.set()
        slow.join()
        for number in range(8):
            with store.get("bucket", f"new-{number}") as reader:
                assert reader.read() == pattern(number, 100_000)
        assert_clean(store)


def test_a_reader_that_comes_while_space_is_given_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The object is deleted after its reader began; its bytes stay until the reader is done.

    The worst moment to begin: just after the pins were looked at.
    """
    with open_tiny(tmp_path, MemoryDevice(TINY.device_bytes)) as store:
        body = pattern(1, 300_000)
        store.put("bucket", "key", body)
        readers: list[ObjectReader] = []
        look = Slots.oldest_pin
        deleter = threading.Thread(target=store.delete, args=("bucket", "key"))

        def look_then_read(slots: Slots) -> int:
            oldest = look(slots)
            if not readers:
                readers.append(store.get("bucket", "key"))
                deleter.start()
                # Under the write lock the deletion has to wait; without, it takes place now.
                deleter.join(0.2)
            return oldest

        monkeypatch.setattr(Slots, "oldest_pin", look_then_read)
        store.maintain()
        monkeypatch.undo()
        deleter.join()
        with readers[0] as reader:
            assert reader.read() == body


def test_a_callback_that_fails_keeps_nobody_waiting(tmp_path: Path) -> None:
    with open_tiny(tmp_path, MemoryDevice(TINY.device_bytes)) as store:
        store.create_bucket("bucket")
        told: list[str] = []
        all_told = threading.Event()

        def fails(info: ObjectInfo | None, error: BaseException | None) -> None:
            raise RuntimeError("a defect of the caller")

        def works(info: ObjectInfo | None, error: BaseException | None) -> None:
            told.append(info.key if info is not None else repr(error))
            if len(told) == 4:
                all_told.set()

        for number in range(4):
            store.submit_put("bucket", f"fails-{number}", b"body", fails)
            store.submit_put("bucket", f"works-{number}", b"body", works)
        assert all_told.wait(30)
        assert told == [f"works-{number}" for number in range(4)]
        store.put("bucket", "after", b"body")


def test_the_same_folder_twice_in_a_process(tmp_path: Path) -> None:
    with ObjectStore.open(tmp_path, config=TINY) as store:
        store.put("bucket", "key", b"body")
        with pytest.raises(StoreError, match="already open in this process"):
            ObjectStore.open(tmp_path, config=TINY)
        assert store.get("bucket", "key").read() == b"body"
        store.put("bucket", "key", b"body, too")
    with ObjectStore.open(tmp_path, config=TINY) as store:
        assert store.get("bucket", "key").read() == b"body, too"
        assert_clean(store)


def test_two_folders_in_a_process(tmp_path: Path) -> None:
    with (
        ObjectStore.open(tmp_path / "one", config=TINY) as one,
        ObjectStore.open(tmp_path / "two", config=TINY) as two,
    ):
        for store, body in ((one, b"one"), (two, b"two")):
            store.put("bucket", "key", body * 10_000)
        for store, body in ((one, b"one"), (two, b"two")):
            assert store.get("bucket", "key").read() == body * 10_000
            assert_clean(store)


def test_a_reader_outlives_its_store(tmp_path: Path) -> None:
    """Closing in the wrong order is no reason for an exception from the reader's close."""
    store = open_tiny(tmp_path, MemoryDevice(TINY.device_bytes))
    store.put("bucket", "key", pattern(1, 300_000))
    reader = store.get("bucket", "key")
    store.close()
    reader.close()


def test_pins_hold_back_only_what_was_freed_later(tmp_path: Path) -> None:
    with open_tiny(tmp_path, MemoryDevice(TINY.device_bytes)) as store:
        store.put("bucket", "before", pattern(1, 300_000))
        store.put("bucket", "after", pattern(2, 300_000))
        store.delete("bucket", "before")
        with store.get("bucket", "after") as reader:
            assert store.maintain().released_segments
            store.delete("bucket", "after")
            assert not store.maintain().released_segments
            assert reader.read() == pattern(2, 300_000)
        assert store.maintain().released_segments


def test_a_segment_that_fell_free_twice_waits_for_the_last_reader(tmp_path: Path) -> None:
    """Within one lease: free after the first object, in use again, read, and free again."""
    with open_tiny(tmp_path, MemoryDevice(TINY.device_bytes)) as store:
        store.put("bucket", "first", pattern(1, 30_000))
        store.delete("bucket", "first")
        store.put("bucket", "second", pattern(2, 30_000))
        reader = store.get("bucket", "second")
        for number in range(4):  # fills the segment, so that its lease ends
            store.put("bucket", f"filler-{number}", pattern(3 + number, 30_000))
        store.delete_many("bucket", ["second", *(f"filler-{number}" for number in range(4))])
        store.maintain()
        assert reader.read() == pattern(2, 30_000)
        reader.close()


KILLED_AFTER_THE_WRITE = """
import os, signal, sys
from blockdev import FileDevice
from objstore import ObjectStore
from tests.crash.tiny import TINY, pattern

write = FileDevice.write

def deadly(device, offset_bytes, data, *, fua=False):
    write(device, offset_bytes, data, fua=fua)
    if fua:
        os.kill(os.getpid(), signal.SIGKILL)

store = ObjectStore.open(sys.argv[1], config=TINY)
FileDevice.write = deadly
store.put("bucket", "key", pattern(2, 30_000))
"""


def test_space_of_the_dead_is_not_used_while_their_last_batch_may_count(tmp_path: Path) -> None:
    """It was written, but not indexed; after a power loss it counts, bytes and all."""
    with ObjectStore.open(tmp_path, config=TINY) as store:
        store.put("bucket", "key", pattern(1, 30_000))
    done = subprocess.run([sys.executable, "-c", KILLED_AFTER_THE_WRITE, str(tmp_path)])
    assert done.returncode == -signal.SIGKILL
    with ObjectStore.open(tmp_path, config=TINY) as store:
        for _ in range(3):
            store.maintain()
        with store.open_put("bucket", "other") as stream:
            for _ in range(20):
                stream.write(bytes(30_000))
    forget_index(tmp_path)
    with ObjectStore.open(tmp_path, config=TINY) as store:
        assert_clean(store)
        with store.get("bucket", "key") as reader:
            assert reader.read() in (pattern(1, 30_000), pattern(2, 30_000))


def test_writing_is_seen_by_others_and_forgotten_with_the_process(tmp_path: Path) -> None:
    path = tmp_path / "slots"
    mine = Slots(path)
    program = (
        "import os, sys; from pathlib import Path; from objstore.engine.sharing import Slots;"
        "slots = Slots(Path(sys.argv[1])); slots.note_writing(True);"
        "print(slots.slot, flush=True); sys.stdin.read(1); os._exit(9)"
    )
    assert not mine.is_written()
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdin is not None
    assert process.stdout is not None
    assert int(process.stdout.readline()) != mine.slot
    mine.forget_dead_writers()
    assert mine.is_written(), "it lives"
    process.stdin.close()
    assert process.wait(60) == 9
    process.stdout.close()
    assert mine.is_written(), "nobody has looked yet"
    mine.forget_dead_writers()
    assert not mine.is_written()
    mine.close()


def test_a_forked_child_changes_nothing_of_its_parents_slot(tmp_path: Path) -> None:
    """It has inherited a store that its parent goes on with."""
    slots = Slots(tmp_path / "slots")
    slots.pin(7)
    slots.note_writing(True)
    child = os.fork()
    if child == 0:
        slots.unpin(7)
        slots.note_writing(False)
        os._exit(0)
    assert os.waitpid(child, 0) == (child, 0)
    assert slots.is_written()
    assert slots.oldest_pin() == 7
    slots.unpin(7)
    slots.close()


STAMPS = """
import sys
from pathlib import Path
from objstore.engine.sharing import Slots

slots = Slots(Path(sys.argv[1]))
low, high = 1, 2**56 + 2**40 + 2**24 + 2**8
slots.pin(high)
print(slots.slot, flush=True)
while not sys.stdin.closed:
    for _ in range(2000):
        slots.pin(low)
        slots.unpin(low)
    print("more", flush=True)
    if sys.stdin.read(1) != "g":
        break
"""


def test_a_pin_is_never_seen_in_part(tmp_path: Path) -> None:
    """Another process looks on while the oldest pin jumps between two numbers."""
    path = tmp_path / "slots"
    mine = Slots(path)
    process = subprocess.Popen(
        [sys.executable, "-c", STAMPS, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdout.readline()
    for _ in range(20):
        seen = {mine.oldest_pin() for _ in range(200)}
        assert seen <= {1, 2**56 + 2**40 + 2**24 + 2**8}
        process.stdin.write(b"g")
        process.stdin.flush()
        assert process.stdout.readline() == b"more\n"
    process.stdin.close()
    assert process.wait(60) == 0
    process.stdout.close()
    mine.close()
