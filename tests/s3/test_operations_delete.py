"""DeleteObjects: one outcome a key."""

from __future__ import annotations

from xml.sax.saxutils import escape

import pytest

from tests.s3.harness import S3, Reply, backend, checksum, md5_header  # noqa: F401


@pytest.fixture
def s3() -> S3:
    server = S3()
    server("PUT", "/bucket")
    for key in ("a", "b", "c/d", "<&>"):
        server("PUT", f"/bucket/{key}", b"data")
    return server


def delete(s3: S3, body: bytes, **headers: str) -> Reply:
    given = headers or {"content-md5": md5_header(body)}
    return s3("POST", "/bucket", body, query="delete", headers=given)


def document(*keys: str, extra: str = "", namespace: str = "") -> bytes:
    objects = "".join(f"<Object><Key>{escape(key)}</Key></Object>" for key in keys)
    return f"<Delete{namespace}>{objects}{extra}</Delete>".encode()


def test_keys_there_and_not_there(s3: S3) -> None:
    namespace = ' xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'
    reply = delete(s3, document("a", "missing", "<&>", namespace=namespace))
    assert reply.status == 200
    assert reply.texts("Deleted/Key") == ["a", "missing", "<&>"]
    assert reply.texts("Error/Key") == []
    left = s3("GET", "/bucket", query="list-type=2").texts("Contents/Key")
    assert left == ["b", "c/d"]


def test_quiet_tells_only_of_errors(s3: S3) -> None:
    long_key = "k" * 1025
    reply = delete(s3, document("a", long_key, extra="<Quiet>true</Quiet>"))
    assert reply.texts("Deleted/Key") == []
    assert reply.texts("Error/Code") == ["KeyTooLongError"]
    assert s3("HEAD", "/bucket/a").status == 404


def test_versions(s3: S3) -> None:
    objects = [("a", "null"), ("b", "v" * 32), ("c/d", "short")]
    nodes = "".join(
        f"<Object><Key>{key}</Key><VersionId>{version}</VersionId></Object>"
        for key, version in objects
    )
    reply = delete(s3, f"<Delete>{nodes}</Delete>".encode())
    assert reply.texts("Deleted/Key") == ["a", "b"]
    assert reply.texts("Deleted/VersionId") == ["null", "v" * 32]
    assert reply.texts("Error/Code") == ["NoSuchVersion"]
    assert [s3("HEAD", f"/bucket/{key}").status for key, _ in objects] == [404, 200, 200]


@pytest.mark.parametrize(
    ("condition", "holds"),
    [
        ("<ETag>{etag}</ETag>", True),
        ('<ETag>"{etag}"</ETag>', True),
        ("<ETag>*</ETag>", True),
        ("<ETag>x</ETag>", False),
        ("<Size>4</Size>", True),
        ("<Size>5</Size>", False),
        ("<LastModifiedTime>{modified}</LastModifiedTime>", True),
        ("<LastModifiedTime>Wed, 12 Oct 2005 17:50:00 GMT</LastModifiedTime>", False),
        ("<LastModifiedTime>2005-10-12T17:50:00Z</LastModifiedTime>", False),
        ("<ETag>{etag}</ETag><Size>5</Size>", False),
    ],
)
def test_a_conditional_entry(s3: S3, condition: str, holds: bool) -> None:
    found = s3("HEAD", "/bucket/a")
    condition = condition.format(etag=found.etag, modified=found.headers["last-modified"])
    objects = f"<Object><Key>a</Key>{condition}</Object><Object><Key>b</Key></Object>"
    reply = delete(s3, f"<Delete>{objects}</Delete>".encode())
    assert reply.texts("Error/Code") == ([] if holds else ["PreconditionFailed"])
    assert reply.texts("Deleted/Key") == (["a", "b"] if holds else ["b"])
    assert s3("HEAD", "/bucket/a").status == (404 if holds else 200)


@pytest.mark.parametrize(
    "condition",
    ["<ETag/>", "<ETag>a,b</ETag>", "<Size>x</Size>", "<LastModifiedTime>x</LastModifiedTime>"],
)
def test_a_condition_that_is_none(s3: S3, condition: str) -> None:
    body = f"<Delete><Object><Key>a</Key>{condition}</Object></Delete>".encode()
    assert delete(s3, body).code == "MalformedXML"
    assert s3("HEAD", "/bucket/a").status == 200


@pytest.mark.parametrize(
    ("name", "value", "status"),
    [
        ("if-match", "{etag}", 204),
        ("if-match", '"{etag}"', 204),
        ("if-match", "*", 204),
        ("if-match", '"0"', 412),
        ("if-match", '"0", "1"', 501),
        ("if-match", '""', 501),
        ("x-amz-if-match-size", "4", 204),
        ("x-amz-if-match-size", "5", 412),
        ("x-amz-if-match-size", "many", 400),
        ("x-amz-if-match-last-modified-time", "{modified}", 204),
        ("x-amz-if-match-last-modified-time", "Wed, 12 Oct 2005 17:50:00 GMT", 412),
        ("x-amz-if-match-last-modified-time", "yesterday", 400),
    ],
)
def test_a_conditional_delete(s3: S3, name: str, value: str, status: int) -> None:
    found = s3("HEAD", "/bucket/a")
    value = value.format(etag=found.etag, modified=found.headers["last-modified"])
    assert s3("DELETE", "/bucket/a", headers={name: value}).status == status
    assert s3("HEAD", "/bucket/a").status == (404 if status == 204 else 200)
    missing = s3("DELETE", "/bucket/missing", headers={name: value})
    if status in (204, 412):  # If-Match asks for an object, the others need none
        status = 404 if name == "if-match" else 204
    assert missing.status == status


@pytest.mark.parametrize("name", ["x-amz-if-match-size", "x-amz-if-match-last-modified-time"])
def test_conditions_that_deletes_alone_have(s3: S3, name: str) -> None:
    assert s3("PUT", "/bucket/a", b"new", headers={name: "4"}).status == 501
    assert s3("GET", "/bucket/a").body == b"data"


def test_an_empty_key(s3: S3) -> None:
    assert delete(s3, document("", "a")).texts("Error/Code") == ["UserKeyMustBeSpecified"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<Delete/>",
        b"<Other><Object><Key>a</Key></Object></Other>",
        b"<Delete><Object/></Delete>",
        b"<Delete><Object><Key>a</Key></Object>",
        b'<!DOCTYPE x [<!ENTITY e "a">]><Delete><Object><Key>&e;</Key></Object></Delete>',
        b"<!DOCTYPE x><Delete><Object><Key>a</Key></Object></Delete>",
        b"<Delete><Object><Key>&undefined;</Key></Object></Delete>",
        b"\xff\xfe",
    ],
)
def test_malformed_documents(s3: S3, body: bytes) -> None:
    reply = delete(s3, body)
    assert (reply.status, reply.code) == (400, "MalformedXML")
    assert s3("HEAD", "/bucket/a").status == 200


@pytest.mark.parametrize(("count", "status"), [(1000, 200), (1001, 400)])
def test_a_thousand_keys_at_most(s3: S3, count: int, status: int) -> None:
    reply = delete(s3, document(*(f"k{number}" for number in range(count))))
    assert reply.status == status


def test_a_digest_is_required(s3: S3) -> None:
    body = document("a")
    missing = s3("POST", "/bucket", body, query="delete", digest=False)
    assert (missing.status, missing.code) == (400, "InvalidRequest")
    assert "Content-MD5" in (missing.text("Message") or "")
    wrong = delete(s3, body, **{"content-md5": md5_header(b"other")})
    assert wrong.code == "BadDigest"
    assert s3("HEAD", "/bucket/a").status == 200
    name = "x-amz-checksum-crc32"
    assert delete(s3, body, **{name: checksum("CRC32", b"other")}).code == "BadDigest"
    assert delete(s3, body, **{name: checksum("CRC32", body)}).status == 200
    assert s3("HEAD", "/bucket/a").status == 404


def test_no_such_bucket() -> None:
    assert delete(S3(), document("a")).code == "NoSuchBucket"
