"""What S3 refuses, with the code that clients act on."""

from __future__ import annotations

import datetime
import urllib.error
import urllib.request
from typing import Any

import pytest
from botocore import UNSIGNED

from tests.clients.endpoint import Endpoint, shift_signing_clock
from tests.clients.errors import refused


def test_an_error_document_says_enough(s3: Any, bucket: str) -> None:
    with refused(404, "NoSuchKey") as refusal:
        s3.get_object(Bucket=bucket, Key="absent")
    assert refusal.error["Message"] == "The specified key does not exist."
    assert refusal.error["Key"] == "absent"
    assert refusal.headers["content-type"] == "application/xml"
    meta = refusal.response["ResponseMetadata"]
    assert meta["RequestId"] == refusal.headers["x-amz-request-id"]
    assert meta["HostId"] == refusal.headers["x-amz-id-2"]


def test_every_answer_has_a_request_id_of_its_own(s3: Any, bucket: str) -> None:
    ids = {s3.head_bucket(Bucket=bucket)["ResponseMetadata"]["RequestId"] for _ in range(5)}
    assert len(ids) == 5


# Who asks


def test_a_wrong_secret(endpoint: Endpoint, bucket: str) -> None:
    wrong = endpoint.client(secret_key="not the secret")
    with refused(403, "SignatureDoesNotMatch"):
        wrong.list_objects_v2(Bucket=bucket)
    with refused(403, "SignatureDoesNotMatch"):
        wrong.put_object(Bucket=bucket, Key="k", Body=b"x")


def test_an_unknown_key(endpoint: Endpoint, bucket: str) -> None:
    with refused(403, "InvalidAccessKeyId") as refusal:
        endpoint.client(access_key="NOBODY").list_objects_v2(Bucket=bucket)
    assert refusal.error["AWSAccessKeyId"] == "NOBODY"


def test_nobody(endpoint: Endpoint, s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"secret")
    anonymous = endpoint.client(signature_version=UNSIGNED)
    for call in (
        anonymous.list_buckets,
        lambda: anonymous.list_objects_v2(Bucket=bucket),
        lambda: anonymous.get_object(Bucket=bucket, Key="k"),
        lambda: anonymous.put_object(Bucket=bucket, Key="k", Body=b"x"),
        lambda: anonymous.delete_object(Bucket=bucket, Key="k"),
    ):
        with refused(403, "AccessDenied"):
            call()
    with refused(404, "NoSuchBucket"):
        anonymous.get_object(Bucket="not-there-at-all", Key="k")
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"secret"


def test_another_region(endpoint: Endpoint, bucket: str) -> None:
    s3 = endpoint.client(region="eu-central-1")
    refusals: list[dict[str, str]] = []

    def note(parsed_response: dict[str, Any], **_: Any) -> None:
        if "Error" in parsed_response:
            refusals.append(parsed_response["Error"])

    s3.meta.events.register("response-received.s3.ListObjectsV2", note)
    s3.list_objects_v2(Bucket=bucket)  # botocore reads the right region from the error
    [error] = refusals
    assert (error["Code"], error["Region"]) == ("AuthorizationHeaderMalformed", endpoint.region)


@pytest.mark.parametrize("minutes", [-16, 16, -60 * 24, 60 * 24])
def test_a_clock_that_is_off(
    s3: Any, bucket: str, monkeypatch: pytest.MonkeyPatch, minutes: int
) -> None:
    shift_signing_clock(monkeypatch, datetime.timedelta(minutes=minutes))
    with refused(403, "RequestTimeTooSkewed") as refusal:
        s3.list_objects_v2(Bucket=bucket)
    assert refusal.error["ServerTime"]


@pytest.mark.parametrize("minutes", [-14, 14])
def test_a_clock_that_is_nearly_right(
    s3: Any, bucket: str, monkeypatch: pytest.MonkeyPatch, minutes: int
) -> None:
    shift_signing_clock(monkeypatch, datetime.timedelta(minutes=minutes))
    s3.list_objects_v2(Bucket=bucket)


@pytest.mark.parametrize("header", ["x-amz-date", "host", "x-amz-content-sha256"])
def test_a_signed_header_changed_on_the_way(endpoint: Endpoint, bucket: str, header: str) -> None:
    s3 = endpoint.client()

    def change(request: Any, **_: Any) -> None:
        sent = request.headers.get("x-amz-date")
        date = sent.decode() if isinstance(sent, bytes) else sent
        value = {
            "x-amz-date": date[:-2] + ("1Z" if date[-2:] != "1Z" else "2Z"),
            "host": "elsewhere.example",
            "x-amz-content-sha256": "0" * 64,
        }
        del request.headers[header]
        request.headers[header] = value[header]

    s3.meta.events.register("before-send.s3.PutObject", change)
    with refused(403, "SignatureDoesNotMatch"):
        s3.put_object(Bucket=bucket, Key="k", Body=b"x")


def test_a_body_changed_on_the_way(endpoint: Endpoint, bucket: str) -> None:
    s3 = endpoint.client(request_checksum_calculation="when_required")

    def change(request: Any, **_: Any) -> None:
        request.body = b"y" * len(b"xxxx")

    s3.meta.events.register("before-send.s3.PutObject", change)
    with refused(400, "XAmzContentSHA256Mismatch"):
        s3.put_object(Bucket=bucket, Key="k", Body=b"xxxx")
    with refused(404, "NoSuchKey"):
        s3.get_object(Bucket=bucket, Key="k")


# XML

DELETE = (
    '<Delete xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Object><Key>k</Key></Object></Delete>'
)
BOMB = (
    '<!DOCTYPE Delete [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>'
    "<Delete><Object><Key>&b;</Key></Object></Delete>"
)
OUTSIDE = (
    '<!DOCTYPE Delete [<!ENTITY f SYSTEM "file:///etc/hostname">]>'
    "<Delete><Object><Key>&f;</Key></Object></Delete>"
)


def _delete_with_body(endpoint: Endpoint, bucket: str, body: bytes) -> Any:
    s3 = endpoint.client()

    def replace(params: dict[str, Any], **_: Any) -> None:
        params["body"] = body  # before the checksum and the signature are made

    s3.meta.events.register("before-call.s3.DeleteObjects", replace)
    return s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "k"}]})


@pytest.mark.parametrize("declared", [False, True])
def test_delete_takes_xml_with_and_without_declaration(
    endpoint: Endpoint, s3: Any, bucket: str, declared: bool
) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"")
    body = ('<?xml version="1.0" encoding="UTF-8"?>\n' if declared else "") + DELETE
    answer = _delete_with_body(endpoint, bucket, body.encode())
    assert [entry["Key"] for entry in answer["Deleted"]] == ["k"]
    assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 0


@pytest.mark.parametrize(
    "body",
    [
        "",
        "no xml at all",
        DELETE[:-3],
        DELETE + "<more/>",
        DELETE.replace("Delete", "Remove"),
        "<Delete></Delete>",
        "<Delete><Object></Object></Delete>",
        "<!DOCTYPE Delete>" + DELETE,
        BOMB,
        OUTSIDE,
        DELETE.replace(">k<", ">&undefined;<"),
        DELETE.replace(">k<", ">\x01<"),
    ],
)
def test_malformed_xml(endpoint: Endpoint, s3: Any, bucket: str, body: str) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"kept")
    with refused(400, "MalformedXML"):
        _delete_with_body(endpoint, bucket, body.encode())
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"kept"


def test_xml_that_is_not_utf_8(endpoint: Endpoint, bucket: str) -> None:
    with refused(400, "MalformedXML"):
        _delete_with_body(endpoint, bucket, DELETE.encode().replace(b">k<", b">\xff\xfe<"))


def test_xml_that_is_too_large(endpoint: Endpoint, bucket: str) -> None:
    body = DELETE.encode().replace(b">k<", b">" + b"k" * 3 * 1024 * 1024 + b"<")
    with refused(400, "MalformedXML", "MaxMessageLengthExceeded", "EntityTooLarge"):
        _delete_with_body(endpoint, bucket, body)


# What is not there, and what nobody knows


def test_unknown_queries_never_reach_the_plain_operation(
    endpoint: Endpoint, s3: Any, bucket: str
) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"kept")

    def send(method: str, path: str) -> int:
        """Presign an operation of this method, with a query that no operation has."""
        operation = {
            ("GET", "k"): "get_object",
            ("PUT", "k"): "put_object",
            ("DELETE", "k"): "delete_object",
            ("HEAD", "k"): "head_object",
            ("GET", ""): "list_objects_v2",
            ("DELETE", ""): "delete_bucket",
            ("PUT", ""): "create_bucket",
            ("HEAD", ""): "head_bucket",
        }[method, path]
        signer = endpoint.client()
        signer.meta.events.register("before-sign.s3", _add_unknown_query)
        arguments = {"Bucket": bucket} | ({"Key": path} if path else {})
        url = signer.generate_presigned_url(operation, Params=arguments)
        assert "nobody-knows-this" in url
        request = urllib.request.Request(url, method=method)
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(request, data=b"new" if method == "PUT" and path else None)
        return int(caught.value.code)

    for path in ("k", ""):
        for method in ("GET", "PUT", "DELETE", "HEAD"):
            assert send(method, path) == 501, (method, path)
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"kept"


def _add_unknown_query(request: Any, **_: Any) -> None:
    request.url += ("&" if "?" in request.url else "?") + "nobody-knows-this"
