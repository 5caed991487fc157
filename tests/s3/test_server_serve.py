"""`objstore serve` as a user runs it: what it prints, where it keeps things, who can talk to it."""

from __future__ import annotations

import configparser
import io
import os
import subprocess
import sys
import sysconfig
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from botocore.exceptions import ClientError

from objstore.config import KIB, MIB
from tests.clients.endpoint import Endpoint
from tests.s3.conftest import ServeProcess
from tests.s3.rawhttp import RawConnection
from tests.s3.signed import UNSIGNED, Signer

Start = Callable[..., ServeProcess]


def kept_keys(server: ServeProcess) -> tuple[str, str]:
    parser = configparser.ConfigParser(interpolation=None)
    parser.read(server.data_dir / "root-credentials")
    profile = parser["default"]
    return profile["aws_access_key_id"], profile["aws_secret_access_key"]


@pytest.fixture
def bucket(client: Any) -> Iterator[str]:
    name = "served"
    client.create_bucket(Bucket=name)
    yield name
    for entry in client.list_objects_v2(Bucket=name).get("Contents", []):
        client.delete_object(Bucket=name, Key=entry["Key"])
    client.delete_bucket(Bucket=name)


# The banner and the keys.


def test_the_secret_is_shown_once_and_works_ever_after(tmp_path: Path, start_server: Start) -> None:
    first = start_server(tmp_path / "data", keys=None)
    keys = kept_keys(first)
    assert all(key in first.banner for key in keys)
    endpoint = Endpoint(first.url, *keys)
    endpoint.client().create_bucket(Bucket="bucket")
    endpoint.client().put_object(Bucket="bucket", Key="key", Body=b"kept")
    assert first.stop() == 0
    again = start_server(tmp_path / "data", keys=None)
    assert keys[0] in again.banner
    assert keys[1] not in again.banner
    assert str(tmp_path / "data" / "root-credentials") in again.banner
    got = Endpoint(again.url, *keys).client().get_object(Bucket="bucket", Key="key")
    assert got["Body"].read() == b"kept"


def test_keys_of_the_environment_are_not_printed(server: ServeProcess) -> None:
    assert server.endpoint.access_key in server.banner
    assert server.endpoint.secret_key not in server.banner
    assert not (server.data_dir / "root-credentials").exists()


@pytest.mark.parametrize("fresh", [True, False])
def test_the_printed_commands_work_as_they_are(
    tmp_path: Path, start_server: Start, fresh: bool
) -> None:
    if not fresh:
        start_server(tmp_path / "data", keys=None).stop()
    server = start_server(tmp_path / "data", keys=None)
    lines = [line.strip() for line in server.banner.splitlines() if line.startswith("  ")]
    commands = [line for line in lines if line.startswith(("export ", "aws ", "echo "))]
    assert sum("aws --endpoint-url" in command for command in commands) == 3
    environ = {k: v for k, v in os.environ.items() if not k.startswith("AWS_")}
    environ["PATH"] = sysconfig.get_path("scripts") + os.pathsep + environ["PATH"]
    environ["AWS_CONFIG_FILE"] = os.devnull
    ended = subprocess.run(
        ["sh", "-e", "-c", "\n".join(commands)],
        env=environ,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert "world.txt" in ended.stdout


def test_the_region_is_the_one_asked_for(tmp_path: Path, start_server: Start) -> None:
    server = start_server(tmp_path / "data", "--region", "eu-west-1")
    assert "(region eu-west-1)" in server.banner
    server.endpoint.client().list_buckets()
    with pytest.raises(ClientError, match="AuthorizationHeaderMalformed"):
        server.endpoint.client(region="us-east-1").list_buckets()


def test_servers_side_by_side_know_nothing_of_each_other(
    tmp_path: Path, start_server: Start
) -> None:
    servers = [start_server(tmp_path / name) for name in ("one", "two")]
    servers[0].endpoint.client().create_bucket(Bucket="only-in-one")
    names = [
        [bucket["Name"] for bucket in server.endpoint.client().list_buckets()["Buckets"]]
        for server in servers
    ]
    assert names == [["only-in-one"], []]


def test_nothing_is_left_outside_the_data_dir(tmp_path: Path, start_server: Start) -> None:
    (tmp_path / "work").mkdir()
    server = start_server(Path("here"), cwd=tmp_path / "work")
    server.endpoint.client().create_bucket(Bucket="bucket")
    assert server.stop() == 0
    assert [entry.name for entry in (tmp_path / "work").iterdir()] == ["here"]


def test_a_second_server_over_the_same_data_is_welcome(tmp_path: Path, start_server: Start) -> None:
    one, two = (start_server(tmp_path / "data") for _ in range(2))
    one.endpoint.client().create_bucket(Bucket="bucket")
    two.endpoint.client().put_object(Bucket="bucket", Key="key", Body=b"from two")
    got = one.endpoint.client().get_object(Bucket="bucket", Key="key")
    assert got["Body"].read() == b"from two"


def test_the_access_log_has_a_line_for_each_request(tmp_path: Path, start_server: Start) -> None:
    server = start_server(tmp_path / "data", "--access-log")
    server.endpoint.client().create_bucket(Bucket="logged")
    assert server.process.stdout is not None
    lines = iter(server.process.stdout.readline, "")
    assert any('"PUT /logged" 200' in line for line in lines)


# Clients: one pass over the surface; tests/clients goes into depth.


def test_boto3(client: Any, bucket: str) -> None:
    body = os.urandom(100_000)
    client.put_object(Bucket=bucket, Key="a/key", Body=body, Metadata={"who": "me"})
    got = client.get_object(Bucket=bucket, Key="a/key")
    assert (got["Body"].read(), got["Metadata"]) == (body, {"who": "me"})
    assert client.head_object(Bucket=bucket, Key="a/key")["ContentLength"] == len(body)
    large = os.urandom(20 * MIB)
    client.upload_fileobj(io.BytesIO(large), bucket, "large")
    whole = io.BytesIO()
    client.download_fileobj(bucket, "large", whole)
    assert whole.getvalue() == large
    listed = client.list_objects_v2(Bucket=bucket, Delimiter="/")
    assert [entry["Key"] for entry in listed["Contents"]] == ["large"]
    assert [entry["Prefix"] for entry in listed["CommonPrefixes"]] == ["a/"]
    client.delete_object(Bucket=bucket, Key="a/key")
    with pytest.raises(client.exceptions.NoSuchKey):
        client.get_object(Bucket=bucket, Key="a/key")


def test_aws_command(server: ServeProcess, bucket: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(os.urandom(10 * MIB))
    aws = server.endpoint.aws
    for arguments in (
        ("s3", "cp", tmp_path / "file", f"s3://{bucket}/file"),
        ("s3", "cp", f"s3://{bucket}/file", tmp_path / "back"),
        ("s3api", "head-object", "--bucket", bucket, "--key", "file"),
        ("s3", "rm", f"s3://{bucket}/file"),
    ):
        ended = aws(*arguments)
        assert ended.returncode == 0, ended.stderr
    assert (tmp_path / "back").read_bytes() == (tmp_path / "file").read_bytes()


def test_presigned_and_virtual_hosted(server: ServeProcess, client: Any, bucket: str) -> None:
    client.put_object(Bucket=bucket, Key="a b/ü", Body=b"presigned")
    url = server.url.replace("127.0.0.1", "localhost")
    virtual = server.endpoint.client(
        url=url, s3={"addressing_style": "virtual"}, signature_version="s3v4"
    )
    presigned = virtual.generate_presigned_url(
        "get_object", Params={"Bucket": bucket, "Key": "a b/ü"}, ExpiresIn=60
    )
    parts = urlsplit(presigned)
    assert parts.netloc.startswith(f"{bucket}.localhost:")
    with RawConnection(server.url) as connection:
        target = f"{parts.path}?{parts.query}"
        connection.send(f"GET {target} HTTP/1.1\r\nhost: {parts.netloc}\r\n\r\n".encode())
        assert connection.read().body == b"presigned"
        tampered = target.replace("Expires=60", "Expires=61")
        connection.send(f"GET {tampered} HTTP/1.1\r\nhost: {parts.netloc}\r\n\r\n".encode())
        assert connection.read().status == 403


def test_many_clients_at_once_over_two_workers(server: ServeProcess, bucket: str) -> None:
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            client = server.endpoint.client()
            for turn in range(20):
                body = os.urandom(1000 * turn)
                client.put_object(Bucket=bucket, Key=f"{number}/{turn}", Body=body)
                got = client.get_object(Bucket=bucket, Key=f"{number}/{turn}")
                assert got["Body"].read() == body
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


# Memory.


def peak_bytes(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * KIB
    raise AssertionError("no peak in /proc")


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak from /proc")
@pytest.mark.parametrize("chunked", [False, True])
def test_memory_does_not_grow_with_the_body(
    tmp_path: Path, start_server: Start, chunked: bool
) -> None:
    server = start_server(tmp_path / "data")
    server.endpoint.client().create_bucket(Bucket="bucket")
    signer = Signer(server.url, server.endpoint.access_key, server.endpoint.secret_key)
    block = os.urandom(MIB)
    count = 384
    lengths = [("content-length", str(count * MIB))]
    if chunked:
        frame = b"%x\r\n%b\r\n" % (MIB, block)
        end = b"0\r\n\r\n"
        lengths = [
            ("content-length", str(count * len(frame) + len(end))),
            ("x-amz-decoded-content-length", str(count * MIB)),
        ]
        sha256 = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
    else:
        frame, end, sha256 = block, b"", UNSIGNED
    with signer.connect() as connection:
        connection.send(signer.head("PUT", "/bucket/key", lengths, sha256=sha256))
        for _ in range(count):
            connection.send(frame)
        connection.send(end)
        answer = connection.read()
        assert answer.status == 200, answer.body
        connection.send(signer.head("GET", "/bucket/key"))
        assert len(connection.read().body) == count * MIB
    assert peak_bytes(server.pid) < 150 * MIB
