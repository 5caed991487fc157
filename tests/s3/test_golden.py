"""ETags and checksums of known objects, as frozen in tests/golden/etags.py."""

from __future__ import annotations

import base64

import pytest

from tests.golden import etags as golden
from tests.golden.checksums import DIGESTS, INPUTS
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


@pytest.mark.parametrize("label", INPUTS)
def test_objects_in_one_piece(s3: S3, label: str) -> None:
    etag = golden.SINGLE[label]
    assert s3("PUT", "/bucket/key", INPUTS[label]).etag == etag
    assert s3("HEAD", "/bucket/key").etag == etag
    s3("PUT", "/bucket/copy", headers={"x-amz-copy-source": "/bucket/key"})
    assert s3("HEAD", "/bucket/copy").etag == etag


@pytest.mark.parametrize("label", INPUTS)
@pytest.mark.parametrize("algorithm", DIGESTS)
def test_checksums_of_objects_in_one_piece(s3: S3, algorithm: str, label: str) -> None:
    """What a client sends is verified and kept; what a copy asks for is computed."""
    value = base64.b64encode(bytes.fromhex(DIGESTS[algorithm][label])).decode()
    header = f"x-amz-checksum-{algorithm.lower()}"
    wanted = (golden.SINGLE[label], value, "FULL_OBJECT")
    assert s3("PUT", "/bucket/key", INPUTS[label], headers={header: value}).status == 200
    assert said(s3, "/bucket/key", algorithm) == wanted
    refused = s3("PUT", "/bucket/key", INPUTS[label] + b"!", headers={header: value})
    assert (refused.status, refused.code) == (400, "BadDigest")
    s3("PUT", "/bucket/plain", INPUTS[label])
    asked = {"x-amz-copy-source": "/bucket/plain", "x-amz-checksum-algorithm": algorithm}
    assert s3("PUT", "/bucket/copy", headers=asked).status == 200
    assert said(s3, "/bucket/copy", algorithm) == wanted


@pytest.mark.parametrize("algorithm", golden.FULL_OBJECT)
def test_full_object_checksums_of_parts(s3: S3, algorithm: str) -> None:
    done = upload(s3, algorithm, "FULL_OBJECT")
    value = golden.WHOLE[algorithm]
    assert done.text(f"Checksum{algorithm}") == value
    assert said(s3, "/bucket/key", algorithm) == (golden.PARTS_ETAG, value, "FULL_OBJECT")


@pytest.mark.parametrize("algorithm", golden.COMPOSITE)
def test_composite_checksums_of_parts(s3: S3, algorithm: str) -> None:
    done = upload(s3, algorithm, "COMPOSITE")
    value = golden.COMPOSITE[algorithm]
    assert done.text(f"Checksum{algorithm}") == value
    assert said(s3, "/bucket/key", algorithm) == (golden.PARTS_ETAG, value, "COMPOSITE")


@pytest.mark.parametrize("algorithm", golden.COMPOSITE)
def test_a_copy_has_the_checksum_of_all_bytes(s3: S3, algorithm: str) -> None:
    """CRCs are combined from those of the parts; for the others the source is read."""
    upload(s3, algorithm, "COMPOSITE")
    s3("PUT", "/bucket/copy", headers={"x-amz-copy-source": "/bucket/key"})
    _etag, value, kind = said(s3, "/bucket/copy", algorithm)
    assert (value, kind) == (golden.WHOLE[algorithm], "FULL_OBJECT")


def copy_slices(s3: S3, algorithm: str, kind: str) -> None:
    """An object of `golden.RANGES` of another one."""
    asked = {"x-amz-checksum-algorithm": algorithm, "x-amz-checksum-type": kind}
    made = s3("POST", "/bucket/slices", query="uploads", headers=asked)
    upload_id = made.text("UploadId")
    parts = ""
    for number, (first, last) in enumerate(golden.RANGES, start=1):
        source = {
            "x-amz-copy-source": "/bucket/key",
            "x-amz-copy-source-range": f"bytes={first}-{last}",
        }
        query = f"partNumber={number}&uploadId={upload_id}"
        part = s3("PUT", "/bucket/slices", query=query, headers=source)
        etag, value = part.text("ETag"), part.text(f"Checksum{algorithm}")
        parts += (
            f"<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag>"
            f"<Checksum{algorithm}>{value}</Checksum{algorithm}></Part>"
        )
    body = f"<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>".encode()
    assert s3("POST", "/bucket/slices", body, query=f"uploadId={upload_id}").status == 200


@pytest.mark.parametrize("algorithm", golden.COMPOSITE)
def test_ranges_copied_as_parts(s3: S3, algorithm: str) -> None:
    upload(s3, algorithm, "COMPOSITE")
    copy_slices(s3, algorithm, "COMPOSITE")
    wanted = (golden.SLICES_ETAG, golden.SLICES_COMPOSITE[algorithm], "COMPOSITE")
    assert said(s3, "/bucket/slices", algorithm) == wanted


def test_ranges_copied_as_parts_with_a_checksum_of_all_bytes(s3: S3) -> None:
    upload(s3, "CRC64NVME", "FULL_OBJECT")
    copy_slices(s3, "CRC64NVME", "FULL_OBJECT")
    wanted = (golden.SLICES_ETAG, golden.SLICES_CRC64NVME, "FULL_OBJECT")
    assert said(s3, "/bucket/slices", "CRC64NVME") == wanted


def test_appends(s3: S3) -> None:
    size_bytes = 0
    for data, etag, crc in zip(
        golden.APPENDED, golden.APPENDED_ETAGS, golden.APPENDED_CRC64NVME, strict=True
    ):
        headers = {"x-amz-write-offset-bytes": str(size_bytes)}
        assert s3("PUT", "/bucket/key", data, headers=headers).etag == etag
        size_bytes += len(data)
        assert said(s3, "/bucket/key", "CRC64NVME") == (etag, crc, "FULL_OBJECT")
