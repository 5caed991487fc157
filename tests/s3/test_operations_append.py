"""Appends on the wire: x-amz-write-offset-bytes on PutObject."""

from __future__ import annotations

import hashlib

import pytest

from tests.s3.harness import S3, Reply, backend, checksum, md5_header
from tests.s3.test_operations_encryption import IDS, KINDS, OTHER, carried, sse_c

__all__ = ["backend"]

OFFSET = "x-amz-write-offset-bytes"


@pytest.fixture
def s3() -> S3:
    server = S3(min_part_bytes=1)
    server("PUT", "/bucket")
    return server


def append(s3: S3, data: bytes, offset: object, **headers: str) -> Reply:
    return s3("PUT", "/bucket/key", data, headers={OFFSET: str(offset), **headers})


def etag_of(*parts: bytes) -> str:
    digests = b"".join(hashlib.md5(part).digest() for part in parts)
    return f"{hashlib.md5(digests).hexdigest()}-{len(parts)}"


@pytest.mark.parametrize("first", [b"", b"first", b"f" * 100_000])
def test_an_object_grows(s3: S3, first: bytes) -> None:
    s3("PUT", "/bucket/key", first, headers={"x-amz-meta-a": "b", "content-type": "text/x"})
    parts = [first] if first else []
    for data in (b"second", b"third"):
        reply = append(s3, data, sum(map(len, parts)))
        parts.append(data)
        assert reply.status == 200
        assert reply.headers["x-amz-object-size"] == str(sum(map(len, parts)))
        assert reply.etag == etag_of(*parts)
    got = s3("GET", "/bucket/key")
    assert (got.body, got.etag) == (b"".join(parts), etag_of(*parts))
    assert (got.headers["x-amz-meta-a"], got.headers["content-type"]) == ("b", "text/x")
    last = s3("GET", "/bucket/key", query=f"partNumber={len(parts)}")
    assert (last.status, last.body) == (206, b"third")
    whole = s3("HEAD", "/bucket/key", headers={"x-amz-checksum-mode": "ENABLED"})
    crc = checksum("CRC64NVME", b"".join(parts))
    assert whole.headers["x-amz-checksum-crc64nvme"] == crc
    assert whole.headers["x-amz-checksum-type"] == "FULL_OBJECT"


def test_an_append_makes_the_object(s3: S3) -> None:
    reply = append(s3, b"data", 0, **{"x-amz-meta-a": "b"})
    assert (reply.status, reply.headers["x-amz-object-size"]) == (200, "4")
    assert reply.etag == hashlib.md5(b"data").hexdigest()
    assert s3("GET", "/bucket/key").headers["x-amz-meta-a"] == "b"


@pytest.mark.parametrize("offset", [0, 3, 5, 2**40])
def test_another_offset(s3: S3, offset: int) -> None:
    s3("PUT", "/bucket/key", b"data")
    reply = append(s3, b"more", offset)
    assert (reply.status, reply.code) == (400, "InvalidWriteOffset")
    assert reply.text("ObjectSize") == "4"
    assert s3("GET", "/bucket/key").body == b"data"


@pytest.mark.parametrize("offset", ["", "-1", "x", "1.5", "0x1", str(10**30)])
def test_what_is_no_offset(s3: S3, offset: str) -> None:
    reply = append(s3, b"more", offset)
    assert (reply.status, reply.code) == (400, "InvalidArgument")
    assert s3("HEAD", "/bucket/key").status == 404


def test_what_cannot_be_appended(s3: S3) -> None:
    s3("PUT", "/bucket/key", b"data")
    assert append(s3, b"", 4).code == "InvalidRequest"
    assert append(s3, b"more", 4, **{"x-amz-meta-a": "b"}).code == "InvalidRequest"
    assert append(s3, b"more", 4, **{"x-amz-tagging": "a=b"}).code == "InvalidRequest"
    assert append(s3, b"more", 4, **{"cache-control": "no-store"}).code == "InvalidRequest"
    other = {"x-amz-storage-class": "STANDARD_IA"}
    assert append(s3, b"more", 4, **other).code == "InvalidRequest"
    sha = {"x-amz-checksum-sha256": checksum("SHA256", b"more")}
    assert append(s3, b"more", 4, **sha).code == "InvalidRequest"
    wrong = append(s3, b"more", 4, **{"content-md5": md5_header(b"other")})
    assert wrong.code == "BadDigest"
    s3("PUT", "/bucket/hashed", b"data", headers={"x-amz-checksum-sha1": checksum("SHA1", b"data")})
    hashed = s3("PUT", "/bucket/hashed", b"more", headers={OFFSET: "4"})
    assert (hashed.status, hashed.code) == (400, "InvalidRequest")
    assert append(s3, b"more", 0, host="x").status == 400
    assert s3("GET", "/bucket/key").body == b"data"
    assert s3("GET", "/bucket/hashed").body == b"data"
    missing = s3("PUT", "/missing/key", b"more", headers={OFFSET: "0"})
    assert (missing.status, missing.code) == (404, "NoSuchBucket")


def test_a_content_type_changes_nothing(s3: S3) -> None:
    """SDKs send one with every body."""
    s3("PUT", "/bucket/key", b"data", headers={"content-type": "text/x"})
    assert append(s3, b"more", 4, **{"content-type": "application/octet-stream"}).status == 200
    assert s3("HEAD", "/bucket/key").headers["content-type"] == "text/x"


def test_conditions(s3: S3) -> None:
    etag = s3("PUT", "/bucket/key", b"data").etag
    assert append(s3, b"more", 4, **{"if-match": '"other"'}).status == 412
    assert append(s3, b"more", 4, **{"if-none-match": "*"}).status == 412
    assert append(s3, b"more", 4, **{"if-match": f'"{etag}"'}).status == 200


def test_other_operations_take_no_offset(s3: S3) -> None:
    s3("PUT", "/bucket/key", b"data")
    for method, query in [("GET", ""), ("POST", "uploads"), ("DELETE", "")]:
        reply = s3(method, "/bucket/key", query=query, headers={OFFSET: "4"})
        assert (reply.status, reply.code) == (501, "NotImplemented")
    assert s3("HEAD", "/bucket/key").status == 200


def test_in_a_versioned_bucket_it_makes_a_version(s3: S3) -> None:
    body = b"<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>"
    s3("PUT", "/bucket", body, query="versioning")
    first = s3("PUT", "/bucket/key", b"data").headers["x-amz-version-id"]
    second = append(s3, b"more", 4).headers["x-amz-version-id"]
    assert first != second
    assert s3("GET", "/bucket/key").body == b"datamore"
    assert s3("GET", "/bucket/key", query=f"versionId={first}").body == b"data"
    s3("DELETE", "/bucket/key", query=f"versionId={first}")
    assert s3("GET", "/bucket/key").body == b"datamore"


@pytest.mark.parametrize("how", KINDS, ids=IDS)
@pytest.mark.parametrize("size_bytes", [0, 10, 100_000])
def test_an_encrypted_object_grows(s3: S3, how: dict[str, str], size_bytes: int) -> None:
    first = b"f" * size_bytes
    s3("PUT", "/bucket/key", first, headers=how)
    reply = append(s3, b"more", size_bytes, **carried(how))
    assert reply.status == 200
    assert append(s3, b"end", size_bytes + 4, **how).status == 200
    got = s3("GET", "/bucket/key", headers=carried(how))
    assert got.body == first + b"more" + b"end"
    tail = s3("GET", "/bucket/key", headers={"range": "bytes=-5", **carried(how)})
    assert tail.body == b"reend"


def test_an_append_encrypts_as_the_object_is(s3: S3) -> None:
    s3("PUT", "/bucket/key", b"data", headers=sse_c())
    assert append(s3, b"more", 4).code == "InvalidRequest"
    assert append(s3, b"more", 4, **sse_c(OTHER)).code == "AccessDenied"
    other = append(s3, b"more", 4, **{"x-amz-server-side-encryption": "AES256"})
    assert (other.status, other.code) == (400, "EncryptionTypeMismatch")
    s3("PUT", "/bucket/key", b"data")
    assert append(s3, b"more", 4, **sse_c()).code == "EncryptionTypeMismatch"
    assert s3("GET", "/bucket/key").body == b"data"
