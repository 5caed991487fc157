"""Digests that a client sends with a body, and their comparison with the computed ones.

A client can demand up to three at once: Content-MD5, the SHA-256 of the payload that it
signed, and one ``x-amz-checksum-*`` in a header or an aws-chunked trailer.  The last is
stored with the object.  Where a client sends none, CRC64NVME is computed and stored, as
S3 does since December 2024.

Digests go by the name of their algorithm, whoever demands them: x-amz-checksum-sha256 and
x-amz-content-sha256 are one SHA-256, and x-amz-checksum-md5, Content-MD5 and the engine's
ETag one MD5.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass

from objstore.errors import InvalidArgumentError
from objstore.model import Checksum
from objstore.s3 import checksums
from objstore.s3.checksums import ALGORITHMS, DEFAULT_ALGORITHM
from objstore.s3.checksums import encode as _base64
from objstore.s3.errors import (
    S3Error,
    bad_digest,
    invalid_argument,
    invalid_request,
)
from objstore.s3.http import Request

HEADERS = {name: kind.header.encode("ascii") for name, kind in ALGORITHMS.items()}
_BY_HEADER = {header: name for name, header in HEADERS.items()}
_CHECKSUM_HEADERS = frozenset((*_BY_HEADER, b"x-amz-trailer", b"x-amz-sdk-checksum-algorithm"))


@dataclass(slots=True)
class BodyDigests:
    """What to compute over a body, and what it must come to.

    `algorithms`: names to compute, each once, of `checksums.ALGORITHMS`.
    `md5`: raw Content-MD5.  `payload_sha256`: raw x-amz-content-sha256 where it is a digest.
    `checksum_algorithm`: the client's; empty for none.  `checksum`: its expected value
    in base64 from a header; `trailer_name`: or the trailer that will bring it.
    `default_algorithm`: stored as well, or instead where the client sends none.
    """

    algorithms: tuple[str, ...] = ()
    md5: bytes | None = None
    payload_sha256: bytes | None = None
    checksum_algorithm: str = ""
    checksum: str | None = None
    trailer_name: str = ""
    default_algorithm: str = ""

    @property
    def is_sent(self) -> bool:
        """Whether the client says a digest of the body, besides what signs the request."""
        return self.md5 is not None or bool(self.checksum_algorithm)

    def verify(
        self, computed: Mapping[str, bytes], trailers: Mapping[str, str]
    ) -> tuple[Checksum, ...]:
        """Compare; return what is to be stored.  See `WritePlan.verify`."""
        if self.md5 is not None and computed["MD5"] != self.md5:
            raise bad_digest("MD5", _base64(self.md5), _base64(computed["MD5"]))
        if self.payload_sha256 is not None and computed["SHA256"] != self.payload_sha256:
            raise S3Error(
                "XAmzContentSHA256Mismatch",
                extra={
                    "ClientComputedContentSHA256": self.payload_sha256.hex(),
                    "S3ComputedContentSHA256": computed["SHA256"].hex(),
                },
            )
        stored = []
        if self.checksum_algorithm:
            stored.append(self._verify_checksum(computed, trailers))
        if self.default_algorithm and self.default_algorithm != self.checksum_algorithm:
            value = _base64(computed[self.default_algorithm])
            stored.append(Checksum(self.default_algorithm, value))
        return tuple(stored)

    def _verify_checksum(
        self, computed: Mapping[str, bytes], trailers: Mapping[str, str]
    ) -> Checksum:
        algorithm = self.checksum_algorithm
        expected = self.checksum
        if self.trailer_name:
            expected = trailers.get(self.trailer_name)
            if expected is None:
                raise S3Error("MalformedTrailerError")
            _check_value(self.trailer_name, algorithm, expected)
        value = _base64(computed[algorithm])
        if value != expected:
            raise mismatch(algorithm)
        return Checksum(algorithm, value)


def for_write(request: Request, *, default: str = DEFAULT_ALGORITHM) -> BodyDigests:
    """Digests of an upload; `default` is stored besides the client's own, "" for none.

    Raises:
        S3Error: InvalidDigest, InvalidRequest.
    """
    found = for_body(request)
    found.default_algorithm = default
    if default and default not in found.algorithms:
        found.algorithms = (*found.algorithms, default)
    return found


def for_object(request: Request) -> BodyDigests:
    """Digests of a whole object: the client's checksum, or CRC64NVME when it sends none."""
    found = for_body(request)
    if not found.checksum_algorithm:
        found.default_algorithm = DEFAULT_ALGORITHM
        found.algorithms = (*found.algorithms, DEFAULT_ALGORITHM)
    return found


def for_document(request: Request) -> BodyDigests:
    """As `for_body`, of an operation's document, which may have to come with a digest.

    Raises:
        S3Error: InvalidRequest.
    """
    found = for_body(request)
    if request.operation is not None and request.operation.needs_digest and not found.is_sent:
        raise invalid_request(
            "Missing required header for this request: Content-MD5 OR x-amz-checksum-*"
        )
    return found


def for_body(request: Request) -> BodyDigests:
    """What the headers demand of a body, and nothing more.

    Raises:
        S3Error: InvalidDigest, InvalidRequest.
    """
    headers = request.header_map
    found = BodyDigests()
    algorithms: list[str] = []
    content_md5 = headers.get(b"content-md5")
    if content_md5 is not None:
        found.md5 = _content_md5(content_md5)
        algorithms.append("MD5")
    payload = headers.get(b"x-amz-content-sha256", b"")
    if request.auth is not None:  # a presigned URL may give it in its query instead
        payload = request.auth.content_sha256
    if len(payload) == 64:
        found.payload_sha256 = _hex(payload)
        algorithms.append("SHA256")
    if request.operation is None or not request.operation.checksum_of_object:
        _find_checksum(request, found)
    if found.checksum_algorithm and found.checksum_algorithm not in algorithms:
        algorithms.append(found.checksum_algorithm)
    found.algorithms = tuple(algorithms)
    return found


def parse_algorithm(name: str) -> str:
    """An algorithm as a header names it, in any case.

    Raises:
        S3Error: InvalidRequest.
    """
    upper = name.upper()
    if upper in ALGORITHMS:
        return upper
    raise invalid_request(
        "Checksum algorithm provided is unsupported. Please try again with any of the valid "
        f"types: [{', '.join(ALGORITHMS)}]"
    )


def mismatch(algorithm: str) -> S3Error:
    """A body, or a whole object, is not what its x-amz-checksum says."""
    return S3Error(
        "BadDigest", f"The {algorithm} you specified did not match the calculated checksum."
    )


def full_checksum(request: Request) -> Checksum | None:
    """The one ``x-amz-checksum-*`` header that names the value of a whole object."""
    found = BodyDigests()
    _find_checksum(request, found, composite=True)
    if found.checksum is None:
        return None
    return Checksum(found.checksum_algorithm, found.checksum)


def _find_checksum(request: Request, found: BodyDigests, *, composite: bool = False) -> None:
    headers = request.header_map
    if headers.keys().isdisjoint(_CHECKSUM_HEADERS):
        return
    given = [name for name in _BY_HEADER if name in headers]
    trailer = request.header(b"x-amz-trailer")
    if trailer is not None:
        given.append(_trailer_header(trailer))
    if len(given) > 1:
        raise invalid_request(
            "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed."
        )
    declared = request.header(b"x-amz-sdk-checksum-algorithm")
    if not given:
        if declared is not None and request.body_length != 0:
            parse_algorithm(declared)
            raise invalid_request(
                "x-amz-sdk-checksum-algorithm specified, but no corresponding x-amz-checksum-* or "
                "x-amz-trailer headers were found."
            )
        return
    header = given[0]
    algorithm = _BY_HEADER[header]
    if declared is not None and declared.upper() != algorithm:
        raise invalid_request("Value for x-amz-sdk-checksum-algorithm header is invalid.")
    found.checksum_algorithm = algorithm
    if trailer is not None:
        found.trailer_name = header.decode("ascii")
        return
    value = request.header(header) or ""
    plain = value.partition("-")[0] if composite else value
    _check_value(header.decode("ascii"), algorithm, plain)
    found.checksum = value


def _trailer_header(trailer: str) -> bytes:
    name = trailer.strip().lower().encode("latin-1", "replace")
    if name not in _BY_HEADER:
        raise invalid_request("The value specified in the x-amz-trailer header is not supported")
    return name


def _check_value(header: str, algorithm: str, value: str) -> None:
    try:
        checksums.decode(ALGORITHMS[algorithm], value)
    except InvalidArgumentError:
        raise invalid_request(f"Value for {header} header is invalid.") from None


def _content_md5(value: bytes) -> bytes:
    raw = _decode_base64(value.decode("latin-1"))
    if raw is None or len(raw) != 16:
        raise S3Error("InvalidDigest", extra={"Content-MD5": value.decode("latin-1")})
    return raw


def _hex(value: bytes) -> bytes:
    try:
        return binascii.unhexlify(value)
    except binascii.Error:
        text = value.decode("latin-1")
        raise invalid_argument(
            "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, a STREAMING- value or a valid sha256 "
            "value.",
            "x-amz-content-sha256",
            text,
        ) from None


def _decode_base64(value: str) -> bytes | None:
    """The bytes of strict base64, None for anything else."""
    try:
        return base64.b64decode(value, validate=True)
    except (ValueError, binascii.Error):
        return None
