"""What a server offers: devices under names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from blockdev.device import BlockDevice
from blockdev.nbd import protocol

_LEAST_PREFERRED_BYTES: Final = 512
_MOST_PREFERRED_BYTES: Final = 32 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Export:
    """A device that is served.  `rotational` tells clients to order their requests."""

    device: BlockDevice
    read_only: bool = False
    rotational: bool = False
    description: str = ""

    def flags(self, *, structured: bool) -> int:
        """The transmission flags.

        CAN_MULTI_CONN holds because all connections share the one device: a write that
        has been answered is visible through each of them, and a flush covers them all.
        """
        flags = (
            protocol.FLAG_HAS_FLAGS
            | protocol.FLAG_SEND_FLUSH
            | protocol.FLAG_SEND_FUA
            | protocol.FLAG_SEND_CACHE
            | protocol.FLAG_CAN_MULTI_CONN
        )
        if structured:
            flags |= protocol.FLAG_SEND_DF
        if self.rotational:
            flags |= protocol.FLAG_ROTATIONAL
        if self.read_only:
            return flags | protocol.FLAG_READ_ONLY
        return flags | protocol.FLAG_SEND_TRIM | protocol.FLAG_SEND_WRITE_ZEROES

    def preferred_bytes(self) -> int:
        """The geometry's preferred size as a power of two, which the protocol asks for."""
        rounded = 1 << (self.device.geometry.preferred_bytes - 1).bit_length()
        return min(max(rounded, _LEAST_PREFERRED_BYTES), _MOST_PREFERRED_BYTES)


class Exports:
    """Exports by name.  A single one is also the default, which clients ask for by "".

    Raises:
        ValueError: there is none, or a name is longer than the protocol allows.
    """

    def __init__(self, exports: Mapping[str, Export]) -> None:
        if not exports:
            raise ValueError("a server needs at least one export")
        for name in exports:
            if len(name.encode()) > protocol.MAX_STRING_BYTES or "\0" in name:
                raise ValueError(f"{name[:40]!r} cannot be the name of an export")
        self._exports = dict(exports)

    def items(self) -> list[tuple[str, Export]]:
        """Names and exports, in the order in which they were given."""
        return list(self._exports.items())

    def find(self, name: str) -> tuple[str, Export] | None:
        """The export of this name with the name that it is listed under."""
        if name in self._exports:
            return name, self._exports[name]
        if name == "" and len(self._exports) == 1:
            return self.items()[0]
        return None
