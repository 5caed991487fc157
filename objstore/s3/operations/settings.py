"""Settings of a bucket with one value: who pays for requests, acceleration, ownership.

What is stored is honoured, and what would have to be honoured and is not offered is refused:
an endpoint for acceleration, and objects that belong to others than the bucket's owner.
"""

from __future__ import annotations

from typing import Final

from objstore.errors import NoSuchSettingError
from objstore.s3 import xml
from objstore.s3.errors import S3Error, invalid_request, not_implemented
from objstore.s3.http import Context, Request, Response
from objstore.s3.public_access import PAYER, REQUESTER

ACCELERATION: Final = "acceleration"
"""The bucket's setting, as `PAYER`: the text of the one element."""

BUCKET_OWNER = "BucketOwner"
ENABLED, SUSPENDED = "Enabled", "Suspended"
OWNER_ENFORCED = "BucketOwnerEnforced"
_OTHER_OWNERS = ("ObjectWriter", "BucketOwnerPreferred")

_PAYMENT = "RequestPaymentConfiguration"
_ACCELERATE = "AccelerateConfiguration"
_OWNERSHIP = "OwnershipControls"
_DONE = [(b"content-length", b"0")]


def get_payment(ctx: Context, request: Request, body: bytes) -> Response:
    """GetBucketRequestPayment."""
    payer = _stored(ctx, request.bucket, PAYER) or BUCKET_OWNER
    return xml.response(xml.document(_PAYMENT, xml.element("Payer", payer)))


def put_payment(ctx: Context, request: Request, body: bytes) -> Response:
    """PutBucketRequestPayment: the owner's own requests, which are all there are, go on as ever.

    A bucket whose requesters pay is nobody's who signs nothing, whatever its policy says.
    """
    ctx.store.head_bucket(request.bucket)
    payer = _only_value(body, _PAYMENT, "Payer", (BUCKET_OWNER, REQUESTER.decode("ascii")))
    value = None if payer == BUCKET_OWNER else payer.encode("ascii")
    ctx.store.set_bucket_setting(request.bucket, PAYER, value)
    return Response(200, list(_DONE))


def get_acceleration(ctx: Context, request: Request, body: bytes) -> Response:
    """GetBucketAccelerateConfiguration: empty until there was one, as in S3."""
    status = _stored(ctx, request.bucket, ACCELERATION)
    return xml.response(xml.document(_ACCELERATE, xml.element("Status", status or None)))


def put_acceleration(ctx: Context, request: Request, body: bytes) -> Response:
    """PutBucketAccelerateConfiguration: suspended it can be; there is no endpoint to enable."""
    ctx.store.head_bucket(request.bucket)
    status = _only_value(body, _ACCELERATE, "Status", (ENABLED, SUSPENDED))
    if "." in request.bucket:
        raise invalid_request(
            "S3 Transfer Acceleration is not supported for buckets with periods (.) in their names"
        )
    if status == ENABLED:
        raise not_implemented("Transfer Acceleration is not implemented")
    ctx.store.set_bucket_setting(request.bucket, ACCELERATION, status.encode("ascii"))
    return Response(200, list(_DONE))


def get_ownership(ctx: Context, request: Request, body: bytes) -> Response:
    """GetBucketOwnershipControls: all objects are the bucket owner's."""
    ctx.store.head_bucket(request.bucket)
    rule = f"<Rule>{xml.element('ObjectOwnership', OWNER_ENFORCED)}</Rule>"
    return xml.response(xml.document(_OWNERSHIP, rule))


def put_ownership(ctx: Context, request: Request, body: bytes) -> Response:
    """PutBucketOwnershipControls: what is so already; other owners would need ACLs."""
    ctx.store.head_bucket(request.bucket)
    tree = xml.parse(body, _OWNERSHIP)
    if tree is None or [node.tag for node in tree] != ["Rule"]:
        raise S3Error("MalformedXML")
    rule = tree[0]
    wanted = (xml.child_text(rule, "ObjectOwnership") or "").strip()
    if not xml.has_only(rule, ("ObjectOwnership",)):
        raise S3Error("MalformedXML")
    if wanted in _OTHER_OWNERS:
        raise not_implemented(f"ObjectOwnership {wanted} is not implemented: there are no ACLs")
    if wanted != OWNER_ENFORCED:
        raise S3Error("MalformedXML")
    return Response(200, list(_DONE))


def _stored(ctx: Context, bucket: str, setting: str) -> str:
    try:
        return ctx.store.bucket_setting(bucket, setting).decode("ascii")
    except NoSuchSettingError:
        return ""


def _only_value(body: bytes, root: str, name: str, allowed: tuple[str, ...]) -> str:
    """The text of the one element of a document.

    Raises:
        S3Error: MalformedXML.
    """
    tree = xml.parse(body, root)
    if tree is None or not xml.has_only(tree, (name,)):
        raise S3Error("MalformedXML")
    text = (xml.child_text(tree, name) or "").strip()
    if text not in allowed:
        raise S3Error("MalformedXML")
    return text
