"""The index on LMDB.  The only module that imports lmdb.

Options, each for a measured reason (docs/design/0001-log-and-index.md):
``lib_version=1`` for keys of 1,024 bytes and more; ``sync=False`` since the
log is the truth and the index is rebuilt after a power loss; never
``writemap``, which aborts the process in this version.

A transaction that begins to read while others commit may find the root of a commit after its
own: two commits later the place of its root is written again.  The pages are whole, but this
version of LMDB tells them from damage no more (MDB_CORRUPTED).  So who reads first begins
again; only what stays damaged is.  `tests/unit/test_index_races.py` has it.
"""

from __future__ import annotations

import os
from bisect import bisect_left
from collections.abc import Callable, Iterator
from itertools import islice
from operator import itemgetter
from pathlib import Path
from typing import Any, Self

import lmdb

from objstore.index.base import CopyRacedError, IndexFullError, IndexUnusableError

# Of LMDB's lock file: a cache line for each reader, and what stands before them.
_LOCK_READER_BYTES = 64
_LOCK_HEAD_BYTES = 4096

READ_ATTEMPTS = 10
"""How often a transaction begins, before what it finds counts as damage."""

_row_key = itemgetter(0)


class LmdbIndex:
    """Keeps the contract of `objstore.index.base.Index` in a folder of two files.

    Several processes may open one folder; one process may open it once.  Open
    after a fork, never before.
    """

    def __init__(self, path: Path, *, map_bytes: int, max_readers: int) -> None:
        """Open or make the index in the folder `path`.

        Raises:
            IndexUnusableError: the files are damaged, or open in this process already.
        """
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        _allocate_lock_file(path / "lock.mdb", max_readers)
        try:
            self._env: Any = lmdb.open(
                os.fspath(path),
                map_size=map_bytes,
                max_readers=max_readers,
                max_spare_txns=16,
                mode=0o600,
                sync=False,
                metasync=False,
                readahead=False,
                meminit=False,
                lib_version=1,
            )
        except lmdb.Error as error:
            raise IndexUnusableError(str(error)) from error
        # Slots of processes that were killed would pin old pages for ever.
        self._env.reader_check()

    def read(self) -> _LmdbTransaction:
        return _LmdbTransaction(self._env.begin)

    def write(self) -> _LmdbWriteTransaction:
        return _LmdbWriteTransaction(self._env.begin(write=True))

    def sync(self) -> None:
        self._env.sync(True)

    def copy_to(self, fd: int) -> None:
        try:
            self._env.copyfd(fd, compact=True)
        except lmdb.CorruptedError as error:
            raise CopyRacedError(str(error)) from error

    def size_bytes(self) -> int:
        stat = self._env.stat()
        pages: int = stat["branch_pages"] + stat["leaf_pages"] + stat["overflow_pages"]
        return pages * int(stat["psize"])

    def close(self) -> None:
        self._env.close()


def _allocate_lock_file(path: Path, max_readers: int) -> None:
    """Give the lock file its storage; LMDB would leave it sparse.

    It is mapped, and touching a hole of it kills the process (SIGBUS) once the file system
    is full.  The file is not opened if it has its storage: whoever closes a file
    drops all locks that its process holds on it, those of LMDB among them.
    """
    stat = path.stat() if path.exists() else None
    if stat is not None and stat.st_size and stat.st_blocks * 512 >= stat.st_size:
        return
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        size_bytes = _LOCK_HEAD_BYTES + max_readers * _LOCK_READER_BYTES
        os.posix_fallocate(fd, 0, max(size_bytes, os.fstat(fd).st_size))
    finally:
        os.close(fd)


class _LmdbTransaction:
    """A transaction that reads; classes, since a generator for each would cost 2 µs."""

    __slots__ = ("_begin", "_is_fresh", "_txn", "delete", "get", "put", "replace")

    def __init__(self, begin: Callable[[], Any]) -> None:
        self._begin = begin
        self._txn = begin()
        self._is_fresh = True
        self.get: Callable[..., bytes | None] = self._first_get

    def _first_get(self, key: bytes, default: bytes | None = None) -> bytes | None:
        try:
            found: bytes | None = self._txn.get(key, default)
        except lmdb.CorruptedError as error:
            self._begin_again(error)
            found = self._txn.get(key, default)
        self._is_fresh = False
        self.get = self._txn.get
        return found

    def _begin_again(self, error: lmdb.CorruptedError) -> None:
        """Begin anew until the root is of this transaction.

        Raises:
            lmdb.CorruptedError: it never is, or something has been read, and `error` was no
                race: the index is damaged.
        """
        if not self._is_fresh:
            raise error
        for attempt in range(READ_ATTEMPTS):
            self._txn.abort()
            self._txn = self._begin()
            try:
                self._txn.get(b"\x00")
            except lmdb.CorruptedError:
                if attempt == READ_ATTEMPTS - 1:
                    raise
            else:
                return

    def _cursor_at(self, key: bytes) -> tuple[Any, bool]:
        """A cursor at the first row from a key on, and whether there is one."""
        cursor = self._txn.cursor()
        try:
            is_there = cursor.set_range(key)
        except lmdb.CorruptedError as error:
            cursor.close()
            self._begin_again(error)
            cursor = self._txn.cursor()
            is_there = cursor.set_range(key)
        self._is_fresh = False
        return cursor, is_there

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        del self.get  # which may be a method of this: a cycle would outlive its use
        self._txn.abort()

    def scan(self, start: bytes, stop: bytes) -> Iterator[tuple[bytes, bytes]]:
        cursor, is_there = self._cursor_at(start)
        with cursor:
            if not is_there:
                return
            for key, value in cursor.iternext():
                if key >= stop:
                    return
                yield key, value

    def page(self, start: bytes, stop: bytes, limit: int) -> list[tuple[bytes, bytes]]:
        cursor, is_there = self._cursor_at(start)
        with cursor:
            if not is_there:
                return []
            rows: list[tuple[bytes, bytes]] = list(islice(cursor.iternext(), limit))
        if rows and rows[-1][0] >= stop:
            # Too many by less than a page, against a comparison for each row.
            del rows[bisect_left(rows, stop, key=_row_key) :]
        return rows

    def last(self, start: bytes, stop: bytes) -> tuple[bytes, bytes] | None:
        cursor, is_there = self._cursor_at(stop)
        with cursor:
            found = cursor.prev() if is_there else cursor.last()
            if not found or cursor.key() < start:
                return None
            return cursor.key(), cursor.value()


class _LmdbWriteTransaction(_LmdbTransaction):
    """A transaction that commits at the end of its block; it has the writers' lock, and no race."""

    __slots__ = ()

    def __init__(self, txn: Any) -> None:
        self._txn = txn
        self._is_fresh = False
        # Bound once: a forwarding method would cost more than the call behind it.
        self.get = txn.get
        self.delete = txn.delete
        self.put = txn.put
        self.replace = txn.replace

    def __exit__(self, *error: object) -> None:
        failure = error[1]
        try:
            if failure is None:
                self._txn.commit()
            else:
                self._txn.abort()
        except (lmdb.DiskError, lmdb.MapFullError) as full:
            raise IndexFullError(str(full)) from full
        if isinstance(failure, lmdb.DiskError | lmdb.MapFullError):
            raise IndexFullError(str(failure)) from failure
