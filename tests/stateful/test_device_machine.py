"""Devices against a bytearray, with reboots: clean ones for files, dirty ones under power loss.

The model of a power cut is written down here a second time and more simply
than in the device: `candidates[s]` is the list of all that sector s may hold
after a cut now.  The first is durable; each unsynced change appends one.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from blockdev.clock import ManualClock
from blockdev.device import BlockDevice, Extent, stack
from blockdev.errors import DeviceClosedError
from blockdev.file import FileDevice
from blockdev.filters.fault import FaultDevice
from blockdev.filters.metrics import MetricsDevice
from blockdev.filters.passthrough import Passthrough
from blockdev.filters.powerloss import PowerLossDevice
from blockdev.memory import MemoryDevice

SECTOR = 512
SIZE = 9 * SECTOR + 100
OFFSETS = st.one_of(st.integers(0, SIZE), st.integers(0, 9).map(lambda number: number * SECTOR))
LENGTHS = st.one_of(st.integers(0, 3 * SECTOR), st.sampled_from([SECTOR, 2 * SECTOR]))
FILLS = st.integers(1, 255)
SEEDS = st.integers(0, (1 << 64) - 1)


class DeviceMachine(RuleBasedStateMachine):
    """Any device: what was written is what is read, whatever happens in between."""

    device: BlockDevice

    def __init__(self) -> None:
        super().__init__()
        self.model = bytearray(SIZE)

    @initialize()
    def begin(self) -> None:
        self.device = self.make()

    def make(self) -> BlockDevice:
        return MetricsDevice(Passthrough(MemoryDevice(SIZE, page_bytes=700)), ManualClock())

    def changed(self, offset_bytes: int, data: bytes, *, durable: bool = False) -> None:
        """The device was told to hold `data` at an offset."""
        self.model[offset_bytes : offset_bytes + len(data)] = data

    def flushed(self) -> None:
        """The device was told to make everything durable."""

    @rule(at=OFFSETS, length=LENGTHS, fill=FILLS, fua=st.booleans())
    def write(self, at: int, length: int, fill: int, fua: bool) -> None:
        # Every byte differs from its neighbours, so that a shifted write shows.
        data = bytes((fill + index) % 256 for index in range(min(length, SIZE - at)))
        self.device.write(at, data, fua=fua)
        self.changed(at, data, durable=fua)

    @rule(at=OFFSETS, length=LENGTHS)
    def write_zeroes(self, at: int, length: int) -> None:
        length = min(length, SIZE - at)
        self.device.write_zeroes(at, length)
        self.changed(at, bytes(length))
        assert all(extent.allocated for extent in self.device.extents(at, length))

    @rule(at=OFFSETS, length=LENGTHS)
    def discard(self, at: int, length: int) -> None:
        length = min(length, SIZE - at)
        self.device.discard(at, length)
        self.changed(at, bytes(length))

    @rule()
    def flush(self) -> None:
        self.device.flush()
        self.flushed()

    @rule(at=OFFSETS, length=LENGTHS)
    def try_read(self, at: int, length: int) -> None:
        buffer = bytearray(min(length, SIZE - at))
        if self.device.try_read_into(at, buffer):
            assert buffer == self.model[at : at + len(buffer)]

    @rule(at=OFFSETS, length=LENGTHS)
    def walk_extents(self, at: int, length: int) -> None:
        length = min(length, SIZE - at)
        extents = list(self.device.extents(at, length))
        assert sum(extent.length_bytes for extent in extents) == length
        for extent in extents:
            assert extent.offset_bytes == at
            at += extent.length_bytes
            assert extent.allocated or not any(self.expected(extent))

    def expected(self, extent: Extent) -> bytes:
        return bytes(self.model[extent.offset_bytes : extent.offset_bytes + extent.length_bytes])

    @invariant()
    def reads_equal_the_model(self) -> None:
        if hasattr(self, "device"):
            assert self.whole() == self.model

    def whole(self) -> bytes:
        buffer = bytearray(SIZE)
        self.device.read_into(0, buffer)
        return bytes(buffer)

    def teardown(self) -> None:
        if hasattr(self, "device"):
            self.device.close()


class FileMachine(DeviceMachine):
    """A file that is closed and opened again at any time, flushed or not."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = tempfile.TemporaryDirectory()

    def make(self) -> BlockDevice:
        return FileDevice.open(Path(self.directory.name) / "device", size_bytes=SIZE)

    @rule()
    def reopen(self) -> None:
        self.device.close()
        self.device = self.make()

    @rule()
    def another_process_sees_the_same(self) -> None:
        mine, self.device = self.device, self.make()
        assert self.whole() == self.model
        self.device.close()
        self.device = mine

    def teardown(self) -> None:
        super().teardown()
        self.directory.cleanup()


class PowerLossMachine(DeviceMachine):
    """Power cuts at any time: each sector holds its durable content or a write since."""

    def __init__(self) -> None:
        super().__init__()
        self.candidates: list[list[bytes]] = []
        self.flushed()

    def make(self) -> BlockDevice:
        self.power = PowerLossDevice(MemoryDevice(SIZE, page_bytes=700))
        return self.stacked()

    def stacked(self) -> BlockDevice:
        return stack(self.power, FaultDevice, Passthrough)

    def flushed(self) -> None:
        self.candidates = [
            [bytes(self.model[start : start + SECTOR])] for start in range(0, SIZE, SECTOR)
        ]

    def changed(self, offset_bytes: int, data: bytes, *, durable: bool = False) -> None:
        super().changed(offset_bytes, data)
        if not data:
            return
        for sector in range(offset_bytes // SECTOR, (offset_bytes + len(data) - 1) // SECTOR + 1):
            start = sector * SECTOR
            if durable:
                self.candidates[sector] = [
                    self.patched(start, candidate, offset_bytes, data)
                    for candidate in self.candidates[sector]
                ]
            else:
                self.candidates[sector].append(bytes(self.model[start : start + SECTOR]))

    @staticmethod
    def patched(start: int, candidate: bytes, offset_bytes: int, data: bytes) -> bytes:
        """A candidate of the sector at `start`, with the bytes of a durable write put in."""
        whole = bytearray(start) + candidate
        whole += bytes(SIZE - len(whole))
        whole[offset_bytes : offset_bytes + len(data)] = data
        return bytes(whole[start : start + len(candidate)])

    @rule(seed=SEEDS)
    def cut(self, seed: int) -> None:
        old = self.device
        self.power = self.power.cut(seed)
        self.reboot(old)

    @rule(
        seed=SEEDS,
        at=OFFSETS,
        length=LENGTHS,
        fill=FILLS,
        change=st.sampled_from(["write", "fua", "write_zeroes", "discard", "flush"]),
    )
    def cut_during(self, seed: int, at: int, length: int, fill: int, change: str) -> None:
        """The change in the middle of which the power went was never acknowledged."""
        old = self.device
        length = min(length, SIZE - at)
        data = bytes([fill if change in ("write", "fua") else 0]) * length
        self.power.cut_during(1, seed)
        try:
            if change == "flush":
                old.flush()
            elif change in ("write", "fua"):
                old.write(at, data, fua=change == "fua")
            else:
                getattr(old, change)(at, length)
            raise AssertionError("the power was not cut")
        except DeviceClosedError:
            pass
        if change != "flush":
            self.changed(at, data)
        self.power = self.power.restart()
        self.reboot(old)

    def reboot(self, old: BlockDevice) -> None:
        self.device = self.stacked()
        survived = self.whole()
        for sector, candidates in enumerate(self.candidates):
            start = sector * SECTOR
            assert survived[start : start + SECTOR] in candidates
        self.model[:] = survived
        self.flushed()
        try:
            old.read_into(0, bytearray(1))
            raise AssertionError("the old handle still reads")
        except DeviceClosedError:
            pass


class PowerLossOverFileMachine(PowerLossMachine):
    """The same over a file, whose holes and extents are the kernel's."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = tempfile.TemporaryDirectory()

    def make(self) -> BlockDevice:
        path = Path(self.directory.name) / "device"
        self.power = PowerLossDevice(FileDevice.open(path, size_bytes=SIZE))
        return self.stacked()

    def teardown(self) -> None:
        super().teardown()
        self.directory.cleanup()


_SETTINGS = settings(max_examples=60, stateful_step_count=40, deadline=None)

TestMemory = DeviceMachine.TestCase
TestMemory.settings = _SETTINGS
TestFile = FileMachine.TestCase
TestFile.settings = _SETTINGS
TestPowerLoss = PowerLossMachine.TestCase
TestPowerLoss.settings = settings(_SETTINGS, max_examples=150)
TestPowerLossOverFile = PowerLossOverFileMachine.TestCase
TestPowerLossOverFile.settings = _SETTINGS
