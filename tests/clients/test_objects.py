"""Objects through boto3: bytes, headers, ranges, conditions, copies, deletes."""

from __future__ import annotations

import datetime
import hashlib
import io
import random
from collections.abc import Callable
from typing import Any

import pytest

from tests.clients.errors import refused

KIB = 1024
MIB = 1024 * KIB
SIZES = [0, 1, 511, 512, 513, 128 * KIB - 1, 128 * KIB, 128 * KIB + 1, MIB, MIB + 1, 9 * MIB + 7]
TEXT = b"0123456789"
A_DAY = datetime.timedelta(days=1)


def status(answer: Any) -> int:
    return int(answer["ResponseMetadata"]["HTTPStatusCode"])


@pytest.mark.parametrize("size_bytes", SIZES)
def test_bytes_come_back(s3: Any, bucket: str, seed: int, size_bytes: int) -> None:
    body = random.Random(seed).randbytes(size_bytes)
    etag = f'"{hashlib.md5(body).hexdigest()}"'
    assert s3.put_object(Bucket=bucket, Key="k", Body=body)["ETag"] == etag
    got = s3.get_object(Bucket=bucket, Key="k")
    assert got["ETag"] == etag
    assert got["ContentLength"] == size_bytes
    assert got["ContentType"] == "binary/octet-stream"
    assert got["AcceptRanges"] == "bytes"
    assert got["Body"].read() == body
    head = s3.head_object(Bucket=bucket, Key="k")
    assert (head["ETag"], head["ContentLength"]) == (etag, size_bytes)
    assert head["LastModified"] == got["LastModified"]


def test_the_last_write_wins(s3: Any, bucket: str, seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(20):
        body = rng.randbytes(rng.choice([0, 10, 300 * KIB]))
        s3.put_object(Bucket=bucket, Key="k", Body=body)
        assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == body


def test_headers_and_metadata_come_back(s3: Any, bucket: str) -> None:
    given = {
        "CacheControl": "max-age=60, private",
        "ContentDisposition": 'attachment; filename="a b.txt"',
        "ContentEncoding": "gzip",
        "ContentLanguage": "de-CH",
        "ContentType": "text/plain; charset=utf-8",
    }
    expires = datetime.datetime(2031, 5, 6, 7, 8, 9, tzinfo=datetime.UTC)
    metadata = {"colour": "blue", "with-dash": "two  words", "empty": ""}
    s3.put_object(Bucket=bucket, Key="k", Body=TEXT, Expires=expires, Metadata=metadata, **given)
    for got in (s3.get_object(Bucket=bucket, Key="k"), s3.head_object(Bucket=bucket, Key="k")):
        assert {name: got[name] for name in given} == given
        assert got["ExpiresString"] == "Tue, 06 May 2031 07:08:09 GMT"
        assert got["Metadata"] == metadata


def test_aws_chunked_is_not_part_of_the_content_encoding(s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=TEXT, ContentEncoding="aws-chunked,br")
    assert s3.head_object(Bucket=bucket, Key="k")["ContentEncoding"] == "br"


def test_a_reader_may_override_headers(s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=TEXT, ContentType="text/plain")
    got = s3.get_object(
        Bucket=bucket,
        Key="k",
        ResponseContentType="application/x-other",
        ResponseContentDisposition="inline",
        ResponseCacheControl="no-store",
        ResponseContentLanguage="fr",
        ResponseContentEncoding="identity",
    )
    assert got["ContentType"] == "application/x-other"
    assert got["ContentDisposition"] == "inline"
    assert got["CacheControl"] == "no-store"
    assert got["ContentLanguage"] == "fr"
    assert got["ContentEncoding"] == "identity"


def test_metadata_has_a_limit(s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"", Metadata={"n": "x" * (2 * KIB - 1)})
    with refused(400, "MetadataTooLarge"):
        s3.put_object(Bucket=bucket, Key="k", Body=b"", Metadata={"n": "x" * 2 * KIB})


def test_storage_classes_are_kept_and_bad_ones_refused(s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="ia", Body=b"", StorageClass="STANDARD_IA")
    s3.put_object(Bucket=bucket, Key="std", Body=b"", StorageClass="STANDARD")
    assert s3.head_object(Bucket=bucket, Key="ia")["StorageClass"] == "STANDARD_IA"
    assert "StorageClass" not in s3.head_object(Bucket=bucket, Key="std")
    listed = s3.list_objects_v2(Bucket=bucket)["Contents"]
    assert [entry["StorageClass"] for entry in listed] == ["STANDARD_IA", "STANDARD"]
    with refused(400, "InvalidStorageClass"):
        s3.put_object(Bucket=bucket, Key="bad", Body=b"", StorageClass="CUPBOARD")


# Ranges


@pytest.mark.parametrize(
    ("header", "first", "last"),
    [
        ("bytes=0-0", 0, 0),
        ("bytes=0-3", 0, 3),
        ("bytes=3-", 3, 9),
        ("bytes=9-9", 9, 9),
        ("bytes=4-400", 4, 9),
        ("bytes=-1", 9, 9),
        ("bytes=-4", 6, 9),
        ("bytes=-400", 0, 9),
    ],
)
def test_ranges(s3: Any, bucket: str, header: str, first: int, last: int) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=TEXT)
    got = s3.get_object(Bucket=bucket, Key="k", Range=header)
    assert got["Body"].read() == TEXT[first : last + 1]
    assert status(got) == 206
    assert got["ContentRange"] == f"bytes {first}-{last}/10"
    assert got["ContentLength"] == last + 1 - first
    head = s3.head_object(Bucket=bucket, Key="k", Range=header)
    assert (status(head), head["ContentLength"]) == (206, last + 1 - first)


@pytest.mark.parametrize("header", ["bytes=10-", "bytes=10-20", "bytes=-0"])
def test_ranges_past_the_end(s3: Any, bucket: str, header: str) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=TEXT)
    with refused(416, "InvalidRange") as refusal:
        s3.get_object(Bucket=bucket, Key="k", Range=header)
    assert refusal.error["ActualObjectSize"] == "10"


@pytest.mark.parametrize("header", ["bytes=5-2", "bytes=a-b", "lines=1-2", "bytes=0-1,3-4"])
def test_ranges_that_s3_ignores(s3: Any, bucket: str, header: str) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=TEXT)
    got = s3.get_object(Bucket=bucket, Key="k", Range=header)
    assert (status(got), got["Body"].read()) == (200, TEXT)


def test_ranges_of_a_large_object(s3: Any, bucket: str, seed: int) -> None:
    rng = random.Random(seed)
    body = rng.randbytes(5 * MIB + 3)
    s3.put_object(Bucket=bucket, Key="k", Body=body)
    for _ in range(30):
        first = rng.randrange(len(body))
        last = min(len(body) - 1, first + rng.choice([0, 1, 4095, 65536, MIB, 4 * MIB]))
        got = s3.get_object(Bucket=bucket, Key="k", Range=f"bytes={first}-{last}")["Body"].read()
        assert got == body[first : last + 1]


# Conditions.  {now} is the object's own Last-Modified.


@pytest.mark.parametrize(
    ("conditions", "outcome"),
    [
        ({"IfMatch": "{etag}"}, 200),
        ({"IfMatch": "*"}, 200),
        ({"IfMatch": '"other", {etag}'}, 200),
        ({"IfMatch": '"other"'}, 412),
        ({"IfNoneMatch": '"other"'}, 200),
        ({"IfNoneMatch": "{etag}"}, 304),
        ({"IfNoneMatch": "*"}, 304),
        ({"IfModifiedSince": -A_DAY}, 200),
        ({"IfModifiedSince": datetime.timedelta()}, 304),
        ({"IfUnmodifiedSince": datetime.timedelta()}, 200),
        ({"IfUnmodifiedSince": -A_DAY}, 412),
        # RFC 9110: an ETag condition decides, and its date twin is not looked at
        ({"IfMatch": "{etag}", "IfUnmodifiedSince": -A_DAY}, 200),
        ({"IfNoneMatch": "{etag}", "IfModifiedSince": -A_DAY}, 304),
        ({"IfNoneMatch": '"other"', "IfModifiedSince": datetime.timedelta()}, 200),
    ],
)
def test_conditional_reads(s3: Any, bucket: str, conditions: dict[str, Any], outcome: int) -> None:
    etag = s3.put_object(Bucket=bucket, Key="k", Body=TEXT)["ETag"]
    modified = s3.head_object(Bucket=bucket, Key="k")["LastModified"]
    filled = {
        name: value.format(etag=etag) if isinstance(value, str) else modified + value
        for name, value in conditions.items()
    }
    if outcome == 200:
        assert s3.get_object(Bucket=bucket, Key="k", **filled)["Body"].read() == TEXT
        assert status(s3.head_object(Bucket=bucket, Key="k", **filled)) == 200
        return
    with refused(outcome, "PreconditionFailed" if outcome == 412 else "304") as refusal:
        s3.get_object(Bucket=bucket, Key="k", **filled)
    if outcome == 304:
        assert refusal.headers["etag"] == etag
    with refused(outcome, str(outcome)):
        s3.head_object(Bucket=bucket, Key="k", **filled)


def test_create_only_if_absent(s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"first", IfNoneMatch="*")
    with refused(412, "PreconditionFailed"):
        s3.put_object(Bucket=bucket, Key="k", Body=b"second", IfNoneMatch="*")
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"first"


@pytest.mark.parametrize("size_bytes", [10, 300 * KIB])
def test_replace_only_if_unchanged(s3: Any, bucket: str, size_bytes: int) -> None:
    etag = s3.put_object(Bucket=bucket, Key="k", Body=b"first")["ETag"]
    body = b"n" * size_bytes
    newer = s3.put_object(Bucket=bucket, Key="k", Body=body, IfMatch=etag)["ETag"]
    with refused(412, "PreconditionFailed"):
        s3.put_object(Bucket=bucket, Key="k", Body=b"late", IfMatch=etag)
    assert s3.head_object(Bucket=bucket, Key="k")["ETag"] == newer
    with refused(404, "NoSuchKey"):
        s3.put_object(Bucket=bucket, Key="absent", Body=b"", IfMatch=etag)


# Copies


@pytest.mark.parametrize("key", ["plain", "a b+c%2Fd?e&f=g", "ünï/☃/😀", "x" * 1024])
@pytest.mark.parametrize("size_bytes", [0, 100, 3 * MIB])
def test_copy_keeps_bytes_and_metadata(
    s3: Any, make_bucket: Callable[[], str], key: str, size_bytes: int
) -> None:
    source, target = make_bucket(), make_bucket()
    body = b"\xa5" * size_bytes
    put = s3.put_object(
        Bucket=source, Key=key, Body=body, Metadata={"a": "1"}, ContentType="text/x"
    )
    copied = s3.copy_object(Bucket=target, Key="copy", CopySource={"Bucket": source, "Key": key})
    assert copied["CopyObjectResult"]["ETag"] == put["ETag"]
    s3.delete_object(Bucket=source, Key=key)
    got = s3.get_object(Bucket=target, Key="copy")
    assert got["Body"].read() == body
    assert (got["Metadata"], got["ContentType"]) == ({"a": "1"}, "text/x")


def test_copy_replaces_metadata_when_told_to(s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=TEXT, Metadata={"a": "1"}, ContentType="text/x")
    source = {"Bucket": bucket, "Key": "k"}
    with refused(400, "InvalidRequest"):  # a copy onto itself has to change something
        s3.copy_object(Bucket=bucket, Key="k", CopySource=source)
    s3.copy_object(
        Bucket=bucket, Key="k", CopySource=source, MetadataDirective="REPLACE", Metadata={"b": "2"}
    )
    got = s3.get_object(Bucket=bucket, Key="k")
    assert (got["Body"].read(), got["Metadata"]) == (TEXT, {"b": "2"})
    assert got["ContentType"] == "binary/octet-stream"


def test_copy_conditions(s3: Any, bucket: str) -> None:
    etag = s3.put_object(Bucket=bucket, Key="k", Body=TEXT)["ETag"]
    modified = s3.head_object(Bucket=bucket, Key="k")["LastModified"]
    call = {"Bucket": bucket, "Key": "copy", "CopySource": {"Bucket": bucket, "Key": "k"}}
    for failing in (
        {"CopySourceIfMatch": '"other"'},
        {"CopySourceIfNoneMatch": etag},
        {"CopySourceIfModifiedSince": modified},
        {"CopySourceIfUnmodifiedSince": modified - A_DAY},
    ):
        with refused(412, "PreconditionFailed"):
            s3.copy_object(**call, **failing)
    s3.copy_object(**call, CopySourceIfMatch=etag, CopySourceIfUnmodifiedSince=modified - A_DAY)
    assert s3.get_object(Bucket=bucket, Key="copy")["Body"].read() == TEXT


def test_copy_of_what_is_not_there(s3: Any, bucket: str) -> None:
    with refused(404, "NoSuchKey"):
        s3.copy_object(Bucket=bucket, Key="c", CopySource={"Bucket": bucket, "Key": "absent"})
    with refused(404, "NoSuchBucket"):
        s3.copy_object(Bucket=bucket, Key="c", CopySource={"Bucket": "not-there-9", "Key": "k"})


# Deletes


def test_delete_is_idempotent(s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=TEXT)
    assert status(s3.delete_object(Bucket=bucket, Key="k")) == 204
    assert status(s3.delete_object(Bucket=bucket, Key="k")) == 204
    with refused(404, "NoSuchKey") as refusal:
        s3.get_object(Bucket=bucket, Key="k")
    assert refusal.error["Key"] == "k"
    with refused(404, "404"):
        s3.head_object(Bucket=bucket, Key="k")


def test_delete_many(s3: Any, bucket: str) -> None:
    keys = [f"k{number}" for number in range(20)]
    for key in keys:
        s3.put_object(Bucket=bucket, Key=key, Body=b"")
    wanted = [{"Key": key} for key in [*keys[:10], "absent"]]
    answer = s3.delete_objects(Bucket=bucket, Delete={"Objects": wanted})
    assert {entry["Key"] for entry in answer["Deleted"]} == {*keys[:10], "absent"}
    assert "Errors" not in answer
    quiet = s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "k10"}], "Quiet": True})
    assert "Deleted" not in quiet
    assert [e["Key"] for e in s3.list_objects_v2(Bucket=bucket)["Contents"]] == keys[11:]


def test_delete_a_thousand_and_one_more(s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="k999", Body=b"")
    objects = [{"Key": f"k{number}"} for number in range(1001)]
    with refused(400, "MalformedXML"):
        s3.delete_objects(Bucket=bucket, Delete={"Objects": objects})
    assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 1
    answer = s3.delete_objects(Bucket=bucket, Delete={"Objects": objects[:1000]})
    assert len(answer["Deleted"]) == 1000
    assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 0


def test_a_stream_of_unknown_kind_is_uploaded(s3: Any, bucket: str, seed: int) -> None:
    body = random.Random(seed).randbytes(2 * MIB)
    s3.upload_fileobj(io.BytesIO(body), bucket, "k", ExtraArgs={"ContentType": "text/x"})
    into = io.BytesIO()
    s3.download_fileobj(bucket, "k", into)
    assert into.getvalue() == body
