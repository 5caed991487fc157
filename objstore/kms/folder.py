"""The folder of the keys: its lock, and the key file as it is found and replaced."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from blockdev.clock import Clock
from objstore.config import LOCK_POLL_NS, LOCK_WAIT_NS, MAX_KEY_FILE_BYTES
from objstore.errors import KeyServiceError, StoreLockedError
from objstore.kms.files import make_folder, replace

KEYS_NAME: Final = "keys"
LOCK_NAME: Final = "lock"
ROOT_NAME: Final = "root.key"


class Stamp(NamedTuple):
    """By which a file that took another's place, or was overwritten, is known."""

    inode: int
    modified_ns: int
    size_bytes: int


NO_FILE: Final = Stamp(0, 0, 0)


class KeyFolder:
    """The folder, which need not be there.  Not to be shared between threads without a lock,
    but for `stamp`.

    The key file that was read last stays open: its inode is then not given to another file,
    and an equal stamp means that nothing has changed.
    """

    def __init__(self, path: Path, clock: Clock) -> None:
        self.path = path
        self.keys = path / KEYS_NAME
        self._clock = clock
        self._held = -1

    def stamp(self) -> Stamp:
        """The key file's, as it is now; `NO_FILE` without one."""
        try:
            found = os.stat(self.keys)
        except FileNotFoundError:
            return NO_FILE
        except OSError as error:
            raise _told(self.keys, error) from error
        return Stamp(found.st_ino, found.st_mtime_ns, found.st_size)

    def read(self) -> tuple[Stamp, bytes]:
        """The key file, b"" without one.

        Raises:
            KeyServiceError: it cannot be read, or is too long to be one.
        """
        try:
            descriptor = os.open(self.keys, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            self.close()
            return NO_FILE, b""
        except OSError as error:
            raise _told(self.keys, error) from error
        self.close()
        self._held = descriptor
        found = os.fstat(descriptor)
        if found.st_size > MAX_KEY_FILE_BYTES:
            raise KeyServiceError(f"{self.keys} is too long for a key file; put back a copy of it")
        with open(descriptor, "rb", closefd=False) as file:
            data = file.read(MAX_KEY_FILE_BYTES)
        return Stamp(found.st_ino, found.st_mtime_ns, found.st_size), data

    def replace(self, data: bytes) -> None:
        """Have the key file hold `data`, durably, or remain as it was.  Needs the lock.

        Raises:
            KeyServiceError: it cannot be written.
        """
        try:
            replace(self.keys, data)
        except OSError as error:
            raise KeyServiceError(f"cannot write {self.keys}: {error.strerror}") from error

    @contextlib.contextmanager
    def locked(self, *, make: bool) -> Iterator[None]:
        """Be the only process at the files; without a folder there is nothing to lock.

        Args:
            make: the folder, if it is not there.

        Raises:
            StoreLockedError: another process has had the lock for a minute.
            KeyServiceError: the folder cannot be used.
        """
        descriptor = self._open_lock(make=make)
        if descriptor < 0:
            yield
            return
        try:
            self._wait(descriptor)
            yield
        finally:
            os.close(descriptor)

    def _open_lock(self, *, make: bool) -> int:
        """A descriptor of the lock file; -1 without a folder."""
        try:
            if make:
                make_folder(self.path)
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
            return os.open(self.path / LOCK_NAME, flags, 0o600)
        except FileNotFoundError:
            return -1
        except OSError as error:
            raise _told(self.path, error) from error

    def _wait(self, descriptor: int) -> None:
        deadline_ns = self._clock.monotonic_ns() + LOCK_WAIT_NS
        while True:
            try:
                return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                now_ns = self._clock.monotonic_ns()
            if now_ns >= deadline_ns:
                raise StoreLockedError(f"another process has had {self.path} for a minute")
            self._clock.sleep_until(now_ns + LOCK_POLL_NS)

    def close(self) -> None:
        """Let go of the key file; idempotent."""
        descriptor, self._held = self._held, -1
        if descriptor >= 0:
            os.close(descriptor)


def _told(path: Path, error: OSError) -> KeyServiceError:
    return KeyServiceError(f"cannot use {path}: {error.strerror}")
