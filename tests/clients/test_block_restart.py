"""What EC2 and EBS keep when the server is stopped, or killed, and started again."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.clients.block_services import assert_regions_whole, service_client
from tests.clients.endpoint import ServerProcess
from tests.clients.test_ebs_direct import linear_checksum, put, read_snapshot, some_blocks
from tests.clients.test_ec2_instances import run


def kill(server: ServerProcess) -> None:
    """End a server as a power cut would: all its processes at once, by their ids."""
    parent = server.pid
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    for pid in (parent, *map(int, children)):
        os.kill(pid, signal.SIGKILL)
    server.wait_killed()


@pytest.mark.parametrize("end", [ServerProcess.stop, kill], ids=["stop", "kill"])
def test_everything_is_there_again(
    tmp_path: Path, seed: int, end: Callable[[ServerProcess], None]
) -> None:
    server = ServerProcess(tmp_path)
    ec2, ebs = (service_client(server.endpoint, name) for name in ("ec2", "ebs"))
    blocks = some_blocks(seed, 0, 3)
    done = ebs.start_snapshot(VolumeSize=1)["SnapshotId"]
    for index, data in blocks.items():
        put(ebs, done, index, data)
    ebs.complete_snapshot(SnapshotId=done, ChangedBlocksCount=2)
    half = ebs.start_snapshot(VolumeSize=1, ParentSnapshotId=done)["SnapshotId"]
    put(ebs, half, 3, blocks[0])
    token = ebs.list_snapshot_blocks(SnapshotId=done)["Blocks"][1]
    (instance,) = run(ec2)
    made = ec2.create_volume(
        AvailabilityZone="us-east-1a",
        SnapshotId=done,
        VolumeType="gp3",
        ClientToken="once",
        TagSpecifications=[{"ResourceType": "volume", "Tags": [{"Key": "a", "Value": "b"}]}],
    )["VolumeId"]
    ec2.attach_volume(VolumeId=made, InstanceId=instance["InstanceId"], Device="/dev/sdf")
    before = everything(ec2)
    end(server)

    server = ServerProcess(tmp_path)
    ec2, ebs = (service_client(server.endpoint, name) for name in ("ec2", "ebs"))
    assert everything(ec2) == before
    got = ebs.get_snapshot_block(SnapshotId=done, **token)
    assert got["BlockData"].read() == blocks[3]
    put(ebs, half, 7, blocks[3])
    ebs.complete_snapshot(
        SnapshotId=half,
        ChangedBlocksCount=2,
        Checksum=linear_checksum({3: blocks[0], 7: blocks[3]}),
        ChecksumAlgorithm="SHA256",
        ChecksumAggregationMethod="LINEAR",
    )
    assert read_snapshot(ebs, half) == {0: blocks[0], 3: blocks[0], 7: blocks[3]}
    again = ec2.create_volume(
        AvailabilityZone="us-east-1a",
        SnapshotId=done,
        VolumeType="gp3",
        ClientToken="once",
        TagSpecifications=[{"ResourceType": "volume", "Tags": [{"Key": "a", "Value": "b"}]}],
    )
    assert again["VolumeId"] == made
    server.stop()
    assert_regions_whole(server.data)


def everything(ec2: Any) -> list[Any]:
    """All that EC2 tells of a region, but for what is on its way."""
    answers = [
        ec2.describe_volumes(),
        ec2.describe_snapshots(),
        ec2.describe_instances(),
        ec2.describe_tags(),
    ]
    return [{k: v for k, v in a.items() if k != "ResponseMetadata"} for a in answers]
