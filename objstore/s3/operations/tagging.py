"""Tags of objects, versions and buckets."""

from __future__ import annotations

from objstore.config import MAX_BUCKET_TAGS, MAX_TAGS
from objstore.s3 import versions, xml
from objstore.s3.http import Context, Request, Response
from objstore.s3.tags import tags_from_xml, tags_to_xml

_SETTING = "tagging"
_NOTHING = (b"content-length", b"0")


def get_object_tagging(ctx: Context, request: Request, body: bytes) -> Response:
    """GetObjectTagging: an empty set where there are none."""
    version_id = versions.version_id(request)
    info = ctx.store.head(request.bucket, request.key, version_id=version_id, customer_key=None)
    response = xml.response(tags_to_xml(info.attributes.tags))
    response.headers += versions.version_headers(info)
    return response


def put_object_tagging(ctx: Context, request: Request, body: bytes) -> Response:
    """PutObjectTagging: the set replaces the one that was there."""
    version_id = versions.version_id(request)
    tags = tags_from_xml(body, limit=MAX_TAGS)
    info = ctx.store.set_tags(request.bucket, request.key, tags, version_id=version_id)
    return Response(200, [*versions.version_headers(info), _NOTHING])


def delete_object_tagging(ctx: Context, request: Request, body: bytes) -> Response:
    """DeleteObjectTagging: 204, whether there were any or not."""
    version_id = versions.version_id(request)
    info = ctx.store.set_tags(request.bucket, request.key, {}, version_id=version_id)
    return Response(204, versions.version_headers(info))


def get_bucket_tagging(ctx: Context, request: Request, body: bytes) -> Response:
    """GetBucketTagging: 404 NoSuchTagSet where there are none."""
    return xml.response(ctx.store.bucket_setting(request.bucket, _SETTING))


def put_bucket_tagging(ctx: Context, request: Request, body: bytes) -> Response:
    """PutBucketTagging: the set replaces the one that was there."""
    tags = tags_from_xml(body, limit=MAX_BUCKET_TAGS)
    ctx.store.set_bucket_setting(request.bucket, _SETTING, tags_to_xml(tags))
    return Response(204, [])


def delete_bucket_tagging(ctx: Context, request: Request, body: bytes) -> Response:
    """DeleteBucketTagging: 204, whether there were any or not."""
    ctx.store.set_bucket_setting(request.bucket, _SETTING, None)
    return Response(204, [])
