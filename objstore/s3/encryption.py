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
from objstore.errors import NoSuchSettingError
from objstore.model import NO_ENCRYPTION, Encryption, UploadInfo
from objstore.s3.errors import (
    NEEDS_CUSTOMER_KEY,
    NO_CUSTOMER_KEY_WANTED,
    WRONG_CUSTOMER_KEY,
    S3Error,
    header_not_implemented,
    invalid_argument,
    invalid_request,
)
from objstore.s3.http import Context, Headers, Request

ALGORITHM: Final = b"x-amz-server-side-encryption"
KEY_ID: Final = b"x-amz-server-side-encryption-aws-kms-key-id"
CONTEXT: Final = b"x-amz-server-side-encryption-context"
BUCKET_KEY: Final = b"x-amz-server-side-encryption-bucket-key-enabled"
COPY_SOURCE: Final = b"x-amz-copy-source-"

_CUSTOMER: Final = b"server-side-encryption-customer-"
CUSTOMER_ALGORITHM: Final = b"x-amz-" + _CUSTOMER + b"algorithm"
CUSTOMER_KEY: Final = b"x-amz-" + _CUSTOMER + b"key"
CUSTOMER_KEY_MD5: Final = b"x-amz-" + _CUSTOMER + b"key-md5"

_MANAGED = frozenset((ALGORITHM, KEY_ID, CONTEXT, BUCKET_KEY))
_OF_CUSTOMER = frozenset((CUSTOMER_ALGORITHM, CUSTOMER_KEY, CUSTOMER_KEY_MD5))
_OF_SOURCE = frozenset(
    COPY_SOURCE + _CUSTOMER + name for name in (b"algorithm", b"key", b"key-md5")
)
HEADERS = _MANAGED | _OF_CUSTOMER
"""Of a write."""
ALL_HEADERS = HEADERS | _OF_SOURCE

AES256: Final = "AES256"
KMS: Final = "aws:kms"
DSSE: Final = "aws:kms:dsse"
CUSTOMER: Final = "SSE-C"
CUSTOMER_KEY_BYTES: Final = 32

BLOCKED_SETTING: Final = "blocked-encryption"
"""The bucket's setting that refuses new objects under customers' keys; its value is `CUSTOMER`."""

# Which operations take what: the choice of an encryption; a customer's key, which has to
# come along again; the key of a copy's source.
_CHOOSING = frozenset(("PutObject", "CopyObject", "CreateMultipartUpload"))
_CARRYING = frozenset(
    (
        "GetObject",
        "HeadObject",
        "GetObjectAttributes",
        "UploadPart",
        "UploadPartCopy",
        "ListParts",
        "CompleteMultipartUpload",
    )
)
_COPYING = frozenset(("CopyObject", "UploadPartCopy"))
_WRITING = _CHOOSING | {"UploadPart", "UploadPartCopy"}

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
    if not request.header_map.keys().isdisjoint(_OF_CUSTOMER):
        key = customer_key(request)
        return Encryption(CUSTOMER, key_md5(key))
    if algorithm not in (None, AES256, KMS, DSSE):
        raise _unsupported(algorithm)
    key_id, context = request.header(KEY_ID) or "", request.header(CONTEXT)
    if algorithm not in (KMS, DSSE) and (key_id or context):
        raise _invalid(
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


def _invalid(message: str, value: str | None = None) -> S3Error:
    """InvalidArgument as S3 gives it here: whatever is wrong, it names this one header."""
    return invalid_argument(message, ALGORITHM.decode("ascii"), _NULL if value is None else value)


def _unsupported(value: str | None) -> S3Error:
    return _invalid("The encryption method specified is not supported", value)


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
    names = _OF_SOURCE if prefix else _OF_CUSTOMER
    if headers.keys().isdisjoint(names):
        return b""
    base = (prefix or b"x-amz-") + _CUSTOMER
    if not prefix and ALGORITHM in headers:
        raise _invalid(
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
    return _invalid(
        "Requests specifying Server Side Encryption with Customer provided keys must provide "
        f"{what}."
    )


def _checked_key(encoded: bytes, md5: bytes) -> bytes:
    try:
        key = base64.b64decode(encoded, validate=True)
    except binascii.Error:
        key = b""
    if key and not hmac.compare_digest(key_md5(key).encode("ascii"), md5):
        raise _invalid(
            "The calculated MD5 hash of the key did not match the hash that was provided."
        )
    if len(key) != CUSTOMER_KEY_BYTES:
        raise _invalid("The secret key was invalid for the specified algorithm.")
    return key


def key_md5(key: bytes) -> str:
    """The MD5 of a customer's key in base64, by which requests and answers name it."""
    return base64.b64encode(hashlib.md5(key, usedforsecurity=False).digest()).decode("ascii")


def check_operation(ctx: Context, operation: str, request: Request) -> None:
    """Refuse headers of encryption that the operation does not take, or the bucket.

    Raises:
        S3Error: NotImplemented where S3 has no such header; InvalidArgument where it has
            one on other operations; AccessDenied where the bucket refuses SSE-C.
    """
    present = request.header_map.keys() & ALL_HEADERS
    if not present:
        return
    for name in sorted(present & _OF_SOURCE if operation not in _COPYING else ()):
        raise header_not_implemented(name.decode("ascii"))
    if operation in _CARRYING:
        _check_carried(request, present)
    elif operation not in _CHOOSING:
        raise header_not_implemented(min(present).decode("ascii"))
    if operation in _WRITING and present & _OF_CUSTOMER and is_blocked(ctx, request.bucket):
        raise S3Error(
            "AccessDenied",
            "This bucket has blocked upload requests that specify Server Side Encryption with "
            "Customer provided keys (SSE-C). Please specify a different server-side encryption "
            "type.",
        )


def _check_carried(request: Request, present: frozenset[bytes] | set[bytes]) -> None:
    """An object, or an upload, is encrypted already: nothing is to be chosen any more."""
    if ALGORITHM in present:
        raise _invalid(
            "x-amz-server-side-encryption header is not supported for this operation.",
            request.header(ALGORITHM),
        )
    for name in sorted(present & _MANAGED):
        shown = name.decode("ascii")
        raise invalid_argument(
            f"{shown} header is not supported for this operation.",
            shown,
            request.header(name) or "",
        )


def is_blocked(ctx: Context, bucket: str) -> bool:
    """Whether the bucket takes no new objects under customers' keys."""
    try:
        return ctx.store.bucket_setting(bucket, BLOCKED_SETTING) == CUSTOMER.encode("ascii")
    except NoSuchSettingError:
        return False


def check_readable(encryption: Encryption, key: bytes) -> None:
    """Whether a customer's key, or none, fits an object of which only its attributes are read.

    The key is compared by its MD5: nothing is decrypted with it.

    Raises:
        S3Error: InvalidRequest, AccessDenied.
    """
    if encryption.algorithm != CUSTOMER:
        if key:
            raise invalid_request(NO_CUSTOMER_KEY_WANTED)
        return
    if not key:
        raise invalid_request(NEEDS_CUSTOMER_KEY)
    if not hmac.compare_digest(key_md5(key), encryption.key_id):
        raise S3Error("AccessDenied", WRONG_CUSTOMER_KEY)


def check_part(upload: UploadInfo, key: bytes, *, is_needed: bool = True) -> None:
    """Whether a part of an upload comes with the key that the upload was created with.

    Args:
        is_needed: False where nothing is encrypted: a key may be absent, not be another.

    Raises:
        S3Error: InvalidRequest.
    """
    encryption = upload.attributes.encryption
    wants_key = encryption.algorithm == CUSTOMER
    if wants_key != bool(key) and (key or is_needed):
        raise invalid_request(
            "The multipart upload initiate requested encryption. Subsequent part requests must "
            "include the appropriate encryption parameters."
        )
    if key and not hmac.compare_digest(key_md5(key), encryption.key_id):
        raise invalid_request(
            "The provided encryption parameters did not match the ones used originally."
        )


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
