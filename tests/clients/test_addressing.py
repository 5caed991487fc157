"""Virtual-hosted style: the bucket in the Host header."""

from __future__ import annotations

import socket
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.clients.endpoint import Endpoint
from tests.clients.errors import refused
from tests.clients.test_presigned import fetch


@pytest.fixture
def virtual(endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A client that asks `bucket.localhost`; every such name leads to the server."""
    resolve = socket.getaddrinfo
    monkeypatch.setattr(
        socket,
        "getaddrinfo",
        lambda host, *rest, **named: resolve(
            "127.0.0.1" if str(host).endswith("localhost") else host, *rest, **named
        ),
    )
    port = urlsplit(endpoint.url).port
    return endpoint.client(url=f"http://localhost:{port}", s3={"addressing_style": "virtual"})


def test_it_is_the_same_bucket(virtual: Any, s3: Any, bucket: str) -> None:
    key = f"{bucket}/a b+ü"
    put = virtual.put_object(Bucket=bucket, Key=key, Body=b"body")
    assert put["ResponseMetadata"]["HTTPStatusCode"] == 200
    assert s3.get_object(Bucket=bucket, Key=key)["Body"].read() == b"body"
    assert virtual.get_object(Bucket=bucket, Key=key)["Body"].read() == b"body"
    assert [e["Key"] for e in virtual.list_objects_v2(Bucket=bucket)["Contents"]] == [key]
    copy = virtual.copy_object(Bucket=bucket, Key="c", CopySource={"Bucket": bucket, "Key": key})
    assert copy["CopyObjectResult"]["ETag"] == put["ETag"]
    virtual.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": key}, {"Key": "c"}]})
    virtual.delete_bucket(Bucket=bucket)
    with refused(404, "404"):
        s3.head_bucket(Bucket=bucket)


def test_a_host_with_a_bucket_is_really_asked(virtual: Any, bucket: str) -> None:
    url = virtual.generate_presigned_url("put_object", Params={"Bucket": bucket, "Key": "k"})
    assert str(urlsplit(url).hostname) == f"{bucket}.localhost"
    assert fetch(url, "PUT", b"body").status == 200
    assert virtual.get_object(Bucket=bucket, Key="k")["Body"].read() == b"body"


def test_a_bucket_with_dots(virtual: Any, s3: Any, bucket: str) -> None:
    name = f"{bucket}.with.dots"
    virtual.create_bucket(Bucket=name)
    virtual.put_object(Bucket=name, Key="k", Body=b"body")
    assert s3.get_object(Bucket=name, Key="k")["Body"].read() == b"body"
