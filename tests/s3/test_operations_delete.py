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


def test_a_conditional_entry_is_refused_and_not_done(s3: S3) -> None:
    reply = delete(s3, b"<Delete><Object><Key>a</Key><ETag>x</ETag></Object></Delete>")
    assert reply.texts("Error/Code") == ["NotImplemented"]
    assert s3("HEAD", "/bucket/a").status == 200


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
    missing = delete(s3, body, **{"content-type": "application/xml"})
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
