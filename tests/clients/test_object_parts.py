"""Objects in parts read by boto3 and `aws`: by part number, and their attributes."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from tests.clients.digests import DIGESTS
from tests.clients.endpoint import Endpoint
from tests.clients.errors import refused
from tests.clients.test_aws_cli import Aws
from tests.clients.test_multipart import PART, Upload

ALL = ["ETag", "Checksum", "ObjectParts", "StorageClass", "ObjectSize"]


@pytest.fixture
def bodies(seed: int) -> list[bytes]:
    rng = random.Random(seed)
    return [rng.randbytes(PART), rng.randbytes(PART + 4321), b"last"]


def put_parts(s3: Any, bucket: str, bodies: list[bytes], algorithm: str, **arguments: Any) -> Any:
    """Upload with botocore's own checksums; for MD5, which it computes none of, with ours."""
    upload = Upload(s3, bucket, ChecksumAlgorithm=algorithm, **arguments)
    for number, body in enumerate(bodies, 1):
        value = DIGESTS[algorithm](body)
        if algorithm == "MD5":
            answer = upload.part(number, body, ChecksumMD5=value)
        else:
            answer = upload.part(number, body, ChecksumAlgorithm=algorithm)
        assert answer[f"Checksum{algorithm}"] == value
    return upload.complete(MpuObjectSize=sum(map(len, bodies)))


@pytest.mark.parametrize(
    "algorithm", ["CRC32", "SHA512", "MD5", "XXHASH64", "XXHASH3", "XXHASH128"]
)
def test_parts_of_a_composite_checksum(
    s3: Any, bucket: str, bodies: list[bytes], algorithm: str
) -> None:
    done = put_parts(s3, bucket, bodies, algorithm)
    name = f"Checksum{algorithm}"
    assert (done["ChecksumType"], done[name][-2:]) == ("COMPOSITE", f"-{len(bodies)}")
    start = 0
    for number, body in enumerate(bodies, 1):
        got = s3.get_object(Bucket=bucket, Key="k", PartNumber=number, ChecksumMode="ENABLED")
        assert got["Body"].read() == body
        assert (got["PartsCount"], got["ContentLength"]) == (len(bodies), len(body))
        whole = sum(map(len, bodies))
        assert got["ContentRange"] == f"bytes {start}-{start + len(body) - 1}/{whole}"
        assert (got[name], got["ChecksumType"]) == (DIGESTS[algorithm](body), "COMPOSITE")
        head = s3.head_object(Bucket=bucket, Key="k", PartNumber=number, ChecksumMode="ENABLED")
        assert (head[name], head["PartsCount"]) == (got[name], len(bodies))
        start += len(body)
    with refused(416, "InvalidPartNumber"):
        s3.get_object(Bucket=bucket, Key="k", PartNumber=len(bodies) + 1)


def test_attributes_in_pages(s3: Any, bucket: str, bodies: list[bytes]) -> None:
    done = put_parts(s3, bucket, bodies, "SHA256", StorageClass="STANDARD_IA")
    got = s3.get_object_attributes(Bucket=bucket, Key="k", ObjectAttributes=ALL)
    assert f'"{got["ETag"]}"' == done["ETag"]
    assert (got["ObjectSize"], got["StorageClass"]) == (sum(map(len, bodies)), "STANDARD_IA")
    assert got["Checksum"] == {
        "ChecksumSHA256": done["ChecksumSHA256"],
        "ChecksumType": "COMPOSITE",
    }
    assert got["LastModified"] == s3.head_object(Bucket=bucket, Key="k")["LastModified"]
    parts: list[Any] = []
    marker = 0
    while True:
        page = s3.get_object_attributes(
            Bucket=bucket,
            Key="k",
            ObjectAttributes=["ObjectParts"],
            MaxParts=2,
            PartNumberMarker=marker,
        )["ObjectParts"]
        assert (page["TotalPartsCount"], page["MaxParts"]) == (3, 2)
        parts += page["Parts"]
        if not page["IsTruncated"]:
            break
        marker = page["NextPartNumberMarker"]
    assert parts == [
        {"PartNumber": number, "Size": len(body), "ChecksumSHA256": DIGESTS["SHA256"](body)}
        for number, body in enumerate(bodies, 1)
    ]


def test_attributes_of_an_object_put_whole(s3: Any, bucket: str) -> None:
    put = s3.put_object(Bucket=bucket, Key="k", Body=b"body")
    got = s3.get_object_attributes(Bucket=bucket, Key="k", ObjectAttributes=ALL)
    assert f'"{got["ETag"]}"' == put["ETag"]
    assert got["Checksum"]["ChecksumType"] == "FULL_OBJECT"
    assert (got["ObjectSize"], "ObjectParts" in got) == (4, False)
    with refused(404, "NoSuchKey"):
        s3.get_object_attributes(Bucket=bucket, Key="other", ObjectAttributes=ALL)
    with refused(400, "InvalidArgument"):
        s3.get_object_attributes(Bucket=bucket, Key="k", ObjectAttributes=["Owner"])


def test_the_size_of_the_whole(s3: Any, bucket: str) -> None:
    upload = Upload(s3, bucket)
    upload.part(1, b"body")
    with refused(400, "InvalidRequest"):
        upload.complete(MpuObjectSize=5)
    assert upload.complete(MpuObjectSize=4)["ETag"].endswith('-1"')


def test_aws(endpoint: Endpoint, s3: Any, bucket: str, bodies: list[bytes], tmp_path: Path) -> None:
    put_parts(s3, bucket, bodies, "CRC32C")
    aws, back = Aws(endpoint), tmp_path / "part"
    at = ("--bucket", bucket, "--key", "k")
    part = aws.json("get-object", *at, "--part-number", "2", "--checksum-mode", "ENABLED", back)
    assert back.read_bytes() == bodies[1]
    assert (part["PartsCount"], part["ChecksumCRC32C"]) == (3, DIGESTS["CRC32C"](bodies[1]))
    asked = ("--object-attributes", *ALL, "--max-parts", "1", "--part-number-marker", "1")
    got = aws.json("get-object-attributes", *at, *asked)
    assert got["ObjectSize"] == sum(map(len, bodies))
    assert [entry["PartNumber"] for entry in got["ObjectParts"]["Parts"]] == [2]
    assert got["ObjectParts"]["IsTruncated"] is True
    for algorithm in ("XXHASH3", "SHA512"):
        body = tmp_path / algorithm
        body.write_bytes(bodies[2])
        put = aws.json("put-object", *at, "--body", body, "--checksum-algorithm", algorithm)
        assert put[f"Checksum{algorithm}"] == DIGESTS[algorithm](bodies[2])
        got = aws.json("get-object", *at, "--checksum-mode", "ENABLED", back)
        assert got[f"Checksum{algorithm}"] == DIGESTS[algorithm](bodies[2])
        assert back.read_bytes() == bodies[2]
