"""Requests made of odd parts at random: whatever comes in, what goes out is S3's.

Never a 500; an error is a document with a code; what was refused has changed nothing; and the
store is whole in the end.
"""

from __future__ import annotations

import base64
import hashlib
import random
from typing import Any

from tests.s3 import forms
from tests.s3.harness import S3, Reply, backend, md5_header

__all__ = ["backend"]

REQUESTS = 3000
KEYS = (bytes(range(32)), bytes(32))
METHODS = ("GET", "PUT", "PUT", "PUT", "HEAD", "DELETE", "POST", "OPTIONS", "PATCH")
PATHS = (
    "/",
    "/bucket",
    "/versioned",
    "/locked",
    *(f"/{bucket}/{key}" for bucket in ("bucket", "versioned", "locked") for key in "abé"),
    "/missing/a",
    "/UPPER",
    "/bucket/" + "k" * 1025,
)
QUERIES = (
    *("", "", "", "versions", "uploads", "tagging", "acl", "retention", "legal-hold", "cors"),
    *("object-lock", "encryption", "versioning", "attributes", "renameObject", "delete"),
    *("versionId=null", "versionId=" + "0" * 32, "versionId=x", "partNumber=1", "partNumber=x"),
    *("partNumber=1&uploadId=x", "uploadId=" + "0" * 32, "list-type=2", "list-type=2&max-keys=1"),
    *("versions&max-keys=1&key-marker=a", "delete&x=1", "restore", "torrent", "policy", "website"),
    *("prefix=%ff", "encoding-type=url&delimiter=%2F", "list-type=2&continuation-token=x"),
)
HEADERS: dict[str, tuple[str, ...]] = {
    "x-amz-server-side-encryption": ("AES256", "aws:kms", "rot13", ""),
    "x-amz-write-offset-bytes": ("0", "4", "-1", "x"),
    "if-match": ("*", '"x"', ""),
    "if-none-match": ("*", '"x"'),
    "if-modified-since": ("Thu, 01 Jan 1970 00:00:00 GMT", "soon"),
    "range": ("bytes=0-1", "bytes=-1", "bytes=9-", "bytes=5-1", "lines=1"),
    "x-amz-copy-source": ("/bucket/a", "/versioned/a", "bucket/", "/bucket/a?versionId=x", "%ff"),
    "x-amz-copy-source-range": ("bytes=0-1", "bytes=1-0"),
    "x-amz-metadata-directive": ("REPLACE", "COPY", "MOVE"),
    "x-amz-object-lock-mode": ("GOVERNANCE", "NONE"),
    "x-amz-object-lock-retain-until-date": ("2100-01-01T00:00:00Z", "soon"),
    "x-amz-object-lock-legal-hold": ("ON", "OFF", "on"),
    "x-amz-rename-source": ("a", "/bucket/a", "/versioned/a", "%ff"),
    "x-amz-tagging": ("a=b", "a=b&a=c", "=", "aws:a=b"),
    "x-amz-checksum-algorithm": ("CRC32", "SHA1", "ROT13"),
    "x-amz-checksum-crc32": ("AAAAAA==", "x"),
    "x-amz-bypass-governance-retention": ("true", "x"),
    "x-amz-object-attributes": ("ETag,Checksum,ObjectParts", "Colour"),
    "x-amz-storage-class": ("STANDARD_IA", "GLACIER", "GOLD"),
    "x-amz-expected-bucket-owner": ("0" * 64,),
    "x-amz-acl": ("private", "public-read", "x"),
    "origin": ("http://a",),
    "content-md5": ("x", md5_header(b"data")),
    "content-type": ("text/plain", *forms.HEADERS.values(), "multipart/form-data"),
}
BODIES = (
    b"",
    b"data",
    b"\xff\xfe",
    b"<Tagging><TagSet/></Tagging>",
    b"<Retention/>",
    b"<LegalHold><Status>ON</Status></LegalHold>",
    b"<Delete><Object><Key>a</Key></Object></Delete>",
    b"<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled>"
    b"</ObjectLockConfiguration>",
    b"<VersioningConfiguration><Status>Suspended</Status></VersioningConfiguration>",
    b"<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>",
    b"<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>x</ETag></Part>"
    b"</CompleteMultipartUpload>",
    forms.encode({"key": "a"}, b"data"),
)


def sse_c(prefix: str, key: bytes) -> dict[str, str]:
    base = f"{prefix}server-side-encryption-customer-"
    return {
        f"{base}algorithm": "AES256",
        f"{base}key": base64.b64encode(key).decode(),
        f"{base}key-md5": base64.b64encode(hashlib.md5(key).digest()).decode(),
    }


def send_one(s3: S3, dice: random.Random) -> Reply:
    headers = {
        name: dice.choice(HEADERS[name])
        for name in dice.sample(sorted(HEADERS), dice.choice((0, 0, 1, 1, 2, 4)))
    }
    if dice.random() < 0.15:
        headers |= sse_c("x-amz-", dice.choice(KEYS))
    if dice.random() < 0.05:
        headers |= sse_c("x-amz-copy-source-", dice.choice(KEYS))
    body = dice.choice(BODIES)
    if body and dice.random() < 0.5:
        headers["content-md5"] = md5_header(body)
    query = dice.choice(QUERIES)
    return s3(dice.choice(METHODS), dice.choice(PATHS), body, query=query, headers=headers)


def state(s3: S3) -> list[Any]:
    found: list[Any] = []
    for bucket in s3.store.list_buckets():
        name = bucket.name
        found += [name, s3.store.versioning(name), s3.store.bucket_encryption(name)]
        found += [s3.store.list_versions(name), s3.store.list_uploads(name)]
    return found


def test_whatever_comes_in(seed: int) -> None:
    dice = random.Random(seed)
    s3 = S3(min_part_bytes=1)
    s3("PUT", "/bucket")
    s3("PUT", "/locked", headers={"x-amz-bucket-object-lock-enabled": "true"})
    s3("PUT", "/versioned")
    s3("PUT", "/versioned", BODIES[9], query="versioning")
    answers: dict[int, int] = {}
    before = state(s3)
    for _turn in range(REQUESTS):
        reply = send_one(s3, dice)
        answers[reply.status] = answers.get(reply.status, 0) + 1
        assert reply.status < 500 or reply.status == 501, reply
        if reply.status >= 400:
            assert state(s3) == before
            if reply.body:
                assert reply.code
        before = state(s3)
    assert answers.keys() >= {200, 204, 400, 403, 404, 412, 501}
    if hasattr(s3.store, "check"):
        assert s3.store.check() == []
