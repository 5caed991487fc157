"""The few Linux calls that Python's `os` does not offer, through the C library.

ctypes lets go of the GIL while a call runs, so other threads go on.  A call
that this C library does not have behaves as one that the file system refuses.
"""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Callable

_SYNC_FILE_RANGE_WRITE = 2
_FALLOC_FL_KEEP_SIZE = 1
_FALLOC_FL_PUNCH_HOLE = 2
_PR_SET_TIMERSLACK = 29

# linux/magic.h: file systems whose files live in memory and in no other place.
_MEMORY_FILESYSTEMS = frozenset({0x01021994, 0x858458F6})  # tmpfs, ramfs

_STATFS_BYTES = 256
"""More than `struct statfs` takes on any Linux (120 bytes on x86-64)."""


def _c_function(name: str, *argument_types: type) -> Callable[..., int] | None:
    try:
        function = getattr(ctypes.CDLL(None, use_errno=True), name)
    except (OSError, AttributeError):
        return None
    function.argtypes = argument_types
    function.restype = ctypes.c_int
    found: Callable[..., int] = function
    return found


_sync_file_range = _c_function(
    "sync_file_range", ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint
)
_fallocate = _c_function(
    "fallocate64", ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64
) or _c_function("fallocate", ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
_fstatfs = _c_function("fstatfs", ctypes.c_int, ctypes.c_void_p)

_prctl = _c_function(
    "prctl", ctypes.c_int, ctypes.c_ulong, ctypes.c_ulong, ctypes.c_ulong, ctypes.c_ulong
)


def sharpen_timers() -> None:
    """Let sleeps of the calling thread end when they should, not 50 µs later (prctl(2)).

    Only a hint: where it is not known, sleeps are as late as ever.
    """
    if _prctl is not None:
        _prctl(_PR_SET_TIMERSLACK, 1, 0, 0, 0)


def start_writeback(fd: int, offset_bytes: int, length_bytes: int) -> None:
    """Ask the kernel to start writing a range's dirty pages; length 0 means to the end.

    Only a hint, so no error is reported here: the kernel remembers a failed
    write and reports it to the next fdatasync on this descriptor.
    """
    if _sync_file_range is not None:
        _sync_file_range(fd, offset_bytes, length_bytes, _SYNC_FILE_RANGE_WRITE)


def punch_hole(fd: int, offset_bytes: int, length_bytes: int) -> None:
    """Give the storage of a range back; it reads as zero afterwards.

    On a block device the kernel does this only if the disk promises zeroes.

    Raises:
        OSError: EOPNOTSUPP or ENOSYS where that is not possible; others as fallocate(2).
    """
    if _fallocate is None:
        raise OSError(errno.ENOSYS, "the C library has no fallocate")
    mode = _FALLOC_FL_PUNCH_HOLE | _FALLOC_FL_KEEP_SIZE
    while _fallocate(fd, mode, offset_bytes, length_bytes) != 0:
        code = ctypes.get_errno()
        if code != errno.EINTR:
            raise OSError(code, os.strerror(code))


def is_in_memory(fd: int) -> bool:
    """Whether the open file lives in a file system that is memory only (tmpfs, ramfs)."""
    if _fstatfs is None:
        return False
    answer = ctypes.create_string_buffer(_STATFS_BYTES)
    if _fstatfs(fd, answer) != 0:
        return False
    kind = ctypes.c_long.from_buffer(answer).value & 0xFFFF_FFFF
    return kind in _MEMORY_FILESYSTEMS
