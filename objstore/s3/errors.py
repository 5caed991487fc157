"""Every error that S3 gives, and how the engine's errors become them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from objstore import errors as engine
from objstore.auth.errors import AuthError
from objstore.model import ObjectInfo
from objstore.s3.error_codes import ERRORS
from objstore.s3.formats import http_date, validators
from objstore.s3.http import Context, Headers, Request, Response
from objstore.s3.xml import error_document

log = logging.getLogger("objstore.s3")

# Of customers' keys (SSE-C) and object lock, as S3 words it.
NEEDS_CUSTOMER_KEY = (
    "The object was stored using a form of Server Side Encryption. The correct parameters must be "
    "provided to retrieve the object."
)
UNWANTED_CUSTOMER_KEY = "The encryption parameters are not applicable to this object."
NEEDS_DIGEST = (
    "Content-MD5 OR x-amz-checksum- HTTP header is required for Put Object requests with "
    "Object Lock parameters"
)
WRONG_CUSTOMER_KEY = (
    "Requests specifying Server Side Encryption with Customer provided keys must provide the "
    "correct secret key."
)


class S3Error(Exception):
    """An error as S3 gives it.

    Args:
        code: a key of `ERRORS`.
        message: where S3 says something more precise than the table.
        status: where it differs from the table.
        extra: further XML elements, such as ``BucketName`` or ``ArgumentName``.
        headers: further response headers.
    """

    def __init__(
        self,
        code: str,
        message: str = "",
        *,
        status: int = 0,
        extra: Mapping[str, str] | None = None,
        headers: Headers | None = None,
    ) -> None:
        default_status, default_message = ERRORS[code]
        self.code = code
        self.message = message or default_message
        self.status = status or default_status
        self.extra = dict(extra or {})
        self.headers = headers or []
        super().__init__(f"{code}: {self.message}")


def invalid_argument(message: str, name: str, value: str = "") -> S3Error:
    """InvalidArgument with the argument's name and value, as S3 reports them."""
    return S3Error("InvalidArgument", message, extra={"ArgumentName": name, "ArgumentValue": value})


def invalid_request(message: str) -> S3Error:
    """InvalidRequest with S3's own words."""
    return S3Error("InvalidRequest", message)


def not_implemented(message: str, **extra: str) -> S3Error:
    """501: what the request asks for is known or unknown, but not offered here."""
    return S3Error("NotImplemented", message, extra=extra)


def header_not_implemented(name: str) -> S3Error:
    """501: a header changes the meaning of the request in a way not offered here."""
    return S3Error("NotImplemented", extra={"Header": name})


Mapper = Callable[[Any, Request], S3Error]

# What S3 says of a bucket's or an object's setting that is not there.
_NO_SETTING = {
    "object-lock": "ObjectLockConfigurationNotFoundError",
    "encryption": "ServerSideEncryptionConfigurationNotFoundError",
    "tagging": "NoSuchTagSet",
    "cors": "NoSuchCORSConfiguration",
}

# The first class that the error is an instance of decides: subclasses stand before their bases.
_ENGINE: list[tuple[type[engine.StoreError], Mapper]] = [
    (
        engine.NoSuchBucketError,
        lambda e, r: S3Error("NoSuchBucket", extra={"BucketName": r.bucket}),
    ),
    (engine.NoSuchKeyError, lambda e, r: _no_such_key(e, r)),
    (
        engine.NoSuchVersionError,
        lambda e, r: S3Error("NoSuchVersion", extra={"Key": e.key, "VersionId": e.version_id}),
    ),
    (engine.NoSuchSettingError, lambda e, r: S3Error(_NO_SETTING[e.setting])),
    (engine.IsDeleteMarkerError, lambda e, r: _is_delete_marker(e)),
    (engine.ObjectLockedError, lambda e, r: S3Error("AccessDenied", str(e))),
    (
        engine.AppendOffsetError,
        lambda e, r: S3Error("InvalidWriteOffset", extra={"ObjectSize": str(e.size_bytes)}),
    ),
    (engine.TooManyPartsError, lambda e, r: S3Error("TooManyParts")),
    (engine.ObjectReplacedError, lambda e, r: S3Error("OperationAborted")),
    (engine.SettingChangedError, lambda e, r: S3Error("OperationAborted")),
    (engine.TokenReusedError, lambda e, r: S3Error("IdempotencyParameterMismatch")),
    (engine.CustomerKeyMissingError, lambda e, r: invalid_request(NEEDS_CUSTOMER_KEY)),
    (engine.CustomerKeyUnexpectedError, lambda e, r: invalid_request(UNWANTED_CUSTOMER_KEY)),
    (engine.CustomerKeyMismatchError, lambda e, r: S3Error("AccessDenied", WRONG_CUSTOMER_KEY)),
    (engine.DigestRequiredError, lambda e, r: invalid_request(NEEDS_DIGEST)),
    (engine.NoObjectLockError, lambda e, r: S3Error("InvalidRequest", str(e))),
    (engine.BucketStateError, lambda e, r: S3Error("InvalidBucketState", str(e))),
    (
        engine.NoSuchUploadError,
        lambda e, r: S3Error("NoSuchUpload", extra={"UploadId": r.query_value("uploadId") or ""}),
    ),
    (
        engine.BucketExistsError,
        lambda e, r: S3Error("BucketAlreadyOwnedByYou", extra={"BucketName": r.bucket}),
    ),
    (
        engine.BucketNotEmptyError,
        lambda e, r: S3Error("BucketNotEmpty", extra={"BucketName": r.bucket}),
    ),
    (
        engine.PreconditionFailedError,
        lambda e, r: S3Error("PreconditionFailed", extra={"Condition": e.condition}),
    ),
    (
        engine.InvalidBucketNameError,
        lambda e, r: S3Error("InvalidBucketName", extra={"BucketName": r.bucket}),
    ),
    (engine.KeyTooLongError, lambda e, r: key_too_long(r.key)),
    (
        engine.NoSuchPartError,
        lambda e, r: S3Error(
            "InvalidPartNumber",
            extra={
                "PartNumberRequested": str(e.part_number),
                "ActualPartCount": str(e.part_count),
            },
        ),
    ),
    (engine.EncryptionMismatchError, lambda e, r: S3Error("EncryptionTypeMismatch")),
    (engine.NotAppendableError, lambda e, r: invalid_request(str(e))),
    (engine.RenameToItselfError, lambda e, r: invalid_request(str(e))),
    (engine.InvalidRangeError, lambda e, r: _invalid_range(e, r)),
    (engine.BadDigestError, lambda e, r: bad_digest(e.algorithm, e.expected, e.computed)),
    (
        engine.EntityTooLargeError,
        lambda e, r: entity_too_large(e.size_bytes, e.limit_bytes),
    ),
    (
        engine.EntityTooSmallError,
        lambda e, r: S3Error(
            "EntityTooSmall",
            extra={
                "ProposedSize": str(e.size_bytes),
                "MinSizeAllowed": str(e.limit_bytes),
                "PartNumber": str(e.part_number),
                "ETag": e.etag,
            },
        ),
    ),
    (engine.IncompleteBodyError, lambda e, r: S3Error("IncompleteBody")),
    (
        engine.InvalidPartError,
        lambda e, r: S3Error("InvalidPart", extra=_invalid_part_extra(e, r)),
    ),
    (
        engine.InvalidPartOrderError,
        lambda e, r: S3Error(
            "InvalidPartOrder", extra={"UploadId": r.query_value("uploadId") or ""}
        ),
    ),
    (engine.KeyNotFoundError, lambda e, r: S3Error("KMS.NotFoundException", str(e))),
    (engine.KeyDisabledError, lambda e, r: S3Error("KMS.DisabledException", str(e))),
    (engine.KeyStateError, lambda e, r: S3Error("KMS.KMSInvalidStateException", str(e))),
    (engine.InvalidArgumentError, lambda e, r: invalid_argument(str(e), e.argument, e.value)),
    (
        engine.KeyServiceError,
        # Where its files are is for the log, not for the client.
        lambda e, r: S3Error("ServiceUnavailable", "The key service cannot be used."),
    ),
    (engine.StoreFullError, lambda e, r: S3Error("InsufficientStorage")),
    (
        engine.StoreClosedError,
        lambda e, r: S3Error("ServiceUnavailable", "The store is closed."),
    ),
    (
        engine.StoreLockedError,
        lambda e, r: S3Error("ServiceUnavailable", "The store is recovering. Try again."),
    ),
    (
        engine.StorePoisonedError,
        lambda e, r: S3Error(
            "ServiceUnavailable",
            "A write to the device failed. The store takes no more writes until it is restarted.",
        ),
    ),
    (
        engine.CorruptionError,
        lambda e, r: S3Error(
            "InternalError",
            "The stored bytes do not match their checksum; they were not returned.",
        ),
    ),
    (engine.StoreUnavailableError, lambda e, r: S3Error("SlowDown")),
]


def from_exception(error: BaseException, request: Request) -> S3Error:
    """What S3 says of any error; InternalError for one that nobody foresaw."""
    if isinstance(error, S3Error):
        return error
    if isinstance(error, AuthError):
        return S3Error(error.code, error.message, extra=dict(error.details))
    for kind, mapper in _ENGINE:
        if isinstance(error, kind):
            return mapper(error, request)
    return S3Error("InternalError")


def to_response(ctx: Context, request: Request, error: BaseException) -> Response:
    """The response for an error; errors of the server's own are logged with the request id."""
    if isinstance(error, engine.NotModifiedError):
        return not_modified(error)
    mapped = from_exception(error, request)
    if mapped.status >= 500 and mapped.code != "NotImplemented":
        log_defect(request, mapped, error)
    if request.note is not None:
        request.note.error_code = mapped.code
    headers: Headers = list(mapped.headers)
    if request.method == "HEAD":
        return Response(mapped.status, [*headers, (b"content-length", b"0")])
    resource = request.raw_path.decode("utf-8", "replace")
    body = error_document(
        mapped.code, mapped.message, mapped.extra, resource, request.request_id, ctx.host_id
    )
    headers.append((b"content-type", b"application/xml"))
    headers.append((b"content-length", b"%d" % len(body)))
    return Response(mapped.status, headers, body)


def not_modified(error: engine.NotModifiedError) -> Response:
    """304 with the validators of the object, and no body."""
    assert isinstance(error.info, ObjectInfo)
    return Response(304, validators(error.info))


def key_too_long(key: str) -> S3Error:
    """The key has over 1,024 bytes of UTF-8."""
    size = len(key.encode("utf-8", "surrogatepass"))
    return S3Error("KeyTooLongError", extra={"Size": str(size), "MaxSizeAllowed": "1024"})


def entity_too_large(size_bytes: int, limit_bytes: int) -> S3Error:
    """The upload is over its limit."""
    return S3Error(
        "EntityTooLarge",
        extra={"ProposedSize": str(size_bytes), "MaxSizeAllowed": str(limit_bytes)},
    )


def bad_digest(algorithm: str, expected: str, computed: str) -> S3Error:
    """The body does not match a digest sent with it."""
    if algorithm == "MD5":
        return S3Error(
            "BadDigest", extra={"ExpectedDigest": expected, "CalculatedDigest": computed}
        )
    return S3Error(
        "BadDigest", f"The {algorithm} you specified did not match the calculated checksum."
    )


def _no_such_key(error: engine.NoSuchKeyError, request: Request) -> S3Error:
    """404; where a delete marker hides the object, the headers say so."""
    headers: Headers = []
    if error.marker_version_id:
        headers.append((b"x-amz-delete-marker", b"true"))
        headers.append((b"x-amz-version-id", error.marker_version_id.encode("ascii")))
    return S3Error("NoSuchKey", extra={"Key": request.key}, headers=headers)


def _is_delete_marker(error: engine.IsDeleteMarkerError) -> S3Error:
    return S3Error(
        "MethodNotAllowed",
        extra={"ResourceType": "DeleteMarker"},
        headers=[
            (b"x-amz-delete-marker", b"true"),
            (b"x-amz-version-id", error.version_id.encode("ascii")),
            (b"last-modified", http_date(error.modified_ms // 1000)),
            (b"allow", b"DELETE"),
        ],
    )


def _invalid_range(error: engine.InvalidRangeError, request: Request) -> S3Error:
    return S3Error(
        "InvalidRange",
        extra={
            "RangeRequested": request.header(b"range") or "",
            "ActualObjectSize": str(error.size_bytes),
        },
        headers=[(b"content-range", b"bytes */%d" % error.size_bytes)],
    )


def _invalid_part_extra(error: engine.InvalidPartError, request: Request) -> dict[str, str]:
    extra = {"UploadId": request.query_value("uploadId") or ""}
    if error.argument == "PartNumber":
        extra["PartNumber"] = error.value
    return extra


def log_defect(request: Request, mapped: S3Error, error: BaseException) -> None:
    """An error of the server's own, with the id that the client was told."""
    known = isinstance(error, engine.StoreError | S3Error)
    log.error(
        "%s %s %s: %s (%s)",
        request.request_id,
        request.method,
        request.raw_path.decode("utf-8", "replace"),
        mapped.code,
        error,
        exc_info=None if known else error,
    )
