"""Several processes on one region: who holds a volume, and what others ask of it.

Two `Region` objects on one folder are as two processes: each has its own name, its own
connection, its own locks, and asks the other over the volume's socket.
"""

from __future__ import annotations

import threading

import pytest

from blockdev.device import BlockDevice
from blockdev.errors import DeviceClosedError
from blockdev.model import GIB, SNAPSHOT_BLOCK_BYTES, BlockDeviceMapping, VolumeSpec
from blockdev.region import snapshot_sets
from blockdev.region.holding import Holding
from blockdev.service import Region
from tests.regions import RegionFactory, read, refused, running, volume

BLOCK = SNAPSHOT_BLOCK_BYTES
WAIT_S = 60.0


@pytest.fixture
def holder(region_factory: RegionFactory) -> Region:
    return region_factory()


@pytest.fixture
def other(region_factory: RegionFactory, holder: Region) -> Region:
    return region_factory()


def test_both_see_one_region(holder: Region, other: Region) -> None:
    made = volume(holder, tags={"a": "b"})
    assert other.describe_volumes() == holder.describe_volumes()
    other.delete_volume(made)
    assert holder.describe_volumes() == []


def test_one_of_them_holds_a_volume(holder: Region, other: Region) -> None:
    made = volume(holder)
    device = holder.open_volume(made)
    with refused("VolumeInUse"):
        other.open_volume(made)
    with refused("VolumeInUse"):
        other.delete_volume(made)
    device.write(0, b"handed over", fua=True)
    device.close()
    assert read(other.open_volume(made), 0, 11) == b"handed over"
    with refused("VolumeInUse"):
        holder.open_volume(made)


def test_a_snapshot_is_taken_by_the_holder(holder: Region, other: Region) -> None:
    made = volume(holder)
    device = holder.open_volume(made)
    device.write(0, b"not flushed")
    snapshot = other.create_snapshot(made)
    device.write(0, b"overwritten")
    assert other.wait_snapshot(snapshot.snapshot_id, WAIT_S).state == "completed"
    block = other.get_snapshot_block(snapshot.snapshot_id, 0)
    assert block.startswith(b"not flushed\0")


def test_a_volume_that_is_deleted_while_a_snapshot_is_taken(
    holder: Region, other: Region, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the look at its row and that at its files another process has removed both."""
    made = volume(holder)
    put_together = Holding._open_live

    def too_late(self: Holding, volume_id: str) -> object:
        monkeypatch.undo()
        other.delete_volume(volume_id)
        return put_together(self, volume_id)

    monkeypatch.setattr(Holding, "_open_live", too_late)
    with refused("InvalidVolume.NotFound"):
        holder.create_snapshot(made)
    assert holder.describe_snapshots() == []
    assert holder.check() == []


def test_the_limit_of_pending_snapshots_is_told_across(region_factory: RegionFactory) -> None:
    holder, gate = region_factory.gated()
    other = region_factory()
    made = volume(holder, volume_type="st1", size_gib=125)
    device = holder.open_volume(made, throttled=False, delayed=False)
    device.write(0, b"x")
    other.create_snapshot(made)
    with refused("ConcurrentSnapshotLimitExceeded"):
        other.create_snapshot(made)
    gate.set()


def test_who_only_copies_lets_go(region_factory: RegionFactory) -> None:
    holder, gate = region_factory.gated()
    other = region_factory()
    made = volume(holder)
    device = holder.open_volume(made, throttled=False, delayed=False)
    for index in range(30):
        device.write(index * BLOCK, (index + 1).to_bytes(2, "big"))
    device.close()
    snapshot = holder.create_snapshot(made)
    assert made in holder._held
    threading.Timer(0.2, gate.set).start()
    device = other.open_volume(made, throttled=False, delayed=False)
    device.write(5 * BLOCK, b"later")
    found = other.wait_snapshot(snapshot.snapshot_id, WAIT_S)
    assert (found.state, found.full_bytes) == ("completed", 30 * BLOCK)
    assert other.get_snapshot_block(snapshot.snapshot_id, 5)[:5] == b"\0\6\0\0\0"
    device.close()


def test_a_modification_reaches_the_holder(holder: Region, other: Region) -> None:
    made = volume(holder)
    device = holder.open_volume(made)
    other.modify_volume(made, size_gib=2)
    assert device.geometry.size_bytes == 2 * GIB
    device.write(2 * GIB - 1, b"x")


def test_a_forced_detachment_reaches_the_holder(holder: Region, other: Region) -> None:
    made, instance = volume(holder), running(holder)
    other.attach_volume(made, instance, "/dev/sdf")
    device = holder.open_volume(made, instance_id=instance)
    other.detach_volume(made)
    assert other.describe_volume(made).attachments[0].state == "busy"
    other.detach_volume(made, force=True)
    with pytest.raises(DeviceClosedError):
        device.write(0, b"x")
    other.delete_volume(made)


def test_stopping_an_instance_takes_its_devices(holder: Region, other: Region) -> None:
    mappings = [BlockDeviceMapping("/dev/sdf", VolumeSpec("gp3", 1))]
    instance = running(holder, mappings=mappings)
    made = holder.describe_instances([instance])[0].attachments[1].volume_id
    device = holder.open_volume(made, instance_id=instance)
    other.stop_instances([instance])
    with pytest.raises(DeviceClosedError):
        device.flush()


def test_metrics_and_credits_are_told_across(holder: Region, other: Region) -> None:
    made = volume(holder, size_gib=100)
    device = holder.open_volume(made, delayed=False)
    for number in range(1000):
        device.write(number * 1_000_000, b"x" * 512)
    assert other.volume_metrics(made) == holder.volume_metrics(made)
    assert other.volume_metrics(made).writes.calls == 1000
    assert other.credit_balance(made) == holder.credit_balance(made)
    assert other.credit_balance(made) == pytest.approx(5_400_000 - 1000, abs=500)


class Pair(threading.Thread):
    """Writes a number to one volume and then to another, for as long as it may."""

    def __init__(self, first: BlockDevice, second: BlockDevice) -> None:
        super().__init__(daemon=True)
        self.first, self.second = first, second
        self.number = 0
        self.ends = threading.Event()
        self.moved = threading.Event()

    def run(self) -> None:
        while not self.ends.is_set():
            self.number += 1
            self.first.write(0, self.number.to_bytes(8, "big"))
            self.second.write(0, self.number.to_bytes(8, "big"))
            self.moved.set()


@pytest.mark.parametrize("asks", ["the holder", "another"])
def test_a_set_of_snapshots_is_of_one_moment(
    region_factory: RegionFactory, holder: Region, other: Region, asks: str
) -> None:
    mappings = [BlockDeviceMapping("/dev/sdf", VolumeSpec("gp3", 1))]
    instance = running(holder, mappings=mappings)
    ids = [one.volume_id for one in holder.describe_instances([instance])[0].attachments]
    devices = [holder.open_volume(one, throttled=False, delayed=False) for one in ids]
    writer = Pair(*devices)
    writer.start()
    region = holder if asks == "the holder" else other
    for _ in range(8):
        writer.moved.clear()
        assert writer.moved.wait(WAIT_S)
        by_volume = {one.volume_id: one for one in region.create_snapshots(instance)}
        numbers = []
        for volume_id in ids:
            snapshot_id = by_volume[volume_id].snapshot_id
            assert region.wait_snapshot(snapshot_id, WAIT_S).state == "completed"
            block = region.get_snapshot_block(snapshot_id, 0)
            numbers.append(int.from_bytes(block[:8], "big"))
        first, second = numbers
        assert first - 1 <= second <= first
    writer.ends.set()
    writer.join(WAIT_S)
    assert not writer.is_alive()


def test_a_frozen_volume_thaws_if_nobody_comes_back(
    holder: Region, other: Region, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshot_sets, "FREEZE_LIMIT_S", 0.05)
    made = volume(holder)
    device = holder.open_volume(made, throttled=False, delayed=False)
    assert other._freeze(made) == ""
    device.write(0, b"after the thaw")  # waits until the holder has enough
    with refused("Unavailable"):
        other._check_frozen(made)


def test_a_volume_whose_freezer_died_is_frozen_anew(holder: Region, other: Region) -> None:
    made = volume(holder)
    device = holder.open_volume(made, throttled=False, delayed=False)
    keepers = holder._held[made].keepers
    assert other._freeze(made) == ""
    ((first, timer),) = holder._frozen_for_others.values()
    assert other._freeze(made) == ""  # the first asker never came back
    ((second, _),) = holder._frozen_for_others.values()
    assert keepers == {second} != {first}
    assert timer.finished.is_set()
    holder._thaw_for_others(made, first)  # as a timer does that went off just before
    other._check_frozen(made)
    assert keepers == {second}
    other._ask(made, "thaw")
    assert keepers == set()
    device.write(0, b"not frozen")
    device.close()
    assert holder._held == {}
    other.open_volume(made).close()


def test_a_freeze_that_fails_leaves_nothing(
    holder: Region, other: Region, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = volume(holder)
    device = holder.open_volume(made, throttled=False, delayed=False)
    with monkeypatch.context() as patched:
        patched.setattr(threading.Timer, "start", _out_of_threads)
        with refused("RuntimeError"):
            other._freeze(made)
    assert holder._held[made].keepers == set()
    assert holder._frozen_for_others == {}
    device.write(0, b"not frozen")


def _out_of_threads(_: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")


def test_a_set_is_begun_whole_or_not_at_all(
    holder: Region, monkeypatch: pytest.MonkeyPatch
) -> None:
    instance = running(holder, mappings=[BlockDeviceMapping("/dev/sdf", VolumeSpec("st1", 125))])
    devices = [
        holder.open_volume(one.volume_id, throttled=False, delayed=False)
        for one in holder.describe_instances([instance])[0].attachments
    ]

    def thawed(*_: object) -> None:
        raise AssertionError("frozen no longer")

    monkeypatch.setattr(holder, "_check_frozen", thawed)
    with pytest.raises(AssertionError):
        holder.create_snapshots(instance)
    assert holder.describe_snapshots() == []
    for device in devices:
        device.write(0, b"not frozen")


def test_a_holder_that_hangs_delays_nobody_for_ever(
    holder: Region, other: Region, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("blockdev.region.holding.ASK_TIMEOUT_S", 0.2)
    made = volume(holder)
    holder.open_volume(made)
    hung, go_on = threading.Event(), threading.Event()

    def hang() -> None:
        with holder._lock:
            hung.set()
            go_on.wait(WAIT_S)

    thread = threading.Thread(target=hang, daemon=True)
    thread.start()
    assert hung.wait(WAIT_S)
    with refused("Unavailable"):
        other.create_snapshot(made)
    assert other.describe_snapshots() == []
    volume(other)
    go_on.set()
    thread.join(WAIT_S)
