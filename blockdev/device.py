"""The block device contract, and how devices stack.

A block device is a range of bytes with reads, writes and flushes.  The
contract, which `tests/contract` holds every device and every filter to:

* offsets and lengths are in bytes, any alignment;
* buffers are contiguous; their length is counted in bytes whatever their item format;
* no short reads and no short writes: a call does all of it or raises;
* a request outside the device raises `OutOfRangeError` before any effect;
* a write is visible to readers when it returns, and durable once a later
  `flush` returns, or at once with ``fua=True`` (forced unit access);
* what was never written, discarded or written with zeroes reads as zero;
* a power cut may tear a write that was not made durable, at sector boundaries;
* concurrent calls on disjoint ranges are safe from any thread;
* once closed, every call but `geometry` and `close` raises `DeviceClosedError`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol, TypeAlias, runtime_checkable

from blockdev.errors import OutOfRangeError

Buffer: TypeAlias = bytes | bytearray | memoryview

SECTOR_BYTES = 512
"""The unit that a power cut does not tear, as on every disk since the 1980s."""


@dataclass(frozen=True, slots=True)
class Geometry:
    """The shape of a device; all figures in bytes.

    `size_bytes`: one past the last byte.
    `sector_bytes`: the unit that a power cut leaves whole.
    `preferred_bytes`: writes aligned to this are the fast ones.
    """

    size_bytes: int
    sector_bytes: int = SECTOR_BYTES
    preferred_bytes: int = 4096


@dataclass(frozen=True, slots=True)
class Extent:
    """A run of bytes that either holds data or reads as zero without storage."""

    offset_bytes: int
    length_bytes: int
    allocated: bool


@runtime_checkable
class BlockDevice(Protocol):
    """A range of bytes; see the module's text for the contract."""

    @property
    def geometry(self) -> Geometry:
        """Size and units; constant while the device is open."""
        ...

    def read_into(self, offset_bytes: int, buffer: bytearray | memoryview) -> None:
        """Fill `buffer` from `offset_bytes` on."""
        ...

    def try_read_into(self, offset_bytes: int, buffer: bytearray | memoryview) -> bool:
        """As `read_into`, but only if that would not block.

        Returns False, with `buffer` in any state, when it would: the caller
        then calls `read_into` from a thread that may wait.
        """
        ...

    def write(self, offset_bytes: int, data: Buffer, *, fua: bool = False) -> None:
        """Write `data` at `offset_bytes`; durable on return when `fua`."""
        ...

    def write_zeroes(self, offset_bytes: int, length_bytes: int) -> None:
        """Make a range read as zero while keeping its storage allocated (never a hole)."""
        ...

    def discard(self, offset_bytes: int, length_bytes: int) -> None:
        """Give a range's storage back; it reads as zero from now on."""
        ...

    def flush(self) -> None:
        """Make every write that returned before this call durable."""
        ...

    def extents(self, offset_bytes: int, length_bytes: int) -> Iterator[Extent]:
        """Allocated and empty runs of a range, in order and without gaps.

        The range is checked by the call itself; the runs are found as they are
        asked for, so a change made meanwhile may or may not show.
        """
        ...

    def close(self) -> None:
        """Release the device; idempotent.  Does not flush."""
        ...


Filter: TypeAlias = Callable[[BlockDevice], BlockDevice]


def stack(device: BlockDevice, *filters: Filter) -> BlockDevice:
    """Wrap `device` in `filters`, the last one named ending on top."""
    for wrap in filters:
        device = wrap(device)
    return device


def byte_view(buffer: Buffer) -> memoryview:
    """Look at a contiguous buffer as plain bytes, so that `len` counts bytes."""
    view = memoryview(buffer)
    if view.format == "B" and view.ndim == 1:
        return view
    return view.cast("B") if view.nbytes else memoryview(b"")


def check_range(geometry: Geometry, offset_bytes: int, length_bytes: int) -> None:
    """Raise `OutOfRangeError` unless the range lies within the device."""
    if offset_bytes < 0 or length_bytes < 0 or offset_bytes + length_bytes > geometry.size_bytes:
        raise OutOfRangeError(
            f"range {offset_bytes}+{length_bytes} lies outside a device of "
            f"{geometry.size_bytes} bytes"
        )
