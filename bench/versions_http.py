"""The cases of `bench.versions` that a server is asked for: encrypted reads, copies, listings.

One worker on loopback; answers are read from a socket to their end and counted, not parsed.
"""

from __future__ import annotations

import http.client
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import boto3
from botocore.config import Config

from bench.load import object_bodies, object_key
from bench.targets import Target
from bench.versions_figures import MIB, PAGE, Figure, Size, in_turn

BUCKET = "versions"
EXPIRES_S = 3600


class Client:
    """Makes objects by boto3, and reads presigned URLs over one connection."""

    def __init__(self, target: Target) -> None:
        endpoint = target.endpoint
        self.s3: Any = boto3.client(
            "s3",
            endpoint_url=f"http://{endpoint.host}:{endpoint.port}",
            aws_access_key_id=endpoint.credentials.access_key,
            aws_secret_access_key=endpoint.credentials.secret_key,
            region_name=endpoint.credentials.region,
            config=Config(signature_version="s3v4"),
        )
        self._connection = http.client.HTTPConnection(endpoint.host, endpoint.port)
        self._buffer = bytearray(4 * MIB)

    def signed(self, operation: str, **arguments: object) -> str:
        """Path and query of a presigned request."""
        url = urlsplit(
            self.s3.generate_presigned_url(operation, Params=arguments, ExpiresIn=EXPIRES_S)
        )
        return f"{url.path}?{url.query}"

    def read(self, target: str) -> int:
        """The length of an answer, which has to be 200."""
        self._connection.request("GET", target)
        response = self._connection.getresponse()
        size_bytes = 0
        while count := response.readinto(self._buffer):
            size_bytes += count
        if response.status != 200:
            raise ValueError(f"answered {response.status}")
        return size_bytes

    def close(self) -> None:
        """End the connections."""
        self._connection.close()
        self.s3.close()


def over_http(target: Target, size: Size) -> Iterator[Figure]:
    """Every case, by a client of its own."""
    client = Client(target)
    try:
        client.s3.create_bucket(Bucket=BUCKET)
        yield from reading(client, size)
        yield from copying(client, size)
        yield from listing(client, size)
    finally:
        client.close()


def reading(client: Client, size: Size) -> Iterator[Figure]:
    """A large object, plain and under SSE-S3."""
    body = object_bodies(size.read_bytes)[0]
    client.s3.put_object(Bucket=BUCKET, Key="plain", Body=body)
    client.s3.put_object(Bucket=BUCKET, Key="sealed", Body=body, ServerSideEncryption="AES256")
    targets = [client.signed("get_object", Bucket=BUCKET, Key=key) for key in ("plain", "sealed")]

    def read(target: str) -> int:
        if client.read(target) != len(body):
            raise ValueError("an object is short")
        return 1

    plain, sealed = in_turn([lambda t=t: read(t) for t in targets], 3 * size.rounds)  # type: ignore[misc]
    for kind, cost in (("plain", plain), ("SSE-S3", sealed)):
        name = f"HTTP GET {len(body) // MIB} MiB, {kind}"
        yield Figure(name, len(body) / MIB / cost.wall_us * 1e6, "MiB/s")
    yield Figure("  ratio of the rates", plain.wall_us / sealed.wall_us * 100, "%", 60)


def copying(client: Client, size: Size) -> Iterator[Figure]:
    """A large object, made of copied parts, copied as a whole."""
    count = -(-size.copied_bytes // size.read_bytes)
    source = {"Bucket": BUCKET, "Key": "plain"}
    upload = {"Bucket": BUCKET, "Key": "large"}
    upload["UploadId"] = client.s3.create_multipart_upload(**upload)["UploadId"]
    parts = []
    for number in range(1, count + 1):
        part = client.s3.upload_part_copy(**upload, PartNumber=number, CopySource=source)
        parts.append({"PartNumber": number, "ETag": part["CopyPartResult"]["ETag"]})
    client.s3.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts})

    def copied() -> int:
        source = {"Bucket": BUCKET, "Key": "large"}
        client.s3.copy_object(Bucket=BUCKET, Key="copy", CopySource=source)
        return 1

    (cost,) = in_turn([copied], size.rounds)
    name = f"HTTP CopyObject of {count * size.read_bytes // MIB} MiB, by boto3"
    yield Figure(name, cost.wall_us / 1e3, "ms", 50, more_is_better=False)


def listing(client: Client, size: Size) -> Iterator[Figure]:
    """A thousand versions, beside a thousand keys."""
    enabled = {"Status": "Enabled"}
    client.s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration=enabled)
    for number in range(PAGE):
        client.s3.put_object(Bucket=BUCKET, Key=object_key("list-", number), Body=b"x")
    versions = client.signed("list_object_versions", Bucket=BUCKET, Prefix="list-")
    keys = client.signed("list_objects_v2", Bucket=BUCKET, Prefix="list-")

    def read(target: str) -> int:
        for _ in range(10):
            client.read(target)
        return 10

    of_versions, of_keys = in_turn([lambda: read(versions), lambda: read(keys)], 3 * size.rounds)
    yield Figure("HTTP ListObjectVersions of 1,000", 1e6 / of_versions.wall_us, "op/s")
    yield Figure("HTTP ListObjectsV2 of 1,000", 1e6 / of_keys.wall_us, "op/s")
