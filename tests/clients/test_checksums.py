"""Checksums through boto3: in headers and in aws-chunked trailers, right and wrong."""

from __future__ import annotations

import base64
import hashlib
import random
from collections.abc import Callable
from typing import Any

import pytest

from tests.clients.digests import DIGESTS
from tests.clients.endpoint import Endpoint
from tests.clients.errors import refused
from tests.golden import checksums as golden

KIB = 1024
PLACES = ["header", "trailer"]


@pytest.mark.parametrize("algorithm", DIGESTS)
@pytest.mark.parametrize("label", ["empty", "a", "123456789"])
def test_the_check_values_of_the_catalogues(algorithm: str, label: str) -> None:
    digest = base64.b64decode(DIGESTS[algorithm](golden.INPUTS[label]))
    assert digest.hex() == golden.DIGESTS[algorithm][label]


def asking_for(algorithm: str, body: bytes) -> dict[str, str]:
    """Parameters that have a checksum sent: botocore computes any but an MD5."""
    if algorithm == "MD5":
        return {"ChecksumMD5": DIGESTS["MD5"](body)}
    return {"ChecksumAlgorithm": algorithm}


def _into_trailer(params: dict[str, Any], **_: Any) -> None:
    """botocore sends trailers over TLS only; this makes it do so here."""
    params["context"]["checksum"]["request_algorithm"]["in"] = "trailer"


@pytest.fixture
def client(endpoint: Endpoint) -> Callable[[str], Any]:
    """A client that puts its checksum into a header or into a trailer."""

    def make(place: str) -> Any:
        s3 = endpoint.client()
        if place == "trailer":
            s3.meta.events.register("before-call.s3.PutObject", _into_trailer)
            s3.meta.events.register("before-call.s3.UploadPart", _into_trailer)
        return s3

    return make


@pytest.mark.parametrize("size_bytes", [0, 1, 100 * KIB, 400 * KIB])
@pytest.mark.parametrize(
    ("algorithm", "place"),
    [
        (algorithm, place)
        for algorithm in DIGESTS
        for place in PLACES
        if (algorithm, place) != ("MD5", "trailer")  # botocore sends none there
    ],
)
def test_stored_and_returned(
    client: Callable[[str], Any],
    bucket: str,
    seed: int,
    algorithm: str,
    place: str,
    size_bytes: int,
) -> None:
    s3 = client(place)
    body = random.Random(seed).randbytes(size_bytes)
    name = f"Checksum{algorithm}"
    expected = DIGESTS[algorithm](body)
    put = s3.put_object(Bucket=bucket, Key="k", Body=body, **asking_for(algorithm, body))
    assert (put[name], put["ChecksumType"]) == (expected, "FULL_OBJECT")
    assert put["ETag"] == f'"{hashlib.md5(body).hexdigest()}"'
    got = s3.get_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")
    assert got["Body"].read() == body  # none of the framing, none of the trailer
    assert (got[name], got["ChecksumType"]) == (expected, "FULL_OBJECT")
    head = s3.head_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")
    assert (head[name], head["ContentLength"]) == (expected, size_bytes)
    assert "ContentEncoding" not in head
    assert name not in s3.head_object(Bucket=bucket, Key="k")
    [entry] = s3.list_objects_v2(Bucket=bucket)["Contents"]
    assert (entry["ChecksumAlgorithm"], entry["ChecksumType"]) == ([algorithm], "FULL_OBJECT")


@pytest.mark.parametrize("place", PLACES)
def test_a_part_with_a_checksum(client: Callable[[str], Any], bucket: str, place: str) -> None:
    s3 = client(place)
    upload = s3.create_multipart_upload(Bucket=bucket, Key="k", ChecksumAlgorithm="CRC32C")
    address = {"Bucket": bucket, "Key": "k", "UploadId": upload["UploadId"]}
    part = s3.upload_part(**address, PartNumber=1, Body=b"part", ChecksumAlgorithm="CRC32C")
    assert part["ChecksumCRC32C"] == DIGESTS["CRC32C"](b"part")
    named = {n: part[n] for n in ("ETag", "ChecksumCRC32C")} | {"PartNumber": 1}
    s3.complete_multipart_upload(**address, MultipartUpload={"Parts": [named]})
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"part"


def test_a_range_carries_no_checksum_of_the_whole(s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"0123456789", ChecksumAlgorithm="SHA1")
    got = s3.get_object(Bucket=bucket, Key="k", Range="bytes=0-3", ChecksumMode="ENABLED")
    assert got["Body"].read() == b"0123"
    assert "ChecksumSHA1" not in got


@pytest.mark.parametrize("algorithm", DIGESTS)
@pytest.mark.parametrize("size_bytes", [4, 400 * KIB])
def test_a_wrong_checksum_in_a_header(
    s3: Any, bucket: str, algorithm: str, size_bytes: int
) -> None:
    body = b"x" * size_bytes
    s3.put_object(Bucket=bucket, Key="k", Body=b"old")
    wrong = {f"Checksum{algorithm}": DIGESTS[algorithm](b"something else")}
    with refused(400, "BadDigest"):
        s3.put_object(Bucket=bucket, Key="k", Body=body, **wrong)
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"old"


@pytest.mark.parametrize("algorithm", [name for name in DIGESTS if name != "MD5"])
@pytest.mark.parametrize("size_bytes", [4, 400 * KIB])
def test_a_wrong_checksum_in_a_trailer(
    client: Callable[[str], Any], bucket: str, algorithm: str, size_bytes: int
) -> None:
    s3 = client("trailer")
    s3.put_object(Bucket=bucket, Key="k", Body=b"old")
    s3.meta.events.register("before-send.s3.PutObject", _spoil_trailer)
    with refused(400, "BadDigest"):
        s3.put_object(Bucket=bucket, Key="k", Body=b"x" * size_bytes, ChecksumAlgorithm=algorithm)
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"old"


def _spoil_trailer(request: Any, **_: Any) -> None:
    """Change the first byte of the data, after its length and before its checksum is sent."""
    framed = request.body.read()
    start = framed.index(b"\r\n") + 2
    request.body = framed[:start] + bytes([framed[start] ^ 1]) + framed[start + 1 :]


@pytest.mark.parametrize("value", ["AAAA", "not base64!", ""])
def test_a_checksum_that_is_none(s3: Any, bucket: str, value: str) -> None:
    with refused(400, "InvalidRequest"):
        s3.put_object(Bucket=bucket, Key="k", Body=b"x", ChecksumCRC32=value)


def test_content_md5(s3: Any, bucket: str) -> None:
    right = base64.b64encode(hashlib.md5(b"body").digest()).decode()
    s3.put_object(Bucket=bucket, Key="k", Body=b"body", ContentMD5=right)
    with refused(400, "BadDigest"):
        s3.put_object(Bucket=bucket, Key="k", Body=b"changed", ContentMD5=right)
    with refused(400, "InvalidDigest"):
        s3.put_object(Bucket=bucket, Key="k", Body=b"body", ContentMD5="AAAA")
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"body"


def test_a_copy_keeps_the_checksum_or_makes_the_one_asked_for(s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"body", ChecksumAlgorithm="CRC32C")
    source = {"Bucket": bucket, "Key": "k"}
    kept = s3.copy_object(Bucket=bucket, Key="kept", CopySource=source)["CopyObjectResult"]
    assert kept["ChecksumCRC32C"] == DIGESTS["CRC32C"](b"body")
    made = s3.copy_object(Bucket=bucket, Key="made", CopySource=source, ChecksumAlgorithm="SHA256")[
        "CopyObjectResult"
    ]
    assert made["ChecksumSHA256"] == DIGESTS["SHA256"](b"body")
    head = s3.head_object(Bucket=bucket, Key="made", ChecksumMode="ENABLED")
    assert head["ChecksumSHA256"] == DIGESTS["SHA256"](b"body")
