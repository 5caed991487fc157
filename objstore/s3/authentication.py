"""The glue to `objstore.auth`: who sent a request, in S3's terms."""

from __future__ import annotations

from objstore.auth.keys import Identity
from objstore.s3.errors import S3Error
from objstore.s3.http import Context, Request


def authenticate(ctx: Context, request: Request) -> bool:
    """Fill in `request.auth`; whether anybody signed.

    Raises:
        AuthError: the credentials do not hold.
    """
    result = ctx.authenticator.authenticate(
        request.method, request.raw_path, request.raw_query, request.headers
    )
    request.auth = result
    return not result.is_anonymous


def identity(request: Request) -> Identity:
    """Who sent an authenticated request."""
    if request.auth is None:
        raise S3Error("AccessDenied")
    return request.auth.identity


def check_owner(ctx: Context, bucket: str, expected: str | None) -> None:
    """x-amz-expected-bucket-owner: refuse unless it is the id of the bucket's owner.

    Raises:
        S3Error: AccessDenied.
        NoSuchBucketError: there is no such bucket.
    """
    if expected is not None and ctx.store.head_bucket(bucket).owner != expected:
        raise S3Error("AccessDenied")
