"""A device whose power can be cut: what was not made durable survives at random.

The device below holds what is durable.  What was written since is kept apart
here, sector by sector, every version of it, in the order it was written:

    plain write, write_zeroes, discard   one more version of each sector touched
    fua write                            to the device below, past every version
    flush                                the latest versions to the device below
    cut                                  each sector keeps any one of: its durable
                                         content, any of its versions

So a write can be torn, overtaken by a later one, or outlived by the older one
that it replaced, as by a disk that reorders its cache.  A write survives for
certain only by a flush that began after it returned, or by its own ``fua``: a
fua write makes no other write durable.

Meant for tests: unsynced data is held in memory at about twice its size.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Final

from blockdev.device import BlockDevice, Buffer, Extent, byte_view, check_range
from blockdev.errors import DeviceClosedError
from blockdev.filters.passthrough import Passthrough
from blockdev.filters.sectors import UnsyncedSectors
from blockdev.seeded import SeededNumbers

_CHANCE_STEPS: Final = 8
"""Each cut first draws how likely survival is, from 0 to 8 eighths: all lost and
all kept are the cases that a fixed chance would never meet."""


class PowerLossDevice(Passthrough):
    """`below`, with a power cord.  Thread safe: each call happens whole, before or after a cut."""

    def __init__(self, below: BlockDevice) -> None:
        super().__init__(below)
        self._lock = threading.Lock()
        self._unsynced = UnsyncedSectors(below)
        self._off = ""
        self._survivor: PowerLossDevice | None = None
        self._calls_left: int | None = None
        self._seed = 0

    @property
    def unsynced_bytes(self) -> int:
        """Bytes, in whole sectors, that a power cut could now take away."""
        with self._lock:
            return len(self._unsynced) * self._geometry.sector_bytes

    def cut(self, seed: int) -> PowerLossDevice:
        """Cut the power now; return the device as it is found when the power is back.

        From here on this object raises `DeviceClosedError`; the new one owns
        the device below.  The same writes and `seed` leave the same bytes.
        """
        with self._lock:
            self._check(0, 0)
            return self._cut(seed)

    def cut_during(self, call: int, seed: int) -> None:
        """Cut the power in the middle of the `call`-th change from now (1: the next one).

        Changes are write, write_zeroes, discard and flush.  That call raises
        `DeviceClosedError`; what it was about to make durable, a fua write or a
        flush, survives at random like all else.  Find the device by `restart`.

        Raises:
            ValueError: `call` is less than 1.
        """
        if call < 1:
            raise ValueError(f"calls are numbered from 1, not {call}")
        with self._lock:
            self._check(0, 0)
            self._calls_left = call
            self._seed = seed

    def restart(self) -> PowerLossDevice:
        """The device as it was found after the power cut; the same object each time.

        Raises:
            ValueError: the power was not cut.
        """
        with self._lock:
            if self._survivor is None:
                raise ValueError("the power was not cut")
            return self._survivor

    def read_into(self, offset_bytes: int, buffer: bytearray | memoryview) -> None:
        view = byte_view(buffer)
        with self._lock:
            self._check(offset_bytes, len(view))
            self._below.read_into(offset_bytes, view)
            self._unsynced.overlay(offset_bytes, view)

    def try_read_into(self, offset_bytes: int, buffer: bytearray | memoryview) -> bool:
        view = byte_view(buffer)
        with self._lock:
            self._check(offset_bytes, len(view))
            if not self._below.try_read_into(offset_bytes, view):
                return False
            self._unsynced.overlay(offset_bytes, view)
            return True

    def write(self, offset_bytes: int, data: Buffer, *, fua: bool = False) -> None:
        view = byte_view(data)
        with self._lock:
            self._check(offset_bytes, len(view))
            doomed = self._is_doomed()
            if fua and not doomed:
                self._below.write(offset_bytes, view, fua=True)
                self._unsynced.settle(offset_bytes, view)
            else:
                self._unsynced.add_write(offset_bytes, view)
            self._cut_if(doomed)

    def write_zeroes(self, offset_bytes: int, length_bytes: int) -> None:
        with self._lock:
            self._check(offset_bytes, length_bytes)
            doomed = self._is_doomed()
            self._unsynced.add_zeroes(offset_bytes, length_bytes, allocate=True)
            self._cut_if(doomed)

    def discard(self, offset_bytes: int, length_bytes: int) -> None:
        with self._lock:
            self._check(offset_bytes, length_bytes)
            doomed = self._is_doomed()
            self._unsynced.add_zeroes(offset_bytes, length_bytes, allocate=False)
            self._cut_if(doomed)

    def flush(self) -> None:
        with self._lock:
            self._check(0, 0)
            self._cut_if(self._is_doomed())
            self._unsynced.write_latest()
            self._below.flush()
            self._unsynced.clear()

    def extents(self, offset_bytes: int, length_bytes: int) -> Iterator[Extent]:
        with self._lock:
            self._check(offset_bytes, length_bytes)
            return iter(self._unsynced.extents(offset_bytes, length_bytes))

    def close(self) -> None:
        """Close, and leave what is unsynced in the device below, unflushed: no power was cut."""
        with self._lock:
            if self._off:
                return
            self._off = "the device is closed"
            try:
                self._unsynced.write_latest()
            finally:
                self._unsynced.clear()
                self._below.close()

    def _check(self, offset_bytes: int, length_bytes: int) -> None:
        if self._off:
            raise DeviceClosedError(self._off)
        check_range(self._geometry, offset_bytes, length_bytes)

    def _is_doomed(self) -> bool:
        """Count a change; whether it is the one that `cut_during` waits for."""
        if self._calls_left is None:
            return False
        self._calls_left -= 1
        return self._calls_left == 0

    def _cut_if(self, doomed: bool) -> None:
        if doomed:
            self._cut(self._seed)
            raise DeviceClosedError(self._off)

    def _cut(self, seed: int) -> PowerLossDevice:
        numbers = SeededNumbers(seed)
        chance = numbers.below(_CHANCE_STEPS + 1) / _CHANCE_STEPS
        self._unsynced.write_survivors(
            lambda versions: numbers.below(versions) if numbers.chance(chance) else None
        )
        self._below.flush()
        self._unsynced.clear()
        self._off = f"the power was cut (seed {seed})"
        self._survivor = PowerLossDevice(self._below)
        return self._survivor
