"""RenameObject on the wire."""

from __future__ import annotations

from urllib.parse import quote

import pytest

from tests.s3.harness import S3, Reply, backend
from tests.s3.test_operations_encryption import IDS, KINDS, carried

__all__ = ["backend"]

SOURCE = "x-amz-rename-source"
TOKEN = "x-amz-client-token"


@pytest.fixture
def s3() -> S3:
    server = S3(min_part_bytes=1)
    server("PUT", "/bucket")
    return server


def rename(s3: S3, source: str = "/bucket/a", key: str = "b", **headers: str) -> Reply:
    given = {SOURCE: source, **headers}
    return s3("PUT", f"/bucket/{key}", query="renameObject", headers=given)


@pytest.mark.parametrize("size_bytes", [0, 10, 100_000])
@pytest.mark.parametrize("how", KINDS, ids=IDS)
def test_everything_goes_along(s3: S3, size_bytes: int, how: dict[str, str]) -> None:
    data = b"d" * size_bytes
    headers = {"x-amz-meta-a": "b", "content-type": "text/x", "x-amz-tagging": "c=d", **how}
    s3("PUT", "/bucket/a", data, headers=headers)
    s3("PUT", "/bucket/b", b"replaced")
    before = s3("GET", "/bucket/a", headers=carried(how))
    s3.clock.advance(5_000_000_000)
    reply = rename(s3)
    assert (reply.status, reply.body) == (200, b"")
    after = s3("GET", "/bucket/b", headers=carried(how))
    assert (after.body, after.headers) == (before.body, before.headers)
    assert s3("GET", "/bucket/b", query="tagging").text("TagSet/Tag/Value") == "d"
    assert s3("GET", "/bucket/a").status == 404
    assert s3("GET", "/bucket").texts("Contents/Key") == ["b"]


@pytest.mark.parametrize("source", ["a b/é", "/bucket/a b/é"])
def test_the_source_is_percent_encoded(s3: S3, source: str) -> None:
    s3("PUT", "/bucket/a b/é", b"data")
    assert rename(s3, quote(source)).status == 200
    assert s3("GET", "/bucket/b").body == b"data"


def test_parts_go_along(s3: S3) -> None:
    s3("PUT", "/bucket/a", b"first")
    s3("PUT", "/bucket/a", b"second", headers={"x-amz-write-offset-bytes": "5"})
    etag = s3("HEAD", "/bucket/a").etag
    rename(s3)
    assert s3("GET", "/bucket/b", query="partNumber=2").body == b"second"
    assert s3("HEAD", "/bucket/b").etag == etag


def test_in_a_versioned_bucket(s3: S3) -> None:
    body = b"<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>"
    s3("PUT", "/bucket", body, query="versioning")
    old = s3("PUT", "/bucket/a", b"data").headers["x-amz-version-id"]
    hidden = s3("PUT", "/bucket/b", b"hidden").headers["x-amz-version-id"]
    assert rename(s3).status == 200
    assert s3("GET", "/bucket/b").body == b"data"
    assert s3("GET", "/bucket/a").headers["x-amz-delete-marker"] == "true"
    assert s3("GET", "/bucket/a", query=f"versionId={old}").body == b"data"
    assert s3("GET", "/bucket/b", query=f"versionId={hidden}").body == b"hidden"


@pytest.mark.parametrize(
    ("source", "status", "code"),
    [
        ("", 400, "InvalidArgument"),
        ("/bucket/", 400, "InvalidArgument"),
        ("%FF", 400, "InvalidArgument"),
        ("/other/a", 400, "InvalidRequest"),
        ("/bucket/b", 400, "InvalidRequest"),
        ("b", 400, "InvalidRequest"),
        ("missing", 404, "NoSuchKey"),
        ("x" * 1025, 400, "KeyTooLongError"),
    ],
)
def test_bad_sources(s3: S3, source: str, status: int, code: str) -> None:
    s3("PUT", "/bucket/a", b"data")
    s3("PUT", "/bucket/b", b"other")
    reply = rename(s3, source)
    assert (reply.status, reply.code) == (status, code)
    assert s3("GET", "/bucket/a").body == b"data"
    assert s3("GET", "/bucket/b").body == b"other"
    nowhere = s3("PUT", "/missing/b", query="renameObject", headers={SOURCE: "a"})
    assert (nowhere.status, nowhere.code) == (404, "NoSuchBucket")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"if-none-match": "*"}, 412),
        ({"if-match": '"other"'}, 412),
        ({"if-match": "*"}, 200),
        ({f"{SOURCE}-if-match": '"other"'}, 412),
        ({f"{SOURCE}-if-match": "*"}, 200),
        ({f"{SOURCE}-if-none-match": "*"}, 412),
        ({f"{SOURCE}-if-modified-since": "Fri, 01 Jan 2100 00:00:00 GMT"}, 412),
        ({f"{SOURCE}-if-unmodified-since": "Thu, 01 Jan 1970 00:00:01 GMT"}, 412),
        ({"if-modified-since": "Fri, 01 Jan 2100 00:00:00 GMT"}, 412),
        ({"if-unmodified-since": "Thu, 01 Jan 1970 00:00:01 GMT"}, 412),
    ],
)
def test_conditions(s3: S3, headers: dict[str, str], status: int) -> None:
    s3("PUT", "/bucket/a", b"data")
    s3("PUT", "/bucket/b", b"other")
    assert rename(s3, **headers).status == status
    assert s3("GET", "/bucket/b").body == (b"data" if status == 200 else b"other")
    assert s3("HEAD", "/bucket/a").status == (404 if status == 200 else 200)


def test_a_repeat_with_a_token_does_nothing(s3: S3) -> None:
    s3("PUT", "/bucket/a", b"data")
    assert rename(s3, **{TOKEN: "once"}).status == 200
    assert rename(s3, **{TOKEN: "once"}).status == 200
    assert rename(s3).status == 404
    s3("PUT", "/bucket/c", b"other")
    other = rename(s3, "c", **{TOKEN: "once"})
    assert (other.status, other.code) == (400, "IdempotencyParameterMismatch")
    assert s3("GET", "/bucket/b").body == b"data"
    s3("PUT", "/bucket/b", b"more", headers={"x-amz-write-offset-bytes": "4"})
    s3("PUT", "/bucket/a", b"new")
    assert rename(s3, **{TOKEN: "once"}).status == 200  # it was done, whatever came since
    assert s3("GET", "/bucket/b").body == b"datamore"
    for token in ("t" * 65, "a b", "é"):
        assert rename(s3, "c", **{TOKEN: token}).code == "InvalidArgument"
