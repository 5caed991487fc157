"""Tags of objects, versions and buckets, over the engine."""

from __future__ import annotations

import pytest

from tests.s3.harness import S3, Reply, engine_s3  # noqa: F401


def document(**tags: str) -> bytes:
    parts = "".join(f"<Tag><Key>{k}</Key><Value>{v}</Value></Tag>" for k, v in tags.items())
    return f"<Tagging><TagSet>{parts}</TagSet></Tagging>".encode()


def tags_of(reply: Reply) -> dict[str, str]:
    assert reply.status == 200
    keys, values = reply.texts("TagSet/Tag/Key"), reply.texts("TagSet/Tag/Value")
    return dict(zip(keys, values, strict=True))


def test_tags_of_an_object(s3: S3) -> None:
    before = s3("PUT", "/bucket/key", b"data", headers={"x-amz-tagging": "a=1"})
    assert tags_of(s3("GET", "/bucket/key", query="tagging")) == {"a": "1"}
    assert s3("PUT", "/bucket/key", document(b="2", c=""), query="tagging").status == 200
    assert tags_of(s3("GET", "/bucket/key", query="tagging")) == {"b": "2", "c": ""}
    got = s3("GET", "/bucket/key")
    assert (got.body, got.etag, got.headers["x-amz-tagging-count"]) == (b"data", before.etag, "2")
    for _ in range(2):
        assert s3("DELETE", "/bucket/key", query="tagging").status == 204
        assert tags_of(s3("GET", "/bucket/key", query="tagging")) == {}
    assert s3("GET", "/bucket/key").body == b"data"


def test_tags_of_each_version(s3: S3) -> None:
    enabled = b"<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>"
    s3("PUT", "/bucket", enabled, query="versioning")
    ids = [s3("PUT", "/bucket/key", b"data").headers["x-amz-version-id"] for _ in range(2)]
    for number, version_id in enumerate(ids):
        query = {"tagging": "", "versionId": version_id}
        reply = s3("PUT", "/bucket/key", document(n=str(number)), query=query)
        assert (reply.status, reply.headers["x-amz-version-id"]) == (200, version_id)
    for number, version_id in enumerate(ids):
        query = {"tagging": "", "versionId": version_id}
        assert tags_of(s3("GET", "/bucket/key", query=query)) == {"n": str(number)}
    assert tags_of(s3("GET", "/bucket/key", query="tagging")) == {"n": "1"}
    marker = s3("DELETE", "/bucket/key").headers["x-amz-version-id"]
    query = {"tagging": "", "versionId": marker}
    for method, body in (("GET", b""), ("PUT", document(a="1")), ("DELETE", b"")):
        assert s3(method, "/bucket/key", body, query=query).code == "MethodNotAllowed"
        assert s3(method, "/bucket/key", body, query="tagging").code == "NoSuchKey"


def test_tags_of_a_bucket(s3: S3) -> None:
    missing = s3("GET", "/bucket", query="tagging")
    assert (missing.status, missing.code) == (404, "NoSuchTagSet")
    many = {f"k{number}": "v" for number in range(50)}
    assert s3("PUT", "/bucket", document(**many), query="tagging").status == 204
    assert tags_of(s3("GET", "/bucket", query="tagging")) == many
    for _ in range(2):
        assert s3("DELETE", "/bucket", query="tagging").status == 204
        assert s3("GET", "/bucket", query="tagging").code == "NoSuchTagSet"
    assert s3("HEAD", "/bucket").status == 200


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "MalformedXML"),
        (b"<Tagging/>", "MalformedXML"),
        (b"<Tagging><TagSet><Tag><Key>a</Key></Tag></TagSet></Tagging>", "MalformedXML"),
        (document(**{f"k{n}": "v" for n in range(51)}), "BadRequest"),
        (document(a="v" * 257), "InvalidTag"),
        (document(**{"k" * 129: "v"}), "InvalidTag"),
        (
            b"<Tagging><TagSet>" + 2 * b"<Tag><Key>a</Key><Value/></Tag>" + b"</TagSet></Tagging>",
            "InvalidTag",
        ),
    ],
)
def test_tags_that_are_none(s3: S3, body: bytes, code: str) -> None:
    s3("PUT", "/bucket/key", b"data", headers={"x-amz-tagging": "a=1"})
    s3("PUT", "/bucket", document(b="2"), query="tagging")
    for path, kept in (("/bucket/key", {"a": "1"}), ("/bucket", {"b": "2"})):
        reply = s3("PUT", path, body, query="tagging")
        assert (reply.status, reply.code) == (400, code)
        assert tags_of(s3("GET", path, query="tagging")) == kept


def test_ten_tags_of_an_object_at_most(s3: S3) -> None:
    s3("PUT", "/bucket/key", b"data")
    eleven = document(**{f"k{n}": "v" for n in range(11)})
    assert s3("PUT", "/bucket/key", eleven, query="tagging").code == "BadRequest"
    assert tags_of(s3("GET", "/bucket/key", query="tagging")) == {}


def test_of_what_is_not_there(s3: S3) -> None:
    for path, code in (("/bucket/key", "NoSuchKey"), ("/other-bucket", "NoSuchBucket")):
        for method, body in (("GET", b""), ("PUT", document(a="1")), ("DELETE", b"")):
            reply = s3(method, path, body, query="tagging")
            assert (reply.status, reply.code) == (404, code)
