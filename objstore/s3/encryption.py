"""Encryption in requests and answers: SSE-S3, SSE-KMS and SSE-C.

A customer's key comes with every request that needs it and is passed on, never kept.  No
error names its value, nor anything derived from it but the MD5 that S3 answers.

Headers: https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutObject.html; which operation
takes which is in the models of AWS's SDKs.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from typing import Final

from objstore.config import MAX_ENCRYPTION_CONTEXT_BYTES
from objstore.model import NO_ENCRYPTION, Encryption
from objstore.s3.errors import S3Error, invalid_argument
from objstore.s3.http import Headers, Request

ALGORITHM: Final = b"x-amz-server-side-encryption"
KEY_ID: Final = b"x-amz-server-side-encryption-aws-kms-key-id"
CONTEXT: Final = b"x-amz-server-side-encryption-context"
BUCKET_KEY: Final = b"x-amz-server-side-encryption-bucket-key-enabled"
COPY_SOURCE: Final = b"x-amz-copy-source-"

_CUSTOMER: Final = b"server-side-encryption-customer-"
CUSTOMER_ALGORITHM: Final = b"x-amz-" + _CUSTOMER + b"algorithm"
CUSTOMER_KEY: Final = b"x-amz-" + _CUSTOMER + b"key"
CUSTOMER_KEY_MD5: Final = b"x-amz-" + _CUSTOMER + b"key-md5"

MANAGED = frozenset((ALGORITHM, KEY_ID, CONTEXT, BUCKET_KEY))
OF_CUSTOMER = frozenset((CUSTOMER_ALGORITHM, CUSTOMER_KEY, CUSTOMER_KEY_MD5))
OF_SOURCE = frozenset(COPY_SOURCE + _CUSTOMER + name for name in (b"algorithm", b"key", b"key-md5"))
HEADERS = MANAGED | OF_CUSTOMER
"""Of a write."""
ALL_HEADERS = HEADERS | OF_SOURCE

AES256: Final = "AES256"
KMS: Final = "aws:kms"
DSSE: Final = "aws:kms:dsse"
CUSTOMER: Final = "SSE-C"
CUSTOMER_KEY_BYTES: Final = 32
MAX_KEY_ID_CHARS: Final = 2048
"""Of KMS's API, where any character of a key's name has one byte."""

# What S3 gives as the value of an argument that has none, and here of one that is secret.
_NULL = "null"


def wanted_encryption(request: Request) -> Encryption:
    """The encryption that a writer asks for; NO_ENCRYPTION leaves it to the bucket.

    Of SSE-C it names the key's MD5; the key itself is what `customer_key` gives.

    Raises:
        S3Error: InvalidArgument, or InvalidEncryptionAlgorithmError, where the headers are
            malformed or contradict each other.
    """
    if request.header_map.keys().isdisjoint(HEADERS):
        return NO_ENCRYPTION
    algorithm = request.header(ALGORITHM)
    if not request.header_map.keys().isdisjoint(OF_CUSTOMER):
        key = customer_key(request)
        return Encryption(CUSTOMER, key_md5(key))
    if algorithm not in (None, AES256, KMS, DSSE):
        raise _unsupported(algorithm)
    key_id, context = request.header(KEY_ID) or "", request.header(CONTEXT)
    if len(key_id) > MAX_KEY_ID_CHARS:
        raise invalid_argument("The name of a key is too long", KEY_ID.decode("ascii"))
    if algorithm not in (KMS, DSSE) and (key_id or context):
        raise invalid(
            "Server Side Encryption with AWS KMS managed key requires HTTP header "
            "x-amz-server-side-encryption : aws:kms",
            algorithm,
        )
    wants_bucket_key = _bucket_key(request)
    if algorithm is None:
        return NO_ENCRYPTION
    if algorithm == AES256:
        return Encryption(AES256)
    json_text = _context(context) if context else ""
    return Encryption(algorithm, key_id, json_text, wants_bucket_key and algorithm == KMS)


def invalid(message: str, value: str | None = None) -> S3Error:
    """InvalidArgument as S3 gives it here: whatever is wrong, it names this one header.

    `value` is shown, so it must be nothing secret.
    """
    return invalid_argument(message, ALGORITHM.decode("ascii"), _NULL if value is None else value)


def _unsupported(value: str | None) -> S3Error:
    return invalid("The encryption method specified is not supported", value)


def _bucket_key(request: Request) -> bool:
    value = request.header(BUCKET_KEY)
    if value is None or value.lower() in ("true", "false"):
        return value is not None and value.lower() == "true"
    raise invalid_argument(
        "The value of the bucket key header must be true or false",
        BUCKET_KEY.decode("ascii"),
        value,
    )


def _context(value: str) -> str:
    """The JSON of an encryption context, which is an object with texts as its values."""
    try:
        text = base64.b64decode(value.encode("ascii"), validate=True).decode("utf-8")
        found = json.loads(text)
    except (ValueError, RecursionError):  # of base64, of UTF-8, of JSON
        found, text = None, ""
    if not isinstance(found, dict) or not all(isinstance(text, str) for text in found.values()):
        raise invalid_argument(
            "The header 'x-amz-server-side-encryption-context' shall be Base64-encoded UTF-8 "
            "string holding JSON which represents a string-string map",
            CONTEXT.decode("ascii"),
            value,
        )
    if len(text.encode("utf-8")) > MAX_ENCRYPTION_CONTEXT_BYTES:
        raise invalid_argument(
            f"An encryption context has at most {MAX_ENCRYPTION_CONTEXT_BYTES} bytes",
            CONTEXT.decode("ascii"),
        )
    return text


def customer_key(request: Request, prefix: bytes = b"") -> bytes:
    """The 32 bytes of the customer's key that came with a request; empty if none did.

    Args:
        prefix: `COPY_SOURCE` for the key of a copy's source.

    Raises:
        S3Error: InvalidArgument, or InvalidEncryptionAlgorithmError, where the headers are
            malformed or contradict each other.
    """
    headers = request.header_map
    names = OF_SOURCE if prefix else OF_CUSTOMER
    if headers.keys().isdisjoint(names):
        return b""
    base = (prefix or b"x-amz-") + _CUSTOMER
    if not prefix and not headers.keys().isdisjoint(MANAGED):
        raise invalid(
            "Server Side Encryption with Customer provided key is incompatible with the "
            "encryption method specified",
            request.header(ALGORITHM),
        )
    _check_customer_algorithm(request.header(base + b"algorithm"))
    if not headers.get(base + b"key"):
        raise _must_provide("an appropriate secret key")
    if not headers.get(base + b"key-md5"):
        raise _must_provide("the client calculated MD5 of the secret key")
    return _checked_key(headers[base + b"key"], headers[base + b"key-md5"])


def _check_customer_algorithm(algorithm: str | None) -> None:
    if not algorithm:
        raise _must_provide("a valid encryption algorithm")
    if algorithm != AES256:
        name = ALGORITHM.decode("ascii")
        extra = {"ArgumentName": name, "ArgumentValue": algorithm}
        raise S3Error("InvalidEncryptionAlgorithmError", extra=extra)


def _must_provide(what: str) -> S3Error:
    return invalid(
        "Requests specifying Server Side Encryption with Customer provided keys must provide "
        f"{what}."
    )


def _checked_key(encoded: bytes, md5: bytes) -> bytes:
    try:
        key = base64.b64decode(encoded, validate=True)
    except binascii.Error:
        key = b""
    if key and not hmac.compare_digest(key_md5(key).encode("ascii"), md5):
        raise invalid(
            "The calculated MD5 hash of the key did not match the hash that was provided."
        )
    if len(key) != CUSTOMER_KEY_BYTES:
        raise invalid("The secret key was invalid for the specified algorithm.")
    return key


def key_md5(key: bytes) -> str:
    """The MD5 of a customer's key in base64, by which requests and answers name it."""
    return base64.b64encode(hashlib.md5(key, usedforsecurity=False).digest()).decode("ascii")


def encryption_headers(encryption: Encryption) -> Headers:
    """The headers that tell how an object is encrypted, as reads and parts answer them."""
    if encryption is NO_ENCRYPTION or not encryption.algorithm:
        return []
    if encryption.algorithm == CUSTOMER:
        return [
            (CUSTOMER_ALGORITHM, b"AES256"),
            (CUSTOMER_KEY_MD5, encryption.key_id.encode("ascii")),
        ]
    headers: Headers = [(ALGORITHM, encryption.algorithm.encode("ascii"))]
    if encryption.key_id:
        headers.append((KEY_ID, encryption.key_id.encode("ascii")))
    if encryption.bucket_key:
        headers.append((BUCKET_KEY, b"true"))
    return headers


def chosen_headers(encryption: Encryption) -> Headers:
    """`encryption_headers`, with the context: where it was chosen S3 answers that as well."""
    headers = encryption_headers(encryption)
    if encryption.context:
        headers.append((CONTEXT, base64.b64encode(encryption.context.encode("utf-8"))))
    return headers
