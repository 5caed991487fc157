"""Who signed a browser's form."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from blockdev.clock import ManualClock
from objstore.auth.authenticator import Authenticator
from objstore.auth.errors import (
    AccessDeniedError,
    AuthError,
    ExpiredTokenError,
    InvalidAccessKeyIdError,
    InvalidAuthArgumentError,
    InvalidAuthRequestError,
    InvalidTokenError,
    SignatureDoesNotMatchError,
)
from objstore.auth.keys import Credentials, Identity, StaticKeyStore
from objstore.auth.sigv4 import derive_signing_key

KEY, SECRET = "TESTKEY", "test+secret/123"
DATE, STAMP = "20260101", "20260101T000000Z"
SCOPE = f"{DATE}/us-east-1/s3/aws4_request"
POLICY = base64.b64encode(b'{"conditions": []}').decode()


@pytest.fixture
def authenticator() -> Authenticator:
    keys = StaticKeyStore(
        [
            Credentials(KEY, SECRET, Identity("a" * 64, "root", is_root=True)),
            Credentials("SESSION", SECRET, Identity("b" * 64, "s"), session_token="token"),
            Credentials("ENDED", SECRET, Identity("c" * 64, "e"), expires_ms=1),
        ]
    )
    return Authenticator(keys, ManualClock())


def form(key: str = KEY, secret: str = SECRET, **changed: str | None) -> dict[str, str]:
    """A signed form; None takes a field away."""
    signing_key = derive_signing_key(secret, SCOPE.encode())
    fields: dict[str, str | None] = {
        "policy": POLICY,
        "x-amz-algorithm": "AWS4-HMAC-SHA256",
        "x-amz-credential": f"{key}/{SCOPE}",
        "x-amz-date": STAMP,
        "x-amz-signature": signing_key.sign(POLICY.encode()).decode(),
        "key": "k",
    }
    fields |= {name.replace("_", "-"): value for name, value in changed.items()}
    return {name: value for name, value in fields.items() if value is not None}


def test_a_form_that_is_signed(authenticator: Authenticator) -> None:
    result = authenticator.authenticate_form(form())
    assert (result.identity.id, result.access_key) == ("a" * 64, KEY)
    assert not result.payload.aws_chunked


def test_a_form_that_is_not(authenticator: Authenticator) -> None:
    assert authenticator.authenticate_form({"key": "k"}).is_anonymous


def test_a_session(authenticator: Authenticator) -> None:
    signed = form("SESSION", x_amz_security_token="token")
    assert authenticator.authenticate_form(signed).identity.id == "b" * 64
    for token in (None, "other"):
        with pytest.raises(InvalidTokenError):
            authenticator.authenticate_form(form("SESSION", x_amz_security_token=token))
    with pytest.raises(ExpiredTokenError):
        authenticator.authenticate_form(form("ENDED"))


@pytest.mark.parametrize(
    "name", ["policy", "x-amz-algorithm", "x-amz-credential", "x-amz-date", "x-amz-signature"]
)
def test_a_field_that_is_missing(authenticator: Authenticator, name: str) -> None:
    for value in (None, ""):
        changed: dict[str, Any] = {name.replace("-", "_"): value}
        fields = form(**changed)
        with pytest.raises(InvalidAuthArgumentError, match=name):
            authenticator.authenticate_form(fields)


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"policy": base64.b64encode(b"{}").decode()}, SignatureDoesNotMatchError),
        ({"x_amz_signature": "0" * 64}, SignatureDoesNotMatchError),
        ({"x_amz_algorithm": "AWS4-ECDSA-P256-SHA256"}, InvalidAuthArgumentError),
        ({"x_amz_credential": "nonsense"}, InvalidAuthArgumentError),
        ({"x_amz_credential": f"{KEY}/{DATE}/eu/s3/aws4_request"}, InvalidAuthArgumentError),
        ({"x_amz_credential": f"OTHER/{SCOPE}"}, InvalidAccessKeyIdError),
        ({"x_amz_date": "yesterday"}, AccessDeniedError),
        ({"x_amz_date": "20260102T000000Z"}, InvalidAuthArgumentError),
        ({"awsaccesskeyid": KEY}, InvalidAuthRequestError),
        ({"signature": "x"}, InvalidAuthRequestError),
    ],
)
def test_a_form_that_is_signed_otherwise(
    authenticator: Authenticator, changed: dict[str, str], error: type[AuthError]
) -> None:
    with pytest.raises(error):
        authenticator.authenticate_form(form(**changed))
    with pytest.raises(SignatureDoesNotMatchError):
        authenticator.authenticate_form(form(secret="other"))
