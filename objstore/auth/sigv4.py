"""Signature Version 4 in the Authorization header: parsing, string to sign, signature.

Pure functions on bytes; `objstore.auth.authenticator` puts them together.  Scheme:
https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html
"""

from __future__ import annotations

import hmac
import re
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from typing import NoReturn

from objstore.auth.canonical import (
    Headers,
    SignedHeaders,
    canonical_path,
    canonical_query,
    decode_query,
    merge_headers,
    signed_headers,
)
from objstore.auth.dates import iso_basic
from objstore.auth.errors import (
    AuthorizationHeaderMalformedError,
    Details,
    InvalidAuthArgumentError,
    InvalidAuthRequestError,
    UnsupportedSignatureError,
)
from objstore.auth.keys import Credentials

ALGORITHM = b"AWS4-HMAC-SHA256"
SIGV4A_ALGORITHM = b"AWS4-ECDSA-P256-SHA256"
TERMINATOR = b"aws4_request"

# Beyond this an Authorization header is parsed anew each time, to bound the cache's memory.
_CACHED_PREFIX_BYTES = 1024
_SIGNATURE_DIGITS = 64
# XOR with the pads of RFC 2104, as translation tables
_INNER_PAD = bytes(byte ^ 0x36 for byte in range(256))
_OUTER_PAD = bytes(byte ^ 0x5C for byte in range(256))
_DATE = re.compile(rb"\d{8}")


class ScopeError(ValueError):
    """A credential scope that cannot be read or is not ours; worded for the client."""

    def __init__(self, reason: str, details: Details = ()) -> None:
        super().__init__(reason)
        self.reason = reason
        self.details = details


@dataclass(frozen=True, slots=True)
class Scope:
    """``access_key/date/region/service/aws4_request``; `text` is that without the key."""

    access_key: str
    date: bytes
    region: bytes
    service: bytes
    text: bytes

    def check(self, region: bytes, service: bytes, timestamp: bytes) -> None:
        """Make sure that the scope is that of this endpoint and of the request's day.

        Raises:
            ScopeError: it is not; the details name the right region.
        """
        if self.region != region:
            right = region.decode()
            raise ScopeError(
                f"the region '{self.region.decode('latin-1')}' is wrong; expecting '{right}'",
                (("Region", right),),
            )
        if self.service != service:
            raise ScopeError(
                f'incorrect service "{self.service.decode("latin-1")}". '
                f'This endpoint belongs to "{service.decode()}".'
            )
        if not timestamp.startswith(self.date):
            raise ScopeError(
                f'Invalid credential date "{self.date.decode()}". This date is not the same '
                f'as X-Amz-Date: "{timestamp[:8].decode("latin-1")}".'
            )


def parse_credential(credential: bytes) -> Scope:
    """Read a Credential.  The access key may itself contain slashes.

    Raises:
        ScopeError: it has not the five parts.
    """
    parts = credential.rsplit(b"/", 4)
    if len(parts) != 5 or not _DATE.fullmatch(parts[1]):
        raise ScopeError(
            "the Credential is mal-formed; expecting "
            '"<YOUR-AKID>/YYYYMMDD/REGION/SERVICE/aws4_request".'
        )
    if not parts[0]:
        raise ScopeError("a non-empty Access Key (AKID) must be provided in the credential.")
    if parts[4] != TERMINATOR:
        raise ScopeError(
            f'incorrect terminal "{parts[4].decode("latin-1")}". '
            f'This endpoint uses "{TERMINATOR.decode()}".'
        )
    access_key = parts[0].decode("utf-8", "backslashreplace")
    return Scope(access_key, parts[1], parts[2], parts[3], b"/".join(parts[1:]))


def parse_signed_headers(text: bytes) -> SignedHeaders:
    """Read a SignedHeaders list: lower-case names, none of them twice.

    Raises:
        ScopeError: it is not such a list.
    """
    signed = signed_headers(text)
    if text != text.lower() or not all(signed.names) or len(set(signed.names)) != len(signed.names):
        raise ScopeError("SignedHeaders must be distinct lower-case names, separated by ';'.")
    return signed


def parse_authorization(value: bytes) -> tuple[Scope, SignedHeaders, bytes]:
    """Scope, signed headers and signature of an Authorization header.

    Raises:
        AuthorizationHeaderMalformedError, InvalidAuthArgumentError, InvalidAuthRequestError,
        UnsupportedSignatureError
    """
    prefix, _, signature = value.rpartition(b"Signature=")
    # As every client writes it, all before the signature is the same for a day.
    if len(signature) == _SIGNATURE_DIGITS and len(prefix) <= _CACHED_PREFIX_BYTES:
        scope, signed = _parse_cached(prefix)
        return scope, signed, signature
    scope, signed, text = _parse(value)
    return scope, signed, text


@lru_cache(maxsize=1024)
def _parse_cached(prefix: bytes) -> tuple[Scope, SignedHeaders]:
    scope, signed, _ = _parse(prefix + b"Signature=" + b"0" * _SIGNATURE_DIGITS)
    return scope, signed


def _parse(value: bytes) -> tuple[Scope, SignedHeaders, bytes]:
    algorithm, *rest = value.split(None, 1) or [b""]
    if algorithm != ALGORITHM:
        _refuse_algorithm(algorithm, value)
    parts: dict[bytes, bytes] = {}
    for piece in b"".join(rest).split(b","):
        name, _, text = piece.strip().partition(b"=")
        if parts.setdefault(name, text) is not text:
            raise AuthorizationHeaderMalformedError("a component occurs twice.")
    if parts.keys() != {b"Credential", b"SignedHeaders", b"Signature"}:
        raise AuthorizationHeaderMalformedError(
            "the authorization header requires three components: "
            "Credential, SignedHeaders, and Signature."
        )
    try:
        scope = parse_credential(parts[b"Credential"])
        signed = parse_signed_headers(parts[b"SignedHeaders"])
    except ScopeError as error:
        raise AuthorizationHeaderMalformedError(error.reason, error.details) from None
    return scope, signed, parts[b"Signature"]


def _refuse_algorithm(algorithm: bytes, value: bytes) -> NoReturn:
    if algorithm == SIGV4A_ALGORITHM:
        raise UnsupportedSignatureError
    if algorithm == b"AWS":  # Signature Version 2
        raise InvalidAuthRequestError(
            "The authorization mechanism you have provided is not supported. "
            "Please use AWS4-HMAC-SHA256 (aws configure set default.s3.signature_version s3v4)."
        )
    raise InvalidAuthArgumentError(
        "Unsupported Authorization Type", "Authorization", value.decode("latin-1")
    )


class SigningKey:
    """HMAC-SHA256 with a fixed key, its two hash states prepared.

    Copying the states takes half the time of `hmac.digest`, which expands the key anew.
    """

    __slots__ = ("_inner", "_outer")

    def __init__(self, key: bytes) -> None:
        block = key.ljust(64, b"\0")
        self._inner = sha256(block.translate(_INNER_PAD))
        self._outer = sha256(block.translate(_OUTER_PAD))

    def sign(self, text: bytes) -> bytes:
        """The signature over a string to sign, 64 lower-case hex digits."""
        inner = self._inner.copy()
        inner.update(text)
        outer = self._outer.copy()
        outer.update(inner.digest())
        return outer.hexdigest().encode()


def derive_signing_key(secret_key: str, scope_text: bytes) -> SigningKey:
    """The key that signs all requests of a scope: ``date/region/service/aws4_request``."""
    key = b"AWS4" + secret_key.encode()
    for part in scope_text.split(b"/"):
        key = hmac.digest(key, part, "sha256")
    return SigningKey(key)


def string_to_sign(timestamp: bytes, scope_text: bytes, canonical_request: bytes) -> bytes:
    """What the signature is made over, from an ISO basic time and the canonical request."""
    digest = sha256(canonical_request).hexdigest().encode()
    return b"AWS4-HMAC-SHA256\n%b\n%b\n%b" % (timestamp, scope_text, digest)


def authorization_for(
    credentials: Credentials,
    method: str,
    raw_path: bytes,
    raw_query: bytes,
    headers: Headers,
    *,
    region: str,
    time_s: int,
    service: str = "s3",
) -> bytes:
    """Sign a request as a client would: the value of its Authorization header.

    Args:
        headers: all headers to sign, names in lower case.  Must hold host, x-amz-date
            with `time_s`, and x-amz-content-sha256.
        time_s: seconds since the epoch.
    """
    fields = merge_headers(headers)
    signed = signed_headers(b";".join(sorted(fields)))
    timestamp = iso_basic(time_s)
    scope = b"/".join([timestamp[:8], region.encode(), service.encode(), TERMINATOR])
    canonical = signed.canonical_request(
        method.encode(),
        canonical_path(raw_path),
        canonical_query(decode_query(raw_query)),
        fields,
        fields[b"x-amz-content-sha256"],
    )
    key = derive_signing_key(credentials.secret_key, scope)
    signature = key.sign(string_to_sign(timestamp, scope, canonical))
    return b"%b Credential=%b/%b, SignedHeaders=%b, Signature=%b" % (
        ALGORITHM,
        credentials.access_key.encode(),
        scope,
        signed.text,
        signature,
    )
