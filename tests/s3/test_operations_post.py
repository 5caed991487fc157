"""Browsers' forms: fields, policy, file, and where the browser goes then."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

import pytest

from objstore.auth.keys import ANONYMOUS
from tests.s3 import forms
from tests.s3.harness import S3, Reply, backend, checksum

__all__ = ["backend"]

DATA = b"\xff\xd8 a picture \r\n--not the boundary\r\n" * 50
ANY: list[Any] = [{"bucket": "bucket"}, ["starts-with", "$key", ""]]


@pytest.fixture
def s3() -> S3:
    server = S3()
    server("PUT", "/bucket")
    return server


def now_s(s3: S3) -> float:
    return s3.clock.now_ns() / 1e9


def post(
    s3: S3,
    fields: dict[str, str] | None = None,
    data: bytes | None = DATA,
    *,
    conditions: list[Any] | None = None,
    encoded: str | None = None,
    bucket: str = "bucket",
    **how: Any,
) -> Reply:
    """A form with these fields and a policy that names all of them, or has `conditions`."""
    given = {"key": "key", **(fields or {})}
    if conditions is None:
        conditions = [*ANY, *(["starts-with", f"${name}", ""] for name in given if name != "key")]
    given["policy"] = forms.policy(conditions, now_s(s3) + 60) if encoded is None else encoded
    body = forms.encode(given, data, **how)
    return s3("POST", f"/{bucket}", body, headers=forms.HEADERS)


def test_a_form(s3: S3) -> None:
    fields = {
        "Content-Type": "image/jpeg",
        "Cache-Control": "max-age=1",
        "x-amz-meta-from": "a form",
        "tagging": "<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>",
        "x-amz-storage-class": "STANDARD_IA",
        "acl": "private",
        "x-ignore-this": "x",
    }
    reply = post(s3, fields)
    assert (reply.status, reply.body) == (204, b"")
    assert reply.etag == hashlib.md5(DATA).hexdigest()
    assert reply.headers["location"] == "http://localhost:9000/bucket/key"
    got = s3("GET", "/bucket/key")
    assert (got.body, got.headers["content-type"]) == (DATA, "image/jpeg")
    assert got.headers["cache-control"] == "max-age=1"
    assert got.headers["x-amz-meta-from"] == "a form"
    assert got.headers["x-amz-storage-class"] == "STANDARD_IA"
    assert s3("GET", "/bucket/key", query="tagging").text("TagSet/Tag/Value") == "b"


@pytest.mark.parametrize("data", [b"", b"x", b"\r\n", b"-" * 100_000])
@pytest.mark.parametrize("every", [False, True])
def test_files_of_any_size_whatever_the_fields_carry(s3: S3, data: bytes, every: bool) -> None:
    """Some clients put a file name on every field."""
    assert post(s3, data=data, every_has_a_file_name=every).status == 204
    assert s3("GET", "/bucket/key").body == data


@pytest.mark.parametrize(
    ("key", "file_name", "made"),
    [
        ("${filename}", "cat.jpg", "cat.jpg"),
        ("user/${filename}.bak", "C:\\photos\\cat.jpg", "user/cat.jpg.bak"),
        ("user/${filename}", "/home/me/cat.jpg", "user/cat.jpg"),
        ("${filename}", "é ü.jpg", "é ü.jpg"),
    ],
)
def test_the_name_of_the_file_in_the_key(s3: S3, key: str, file_name: str, made: str) -> None:
    assert post(s3, {"key": key}, file_name=file_name).status == 204
    assert s3("GET", "/bucket").texts("Contents/Key") == [made]


@pytest.mark.parametrize(
    ("asked", "status"), [("200", 200), ("201", 201), ("204", 204), ("302", 204), ("x", 204)]
)
def test_the_status_that_is_asked_for(s3: S3, asked: str, status: int) -> None:
    reply = post(s3, {"success_action_status": asked, "key": "a b"})
    assert reply.status == status
    if status == 201:
        assert reply.text("Location") == "http://localhost:9000/bucket/a%20b"
        assert (reply.text("Bucket"), reply.text("Key")) == ("bucket", "a b")
        assert reply.text("ETag") == f'"{hashlib.md5(DATA).hexdigest()}"'


@pytest.mark.parametrize("name", ["success_action_redirect", "redirect"])
def test_where_the_browser_goes(s3: S3, name: str) -> None:
    reply = post(s3, {name: "https://app.example.com/done?a=b", "key": "ü"})
    assert reply.status == 303
    etag = f"%22{hashlib.md5(DATA).hexdigest()}%22"
    target = f"https://app.example.com/done?a=b&bucket=bucket&key=%C3%BC&etag={etag}"
    assert reply.headers["location"] == target
    script = post(s3, {name: "javascript:alert(1)"})
    assert (script.status, "location" in script.headers) == (204, True)
    assert not script.headers["location"].startswith("javascript")


def test_a_bucket_by_its_host(s3: S3) -> None:
    fields = {"key": "key", "policy": forms.policy(ANY, now_s(s3) + 60)}
    body = forms.encode(fields, DATA)
    reply = s3("POST", "/", body, headers=forms.HEADERS, host="bucket.localhost:9000")
    assert reply.status == 204
    assert reply.headers["location"] == "http://bucket.localhost:9000/key"


def test_what_comes_behind_the_file_is_ignored(s3: S3) -> None:
    assert post(s3, behind={"key": "other", "x-amz-meta-a": "b"}).status == 204
    got = s3("GET", "/bucket/key")
    assert (got.body, "x-amz-meta-a" in got.headers) == (DATA, False)


def test_checksums_and_encryption(s3: S3) -> None:
    fields = {
        "x-amz-server-side-encryption": "AES256",
        "x-amz-checksum-sha256": checksum("SHA256", DATA),
    }
    reply = post(s3, fields)
    assert (reply.status, reply.headers["x-amz-server-side-encryption"]) == (204, "AES256")
    assert s3("GET", "/bucket/key").body == DATA
    wrong = post(s3, {"x-amz-checksum-sha256": checksum("SHA256", b"other"), "key": "other"})
    assert (wrong.status, wrong.code) == (400, "BadDigest")
    assert s3("HEAD", "/bucket/other").status == 404


# --- the policy ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("conditions", "fields"),
    [
        ([["eq", "$key", "key"]], {}),
        ([{"key": "key"}], {}),
        ([["starts-with", "$key", "k"]], {}),
        ([["EQ", "$Key", "key"]], {}),
        ([{"key": "key"}, {"x-amz-meta-a": "b"}], {"x-amz-meta-a": "b"}),
        ([{"key": "key"}, {"bucket": "bucket"}], {"x-ignore-a": "b"}),
        ([{"key": "key"}, ["content-length-range", 0, len(DATA)]], {}),
        ([{"key": "key"}, ["content-length-range", str(len(DATA)), "9999999"]], {}),
    ],
)
def test_forms_that_keep_to_it(s3: S3, conditions: list[Any], fields: dict[str, str]) -> None:
    assert post(s3, fields, conditions=conditions).status == 204


@pytest.mark.parametrize(
    ("conditions", "fields", "status", "code"),
    [
        ([], {}, 403, "AccessDenied"),
        ([["eq", "$key", "other"]], {}, 403, "AccessDenied"),
        ([["starts-with", "$key", "x"]], {}, 403, "AccessDenied"),
        ([{"key": "key"}, {"bucket": "other"}], {}, 403, "AccessDenied"),
        ([{"key": "key"}], {"x-amz-meta-a": "b"}, 403, "AccessDenied"),
        ([{"key": "key"}, {"x-amz-meta-a": "b"}], {}, 403, "AccessDenied"),
        ([{"key": "key"}, ["content-length-range", 0, 10]], {}, 400, "EntityTooLarge"),
        ([{"key": "key"}, ["content-length-range", 10**6, 10**7]], {}, 400, "EntityTooSmall"),
        ([{"key": 1}], {}, 400, "InvalidPolicyDocument"),
        ([["eq", "key", "key"]], {}, 400, "InvalidPolicyDocument"),
        ([["in", "$key", "key"]], {}, 400, "InvalidPolicyDocument"),
        ([["eq", "$key"]], {}, 400, "InvalidPolicyDocument"),
        ([[1, "$key", "key"]], {}, 400, "InvalidPolicyDocument"),
        (["key"], {}, 400, "InvalidPolicyDocument"),
        ([["content-length-range", -1, 10]], {}, 400, "InvalidPolicyDocument"),
        ([["content-length-range", True, 10]], {}, 400, "InvalidPolicyDocument"),
        ([["content-length-range", 0, 10**30]], {}, 400, "InvalidPolicyDocument"),
    ],
)
def test_forms_that_do_not(
    s3: S3, conditions: list[Any], fields: dict[str, str], status: int, code: str
) -> None:
    reply = post(s3, fields, conditions=conditions)
    assert (reply.status, reply.code) == (status, code)
    assert s3("HEAD", "/bucket/key").status == 404


@pytest.mark.parametrize(
    "encoded",
    [
        "!",
        base64.b64encode(b"{").decode(),
        base64.b64encode(b"[]").decode(),
        base64.b64encode(b"\xff").decode(),
        base64.b64encode(b'{"conditions": []}').decode(),
        base64.b64encode(b'{"expiration": "2100-01-01T00:00:00Z"}').decode(),
        base64.b64encode(b'{"expiration": "soon", "conditions": []}').decode(),
        base64.b64encode(b'{"expiration": 1, "conditions": []}').decode(),
        base64.b64encode(b'{"expiration": "2100-01-01T00:00:00Z", "conditions": {}}').decode(),
        base64.b64encode(b"[" * 100_000).decode()[:20_000],
    ],
)
def test_policies_that_are_none(s3: S3, encoded: str) -> None:
    reply = post(s3, encoded=encoded)
    assert (reply.status, reply.code) == (400, "InvalidPolicyDocument")


def test_a_policy_that_has_ended(s3: S3) -> None:
    reply = post(s3, encoded=forms.policy(ANY, now_s(s3)))
    assert (reply.status, reply.code) == (403, "AccessDenied")
    assert "expired" in (reply.text("Message") or "")


def test_nobody_signed_it(s3: S3) -> None:
    s3.authenticator.identity = ANONYMOUS
    assert post(s3).code == "AccessDenied"


# --- bodies that are no forms -------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "headers", "status", "code"),
    [
        (b"data", {}, 412, "PreconditionFailed"),
        (b"a=b", {"content-type": "application/x-www-form-urlencoded"}, 412, "PreconditionFailed"),
        (b"", {"content-type": "multipart/form-data"}, 412, "PreconditionFailed"),
        (b"data", forms.HEADERS, 400, "MalformedPOSTRequest"),
        (b"", forms.HEADERS, 400, "MalformedPOSTRequest"),
        (forms.encode({"key": "k"}, DATA)[:-60], forms.HEADERS, 403, "AccessDenied"),
        (forms.encode({"key": "k"}, None), forms.HEADERS, 400, "InvalidArgument"),
        (
            forms.encode({"key": "k" * 30_000}, DATA),
            forms.HEADERS,
            400,
            "MaxPostPreDataLengthExceededError",
        ),
    ],
)
def test_bad_bodies(s3: S3, body: bytes, headers: dict[str, str], status: int, code: str) -> None:
    if code == "AccessDenied":
        s3.authenticator.identity = ANONYMOUS
    reply = s3("POST", "/bucket", body, headers=headers)
    assert (reply.status, reply.code) == (status, code)


def test_a_form_without_an_end(s3: S3) -> None:
    fields = {"key": "key", "policy": forms.policy(ANY, now_s(s3) + 60)}
    body = forms.encode(fields, DATA)[:-20]
    reply = s3("POST", "/bucket", body, headers=forms.HEADERS)
    assert (reply.status, reply.code) == (400, "MalformedPOSTRequest")
    assert s3("HEAD", "/bucket/key").status == 404


@pytest.mark.parametrize(
    ("fields", "status", "code"),
    [
        ({"key": ""}, 400, "UserKeyMustBeSpecified"),
        ({"key": "k" * 1025}, 400, "KeyTooLongError"),
        ({"x-amz-storage-class": "GOLD"}, 400, "InvalidStorageClass"),
        ({"tagging": "a=b"}, 400, "MalformedXML"),
        ({"acl": "public-read"}, 400, "AccessControlListNotSupported"),
        ({"x-amz-meta-a": "b\r\nset-cookie: c"}, 400, "InvalidArgument"),
        ({"content-type": "a\nb"}, 400, "InvalidArgument"),
        ({"x-amz-meta-a\x00b": "c"}, 400, "InvalidArgument"),
        ({"x-amz-server-side-encryption": "rot13"}, 400, "InvalidArgument"),
        ({"x-amz-website-redirect-location": "x"}, 400, "InvalidRedirectLocation"),
        ({"x-amz-write-offset-bytes": "x"}, 501, "NotImplemented"),
        ({"x-amz-write-offset-bytes": "0"}, 501, "NotImplemented"),
    ],
)
def test_bad_fields(s3: S3, fields: dict[str, str], status: int, code: str) -> None:
    reply = post(s3, fields)
    assert (reply.status, reply.code) == (status, code)
    assert s3("GET", "/bucket").texts("Contents/Key") == []


def test_no_key_and_no_bucket(s3: S3) -> None:
    body = forms.encode({"policy": forms.policy([], now_s(s3) + 60)}, DATA)
    reply = s3("POST", "/bucket", body, headers=forms.HEADERS)
    assert (reply.status, reply.code) == (400, "InvalidArgument")
    missing = post(s3, conditions=[["starts-with", "$key", ""]], bucket="missing")
    assert (missing.status, missing.code) == (404, "NoSuchBucket")
