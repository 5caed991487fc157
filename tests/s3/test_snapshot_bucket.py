"""`objstore serve --snapshot-bucket`: the blocks of EBS snapshots as objects of S3."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from blockdev.blocks import digest_of
from blockdev.model import ServiceError
from blockdev.service import Region
from objstore import ObjectStore
from objstore.volumes import BucketBlockStore
from tests.clients.block_services import service_client
from tests.clients.test_ebs_direct import read_snapshot, some_blocks, write_snapshot
from tests.s3.conftest import ServeProcess
from tests.s3.test_server_devices import objstore

Start = Callable[..., ServeProcess]
OPTION = ("--snapshot-bucket", "blocks")
PREFIX = "ebs/us-east-1/"


def keys_in(server: ServeProcess) -> set[str]:
    client = server.endpoint.client()
    return {o["Key"] for o in client.list_objects_v2(Bucket="blocks").get("Contents", [])}


def keys_of(blocks: dict[int, bytes]) -> set[str]:
    return {PREFIX + digest_of(data).hex() for data in blocks.values()}


def clients(server: ServeProcess) -> tuple[Any, Any]:
    return service_client(server.endpoint, "ec2"), service_client(server.endpoint, "ebs")


def test_an_ebs_snapshot_is_objects_in_s3(tmp_path: Path, start_server: Start, seed: int) -> None:
    data = tmp_path / "data"
    server = start_server(data, *OPTION, "--workers", "2")
    ec2, ebs = clients(server)
    blocks = some_blocks(seed, 0, 3, 2047)
    first = write_snapshot(ebs, blocks)
    assert keys_in(server) == keys_of(blocks)
    volume = ec2.create_volume(AvailabilityZone="us-east-1a", SnapshotId=first)["VolumeId"]
    second = ec2.create_snapshot(VolumeId=volume)["SnapshotId"]
    ec2.get_waiter("snapshot_completed").wait(SnapshotIds=[second])
    assert server.stop() == 0, server.errors

    again = start_server(data, *OPTION, "--workers", "2")
    ec2, ebs = clients(again)
    assert read_snapshot(ebs, second) == blocks
    ec2.delete_snapshot(SnapshotId=first)
    ec2.delete_volume(VolumeId=volume)
    assert keys_in(again) == keys_of(blocks)  # the second one's still
    ec2.delete_snapshot(SnapshotId=second)
    write_snapshot(ebs, {5: blocks[3]})
    assert keys_in(again) == keys_of({5: blocks[3]})
    assert again.stop() == 0, again.errors

    with pytest.raises(ServiceError, match="--snapshot-bucket BUCKET"):
        Region.open(data / "region")
    with ObjectStore.open(data) as store:
        kept = BucketBlockStore(store, "blocks", PREFIX)
        with Region.open(data / "region", blocks=kept) as region:
            assert region.check() == []
    assert objstore("check", data).returncode == 0


def test_a_region_with_blocks_in_files_keeps_them_there(
    tmp_path: Path, start_server: Start, seed: int
) -> None:
    data = tmp_path / "data"
    server = start_server(data)
    snapshot_id = write_snapshot(clients(server)[1], some_blocks(seed, 1))
    assert server.stop() == 0, server.errors
    ended = objstore("serve", data, "--port", "0", *OPTION)
    assert ended.returncode != 0
    assert "without --snapshot-bucket" in ended.stderr
    server = start_server(data)
    assert read_snapshot(clients(server)[1], snapshot_id) == some_blocks(seed, 1)
    assert server.stop() == 0, server.errors


@pytest.mark.parametrize("device", ["gp3:1", "memory:256MiB", "instance:i4i.large"])
def test_a_store_that_needs_the_region_or_forgets_is_refused(tmp_path: Path, device: str) -> None:
    ended = objstore("serve", tmp_path / "data", "--port", "0", "--device", device, *OPTION)
    assert ended.returncode == 1
    assert "blocks of snapshots can be in a store on a file or path:PATH only" in ended.stderr
    assert not (tmp_path / "data").exists()
