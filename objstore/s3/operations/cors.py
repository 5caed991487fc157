"""The rules of a bucket for pages of other origins, and what a browser asks beforehand."""

from __future__ import annotations

from xml.etree.ElementTree import Element

from objstore.config import MAX_CORS_AGE_S, MAX_CORS_RULES
from objstore.s3 import cors, xml
from objstore.s3.cors import Rule
from objstore.s3.errors import S3Error, invalid_request
from objstore.s3.http import Context, Request, Response

_ROOT = "CORSConfiguration"
_METHODS = ("GET", "PUT", "HEAD", "POST", "DELETE")
_ONCE = ("ID", "MaxAgeSeconds")
_MANY = ("AllowedOrigin", "AllowedMethod", "AllowedHeader", "ExposeHeader")
_MAX_ID_CHARS = 255


def get_cors(ctx: Context, request: Request, body: bytes) -> Response:
    """GetBucketCors: the rules as they were put."""
    rules = cors.decode(ctx.store.bucket_setting(request.bucket, cors.SETTING))
    return xml.response(xml.document(_ROOT, "".join(_rule_xml(rule) for rule in rules)))


def put_cors(ctx: Context, request: Request, body: bytes) -> Response:
    """PutBucketCors: the rules replace those that there were."""
    ctx.store.head_bucket(request.bucket)
    tree = xml.parse(body, _ROOT)
    if tree is None or not 1 <= len(tree) <= MAX_CORS_RULES:
        raise S3Error("MalformedXML")
    rules = [_rule(node) for node in tree]
    ctx.store.set_bucket_setting(request.bucket, cors.SETTING, cors.encode(rules))
    return Response(200, [(b"content-length", b"0")])


def delete_cors(ctx: Context, request: Request, body: bytes) -> Response:
    """DeleteBucketCors: 204, whether there were any or not."""
    ctx.store.set_bucket_setting(request.bucket, cors.SETTING, None)
    return Response(204, [])


def preflight(ctx: Context, request: Request, body: bytes) -> Response:
    """What a browser asks before it sends a request: whether a page may have it sent.

    Nobody signs it, and it tells no more than the rules.
    """
    origin, method = request.header(cors.ORIGIN), cors.asked_method(request)
    if origin is None:
        raise S3Error("BadRequest", "Insufficient information. Origin request header needed.")
    if method not in _METHODS:
        raise S3Error("BadRequest", f"Invalid Access-Control-Request-Method: {method or 'null'}")
    rules = cors.rules_of(ctx, request.bucket)
    if not rules:
        raise _forbidden(request, method, "CORSResponse: CORS is not enabled for this bucket.")
    asked = cors.asked_headers(request)
    rule = cors.find(rules, origin, method, asked)
    if rule is None:
        raise _forbidden(
            request,
            method,
            "CORSResponse: This CORS request is not allowed. This is usually because the "
            "evalution of Origin, request method / Access-Control-Request-Method or "
            "Access-Control-Request-Headers are not whitelisted by the resource's CORS spec.",
        )
    headers = cors.rule_headers(rule, origin)
    if asked:
        headers.append((b"access-control-allow-headers", ", ".join(asked).encode("latin-1")))
    return Response(200, [*headers, (b"content-length", b"0")])


def _forbidden(request: Request, method: str, message: str) -> S3Error:
    kind = "OBJECT" if request.key else "BUCKET"
    return S3Error("AccessForbidden", message, extra={"Method": method, "ResourceType": kind})


def _rule_xml(rule: Rule) -> str:
    return "".join(
        (
            "<CORSRule>",
            xml.element("ID", rule.id or None),
            *(xml.element("AllowedMethod", method) for method in rule.methods),
            *(xml.element("AllowedOrigin", origin) for origin in rule.origins),
            *(xml.element("AllowedHeader", name) for name in rule.headers),
            *(xml.element("ExposeHeader", name) for name in rule.exposed),
            xml.element("MaxAgeSeconds", rule.max_age_s),
            "</CORSRule>",
        )
    )


def _rule(node: Element) -> Rule:
    tags = [child.tag for child in node]
    if node.tag != "CORSRule" or not set(tags) <= {*_ONCE, *_MANY}:
        raise S3Error("MalformedXML")
    if any(tags.count(name) > 1 for name in _ONCE):
        raise S3Error("MalformedXML")
    texts = {name: [child.text or "" for child in node.findall(name)] for name in _MANY}
    if not texts["AllowedOrigin"] or not texts["AllowedMethod"]:
        raise S3Error("MalformedXML")
    for method in texts["AllowedMethod"]:
        if method not in _METHODS:
            raise invalid_request(
                "Found unsupported HTTP method in CORS config. Unsupported method is " + method
            )
    for name in ("AllowedOrigin", "AllowedHeader"):
        for text in texts[name]:
            if text.count("*") > 1:
                raise invalid_request(f'{name} "{text}" can not have more than one wildcard.')
    for text in texts["ExposeHeader"]:
        if "*" in text or not text.isascii():
            raise invalid_request(f'ExposeHeader "{text}" contains wildcard.')
    return Rule(
        texts["AllowedOrigin"],
        texts["AllowedMethod"],
        [name.lower() for name in texts["AllowedHeader"]],
        texts["ExposeHeader"],
        _max_age(xml.child_text(node, "MaxAgeSeconds")),
        _id(xml.child_text(node, "ID") or ""),
    )


def _max_age(text: str | None) -> int | None:
    if text is None:
        return None
    digits = text.strip()
    if not digits.isascii() or not digits.isdigit() or len(digits) > len(str(MAX_CORS_AGE_S)):
        raise S3Error("MalformedXML")
    return min(int(digits), MAX_CORS_AGE_S)


def _id(text: str) -> str:
    if len(text) > _MAX_ID_CHARS:
        raise S3Error("MalformedXML")
    return text
