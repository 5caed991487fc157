"""RenameObject: another key for an object, in one step."""

from __future__ import annotations

from urllib.parse import unquote

from objstore.config import MAX_CLIENT_TOKEN_CHARS
from objstore.errors import (
    IsDeleteMarkerError,
    KeyTooLongError,
    NoSuchKeyError,
    NoSuchVersionError,
    PreconditionFailedError,
)
from objstore.s3.authentication import identity
from objstore.s3.errors import S3Error, invalid_argument, invalid_request, key_too_long
from objstore.s3.headers import read_conditions
from objstore.s3.http import Context, Request, Response

SOURCE = b"x-amz-rename-source"
_PREFIX = SOURCE + b"-"
_TOKEN = b"x-amz-client-token"


def rename_object(ctx: Context, request: Request, body: bytes) -> Response:
    """RenameObject: within a bucket; what has the new key is replaced, or hidden.

    A repeat with the client's token of a request that was answered, or whose answer was lost,
    changes nothing.
    """
    source = _source(request)
    token = _client_token(request)
    try:
        ctx.store.rename(
            request.bucket,
            source,
            request.key,
            source_conditions=read_conditions(request, _PREFIX),
            conditions=read_conditions(request),
            owner=identity(request).id,
            client_token=token,
        )
    except (NoSuchKeyError, NoSuchVersionError, IsDeleteMarkerError):
        raise S3Error("NoSuchKey", extra={"Key": source}) from None
    except KeyTooLongError:
        raise key_too_long(source) from None
    except PreconditionFailedError as error:
        raise S3Error("PreconditionFailed", extra={"Condition": error.condition}) from None
    return Response(200, [(b"content-length", b"0")])


def _source(request: Request) -> str:
    """The key that is named by ``/bucket/key`` or ``key``, percent-encoded.

    Raises:
        S3Error: InvalidArgument; InvalidRequest for a key of another bucket.
    """
    name, value = SOURCE.decode("ascii"), request.header(SOURCE) or ""
    try:
        decoded = unquote(value, errors="strict")
    except UnicodeDecodeError:
        raise invalid_argument("Invalid rename source encoding", name, value) from None
    key = decoded
    if decoded.startswith("/"):
        bucket, _, key = decoded[1:].partition("/")
        if bucket != request.bucket:
            raise invalid_request("An object can only be renamed within its bucket.")
    if not key:
        raise invalid_argument("The source of a rename is a key", name, value)
    return key


def _client_token(request: Request) -> str:
    token = request.header(_TOKEN) or ""
    if len(token) > MAX_CLIENT_TOKEN_CHARS or not all(33 <= ord(char) <= 126 for char in token):
        raise invalid_argument(
            f"A client token has at most {MAX_CLIENT_TOKEN_CHARS} visible ASCII characters",
            _TOKEN.decode("ascii"),
            token,
        )
    return token
