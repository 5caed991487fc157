"""Raw images into devices and out of them, holes kept as holes."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TypeAlias

from blockdev.device import BlockDevice, Extent
from blockdev.model import SNAPSHOT_BLOCK_BYTES

Advance: TypeAlias = Callable[[int], None]
"""Told how many bytes more are done, holes included."""

PIECE_BYTES: Final = 64 * 1024
"""What is copied at once, aligned.  A piece of nothing but zeroes becomes a hole."""

_ZEROES: Final = bytes(SNAPSHOT_BLOCK_BYTES)
_SHRUNK: Final = "the image became shorter while it was read"
_WHOLE: Final = frozenset({errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS, errno.ESPIPE})


def image_bytes(path: Path) -> int:
    """How large an image file, or a raw disk, is.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        return file.seek(0, os.SEEK_END)


def copy_in(path: Path, device: BlockDevice, advance: Advance) -> int:
    """Write an image over the start of a device, durably; what lies behind it is left alone.

    Where the image has a hole the device is given back its storage.  Returns the bytes that
    were written, which zeroes are not.

    Raises:
        OSError: the image cannot be read.
        DeviceError: the device fails, or is smaller than the image.
    """
    written_bytes = 0
    with path.open("rb") as file:
        size_bytes = file.seek(0, os.SEEK_END)
        for extent in _file_extents(file.fileno(), size_bytes):
            for at, length_bytes in _pieces(extent):
                data = _read_piece(file.fileno(), at, length_bytes) if extent.allocated else b""
                if data and data != _ZEROES[:length_bytes]:
                    device.write(at, data)
                    written_bytes += length_bytes
                else:
                    _clear(device, at, length_bytes)
                advance(length_bytes)
        if file.seek(0, os.SEEK_END) < size_bytes:  # what is gone looked like a hole
            raise OSError(errno.EIO, _SHRUNK)
    device.flush()
    return written_bytes


def device_blocks(device: BlockDevice, advance: Advance) -> Iterator[tuple[int, memoryview]]:
    """Offsets and bytes of all that a device stores; each is valid until the next."""
    buffer = memoryview(bytearray(PIECE_BYTES))
    for extent in device.extents(0, device.geometry.size_bytes):
        if not extent.allocated:
            advance(extent.length_bytes)
            continue
        for at, length_bytes in _pieces(extent):
            piece = buffer[:length_bytes]
            device.read_into(at, piece)
            yield at, piece
            advance(length_bytes)


def copy_out(path: Path, size_bytes: int, blocks: Iterable[tuple[int, bytes | memoryview]]) -> int:
    """Make an image file of `size_bytes` that holds `blocks`, sparse and durable.

    The file appears under its name when it is whole, in place of one of that name.
    Returns the bytes that were written, which zeroes are not.

    Raises:
        OSError: the file cannot be written.
    """
    written_bytes = 0
    with _appearing(path) as fd:
        os.ftruncate(fd, size_bytes)
        for at, data in blocks:
            if data != _ZEROES[: len(data)]:
                _write_piece(fd, at, memoryview(data))
                written_bytes += len(data)
    return written_bytes


@contextmanager
def _appearing(path: Path) -> Iterator[int]:
    """A file to write to that takes its name only if all went well."""
    partial = path.with_name(path.name + ".partial")
    fd = os.open(partial, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)
    try:
        yield fd
        os.fsync(fd)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    finally:
        os.close(fd)
    os.replace(partial, path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _clear(device: BlockDevice, offset_bytes: int, length_bytes: int) -> None:
    """Have a range read as zero; what does so already is not touched."""
    for extent in list(device.extents(offset_bytes, length_bytes)):
        if extent.allocated:
            device.discard(extent.offset_bytes, extent.length_bytes)


def _pieces(extent: Extent) -> Iterator[tuple[int, int]]:
    """Cut a range at multiples of a piece."""
    at, end_bytes = extent.offset_bytes, extent.offset_bytes + extent.length_bytes
    while at < end_bytes:
        stop = min((at // PIECE_BYTES + 1) * PIECE_BYTES, end_bytes)
        yield at, stop - at
        at = stop


def _file_extents(fd: int, size_bytes: int) -> Iterator[Extent]:
    """Data and holes of a file in whole pieces; all is data where the file system cannot say."""
    at = 0
    while at < size_bytes:
        data_start = _seek(fd, at, os.SEEK_DATA, size_bytes)
        first = data_start if data_start == size_bytes else data_start // PIECE_BYTES * PIECE_BYTES
        if first > at:
            yield Extent(at, first - at, allocated=False)
            at = first
        if at < size_bytes:
            hole_start = _seek(fd, data_start, os.SEEK_HOLE, size_bytes)
            end_bytes = min(-(-hole_start // PIECE_BYTES) * PIECE_BYTES, size_bytes)
            yield Extent(at, end_bytes - at, allocated=True)
            at = end_bytes


def _seek(fd: int, at: int, whence: int, size_bytes: int) -> int:
    try:
        return min(os.lseek(fd, at, whence), size_bytes)
    except OSError as error:
        if error.errno == errno.ENXIO:  # nothing but a hole up to the end
            return size_bytes
        if error.errno in _WHOLE:
            return at if whence == os.SEEK_DATA else size_bytes
        raise


def _read_piece(fd: int, at: int, length_bytes: int) -> bytes:
    data = os.pread(fd, length_bytes, at)
    while len(data) < length_bytes:
        more = os.pread(fd, length_bytes - len(data), at + len(data))
        if not more:
            raise OSError(errno.EIO, _SHRUNK)
        data += more
    return data


def _write_piece(fd: int, at: int, view: memoryview) -> None:
    while view:
        count = os.pwrite(fd, view, at)
        at, view = at + count, view[count:]
