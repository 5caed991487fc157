"""The checksums that S3 knows, as arithmetic: no requests, no storage.

Digests are raw big-endian bytes here and base64 on the wire.  An object made of parts
has one of two types of checksum: COMPOSITE, the checksum of the parts' digests with
``-`` and the number of parts, or FULL_OBJECT, that of all its bytes.  The latter comes
from the CRCs of the parts without reading them again; hashes cannot be joined like that,
so S3 offers FULL_OBJECT for the CRCs alone, "not for other algorithms, such as SHA and
MD5".  What the five algorithms of 2026 may be follows from the same rule.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity-upload.html
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import xxhash

from blockdev.device import Buffer
from objstore.crc import CRCS, new_crc
from objstore.errors import BadDigestError, InvalidArgumentError
from objstore.model import Checksum

FULL_OBJECT = "FULL_OBJECT"
COMPOSITE = "COMPOSITE"
# What S3 computes where the client sends nothing (since December 2024).
DEFAULT_ALGORITHM = "CRC64NVME"


class Hasher(Protocol):
    """A digest under way.  `update` lets other threads run while it works on large pieces.

    `digest` is canonical: big-endian, also of the XXH family, which computes in little-endian.
    """

    def update(self, data: Buffer, /) -> object: ...
    def digest(self) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Algorithm:
    """A checksum algorithm of S3.

    `header`: lower-case; also the name of the trailer.  `digest_bytes`: length of a digest.
    `new`: starts a digest.  `multipart_types`: those that S3 allows for an object made of
    parts, the default first.  `combine`: the CRC of two blocks from theirs and the length
    of the second in bytes; None where that is impossible.
    """

    name: str
    header: str
    digest_bytes: int
    new: Callable[[], Hasher]
    multipart_types: tuple[str, ...]
    combine: Callable[[int, int, int], int] | None = None


def _crc(name: str, multipart_types: tuple[str, ...]) -> Algorithm:
    digest_bytes, _compute, combine = CRCS[name]
    return Algorithm(
        name,
        f"x-amz-checksum-{name.lower()}",
        digest_bytes,
        lambda: new_crc(name),
        multipart_types,
        combine,
    )


def _hash(name: str, new: Callable[[], Hasher]) -> Algorithm:
    header = f"x-amz-checksum-{name.lower()}"
    return Algorithm(name, header, len(new().digest()), new, (COMPOSITE,))


# By name.
ALGORITHMS: dict[str, Algorithm] = {
    algorithm.name: algorithm
    for algorithm in (
        _crc("CRC32", (COMPOSITE, FULL_OBJECT)),
        _crc("CRC32C", (COMPOSITE, FULL_OBJECT)),
        _crc("CRC64NVME", (FULL_OBJECT,)),
        _hash("SHA1", lambda: hashlib.sha1(usedforsecurity=False)),
        _hash("SHA256", hashlib.sha256),
        _hash("SHA512", hashlib.sha512),
        _hash("MD5", lambda: hashlib.md5(usedforsecurity=False)),
        # With the seed 0 and the default secret, as the SDKs (awscrt) compute them.
        _hash("XXHASH64", xxhash.xxh64),
        _hash("XXHASH3", xxhash.xxh3_64),
        _hash("XXHASH128", xxhash.xxh3_128),
    )
}


def new_hasher(name: str) -> Hasher:
    """Start a digest, one of `ALGORITHMS`.

    Raises:
        KeyError: there is no such algorithm.
    """
    return ALGORITHMS[name].new()


def digest_of(name: str, data: Buffer) -> bytes:
    """The digest of bytes at hand; see `new_hasher`."""
    hasher = new_hasher(name)
    hasher.update(data)
    return hasher.digest()


def encode(digest: bytes) -> str:
    """A digest as it stands in headers."""
    return base64.b64encode(digest).decode("ascii")


def decode(algorithm: Algorithm, text: str) -> bytes:
    """The digest that a header gives.

    Raises:
        InvalidArgumentError: not strict base64, or not of this algorithm's length.  S3
            answers InvalidRequest.
    """
    try:
        digest = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        digest = b""
    # One digest has one spelling: base64 with stray bits at its end is refused, too.
    if len(digest) != algorithm.digest_bytes or encode(digest) != text:
        raise InvalidArgumentError(
            f"Value for {algorithm.header} header is invalid.", algorithm.header, text
        )
    return digest


def multipart_type(algorithm: Algorithm, wanted: str = "") -> str:
    """The checksum type of a multipart upload: `wanted`, or S3's default for the algorithm.

    Raises:
        InvalidArgumentError: S3 does not offer that type with this algorithm.
    """
    chosen = wanted or algorithm.multipart_types[0]
    if chosen not in algorithm.multipart_types:
        raise InvalidArgumentError(
            f"The {chosen} checksum type cannot be used with the "
            f"{algorithm.name.lower()} checksum algorithm.",
            "x-amz-checksum-type",
            chosen,
        )
    return chosen


def composite(algorithm: Algorithm, digests: Sequence[bytes]) -> Checksum:
    """The COMPOSITE checksum of an object from the digests of its parts, in order."""
    digest = digest_of(algorithm.name, b"".join(digests))
    return Checksum(algorithm.name, f"{encode(digest)}-{len(digests)}", COMPOSITE)


def full_object(algorithm: Algorithm, parts: Sequence[tuple[bytes, int]]) -> Checksum:
    """The FULL_OBJECT checksum of an object from its parts' CRCs and sizes in bytes.

    Raises:
        InvalidArgumentError: the algorithm is not a CRC.
    """
    combine = algorithm.combine
    if combine is None:
        raise InvalidArgumentError(f"{algorithm.name} has no checksum of a whole multipart object")
    whole = 0
    for digest, size_bytes in parts:
        whole = combine(whole, int.from_bytes(digest, "big"), size_bytes)
    return Checksum(algorithm.name, encode(whole.to_bytes(algorithm.digest_bytes, "big")))


def verify(name: str, declared: bytes, computed: bytes) -> None:
    """Compare two raw digests.

    Raises:
        BadDigestError: they differ; it carries both in base64.
    """
    if not hmac.compare_digest(declared, computed):
        raise BadDigestError(name, encode(declared), encode(computed))
