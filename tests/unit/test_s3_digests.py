"""What a client demands of a body, and the verdict."""

from __future__ import annotations

import hashlib

import pytest

from objstore.model import Checksum
from objstore.s3 import digests
from objstore.s3.checksums import digest_of, encode
from objstore.s3.errors import S3Error
from objstore.s3.http import Request

DATA = b"some bytes"


def request(**headers: str) -> Request:
    pairs = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return Request("PUT", b"/b/k", b"", pairs, body_length=len(DATA))


def computed(*names: str) -> dict[str, bytes]:
    return {name: digest_of(name, DATA) for name in names}


def test_nothing_demanded_nothing_computed() -> None:
    found = digests.for_body(request())
    assert found.algorithms == ()
    assert found.verify({}, {}) == ()


def test_an_object_gets_crc64nvme_unless_the_client_sends_another() -> None:
    assert digests.for_object(request()).algorithms == ("CRC64NVME",)
    sha1 = encode(digest_of("SHA1", DATA))
    found = digests.for_object(request(x_amz_checksum_sha1=sha1))
    assert found.algorithms == ("SHA1",)
    assert found.verify(computed("SHA1"), {}) == (Checksum("SHA1", sha1),)


def test_a_part_gets_both() -> None:
    crc = encode(digest_of("CRC32", DATA))
    found = digests.for_write(request(x_amz_checksum_crc32=crc))
    assert found.algorithms == ("CRC32", "CRC64NVME")
    stored = found.verify(computed("CRC32", "CRC64NVME"), {})
    assert [c.algorithm for c in stored] == ["CRC32", "CRC64NVME"]
    same = digests.for_write(request(x_amz_checksum_crc32=crc), default="CRC32")
    assert same.algorithms == ("CRC32",)
    assert len(same.verify(computed("CRC32"), {})) == 1


def test_everything_at_once() -> None:
    sha256 = hashlib.sha256(DATA)
    found = digests.for_object(
        request(
            content_md5=encode(digest_of("MD5", DATA)),
            x_amz_content_sha256=sha256.hexdigest(),
            x_amz_checksum_sha256=encode(sha256.digest()),
        )
    )
    assert found.algorithms == ("MD5", "SHA256")
    assert found.verify(computed("MD5", "SHA256"), {}) == (
        Checksum("SHA256", encode(sha256.digest())),
    )


def test_one_md5_for_all_who_ask_for_it() -> None:
    md5 = encode(digest_of("MD5", DATA))
    found = digests.for_object(request(content_md5=md5, x_amz_checksum_md5=md5))
    assert found.algorithms == ("MD5",)
    assert found.verify(computed("MD5"), {}) == (Checksum("MD5", md5),)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("content_md5", "The Content-MD5 you specified did not match what we received."),
        ("x_amz_checksum_md5", "The MD5 you specified did not match the calculated checksum."),
    ],
)
def test_which_md5_it_was_that_is_wrong(header: str, message: str) -> None:
    found = digests.for_object(request(**{header: encode(digest_of("MD5", b"other"))}))
    with pytest.raises(S3Error) as caught:
        found.verify(computed("MD5", "CRC64NVME"), {})
    assert (caught.value.code, caught.value.message) == ("BadDigest", message)


@pytest.mark.parametrize("name", ["UNSIGNED-PAYLOAD", "STREAMING-UNSIGNED-PAYLOAD-TRAILER"])
def test_a_payload_without_a_digest(name: str) -> None:
    assert digests.for_body(request(x_amz_content_sha256=name)).payload_sha256 is None


def test_a_trailer_that_does_not_come() -> None:
    found = digests.for_object(request(x_amz_trailer="x-amz-checksum-crc32"))
    assert (found.trailer_name, found.checksum) == ("x-amz-checksum-crc32", None)
    with pytest.raises(S3Error) as caught:
        found.verify(computed("CRC32"), {})
    assert caught.value.code == "MalformedTrailerError"


@pytest.mark.parametrize(
    ("value", "valid"),
    [("AAAAAA==", True), ("AAAAAA", False), ("AAAAAB==", False), ("AAA AA==", False), ("", False)],
)
def test_the_value_of_a_checksum_is_checked(value: str, valid: bool) -> None:
    if valid:
        assert digests.for_body(request(x_amz_checksum_crc32=value)).checksum == value
        return
    with pytest.raises(S3Error) as caught:
        digests.for_body(request(x_amz_checksum_crc32=value))
    assert caught.value.code == "InvalidRequest"


def test_the_checksum_of_a_whole_may_be_composite() -> None:
    found = digests.full_checksum(request(x_amz_checksum_crc32="AAAAAA==-3"))
    assert found == Checksum("CRC32", "AAAAAA==-3")
    assert digests.full_checksum(request()) is None
