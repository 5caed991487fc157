"""Who signed a browser's form: the policy in it, instead of the request.

https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-HTTPPOSTForms.html
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from objstore.auth.dates import parse_iso_basic
from objstore.auth.errors import (
    AccessDeniedError,
    InvalidAuthArgumentError,
    InvalidAuthRequestError,
)
from objstore.auth.sigv4 import ALGORITHM, Scope, ScopeError, parse_credential

_VERSION_2 = ("awsaccesskeyid", "signature")
_NAMES = ("policy", "x-amz-algorithm", "x-amz-credential", "x-amz-date", "x-amz-signature")


@dataclass(frozen=True, slots=True)
class FormClaim:
    """What a form says of who signed it.  `policy`: as it was signed, in base64."""

    scope: Scope
    timestamp: bytes
    policy: bytes
    signature: bytes
    session_token: bytes | None


def parse_form(fields: Mapping[str, str]) -> FormClaim | None:
    """The claim of a form, by its fields' names in lower case; None where it makes none.

    Raises:
        AuthError: it is incomplete, malformed, or of Signature Version 2.
    """
    if not any(name in fields for name in (*_NAMES, *_VERSION_2)):
        return None
    if any(name in fields for name in _VERSION_2):
        raise InvalidAuthRequestError(
            "The authorization mechanism you have provided is not supported. Please use "
            "AWS4-HMAC-SHA256."
        )
    for name in _NAMES:
        if not fields.get(name):
            raise InvalidAuthArgumentError(
                f"Bucket POST must contain a field named '{name}'.  If it is specified, please "
                "check the order of the fields.",
                name,
                "",
            )
    if fields["x-amz-algorithm"].encode() != ALGORITHM:
        raise InvalidAuthArgumentError(
            "x-amz-algorithm must be AWS4-HMAC-SHA256", "x-amz-algorithm", fields["x-amz-algorithm"]
        )
    timestamp = fields["x-amz-date"].encode()
    if parse_iso_basic(timestamp) is None:
        raise AccessDeniedError("AWS authentication requires a valid Date or x-amz-date header")
    credential = fields["x-amz-credential"]
    try:
        scope = parse_credential(credential.encode())
    except ScopeError as error:
        raise InvalidAuthArgumentError(error.reason, "x-amz-credential", credential) from None
    token = fields.get("x-amz-security-token")
    return FormClaim(
        scope,
        timestamp,
        fields["policy"].encode(),
        fields["x-amz-signature"].encode(),
        None if token is None else token.encode(),
    )
