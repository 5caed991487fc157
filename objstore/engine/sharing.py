"""What the processes that share a store tell each other: who lives, who reads.

``run/slots`` holds one 8-byte cell a process, mapped into all of them.  A
process owns its cell by a lock on that byte range, which the kernel drops when
the process dies.  The cell says from which batch on the process has readers:
segments that fell free at or after it must not be used again yet.  Behind the cells a
byte a process says whether it is writing a batch at this moment: a hint, no lock.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import threading
from collections import Counter
from pathlib import Path

from objstore.config import MAX_PROCESSES
from objstore.errors import StoreUnavailableError

_CELL_BYTES = 8
NO_READER = 2**64 - 1
_WRITING_AT = MAX_PROCESSES * _CELL_BYTES
_FILE_BYTES = _WRITING_AT + MAX_PROCESSES


class Slots:
    """This process's place among those that share the store."""

    def __init__(self, path: Path) -> None:
        """Take a free slot of the file `path`.

        Raises:
            StoreUnavailableError: 1,024 processes have the store open already.
        """
        self._pid = os.getpid()
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        # With its storage: touching a hole of a mapped file kills the process (SIGBUS)
        # once the file system is full.
        os.posix_fallocate(self._fd, 0, _FILE_BYTES)
        self._map = mmap.mmap(self._fd, _FILE_BYTES)
        # Native numbers on their own alignment go to and from the map eight bytes at once.
        # `struct` packs "<Q" byte by byte: another process could see half of a cell, a pin
        # that is newer than the one it is to hold back.
        self._cells = memoryview(self._map)[:_WRITING_AT].cast("Q")
        self._mutex = threading.Lock()
        self._pins: Counter[int] = Counter()
        for slot in range(MAX_PROCESSES):
            if self._try_lock(slot):
                self.slot = slot
                self._publish(NO_READER)
                self.note_writing(False)
                return
        self._close_map()
        os.close(self._fd)
        raise StoreUnavailableError(f"{MAX_PROCESSES} processes have this store open; close one")

    def _try_lock(self, slot: int) -> bool:
        try:
            fcntl.lockf(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB, _CELL_BYTES, slot * _CELL_BYTES)
        except OSError:
            return False
        return True

    def _unlock(self, slot: int) -> None:
        fcntl.lockf(self._fd, fcntl.LOCK_UN, _CELL_BYTES, slot * _CELL_BYTES)

    def _publish(self, seq: int) -> None:
        if self._is_own():
            self._cells[self.slot] = seq

    def _is_own(self) -> bool:
        """False in a forked child: it has inherited the map, and readers; not the slot."""
        return os.getpid() == self._pid

    def pin(self, seq: int) -> None:
        """A reader begins that may see what was current when batch `seq` was the next.

        Call before looking anything up, `unpin` with the same number at the end.
        """
        with self._mutex:
            self._pins[seq] += 1
            self._publish(min(self._pins))

    def unpin(self, seq: int) -> None:
        """The end of `pin`; after `close`, which has ended them all, nothing."""
        with self._mutex:
            if self._map.closed:
                return
            self._pins[seq] -= 1
            if not self._pins[seq]:
                del self._pins[seq]
            self._publish(min(self._pins, default=NO_READER))

    def note_writing(self, is_writing: bool) -> None:
        """Tell the others that this process begins, or has ended, to write a batch."""
        if self._is_own():
            self._map[_WRITING_AT + self.slot] = is_writing

    def is_written(self) -> bool:
        """Whether some process seems to be writing a batch: who commits now will wait.

        The byte of a process that was killed stays until its slot is taken again, or
        until `forget_dead_writers`.
        """
        return self._map.find(b"\x01", _WRITING_AT) >= 0

    def forget_dead_writers(self) -> None:
        """Clear the bytes that killed processes have left set."""
        with self._mutex:
            at = self._map.find(b"\x01", _WRITING_AT)
            while at >= 0:
                slot = at - _WRITING_AT
                if slot != self.slot and not self._is_alive(slot):
                    self._map[at] = 0
                at = self._map.find(b"\x01", at + 1)

    def oldest_pin(self) -> int:
        """The least pinned batch number of all living processes; NO_READER without any."""
        with self._mutex:
            seqs = self._cells.tolist()  # all at once: segments ask often
            pinned = [(seq, slot) for slot, seq in enumerate(seqs) if 0 < seq < NO_READER]
            for seq, slot in sorted(pinned):
                if slot == self.slot or self._is_alive(slot):
                    return seq
        return NO_READER

    def is_alive(self, slot: int) -> bool:
        """Whether a process holds `slot`."""
        with self._mutex:
            return slot == self.slot or self._is_alive(slot)

    def _is_alive(self, slot: int) -> bool:
        if not self._try_lock(slot):
            return True
        self._unlock(slot)
        return False

    def close(self) -> None:
        """Leave; the slot is free for another process."""
        with self._mutex:
            self._publish(NO_READER)
            self.note_writing(False)
            self._close_map()
        os.close(self._fd)

    def _close_map(self) -> None:
        self._cells.release()
        self._map.close()


class FileLock:
    """An advisory lock on a file, shared or exclusive; dropped when the process dies."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def try_exclusive(self) -> bool:
        return self._try(fcntl.LOCK_EX)

    def try_shared(self) -> bool:
        return self._try(fcntl.LOCK_SH)

    def _try(self, kind: int) -> bool:
        try:
            fcntl.flock(self._fd, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def release(self) -> None:
        fcntl.flock(self._fd, fcntl.LOCK_UN)

    def close(self) -> None:
        os.close(self._fd)


class SoleLock:
    """Held by one thread of one process at a time; never waited for.

    The lock on the file tells processes apart, but not the threads of one.
    """

    def __init__(self, path: Path) -> None:
        self._file = FileLock(path)
        self._mutex = threading.Lock()

    def try_exclusive(self) -> bool:
        if not self._mutex.acquire(blocking=False):
            return False
        if self._file.try_exclusive():
            return True
        self._mutex.release()
        return False

    def release(self) -> None:
        self._file.release()
        self._mutex.release()

    def close(self) -> None:
        self._file.close()
