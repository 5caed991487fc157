"""Block devices: ranges of bytes that stack."""

from blockdev.clock import Clock, ManualClock, SystemClock
from blockdev.device import (
    SECTOR_BYTES,
    BlockDevice,
    Buffer,
    Extent,
    Filter,
    Geometry,
    byte_view,
    check_range,
    stack,
)
from blockdev.errors import (
    DeviceClosedError,
    DeviceError,
    DeviceFullError,
    DeviceIOError,
    DeviceOpenError,
    OutOfRangeError,
)
from blockdev.file import FileDevice
from blockdev.memory import MemoryDevice

__all__ = [
    "SECTOR_BYTES",
    "BlockDevice",
    "Buffer",
    "Clock",
    "DeviceClosedError",
    "DeviceError",
    "DeviceFullError",
    "DeviceIOError",
    "DeviceOpenError",
    "Extent",
    "FileDevice",
    "Filter",
    "Geometry",
    "ManualClock",
    "MemoryDevice",
    "OutOfRangeError",
    "SystemClock",
    "byte_view",
    "check_range",
    "stack",
]
