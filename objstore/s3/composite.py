"""Checksums of uploads in parts: which type an upload has, and that of the whole object."""

from __future__ import annotations

from collections.abc import Sequence

from objstore.errors import InvalidArgumentError
from objstore.model import Checksum, PartInfo
from objstore.s3 import checksums
from objstore.s3.checksums import ALGORITHMS, COMPOSITE, FULL_OBJECT
from objstore.s3.errors import invalid_request


def upload_type(algorithm: str, asked: str | None) -> str:
    """The checksum type of an upload with this algorithm.

    Raises:
        S3Error: InvalidRequest where the two do not go together.
    """
    wanted = (asked or "").upper()
    if wanted not in ("", FULL_OBJECT, COMPOSITE):
        raise invalid_request("Value for x-amz-checksum-type header is invalid.")
    try:
        return checksums.multipart_type(ALGORITHMS[algorithm], wanted)
    except InvalidArgumentError as error:
        raise invalid_request(str(error)) from None


def join(parts: Sequence[PartInfo], algorithm: str, checksum_type: str) -> Checksum | None:
    """The checksum of an object from those of its parts; None if a part lacks its own."""
    kind = ALGORITHMS[algorithm]
    if checksum_type not in kind.multipart_types:
        return None
    digests: list[tuple[bytes, int]] = []
    for part in parts:
        value = next((c.value for c in part.checksums if c.algorithm == algorithm), None)
        if value is None:
            return None
        digests.append((checksums.decode(kind, value), part.size_bytes))
    if checksum_type == FULL_OBJECT:
        return checksums.full_object(kind, digests)
    return checksums.composite(kind, [digest for digest, _ in digests])
