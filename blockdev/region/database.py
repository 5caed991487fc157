"""The rows of a region in SQLite: one connection, short transactions, several processes.

Invariants:

* a verb changes rows in one transaction, begun with ``BEGIN IMMEDIATE``: what it read
  before it wrote cannot have been changed by another process meanwhile;
* a commit is on the disk when it returns (WAL with ``synchronous=FULL``);
* a thread that meets another one, or another process, waits; after `BUSY_TIMEOUT_S` the
  verb fails and has changed nothing.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from blockdev.model import ServiceError

_LOCATION: Final = "CREATE TABLE IF NOT EXISTS block_location (location TEXT NOT NULL)"

BUSY_TIMEOUT_S: Final = 30.0
"""How long a transaction waits for that of another process: far longer than any takes."""

Connection = sqlite3.Connection


class Database:
    """The open database; share it between threads, make one in each process."""

    def __init__(self, path: Path, schema: str, version: int) -> None:
        """Open the file at `path`, making its tables by `schema` if it is new.

        Raises:
            ServiceError: InternalError: not a region of this format, or no room.
        """
        self._lock = threading.RLock()
        self._depth = 0
        self._is_closed = False
        self._connection = sqlite3.connect(
            path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
        )
        self._connection.row_factory = sqlite3.Row
        try:
            with _alone(path):
                _prepare(self._connection, schema, version)
        except sqlite3.Error as error:
            self._connection.close()
            raise _failure(error) from error
        except ServiceError:
            self._connection.close()
            raise

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that may change rows: committed at the end, undone by an exception.

        Within another one of the same thread it is a part of that.

        Raises:
            ServiceError: Unavailable (others hold the database, or it is closed),
                InternalError (it failed).
        """
        with self._transaction("BEGIN IMMEDIATE") as connection:
            yield connection

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that sees one state of all rows."""
        with self._transaction("BEGIN") as connection:
            yield connection

    def close(self) -> None:
        """Close the connection, waiting for a transaction of another thread."""
        with self._lock:
            self._is_closed = True
            self._connection.close()

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[Connection]:
        with self._lock:
            if self._depth:
                yield self._connection
                return
            if self._is_closed:
                raise ServiceError("Unavailable", "The region is closed.")
            self._depth = 1
            try:
                self._connection.execute(begin)
                try:
                    yield self._connection
                except BaseException:
                    self._undo()
                    raise
                self._connection.execute("COMMIT")
            except sqlite3.Error as error:
                self._undo()
                raise _failure(error) from error
            finally:
                self._depth = 0

    def _undo(self) -> None:
        """Roll back, unless SQLite itself did so already (a full disk, for one)."""
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")


def keep_location(database: Database, location: str, default: str) -> None:
    """Note where the blocks of snapshots are, or hold what was noted against `location`.

    Regions that were made before there was a note have their blocks at `default`.  A region
    there that has no snapshots may move; one that is elsewhere never does, for whoever has
    it open puts blocks there.  The tables of `blockdev.snapshot` must be there.

    Raises:
        ServiceError: InternalError: the blocks are elsewhere; the text says where.
    """
    with database.write() as connection:
        connection.execute(_LOCATION)
        row = connection.execute("SELECT location FROM block_location").fetchone()
        found = default if row is None else row["location"]
        if found != location and (row is None or found == default):
            found = default if _has_snapshots(connection) else location
        if found != location:
            raise ServiceError("InternalError", _elsewhere(found, location, default))
        connection.execute("DELETE FROM block_location")
        connection.execute("INSERT INTO block_location VALUES (?)", (location,))


def _has_snapshots(connection: Connection) -> bool:
    """Whether there are blocks, or maps that will name some."""
    query = "SELECT EXISTS (SELECT 1 FROM snap_blocks) OR EXISTS (SELECT 1 FROM snap_maps)"
    return bool(connection.execute(query).fetchone()[0])


def _elsewhere(found: str, asked: str, default: str) -> str:
    if found == default:
        return (
            f"The region's snapshots are in {found}, not in {asked}: open it without another "
            "block store (objstore serve: without --snapshot-bucket), or delete them first."
        )
    return (
        f"The region's snapshot blocks are in {found}, not in {asked}: open it with that block "
        "store (s3://BUCKET/...: by objstore serve --snapshot-bucket BUCKET, and the command "
        "blockdev cannot)."
    )


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Keep others from preparing the same file: a switch to WAL meets no busy timeout."""
    fd = os.open(path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def _prepare(connection: Connection, schema: str, version: int) -> None:
    (mode,) = connection.execute("PRAGMA journal_mode=WAL").fetchone()
    if mode != "wal":
        raise ServiceError("InternalError", f"the file system has no room for a WAL: got {mode}")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA foreign_keys=ON")
    (found,) = connection.execute("PRAGMA user_version").fetchone()
    if found not in (0, version):
        raise ServiceError(
            "InternalError", f"the region has format {found}, and this program reads {version}"
        )
    if found == 0:
        connection.executescript(f"BEGIN; {schema}; PRAGMA user_version={version}; COMMIT")


def _failure(error: sqlite3.Error) -> ServiceError:
    """EC2's server errors: to be tried again, or not."""
    if isinstance(error, sqlite3.OperationalError) and "locked" in str(error):
        return ServiceError("Unavailable", "the region is busy; try again")
    return ServiceError("InternalError", f"the region's database failed: {error}")
