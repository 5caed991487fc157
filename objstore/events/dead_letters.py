"""Dead letters: events that could not be told, a file for each destination.

A line is JSON and is on the disk before the queue moves on.  Whoever has mended the cause
puts the events back into the outbox with `objstore events DATA_DIR --retry DESTINATION`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final
from urllib.parse import quote

import msgspec

from objstore.config import MAX_DEAD_LETTER_BYTES
from objstore.engine.outbox import OutboxEvent
from objstore.files import sync_folder, write_all
from objstore.index.schema import EventBody

FOLDER_NAME: Final = "dead-letters"
_SUFFIX: Final = ".jsonl"
_TAKEN: Final = ".retried"


class DeadLetters:
    """The files below a folder, which is made with the first letter."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def path(self, destination: str) -> Path:
        """The file of a destination."""
        return self._folder / (quote(destination, safe="") + _SUFFIX)

    def add(self, destination: str, events: Sequence[OutboxEvent], why: str, now_ms: int) -> bool:
        """Keep events, durably; False where the file is full.

        Raises:
            OSError: they cannot be kept.
        """
        self._folder.mkdir(mode=0o700, exist_ok=True)
        lines = b"".join(_line(event, why, now_ms) for event in events)
        fd = os.open(
            self.path(destination), os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600
        )
        try:
            size_bytes = os.fstat(fd).st_size
            if size_bytes + len(lines) > MAX_DEAD_LETTER_BYTES:
                return False
            if size_bytes and os.pread(fd, 1, size_bytes - 1) != b"\n":
                lines = b"\n" + lines  # half a line, from a kill: its event is still in the queue
            write_all(fd, lines)
            os.fdatasync(fd)
        finally:
            os.close(fd)
        sync_folder(self._folder)
        return True

    def take(self, destination: str) -> Path | None:
        """Set a destination's letters aside, to be put back; None without any.

        What was set aside before, and was not given up, comes first.
        """
        path = self.path(destination)
        taken = path.with_suffix(_TAKEN)
        if not taken.exists():
            if not path.exists():
                return None
            path.rename(taken)
            sync_folder(self._folder)
        return taken


def read(path: Path) -> Iterator[EventBody]:
    """The events of a file of letters; what a kill has left of a line is none."""
    with path.open("rb") as file:
        for line in file:
            try:
                yield msgspec.convert(json.loads(line)["event"], EventBody, strict=True)
            except (ValueError, KeyError, TypeError, msgspec.MsgspecError):
                continue


def _line(event: OutboxEvent, why: str, now_ms: int) -> bytes:
    letter = {
        "time_ms": now_ms,
        "why": why,
        "name": event.body.name,
        "bucket": event.body.bucket,
        "key": event.body.key,
        "event": msgspec.to_builtins(event.body),
    }
    return json.dumps(letter, separators=(",", ":")).encode() + b"\n"
