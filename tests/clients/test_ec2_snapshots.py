"""Snapshots over EC2's API: the whole life of a disk, copies, sharing, the archive."""

from __future__ import annotations

import random
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from blockdev.service import Region
from tests.clients.block_services import service_client
from tests.clients.endpoint import ServerProcess
from tests.clients.errors import refused
from tests.clients.test_ebs_direct import BLOCK, read_snapshot, some_blocks, write_snapshot
from tests.clients.test_ec2_instances import run

ZONE = "us-east-1a"
NOWHERE = "snap-0123456789abcdef0"


@pytest.fixture
def volume(ec2: Any) -> Iterator[str]:
    """A volume of 1 GiB."""
    volume_id = ec2.create_volume(AvailabilityZone=ZONE, Size=1)["VolumeId"]
    yield volume_id
    ec2.delete_volume(VolumeId=volume_id)


@pytest.fixture
def snapshot(ec2: Any, ebs: Any, seed: int) -> Iterator[str]:
    """A completed snapshot of three blocks of a disk of 1 GiB."""
    snapshot_id = write_snapshot(ebs, some_blocks(seed, 0, 1, 100))
    yield snapshot_id
    ec2.delete_snapshot(SnapshotId=snapshot_id)


def snapshot_of(ec2: Any, volume_id: str, **options: Any) -> str:
    """A snapshot once it is completed."""
    snapshot_id: str = ec2.create_snapshot(VolumeId=volume_id, **options)["SnapshotId"]
    ec2.get_waiter("snapshot_completed").wait(SnapshotIds=[snapshot_id])
    return snapshot_id


def write(server: ServerProcess, volume_id: str, offset_bytes: int, data: bytes) -> None:
    """Write to a volume as this machine's own process, beside the server's."""
    with Region.open(server.data / "region") as region:
        device = region.open_volume(volume_id, throttled=False, delayed=False)
        device.write(offset_bytes, data, fua=True)
        device.close()


def read(server: ServerProcess, volume_id: str, offset_bytes: int, length_bytes: int) -> bytes:
    """Read from a volume as this machine's own process."""
    data = bytearray(length_bytes)
    with Region.open(server.data / "region") as region:
        device = region.open_volume(volume_id, throttled=False, delayed=False)
        device.read_into(offset_bytes, data)
        device.close()
    return bytes(data)


def test_the_life_of_a_disk(
    block_server: ServerProcess, ec2: Any, ebs: Any, volume: str, seed: int
) -> None:
    """Written, snapshotted, changed, snapshotted again, compared, restored, and deleted."""
    generator = random.Random(seed)
    first, second = generator.randbytes(2 * BLOCK), generator.randbytes(BLOCK)
    write(block_server, volume, 0, first)
    before = snapshot_of(ec2, volume, Description="before")
    write(block_server, volume, BLOCK, second)
    after = snapshot_of(ec2, volume, Description="after")
    assert read_snapshot(ebs, before) == {0: first[:BLOCK], 1: first[BLOCK:]}
    assert read_snapshot(ebs, after) == {0: first[:BLOCK], 1: second}
    changed = ebs.list_changed_blocks(FirstSnapshotId=before, SecondSnapshotId=after)
    assert [block["BlockIndex"] for block in changed["ChangedBlocks"]] == [1]
    ec2.delete_snapshot(SnapshotId=before)
    restored = ec2.create_volume(AvailabilityZone="us-east-1b", SnapshotId=after, Size=2)
    assert (restored["Size"], restored["SnapshotId"]) == (2, after)
    ec2.get_waiter("volume_available").wait(VolumeIds=[restored["VolumeId"]])
    expected = first[:BLOCK] + second + bytes(BLOCK)
    assert read(block_server, restored["VolumeId"], 0, 3 * BLOCK) == expected
    ec2.delete_snapshot(SnapshotId=after)
    assert read(block_server, restored["VolumeId"], 0, 3 * BLOCK) == expected
    ec2.delete_volume(VolumeId=restored["VolumeId"])


def test_a_snapshot_of_a_disk_that_another_process_writes_to(
    block_server: ServerProcess, ec2: Any, ebs: Any, volume: str, seed: int
) -> None:
    blocks = some_blocks(seed, 0, 1)
    with Region.open(block_server.data / "region") as region:
        device = region.open_volume(volume, throttled=False, delayed=False)
        device.write(0, blocks[0])
        started = ec2.create_snapshot(VolumeId=volume)["SnapshotId"]
        device.write(BLOCK, blocks[1])
        ec2.get_waiter("snapshot_completed").wait(SnapshotIds=[started])
        device.close()
    assert read_snapshot(ebs, started) == {0: blocks[0]}
    ec2.delete_snapshot(SnapshotId=started)


def test_what_a_snapshot_is(ec2: Any, volume: str) -> None:
    made = ec2.create_snapshot(
        VolumeId=volume,
        Description="<mine>",
        TagSpecifications=[{"ResourceType": "snapshot", "Tags": [{"Key": "a", "Value": "b"}]}],
    )
    assert made["State"] in ("pending", "completed")
    assert (made["VolumeId"], made["VolumeSize"], made["OwnerId"]) == (volume, 1, "000000000000")
    assert (made["Description"], made["Encrypted"]) == ("<mine>", False)
    assert made["Tags"] == [{"Key": "a", "Value": "b"}]
    snapshot_id = made["SnapshotId"]
    ec2.get_waiter("snapshot_completed").wait(SnapshotIds=[snapshot_id])
    (described,) = ec2.describe_snapshots(SnapshotIds=[snapshot_id])["Snapshots"]
    assert (described["Progress"], described["StorageTier"]) == ("100%", "standard")
    assert described["StartTime"] == made["StartTime"] <= described["CompletionTime"]
    ec2.delete_snapshot(SnapshotId=snapshot_id)
    for verb in (ec2.delete_snapshot, ec2.modify_snapshot_tier):
        with refused(400, "InvalidSnapshot.NotFound"):
            verb(SnapshotId=snapshot_id)
    with refused(400, "InvalidSnapshot.NotFound"):
        ec2.describe_snapshots(SnapshotIds=[snapshot_id])


def test_snapshots_that_cannot_be(ec2: Any, volume: str) -> None:
    with refused(400, "InvalidVolume.NotFound"):
        ec2.create_snapshot(VolumeId="vol-0123456789abcdef0")
    with refused(400, "InvalidParameterValue"):
        ec2.create_snapshot(VolumeId=volume, Description="x" * 256)
    with refused(400, "InvalidParameterValue"):
        ec2.create_snapshot(VolumeId=volume, Location="local")
    with refused(501, "UnsupportedOperation"):
        ec2.create_snapshot(VolumeId=volume, OutpostArn="arn:aws:outposts:x")
    with refused(412, "DryRunOperation"):
        ec2.create_snapshot(VolumeId=volume, DryRun=True)
    with refused(400, "InvalidInstanceID.NotFound"):
        ec2.create_snapshots(InstanceSpecification={"InstanceId": "i-0123456789abcdef0"})


def test_all_disks_of_an_instance_at_once(ec2: Any) -> None:
    (instance,) = run(
        ec2, BlockDeviceMappings=[{"DeviceName": "/dev/sdf", "Ebs": {"VolumeSize": 2}}]
    )
    ids = {m["DeviceName"]: m["Ebs"]["VolumeId"] for m in instance["BlockDeviceMappings"]}
    ec2.create_tags(Resources=[ids["/dev/sdf"]], Tags=[{"Key": "from", "Value": "volume"}])
    of = {"InstanceId": instance["InstanceId"]}
    both = ec2.create_snapshots(
        InstanceSpecification=of, Description="both", CopyTagsFromSource="volume"
    )["Snapshots"]
    assert sorted(s["VolumeId"] for s in both) == sorted(ids.values())
    tagged = {s["VolumeId"]: s.get("Tags") for s in both}
    assert tagged[ids["/dev/sdf"]] == [{"Key": "from", "Value": "volume"}]
    (data,) = ec2.create_snapshots(InstanceSpecification=of | {"ExcludeBootVolume": True})[
        "Snapshots"
    ]
    assert (data["VolumeId"], data["VolumeSize"]) == (ids["/dev/sdf"], 2)
    (boot,) = ec2.create_snapshots(
        InstanceSpecification=of | {"ExcludeDataVolumeIds": [ids["/dev/sdf"]]}
    )["Snapshots"]
    assert boot["VolumeId"] == ids[instance["RootDeviceName"]]
    made = [s["SnapshotId"] for s in (*both, data, boot)]
    ec2.get_waiter("snapshot_completed").wait(SnapshotIds=made)
    ec2.terminate_instances(InstanceIds=[instance["InstanceId"]])
    for snapshot_id in made:
        ec2.delete_snapshot(SnapshotId=snapshot_id)


def test_filters_owners_and_pages(ec2: Any, ebs: Any) -> None:
    name = uuid.uuid4().hex
    tags = [{"Key": "name", "Value": name}]
    made = [write_snapshot(ebs, {}, size, Tags=tags) for size in (1, 2, 3, 4, 5, 6)]
    mine = [{"Name": "tag:name", "Values": [name]}]

    def found(*filters: tuple[str, str], **options: Any) -> list[int]:
        every = [*mine, *({"Name": which, "Values": [value]} for which, value in filters)]
        listed = ec2.describe_snapshots(Filters=every, **options)["Snapshots"]
        return [s["VolumeSize"] for s in listed]

    assert found() == found(OwnerIds=["self"]) == [1, 2, 3, 4, 5, 6]
    assert found(("status", "completed"), ("volume-size", "3")) == [3]
    assert found(("progress", "100%"), ("storage-tier", "standard")) == [1, 2, 3, 4, 5, 6]
    assert found(("snapshot-id", made[0][:8] + "*"), ("owner-id", "0*")) != []
    assert found(("encrypted", "true")) == []
    assert found(OwnerIds=["amazon"]) == []
    assert found(OwnerIds=["000000000000"], RestorableByUserIds=["self"]) == [1, 2, 3, 4, 5, 6]
    assert found(RestorableByUserIds=["all"]) == []
    assert found(RestorableByUserIds=["111111111111"]) == []
    with refused(400, "InvalidParameterValue"):
        found(("colour", "red"))
    pages = ec2.get_paginator("describe_snapshots").paginate(
        Filters=mine, PaginationConfig={"PageSize": 5}
    )
    assert [[s["VolumeSize"] for s in p["Snapshots"]] for p in pages] == [[1, 2, 3, 4, 5], [6]]
    with refused(400, "InvalidParameterCombination"):
        ec2.describe_snapshots(SnapshotIds=made, MaxResults=5)
    for snapshot_id in made:
        ec2.delete_snapshot(SnapshotId=snapshot_id)


def test_sharing(ec2: Any, snapshot: str) -> None:
    friend, other = "111111111111", "222222222222"
    attribute = {"SnapshotId": snapshot, "Attribute": "createVolumePermission"}

    def permissions() -> list[dict[str, str]]:
        return list(ec2.describe_snapshot_attribute(**attribute)["CreateVolumePermissions"])

    assert permissions() == []
    ec2.modify_snapshot_attribute(**attribute, OperationType="add", UserIds=[friend, other])
    assert permissions() == [{"UserId": friend}, {"UserId": other}]
    listed = ec2.describe_snapshots(RestorableByUserIds=[friend])["Snapshots"]
    assert snapshot in [s["SnapshotId"] for s in listed]
    ec2.modify_snapshot_attribute(
        SnapshotId=snapshot, CreateVolumePermission={"Remove": [{"UserId": other}]}
    )
    ec2.modify_snapshot_attribute(
        SnapshotId=snapshot, CreateVolumePermission={"Add": [{"Group": "all"}]}
    )
    assert permissions() == [{"UserId": friend}, {"Group": "all"}]
    ec2.modify_snapshot_attribute(SnapshotId=snapshot, OperationType="remove", GroupNames=["all"])
    assert permissions() == [{"UserId": friend}]
    ec2.reset_snapshot_attribute(**attribute)
    assert permissions() == []
    codes = ec2.describe_snapshot_attribute(SnapshotId=snapshot, Attribute="productCodes")
    assert codes["ProductCodes"] == []


@pytest.mark.parametrize(
    ("code", "asked"),
    [
        ("MissingParameter", {}),
        ("MissingParameter", {"OperationType": "add"}),
        ("InvalidParameterValue", {"OperationType": "lend", "UserIds": ["111111111111"]}),
        ("InvalidParameterValue", {"OperationType": "add", "UserIds": ["me"]}),
        ("InvalidParameterValue", {"OperationType": "add", "GroupNames": ["some"]}),
        ("InvalidParameterValue", {"Attribute": "productCodes"}),
        (
            "InvalidParameterCombination",
            {
                "OperationType": "add",
                "CreateVolumePermission": {"Add": [{"UserId": "111111111111"}]},
            },
        ),
        (
            "InvalidParameterCombination",
            {
                "CreateVolumePermission": {
                    "Add": [{"UserId": "111111111111"}],
                    "Remove": [{"UserId": "222222222222"}],
                }
            },
        ),
        (
            "InvalidParameterCombination",
            {"CreateVolumePermission": {"Add": [{"Group": "all"}], "Remove": [{"Group": "all"}]}},
        ),
    ],
)
def test_sharing_that_is_refused(ec2: Any, snapshot: str, code: str, asked: dict[str, Any]) -> None:
    with refused(400, code):
        ec2.modify_snapshot_attribute(SnapshotId=snapshot, **asked)


def test_sharing_what_is_not_there_or_not_allowed(ec2: Any, ebs: Any, seed: int) -> None:
    public = {"CreateVolumePermission": {"Add": [{"Group": "all"}]}}
    with refused(400, "InvalidSnapshot.NotFound"):
        ec2.modify_snapshot_attribute(SnapshotId=NOWHERE, **public)
    with refused(400, "InvalidSnapshot.NotFound"):
        ec2.describe_snapshot_attribute(SnapshotId=NOWHERE, Attribute="createVolumePermission")
    with refused(400, "InvalidSnapshot.NotFound"):
        ec2.reset_snapshot_attribute(SnapshotId=NOWHERE, Attribute="createVolumePermission")
    encrypted = write_snapshot(ebs, some_blocks(seed, 0), Encrypted=True)
    with refused(400, "OperationNotPermitted"):
        ec2.modify_snapshot_attribute(SnapshotId=encrypted, **public)
    ec2.delete_snapshot(SnapshotId=encrypted)


def test_copies(block_server: ServerProcess, ec2: Any, ebs: Any, snapshot: str, seed: int) -> None:
    west = service_client(block_server.endpoint, "ec2", region="eu-west-1")
    west_blocks = service_client(block_server.endpoint, "ebs", region="eu-west-1")
    tags = [{"ResourceType": "snapshot", "Tags": [{"Key": "far", "Value": "away"}]}]
    answer = west.copy_snapshot(
        SourceRegion="us-east-1",
        SourceSnapshotId=snapshot,
        Description="a copy",
        TagSpecifications=tags,
    )
    assert answer["Tags"] == [{"Key": "far", "Value": "away"}]
    copy = answer["SnapshotId"]
    west.get_waiter("snapshot_completed").wait(SnapshotIds=[copy])
    (described,) = west.describe_snapshots(SnapshotIds=[copy])["Snapshots"]
    assert (described["Description"], described["VolumeSize"]) == ("a copy", 1)
    assert read_snapshot(west_blocks, copy) == some_blocks(seed, 0, 1, 100)
    with refused(404, "ResourceNotFoundException"):
        ebs.list_snapshot_blocks(SnapshotId=copy)
    near = ec2.copy_snapshot(SourceRegion="us-east-1", SourceSnapshotId=snapshot)["SnapshotId"]
    ec2.get_waiter("snapshot_completed").wait(SnapshotIds=[near])
    assert read_snapshot(ebs, near) == some_blocks(seed, 0, 1, 100)
    west.delete_snapshot(SnapshotId=copy)
    ec2.delete_snapshot(SnapshotId=near)


@pytest.mark.parametrize(
    ("status", "code", "asked"),
    [
        (400, "InvalidSnapshot.NotFound", {"SourceSnapshotId": NOWHERE}),
        (400, "InvalidSnapshot.NotFound", {"SourceRegion": "nowhere-1"}),
        (400, "InvalidParameterDependency", {"KmsKeyId": "alias/mine"}),
        (501, "UnsupportedOperation", {"CompletionDurationMinutes": 15}),
        (501, "UnsupportedOperation", {"DestinationOutpostArn": "arn:x"}),
    ],
)
def test_copies_that_cannot_be(
    ec2: Any, snapshot: str, status: int, code: str, asked: dict[str, Any]
) -> None:
    with refused(status, code):
        ec2.copy_snapshot(**{"SourceRegion": "us-east-1", "SourceSnapshotId": snapshot} | asked)


def test_the_archive(ec2: Any, snapshot: str) -> None:
    mine = [{"Name": "snapshot-id", "Values": [snapshot]}]
    with refused(400, "IncorrectState"):
        ec2.restore_snapshot_tier(SnapshotId=snapshot, PermanentRestore=True)
    moved = ec2.modify_snapshot_tier(SnapshotId=snapshot, StorageTier="archive")
    assert moved["SnapshotId"] == snapshot
    (tier,) = ec2.describe_snapshot_tier_status(Filters=mine)["SnapshotTierStatuses"]
    assert (tier["StorageTier"], tier["Status"]) == ("archive", "completed")
    assert tier["LastTieringOperationStatus"] == "archival-completed"
    assert tier["LastTieringStartTime"] == moved["TieringStartTime"]
    with refused(400, "IncorrectState"):
        ec2.create_volume(AvailabilityZone=ZONE, SnapshotId=snapshot)
    with refused(400, "IncorrectState"):
        ec2.modify_snapshot_tier(SnapshotId=snapshot)
    with refused(400, "MissingParameter"):
        ec2.restore_snapshot_tier(SnapshotId=snapshot)
    with refused(400, "InvalidParameterCombination"):
        ec2.restore_snapshot_tier(
            SnapshotId=snapshot, PermanentRestore=True, TemporaryRestoreDays=1
        )
    with refused(400, "InvalidParameterValue"):
        ec2.restore_snapshot_tier(SnapshotId=snapshot, TemporaryRestoreDays=0)
    back = ec2.restore_snapshot_tier(SnapshotId=snapshot, TemporaryRestoreDays=3)
    assert (back["RestoreDuration"], back["IsPermanentRestore"]) == (3, False)
    (listed,) = ec2.describe_snapshots(SnapshotIds=[snapshot])["Snapshots"]
    days = (listed["RestoreExpiryTime"] - back["RestoreStartTime"]).total_seconds() / 86_400
    assert days == pytest.approx(3)
    for_good = ec2.restore_snapshot_tier(SnapshotId=snapshot, PermanentRestore=True)
    assert for_good["IsPermanentRestore"] is True
    operation = [{"Name": "last-tiering-operation", "Values": ["permanent-restore-completed"]}]
    (tier,) = ec2.describe_snapshot_tier_status(Filters=[*mine, *operation])["SnapshotTierStatuses"]
    assert tier["StorageTier"] == "standard"


def test_fast_restores(ec2: Any, snapshot: str) -> None:
    zones = [ZONE, "us-east-1z"]
    made = ec2.enable_fast_snapshot_restores(
        SourceSnapshotIds=[snapshot, NOWHERE], AvailabilityZones=zones
    )
    (enabled,) = made["Successful"]
    assert (enabled["SnapshotId"], enabled["AvailabilityZone"]) == (snapshot, ZONE)
    assert enabled["State"] in ("enabling", "optimizing")
    codes = {
        (entry["SnapshotId"], error["AvailabilityZone"]): error["Error"]["Code"]
        for entry in made["Unsuccessful"]
        for error in entry["FastSnapshotRestoreStateErrors"]
    }
    assert codes == {
        (snapshot, "us-east-1z"): "InvalidZone.NotFound",
        (NOWHERE, ZONE): "InvalidSnapshot.NotFound",
        (NOWHERE, "us-east-1z"): "InvalidSnapshot.NotFound",
    }
    found = ec2.describe_fast_snapshot_restores(
        Filters=[
            {"Name": "snapshot-id", "Values": [snapshot]},
            {"Name": "availability-zone-id", "Values": ["use1-az1"]},
            {"Name": "owner-id", "Values": ["000000000000"]},
            {"Name": "state", "Values": ["*"]},
        ]
    )["FastSnapshotRestores"]
    assert [one["AvailabilityZone"] for one in found] == [ZONE]
    assert ec2.describe_fast_snapshot_restores(MaxResults=1)["FastSnapshotRestores"] != []
    with refused(400, "InvalidParameterValue"):
        ec2.describe_fast_snapshot_restores(MaxResults=201)
    with refused(400, "MissingParameter"):
        ec2.enable_fast_snapshot_restores(SourceSnapshotIds=[snapshot])
    with refused(400, "InvalidParameterCombination"):
        ec2.enable_fast_snapshot_restores(
            SourceSnapshotIds=[snapshot],
            AvailabilityZones=[ZONE],
            AvailabilityZoneIds=["use1-az1"],
        )
    gone = ec2.disable_fast_snapshot_restores(
        SourceSnapshotIds=[snapshot], AvailabilityZoneIds=["use1-az1"]
    )
    assert [one["State"] for one in gone["Successful"]] == ["disabling"]
    left = ec2.describe_fast_snapshot_restores(
        Filters=[{"Name": "snapshot-id", "Values": [snapshot]}]
    )
    assert left["FastSnapshotRestores"] == []


def test_an_instance_from_a_snapshot(
    block_server: ServerProcess, ec2: Any, snapshot: str, seed: int
) -> None:
    (instance,) = run(
        ec2,
        BlockDeviceMappings=[
            {"DeviceName": "/dev/sdf", "Ebs": {"SnapshotId": snapshot, "VolumeType": "gp3"}}
        ],
    )
    disks = {m["DeviceName"]: m["Ebs"]["VolumeId"] for m in instance["BlockDeviceMappings"]}
    (disk,) = ec2.describe_volumes(VolumeIds=[disks["/dev/sdf"]])["Volumes"]
    assert (disk["Size"], disk["VolumeType"], disk["SnapshotId"]) == (1, "gp3", snapshot)
    expected = some_blocks(seed, 0, 1, 100)
    assert read(block_server, disks["/dev/sdf"], BLOCK, BLOCK) == expected[1]
    ec2.terminate_instances(InstanceIds=[instance["InstanceId"]])
