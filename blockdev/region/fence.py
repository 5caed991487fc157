"""What keeps the I/O of a handle that was taken away from reaching the volume.

A call may wait above this layer, for the throttle, long after its handle was revoked.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Final

from blockdev.device import BlockDevice, Buffer, Extent
from blockdev.errors import DeviceClosedError
from blockdev.filters.passthrough import Passthrough

DRAIN_S: Final = 1.0
"""How long `drain` waits.  Only a write that a frozen volume holds up takes longer: whoever
thaws it may need a lock that the waiting thread has."""


class FenceDevice(Passthrough):
    """`below`, until `shut`; belongs right above the volume, one to each opening.

    Changes are counted while they are under way, so that there is a moment after which
    none takes effect any more; reads only look at the flag.
    """

    def __init__(self, below: BlockDevice) -> None:
        super().__init__(below)
        self._why = ""
        self._inside = 0
        self._lock = threading.Lock()
        self._empty = threading.Condition(self._lock)

    def shut(self, why: str) -> None:
        """Let every call from now on raise `DeviceClosedError` with the text `why`."""
        with self._lock:
            self._why = self._why or why

    def drain(self) -> bool:
        """Wait, once shut, until no change is under way; False if one still is after DRAIN_S."""
        with self._lock:
            return self._empty.wait_for(lambda: not self._inside, DRAIN_S)

    def read_into(self, offset_bytes: int, buffer: bytearray | memoryview) -> None:
        if self._why:
            raise DeviceClosedError(self._why)
        self._below.read_into(offset_bytes, buffer)

    def try_read_into(self, offset_bytes: int, buffer: bytearray | memoryview) -> bool:
        if self._why:
            raise DeviceClosedError(self._why)
        return self._below.try_read_into(offset_bytes, buffer)

    def write(self, offset_bytes: int, data: Buffer, *, fua: bool = False) -> None:
        self._enter()
        try:
            self._below.write(offset_bytes, data, fua=fua)
        finally:
            self._leave()

    def write_zeroes(self, offset_bytes: int, length_bytes: int) -> None:
        self._enter()
        try:
            self._below.write_zeroes(offset_bytes, length_bytes)
        finally:
            self._leave()

    def discard(self, offset_bytes: int, length_bytes: int) -> None:
        self._enter()
        try:
            self._below.discard(offset_bytes, length_bytes)
        finally:
            self._leave()

    def flush(self) -> None:
        if self._why:
            raise DeviceClosedError(self._why)
        self._below.flush()

    def extents(self, offset_bytes: int, length_bytes: int) -> Iterator[Extent]:
        if self._why:
            raise DeviceClosedError(self._why)
        return self._below.extents(offset_bytes, length_bytes)

    def _enter(self) -> None:
        with self._lock:
            if self._why:
                raise DeviceClosedError(self._why)
            self._inside += 1

    def _leave(self) -> None:
        with self._lock:
            self._inside -= 1
            if self._why and not self._inside:
                self._empty.notify_all()
