"""Encrypted objects through boto3 and the `aws` command, and what a server lets out of it."""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.clients.endpoint import Endpoint, ServerProcess
from tests.clients.test_aws_cli import Aws
from tests.clients.test_kms import kms_client

MIB = 1024 * 1024
KEY = bytes(range(100, 132))
CUSTOMER = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": KEY}
OF_SOURCE = {"CopySourceSSECustomerAlgorithm": "AES256", "CopySourceSSECustomerKey": KEY}
MARKER = b"these very bytes are nowhere to be found; "
KINDS: list[dict[str, Any]] = [
    {},
    {"ServerSideEncryption": "AES256"},
    {"ServerSideEncryption": "aws:kms"},
    CUSTOMER,
]


def carried(how: dict[str, Any]) -> dict[str, Any]:
    return how if how is CUSTOMER else {}


@pytest.mark.parametrize("how", KINDS[1:])
def test_sizes_and_ranges(s3: Any, bucket: str, how: dict[str, Any]) -> None:
    for size_bytes in (0, 1, 65_537, 3 * MIB + 5):
        data = hashlib.shake_128(b"%d" % size_bytes).digest(size_bytes)
        put = s3.put_object(Bucket=bucket, Key="key", Body=data, **how)
        got = s3.get_object(Bucket=bucket, Key="key", **carried(how))
        assert (got["Body"].read(), got["ETag"]) == (data, put["ETag"])
        if how is CUSTOMER:
            assert got["SSECustomerAlgorithm"] == "AES256"
        else:
            assert got["ServerSideEncryption"] == how["ServerSideEncryption"]
        if size_bytes > 10:
            part = s3.get_object(Bucket=bucket, Key="key", Range="bytes=-10", **carried(how))
            assert part["Body"].read() == data[-10:]


@pytest.mark.parametrize("how", KINDS)
def test_parts_and_copies(s3: Any, bucket: str, how: dict[str, Any]) -> None:
    parts = [hashlib.shake_128(b"1").digest(5 * MIB + 3), b"the end"]
    upload = s3.create_multipart_upload(Bucket=bucket, Key="key", **how)["UploadId"]
    named = {"Bucket": bucket, "Key": "key", "UploadId": upload}
    done = [
        {
            "PartNumber": number,
            "ETag": s3.upload_part(**named, PartNumber=number, Body=body, **carried(how))["ETag"],
        }
        for number, body in enumerate(parts, start=1)
    ]
    s3.complete_multipart_upload(**named, MultipartUpload={"Parts": done}, **carried(how))
    whole = b"".join(parts)
    assert s3.get_object(Bucket=bucket, Key="key", **carried(how))["Body"].read() == whole
    source: dict[str, Any] = {"CopySource": {"Bucket": bucket, "Key": "key"}}
    source |= OF_SOURCE if how is CUSTOMER else {}
    for number, other in enumerate(KINDS):
        s3.copy_object(Bucket=bucket, Key=f"copy-{number}", **source, **other)
        got = s3.get_object(Bucket=bucket, Key=f"copy-{number}", **carried(other))
        assert got["Body"].read() == whole


def test_keys_of_the_key_service(s3: Any, endpoint: Endpoint, bucket: str) -> None:
    kms = kms_client(endpoint)
    arn = kms.create_key()["KeyMetadata"]["Arn"]
    how = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": arn, "BucketKeyEnabled": True}
    put = s3.put_object(Bucket=bucket, Key="key", Body=b"data", **how)
    assert (put["SSEKMSKeyId"], put["BucketKeyEnabled"]) == (arn, True)
    kms.rotate_key_on_demand(KeyId=arn)
    assert s3.get_object(Bucket=bucket, Key="key")["Body"].read() == b"data"
    kms.disable_key(KeyId=arn)
    with pytest.raises(ClientError, match=r"KMS\.Disabled"):
        s3.get_object(Bucket=bucket, Key="key")
    with pytest.raises(ClientError, match=r"KMS\.Disabled"):
        s3.put_object(Bucket=bucket, Key="other", Body=b"data", **how)
    assert s3.head_object(Bucket=bucket, Key="key")["ContentLength"] == 4
    kms.enable_key(KeyId=arn)
    assert s3.get_object(Bucket=bucket, Key="key")["Body"].read() == b"data"
    unknown = {**how, "SSEKMSKeyId": arn[:-4] + "0000"}
    with pytest.raises(ClientError, match=r"KMS\.NotFound"):
        s3.put_object(Bucket=bucket, Key="other", Body=b"data", **unknown)


def test_a_buckets_default(s3: Any, bucket: str) -> None:
    rule = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms"}}
    s3.put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration={"Rules": [rule]})
    shown = s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]
    assert shown["Rules"][0]["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"] == "aws:kms"
    assert s3.put_object(Bucket=bucket, Key="k", Body=b"d")["ServerSideEncryption"] == "aws:kms"
    s3.delete_bucket_encryption(Bucket=bucket)
    assert "ServerSideEncryption" not in s3.put_object(Bucket=bucket, Key="k", Body=b"d")


def test_the_aws_command(endpoint: Endpoint, bucket: str, tmp_path: Path) -> None:
    aws = Aws(endpoint)
    key, source, target = tmp_path / "key", tmp_path / "source", tmp_path / "target"
    key.write_bytes(KEY)
    source.write_bytes(MARKER * 300_000)  # in parts
    customer = ("--sse-c", "AES256", "--sse-c-key", f"fileb://{key}")
    aws("s3", "cp", source, f"s3://{bucket}/large", *customer, "--quiet")
    assert "400" in aws.fails("s3", "cp", f"s3://{bucket}/large", target)
    aws("s3", "cp", f"s3://{bucket}/large", target, *customer, "--quiet")
    assert target.read_bytes() == source.read_bytes()
    aws("s3", "cp", source, f"s3://{bucket}/managed", "--sse", "aws:kms", "--quiet")
    head = aws.json("head-object", "--bucket", bucket, "--key", "managed")
    assert head["ServerSideEncryption"] == "aws:kms"
    copied = ("--sse-c-copy-source", "AES256", "--sse-c-copy-source-key", f"fileb://{key}")
    large = f"s3://{bucket}/large"
    aws("s3", "cp", large, f"s3://{bucket}/copied", *copied, "--sse", "--quiet")
    aws("s3", "cp", f"s3://{bucket}/copied", target, "--quiet")
    assert target.read_bytes() == source.read_bytes()


def runs_of(path: Path) -> Iterator[bytes]:
    """What a file holds, but for its holes: a store's device is large and hardly written."""
    with path.open("rb") as file:
        end = 0
        while True:
            try:
                start = os.lseek(file.fileno(), end, os.SEEK_DATA)
            except OSError:  # no more data
                return
            end = os.lseek(file.fileno(), start, os.SEEK_HOLE)
            yield os.pread(file.fileno(), end - start, start)


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[ServerProcess]:
    from tests.stores import assert_whole

    server = ServerProcess(tmp_path, "--access-log")
    try:
        yield server
    finally:
        server.stop()
    assert_whole(server.data)


def test_nothing_gets_out(own_server: ServerProcess) -> None:
    """Neither keys nor contents are in the log, in answers, or anywhere in the store's folder."""
    s3 = own_server.endpoint.client()
    s3.create_bucket(Bucket="bucket")
    for number, how in enumerate(KINDS[1:]):
        for size, body in [("small", MARKER * 10), ("large", MARKER * 50_000)]:
            s3.put_object(Bucket="bucket", Key=f"{size}-{number}", Body=body, **how)
    other = base64.b64encode(bytes(32)).decode()
    for how in ({}, {**CUSTOMER, "SSECustomerKey": bytes(32)}):
        with pytest.raises(ClientError) as caught:
            s3.get_object(Bucket="bucket", Key="large-2", **how)
        assert other not in str(caught.value.response)
    with pytest.raises(ClientError) as caught:
        s3.put_object(Bucket="bucket", Key="k", Body=b"", **{**CUSTOMER, "SSECustomerKey": KEY[1:]})
    own_server.stop()
    secrets = [MARKER, KEY, base64.b64encode(KEY), KEY.hex().encode(), other.encode()]
    for path in [*own_server.data.rglob("*"), own_server.log]:
        if path.is_file():
            content = b"".join(runs_of(path))
            assert not [secret for secret in secrets if secret in content], path
