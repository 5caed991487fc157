"""PutBucketLogging and GetBucketLogging; tests/clients/test_access_logs.py reads what comes."""

from __future__ import annotations

from pathlib import Path

import pytest

from objstore.access_logs import AccessLogs
from objstore.s3.access_log import operation_name
from objstore.s3.http import Request
from objstore.s3.table import OPERATIONS, PREFLIGHT
from tests.s3.harness import OTHER, ROOT, S3, Reply, backend

__all__ = ["backend"]


@pytest.fixture
def s3(tmp_path: Path) -> S3:
    server = S3()
    server.ctx.access_logs = AccessLogs(server.store, tmp_path)
    server("PUT", "/source")
    server("PUT", "/target")
    return server


def put(s3: S3, inner: str) -> Reply:
    if inner:
        inner = f"<LoggingEnabled>{inner}</LoggingEnabled>"
    body = f"<BucketLoggingStatus>{inner}</BucketLoggingStatus>"
    return s3("PUT", "/source", body.encode(), query="logging")


TARGET = "<TargetBucket>target</TargetBucket><TargetPrefix>a/&lt;</TargetPrefix>"


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("", "<SimplePrefix/>"),
        ("<SimplePrefix/>", "<SimplePrefix/>"),
        (
            "<PartitionedPrefix/>",
            "<PartitionedPrefix><PartitionDateSource>DeliveryTime</PartitionDateSource>"
            "</PartitionedPrefix>",
        ),
        (
            "<PartitionedPrefix><PartitionDateSource>EventTime</PartitionDateSource>"
            "</PartitionedPrefix>",
            "<PartitionedPrefix><PartitionDateSource>EventTime</PartitionDateSource>"
            "</PartitionedPrefix>",
        ),
    ],
)
def test_what_was_put_is_told(s3: S3, given: str, told: str) -> None:
    assert s3("GET", "/source", query="logging").text("LoggingEnabled") is None
    form = f"<TargetObjectKeyFormat>{given}</TargetObjectKeyFormat>" if given else ""
    assert put(s3, TARGET + form).status == 200
    logs = s3.ctx.access_logs
    assert logs is not None
    assert logs.is_active
    body = s3("GET", "/source", query="logging").body.decode()
    expected = f"{TARGET}<TargetObjectKeyFormat>{told}</TargetObjectKeyFormat>"
    assert f"<LoggingEnabled>{expected}</LoggingEnabled>" in body
    assert put(s3, "").status == 200
    assert s3("GET", "/source", query="logging").text("LoggingEnabled") is None


def test_targets_that_take_none(s3: S3) -> None:
    s3.authenticator.identity = OTHER
    s3("PUT", "/others")
    s3.authenticator.identity = ROOT
    for name in ("missing", "others"):
        refused = put(s3, TARGET.replace(">target<", f">{name}<"))
        assert (refused.status, refused.code) == (400, "InvalidTargetBucketForLogging"), name
    s3("PUT", "/locked", headers={"x-amz-bucket-object-lock-enabled": "true"})
    locked = TARGET.replace(">target<", ">locked<")
    assert put(s3, locked).status == 200
    retention = (
        b"<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled><Rule>"
        b"<DefaultRetention><Mode>GOVERNANCE</Mode><Days>1</Days></DefaultRetention></Rule>"
        b"</ObjectLockConfiguration>"
    )
    assert s3("PUT", "/locked", retention, query="object-lock").status == 200
    assert put(s3, locked).code == "InvalidRequest"


def test_grants_have_no_place(s3: S3) -> None:
    assert put(s3, TARGET + "<TargetGrants/>").status == 200
    refused = put(s3, TARGET + "<TargetGrants><Grant/></TargetGrants>")
    assert (refused.status, refused.code) == (400, "AccessControlListNotSupported")


def test_a_server_that_delivers_nothing_takes_no_configuration(s3: S3) -> None:
    s3.ctx.access_logs = None
    assert put(s3, TARGET).status == 501
    assert put(s3, "").status == 200


def test_what_operations_are_called() -> None:
    names = {}
    for operation in (*OPERATIONS, PREFLIGHT):
        names[operation.name] = operation_name(operation, Request(operation.method, b"/", b"", []))
    for name, expected in (
        ("GetObject", "REST.GET.OBJECT"),
        ("ListObjectsV2", "REST.GET.BUCKET"),
        ("ListObjectVersions", "REST.GET.BUCKETVERSIONS"),
        ("CreateBucket", "REST.PUT.BUCKET"),
        ("GetBucketLogging", "REST.GET.LOGGING_STATUS"),
        ("GetBucketVersioning", "REST.GET.VERSIONING"),
        ("PutObjectTagging", "REST.PUT.OBJECT_TAGGING"),
        ("PutBucketTagging", "REST.PUT.TAGGING"),
        ("CreateMultipartUpload", "REST.POST.UPLOADS"),
        ("ListMultipartUploads", "REST.GET.UPLOADS"),
        ("GetBucketAcl", "REST.GET.ACL"),
        ("DeleteObjects", "REST.POST.MULTI_OBJECT_DELETE"),
    ):
        assert names[name] == expected
    assert operation_name(None, Request("GET", b"/b", b"", [])) == "REST.GET.BUCKET"
