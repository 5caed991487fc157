"""The checksums of S3: digests, base64, and checksums of objects made of parts."""

from __future__ import annotations

import base64
import hashlib
from functools import cache

import botocore.session
import pytest
from hypothesis import given
from hypothesis import strategies as st

from objstore.errors import BadDigestError, InvalidArgumentError
from objstore.s3 import checksums
from objstore.s3.checksums import ALGORITHMS, COMPOSITE, FULL_OBJECT
from tests.golden.checksums import DIGESTS, INPUTS

CRCS = ["CRC32", "CRC32C", "CRC64NVME"]
HASHES = [name for name in ALGORITHMS if name not in CRCS]


def bitwise_crc(data: bytes, width: int, reflected_polynomial: int) -> int:
    """A CRC by its definition, one bit at a time."""
    mask = (1 << width) - 1
    crc = mask
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (reflected_polynomial if crc & 1 else 0)
    return crc ^ mask


POLYNOMIALS = {
    "CRC32": (32, 0xEDB88320),
    "CRC32C": (32, 0x82F63B78),
    "CRC64NVME": (64, 0x9A6C9329AC4BC9B5),
}


class TestDigests:
    @pytest.mark.parametrize("name", ALGORITHMS)
    @pytest.mark.parametrize("label", INPUTS)
    def test_known_values(self, name: str, label: str) -> None:
        assert checksums.digest_of(name, INPUTS[label]).hex() == DIGESTS[name][label]

    def test_they_are_those_of_the_published_model(self) -> None:
        model = botocore.session.get_session().get_service_model("s3")
        assert set(ALGORITHMS) == set(model.shape_for("ChecksumAlgorithm").enum)
        members = model.shape_for("PutObjectRequest").members
        for name, algorithm in ALGORITHMS.items():
            assert members[f"Checksum{name}"].serialization["name"] == algorithm.header

    @pytest.mark.parametrize("name", CRCS)
    @given(data=st.binary(max_size=200))
    def test_crcs_by_their_definition(self, name: str, data: bytes) -> None:
        width, polynomial = POLYNOMIALS[name]
        expected = bitwise_crc(data, width, polynomial).to_bytes(width // 8, "big")
        assert checksums.digest_of(name, data) == expected

    @pytest.mark.parametrize("name", ALGORITHMS)
    @given(pieces=st.lists(st.binary(max_size=50), max_size=5))
    def test_in_pieces_of_any_kind(self, name: str, pieces: list[bytes]) -> None:
        hasher = checksums.new_hasher(name)
        for wrap in (bytes, bytearray, memoryview):
            for piece in pieces:
                hasher.update(wrap(piece))
        assert hasher.digest() == checksums.digest_of(name, b"".join(pieces * 3))
        # reading a digest changes nothing
        assert hasher.digest() == checksums.digest_of(name, b"".join(pieces * 3))

    def test_unknown_algorithms(self) -> None:
        with pytest.raises(KeyError):
            checksums.new_hasher("CRC16")


class TestNames:
    def test_headers_and_lengths(self) -> None:
        assert {a.header: a.digest_bytes for a in ALGORITHMS.values()} == {
            "x-amz-checksum-crc32": 4,
            "x-amz-checksum-crc32c": 4,
            "x-amz-checksum-crc64nvme": 8,
            "x-amz-checksum-sha1": 20,
            "x-amz-checksum-sha256": 32,
            "x-amz-checksum-sha512": 64,
            "x-amz-checksum-md5": 16,
            "x-amz-checksum-xxhash64": 8,
            "x-amz-checksum-xxhash3": 8,
            "x-amz-checksum-xxhash128": 16,
        }

    @pytest.mark.parametrize(
        ("name", "default", "refused"),
        [
            ("CRC32", COMPOSITE, None),
            ("CRC32C", COMPOSITE, None),
            ("CRC64NVME", FULL_OBJECT, COMPOSITE),
            *((name, COMPOSITE, FULL_OBJECT) for name in HASHES),
        ],
    )
    def test_types_of_multipart_checksums(
        self, name: str, default: str, refused: str | None
    ) -> None:
        algorithm = ALGORITHMS[name]
        assert checksums.multipart_type(algorithm) == default
        for wanted in (COMPOSITE, FULL_OBJECT):
            if wanted == refused:
                with pytest.raises(InvalidArgumentError, match="cannot be used with"):
                    checksums.multipart_type(algorithm, wanted)
            else:
                assert checksums.multipart_type(algorithm, wanted) == wanted


class TestBase64:
    @pytest.mark.parametrize("name", ALGORITHMS)
    @given(data=st.binary(max_size=20))
    def test_round_trip(self, name: str, data: bytes) -> None:
        digest = checksums.digest_of(name, data)
        assert checksums.decode(ALGORITHMS[name], checksums.encode(digest)) == digest

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "y/Q5Jg",
            "y/Q5Jg=",
            "y_Q5Jg==",
            " y/Q5Jg==",
            "y/Q5Jg==\n",
            "y/Q5Jh==",  # the same bytes, other spare bits
            "y/Q5",
            "y/Q5JgA=",
            "ü/Q5Jg==",
            "y/Q5Jg==-1",
        ],
    )
    def test_other_spellings(self, text: str) -> None:
        with pytest.raises(InvalidArgumentError) as caught:
            checksums.decode(ALGORITHMS["CRC32"], text)
        assert str(caught.value) == "Value for x-amz-checksum-crc32 header is invalid."
        assert caught.value.argument == "x-amz-checksum-crc32"


parts_of_objects = st.lists(st.binary(max_size=100), min_size=1, max_size=6)


class TestParts:
    @pytest.mark.parametrize("name", CRCS)
    @given(parts=parts_of_objects)
    def test_a_full_object_crc_needs_no_data(self, name: str, parts: list[bytes]) -> None:
        known = [(checksums.digest_of(name, part), len(part)) for part in parts]
        result = checksums.full_object(ALGORITHMS[name], known)
        whole = checksums.digest_of(name, b"".join(parts))
        assert result.value == base64.b64encode(whole).decode()
        assert (result.algorithm, result.type) == (name, FULL_OBJECT)

    @pytest.mark.parametrize("name", CRCS)
    def test_it_holds_for_parts_of_gigabytes(self, name: str) -> None:
        # zeros after zeros: any split of the same length must come to the same
        @cache
        def zeros(length_bytes: int) -> bytes:
            algorithm = ALGORITHMS[name]
            half = length_bytes // 2
            if length_bytes <= 4096:
                return checksums.digest_of(name, bytes(length_bytes))
            pair = [(zeros(half), half), (zeros(length_bytes - half), length_bytes - half)]
            return checksums.decode(algorithm, checksums.full_object(algorithm, pair).value)

        five_gib = 5 * 2**30
        uneven = [(zeros(size), size) for size in (five_gib - 4097, 1, 4096, five_gib)]
        even = checksums.full_object(ALGORITHMS[name], [(zeros(five_gib), five_gib)] * 2)
        assert checksums.full_object(ALGORITHMS[name], uneven) == even

    @pytest.mark.parametrize("name", HASHES)
    def test_hashes_have_no_full_object_type(self, name: str) -> None:
        with pytest.raises(InvalidArgumentError, match="no checksum of a whole"):
            checksums.full_object(ALGORITHMS[name], [(b"", 0)])

    @given(parts=parts_of_objects)
    def test_a_composite_is_the_digest_of_digests(self, parts: list[bytes]) -> None:
        digests = [hashlib.sha256(part).digest() for part in parts]
        result = checksums.composite(ALGORITHMS["SHA256"], digests)
        expected = base64.b64encode(hashlib.sha256(b"".join(digests)).digest()).decode()
        assert result.value == f"{expected}-{len(parts)}"
        assert (result.algorithm, result.type) == ("SHA256", COMPOSITE)


def test_verify() -> None:
    digest = checksums.digest_of("CRC32", b"123456789")
    checksums.verify("CRC32", digest, digest)
    with pytest.raises(BadDigestError) as caught:
        checksums.verify("CRC32", bytes(4), digest)
    error = caught.value
    assert (error.algorithm, error.expected, error.computed) == ("CRC32", "AAAAAA==", "y/Q5Jg==")
