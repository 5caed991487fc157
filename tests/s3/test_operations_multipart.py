"""Multipart uploads: parts, checksums, completion, listings."""

from __future__ import annotations

import base64
import hashlib

import pytest

from objstore.config import MAX_PART_BYTES
from objstore.s3.checksums import ALGORITHMS, digest_of
from tests.s3.harness import ROOT, S3, Reply, backend, checksum  # noqa: F401

PARTS = [b"a" * 100, b"b" * 100, b"c" * 7]
WHOLE = b"".join(PARTS)
ETAG = hashlib.md5(b"".join(hashlib.md5(part).digest() for part in PARTS)).hexdigest() + "-3"


@pytest.fixture
def s3() -> S3:
    server = S3(min_part_bytes=100)
    server("PUT", "/bucket")
    return server


def create(s3: S3, key: str = "key", **headers: str) -> str:
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    reply = s3("POST", f"/bucket/{key}", query="uploads", headers=given)
    assert reply.status == 200, reply.body
    assert (reply.text("Bucket"), reply.text("Key")) == ("bucket", key)
    return reply.text("UploadId") or ""


def upload(
    s3: S3, upload_id: str, number: int, data: bytes, key: str = "key", **headers: str
) -> Reply:
    query = {"partNumber": str(number), "uploadId": upload_id}
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    return s3("PUT", f"/bucket/{key}", data, query=query, headers=given)


def document(parts: list[tuple[int, str]], checksums: list[str] | None = None) -> bytes:
    nodes = []
    for index, (number, etag) in enumerate(parts):
        extra = checksums[index] if checksums else ""
        nodes.append(f"<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag>{extra}</Part>")
    return f"<CompleteMultipartUpload>{''.join(nodes)}</CompleteMultipartUpload>".encode()


def complete(s3: S3, upload_id: str, body: bytes, key: str = "key", **headers: str) -> Reply:
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    return s3("POST", f"/bucket/{key}", body, query={"uploadId": upload_id}, headers=given)


def upload_all(s3: S3, upload_id: str, algorithm: str = "") -> list[tuple[int, str]]:
    done = []
    for number, data in enumerate(PARTS, 1):
        headers = {}
        if algorithm:
            headers[f"x-amz-checksum-{algorithm.lower()}"] = checksum(algorithm, data)
        reply = upload(s3, upload_id, number, data, **headers)
        assert reply.status == 200, reply.body
        done.append((number, reply.etag))
    return done


def test_from_create_to_complete(s3: S3) -> None:
    upload_id = create(s3, content_type="text/plain", x_amz_meta_a="1", x_amz_tagging="t=1")
    parts = upload_all(s3, upload_id)
    assert s3("HEAD", "/bucket/key").status == 404
    done = complete(s3, upload_id, document(parts))
    assert done.status == 200
    assert done.text("ETag") == f'"{ETAG}"'
    assert done.text("Location") == "http://localhost:9000/bucket/key"
    got = s3("GET", "/bucket/key", headers={"x-amz-checksum-mode": "ENABLED"})
    assert (got.body, got.etag) == (WHOLE, ETAG)
    assert got.headers["content-type"] == "text/plain"
    assert (got.headers["x-amz-meta-a"], got.headers["x-amz-tagging-count"]) == ("1", "1")
    assert got.headers["x-amz-checksum-crc64nvme"] == checksum("CRC64NVME", WHOLE)
    assert got.headers["x-amz-checksum-type"] == "FULL_OBJECT"


def test_completing_again_gives_the_same_answer(s3: S3) -> None:
    upload_id = create(s3)
    body = document(upload_all(s3, upload_id))
    first = complete(s3, upload_id, body)
    assert complete(s3, upload_id, body).body == first.body
    assert upload(s3, upload_id, 1, b"late").code == "NoSuchUpload"


def test_completing_again_otherwise(s3: S3) -> None:
    """The upload is gone: only what was asked for then has an answer."""
    upload_id = create(s3)
    parts = upload_all(s3, upload_id)
    assert complete(s3, upload_id, document(parts)).status == 200
    wrong = [(number, '"' + "0" * 32 + '"') for number, _etag in parts]
    for other in (parts[:1], parts[1:], wrong):
        assert complete(s3, upload_id, document(other)).code == "NoSuchUpload"
    other_key = s3("POST", "/bucket/other", document(parts), query={"uploadId": upload_id})
    assert other_key.code == "NoSuchUpload"
    size = {"x-amz-write-offset-bytes": str(len(WHOLE))}
    assert s3("PUT", "/bucket/key", b"more", headers=size).status == 200
    assert complete(s3, upload_id, document(parts)).code == "NoSuchUpload"


def test_completing_again_with_versions(s3: S3) -> None:
    """The version that was made is still there, behind one that has grown out of it."""
    s3.store.set_versioning("bucket", "Enabled")
    upload_id = create(s3)
    body = document(upload_all(s3, upload_id))
    first = complete(s3, upload_id, body)
    size = {"x-amz-write-offset-bytes": str(len(WHOLE))}
    assert s3("PUT", "/bucket/key", b"more", headers=size).status == 200
    again = complete(s3, upload_id, body)
    assert again.body == first.body
    assert again.headers["x-amz-version-id"] == first.headers["x-amz-version-id"]


def test_a_renames_token_is_no_upload(s3: S3) -> None:
    upload_id = create(s3)
    parts = upload_all(s3, upload_id)
    complete(s3, upload_id, document(parts))
    headers = {"x-amz-rename-source": "/bucket/key", "x-amz-client-token": "token"}
    assert s3("PUT", "/bucket/new", query="renameObject", headers=headers).status == 200
    page = s3.store.list_versions("bucket")
    assert [entry.key for entry in page.entries] == ["new"]
    for guess in (upload_id, "00" * 16):
        reply = s3("POST", "/bucket/new", document(parts), query={"uploadId": guess})
        assert reply.code == "NoSuchUpload"


def test_the_location_of_a_virtual_host(s3: S3) -> None:
    upload_id = create(s3, "a b")
    part = upload(s3, upload_id, 1, b"x", key="a b")
    reply = s3(
        "POST",
        "/a b",
        document([(1, part.etag)]),
        query={"uploadId": upload_id},
        host="bucket.localhost",
    )
    assert reply.text("Location") == "http://bucket.localhost/a%20b"


def test_a_part_put_again_replaces_the_first(s3: S3) -> None:
    upload_id = create(s3)
    old = upload(s3, upload_id, 1, b"old")
    new = upload(s3, upload_id, 1, b"new")
    assert complete(s3, upload_id, document([(1, old.etag)])).code == "InvalidPart"
    assert complete(s3, upload_id, document([(1, new.etag)])).status == 200
    assert s3("GET", "/bucket/key").body == b"new"


def test_parts_may_be_left_out(s3: S3) -> None:
    upload_id = create(s3)
    parts = upload_all(s3, upload_id)
    assert complete(s3, upload_id, document([parts[0], parts[2]])).status == 200
    assert s3("GET", "/bucket/key").body == PARTS[0] + PARTS[2]


def test_completions_that_cannot_be(s3: S3) -> None:
    upload_id = create(s3)
    parts = upload_all(s3, upload_id)
    cases = {
        document([parts[1], parts[0]]): "InvalidPartOrder",
        document([parts[0], parts[0]]): "InvalidPartOrder",
        document([parts[0], (9, parts[1][1])]): "InvalidPart",
        document([(1, "0" * 32)]): "InvalidPart",
        document([parts[2], (4, "x")]): "InvalidPart",
        document([(0, parts[0][1])]): "InvalidArgument",
        document([]): "MalformedXML",
        document([(1, "x")] * 10_001): "MalformedXML",
        b"": "InvalidRequest",
        b"<CompleteMultipartUpload><Part/></CompleteMultipartUpload>": "MalformedXML",
        b"<!DOCTYPE a>" + document(parts): "MalformedXML",
        document(parts)[:-5]: "MalformedXML",
    }
    for body, code in cases.items():
        reply = complete(s3, upload_id, body)
        assert (reply.status, reply.code) == (400, code), body[:200]
    assert complete(s3, upload_id, document(parts)).status == 200


def test_the_part_at_fault_is_named(s3: S3) -> None:
    upload_id = create(s3)
    parts = upload_all(s3, upload_id)
    reply = complete(s3, upload_id, document([parts[0], (9, "x")]))
    assert (reply.text("PartNumber"), reply.text("UploadId")) == ("9", upload_id)


def test_a_part_that_is_too_small(s3: S3) -> None:
    upload_id = create(s3)
    small = upload(s3, upload_id, 1, b"x" * 99)
    last = upload(s3, upload_id, 2, b"y")
    reply = complete(s3, upload_id, document([(1, small.etag), (2, last.etag)]))
    assert (reply.status, reply.code) == (400, "EntityTooSmall")
    assert (reply.text("ProposedSize"), reply.text("MinSizeAllowed")) == ("99", "100")
    assert reply.text("PartNumber") == "1"


def test_conditions_of_a_completion(s3: S3) -> None:
    s3("PUT", "/bucket/key", b"there")
    upload_id = create(s3)
    body = document(upload_all(s3, upload_id))
    assert complete(s3, upload_id, body, if_none_match="*").status == 412
    assert complete(s3, upload_id, body, if_match='"0"').status == 412
    etag = hashlib.md5(b"there").hexdigest()
    assert complete(s3, upload_id, body, if_match=f'"{etag}"').status == 200


def test_the_declared_size_is_compared(s3: S3) -> None:
    upload_id = create(s3)
    body = document(upload_all(s3, upload_id))
    assert complete(s3, upload_id, body, x_amz_mp_object_size="1").code == "InvalidRequest"
    size = str(len(WHOLE))
    assert complete(s3, upload_id, body, x_amz_mp_object_size=size).status == 200


@pytest.mark.parametrize("number", ["0", "10001", "-1", "x", ""])
def test_part_numbers_out_of_bounds(s3: S3, number: str) -> None:
    upload_id = create(s3)
    query = {"partNumber": number, "uploadId": upload_id}
    reply = s3("PUT", "/bucket/key", b"x", query=query)
    assert (reply.status, reply.code) == (400, "InvalidArgument")
    assert reply.text("ArgumentName") == "partNumber"


def test_part_lengths(s3: S3) -> None:
    upload_id = create(s3)
    query = {"partNumber": "1", "uploadId": upload_id}
    reply = s3("PUT", "/bucket/key", b"", query=query, length=MAX_PART_BYTES + 1)
    assert reply.code == "EntityTooLarge"
    assert s3("PUT", "/bucket/key", b"", query=query, length=None).status == 411


def test_uploads_that_are_not_there(s3: S3) -> None:
    real = create(s3)
    for upload_id, key in (("nothing", "key"), (real, "other")):
        query = {"uploadId": upload_id}
        replies = [
            upload(s3, upload_id, 1, b"x", key=key),
            complete(s3, upload_id, document([(1, "x")]), key=key),
            s3("GET", f"/bucket/{key}", query=query),
            s3("DELETE", f"/bucket/{key}", query=query),
        ]
        for reply in replies:
            assert (reply.status, reply.code) == (404, "NoSuchUpload")
            assert reply.text("UploadId") == upload_id


def test_abort(s3: S3) -> None:
    upload_id = create(s3)
    upload_all(s3, upload_id)
    assert s3("DELETE", "/bucket", query="").code == "BucketNotEmpty"
    assert s3("DELETE", "/bucket/key", query={"uploadId": upload_id}).status == 204
    assert s3("DELETE", "/bucket/key", query={"uploadId": upload_id}).status == 404
    assert s3("DELETE", "/bucket").status == 204


# Checksums


@pytest.mark.parametrize("algorithm", [name for name in ALGORITHMS if name != "CRC64NVME"])
def test_composite_checksums(s3: S3, algorithm: str) -> None:
    upload_id = create(s3, x_amz_checksum_algorithm=algorithm)
    parts = upload_all(s3, upload_id, algorithm)
    digests = b"".join(digest_of(algorithm, part) for part in PARTS)
    raw = base64.b64encode(digest_of(algorithm, digests)).decode()
    tag = f"Checksum{algorithm}"
    sums = [f"<{tag}>{checksum(algorithm, part)}</{tag}>" for part in PARTS]
    lacking = complete(s3, upload_id, document(parts))
    assert (lacking.code, "must include the checksum" in (lacking.text("Message") or "")) == (
        "InvalidRequest",
        True,
    )
    wrong = complete(s3, upload_id, document(parts, sums[::-1]))
    assert wrong.code == "InvalidPart"
    done = complete(s3, upload_id, document(parts, sums))
    assert (done.text(tag), done.text("ChecksumType")) == (f"{raw}-3", "COMPOSITE")
    got = s3("HEAD", "/bucket/key", headers={"x-amz-checksum-mode": "ENABLED"}).headers
    assert got[f"x-amz-checksum-{algorithm.lower()}"] == f"{raw}-3"
    assert got["x-amz-checksum-type"] == "COMPOSITE"


@pytest.mark.parametrize("algorithm", ["CRC32", "CRC32C", "CRC64NVME"])
@pytest.mark.parametrize("sent", [True, False])
def test_checksums_of_the_full_object(s3: S3, algorithm: str, sent: bool) -> None:
    upload_id = create(s3, x_amz_checksum_algorithm=algorithm, x_amz_checksum_type="FULL_OBJECT")
    body = document(upload_all(s3, upload_id, algorithm if sent else ""))
    header = f"x-amz-checksum-{algorithm.lower()}"
    wrong = complete(s3, upload_id, body, **{header: checksum(algorithm, b"other")})
    assert wrong.code == "BadDigest"
    mode = complete(s3, upload_id, body, x_amz_checksum_type="COMPOSITE")
    assert mode.code == "InvalidRequest"
    value = checksum(algorithm, WHOLE)
    done = complete(s3, upload_id, body, **{header: value, "x-amz-checksum-type": "FULL_OBJECT"})
    assert done.text(f"Checksum{algorithm}") == value
    got = s3("HEAD", "/bucket/key", headers={"x-amz-checksum-mode": "ENABLED"}).headers
    assert got[header] == value


def test_an_upload_says_which_checksum_it_has(s3: S3) -> None:
    reply = s3(
        "POST", "/bucket/key", query="uploads", headers={"x-amz-checksum-algorithm": "sha256"}
    )
    assert reply.headers["x-amz-checksum-algorithm"] == "SHA256"
    assert reply.headers["x-amz-checksum-type"] == "COMPOSITE"
    assert "x-amz-checksum-type" not in s3("POST", "/bucket/key", query="uploads").headers


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("kind", ["COMPOSITE", "FULL_OBJECT"])
def test_uploads_of_every_algorithm_and_type(s3: S3, algorithm: str, kind: str) -> None:
    headers = {"x-amz-checksum-algorithm": algorithm.lower(), "x-amz-checksum-type": kind.lower()}
    reply = s3("POST", "/bucket/key", query="uploads", headers=headers)
    kinds = {"CRC64NVME": ["FULL_OBJECT"], "CRC32": None, "CRC32C": None}.get(
        algorithm, ["COMPOSITE"]
    )
    if kinds is None or kind in kinds:
        assert reply.headers["x-amz-checksum-algorithm"] == algorithm
        assert reply.headers["x-amz-checksum-type"] == kind
        return
    assert (reply.status, reply.code) == (400, "InvalidRequest")
    assert reply.text("Message") == (
        f"The {kind} checksum type cannot be used with the {algorithm.lower()} checksum algorithm."
    )


@pytest.mark.parametrize("algorithm", ["SHA512", "MD5", "XXHASH128"])
def test_a_composite_checksum_given_at_the_end(s3: S3, algorithm: str) -> None:
    upload_id = create(s3, x_amz_checksum_algorithm=algorithm)
    tag, header = f"Checksum{algorithm}", f"x-amz-checksum-{algorithm.lower()}"
    sums = [f"<{tag}>{checksum(algorithm, part)}</{tag}>" for part in PARTS]
    body = document(upload_all(s3, upload_id, algorithm), sums)
    wrong = complete(s3, upload_id, body, **{header: checksum(algorithm, WHOLE) + "-3"})
    assert (wrong.status, wrong.code) == (400, "BadDigest")
    assert algorithm in (wrong.text("Message") or "")
    digests = b"".join(digest_of(algorithm, part) for part in PARTS)
    right = base64.b64encode(digest_of(algorithm, digests)).decode() + "-3"
    assert complete(s3, upload_id, body, **{header: right}).text(tag) == right


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        (
            "206",
            "The provided 'x-amz-mp-object-size' header value 206 does not match what was "
            "computed: 207",
        ),
        ("-1", "Value for x-amz-mp-object-size header is invalid."),
        ("2e2", "Value for x-amz-mp-object-size header is invalid."),
    ],
)
def test_the_size_of_the_whole_is_compared(s3: S3, declared: str, message: str) -> None:
    upload_id = create(s3)
    body = document(upload_all(s3, upload_id))
    wrong = complete(s3, upload_id, body, x_amz_mp_object_size=declared)
    assert (wrong.status, wrong.code, wrong.text("Message")) == (400, "InvalidRequest", message)
    assert s3("HEAD", "/bucket/key").status == 404
    assert complete(s3, upload_id, body, x_amz_mp_object_size=str(len(WHOLE))).status == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"x-amz-checksum-algorithm": "SHA256", "x-amz-checksum-type": "FULL_OBJECT"},
        {"x-amz-checksum-algorithm": "CRC64NVME", "x-amz-checksum-type": "COMPOSITE"},
        {"x-amz-checksum-algorithm": "CRC32", "x-amz-checksum-type": "HALF"},
        {"x-amz-checksum-type": "FULL_OBJECT"},
        {"x-amz-checksum-algorithm": "CRC7"},
    ],
)
def test_checksums_that_do_not_go_together(s3: S3, headers: dict[str, str]) -> None:
    reply = s3("POST", "/bucket/key", query="uploads", headers=headers)
    assert (reply.status, reply.code) == (400, "InvalidRequest")


def test_a_part_with_another_checksum_than_the_upload(s3: S3) -> None:
    upload_id = create(s3, x_amz_checksum_algorithm="SHA256")
    reply = upload(s3, upload_id, 1, b"x", x_amz_checksum_crc32=checksum("CRC32", b"x"))
    assert (reply.status, reply.code) == (400, "InvalidRequest")
    assert "expected checksum Type: sha256, actual checksum Type: crc32" in reply.body.decode()
    none = upload(s3, upload_id, 1, b"x")
    assert "actual checksum Type: null" in (none.text("Message") or "")


def test_an_upload_without_an_algorithm_takes_any(s3: S3) -> None:
    """What boto3 does by default: CRC32 on the parts of an upload that named nothing."""
    upload_id = create(s3)
    parts = upload_all(s3, upload_id, "CRC32")
    sums = [f"<ChecksumCRC32>{checksum('CRC32', part)}</ChecksumCRC32>" for part in PARTS]
    assert complete(s3, upload_id, document(parts, sums[::-1])).code == "InvalidPart"
    done = complete(s3, upload_id, document(parts, sums))
    assert done.text("ChecksumCRC64NVME") == checksum("CRC64NVME", WHOLE)


def test_a_part_says_the_checksum_that_somebody_named(s3: S3) -> None:
    def said(upload_id: str, **headers: str) -> dict[str, str]:
        found = upload(s3, upload_id, 1, b"x", **headers).headers
        return {name: value for name, value in found.items() if name.startswith("x-amz-checksum")}

    crc32 = {"x-amz-checksum-crc32": checksum("CRC32", b"x")}
    unnamed = create(s3)
    assert said(unnamed) == {}
    assert said(unnamed, **crc32) == crc32
    named = create(s3, x_amz_checksum_algorithm="CRC32", x_amz_checksum_type="FULL_OBJECT")
    assert said(named) == said(named, **crc32) == crc32


def test_a_part_with_a_wrong_checksum(s3: S3) -> None:
    upload_id = create(s3)
    assert upload(s3, upload_id, 1, b"x", x_amz_checksum_crc32="AAAAAA==").code == "BadDigest"
    assert s3("GET", "/bucket/key", query={"uploadId": upload_id}).texts("Part") == []


def test_a_part_without_a_checksum_leaves_the_object_without_one(s3: S3) -> None:
    """As an embedding program may put it beside a client's parts."""
    upload_id = create(s3)
    first = upload(s3, upload_id, 1, PARTS[0])
    with s3.store.open_part("bucket", "key", upload_id, 2) as part:
        part.write(PARTS[1])
        second = part.commit()
    body = document([(1, first.etag), (2, second.etag)])
    given = complete(s3, upload_id, body, x_amz_checksum_crc64nvme="AAAAAAAAAAA=")
    assert given.code == "BadDigest"
    assert complete(s3, upload_id, body).text("ChecksumCRC64NVME") is None
    got = s3("GET", "/bucket/key", headers={"x-amz-checksum-mode": "ENABLED"})
    assert got.body == PARTS[0] + PARTS[1]
    assert "x-amz-checksum-type" not in got.headers


# Listings


def test_listing_parts(s3: S3) -> None:
    upload_id = create(s3, x_amz_checksum_algorithm="CRC32", x_amz_storage_class="STANDARD_IA")
    parts = upload_all(s3, upload_id, "CRC32")
    reply = s3("GET", "/bucket/key", query={"uploadId": upload_id})
    assert reply.texts("Part/PartNumber") == ["1", "2", "3"]
    assert reply.texts("Part/ETag") == [f'"{etag}"' for _, etag in parts]
    assert reply.texts("Part/Size") == ["100", "100", "7"]
    assert reply.texts("Part/ChecksumCRC32") == [checksum("CRC32", part) for part in PARTS]
    assert reply.text("ChecksumAlgorithm") == "CRC32"
    assert reply.text("ChecksumType") == "COMPOSITE"
    assert reply.text("StorageClass") == "STANDARD_IA"
    assert reply.text("Owner/ID") == reply.text("Initiator/ID") == ROOT.id
    assert (reply.text("IsTruncated"), reply.text("MaxParts")) == ("false", "1000")


def test_listing_parts_in_pages(s3: S3) -> None:
    upload_id = create(s3)
    upload_all(s3, upload_id)
    first = s3("GET", "/bucket/key", query={"uploadId": upload_id, "max-parts": "2"})
    assert (first.texts("Part/PartNumber"), first.text("IsTruncated")) == (["1", "2"], "true")
    assert first.texts("Part/ChecksumCRC64NVME") == []
    marker = first.text("NextPartNumberMarker") or ""
    query = {"uploadId": upload_id, "max-parts": "2", "part-number-marker": marker}
    second = s3("GET", "/bucket/key", query=query)
    assert (second.texts("Part/PartNumber"), second.text("IsTruncated")) == (["3"], "false")
    none = s3("GET", "/bucket/key", query={"uploadId": upload_id, "max-parts": "0"})
    assert none.texts("Part") == []
    query["part-number-marker"] = "x"
    assert s3("GET", "/bucket/key", query=query).code == "InvalidArgument"


def test_listing_uploads(s3: S3) -> None:
    ids = {key: create(s3, key) for key in ("b", "a/1", "a/2", "c d")}
    second = create(s3, "b")
    reply = s3("GET", "/bucket", query="uploads")
    assert reply.texts("Upload/Key") == ["a/1", "a/2", "b", "b", "c d"]
    assert set(reply.texts("Upload/UploadId")) == {*ids.values(), second}
    assert reply.texts("Upload/Initiated")[0] == "2023-11-14T22:13:20.000Z"
    folded = s3("GET", "/bucket", query="uploads&delimiter=/&encoding-type=url")
    assert folded.texts("Upload/Key") == ["b", "b", "c%20d"]
    assert folded.texts("CommonPrefixes/Prefix") == ["a/"]
    assert s3("GET", "/bucket", query="uploads&prefix=a/").texts("Upload/Key") == ["a/1", "a/2"]
    assert s3("GET", "/bucket", query="uploads&max-uploads=0").texts("Upload") == []
    assert s3("GET", "/nowhere", query="uploads").code == "NoSuchBucket"


@pytest.mark.parametrize("size", [1, 2, 3])
@pytest.mark.parametrize("delimiter", ["", "/"])
def test_listing_uploads_in_pages(s3: S3, size: int, delimiter: str) -> None:
    for key in ("a/1", "a/2", "b", "b", "b", "c"):
        create(s3, key)
    whole = s3("GET", "/bucket", query=f"uploads&delimiter={delimiter}")
    found: list[str] = []
    prefixes: list[str] = []
    query = {"uploads": "", "max-uploads": str(size), "delimiter": delimiter}
    for _ in range(10):
        page = s3("GET", "/bucket", query=query)
        found += page.texts("Upload/UploadId")
        prefixes += page.texts("CommonPrefixes/Prefix")
        if page.text("IsTruncated") == "false":
            break
        query["key-marker"] = page.text("NextKeyMarker") or ""
        query["upload-id-marker"] = page.text("NextUploadIdMarker") or ""
    assert found == whole.texts("Upload/UploadId")
    assert prefixes == whole.texts("CommonPrefixes/Prefix")
