"""Instances over EC2's API, and the volumes on them."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Iterator
from typing import Any

import boto3
import pytest

from tests.clients.endpoint import ServerProcess
from tests.clients.errors import refused

IMAGE = "ami-0123456789abcdef0"
ZONE = "us-east-1a"


def run(ec2: Any, count: int = 1, **options: Any) -> list[dict[str, Any]]:
    """Start instances and wait until they run."""
    options.setdefault("InstanceType", "m5.large")
    options.setdefault("Placement", {"AvailabilityZone": ZONE})
    made = ec2.run_instances(ImageId=IMAGE, MinCount=count, MaxCount=count, **options)
    ids = [instance["InstanceId"] for instance in made["Instances"]]
    ec2.get_waiter("instance_running").wait(InstanceIds=ids)
    return described(ec2, *ids)


def described(ec2: Any, *ids: str) -> list[dict[str, Any]]:
    """Instances as they are now, in the order of their ids' reservations."""
    found = ec2.describe_instances(InstanceIds=list(ids))["Reservations"]
    return [instance for reservation in found for instance in reservation["Instances"]]


@pytest.fixture
def instance(ec2: Any) -> Iterator[str]:
    """A running instance; terminated afterwards."""
    (made,) = run(ec2)
    yield made["InstanceId"]
    ec2.terminate_instances(InstanceIds=[made["InstanceId"]])


def test_what_an_instance_is(ec2: Any) -> None:
    made = ec2.run_instances(
        ImageId=IMAGE,
        MinCount=1,
        MaxCount=2,
        InstanceType="c5.xlarge",
        Placement={"AvailabilityZone": "us-east-1b"},
        KeyName="a key",
        SecurityGroupIds=["sg-1"],
        UserData="#!/bin/sh",
        TagSpecifications=[
            {"ResourceType": "instance", "Tags": [{"Key": "role", "Value": "web"}]},
            {"ResourceType": "volume", "Tags": [{"Key": "role", "Value": "disk"}]},
        ],
    )
    first, second = made["Instances"]
    assert made["ReservationId"].startswith("r-")
    assert (first["AmiLaunchIndex"], second["AmiLaunchIndex"]) == (0, 1)
    assert first["State"] == {"Code": 0, "Name": "pending"}
    assert (first["InstanceType"], first["ImageId"]) == ("c5.xlarge", IMAGE)
    assert first["Placement"]["AvailabilityZone"] == "us-east-1b"
    assert first["Tags"] == [{"Key": "role", "Value": "web"}]
    ids = [first["InstanceId"], second["InstanceId"]]
    ec2.get_waiter("instance_running").wait(InstanceIds=ids)
    (reservation,) = ec2.describe_instances(InstanceIds=ids)["Reservations"]
    assert reservation["ReservationId"] == made["ReservationId"]
    assert [i["InstanceId"] for i in reservation["Instances"]] == ids
    (mapping,) = reservation["Instances"][0]["BlockDeviceMappings"]
    assert mapping["DeviceName"] == reservation["Instances"][0]["RootDeviceName"]
    assert mapping["Ebs"]["DeleteOnTermination"] is True
    (root,) = ec2.describe_volumes(VolumeIds=[mapping["Ebs"]["VolumeId"]])["Volumes"]
    assert (root["Size"], root["State"]) == (8, "in-use")
    assert root["Tags"] == [{"Key": "role", "Value": "disk"}]
    ec2.terminate_instances(InstanceIds=ids)
    ec2.get_waiter("instance_terminated").wait(InstanceIds=ids)
    with refused(400, "InvalidVolume.NotFound"):
        ec2.describe_volumes(VolumeIds=[mapping["Ebs"]["VolumeId"]])


def test_disks_that_an_instance_is_started_with(ec2: Any) -> None:
    mappings = [
        {"DeviceName": "/dev/xvda", "Ebs": {"VolumeType": "gp3"}},
        {"DeviceName": "/dev/sdf", "Ebs": {"VolumeSize": 5, "Encrypted": True, "KmsKeyId": "k"}},
        {
            "DeviceName": "/dev/sdg",
            "Ebs": {
                "VolumeSize": 9,
                "VolumeType": "io1",
                "Iops": 200,
                "DeleteOnTermination": True,
            },
        },
        {"DeviceName": "/dev/sdh", "VirtualName": "ephemeral0"},
        {"DeviceName": "/dev/sdi", "NoDevice": ""},
    ]
    (made,) = run(ec2, BlockDeviceMappings=mappings)
    disks = {m["DeviceName"]: m["Ebs"] for m in made["BlockDeviceMappings"]}
    assert sorted(disks) == ["/dev/sdf", "/dev/sdg", "/dev/xvda"]
    ids = {device: disk["VolumeId"] for device, disk in disks.items()}
    volumes = {
        v["VolumeId"]: (v["Size"], v["VolumeType"], v.get("Iops"))
        for v in ec2.describe_volumes(VolumeIds=list(ids.values()))["Volumes"]
    }
    assert volumes[ids["/dev/xvda"]] == (8, "gp3", 3000)
    assert volumes[ids["/dev/sdf"]] == (5, "gp2", 100)
    assert volumes[ids["/dev/sdg"]] == (9, "io1", 200)
    assert {device: disk["DeleteOnTermination"] for device, disk in disks.items()} == {
        "/dev/xvda": True,
        "/dev/sdf": False,
        "/dev/sdg": True,
    }
    (encrypted,) = ec2.describe_volumes(VolumeIds=[ids["/dev/sdf"]])["Volumes"]
    assert (encrypted["Encrypted"], encrypted["KmsKeyId"]) == (True, "k")
    ec2.terminate_instances(InstanceIds=[made["InstanceId"]])
    ec2.get_waiter("volume_available").wait(VolumeIds=[ids["/dev/sdf"]])
    left = ec2.describe_volumes(Filters=[{"Name": "volume-id", "Values": list(ids.values())}])
    assert [v["VolumeId"] for v in left["Volumes"]] == [ids["/dev/sdf"]]
    ec2.delete_volume(VolumeId=ids["/dev/sdf"])


def test_a_volume_goes_from_one_instance_to_another(ec2: Any) -> None:
    first, second = (i["InstanceId"] for i in run(ec2, 2))
    volume_id = ec2.create_volume(AvailabilityZone=ZONE, Size=1)["VolumeId"]
    attached = ec2.attach_volume(VolumeId=volume_id, InstanceId=first, Device="/dev/sdf")
    assert attached["State"] in ("attaching", "attached")
    assert (attached["InstanceId"], attached["Device"]) == (first, "/dev/sdf")
    assert attached["DeleteOnTermination"] is False
    ec2.get_waiter("volume_in_use").wait(VolumeIds=[volume_id])
    (volume,) = ec2.describe_volumes(
        Filters=[
            {"Name": "attachment.instance-id", "Values": [first]},
            {"Name": "attachment.device", "Values": ["/dev/sd*"]},
            {"Name": "attachment.status", "Values": ["attached"]},
            {"Name": "attachment.delete-on-termination", "Values": ["false"]},
        ]
    )["Volumes"]
    assert volume["VolumeId"] == volume_id
    with refused(400, "VolumeInUse"):
        ec2.delete_volume(VolumeId=volume_id)
    with refused(400, "VolumeInUse"):
        ec2.attach_volume(VolumeId=volume_id, InstanceId=second, Device="/dev/sdf")
    with refused(400, "InvalidAttachment.NotFound", "IncorrectState"):
        ec2.detach_volume(VolumeId=volume_id, InstanceId=second)
    ec2.detach_volume(VolumeId=volume_id)
    ec2.get_waiter("volume_available").wait(VolumeIds=[volume_id])
    ec2.attach_volume(VolumeId=volume_id, InstanceId=second, Device="/dev/sdg")
    ec2.get_waiter("volume_in_use").wait(VolumeIds=[volume_id])
    ec2.detach_volume(VolumeId=volume_id, InstanceId=second, Device="/dev/sdg", Force=True)
    ec2.get_waiter("volume_available").wait(VolumeIds=[volume_id])
    ec2.delete_volume(VolumeId=volume_id)
    ec2.terminate_instances(InstanceIds=[first, second])


def test_attachments_that_cannot_be(ec2: Any, instance: str) -> None:
    other_zone = ec2.create_volume(AvailabilityZone="us-east-1c", Size=1)["VolumeId"]
    volume_id = ec2.create_volume(AvailabilityZone=ZONE, Size=1)["VolumeId"]
    here = {"InstanceId": instance, "Device": "/dev/sdf"}
    with refused(400, "InvalidVolume.ZoneMismatch"):
        ec2.attach_volume(VolumeId=other_zone, **here)
    with refused(400, "InvalidVolume.NotFound"):
        ec2.attach_volume(VolumeId="vol-0123456789abcdef0", **here)
    with refused(400, "InvalidInstanceID.NotFound"):
        ec2.attach_volume(VolumeId=volume_id, InstanceId="i-0123456789abcdef0", Device="/dev/sdf")
    with refused(400, "InvalidParameterValue"):
        ec2.attach_volume(VolumeId=volume_id, InstanceId=instance, Device="nonsense")
    with refused(400, "InvalidParameterValue"):
        ec2.attach_volume(VolumeId=volume_id, EbsCardIndex=1, **here)
    with refused(412, "DryRunOperation"):
        ec2.attach_volume(VolumeId=volume_id, DryRun=True, **here)
    with refused(400, "IncorrectState"):
        ec2.detach_volume(VolumeId=volume_id)
    for one in (volume_id, other_zone):
        ec2.delete_volume(VolumeId=one)


def test_multi_attach(ec2: Any) -> None:
    ids = [i["InstanceId"] for i in run(ec2, 2)]
    volume_id = ec2.create_volume(
        AvailabilityZone=ZONE, Size=10, VolumeType="io2", Iops=100, MultiAttachEnabled=True
    )["VolumeId"]
    for instance_id in ids:
        ec2.attach_volume(VolumeId=volume_id, InstanceId=instance_id, Device="/dev/sdf")
    (volume,) = ec2.describe_volumes(VolumeIds=[volume_id])["Volumes"]
    assert sorted(a["InstanceId"] for a in volume["Attachments"]) == sorted(ids)
    ec2.terminate_instances(InstanceIds=ids)
    ec2.get_waiter("volume_available").wait(VolumeIds=[volume_id])
    ec2.delete_volume(VolumeId=volume_id)


def changes(answer: dict[str, Any], name: str) -> list[tuple[str, str]]:
    return [(c["PreviousState"]["Name"], c["CurrentState"]["Name"]) for c in answer[name]]


def test_stop_start_reboot_terminate(ec2: Any) -> None:
    (made,) = run(ec2)
    ids = [made["InstanceId"]]
    ec2.reboot_instances(InstanceIds=ids)
    assert changes(ec2.stop_instances(InstanceIds=ids), "StoppingInstances") == [
        ("running", "stopping")
    ]
    ec2.get_waiter("instance_stopped").wait(InstanceIds=ids)
    (stopped,) = described(ec2, *ids)
    assert stopped["State"] == {"Code": 80, "Name": "stopped"}
    assert stopped["StateReason"]["Code"] == "Client.UserInitiatedShutdown"
    for name, value in (("code", "Client.*"), ("message", "*shutdown")):
        reasons = [{"Name": f"state-reason-{name}", "Values": [value]}]
        found = ec2.describe_instances(Filters=reasons)["Reservations"]
        assert ids[0] in [i["InstanceId"] for r in found for i in r["Instances"]]
    with refused(400, "IncorrectInstanceState"):
        ec2.reboot_instances(InstanceIds=ids)
    with refused(501, "UnsupportedOperation"):
        ec2.stop_instances(InstanceIds=ids, Hibernate=True)
    assert changes(ec2.start_instances(InstanceIds=ids), "StartingInstances") == [
        ("stopped", "pending")
    ]
    ec2.get_waiter("instance_running").wait(InstanceIds=ids)
    assert changes(ec2.terminate_instances(InstanceIds=ids), "TerminatingInstances") == [
        ("running", "shutting-down")
    ]
    ec2.get_waiter("instance_terminated").wait(InstanceIds=ids)
    with refused(400, "IncorrectInstanceState"):
        ec2.start_instances(InstanceIds=ids)
    for verb in ("reboot", "stop", "start", "terminate"):
        with refused(400, "InvalidInstanceID.NotFound"):
            getattr(ec2, f"{verb}_instances")(InstanceIds=["i-0123456789abcdef0"])


def test_status_checks(ec2: Any, instance: str) -> None:
    ec2.get_waiter("instance_status_ok").wait(InstanceIds=[instance])
    ec2.get_waiter("system_status_ok").wait(InstanceIds=[instance])
    ec2.stop_instances(InstanceIds=[instance])
    ec2.get_waiter("instance_stopped").wait(InstanceIds=[instance])
    assert ec2.describe_instance_status(InstanceIds=[instance])["InstanceStatuses"] == []
    (status,) = ec2.describe_instance_status(InstanceIds=[instance], IncludeAllInstances=True)[
        "InstanceStatuses"
    ]
    assert status["InstanceStatus"]["Status"] == "not-applicable"
    found = ec2.describe_instance_status(
        IncludeAllInstances=True,
        Filters=[
            {"Name": "instance-state-name", "Values": ["stopped"]},
            {"Name": "instance-status.status", "Values": ["not-*"]},
        ],
    )["InstanceStatuses"]
    assert instance in [one["InstanceId"] for one in found]


def test_filters_and_pages(ec2: Any) -> None:
    role = uuid.uuid4().hex
    tags = [{"ResourceType": "instance", "Tags": [{"Key": "role", "Value": role}]}]
    ids = [i["InstanceId"] for i in run(ec2, 6, TagSpecifications=tags)]
    mine = [{"Name": "tag:role", "Values": [role]}]

    def found(name: str, *values: str) -> int:
        answer = ec2.describe_instances(Filters=[*mine, {"Name": name, "Values": list(values)}])
        return sum(len(r["Instances"]) for r in answer["Reservations"])

    assert found("instance-state-name", "running", "pending") == 6
    assert found("instance-state-code", "16") == 6
    assert found("instance-type", "m5.*") == 6
    assert found("availability-zone", "us-east-1b") == 0
    assert found("instance-id", *ids[:2]) == 2
    assert found("launch-index", "0", "5") == 2
    assert found("block-device-mapping.device-name", "/dev/xvda") == 6
    assert found("vpc-id", "*") == 0
    assert found("owner-id", "000000000000") == 6
    with refused(400, "InvalidParameterValue"):
        found("colour", "red")
    pages = ec2.get_paginator("describe_instances").paginate(
        Filters=mine, PaginationConfig={"PageSize": 5}
    )
    listed = [[i["InstanceId"] for r in p["Reservations"] for i in r["Instances"]] for p in pages]
    assert [len(page) for page in listed] == [5, 1]
    assert sorted(itertools.chain(*listed)) == sorted(ids)
    ec2.terminate_instances(InstanceIds=ids)


@pytest.mark.parametrize(
    ("code", "asked"),
    [
        ("MissingParameter", {"MinCount": 1, "MaxCount": 1}),
        ("InvalidParameterCombination", {"ImageId": IMAGE, "MinCount": 2, "MaxCount": 1}),
        ("InvalidParameterValue", {"ImageId": IMAGE, "MinCount": 0, "MaxCount": 1}),
        ("InvalidAMIID.Malformed", {"ImageId": "image", "MinCount": 1, "MaxCount": 1}),
        (
            "InvalidParameterValue",
            {"ImageId": IMAGE, "MinCount": 1, "MaxCount": 1, "InstanceType": "big"},
        ),
        (
            "InvalidBlockDeviceMapping",
            {
                "ImageId": IMAGE,
                "MinCount": 1,
                "MaxCount": 1,
                "BlockDeviceMappings": [
                    {"DeviceName": "/dev/sdf", "Ebs": {"DeleteOnTermination": True}}
                ],
            },
        ),
        (
            "MissingParameter",
            {
                "ImageId": IMAGE,
                "MinCount": 1,
                "MaxCount": 1,
                "BlockDeviceMappings": [{"Ebs": {"VolumeSize": 1}}],
            },
        ),
        (
            "InvalidBlockDeviceMapping",
            {
                "ImageId": IMAGE,
                "MinCount": 1,
                "MaxCount": 1,
                "BlockDeviceMappings": [{"DeviceName": "/dev/sdf", "VirtualName": "floppy"}],
            },
        ),
        (
            "InvalidSnapshot.NotFound",
            {
                "ImageId": IMAGE,
                "MinCount": 1,
                "MaxCount": 1,
                "BlockDeviceMappings": [
                    {"DeviceName": "/dev/sdf", "Ebs": {"SnapshotId": "snap-0123456789abcdef0"}}
                ],
            },
        ),
        (
            "UnsupportedOperation",
            {
                "ImageId": IMAGE,
                "MinCount": 1,
                "MaxCount": 1,
                "LaunchTemplate": {"LaunchTemplateName": "x"},
            },
        ),
    ],
)
def test_instances_that_cannot_be(ec2: Any, code: str, asked: dict[str, Any]) -> None:
    with refused(501 if code == "UnsupportedOperation" else 400, code):
        ec2.run_instances(**asked)


def test_a_client_token_starts_once(ec2: Any) -> None:
    asked = {"ImageId": IMAGE, "MinCount": 1, "MaxCount": 1, "ClientToken": uuid.uuid4().hex}
    first = ec2.run_instances(**asked)["Instances"][0]["InstanceId"]
    assert ec2.run_instances(**asked)["Instances"][0]["InstanceId"] == first
    with refused(400, "IdempotentParameterMismatch"):
        ec2.run_instances(**asked | {"InstanceType": "c5.large"})
    ec2.terminate_instances(InstanceIds=[first])


def test_the_objects_of_boto3(block_server: ServerProcess) -> None:
    """`boto3.resource`, which reads what it needs out of the answers by itself."""
    endpoint = block_server.endpoint
    ec2 = boto3.resource(
        "ec2",
        endpoint_url=endpoint.url,
        aws_access_key_id=endpoint.access_key,
        aws_secret_access_key=endpoint.secret_key,
        region_name=endpoint.region,
    )
    volume = ec2.create_volume(AvailabilityZone=ZONE, Size=1)
    (instance,) = ec2.create_instances(
        ImageId=IMAGE, MinCount=1, MaxCount=1, Placement={"AvailabilityZone": ZONE}
    )
    instance.wait_until_running()
    volume.attach_to_instance(InstanceId=instance.id, Device="/dev/sdf")
    assert volume.id in [attached.id for attached in instance.volumes.all()]
    snapshot = volume.create_snapshot(Description="by an object")
    snapshot.wait_until_completed()
    assert snapshot.volume.id == volume.id
    volume.detach_from_instance()
    volume.reload()
    assert volume.state == "available"
    instance.create_tags(Tags=[{"Key": "a", "Value": "b"}])
    instance.reload()
    assert instance.tags == [{"Key": "a", "Value": "b"}]
    instance.terminate()
    instance.wait_until_terminated()
    snapshot.delete()
    volume.delete()
