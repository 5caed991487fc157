"""Objects in parts, read: by partNumber, by range, and GetObjectAttributes."""

from __future__ import annotations

import hashlib

import pytest

from objstore.s3.checksums import ALGORITHMS
from tests.s3.harness import S3, Reply, backend, checksum  # noqa: F401
from tests.s3.uploads import upload_parts

# Numbers with gaps, and a last part without bytes.
PARTS = {2: b"a" * 100, 3: b"b" * 150, 7: b"c" * 100, 10000: b""}
WHOLE = b"".join(PARTS.values())
STARTS = {2: 0, 3: 100, 7: 250, 10000: 350}
MODE = {"x-amz-checksum-mode": "ENABLED"}
COMPOSITE = [name for name in ALGORITHMS if name != "CRC64NVME"]


@pytest.fixture
def s3() -> S3:
    server = S3(min_part_bytes=100)
    server("PUT", "/bucket")
    return server


def checksums(reply: Reply) -> dict[str, str]:
    return {k: v for k, v in reply.headers.items() if k.startswith("x-amz-checksum")}


# By part number


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_each_part(s3: S3, method: str) -> None:
    done = upload_parts(s3, PARTS)
    for number, data in PARTS.items():
        got = s3(method, "/bucket/key", query=f"partNumber={number}")
        assert got.body == (data if method == "GET" else b"")
        assert got.headers["content-length"] == str(len(data))
        assert got.headers["x-amz-mp-parts-count"] == "4"
        assert f'"{got.etag}"' == done.text("ETag")
        assert not checksums(got)
        if data:
            last = STARTS[number] + len(data) - 1
            assert got.status == 206
            assert got.headers["content-range"] == f"bytes {STARTS[number]}-{last}/{len(WHOLE)}"
        else:
            assert (got.status, "content-range" in got.headers) == (200, False)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("number", [1, 4, 9999])
def test_a_part_that_is_not_there(s3: S3, method: str, number: int) -> None:
    upload_parts(s3, PARTS)
    reply = s3(method, "/bucket/key", query=f"partNumber={number}")
    assert reply.status == 416
    if method == "GET":
        assert reply.code == "InvalidPartNumber"
        assert reply.text("PartNumberRequested") == str(number)
        assert reply.text("ActualPartCount") == "4"


@pytest.mark.parametrize("number", ["0", "10001", "-1", "x", ""])
def test_what_is_no_part_number(s3: S3, number: str) -> None:
    upload_parts(s3, PARTS)
    reply = s3("GET", "/bucket/key", query=f"partNumber={number}")
    assert (reply.status, reply.code) == (400, "InvalidArgument")
    assert reply.text("ArgumentName") == "partNumber"


def test_a_part_and_a_range(s3: S3) -> None:
    upload_parts(s3, PARTS)
    reply = s3("GET", "/bucket/key", query="partNumber=2", headers={"range": "bytes=0-1"})
    assert (reply.status, reply.code) == (400, "InvalidRequest")


def test_conditions_are_those_of_the_object(s3: S3) -> None:
    upload_parts(s3, PARTS)
    etag = s3("HEAD", "/bucket/key").headers["etag"]
    for method in ("GET", "HEAD"):
        same = s3(method, "/bucket/key", query="partNumber=3", headers={"if-none-match": etag})
        other = s3(method, "/bucket/key", query="partNumber=3", headers={"if-match": '"x"'})
        # A condition that does not hold comes before a part that is not there.
        missing = s3(method, "/bucket/key", query="partNumber=4", headers={"if-match": '"x"'})
        assert (same.status, other.status, missing.status) == (304, 412, 412)


def test_the_one_part_of_an_object_put_whole(s3: S3) -> None:
    s3("PUT", "/bucket/key", b"whole")
    got = s3("GET", "/bucket/key", query="partNumber=1", headers=MODE)
    assert (got.status, got.body) == (206, b"whole")
    assert "x-amz-mp-parts-count" not in got.headers
    assert got.headers["x-amz-checksum-crc64nvme"] == checksum("CRC64NVME", b"whole")
    missing = s3("GET", "/bucket/key", query="partNumber=2")
    assert (missing.status, missing.text("ActualPartCount")) == (416, "1")


def test_parts_of_a_copy(s3: S3) -> None:
    upload_parts(s3, PARTS)
    s3("PUT", "/bucket/copy", headers={"x-amz-copy-source": "/bucket/key"})
    s3("DELETE", "/bucket/key")
    got = s3("GET", "/bucket/copy", query="partNumber=7")
    assert (got.status, got.body) == (206, PARTS[7])


# Checksums


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("algorithm", COMPOSITE)
def test_a_part_has_its_own_checksum(s3: S3, method: str, algorithm: str) -> None:
    done = upload_parts(s3, PARTS, algorithm=algorithm)
    header = f"x-amz-checksum-{algorithm.lower()}"
    for number, data in PARTS.items():
        got = s3(method, "/bucket/key", query=f"partNumber={number}", headers=MODE)
        assert checksums(got) == {
            header: checksum(algorithm, data),
            "x-amz-checksum-type": "COMPOSITE",
        }
    whole = s3(method, "/bucket/key", headers=MODE)
    assert checksums(whole)[header] == done.text(f"Checksum{algorithm}")
    assert (done.text(f"Checksum{algorithm}") or "").endswith("-4")


@pytest.mark.parametrize("algorithm", ["CRC32", "CRC32C", "CRC64NVME"])
def test_a_part_of_an_object_with_a_full_checksum(s3: S3, algorithm: str) -> None:
    upload_parts(s3, PARTS, algorithm=algorithm, kind="FULL_OBJECT")
    header = f"x-amz-checksum-{algorithm.lower()}"
    got = s3("GET", "/bucket/key", query="partNumber=3", headers=MODE)
    assert checksums(got) == {
        header: checksum(algorithm, PARTS[3]),
        "x-amz-checksum-type": "FULL_OBJECT",
    }
    whole = s3("GET", "/bucket/key", headers=MODE)
    assert checksums(whole)[header] == checksum(algorithm, WHOLE)


def test_what_else_a_part_was_sent_with_is_left_out(s3: S3) -> None:
    upload_parts(s3, PARTS, sent="CRC32")
    got = s3("GET", "/bucket/key", query="partNumber=2", headers=MODE)
    assert checksums(got) == {
        "x-amz-checksum-crc64nvme": checksum("CRC64NVME", PARTS[2]),
        "x-amz-checksum-type": "FULL_OBJECT",
    }


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(
    ("wanted", "number"),
    [
        ("bytes=0-99", 2),
        ("bytes=100-249", 3),
        ("bytes=250-", 7),
        ("bytes=-100", 7),
        ("bytes=250-400", 7),
        ("bytes=0-98", None),
        ("bytes=0-100", None),
        ("bytes=1-100", None),
        ("bytes=0-249", None),
        ("bytes=0-", None),
    ],
)
def test_a_range_has_a_checksum_if_it_is_a_part(
    s3: S3, method: str, wanted: str, number: int | None
) -> None:
    upload_parts(s3, PARTS, algorithm="SHA256")
    got = s3(method, "/bucket/key", headers={**MODE, "range": wanted})
    assert got.status == 206
    if number is None:
        assert checksums(got) == {}
        return
    assert checksums(got)["x-amz-checksum-sha256"] == checksum("SHA256", PARTS[number])
    assert not checksums(s3(method, "/bucket/key", headers={"range": wanted}))


def test_a_range_of_an_object_with_a_full_checksum_has_none(s3: S3) -> None:
    upload_parts(s3, PARTS)
    assert not checksums(s3("GET", "/bucket/key", headers={**MODE, "range": "bytes=0-99"}))
    s3("PUT", "/bucket/whole", b"0123456789")
    assert not checksums(s3("GET", "/bucket/whole", headers={**MODE, "range": "bytes=0-9"}))


# GetObjectAttributes


def attributes(s3: S3, names: str, key: str = "key", **headers: str) -> Reply:
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    if names:
        given["x-amz-object-attributes"] = names
    return s3("GET", f"/bucket/{key}", query="attributes", headers=given)


ALL = "ETag,Checksum,ObjectParts,StorageClass,ObjectSize"


def test_of_an_object_put_whole(s3: S3) -> None:
    s3("PUT", "/bucket/key", b"whole", headers={"x-amz-storage-class": "GLACIER_IR"})
    reply = attributes(s3, ALL)
    assert reply.status == 200
    assert reply.xml.tag == "GetObjectAttributesResponse"
    assert [node.tag for node in reply.xml] == ["ETag", "Checksum", "StorageClass", "ObjectSize"]
    assert reply.text("ETag") == hashlib.md5(b"whole").hexdigest()
    assert reply.text("Checksum/ChecksumCRC64NVME") == checksum("CRC64NVME", b"whole")
    assert reply.text("Checksum/ChecksumType") == "FULL_OBJECT"
    assert (reply.text("StorageClass"), reply.text("ObjectSize")) == ("GLACIER_IR", "5")
    head = s3("HEAD", "/bucket/key").headers
    assert reply.headers["last-modified"] == head["last-modified"]
    assert "x-amz-version-id" not in reply.headers


def test_only_what_is_asked_for(s3: S3) -> None:
    upload_parts(s3, PARTS)
    for name in ALL.split(","):
        assert [node.tag for node in attributes(s3, name).xml] == [name]
    assert [n.tag for n in attributes(s3, " ObjectSize ,,ETag").xml] == ["ETag", "ObjectSize"]
    assert attributes(s3, "StorageClass").text("StorageClass") == "STANDARD"


@pytest.mark.parametrize("names", ["", " , "])
def test_nothing_asked_for(s3: S3, names: str) -> None:
    s3("PUT", "/bucket/key", b"")
    reply = attributes(s3, names)
    assert (reply.status, reply.code) == (400, "InvalidRequest")


@pytest.mark.parametrize("name", ["etag", "Size", "ETag,LastModified"])
def test_an_attribute_that_there_is_not(s3: S3, name: str) -> None:
    s3("PUT", "/bucket/key", b"")
    reply = attributes(s3, name)
    assert (reply.status, reply.code) == (400, "InvalidArgument")
    assert reply.text("ArgumentName") == "x-amz-object-attributes"


@pytest.mark.parametrize("algorithm", COMPOSITE)
def test_of_an_object_in_parts(s3: S3, algorithm: str) -> None:
    done = upload_parts(s3, PARTS, algorithm=algorithm)
    reply = attributes(s3, ALL)
    assert [node.tag for node in reply.xml] == ALL.split(",")
    assert f'"{reply.text("ETag")}"' == done.text("ETag")
    tag = f"Checksum{algorithm}"
    assert reply.text(f"Checksum/{tag}") == done.text(tag)
    assert reply.text("Checksum/ChecksumType") == "COMPOSITE"
    parts = "ObjectParts/"
    assert reply.text(parts + "PartsCount") == "4"
    assert (reply.text(parts + "MaxParts"), reply.text(parts + "IsTruncated")) == ("1000", "false")
    assert reply.texts(parts + "Part/PartNumber") == [str(number) for number in PARTS]
    assert reply.texts(parts + "Part/Size") == [str(len(data)) for data in PARTS.values()]
    sums = [checksum(algorithm, data) for data in PARTS.values()]
    assert reply.texts(f"{parts}Part/{tag}") == sums


def test_parts_of_a_full_checksum_are_counted_and_not_listed(s3: S3) -> None:
    upload_parts(s3, PARTS)
    reply = attributes(s3, "ObjectParts")
    assert [node.tag for node in reply.xml[0]] == ["PartsCount"]
    assert reply.text("ObjectParts/PartsCount") == "4"


def test_parts_in_pages(s3: S3) -> None:
    upload_parts(s3, PARTS, algorithm="SHA1")
    numbers: list[str] = []
    marker, pages = "0", 0
    while True:
        reply = attributes(s3, "ObjectParts", x_amz_max_parts="3", x_amz_part_number_marker=marker)
        page = reply.texts("ObjectParts/Part/PartNumber")
        assert reply.text("ObjectParts/PartNumberMarker") == marker
        assert reply.text("ObjectParts/MaxParts") == "3"
        numbers += page
        pages += 1
        marker = reply.text("ObjectParts/NextPartNumberMarker") or ""
        if reply.text("ObjectParts/IsTruncated") == "false":
            break
        assert marker == page[-1]
    assert (numbers, pages) == ([str(number) for number in PARTS], 2)


@pytest.mark.parametrize(("limit", "shown"), [("0", 0), ("4", 4), ("1001", 4)])
def test_how_many_parts_a_page_may_have(s3: S3, limit: str, shown: int) -> None:
    upload_parts(s3, PARTS, algorithm="SHA1")
    reply = attributes(s3, "ObjectParts", x_amz_max_parts=limit)
    assert len(reply.texts("ObjectParts/Part")) == shown
    assert reply.text("ObjectParts/MaxParts") == str(min(int(limit), 1000))
    assert reply.text("ObjectParts/IsTruncated") == "false"


@pytest.mark.parametrize("marker", ["10000", "2147483647"])
def test_after_the_last_part(s3: S3, marker: str) -> None:
    upload_parts(s3, PARTS, algorithm="SHA1")
    reply = attributes(s3, "ObjectParts", x_amz_part_number_marker=marker)
    assert reply.texts("ObjectParts/Part") == []
    assert reply.text("ObjectParts/PartsCount") == "4"


@pytest.mark.parametrize("header", ["x-amz-max-parts", "x-amz-part-number-marker"])
@pytest.mark.parametrize("value", ["-1", "x", "2147483648"])
def test_limits_that_are_none(s3: S3, header: str, value: str) -> None:
    upload_parts(s3, PARTS)
    reply = attributes(s3, "ObjectParts", **{header: value})
    assert (reply.status, reply.code) == (400, "InvalidArgument")
    assert reply.text("ArgumentName") == header


def test_attributes_of_what_is_not_there(s3: S3) -> None:
    assert attributes(s3, "ETag").code == "NoSuchKey"
    reply = s3("GET", "/other/key", query="attributes", headers={"x-amz-object-attributes": "ETag"})
    assert reply.code == "NoSuchBucket"


def test_attributes_under_conditions(s3: S3) -> None:
    s3("PUT", "/bucket/key", b"")
    etag = s3("HEAD", "/bucket/key").headers["etag"]
    assert attributes(s3, "ETag", if_match=etag).status == 200
    assert attributes(s3, "ETag", if_match='"x"').status == 412
    assert attributes(s3, "ETag", if_none_match=etag).status == 304


def test_attributes_of_a_version(s3: S3) -> None:
    s3("PUT", "/bucket/key", b"")

    def of(version_id: str) -> Reply:
        query = {"attributes": "", "versionId": version_id}
        headers = {"x-amz-object-attributes": "ETag"}
        return s3("GET", "/bucket/key", query=query, headers=headers)

    null = of("null")
    assert null.status == 200
    assert "x-amz-version-id" not in null.headers
    assert (of("").status, of("").code) == (400, "InvalidArgument")
    assert of("0123456789abcdef" * 2).status == 404
