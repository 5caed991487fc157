"""What a request says of its body's SHA-256, in x-amz-content-sha256.

The values are those of "Authenticating Requests: Using the Authorization Header",
https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-auth-using-authorization-header.html
"""

from __future__ import annotations

import hmac
from enum import Enum

from objstore.auth.errors import (
    ContentSHA256MismatchError,
    InvalidAuthArgumentError,
    InvalidAuthRequestError,
    MissingDecodedLengthError,
    UnsupportedSignatureError,
)

HEADER = b"x-amz-content-sha256"
UNSIGNED = b"UNSIGNED-PAYLOAD"
EMPTY_SHA256 = b"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

_HEX_DIGITS = b"0123456789abcdefABCDEF"
_MAX_LENGTH_DIGITS = 16


class PayloadKind(Enum):
    """How a body is framed and what protects it.

    `aws_chunked`: the body is in aws-chunked frames; `chunk_signed`: each of them has a
    signature; `has_trailer`: trailers may follow.
    """

    SHA256 = ("a digest of the whole body", False, False, False)
    UNSIGNED = ("UNSIGNED-PAYLOAD", False, False, False)
    STREAMING_SIGNED = ("STREAMING-AWS4-HMAC-SHA256-PAYLOAD", True, True, False)
    STREAMING_SIGNED_TRAILER = ("STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER", True, True, True)
    STREAMING_UNSIGNED_TRAILER = ("STREAMING-UNSIGNED-PAYLOAD-TRAILER", True, False, True)

    def __init__(self, text: str, aws_chunked: bool, chunk_signed: bool, has_trailer: bool) -> None:
        self.text = text
        self.aws_chunked = aws_chunked
        self.chunk_signed = chunk_signed
        self.has_trailer = has_trailer


# reaching a member through its class costs as much as all else here
_SHA256 = PayloadKind.SHA256
_KINDS = {kind.text.encode("ascii"): kind for kind in PayloadKind if kind is not PayloadKind.SHA256}
_SIGV4A = frozenset(
    [
        b"STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD",
        b"STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD-TRAILER",
    ]
)


def classify(value: bytes) -> PayloadKind:
    """The kind of body that a value of x-amz-content-sha256 stands for; empty where missing.

    Raises:
        InvalidAuthRequestError: the header is missing.
        InvalidAuthArgumentError: it is neither a SHA-256 in hex nor one of S3's words.
        UnsupportedSignatureError: the chunks are signed with SigV4A.
    """
    if len(value) == 64 and not value.translate(None, _HEX_DIGITS):
        return _SHA256
    kind = _KINDS.get(value)
    if kind is not None:
        return kind
    if not value:
        raise InvalidAuthRequestError(
            "Missing required header for this request: x-amz-content-sha256"
        )
    if value in _SIGV4A:
        raise UnsupportedSignatureError
    raise InvalidAuthArgumentError(
        "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, STREAMING-UNSIGNED-PAYLOAD-TRAILER, "
        "STREAMING-AWS4-HMAC-SHA256-PAYLOAD, STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER "
        "or a valid sha256 value.",
        "x-amz-content-sha256",
        value.decode("latin-1"),
    )


def verify_sha256(expected_hex: bytes, computed: bytes) -> None:
    """Compare the signed digest (hex) with the raw one of the body received.

    Raises:
        ContentSHA256MismatchError: they differ.
    """
    computed_hex = computed.hex()
    expected = expected_hex.decode("ascii").lower()
    if not hmac.compare_digest(expected, computed_hex):
        raise ContentSHA256MismatchError(expected, computed_hex)


def decoded_length(value: bytes | None) -> int:
    """The length in bytes that x-amz-decoded-content-length gives.

    Raises:
        MissingDecodedLengthError: the header is missing or is not a length.
    """
    if not value or len(value) > _MAX_LENGTH_DIGITS or not value.isdigit():
        raise MissingDecodedLengthError
    return int(value)
