"""Which processes have a region open: a locked file each, so that a kill shows.

Rows that speak of a process (an open device, a copy at work) carry its owner's name.  The
kernel lets go of the lock when the process ends in whatever way, so a file that can be
locked belonged to one that is dead, and its rows are void.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Final

from blockdev.entropy import Entropy

_NAME_BYTES: Final = 8


class Owner:
    """This process's name in a region, valid until `close`."""

    def __init__(self, folder: Path, entropy: Entropy) -> None:
        folder.mkdir(exist_ok=True)
        self._folder = folder
        self.name, self._fd = _claim(folder, entropy)

    def dead(self, names: set[str]) -> set[str]:
        """Those of `names` whose process has ended."""
        return {name for name in names if name != self.name and _is_dead(self._folder / name)}

    def sweep(self) -> None:
        """Remove the files of processes that ended without saying so."""
        for path in self._folder.iterdir():
            if path.name != self.name:
                _is_dead(path)

    def close(self) -> None:
        """Give the name up; idempotent."""
        if self._fd >= 0:
            (self._folder / self.name).unlink(missing_ok=True)
            os.close(self._fd)
            self._fd = -1


def _claim(folder: Path, entropy: Entropy) -> tuple[str, int]:
    """A new name and its lock.

    Somebody who looks between the making of the file and its locking takes it for a dead
    one and removes it: then another name is claimed.
    """
    while True:
        name = entropy.token_bytes(_NAME_BYTES).hex()
        try:
            fd = os.open(folder / name, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except FileExistsError:
            continue
        fcntl.flock(fd, fcntl.LOCK_EX)
        if os.fstat(fd).st_nlink:
            return name, fd
        os.close(fd)


def _is_dead(path: Path) -> bool:
    """Whether nobody holds `path`; if so it is removed."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return True
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink(missing_ok=True)
    except BlockingIOError:
        return False
    finally:
        os.close(fd)
    return True
