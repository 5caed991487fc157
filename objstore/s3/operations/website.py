"""What a bucket says of its website: pages for folders and errors, and redirects."""

from __future__ import annotations

import re
from xml.etree.ElementTree import Element

from objstore.config import MAX_KEY_BYTES, MAX_ROUTING_RULES
from objstore.s3 import website, xml
from objstore.s3.errors import S3Error, invalid_argument, invalid_request
from objstore.s3.http import Context, Request, Response
from objstore.s3.website import Redirect, Rule, Website

_ROOT = "WebsiteConfiguration"
_EVERYTHING = "RedirectAllRequestsTo"
_PROTOCOLS = ("http", "https")
_HOST = re.compile(r"[A-Za-z0-9._-]+(:\d{1,5})?|\[[0-9A-Fa-f:.]+\](:\d{1,5})?")
_MAX_HOST_CHARS = 255
_REPLACEMENTS = ("ReplaceKeyWith", "ReplaceKeyPrefixWith")


def get_website(ctx: Context, request: Request, body: bytes) -> Response:
    """GetBucketWebsite."""
    site = website.of_bucket(ctx, request.bucket)
    return xml.response(xml.document(_ROOT, *_parts(site)))


def put_website(ctx: Context, request: Request, body: bytes) -> Response:
    """PutBucketWebsite: it replaces the one that there was."""
    ctx.store.head_bucket(request.bucket)
    tree = xml.parse(body, _ROOT)
    if tree is None:
        raise S3Error("MalformedXML")
    site = _redirecting(tree) if tree.find(_EVERYTHING) is not None else _serving(tree)
    ctx.store.set_bucket_setting(request.bucket, website.SETTING, website.encode(site))
    return Response(200, [(b"content-length", b"0")])


def delete_website(ctx: Context, request: Request, body: bytes) -> Response:
    """DeleteBucketWebsite: 204, whether there was one or not."""
    ctx.store.set_bucket_setting(request.bucket, website.SETTING, None)
    return Response(204, [])


def _parts(site: Website) -> list[str]:
    if site.everything is not None:
        inner = xml.element("HostName", site.everything.host)
        inner += xml.element("Protocol", site.everything.protocol or None)
        return [f"<{_EVERYTHING}>{inner}</{_EVERYTHING}>"]
    parts = [f"<IndexDocument>{xml.element('Suffix', site.index)}</IndexDocument>"]
    if site.error:
        parts.append(f"<ErrorDocument>{xml.element('Key', site.error)}</ErrorDocument>")
    if site.rules:
        rules = "".join(map(_rule_xml, site.rules))
        parts.append(f"<RoutingRules>{rules}</RoutingRules>")
    return parts


def _rule_xml(rule: Rule) -> str:
    condition = xml.element("KeyPrefixEquals", rule.prefix or None)
    condition += xml.element("HttpErrorCodeReturnedEquals", rule.status or None)
    if condition:
        condition = f"<Condition>{condition}</Condition>"
    target = rule.redirect
    inner = "".join(
        (
            xml.element("Protocol", target.protocol or None),
            xml.element("HostName", target.host or None),
            xml.element("ReplaceKeyPrefixWith", target.prefix),
            xml.element("ReplaceKeyWith", target.key),
            xml.element("HttpRedirectCode", target.status if target.status != 301 else None),
        )
    )
    return f"<RoutingRule>{condition}<Redirect>{inner}</Redirect></RoutingRule>"


def _redirecting(tree: Element) -> Website:
    if not xml.has_only(tree, (_EVERYTHING,)):
        raise invalid_argument(
            f"{_EVERYTHING} cannot be provided in conjunction with other settings.", _EVERYTHING
        )
    node = tree[0]
    if not xml.has_only(node, ("HostName", "Protocol")) or node.find("HostName") is None:
        raise S3Error("MalformedXML")
    return Website(everything=Redirect(_protocol(node), _host(node)))


def _serving(tree: Element) -> Website:
    index = tree.find("IndexDocument")
    if index is None or not xml.has_only(tree, ("IndexDocument", "ErrorDocument", "RoutingRules")):
        raise S3Error("MalformedXML")
    suffix = _only(index, "Suffix")
    if not suffix or "/" in suffix or _is_too_long(suffix):
        raise invalid_argument("The IndexDocument Suffix is not well formed", "Suffix", suffix)
    key = ""
    if (error := tree.find("ErrorDocument")) is not None:
        key = _only(error, "Key")
        if not key or _is_too_long(key):
            raise invalid_argument("The ErrorDocument Key is not well formed", "Key", key)
    rules = tree.find("RoutingRules")
    found = [] if rules is None else [_rule(node) for node in rules]
    if rules is not None and not found:
        raise S3Error("MalformedXML")
    if len(found) > MAX_ROUTING_RULES:
        raise invalid_request(
            f"{len(found)} routing rules provided, the number of routing rules in a website "
            f"configuration is limited to {MAX_ROUTING_RULES}."
        )
    return Website(suffix, key, None, found)


def _only(node: Element, name: str) -> str:
    """The text of the one child that an element has to have."""
    text = xml.child_text(node, name)
    if text is None or not xml.has_only(node, (name,)):
        raise S3Error("MalformedXML")
    return text


def _is_too_long(key: str) -> bool:
    return len(key.encode("utf-8", "surrogatepass")) > MAX_KEY_BYTES


def _rule(node: Element) -> Rule:
    redirect = node.find("Redirect")
    if node.tag != "RoutingRule" or redirect is None:
        raise S3Error("MalformedXML")
    if not xml.has_only(node, ("Condition", "Redirect")):
        raise S3Error("MalformedXML")
    condition = node.find("Condition")
    prefix, status = ("", 0) if condition is None else _condition(condition)
    return Rule(_redirect(redirect), prefix, status)


def _condition(node: Element) -> tuple[str, int]:
    known = ("KeyPrefixEquals", "HttpErrorCodeReturnedEquals")
    if not len(node) or not xml.has_only(node, known):
        raise S3Error("MalformedXML")
    prefix = xml.child_text(node, known[0]) or ""
    if _is_too_long(prefix):
        raise invalid_argument("The prefix is longer than a key can be", known[0], prefix)
    text = xml.child_text(node, known[1])
    if text is None:
        return prefix, 0
    status = _status(text)
    if not 400 <= status <= 599:
        raise invalid_argument(
            f"The provided HTTP error code ({text}) is not valid. Valid codes are 4XX or 5XX.",
            known[1],
            text,
        )
    return prefix, status


def _redirect(node: Element) -> Redirect:
    known = ("Protocol", "HostName", "HttpRedirectCode", *_REPLACEMENTS)
    if not len(node) or not xml.has_only(node, known):
        raise S3Error("MalformedXML")
    key, prefix = (xml.child_text(node, name) for name in _REPLACEMENTS)
    if key is not None and prefix is not None:
        raise invalid_request("You can only define ReplaceKeyPrefix or ReplaceKey but not both.")
    if any(text is not None and _is_too_long(text) for text in (key, prefix)):
        raise invalid_argument("What stands for a key is longer than a key can be", "Redirect")
    text = xml.child_text(node, "HttpRedirectCode")
    status = 301 if text is None else _status(text)
    if not 301 <= status <= 399:
        raise invalid_argument(
            f"The provided HTTP redirect code ({text}) is not valid. Valid codes are 3XX except "
            "300.",
            "HttpRedirectCode",
            text or "",
        )
    host = _host(node) if node.find("HostName") is not None else ""
    return Redirect(_protocol(node), host, key, prefix, status)


def _status(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) == 3 else 0


def _protocol(node: Element) -> str:
    text = xml.child_text(node, "Protocol")
    if text is not None and text not in _PROTOCOLS:
        raise invalid_request(
            "Invalid protocol, protocol can be http or https. If not defined the protocol will be "
            "selected automatically."
        )
    return text or ""


def _host(node: Element) -> str:
    text = xml.child_text(node, "HostName") or ""
    if not _HOST.fullmatch(text) or len(text) > _MAX_HOST_CHARS:
        raise invalid_argument("The HostName is no name of a host", "HostName", text)
    return text
