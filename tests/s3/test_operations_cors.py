"""Rules for pages of other origins, what a browser asks, and what answers say."""

from __future__ import annotations

import pytest

from objstore.auth.keys import ANONYMOUS
from tests.s3.harness import S3, Reply, backend, md5_header

__all__ = ["backend"]

ORIGIN = "https://app.example.com"
ALLOW = "access-control-allow-"


@pytest.fixture
def s3() -> S3:
    server = S3()
    server("PUT", "/bucket")
    server("PUT", "/bucket/key", b"data")
    return server


def rule(
    *origins: str, methods: str = "GET", headers: str = "", expose: str = "", more: str = ""
) -> str:
    parts = [f"<AllowedOrigin>{origin}</AllowedOrigin>" for origin in origins]
    parts += [f"<AllowedMethod>{method}</AllowedMethod>" for method in methods.split()]
    parts += [f"<AllowedHeader>{name}</AllowedHeader>" for name in headers.split()]
    parts += [f"<ExposeHeader>{name}</ExposeHeader>" for name in expose.split()]
    return f"<CORSRule>{''.join(parts)}{more}</CORSRule>"


def put_cors(s3: S3, *rules: str, bucket: str = "bucket") -> Reply:
    body = f"<CORSConfiguration>{''.join(rules)}</CORSConfiguration>".encode()
    return s3("PUT", f"/{bucket}", body, query="cors", headers={"content-md5": md5_header(body)})


def ask(
    s3: S3,
    method: str | None,
    headers: str = "",
    origin: str | None = ORIGIN,
    path: str = "/bucket/key",
) -> Reply:
    """As a browser does, without credentials."""
    given = {
        "origin": origin,
        "access-control-request-method": method,
        "access-control-request-headers": headers or None,
    }
    s3.authenticator.identity = ANONYMOUS
    return s3("OPTIONS", path, headers={k: v for k, v in given.items() if v is not None})


def test_the_rules_are_kept(s3: S3) -> None:
    missing = s3("GET", "/bucket", query="cors")
    assert (missing.status, missing.code) == (404, "NoSuchCORSConfiguration")
    more = "<ID>mine</ID><MaxAgeSeconds>3000</MaxAgeSeconds>"
    first = rule(ORIGIN, "http://*.org", methods="GET PUT", headers="*", expose="ETag", more=more)
    assert put_cors(s3, first, rule("*")).status == 200
    shown = s3("GET", "/bucket", query="cors")
    assert shown.texts("CORSRule/AllowedOrigin") == [ORIGIN, "http://*.org", "*"]
    assert shown.texts("CORSRule/AllowedMethod") == ["GET", "PUT", "GET"]
    assert shown.texts("CORSRule/MaxAgeSeconds") == ["3000"]
    assert shown.texts("CORSRule/ID") == ["mine"]
    assert shown.texts("CORSRule/ExposeHeader") == ["ETag"]
    assert s3("DELETE", "/bucket", query="cors").status == 204
    assert s3("GET", "/bucket", query="cors").status == 404
    assert s3("DELETE", "/bucket", query="cors").status == 204


@pytest.mark.parametrize(
    ("rules", "code"),
    [
        ("", "MalformedXML"),
        ("<Other/>", "MalformedXML"),
        ("<CORSRule/>", "MalformedXML"),
        ("<CORSRule><AllowedOrigin>*</AllowedOrigin></CORSRule>", "MalformedXML"),
        ("<CORSRule><AllowedMethod>GET</AllowedMethod></CORSRule>", "MalformedXML"),
        (rule("*", more="<Unknown/>"), "MalformedXML"),
        (rule("*", more="<MaxAgeSeconds>x</MaxAgeSeconds>"), "MalformedXML"),
        (rule("*", more="<MaxAgeSeconds>-1</MaxAgeSeconds>"), "MalformedXML"),
        (rule("*", more="<ID>a</ID><ID>b</ID>"), "MalformedXML"),
        (rule("*", more=f"<ID>{'i' * 256}</ID>"), "MalformedXML"),
        (rule("*", methods="PATCH"), "InvalidRequest"),
        (rule("*", methods="get"), "InvalidRequest"),
        (rule("http://*.a.*"), "InvalidRequest"),
        (rule("*", headers="x-*-*"), "InvalidRequest"),
        (rule("*", expose="*"), "InvalidRequest"),
        (rule("*") * 101, "MalformedXML"),
    ],
)
def test_bad_rules(s3: S3, rules: str, code: str) -> None:
    put_cors(s3, rule("http://kept"))
    reply = put_cors(s3, rules)
    assert (reply.status, reply.code) == (400, code)
    assert s3("GET", "/bucket", query="cors").texts("CORSRule/AllowedOrigin") == ["http://kept"]
    assert put_cors(s3, rule("*"), bucket="missing").code == "NoSuchBucket"
    assert s3("GET", "/missing", query="cors").code == "NoSuchBucket"
    assert s3("DELETE", "/missing", query="cors").code == "NoSuchBucket"


def test_a_browser_asks(s3: S3) -> None:
    more = "<MaxAgeSeconds>600</MaxAgeSeconds>"
    put_cors(
        s3,
        rule("http://other"),
        rule(
            ORIGIN, methods="PUT DELETE", headers="x-amz-* content-type", expose="ETag", more=more
        ),
    )
    reply = ask(s3, "PUT", "Content-Type, X-Amz-Meta-A")
    assert (reply.status, reply.body) == (200, b"")
    assert reply.headers[f"{ALLOW}origin"] == ORIGIN
    assert reply.headers[f"{ALLOW}methods"] == "PUT, DELETE"
    assert reply.headers[f"{ALLOW}headers"] == "content-type, x-amz-meta-a"
    assert reply.headers[f"{ALLOW}credentials"] == "true"
    assert reply.headers["access-control-expose-headers"] == "ETag"
    assert reply.headers["access-control-max-age"] == "600"
    assert "Origin" in reply.headers["vary"]
    assert ask(s3, "DELETE", path="/bucket").status == 200


@pytest.mark.parametrize(
    ("method", "headers", "origin", "status", "code"),
    [
        ("PUT", "", "http://other", 403, "AccessForbidden"),
        ("POST", "", ORIGIN, 403, "AccessForbidden"),
        ("PUT", "x-other", ORIGIN, 403, "AccessForbidden"),
        ("PUT", "", None, 400, "BadRequest"),
        (None, "", ORIGIN, 400, "BadRequest"),
        ("PATCH", "", ORIGIN, 400, "BadRequest"),
    ],
)
def test_a_browser_is_refused(
    s3: S3, method: str | None, headers: str, origin: str | None, status: int, code: str
) -> None:
    put_cors(s3, rule(ORIGIN, methods="PUT", headers="content-type"))
    reply = ask(s3, method, headers, origin)
    assert (reply.status, reply.code) == (status, code)
    assert f"{ALLOW}origin" not in reply.headers


def test_a_bucket_without_rules(s3: S3) -> None:
    for path in ("/bucket/key", "/bucket", "/missing/key"):
        reply = ask(s3, "GET", path=path)
        assert (reply.status, reply.code) == (403, "AccessForbidden")
        assert "not enabled" in (reply.text("Message") or "")
        assert reply.text("ResourceType") == ("OBJECT" if path.endswith("key") else "BUCKET")


def test_answers_say_what_a_page_may_read(s3: S3) -> None:
    put_cors(s3, rule(ORIGIN, expose="ETag x-amz-version-id"))
    got = s3("GET", "/bucket/key", headers={"origin": ORIGIN})
    assert (got.status, got.body) == (200, b"data")
    assert got.headers[f"{ALLOW}origin"] == ORIGIN
    assert got.headers["access-control-expose-headers"] == "ETag, x-amz-version-id"
    missing = s3("GET", "/bucket/x", headers={"origin": ORIGIN})
    assert (missing.status, missing.headers[f"{ALLOW}origin"]) == (404, ORIGIN)
    for headers in ({}, {"origin": "http://other"}):
        assert f"{ALLOW}origin" not in s3("GET", "/bucket/key", headers=headers).headers
    put = s3("PUT", "/bucket/key", b"new", headers={"origin": ORIGIN})
    assert put.status == 200  # the browser keeps its page from reading the answer
    assert f"{ALLOW}origin" not in put.headers


def test_a_rule_for_all(s3: S3) -> None:
    put_cors(s3, rule("*", methods="GET HEAD", headers="*"))
    reply = ask(s3, "HEAD", "authorization, x-amz-date")
    assert reply.headers[f"{ALLOW}origin"] == "*"
    assert f"{ALLOW}credentials" not in reply.headers


@pytest.mark.parametrize(
    ("pattern", "origin", "is_allowed"),
    [
        ("http://*.example.com", "http://a.example.com", True),
        ("http://*.example.com", "http://example.com", False),
        ("http://*.example.com", "https://a.example.com", False),
        ("http://a*a.com", "http://a.com", False),
        ("*://a.com", "https://a.com", True),
        ("http://a.com", "http://A.com", False),
    ],
)
def test_one_wildcard(s3: S3, pattern: str, origin: str, is_allowed: bool) -> None:
    put_cors(s3, rule(pattern))
    assert ask(s3, "GET", origin=origin).status == (200 if is_allowed else 403)


def test_presigned_and_anonymous_answers_say_so_too(s3: S3) -> None:
    put_cors(s3, rule(ORIGIN))
    s3.authenticator.identity = ANONYMOUS
    denied = s3("GET", "/bucket/key", headers={"origin": ORIGIN})
    assert (denied.status, denied.headers[f"{ALLOW}origin"]) == (403, ORIGIN)
