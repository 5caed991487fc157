"""Why a request was not let in, by S3's own codes and without any HTTP.

`code` is S3's error code, `details` the extra elements of its error document in
order.  Codes and wording: "Error responses" in the S3 API reference,
https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html

    AuthError
    ├── AccessDeniedError                    known or not, this is not for you
    │   ├── HeadersNotSignedError            sign the headers named, too
    │   ├── RequestExpiredError              the presigned URL is too old; make another
    │   └── RequestNotYetValidError          the presigned URL is for later
    ├── CredentialsError                     use other credentials
    │   ├── InvalidAccessKeyIdError
    │   ├── InvalidTokenError
    │   └── ExpiredTokenError
    ├── SignatureDoesNotMatchError           wrong secret, or signed otherwise than sent
    ├── RequestTimeTooSkewedError            set the clock
    ├── MalformedRequestError                correct the request
    │   ├── AuthorizationHeaderMalformedError
    │   ├── AuthorizationQueryParametersError
    │   ├── InvalidAuthArgumentError
    │   ├── InvalidAuthRequestError
    │   ├── MissingSecurityHeaderError
    │   └── MissingDecodedLengthError
    ├── PayloadError                         the body is not what was signed; send it again
    │   ├── ContentSHA256MismatchError
    │   ├── IncompleteChunkedBodyError
    │   ├── MalformedChunkError
    │   ├── InvalidChunkSizeError
    │   └── MalformedTrailerError
    └── UnsupportedSignatureError            a scheme that is not offered here
"""

from __future__ import annotations

from typing import ClassVar

from objstore.auth.masking import masked

Details = tuple[tuple[str, str], ...]


class AuthError(Exception):
    """A request that cannot be authenticated.

    `code`: S3's error code.  `message`: for the person who reads the error document.
    `details`: names and texts of further elements of that document.
    """

    code: ClassVar[str] = "AccessDenied"
    default_message: ClassVar[str] = "Access Denied"

    def __init__(self, message: str = "", details: Details = ()) -> None:
        self.message = message or self.default_message
        self.details = details
        super().__init__(f"{self.code}: {self.message}")


class AccessDeniedError(AuthError):
    """The request is understood and refused."""


class HeadersNotSignedError(AccessDeniedError):
    """Headers that S3 wants signed (host, every x-amz-*) are not in SignedHeaders."""

    default_message = "There were headers present in the request which were not signed"

    def __init__(self, names: list[str]) -> None:
        super().__init__("", (("HeadersNotSigned", ", ".join(names)),))
        self.names = names


class RequestExpiredError(AccessDeniedError):
    """A presigned URL past its end.  Times are ISO 8601 in UTC."""

    default_message = "Request has expired"

    def __init__(self, expires_s: int, expired_at: str, server_time: str) -> None:
        super().__init__(
            "",
            (
                ("X-Amz-Expires", str(expires_s)),
                ("Expires", expired_at),
                ("ServerTime", server_time),
            ),
        )


class RequestNotYetValidError(AccessDeniedError):
    """A presigned URL whose date lies further ahead than clocks may differ."""

    default_message = "Request is not valid yet"


class CredentialsError(AuthError):
    """The credentials themselves are no good."""


class InvalidAccessKeyIdError(CredentialsError):
    """Nobody has this access key."""

    code = "InvalidAccessKeyId"
    default_message = "The AWS Access Key Id you provided does not exist in our records."

    def __init__(self, access_key: str) -> None:
        super().__init__("", (("AWSAccessKeyId", access_key),))


class InvalidTokenError(CredentialsError):
    """The session token does not belong to the access key."""

    code = "InvalidToken"
    default_message = "The provided token is malformed or otherwise invalid."


class ExpiredTokenError(CredentialsError):
    """Temporary credentials past their end."""

    code = "ExpiredToken"
    default_message = "The provided token has expired."


class SignatureDoesNotMatchError(AuthError):
    """The signature is not that of this request under this key.

    The details show what was signed here, so that a client can be put right; the
    string to sign gives nothing away that its sender does not know.  A customer's key is
    masked, as errors end up in logs.  Of a chunk there is no access key and no canonical
    request.
    """

    code = "SignatureDoesNotMatch"
    default_message = (
        "The request signature we calculated does not match the signature you provided. "
        "Check your key and signing method."
    )

    def __init__(
        self,
        access_key: str,
        signature: bytes,
        string_to_sign: bytes,
        canonical_request: bytes | None = None,
    ) -> None:
        details = [("AWSAccessKeyId", access_key)] if access_key else []
        details += [
            ("StringToSign", _text(string_to_sign)),
            ("SignatureProvided", _text(signature)),
            ("StringToSignBytes", _hex_bytes(string_to_sign)),
        ]
        if canonical_request is not None:
            shown = masked(canonical_request)
            details.append(("CanonicalRequest", _text(shown)))
            details.append(("CanonicalRequestBytes", _hex_bytes(shown)))
        super().__init__("", tuple(details))


class RequestTimeTooSkewedError(AuthError):
    """The request's clock and ours differ by more than `skew_s` seconds."""

    code = "RequestTimeTooSkewed"
    default_message = "The difference between the request time and the current time is too large."

    def __init__(self, request_time: str, server_time: str, skew_s: int) -> None:
        super().__init__(
            "",
            (
                ("RequestTime", request_time),
                ("ServerTime", server_time),
                ("MaxAllowedSkewMilliseconds", str(skew_s * 1000)),
            ),
        )


class MalformedRequestError(AuthError):
    """The authentication data cannot be read."""

    code = "InvalidRequest"
    default_message = "Invalid Request"


class AuthorizationHeaderMalformedError(MalformedRequestError):
    """The Authorization header cannot be read, or names another scope."""

    code = "AuthorizationHeaderMalformed"

    def __init__(self, reason: str, details: Details = ()) -> None:
        super().__init__(f"The authorization header is malformed; {reason}", details)


class AuthorizationQueryParametersError(MalformedRequestError):
    """The query parameters of a presigned URL cannot be read, or name another scope."""

    code = "AuthorizationQueryParametersError"


class InvalidAuthArgumentError(MalformedRequestError):
    """A header or parameter of the authentication has no valid value."""

    code = "InvalidArgument"

    def __init__(self, message: str, name: str, value: str) -> None:
        super().__init__(message, (("ArgumentName", name), ("ArgumentValue", value)))


class InvalidAuthRequestError(MalformedRequestError):
    """Something required is missing, or an outdated mechanism was used."""


class MissingSecurityHeaderError(MalformedRequestError):
    """A header that every signed request has is missing."""

    code = "MissingSecurityHeader"
    default_message = "Your request was missing a required header."

    def __init__(self, name: str) -> None:
        super().__init__("", (("MissingHeaderName", name),))


class MissingDecodedLengthError(MalformedRequestError):
    """An aws-chunked body without a valid x-amz-decoded-content-length."""

    code = "MissingContentLength"
    default_message = "You must provide the x-amz-decoded-content-length HTTP header."


class PayloadError(AuthError):
    """The body is not what the headers promised."""


class ContentSHA256MismatchError(PayloadError):
    """The SHA-256 of the body is not the one that was signed.  Both as lower-case hex."""

    code = "XAmzContentSHA256Mismatch"
    default_message = "The provided 'x-amz-content-sha256' header does not match what was computed."

    def __init__(self, client: str, computed: str) -> None:
        super().__init__(
            "", (("ClientComputedContentSHA256", client), ("S3ComputedContentSHA256", computed))
        )


class IncompleteChunkedBodyError(PayloadError):
    """An aws-chunked body ended early, or is not as long as it was said to be."""

    code = "IncompleteBody"
    default_message = "The request body terminated unexpectedly"


class MalformedChunkError(PayloadError):
    """The framing of an aws-chunked body cannot be read; S3 has no code of its own for that."""

    code = "IncompleteBody"

    def __init__(self, reason: str) -> None:
        super().__init__(f"The request body terminated unexpectedly: {reason}")


class InvalidChunkSizeError(PayloadError):
    """A chunk that is not the last is too small.

    `chunk` is the number, from 1, of the one after it, where S3 finds out.
    """

    code = "InvalidChunkSizeError"

    def __init__(self, chunk: int, size_bytes: int, least_bytes: int) -> None:
        super().__init__(
            f"Only the last chunk is allowed to have a size less than {least_bytes} bytes",
            (("Chunk", str(chunk)), ("BadChunkSize", str(size_bytes))),
        )


class MalformedTrailerError(PayloadError):
    """The trailers of an aws-chunked body cannot be read, or are not those announced."""

    code = "MalformedTrailerError"
    default_message = (
        "The request contained trailing data that was not well-formed "
        "or did not conform to our published schema."
    )


class UnsupportedSignatureError(AuthError):
    """A signing scheme that S3 knows and this server does not (SigV4A)."""

    code = "NotImplemented"
    default_message = (
        "A header you provided implies functionality that is not implemented: "
        "AWS4-ECDSA-P256-SHA256 (SigV4A). Use AWS4-HMAC-SHA256."
    )


def _text(raw: bytes) -> str:
    # What the client sent need not be UTF-8, and the error document must be.
    return raw.decode("utf-8", "backslashreplace")


def _hex_bytes(raw: bytes) -> str:
    return raw.hex(" ")
