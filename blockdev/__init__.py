"""Block devices: ranges of bytes that stack."""

from blockdev.clock import Clock, ManualClock, SystemClock
from blockdev.device import (
    SECTOR_BYTES,
    BlockDevice,
    Buffer,
    Extent,
    Filter,
    Geometry,
    check_range,
    stack,
)
from blockdev.errors import (
    DeviceClosedError,
    DeviceError,
    DeviceFullError,
    DeviceIOError,
    OutOfRangeError,
)

__all__ = [
    "SECTOR_BYTES",
    "BlockDevice",
    "Buffer",
    "Clock",
    "DeviceClosedError",
    "DeviceError",
    "DeviceFullError",
    "DeviceIOError",
    "Extent",
    "Filter",
    "Geometry",
    "ManualClock",
    "OutOfRangeError",
    "SystemClock",
    "check_range",
    "stack",
]
