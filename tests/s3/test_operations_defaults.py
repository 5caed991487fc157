"""Settings that nobody can change here: what is the case is told, and changing it is refused."""

from __future__ import annotations

import pytest

from tests.s3.harness import ROOT, S3, backend, md5_header

__all__ = ["backend"]

MISSING = {
    "lifecycle": "NoSuchLifecycleConfiguration",
    "replication": "ReplicationConfigurationNotFoundError",
}


@pytest.fixture
def s3() -> S3:
    server = S3()
    server("PUT", "/bucket")
    server("PUT", "/bucket/key", b"data")
    return server


@pytest.mark.parametrize("name", MISSING)
def test_what_no_bucket_has(s3: S3, name: str) -> None:
    reply = s3("GET", "/bucket", query=name)
    assert (reply.status, reply.code) == (404, MISSING[name])
    assert s3("GET", "/missing", query=name).code == "NoSuchBucket"


@pytest.mark.parametrize("name", [*MISSING, "acl"])
def test_none_of_it_can_be_changed(s3: S3, name: str) -> None:
    body = b"<Any/>"
    reply = s3("PUT", "/bucket", body, query=name, headers={"content-md5": md5_header(body)})
    assert (reply.status, reply.code) == (501, "NotImplemented")


@pytest.mark.parametrize("path", ["/bucket", "/bucket/key"])
def test_an_owner_has_everything(s3: S3, path: str) -> None:
    reply = s3("GET", path, query="acl")
    assert reply.status == 200
    assert reply.text("Owner/ID") == ROOT.id
    assert reply.texts("AccessControlList/Grant/Grantee/ID") == [ROOT.id]
    assert reply.texts("AccessControlList/Grant/Permission") == ["FULL_CONTROL"]


def test_the_acl_of_what_is_not_there(s3: S3) -> None:
    assert s3("GET", "/bucket/missing", query="acl").code == "NoSuchKey"
    assert s3("GET", "/bucket/key", query="acl&versionId=x").code == "InvalidArgument"
    assert s3("GET", "/missing", query="acl").code == "NoSuchBucket"
