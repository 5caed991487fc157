"""Links for people without keys, and why somebody may do something: the commands."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from typing import Any

import pytest

from tests.clients.endpoint import SCRIPTS, Endpoint
from tests.clients.people import MAIN, People, policy


@pytest.fixture(scope="module")
def people(endpoint: Endpoint) -> People:
    return People(endpoint)


def objstore(
    people: People, *arguments: str, keys: tuple[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("OBJSTORE_", "AWS_"))}
    access_key, secret_key = keys or people.root
    environ = kept | {
        "AWS_ACCESS_KEY_ID": access_key,
        "AWS_SECRET_ACCESS_KEY": secret_key,
        "AWS_ENDPOINT_URL": people.endpoint.url,
    }
    return subprocess.run(
        [sys.executable, SCRIPTS / "objstore", *arguments],
        capture_output=True,
        text=True,
        env=environ,
        timeout=60,
        check=False,
    )


def read(url: str, method: str = "GET", data: bytes | None = None) -> tuple[bytes, Any]:
    request = urllib.request.Request(url.strip(), data, method=method)
    with urllib.request.urlopen(request, timeout=30) as reply:
        return reply.read(), reply.headers


def test_a_link_reads_and_one_writes(people: People, bucket: str) -> None:
    people.client("s3").put_object(Bucket=bucket, Key="a b/é+.txt", Body=b"content")
    made = objstore(
        people, "share", f"{bucket}/a b/é+.txt", "--expires", "7d", "--download-as", 'my "file"'
    )
    assert made.returncode == 0, made.stderr
    content, headers = read(made.stdout)
    assert content == b"content"
    assert headers["content-disposition"] == 'attachment; filename="my \\"file\\""'
    put = objstore(people, "share", f"s3://{bucket}/new", "--put", "--expires", "1m").stdout
    read(put, "PUT", b"uploaded")
    assert people.client("s3").get_object(Bucket=bucket, Key="new")["Body"].read() == b"uploaded"
    with pytest.raises(urllib.error.HTTPError, match="403"):
        read(put)


def test_a_link_is_worth_what_its_signer_may(people: People, bucket: str) -> None:
    people.client("s3").put_object(Bucket=bucket, Key="k", Body=b"content")
    name, keys = people.user(policy("s3:GetObject"))
    url = objstore(people, "share", f"{bucket}/k", keys=keys).stdout
    assert read(url)[0] == b"content"
    people.iam.delete_user_policy(UserName=name, PolicyName="p0")
    with pytest.raises(urllib.error.HTTPError, match="403"):
        read(url)


@pytest.mark.parametrize(
    ("arguments", "status", "told"),
    [
        (("share", "b/k", "--expires", "8d"), 2, "no signature holds for longer than a week"),
        (("share", "b/k", "--expires", "0"), 2, "week"),
        (("share", "b"), 1, "BUCKET/KEY"),
        (("share", "b/k", "--endpoint", "nowhere"), 1, "an endpoint looks like"),
        (("explain", "s3:GetObject", "arn:aws:s3:::b/k"), 2, "--user"),
        (("explain", "--user", "nobody-at-all", "s3:GetObject", "*"), 1, "cannot be found"),
        (("explain", "--arn", "arn:aws:iam::9:user/x", "s3:GetObject", "*"), 1, "does not exist"),
        (("explain", "--user", "x", "--context", "x", "s3:GetObject", "*"), 1, "KEY=VALUE"),
    ],
)
def test_what_is_not_understood_says_so(
    people: People, arguments: tuple[str, ...], status: int, told: str
) -> None:
    failed = objstore(people, *arguments)
    assert failed.returncode == status
    assert told in failed.stderr


def test_which_statement_decides(people: People, bucket: str) -> None:
    near = {"IpAddress": {"aws:SourceIp": "192.0.2.0/24"}}
    name, keys = people.user(policy("s3:Get*", f"arn:aws:s3:::{bucket}/open/*", Condition=near))
    shut = {
        "Sid": "Shut",
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:*",
        "Resource": f"arn:aws:s3:::{bucket}/open/shut/*",
    }
    document = json.dumps({"Version": "2012-10-17", "Statement": shut})
    people.client("s3").put_bucket_policy(Bucket=bucket, Policy=document)

    def explain(key: str, *more: str, who: tuple[str, ...] = ("--user", name)) -> dict[str, Any]:
        asked = ("explain", *who, *more, "s3:GetObject", f"arn:aws:s3:::{bucket}/{key}", "--json")
        done = objstore(people, *asked)
        found: dict[str, Any] = json.loads(done.stdout)
        assert done.returncode == (0 if found["decision"] == "allowed" else 1)
        return found

    here = ("--context", "aws:SourceIp=192.0.2.7")
    allowed = explain("open/k", *here)
    assert allowed["decision"] == "allowed"
    assert "statement 1 of the identity policy p0 of" in allowed["text"]
    assert [(r["statement"], r["why"]) for r in allowed["reasons"]] == [
        ("statement 1", "applies"),
        ("Shut", "the resource"),
    ]
    assert explain("open/k")["reasons"][0]["why"] == "the condition aws:sourceip"
    assert explain("other")["reasons"][0]["why"] == "the resource"
    assert explain("other")["text"].startswith("denied: nothing allows it")
    denied = explain("open/shut/k", *here)
    assert denied["text"] == f"denied: Shut of the resource policy {bucket} denies it"
    root = ("--arn", f"arn:aws:iam::{MAIN}:root")
    assert "root of the account" in explain("other", who=root)["text"]
    assert explain("open/shut/k", who=root)["decision"] == "denied"
    assert explain("open/k", who=("--anonymous",))["decision"] == "denied"
    table = objstore(people, "explain", "--user", name, "s3:PutObject", f"arn:aws:s3:::{bucket}/k")
    assert table.returncode == 1
    assert "the action is another" in table.stdout
    # who may not simulate is told nothing
    other = objstore(people, "explain", "--user", name, "s3:GetObject", "*", keys=keys)
    assert "not authorized" in other.stderr
