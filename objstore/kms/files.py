"""Small files that are there whole or not at all, for their owner alone, and durable."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from objstore.files import sync_folder


def replace(path: Path, data: bytes) -> None:
    """Have the file at `path` hold `data`, or remain as it was.

    Raises:
        OSError: it cannot be written.
    """
    with _draft(path, data) as draft:
        os.replace(draft, path)
        sync_folder(path.parent)


def appear(path: Path, data: bytes) -> None:
    """Make the file at `path`, or leave the one that is there.

    Raises:
        OSError: it cannot be written.
    """
    with _draft(path, data) as draft:
        # A link does not replace: of two processes at once, one makes the file.
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
        os.unlink(draft)
        sync_folder(path.parent)


def make_folder(path: Path) -> None:
    """Make a folder and those above it, durably, unless they are there.

    Raises:
        OSError: it cannot be made.
    """
    if path.is_dir():
        return
    make_folder(path.parent)
    path.mkdir(mode=0o700, exist_ok=True)
    sync_folder(path.parent)


@contextlib.contextmanager
def _draft(path: Path, data: bytes) -> Iterator[Path]:
    """`data` in a durable file beside `path`; gone when anything goes wrong.

    Its name is always the same, so that what a killed process left behind is overwritten.
    """
    draft = path.with_name(f"{path.name}.new")
    with contextlib.suppress(FileNotFoundError):
        os.unlink(draft)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with open(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        yield draft
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(draft)
        raise
