"""Presigned URLs: Signature Version 4 in the query string, read and made.

Scheme: https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from objstore.auth.canonical import (
    SignedHeaders,
    canonical_query,
    signed_headers,
    uri_encode_path,
)
from objstore.auth.dates import iso_basic, iso_extended, parse_iso_basic
from objstore.auth.errors import (
    AuthorizationQueryParametersError,
    InvalidAuthRequestError,
    RequestExpiredError,
    RequestNotYetValidError,
    UnsupportedSignatureError,
)
from objstore.auth.keys import Credentials
from objstore.auth.payload import HEADER, UNSIGNED
from objstore.auth.sigv4 import (
    ALGORITHM,
    SIGV4A_ALGORITHM,
    TERMINATOR,
    Scope,
    ScopeError,
    derive_signing_key,
    parse_credential,
    parse_signed_headers,
    string_to_sign,
)
from objstore.config import MAX_PRESIGN_S

Pairs = Sequence[tuple[bytes, bytes]]


_REQUIRED = (
    b"X-Amz-Algorithm",
    b"X-Amz-Credential",
    b"X-Amz-Signature",
    b"X-Amz-Date",
    b"X-Amz-SignedHeaders",
    b"X-Amz-Expires",
)
_SINGLE = frozenset([*_REQUIRED, b"X-Amz-Security-Token", b"X-Amz-Content-Sha256"])
# Any of these claims an identity: such a request is never an anonymous one.
_SIGV4_MARKS = frozenset([b"X-Amz-Algorithm", b"X-Amz-Credential", b"X-Amz-Signature"])
_SIGV2_MARKS = frozenset([b"AWSAccessKeyId", b"Signature"])


def has_credentials(pairs: Pairs) -> bool:
    """Whether a decoded query string claims an identity, validly or not.

    Raises:
        InvalidAuthRequestError: it does so by Signature Version 2.
    """
    names = {name for name, _ in pairs}
    if not names.isdisjoint(_SIGV4_MARKS):
        return True
    if not names.isdisjoint(_SIGV2_MARKS):
        raise InvalidAuthRequestError(
            "The authorization mechanism you have provided is not supported. "
            "Please use AWS4-HMAC-SHA256 (aws configure set default.s3.signature_version s3v4)."
        )
    return False


@dataclass(frozen=True, slots=True)
class PresignedClaim:
    """What a presigned URL says of itself.

    `timestamp`: ISO basic, as signed; `signed_at_s`: the same in seconds since the epoch.
    `canonical_query`: all parameters but the signature.  `payload`: the value that takes
    the place of x-amz-content-sha256, None where the URL gives none.
    """

    scope: Scope
    signed: SignedHeaders
    signature: bytes
    timestamp: bytes
    signed_at_s: int
    expires_s: int
    canonical_query: bytes
    payload: bytes | None
    session_token: bytes | None

    def check_window(self, now_s: int, skew_s: int) -> None:
        """Make sure that the URL is valid at `now_s`, seconds since the epoch.

        Raises:
            RequestExpiredError, RequestNotYetValidError
        """
        end_s = self.signed_at_s + self.expires_s
        if now_s > end_s:
            raise RequestExpiredError(self.expires_s, iso_extended(end_s), iso_extended(now_s))
        if self.signed_at_s > now_s + skew_s:
            raise RequestNotYetValidError


def parse_presigned(pairs: Pairs) -> PresignedClaim:
    """Read the decoded query of a presigned URL.

    Raises:
        AuthorizationQueryParametersError: something is missing, doubled or not valid.
        UnsupportedSignatureError: the URL is signed with SigV4A.
    """
    values = _single_values(pairs)
    if values.get(b"X-Amz-Algorithm") == SIGV4A_ALGORITHM:
        raise UnsupportedSignatureError
    if not values.keys() >= set(_REQUIRED):
        raise AuthorizationQueryParametersError(
            "Query-string authentication version 4 requires the X-Amz-Algorithm, "
            "X-Amz-Credential, X-Amz-Signature, X-Amz-Date, X-Amz-SignedHeaders, "
            "and X-Amz-Expires parameters."
        )
    if values[b"X-Amz-Algorithm"] != ALGORITHM:
        raise AuthorizationQueryParametersError('X-Amz-Algorithm only supports "AWS4-HMAC-SHA256"')
    try:
        scope = parse_credential(values[b"X-Amz-Credential"])
        signed = parse_signed_headers(values[b"X-Amz-SignedHeaders"])
    except ScopeError as error:
        raise query_error(error) from None
    timestamp = values[b"X-Amz-Date"]
    signed_at_s = parse_iso_basic(timestamp)
    if signed_at_s is None:
        raise AuthorizationQueryParametersError(
            "X-Amz-Date must be in the ISO8601 Long Format \"yyyyMMdd'T'HHmmss'Z'\""
        )
    return PresignedClaim(
        scope=scope,
        signed=signed,
        signature=values[b"X-Amz-Signature"],
        timestamp=timestamp,
        signed_at_s=signed_at_s,
        expires_s=_expires(values[b"X-Amz-Expires"]),
        canonical_query=canonical_query([p for p in pairs if p[0] != b"X-Amz-Signature"]),
        payload=values.get(b"X-Amz-Content-Sha256"),
        session_token=values.get(b"X-Amz-Security-Token"),
    )


def query_error(error: ScopeError) -> AuthorizationQueryParametersError:
    """A bad scope as the error for a presigned URL."""
    return AuthorizationQueryParametersError(
        f"Error parsing the X-Amz-Credential parameter; {error.reason}", error.details
    )


def _single_values(pairs: Pairs) -> dict[bytes, bytes]:
    values: dict[bytes, bytes] = {}
    for name, value in pairs:
        if name in _SINGLE:
            if name in values:
                raise AuthorizationQueryParametersError(f"{name.decode()} occurs more than once")
            values[name] = value
    return values


def _expires(text: bytes) -> int:
    if not text.removeprefix(b"-").isdigit():
        raise AuthorizationQueryParametersError("X-Amz-Expires should be a number")
    if text.startswith(b"-"):
        raise AuthorizationQueryParametersError("X-Amz-Expires must be non-negative")
    if len(text) > 20 or int(text) > MAX_PRESIGN_S:
        raise AuthorizationQueryParametersError(
            "X-Amz-Expires must be less than a week (in seconds); that is, "
            f"the given X-Amz-Expires must be less than {MAX_PRESIGN_S} seconds"
        )
    if int(text) == 0:
        raise AuthorizationQueryParametersError("X-Amz-Expires must be at least 1 second")
    return int(text)


def presign(
    credentials: Credentials,
    method: str,
    endpoint: str,
    path: str,
    *,
    region: str,
    time_s: int,
    expires_s: int = 3600,
    query: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
    service: str = "s3",
) -> str:
    """Make a presigned URL.

    Args:
        endpoint: such as ``http://127.0.0.1:9000``; its host and port are signed.
        path: ``/bucket/key``, not escaped.
        time_s: seconds since the epoch from which the URL counts.
        expires_s: seconds that it stays valid, 1-604,800.
        query: further parameters, such as response-content-type.
        headers: headers that the user of the URL has to send as they are here.  One of
            them, or a parameter, may be X-Amz-Content-Sha256; else any payload will do.

    Raises:
        ValueError: `expires_s` is out of range, or the endpoint has no host.
    """
    base = urlsplit(endpoint)
    if not 1 <= expires_s <= MAX_PRESIGN_S:
        raise ValueError(f"a presigned URL is valid for 1 to {MAX_PRESIGN_S} s, not {expires_s}")
    if not base.netloc:
        raise ValueError(f"an endpoint looks like http://host:port, not {endpoint!r}")
    fields = {name.lower().encode(): value.encode() for name, value in (headers or {}).items()}
    fields[b"host"] = base.netloc.rpartition("@")[2].encode()
    signed = signed_headers(b";".join(sorted(fields)))
    timestamp = iso_basic(time_s)
    scope = b"/".join([timestamp[:8], region.encode(), service.encode(), TERMINATOR])
    pairs = [(name.encode(), value.encode()) for name, value in (query or {}).items()]
    pairs += [
        (b"X-Amz-Algorithm", ALGORITHM),
        (b"X-Amz-Credential", credentials.access_key.encode() + b"/" + scope),
        (b"X-Amz-Date", timestamp),
        (b"X-Amz-Expires", str(expires_s).encode()),
        (b"X-Amz-SignedHeaders", signed.text),
    ]
    if credentials.session_token:
        pairs.append((b"X-Amz-Security-Token", credentials.session_token.encode()))
    raw_path = uri_encode_path(path.encode())
    raw_query = canonical_query(pairs)
    payload = dict(pairs).get(b"X-Amz-Content-Sha256") or fields.get(HEADER, UNSIGNED)
    canonical = signed.canonical_request(method.encode(), raw_path, raw_query, fields, payload)
    key = derive_signing_key(credentials.secret_key, scope)
    signature = key.sign(string_to_sign(timestamp, scope, canonical))
    return (
        f"{base.scheme}://{base.netloc}{raw_path.decode()}"
        f"?{raw_query.decode()}&X-Amz-Signature={signature.decode()}"
    )
