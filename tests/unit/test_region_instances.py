"""Instances: their states, the volumes they start with, and what becomes of their disks."""

from __future__ import annotations

import pytest

from blockdev.errors import DeviceClosedError
from blockdev.model import BlockDeviceMapping, VolumeSpec
from blockdev.profiles import INSTANCE_STORES
from blockdev.region import limits
from blockdev.service import Region, Timings
from tests.regions import HOUR_NS, IMAGE, SECOND_NS, RegionFactory, read, refused, running, volume

ABSENT = "i-0123456789abcdef0"


@pytest.fixture
def region(region_factory: RegionFactory) -> Region:
    return region_factory()


def test_an_instance_has_a_root_volume(region: Region) -> None:
    (answer,) = region.run_instances(image_id=IMAGE, tags={"a": "b"}, volume_tags={"c": "d"})
    assert answer.state == "pending"
    (found,) = region.describe_instances()
    assert (found.state, found.zone, found.instance_type) == ("running", "us-east-1a", "m5.large")
    assert (found.tags, found.root_device, found.disks) == ({"a": "b"}, "/dev/xvda", ())
    assert found.reservation_id.startswith("r-")
    (root,) = found.attachments
    assert (root.device, root.state, root.delete_on_termination) == ("/dev/xvda", "attached", True)
    (made,) = region.describe_volumes()
    assert (made.volume_id, made.spec) == (root.volume_id, VolumeSpec("gp2", 8))
    assert (made.state, made.tags) == ("in-use", {"c": "d"})


def test_states_pass(region_factory: RegionFactory) -> None:
    timings = Timings(starting_ns=10 * SECOND_NS, stopping_ns=20 * SECOND_NS)
    region, clock = region_factory(timings=timings), region_factory.clock
    instance = running(region)

    def state() -> str:
        return region.describe_instances([instance])[0].state

    assert state() == "pending"
    clock.advance(10 * SECOND_NS)
    assert state() == "running"
    ((answer, before),) = region.stop_instances([instance])
    assert (answer.state, before, state()) == ("stopping", "running", "stopping")
    with refused("IncorrectInstanceState"):
        region.start_instances([instance])
    clock.advance(20 * SECOND_NS)
    assert state() == "stopped"
    with refused("IncorrectInstanceState"):
        region.reboot_instances([instance])
    ((answer, before),) = region.start_instances([instance])
    assert (answer.state, before, state()) == ("pending", "stopped", "pending")
    clock.advance(10 * SECOND_NS)
    ((answer, before),) = region.terminate_instances([instance])
    assert (answer.state, before, state()) == ("shutting-down", "running", "shutting-down")
    clock.advance(20 * SECOND_NS)
    assert state() == "terminated"
    for verb in (region.start_instances, region.stop_instances, region.reboot_instances):
        with refused("IncorrectInstanceState"):
            verb([instance])


def test_verbs_that_have_nothing_to_do_do_nothing(region: Region) -> None:
    instance = running(region)
    assert [(one.state, old) for one, old in region.start_instances([instance])] == [
        ("running", "running")
    ]
    region.stop_instances([instance])
    assert [(one.state, old) for one, old in region.stop_instances([instance])] == [
        ("stopped", "stopped")
    ]
    region.terminate_instances([instance])
    assert [(one.state, old) for one, old in region.terminate_instances([instance])] == [
        ("terminated", "terminated")
    ]


def test_a_verb_on_several_is_done_for_all_or_none(region: Region) -> None:
    ids = [one.instance_id for one in region.run_instances(image_id=IMAGE, count=3)]
    with refused("InvalidInstanceID.NotFound"):
        region.stop_instances([*ids, ABSENT])
    region.terminate_instances(ids[:1])
    with refused("IncorrectInstanceState"):
        region.stop_instances(ids)
    assert [one.state for one in region.describe_instances(ids)] == [
        "terminated",
        "running",
        "running",
    ]


def test_a_terminated_instance_is_described_for_an_hour(region_factory: RegionFactory) -> None:
    region, clock = region_factory(), region_factory.clock
    instance = running(region, tags={"a": "b"}, client_token="t")
    region.terminate_instances([instance])
    clock.advance(HOUR_NS - 1)
    (found,) = region.describe_instances()
    assert (found.state, found.tags, found.attachments) == ("terminated", {"a": "b"}, ())
    assert found.state_reason.startswith("Client.UserInitiatedShutdown")
    clock.advance(1)
    assert region.describe_instances() == []
    assert region.describe_tags() == []
    with refused("InvalidInstanceID.NotFound"):
        region.describe_instances([instance])
    assert running(region, client_token="t") != instance


def test_the_block_device_mapping(region: Region) -> None:
    mappings = [
        BlockDeviceMapping("/dev/xvda", VolumeSpec("gp3", 20), delete_on_termination=False),
        BlockDeviceMapping("/dev/sdf", VolumeSpec("io1", 10, 500), encrypted=True),
        BlockDeviceMapping("/dev/sdg", no_device=True),
    ]
    instance = running(region, mappings=mappings)
    attachments = region.describe_instances([instance])[0].attachments
    assert [(one.device, one.delete_on_termination) for one in attachments] == [
        ("/dev/xvda", False),
        ("/dev/sdf", True),
    ]
    root, data = region.describe_volumes()
    assert root.spec == VolumeSpec("gp3", 20, 3000, 125)
    assert (data.spec, data.encrypted) == (VolumeSpec("io1", 10, 500), True)
    extra = volume(region)
    region.attach_volume(extra, instance, "/dev/sdg")
    region.terminate_instances([instance])
    assert [one.volume_id for one in region.describe_volumes()] == [root.volume_id, extra]
    assert {one.state for one in region.describe_volumes()} == {"available"}


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ({"image_id": "debian"}, "InvalidAMIID.Malformed"),
        ({"instance_type": "large"}, "InvalidParameterValue"),
        ({"count": 0}, "InvalidParameterValue"),
        ({"count": 101}, "InvalidParameterValue"),
        ({"zone": "us-east-1z"}, "InvalidZone.NotFound"),
        (
            {"mappings": [BlockDeviceMapping("sdf1x", snapshot_id="s")]},
            "InvalidParameterValue",
        ),
        (
            {"mappings": [BlockDeviceMapping("/dev/sdf", VolumeSpec("gp2", 1))] * 2},
            "InvalidBlockDeviceMapping",
        ),
        (
            {"mappings": [BlockDeviceMapping("sdf", VolumeSpec("gp2", 1), virtual_name="x")]},
            "InvalidBlockDeviceMapping",
        ),
        (
            {"mappings": [BlockDeviceMapping("/dev/xvda", no_device=True)]},
            "InvalidBlockDeviceMapping",
        ),
        (
            {
                "instance_type": "i3.large",
                "mappings": [BlockDeviceMapping("/dev/sdf", virtual_name="disk0")],
            },
            "InvalidBlockDeviceMapping",
        ),
        ({"mappings": [BlockDeviceMapping("/dev/sdf", VolumeSpec("gp2", 0))]}, "MissingParameter"),
        (
            {"mappings": [BlockDeviceMapping("/dev/sdf", VolumeSpec("io1", 10))]},
            "InvalidParameterCombination",
        ),
        (
            {"mappings": [BlockDeviceMapping("/dev/sdf", snapshot_id="snap-0123456789abcdef0")]},
            "InvalidSnapshot.NotFound",
        ),
        (
            {
                "mappings": [
                    BlockDeviceMapping(f"/dev/xvd{a}{b}", VolumeSpec("gp2", 1))
                    for a in "bc"
                    for b in "abcdefghijklmn"
                ]
            },
            "AttachmentLimitExceeded",
        ),
    ],
)
def test_what_cannot_be_started_leaves_nothing(
    region: Region, arguments: dict[str, object], code: str
) -> None:
    with refused(code):
        region.run_instances(**{"image_id": IMAGE, **arguments})  # type: ignore[arg-type]
    assert region.describe_instances() == []
    assert region.describe_volumes() == []


def test_a_region_holds_so_many_instances(region: Region, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_INSTANCES", 3)
    region.run_instances(image_id=IMAGE, count=2)
    with refused("InstanceLimitExceeded"):
        region.run_instances(image_id=IMAGE, count=2)


def test_a_client_token_starts_them_once(region: Region) -> None:
    first = region.run_instances(image_id=IMAGE, count=2, client_token="t")
    again = region.run_instances(image_id=IMAGE, count=2, client_token="t")
    assert [one.instance_id for one in again] == [one.instance_id for one in first]
    assert [one.launch_index for one in again] == [0, 1]
    assert len({one.reservation_id for one in again}) == 1
    with refused("IdempotentParameterMismatch"):
        region.run_instances(image_id=IMAGE, count=3, client_token="t")


def test_an_instance_started_from_a_snapshot_has_its_data(region: Region) -> None:
    made = volume(region, size_gib=1)
    device = region.open_volume(made)
    device.write(123_456, b"golden image")
    device.close()
    snapshot = region.create_snapshot(made)
    assert region.wait_snapshot(snapshot.snapshot_id, 60).state == "completed"
    mappings = [
        BlockDeviceMapping("/dev/xvda", snapshot_id=snapshot.snapshot_id),
        BlockDeviceMapping("/dev/sdf", VolumeSpec("gp3", 5), snapshot_id=snapshot.snapshot_id),
    ]
    instance = running(region, mappings=mappings)
    for attachment, size_gib in zip(
        region.describe_instances([instance])[0].attachments, (1, 5), strict=True
    ):
        assert region.describe_volume(attachment.volume_id).spec.size_gib == size_gib
        device = region.open_volume(attachment.volume_id, instance_id=instance)
        assert read(device, 123_456, 12) == b"golden image"


def test_volumes_outlive_a_stop_but_what_is_open_does_not(region: Region) -> None:
    made, instance = volume(region), running(region)
    region.attach_volume(made, instance, "/dev/sdf")
    device = region.open_volume(made, instance_id=instance)
    device.write(0, b"kept", fua=True)
    region.reboot_instances([instance])
    assert read(device, 0, 4) == b"kept"
    region.stop_instances([instance])
    with pytest.raises(DeviceClosedError):
        read(device, 0, 4)
    with refused("IncorrectState"):
        region.open_volume(made, instance_id=instance)
    assert region.describe_volume(made).state == "in-use"
    region.start_instances([instance])
    assert read(region.open_volume(made, instance_id=instance), 0, 4) == b"kept"


def test_instance_store_disks_come_with_the_type(region: Region) -> None:
    mappings = [
        BlockDeviceMapping("/dev/sdc", VolumeSpec("gp2", 1)),
        BlockDeviceMapping("/dev/sdm", virtual_name="ephemeral1"),
        BlockDeviceMapping("/dev/sdn", virtual_name="ephemeral77"),
    ]
    instance = running(region, instance_type="i3.4xlarge", mappings=mappings)
    disks = region.describe_instances([instance])[0].disks
    store = INSTANCE_STORES["i3.4xlarge"]
    assert [(disk.disk_index, disk.device, disk.size_bytes, disk.state) for disk in disks] == [
        (0, "/dev/sdb", store.disk_bytes, "present"),
        (1, "/dev/sdm", store.disk_bytes, "present"),
    ]
    with refused("InvalidParameterValue"):
        region.attach_volume(volume(region), instance, "/dev/sdm")
    with refused("InvalidParameterValue"):
        region.open_disk(instance, 2)
    with refused("InvalidInstanceID.NotFound"):
        region.open_disk(ABSENT, 0)


def test_disks_survive_a_reboot_and_nothing_else(region_factory: RegionFactory) -> None:
    region = region_factory()
    instance = running(region, instance_type="i4i.large")
    disk = region.open_disk(instance, 0)
    disk.write(0, b"scratch")
    disk.flush()
    region.reboot_instances([instance])
    assert read(disk, 0, 7) == b"scratch"
    region.close()
    region = region_factory()
    disk = region.open_disk(instance, 0)
    assert read(disk, 0, 7) == b"scratch"
    region.stop_instances([instance])
    with pytest.raises(DeviceClosedError):
        read(disk, 0, 7)
    disk.close()
    with refused("IncorrectInstanceState"):
        region.open_disk(instance, 0)
    assert region.describe_instances([instance])[0].disks[0].state == "gone"
    region.start_instances([instance])
    disk = region.open_disk(instance, 0)
    assert read(disk, 0, 7) == bytes(7)
    disk.write(0, b"again")
    region.terminate_instances([instance])
    with pytest.raises(DeviceClosedError):
        read(disk, 0, 7)
    assert list((region.path / "instances").glob("*/*")) == []


def test_a_failed_disk_has_lost_its_data(region: Region) -> None:
    instance = running(region, instance_type="i3.4xlarge")
    disks = [region.open_disk(instance, index) for index in range(2)]
    for disk in disks:
        disk.write(0, b"data")
    region.fail_disk(instance, 0)
    with pytest.raises(DeviceClosedError):
        read(disks[0], 0, 4)
    assert read(disks[1], 0, 4) == b"data"
    assert [one.state for one in region.describe_instances([instance])[0].disks] == [
        "failed",
        "present",
    ]
    for verb in (region.open_disk, region.fail_disk):
        with refused("IncorrectState"):
            verb(instance, 0)
    region.stop_instances([instance])
    region.start_instances([instance])
    assert read(region.open_disk(instance, 0), 0, 4) == bytes(4)


def test_a_disk_is_as_fast_as_its_type(region_factory: RegionFactory) -> None:
    region, clock = region_factory(), region_factory.clock
    instance = running(region, instance_type="i4i.large")
    first = region.open_disk(instance, 0, delayed=False)
    second = region.open_disk(instance, 0, delayed=False)
    began_ns = clock.now_ns()
    for number in range(10_000):
        (first, second)[number % 2].write(number * 8192, b"x" * 4096)
    took_s = (clock.now_ns() - began_ns) / SECOND_NS
    assert 10_000 / took_s == pytest.approx(27_500, rel=0.04)
