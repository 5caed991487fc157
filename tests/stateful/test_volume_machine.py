"""A volume and its snapshots against saved images, with clean reopens and power cuts.

The model of a power cut is the one of `test_device_machine.py`: `maybe[s]` lists what sector
s may hold after a cut, its durable content first.  A snapshot that was begun is an image
that must come out equal, whatever happens to the volume afterwards.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from blockdev.block_codec import BLOCK_BYTES
from blockdev.captures import CopyPlan, TooManyPendingError
from blockdev.clock import ManualClock
from blockdev.errors import DeviceClosedError
from blockdev.filters.passthrough import Passthrough
from blockdev.filters.powerloss import PowerLossDevice
from blockdev.live import LiveVolume, format_volume
from blockdev.memory import MemoryDevice
from blockdev.snapshot import SnapshotStore
from blockdev.volume_map import MAP_BYTES
from tests.volumes import WAIT_S, VolatileBlockStore, image_of, read

SECTOR = 512
SIZE = 3 * BLOCK_BYTES + 5 * SECTOR + 100
CAPACITY = SIZE + 2 * BLOCK_BYTES
EDGES = [number * BLOCK_BYTES for number in range(4)]
OFFSETS = st.one_of(
    st.integers(0, SIZE),
    st.sampled_from(EDGES),
    st.sampled_from(EDGES[1:]).map(lambda edge: edge - 700),
)
LENGTHS = st.one_of(
    st.integers(0, 3 * SECTOR), st.sampled_from([BLOCK_BYTES, BLOCK_BYTES + 1, 2 * BLOCK_BYTES])
)
SEEDS = st.integers(0, (1 << 64) - 1)
CHANGES = st.sampled_from(["write", "write", "fua", "write_zeroes", "discard"])


class Plugged(Passthrough):
    """A device that stays where it is when the volume on it is closed."""

    def close(self) -> None:
        """Nothing is closed."""


class VolumeMachine(RuleBasedStateMachine):
    """One volume at a time, on devices and a block store that lose what is not durable."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = tempfile.TemporaryDirectory()
        self.path = Path(self.directory.name)
        self.blocks = VolatileBlockStore()
        self.store = self.open_store()
        self.volumes = self.snapshots = 0
        self.images: dict[str, bytes] = {}
        self.maybe: dict[int, list[bytes]] = {}

    def open_store(self) -> SnapshotStore:
        return SnapshotStore.open(self.path / "region.sqlite", self.path / "maps", self.blocks)

    @initialize()
    def begin(self) -> None:
        self.model = bytearray(SIZE)
        self.make("")

    def make(self, origin_id: str) -> None:
        self.volumes += 1
        self.data = PowerLossDevice(MemoryDevice(CAPACITY))
        self.map = PowerLossDevice(MemoryDevice(MAP_BYTES))
        format_volume(self.map, len(self.model), f"vol-{self.volumes}", self.store, origin_id)
        self.maybe.clear()
        self.open()

    def open(self) -> None:
        self.volume = LiveVolume(
            Plugged(self.data),
            Plugged(self.map),
            clock=ManualClock(),
            store=self.store,
            larger=lambda size_bytes: Plugged(self.data),
            copy_plan=CopyPlan(batch_blocks=1, background=False),
        )
        self.volume.start()

    # Changes of the volume.

    @rule(change=CHANGES, at=OFFSETS, length=LENGTHS, fill=st.integers(1, 255))
    def change(self, change: str, at: int, length: int, fill: int) -> None:
        length = min(length, len(self.model) - at)
        self.apply(change, at, self.content(change, length, fill))

    @staticmethod
    def content(change: str, length: int, fill: int) -> bytes:
        if change in ("write", "fua"):
            return (bytes([fill, 255 - fill, fill // 2, 7]) * (length // 4 + 1))[:length]
        return bytes(length)

    def apply(self, change: str, at: int, data: bytes) -> None:
        self.note(at, data, durable=False)
        self.call(change, at, data)
        if change == "fua":
            self.note(at, data, durable=True)

    def call(self, change: str, at: int, data: bytes) -> None:
        if change in ("write", "fua"):
            self.volume.write(at, data, fua=change == "fua")
        elif change == "discard":
            self.volume.discard(at, len(data))
        else:
            self.volume.write_zeroes(at, len(data))

    def note(self, at: int, data: bytes, *, durable: bool) -> None:
        """The sectors that a change touches may hold it from now on; if durable, they do."""
        if not data:
            return
        first, last = at // SECTOR, (at + len(data) - 1) // SECTOR
        if durable:
            for sector in range(first, last + 1):
                self.maybe[sector] = [
                    self.patched(sector, old, at, data) for old in self.maybe[sector]
                ]
            return
        for sector in range(first, last + 1):
            self.maybe.setdefault(sector, [self.sector(sector)])
        self.model[at : at + len(data)] = data
        for sector in range(first, last + 1):
            self.maybe[sector].append(self.sector(sector))

    def sector(self, number: int) -> bytes:
        return bytes(self.model[number * SECTOR : (number + 1) * SECTOR])

    @staticmethod
    def patched(sector: int, old: bytes, at: int, data: bytes) -> bytes:
        start = max(at - sector * SECTOR, 0)
        stop = min(at + len(data) - sector * SECTOR, len(old))
        skipped = max(sector * SECTOR - at, 0)
        return old[:start] + data[skipped : skipped + stop - start] + old[stop:]

    @rule(at=OFFSETS, length=LENGTHS)
    def rewrite(self, at: int, length: int) -> None:
        """What is there already: marked as changed, and not."""
        length = min(length, len(self.model) - at)
        self.volume.write(at, bytes(self.model[at : at + length]))

    @rule()
    def flush(self) -> None:
        self.volume.flush()
        self.maybe.clear()

    @rule()
    def reads(self) -> None:
        assert read(self.volume, 0, len(self.model)) == self.model

    @rule(at=OFFSETS, length=LENGTHS)
    def reads_a_part(self, at: int, length: int) -> None:
        length = min(length, len(self.model) - at)
        assert read(self.volume, at, length) == self.model[at : at + length]
        for extent in self.volume.extents(at, length):
            if not extent.allocated:
                end = extent.offset_bytes + extent.length_bytes
                assert not any(self.model[extent.offset_bytes : end])

    @rule(more=st.integers(0, BLOCK_BYTES))
    def grow(self, more: int) -> None:
        size_bytes = min(len(self.model) + more, CAPACITY)
        self.volume.grow(size_bytes)
        last = len(self.model) // SECTOR
        fresh = bytes(size_bytes - len(self.model))
        self.model.extend(fresh)
        if last in self.maybe:
            missing = len(self.sector(last)) - len(self.maybe[last][0])
            self.maybe[last] = [old + bytes(missing) for old in self.maybe[last]]

    # Snapshots.

    @rule()
    def snapshot(self) -> None:
        name = f"snap-{self.snapshots}"
        try:
            self.volume.begin_snapshot(name)
        except TooManyPendingError:
            return
        self.snapshots += 1
        self.images[name] = bytes(self.model)
        self.maybe.clear()

    @rule()
    def copy_a_block(self) -> None:
        self.volume.step_snapshots()

    @rule()
    def wait(self) -> None:
        assert self.volume.wait_snapshots(WAIT_S)
        self.compare()

    @rule(batches=st.integers(0, 3))
    def cancelled_snapshot(self, batches: int) -> None:
        """What it was to copy is left to the next one."""
        try:
            self.volume.begin_snapshot("snap-cancelled")
        except TooManyPendingError:
            return
        self.maybe.clear()
        for _ in range(batches):
            self.volume.step_snapshots()
        self.store.delete("snap-cancelled")
        self.volume.step_snapshots()
        assert self.volume.wait_snapshots(WAIT_S)

    @precondition(lambda self: self.images)
    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.images)))
        freed = None
        if self.store.status(name).state == "completed" and not self.volume.pending_snapshots:
            freed = self.store.usage(name).exclusive_blocks
            pinned = self.store.status(name).pinned_by
        before = self.store.total().blocks
        self.store.delete(name)
        del self.images[name]
        if freed is not None and not pinned and not self.doomed():
            assert before - self.store.total().blocks == freed

    def doomed(self) -> bool:
        with self.store.reading() as connection:
            query = "SELECT COUNT(*) FROM snap_maps WHERE state = 'doomed'"
            return bool(connection.execute(query).fetchone()[0])

    @precondition(lambda self: self.images)
    @rule(data=st.data())
    def restore(self, data: st.DataObject) -> None:
        """Go on with a new volume, made of a snapshot; the old one is deleted."""
        name = data.draw(st.sampled_from(sorted(self.images)))
        assert self.volume.wait_snapshots(WAIT_S)
        self.volume.close()
        self.store.unpin_all(self.volume.volume)
        self.model = bytearray(self.images[name])
        self.make(name)

    @rule()
    def copy_back(self) -> None:
        """Copies share all blocks with what they are copies of."""
        for name in sorted(self.images)[:1]:
            if self.store.status(name).state != "completed":
                return
            copy = f"snap-{self.snapshots}"
            self.snapshots += 1
            before = self.store.total().blocks
            self.store.copy(self.store, name, copy)
            self.images[copy] = self.images[name]
            if not self.volume.pending_snapshots:
                assert self.store.total().blocks == before

    # Ends, in order and otherwise.

    @rule()
    def reopen(self) -> None:
        self.volume.close()
        self.maybe.clear()
        self.open()

    @rule(seed=SEEDS)
    def cut(self, seed: int) -> None:
        self.data.cut(seed)
        self.map.cut(seed + 1)
        self.reboot(seed)

    @rule(
        seed=SEEDS,
        call=st.integers(1, 12),
        on_map=st.booleans(),
        change=st.one_of(CHANGES, st.sampled_from(["flush", "snapshot", "copy"])),
        at=OFFSETS,
        length=LENGTHS,
    )
    def cut_during(
        self, seed: int, call: int, on_map: bool, change: str, at: int, length: int
    ) -> None:
        """The power goes in the middle of something, of which anything may be left."""
        length = min(length, len(self.model) - at)
        struck, other = (self.map, self.data) if on_map else (self.data, self.map)
        struck.cut_during(call, seed)
        name = f"snap-{self.snapshots}"
        image = bytes(self.model)
        try:
            if change == "flush":
                self.volume.flush()
                self.maybe.clear()
            elif change == "copy":
                self.volume.wait_snapshots(WAIT_S)
            elif change == "snapshot":
                self.snapshots += 1
                self.volume.begin_snapshot(name)
                self.images[name] = image
                self.maybe.clear()
            else:
                self.apply(change, at, self.content(change, length, seed % 255 + 1))
        except (DeviceClosedError, TooManyPendingError):
            pass
        try:
            struck.restart()
        except ValueError:
            struck.cut(seed)
        try:
            other.cut(seed + 1)
        except DeviceClosedError:
            other.restart()
        self.reboot(seed)
        if change == "snapshot" and name not in self.images:
            self.settle_unanswered(name, image)

    def settle_unanswered(self, name: str, image: bytes) -> None:
        """A snapshot whose call did not return: it is there, and right, or it is in error."""
        assert self.volume.wait_snapshots(WAIT_S)
        try:
            state = self.store.status(name).state
        except KeyError:
            return
        if state == "completed":
            self.images[name] = image
        else:
            self.store.delete(name)

    def reboot(self, seed: int) -> None:
        old, old_store = self.volume, self.store
        old.close()
        old_store.close()
        self.blocks.cut(seed + 2)
        self.data, self.map = self.data.restart(), self.map.restart()
        self.store = self.open_store()
        self.store.recover()
        self.open()
        survived = read(self.volume, 0, len(self.model))
        for number in range(-(-len(self.model) // SECTOR)):
            found = survived[number * SECTOR : (number + 1) * SECTOR]
            if number in self.maybe:
                assert found in self.maybe[number], f"sector {number}"
        for number in self.maybe:
            self.model[number * SECTOR : (number + 1) * SECTOR] = survived[
                number * SECTOR : (number + 1) * SECTOR
            ]
        assert survived == self.model
        self.maybe.clear()

    def compare(self) -> None:
        """Every snapshot is the image that was saved, and every block is accounted for."""
        for name, image in self.images.items():
            status = self.store.status(name)
            assert status.state == "completed", status
            assert image_of(self.store, name) == image, name
        assert self.store.check() == []

    def teardown(self) -> None:
        if hasattr(self, "volume"):
            assert self.volume.wait_snapshots(WAIT_S)
            self.compare()
            self.volume.close()
        self.store.close()
        self.directory.cleanup()


TestVolume = VolumeMachine.TestCase
TestVolume.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
