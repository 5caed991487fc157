"""What the engine asks of an index: an ordered map of bytes with transactions.

Two implementations keep this contract: `LmdbIndex`, and `MemoryIndex`, its
plain twin that tests hold it against.  Readers see the state at the moment
they began; one writer at a time, across all processes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Protocol


class IndexFullError(Exception):
    """The file system under the index has no room left; the transaction was rolled back."""


class IndexUnusableError(Exception):
    """The files are no index that can be opened here and now; the text says why."""


class CopyRacedError(Exception):
    """A copy began while others committed, or the index is damaged: the next try tells which."""


class ReadTransaction(Protocol):
    """A consistent view; valid inside its ``with`` block only."""

    def get(self, key: bytes) -> bytes | None:
        """The value of `key`, or None."""
        ...

    def scan(self, start: bytes, stop: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Rows with ``start <= key < stop``, ascending.

        In a write transaction, rows changed while scanning may or may not
        show: collect first, then change.
        """
        ...

    def page(self, start: bytes, stop: bytes, limit: int) -> list[tuple[bytes, bytes]]:
        """The first `limit` rows of `scan`, all at once, which takes less time for each."""
        ...

    def last(self, start: bytes, stop: bytes) -> tuple[bytes, bytes] | None:
        """The row with the greatest key in ``start <= key < stop``, or None."""
        ...


class WriteTransaction(ReadTransaction, Protocol):
    """A view that changes; the ``with`` block commits, an exception rolls back."""

    def put(self, key: bytes, value: bytes) -> None:
        """Insert or replace."""
        ...

    def replace(self, key: bytes, value: bytes) -> bytes | None:
        """As `put`; what the key held before, or None."""
        ...

    def delete(self, key: bytes) -> bool:
        """Remove; whether the key was there."""
        ...


class Index(Protocol):
    """An ordered map of bytes to bytes; keys up to 1,978 bytes."""

    def read(self) -> AbstractContextManager[ReadTransaction]:
        """A view of the last commit."""
        ...

    def write(self) -> AbstractContextManager[WriteTransaction]:
        """The one write transaction; waits for the present writer.

        Raises:
            IndexFullError: on commit, when there is no room on disk.
        """
        ...

    def sync(self) -> None:
        """Make every commit so far durable."""
        ...

    def copy_to(self, fd: int) -> None:
        """Write a compacted, consistent image to the file descriptor `fd`.

        Raises:
            CopyRacedError: half of one may have been written; begin again with nothing.
        """
        ...

    def size_bytes(self) -> int:
        """Bytes in use, roughly: what an image would take."""
        ...

    def close(self) -> None:
        """Release the index; idempotent."""
        ...
