"""Policies and public access: what everybody may do where everybody is allowed something."""

from __future__ import annotations

import json
from typing import Any

import pytest

from objstore.auth.keys import ANONYMOUS
from objstore.auth.policy import Policy
from objstore.auth.public import is_public
from objstore.s3.http import Request
from objstore.s3.operations import public_access as operations
from tests.s3.forms import HEADERS, encode
from tests.s3.harness import ROOT, S3, Reply, backend

__all__ = ["backend"]

DSSE = {"x-amz-server-side-encryption": "aws:kms:dsse"}
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


def test_what_every_condition_holds_of_limits_nothing(s3: S3) -> None:
    anywhere = {"ForAllValues:StringEquals": {"aws:SourceVpc": "vpc-1"}}
    refused = put_policy(s3, statement("s3:GetObject", Condition=anywhere))
    assert (refused.status, refused.code) == (403, "AccessDenied")
    open_bucket(s3, statement("s3:GetObject", Condition=anywhere))
    assert s3("GET", "/bucket", query="policyStatus").text("IsPublic") == "true"
    assert anonymously(s3, "GET", "/bucket/key").status == 200


BLOCK = (
    b"<PublicAccessBlockConfiguration><BlockPublicPolicy>true</BlockPublicPolicy>"
    b"</PublicAccessBlockConfiguration>"
)


def test_a_block_that_comes_while_a_policy_is_judged(
    s3: S3, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert s3("DELETE", "/bucket", query="publicAccessBlock").status == 204

    def meanwhile(policy: Policy) -> bool:
        assert s3("PUT", "/bucket", BLOCK, query="publicAccessBlock").status == 200
        return is_public(policy)

    monkeypatch.setattr(operations, "is_public", meanwhile)
    aborted = put_policy(s3, statement("s3:GetObject"))
    assert (aborted.status, aborted.code) == (409, "OperationAborted")
    assert s3("GET", "/bucket", query="policy").code == "NoSuchBucketPolicy"


def form(s3: S3, fields: dict[str, str], host: str = "", **headers: str) -> Reply:
    content = encode({"key": "in/form", **fields}, b"by form")
    given = [(b"host", b"localhost"), *((k.encode(), v.encode()) for k, v in HEADERS.items())]
    given += [(name.replace("_", "-").encode(), text.encode()) for name, text in headers.items()]
    request = Request("POST", b"/bucket", b"", given, body_length=len(content), client_host=host)
    s3.authenticator.identity = ANONYMOUS
    try:
        return s3.run(request, content)
    finally:
        s3.authenticator.identity = ROOT


def tagging(value: str) -> str:
    tag = f"<Tag><Key>by</Key><Value>{value}</Value></Tag>"
    return f"<Tagging><TagSet>{tag}</TagSet></Tagging>"


@pytest.mark.parametrize(
    ("condition", "closed", "open_to"),
    [
        ({"IpAddress": {"aws:SourceIp": "192.0.2.0/24"}}, {"host": "198.51.100.1"}, "192.0.2.1"),
        ({"NotIpAddress": {"aws:SourceIp": "192.0.2.0/24"}}, {"host": "192.0.2.1"}, "198.51.100.1"),
        ({"StringLike": {"aws:Referer": "http://mine/*"}}, {}, {"referer": "http://mine/page"}),
        (
            {"StringNotLike": {"aws:Referer": "http://bad/*"}},
            {"referer": "http://bad/page"},
            {"referer": "http://mine/page"},
        ),
        ({"StringNotEquals": {"aws:UserAgent": "bad"}}, {"user_agent": "bad"}, {}),
        ({"Bool": {"aws:SecureTransport": "false"}}, None, {}),
    ],
)
def test_forms_are_judged_by_what_their_browser_says(
    s3: S3, condition: Any, closed: Any, open_to: Any
) -> None:
    open_bucket(s3, statement("s3:PutObject", Condition=condition))
    if closed is not None:
        assert form(s3, {}, **closed).status == 403
    how = {"host": open_to} if isinstance(open_to, str) else open_to
    assert form(s3, {}, **how).status == 204


def test_forms_are_judged_by_their_tags(s3: S3) -> None:
    actions = ["s3:PutObject", "s3:PutObjectTagging"]
    unlike = {"StringNotEquals": {"s3:RequestObjectTag/by": "hand = foot+1"}}
    open_bucket(s3, statement(actions, Condition=unlike))
    assert form(s3, {"tagging": tagging("hand = foot+1")}).code == "AccessDenied"
    assert form(s3, {"tagging": tagging("a form=1+2")}).status == 204
    assert s3("GET", "/bucket/in/form", query="tagging").texts("TagSet/Tag/Value") == ["a form=1+2"]
    open_bucket(s3, statement("s3:PutObject"))
    assert form(s3, {"tagging": tagging("form")}).code == "AccessDenied"
    assert form(s3, {}).status == 204


def test_nobody_chooses_the_headers_of_an_answer(s3: S3) -> None:
    open_bucket(s3, statement("s3:GetObject"))
    for method in ("GET", "HEAD"):
        query = "response-content-type=text%2Fhtml"
        refused = anonymously(s3, method, "/bucket/key", query=query)
        assert refused.status == 400
        assert method == "HEAD" or refused.code == "InvalidRequest"
    assert s3("GET", "/bucket/key", query=query).headers["content-type"] == "text/html"


def test_keys_of_kms_are_for_those_who_sign(s3: S3) -> None:
    open_bucket(s3, statement(["s3:GetObject", "s3:PutObject"]))
    kms = {"x-amz-server-side-encryption": "aws:kms"}
    assert s3("PUT", "/bucket/secret", b"secret", headers=kms).status == 200
    assert s3("PUT", "/bucket/key", b"key", headers={**kms, **DSSE}).status == 200
    for key in ("secret", "key"):
        refused = anonymously(s3, "GET", f"/bucket/{key}")
        assert (refused.status, refused.code) == (400, "InvalidArgument")
        assert anonymously(s3, "HEAD", f"/bucket/{key}").status == 400
    assert anonymously(s3, "PUT", "/bucket/new", b"x", headers=kms).code == "InvalidArgument"
    assert form(s3, kms).code == "InvalidArgument"
    rule = (
        b"<ServerSideEncryptionConfiguration><Rule><ApplyServerSideEncryptionByDefault>"
        b"<SSEAlgorithm>aws:kms</SSEAlgorithm></ApplyServerSideEncryptionByDefault></Rule>"
        b"</ServerSideEncryptionConfiguration>"
    )
    assert s3("PUT", "/bucket", rule, query="encryption").status == 200
    assert anonymously(s3, "PUT", "/bucket/new", b"x").code == "InvalidArgument"
    assert form(s3, {}).code == "InvalidArgument"
    plain = {"x-amz-server-side-encryption": "AES256"}
    assert anonymously(s3, "PUT", "/bucket/new", b"x", headers=plain).status == 200
    assert anonymously(s3, "GET", "/bucket/new").body == b"x"


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
def test_conditions_of_writes_tell_only_those_who_may_read(s3: S3, method: str) -> None:
    open_bucket(s3, statement(["s3:PutObject", "s3:DeleteObject"]))
    other = {"if-match": '"00000000000000000000000000000000"'}
    for key in ("key", "missing"):
        assert anonymously(s3, method, f"/bucket/{key}", b"", headers=other).status == 403
    open_bucket(s3, statement(["s3:PutObject", "s3:DeleteObject", "s3:GetObject"]))
    assert anonymously(s3, method, "/bucket/key", b"", headers=other).status == 412
    open_bucket(s3, statement("s3:PutObject"))
    none = {"if-none-match": "*"}  # for which S3 asks nothing besides
    assert anonymously(s3, "PUT", "/bucket/key", b"", headers=none).status == 412


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
        ({"Action": "s3:ReadObject"}, 400, "action"),
        ({"Action": ["s3:GetObject", "s3:Fetch*"]}, 400, "action"),
        ({"Action": "s3:ListBucket"}, 400, "does not apply to any resource"),
        ({"Action": "s3:GetObject", "Resource": BUCKET}, 400, "does not apply to any resource"),
        ({"Action": ["s3:GetObject", "s3:ListBucket"]}, 400, "does not apply to any resource"),
        ({"Action": "s3:PutBucketPolicy", "Resource": BUCKET}, 501, "s3:PutBucketPolicy"),
        ({"Action": ["s3:GetObject", "s3:RestoreObject"]}, 501, "s3:RestoreObject"),
        ({"Condition": {"StringNotEquals": {"aws:SauceIp": "x"}}}, 400, "aws:sauceip"),
        ({"Condition": {"StringNotEquals": {"ec2:Region": "x"}}}, 400, "ec2:region"),
        ({"Condition": {"StringNotEquals": {"s3:ExistingObjectTag": "x"}}}, 400, "condition key"),
        ({"Condition": {"StringNotEquals": {"s3:ExistingObjectTag/": "x"}}}, 400, "condition key"),
        ({"Condition": {"StringNotEquals": {"s3:prefix": "x"}}}, 400, "combination of actions"),
        ({"Condition": {"StringNotEquals": {"s3:ResourceAccount": "1"}}}, 501, "resourceaccount"),
        ({"Condition": {"ForAllValues:Null": {"aws:Referer": "true"}}}, 400, "Null"),
        (
            {"Condition": {"ForAllValues:ForAnyValue:StringEquals": {"aws:Referer": "x"}}},
            400,
            "ForAnyValue",
        ),
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


def test_a_stored_policy_that_is_none_any_more_opens_nothing(s3: S3) -> None:
    open_bucket(s3, statement("s3:GetObject"))
    stored = json.dumps({"Statement": statement("s3:GetAnything")}).encode()
    s3.store.set_bucket_setting("bucket", "policy", stored)
    assert anonymously(s3, "GET", "/bucket/key").code == "AccessDenied"
    assert s3("GET", "/bucket", query="policyStatus").text("IsPublic") == "false"
    assert s3("GET", "/bucket", query="policy").body == stored


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
