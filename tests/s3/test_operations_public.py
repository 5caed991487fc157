"""Policies and public access: what everybody may do where everybody is allowed something."""

from __future__ import annotations

import json
from typing import Any

import pytest

from objstore.auth.keys import ANONYMOUS
from objstore.s3.http import Request
from tests.s3.forms import HEADERS, encode
from tests.s3.harness import ROOT, S3, Reply, backend

__all__ = ["backend"]

BUCKET, OBJECTS = "arn:aws:s3:::bucket", "arn:aws:s3:::bucket/*"


@pytest.fixture
def s3() -> S3:
    server = S3()
    server("PUT", "/bucket")
    server("PUT", "/bucket/key", b"content")
    return server


def statement(actions: Any, resources: Any = OBJECTS, **others: Any) -> dict[str, Any]:
    return {
        "Effect": "Allow",
        "Principal": "*",
        "Action": actions,
        "Resource": resources,
        **others,
    }


def put_policy(s3: S3, *statements: Any) -> Reply:
    document = {"Version": "2012-10-17", "Statement": list(statements)}
    return s3("PUT", "/bucket", json.dumps(document).encode(), query="policy")


def open_bucket(s3: S3, *statements: Any) -> None:
    assert s3("DELETE", "/bucket", query="publicAccessBlock").status == 204
    assert put_policy(s3, *statements).status == 204


def anonymously(s3: S3, *arguments: Any, **named: Any) -> Reply:
    s3.authenticator.identity = ANONYMOUS
    try:
        return s3(*arguments, **named)
    finally:
        s3.authenticator.identity = ROOT


def test_a_new_bucket_is_blocked_and_nobody_reads_it(s3: S3) -> None:
    shown = s3("GET", "/bucket", query="publicAccessBlock")
    names = ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")
    assert [shown.text(name) for name in names] == ["true"] * 4
    refused = put_policy(s3, statement("s3:GetObject"))
    assert (refused.status, refused.code) == (403, "AccessDenied")
    assert "BlockPublicPolicy" in (refused.text("Message") or "")
    assert s3("GET", "/bucket", query="policy").code == "NoSuchBucketPolicy"
    assert s3("GET", "/bucket", query="policyStatus").code == "NoSuchBucketPolicy"
    assert anonymously(s3, "GET", "/bucket/key").code == "AccessDenied"


def test_everybody_reads_what_the_policy_says_and_nothing_else(s3: S3) -> None:
    open_bucket(s3, statement("s3:GetObject"))
    assert s3("GET", "/bucket", query="policyStatus").text("IsPublic") == "true"
    assert anonymously(s3, "GET", "/bucket/key").body == b"content"
    assert anonymously(s3, "HEAD", "/bucket/key").status == 200
    part = anonymously(s3, "GET", "/bucket/key", headers={"range": "bytes=1-2"})
    assert (part.status, part.body) == (206, b"on")
    # no key is told from one that is denied by nobody who may not list
    for method, path, query in (
        ("GET", "/bucket/other", ""),
        ("GET", "/bucket", ""),
        ("GET", "/bucket", "list-type=2"),
        ("GET", "/bucket/key", "versionId=null"),
        ("GET", "/bucket/key", "tagging"),
        ("GET", "/bucket", "policy"),
        ("GET", "/bucket", "uploads"),
        ("PUT", "/bucket/key", ""),
        ("DELETE", "/bucket/key", ""),
        ("DELETE", "/bucket", ""),
        ("POST", "/bucket/key", "uploads"),
        ("GET", "/", ""),
    ):
        refused = anonymously(s3, method, path, query=query)
        assert (refused.status, refused.code) == (403, "AccessDenied"), (method, path, query)
    assert anonymously(s3, "GET", "/missing/key").code == "NoSuchBucket"
    assert s3("DELETE", "/bucket", query="policy").status == 204
    assert anonymously(s3, "GET", "/bucket/key").status == 403


def test_who_may_list_is_told_what_is_not_there(s3: S3) -> None:
    open_bucket(s3, statement("s3:GetObject"), statement(["s3:ListBucket"], [BUCKET]))
    missing = anonymously(s3, "GET", "/bucket/other")
    assert (missing.status, missing.code) == (404, "NoSuchKey")
    for query in ("", "list-type=2"):
        listed = anonymously(s3, "GET", "/bucket", query=query)
        assert listed.texts("Contents/Key") == ["key"]
    assert anonymously(s3, "HEAD", "/bucket").status == 200


def test_prefixes_and_wildcards(s3: S3) -> None:
    open_bucket(s3, statement("s3:Get*", [f"{BUCKET}/open/*", f"{BUCKET}/?.html"]))
    for key, status in (
        ("open/a/b", 200),
        ("open/", 200),
        ("open", 403),
        ("a.html", 200),
        ("ab.html", 403),
        ("key", 403),
    ):
        s3("PUT", f"/bucket/{key}", b"x")
        assert anonymously(s3, "GET", f"/bucket/{key}").status == status, key


def test_everybody_may_write_where_that_is_allowed_and_the_owner_has_it(s3: S3) -> None:
    open_bucket(s3, statement("s3:PutObject", f"{BUCKET}/inbox/*"))
    assert anonymously(s3, "PUT", "/bucket/inbox/one", b"letter").status == 200
    assert anonymously(s3, "PUT", "/bucket/elsewhere", b"letter").status == 403
    tagged = {"x-amz-tagging": "a=b"}
    assert anonymously(s3, "PUT", "/bucket/inbox/two", b"x", headers=tagged).status == 403
    (entry,) = s3("GET", "/bucket", query={"prefix": "inbox/"}).xml.findall("Contents")
    assert entry.findtext("Owner/ID") == ROOT.id
    assert s3("GET", "/bucket/inbox/one").body == b"letter"
    content = encode({"key": "inbox/form"}, b"by form")
    assert anonymously(s3, "POST", "/bucket", content, headers=HEADERS).status == 204
    assert s3("GET", "/bucket/inbox/form").body == b"by form"
    content = encode({"key": "other"}, b"by form")
    assert anonymously(s3, "POST", "/bucket", content, headers=HEADERS).status == 403


def test_everybody_may_delete_where_that_is_allowed(s3: S3) -> None:
    open_bucket(s3, statement("s3:DeleteObject"))
    assert anonymously(s3, "DELETE", "/bucket/key").status == 204
    assert s3("GET", "/bucket/key").status == 404


def test_versions_are_another_right(s3: S3) -> None:
    enabled = b"<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>"
    s3("PUT", "/bucket", enabled, query="versioning")
    version = s3("PUT", "/bucket/key", b"second").headers["x-amz-version-id"]
    open_bucket(s3, statement("s3:GetObject"))
    query = {"versionId": version}
    assert anonymously(s3, "GET", "/bucket/key", query=query).status == 403
    assert put_policy(s3, statement("s3:GetObjectVersion")).status == 204
    assert anonymously(s3, "GET", "/bucket/key", query=query).body == b"second"
    assert anonymously(s3, "GET", "/bucket/key").status == 403


def test_the_block_closes_a_bucket_that_is_open(s3: S3) -> None:
    open_bucket(s3, statement("s3:GetObject"))
    restricted = (
        b"<PublicAccessBlockConfiguration><RestrictPublicBuckets>true</RestrictPublicBuckets>"
        b"</PublicAccessBlockConfiguration>"
    )
    assert s3("PUT", "/bucket", restricted, query="publicAccessBlock").status == 200
    assert anonymously(s3, "GET", "/bucket/key").status == 403
    assert s3("GET", "/bucket", query="publicAccessBlock").text("BlockPublicPolicy") == "false"
    nothing = b"<PublicAccessBlockConfiguration/>"
    assert s3("PUT", "/bucket", nothing, query="publicAccessBlock").status == 200
    assert anonymously(s3, "GET", "/bucket/key").status == 200
    assert s3("GET", "/bucket", query="publicAccessBlock").text("BlockPublicPolicy") == "false"
    s3("DELETE", "/bucket", query="publicAccessBlock")
    gone = s3("GET", "/bucket", query="publicAccessBlock")
    assert (gone.status, gone.code) == (404, "NoSuchPublicAccessBlockConfiguration")


def test_conditions(s3: S3) -> None:
    s3("PUT", "/bucket/open/key", b"open", headers={"x-amz-tagging": "public=yes"})
    s3("PUT", "/bucket/open/other", b"closed", headers={"x-amz-tagging": "public=no"})
    tagged = {"StringEquals": {"s3:ExistingObjectTag/public": "yes"}}
    linked = {"StringLike": {"aws:Referer": "http://mine/*"}}
    listing = {"StringEquals": {"s3:prefix": "open/"}, "NumericLessThanEquals": {"s3:max-keys": 5}}
    uploads = {"StringEquals": {"s3:RequestObjectTag/by": "form"}}
    open_bucket(
        s3,
        statement("s3:GetObject", f"{BUCKET}/open/*", Condition=tagged),
        statement("s3:GetObject", f"{BUCKET}/linked/*", Condition=linked),
        statement("s3:ListBucket", BUCKET, Condition=listing),
        statement(["s3:PutObject", "s3:PutObjectTagging"], f"{BUCKET}/in/*", Condition=uploads),
    )
    assert anonymously(s3, "GET", "/bucket/open/key").body == b"open"
    assert anonymously(s3, "GET", "/bucket/open/other").status == 403
    assert anonymously(s3, "GET", "/bucket/open/missing").status == 403
    s3("PUT", "/bucket/linked/key", b"linked")
    mine = {"referer": "http://mine/page"}
    assert anonymously(s3, "GET", "/bucket/linked/key", headers=mine).body == b"linked"
    assert anonymously(s3, "GET", "/bucket/linked/key").status == 403
    for query, status in (
        ("prefix=open/&max-keys=5", 200),
        ("prefix=open/&max-keys=6", 403),
        ("prefix=open/", 403),
        ("prefix=&max-keys=5", 403),
    ):
        assert anonymously(s3, "GET", "/bucket", query=query).status == status, query
    for tags, status in (("by=form", 200), ("by=hand", 403), ("a=b&a=c", 403)):
        put = anonymously(s3, "PUT", "/bucket/in/key", b"x", headers={"x-amz-tagging": tags})
        assert put.status == status, tags


def test_a_policy_for_some_addresses_is_not_public(s3: S3) -> None:
    near = {"IpAddress": {"aws:SourceIp": "127.0.0.0/8"}}
    assert put_policy(s3, statement("s3:GetObject", Condition=near)).status == 204
    assert s3("GET", "/bucket", query="policyStatus").text("IsPublic") == "false"
    request = Request("GET", b"/bucket/key", b"", [(b"host", b"h")], body_length=0)
    request.client_host = "127.0.0.1"
    s3.authenticator.identity = ANONYMOUS
    assert s3.run(request, b"").body == b"content"
    request.client_host = "192.0.2.1"
    assert s3.run(request, b"").status == 403


def test_requesters_who_pay_have_to_be_somebody(s3: S3) -> None:
    open_bucket(s3, statement("s3:GetObject"))
    payer = b"<RequestPaymentConfiguration><Payer>Requester</Payer></RequestPaymentConfiguration>"
    assert s3("PUT", "/bucket", payer, query="requestPayment").status == 200
    assert anonymously(s3, "GET", "/bucket/key").status == 403
    assert s3("GET", "/bucket/key").status == 200


def test_a_policy_is_given_back_as_it_was_put(s3: S3) -> None:
    s3("DELETE", "/bucket", query="publicAccessBlock")
    text = json.dumps({"Statement": statement("s3:GetObject", Sid="é")}, indent=3).encode()
    assert s3("PUT", "/bucket", text, query="policy").status == 204
    got = s3("GET", "/bucket", query="policy")
    assert got.body == text
    assert got.headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    ("change", "status", "told"),
    [
        ({"Condition": {"Sounds": {"aws:Referer": "x"}}}, 400, "Sounds"),
        ({"Effect": "Deny"}, 501, "Deny"),
        ({"Principal": {"AWS": "arn:aws:iam::123456789012:root"}}, 501, "Principal"),
        ({"NotAction": "s3:*"}, 400, "Action"),
        ({"Effect": "Perhaps"}, 400, "effect"),
        ({"Principal": "me"}, 400, "principal"),
        ({"Action": "ec2:RunInstances"}, 400, "action"),
        ({"Action": []}, 400, "action"),
        ({"Action": [1]}, 400, "action"),
        ({"Resource": "arn:aws:s3:::another/*"}, 400, "resource"),
        ({"Resource": "bucket/*"}, 400, "resource"),
        ({"Other": "x"}, 400, "Other"),
        ({"Sid": 3}, 400, "SID"),
    ],
)
def test_what_is_not_honoured_is_not_stored(
    s3: S3, change: dict[str, Any], status: int, told: str
) -> None:
    s3("DELETE", "/bucket", query="publicAccessBlock")
    refused = put_policy(s3, {**statement("s3:GetObject"), **change})
    assert refused.status == status
    assert refused.code == ("NotImplemented" if status == 501 else "MalformedPolicy")
    assert told in (refused.text("Message") or "")
    assert s3("GET", "/bucket", query="policy").status == 404


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b" {}",
        b"[]",
        b"{",
        b"{}",
        b'{"Statement": []}',
        b'{"Statement": [1]}',
        b'{"Version": "2020-01-01", "Statement": []}',
        b'{"Id": 1, "Statement": []}',
        b'{"Statement": [], "Statement": []}',
        b'{"More": 1}',
        b'{"Statement": {}}',
        b'{"Statement": {"Effect": "Allow"}}',
        b'{"Statement": {"Effect": "Allow", "Principal": {}}}',
        b'{"Statement": {"Effect": "Allow", "Principal": "*"}}',
        b'{"Statement": "\xff"}',
        b"{" + b'"Statement":{' * 5000,
        b'{"Id": "' + b"x" * 20480 + b'"}',
    ],
)
def test_what_is_no_policy_is_malformed(s3: S3, document: bytes) -> None:
    refused = s3("PUT", "/bucket", document, query="policy")
    assert (refused.status, refused.code) == (400, "MalformedPolicy")
