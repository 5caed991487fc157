"""The index's plain twin: a dictionary and a sorted list, obviously right."""

from __future__ import annotations

import bisect
import os
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice

_ABSENT = object()


class MemoryIndex:
    """Keeps the contract of `objstore.index.base.Index` in memory.

    One lock serves readers and the writer alike, so views are trivially
    consistent.  For tests and for comparing; it forgets everything on close.
    """

    def __init__(self) -> None:
        self._rows: dict[bytes, bytes] = {}
        self._keys: list[bytes] = []
        self._undo: list[tuple[bytes, object]] = []
        self._lock = threading.RLock()

    @contextmanager
    def read(self) -> Iterator[MemoryIndex]:
        with self._lock:
            yield self

    @contextmanager
    def write(self) -> Iterator[MemoryIndex]:
        with self._lock:
            self._undo = []
            try:
                yield self
            except BaseException:
                for key, old in reversed(self._undo):
                    if old is _ABSENT:
                        self._remove(key)
                    else:
                        assert isinstance(old, bytes)
                        self._insert(key, old)
                raise
            finally:
                self._undo = []

    def get(self, key: bytes) -> bytes | None:
        return self._rows.get(key)

    def scan(self, start: bytes, stop: bytes) -> Iterator[tuple[bytes, bytes]]:
        low = bisect.bisect_left(self._keys, start)
        high = bisect.bisect_left(self._keys, stop)
        for key in self._keys[low:high]:
            yield key, self._rows[key]

    def page(self, start: bytes, stop: bytes, limit: int) -> list[tuple[bytes, bytes]]:
        return list(islice(self.scan(start, stop), limit))

    def last(self, start: bytes, stop: bytes) -> tuple[bytes, bytes] | None:
        high = bisect.bisect_left(self._keys, stop)
        if high == 0 or self._keys[high - 1] < start:
            return None
        key = self._keys[high - 1]
        return key, self._rows[key]

    def put(self, key: bytes, value: bytes) -> None:
        self._undo.append((key, self._rows.get(key, _ABSENT)))
        self._insert(key, value)

    def replace(self, key: bytes, value: bytes) -> bytes | None:
        old = self._rows.get(key)
        self.put(key, value)
        return old

    def delete(self, key: bytes) -> bool:
        if key not in self._rows:
            return False
        self._undo.append((key, self._rows[key]))
        self._remove(key)
        return True

    def _insert(self, key: bytes, value: bytes) -> None:
        if key not in self._rows:
            bisect.insort(self._keys, key)
        self._rows[key] = value

    def _remove(self, key: bytes) -> None:
        del self._rows[key]
        del self._keys[bisect.bisect_left(self._keys, key)]

    def sync(self) -> None:
        """Nothing to do: memory is as durable as it gets here."""

    def copy_to(self, fd: int) -> None:
        """Write the rows as length-prefixed pairs; a debugging aid, not LMDB's format."""
        for key, value in self.scan(b"", b"\xff" * 8):
            os.write(fd, struct.pack("<II", len(key), len(value)) + key + value)

    def size_bytes(self) -> int:
        return sum(len(key) + len(value) for key, value in self._rows.items())

    def close(self) -> None:
        self._rows, self._keys = {}, []
