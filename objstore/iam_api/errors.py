"""Errors of IAM's and STS's query APIs: codes, statuses, and the document that carries them.

Codes are those of the ``iam`` and ``sts`` models and of
https://docs.aws.amazon.com/IAM/latest/APIReference/CommonErrors.html
"""

from __future__ import annotations

import logging
from typing import Final

from blockdev.model import ServiceError
from objstore import errors as store
from objstore.auth import errors as auth
from objstore.auth.errors import AuthError
from objstore.aws.http import Call, Reply
from objstore.aws.xml import DECLARATION, escape
from objstore.iam import errors as iam

logger = logging.getLogger("objstore.iam")

# The class of the error → code and status; the first that it is an instance of decides.
_OF_IAM: Final[tuple[tuple[type[iam.IamError], str, int], ...]] = (
    (iam.NoSuchEntityError, "NoSuchEntity", 404),
    (iam.EntityAlreadyExistsError, "EntityAlreadyExists", 409),
    (iam.LimitExceededError, "LimitExceeded", 409),
    (iam.DeleteConflictError, "DeleteConflict", 409),
    (iam.MalformedPolicyDocumentError, "MalformedPolicyDocument", 400),
    (iam.InvalidInputError, "ValidationError", 400),
    (iam.UnmodifiableEntityError, "AccessDenied", 403),
    (iam.DirectoryError, "ServiceUnavailable", 503),
)
_OF_AUTH: Final[tuple[tuple[type[AuthError], str], ...]] = (
    (auth.ExpiredTokenError, "ExpiredToken"),
    (auth.CredentialsError, "InvalidClientTokenId"),
    (auth.MalformedRequestError, "IncompleteSignature"),
    (auth.UnsupportedSignatureError, "IncompleteSignature"),
    (auth.AccessDeniedError, "MissingAuthenticationToken"),
)


class ApiError(Exception):
    """An answer that is an error.  `code` is the service's name for it."""

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status


def invalid(message: str) -> ApiError:
    """A ValidationError: the request breaks a rule of the model."""
    return ApiError("ValidationError", message)


def from_exception(error: Exception) -> ApiError:
    """What the service says of any error; InternalFailure for one nobody foresaw."""
    if isinstance(error, ApiError):
        return error
    for kind, code, status in _OF_IAM:
        if isinstance(error, kind):
            return ApiError(code, str(error), status)
    if isinstance(error, AuthError):
        for of_auth, code in _OF_AUTH:
            if isinstance(error, of_auth):
                return ApiError(code, error.message, 403)
        return ApiError("SignatureDoesNotMatch", error.message, 403)
    if isinstance(error, ServiceError):  # of the query's form
        return ApiError(error.code, error.message)
    if isinstance(error, store.StoreUnavailableError):
        return ApiError("ServiceUnavailable", str(error), 503)
    return ApiError("InternalFailure", "The request failed for an internal reason.", 500)


def to_reply(call: Call, error: Exception, namespace: str) -> Reply:
    """The answer for an error; errors of the server's own are logged with the request id."""
    mapped = from_exception(error)
    call.error_code, call.error_message = mapped.code, mapped.message
    if mapped.status in (500, 503):
        known = isinstance(error, iam.IamError | store.StoreError)
        logger.error("%s: %s", call.request_id, error, exc_info=None if known else error)
    kind = "Receiver" if mapped.status >= 500 else "Sender"
    body = (
        f'{DECLARATION}<ErrorResponse xmlns="{namespace}"><Error><Type>{kind}</Type>'
        f"<Code>{mapped.code}</Code><Message>{escape(mapped.message)}</Message></Error>"
        f"<RequestId>{call.request_id}</RequestId></ErrorResponse>"
    )
    return Reply(mapped.status, body.encode(), [(b"content-type", b"text/xml")])
