"""The lock that says which process holds a volume."""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path
from typing import Final

from blockdev.errors import DeviceOpenError

LOCK_NAME: Final = "lock"


class VolumeHeldError(DeviceOpenError):
    """Another process, or another object of this one, has the volume open."""


class FolderLock:
    """An exclusive `flock` on a file in a volume's folder.

    The kernel lets go of it when the process ends, however it ends.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    @classmethod
    def acquire(cls, folder: Path) -> FolderLock:
        """Take the lock, at once.

        Raises:
            VolumeHeldError: somebody has it.
            DeviceOpenError: there is no such folder, or it is not ours to write to.
        """
        try:
            descriptor = os.open(folder / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise DeviceOpenError(f"{folder.name}: {error.strerror}") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise VolumeHeldError(f"{folder.name} is open already") from None
        return cls(descriptor)

    def release(self) -> None:
        """Let go; idempotent."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


def is_held(folder: Path) -> bool:
    """Whether some process has the volume of this folder open now."""
    with contextlib.suppress(DeviceOpenError):
        FolderLock.acquire(folder).release()
        return False
    return (folder / LOCK_NAME).exists()
