"""Buckets through boto3."""

from __future__ import annotations

import datetime
import uuid
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.clients.errors import refused

BAD_NAMES = ["ab", "a" * 64, "Capital", "under_score", "-dash", "dot.", "two..dots", "192.168.5.4"]
BAD_NAMES += ["xn--name", "name-s3alias", "name--ol-s3"]

# Deletes of a bucket's configuration: read as DeleteBucket, any of them would destroy data.
SUBRESOURCE_DELETES = [
    "delete_bucket_cors",
    "delete_bucket_encryption",
    "delete_bucket_lifecycle",
    "delete_bucket_ownership_controls",
    "delete_bucket_policy",
    "delete_bucket_replication",
    "delete_bucket_website",
    "delete_public_access_block",
]


def test_a_bucket_from_creation_to_deletion(s3: Any) -> None:
    name = f"test-{uuid.uuid4().hex}"
    created = s3.create_bucket(Bucket=name)
    assert created["Location"] == f"/{name}"
    assert s3.head_bucket(Bucket=name)["ResponseMetadata"]["HTTPStatusCode"] == 200
    [entry] = [b for b in s3.list_buckets()["Buckets"] if b["Name"] == name]
    age = datetime.datetime.now(datetime.UTC) - entry["CreationDate"]
    assert abs(age) < datetime.timedelta(hours=1)
    assert s3.delete_bucket(Bucket=name)["ResponseMetadata"]["HTTPStatusCode"] == 204
    with refused(404, "404"):
        s3.head_bucket(Bucket=name)
    assert name not in [b["Name"] for b in s3.list_buckets()["Buckets"]]


def test_creating_ones_own_bucket_again_is_fine_in_us_east_1(s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="kept", Body=b"kept")
    s3.create_bucket(Bucket=bucket)
    assert s3.get_object(Bucket=bucket, Key="kept")["Body"].read() == b"kept"


@pytest.mark.parametrize("name", BAD_NAMES)
def test_bad_names_are_refused(s3: Any, name: str) -> None:
    with refused(400, "InvalidBucketName"):
        s3.create_bucket(Bucket=name)


@pytest.mark.parametrize("name", ["abc", "a" * 63, "1.2.3", "a-b.c-d"])
def test_names_at_the_limits_are_taken(s3: Any, name: str) -> None:
    s3.create_bucket(Bucket=name)
    s3.delete_bucket(Bucket=name)


def test_a_bucket_that_holds_objects_stays(s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"")
    with refused(409, "BucketNotEmpty"):
        s3.delete_bucket(Bucket=bucket)
    s3.delete_object(Bucket=bucket, Key="k")
    s3.delete_bucket(Bucket=bucket)


@pytest.mark.parametrize(
    "call",
    [
        lambda s3, name: s3.delete_bucket(Bucket=name),
        lambda s3, name: s3.list_objects_v2(Bucket=name),
        lambda s3, name: s3.list_objects(Bucket=name),
        lambda s3, name: s3.list_multipart_uploads(Bucket=name),
        lambda s3, name: s3.get_object(Bucket=name, Key="k"),
        lambda s3, name: s3.put_object(Bucket=name, Key="k", Body=b"v"),
        lambda s3, name: s3.delete_object(Bucket=name, Key="k"),
        lambda s3, name: s3.delete_objects(Bucket=name, Delete={"Objects": [{"Key": "k"}]}),
        lambda s3, name: s3.create_multipart_upload(Bucket=name, Key="k"),
        lambda s3, name: s3.get_bucket_location(Bucket=name),
    ],
)
def test_a_missing_bucket_is_named(s3: Any, call: Callable[[Any, str], Any]) -> None:
    name = f"missing-{uuid.uuid4().hex}"
    with refused(404, "NoSuchBucket") as refusal:
        call(s3, name)
    assert refusal.error["BucketName"] == name
    with refused(404, "404"):
        s3.head_bucket(Bucket=name)


def test_location(s3: Any, bucket: str) -> None:
    # us-east-1 is spelt as an empty constraint
    assert s3.get_bucket_location(Bucket=bucket)["LocationConstraint"] is None


def test_buckets_are_listed_in_pages(s3: Any) -> None:
    prefix = f"page-{uuid.uuid4().hex[:8]}-"
    names = sorted(f"{prefix}{number}" for number in range(7))
    for name in names:
        s3.create_bucket(Bucket=name)
    pages = list(
        s3.get_paginator("list_buckets").paginate(Prefix=prefix, PaginationConfig={"PageSize": 3})
    )
    assert [[b["Name"] for b in page["Buckets"]] for page in pages] == [
        names[:3],
        names[3:6],
        names[6:],
    ]


@pytest.mark.parametrize("call", SUBRESOURCE_DELETES)
def test_deleting_a_configuration_never_deletes_the_bucket(s3: Any, bucket: str, call: str) -> None:
    with suppress(ClientError):
        getattr(s3, call)(Bucket=bucket)
    assert s3.head_bucket(Bucket=bucket)["ResponseMetadata"]["HTTPStatusCode"] == 200
