"""Who sends a request to a service beside S3, such as EC2: Signature Version 4 as those use it.

What differs from S3: the body is hashed here, since no header tells its digest; the path
is normalised and escaped twice; each region of the scope has keys of its own, and any
region will do.  Rules: "Create a signed AWS API request" in the IAM user guide,
https://docs.aws.amazon.com/IAM/latest/UserGuide/create-signed-request.html
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256

from blockdev.clock import Clock
from objstore.auth.canonical import (
    Headers,
    SignedHeaders,
    canonical_query,
    decode_query,
    merge_headers,
    resolve_dots,
    uri_encode_path,
)
from objstore.auth.dates import iso_basic, iso_extended, parse_http_date, parse_iso_basic
from objstore.auth.errors import (
    AccessDeniedError,
    AuthorizationHeaderMalformedError,
    ContentSHA256MismatchError,
    ExpiredTokenError,
    InvalidAccessKeyIdError,
    InvalidAuthArgumentError,
    InvalidTokenError,
    RequestTimeTooSkewedError,
    SignatureDoesNotMatchError,
)
from objstore.auth.keys import Credentials, Identity, KeyStore
from objstore.auth.payload import EMPTY_SHA256, HEADER, UNSIGNED
from objstore.auth.presigned import has_credentials, parse_presigned, query_error
from objstore.auth.sigv4 import (
    TERMINATOR,
    Scope,
    ScopeError,
    derive_signing_key,
    parse_authorization,
    string_to_sign,
)

_NS_PER_S = 1_000_000_000
_HEADER_MARK = b"/aws4_request"
_QUERY_MARK = b"X-Amz-Credential="


@dataclass(frozen=True, slots=True)
class Signer:
    """Who signed a request, and for which region."""

    identity: Identity
    region: str


def claimed_service(headers: Headers, raw_query: bytes) -> bytes:
    """The service in a request's credential scope, b"" for none; nothing of it is checked."""
    for name, value in headers:
        if name == b"authorization":
            scope, mark, _ = value.partition(_HEADER_MARK)
            return scope.rpartition(b"/")[2] if mark else b""
    if _QUERY_MARK not in raw_query:
        return b""
    for name, value in decode_query(raw_query):
        if name == b"X-Amz-Credential":
            parts = value.rsplit(b"/", 2)
            return parts[1] if len(parts) == 3 and parts[2] == TERMINATOR else b""
    return b""


@dataclass(frozen=True, slots=True)
class _Claim:
    """What a request says of itself, from its header or its query."""

    scope: Scope
    signed: SignedHeaders
    signature: bytes
    timestamp: bytes
    query: bytes
    token: bytes | None
    in_query: bool


class ServiceAuthenticator:
    """Authenticates requests to one service in any region.  Safe to share between threads.

    Args:
        service: its name in credential scopes, such as ``ec2``.
        skew_s: how far clocks may differ, in seconds.
    """

    def __init__(self, keys: KeyStore, clock: Clock, *, service: str, skew_s: int = 900) -> None:
        self._keys = keys
        self._clock = clock
        self._service = service.encode()
        self._skew_s = skew_s
        self._signing_key = lru_cache(maxsize=256)(derive_signing_key)

    def authenticate(
        self,
        method: str,
        raw_path: bytes,
        raw_query: bytes,
        headers: Headers,
        body: bytes,
        *,
        unsigned_body: bool = False,
    ) -> Signer:
        """Find out who sent a request; there must be credentials.

        Args:
            body: whole; its digest is part of what was signed.
            unsigned_body: the operation protects its body by other means, and clients
                may leave it out of the signature.

        Raises:
            AuthError: the credentials do not hold, or there are none.
        """
        fields = merge_headers(headers)
        claim = self._claim(fields, decode_query(raw_query))
        self._check_scope(claim)
        credentials = self._keys.lookup(claim.scope.access_key)
        if credentials is None:
            raise InvalidAccessKeyIdError(claim.scope.access_key)
        claim.signed.check_coverage(fields)
        # as sent, escapes and all, and escaped once more
        path = uri_encode_path(resolve_dots(raw_path))
        signing_key = self._signing_key(credentials.secret_key, claim.scope.text)
        text = canonical = b""
        for payload in _payloads(fields, body, unsigned_body):
            canonical = claim.signed.canonical_request(
                method.encode(), path, claim.query, fields, payload
            )
            text = string_to_sign(claim.timestamp, claim.scope.text, canonical)
            if hmac.compare_digest(signing_key.sign(text), claim.signature):
                self._check_token(credentials, claim.token)
                return Signer(credentials.identity, claim.scope.region.decode("latin-1"))
        raise SignatureDoesNotMatchError(claim.scope.access_key, claim.signature, text, canonical)

    def _claim(self, fields: dict[bytes, bytes], pairs: list[tuple[bytes, bytes]]) -> _Claim:
        authorization = fields.get(b"authorization")
        if not has_credentials(pairs):
            if authorization is None:
                raise AccessDeniedError("The request is not signed.")
            scope, signed, signature = parse_authorization(authorization)
            timestamp = self._request_time(fields)
            token = fields.get(b"x-amz-security-token")
            query = canonical_query(pairs)
            return _Claim(scope, signed, signature, timestamp, query, token, in_query=False)
        if authorization is not None:
            raise InvalidAuthArgumentError(
                "Sign in the Authorization header or in the query, not in both.",
                "Authorization",
                authorization.decode("latin-1"),
            )
        claim = parse_presigned(pairs)
        claim.check_window(self._clock.now_ns() // _NS_PER_S, self._skew_s)
        return _Claim(
            claim.scope,
            claim.signed,
            claim.signature,
            claim.timestamp,
            claim.canonical_query,
            claim.session_token,
            in_query=True,
        )

    def _request_time(self, fields: dict[bytes, bytes]) -> bytes:
        """The time to sign with, as ISO basic."""
        text = fields.get(b"x-amz-date")
        date = text if text is not None else fields.get(b"date", b"")
        signed_at_s = parse_iso_basic(date)
        if signed_at_s is None and text is None:
            signed_at_s = parse_http_date(date)
        if signed_at_s is None:
            raise AuthorizationHeaderMalformedError("it needs a valid Date or X-Amz-Date header")
        now_s = self._clock.now_ns() // _NS_PER_S
        if abs(now_s - signed_at_s) > self._skew_s:
            raise RequestTimeTooSkewedError(
                date.decode("latin-1"), iso_extended(now_s), self._skew_s
            )
        return iso_basic(signed_at_s)

    def _check_scope(self, claim: _Claim) -> None:
        try:
            # Any region will do: the caller looks at the one that was signed for.
            claim.scope.check(claim.scope.region, self._service, claim.timestamp)
        except ScopeError as error:
            if claim.in_query:
                raise query_error(error) from None
            raise AuthorizationHeaderMalformedError(error.reason, error.details) from None

    def _check_token(self, credentials: Credentials, token: bytes | None) -> None:
        expected = credentials.session_token.encode()
        if (token or expected) and not hmac.compare_digest(expected, token or b""):
            raise InvalidTokenError
        expires_ms = credentials.expires_ms
        if expires_ms is not None and self._clock.now_ns() >= expires_ms * 1_000_000:
            raise ExpiredTokenError


def _payloads(fields: dict[bytes, bytes], body: bytes, unsigned_body: bool) -> Sequence[bytes]:
    """What may stand for the body in the canonical request; what it announces is compared."""
    digest = sha256(body).hexdigest().encode() if body else EMPTY_SHA256
    announced = fields.get(HEADER)
    if announced is None:
        return (digest, UNSIGNED) if unsigned_body else (digest,)
    if announced == UNSIGNED and (unsigned_body or not body):
        return (UNSIGNED,)
    if not hmac.compare_digest(announced.lower(), digest):
        raise ContentSHA256MismatchError(announced.decode("latin-1"), digest.decode())
    return (announced,)
