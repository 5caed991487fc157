"""Every device and every filter that the contract suite runs over."""

from __future__ import annotations

import io
import os
import subprocess
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from blockdev.clock import ManualClock, SystemClock
from blockdev.device import BlockDevice, Filter, stack
from blockdev.entropy import SeededEntropy
from blockdev.file import FileDevice
from blockdev.filters.delay import DelayDevice
from blockdev.filters.fault import Fault, FaultDevice, FaultRule, Operation
from blockdev.filters.metrics import MetricsDevice
from blockdev.filters.passthrough import Passthrough
from blockdev.filters.powerloss import PowerLossDevice
from blockdev.filters.record import RecordDevice
from blockdev.filters.throttle import Budget, ThrottleDevice
from blockdev.latency import NO_LATENCY
from blockdev.memory import MemoryDevice
from blockdev.model import VolumeSpec
from blockdev.nbd import Export, NbdServer, UnixAddress
from blockdev.profiles import limits
from blockdev.region.fence import FenceDevice
from tests.contract import volume_cases
from tests.nbd_client import NbdDevice

MEMORY_FILES = Path("/dev/shm")


@dataclass(frozen=True)
class Scratch:
    """Where a case keeps its files, and what it has to undo afterwards."""

    path: Path
    undo: ExitStack


Make = Callable[[Scratch, int], BlockDevice]


@dataclass(frozen=True)
class DeviceCase:
    """One way to make a device.

    `sparse`: storage comes with the first write, goes with a discard, and shows in the extents.
    """

    name: str
    make: Make
    sparse: bool = True


def _memory(scratch: Scratch, size_bytes: int) -> BlockDevice:
    return MemoryDevice(size_bytes)


def _memory_odd_pages(scratch: Scratch, size_bytes: int) -> BlockDevice:
    return MemoryDevice(size_bytes, page_bytes=1000)


def _file(scratch: Scratch, size_bytes: int) -> BlockDevice:
    return FileDevice.open(scratch.path / "device", size_bytes=size_bytes)


def _file_in_memory(scratch: Scratch, size_bytes: int) -> BlockDevice:
    if not MEMORY_FILES.is_dir():
        pytest.skip(f"no tmpfs at {MEMORY_FILES}")
    path = MEMORY_FILES / f"blockdev-contract-{os.getpid()}"
    scratch.undo.callback(path.unlink)
    return FileDevice.open(path, size_bytes=size_bytes)


def _raw_disk(scratch: Scratch, size_bytes: int) -> BlockDevice:
    backing = scratch.path / "disk"
    with backing.open("wb") as file:
        file.truncate(-(-size_bytes // 4096) * 4096)
    try:
        found = subprocess.run(
            ["losetup", "--find", "--show", str(backing)],
            capture_output=True,
            check=True,
            text=True,
            timeout=10,
        )
    except (OSError, subprocess.SubprocessError):
        pytest.skip("a raw disk needs a loop device, which needs root")
    disk = found.stdout.strip()
    scratch.undo.callback(subprocess.run, ["losetup", "--detach", disk], check=True, timeout=10)
    return FileDevice.open(disk, size_bytes=size_bytes)


def _over_nbd(below: Make) -> Make:
    """The device as an NBD client sees it, through a server and a socket."""

    def make(scratch: Scratch, size_bytes: int) -> BlockDevice:
        exports = {"device": Export(below(scratch, size_bytes))}
        # A socket's path has to be short, so it is not below pytest's.
        folder = scratch.undo.enter_context(tempfile.TemporaryDirectory(prefix="nbd-"))
        address = UnixAddress(Path(folder) / "socket")
        server = scratch.undo.enter_context(NbdServer(exports, address))
        return NbdDevice(server.address, "device")

    return make


def _filtered(below: Make, *filters: Filter) -> Make:
    return lambda scratch, size_bytes: stack(below(scratch, size_bytes), *filters)


def _armed_elsewhere(below: BlockDevice) -> BlockDevice:
    """A fault device whose rules never strike, so that its slower paths are the ones tested."""
    never = FaultRule(Fault.IO_ERROR, probability=0.0)
    reads = frozenset({Operation.READ})
    return FaultDevice(below, [never, FaultRule(Fault.FLIP_BIT, reads, first_call=1 << 60)])


def _metrics(below: BlockDevice) -> BlockDevice:
    return MetricsDevice(below, SystemClock())


def _throttled(spec: VolumeSpec) -> Filter:
    """As slow as a volume, on a clock on which waiting takes no time."""

    def wrap(below: BlockDevice) -> BlockDevice:
        clock = ManualClock()
        return ThrottleDevice(below, Budget(limits(spec), clock.monotonic_ns()), clock)

    return wrap


def _delayed(below: BlockDevice) -> BlockDevice:
    model = limits(VolumeSpec("gp2", 100)).latency
    return DelayDevice(below, model, ManualClock(), SeededEntropy(1))


def _delayed_by_nothing(below: BlockDevice) -> BlockDevice:
    return DelayDevice(below, NO_LATENCY, ManualClock(), SeededEntropy(1))


def _recorded(below: BlockDevice) -> BlockDevice:
    return RecordDevice(below, io.StringIO(), ManualClock())


_PLENTIFUL = VolumeSpec("io2", 256, iops=256_000)
_SCARCE = VolumeSpec("sc1", 125)

_FILTERS: dict[str, Filter] = {
    "passthrough": Passthrough,
    "fault": FaultDevice,
    "fault-armed": _armed_elsewhere,
    "powerloss": PowerLossDevice,
    "metrics": _metrics,
    "fence": FenceDevice,
    "throttle": _throttled(_PLENTIFUL),
    "delay-none": _delayed_by_nothing,
    "record": _recorded,
}


def _volume(make: Callable[[Path, ExitStack, int], BlockDevice]) -> Make:
    return lambda scratch, size_bytes: make(scratch.path, scratch.undo, size_bytes)


CASES = [
    DeviceCase("memory", _memory),
    DeviceCase("memory-odd-pages", _memory_odd_pages),
    DeviceCase("file", _file),
    DeviceCase("file-in-memory", _file_in_memory),
    DeviceCase("raw-disk", _raw_disk, sparse=False),
    *(DeviceCase(f"{name}-memory", _filtered(_memory, wrap)) for name, wrap in _FILTERS.items()),
    *(DeviceCase(f"{name}-file", _filtered(_file, wrap)) for name, wrap in _FILTERS.items()),
    DeviceCase("throttle-scarce-file", _filtered(_file, _throttled(_SCARCE))),
    DeviceCase("delay-file", _filtered(_file, _delayed)),
    DeviceCase("ebs-file", _filtered(_file, _delayed, _throttled(_SCARCE), _recorded, _metrics)),
    DeviceCase("stack-file", _filtered(_file, PowerLossDevice, _armed_elsewhere, _metrics)),
    DeviceCase("nbd-memory", _over_nbd(_memory)),
    DeviceCase("nbd-file", _over_nbd(_file)),
    DeviceCase("powerloss-odd-pages", _filtered(_memory_odd_pages, PowerLossDevice)),
    DeviceCase("live-memory", _volume(volume_cases.live_memory)),
    DeviceCase("live-powerloss", _volume(volume_cases.live_powerloss)),
    DeviceCase("live-file", _volume(volume_cases.live_file)),
    DeviceCase("live-restored", _volume(volume_cases.live_restored), sparse=False),
    DeviceCase("live-initializing", _volume(volume_cases.live_initializing), sparse=False),
    DeviceCase("live-snapshotted", _volume(volume_cases.live_snapshotted)),
]
