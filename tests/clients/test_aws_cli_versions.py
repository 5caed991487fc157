"""Versions, tags, conditions and copies with the `aws` command, and what boto3 makes of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import WaiterError

from tests.clients.test_aws_cli import MIB, Aws, aws

__all__ = ["aws"]


@pytest.fixture
def versioned(aws: Aws, bucket: str) -> str:
    enabled = ("--versioning-configuration", "Status=Enabled")
    aws("s3api", "put-bucket-versioning", "--bucket", bucket, *enabled)
    assert aws.json("get-bucket-versioning", "--bucket", bucket) == {"Status": "Enabled"}
    return bucket


def put(aws: Aws, bucket: str, key: str, data: bytes, path: Path) -> str:
    """Put an object with the command; its version."""
    path.write_bytes(data)
    where = ("--bucket", bucket, "--key", key)
    return str(aws.json("put-object", *where, "--body", path).get("VersionId", ""))


def test_rm_leaves_the_versions(aws: Aws, versioned: str, tmp_path: Path) -> None:
    back = tmp_path / "back"
    first = put(aws, versioned, "dir/a", b"first", tmp_path / "a")
    put(aws, versioned, "dir/a", b"second", tmp_path / "a")
    put(aws, versioned, "dir/b", b"b", tmp_path / "b")
    aws("s3", "rm", f"s3://{versioned}/dir", "--recursive")
    assert aws("s3", "ls", f"s3://{versioned}", "--recursive") == ""
    listed = aws.json("list-object-versions", "--bucket", versioned)
    assert len(listed["Versions"]) == 3
    assert [marker["IsLatest"] for marker in listed["DeleteMarkers"]] == [True, True]
    where = ("--bucket", versioned, "--key", "dir/a")
    aws.json("get-object", *where, "--version-id", first, back)
    assert back.read_bytes() == b"first"
    marker = listed["DeleteMarkers"][0]["VersionId"]
    gone = aws.json("delete-object", *where, "--version-id", marker)
    assert gone == {"DeleteMarker": True, "VersionId": marker}
    aws.json("get-object", *where, back)
    assert back.read_bytes() == b"second"


def test_versions_come_in_pages(aws: Aws, versioned: str, tmp_path: Path) -> None:
    wanted = []
    for key in ("a", "b/c"):
        made = [put(aws, versioned, key, b"%d" % n, tmp_path / "body") for n in range(3)]
        wanted += [[key, version] for version in reversed(made)]
    list_ = ("list-object-versions", "--bucket", versioned, "--query", "Versions[].[Key,VersionId]")
    assert aws.json(*list_, "--page-size", "2") == wanted
    assert aws.json(*list_, "--max-items", "4") == wanted[:4]
    assert aws.json(*list_, "--prefix", "b/") == wanted[3:]
    folded = aws.json("list-object-versions", "--bucket", versioned, "--delimiter", "/")
    assert [each["Prefix"] for each in folded["CommonPrefixes"]] == ["b/"]


def test_tags_of_a_version(aws: Aws, versioned: str, tmp_path: Path) -> None:
    first = put(aws, versioned, "key", b"first", tmp_path / "body")
    put(aws, versioned, "key", b"second", tmp_path / "body")
    where = ("--bucket", versioned, "--key", "key")
    tags = {"TagSet": [{"Key": "state", "Value": "old one"}]}
    tagging = "TagSet=[{Key=state,Value=old one}]"
    aws.json("put-object-tagging", *where, "--version-id", first, "--tagging", tagging)
    of_first = aws.json("get-object-tagging", *where, "--version-id", first)
    assert of_first == {"VersionId": first, **tags}
    assert aws.json("get-object-tagging", *where)["TagSet"] == []
    aws.json("delete-object-tagging", *where, "--version-id", first)
    assert aws.json("get-object-tagging", *where, "--version-id", first)["TagSet"] == []


def test_a_conditional_delete(aws: Aws, bucket: str, tmp_path: Path) -> None:
    put(aws, bucket, "key", b"data", tmp_path / "body")
    where = ("--bucket", bucket, "--key", "key")
    head = aws.json("head-object", *where)
    refused = aws.fails("s3api", "delete-object", *where, "--if-match", '"' + "0" * 32 + '"')
    assert "PreconditionFailed" in refused
    assert aws.json("head-object", *where) == head
    aws.json("delete-object", *where, "--if-match", head["ETag"])
    assert "404" in aws.fails("s3api", "head-object", *where)


def test_deletes_with_what_a_listing_says(s3: Any, bucket: str) -> None:
    """boto3 sends a date of a document as an HTTP date."""
    for key in ("right", "wrong"):
        s3.put_object(Bucket=bucket, Key=key, Body=b"data")
    head = s3.head_object(Bucket=bucket, Key="right")
    same = {"ETag": head["ETag"], "LastModifiedTime": head["LastModified"]}
    entries = [{"Key": "right", "Size": 4, **same}, {"Key": "wrong", "Size": 5, **same}]
    done = s3.delete_objects(Bucket=bucket, Delete={"Objects": entries})
    assert [entry["Key"] for entry in done["Deleted"]] == ["right"]
    codes = [(entry["Key"], entry["Code"]) for entry in done["Errors"]]
    assert codes == [("wrong", "PreconditionFailed")]


def test_what_cp_takes_along(aws: Aws, s3: Any, bucket: str) -> None:
    """In one piece, what the server takes along; in parts, what the command says of the copy."""
    uri = f"s3://{bucket}"
    for key, size_bytes in (("small", 100), ("large", 9 * MIB)):
        body = b"x" * size_bytes
        s3.put_object(Bucket=bucket, Key=key, Body=body, Metadata={"a": "1"}, Tagging="t=1")
    aws("s3", "cp", f"{uri}/small", f"{uri}/copy", "--only-show-errors")
    assert s3.head_object(Bucket=bucket, Key="copy")["Metadata"] == {"a": "1"}
    tags = s3.get_object_tagging(Bucket=bucket, Key="copy")["TagSet"]
    assert tags == [{"Key": "t", "Value": "1"}]
    replaced = ("--metadata-directive", "REPLACE", "--metadata", "b=2")
    aws("s3", "cp", f"{uri}/large", f"{uri}/copy", *replaced, "--only-show-errors")
    head = s3.head_object(Bucket=bucket, Key="copy")
    assert (head["ContentLength"], head["Metadata"]) == (9 * MIB, {"b": "2"})
    assert head["ETag"].endswith('-2"')


def test_a_copy_of_a_version(aws: Aws, versioned: str, tmp_path: Path) -> None:
    first = put(aws, versioned, "key", b"first", tmp_path / "body")
    put(aws, versioned, "key", b"second", tmp_path / "body")
    where = ("--bucket", versioned, "--key")
    source = ("--copy-source", f"{versioned}/key?versionId={first}")
    replaced = ("--metadata-directive", "REPLACE", "--metadata", "b=2", "--content-type", "text/x")
    copied = aws.json("copy-object", *where, "copy", *source, *replaced)
    assert copied["CopySourceVersionId"] == first
    head = aws.json("head-object", *where, "copy")
    assert (head["Metadata"], head["ContentType"]) == ({"b": "2"}, "text/x")
    assert aws("s3", "cp", f"s3://{versioned}/copy", "-") == "first"


def test_ranges_are_copied_into_parts(aws: Aws, s3: Any, bucket: str, tmp_path: Path) -> None:
    data = bytes(range(256)) * (6 * MIB // 256)
    s3.put_object(Bucket=bucket, Key="source", Body=data)
    at = ("--bucket", bucket, "--key", "made")
    upload = ("--upload-id", aws.json("create-multipart-upload", *at)["UploadId"])
    ranges = ((1, 5 * MIB), (100, 199))
    parts = []
    for number, (first, last) in enumerate(ranges, 1):
        done = aws.json(
            "upload-part-copy", *at, *upload, "--part-number", str(number),
            "--copy-source", f"{bucket}/source", "--copy-source-range", f"bytes={first}-{last}",
        )  # fmt: skip
        etag = done["CopyPartResult"]["ETag"].strip('"')
        parts.append(f"{{PartNumber={number},ETag={etag}}}")
    chosen = f"Parts=[{','.join(parts)}]"
    aws.json("complete-multipart-upload", *at, *upload, "--multipart-upload", chosen)
    got = s3.get_object(Bucket=bucket, Key="made")["Body"].read()
    assert got == data[1 : 5 * MIB + 1] + data[100:200]
    out_of_range = s3.create_multipart_upload(Bucket=bucket, Key="made")["UploadId"]
    refused = aws.fails(
        "s3api", "upload-part-copy", *at, "--upload-id", out_of_range, "--part-number", "1",
        "--copy-source", f"{bucket}/source", "--copy-source-range", f"bytes=0-{len(data)}",
    )  # fmt: skip
    assert "InvalidArgument" in refused


def test_waiters(s3: Any, bucket: str) -> None:
    once = {"Delay": 1, "MaxAttempts": 1}
    s3.get_waiter("bucket_exists").wait(Bucket=bucket, WaiterConfig=once)
    s3.get_waiter("object_not_exists").wait(Bucket=bucket, Key="key", WaiterConfig=once)
    with pytest.raises(WaiterError):
        s3.get_waiter("object_exists").wait(Bucket=bucket, Key="key", WaiterConfig=once)
    s3.put_object(Bucket=bucket, Key="key", Body=b"data")
    s3.get_waiter("object_exists").wait(Bucket=bucket, Key="key", WaiterConfig=once)
    with pytest.raises(WaiterError):
        s3.get_waiter("object_not_exists").wait(Bucket=bucket, Key="key", WaiterConfig=once)
    gone = f"{bucket}-gone"
    s3.get_waiter("bucket_not_exists").wait(Bucket=gone, WaiterConfig=once)


def test_attributes_of_a_version(s3: Any, versioned: str) -> None:
    first = s3.put_object(
        Bucket=versioned, Key="key", Body=b"first", ChecksumAlgorithm="SHA256"
    )  # fmt: skip
    s3.put_object(Bucket=versioned, Key="key", Body=b"the second")
    asked = ["ETag", "Checksum", "ObjectSize", "StorageClass"]
    found = s3.get_object_attributes(
        Bucket=versioned, Key="key", VersionId=first["VersionId"], ObjectAttributes=asked
    )
    assert (found["VersionId"], found["ObjectSize"]) == (first["VersionId"], 5)
    assert found["ETag"] == first["ETag"].strip('"')
    assert found["Checksum"]["ChecksumSHA256"] == first["ChecksumSHA256"]
    assert found["StorageClass"] == "STANDARD"
    latest = s3.get_object_attributes(Bucket=versioned, Key="key", ObjectAttributes=["ObjectSize"])
    assert latest["ObjectSize"] == 10
    marker = s3.delete_object(Bucket=versioned, Key="key")["VersionId"]
    with pytest.raises(s3.exceptions.ClientError, match="MethodNotAllowed"):
        s3.get_object_attributes(
            Bucket=versioned, Key="key", VersionId=marker, ObjectAttributes=["ETag"]
        )
