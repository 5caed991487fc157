"""The glue to `objstore.auth`: who sent a request, in S3's terms."""

from __future__ import annotations

from objstore.auth.keys import ROOT_ID, Identity
from objstore.s3.errors import S3Error
from objstore.s3.http import Context, Request


def authenticate(ctx: Context, request: Request) -> None:
    """Fill in `request.auth`.

    Raises:
        AuthError: the credentials do not hold.
    """
    request.auth = ctx.authenticator.authenticate(
        request.method, request.raw_path, request.raw_query, request.headers
    )


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
