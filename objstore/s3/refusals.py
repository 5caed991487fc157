"""Headers that change what a request means, where ignoring them would be a lie.

A client that asks for encryption, a lock or a grant and reads 200 believes that it has
it.  So each such header is either honoured or refused.
"""

from __future__ import annotations

from objstore.s3.encryption import ALL_HEADERS
from objstore.s3.errors import S3Error, header_not_implemented, invalid_argument
from objstore.s3.http import Request
from objstore.s3.object_lock import HEADERS as LOCK_HEADERS
from objstore.s3.operation import Operation

BUCKET_LOCK = b"x-amz-bucket-object-lock-enabled"
WRITE_OFFSET = b"x-amz-write-offset-bytes"
RENAME_SOURCE = b"x-amz-rename-source"

# Functions that are not offered, on whatever operation they are asked for.
_NOT_OFFERED = frozenset(
    (
        b"x-amz-object-lock-event-hold",
        b"x-amz-object-lock-event-hold-duration-days",
        b"x-amz-object-lock-event-hold-duration-years",
        b"x-amz-if-match-initiated-time",
    )
)
# Headers that one operation has, and that would change others beyond recognition.
_OF_ONE = {
    WRITE_OFFSET: "PutObject",
    RENAME_SOURCE: "RenameObject",
    BUCKET_LOCK: "CreateBucket",
}
# Conditions that DeleteObject alone has.
_OF_DELETES = frozenset((b"x-amz-if-match-last-modified-time", b"x-amz-if-match-size"))
_GRANTS = frozenset(
    b"x-amz-grant-" + right
    for right in (b"full-control", b"read", b"read-acp", b"write", b"write-acp")
)
_CANNED_ACLS = frozenset(
    (
        "private",
        "public-read",
        "public-read-write",
        "authenticated-read",
        "aws-exec-read",
        "bucket-owner-read",
        "bucket-owner-full-control",
        "log-delivery-write",
    )
)
# What an ACL may say where the bucket's owner owns everything anyway.
_HARMLESS_ACLS = frozenset(("private", "bucket-owner-full-control"))
_COPIES = frozenset(("CopyObject", "UploadPartCopy"))

# header → the value that says what is the case anyway
_BUCKET_SETTINGS = {
    b"x-amz-object-ownership": "bucketownerenforced",
    b"x-amz-bucket-namespace": "global",
}

_LOCKING = frozenset(("PutObject", "CopyObject", "CreateMultipartUpload"))

# A request without any of these needs no closer look.
SUSPECT_HEADERS = (
    _NOT_OFFERED
    | ALL_HEADERS
    | LOCK_HEADERS
    | _OF_ONE.keys()
    | _GRANTS
    | _BUCKET_SETTINGS.keys()
    | {
        b"x-amz-acl",
        b"x-amz-copy-source",
        b"x-amz-copy-source-range",
        b"x-amz-expected-bucket-owner",
    }
    | _OF_DELETES
)


def check_headers(operation: Operation, request: Request) -> None:
    """Refuse what would otherwise be ignored.

    Raises:
        S3Error: NotImplemented, AccessControlListNotSupported,
            InvalidBucketAclWithObjectOwnership or InvalidArgument.
    """
    headers = request.header_map
    for name in headers.keys() & _NOT_OFFERED:
        raise header_not_implemented(name.decode("ascii"))
    _check_acl(operation, request)
    for name, harmless in _BUCKET_SETTINGS.items():
        value = request.header(name)
        if value is not None and value.lower() != harmless:
            raise header_not_implemented(name.decode("ascii"))
    if b"x-amz-copy-source" in headers and operation.name not in _COPIES:
        raise invalid_argument(
            "You can only specify a copy source header for copy requests.",
            "x-amz-copy-source",
            request.header(b"x-amz-copy-source") or "",
        )
    if b"x-amz-copy-source-range" in headers and operation.name != "UploadPartCopy":
        raise header_not_implemented("x-amz-copy-source-range")
    if operation.name not in _LOCKING:
        for name in headers.keys() & LOCK_HEADERS:
            raise header_not_implemented(name.decode("ascii"))
    for name, only in _OF_ONE.items():
        if name in headers and operation.name != only:
            raise header_not_implemented(name.decode("ascii"))
    if operation.name != "DeleteObject":
        for name in headers.keys() & _OF_DELETES:
            raise header_not_implemented(name.decode("ascii"))


def _check_acl(operation: Operation, request: Request) -> None:
    acl = request.header(b"x-amz-acl")
    if acl is not None and acl not in _CANNED_ACLS:
        raise invalid_argument("", "x-amz-acl", acl)
    granted = not request.header_map.keys().isdisjoint(_GRANTS)
    if not granted and (acl is None or acl in _HARMLESS_ACLS):
        return
    if operation.name == "CreateBucket":
        raise S3Error("InvalidBucketAclWithObjectOwnership", extra={"BucketName": request.bucket})
    raise S3Error("AccessControlListNotSupported")
