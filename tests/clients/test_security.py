"""What a server leaves in its folder is for nobody else."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from tests.clients.endpoint import ServerProcess
from tests.clients.people import People, policy
from tests.stores import assert_whole


def open_to_others(folder: Path) -> list[str]:
    """What somebody else may read, or look into."""
    return [
        f"{stat.S_IMODE(path.lstat().st_mode):o} {path.relative_to(folder)}"
        for path in folder.rglob("*")
        if stat.S_IMODE(path.lstat().st_mode) & 0o077
    ]


def test_nothing_is_for_others(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir(mode=0o755)  # somebody's own folder, which others may look into
    before = os.umask(0)
    try:
        server = ServerProcess(tmp_path, "--trail", "all", "--bucket-log-interval", "1")
    finally:
        os.umask(before)
    people = People(server.endpoint)
    s3 = people.client("s3")
    for name in ("bkt", "logs"):
        s3.create_bucket(Bucket=name)
    logging = {"LoggingEnabled": {"TargetBucket": "logs", "TargetPrefix": ""}}
    s3.put_bucket_logging(Bucket="bkt", BucketLoggingStatus=logging)
    s3.put_object(Bucket="bkt", Key="k", Body=b"x" * 100_000, ServerSideEncryption="aws:kms")
    people.user(policy("s3:*"))
    ec2 = people.client("ec2")
    volume = ec2.create_volume(AvailabilityZone="us-east-1a", Size=1)["VolumeId"]
    ec2.create_snapshot(VolumeId=volume)
    assert open_to_others(server.data) == []
    server.stop()
    assert open_to_others(server.data) == []
    assert_whole(server.data)


def test_who_keeps_failing_is_slowed_down_and_nobody_else(tmp_path: Path) -> None:
    server = ServerProcess(tmp_path, "--workers", "1")
    people = People(server.endpoint)
    _, keys = people.user(policy("s3:*"))
    mine, root = people.client("s3", keys), people.client("s3")
    _, other_keys = people.user()
    guessing = people.client("s3", (other_keys[0], "guessed-wrong"))
    codes = []
    for number in range(45):
        with pytest.raises(ClientError) as refused:
            guessing.list_buckets()
        codes.append(refused.value.response["Error"]["Code"])
        if number % 10 == 0:  # from the same address
            mine.list_buckets()
            root.list_buckets()
    assert codes[:30] == ["SignatureDoesNotMatch"] * 30
    assert "SlowDown" in codes[30:]
    with pytest.raises(ClientError) as refused:
        people.client("iam", ("NOSUCHKEY", "x")).list_users()
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 503
    people.client("iam").list_users()
    mine.list_buckets()
    with pytest.raises(ClientError) as refused:  # the right secret, too late for a while
        people.client("s3", other_keys).list_buckets()
    assert refused.value.response["Error"]["Code"] == "SlowDown"
    server.stop()
