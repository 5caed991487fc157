"""Where lines of access logs wait for their delivery: files that outlive a kill.

    run/access-logs/INSTANCE/lock                       held while the process lives
    run/access-logs/INSTANCE/BUCKET@2026-11-27.open     lines that are being added
    run/access-logs/INSTANCE/BUCKET@2026-11-27@STAMP    an object to be: its key has STAMP

A file gets its stamp before it is delivered, so that one that was delivered and could not be
removed before a kill is delivered again under the same key.  Of processes that are gone,
whoever finds the lock free delivers what is left.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from objstore.engine.sharing import SoleLock
from objstore.files import write_all

FOLDER_NAME: Final = "access-logs"
_LOCK: Final = "lock"
_OPEN: Final = ".open"
_BETWEEN: Final = "@"
_MAKING: Final = "."


@dataclass(frozen=True, slots=True)
class Batch:
    """Lines of one bucket and day that are to be one object."""

    bucket: str
    day: str
    stamp: str
    path: Path

    @property
    def size_bytes(self) -> int:
        """How many bytes wait; none where nobody can tell."""
        try:
            return self.path.stat().st_size
        except OSError:
            return 0

    def read(self) -> bytes:
        """The lines; whole ones, where a kill left half a line."""
        data = self.path.read_bytes()
        return data[: data.rfind(b"\n") + 1]


class Spool:
    """The files of one process, and of those that are gone.

    Args:
        folder: `FOLDER_NAME` below the store's ``run``; made when there is something to keep.
        instance: a name that no other process has.
    """

    def __init__(self, folder: Path, instance: str) -> None:
        self._folder = folder
        self._own = folder / instance
        self._lock: SoleLock | None = None

    def add(self, bucket: str, day: str, lines: bytes) -> int:
        """Add lines; how many bytes wait for the same object.

        Raises:
            OSError: they cannot be kept.
        """
        self._take()
        path = self._own / f"{bucket}{_BETWEEN}{day}{_OPEN}"
        fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            size_bytes = os.fstat(fd).st_size
            try:
                write_all(fd, lines)
            except OSError:
                os.ftruncate(fd, size_bytes)  # no half line
                raise
            return size_bytes + len(lines)
        finally:
            os.close(fd)

    def seal(self, bucket: str, day: str, stamp: str) -> None:
        """Have what was added become an object of its own."""
        path = self._own / f"{bucket}{_BETWEEN}{day}"
        os.rename(path.with_name(path.name + _OPEN), f"{path}{_BETWEEN}{stamp}")

    def open_ones(self) -> list[tuple[str, str]]:
        """Bucket and day of what lines were added to and that is not sealed."""
        if self._lock is None:
            return []
        names = [path.name for path in self._own.iterdir() if path.name.endswith(_OPEN)]
        return [_pair(name.removesuffix(_OPEN)) for name in sorted(names)]

    def batches(self) -> Iterator[Batch]:
        """What is sealed, oldest first of a bucket."""
        if self._lock is None:
            return
        for path in sorted(self._own.iterdir()):
            bucket, _, rest = path.name.partition(_BETWEEN)
            day, _, stamp = rest.partition(_BETWEEN)
            if stamp:
                yield Batch(bucket, day, stamp, path)

    def adopt(self, stamp: Callable[[], str]) -> bool:
        """Take over the files of processes that are gone; whether there were any.

        Args:
            stamp: makes a stamp for what was not sealed.

        Raises:
            OSError: some could not be had; those that could, were.
        """
        if not self._folder.is_dir():
            return False
        found = False
        trouble: OSError | None = None
        for other in sorted(self._folder.iterdir()):
            if other != self._own and other.is_dir() and not other.name.startswith(_MAKING):
                try:
                    found |= self._adopt(other, stamp)
                except OSError as error:
                    trouble = error
        if trouble is not None:
            raise trouble
        return found

    def _adopt(self, other: Path, stamp: Callable[[], str]) -> bool:
        try:
            lock = SoleLock(other / _LOCK)
        except FileNotFoundError:  # somebody else was first
            return False
        try:
            if not lock.try_exclusive():
                return False
            names = [path.name for path in other.iterdir() if path.name != _LOCK]
            if names:
                self._take()
            for name in names:
                sealed = name
                if name.endswith(_OPEN):
                    sealed = f"{name.removesuffix(_OPEN)}{_BETWEEN}{stamp()}"
                os.rename(other / name, self._own / sealed)
            shutil.rmtree(other, ignore_errors=True)
            return bool(names)
        except FileNotFoundError:
            return False
        finally:
            lock.close()

    def close(self) -> None:
        """Leave nothing behind where nothing waits; else somebody finds it."""
        if self._lock is None:
            return
        if all(path.name == _LOCK for path in self._own.iterdir()):
            shutil.rmtree(self._own, ignore_errors=True)
        self._lock.close()
        self._lock = None

    def _take(self) -> None:
        """Make the process's own folder, which nobody sees before its lock is held."""
        if self._lock is not None:
            return
        making = self._own.with_name(_MAKING + self._own.name)
        making.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = SoleLock(making / _LOCK)
        try:
            lock.try_exclusive()
            os.rename(making, self._own)
        except OSError:
            lock.close()
            raise
        self._lock = lock


def _pair(name: str) -> tuple[str, str]:
    bucket, _, day = name.partition(_BETWEEN)
    return bucket, day
