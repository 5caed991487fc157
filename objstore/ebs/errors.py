"""Errors of the EBS direct APIs: names, statuses, reasons, and the document that carries them.

All are those of the ``ebs`` service model, and for signatures those of AWS's JSON services.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import Final

from blockdev.model import ServiceError
from objstore.auth import errors as auth
from objstore.auth.errors import AuthError
from objstore.aws.http import Call, Reply
from objstore.aws.regions import UnknownRegionError

logger = logging.getLogger("objstore.ebs")

STATUSES: Final[Mapping[str, int]] = {
    "AccessDeniedException": 403,
    "ConcurrentLimitExceededException": 400,
    "ConflictException": 409,
    "InternalServerException": 500,
    "RequestThrottledException": 400,
    "ResourceNotFoundException": 404,
    "ServiceQuotaExceededException": 402,
    "ValidationException": 400,
    # Of every JSON service; not in the model.
    "ExpiredTokenException": 403,
    "IncompleteSignatureException": 400,
    "InvalidSignatureException": 403,
    "UnknownOperationException": 404,
    "UnrecognizedClientException": 403,
}

MAX_MESSAGE_CHARS: Final = 256
"""ErrorMessage in the model."""

_INVALID: Final = "INVALID_PARAMETER_VALUE"

# EC2's codes, which the region speaks, as these APIs have them.
_OF_EC2: Final[Mapping[str, tuple[str, str]]] = {
    "IdempotentParameterMismatch": ("ConflictException", ""),
    "InvalidSnapshot.NotFound": ("ResourceNotFoundException", "SNAPSHOT_NOT_FOUND"),
    "InvalidSnapshotID.Malformed": ("ValidationException", "INVALID_SNAPSHOT_ID"),
    "ConcurrentSnapshotLimitExceeded": ("ConcurrentLimitExceededException", ""),
    "PendingSnapshotLimitExceeded": ("ConcurrentLimitExceededException", ""),
    "SnapshotLimitExceeded": (
        "ServiceQuotaExceededException",
        "DEPENDENCY_SERVICE_QUOTA_EXCEEDED",
    ),
    "TagLimitExceeded": ("ValidationException", "INVALID_TAG"),
    "InternalError": ("InternalServerException", ""),
    "Unavailable": ("InternalServerException", ""),
}


def invalid(message: str, reason: str = _INVALID) -> ServiceError:
    """A ValidationException."""
    return ServiceError("ValidationException", message, reason=reason)


def from_exception(error: Exception) -> ServiceError:
    """What these APIs say of any error; InternalServerException for one nobody foresaw."""
    if isinstance(error, ServiceError):
        if error.code in STATUSES:
            return error
        code, reason = _OF_EC2.get(error.code, ("ValidationException", _INVALID))
        return ServiceError(code, error.message, reason=error.reason or reason)
    if isinstance(error, AuthError):
        return _of_auth(error)
    if isinstance(error, UnknownRegionError):
        return ServiceError("UnrecognizedClientException", "There is no such region here.")
    return ServiceError("InternalServerException", "An internal error has occurred.")


def _of_auth(error: AuthError) -> ServiceError:
    if isinstance(error, auth.CredentialsError):
        message = "The security token included in the request is invalid."
        if isinstance(error, auth.ExpiredTokenError):
            return ServiceError("ExpiredTokenException", error.message)
        return ServiceError("UnrecognizedClientException", message)
    if isinstance(error, auth.MalformedRequestError | auth.UnsupportedSignatureError):
        return ServiceError("IncompleteSignatureException", error.message)
    return ServiceError("InvalidSignatureException", error.message)


def to_reply(call: Call, error: Exception) -> Reply:
    """The answer for an error; errors of the server's own are logged with the request id."""
    mapped = from_exception(error)
    status = STATUSES[mapped.code]
    if status == 500:
        known = isinstance(error, ServiceError)
        logger.error("%s: %s", call.request_id, error, exc_info=None if known else error)
    document = {"Message": mapped.message[:MAX_MESSAGE_CHARS]}
    if mapped.reason:
        document["Reason"] = mapped.reason
    headers = [
        (b"content-type", b"application/json"),
        (b"x-amzn-errortype", mapped.code.encode("ascii")),
    ]
    body = b"" if call.method == "HEAD" else json.dumps(document).encode()
    return Reply(status, body, headers)
