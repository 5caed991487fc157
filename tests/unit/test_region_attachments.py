"""Volumes on instances: who may be attached where, and what a detachment takes away."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from blockdev import instance as instance_rules
from blockdev.clock import ManualClock
from blockdev.device import BlockDevice, Buffer
from blockdev.errors import DeviceClosedError
from blockdev.memory import MemoryDevice
from blockdev.model import Instance
from blockdev.region import attachments, fence
from blockdev.region.fence import FenceDevice
from blockdev.service import Region, Timings
from tests.regions import SECOND_NS, RegionFactory, read, refused, running, volume

ABSENT = "i-0123456789abcdef0"
WAIT_S = 120.0
BURST = range(8192, 8192 + 1000 * 4096, 4096)
"""More than a volume of 100 IOPS takes at a time."""


@pytest.fixture
def region(region_factory: RegionFactory) -> Region:
    return region_factory()


def test_attach_and_detach(region: Region) -> None:
    made, instance = volume(region), running(region)
    answer = region.attach_volume(made, instance, "/dev/sdf")
    assert (answer.state, answer.device, answer.delete_on_termination) == (
        "attaching",
        "/dev/sdf",
        False,
    )
    found = region.describe_volume(made)
    assert found.state == "in-use"
    assert [(one.instance_id, one.state) for one in found.attachments] == [(instance, "attached")]
    on_instance = region.describe_instances([instance])[0].attachments
    assert [one.volume_id for one in on_instance if one.device == "/dev/sdf"] == [made]
    answer = region.detach_volume(made)
    assert answer.state == "detaching"
    assert region.describe_volume(made).state == "available"


def test_passing_states_pass(region_factory: RegionFactory) -> None:
    timings = Timings(attaching_ns=2 * SECOND_NS, detaching_ns=3 * SECOND_NS)
    region, clock = region_factory(timings=timings), region_factory.clock
    made, instance = volume(region), running(region)
    region.attach_volume(made, instance, "/dev/sdf")

    def states() -> tuple[str, list[str]]:
        found = region.describe_volume(made)
        return found.state, [one.state for one in found.attachments]

    assert states() == ("in-use", ["attaching"])
    with refused("IncorrectState"):
        region.open_volume(made, instance_id=instance)
    clock.advance(2 * SECOND_NS)
    assert states() == ("in-use", ["attached"])
    region.detach_volume(made)
    assert states() == ("in-use", ["detaching"])
    with refused("IncorrectState"):
        region.detach_volume(made)
    with refused("VolumeInUse"):
        region.attach_volume(made, instance, "/dev/sdg")
    clock.advance(3 * SECOND_NS)
    assert states() == ("available", [])
    region.attach_volume(made, instance, "/dev/sdg")


def test_a_volume_moves_from_one_instance_to_another_with_its_data(region: Region) -> None:
    made, first, second = volume(region), running(region), running(region)
    region.attach_volume(made, first, "/dev/sdf")
    device = region.open_volume(made, instance_id=first)
    device.write(0, b"swapped")
    device.flush()
    device.close()
    region.detach_volume(made)
    region.attach_volume(made, second, "/dev/sdf")
    with refused("InvalidAttachment.NotFound"):
        region.open_volume(made, instance_id=first)
    device = region.open_volume(made, instance_id=second)
    assert read(device, 0, 7) == b"swapped"


def test_who_may_not_be_attached(region: Region) -> None:
    made, instance, other = volume(region), running(region), running(region)
    elsewhere = volume(region, zone="us-east-1b")
    with refused("InvalidVolume.ZoneMismatch"):
        region.attach_volume(elsewhere, instance, "/dev/sdf")
    with refused("InvalidInstanceID.NotFound"):
        region.attach_volume(made, ABSENT, "/dev/sdf")
    with refused("InvalidVolume.NotFound"):
        region.attach_volume("vol-0123456789abcdef0", instance, "/dev/sdf")
    for device in ("", "sdf/", "/dev/hda", "/dev/sd", "C:", "/dev/sdf123"):
        with refused("InvalidParameterValue"):
            region.attach_volume(made, instance, device)
    region.attach_volume(made, instance, "/dev/sdf")
    for device in ("/dev/sdf", "sdf", "/dev/xvdf", "xvdf", "/dev/xvda"):
        with refused("InvalidParameterValue"):
            region.attach_volume(volume(region), instance, device)
    with refused("VolumeInUse"):
        region.attach_volume(made, instance, "/dev/sdg")
    with refused("VolumeInUse"):
        region.attach_volume(made, other, "/dev/sdg")
    region.terminate_instances([other])
    with refused("IncorrectState"):
        region.attach_volume(volume(region), other, "/dev/sdf")


def test_an_instance_takes_so_many_volumes(region: Region, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attachments, "MAX_ATTACHMENTS", 3)
    instance = running(region)
    region.attach_volume(volume(region), instance, "/dev/sdf")
    region.attach_volume(volume(region), instance, "/dev/sdg")
    with refused("AttachmentLimitExceeded"):
        region.attach_volume(volume(region), instance, "/dev/sdh")
    assert instance_rules.MAX_ATTACHMENTS == 27


def test_what_cannot_be_detached(region: Region) -> None:
    made, instance, other = volume(region), running(region), running(region)
    with refused("IncorrectState"):
        region.detach_volume(made)
    region.attach_volume(made, instance, "/dev/sdf")
    with refused("InvalidAttachment.NotFound"):
        region.detach_volume(made, instance_id=other)
    with refused("InvalidAttachment.NotFound"):
        region.detach_volume(made, device="/dev/sdg")
    with refused("InvalidInstanceID.NotFound"):
        region.detach_volume(made, instance_id=ABSENT)
    assert region.describe_volume(made).state == "in-use"
    region.detach_volume(made, instance_id=instance, device="xvdf")


def test_the_root_volume_stays_on_a_running_instance(region: Region) -> None:
    instance = running(region)
    (root,) = region.describe_instances([instance])[0].attachments
    for force in (False, True):
        with refused("OperationNotPermitted"):
            region.detach_volume(root.volume_id, force=force)
    region.stop_instances([instance])
    region.detach_volume(root.volume_id)
    assert region.describe_volume(root.volume_id).state == "available"


def test_a_device_in_use_keeps_its_attachment_busy_until_it_is_closed(region: Region) -> None:
    made, instance = volume(region), running(region)
    region.attach_volume(made, instance, "/dev/sdf")
    device = region.open_volume(made, instance_id=instance)
    region.detach_volume(made)
    (attachment,) = region.describe_volume(made).attachments
    assert attachment.state == "busy"
    with refused("IncorrectState"):
        region.detach_volume(made)
    with refused("IncorrectState"):
        region.open_volume(made, instance_id=instance)
    device.write(0, b"the last words")
    device.flush()
    device.close()
    assert region.describe_volume(made).state == "available"
    region.attach_volume(made, instance, "/dev/sdf")


def test_force_takes_the_device_away(region: Region) -> None:
    made, instance = volume(region), running(region)
    region.attach_volume(made, instance, "/dev/sdf")
    device = region.open_volume(made, instance_id=instance)
    elsewhere = region.open_volume(made)
    region.detach_volume(made)
    region.detach_volume(made, force=True)
    assert region.describe_volume(made).state == "available"
    for call in (
        lambda: device.write(0, b"x"),
        lambda: read(device, 0, 1),
        lambda: device.try_read_into(0, bytearray(1)),
        lambda: device.write_zeroes(0, 1),
        lambda: device.discard(0, 1),
        lambda: device.extents(0, 1),
        device.flush,
    ):
        with pytest.raises(DeviceClosedError):
            call()
    elsewhere.write(0, b"this opening is nobody's attachment")
    device.close()
    elsewhere.close()
    region.delete_volume(made)


class StoppedClock(ManualClock):
    """One on which whoever sleeps does so until `go_on` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.sleeps, self.go_on = threading.Semaphore(0), threading.Event()

    def sleep_until(self, deadline_ns: int) -> None:
        self.sleeps.release()
        assert self.go_on.wait(WAIT_S)


def _write_all(device: BlockDevice) -> None:
    for offset_bytes in BURST:
        device.write(offset_bytes, b"x", fua=True)


def test_force_stops_what_waits_for_its_share_of_iops(region_factory: RegionFactory) -> None:
    clock = StoppedClock()
    region = region_factory(clock=clock)
    shared = volume(region, volume_type="io2", size_gib=4, iops=100, multi_attach=True)
    first, second = (one.instance_id for one in _instances(region, 2))
    for instance in (first, second):
        region.attach_volume(shared, instance, "/dev/sdf")
    taken = region.open_volume(shared, instance_id=first, delayed=False)
    kept = region.open_volume(shared, instance_id=second, throttled=False, delayed=False)
    with ThreadPoolExecutor(4) as threads:
        burst = threads.submit(_write_all, taken)
        assert clock.sleeps.acquire(timeout=WAIT_S)  # the share is used up
        calls = [lambda: taken.write(0, b"stale"), lambda: taken.write_zeroes(0, 5)]
        calls.append(lambda: taken.read_into(0, bytearray(5)))
        waiting = [threads.submit(call) for call in calls]
        for _ in calls:
            assert clock.sleeps.acquire(timeout=WAIT_S)
        region.detach_volume(shared, instance_id=first, force=True)
        kept.write(0, b"fresh", fua=True)
        clock.go_on.set()
        for future in (burst, *waiting):
            with pytest.raises(DeviceClosedError):
                future.result(WAIT_S)
    assert read(kept, 0, 5) == b"fresh"
    assert region.volume_metrics(shared).writes.errors == 1
    assert region.volume_metrics(shared).reads.errors == 1


def test_force_waits_for_a_change_that_is_under_way() -> None:
    entered, go_on = threading.Event(), threading.Event()

    class Slow(MemoryDevice):
        def write(self, offset_bytes: int, data: Buffer, *, fua: bool = False) -> None:
            entered.set()
            assert go_on.wait(WAIT_S)
            super().write(offset_bytes, data, fua=fua)

    below = Slow(4096)
    device = FenceDevice(below)
    with ThreadPoolExecutor(2) as threads:
        writing = threads.submit(device.write, 0, b"before")
        assert entered.wait(WAIT_S)
        device.shut("taken")
        draining = threads.submit(device.drain)
        with pytest.raises(DeviceClosedError, match="taken"):
            device.write(0, b"after!")
        assert not draining.done()
        go_on.set()
        assert draining.result(WAIT_S)
        writing.result(WAIT_S)
    assert read(below, 0, 6) == b"before"


def test_a_fence_does_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fence, "DRAIN_S", 0.01)
    go_on, entered = threading.Event(), threading.Event()

    class Frozen(MemoryDevice):
        def write(self, offset_bytes: int, data: Buffer, *, fua: bool = False) -> None:
            entered.set()
            assert go_on.wait(WAIT_S)

    device = FenceDevice(Frozen(4096))
    with ThreadPoolExecutor(1) as threads:
        threads.submit(device.write, 0, b"x")
        assert entered.wait(WAIT_S)
        device.shut("taken")
        assert not device.drain()
        go_on.set()


def test_multi_attach(region: Region) -> None:
    shared = volume(region, volume_type="io2", size_gib=10, iops=1000, multi_attach=True)
    ids = [one.instance_id for one in _instances(region, 17)]
    for instance in ids[:16]:
        region.attach_volume(shared, instance, "/dev/sdf")
    with refused("AttachmentLimitExceeded"):
        region.attach_volume(shared, ids[16], "/dev/sdf")
    with refused("VolumeInUse"):
        region.attach_volume(shared, ids[0], "/dev/sdg")
    with refused("InvalidParameterCombination"):
        region.detach_volume(shared)
    writer = region.open_volume(shared, instance_id=ids[0])
    reader = region.open_volume(shared, instance_id=ids[1])
    writer.write(4096, b"seen by both")
    assert read(reader, 4096, 12) == b"seen by both"
    region.detach_volume(shared, instance_id=ids[1], force=True)
    with pytest.raises(DeviceClosedError):
        read(reader, 0, 1)
    assert read(writer, 4096, 4) == b"seen"
    assert len(region.describe_volume(shared).attachments) == 15


def test_the_attachments_of_a_volume_share_its_iops(region_factory: RegionFactory) -> None:
    region, clock = region_factory(), region_factory.clock
    shared = volume(region, volume_type="io2", size_gib=10, iops=1000, multi_attach=True)
    ids = [one.instance_id for one in _instances(region, 2)]
    for instance in ids:
        region.attach_volume(shared, instance, "/dev/sdf")
    devices = [region.open_volume(shared, instance_id=one, delayed=False) for one in ids]
    began_ns = clock.now_ns()
    for number in range(10_000):
        devices[number % 2].write((number * 7919 % 2000) * 4096, b"x" * 4096)
    took_s = (clock.now_ns() - began_ns) / SECOND_NS
    assert took_s == pytest.approx(10, rel=0.01)


def _instances(region: Region, count: int) -> list[Instance]:
    return region.run_instances(image_id="ami-12345678", count=count)
