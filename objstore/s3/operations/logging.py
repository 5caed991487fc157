"""Whether a bucket's requests are logged, and where to."""

from __future__ import annotations

from xml.etree.ElementTree import Element

from objstore.access_logs import settings
from objstore.access_logs.settings import DELIVERY_TIME, EVENT_TIME, SETTING, Logging
from objstore.config import MAX_KEY_BYTES
from objstore.errors import NoSuchBucketError, NoSuchSettingError
from objstore.model import DefaultRetention
from objstore.s3 import xml
from objstore.s3.errors import S3Error, invalid_argument, invalid_request, not_implemented
from objstore.s3.http import Context, Request, Response

_ROOT = "BucketLoggingStatus"
_FORMAT = "TargetObjectKeyFormat"
_MAX_PREFIX_BYTES = MAX_KEY_BYTES - 200  # the partition and the rest of a key follow


def get_logging(ctx: Context, request: Request, body: bytes) -> Response:
    """GetBucketLogging: empty where there is none."""
    try:
        found = settings.decode(ctx.store.bucket_setting(request.bucket, SETTING))
    except NoSuchSettingError:
        return xml.response(xml.document(_ROOT))
    form = "<SimplePrefix/>"
    if found.date_source:
        source = xml.element("PartitionDateSource", found.date_source)
        form = f"<PartitionedPrefix>{source}</PartitionedPrefix>"
    inner = (
        xml.element("TargetBucket", found.target),
        xml.element("TargetPrefix", found.prefix),
        f"<{_FORMAT}>{form}</{_FORMAT}>",
    )
    return xml.response(xml.document(_ROOT, "<LoggingEnabled>", *inner, "</LoggingEnabled>"))


def put_logging(ctx: Context, request: Request, body: bytes) -> Response:
    """PutBucketLogging: an empty document ends it."""
    owner = ctx.store.head_bucket(request.bucket).owner
    tree = xml.parse(body, _ROOT)
    if tree is None or not xml.has_only(tree, ("LoggingEnabled",)):
        raise S3Error("MalformedXML")
    value = None
    if len(tree):
        wanted = _logging(tree[0])
        _check_target(ctx, wanted.target, owner)
        if ctx.access_logs is None:
            raise not_implemented("This server delivers no access logs")
        value = settings.encode(wanted)
        ctx.access_logs.activate()  # first: what cannot be delivered is not stored
    ctx.store.set_bucket_setting(request.bucket, SETTING, value)
    if ctx.access_logs is not None:
        ctx.access_logs.forget(request.bucket)
    return Response(200, [(b"content-length", b"0")])


def _logging(node: Element) -> Logging:
    known = ("TargetBucket", "TargetPrefix", _FORMAT, "TargetGrants")
    target = xml.child_text(node, "TargetBucket")
    prefix = xml.child_text(node, "TargetPrefix")
    if not target or prefix is None or not xml.has_only(node, known):
        raise S3Error("MalformedXML")
    if len(prefix.encode("utf-8", "surrogatepass")) > _MAX_PREFIX_BYTES:
        raise invalid_argument(
            f"The prefix is longer than {_MAX_PREFIX_BYTES} bytes", "TargetPrefix", prefix
        )
    grants = node.find("TargetGrants")
    if grants is not None and len(grants):
        # every bucket is its owner's alone, as S3 answers for those that are
        raise S3Error("AccessControlListNotSupported")
    return Logging(target, prefix, _date_source(node.find(_FORMAT)))


def _date_source(node: Element | None) -> str:
    if node is None:
        return ""
    if len(node) != 1 or node[0].tag not in ("SimplePrefix", "PartitionedPrefix"):
        raise S3Error("MalformedXML")
    if node[0].tag == "SimplePrefix":
        return ""
    source = xml.child_text(node[0], "PartitionDateSource")
    if not xml.has_only(node[0], ("PartitionDateSource",)):
        raise S3Error("MalformedXML")
    if source is not None and source not in (EVENT_TIME, DELIVERY_TIME):
        raise S3Error("MalformedXML")
    return source or DELIVERY_TIME


def _check_target(ctx: Context, target: str, owner: str) -> None:
    try:
        info = ctx.store.head_bucket(target)
    except NoSuchBucketError:
        info = None
    if info is None or info.owner not in ("", owner):
        raise S3Error("InvalidTargetBucketForLogging", extra={"TargetBucket": target})
    try:
        retention = ctx.store.object_lock(target)
    except NoSuchSettingError:
        return
    if retention != DefaultRetention():
        raise invalid_request(
            "The target bucket for logging must not have a default retention period."
        )
