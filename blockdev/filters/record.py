"""Writes down what is asked of a device, as an iolog that fio and `blockdev plan` replay.

The format is fio's, "Trace file format v2" and "v3" in its HOWTO: a line for each I/O, of a
file name, an action, an offset and a length in bytes; v3 puts the time in microseconds
before them, v2 has ``wait`` lines between.
"""

from __future__ import annotations

import threading
from typing import Final, Literal, TextIO

from blockdev.clock import Clock
from blockdev.device import BlockDevice, Buffer, byte_view, check_range
from blockdev.filters.passthrough import Passthrough

_BUFFERED_LINES: Final = 1024

SHORTEST_WAIT_US: Final = 100
"""fio ignores shorter ones; in v2 they are added up until they are longer."""


class RecordDevice(Passthrough):
    """`below`, with every call written to `sink` in the order in which it was made.

    A fua write is a write and a ``datasync``, a flush a ``sync``, a discard a ``trim``;
    written zeroes are a write.  Reads that `try_read_into` declines are not written down,
    nor is what is out of range.  Lines are held back until 1,024 have gathered; closing the
    device writes the rest and leaves `sink` open.

    `name`: of the file in the log.  It must not hold white space.

    Raises:
        ValueError: the name does, or the version is neither 2 nor 3.
    """

    def __init__(
        self,
        below: BlockDevice,
        sink: TextIO,
        clock: Clock,
        *,
        name: str = "disk",
        version: Literal[2, 3] = 3,
    ) -> None:
        if version not in (2, 3) or not name or name.split() != [name]:
            raise ValueError(f"no iolog of version {version} for a file named {name!r}")
        super().__init__(below)
        self._sink = sink
        self._now_ns = clock.monotonic_ns
        self._name = name
        self._version = version
        self._lock = threading.Lock()
        self._started_ns = self._waited_to_ns = clock.monotonic_ns()
        self._lines = [f"fio version {version} iolog\n"]
        self._is_open = True
        self._note("add")
        self._note("open")

    def read_into(self, offset_bytes: int, buffer: bytearray | memoryview) -> None:
        self._note_range("read", offset_bytes, byte_view(buffer).nbytes)
        self._below.read_into(offset_bytes, buffer)

    def try_read_into(self, offset_bytes: int, buffer: bytearray | memoryview) -> bool:
        if not self._below.try_read_into(offset_bytes, buffer):
            return False
        self._note_range("read", offset_bytes, byte_view(buffer).nbytes)
        return True

    def write(self, offset_bytes: int, data: Buffer, *, fua: bool = False) -> None:
        self._note_range("write", offset_bytes, byte_view(data).nbytes)
        if fua:
            self._note("datasync", 0, 0)
        self._below.write(offset_bytes, data, fua=fua)

    def write_zeroes(self, offset_bytes: int, length_bytes: int) -> None:
        self._note_range("write", offset_bytes, length_bytes)
        self._below.write_zeroes(offset_bytes, length_bytes)

    def discard(self, offset_bytes: int, length_bytes: int) -> None:
        self._note_range("trim", offset_bytes, length_bytes)
        self._below.discard(offset_bytes, length_bytes)

    def flush(self) -> None:
        self._note("sync", 0, 0)
        self._below.flush()

    def close(self) -> None:
        if self._is_open:
            self._note("close")
            with self._lock:
                self._is_open = False
                self._write_out()
        self._below.close()

    def _note_range(self, action: str, offset_bytes: int, length_bytes: int) -> None:
        check_range(self._geometry, offset_bytes, length_bytes)
        if length_bytes:
            self._note(action, offset_bytes, length_bytes)

    def _note(self, action: str, *where: int) -> None:
        """Add a line; the time is taken under the lock, so that times never go back."""
        with self._lock:
            if not self._is_open:
                return
            words = [self._name, action, *map(str, where)]
            now_ns = self._now_ns()
            if self._version == 3:
                words.insert(0, str((now_ns - self._started_ns) // 1000))
            else:
                self._wait_until(now_ns)
            self._lines.append(" ".join(words) + "\n")
            if len(self._lines) >= _BUFFERED_LINES:
                self._write_out()

    def _wait_until(self, now_ns: int) -> None:
        wait_us = (now_ns - self._waited_to_ns) // 1000
        if wait_us >= SHORTEST_WAIT_US:
            self._lines.append(f"{self._name} wait {wait_us} 0\n")
            self._waited_to_ns += wait_us * 1000

    def _write_out(self) -> None:
        self._sink.write("".join(self._lines))
        self._lines.clear()
