"""Tags of objects and buckets, as a header and as documents carry them.

Rules: https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-tagging.html and
https://docs.aws.amazon.com/AmazonS3/latest/userguide/CostAllocTagging.html
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import unquote_plus
from xml.etree.ElementTree import Element

from objstore.config import MAX_TAGS
from objstore.s3 import xml
from objstore.s3.errors import S3Error, invalid_argument

MAX_KEY_CHARACTERS = 128
MAX_VALUE_CHARACTERS = 256

# Letters, digits and spaces of any script, and a few signs.  \w holds the underscore.
_SPACES = " \u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
_ALLOWED = re.compile(rf"[\w{_SPACES}.:/=+\-@]*")


def parse_tagging_header(value: str) -> dict[str, str]:
    """Tags from ``a=1&b=2`` in x-amz-tagging.

    Raises:
        S3Error: InvalidArgument when the header is malformed, InvalidTag when a tag is,
            BadRequest over 10 tags.
    """
    tags: dict[str, str] = {}
    for pair in value.split("&"):
        if not pair:
            continue
        raw_key, _, raw_value = pair.partition("=")
        try:
            key = unquote_plus(raw_key, errors="strict")
            text = unquote_plus(raw_value, errors="strict")
        except UnicodeDecodeError:
            raise _malformed(value) from None
        if not key or key in tags:
            raise _malformed(value)
        tags[key] = text
    check_tags(tags)
    return tags


def tags_from_xml(body: bytes, *, limit: int) -> dict[str, str]:
    """Tags of a ``Tagging`` document, in its order.

    Args:
        limit: how many there may be: `config.MAX_TAGS` or `config.MAX_BUCKET_TAGS`.

    Raises:
        S3Error: MalformedXML where the document is another, InvalidTag where a tag is not
            allowed or its key stands twice, BadRequest where there are more than `limit`.
    """
    tree = xml.parse(body, "Tagging")
    tag_sets = [] if tree is None else list(tree)
    if len(tag_sets) != 1 or tag_sets[0].tag != "TagSet":
        raise S3Error("MalformedXML")
    pairs = [_parse_tag(node) for node in tag_sets[0]]
    _check_count(len(pairs), limit)
    tags: dict[str, str] = {}
    for key, value in pairs:
        _check_tag(key, value)
        if key in tags:
            raise S3Error(
                "InvalidTag",
                "Cannot provide multiple Tags with the same key",
                extra={"TagKey": key},
            )
        tags[key] = value
    return tags


def _parse_tag(node: Element) -> tuple[str, str]:
    if node.tag != "Tag" or sorted(child.tag for child in node) != ["Key", "Value"]:
        raise S3Error("MalformedXML")
    if any(len(child) for child in node):
        raise S3Error("MalformedXML")
    return xml.child_text(node, "Key") or "", xml.child_text(node, "Value") or ""


def tags_to_xml(tags: Mapping[str, str]) -> bytes:
    """The ``Tagging`` document of an object or a bucket."""
    parts = [
        f"<Tag>{xml.element('Key', key)}{xml.element('Value', value)}</Tag>"
        for key, value in tags.items()
    ]
    return xml.document("Tagging", "<TagSet>", *parts, "</TagSet>")


def check_tags(tags: Mapping[str, str], limit: int = MAX_TAGS) -> None:
    """Refuse what S3 refuses.

    Raises:
        S3Error: InvalidTag or BadRequest.
    """
    _check_count(len(tags), limit)
    for key, value in tags.items():
        _check_tag(key, value)


def _check_count(count: int, limit: int) -> None:
    if count > limit:
        what = "Object tags" if limit == MAX_TAGS else "Bucket tag count"
        raise S3Error("BadRequest", f"{what} cannot be greater than {limit}")


def _check_tag(key: str, value: str) -> None:
    if not 1 <= len(key) <= MAX_KEY_CHARACTERS or not _ALLOWED.fullmatch(key):
        raise S3Error(
            "InvalidTag", "The TagKey you have provided is invalid", extra={"TagKey": key}
        )
    if key.startswith("aws:"):
        raise S3Error(
            "InvalidTag",
            "System tags cannot be added/updated by requester",
            extra={"TagKey": key},
        )
    if len(value) > MAX_VALUE_CHARACTERS or not _ALLOWED.fullmatch(value):
        raise S3Error(
            "InvalidTag",
            "The TagValue you have provided is invalid",
            extra={"TagKey": key, "TagValue": value},
        )


def _malformed(value: str) -> S3Error:
    return invalid_argument(
        "The header 'x-amz-tagging' shall be encoded as UTF-8 then URLEncoded URL query "
        "parameters without tag name duplicates.",
        "x-amz-tagging",
        value,
    )
