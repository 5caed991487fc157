"""Object lock through boto3 and the `aws` command."""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.clients.endpoint import Endpoint
from tests.clients.test_aws_cli import Aws


@pytest.fixture
def locking(s3: Any) -> str:
    """A bucket with object lock; what is in it stays, as nobody could remove it."""
    name = f"test-{uuid.uuid4().hex[:20]}"
    s3.create_bucket(Bucket=name, ObjectLockEnabledForBucket=True)
    return name


def tomorrow() -> datetime:
    return datetime.now(UTC).replace(microsecond=0) + timedelta(days=1)


def test_a_locked_version_stays(s3: Any, locking: str) -> None:
    until = tomorrow()
    put = s3.put_object(
        Bucket=locking,
        Key="key",
        Body=b"data",
        ObjectLockMode="COMPLIANCE",
        ObjectLockRetainUntilDate=until,
        ObjectLockLegalHoldStatus="ON",
    )
    named = {"Bucket": locking, "Key": "key", "VersionId": put["VersionId"]}
    head = s3.head_object(**named)
    assert (head["ObjectLockMode"], head["ObjectLockRetainUntilDate"]) == ("COMPLIANCE", until)
    assert head["ObjectLockLegalHoldStatus"] == "ON"
    with pytest.raises(ClientError, match="AccessDenied"):
        s3.delete_object(**named, BypassGovernanceRetention=True)
    gone = s3.delete_objects(
        Bucket=locking,
        Delete={"Objects": [{"Key": "key", "VersionId": put["VersionId"]}]},
        BypassGovernanceRetention=True,
    )
    assert gone["Errors"][0]["Code"] == "AccessDenied"
    shorter = {"Mode": "COMPLIANCE", "RetainUntilDate": until - timedelta(hours=1)}
    with pytest.raises(ClientError, match="AccessDenied"):
        s3.put_object_retention(**named, Retention=shorter, BypassGovernanceRetention=True)
    longer = {"Mode": "COMPLIANCE", "RetainUntilDate": until + timedelta(hours=1)}
    s3.put_object_retention(**named, Retention=longer)
    assert s3.get_object_retention(**named)["Retention"] == longer
    s3.delete_object(Bucket=locking, Key="key")
    assert s3.get_object(**named)["Body"].read() == b"data"


def test_a_default_and_a_bypass(s3: Any, locking: str) -> None:
    rule = {"DefaultRetention": {"Mode": "GOVERNANCE", "Days": 1}}
    configuration = {"ObjectLockEnabled": "Enabled", "Rule": rule}
    s3.put_object_lock_configuration(Bucket=locking, ObjectLockConfiguration=configuration)
    shown = s3.get_object_lock_configuration(Bucket=locking)
    assert shown["ObjectLockConfiguration"] == configuration
    put = s3.put_object(Bucket=locking, Key="key", Body=b"data")
    named = {"Bucket": locking, "Key": "key", "VersionId": put["VersionId"]}
    assert s3.get_object_retention(**named)["Retention"]["Mode"] == "GOVERNANCE"
    with pytest.raises(ClientError, match="AccessDenied"):
        s3.delete_object(**named)
    s3.delete_object(**named, BypassGovernanceRetention=True)
    with pytest.raises(ClientError, match="404"):
        s3.head_object(Bucket=locking, Key="key")


def test_versioning_stays(s3: Any, locking: str, bucket: str) -> None:
    with pytest.raises(ClientError, match="InvalidBucketState"):
        s3.put_bucket_versioning(Bucket=locking, VersioningConfiguration={"Status": "Suspended"})
    with pytest.raises(ClientError, match="InvalidBucketState"):
        s3.put_object_lock_configuration(
            Bucket=bucket, ObjectLockConfiguration={"ObjectLockEnabled": "Enabled"}
        )
    with pytest.raises(ClientError, match="ObjectLockConfigurationNotFoundError"):
        s3.get_object_lock_configuration(Bucket=bucket)


def test_the_aws_command(endpoint: Endpoint, locking: str) -> None:
    aws = Aws(endpoint)
    named = ("--bucket", locking, "--key", "key")
    version = aws.json("put-object", *named)["VersionId"]
    aws("s3api", "put-object-legal-hold", *named, "--legal-hold", "Status=ON")
    held = aws.json("get-object-legal-hold", *named)
    assert held == {"LegalHold": {"Status": "ON"}}
    assert "AccessDenied" in aws.fails("s3api", "delete-object", *named, "--version-id", version)
    aws("s3api", "put-object-legal-hold", *named, "--legal-hold", "Status=OFF")
    until = tomorrow().strftime("%Y-%m-%dT%H:%M:%SZ")
    retention = json.dumps({"Mode": "GOVERNANCE", "RetainUntilDate": until})
    aws("s3api", "put-object-retention", *named, "--retention", retention)
    assert aws.json("get-object-retention", *named)["Retention"]["Mode"] == "GOVERNANCE"
    assert "AccessDenied" in aws.fails("s3api", "delete-object", *named, "--version-id", version)
    bypass = ("--version-id", version, "--bypass-governance-retention")
    aws("s3api", "delete-object", *named, *bypass)
    assert "404" in aws.fails("s3api", "head-object", *named)
