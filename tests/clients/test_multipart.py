"""Multipart uploads through boto3, by hand and by its transfer manager."""

from __future__ import annotations

import base64
import hashlib
import io
import random
from typing import Any

import pytest
from boto3.s3.transfer import TransferConfig

from tests.clients.digests import crc64nvme
from tests.clients.errors import refused

MIB = 1024 * 1024
PART = 5 * MIB


class Upload:
    """A multipart upload under way, and what has been put into it."""

    def __init__(self, s3: Any, bucket: str, key: str = "k", **arguments: Any) -> None:
        self.s3 = s3
        created = s3.create_multipart_upload(Bucket=bucket, Key=key, **arguments)
        self.address = {"Bucket": bucket, "Key": key, "UploadId": created["UploadId"]}
        self.parts: dict[int, dict[str, Any]] = {}

    def part(self, number: int, body: bytes, **arguments: Any) -> Any:
        answer = self.s3.upload_part(**self.address, PartNumber=number, Body=body, **arguments)
        kept = {n: v for n, v in answer.items() if n.startswith("Checksum") and n != "ChecksumType"}
        self.parts[number] = {"PartNumber": number, "ETag": answer["ETag"], **kept}
        return answer

    def complete(self, *numbers: int, **arguments: Any) -> Any:
        parts = [self.parts[number] for number in numbers or sorted(self.parts)]
        return self.complete_with(parts, **arguments)

    def complete_with(self, parts: list[dict[str, Any]], **arguments: Any) -> Any:
        return self.s3.complete_multipart_upload(
            **self.address, MultipartUpload={"Parts": parts}, **arguments
        )

    def abort(self) -> None:
        self.s3.abort_multipart_upload(**self.address)


def etag_of(parts: list[bytes]) -> str:
    """How S3 makes the ETag of an object of several parts."""
    digests = b"".join(hashlib.md5(part).digest() for part in parts)
    return f'"{hashlib.md5(digests).hexdigest()}-{len(parts)}"'


def test_three_parts_become_one_object(s3: Any, bucket: str, seed: int) -> None:
    rng = random.Random(seed)
    bodies = [rng.randbytes(PART), rng.randbytes(PART + 12345), b"!"]
    upload = Upload(
        s3, bucket, Metadata={"a": "1"}, ContentType="text/x", StorageClass="GLACIER_IR"
    )
    for number in (3, 1, 2):  # any order
        answer = upload.part(number, bodies[number - 1])
        assert answer["ETag"] == f'"{hashlib.md5(bodies[number - 1]).hexdigest()}"'
    with refused(404, "NoSuchKey"):
        s3.get_object(Bucket=bucket, Key="k")
    answer = upload.complete()
    assert (answer["Bucket"], answer["Key"], answer["ETag"]) == (bucket, "k", etag_of(bodies))
    got = s3.get_object(Bucket=bucket, Key="k")
    body = b"".join(bodies)
    assert got["Body"].read() == body
    assert got["ETag"] == etag_of(bodies)
    assert (got["Metadata"], got["ContentType"]) == ({"a": "1"}, "text/x")
    assert got["StorageClass"] == "GLACIER_IR"
    for first, last in ((PART - 1, PART), (0, len(body) - 1), (len(body) - 2, len(body) - 1)):
        ranged = s3.get_object(Bucket=bucket, Key="k", Range=f"bytes={first}-{last}")
        assert ranged["Body"].read() == body[first : last + 1]
    assert upload.complete()["ETag"] == etag_of(bodies)  # a retry of the completion is answered


def test_a_part_sent_again_replaces_the_first(s3: Any, bucket: str) -> None:
    upload = Upload(s3, bucket)
    upload.part(1, b"a" * PART)
    upload.part(1, b"b" * PART)
    upload.part(2, b"end")
    upload.complete()
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"b" * PART + b"end"


def test_only_the_parts_that_are_named_count(s3: Any, bucket: str) -> None:
    upload = Upload(s3, bucket)
    upload.part(7, b"a" * PART)
    upload.part(8, b"left out")
    upload.part(10_000, b"end")
    assert upload.complete(7, 10_000)["ETag"] == etag_of([b"a" * PART, b"end"])
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"a" * PART + b"end"


def test_one_part_of_no_bytes(s3: Any, bucket: str) -> None:
    upload = Upload(s3, bucket)
    upload.part(1, b"")
    assert upload.complete()["ETag"] == etag_of([b""])
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b""


def test_an_upload_replaces_an_object_only_when_complete(s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"old")
    upload = Upload(s3, bucket)
    upload.part(1, b"new")
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"old"
    upload.complete()
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"new"


def test_conditional_completion(s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"old")
    upload = Upload(s3, bucket)
    upload.part(1, b"new")
    with refused(412, "PreconditionFailed"):
        upload.complete(IfNoneMatch="*")
    etag = s3.head_object(Bucket=bucket, Key="k")["ETag"]
    upload.complete(IfMatch=etag)
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"new"


def test_abort(s3: Any, bucket: str) -> None:
    upload = Upload(s3, bucket)
    upload.part(1, b"x")
    upload.abort()
    for call in (upload.complete, upload.abort, lambda: upload.part(2, b"y")):
        with refused(404, "NoSuchUpload"):
            call()
    with refused(404, "NoSuchUpload"):
        s3.list_parts(**upload.address)
    assert "Uploads" not in s3.list_multipart_uploads(Bucket=bucket)


def test_what_completion_refuses(s3: Any, bucket: str) -> None:
    upload = Upload(s3, bucket)
    upload.part(1, b"small")
    upload.part(2, b"end")
    with refused(400, "EntityTooSmall") as refusal:
        upload.complete()
    assert refusal.error["PartNumber"] == "1"
    assert refusal.error["MinSizeAllowed"] == str(PART)
    with refused(400, "InvalidPartOrder"):
        upload.complete(2, 1)
    one, two = upload.parts[1], upload.parts[2]
    for wrong in ({"PartNumber": 2, "ETag": one["ETag"]}, {"PartNumber": 3, "ETag": two["ETag"]}):
        with refused(400, "InvalidPart"):
            upload.complete_with([wrong])
    with refused(400, "MalformedXML"):
        upload.complete_with([])
    upload.complete(2)
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"end"


@pytest.mark.parametrize("number", [0, -1, 10_001, 2**31])
def test_part_numbers_have_limits(s3: Any, bucket: str, number: int) -> None:
    upload = Upload(s3, bucket)
    with refused(400, "InvalidArgument"):
        s3.upload_part(**upload.address, PartNumber=number, Body=b"")


def test_an_upload_belongs_to_its_key(s3: Any, bucket: str) -> None:
    upload = Upload(s3, bucket)
    with refused(404, "NoSuchUpload"):
        s3.upload_part(**(upload.address | {"Key": "other"}), PartNumber=1, Body=b"")


def test_parts_are_listed_in_pages(s3: Any, bucket: str) -> None:
    upload = Upload(s3, bucket)
    numbers = [1, 2, 5, 9, 10, 11, 10_000]
    for number in numbers:
        upload.part(number, b"x" * number)
    pages = list(
        s3.get_paginator("list_parts").paginate(**upload.address, PaginationConfig={"PageSize": 3})
    )
    parts = [part for page in pages for part in page["Parts"]]
    assert [part["PartNumber"] for part in parts] == numbers
    assert [part["Size"] for part in parts] == numbers
    assert [part["ETag"] for part in parts] == [upload.parts[n]["ETag"] for n in numbers]
    assert [page["IsTruncated"] for page in pages] == [True, True, False]
    assert pages[0]["StorageClass"] == "STANDARD"
    rest = s3.list_parts(**upload.address, PartNumberMarker=10)
    assert [part["PartNumber"] for part in rest["Parts"]] == [11, 10_000]


@pytest.mark.parametrize("page_size", [1, 2, 1000])
def test_uploads_are_listed_in_pages(s3: Any, bucket: str, page_size: int) -> None:
    keys = ["a", "dir/1", "dir/1", "dir/1", "dir/2", "é", "z z"]
    made = sorted((key, Upload(s3, bucket, key).address["UploadId"]) for key in keys)
    paginator = s3.get_paginator("list_multipart_uploads")

    def listed(**arguments: Any) -> tuple[list[tuple[str, str]], list[str]]:
        paging = {"PageSize": page_size}
        pages = list(paginator.paginate(Bucket=bucket, PaginationConfig=paging, **arguments))
        uploads = [upload for page in pages for upload in page.get("Uploads", [])]
        common = [entry["Prefix"] for page in pages for entry in page.get("CommonPrefixes", [])]
        return sorted((u["Key"], u["UploadId"]) for u in uploads), common

    assert listed() == (made, [])
    assert listed(Prefix="dir/") == ([entry for entry in made if entry[0].startswith("dir/")], [])
    plain = [entry for entry in made if not entry[0].startswith("dir/")]
    assert listed(Delimiter="/") == (plain, ["dir/"])


# Copies


def test_parts_copied_whole_and_in_ranges(s3: Any, bucket: str, seed: int) -> None:
    source = random.Random(seed).randbytes(PART + 1000)
    s3.put_object(Bucket=bucket, Key="source+%", Body=source)
    upload = Upload(s3, bucket)

    def copy(number: int, **arguments: Any) -> None:
        answer = s3.upload_part_copy(
            **upload.address,
            PartNumber=number,
            CopySource={"Bucket": bucket, "Key": "source+%"},
            **arguments,
        )
        upload.parts[number] = {
            "PartNumber": number,
            "ETag": answer["CopyPartResult"]["ETag"],
        }

    copy(1)
    copy(2, CopySourceRange=f"bytes=500-{500 + PART - 1}")
    copy(3, CopySourceRange=f"bytes={PART}-{PART + 999}")
    pieces = [source, source[500 : 500 + PART], source[PART:]]
    assert upload.complete()["ETag"] == etag_of(pieces)
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"".join(pieces)


def test_what_part_copies_refuse(s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="source", Body=b"0123456789")
    upload = Upload(s3, bucket)
    call = {**upload.address, "PartNumber": 1}
    source = {"Bucket": bucket, "Key": "source"}
    with refused(404, "NoSuchKey"):
        s3.upload_part_copy(**call, CopySource={"Bucket": bucket, "Key": "absent"})
    with refused(412, "PreconditionFailed"):
        s3.upload_part_copy(**call, CopySource=source, CopySourceIfMatch='"other"')
    # unlike a read, a copy wants both ends of the range, and both inside the source
    for range_ in ("bytes=0-10", "bytes=10-12", "bytes=3-", "bytes=-3", "0-3", "bytes=3-1"):
        with refused(400, "InvalidArgument", "InvalidRange"):
            s3.upload_part_copy(**call, CopySource=source, CopySourceRange=range_)


# Checksums


def test_a_composite_checksum(s3: Any, bucket: str) -> None:
    bodies = [b"a" * PART, b"end"]
    upload = Upload(s3, bucket, ChecksumAlgorithm="SHA256")
    for number, body in enumerate(bodies, 1):
        answer = upload.part(number, body, ChecksumAlgorithm="SHA256")
        assert answer["ChecksumSHA256"] == base64.b64encode(hashlib.sha256(body).digest()).decode()
    listed = s3.list_parts(**upload.address)
    assert listed["ChecksumAlgorithm"] == "SHA256"
    assert [p["ChecksumSHA256"] for p in listed["Parts"]] == [
        upload.parts[number]["ChecksumSHA256"] for number in (1, 2)
    ]
    whole = hashlib.sha256(b"".join(hashlib.sha256(body).digest() for body in bodies)).digest()
    expected = f"{base64.b64encode(whole).decode()}-2"
    answer = upload.complete()
    assert (answer["ChecksumSHA256"], answer["ChecksumType"]) == (expected, "COMPOSITE")
    head = s3.head_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")
    assert (head["ChecksumSHA256"], head["ChecksumType"]) == (expected, "COMPOSITE")


def test_a_checksum_over_the_whole_object(s3: Any, bucket: str) -> None:
    bodies = [b"a" * PART, b"b" * (PART + 1), b"end"]
    upload = Upload(s3, bucket, ChecksumAlgorithm="CRC64NVME", ChecksumType="FULL_OBJECT")
    for number, body in enumerate(bodies, 1):
        upload.part(number, body, ChecksumAlgorithm="CRC64NVME")
    expected = crc64nvme(b"".join(bodies))
    answer = upload.complete(ChecksumType="FULL_OBJECT")
    assert (answer["ChecksumCRC64NVME"], answer["ChecksumType"]) == (expected, "FULL_OBJECT")
    head = s3.head_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")
    assert head["ChecksumCRC64NVME"] == expected


def test_a_wrong_checksum_of_a_part(s3: Any, bucket: str) -> None:
    upload = Upload(s3, bucket, ChecksumAlgorithm="CRC32")
    with refused(400, "BadDigest"):
        upload.part(1, b"body", ChecksumCRC32="AAAAAA==")
    assert "Parts" not in s3.list_parts(**upload.address)
    upload.part(1, b"body", ChecksumAlgorithm="CRC32")
    wrong = {**upload.parts[1], "ChecksumCRC32": "AAAAAA=="}
    with refused(400, "InvalidPart", "BadDigest"):
        upload.complete_with([wrong])


# The transfer manager


def test_the_transfer_manager(s3: Any, bucket: str, seed: int) -> None:
    body = random.Random(seed).randbytes(32 * MIB + 17)
    config = TransferConfig(
        multipart_threshold=PART, multipart_chunksize=PART, max_concurrency=4, use_threads=True
    )
    s3.upload_fileobj(io.BytesIO(body), bucket, "k", Config=config)
    parts = [body[start : start + PART] for start in range(0, len(body), PART)]
    assert s3.head_object(Bucket=bucket, Key="k")["ETag"] == etag_of(parts)
    s3.copy({"Bucket": bucket, "Key": "k"}, bucket, "copy", Config=config)
    for key in ("k", "copy"):
        into = io.BytesIO()
        s3.download_fileobj(bucket, key, into, Config=config)
        assert into.getvalue() == body
