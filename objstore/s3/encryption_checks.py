"""Which requests may speak of encryption, and whether a customer's key is the right one."""

from __future__ import annotations

import hmac
from collections.abc import Set
from typing import Final

from objstore.errors import NoSuchSettingError
from objstore.model import Encryption, UploadInfo
from objstore.s3.encryption import (
    ALGORITHM,
    ALL_HEADERS,
    CUSTOMER,
    MANAGED,
    OF_CUSTOMER,
    OF_SOURCE,
    invalid,
    key_md5,
)
from objstore.s3.errors import (
    NEEDS_CUSTOMER_KEY,
    UNWANTED_CUSTOMER_KEY,
    WRONG_CUSTOMER_KEY,
    S3Error,
    header_not_implemented,
    invalid_argument,
    invalid_request,
)
from objstore.s3.http import Context, Request

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


def check_operation(ctx: Context, operation: str, request: Request) -> None:
    """Refuse headers of encryption that the operation does not take, or the bucket.

    Raises:
        S3Error: NotImplemented where S3 has no such header; InvalidArgument where it has
            one on other operations; AccessDenied where the bucket refuses SSE-C.
    """
    present = request.header_map.keys() & ALL_HEADERS
    if not present:
        return
    for name in sorted(present & OF_SOURCE if operation not in _COPYING else ()):
        raise header_not_implemented(name.decode("ascii"))
    if operation in _CARRYING:
        _check_carried(request, present)
    elif operation not in _CHOOSING:
        raise header_not_implemented(min(present).decode("ascii"))
    if operation in _WRITING and present & OF_CUSTOMER and is_blocked(ctx, request.bucket):
        raise S3Error(
            "AccessDenied",
            "This bucket has blocked upload requests that specify Server Side Encryption with "
            "Customer provided keys (SSE-C). Please specify a different server-side encryption "
            "type.",
        )


def _check_carried(request: Request, present: Set[bytes]) -> None:
    """An object, or an upload, is encrypted already: nothing is to be chosen any more."""
    if ALGORITHM in present:
        raise invalid(
            "x-amz-server-side-encryption header is not supported for this operation.",
            request.header(ALGORITHM),
        )
    for name in sorted(present & MANAGED):
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
            raise invalid_request(UNWANTED_CUSTOMER_KEY)
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
