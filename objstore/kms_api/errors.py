"""Errors of the KMS API: names and statuses, and the document that carries them.

Names are those of the ``kms`` service model; for signatures and requests those of AWS's JSON
services, https://docs.aws.amazon.com/kms/latest/APIReference/CommonErrors.html
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import Final

from objstore import errors as store
from objstore.auth import errors as auth
from objstore.auth.errors import AuthError
from objstore.aws.http import Call, Reply
from objstore.kms.errors import AliasExistsError, KeyLimitError

logger = logging.getLogger("objstore.kms")

CONTENT_TYPE: Final = b"application/x-amz-json-1.1"

STATUSES: Final[Mapping[str, int]] = {
    "DependencyTimeoutException": 503,
    "KMSInternalException": 500,
}
"""Of errors whose status is not 400."""

# The first class that the error is an instance of decides.
_OF_STORE: Final[tuple[tuple[type[store.StoreError], str], ...]] = (
    (store.KeyNotFoundError, "NotFoundException"),
    (store.KeyDisabledError, "DisabledException"),
    (store.KeyStateError, "KMSInvalidStateException"),
    (AliasExistsError, "AlreadyExistsException"),
    (KeyLimitError, "LimitExceededException"),
    (store.InvalidArgumentError, "ValidationException"),
    (store.StoreLockedError, "DependencyTimeoutException"),
)


class KmsError(Exception):
    """An answer that is an error.  `code` is KMS's name for it."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def invalid(message: str) -> KmsError:
    """A ValidationException: the request breaks a rule of the model."""
    return KmsError("ValidationException", message)


def unsupported(what: str) -> KmsError:
    """An UnsupportedOperationException."""
    return KmsError("UnsupportedOperationException", f"{what} is not supported here.")


def from_exception(error: Exception) -> KmsError:
    """What KMS says of any error; KMSInternalException for one nobody foresaw."""
    if isinstance(error, KmsError):
        return error
    if isinstance(error, store.InvalidArgumentError) and error.argument == "AliasName":
        return KmsError("InvalidAliasNameException", str(error))
    for kind, code in _OF_STORE:
        if isinstance(error, kind):
            return KmsError(code, str(error))
    if isinstance(error, AuthError):
        return _of_auth(error)
    return KmsError("KMSInternalException", "The request failed for an internal reason.")


def _of_auth(error: AuthError) -> KmsError:
    if isinstance(error, auth.ExpiredTokenError):
        return KmsError("ExpiredTokenException", error.message)
    if isinstance(error, auth.CredentialsError):
        message = "The security token included in the request is invalid."
        return KmsError("UnrecognizedClientException", message)
    if isinstance(error, auth.MalformedRequestError | auth.UnsupportedSignatureError):
        return KmsError("IncompleteSignatureException", error.message)
    return KmsError("InvalidSignatureException", error.message)


def to_reply(call: Call, error: Exception) -> Reply:
    """The answer for an error; errors of the server's own are logged with the request id."""
    mapped = from_exception(error)
    status = STATUSES.get(mapped.code, 400)
    if status >= 500:
        known = isinstance(error, store.StoreError)
        logger.error("%s: %s", call.request_id, error, exc_info=None if known else error)
    document = {"__type": mapped.code, "message": mapped.message}
    return Reply(status, json.dumps(document).encode(), [(b"content-type", CONTENT_TYPE)])
