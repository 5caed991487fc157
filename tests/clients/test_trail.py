"""The record of calls of a running server: every service, and what was refused."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.clients.endpoint import SCRIPTS, Endpoint, ServerProcess
from tests.clients.errors import refused
from tests.clients.people import People, policy
from tests.stores import assert_whole


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    found = ServerProcess(tmp_path_factory.mktemp("trail"), "--trail", "all")
    try:
        yield found
    finally:
        found.stop()
    assert_whole(found.data)


def objstore(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command: list[str | Path] = [sys.executable, SCRIPTS / "objstore", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def trail(server: ServerProcess, *arguments: str) -> list[dict[str, Any]]:
    done = objstore("trail", server.data, "--json", *arguments)
    assert done.returncode == 0 or "there is no record" in done.stderr, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def awaited(server: ServerProcess, count: int, *arguments: str) -> list[dict[str, Any]]:
    """The events, once there are so many."""
    deadline_s = time.monotonic() + 30
    while len(found := trail(server, *arguments)) < count:
        assert time.monotonic() < deadline_s, found
        time.sleep(0.2)
    return found


def test_every_service_is_recorded(server: ServerProcess) -> None:
    people = People(server.endpoint)
    s3 = people.client("s3")
    s3.create_bucket(Bucket="bkt")
    s3.put_object(Bucket="bkt", Key="a key", Body=b"x" * 1000, Tagging="a=b")
    s3.get_object(Bucket="bkt", Key="a key")["Body"].read()
    name, keys = people.user(policy("s3:ListAllMyBuckets"))
    people.client("s3", keys).list_buckets()
    with refused(403, "AccessDenied"):
        people.client("s3", keys).get_object(Bucket="bkt", Key="a key")
    with refused(403, "AccessDenied"):
        people.client("iam", keys).list_users()
    people.client("sts", keys).get_caller_identity()
    people.client("ec2").describe_volumes()
    people.client("kms").list_keys()
    with pytest.raises(ClientError):
        people.client("ebs").list_snapshot_blocks(SnapshotId="snap-00000000000000000")
    with refused(403, "SignatureDoesNotMatch"):
        people.client("s3", (keys[0], "another-secret")).list_buckets()

    mine = awaited(server, 4, "--user", name)
    assert [(e["eventSource"], e["eventName"], e.get("errorCode")) for e in mine] == [
        ("s3.amazonaws.com", "ListBuckets", None),
        ("s3.amazonaws.com", "GetObject", "AccessDenied"),
        ("iam.amazonaws.com", "ListUsers", "AccessDenied"),
        ("sts.amazonaws.com", "GetCallerIdentity", None),
    ]
    assert all(e["userIdentity"]["accessKeyId"] == keys[0] for e in mine)
    everything = awaited(server, 14)
    text = json.dumps(everything)
    for secret in (keys[1], server.endpoint.secret_key, "another-secret"):
        assert secret not in text
    put = next(e for e in everything if e["eventName"] == "PutObject")
    assert put["requestParameters"]["key"] == "a key"
    assert put["resources"][0]["ARN"] == "arn:aws:s3:::bkt/a key"
    assert (put["eventCategory"], put["readOnly"], put["managementEvent"]) == ("Data", False, False)
    assert put["sourceIPAddress"] == "127.0.0.1"
    assert "Boto3" in put["userAgent"]
    got = next(e for e in everything if e["eventName"] == "GetObject" and "errorCode" not in e)
    assert got["additionalEventData"]["bytesTransferredOut"] == 1000
    made = next(e for e in everything if e["eventName"] == "CreateUser")
    assert (made["requestParameters"]["UserName"], made["eventCategory"]) == (name, "Management")
    wrong = next(e for e in everything if e.get("errorCode") == "SignatureDoesNotMatch")
    assert wrong["userIdentity"] == {"type": "Unknown"}
    assert {"ec2.amazonaws.com", "kms.amazonaws.com", "ebs.amazonaws.com"} <= {
        e["eventSource"] for e in everything
    }
    assert len({e["eventID"] for e in everything}) == len(everything)
    times = [e["eventTime"] for e in everything]
    assert times == sorted(times)
    assert {e["eventName"] for e in trail(server, "--errors")} >= {"ListUsers", "GetObject"}
    assert trail(server, "--since", "1h", "--event", "CreateBucket")
    assert trail(server, "--since", "2030-01-01") == []


def test_settings_alone_are_recorded_by_default_and_delivered(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    root = tmp_path_factory.mktemp("delivered")
    first = ServerProcess(root, "--trail-bucket", "records")
    s3 = first.endpoint.client()
    for name in ("records", "bkt"):
        s3.create_bucket(Bucket=name)
    s3.put_object(Bucket="bkt", Key="k", Body=b"x")
    s3.put_bucket_tagging(Bucket="bkt", Tagging={"TagSet": [{"Key": "a", "Value": "b"}]})
    wrong = Endpoint(first.endpoint.url, first.endpoint.access_key, "another-secret").client()
    with refused(403, "SignatureDoesNotMatch"):
        wrong.get_object(Bucket="bkt", Key="k")
    first.stop()
    second = ServerProcess(root, "--trail", "off")
    try:
        s3 = second.endpoint.client()
        names = []
        for entry in s3.list_objects_v2(Bucket="records")["Contents"]:
            body = s3.get_object(Bucket="records", Key=entry["Key"])["Body"].read()
            names += [r["eventName"] for r in json.loads(gzip.decompress(body))["Records"]]
        # who is not who they say they are is told of, whatever they were after
        assert sorted(names) == ["CreateBucket", "CreateBucket", "GetObject", "PutBucketTagging"]
    finally:
        second.stop()


def test_the_table(server: ServerProcess) -> None:
    server.endpoint.client().list_buckets()
    awaited(server, 1, "--event", "ListBuckets")
    done = objstore("trail", server.data, "--source", "s3")
    assert done.stdout.split()[:4] == ["TIME", "WHO", "FROM", "SOURCE"]
    assert "ListBuckets" in done.stdout
    for failed in (
        objstore("trail", server.data / "nowhere"),
        objstore("trail", server.data, "--since", "soon"),
    ):
        assert failed.returncode == 1
        assert failed.stderr.startswith("objstore trail: ")
