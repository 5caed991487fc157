"""The `aws` command for EC2 and EBS, as its users run it."""

from __future__ import annotations

import base64
import hashlib
import json
import random
from pathlib import Path
from typing import Any

import pytest

from tests.clients.endpoint import ServerProcess

BLOCK = 512 * 1024


class Aws:
    """Runs `aws` commands against the server; its answers as JSON."""

    def __init__(self, server: ServerProcess) -> None:
        self._endpoint = server.endpoint

    def __call__(self, *arguments: str | Path) -> Any:
        """What a command that has to succeed answers; None when it says nothing."""
        done = self._endpoint.aws(*arguments, "--output", "json")
        assert done.returncode == 0, done.stderr.decode()
        return json.loads(done.stdout or b"null")

    def fails(self, *arguments: str | Path) -> str:
        """What a command that has to fail prints on standard error."""
        done = self._endpoint.aws(*arguments)
        assert done.returncode not in (0, None), done.stdout.decode()
        return done.stderr.decode()


@pytest.fixture
def aws(block_server: ServerProcess) -> Aws:
    return Aws(block_server)


def test_a_volume_and_an_instance(aws: Aws) -> None:
    volume_id = aws(
        *("ec2", "create-volume", "--availability-zone", "us-east-1a", "--size", "1"),
        *("--volume-type", "gp3", "--tag-specifications"),
        "ResourceType=volume,Tags=[{Key=Name,Value=from the shell}]",
    )["VolumeId"]
    aws("ec2", "wait", "volume-available", "--volume-ids", volume_id)
    instance_id = aws(
        *("ec2", "run-instances", "--image-id", "ami-0123456789abcdef0", "--count", "1"),
        *("--placement", "AvailabilityZone=us-east-1a"),
    )["Instances"][0]["InstanceId"]
    aws("ec2", "wait", "instance-running", "--instance-ids", instance_id)
    aws(
        *("ec2", "attach-volume", "--volume-id", volume_id),
        *("--instance-id", instance_id, "--device", "/dev/sdf"),
    )
    found = aws(
        *("ec2", "describe-volumes", "--filters", "Name=tag:Name,Values=from the*"),
        *("--query", "Volumes[].[VolumeId,State,Attachments[0].InstanceId]"),
    )
    assert found == [[volume_id, "in-use", instance_id]]
    error = aws.fails("ec2", "delete-volume", "--volume-id", volume_id)
    assert "An error occurred (VolumeInUse) when calling the DeleteVolume operation" in error
    aws("ec2", "terminate-instances", "--instance-ids", instance_id)
    aws("ec2", "wait", "instance-terminated", "--instance-ids", instance_id)
    aws("ec2", "delete-volume", "--volume-id", volume_id)


def test_a_snapshot_by_hand(aws: Aws, tmp_path: Path, seed: int) -> None:
    block, back = tmp_path / "block", tmp_path / "back"
    block.write_bytes(random.Random(seed).randbytes(BLOCK))
    checksum = base64.b64encode(hashlib.sha256(block.read_bytes()).digest()).decode()
    snapshot_id = aws("ebs", "start-snapshot", "--volume-size", "1")["SnapshotId"]
    put = aws(
        *("ebs", "put-snapshot-block", "--snapshot-id", snapshot_id, "--block-index", "3"),
        *("--data-length", str(BLOCK), "--block-data", block),
        *("--checksum", checksum, "--checksum-algorithm", "SHA256"),
    )
    assert put == {"Checksum": checksum, "ChecksumAlgorithm": "SHA256"}
    aws(
        *("ebs", "complete-snapshot", "--snapshot-id", snapshot_id),
        *("--changed-blocks-count", "1"),
    )
    aws("ec2", "wait", "snapshot-completed", "--snapshot-ids", snapshot_id)
    (listed,) = aws("ebs", "list-snapshot-blocks", "--snapshot-id", snapshot_id)["Blocks"]
    assert listed["BlockIndex"] == 3
    got = aws(
        *("ebs", "get-snapshot-block", "--snapshot-id", snapshot_id, "--block-index", "3"),
        *("--block-token", listed["BlockToken"], back),
    )
    assert (got["DataLength"], got["Checksum"]) == (BLOCK, checksum)
    assert back.read_bytes() == block.read_bytes()
    aws("ec2", "delete-snapshot", "--snapshot-id", snapshot_id)
    error = aws.fails("ebs", "list-snapshot-blocks", "--snapshot-id", snapshot_id)
    assert "ResourceNotFoundException" in error


def test_pages_of_the_command(aws: Aws) -> None:
    made = [
        aws("ec2", "create-volume", "--availability-zone", "us-east-1a", "--size", size)
        for size in ("11", "12", "13", "14", "15", "16")
    ]
    ids = [volume["VolumeId"] for volume in made]
    listed = aws(
        *("ec2", "describe-volumes", "--page-size", "5"),
        *("--filters", f"Name=volume-id,Values={','.join(ids)}"),
        *("--query", "Volumes[].VolumeId"),
    )
    assert sorted(listed) == sorted(ids)
    for volume_id in ids:
        aws("ec2", "delete-volume", "--volume-id", volume_id)


def test_regions_and_dry_runs(aws: Aws) -> None:
    zones = aws(
        *("ec2", "describe-availability-zones", "--region", "ap-southeast-2"),
        *("--query", "AvailabilityZones[].[ZoneName,ZoneId]"),
    )
    assert zones[0] == ["ap-southeast-2a", "apse2-az1"]
    dry = ("ec2", "create-volume", "--availability-zone", "us-east-1a", "--size", "1", "--dry-run")
    assert "DryRunOperation" in aws.fails(*dry)
