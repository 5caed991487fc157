"""What a caller of `Region.open_volume` gets: the device stack of a volume, until it is closed.

From the top: handle, metrics, throttle, delay, fence, live volume.  All openings share the
volume, its budget and its figures; the fence is the caller's own, so that closing the
handle, or a forced detachment, concerns nobody else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NoReturn

from blockdev.clock import Clock
from blockdev.device import BlockDevice, Buffer, Extent, Geometry
from blockdev.errors import DeviceClosedError
from blockdev.filters.passthrough import Passthrough
from blockdev.region.fence import FenceDevice


class VolumeHandle:
    """One opening of a volume; a `BlockDevice`.

    `device` is its stack, with `fence` at the bottom of it.  Its geometry grows when the
    volume does.
    """

    def __init__(
        self,
        volume_id: str,
        instance_id: str,
        device: BlockDevice,
        fence: FenceDevice,
        release: Callable[[VolumeHandle], None],
    ) -> None:
        self._volume_id = volume_id
        self._instance_id = instance_id
        self._device = device
        self._fence = fence
        self._release = release
        self._geometry = device.geometry
        self._is_closed = False

    @property
    def volume_id(self) -> str:
        """The volume that this is an opening of."""
        return self._volume_id

    @property
    def instance_id(self) -> str:
        """The instance that opened it, or ``""``."""
        return self._instance_id

    @property
    def geometry(self) -> Geometry:
        return self._geometry

    def read_into(self, offset_bytes: int, buffer: bytearray | memoryview) -> None:
        self._device.read_into(offset_bytes, buffer)

    def try_read_into(self, offset_bytes: int, buffer: bytearray | memoryview) -> bool:
        return self._device.try_read_into(offset_bytes, buffer)

    def write(self, offset_bytes: int, data: Buffer, *, fua: bool = False) -> None:
        self._device.write(offset_bytes, data, fua=fua)

    def write_zeroes(self, offset_bytes: int, length_bytes: int) -> None:
        self._device.write_zeroes(offset_bytes, length_bytes)

    def discard(self, offset_bytes: int, length_bytes: int) -> None:
        self._device.discard(offset_bytes, length_bytes)

    def flush(self) -> None:
        self._device.flush()

    def extents(self, offset_bytes: int, length_bytes: int) -> Iterator[Extent]:
        return self._device.extents(offset_bytes, length_bytes)

    def close(self) -> None:
        """Give the volume back; the last opening in the process lets go of its files."""
        if not self._is_closed:
            self._is_closed = True
            self.revoke("the volume's device is closed")
            self._release(self)

    def put_on(self, device: BlockDevice) -> None:
        """Go on over another stack of the same volume: it has grown, or is about to."""
        self._device = device
        self._geometry = device.geometry

    def revoke(self, why: str) -> None:
        """Let every call but `geometry` and `close` raise `DeviceClosedError` from now on, those
        that wait for the throttle included."""
        self._fence.shut(why)
        self._device = _Closed(self._geometry, why)

    def drain(self) -> bool:
        """Wait, once revoked, for changes under way; see `FenceDevice.drain`."""
        return self._fence.drain()


class _Closed:
    """The device of a handle that has none any more."""

    def __init__(self, geometry: Geometry, why: str) -> None:
        self._geometry = geometry
        self._why = why

    @property
    def geometry(self) -> Geometry:
        return self._geometry

    def read_into(self, offset_bytes: int, buffer: bytearray | memoryview) -> None:
        self._refuse()

    def try_read_into(self, offset_bytes: int, buffer: bytearray | memoryview) -> bool:
        self._refuse()

    def write(self, offset_bytes: int, data: Buffer, *, fua: bool = False) -> None:
        self._refuse()

    def write_zeroes(self, offset_bytes: int, length_bytes: int) -> None:
        self._refuse()

    def discard(self, offset_bytes: int, length_bytes: int) -> None:
        self._refuse()

    def flush(self) -> None:
        self._refuse()

    def extents(self, offset_bytes: int, length_bytes: int) -> Iterator[Extent]:
        self._refuse()

    def close(self) -> None:
        """Nothing is left to close."""

    def _refuse(self) -> NoReturn:
        raise DeviceClosedError(self._why)


class WatchDevice(Passthrough):
    """`below`, calling `due` at the first request at or after `at_ns` of the wall clock.

    Only while a modification is about to take effect: with simulated time there is nobody
    but the next request to notice that its moment has come.  `due` puts the handles on
    another stack, this request included in what comes after it.
    """

    def __init__(
        self, below: BlockDevice, clock: Clock, at_ns: int, due: Callable[[], BlockDevice]
    ) -> None:
        super().__init__(below)
        self._now_ns = clock.now_ns
        self._at_ns = at_ns
        self._due = due

    def _current(self) -> BlockDevice:
        return self._below if self._now_ns() < self._at_ns else self._due()

    def read_into(self, offset_bytes: int, buffer: bytearray | memoryview) -> None:
        self._current().read_into(offset_bytes, buffer)

    def try_read_into(self, offset_bytes: int, buffer: bytearray | memoryview) -> bool:
        return self._current().try_read_into(offset_bytes, buffer)

    def write(self, offset_bytes: int, data: Buffer, *, fua: bool = False) -> None:
        self._current().write(offset_bytes, data, fua=fua)

    def write_zeroes(self, offset_bytes: int, length_bytes: int) -> None:
        self._current().write_zeroes(offset_bytes, length_bytes)

    def discard(self, offset_bytes: int, length_bytes: int) -> None:
        self._current().discard(offset_bytes, length_bytes)

    def flush(self) -> None:
        self._current().flush()

    def extents(self, offset_bytes: int, length_bytes: int) -> Iterator[Extent]:
        return self._current().extents(offset_bytes, length_bytes)
