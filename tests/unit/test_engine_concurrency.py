"""Many at once: conditions are decided under one order, whoever asks and from wherever."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from blockdev import MemoryDevice
from objstore import ObjectStore
from objstore.errors import NoSuchKeyError, PreconditionFailedError
from objstore.model import Conditions
from tests.crash.tiny import TINY, assert_clean, open_tiny, pattern

THREADS = 16
COUNTS = 60


def at_once(act: Callable[[int], None], threads: int = THREADS) -> None:
    """Run `act` in many threads that start together; the first failure is raised."""
    failures: list[BaseException] = []
    start = threading.Barrier(threads)

    def run(number: int) -> None:
        try:
            start.wait()
            act(number)
        except BaseException as error:
            failures.append(error)

    running = [threading.Thread(target=run, args=(number,)) for number in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    if failures:
        raise failures[0]


def test_of_many_that_create_a_key_one_wins(tmp_path: Path) -> None:
    only_new = Conditions(if_none_match=("*",))
    with open_tiny(tmp_path, MemoryDevice(TINY.device_bytes)) as store:
        for key in range(30):
            winners: list[int] = []

            def create(number: int, key: int = key, winners: list[int] = winners) -> None:
                size_bytes = 100 if number % 2 else 20_000
                body = pattern(number, size_bytes)
                try:
                    store.put("bucket", f"key-{key}", body, conditions=only_new)
                except PreconditionFailedError:
                    return
                winners.append(number)

            at_once(create)
            (winner,) = winners
            with store.get("bucket", f"key-{key}") as reader:
                assert reader.read() == pattern(winner, 100 if winner % 2 else 20_000)
        assert_clean(store)


def count_up(folder: str, threads: int) -> None:
    """Increment a counter by compare-and-swap, `COUNTS` times in all of the threads."""
    with ObjectStore.open(folder, config=TINY) as store:

        def increment(_number: int) -> None:
            done = 0
            while done < COUNTS // threads:
                with store.get("bucket", "counter") as reader:
                    value, etag = int(reader.read()), reader.info.etag
                try:
                    store.put(
                        "bucket",
                        "counter",
                        str(value + 1).encode(),
                        conditions=Conditions(if_match=(etag,)),
                    )
                except PreconditionFailedError:
                    continue
                done += 1

        at_once(increment, threads)


def test_a_counter_loses_no_increment_across_processes(tmp_path: Path) -> None:
    with ObjectStore.open(tmp_path, config=TINY) as store:
        store.put("bucket", "counter", b"0")
    program = (
        "import sys; from tests.unit.test_engine_concurrency import count_up;"
        "count_up(sys.argv[1], int(sys.argv[2]))"
    )
    processes = [
        subprocess.Popen([sys.executable, "-c", program, str(tmp_path), "4"]) for _ in range(2)
    ]
    assert [process.wait(timeout=120) for process in processes] == [0, 0]
    with ObjectStore.open(tmp_path, config=TINY) as store:
        assert store.get("bucket", "counter").read() == str(2 * COUNTS).encode()
        assert_clean(store)


DELETE_AND_REUSE = """
import sys
from objstore import ObjectStore
from tests.crash.tiny import TINY, pattern

with ObjectStore.open(sys.argv[1], config=TINY) as store:
    for key in ("streamed", "parts"):
        store.delete("bucket", key)
    for round_ in range(3):
        for number in range(8):
            store.put("bucket", f"new-{number}", pattern(number, 150_000))
        store.maintain()
"""


def test_a_reader_keeps_what_another_process_deletes(tmp_path: Path) -> None:
    """The space is given back and used again only once the reader is done."""
    body = pattern(1, 300_000)
    with ObjectStore.open(tmp_path, config=TINY) as store:
        store.put("bucket", "streamed", body)
        with store.get("bucket", "streamed") as reader:
            first = bytes(reader.next())
            subprocess.run([sys.executable, "-c", DELETE_AND_REUSE, str(tmp_path)], check=True)
            assert first + reader.read() == body
        try:
            store.get("bucket", "streamed")
        except NoSuchKeyError:
            pass
        else:
            raise AssertionError("the object is still there")
        assert store.maintain().released_segments
        assert_clean(store)


def test_readers_writers_and_maintenance_all_at_once(tmp_path: Path) -> None:
    """Every read gives one whole version, whatever moves or falls free meanwhile."""
    keys = [f"key-{number}" for number in range(6)]
    with open_tiny(tmp_path, MemoryDevice(TINY.device_bytes)) as store:
        sizes = (50, 3_000, 20_000, 140_000)
        for key in keys:
            store.put("bucket", key, pattern(0, 50))
        stop = threading.Event()

        def act(number: int) -> None:
            if number == 0:
                while not stop.is_set():
                    store.maintain()
                    store.checkpoint()
            elif number <= 3:
                try:
                    for turn in range(60):
                        seed = number * 1000 + turn
                        key, size_bytes = keys[seed % len(keys)], sizes[seed % len(sizes)]
                        store.put("bucket", key, pattern(seed * 10**6 + size_bytes, size_bytes))
                finally:
                    stop.set()
            else:
                while not stop.is_set():
                    for key in keys:
                        with store.get("bucket", key) as reader:
                            data = reader.read()
                            assert len(data) == reader.info.size_bytes

        at_once(act, 7)
        assert_clean(store)
