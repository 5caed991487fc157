"""Object lock of buckets and versions: configuration, retention, legal hold."""

from __future__ import annotations

from xml.etree.ElementTree import Element

from objstore.errors import NoSuchSettingError
from objstore.model import DefaultRetention, ObjectInfo, ObjectLock
from objstore.s3 import versions, xml
from objstore.s3.errors import S3Error, invalid_argument, invalid_request
from objstore.s3.formats import iso_date_ms, parse_iso_date_ms
from objstore.s3.http import Context, Request, Response
from objstore.s3.object_lock import BYPASS, MODES

_CONFIGURATION = "ObjectLockConfiguration"
_EMPTY: tuple[bytes, bytes] = (b"content-length", b"0")
_MAX_DIGITS = 9


# --- of buckets ---------------------------------------------------------------------


def get_configuration(ctx: Context, request: Request, body: bytes) -> Response:
    """GetObjectLockConfiguration: 404 for a bucket without object lock."""
    default = ctx.store.object_lock(request.bucket)
    rule = ""
    if default.mode:
        period = xml.element("Days", default.days or None) + xml.element(
            "Years", default.years or None
        )
        mode = xml.element("Mode", default.mode)
        rule = f"<Rule><DefaultRetention>{mode}{period}</DefaultRetention></Rule>"
    return xml.response(
        xml.document(_CONFIGURATION, xml.element("ObjectLockEnabled", "Enabled"), rule)
    )


def put_configuration(ctx: Context, request: Request, body: bytes) -> Response:
    """PutObjectLockConfiguration: object lock for good; a default, or none any more."""
    tree = _parse(body, _CONFIGURATION)
    _check_children(tree, ("ObjectLockEnabled", "Rule"))
    if xml.child_text(tree, "ObjectLockEnabled") != "Enabled":
        raise S3Error("MalformedXML")
    rule = tree.find("Rule")
    default = DefaultRetention() if rule is None else _default(rule)
    ctx.store.set_object_lock(request.bucket, default)
    return Response(200, [_EMPTY])


def _default(rule: Element) -> DefaultRetention:
    _check_children(rule, ("DefaultRetention",))
    node = rule.find("DefaultRetention")
    if node is None:
        raise S3Error("MalformedXML")
    _check_children(node, ("Mode", "Days", "Years"))
    mode, days, years = (xml.child_text(node, name) for name in ("Mode", "Days", "Years"))
    if mode not in MODES or (days is None) == (years is None):
        raise S3Error("MalformedXML")
    return DefaultRetention(mode, _period("Days", days), _period("Years", years))


def _period(name: str, text: str | None) -> int:
    if text is None:
        return 0
    digits = text.strip()
    if not digits.removeprefix("-").isdecimal() or not digits.isascii():
        raise S3Error("MalformedXML")
    if digits.startswith("-") or not int(digits[:_MAX_DIGITS]):
        raise invalid_argument(
            "Default retention period must be a positive integer value.", name, text
        )
    if len(digits) > _MAX_DIGITS:
        raise invalid_argument("Default retention period too large.", name, text)
    return int(digits)


# --- of versions --------------------------------------------------------------------


def get_retention(ctx: Context, request: Request, body: bytes) -> Response:
    """GetObjectRetention: 404 where the version has none."""
    info = _locked(ctx, request)
    lock = info.attributes.lock
    if not lock.mode:
        raise S3Error("NoSuchObjectLockConfiguration")
    return xml.response(
        xml.document(
            "Retention",
            xml.element("Mode", lock.mode),
            xml.element("RetainUntilDate", iso_date_ms(lock.retain_until_ms)),
        )
    )


def put_retention(ctx: Context, request: Request, body: bytes) -> Response:
    """PutObjectRetention: longer at any time; shorter, or none, where the mode allows it."""
    version_id = versions.version_id(request)
    wanted = _retention(_parse(body, "Retention"))
    ctx.store.set_retention(
        request.bucket,
        request.key,
        wanted.mode,
        wanted.retain_until_ms,
        version_id=version_id,
        bypass_governance=(request.header(BYPASS) or "").lower() == "true",
    )
    return Response(200, [_EMPTY])


def _retention(tree: Element) -> ObjectLock:
    """An empty one takes the retention away."""
    _check_children(tree, ("Mode", "RetainUntilDate"))
    if not len(tree):
        return ObjectLock()
    mode, until = xml.child_text(tree, "Mode"), xml.child_text(tree, "RetainUntilDate")
    until_ms = parse_iso_date_ms(until.strip()) if until is not None else None
    if mode not in MODES or until_ms is None:
        raise S3Error("MalformedXML")
    return ObjectLock(mode, until_ms)


def get_legal_hold(ctx: Context, request: Request, body: bytes) -> Response:
    """GetObjectLegalHold: 404 where the version never had one."""
    is_held = _locked(ctx, request).attributes.lock.legal_hold
    if is_held is None:
        raise S3Error("NoSuchObjectLockConfiguration")
    return xml.response(xml.document("LegalHold", xml.element("Status", _status(is_held))))


def put_legal_hold(ctx: Context, request: Request, body: bytes) -> Response:
    """PutObjectLegalHold: ON or OFF."""
    version_id = versions.version_id(request)
    tree = _parse(body, "LegalHold")
    _check_children(tree, ("Status",))
    status = xml.child_text(tree, "Status")
    if status not in ("ON", "OFF"):
        raise S3Error("MalformedXML")
    ctx.store.set_legal_hold(request.bucket, request.key, status == "ON", version_id=version_id)
    return Response(200, [_EMPTY])


def _status(is_held: bool) -> str:
    return "ON" if is_held else "OFF"


def _locked(ctx: Context, request: Request) -> ObjectInfo:
    """The version whose lock is asked for, in a bucket that has object lock.

    Raises:
        S3Error: InvalidRequest, where it has not.
    """
    version_id = versions.version_id(request)
    try:
        ctx.store.object_lock(request.bucket)
    except NoSuchSettingError:
        raise invalid_request("Bucket is missing Object Lock Configuration") from None
    return ctx.store.head(request.bucket, request.key, version_id=version_id, customer_key=None)


def _parse(body: bytes, root: str) -> Element:
    if not body.strip():
        raise S3Error("MissingRequestBodyError")
    tree = xml.parse(body, root)
    if tree is None:
        raise S3Error("MalformedXML")
    return tree


def _check_children(node: Element, allowed: tuple[str, ...]) -> None:
    if not xml.has_only(node, allowed):
        raise S3Error("MalformedXML")
