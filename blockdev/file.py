"""A block device kept in a file or on a raw disk.

Several processes may open the same file at once, each through an object of
its own, and any number of threads may share one object: all I/O names its
offset, and the device keeps no position and no cache.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Iterator
from typing import Final

from blockdev import linux
from blockdev.device import Buffer, Extent, Geometry, byte_view, check_range
from blockdev.errors import (
    DeviceClosedError,
    DeviceError,
    DeviceFullError,
    DeviceIOError,
    DeviceOpenError,
)

WRITEBACK_BYTES: Final = 1024 * 1024
"""Plain writes are handed to the disk each time this much has gathered, so that
the flush at the end finds little left to do (10 to 20 % more throughput on large objects)."""

DIRECT_BYTES: Final = 256 * 1024
"""Plain writes from this size on go past the page cache where they can.

What is written in such pieces is on its way to the disk anyway.  The copy into the cache, its
pages and their writeback cost 15 times the CPU of handing the disk the caller's memory; several
streams into one file wait for each other's copies besides (docs/design/0003 has the figures).
The first reader pays: it has to wait for the disk."""

_DIRECT_ALIGNMENT: Final = 4096
"""Of offset and length: no file system or disk here wants more, and pages stay whole."""

DISCARD_BYTES: Final = 2 * 1024 * 1024
"""Discards are cut into pieces of this size.  The file system lets nobody write while it frees
blocks: 128 MiB in one call keep a writer waiting for 14 ms, and a row of such calls lets one
write through between two, 80 MB/s; in pieces it is 1.3 ms, and 1 GB/s."""

_ZEROES: Final = memoryview(bytes(1024 * 1024))
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
_UNSUPPORTED: Final = frozenset({errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL})

_RWF_DSYNC: Final = getattr(os, "RWF_DSYNC", 0)
_RWF_NOWAIT: Final = getattr(os, "RWF_NOWAIT", 0)


class _Descriptor:
    """A file descriptor that closes when nobody uses it any more.

    Each call holds a reference while it runs.  `FileDevice.close` in one thread
    can therefore not hand the number to another file while a second thread is
    between looking it up and writing to it.
    """

    __slots__ = ("fd",)

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def __del__(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)


_CLOSED: Final = _Descriptor(-1)
"""What a closed device points at: the kernel refuses to read or write it (EBADF),
so that the fast paths need no test of their own."""


class FileDevice:
    """A device over an open file or disk; make one with `FileDevice.open`."""

    def __init__(self, descriptor: _Descriptor, path: str, geometry: Geometry) -> None:
        self._descriptor = descriptor
        self._path = path
        self._geometry = geometry
        self._size_bytes = geometry.size_bytes
        self._is_disk = stat.S_ISBLK(os.fstat(descriptor.fd).st_mode)
        self._in_memory = linux.is_in_memory(descriptor.fd)
        self._dsync_flag = _RWF_DSYNC
        self._nowait_flag = _RWF_NOWAIT
        self._gathered_bytes = 0
        self._direct = None if self._in_memory else _open_direct(path, descriptor.fd)

    @classmethod
    def open(cls, path: str | os.PathLike[str], *, size_bytes: int | None = None) -> FileDevice:
        """Open the file or raw disk at `path`, making a sparse file if there is none.

        `size_bytes` is the size of the device.  A new (or empty) file is grown
        to it; an existing one is never cut, and may be larger: then only its
        first `size_bytes` are the device.  Without it the file must exist and
        the device is as large as the file.  New files can be read and written
        by their owner only, and are durable when this returns.

        Raises:
            DeviceOpenError: missing, not a file or disk, not permitted, or
                smaller than `size_bytes`.
            DeviceFullError: no space to create the file.
        """
        name = os.fspath(path)
        if size_bytes is not None and size_bytes < 1:
            raise DeviceOpenError(f"{name}: no device of {size_bytes} bytes")
        try:
            descriptor = _open_or_create(name, create=size_bytes is not None)
            geometry = _prepare(descriptor.fd, name, size_bytes)
        except OSError as error:
            kind = DeviceFullError if error.errno in _FULL else DeviceOpenError
            raise kind(f"{name}: cannot open: {error.strerror}") from error
        return cls(descriptor, name, geometry)

    @property
    def geometry(self) -> Geometry:
        return self._geometry

    @property
    def path(self) -> str:
        """The path that the device was opened with."""
        return self._path

    # The next three are on the path of every small request, so they spell out
    # what `check_range` and `byte_view` do instead of calling them.

    def read_into(self, offset_bytes: int, buffer: bytearray | memoryview) -> None:
        length_bytes = buffer.nbytes if isinstance(buffer, memoryview) else len(buffer)
        if offset_bytes < 0 or offset_bytes + length_bytes > self._size_bytes:
            check_range(self._geometry, offset_bytes, length_bytes)
        descriptor = self._descriptor
        try:
            done_bytes = os.preadv(descriptor.fd, (buffer,), offset_bytes)
            if done_bytes != length_bytes:
                self._read_rest(descriptor, offset_bytes, buffer, done_bytes)
        except OSError as error:
            raise self._failure(error, "read", offset_bytes, length_bytes) from error

    def try_read_into(self, offset_bytes: int, buffer: bytearray | memoryview) -> bool:
        """As the contract says; True only for what the page cache holds whole.

        A file system in memory (tmpfs) does not know RWF_NOWAIT but never
        waits either: there this is a plain read.  Any other that does not know
        it (overlayfs, NFS, FUSE) gets False for an answer every time, because
        a read of theirs may take as long as the network or another process.
        """
        length_bytes = buffer.nbytes if isinstance(buffer, memoryview) else len(buffer)
        if offset_bytes < 0 or offset_bytes + length_bytes > self._size_bytes:
            check_range(self._geometry, offset_bytes, length_bytes)
        if not self._nowait_flag:
            return self._read_if_in_memory(offset_bytes, buffer)
        descriptor = self._descriptor
        try:
            return os.preadv(descriptor.fd, (buffer,), offset_bytes, self._nowait_flag) == (
                length_bytes
            )
        except BlockingIOError:
            return False
        except OSError as error:
            if error.errno not in _UNSUPPORTED:
                raise self._failure(error, "read", offset_bytes, length_bytes) from error
            self._nowait_flag = 0
            return self._read_if_in_memory(offset_bytes, buffer)

    def write(self, offset_bytes: int, data: Buffer, *, fua: bool = False) -> None:
        length_bytes = data.nbytes if isinstance(data, memoryview) else len(data)
        if offset_bytes < 0 or offset_bytes + length_bytes > self._size_bytes:
            check_range(self._geometry, offset_bytes, length_bytes)
        descriptor = self._descriptor
        try:
            if fua:
                self._write_durably(descriptor, offset_bytes, data, length_bytes)
                return
            if length_bytes >= DIRECT_BYTES and self._write_directly(
                descriptor, offset_bytes, data, length_bytes
            ):
                return
            done_bytes = os.pwrite(descriptor.fd, data, offset_bytes)
            if done_bytes != length_bytes:
                _write_all(descriptor.fd, offset_bytes, byte_view(data), done_bytes, 0)
        except OSError as error:
            raise self._failure(error, "write", offset_bytes, length_bytes) from error
        self._gathered_bytes += length_bytes
        if self._gathered_bytes >= WRITEBACK_BYTES:
            self._start_writeback(descriptor, offset_bytes, length_bytes)

    def write_zeroes(self, offset_bytes: int, length_bytes: int) -> None:
        """As the contract says, with real writes.

        Space that was only reserved (fallocate) has to be marked as written
        when it first is, a journal commit each time: a durable append into it
        takes twice as long as into zeroes that were really written.
        """
        self._check(offset_bytes, length_bytes)
        for start in range(0, length_bytes, len(_ZEROES)):
            piece = _ZEROES[: length_bytes - start]
            self.write(offset_bytes + start, piece)

    def discard(self, offset_bytes: int, length_bytes: int) -> None:
        """As the contract says: a hole where the file system or disk can make one, else zeroes.

        A disk takes whole blocks only; the odd ends are written with zeroes.
        """
        descriptor = self._check(offset_bytes, length_bytes)
        if length_bytes == 0:
            return
        unit_bytes = self._geometry.preferred_bytes
        first = -(-offset_bytes // unit_bytes) * unit_bytes
        last = (offset_bytes + length_bytes) // unit_bytes * unit_bytes
        if not self._is_disk:
            first, last = offset_bytes, offset_bytes + length_bytes
        if first >= last or not self._punch(descriptor, first, last - first):
            self.write_zeroes(offset_bytes, length_bytes)
            return
        self.write_zeroes(offset_bytes, first - offset_bytes)
        self.write_zeroes(last, offset_bytes + length_bytes - last)

    def flush(self) -> None:
        descriptor = self._check(0, 0)
        self._gathered_bytes = 0
        try:
            os.fdatasync(descriptor.fd)
        except OSError as error:
            raise self._failure(error, "flush", 0, self._size_bytes) from error

    def extents(self, offset_bytes: int, length_bytes: int) -> Iterator[Extent]:
        self._check(offset_bytes, length_bytes)
        return self._find_extents(offset_bytes, offset_bytes + length_bytes)

    def close(self) -> None:
        self._descriptor = _CLOSED
        self._direct = None

    def _check(self, offset_bytes: int, length_bytes: int) -> _Descriptor:
        """Check a range, and return the descriptor to use throughout the call."""
        descriptor = self._descriptor
        if descriptor is _CLOSED:
            raise DeviceClosedError(f"{self._path}: the device is closed")
        check_range(self._geometry, offset_bytes, length_bytes)
        return descriptor

    def _read_rest(
        self,
        descriptor: _Descriptor,
        offset_bytes: int,
        buffer: bytearray | memoryview,
        done_bytes: int,
    ) -> None:
        """Go on after a short read (a signal, or more than 2 GiB asked for)."""
        view = byte_view(buffer)
        while done_bytes < len(view):
            count = os.preadv(descriptor.fd, (view[done_bytes:],), offset_bytes + done_bytes)
            if count == 0:
                raise OSError(errno.EIO, "the file has been cut short")
            done_bytes += count

    def _read_if_in_memory(self, offset_bytes: int, buffer: bytearray | memoryview) -> bool:
        if not self._in_memory:
            self._check(0, 0)
            return False
        self.read_into(offset_bytes, buffer)
        return True

    def _write_directly(
        self, descriptor: _Descriptor, offset_bytes: int, data: Buffer, length_bytes: int
    ) -> bool:
        """Write past the page cache; False, and nothing is written, where that cannot be.

        Whether the caller's memory lies well enough is for the kernel to say: disks differ.
        Readers never see what the cache had before, for the kernel drops that.
        """
        direct = self._direct
        if direct is None or (offset_bytes | length_bytes) % _DIRECT_ALIGNMENT:
            return False
        try:
            done_bytes = os.pwrite(direct.fd, data, offset_bytes)
        except OSError as error:
            if error.errno in _UNSUPPORTED:
                return False
            raise
        if done_bytes != length_bytes:
            _write_all(descriptor.fd, offset_bytes, byte_view(data), done_bytes, 0)
        return True

    def _write_durably(
        self, descriptor: _Descriptor, offset_bytes: int, data: Buffer, length_bytes: int
    ) -> None:
        flag = self._dsync_flag
        try:
            done_bytes = os.pwritev(descriptor.fd, (data,), offset_bytes, flag)
        except OSError as error:
            if not flag or error.errno not in _UNSUPPORTED:
                raise
            self._dsync_flag = flag = 0
            done_bytes = 0
        if done_bytes != length_bytes:
            _write_all(descriptor.fd, offset_bytes, byte_view(data), done_bytes, flag)
        if not flag:
            os.fdatasync(descriptor.fd)

    def _start_writeback(
        self, descriptor: _Descriptor, offset_bytes: int, length_bytes: int
    ) -> None:
        """Hand gathered writes to the disk.  Racing threads may skip or repeat it: a hint."""
        self._gathered_bytes = 0
        if length_bytes >= WRITEBACK_BYTES:
            linux.start_writeback(descriptor.fd, offset_bytes, length_bytes)
        else:
            linux.start_writeback(descriptor.fd, 0, 0)

    def _punch(self, descriptor: _Descriptor, offset_bytes: int, length_bytes: int) -> bool:
        try:
            for start in range(0, length_bytes, DISCARD_BYTES):
                piece_bytes = min(DISCARD_BYTES, length_bytes - start)
                linux.punch_hole(descriptor.fd, offset_bytes + start, piece_bytes)
        except OSError as error:
            if error.errno in _UNSUPPORTED:
                return False
            raise self._failure(error, "discard", offset_bytes, length_bytes) from error
        return True

    def _find_extents(self, at: int, end_bytes: int) -> Iterator[Extent]:
        while at < end_bytes:
            data_start = self._seek(at, os.SEEK_DATA, end_bytes)
            if data_start > at:
                yield Extent(at, data_start - at, allocated=False)
            if data_start < end_bytes:
                at = self._seek(data_start, os.SEEK_HOLE, end_bytes)
                yield Extent(data_start, at - data_start, allocated=True)
            else:
                at = data_start

    def _seek(self, at: int, whence: int, end_bytes: int) -> int:
        """Where the next data or hole begins, `end_bytes` at most."""
        descriptor = self._check(0, 0)
        try:
            return min(os.lseek(descriptor.fd, at, whence), end_bytes)
        except OSError as error:
            if error.errno == errno.ENXIO:  # nothing but a hole up to the end of the file
                return end_bytes
            if error.errno in _UNSUPPORTED:  # a disk: it cannot say, so all of it counts as data
                return at if whence == os.SEEK_DATA else end_bytes
            raise self._failure(error, "extents", at, end_bytes - at) from error

    def _failure(
        self, error: OSError, action: str, offset_bytes: int, length_bytes: int
    ) -> DeviceError:
        if self._descriptor is _CLOSED:
            return DeviceClosedError(f"{self._path}: the device is closed")
        kind = DeviceFullError if error.errno in _FULL else DeviceIOError
        where = f"{action} of {length_bytes} bytes at {offset_bytes}"
        return kind(f"{self._path}: {where}: {error.strerror}")


def _write_all(fd: int, offset_bytes: int, view: memoryview, done_bytes: int, flag: int) -> None:
    """Go on after a short write; the kernel's next answer says why it was short."""
    while done_bytes < len(view):
        count = os.pwritev(fd, (view[done_bytes:],), offset_bytes + done_bytes, flag)
        if count == 0:
            raise OSError(errno.EIO, "the file takes no more bytes")
        done_bytes += count


def _open_or_create(name: str, *, create: bool) -> _Descriptor:
    flags = os.O_RDWR | os.O_CLOEXEC
    try:
        return _Descriptor(os.open(name, flags))
    except FileNotFoundError:
        if not create:
            raise
    return _Descriptor(os.open(name, flags | os.O_CREAT, 0o600))


def _open_direct(name: str, fd: int) -> _Descriptor | None:
    """The same file once more, for writes past the page cache; None where there are none."""
    try:
        direct = _Descriptor(os.open(name, os.O_WRONLY | os.O_CLOEXEC | os.O_DIRECT))
    except OSError:
        return None
    return direct if os.path.samestat(os.fstat(direct.fd), os.fstat(fd)) else None


def _prepare(fd: int, name: str, size_bytes: int | None) -> Geometry:
    """Grow a new file, measure an old one, and refuse what cannot be a device."""
    mode = os.fstat(fd).st_mode
    if not stat.S_ISREG(mode) and not stat.S_ISBLK(mode):
        raise DeviceOpenError(f"{name}: neither a file nor a disk")
    if stat.S_ISREG(mode) and size_bytes is not None:
        _grow_if_empty(fd, name, size_bytes)
    found_bytes = os.lseek(fd, 0, os.SEEK_END)
    if found_bytes < (size_bytes or 1):
        raise DeviceOpenError(
            f"{name}: holds {found_bytes} bytes, fewer than the {size_bytes or 1} asked for"
        )
    return Geometry(size_bytes or found_bytes)


def _grow_if_empty(fd: int, name: str, size_bytes: int) -> None:
    """Give a new file its size, once, however many processes open it at this moment."""
    fcntl.flock(fd, fcntl.LOCK_EX)
    try:
        if os.fstat(fd).st_size > 0:
            return
        os.ftruncate(fd, size_bytes)
        os.fsync(fd)
        _sync_directory(os.path.dirname(name) or ".")
    finally:
        fcntl.flock(fd, fcntl.LOCK_UN)


def _sync_directory(path: str) -> None:
    """Make a new name in a directory durable."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
