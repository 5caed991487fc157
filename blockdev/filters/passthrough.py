"""A filter that changes nothing, and the base of those that do.

Every method is forwarded by name.  There is no `__getattr__`: a method added
to the contract must fail to type-check here before it can slip through a
layer that has not thought about it.
"""

from __future__ import annotations

from collections.abc import Iterator

from blockdev.device import BlockDevice, Buffer, Extent, Geometry


class Passthrough:
    """The device `below`, unchanged; closing it closes `below`."""

    def __init__(self, below: BlockDevice) -> None:
        self._below = below
        self._geometry = below.geometry

    @property
    def below(self) -> BlockDevice:
        """The device that this layer lies on."""
        return self._below

    def rebase(self, below: BlockDevice) -> None:
        """Go on over another device in place of the one below, such as that one, grown.

        For layers that keep no knowledge of it but its geometry.
        """
        self._below = below
        self._geometry = below.geometry

    @property
    def geometry(self) -> Geometry:
        return self._geometry

    def read_into(self, offset_bytes: int, buffer: bytearray | memoryview) -> None:
        self._below.read_into(offset_bytes, buffer)

    def try_read_into(self, offset_bytes: int, buffer: bytearray | memoryview) -> bool:
        return self._below.try_read_into(offset_bytes, buffer)

    def write(self, offset_bytes: int, data: Buffer, *, fua: bool = False) -> None:
        self._below.write(offset_bytes, data, fua=fua)

    def write_zeroes(self, offset_bytes: int, length_bytes: int) -> None:
        self._below.write_zeroes(offset_bytes, length_bytes)

    def discard(self, offset_bytes: int, length_bytes: int) -> None:
        self._below.discard(offset_bytes, length_bytes)

    def flush(self) -> None:
        self._below.flush()

    def extents(self, offset_bytes: int, length_bytes: int) -> Iterator[Extent]:
        return self._below.extents(offset_bytes, length_bytes)

    def close(self) -> None:
        self._below.close()
