"""Buckets: create, head, list, delete, location, versioning."""

from __future__ import annotations

import pytest

from objstore.auth.keys import ANONYMOUS
from tests.s3.harness import OTHER, ROOT, S3, backend  # noqa: F401

CONFIGURATION = (
    b'<CreateBucketConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
    b"<LocationConstraint>%b</LocationConstraint></CreateBucketConfiguration>"
)


def test_create_head_delete() -> None:
    s3 = S3()
    made = s3("PUT", "/bucket")
    assert (made.status, made.headers["location"], made.body) == (200, "/bucket", b"")
    found = s3("HEAD", "/bucket")
    assert (found.status, found.headers["x-amz-bucket-region"]) == (200, "us-east-1")
    assert s3("DELETE", "/bucket").status == 204
    assert s3("HEAD", "/bucket").status == 404
    gone = s3("DELETE", "/bucket")
    assert (gone.status, gone.code) == (404, "NoSuchBucket")
    assert gone.text("BucketName") == "bucket"


def test_every_response_carries_the_ids() -> None:
    reply = S3()("GET", "/nowhere", query="list-type=2")
    assert reply.headers["x-amz-request-id"] == reply.text("RequestId") == "0123456789ABCDEF"
    assert reply.headers["x-amz-id-2"] == reply.text("HostId")
    assert reply.headers["server"] == "objstore"
    assert reply.text("Resource") == "/nowhere"


def test_an_error_to_a_head_request_has_no_body() -> None:
    s3 = S3()
    reply = s3("HEAD", "/nowhere")
    assert (reply.status, reply.body, reply.headers["content-length"]) == (404, b"", "0")


def test_making_ones_own_bucket_again_is_fine_in_us_east_1_only() -> None:
    s3 = S3()
    s3("PUT", "/bucket")
    s3("PUT", "/bucket/key", b"kept")
    assert s3("PUT", "/bucket").status == 200
    assert s3("GET", "/bucket/key").body == b"kept"
    elsewhere = S3(region="eu-west-3")
    body = CONFIGURATION % b"eu-west-3"
    assert elsewhere("PUT", "/bucket", body).status == 200
    again = elsewhere("PUT", "/bucket", body)
    assert (again.status, again.code) == (409, "BucketAlreadyOwnedByYou")


def test_somebody_elses_bucket() -> None:
    s3 = S3()
    s3("PUT", "/bucket")
    s3.authenticator.identity = OTHER
    reply = s3("PUT", "/bucket")
    assert (reply.status, reply.code) == (409, "BucketAlreadyExists")


@pytest.mark.parametrize(
    ("region", "constraint", "status"),
    [
        ("us-east-1", "us-east-1", 200),
        ("us-east-1", "", 200),
        ("us-east-1", "eu-west-3", 400),
        ("eu-west-3", "eu-west-3", 200),
        ("eu-west-3", "", 400),
        ("eu-west-3", "us-east-1", 400),
    ],
)
def test_location_constraints(region: str, constraint: str, status: int) -> None:
    reply = S3(region=region)("PUT", "/bucket", CONFIGURATION % constraint.encode())
    assert reply.status == status
    if status == 400:
        assert reply.code == "IllegalLocationConstraintException"
        assert (constraint or "unspecified") in (reply.text("Message") or "")


@pytest.mark.parametrize("body", [b"<a/>", b"not xml", b"<!DOCTYPE a><CreateBucketConfiguration/>"])
def test_a_body_that_is_no_configuration(body: bytes) -> None:
    reply = S3()("PUT", "/bucket", body)
    assert (reply.status, reply.code) == (400, "MalformedXML")


def test_tags_of_a_new_bucket_are_refused_and_not_dropped() -> None:
    s3 = S3()
    body = b"<CreateBucketConfiguration><Tags/></CreateBucketConfiguration>"
    assert s3("PUT", "/bucket", body).status == 501
    assert s3("HEAD", "/bucket").status == 404


@pytest.mark.parametrize("name", ["ab", "Bucket", "a..b", "1.2.3.4", "-ab", "a_b", "x" * 64])
def test_names_that_no_bucket_can_have(name: str) -> None:
    reply = S3()("PUT", f"/{name}")
    assert (reply.status, reply.code, reply.text("BucketName")) == (
        400,
        "InvalidBucketName",
        name,
    )


def test_a_bucket_that_is_not_empty() -> None:
    s3 = S3()
    s3("PUT", "/bucket")
    s3("PUT", "/bucket/key", b"")
    reply = s3("DELETE", "/bucket")
    assert (reply.status, reply.code) == (409, "BucketNotEmpty")


def test_location_and_versioning() -> None:
    s3 = S3()
    s3("PUT", "/bucket")
    assert s3("GET", "/bucket", query="location").xml.text is None
    versioning = s3("GET", "/bucket", query="versioning").xml
    assert (versioning.tag, list(versioning)) == ("VersioningConfiguration", [])
    assert s3("GET", "/nowhere", query="versioning").code == "NoSuchBucket"
    elsewhere = S3(region="eu-west-3")
    elsewhere("PUT", "/bucket", CONFIGURATION % b"eu-west-3")
    assert elsewhere("GET", "/bucket", query="location").xml.text == "eu-west-3"


def test_listing_buckets() -> None:
    s3 = S3()
    for name in ("charlie", "alpha", "bravo"):
        s3("PUT", f"/{name}")
    reply = s3("GET", "/")
    assert reply.texts("Buckets/Bucket/Name") == ["alpha", "bravo", "charlie"]
    assert reply.texts("Buckets/Bucket/CreationDate") == ["2023-11-14T22:13:20.000Z"] * 3
    assert reply.text("Owner/ID") == ROOT.id
    assert reply.text("ContinuationToken") is None


def test_listing_buckets_in_pages() -> None:
    s3 = S3()
    names = [f"bucket-{number}" for number in range(5)]
    for name in [*names, "other"]:
        s3("PUT", f"/{name}")
    found: list[str] = []
    query = {"max-buckets": "2", "prefix": "bucket-"}
    while True:
        reply = s3("GET", "/", query=query)
        page = reply.texts("Buckets/Bucket/Name")
        assert len(page) <= 2
        assert reply.text("Prefix") == "bucket-"
        found += page
        token = reply.text("ContinuationToken")
        if token is None:
            break
        query["continuation-token"] = token
    assert found == names


def test_listing_buckets_of_a_region() -> None:
    s3 = S3()
    s3("PUT", "/bucket")
    assert s3("GET", "/", query="bucket-region=us-east-1").texts("Buckets/Bucket/Name")
    assert not s3("GET", "/", query="bucket-region=eu-west-3").texts("Buckets/Bucket/Name")


@pytest.mark.parametrize("value", ["0", "10001", "-1", "x", "1.0"])
def test_max_buckets_out_of_bounds(value: str) -> None:
    reply = S3()("GET", "/", query={"max-buckets": value})
    assert (reply.status, reply.code) == (400, "InvalidArgument")
    assert reply.text("ArgumentName") == "max-buckets"


def test_nothing_is_public() -> None:
    s3 = S3()
    s3("PUT", "/bucket")
    s3("PUT", "/bucket/key", b"secret")
    s3.authenticator.identity = ANONYMOUS
    for method, path in (("GET", "/"), ("GET", "/bucket"), ("GET", "/bucket/key")):
        reply = s3(method, path)
        assert (reply.status, reply.code) == (403, "AccessDenied")
    assert s3("DELETE", "/bucket", query="policy").status == 403


def test_the_expected_owner_is_compared() -> None:
    s3 = S3()
    s3("PUT", "/bucket")
    s3("PUT", "/bucket/key", b"data")
    header = "x-amz-expected-bucket-owner"
    assert s3("GET", "/bucket/key", headers={header: ROOT.id}).status == 200
    for method in ("GET", "DELETE", "PUT"):
        reply = s3(method, "/bucket/key", headers={header: "1" * 12})
        assert (reply.status, reply.code) == (403, "AccessDenied")
    assert s3("GET", "/bucket/key").body == b"data"


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({"x-amz-acl": "private"}, 200, ""),
        ({"x-amz-acl": "public-read"}, 400, "InvalidBucketAclWithObjectOwnership"),
        ({"x-amz-grant-read": "id=1"}, 400, "InvalidBucketAclWithObjectOwnership"),
        ({"x-amz-bucket-object-lock-enabled": "false"}, 200, ""),
        ({"x-amz-bucket-object-lock-enabled": "true"}, 200, ""),
        ({"x-amz-object-ownership": "BucketOwnerEnforced"}, 200, ""),
        ({"x-amz-object-ownership": "ObjectWriter"}, 501, "NotImplemented"),
        ({"x-amz-bucket-namespace": "account-regional"}, 501, "NotImplemented"),
    ],
)
def test_settings_of_a_new_bucket(headers: dict[str, str], status: int, code: str) -> None:
    s3 = S3()
    reply = s3("PUT", "/bucket", headers=headers)
    assert (reply.status, reply.code) == (status, code)
    assert s3("HEAD", "/bucket").status == (200 if status == 200 else 404)
