"""Errors of the block layer.

DeviceError
├── DeviceOpenError      the path, its rights or its size do not fit; correct them
├── OutOfRangeError      the request does not fit the device; nothing was done
├── DeviceClosedError    the device was closed; reopen it
├── DeviceFullError      the backing store has no room; free space and try again
└── DeviceIOError        the medium failed; do not retry a flush, reopen and check
"""

from __future__ import annotations


class DeviceError(Exception):
    """Anything that a block device raises."""


class DeviceOpenError(DeviceError):
    """What was named cannot be opened as this device; nothing in it was changed."""


class OutOfRangeError(DeviceError, ValueError):
    """The request reaches outside the device; raised before any effect."""


class DeviceClosedError(DeviceError):
    """The device has been closed."""


class DeviceFullError(DeviceError):
    """No space in what backs the device (ENOSPC, EDQUOT).  Reads go on."""


class DeviceIOError(DeviceError):
    """The medium reported an error.

    After a failed write the range holds old bytes, new bytes or both.  After a
    failed flush nothing written since the last good flush can be relied upon,
    and a later flush that succeeds proves nothing about it.
    """
