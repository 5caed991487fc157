"""HTTPS: real clients, one worker and two, and what is no TLS."""

from __future__ import annotations

import io
import os
import random
import signal
import socket
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from boto3.s3.transfer import TransferConfig
from botocore.config import Config

from tests.clients.certificates import Authority
from tests.clients.endpoint import SCRIPTS, Endpoint, ServerProcess
from tests.clients.errors import refused
from tests.clients.people import policy
from tests.stores import assert_whole

MIB = 1024 * 1024


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


class Secured:
    """A server, and clients that trust its authority."""

    def __init__(self, root: Path, authority: Authority, workers: int) -> None:
        self.authority = authority
        self.cert, self.key = authority.issue(f"server{workers}")
        options = ("--tls-cert", self.cert, "--tls-key", self.key, "--workers", workers)
        self.server = ServerProcess(root, *map(str, options))
        plain = self.server.endpoint
        url = plain.url.replace("http:", "https:")
        self.endpoint = Endpoint(url, plain.access_key, plain.secret_key)
        self.address = ("127.0.0.1", int(url.rpartition(":")[2]))

    def client(self, service: str = "s3", **keys: str) -> Any:
        config = Config(
            retries={"total_max_attempts": 1},
            s3={"addressing_style": "path"},
            signature_version="s3v4" if service == "s3" else "v4",
        )
        return boto3.client(
            service,
            endpoint_url=self.endpoint.url,
            aws_access_key_id=keys.get("access_key", self.endpoint.access_key),
            aws_secret_access_key=keys.get("secret_key", self.endpoint.secret_key),
            region_name="us-east-1",
            verify=str(self.authority.path),
            config=config,
        )

    def connect(self, **limits: Any) -> ssl.SSLSocket:
        context = ssl.create_default_context(cafile=str(self.authority.path))
        for name, value in limits.items():
            setattr(context, name, value)
        plain = socket.create_connection(self.address, timeout=30)
        return context.wrap_socket(plain, server_hostname="localhost")


@pytest.fixture(scope="module", params=[1, 2], ids=["one worker", "two workers"])
def secured(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    authority: Authority,
) -> Iterator[Secured]:
    found = Secured(tmp_path_factory.mktemp("tls"), authority, request.param)
    found.client().create_bucket(Bucket="bucket")
    yield found
    found.server.stop()
    assert_whole(found.server.data)


def test_transfers_of_every_size(secured: Secured, seed: int) -> None:
    s3, dice = secured.client(), random.Random(seed)
    for size_bytes in (0, 1, 4096, 70_000, 1 * MIB, 9 * MIB + 1, 40 * MIB):
        content = dice.randbytes(size_bytes)
        s3.put_object(Bucket="bucket", Key="k", Body=content)
        assert s3.get_object(Bucket="bucket", Key="k")["Body"].read() == content, size_bytes
    part = s3.get_object(Bucket="bucket", Key="k", Range="bytes=1000000-29999999")
    assert part["Body"].read() == content[1_000_000:30_000_000]
    copies = [secured.client() for _ in range(2)]
    config = TransferConfig(multipart_threshold=5 * MIB, multipart_chunksize=5 * MIB)
    copies[0].upload_fileobj(io.BytesIO(content), "bucket", "parts", Config=config)
    back = io.BytesIO()
    copies[1].download_fileobj("bucket", "parts", back, Config=config)
    assert back.getvalue() == content


def test_the_aws_command_and_links(secured: Secured) -> None:
    environ = secured.endpoint.environ() | {"AWS_CA_BUNDLE": str(secured.authority.path)}
    done = subprocess.run(
        [sys.executable, SCRIPTS / "aws", "s3", "cp", "-", "s3://bucket/cli"],
        input=b"by hand", env=environ, capture_output=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    url = secured.client().generate_presigned_url(
        "get_object", Params={"Bucket": "bucket", "Key": "cli"}
    )
    context = ssl.create_default_context(cafile=str(secured.authority.path))
    with urllib.request.urlopen(url, timeout=30, context=context) as reply:
        assert reply.read() == b"by hand"
    with pytest.raises(urllib.error.URLError, match="CERTIFICATE_VERIFY_FAILED"):
        urllib.request.urlopen(url, timeout=30, context=ssl.create_default_context())


def test_policies_know_of_it(secured: Secured) -> None:
    iam = secured.client("iam")
    iam.create_user(UserName="ann")
    key = iam.create_access_key(UserName="ann")["AccessKey"]
    mine = secured.client(access_key=key["AccessKeyId"], secret_key=key["SecretAccessKey"])
    for operator, name, value, allowed in (
        ("Bool", "aws:SecureTransport", "true", True),
        ("Bool", "aws:SecureTransport", "false", False),
        ("NumericGreaterThanEquals", "s3:TlsVersion", "1.2", True),
        ("NumericLessThan", "s3:TlsVersion", "1.2", False),
    ):
        document = policy("s3:ListBucket", Condition={operator: {name: value}})
        iam.put_user_policy(UserName="ann", PolicyName="p", PolicyDocument=document)
        if allowed:
            mine.list_objects_v2(Bucket="bucket")
        else:
            with refused(403, "AccessDenied"):
                mine.list_objects_v2(Bucket="bucket")


def test_old_versions_are_refused(secured: Secured) -> None:
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        with secured.connect(minimum_version=version, maximum_version=version) as connection:
            assert connection.version() == str(version.name).replace("_", ".")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        limits = {
            "minimum_version": ssl.TLSVersion.TLSv1,
            "maximum_version": ssl.TLSVersion.TLSv1_1,
        }
        with pytest.raises((ssl.SSLError, ConnectionResetError)):
            secured.connect(**limits)


def test_the_protocol_over_it(secured: Secured) -> None:
    get = b"GET /-/health/live HTTP/1.1\r\nhost: h\r\n\r\n"
    with secured.connect() as connection:
        connection.sendall(get * 3)  # a pipeline, and the connection stays
        received = b""
        while received.count(b"HTTP/1.1 200 OK") < 3:
            received += connection.recv(65536)
        connection.sendall(get)
        assert connection.recv(65536).startswith(b"HTTP/1.1 200 OK")


def test_what_is_no_tls_ends_and_harms_nobody(secured: Secured) -> None:
    with socket.create_connection(secured.address, timeout=30) as plain:
        plain.sendall(b"GET / HTTP/1.1\r\nhost: h\r\n\r\n")
        assert not plain.recv(65536).startswith(b"HTTP/")
    # one that says nothing, and one that leaves in the middle of its handshake
    with socket.create_connection(secured.address, timeout=30):
        secured.client().list_buckets()
    with socket.create_connection(secured.address, timeout=30) as half:
        half.sendall(b"\x16\x03\x01\x02\x00\x01")
    with secured.connect() as cut:  # and one in the middle of a body
        head = b"PUT /bucket/cut HTTP/1.1\r\nhost: h\r\ncontent-length: 9999999\r\n\r\n"
        cut.sendall(head + b"x" * 100_000)
    secured.client().list_buckets()


def test_a_new_certificate_is_read_on_demand(secured: Secured, authority: Authority) -> None:
    def serial() -> str:
        with secured.connect() as connection:
            found = connection.getpeercert()
            assert found is not None
            return str(found["serialNumber"])

    before = serial()
    with secured.connect() as old:
        secured.key.write_text("no key")
        os.kill(secured.server.pid, signal.SIGHUP)
        time.sleep(0.5)
        assert serial() == before  # half of a pair changes nothing
        cert, key = authority.issue("another")
        secured.cert.write_bytes(cert.read_bytes())
        secured.key.write_bytes(key.read_bytes())
        os.kill(secured.server.pid, signal.SIGHUP)
        deadline_s = time.monotonic() + 30
        while len({serial() for _ in range(4)} | {before}) != 2 or serial() == before:
            assert time.monotonic() < deadline_s, "the old one is still used"
            time.sleep(0.1)
        old.sendall(b"GET /-/health/live HTTP/1.1\r\nhost: h\r\n\r\n")
        assert old.recv(65536).startswith(b"HTTP/1.1 200 OK")
    secured.client().list_buckets()


@pytest.mark.parametrize("wrong", ["missing", "alone", "another", "no PEM"])
def test_files_that_cannot_be_used(tmp_path: Path, authority: Authority, wrong: str) -> None:
    cert, key = authority.issue("mine")
    options = ["--tls-cert", str(cert), "--tls-key", str(key)]
    if wrong == "missing":
        options[1], told = str(tmp_path / "nowhere.pem"), "cannot read"
    elif wrong == "alone":
        options, told = options[:2], "go together"
    elif wrong == "another":
        options[3], told = str(authority.issue("other")[1]), "no certificate and its key"
    else:
        cert.write_text("nonsense")
        told = "no certificate and its key"
    command: list[str | Path] = [sys.executable, SCRIPTS / "objstore", "serve"]
    command += [tmp_path / "data", "--port", "0", *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert told in done.stderr
