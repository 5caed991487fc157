"""What the twin knows of encryption: who may read what, and which ETag is an MD5.

Nothing is encrypted in it.  Names of keys are taken as they are given.
"""

from __future__ import annotations

import base64
import hashlib
import os

from objstore.errors import (
    CustomerKeyMismatchError,
    CustomerKeyMissingError,
    CustomerKeyUnexpectedError,
    InvalidArgumentError,
)
from objstore.model import NO_ENCRYPTION, Encryption

MANAGED = ("AES256", "aws:kms", "aws:kms:dsse")
AWS_KEY = "arn:aws:kms:us-east-1:000000000000:key/of-the-twin"


def wanted(default: Encryption, asked: Encryption, customer_key: bytes) -> Encryption:
    """What a new object, or upload, has: what was asked for, else the bucket's default."""
    found = asked or (Encryption("SSE-C") if customer_key else default)
    if not found:
        return NO_ENCRYPTION
    is_customers = found.algorithm == "SSE-C"
    if (not is_customers and found.algorithm not in MANAGED) or is_customers != bool(customer_key):
        raise InvalidArgumentError("no such encryption", "encryption", found.algorithm)
    if customer_key and len(customer_key) != 32:
        raise InvalidArgumentError("a customer's key has 32 bytes", "customer_key")
    if is_customers:
        return Encryption("SSE-C", key_md5(customer_key))
    if found.algorithm == "AES256":
        return Encryption("AES256")
    return Encryption(found.algorithm, found.key_id or AWS_KEY, found.context, found.bucket_key)


def key_md5(customer_key: bytes) -> str:
    return base64.b64encode(hashlib.md5(customer_key).digest()).decode("ascii")


def etag(encryption: Encryption, body: bytes) -> str:
    """The MD5, unless the encryption hides it."""
    if encryption.algorithm in ("", "AES256"):
        return hashlib.md5(body).hexdigest()
    return os.urandom(16).hex()


def is_md5_etag(encryption: Encryption) -> bool:
    return encryption.algorithm in ("", "AES256")


def check_key(encryption: Encryption, customer_key: bytes | None) -> None:
    """Whether a customer's key, or none, opens what is so encrypted; None: it is not opened."""
    if customer_key is None:
        return
    if encryption.algorithm != "SSE-C":
        if customer_key:
            raise CustomerKeyUnexpectedError
        return
    if not customer_key:
        raise CustomerKeyMissingError
    if key_md5(customer_key) != encryption.key_id:
        raise CustomerKeyMismatchError


def keeps_parts(source: Encryption, target: Encryption) -> bool:
    """Whether a copy can share its source's bytes, and with them its parts and their ETag."""
    is_shared = bool(source) == bool(target)
    return is_shared and (is_md5_etag(source) or not is_md5_etag(target))
