"""The database of identities: SQLite, shared by the processes of a store.

A change is durable when its transaction ends, or has not happened.  Nothing is made before
something is to be kept.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from objstore.iam.errors import DirectoryError

FOLDER_NAME: Final = "iam"
_FILE: Final = "identities.db"
_COUNTERS: Final = "changes"
_COUNTER_BYTES: Final = 16
_BUSY_S: Final = 30.0
_VERSION: Final = 1

_SCHEMA: Final = """
create table account (
    account_id text primary key, name text not null unique collate nocase,
    canonical_id text not null unique, display_name text not null, email text not null,
    created_ms integer not null, settings blob not null default x''
) without rowid;
create table entity (
    row integer primary key, account text not null references account, kind text not null,
    name text not null collate nocase, path text not null, entity_id text not null unique,
    created_ms integer not null, boundary text not null default '', trust text not null default '',
    description text not null default '', max_session_s integer not null default 3600,
    unique (account, kind, name)
);
create table tag (
    entity integer not null references entity on delete cascade, key text not null,
    value text not null, primary key (entity, key)
) without rowid;
create table inline (
    entity integer not null references entity, name text not null collate nocase,
    document text not null, primary key (entity, name)
) without rowid;
create table attached (
    entity integer not null references entity, arn text not null,
    primary key (entity, arn)
) without rowid;
create index attached_to on attached (arn);
create index bounded_by on entity (boundary) where boundary != '';
create table member (
    user integer not null references entity, "group" integer not null references entity,
    primary key (user, "group")
) without rowid;
create index members on member ("group");
create table managed (
    row integer primary key, account text not null references account, name text not null,
    path text not null, policy_id text not null unique, created_ms integer not null,
    updated_ms integer not null, description text not null, default_version integer not null,
    next_version integer not null, unique (account, name collate nocase)
);
create table managed_version (
    managed integer not null references managed on delete cascade, version integer not null,
    document text not null, created_ms integer not null, primary key (managed, version)
) without rowid;
create table access_key (
    access_key text primary key, account text not null references account,
    user integer references entity, sealed blob not null, is_active integer not null,
    created_ms integer not null, used_ms integer, used_service text not null default '',
    used_region text not null default ''
) without rowid;
create index keys_of on access_key (account, user);
create table session (
    access_key text primary key, account text not null references account, kind text not null,
    source integer not null, name text not null, issued_ms integer not null,
    expires_ms integer not null, policy text not null, tags blob not null, sealed blob not null,
    token text not null
) without rowid;
create index sessions_by_end on session (expires_ms);
"""

Row = tuple[Any, ...]


class Database:
    """One process's connection.  Safe to share between its threads.

    Every method may raise `DirectoryError`.
    """

    def __init__(self, data_dir: Path) -> None:
        self._folder = data_dir / FOLDER_NAME
        self._path = self._folder / _FILE
        self._lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        self._changes = 0
        # How many changes were begun, and how many ended, by any process.
        self._counters: memoryview | None = None

    def generation(self) -> tuple[int, int] | None:
        """Another one after each change, by any process; None while there is no database.

        Read from memory that the processes share: asking SQLite takes file locks, a tenth of
        a GET.  Where a change is under way, or its process died, SQLite is asked.
        """
        counters = self._counters
        if counters is None:
            if not self._path.exists():
                return None
            self._open(make=False)
            counters = self._counters
            assert counters is not None
        begun = counters[0]
        if begun == counters[1]:
            return begun, -1
        with self._lock:
            try:
                connection = self._open(make=False)
                (version,) = connection.execute("pragma data_version").fetchone()
            except sqlite3.Error as error:
                raise DirectoryError(f"{self._path}: {error}") from error
        return begun + self._changes, version

    def rows(self, query: str, values: Sequence[Any] = ()) -> list[Row]:
        """All rows of a query; none while there is no database."""
        if self._connection is None and not self._path.exists():
            return []
        with self._lock:
            try:
                return self._open(make=False).execute(query, values).fetchall()
            except sqlite3.Error as error:
                raise DirectoryError(f"{self._path}: {error}") from error

    def row(self, query: str, values: Sequence[Any] = ()) -> Row | None:
        """The first row of a query."""
        found = self.rows(query, values)
        return found[0] if found else None

    @contextlib.contextmanager
    def change(self) -> Iterator[sqlite3.Cursor]:
        """A transaction, in which nobody else changes anything; it happens whole or not at all."""
        with self._lock:
            try:
                cursor = self._open(make=True).cursor()
                cursor.execute("begin immediate")
            except sqlite3.Error as error:
                raise DirectoryError(f"{self._path}: {error}") from error
            counters = self._counters
            assert counters is not None
            counters[0] = begun = counters[0] + 1  # nobody else is between begin and commit
            try:
                yield cursor
                cursor.execute("commit")
            except sqlite3.Error as error:
                self._roll_back(cursor)
                raise DirectoryError(f"{self._path}: {error}") from error
            except BaseException:
                self._roll_back(cursor)
                raise
            finally:
                self._changes += 1
                counters[1] = max(counters[1], begun)
                cursor.close()

    def _roll_back(self, cursor: sqlite3.Cursor) -> None:
        with contextlib.suppress(sqlite3.Error):
            cursor.execute("rollback")

    def _open(self, *, make: bool) -> sqlite3.Connection:
        with self._lock:
            if self._connection is not None:
                return self._connection
            try:
                if make:
                    self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                    os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
                connection = sqlite3.connect(
                    self._path,
                    timeout=_BUSY_S,
                    isolation_level=None,
                    check_same_thread=False,
                    cached_statements=512,
                )
                connection.execute("pragma journal_mode = wal")
                connection.execute("pragma synchronous = full")
                connection.execute("pragma foreign_keys = on")
                self._prepare(connection)
                self._counters = self._shared_counters()
            except (sqlite3.Error, OSError) as error:
                raise DirectoryError(f"{self._path}: {error}") from error
            self._connection = connection
            return connection

    def _shared_counters(self) -> memoryview:
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        fd = os.open(self._folder / _COUNTERS, flags, 0o600)
        try:
            if os.fstat(fd).st_size < _COUNTER_BYTES:
                os.ftruncate(fd, _COUNTER_BYTES)
            return memoryview(mmap.mmap(fd, _COUNTER_BYTES)).cast("Q")
        finally:
            os.close(fd)

    def _prepare(self, connection: sqlite3.Connection) -> None:
        """Make the tables, unless they are there; of two processes one does it."""
        if connection.execute("pragma user_version").fetchone() == (_VERSION,):
            return
        connection.execute("begin immediate")
        (version,) = connection.execute("pragma user_version").fetchone()
        if version == 0:
            for statement in _SCHEMA.split(";\n"):
                if statement.strip():
                    connection.execute(statement)
            connection.execute(f"pragma user_version = {_VERSION}")
        connection.execute("commit")
        if version > _VERSION:
            connection.close()
            raise DirectoryError(
                f"{self._path} is of a newer version of objstore ({version}); use that one"
            )

    def check(self) -> list[str]:
        """What SQLite finds wrong with the file; empty where it is whole, or not there."""
        found = [str(row[0]) for row in self.rows("pragma integrity_check")]
        found += [f"dangling reference: {row}" for row in self.rows("pragma foreign_key_check")]
        return [f"{self._path}: {line}" for line in found if line != "ok"]

    def close(self) -> None:
        """Let go of the file; the next call opens it again."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None
            self._counters = None
