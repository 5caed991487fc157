"""From the head of a request to the operation that answers it."""

from __future__ import annotations

from objstore.cause import asked_by
from objstore.s3 import public_access
from objstore.s3.authentication import authenticate, check_owner
from objstore.s3.cors import ORIGIN, answer_headers
from objstore.s3.encryption_checks import check_operation as check_encryption
from objstore.s3.errors import S3Error
from objstore.s3.http import Context, Headers, Request, Response
from objstore.s3.operation import Operation
from objstore.s3.operations.site import WEBSITE
from objstore.s3.refusals import SUSPECT_HEADERS, check_headers
from objstore.s3.router import route
from objstore.s3.table import PREFLIGHT
from objstore.s3.website import site_of

SIGNED = b"AWS"
"""How an Authorization header of the API begins, whatever the host: no website has those."""


def prepare(ctx: Context, request: Request) -> Operation:
    """Route, authenticate, and refuse what is not offered, in this order.

    Returns:
        An operation with a handler.  `request` has its bucket, key, query and auth.

    Raises:
        S3Error, AuthError, StoreError: for `errors.to_response`.
    """
    authorization = request.header_map.get(b"authorization")
    if authorization is None or not authorization.startswith(SIGNED):
        site = site_of(ctx, request)
        if site:
            return _of_site(ctx, request, site)
    operation = route(ctx, request)
    if operation.kind != "read":
        asked_by(request.cause)
    if operation is PREFLIGHT or operation.kind == "form":
        return operation  # browsers sign neither: the one not at all, the other in its body
    if not authenticate(ctx, request):
        operation = public_access.admit(ctx, request, operation)
    if operation.handler is None:
        raise S3Error("NotImplemented", f"The operation {operation.name} is not implemented")
    if not request.header_map.keys().isdisjoint(SUSPECT_HEADERS):
        check_headers(operation, request)
        if operation.name != "CreateBucket" and request.bucket:
            check_owner(ctx, request.bucket, request.header(b"x-amz-expected-bucket-owner"))
        check_encryption(ctx, operation.name, request)
    return operation


def _of_site(ctx: Context, request: Request, bucket: str) -> Operation:
    """A browser's request for a page, or its question whether a page may ask for that."""
    request.bucket = bucket
    request.operation = PREFLIGHT if request.method == "OPTIONS" else WEBSITE
    return request.operation


def sent_headers(ctx: Context, request: Request, response: Response) -> Headers:
    """All headers of a response; the carrier adds Date and Connection."""
    headers = response.headers + ctx.common_headers(request)
    if ORIGIN in request.header_map:
        headers += answer_headers(ctx, request)
    return headers
