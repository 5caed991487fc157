"""PutObject, GetObject, HeadObject, DeleteObject: bodies, headers, ranges, conditions."""

from __future__ import annotations

import base64
import hashlib

import pytest

from objstore.config import MAX_PUT_BYTES
from objstore.model import ObjectAttributes
from objstore.s3.checksums import ALGORITHMS
from tests.s3.harness import S3, Reply, backend, checksum, chunked, md5_header  # noqa: F401

DATA = bytes(range(256)) * 20
ETAG = hashlib.md5(DATA).hexdigest()


@pytest.fixture
def s3() -> S3:
    server = S3()
    server("PUT", "/bucket")
    return server


def test_put_then_get(s3: S3) -> None:
    put = s3("PUT", "/bucket/a key/ünï", DATA)
    assert (put.status, put.etag, put.body) == (200, ETAG, b"")
    got = s3("GET", "/bucket/a key/ünï")
    assert (got.status, got.body, got.etag) == (200, DATA, ETAG)
    assert got.headers["content-length"] == str(len(DATA))
    assert got.headers["content-type"] == "binary/octet-stream"
    assert got.headers["accept-ranges"] == "bytes"
    assert got.headers["last-modified"] == "Tue, 14 Nov 2023 22:13:20 GMT"
    for absent in ("x-amz-storage-class", "x-amz-version-id", "x-amz-tagging-count"):
        assert absent not in got.headers
    head = s3("HEAD", "/bucket/a key/ünï")
    assert (head.status, head.headers) == (200, got.headers)


def test_virtual_hosted_style(s3: S3) -> None:
    assert s3("PUT", "/key", DATA, host="bucket.localhost:9000").status == 200
    assert s3("GET", "/bucket/key").body == DATA
    assert s3("GET", "/key", host="bucket.s3.example.com").body == DATA


def test_an_empty_object(s3: S3) -> None:
    s3("PUT", "/bucket/empty")
    got = s3("GET", "/bucket/empty")
    assert (got.status, got.body, got.headers["content-length"]) == (200, b"", "0")


def test_what_is_not_there(s3: S3) -> None:
    missing = s3("GET", "/bucket/key")
    assert (missing.status, missing.code, missing.text("Key")) == (404, "NoSuchKey", "key")
    nowhere = s3("GET", "/nowhere/key")
    assert (nowhere.status, nowhere.code) == (404, "NoSuchBucket")
    assert s3("PUT", "/nowhere/key", b"").code == "NoSuchBucket"
    assert s3("DELETE", "/nowhere/key").code == "NoSuchBucket"
    assert s3("HEAD", "/bucket/key").status == 404


def test_delete(s3: S3) -> None:
    s3("PUT", "/bucket/key", DATA)
    assert s3("DELETE", "/bucket/key").status == 204
    assert s3("GET", "/bucket/key").status == 404
    assert s3("DELETE", "/bucket/key").status == 204


def test_standard_headers_and_metadata_come_back(s3: S3) -> None:
    sent = {
        "content-type": "text/plain; charset=utf-8",
        "cache-control": "max-age=5",
        "content-disposition": 'attachment; filename="x"',
        "content-encoding": "gzip",
        "content-language": "de",
        "expires": "Thu, 01 Dec 2094 16:00:00 GMT",
        "x-amz-meta-colour": "rot",
        "x-amz-meta-name": "Zurich",
        "x-amz-storage-class": "STANDARD_IA",
        "x-amz-tagging": "a=1&b=two%20words",
    }
    assert s3("PUT", "/bucket/key", DATA, headers=sent).status == 200
    for method in ("GET", "HEAD"):
        got = s3(method, "/bucket/key").headers
        for name, value in sent.items():
            if name != "x-amz-tagging":
                assert got[name] == value
        assert got["x-amz-tagging-count"] == "2"


def test_aws_chunked_is_no_property_of_the_object(s3: S3) -> None:
    signed = {"x-amz-content-sha256": hashlib.sha256(DATA).hexdigest()}
    s3("PUT", "/bucket/a", DATA, headers={"content-encoding": "aws-chunked", **signed})
    assert "content-encoding" not in s3("HEAD", "/bucket/a").headers
    s3("PUT", "/bucket/b", DATA, headers={"content-encoding": "gzip, aws-chunked", **signed})
    assert s3("HEAD", "/bucket/b").headers["content-encoding"] == "gzip"


def test_frames_that_nobody_would_take_off_are_refused(s3: S3) -> None:
    headers = {"content-encoding": "aws-chunked", "x-amz-content-sha256": "UNSIGNED-PAYLOAD"}
    reply = s3("PUT", "/bucket/key", chunked(DATA), headers=headers)
    assert (reply.status, reply.code) == (400, "InvalidArgument")
    assert reply.text("ArgumentName") == "Content-Encoding"
    assert s3("HEAD", "/bucket/key").status == 404


def test_metadata_up_to_two_kib(s3: S3) -> None:
    assert s3("PUT", "/bucket/k", b"", headers={"x-amz-meta-a": "v" * 2047}).status == 200
    reply = s3("PUT", "/bucket/k", b"", headers={"x-amz-meta-a": "v" * 2048})
    assert (reply.status, reply.code) == (400, "MetadataTooLarge")
    assert (reply.text("Size"), reply.text("MaxSizeAllowed")) == ("2049", "2048")


def test_metadata_is_measured_in_utf_8(s3: S3) -> None:
    word = "=?UTF-8?B?" + base64.b64encode(("ö" * 500).encode()).decode() + "?="
    fits = {"x-amz-meta-a": word, "x-amz-meta-b": "v" * 1046}
    assert s3("PUT", "/bucket/k", b"", headers=fits).status == 200
    reply = s3("PUT", "/bucket/k", b"", headers={**fits, "x-amz-meta-b": "v" * 1047})
    assert (reply.code, reply.text("Size")) == ("MetadataTooLarge", "2049")


def test_metadata_beyond_ascii(s3: S3) -> None:
    """What S3 makes of bytes, and of encoded words; see `objstore.s3.metadata`."""
    sent = {"x-amz-meta-bytes": "Miniö", "x-amz-meta-word": "=?iso-8859-1?q?Mini=F6?="}
    assert s3("PUT", "/bucket/key", b"", headers=sent).status == 200
    for method in ("GET", "HEAD"):
        got = s3(method, "/bucket/key").headers
        assert got["x-amz-meta-bytes"] == "=?UTF-8?Q?Mini=C3=83=C2=B6?="
        assert got["x-amz-meta-word"] == "=?UTF-8?Q?Mini=C3=B6?="
    again = {"x-amz-meta-word": got["x-amz-meta-word"]}
    s3("PUT", "/bucket/again", b"", headers=again)
    assert s3("HEAD", "/bucket/again").headers["x-amz-meta-word"] == again["x-amz-meta-word"]
    stored = s3.store.head("bucket", "again").attributes.metadata
    assert stored == {"word": "Miniö"}


def test_a_control_character_in_an_encoded_word_is_missing_from_the_answer(s3: S3) -> None:
    sent = {"x-amz-meta-a": "=?utf-8?q?a=0D=0Ax-evil=3A_1?=", "x-amz-meta-b": "fine"}
    assert s3("PUT", "/bucket/key", b"", headers=sent).status == 200
    got = s3("GET", "/bucket/key").headers
    assert (got["x-amz-meta-b"], got["x-amz-missing-meta"]) == ("fine", "1")
    assert "x-amz-meta-a" not in got


def test_stored_values_cannot_break_a_response_apart(s3: S3) -> None:
    attributes = ObjectAttributes(
        headers={"content-type": "a\r\nx-evil: 1"},
        metadata={"no header": "x", "fine": "a\nb", "whole": "ö"},
    )
    s3.store.put("bucket", "key", b"", attributes=attributes)
    got = s3("GET", "/bucket/key").headers
    assert got["content-type"] == "a  x-evil: 1"
    assert "x-amz-meta-fine" not in got
    assert got["x-amz-meta-whole"] == "=?UTF-8?B?w7Y=?="
    assert got["x-amz-missing-meta"] == "2"


@pytest.mark.parametrize(
    ("value", "status", "code"),
    [
        ("STANDARD", 200, ""),
        ("GLACIER_IR", 200, ""),
        ("GLACIER", 501, "NotImplemented"),
        ("DEEP_ARCHIVE", 501, "NotImplemented"),
        ("standard", 400, "InvalidStorageClass"),
        ("FAST", 400, "InvalidStorageClass"),
    ],
)
def test_storage_classes(s3: S3, value: str, status: int, code: str) -> None:
    reply = s3("PUT", "/bucket/key", b"", headers={"x-amz-storage-class": value})
    assert (reply.status, reply.code) == (status, code)


@pytest.mark.parametrize(
    ("value", "code"),
    [
        ("&".join(f"k{n}=v" for n in range(11)), "BadRequest"),
        ("a=1&a=2", "InvalidArgument"),
        ("=1", "InvalidArgument"),
        ("a=%ff", "InvalidArgument"),
        ("aws:x=1", "InvalidTag"),
        ("k" * 129 + "=1", "InvalidTag"),
        ("a=" + "v" * 257, "InvalidTag"),
        ("a=%3C", "InvalidTag"),
    ],
)
def test_tags_that_s3_refuses(s3: S3, value: str, code: str) -> None:
    reply = s3("PUT", "/bucket/key", b"", headers={"x-amz-tagging": value})
    assert (reply.status, reply.code) == (400, code)
    assert s3("HEAD", "/bucket/key").status == 404


@pytest.mark.parametrize("size", [1024, 1025])
def test_the_longest_key(s3: S3, size: int) -> None:
    for key in ("k" * size, "ü" * (size // 2) + "k" * (size % 2)):
        assert len(key.encode()) == size
        reply = s3("PUT", f"/bucket/{key}", DATA)
        if size == 1024:
            assert reply.status == 200
            assert s3("GET", f"/bucket/{key}").body == DATA
        else:
            assert (reply.status, reply.code) == (400, "KeyTooLongError")
            assert reply.text("Size") == "1025"


def test_keys_of_every_byte(s3: S3) -> None:
    keys = [f"k{chr(code)}" for code in (*range(0x100), 0x7FF, 0xFFFD, 0x1F600)]
    for key in keys:
        assert s3("PUT", f"/bucket/{key}", key.encode()).status == 200
    for key in keys:
        assert s3("GET", f"/bucket/{key}").body == key.encode()


# Body lengths


def test_a_body_without_a_length(s3: S3) -> None:
    reply = s3("PUT", "/bucket/key", DATA, length=None)
    assert (reply.status, reply.code) == (411, "MissingContentLength")


def test_a_body_over_five_gib_is_refused_by_its_length(s3: S3) -> None:
    reply = s3("PUT", "/bucket/key", b"", length=MAX_PUT_BYTES + 1)
    assert (reply.status, reply.code) == (400, "EntityTooLarge")
    assert reply.text("MaxSizeAllowed") == str(MAX_PUT_BYTES)


def test_a_body_that_ends_early(s3: S3) -> None:
    reply = s3("PUT", "/bucket/key", DATA, length=len(DATA) + 1)
    assert (reply.status, reply.code) == (400, "IncompleteBody")
    assert s3("HEAD", "/bucket/key").status == 404


# Digests


def get_checksums(s3: S3, method: str = "GET", **headers: str) -> dict[str, str]:
    asked = {"x-amz-checksum-mode": "ENABLED", **headers}
    found = s3(method, "/bucket/key", headers=asked).headers
    return {k: v for k, v in found.items() if k.startswith("x-amz-checksum")}


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_checksum_in_a_header(s3: S3, algorithm: str) -> None:
    name = f"x-amz-checksum-{algorithm.lower()}"
    value = checksum(algorithm, DATA)
    put = s3("PUT", "/bucket/key", DATA, headers={name: value})
    assert (put.status, put.headers[name]) == (200, value)
    assert put.headers["x-amz-checksum-type"] == "FULL_OBJECT"
    expected = {name: value, "x-amz-checksum-type": "FULL_OBJECT"}
    assert get_checksums(s3) == get_checksums(s3, "HEAD") == expected
    assert not any(name.startswith("x-amz-checksum") for name in s3("GET", "/bucket/key").headers)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_checksum_that_is_wrong(s3: S3, algorithm: str) -> None:
    name = f"x-amz-checksum-{algorithm.lower()}"
    reply = s3("PUT", "/bucket/key", DATA, headers={name: checksum(algorithm, b"other")})
    assert (reply.status, reply.code) == (400, "BadDigest")
    assert algorithm in (reply.text("Message") or "")
    assert s3("HEAD", "/bucket/key").status == 404


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_checksum_in_a_trailer(s3: S3, algorithm: str) -> None:
    name = f"x-amz-checksum-{algorithm.lower()}"

    def put(body: bytes) -> Reply:
        return s3(
            "PUT",
            "/bucket/key",
            body,
            headers={
                "content-encoding": "aws-chunked",
                "x-amz-content-sha256": "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
                "x-amz-decoded-content-length": str(len(DATA)),
                "x-amz-sdk-checksum-algorithm": algorithm,
                "x-amz-trailer": name,
            },
        )

    assert put(chunked(DATA, {name: checksum(algorithm, DATA)})).status == 200
    assert s3("GET", "/bucket/key").body == DATA
    assert get_checksums(s3)[name] == checksum(algorithm, DATA)
    s3("DELETE", "/bucket/key")
    assert put(chunked(DATA, {name: checksum(algorithm, b"x")})).code == "BadDigest"
    assert put(chunked(DATA, {name: "nonsense"})).code == "InvalidRequest"
    assert put(chunked(DATA)).status == 400
    assert s3("HEAD", "/bucket/key").status == 404


def test_without_a_checksum_one_is_made(s3: S3) -> None:
    put = s3("PUT", "/bucket/key", DATA)
    name = "x-amz-checksum-crc64nvme"
    assert put.headers[name] == checksum("CRC64NVME", DATA)
    assert get_checksums(s3)[name] == checksum("CRC64NVME", DATA)


def test_content_md5(s3: S3) -> None:
    assert s3("PUT", "/bucket/key", DATA, headers={"content-md5": md5_header(DATA)}).status == 200
    bad = s3("PUT", "/bucket/other", DATA, headers={"content-md5": md5_header(b"x")})
    assert (bad.status, bad.code) == (400, "BadDigest")
    assert bad.text("CalculatedDigest") == md5_header(DATA)
    for value in ("nonsense", "", "AAAA"):
        reply = s3("PUT", "/bucket/other", DATA, headers={"content-md5": value})
        assert (reply.status, reply.code) == (400, "InvalidDigest")
    assert s3("HEAD", "/bucket/other").status == 404


def test_the_signed_payload_hash(s3: S3) -> None:
    name = "x-amz-content-sha256"
    good = hashlib.sha256(DATA).hexdigest()
    assert s3("PUT", "/bucket/key", DATA, headers={name: good}).status == 200
    bad = s3("PUT", "/bucket/other", DATA, headers={name: hashlib.sha256(b"").hexdigest()})
    assert (bad.status, bad.code) == (400, "XAmzContentSHA256Mismatch")
    assert bad.text("S3ComputedContentSHA256") == good


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({"x-amz-checksum-crc32": "AAAAAA==", "x-amz-checksum-sha1": "x"}, 400, "InvalidRequest"),
        ({"x-amz-checksum-crc32": "AAAAAAAA"}, 400, "InvalidRequest"),
        ({"x-amz-checksum-crc32": "?"}, 400, "InvalidRequest"),
        ({"x-amz-sdk-checksum-algorithm": "CRC32"}, 400, "InvalidRequest"),
        (
            {"x-amz-sdk-checksum-algorithm": "CRC32C", "x-amz-checksum-crc32": "AAAAAA=="},
            400,
            "InvalidRequest",
        ),
        ({"x-amz-sdk-checksum-algorithm": "CRC7"}, 400, "InvalidRequest"),
        ({"x-amz-checksum-sha512": "AAAA"}, 400, "InvalidRequest"),
        ({"x-amz-checksum-xxhash128": "AAAAAAAAAAA="}, 400, "InvalidRequest"),
        (
            {"x-amz-checksum-md5": "AAAAAAAAAAAAAAAAAAAAAA==", "x-amz-checksum-crc32": "AAAAAA=="},
            400,
            "InvalidRequest",
        ),
        ({"x-amz-trailer": "x-something"}, 400, "InvalidRequest"),
    ],
)
def test_checksum_headers_that_make_no_sense(
    s3: S3, headers: dict[str, str], status: int, code: str
) -> None:
    reply = s3("PUT", "/bucket/key", DATA, headers=headers)
    assert (reply.status, reply.code) == (status, code)
    assert s3("HEAD", "/bucket/key").status == 404


# Ranges


@pytest.mark.parametrize(
    ("value", "first", "last"),
    [
        ("bytes=0-99", 0, 99),
        ("bytes=0-0", 0, 0),
        ("bytes=100-", 100, 5119),
        ("bytes=-1", 5119, 5119),
        ("bytes=-99999", 0, 5119),
        ("bytes=0-", 0, 5119),
        ("bytes=5000-99999", 5000, 5119),
        ("bytes=0-99999999999999999999999", 0, 5119),
        ("bytes=-99999999999999999999999", 0, 5119),
        ("Bytes = 1-2", 1, 2),
    ],
)
def test_a_range(s3: S3, value: str, first: int, last: int) -> None:
    s3("PUT", "/bucket/key", DATA)
    got = s3("GET", "/bucket/key", headers={"range": value})
    assert got.status == 206
    assert got.body == DATA[first : last + 1]
    assert got.headers["content-range"] == f"bytes {first}-{last}/5120"
    head = s3("HEAD", "/bucket/key", headers={"range": value})
    assert (head.status, head.headers) == (206, got.headers)


@pytest.mark.parametrize(
    "value",
    ["bytes=0-1,5-6", "bytes=", "bytes=-", "bytes=2-1", "lines=0-1", "0-1", "bytes=a-b", "bytes=1"],
)
def test_a_range_that_is_ignored(s3: S3, value: str) -> None:
    s3("PUT", "/bucket/key", DATA)
    got = s3("GET", "/bucket/key", headers={"range": value})
    assert (got.status, got.body) == (200, DATA)
    assert "content-range" not in got.headers


@pytest.mark.parametrize(
    "value",
    ["bytes=5120-", "bytes=99999-100000", "bytes=-0", "bytes=99999999999999999999999-"],
)
def test_a_range_past_the_end(s3: S3, value: str) -> None:
    s3("PUT", "/bucket/key", DATA)
    got = s3("GET", "/bucket/key", headers={"range": value})
    assert (got.status, got.code) == (416, "InvalidRange")
    assert (got.text("ActualObjectSize"), got.text("RangeRequested")) == ("5120", value)
    assert got.headers["content-range"] == "bytes */5120"
    assert s3("HEAD", "/bucket/key", headers={"range": value}).status == 416


def test_of_nothing_there_is_no_range(s3: S3) -> None:
    s3("PUT", "/bucket/empty")
    for value in ("bytes=0-", "bytes=-1"):
        assert s3("GET", "/bucket/empty", headers={"range": value}).status == 416


def test_a_part_of_the_object_comes_without_its_checksum(s3: S3) -> None:
    s3("PUT", "/bucket/key", DATA)
    assert get_checksums(s3, range="bytes=0-5") == {}


def test_if_range(s3: S3) -> None:
    s3("PUT", "/bucket/key", DATA)
    for current in (f'"{ETAG}"', "Tue, 14 Nov 2023 22:13:20 GMT"):
        asked = {"range": "bytes=0-9", "if-range": current}
        assert s3("GET", "/bucket/key", headers=asked).body == DATA[:10]
    for stale in ('"0"', "Tue, 14 Nov 2023 22:13:19 GMT"):
        asked = {"range": "bytes=0-9", "if-range": stale}
        assert s3("GET", "/bucket/key", headers=asked).status == 200


# Conditions

NOW = "Tue, 14 Nov 2023 22:13:20 GMT"
BEFORE = "Tuesday, 14-Nov-23 22:13:19 GMT"
QUOTED = f'"{ETAG}"'


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"if-match": QUOTED}, 200),
        ({"if-match": ETAG}, 200),
        ({"if-match": "*"}, 200),
        ({"if-match": f'"0", {QUOTED}'}, 200),
        ({"if-match": '"0"'}, 412),
        ({"if-none-match": '"0"'}, 200),
        ({"if-none-match": QUOTED}, 304),
        ({"if-none-match": f"W/{QUOTED}"}, 304),
        ({"if-none-match": "*"}, 304),
        ({"if-modified-since": NOW}, 304),
        ({"if-modified-since": BEFORE}, 200),
        ({"if-modified-since": "yesterday"}, 200),
        ({"if-unmodified-since": NOW}, 200),
        ({"if-unmodified-since": BEFORE}, 412),
        ({"if-match": QUOTED, "if-unmodified-since": BEFORE}, 200),
        ({"if-none-match": '"0"', "if-modified-since": NOW}, 200),
        ({"if-none-match": QUOTED, "if-modified-since": BEFORE}, 304),
        ({"if-match": '"0"', "if-none-match": QUOTED}, 412),
    ],
)
def test_conditions_of_a_read(s3: S3, headers: dict[str, str], status: int) -> None:
    s3("PUT", "/bucket/key", DATA)
    got = s3("GET", "/bucket/key", headers=headers)
    assert got.status == status
    assert s3("HEAD", "/bucket/key", headers=headers).status == status
    if status == 304:
        assert (got.etag, got.headers["last-modified"], got.body) == (ETAG, NOW, b"")
    if status == 412:
        assert got.code == "PreconditionFailed"
        assert (got.text("Condition") or "").lower() in headers


def test_create_only_once(s3: S3) -> None:
    once = {"if-none-match": "*"}
    assert s3("PUT", "/bucket/key", b"first", headers=once).status == 200
    again = s3("PUT", "/bucket/key", b"second", headers=once)
    assert (again.status, again.code) == (412, "PreconditionFailed")
    assert again.text("Condition") == "If-None-Match"
    assert s3("GET", "/bucket/key").body == b"first"


def test_replace_only_what_one_knows(s3: S3) -> None:
    assert s3("PUT", "/bucket/key", DATA, headers={"if-match": QUOTED}).code == "NoSuchKey"
    s3("PUT", "/bucket/key", DATA)
    assert s3("PUT", "/bucket/key", b"2", headers={"if-match": QUOTED}).status == 200
    assert s3("PUT", "/bucket/key", b"3", headers={"if-match": QUOTED}).status == 412
    assert s3("GET", "/bucket/key").body == b"2"


@pytest.mark.parametrize(
    "headers",
    [
        {"if-none-match": QUOTED},
        {"if-match": "*"},
        {"if-match": '"a", "b"'},
        {"if-modified-since": NOW},
        {"if-unmodified-since": NOW},
    ],
)
def test_conditions_that_s3_does_not_take_on_a_write(s3: S3, headers: dict[str, str]) -> None:
    reply = s3("PUT", "/bucket/key", DATA, headers=headers)
    assert (reply.status, reply.code) == (501, "NotImplemented")
    assert (reply.text("Header") or "").lower() in headers
    assert s3("HEAD", "/bucket/key").status == 404


# Query parameters of a read


def test_response_headers_by_query(s3: S3) -> None:
    s3("PUT", "/bucket/key", DATA, headers={"content-type": "text/plain"})
    query = {
        "response-content-type": "text/html",
        "response-cache-control": "no-cache",
        "response-content-disposition": 'attachment; filename="ü"',
        "response-content-encoding": "identity",
        "response-content-language": "fr",
        "response-expires": NOW,
    }
    for method in ("GET", "HEAD"):
        got = s3(method, "/bucket/key", query=query)
        assert got.status == 200
        for name, value in query.items():
            assert got.headers[name.removeprefix("response-")] == value
    assert s3("GET", "/bucket/key").headers["content-type"] == "text/plain"


def test_a_line_break_in_such_a_header(s3: S3) -> None:
    s3("PUT", "/bucket/key", DATA)
    reply = s3("GET", "/bucket/key", query={"response-content-type": "a\r\nx-evil: 1"})
    assert (reply.status, reply.code) == (400, "InvalidArgument")


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_versions_of_an_unversioned_bucket(s3: S3, method: str) -> None:
    s3("PUT", "/bucket/key", DATA)
    got = s3(method, "/bucket/key", query="versionId=null")
    assert got.status == 200
    assert "x-amz-version-id" not in got.headers
    assert s3(method, "/bucket/key", query=f"versionId={'v' * 32}").status == 404
    assert s3(method, "/bucket/key", query="versionId=x").status == 400
    assert s3(method, "/bucket/key", query="versionId=").status == 400
    unknown = s3("GET", "/bucket/key", query=f"versionId={'v' * 32}")
    assert unknown.code == "NoSuchVersion"


def test_deleting_a_version(s3: S3) -> None:
    s3("PUT", "/bucket/key", DATA)
    assert s3("DELETE", "/bucket/key", query=f"versionId={'v' * 32}").status == 204
    assert s3("DELETE", "/bucket/key", query="versionId=x").code == "InvalidArgument"
    assert s3("HEAD", "/bucket/key").status == 200
    gone = s3("DELETE", "/bucket/key", query="versionId=null")
    assert (gone.status, gone.headers["x-amz-version-id"]) == (204, "null")
    assert s3("HEAD", "/bucket/key").status == 404


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_by_part_number(s3: S3, method: str) -> None:
    s3("PUT", "/bucket/key", DATA)
    got = s3(method, "/bucket/key", query="partNumber=1")
    assert (got.status, got.headers["content-range"]) == (206, "bytes 0-5119/5120")
    assert s3(method, "/bucket/key", query="partNumber=2").status == 416
    assert s3(method, "/bucket/key", query="partNumber=0").status == 400
    both = s3(method, "/bucket/key", query="partNumber=1", headers={"range": "bytes=0-1"})
    assert both.status == 400
    s3("PUT", "/bucket/empty")
    assert s3(method, "/bucket/empty", query="partNumber=1").status == 200


# Headers that are not offered


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({"x-amz-acl": "private"}, 200, ""),
        ({"x-amz-acl": "bucket-owner-full-control"}, 200, ""),
        ({"x-amz-acl": "public-read"}, 400, "AccessControlListNotSupported"),
        ({"x-amz-acl": "nonsense"}, 400, "InvalidArgument"),
        ({"x-amz-grant-full-control": "id=1"}, 400, "AccessControlListNotSupported"),
        ({"x-amz-server-side-encryption": "AES128"}, 400, "InvalidArgument"),
        ({"x-amz-server-side-encryption-customer-algorithm": "AES256"}, 400, "InvalidArgument"),
        ({"x-amz-object-lock-mode": "GOVERNANCE"}, 400, "InvalidArgument"),
        ({"x-amz-object-lock-legal-hold": "ON"}, 400, "InvalidRequest"),
        ({"x-amz-object-lock-event-hold": "ON"}, 501, "NotImplemented"),
        ({"x-amz-website-redirect-location": "x"}, 400, "InvalidRedirectLocation"),
        ({"x-amz-write-offset-bytes": "x"}, 400, "InvalidArgument"),
        ({"x-amz-rename-source": "other"}, 501, "NotImplemented"),
    ],
)
def test_headers_are_honoured_or_refused(
    s3: S3, headers: dict[str, str], status: int, code: str
) -> None:
    reply = s3("PUT", "/bucket/key", DATA, headers=headers)
    assert (reply.status, reply.code) == (status, code)
    assert s3("HEAD", "/bucket/key").status == (200 if status == 200 else 404)
    if status == 501:
        assert reply.text("Header") == next(iter(headers))


def test_a_copy_source_on_what_is_no_copy(s3: S3) -> None:
    s3("PUT", "/bucket/key", DATA)
    reply = s3("GET", "/bucket/key", headers={"x-amz-copy-source": "/bucket/other"})
    assert (reply.status, reply.code) == (400, "InvalidArgument")
