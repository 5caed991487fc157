"""The `aws` command as its users run it."""

from __future__ import annotations

import hashlib
import json
import random
import shutil
import sysconfig
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.clients.endpoint import Endpoint

MIB = 1024 * 1024


class Aws:
    """Runs `aws` commands that have to succeed."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint

    def __call__(self, *arguments: str | Path, **options: Any) -> str:
        """What a command prints on standard output."""
        done = self.endpoint.aws(*arguments, **options)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode()

    def json(self, *arguments: str | Path) -> Any:
        """What an `aws s3api` command answers; None when it says nothing."""
        return json.loads(self("s3api", *arguments, "--output", "json") or "null")

    def fails(self, *arguments: str | Path) -> str:
        """What a command that has to fail prints on standard error."""
        done = self.endpoint.aws(*arguments)
        assert done.returncode not in (0, None), done.stdout.decode()
        return done.stderr.decode()


@pytest.fixture
def aws(endpoint: Endpoint) -> Aws:
    return Aws(endpoint)


def files_below(root: Path) -> Iterator[Path]:
    return (path.relative_to(root) for path in sorted(root.rglob("*")) if path.is_file())


def assert_same_tree(left: Path, right: Path) -> None:
    """Both hold the same files with the same bytes."""
    names = list(files_below(left))
    assert names == list(files_below(right))
    different = [
        name for name in names if (left / name).read_bytes() != (right / name).read_bytes()
    ]
    assert different == []


def test_a_day_with_a_bucket(aws: Aws, bucket: str, tmp_path: Path) -> None:
    text = tmp_path / "text file.txt"
    text.write_text("hello")
    uri = f"s3://{bucket}-cli"
    assert aws("s3", "mb", uri) == f"make_bucket: {bucket}-cli\n"
    assert f"{bucket}-cli" in aws("s3", "ls")
    aws(
        "s3",
        "cp",
        text,
        f"{uri}/dir/text file.txt",
        "--content-type",
        "text/x",
        "--only-show-errors",
    )
    assert "text file.txt" in aws("s3", "ls", f"{uri}/dir/")
    assert "PRE dir/" in aws("s3", "ls", uri)
    assert aws("s3", "cp", f"{uri}/dir/text file.txt", "-") == "hello"
    aws("s3", "mv", f"{uri}/dir/text file.txt", f"{uri}/moved")
    aws("s3", "cp", "-", f"{uri}/from-stdin", stdin=b"piped")
    assert aws("s3", "cp", f"{uri}/from-stdin", "-") == "piped"
    summary = aws("s3", "ls", uri, "--recursive", "--summarize")
    assert "Total Objects: 2" in summary
    assert "Total Size: 10" in summary
    assert "BucketNotEmpty" in aws.fails("s3", "rb", uri)
    aws("s3", "rm", uri, "--recursive")
    assert aws("s3", "ls", uri) == ""
    assert aws("s3", "rb", uri) == f"remove_bucket: {bucket}-cli\n"
    assert "NoSuchBucket" in aws.fails("s3", "ls", uri)


def test_s3api(aws: Aws, bucket: str, tmp_path: Path) -> None:
    body, back = tmp_path / "body", tmp_path / "back"
    body.write_bytes(b"0123456789")
    at = ("--bucket", bucket, "--key", "k")
    put = aws.json("put-object", *at, "--body", body, "--metadata", "a=1,b=two")
    assert put["ETag"] == f'"{hashlib.md5(b"0123456789").hexdigest()}"'
    head = aws.json("head-object", *at)
    assert (head["ContentLength"], head["Metadata"]) == (10, {"a": "1", "b": "two"})
    aws.json("get-object", *at, "--range", "bytes=2-4", back)
    assert back.read_bytes() == b"234"
    keys = aws.json("list-objects-v2", "--bucket", bucket, "--query", "Contents[].[Key,Size]")
    assert keys == [["k", 10]]
    copied = ("--bucket", bucket, "--key", "copy", "--copy-source", f"{bucket}/k")
    assert aws.json("copy-object", *copied)["CopyObjectResult"]["ETag"] == put["ETag"]
    deleted = aws.json(
        "delete-objects", "--bucket", bucket, "--delete", '{"Objects":[{"Key":"k"},{"Key":"copy"}]}'
    )
    assert {entry["Key"] for entry in deleted["Deleted"]} == {"k", "copy"}
    assert "404" in aws.fails("s3api", "head-object", *at)
    assert "NoSuchKey" in aws.fails("s3api", "get-object", *at, back)


def test_presign(aws: Aws, s3: Any, bucket: str, tmp_path: Path) -> None:
    s3.put_object(Bucket=bucket, Key="a b", Body=b"body")
    config = tmp_path / "config"
    config.write_text("[default]\ns3 =\n  signature_version = s3v4\n")
    url = aws("s3", "presign", f"s3://{bucket}/a b", config_file=config).strip()
    assert urllib.request.urlopen(url, timeout=60).read() == b"body"


@pytest.mark.slow
def test_the_standard_library_goes_up_and_comes_down(aws: Aws, bucket: str, tmp_path: Path) -> None:
    source, down = tmp_path / "source", tmp_path / "down"
    # A copy, since a running Python may add bytecode to its own library at any time
    shutil.copytree(
        sysconfig.get_path("stdlib"),
        source,
        ignore=shutil.ignore_patterns("site-packages", "dist-packages", "__pycache__"),
    )
    count = len(list(files_below(source)))
    uri = f"s3://{bucket}/lib"
    up = aws("s3", "sync", source, uri, "--no-progress")
    assert up.count("upload: ") == count
    assert aws("s3", "sync", source, uri, "--no-progress") == ""
    got = aws("s3", "sync", uri, down, "--no-progress")
    assert got.count("download: ") == count
    assert_same_tree(source, down)

    (source / "os.py").unlink()
    (source / "json" / "new.py").write_text("new = True\n")
    changed = aws("s3", "sync", source, uri, "--delete", "--no-progress").splitlines()
    assert sorted(line.split(": ")[0] for line in changed) == ["delete", "upload"]
    aws("s3", "sync", uri, down, "--delete", "--no-progress")
    assert_same_tree(source, down)


def write_gibibyte(path: Path, seed: int) -> str:
    """1 GiB that repeats nowhere within 8 MiB parts; its SHA-256."""
    block = bytearray(random.Random(seed).randbytes(MIB))
    digest = hashlib.sha256()
    with path.open("wb") as file:
        for number in range(1024):
            block[:8] = number.to_bytes(8, "big")
            digest.update(block)
            file.write(block)
    return digest.hexdigest()


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@pytest.mark.slow
def test_a_gibibyte_goes_up_in_parts_and_comes_down(
    aws: Aws, s3: Any, bucket: str, tmp_path: Path, seed: int
) -> None:
    source, down = tmp_path / "gibibyte", tmp_path / "back"
    expected = write_gibibyte(source, seed)
    aws("s3", "cp", source, f"s3://{bucket}/gibibyte", "--only-show-errors")
    source.unlink()
    head = s3.head_object(Bucket=bucket, Key="gibibyte")
    assert head["ContentLength"] == 1024 * MIB
    assert head["ETag"].endswith('-128"')  # parts of 8 MiB
    aws("s3", "cp", f"s3://{bucket}/gibibyte", down, "--only-show-errors")
    assert sha256_of(down) == expected
    down.unlink()
    s3.delete_object(Bucket=bucket, Key="gibibyte")


def test_an_endpoint_that_refuses_is_reported(endpoint: Endpoint, bucket: str) -> None:
    wrong = Endpoint(endpoint.url, endpoint.access_key, "not the secret")
    done = wrong.aws("s3", "ls", f"s3://{bucket}")
    assert done.returncode != 0
    assert b"SignatureDoesNotMatch" in done.stderr
