"""Volumes over EC2's API: their life, their filters, and what is refused."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from tests.clients.errors import refused

ZONE = "us-east-1a"


def tag(name: str) -> list[dict[str, Any]]:
    """A specification that names a volume."""
    return [{"ResourceType": "volume", "Tags": [{"Key": "Name", "Value": name}]}]


def test_a_volume_from_birth_to_death(ec2: Any) -> None:
    made = ec2.create_volume(AvailabilityZone=ZONE, Size=10, TagSpecifications=tag("first"))
    volume_id = made["VolumeId"]
    assert made["State"] == "creating"
    assert (made["Size"], made["VolumeType"], made["Iops"]) == (10, "gp2", 100)
    assert (made["AvailabilityZone"], made["AvailabilityZoneId"]) == (ZONE, "use1-az1")
    assert (made["Encrypted"], made["MultiAttachEnabled"], made["SnapshotId"]) == (False, False, "")
    assert made["Tags"] == [{"Key": "Name", "Value": "first"}]
    ec2.get_waiter("volume_available").wait(VolumeIds=[volume_id])
    (described,) = ec2.describe_volumes(VolumeIds=[volume_id])["Volumes"]
    assert described["State"] == "available"
    assert described["CreateTime"] == made["CreateTime"]
    ec2.delete_volume(VolumeId=volume_id)
    ec2.get_waiter("volume_deleted").wait(VolumeIds=[volume_id])
    with refused(400, "InvalidVolume.NotFound"):
        ec2.describe_volumes(VolumeIds=[volume_id])


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({"VolumeType": "gp3", "Size": 8}, {"Iops": 3000, "Throughput": 125}),
        (
            {"VolumeType": "gp3", "Size": 100, "Iops": 6000, "Throughput": 250},
            {"Iops": 6000, "Throughput": 250},
        ),
        ({"VolumeType": "io1", "Size": 20, "Iops": 500}, {"Iops": 500}),
        (
            {"VolumeType": "io2", "Size": 20, "Iops": 500, "MultiAttachEnabled": True},
            {"Iops": 500, "MultiAttachEnabled": True},
        ),
        ({"VolumeType": "st1", "Size": 125}, {"VolumeType": "st1"}),
        ({"VolumeType": "standard", "Size": 1, "Encrypted": True}, {"Encrypted": True}),
        ({"AvailabilityZoneId": "use1-az3", "Size": 1}, {"AvailabilityZone": "us-east-1c"}),
    ],
)
def test_types_and_what_they_come_with(
    ec2: Any, asked: dict[str, Any], expected: dict[str, Any]
) -> None:
    zone = {} if "AvailabilityZoneId" in asked else {"AvailabilityZone": ZONE}
    volume = ec2.create_volume(**zone, **asked)
    (described,) = ec2.describe_volumes(VolumeIds=[volume["VolumeId"]])["Volumes"]
    assert {name: described.get(name) for name in expected} == expected
    ec2.delete_volume(VolumeId=volume["VolumeId"])


@pytest.mark.parametrize(
    ("code", "asked"),
    [
        ("MissingParameter", {"Size": 1}),
        ("MissingParameter", {"AvailabilityZone": ZONE}),
        ("InvalidZone.NotFound", {"AvailabilityZone": "us-east-1z", "Size": 1}),
        ("InvalidParameterValue", {"AvailabilityZoneId": "use1-az9", "Size": 1}),
        (
            "InvalidParameterCombination",
            {"AvailabilityZone": ZONE, "AvailabilityZoneId": "use1-az1", "Size": 1},
        ),
        ("InvalidParameterValue", {"AvailabilityZone": ZONE, "Size": 0}),
        ("InvalidParameterValue", {"AvailabilityZone": ZONE, "Size": 20_000}),
        ("InvalidParameterValue", {"AvailabilityZone": ZONE, "Size": 1, "VolumeType": "gp9"}),
        ("InvalidParameterValue", {"AvailabilityZone": ZONE, "Size": 1, "VolumeType": "st1"}),
        ("InvalidSnapshot.NotFound", {"AvailabilityZone": ZONE, "SnapshotId": "snap-01234567"}),
        ("UnsupportedOperation", {"AvailabilityZone": ZONE, "Size": 1, "OutpostArn": "arn:x"}),
        (
            "InvalidParameterCombination",
            {"AvailabilityZone": ZONE, "Size": 1, "MultiAttachEnabled": True},
        ),
        (
            "InvalidParameterValue",
            {
                "AvailabilityZone": ZONE,
                "Size": 1,
                "TagSpecifications": [{"ResourceType": "instance", "Tags": []}],
            },
        ),
        (
            "InvalidParameterValue",
            {
                "AvailabilityZone": ZONE,
                "Size": 1,
                "TagSpecifications": [
                    {"ResourceType": "volume", "Tags": [{"Key": "aws:x", "Value": ""}]}
                ],
            },
        ),
    ],
)
def test_volumes_that_cannot_be(ec2: Any, code: str, asked: dict[str, Any]) -> None:
    with refused(501 if code == "UnsupportedOperation" else 400, code):
        ec2.create_volume(**asked)


def test_a_client_token_makes_one_volume(ec2: Any) -> None:
    token = uuid.uuid4().hex
    first = ec2.create_volume(AvailabilityZone=ZONE, Size=2, ClientToken=token)
    again = ec2.create_volume(AvailabilityZone=ZONE, Size=2, ClientToken=token)
    assert again["VolumeId"] == first["VolumeId"]
    with refused(400, "IdempotentParameterMismatch"):
        ec2.create_volume(AvailabilityZone=ZONE, Size=3, ClientToken=token)
    ec2.delete_volume(VolumeId=first["VolumeId"])


def test_a_dry_run_makes_nothing(ec2: Any) -> None:
    name = uuid.uuid4().hex
    with refused(412, "DryRunOperation"):
        ec2.create_volume(AvailabilityZone=ZONE, Size=2, TagSpecifications=tag(name), DryRun=True)
    assert volumes_named(ec2, name) == []


def volumes_named(ec2: Any, name: str) -> list[dict[str, Any]]:
    found = ec2.describe_volumes(Filters=[{"Name": "tag:Name", "Values": [name]}])
    return list(found["Volumes"])


def test_pages(ec2: Any) -> None:
    name = uuid.uuid4().hex
    made = [
        ec2.create_volume(AvailabilityZone=ZONE, Size=1, TagSpecifications=tag(name))["VolumeId"]
        for _ in range(12)
    ]
    wanted = [{"Name": "tag:Name", "Values": [name]}]
    sizes, seen = [], []
    token: dict[str, str] = {}
    while True:
        page = ec2.describe_volumes(Filters=wanted, MaxResults=5, **token)
        sizes.append(len(page["Volumes"]))
        seen += [volume["VolumeId"] for volume in page["Volumes"]]
        if "NextToken" not in page:
            break
        token = {"NextToken": page["NextToken"]}
    assert (sizes, seen) == ([5, 5, 2], made)
    paginator = ec2.get_paginator("describe_volumes")
    pages = paginator.paginate(Filters=wanted, PaginationConfig={"PageSize": 7})
    assert [len(page["Volumes"]) for page in pages] == [7, 5]
    with refused(400, "InvalidParameterValue"):
        ec2.describe_volumes(MaxResults=4)
    with refused(400, "InvalidParameterCombination"):
        ec2.describe_volumes(MaxResults=5, VolumeIds=made[:1])
    with refused(400, "InvalidNextToken"):
        ec2.describe_volumes(MaxResults=5, NextToken="made up")
    with refused(400, "InvalidNextToken"):
        ec2.describe_snapshots(MaxResults=5, **token)
    for volume_id in made:
        ec2.delete_volume(VolumeId=volume_id)


def test_filters(ec2: Any) -> None:
    name = uuid.uuid4().hex
    made = [
        ec2.create_volume(
            AvailabilityZone=zone,
            Size=size,
            VolumeType=kind,
            TagSpecifications=tag(f"{name}-{size}"),
        )["VolumeId"]
        for zone, size, kind in ((ZONE, 1, "gp2"), (ZONE, 2, "gp3"), ("us-east-1b", 3, "gp3"))
    ]

    def found(*filters: tuple[str, list[str]]) -> list[int]:
        every = [{"Name": "tag:Name", "Values": [f"{name}-?"]}]
        every += [{"Name": which, "Values": values} for which, values in filters]
        return sorted(v["Size"] for v in ec2.describe_volumes(Filters=every)["Volumes"])

    assert found() == [1, 2, 3]
    assert found(("size", ["1", "3"])) == [1, 3]
    assert found(("volume-type", ["gp3"])) == [2, 3]
    assert found(("volume-type", ["gp*"]), ("availability-zone", [ZONE])) == [1, 2]
    assert found(("availability-zone-id", ["use1-az2"])) == [3]
    assert found(("volume-id", made[1:])) == [2, 3]
    assert found(("status", ["available"])) == [1, 2, 3]
    assert found(("encrypted", ["true"])) == []
    assert found(("tag-key", ["Name"])) == [1, 2, 3]
    assert found(("attachment.instance-id", ["*"])) == []
    assert found(("create-time", ["20*"])) == [1, 2, 3]
    with refused(400, "InvalidParameterValue"):
        found(("colour", ["red"]))
    for volume_id in made:
        ec2.delete_volume(VolumeId=volume_id)


def test_a_change_of_a_volume(ec2: Any) -> None:
    volume_id = ec2.create_volume(AvailabilityZone=ZONE, Size=10)["VolumeId"]
    change = ec2.modify_volume(VolumeId=volume_id, VolumeType="gp3", Size=20, Iops=4000)
    told = change["VolumeModification"]
    assert told["ModificationState"] in ("modifying", "optimizing")
    assert (told["OriginalSize"], told["TargetSize"]) == (10, 20)
    assert (told["OriginalVolumeType"], told["TargetVolumeType"]) == ("gp2", "gp3")
    assert (told["OriginalIops"], told["TargetIops"], told["TargetThroughput"]) == (100, 4000, 125)
    listed = ec2.describe_volumes_modifications(
        Filters=[{"Name": "volume-id", "Values": [volume_id]}]
    )["VolumesModifications"]
    assert [m["VolumeId"] for m in listed] == [volume_id]
    by_id = ec2.describe_volumes_modifications(VolumeIds=[volume_id])["VolumesModifications"]
    assert by_id[0]["TargetSize"] == 20
    assert by_id[0]["Progress"] in range(101)
    (volume,) = ec2.describe_volumes(VolumeIds=[volume_id])["Volumes"]
    assert volume["Size"] == 20
    with refused(400, "InvalidParameterValue", "IncorrectModificationState"):
        ec2.modify_volume(VolumeId=volume_id, Size=5)
    with refused(400, "InvalidVolume.NotFound"):
        ec2.modify_volume(VolumeId="vol-0123456789abcdef0", Size=5)
    with refused(400, "InvalidParameterValue"):
        ec2.describe_volumes_modifications(MaxResults=501)
    ec2.delete_volume(VolumeId=volume_id)


def test_status_and_attributes(ec2: Any) -> None:
    volume_id = ec2.create_volume(AvailabilityZone=ZONE, Size=4, VolumeType="io1", Iops=100)[
        "VolumeId"
    ]
    (status,) = ec2.describe_volume_status(VolumeIds=[volume_id])["VolumeStatuses"]
    assert status["VolumeStatus"]["Status"] == "ok"
    assert {"Name": "io-enabled", "Status": "passed"} in status["VolumeStatus"]["Details"]
    chosen = ec2.describe_volume_status(
        Filters=[
            {"Name": "volume-status.status", "Values": ["ok"]},
            {"Name": "volume-status.details-name", "Values": ["io-performance"]},
        ]
    )["VolumeStatuses"]
    assert volume_id in [one["VolumeId"] for one in chosen]
    attribute = ec2.describe_volume_attribute(VolumeId=volume_id, Attribute="autoEnableIO")
    assert attribute["AutoEnableIO"] == {"Value": False}
    codes = ec2.describe_volume_attribute(VolumeId=volume_id, Attribute="productCodes")
    assert codes["ProductCodes"] == []
    with refused(501, "UnsupportedOperation"):
        ec2.modify_volume_attribute(VolumeId=volume_id, AutoEnableIO={"Value": True})
    ec2.delete_volume(VolumeId=volume_id)
    with refused(400, "InvalidVolume.NotFound"):
        ec2.describe_volume_status(VolumeIds=[volume_id])
    with refused(400, "InvalidVolume.NotFound"):
        ec2.describe_volume_attribute(VolumeId=volume_id, Attribute="productCodes")


def test_tags(ec2: Any) -> None:
    volume_id = ec2.create_volume(AvailabilityZone=ZONE, Size=1)["VolumeId"]
    ec2.create_tags(
        Resources=[volume_id],
        Tags=[{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "ä <&> 😀"}, {"Key": "c"}],
    )
    mine = [{"Name": "resource-id", "Values": [volume_id]}]
    listed = ec2.describe_tags(Filters=mine)["Tags"]
    assert [(t["Key"], t["Value"]) for t in listed] == [("a", "1"), ("b", "ä <&> 😀"), ("c", "")]
    assert {t["ResourceType"] for t in listed} == {"volume"}
    only = ec2.describe_tags(Filters=[*mine, {"Name": "tag:a", "Values": ["1"]}])["Tags"]
    assert [t["Key"] for t in only] == ["a"]
    ec2.delete_tags(Resources=[volume_id], Tags=[{"Key": "a", "Value": "2"}, {"Key": "c"}])
    assert [t["Key"] for t in ec2.describe_tags(Filters=mine)["Tags"]] == ["a", "b"]
    ec2.delete_tags(Resources=[volume_id])
    assert ec2.describe_tags(Filters=mine)["Tags"] == []
    with refused(400, "InvalidVolume.NotFound"):
        ec2.create_tags(Resources=["vol-0123456789abcdef0"], Tags=[{"Key": "a", "Value": ""}])
    with refused(400, "InvalidID"):
        ec2.create_tags(Resources=["table-1"], Tags=[{"Key": "a", "Value": ""}])
    with refused(400, "TagLimitExceeded"):
        ec2.create_tags(
            Resources=[volume_id], Tags=[{"Key": f"k{n}", "Value": ""} for n in range(51)]
        )
    with refused(400, "InvalidParameterValue"):
        ec2.create_tags(
            Resources=[volume_id], Tags=[{"Key": "k", "Value": "1"}, {"Key": "k", "Value": "2"}]
        )
    ec2.delete_volume(VolumeId=volume_id)


def test_zones_and_regions(ec2: Any) -> None:
    zones = ec2.describe_availability_zones()["AvailabilityZones"]
    assert [z["ZoneName"] for z in zones] == ["us-east-1a", "us-east-1b", "us-east-1c"]
    assert {z["State"] for z in zones} == {"available"}
    one = ec2.describe_availability_zones(ZoneIds=["use1-az2"])["AvailabilityZones"]
    assert [z["ZoneName"] for z in one] == ["us-east-1b"]
    with refused(400, "InvalidParameterValue"):
        ec2.describe_availability_zones(ZoneNames=["us-east-1q"])
    with refused(400, "InvalidParameterValue"):
        ec2.describe_availability_zones(ZoneIds=["use1-az7"])
    assert "us-east-1" in [r["RegionName"] for r in ec2.describe_regions()["Regions"]]
    named = ec2.describe_regions(Filters=[{"Name": "region-name", "Values": ["us-e*"]}])
    assert [r["RegionName"] for r in named["Regions"]] == ["us-east-1"]
    with refused(400, "InvalidParameterValue"):
        ec2.describe_regions(RegionNames=["nowhere-1"])
