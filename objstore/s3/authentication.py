"""The glue to `objstore.auth`: who sent a request, in S3's terms."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from objstore.auth.authenticator import AuthResult
from objstore.auth.errors import InvalidAccessKeyIdError, SignatureDoesNotMatchError
from objstore.auth.keys import ROOT_ID, Identity
from objstore.auth.service import claimed_access_key
from objstore.s3.errors import S3Error
from objstore.s3.http import Context, Request

_FAILURES = (InvalidAccessKeyIdError, SignatureDoesNotMatchError)


def authenticate(ctx: Context, request: Request) -> None:
    """Fill in `request.auth`.

    Raises:
        AuthError: the credentials do not hold.
    """
    if ctx.failures.is_quiet:
        try:
            request.auth = _authenticated(ctx, request)
        except _FAILURES:
            key = claimed_access_key(request.headers, request.raw_query)
            ctx.failures.failed(request.client_host, key)
            raise
    else:
        with counted(ctx, request):
            request.auth = _authenticated(ctx, request)


def _authenticated(ctx: Context, request: Request) -> AuthResult:
    return ctx.authenticator.authenticate(
        request.method, request.raw_path, request.raw_query, request.headers
    )


@contextmanager
def counted(ctx: Context, request: Request, access_key: str = "") -> Iterator[None]:
    """Authenticate in here: failures are counted, and who keeps failing is refused beforehand.

    Args:
        access_key: that is claimed, where the request's head does not say.

    Raises:
        S3Error: SlowDown.
    """
    limiter = ctx.failures
    is_watched = not limiter.is_quiet
    key = access_key
    if is_watched:
        key = key or claimed_access_key(request.headers, request.raw_query)
        if key and limiter.refuses(request.client_host, key):
            raise S3Error("SlowDown")
    try:
        yield
    except _FAILURES:
        key = key or claimed_access_key(request.headers, request.raw_query)
        limiter.failed(request.client_host, key)
        raise
    if is_watched and key:
        limiter.succeeded(request.client_host, key)


def identity(request: Request) -> Identity:
    """Who sent an authenticated request."""
    if request.auth is None:
        raise S3Error("AccessDenied")
    return request.auth.identity


def check_owner(ctx: Context, bucket: str, expected: str | None) -> None:
    """x-amz-expected-bucket-owner: refuse unless it is the account of the bucket's owner.

    Its number, as AWS has it, or its canonical id.

    Raises:
        S3Error: AccessDenied.
        NoSuchBucketError: there is no such bucket.
    """
    if expected is None:
        return
    owner = ctx.store.head_bucket(bucket).owner
    if expected not in (owner or ROOT_ID, ctx.account_of(owner)):
        raise S3Error("AccessDenied")
