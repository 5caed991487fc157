"""Volumes on instances: who may be attached where, and what a detachment takes away."""

from __future__ import annotations

import pytest

from blockdev import instance as instance_rules
from blockdev.errors import DeviceClosedError
from blockdev.model import Instance
from blockdev.region import attachments
from blockdev.service import Region, Timings
from tests.regions import SECOND_NS, RegionFactory, read, refused, running, volume

ABSENT = "i-0123456789abcdef0"


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
