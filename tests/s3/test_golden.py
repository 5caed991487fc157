"""ETags and checksums of known objects, as frozen in tests/golden/etags.py."""

from __future__ import annotations

import pytest

from tests.golden import etags as golden
from tests.s3.harness import S3, Reply, backend, checksum

__all__ = ["backend"]


@pytest.fixture
def s3() -> S3:
    server = S3(min_part_bytes=1)
    server("PUT", "/bucket")
    return server


def upload(s3: S3, algorithm: str, kind: str) -> Reply:
    """`golden.PARTS` uploaded with a checksum of each part; the completion's answer."""
    asked = {"x-amz-checksum-algorithm": algorithm, "x-amz-checksum-type": kind}
    upload_id = s3("POST", "/bucket/key", query="uploads", headers=asked).text("UploadId")
    header = f"x-amz-checksum-{algorithm.lower()}"
    parts = ""
    for number, data in enumerate(golden.PARTS, start=1):
        value = checksum(algorithm, data)
        query = f"partNumber={number}&uploadId={upload_id}"
        part = s3("PUT", "/bucket/key", data, query=query, headers={header: value})
        assert part.status == 200
        parts += (
            f"<Part><PartNumber>{number}</PartNumber><ETag>{part.etag}</ETag>"
            f"<Checksum{algorithm}>{value}</Checksum{algorithm}></Part>"
        )
    body = f"<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>".encode()
    return s3("POST", "/bucket/key", body, query=f"uploadId={upload_id}")


def said(s3: S3, path: str, algorithm: str) -> tuple[str, str | None, str | None]:
    """ETag, checksum and its type."""
    head = s3("HEAD", path, headers={"x-amz-checksum-mode": "ENABLED"})
    header = f"x-amz-checksum-{algorithm.lower()}"
    return head.etag, head.headers.get(header), head.headers.get("x-amz-checksum-type")


@pytest.mark.parametrize("data", golden.SINGLE, ids=len)
def test_objects_in_one_piece(s3: S3, data: bytes) -> None:
    assert s3("PUT", "/bucket/key", data).etag == golden.SINGLE[data]
    assert s3("HEAD", "/bucket/key").etag == golden.SINGLE[data]
    s3("PUT", "/bucket/copy", headers={"x-amz-copy-source": "/bucket/key"})
    assert s3("HEAD", "/bucket/copy").etag == golden.SINGLE[data]


@pytest.mark.parametrize("algorithm", golden.FULL_OBJECT)
def test_full_object_checksums_of_parts(s3: S3, algorithm: str) -> None:
    done = upload(s3, algorithm, "FULL_OBJECT")
    value = golden.FULL_OBJECT[algorithm]
    assert done.text(f"Checksum{algorithm}") == value
    assert said(s3, "/bucket/key", algorithm) == (golden.PARTS_ETAG, value, "FULL_OBJECT")


@pytest.mark.parametrize("algorithm", golden.COMPOSITE)
def test_composite_checksums_of_parts(s3: S3, algorithm: str) -> None:
    done = upload(s3, algorithm, "COMPOSITE")
    value = golden.COMPOSITE[algorithm]
    assert done.text(f"Checksum{algorithm}") == value
    assert said(s3, "/bucket/key", algorithm) == (golden.PARTS_ETAG, value, "COMPOSITE")


@pytest.mark.parametrize("algorithm", ["CRC32", "CRC32C"])
def test_a_copy_has_the_checksum_of_all_bytes(s3: S3, algorithm: str) -> None:
    """Combined from those of the parts."""
    upload(s3, algorithm, "COMPOSITE")
    s3("PUT", "/bucket/copy", headers={"x-amz-copy-source": "/bucket/key"})
    _etag, value, kind = said(s3, "/bucket/copy", algorithm)
    assert (value, kind) == (golden.FULL_OBJECT[algorithm], "FULL_OBJECT")


def test_appends(s3: S3) -> None:
    size_bytes = 0
    for data, etag, crc in zip(
        golden.APPENDED, golden.APPENDED_ETAGS, golden.APPENDED_CRC64NVME, strict=True
    ):
        headers = {"x-amz-write-offset-bytes": str(size_bytes)}
        assert s3("PUT", "/bucket/key", data, headers=headers).etag == etag
        size_bytes += len(data)
        assert said(s3, "/bucket/key", "CRC64NVME") == (etag, crc, "FULL_OBJECT")
