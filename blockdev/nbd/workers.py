"""Threads that carry out one connection's requests, and the bound on what is at work."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import NamedTuple

from blockdev.nbd.protocol import Request


class Job(NamedTuple):
    """A request with the data that came with it; `held_bytes` count as in flight."""

    request: Request
    payload: memoryview | None
    held_bytes: int


class Allowance:
    """How many requests and bytes may be in flight; whoever wants more waits."""

    def __init__(self, requests: int, size_bytes: int) -> None:
        self._most_requests, self._most_bytes = requests, size_bytes
        self._requests = self._bytes = 0
        self._changed = threading.Condition()

    def acquire(self, size_bytes: int) -> int:
        """Wait for room, take it, and say how many requests are in flight now."""
        with self._changed:
            while not self._has_room(size_bytes):
                self._changed.wait()
            self._requests += 1
            self._bytes += size_bytes
            return self._requests

    def release(self, requests: int, size_bytes: int) -> None:
        """Give back what `acquire` took for so many requests."""
        with self._changed:
            self._requests -= requests
            self._bytes -= size_bytes
            self._changed.notify()

    def _has_room(self, size_bytes: int) -> bool:
        return self._requests < self._most_requests and self._bytes + size_bytes <= self._most_bytes


class Workers:
    """Threads, made as the first so many jobs are at work at once; at most `limit`.

    `work` must not raise.
    """

    def __init__(self, name: str, limit: int, work: Callable[[Job], None]) -> None:
        self._name, self._limit, self._work = name, limit, work
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []

    def submit(self, job: Job, at_work: int) -> None:
        """Have `job` done; `at_work` jobs, this one included, are not done yet."""
        self._jobs.put(job)
        if len(self._threads) < min(at_work, self._limit):
            thread = threading.Thread(target=self._run, name=self._name, daemon=True)
            self._threads.append(thread)
            thread.start()

    def stop(self) -> None:
        """Let every job submitted be done, and end the threads."""
        for _ in self._threads:
            self._jobs.put(None)
        for thread in self._threads:
            thread.join()

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            self._work(job)
