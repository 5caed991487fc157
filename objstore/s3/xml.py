"""XML in and out.

Out by hand: a listing of 1,000 keys takes about 0.3 ms, many times less than a tree.
In through `xml.etree` with everything refused that S3's documents never hold: document
types, and with them entities.
"""

from __future__ import annotations

import re
import string
import xml.etree.ElementTree as ET
from collections.abc import Collection, Iterable, Mapping
from urllib.parse import quote

from objstore.s3.http import Response

NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"
DECLARATION = '<?xml version="1.0" encoding="UTF-8"?>\n'

# What text cannot hold as it is.  The control characters are not XML 1.0 even as numeric
# references, but it is what S3 sends, and clients that need them ask for encoding-type=url.
_SPECIAL = re.compile("[&<>\"'\x00-\x1f\x7f\ufffe\uffff]")
_ESCAPES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&apos;"}
# What no document can have in any way.
_NOT_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
# What encoding-type=url leaves alone.
_URL_SAFE = "/*"

# Bytes of UTF-8 that no escape is about; 0xEF begins the two characters of `_SPECIAL` that
# are not ASCII, and others.
_PLAIN = bytes(set(range(0x20, 0x100)) - set(b"&<>\"'\x7f\xef"))
_URL_PLAIN = string.ascii_letters.encode() + string.digits.encode() + b"_.~/*-"


def _reference(match: re.Match[str]) -> str:
    char = match.group()
    return _ESCAPES.get(char) or f"&#{ord(char)};"


def escape(text: str) -> str:
    """Text as character data; control characters as numeric references."""
    return _SPECIAL.sub(_reference, text)


def url_encode(text: str) -> str:
    """Text as ``encoding-type=url`` gives it: UTF-8, percent-encoded, ``/`` left alone."""
    return quote(text, safe=_URL_SAFE)


def escape_all(texts: Iterable[str]) -> list[str]:
    """`escape` of each; one scan over all of them when, as usual, nothing needs it."""
    listed = list(texts)
    if _all_within(_PLAIN, listed):
        return listed
    return [escape(text) for text in listed]


def url_encode_all(texts: Iterable[str]) -> list[str]:
    """`url_encode` of each; one scan over all of them when nothing needs it."""
    listed = list(texts)
    if _all_within(_URL_PLAIN, listed):
        return listed
    return [url_encode(text) for text in listed]


def _all_within(plain: bytes, texts: list[str]) -> bool:
    # To delete what is plain takes a fifth of the time of looking for the rest with `re`.
    return not "".join(texts).encode("utf-8", "surrogatepass").translate(None, plain)


def element(name: str, text: str | int | None) -> str:
    """``<name>text</name>``, escaped; "" for None."""
    if text is None:
        return ""
    return f"<{name}>{escape(str(text))}</{name}>"


def document(root: str, *children: str) -> bytes:
    """A document in S3's namespace from ready-made children."""
    head = f'{DECLARATION}<{root} xmlns="{NAMESPACE}">'
    return "".join([head, *children, f"</{root}>"]).encode("utf-8", "surrogatepass")


def response(body: bytes, status: int = 200) -> Response:
    """A response that carries an XML document."""
    headers = [(b"content-type", b"application/xml"), (b"content-length", b"%d" % len(body))]
    return Response(status, headers, body)


def _readable(text: str) -> str:
    return _NOT_XML.sub("\ufffd", text)


def error_document(
    code: str,
    message: str,
    extra: Mapping[str, str],
    resource: str,
    request_id: str,
    host_id: str,
) -> bytes:
    """The body of an error response; S3 gives it no namespace.

    Who gets an error can always read it: what XML has no way to say is replaced.
    """
    parts = [element("Code", code), element("Message", _readable(message))]
    parts += [element(name, _readable(value)) for name, value in extra.items()]
    parts += [
        element("Resource", _readable(resource)),
        element("RequestId", request_id),
        element("HostId", host_id),
    ]
    return f"{DECLARATION}<Error>{''.join(parts)}</Error>".encode("utf-8", "replace")


class _NoDoctype(ET.TreeBuilder):
    def doctype(self, name: str, public_id: str | None, system: str | None) -> None:
        raise ET.ParseError("a document type is not accepted")


def parse(body: bytes, root: str) -> ET.Element | None:
    """The root element of a document, or None when it is not well-formed or has another root.

    Tags come without their namespace: clients send S3's, none, or an older one.  The
    caller bounds the size of the body.
    """
    parser = ET.XMLParser(target=_NoDoctype())
    try:
        parser.feed(body)
        tree: ET.Element = parser.close()
    except (ET.ParseError, ValueError, LookupError):  # LookupError: an unknown encoding
        return None
    for node in tree.iter():
        if isinstance(node.tag, str) and node.tag.startswith("{"):
            node.tag = node.tag.rpartition("}")[2]
    return tree if tree.tag == root else None


def child_text(node: ET.Element, name: str) -> str | None:
    """The text of a child, "" for an empty one, None when there is no such child."""
    child = node.find(name)
    if child is None:
        return None
    return child.text or ""


def has_only(node: ET.Element, allowed: Collection[str]) -> bool:
    """Whether each child is one of `allowed`, and none stands twice.

    What is not understood is not ignored: of two keys to delete, one would be left.
    """
    tags = [child.tag for child in node]
    return len(set(tags)) == len(tags) and set(tags) <= set(allowed)
