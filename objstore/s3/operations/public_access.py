"""A bucket's policy, and what blocks it from making the bucket public."""

from __future__ import annotations

from objstore.auth.policy import PolicyError, parse_bucket_policy
from objstore.auth.public import is_public
from objstore.errors import NoSuchSettingError
from objstore.s3 import public_access, xml
from objstore.s3.errors import S3Error, not_implemented
from objstore.s3.http import Context, Request, Response
from objstore.s3.public_access import BLOCK, BLOCK_POLICY, BLOCKS, POLICY

_ROOT = "PublicAccessBlockConfiguration"
_DONE = [(b"content-length", b"0")]


def get_policy(ctx: Context, request: Request, body: bytes) -> Response:
    """GetBucketPolicy: the document as it was put."""
    document = _document(ctx, request.bucket)
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(document)),
    ]
    return Response(200, headers, document)


def put_policy(ctx: Context, request: Request, body: bytes) -> Response:
    """PutBucketPolicy: what is accepted is honoured, and all else refused by its name."""
    ctx.store.head_bucket(request.bucket)
    try:
        policy = public_access.parse(bytes(body), request.bucket)
    except PolicyError as error:
        raise S3Error("MalformedPolicy", str(error)) from None
    except public_access.PolicyNotHonouredError as error:
        raise not_implemented(str(error)) from None
    block = public_access.block_setting(ctx, request.bucket)
    if is_public(policy) and BLOCK_POLICY in public_access.blocked(block):
        raise S3Error(
            "AccessDenied",
            "Public policies are blocked by the BlockPublicPolicy setting of the bucket's public "
            "access block. Take it away first (DeletePublicAccessBlock) if the bucket is to be "
            "public.",
        )
    ctx.store.set_bucket_setting(request.bucket, POLICY, bytes(body), given={BLOCK: block})
    return Response(204, [])


def delete_policy(ctx: Context, request: Request, body: bytes) -> Response:
    """DeleteBucketPolicy: 204, whether there was one or not."""
    ctx.store.set_bucket_setting(request.bucket, POLICY, None)
    return Response(204, [])


def get_policy_status(ctx: Context, request: Request, body: bytes) -> Response:
    """GetBucketPolicyStatus: whether the policy makes the bucket public."""
    try:
        policy = parse_bucket_policy(_document(ctx, request.bucket), request.bucket)
    except PolicyError:  # as in `public_access.policy_of`
        policy = public_access.NO_POLICY
    text = "true" if is_public(policy) else "false"
    return xml.response(xml.document("PolicyStatus", xml.element("IsPublic", text)))


def _document(ctx: Context, bucket: str) -> bytes:
    try:
        return ctx.store.bucket_setting(bucket, POLICY)
    except NoSuchSettingError:
        raise S3Error("NoSuchBucketPolicy", extra={"BucketName": bucket}) from None


def get_block(ctx: Context, request: Request, body: bytes) -> Response:
    """GetPublicAccessBlock: all of it until somebody says something else."""
    blocks = public_access.blocked(public_access.block_setting(ctx, request.bucket))
    if public_access.NO_BLOCK.decode("ascii") in blocks:
        raise S3Error("NoSuchPublicAccessBlockConfiguration")
    inner = (xml.element(name, "true" if name in blocks else "false") for name in BLOCKS)
    return xml.response(xml.document(_ROOT, *inner))


def put_block(ctx: Context, request: Request, body: bytes) -> Response:
    """PutPublicAccessBlock: what is left out is not blocked."""
    ctx.store.head_bucket(request.bucket)
    tree = xml.parse(body, _ROOT)
    if tree is None or not xml.has_only(tree, BLOCKS):
        raise S3Error("MalformedXML")
    blocks = set()
    for node in tree:
        text = (node.text or "").strip().lower()
        if text not in ("true", "false"):
            raise S3Error("MalformedXML")
        if text == "true":
            blocks.add(node.tag)
    ctx.store.set_bucket_setting(
        request.bucket, BLOCK, public_access.encode_block(frozenset(blocks))
    )
    return Response(200, list(_DONE))


def delete_block(ctx: Context, request: Request, body: bytes) -> Response:
    """DeletePublicAccessBlock: nothing is blocked any more."""
    ctx.store.set_bucket_setting(request.bucket, BLOCK, public_access.NO_BLOCK)
    return Response(204, [])
