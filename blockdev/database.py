"""SQLite as the region uses it: durable transactions, one writer at a time, many readers."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Final

BUSY_TIMEOUT_S: Final = 30.0
"""How long a transaction waits for those of other processes."""

READERS_KEPT: Final = 4
"""Connections that are kept for the next reader; further ones are opened and closed."""


class Database:
    """A database file.  Thread-safe; a process that forks opens one of its own."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.RLock()
        self._writer = self._connect()
        self._readers: list[sqlite3.Connection] = []
        self._closed = False

    def close(self) -> None:
        """Close it; idempotent.  Who still reads finishes."""
        with self._lock:
            self._closed = True
            self._writer.close()
            readers, self._readers = self._readers, []
        for connection in readers:
            connection.close()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Exclusive among all processes; durable when it ends, undone when it raises."""
        with self._lock:
            connection = self._writer
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    @contextlib.contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """One view of the rows throughout, whatever others write; temporary tables go with it."""
        connection = self._take_reader()
        try:
            connection.execute("BEGIN")
            yield connection
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            self._give_reader(connection)

    def _take_reader(self) -> sqlite3.Connection:
        with self._lock:
            if self._closed:
                raise sqlite3.ProgrammingError(f"{self._path.name} is closed")
            if self._readers:
                return self._readers.pop()
        return self._connect()

    def _give_reader(self, connection: sqlite3.Connection) -> None:
        with self._lock:
            if not self._closed and len(self._readers) < READERS_KEPT:
                self._readers.append(connection)
                return
        connection.close()

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self._path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
        )
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        return connection
