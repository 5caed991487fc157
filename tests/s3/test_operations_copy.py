"""CopyObject and UploadPartCopy."""

from __future__ import annotations

import hashlib

import msgspec
import pytest

from objstore.config import MAX_COPY_BYTES
from objstore.errors import CorruptionError
from objstore.s3.checksums import ALGORITHMS
from objstore.s3.operations.copy import parse_source
from tests.s3.harness import ROOT, S3, Reply, backend, checksum  # noqa: F401

DATA = b"0123456789" * 30
ETAG = hashlib.md5(DATA).hexdigest()
SOURCE = {
    "content-type": "text/plain",
    "x-amz-meta-a": "1",
    "x-amz-tagging": "t=1",
    "x-amz-storage-class": "STANDARD_IA",
    "x-amz-checksum-sha1": checksum("SHA1", DATA),
}


@pytest.fixture
def s3() -> S3:
    server = S3(min_part_bytes=1)
    server("PUT", "/source")
    server("PUT", "/target")
    server("PUT", "/source/a key", DATA, headers=SOURCE)
    return server


def copy(s3: S3, source: str = "/source/a%20key", to: str = "/target/key", **more: str) -> Reply:
    given = {name.replace("_", "-"): value for name, value in more.items()}
    return s3("PUT", to, headers={"x-amz-copy-source": source, **given})


def head(s3: S3, path: str = "/target/key") -> dict[str, str]:
    return s3("HEAD", path, headers={"x-amz-checksum-mode": "ENABLED"}).headers


def test_a_copy_has_what_the_source_has_but_its_class(s3: S3) -> None:
    reply = copy(s3)
    assert (reply.status, reply.text("ETag")) == (200, f'"{ETAG}"')
    assert reply.xml.tag == "CopyObjectResult"
    assert reply.text("LastModified") == "2023-11-14T22:13:20.000Z"
    assert reply.text("ChecksumSHA1") == SOURCE["x-amz-checksum-sha1"]
    assert s3("GET", "/target/key").body == DATA
    got = head(s3)
    assert (got["content-type"], got["x-amz-meta-a"]) == ("text/plain", "1")
    assert got["x-amz-tagging-count"] == "1"
    assert got["x-amz-checksum-sha1"] == SOURCE["x-amz-checksum-sha1"]
    assert "x-amz-storage-class" not in got


def test_replaced_metadata(s3: S3) -> None:
    copy(s3, x_amz_metadata_directive="REPLACE", x_amz_meta_b="2")
    got = head(s3)
    assert got["content-type"] == "binary/octet-stream"
    assert ("x-amz-meta-a" in got, got["x-amz-meta-b"]) == (False, "2")
    assert got["x-amz-tagging-count"] == "1"


def test_metadata_of_the_request_is_ignored_unless_it_replaces(s3: S3) -> None:
    copy(s3, x_amz_meta_b="2", content_type="image/png")
    got = head(s3)
    assert (got["content-type"], "x-amz-meta-b" in got) == ("text/plain", False)


def test_replaced_tags(s3: S3) -> None:
    copy(s3, x_amz_tagging_directive="REPLACE", x_amz_tagging="a=1&b=2")
    assert head(s3)["x-amz-tagging-count"] == "2"
    copy(s3, x_amz_tagging_directive="REPLACE")
    assert "x-amz-tagging-count" not in head(s3)


@pytest.mark.parametrize("name", ["x-amz-metadata-directive", "x-amz-tagging-directive"])
def test_unknown_directives(s3: S3, name: str) -> None:
    reply = copy(s3, **{name: "MERGE"})
    assert (reply.status, reply.code, reply.text("ArgumentName")) == (400, "InvalidArgument", name)


def test_onto_itself(s3: S3) -> None:
    here = "/source/a key"
    same = copy(s3, to=here, x_amz_storage_class="STANDARD_IA")
    assert (same.status, same.code) == (400, "InvalidRequest")
    assert "illegal" in (same.text("Message") or "")
    assert copy(s3, to=here, x_amz_storage_class="ONEZONE_IA").status == 200
    assert head(s3, here)["x-amz-storage-class"] == "ONEZONE_IA"
    assert copy(s3, to=here, x_amz_metadata_directive="REPLACE").status == 200
    assert "x-amz-meta-a" not in head(s3, here)
    assert s3("GET", here).body == DATA


@pytest.mark.parametrize(
    ("value", "code"),
    [
        ("", "InvalidArgument"),
        ("/", "InvalidArgument"),
        ("source", "InvalidArgument"),
        ("/source/", "InvalidArgument"),
        ("/source/%ff", "InvalidArgument"),
        ("/source/missing", "NoSuchKey"),
        ("/nowhere/key", "NoSuchBucket"),
        (f"/source/a%20key?versionId={'v' * 32}", "NoSuchVersion"),
        ("/source/a%20key?versionId=x", "InvalidArgument"),
        ("arn:aws:s3:us-east-1:1:accesspoint/p/object/k", "NotImplemented"),
    ],
)
def test_sources_that_are_not_there(s3: S3, value: str, code: str) -> None:
    reply = copy(s3, value)
    assert reply.code == code
    assert s3("HEAD", "/target/key").status == 404


def test_errors_name_the_source(s3: S3) -> None:
    assert copy(s3, "/source/missing").text("Key") == "missing"
    assert copy(s3, "/nowhere/key").text("BucketName") == "nowhere"
    assert copy(s3, to="/gone/key").text("BucketName") == "gone"


@pytest.mark.parametrize(
    ("value", "bucket", "key"),
    [
        ("b/k", "b", "k"),
        ("/b/k", "b", "k"),
        ("/b//k", "b", "/k"),
        ("b/a%2Fb%3FversionId=x", "b", "a/b?versionId=x"),
        ("b%2Fk", "b", "k"),
        ("b/a+b%2B", "b", "a b+"),
        ("b/%C3%BC", "b", "ü"),
        ("b/k?versionId=null", "b", "k"),
    ],
)
def test_how_a_source_is_written(value: str, bucket: str, key: str) -> None:
    source = parse_source(value)
    assert (source.bucket, source.key) == (bucket, key)


NOW = "Tue, 14 Nov 2023 22:13:20 GMT"
BEFORE = "Tue, 14 Nov 2023 22:13:19 GMT"


@pytest.mark.parametrize(
    ("condition", "value", "status"),
    [
        ("if-match", f'"{ETAG}"', 200),
        ("if-match", '"0"', 412),
        ("if-none-match", '"0"', 200),
        ("if-none-match", f'"{ETAG}"', 412),
        ("if-modified-since", BEFORE, 200),
        ("if-modified-since", NOW, 412),
        ("if-unmodified-since", NOW, 200),
        ("if-unmodified-since", BEFORE, 412),
    ],
)
def test_conditions_on_the_source(s3: S3, condition: str, value: str, status: int) -> None:
    reply = copy(s3, **{f"x-amz-copy-source-{condition}": value})
    assert reply.status == status
    if status == 412:
        assert (reply.text("Condition") or "").lower() == f"x-amz-copy-source-{condition}"


def test_conditions_on_the_target(s3: S3) -> None:
    assert copy(s3, if_none_match="*").status == 200
    again = copy(s3, if_none_match="*")
    assert (again.status, again.text("Condition")) == (412, "If-None-Match")
    assert copy(s3, if_match='"0"').status == 412
    assert copy(s3, if_match=f'"{ETAG}"').status == 200


def test_another_checksum_is_computed(s3: S3) -> None:
    reply = copy(s3, x_amz_checksum_algorithm="SHA256")
    assert reply.text("ChecksumSHA256") == checksum("SHA256", DATA)
    assert reply.text("ChecksumType") == "FULL_OBJECT"
    got = head(s3)
    assert got["x-amz-checksum-sha256"] == checksum("SHA256", DATA)
    assert "x-amz-checksum-sha1" not in got
    assert copy(s3, x_amz_checksum_algorithm="CRC7").code == "InvalidRequest"


def test_a_source_without_a_checksum_gets_one(s3: S3) -> None:
    s3.store.put("source", "plain", DATA)
    assert copy(s3, "/source/plain").text("ChecksumCRC64NVME") == checksum("CRC64NVME", DATA)


def test_a_composite_checksum_becomes_one_of_the_whole(s3: S3) -> None:
    upload_id = start(s3, x_amz_checksum_algorithm="SHA256")
    parts = ""
    for number in (1, 2):
        part = copy_part(s3, upload_id, number)
        sum_ = f"<ChecksumSHA256>{part.text('ChecksumSHA256')}</ChecksumSHA256>"
        etag = part.text("ETag")
        parts += f"<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag>{sum_}</Part>"
    finish(s3, upload_id, parts)
    assert head(s3, "/target/big")["x-amz-checksum-type"] == "COMPOSITE"
    reply = copy(s3, "/target/big", to="/target/copied")
    assert reply.text("ChecksumSHA256") == checksum("SHA256", DATA * 2)
    assert reply.text("ChecksumType") == "FULL_OBJECT"


def test_the_owner_of_the_source_is_compared(s3: S3) -> None:
    name = "x-amz-source-expected-bucket-owner"
    assert copy(s3, **{name: "1" * 12}).code == "AccessDenied"
    assert copy(s3, **{name: ROOT.id}).status == 200


# UploadPartCopy


def start(s3: S3, **headers: str) -> str:
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    return s3("POST", "/target/big", query="uploads", headers=given).text("UploadId") or ""


def copy_part(s3: S3, upload_id: str, number: int, **more: str) -> Reply:
    given = {name.replace("_", "-"): value for name, value in more.items()}
    return s3(
        "PUT",
        "/target/big",
        query={"partNumber": str(number), "uploadId": upload_id},
        headers={"x-amz-copy-source": "/source/a%20key", **given},
    )


def finish(s3: S3, upload_id: str, parts: str) -> None:
    body = f"<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>".encode()
    reply = s3("POST", "/target/big", body, query={"uploadId": upload_id})
    assert reply.status == 200, reply.body


def test_parts_by_copy(s3: S3) -> None:
    upload_id = start(s3)
    first = copy_part(s3, upload_id, 1)
    assert (first.status, first.xml.tag) == (200, "CopyPartResult")
    assert first.text("ETag") == f'"{ETAG}"'
    second = copy_part(s3, upload_id, 2, x_amz_copy_source_range="bytes=10-14")
    assert second.text("ETag") == f'"{hashlib.md5(b"01234").hexdigest()}"'
    parts = "".join(
        f"<Part><PartNumber>{n}</PartNumber><ETag>{r.text('ETag')}</ETag></Part>"
        for n, r in ((1, first), (2, second))
    )
    finish(s3, upload_id, parts)
    assert s3("GET", "/target/big").body == DATA + b"01234"
    assert head(s3, "/target/big")["x-amz-checksum-crc64nvme"] == checksum(
        "CRC64NVME", DATA + b"01234"
    )


@pytest.mark.parametrize(
    "value", ["bytes=0-300", "bytes=300-301", "bytes=0-", "bytes=-5", "0-5", "bytes=5-1", "x"]
)
def test_ranges_of_a_source_that_cannot_be(s3: S3, value: str) -> None:
    reply = copy_part(s3, start(s3), 1, x_amz_copy_source_range=value)
    assert (reply.status, reply.code) == (400, "InvalidArgument")
    assert reply.text("ArgumentName") == "x-amz-copy-source-range"


@pytest.mark.parametrize("algorithm", ["", *ALGORITHMS])
def test_a_part_copy_has_the_checksum_of_its_upload(s3: S3, algorithm: str) -> None:
    headers = {"x-amz-checksum-algorithm": algorithm} if algorithm else {}
    begun = s3("POST", "/target/to", query="uploads", headers=headers)
    upload_id = begun.text("UploadId") or ""
    query = {"partNumber": "1", "uploadId": upload_id}
    source = {"x-amz-copy-source": "/source/a%20key", "x-amz-copy-source-range": "bytes=1-3"}
    made = s3("PUT", "/target/to", query=query, headers=source)
    said = [node.tag for node in made.xml if node.tag.startswith("Checksum")]
    assert said == ([f"Checksum{algorithm}"] if algorithm else [])
    [part] = s3.store.list_parts("target", "to", upload_id).parts
    stored = algorithm or "CRC64NVME"
    assert [(c.algorithm, c.value) for c in part.checksums] == [
        (stored, checksum(stored, DATA[1:4]))
    ]
    if algorithm:
        assert made.text(f"Checksum{algorithm}") == checksum(algorithm, DATA[1:4])


def test_a_part_copy_that_cannot_be(s3: S3) -> None:
    assert copy_part(s3, "nothing", 1).code == "NoSuchUpload"
    upload_id = start(s3)
    assert copy_part(s3, upload_id, 0).code == "InvalidArgument"
    assert copy_part(s3, upload_id, 1, x_amz_copy_source="/source/missing").code == "NoSuchKey"
    condition = {"x-amz-copy-source-if-match": '"0"'}
    assert copy_part(s3, upload_id, 1, **condition).code == "PreconditionFailed"


def test_a_range_on_copy_object_is_refused(s3: S3) -> None:
    reply = copy(s3, x_amz_copy_source_range="bytes=0-1")
    assert (reply.status, reply.code) == (501, "NotImplemented")


# What changes, or is too large, while one looks


def overwrite_source_before_copying(
    s3: S3, monkeypatch: pytest.MonkeyPatch, times: int, method: str = "copy"
) -> list[bytes]:
    """Put something new in the source's place each time just before the store copies it."""
    real = getattr(s3.store, method)
    written: list[bytes] = []

    def copy_late(*args: object, **kwargs: object) -> object:
        if len(written) < times:
            written.append(b"new %d" % len(written))
            s3.store.put("source", "a key", written[-1])
        return real(*args, **kwargs)

    monkeypatch.setattr(s3.store, method, copy_late, raising=True)
    return written


def test_a_source_that_changes_meanwhile_is_looked_at_again(
    s3: S3, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = overwrite_source_before_copying(s3, monkeypatch, 1)
    reply = copy(s3)
    assert reply.status == 200
    assert s3("GET", "/target/key").body == written[0]
    got = head(s3)
    assert got["x-amz-checksum-crc64nvme"] == checksum("CRC64NVME", written[0])
    assert "x-amz-meta-a" not in got


def test_but_not_for_ever(s3: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    overwrite_source_before_copying(s3, monkeypatch, 99)
    reply = copy(s3)
    assert (reply.status, reply.code) == (409, "OperationAborted")
    assert s3("HEAD", "/target/key").status == 404


def test_nor_is_a_part_of_what_changes_meanwhile(s3: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    """No condition was given, so that none can fail."""
    upload_id = start(s3)
    written = overwrite_source_before_copying(s3, monkeypatch, 1, "copy_part")
    reply = copy_part(s3, upload_id, 1)
    assert reply.status == 200
    assert reply.text("ETag") == f'"{hashlib.md5(written[0]).hexdigest()}"'


def test_nor_a_part_for_ever(s3: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    upload_id = start(s3)
    overwrite_source_before_copying(s3, monkeypatch, 99, "copy_part")
    reply = copy_part(s3, upload_id, 1)
    assert (reply.status, reply.code) == (409, "OperationAborted")
    assert s3("GET", "/target/big", query={"uploadId": upload_id}).texts("Part") == []


def test_a_part_of_what_is_deleted_meanwhile(s3: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    upload_id = start(s3)
    real = s3.store.copy_part

    def copy_late(*args: object, **kwargs: object) -> object:
        s3.store.delete("source", "a key")
        return real(*args, **kwargs)

    monkeypatch.setattr(s3.store, "copy_part", copy_late)
    reply = copy_part(s3, upload_id, 1)
    assert (reply.status, reply.code) == (404, "NoSuchKey")


@pytest.mark.parametrize("by_part", [False, True])
def test_a_source_over_five_gib(s3: S3, monkeypatch: pytest.MonkeyPatch, by_part: bool) -> None:
    upload_id = start(s3)
    large = msgspec.structs.replace(s3.store.head("source", "a key"), size_bytes=MAX_COPY_BYTES + 1)
    monkeypatch.setattr(s3.store, "head", lambda *args, **kwargs: large)
    reply = copy_part(s3, upload_id, 1) if by_part else copy(s3)
    assert (reply.status, reply.code) == (400, "InvalidRequest")
    assert "5368709120" in (reply.text("Message") or "")
    if by_part:
        whole = f"bytes=0-{MAX_COPY_BYTES}"
        assert copy_part(s3, upload_id, 1, x_amz_copy_source_range=whole).status == 400


def test_a_part_copy_that_fails_leaves_no_part(s3: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    upload_id = start(s3)

    def damaged(*args: object, **kwargs: object) -> object:
        raise CorruptionError("the checksum of a chunk does not match")

    monkeypatch.setattr(s3.store, "copy_part", damaged)
    reply = copy_part(s3, upload_id, 1)
    assert (reply.status, reply.code) == (500, "InternalError")
    assert s3("GET", "/target/big", query={"uploadId": upload_id}).texts("Part") == []
