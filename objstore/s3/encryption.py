"""Encryption in requests and answers: SSE-S3, SSE-KMS and SSE-C."""

from __future__ import annotations

from objstore.model import NO_ENCRYPTION, Encryption
from objstore.s3.errors import header_not_implemented
from objstore.s3.http import Headers, Request

ALGORITHM = b"x-amz-server-side-encryption"
KEY_ID = b"x-amz-server-side-encryption-aws-kms-key-id"
CONTEXT = b"x-amz-server-side-encryption-context"
BUCKET_KEY = b"x-amz-server-side-encryption-bucket-key-enabled"
CUSTOMER_ALGORITHM = b"x-amz-server-side-encryption-customer-algorithm"
CUSTOMER_KEY = b"x-amz-server-side-encryption-customer-key"
CUSTOMER_KEY_MD5 = b"x-amz-server-side-encryption-customer-key-md5"
CUSTOMER = "SSE-C"

HEADERS = frozenset(
    (
        ALGORITHM,
        KEY_ID,
        CONTEXT,
        BUCKET_KEY,
        CUSTOMER_ALGORITHM,
        CUSTOMER_KEY,
        CUSTOMER_KEY_MD5,
    )
)


def wanted_encryption(request: Request) -> Encryption:
    """The encryption that a writer asks for: none yet.

    Raises:
        S3Error: NotImplemented, where one is asked for.
    """
    for name in request.header_map.keys() & HEADERS:
        raise header_not_implemented(name.decode("ascii"))
    return NO_ENCRYPTION


def encryption_headers(encryption: Encryption) -> Headers:
    """The headers that tell how an object is encrypted."""
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
