"""S3, EC2 and EBS on one port, buckets with awkward names among them."""

from __future__ import annotations

from typing import Any

import pytest

from tests.clients.block_services import service_client
from tests.clients.endpoint import ServerProcess
from tests.clients.errors import refused


@pytest.fixture(scope="module")
def s3(block_server: ServerProcess) -> Any:
    """A client for S3 on the port of the others."""
    return block_server.endpoint.client()


def test_a_bucket_named_snapshots(s3: Any, ebs: Any) -> None:
    s3.create_bucket(Bucket="snapshots")
    key = "snap-0123456789abcdef0/blocks/0"
    s3.put_object(Bucket="snapshots", Key=key, Body=b"an object, not a block")
    assert s3.get_object(Bucket="snapshots", Key=key)["Body"].read() == b"an object, not a block"
    listed = s3.list_objects_v2(Bucket="snapshots")["Contents"]
    assert [entry["Key"] for entry in listed] == [key]
    with refused(404, "ResourceNotFoundException"):
        ebs.list_snapshot_blocks(SnapshotId="snap-0123456789abcdef0")
    url = s3.generate_presigned_url("get_object", Params={"Bucket": "snapshots", "Key": key})
    assert "/snapshots/snap-" in url
    s3.delete_object(Bucket="snapshots", Key=key)
    s3.delete_bucket(Bucket="snapshots")
    with refused(404, "NoSuchBucket"):
        s3.list_objects_v2(Bucket="snapshots")


def test_listing_buckets_is_still_s3s(s3: Any, ec2: Any) -> None:
    s3.create_bucket(Bucket="plain-bucket")
    assert "plain-bucket" in [b["Name"] for b in s3.list_buckets()["Buckets"]]
    assert ec2.describe_regions()["Regions"]
    s3.put_object(Bucket="plain-bucket", Key="k", Body=b"x" * 100_000)
    assert len(s3.get_object(Bucket="plain-bucket", Key="k")["Body"].read()) == 100_000
    s3.delete_object(Bucket="plain-bucket", Key="k")
    s3.delete_bucket(Bucket="plain-bucket")


def test_each_region_has_volumes_of_its_own(block_server: ServerProcess, ec2: Any) -> None:
    west = service_client(block_server.endpoint, "ec2", region="eu-west-1")
    zones = [z["ZoneName"] for z in west.describe_availability_zones()["AvailabilityZones"]]
    assert zones == ["eu-west-1a", "eu-west-1b", "eu-west-1c"]
    volume_id = west.create_volume(AvailabilityZone="eu-west-1a", Size=1)["VolumeId"]
    (volume,) = west.describe_volumes(VolumeIds=[volume_id])["Volumes"]
    assert volume["AvailabilityZoneId"] == "euw1-az1"
    with refused(400, "InvalidVolume.NotFound"):
        ec2.describe_volumes(VolumeIds=[volume_id])
    with refused(400, "InvalidZone.NotFound"):
        west.create_volume(AvailabilityZone="us-east-1a", Size=1)
    names = [region["RegionName"] for region in ec2.describe_regions()["Regions"]]
    assert "eu-west-1" in names
    west.delete_volume(VolumeId=volume_id)
