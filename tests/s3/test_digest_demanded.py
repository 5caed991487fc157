"""Documents that S3 takes with a digest alone: a damaged one could lose or free objects."""

from __future__ import annotations

import base64
import zlib
from typing import NamedTuple

import pytest

from objstore.s3.table import OPERATIONS
from tests.s3.harness import S3, backend, chunked, md5_header

__all__ = ["backend"]


class Valid(NamedTuple):
    """A request that S3 takes, if its document comes with a digest."""

    method: str
    path: str
    query: str
    document: str


VALID = {
    "DeleteObjects": Valid(
        "POST", "/bucket", "delete", "<Delete><Object><Key>other</Key></Object></Delete>"
    ),
    "PutBucketCors": Valid(
        "PUT",
        "/bucket",
        "cors",
        "<CORSConfiguration><CORSRule><AllowedMethod>GET</AllowedMethod>"
        "<AllowedOrigin>*</AllowedOrigin></CORSRule></CORSConfiguration>",
    ),
    "PutBucketTagging": Valid(
        "PUT",
        "/bucket",
        "tagging",
        "<Tagging><TagSet><Tag><Key>k</Key><Value>v</Value></Tag></TagSet></Tagging>",
    ),
    "PutObjectLockConfiguration": Valid(
        "PUT",
        "/bucket",
        "object-lock",
        "<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled>"
        "</ObjectLockConfiguration>",
    ),
    "PutObjectRetention": Valid(
        "PUT",
        "/bucket/key",
        "retention",
        "<Retention><Mode>GOVERNANCE</Mode><RetainUntilDate>2999-01-01T00:00:00Z"
        "</RetainUntilDate></Retention>",
    ),
    "PutObjectLegalHold": Valid(
        "PUT", "/bucket/key", "legal-hold", "<LegalHold><Status>ON</Status></LegalHold>"
    ),
}


def digests(document: bytes) -> list[dict[str, str]]:
    crc = base64.b64encode(zlib.crc32(document).to_bytes(4, "big")).decode()
    return [{"content-md5": md5_header(document)}, {"x-amz-checksum-crc32": crc}]


@pytest.fixture
def s3() -> S3:
    server = S3()
    server("PUT", "/bucket", headers={"x-amz-bucket-object-lock-enabled": "true"})
    server("PUT", "/bucket/key", b"data")
    return server


def test_all_of_them_are_here() -> None:
    assert set(VALID) == {o.name for o in OPERATIONS if o.offered and o.needs_digest}


@pytest.mark.parametrize("name", VALID)
def test_without_a_digest(s3: S3, name: str) -> None:
    request = VALID[name]
    body = request.document.encode()
    refused = s3(request.method, request.path, body, query=request.query, digest=False)
    assert (refused.status, refused.code) == (400, "InvalidRequest")
    message = "Missing required header for this request: Content-MD5 OR x-amz-checksum-*"
    assert refused.text("Message") == message


@pytest.mark.parametrize("name", VALID)
def test_with_one(s3: S3, name: str) -> None:
    request = VALID[name]
    body = request.document.encode()
    for headers in digests(body):
        taken = s3(request.method, request.path, body, query=request.query, headers=headers)
        assert taken.status in (200, 204), taken.body
    for headers in digests(body + b" "):
        wrong = s3(request.method, request.path, body, query=request.query, headers=headers)
        assert (wrong.status, wrong.code) == (400, "BadDigest")


def test_in_a_trailer(s3: S3) -> None:
    request = VALID["DeleteObjects"]
    body = request.document.encode()
    trailers = {"x-amz-checksum-crc32": digests(body)[1]["x-amz-checksum-crc32"]}
    framed = chunked(body, trailers)
    headers = {
        "x-amz-content-sha256": "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
        "x-amz-trailer": "x-amz-checksum-crc32",
        "x-amz-decoded-content-length": str(len(body)),
    }
    assert s3("POST", "/bucket", framed, query="delete", headers=headers).status == 200
