"""Bad input for every operation: S3's own answer, and nothing changed.

What is stored is compared before and after, and over the engine the store is checked.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest

from objstore.s3 import table
from objstore.s3.errors import S3Error
from objstore.s3.http import Request
from objstore.s3.router import route
from tests.s3.bad_object_requests import COPIES, DELETES, READS, WRITES
from tests.s3.bad_requests import BUCKETS, LISTINGS, OF_VERSIONS, UNKNOWN, Bad
from tests.s3.harness import S3, Reply, backend, md5_header

__all__ = ["backend"]

ROWS = BUCKETS + LISTINGS + READS + WRITES + COPIES + DELETES + OF_VERSIONS


@pytest.fixture
def s3() -> S3:
    server = S3(min_part_bytes=1)
    server("PUT", "/bucket")
    server("PUT", "/locked", headers={"x-amz-bucket-object-lock-enabled": "true"})
    for bucket in ("bucket", "locked"):
        headers = {"x-amz-meta-a": "b", "x-amz-tagging": "c=d"}
        server("PUT", f"/{bucket}/key", b"data", headers=headers)
    return server


def state(s3: S3) -> Any:
    """All that is stored."""
    found: list[Any] = []
    for bucket in s3.store.list_buckets():
        name = bucket.name
        found += [bucket, s3.store.versioning(name), s3.store.bucket_encryption(name)]
        for entry in s3.store.list_versions(name).entries:
            found.append(s3.store.head(name, entry.key, version_id=entry.version_id))
        for upload in s3.store.list_uploads(name).uploads:
            found.append(s3.store.list_parts(name, upload.key, upload.upload_id))
    return found


def send(s3: S3, bad: Bad) -> Reply:
    upload_id = s3.store.list_uploads("bucket").uploads[0].upload_id
    body = bad.body.encode()
    headers = dict(bad.headers)
    if body and bad.is_signed and "content-md5" not in headers and not _has_checksum(headers):
        headers["content-md5"] = md5_header(body)
    query = bad.query.format(upload=upload_id)
    return s3(bad.method, bad.path, body, query=query, headers=headers, digest=bad.is_signed)


def _has_checksum(headers: dict[str, str]) -> bool:
    return any(name.startswith("x-amz-checksum-") for name in headers)


@pytest.mark.parametrize("bad", ROWS, ids=str)
def test_it_is_refused_and_nothing_changes(s3: S3, bad: Bad) -> None:
    s3("POST", "/bucket/key", query="uploads")
    before = state(s3)
    reply = send(s3, bad)
    code = bad.code if bad.method != "HEAD" else ""
    assert (reply.status, reply.code) == (bad.status, code), reply.body
    assert state(s3) == before
    if hasattr(s3.store, "check"):
        assert s3.store.check() == []


def test_every_operation_has_a_row() -> None:
    offered = {operation.name for operation in table.OPERATIONS if operation.offered}
    assert {bad.operation for bad in ROWS} == offered


@pytest.mark.parametrize("bad", ROWS, ids=str)
def test_each_row_is_of_its_operation(s3: S3, bad: Bad) -> None:
    """Or it would tell nothing of it."""
    headers = [(b"host", b"localhost")]
    headers += [(name.encode(), value.encode()) for name, value in bad.headers.items()]
    query = bad.query.format(upload=UNKNOWN).encode()
    request = Request(bad.method, quote(bad.path, safe="/").encode(), query, headers)
    assert routed(s3, request) in (bad.operation, bad.code)


def routed(s3: S3, request: Request) -> str:
    """The operation that a request is of, or the code of what refuses it before."""
    try:
        return route(s3.ctx, request).name
    except S3Error as error:
        return error.code
