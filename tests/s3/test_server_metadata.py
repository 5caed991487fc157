"""What no S3 library sends, to a real server: metadata beyond ASCII, an MD5 in a trailer.

boto3 and `aws` refuse metadata that is not ASCII before they send anything.
"""

from __future__ import annotations

import base64
import hashlib
from typing import Any

import pytest
from botocore.exceptions import ParamValidationError

from tests.s3.conftest import ServeProcess
from tests.s3.signed import UNSIGNED_CHUNKS, Signer, plain_chunks


@pytest.fixture
def signer(server: ServeProcess) -> Signer:
    endpoint = server.endpoint
    return Signer(endpoint.url, endpoint.access_key, endpoint.secret_key)


@pytest.fixture
def bucket(client: Any, request: pytest.FixtureRequest) -> str:
    name = "metadata-" + hashlib.sha256(request.node.nodeid.encode()).hexdigest()[:20]
    client.create_bucket(Bucket=name)
    return name


def test_botocore_refuses_metadata_beyond_ascii(client: Any, bucket: str) -> None:
    with pytest.raises(ParamValidationError, match="Non ascii characters found in S3 metadata"):
        client.put_object(Bucket=bucket, Key="k", Body=b"", Metadata={"a": "ö"})


@pytest.mark.parametrize(
    ("sent", "answered"),
    [
        ("ÄMÄZÕÑ S3", "=?UTF-8?B?w4PChE3Dg8KEWsODwpXDg8KRIFMz?="),
        ("=?UTF-8?B?w7bDtg==?=", "=?UTF-8?B?w7bDtg==?="),
        ("plain", "plain"),
    ],
)
def test_metadata_beyond_ascii(
    client: Any, signer: Signer, bucket: str, sent: str, answered: str
) -> None:
    with signer.connect() as connection:
        connection.send(signer.put(f"/{bucket}/k", b"x", [("x-amz-meta-a", sent)]))
        assert connection.read().status == 200
        for method in ("GET", "HEAD"):
            connection.send(signer.head(method, f"/{bucket}/k"))
            got = connection.read(head=method == "HEAD")
            assert (got.status, got.headers["x-amz-meta-a"]) == (200, answered)
    assert client.head_object(Bucket=bucket, Key="k")["Metadata"] == {"a": answered}
    # What a client was given, it can give back.
    copied = {"Bucket": bucket, "Key": "k"}
    client.copy_object(Bucket=bucket, Key="copy", CopySource=copied)
    assert client.head_object(Bucket=bucket, Key="copy")["Metadata"] == {"a": answered}
    client.put_object(Bucket=bucket, Key="again", Body=b"", Metadata={"a": answered})
    assert client.head_object(Bucket=bucket, Key="again")["Metadata"] == {"a": answered}


def test_metadata_that_no_header_can_hold(client: Any, signer: Signer, bucket: str) -> None:
    breaks = "=?utf-8?q?a=0D=0Aset-cookie:_b?="
    client.put_object(Bucket=bucket, Key="k", Body=b"", Metadata={"a": breaks, "b": "fine"})
    with signer.connect() as connection:
        connection.send(signer.head("HEAD", f"/{bucket}/k"))
        got = connection.read(head=True).headers
    assert (got["x-amz-missing-meta"], got["x-amz-meta-b"]) == ("1", "fine")
    assert "x-amz-meta-a" not in got
    assert "set-cookie" not in got


@pytest.mark.parametrize("size_bytes", [5, 300_000])
def test_an_md5_in_a_trailer(client: Any, signer: Signer, bucket: str, size_bytes: int) -> None:
    body = b"z" * size_bytes
    md5 = base64.b64encode(hashlib.md5(body).digest()).decode()

    def put(value: str) -> int:
        framed = plain_chunks([body], f"x-amz-checksum-md5:{value}")
        headers = [
            ("content-encoding", "aws-chunked"),
            ("x-amz-decoded-content-length", str(size_bytes)),
            ("x-amz-trailer", "x-amz-checksum-md5"),
            ("content-length", str(len(framed))),
        ]
        with signer.connect() as connection:
            head = signer.head("PUT", f"/{bucket}/k", headers, sha256=UNSIGNED_CHUNKS)
            connection.send(head + framed)
            return connection.read().status

    assert put(base64.b64encode(bytes(16)).decode()) == 400
    assert put(md5) == 200
    got = client.get_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")
    assert (got["Body"].read(), got["ChecksumMD5"]) == (body, md5)
    assert got["ETag"] == f'"{hashlib.md5(body).hexdigest()}"'
