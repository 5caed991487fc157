"""`objstore serve --device`: the store on simulated devices, as a user meets it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from blockdev.service import Region
from objstore.volumes.placement import find_placement
from tests.clients.block_services import service_client
from tests.regions import assert_region_whole
from tests.s3.conftest import ServeProcess

Start = Callable[..., ServeProcess]


def objstore(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """The command, run to its end."""
    return subprocess.run(
        [sys.executable, "-m", "objstore.cli", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def assert_clean(*arguments: str | Path) -> None:
    ended = objstore("check", *arguments)
    assert (ended.returncode, ended.stderr) == (0, ""), ended.stdout
    assert ended.stdout.endswith(": clean\n")


def volume_of(server: ServeProcess) -> str:
    placement = find_placement(server.data_dir)
    assert placement is not None
    return placement.volume_id


def put_all(client: Any, bucket: str, count: int) -> dict[str, bytes]:
    bodies = {f"{number}": os.urandom(4096 * (number % 40 + 1)) for number in range(count)}
    for key, body in bodies.items():
        client.put_object(Bucket=bucket, Key=key, Body=body)
    return bodies


def assert_holds(client: Any, bucket: str, bodies: dict[str, bytes]) -> None:
    for key, body in bodies.items():
        assert client.get_object(Bucket=bucket, Key=key)["Body"].read() == body


@pytest.mark.parametrize("spec", ["memory:256MiB", "gp3:1", "gp2:1", "instance:i4i.large"])
def test_a_server_on_any_device_serves(tmp_path: Path, start_server: Start, spec: str) -> None:
    server = start_server(tmp_path / "data", "--device", spec)
    assert "  device      " + spec.split(":")[0] in server.banner
    client = server.endpoint.client()
    client.create_bucket(Bucket="bucket")
    bodies = put_all(client, "bucket", 20)
    large = os.urandom(6 * 1024 * 1024)
    client.put_object(Bucket="bucket", Key="large", Body=large)
    assert_holds(client, "bucket", bodies | {"large": large})
    assert server.stop() == 0, server.errors
    if spec.startswith("memory"):
        assert "holds no store" in objstore("check", server.data_dir).stderr
        return
    assert_clean(server.data_dir)
    again = start_server(tmp_path / "data")
    assert_holds(again.endpoint.client(), "bucket", bodies)


def test_a_volume_is_seen_over_ec2_and_counts_what_was_written(
    tmp_path: Path, start_server: Start
) -> None:
    server = start_server(tmp_path / "data", "--device", "gp2:1", "--credits", "20000")
    volume = volume_of(server)
    (shown,) = service_client(server.endpoint, "ec2").describe_volumes(VolumeIds=[volume])[
        "Volumes"
    ]
    assert (shown["State"], shown["VolumeType"], shown["Size"]) == ("in-use", "gp2", 1)
    assert shown["Attachments"][0]["Device"] == "/dev/sdf"
    client = server.endpoint.client()
    client.create_bucket(Bucket="bucket")
    with Region.open(tmp_path / "data" / "region") as region:  # asks the server
        before = region.volume_metrics(volume)
        put_all(client, "bucket", 30)
        done = region.volume_metrics(volume).since(before)
        balance = region.credit_balance(volume)
    assert done.durable_writes.calls >= 30
    assert balance is not None
    assert balance < 5_400_000 * 0.01
    # Every read of a delayed device waits, so each went to a thread.
    client.get_object(Bucket="bucket", Key="1")["Body"].read()
    server.process.send_signal(signal.SIGUSR1)
    waiting = threading.Event()
    for _ in range(600):
        if "since the server started" in server.errors:
            break
        waiting.wait(0.1)
    assert f"{volume} (gp2, 1 GiB): " in server.errors
    assert server.stop() == 0, server.errors


def test_credits_that_are_used_up_are_told_of(tmp_path: Path, start_server: Start) -> None:
    server = start_server(tmp_path / "data", "--device", "gp2:1", "--credits", "0")
    waiting = threading.Event()
    for _ in range(600):
        if "burst credits are used up: 100 IOPS now" in server.errors:
            break
        waiting.wait(0.1)
    else:
        pytest.fail(server.errors)


def test_a_snapshot_of_a_server_that_writes_is_a_store(tmp_path: Path, start_server: Start) -> None:
    server = start_server(tmp_path / "data", "--device", "gp3:1")
    client, ec2 = server.endpoint.client(), service_client(server.endpoint, "ec2")
    client.create_bucket(Bucket="bucket")
    before = put_all(client, "bucket", 25)
    stop = threading.Event()

    def write_on() -> None:
        writer, number = server.endpoint.client(), 0
        while not stop.is_set():
            number += 1
            writer.put_object(Bucket="bucket", Key=f"later/{number}", Body=os.urandom(20_000))

    writer = threading.Thread(target=write_on)
    writer.start()
    try:
        snapshot = ec2.create_snapshot(VolumeId=volume_of(server))["SnapshotId"]
        ec2.get_waiter("snapshot_completed").wait(
            SnapshotIds=[snapshot], WaiterConfig={"Delay": 1, "MaxAttempts": 60}
        )
        zone = "us-east-1a"
        copy = ec2.create_volume(SnapshotId=snapshot, AvailabilityZone=zone, VolumeType="gp3")
        # While the server goes on: the copy's own volume, with an index of its own.
        assert_clean(server.data_dir, "--device", f"volume:{copy['VolumeId']}")
    finally:
        stop.set()
        writer.join()
    where = f"volume:{tmp_path}/data/region/{copy['VolumeId']}"
    restored = start_server(tmp_path / "copy", "--device", where)
    assert_holds(restored.endpoint.client(), "bucket", before)
    restored.endpoint.client().put_object(Bucket="bucket", Key="of-the-copy", Body=b"new")
    assert "of-the-copy" not in str(client.list_objects_v2(Bucket="bucket")["Contents"])
    assert restored.stop() == 0, restored.errors
    assert_clean(restored.data_dir)
    assert server.stop() == 0, server.errors
    assert_clean(server.data_dir)
    assert_region_whole(server.data_dir / "region")


def test_what_was_acknowledged_survives_kill_9(tmp_path: Path, start_server: Start) -> None:
    server = start_server(tmp_path / "data", "--device", "gp3:1")
    client = server.endpoint.client()
    client.create_bucket(Bucket="bucket")
    acknowledged: list[dict[str, bytes]] = [{} for _ in range(4)]

    def write(mine: dict[str, bytes], name: int) -> None:
        writer = server.endpoint.client()
        for number in range(100_000):
            body = os.urandom(3000)
            try:
                writer.put_object(Bucket="bucket", Key=f"{name}/{number}", Body=body)
            except Exception:
                return  # killed
            mine[f"{name}/{number}"] = body

    writers = [
        threading.Thread(target=write, args=(mine, name)) for name, mine in enumerate(acknowledged)
    ]
    for writer in writers:
        writer.start()
    waiting = threading.Event()
    for _ in range(600):
        if sum(map(len, acknowledged)) >= 200:
            break
        waiting.wait(0.1)
    server.process.kill()
    server.process.wait(60)
    for writer in writers:
        writer.join()
    assert sum(map(len, acknowledged)) >= 200
    again = start_server(tmp_path / "data")
    for mine in acknowledged:
        assert_holds(again.endpoint.client(), "bucket", mine)
    assert again.stop() == 0, again.errors
    assert_clean(server.data_dir)
    assert_region_whole(server.data_dir / "region")
    ended = objstore("rebuild-index", server.data_dir)
    assert ended.returncode == 0, ended.stderr
    assert_clean(server.data_dir)


def test_a_device_taken_away_ends_the_server(tmp_path: Path, start_server: Start) -> None:
    server = start_server(tmp_path / "data", "--device", "gp3:1")
    client = server.endpoint.client()
    client.create_bucket(Bucket="bucket")
    client.put_object(Bucket="bucket", Key="key", Body=b"kept")
    ec2 = service_client(server.endpoint, "ec2")
    ec2.detach_volume(VolumeId=volume_of(server), Force=True)
    with pytest.raises(client.exceptions.ClientError, match="ServiceUnavailable"):
        client.put_object(Bucket="bucket", Key="key", Body=b"lost")
    assert server.process.wait(60) == 4
    again = start_server(tmp_path / "data")  # attaches it again
    got = again.endpoint.client().get_object(Bucket="bucket", Key="key")
    assert got["Body"].read() == b"kept"


# Refusals.


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--device", "gp2:100", "--workers", "2"], "--workers 2: one process at a time can have"),
        (["--device", "memory:1GiB", "--workers", "2"], "serve it with one worker"),
        (["--device", "gp9:100"], "'gp9:100' is no device: file, memory:SIZE"),
        (["--device", "gp3:1", "--credits", "5"], "is of a type without credits"),
        (["--device", "volume:vol-0123abcd"], "InvalidVolume.NotFound"),
        (["--device", "path:/nowhere/disk"], "No such file"),
    ],
)
def test_what_cannot_be_is_told_and_nothing_is_served(
    tmp_path: Path, arguments: list[str], told: str
) -> None:
    ended = objstore("serve", tmp_path / "data", "--port", "0", *arguments)
    assert ended.returncode in (1, 3)
    assert told in ended.stderr


def test_a_store_is_not_served_on_another_device(tmp_path: Path, start_server: Start) -> None:
    server = start_server(tmp_path / "data", "--device", "gp3:1")
    other = objstore("serve", server.data_dir, "--port", "0", "--device", "gp2:1")
    assert other.returncode == 1
    assert "is on gp3:1:3000:125" in other.stderr
    same = objstore("serve", server.data_dir, "--port", "0")
    assert same.returncode == 3
    assert "another process has the store in" in same.stderr
    ended = objstore("check", server.data_dir)
    assert ended.returncode == 1
    assert "is open in another process" in ended.stderr


def test_the_device_may_be_named_in_a_file(tmp_path: Path, start_server: Start) -> None:
    file = tmp_path / "objstore.toml"
    file.write_text('device = "gp3:1"\nregion = "eu-west-1"\n')
    server = start_server(tmp_path / "data", "--config", str(file))
    assert "(region eu-west-1)" in server.banner
    assert "  device      gp3:1:3000:125 (vol-" in server.banner
