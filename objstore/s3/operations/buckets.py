"""ListBuckets, CreateBucket, HeadBucket, DeleteBucket, GetBucketLocation, GetBucketVersioning."""

from __future__ import annotations

from objstore.config import MAX_BUCKETS
from objstore.errors import BucketExistsError
from objstore.model import BucketInfo
from objstore.s3 import tokens, xml
from objstore.s3.authentication import identity
from objstore.s3.errors import S3Error, invalid_argument, not_implemented
from objstore.s3.formats import iso_date
from objstore.s3.headers import integer
from objstore.s3.http import Context, Request, Response
from objstore.s3.names import is_bucket_name

# The one region that a LocationConstraint does not name, and whose name stands for "".
_FIRST_REGION = "us-east-1"
_OBJECT_LOCK = b"x-amz-bucket-object-lock-enabled"


def list_buckets(ctx: Context, request: Request, body: bytes) -> Response:
    """ListBuckets: all of them, ordered by name, in pages of max-buckets if asked."""
    limit = _max_buckets(request)
    prefix = request.query_value("prefix") or ""
    token = request.query_value("continuation-token")
    region = request.query_value("bucket-region")
    buckets = ctx.store.list_buckets(
        prefix=prefix, start_after=tokens.decode(token) if token else "", limit=MAX_BUCKETS
    )
    if region:
        buckets = [bucket for bucket in buckets if bucket.region == region]
    page = buckets[:limit]
    more = tokens.encode(page[-1].name) if len(buckets) > limit else None
    return xml.response(
        xml.document(
            "ListAllMyBucketsResult",
            f"<Owner>{xml.element('ID', identity(request).id)}</Owner>",
            f"<Buckets>{''.join(_bucket(bucket) for bucket in page)}</Buckets>",
            xml.element("ContinuationToken", more),
            xml.element("Prefix", prefix or None),
        )
    )


def _max_buckets(request: Request) -> int:
    text = request.query_value("max-buckets")
    if text is None:
        return MAX_BUCKETS
    number = integer(text, MAX_BUCKETS)
    if not number:
        raise invalid_argument(
            "Argument max-buckets must be an integer between 1 and 10000.", "max-buckets", text
        )
    return number


def _bucket(bucket: BucketInfo) -> str:
    return (
        f"<Bucket><Name>{bucket.name}</Name>"
        f"<CreationDate>{iso_date(bucket.created_ms // 1000)}</CreationDate>"
        f"<BucketRegion>{xml.escape(bucket.region)}</BucketRegion></Bucket>"
    )


def create_bucket(ctx: Context, request: Request, body: bytes) -> Response:
    """CreateBucket.  In us-east-1 making one's own bucket again succeeds, as it does in S3."""
    if not is_bucket_name(request.bucket):
        raise S3Error("InvalidBucketName", extra={"BucketName": request.bucket})
    object_lock = _wants_object_lock(request)
    _check_location(ctx, body)
    owner = identity(request).id
    try:
        ctx.store.create_bucket(
            request.bucket, region=ctx.region, owner=owner, object_lock=object_lock
        )
    except BucketExistsError:
        existing = ctx.store.head_bucket(request.bucket)
        if existing.owner not in ("", owner):
            raise S3Error("BucketAlreadyExists", extra={"BucketName": request.bucket}) from None
        if ctx.region != _FIRST_REGION:
            raise
    location = b"/" + request.bucket.encode("ascii")
    return Response(200, [(b"location", location), (b"content-length", b"0")])


def _wants_object_lock(request: Request) -> bool:
    value = request.header(_OBJECT_LOCK)
    if value is None or value.lower() in ("true", "false"):
        return value is not None and value.lower() == "true"
    raise invalid_argument("It is true or false.", _OBJECT_LOCK.decode("ascii"), value)


def _check_location(ctx: Context, body: bytes) -> None:
    constraint = ""
    if body.strip():
        tree = xml.parse(body, "CreateBucketConfiguration")
        if tree is None:
            raise S3Error("MalformedXML")
        for name in ("Location", "Bucket", "Tags"):
            if tree.find(name) is not None:
                raise not_implemented(f"{name} in CreateBucketConfiguration is not implemented")
        if not xml.has_only(tree, ("LocationConstraint",)):
            raise S3Error("MalformedXML")
        constraint = xml.child_text(tree, "LocationConstraint") or ""
    if constraint == ctx.region or (not constraint and ctx.region == _FIRST_REGION):
        return
    raise S3Error(
        "IllegalLocationConstraintException",
        f"The {constraint or 'unspecified'} location constraint is incompatible for the region "
        "specific endpoint this request was sent to.",
    )


def head_bucket(ctx: Context, request: Request, body: bytes) -> Response:
    """HeadBucket: whether it exists, and where."""
    info = ctx.store.head_bucket(request.bucket)
    return Response(
        200,
        [
            (b"x-amz-bucket-region", info.region.encode("ascii")),
            (b"x-amz-access-point-alias", b"false"),
            (b"content-type", b"application/xml"),
            (b"content-length", b"0"),
        ],
    )


def delete_bucket(ctx: Context, request: Request, body: bytes) -> Response:
    """DeleteBucket: 204 when it was empty."""
    ctx.store.delete_bucket(request.bucket)
    return Response(204, [])


def get_location(ctx: Context, request: Request, body: bytes) -> Response:
    """GetBucketLocation: the region, and nothing for us-east-1."""
    region = ctx.store.head_bucket(request.bucket).region
    text = "" if region == _FIRST_REGION else xml.escape(region)
    return xml.response(xml.document("LocationConstraint", text))
