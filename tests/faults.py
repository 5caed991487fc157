"""Trouble at every step of what a snapshot does to files and rows: faults, and sudden ends."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from blockdev import map_writer, snapshot
from blockdev.blocks import BlockStore
from blockdev.database import Database
from blockdev.device import Buffer


class Killed(BaseException):
    """The process has ended here.  No handler of an `Exception` may go on after it."""


class Steps:
    """Counts steps, those named in `only` if given; at the `at`-th it raises what `strike` makes.

    After `Killed` every further step raises it again: a dead process does nothing more.
    Any other error strikes once.
    """

    def __init__(
        self,
        at: int = 0,
        strike: Callable[[], BaseException] = Killed,
        only: frozenset[str] = frozenset(),
    ) -> None:
        self._lock = threading.Lock()
        self._at = at
        self._strike = strike
        self._only = only
        self.count = 0
        self.names: list[str] = []
        self.is_dead = False

    def step(self, name: str) -> None:
        """Something is about to be done, or has just been done."""
        with self._lock:
            if self.is_dead:
                raise Killed(name)
            if self._only and name not in self._only:
                return
            self.count += 1
            self.names.append(name)
            struck = self.count == self._at
        if struck:
            error = self._strike()
            self.is_dead = isinstance(error, Killed)
            raise error


class SteppedBlocks:
    """A block store with a step before and after each change."""

    def __init__(self, below: BlockStore, steps: Steps) -> None:
        self._below = below
        self._steps = steps

    def put(self, digest: bytes, plain: Buffer) -> int:
        self._steps.step("put")
        stored_bytes = self._below.put(digest, plain)
        self._steps.step("put done")
        return stored_bytes

    def get(self, digest: bytes) -> bytes:
        self._steps.step("get")
        return self._below.get(digest)

    def delete(self, digest: bytes) -> None:
        self._steps.step("delete")
        self._below.delete(digest)
        self._steps.step("delete done")

    def hashes(self) -> Iterator[bytes]:
        return self._below.hashes()

    def sync(self) -> None:
        self._steps.step("sync")
        self._below.sync()
        self._steps.step("sync done")


def with_steps(monkeypatch: pytest.MonkeyPatch, steps: Steps) -> None:
    """Steps around every transaction, and around the writing of every map, from now on."""
    transaction = Database.transaction
    write_map = map_writer.write_map

    @contextlib.contextmanager
    def stepped_transaction(self: Database) -> Iterator[sqlite3.Connection]:
        steps.step("begin")
        inner: AbstractContextManager[sqlite3.Connection] = transaction(self)
        with inner as connection:
            yield connection
            steps.step("commit")
        steps.step("committed")

    def stepped_write_map(path: Path, **arguments: Any) -> int:
        steps.step("map")
        blocks = write_map(path, **arguments)
        steps.step("map done")
        return blocks

    monkeypatch.setattr(Database, "transaction", stepped_transaction)
    monkeypatch.setattr(snapshot, "write_map", stepped_write_map)
