"""From the head of a request to who sent it.

The order of the checks: form, scope, time, key, signature, token.  Nothing of the
request is believed before its signature has been compared.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from blockdev.clock import Clock
from objstore.auth.canonical import (
    Headers,
    canonical_path,
    canonical_query,
    decode_query,
    merge_headers,
)
from objstore.auth.chunked import ChunkSigning
from objstore.auth.dates import iso_basic, iso_extended, parse_http_date, parse_iso_basic
from objstore.auth.errors import (
    AccessDeniedError,
    AuthorizationHeaderMalformedError,
    ExpiredTokenError,
    InvalidAccessKeyIdError,
    InvalidAuthArgumentError,
    InvalidAuthRequestError,
    InvalidTokenError,
    RequestTimeTooSkewedError,
    SignatureDoesNotMatchError,
)
from objstore.auth.form import parse_form
from objstore.auth.keys import ANONYMOUS, Credentials, Identity, KeyStore
from objstore.auth.payload import HEADER as CONTENT_SHA256
from objstore.auth.payload import UNSIGNED, PayloadKind, classify
from objstore.auth.presigned import has_credentials, parse_presigned, query_error
from objstore.auth.sigv4 import (
    Scope,
    ScopeError,
    SigningKey,
    derive_signing_key,
    parse_authorization,
    string_to_sign,
)

_NS_PER_S = 1_000_000_000


# Not frozen: that would triple the cost of making one, and one is made a request.
@dataclass(slots=True)
class AuthResult:
    """Who sent a request, and what its body has to be.

    `payload`: how the body is framed and protected.  `content_sha256`: what was signed for
    it, from x-amz-content-sha256; hex digits where `payload` is `PayloadKind.SHA256`.
    `access_key`: empty for an anonymous request.
    `chunk_signing`: what `ChunkedDecoder` checks signed chunks with, once; else None.
    """

    identity: Identity
    payload: PayloadKind
    content_sha256: bytes
    access_key: str = ""
    chunk_signing: ChunkSigning | None = None
    presigned: bool = False

    @property
    def is_anonymous(self) -> bool:
        """Whether the request claimed no identity at all."""
        return self.identity.is_anonymous


class Authenticator:
    """Authenticates requests to one region and service.  Safe to share between threads.

    Args:
        clock: for the checks of skew and expiry.
        skew_s: how far clocks may differ, in seconds; S3's limit is 15 minutes.
    """

    def __init__(
        self,
        keys: KeyStore,
        clock: Clock,
        *,
        region: str = "us-east-1",
        service: str = "s3",
        skew_s: int = 900,
    ) -> None:
        self._keys = keys
        self._clock = clock
        self._region = region.encode()
        self._service = service.encode()
        self._skew_s = skew_s
        # Two days at most are in use at any time, so this holds 2,048 keys.
        self._signing_key = lru_cache(maxsize=4096)(derive_signing_key)

    def authenticate(
        self, method: str, raw_path: bytes, raw_query: bytes, headers: Headers
    ) -> AuthResult:
        """Find out who sent a request.

        Args:
            raw_path, raw_query: as sent, percent-encoded.
            headers: names in lower case, in the order sent.

        Returns:
            The result; its identity is `ANONYMOUS` if the request has no credentials at
            all, and whether that will do is the caller's decision.

        Raises:
            AuthError: there are credentials and they do not hold.
        """
        fields = merge_headers(headers)
        authorization = fields.get(b"authorization")
        pairs = decode_query(raw_query) if raw_query else []
        in_query = bool(pairs) and has_credentials(pairs)
        if authorization is not None:
            if in_query:
                raise InvalidAuthArgumentError(
                    "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, "
                    "Signature query string parameter or the Authorization header "
                    "should be specified",
                    "Authorization",
                    authorization.decode("latin-1"),
                )
            query = canonical_query(pairs) if pairs else b""
            return self._by_header(method, raw_path, query, fields, authorization)
        if in_query:
            return self._by_query(method, raw_path, pairs, fields)
        return _anonymous(fields)

    def authenticate_form(self, fields: Mapping[str, str]) -> AuthResult:
        """Find out who signed a browser's form, by its fields' names in lower case.

        Whether it keeps to the policy that was signed is the caller's to check.

        Returns:
            The result; its identity is `ANONYMOUS` if the form has no credentials.

        Raises:
            AuthError: there are credentials and they do not hold.
        """
        claim = parse_form(fields)
        if claim is None:
            return AuthResult(ANONYMOUS, PayloadKind.UNSIGNED, UNSIGNED)
        try:
            claim.scope.check(self._region, self._service, claim.timestamp)
        except ScopeError as error:
            raise InvalidAuthArgumentError(
                error.reason, "x-amz-credential", fields["x-amz-credential"]
            ) from None
        credentials, signing_key = self._key_for(claim.scope)
        if not hmac.compare_digest(signing_key.sign(claim.policy), claim.signature):
            raise SignatureDoesNotMatchError(claim.scope.access_key, claim.signature, claim.policy)
        _check_token(credentials, claim.session_token, self._clock.now_ns() // _NS_PER_S)
        return AuthResult(
            credentials.identity, PayloadKind.UNSIGNED, UNSIGNED, claim.scope.access_key
        )

    def _by_header(
        self,
        method: str,
        raw_path: bytes,
        query: bytes,
        fields: dict[bytes, bytes],
        authorization: bytes,
    ) -> AuthResult:
        scope, signed, signature = parse_authorization(authorization)
        timestamp, signed_at_s = _request_time(fields)
        try:
            scope.check(self._region, self._service, timestamp)
        except ScopeError as error:
            raise AuthorizationHeaderMalformedError(error.reason, error.details) from None
        now_s = self._clock.now_ns() // _NS_PER_S
        if abs(now_s - signed_at_s) > self._skew_s:
            raise RequestTimeTooSkewedError(
                timestamp.decode("ascii"), iso_extended(now_s), self._skew_s
            )
        content_sha256 = fields.get(CONTENT_SHA256, b"")
        payload = classify(content_sha256)
        credentials, signing_key = self._key_for(scope)
        signed.check_coverage(fields)
        canonical = signed.canonical_request(
            method.encode(), canonical_path(raw_path), query, fields, content_sha256
        )
        text = string_to_sign(timestamp, scope.text, canonical)
        if not hmac.compare_digest(signing_key.sign(text), signature):
            raise SignatureDoesNotMatchError(scope.access_key, signature, text, canonical)
        _check_token(credentials, fields.get(b"x-amz-security-token"), now_s)
        chain = None
        if payload.chunk_signed:
            chain = ChunkSigning(signing_key, timestamp, scope.text, signature)
        return AuthResult(credentials.identity, payload, content_sha256, scope.access_key, chain)

    def _by_query(
        self,
        method: str,
        raw_path: bytes,
        pairs: list[tuple[bytes, bytes]],
        fields: dict[bytes, bytes],
    ) -> AuthResult:
        claim = parse_presigned(pairs)
        scope = claim.scope
        try:
            scope.check(self._region, self._service, claim.timestamp)
        except ScopeError as error:
            raise query_error(error) from None
        now_s = self._clock.now_ns() // _NS_PER_S
        claim.check_window(now_s, self._skew_s)
        content_sha256 = claim.payload or fields.get(CONTENT_SHA256, UNSIGNED)
        payload = classify(content_sha256)
        credentials, signing_key = self._key_for(scope)
        claim.signed.check_coverage(fields)
        canonical = claim.signed.canonical_request(
            method.encode(),
            canonical_path(raw_path),
            claim.canonical_query,
            fields,
            content_sha256,
        )
        text = string_to_sign(claim.timestamp, scope.text, canonical)
        if not hmac.compare_digest(signing_key.sign(text), claim.signature):
            raise SignatureDoesNotMatchError(scope.access_key, claim.signature, text, canonical)
        _check_token(credentials, claim.session_token, now_s)
        chain = None
        if payload.chunk_signed:
            chain = ChunkSigning(signing_key, claim.timestamp, scope.text, claim.signature)
        return AuthResult(
            credentials.identity, payload, content_sha256, scope.access_key, chain, presigned=True
        )

    def _key_for(self, scope: Scope) -> tuple[Credentials, SigningKey]:
        credentials = self._keys.lookup(scope.access_key)
        if credentials is None:
            raise InvalidAccessKeyIdError(scope.access_key)
        # The secret is part of the cache's key: a new one takes effect at once.
        return credentials, self._signing_key(credentials.secret_key, scope.text)


def _anonymous(fields: dict[bytes, bytes]) -> AuthResult:
    content_sha256 = fields.get(CONTENT_SHA256, UNSIGNED)
    payload = classify(content_sha256)
    if payload.chunk_signed:
        raise InvalidAuthRequestError("Signed chunks need a signed request.")
    return AuthResult(ANONYMOUS, payload, content_sha256)


def _request_time(fields: dict[bytes, bytes]) -> tuple[bytes, int]:
    """The time to sign with, as ISO basic and in seconds since the epoch."""
    text = fields.get(b"x-amz-date")
    if text is not None:
        time_s = parse_iso_basic(text)
        if time_s is not None:
            return text, time_s
    elif (date := fields.get(b"date")) is not None:
        time_s = parse_iso_basic(date)
        if time_s is None:
            time_s = parse_http_date(date)
        if time_s is not None:
            return iso_basic(time_s), time_s
    raise AccessDeniedError("AWS authentication requires a valid Date or x-amz-date header")


def _check_token(credentials: Credentials, token: bytes | None, now_s: int) -> None:
    if token is not None or credentials.session_token:
        expected = credentials.session_token.encode()
        if not expected or not hmac.compare_digest(expected, token or b""):
            raise InvalidTokenError
    if credentials.expires_ms is not None and now_s * 1000 >= credentials.expires_ms:
        raise ExpiredTokenError
