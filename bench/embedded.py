"""Stores within a process of their own, called by threads: objstore beside sqlite.

Both make each put durable before it returns.  sqlite is as an embedder would set it up: one table
of key and value, WAL, `synchronous=FULL`, a connection a thread, and a lock round the writes,
because waiting for the database's own lock is a poll with growing sleeps.
"""

from __future__ import annotations

import gc
import multiprocessing
import signal
import sqlite3
import threading
import time
from array import array
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from multiprocessing.connection import Connection as Pipe
from pathlib import Path
from typing import Any, Protocol

from bench.load import Outcome, object_bodies, object_key
from bench.machine import process_tree
from bench.measure import Measurement, WorkloadFailed, settle, summarise
from bench.workloads import BUCKET, LARGE_PREFIX, READ_PREFIX, Parameters, Workload

ANSWER_TIMEOUT_S = 600.0


class Embedded(Protocol):
    """What both stores can do.  Safe to call from several threads."""

    def put(self, key: str, data: bytes) -> None:
        """Store durably."""
        ...

    def get(self, key: str) -> int:
        """Read all of it; returns its length in bytes."""
        ...

    def close(self) -> None:
        """Close the store."""
        ...


class EmbeddedObjstore:
    """`objstore.ObjectStore` as it comes."""

    def __init__(self, directory: Path) -> None:
        from objstore import ObjectStore  # here: the other subject runs without it

        self._store = ObjectStore.open(directory)

    def put(self, key: str, data: bytes) -> None:
        self._store.put(BUCKET, key, data)

    def get(self, key: str) -> int:
        length_bytes = 0
        with self._store.get(BUCKET, key) as reader:
            while piece := reader.next():
                length_bytes += len(piece)
        return length_bytes

    def close(self) -> None:
        self._store.close()


class EmbeddedSqlite:
    """A table of key and value."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir()
        self._path = directory / "kv.sqlite"
        self._local = threading.local()
        self._write_lock = threading.Lock()
        self._connection().execute("CREATE TABLE kv (key TEXT PRIMARY KEY, value BLOB NOT NULL)")

    def _connection(self) -> sqlite3.Connection:
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = sqlite3.connect(self._path, isolation_level=None, timeout=60)
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=FULL")
            self._local.connection = connection
        return connection

    def put(self, key: str, data: bytes) -> None:
        connection = self._connection()
        with self._write_lock:
            connection.execute("INSERT OR REPLACE INTO kv VALUES (?, ?)", (key, data))

    def get(self, key: str) -> int:
        row = self._connection().execute("SELECT value FROM kv WHERE key = ?", (key,)).fetchone()
        return len(row[0])

    def close(self) -> None:
        self._connection().close()


STORES: dict[str, Callable[[Path], Embedded]] = {
    "objstore": EmbeddedObjstore,
    "sqlite": EmbeddedSqlite,
}


class EmbeddedSubject:
    """One store in a process of its own, so that its CPU and memory are nobody else's."""

    def __init__(self, name: str, directory: Path, parameters: Parameters) -> None:
        self.name = name
        self._parameters = parameters
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        arguments = (theirs, name, directory, parameters)
        self._process = context.Process(target=_serve, args=arguments, daemon=True)
        self._process.start()
        theirs.close()

    def prepare(self, workloads: Sequence[Workload]) -> None:
        """Open the store and put what the reads are to find.

        Raises:
            WorkloadFailed: that did not work.
        """
        self._receive()
        self._pipe.send(any(workload.is_large for workload in workloads))
        self._receive()

    def measure(self, workload: Workload, round_number: int) -> Measurement:
        """One window."""
        usage = settle(process_tree(self._process.pid or 0))
        usage.start()
        self._pipe.send((workload, round_number))
        outcomes = self._receive()
        usage.stop()
        return summarise(self.name, workload, round_number, outcomes, usage, self._parameters)

    def _receive(self) -> Any:
        try:
            if not self._pipe.poll(ANSWER_TIMEOUT_S):
                raise WorkloadFailed(f"{self.name} (embedded) said nothing")
            answer = self._pipe.recv()
        except EOFError as error:
            raise WorkloadFailed(f"the process of {self.name} (embedded) ended early") from error
        if isinstance(answer, str):
            raise WorkloadFailed(f"{self.name} (embedded): {answer}")
        return answer

    def stop(self) -> None:
        """Close the store and end its process."""
        self._pipe.close()
        self._process.join(60)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()


def _serve(pipe: Pipe[Any, Any], name: str, directory: Path, parameters: Parameters) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides when this ends
    try:
        with closing(STORES[name](directory)) as store:
            pipe.send(True)
            _fill(store, parameters, with_large=pipe.recv())
            pipe.send(True)
            while True:
                workload, round_number = pipe.recv()
                pipe.send(_window(store, workload, round_number, parameters))
    except (EOFError, BrokenPipeError):
        return
    except Exception as error:
        with suppress(OSError):  # nobody listens any more
            pipe.send(f"{type(error).__name__}: {error}")


def _fill(store: Embedded, parameters: Parameters, *, with_large: bool) -> None:
    bodies = object_bodies(parameters.small_bytes)
    for number in range(parameters.preloaded_keys):
        store.put(object_key(READ_PREFIX, number), bodies[number % len(bodies)])
    if with_large:
        body = object_bodies(parameters.large_bytes)[0]
        for number in range(parameters.large_keys):
            store.put(object_key(LARGE_PREFIX, number), body)


def _window(
    store: Embedded, workload: Workload, round_number: int, parameters: Parameters
) -> list[Outcome]:
    size_bytes = parameters.large_bytes if workload.is_large else parameters.small_bytes
    bodies = object_bodies(size_bytes)
    prefix = f"put-{workload.connections}-{round_number}-"
    key_count = 2**32
    if workload.is_large:
        prefix, key_count = LARGE_PREFIX, parameters.large_keys
    elif workload.operation == "GET":
        prefix, key_count = READ_PREFIX, parameters.preloaded_keys

    def put(number: int) -> None:
        store.put(object_key(prefix, number % key_count), bodies[number % len(bodies)])

    def get(number: int) -> None:
        length_bytes = store.get(object_key(prefix, number % key_count))
        if length_bytes != size_bytes:
            raise ValueError(f"read {length_bytes} bytes, not {size_bytes}")

    call = put if workload.operation == "PUT" else get
    return _run_threads(call, workload.connections, parameters.seconds)


def _run_threads(call: Callable[[int], None], count: int, seconds: float) -> list[Outcome]:
    outcomes: list[Outcome] = []
    barrier = threading.Barrier(count)

    def work(thread_number: int) -> None:
        latencies_ns, errors = array("q"), list[str]()
        barrier.wait()
        started_ns = now_ns = time.monotonic_ns()
        deadline_ns = started_ns + int(seconds * 1e9)
        number = thread_number
        while now_ns < deadline_ns:
            try:
                call(number)
            except Exception as error:
                errors.append(f"{type(error).__name__}: {error}")
                break
            before_ns, now_ns = now_ns, time.monotonic_ns()
            latencies_ns.append(now_ns - before_ns)
            number += count
        outcomes.append(Outcome(started_ns, now_ns, 0, latencies_ns, errors))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(count)]
    gc.collect()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return outcomes
