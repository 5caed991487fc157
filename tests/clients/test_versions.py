"""Versions through boto3."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError


@pytest.fixture
def versioned(s3: Any, bucket: str) -> str:
    enabled = {"Status": "Enabled"}
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration=enabled)
    assert s3.get_bucket_versioning(Bucket=bucket)["Status"] == "Enabled"
    return bucket


def test_an_object_is_brought_back(s3: Any, versioned: str) -> None:
    first = s3.put_object(Bucket=versioned, Key="key", Body=b"first")["VersionId"]
    second = s3.put_object(Bucket=versioned, Key="key", Body=b"second")["VersionId"]
    marker = s3.delete_object(Bucket=versioned, Key="key")
    assert marker["DeleteMarker"] is True
    with pytest.raises(ClientError, match="NoSuchKey"):
        s3.get_object(Bucket=versioned, Key="key")
    old = s3.get_object(Bucket=versioned, Key="key", VersionId=first)
    assert (old["Body"].read(), old["VersionId"]) == (b"first", first)
    s3.delete_object(Bucket=versioned, Key="key", VersionId=marker["VersionId"])
    assert s3.get_object(Bucket=versioned, Key="key")["Body"].read() == b"second"
    source = {"Bucket": versioned, "Key": "key", "VersionId": first}
    copied = s3.copy_object(Bucket=versioned, Key="key", CopySource=source)
    assert copied["CopySourceVersionId"] == first
    assert s3.get_object(Bucket=versioned, Key="key")["Body"].read() == b"first"
    listed = s3.list_object_versions(Bucket=versioned)["Versions"]
    assert [v["VersionId"] for v in listed] == [copied["VersionId"], second, first]
    assert [v["IsLatest"] for v in listed] == [True, False, False]


def test_all_versions_are_paged_and_deleted(s3: Any, versioned: str) -> None:
    for number in range(3):
        for key in ("a", "b", "é/ü"):
            s3.put_object(Bucket=versioned, Key=key, Body=b"%d" % number)
    s3.delete_object(Bucket=versioned, Key="b")
    pages = s3.get_paginator("list_object_versions").paginate(
        Bucket=versioned, PaginationConfig={"PageSize": 2}
    )
    found = [
        {"Key": each["Key"], "VersionId": each["VersionId"]}
        for page in pages
        for each in page.get("Versions", []) + page.get("DeleteMarkers", [])
    ]
    assert len({tuple(each.values()) for each in found}) == len(found) == 10
    with pytest.raises(ClientError, match="BucketNotEmpty"):
        s3.delete_bucket(Bucket=versioned)
    gone = s3.delete_objects(Bucket=versioned, Delete={"Objects": found})
    assert len(gone["Deleted"]) == 10
    left = s3.list_object_versions(Bucket=versioned)
    assert "Versions" not in left
    assert "DeleteMarkers" not in left
    s3.delete_bucket(Bucket=versioned)
