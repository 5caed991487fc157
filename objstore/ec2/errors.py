"""Errors of EC2's query API: codes, statuses, and the document that carries them.

Codes and their meaning: "Error codes for the Amazon EC2 API" in the EC2 API reference,
https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Final

from blockdev.model import ServiceError
from objstore.auth import errors as auth
from objstore.auth.errors import AuthError
from objstore.aws.http import Call, Reply
from objstore.aws.regions import UnknownRegionError
from objstore.ec2.xml import DECLARATION, escape

logger = logging.getLogger("objstore.ec2")

STATUSES: Final[Mapping[str, int]] = {
    "AuthFailure": 401,
    "DryRunOperation": 412,
    "InsufficientInstanceCapacity": 500,
    "InsufficientVolumeCapacity": 500,
    "InternalError": 500,
    "RequestLimitExceeded": 503,
    "Unavailable": 503,
    "UnauthorizedOperation": 403,
    "UnsupportedOperation": 501,
}
"""Statuses of the codes that are not plain client errors; those are 400."""

_NOT_VALIDATED: Final = "AWS was not able to validate the provided access credentials"


class Ec2Error(ServiceError):
    """An error of the face itself: a request that no region gets to see."""


def missing(name: str) -> Ec2Error:
    """A parameter that has to be there is not."""
    return Ec2Error("MissingParameter", f"The request must contain the parameter {name}")


def invalid_value(value: object, name: str, reason: str = "") -> Ec2Error:
    """A parameter's value cannot be meant."""
    text = f"Value ({value}) for parameter {name} is invalid."
    return Ec2Error("InvalidParameterValue", f"{text} {reason}".rstrip())


def combination(message: str) -> Ec2Error:
    """Two parameters do not go together."""
    return Ec2Error("InvalidParameterCombination", message)


def unsupported(what: str) -> Ec2Error:
    """AWS offers it, this server does not."""
    return Ec2Error("UnsupportedOperation", f"{what} is not supported by this server")


def _of_auth(error: AuthError) -> Ec2Error:
    if isinstance(error, auth.RequestTimeTooSkewedError | auth.RequestExpiredError):
        return Ec2Error("RequestExpired", "Request has expired.")
    if isinstance(error, auth.RequestNotYetValidError):
        return Ec2Error("RequestExpired", "Request is not valid yet.")
    if isinstance(error, auth.MalformedRequestError | auth.UnsupportedSignatureError):
        return Ec2Error("IncompleteSignature", error.message)
    if isinstance(error, auth.HeadersNotSignedError):
        return Ec2Error("IncompleteSignature", f"{error.message}: {', '.join(error.names)}")
    return Ec2Error("AuthFailure", _NOT_VALIDATED)


def from_exception(error: Exception) -> ServiceError:
    """What EC2 says of any error; InternalError for one that nobody foresaw."""
    if isinstance(error, ServiceError):
        return error
    if isinstance(error, AuthError):
        return _of_auth(error)
    if isinstance(error, UnknownRegionError):
        return Ec2Error("AuthFailure", f"There is no region {error.args[0]!r} here.")
    return Ec2Error("InternalError", "An internal error has occurred")


def to_reply(call: Call, error: Exception) -> Reply:
    """The answer for an error; errors of the server's own are logged with the request id."""
    mapped = from_exception(error)
    status = STATUSES.get(mapped.code, 400)
    if status in (500, 503):
        known = isinstance(error, ServiceError)
        logger.error("%s: %s", call.request_id, error, exc_info=None if known else error)
    body = (
        f"{DECLARATION}<Response><Errors><Error><Code>{escape(mapped.code)}</Code>"
        f"<Message>{escape(mapped.message)}</Message></Error></Errors>"
        f"<RequestID>{call.request_id}</RequestID></Response>"
    )
    return Reply(status, body.encode("utf-8"), [(b"content-type", b"text/xml;charset=UTF-8")])
