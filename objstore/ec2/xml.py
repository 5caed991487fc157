"""EC2's XML: answers out of nested mappings, lists as ``<item>`` elements."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Final, TypeAlias, Union
from xml.sax import saxutils

NAMESPACE: Final = "http://ec2.amazonaws.com/doc/2016-11-15/"
DECLARATION: Final = '<?xml version="1.0" encoding="UTF-8"?>\n'

Value: TypeAlias = Union[str, int, bool, "Tree", Sequence["Value"], None]
Tree: TypeAlias = Mapping[str, Value]
"""Elements by their names in the model of EC2; None leaves an element out."""

# No XML 1.0 at all, not even as references; EC2 takes none of them in.
_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_NS_PER_MS: Final = 1_000_000


def is_text(text: str) -> bool:
    """Whether XML can carry it."""
    return _FORBIDDEN.search(text) is None


def escape(text: str) -> str:
    """Text as character data; what XML cannot carry as U+FFFD."""
    return saxutils.escape(_FORBIDDEN.sub("�", text), {"\r": "&#13;"})


def iso_time(time_ns: int | None) -> str | None:
    """Nanoseconds since the epoch as EC2 writes times: UTC, milliseconds."""
    if time_ns is None:
        return None
    time_ms = time_ns // _NS_PER_MS
    whole = datetime.fromtimestamp(time_ms // 1000, UTC)
    return f"{whole:%Y-%m-%dT%H:%M:%S}.{time_ms % 1000:03d}Z"


def render(action: str, request_id: str, tree: Tree) -> bytes:
    """The document that answers an action."""
    inner = "".join(_element(name, value) for name, value in tree.items())
    return (
        f'{DECLARATION}<{action}Response xmlns="{NAMESPACE}">'
        f"<requestId>{request_id}</requestId>{inner}</{action}Response>"
    ).encode()


def text_of(value: str | int | bool) -> str:
    """A scalar as EC2 writes it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _element(name: str, value: Value) -> str:
    if value is None:
        return ""
    if isinstance(value, str | int):
        return f"<{name}>{escape(text_of(value))}</{name}>"
    if isinstance(value, Mapping):
        inner = "".join(_element(child, child_value) for child, child_value in value.items())
    else:
        inner = "".join(_element("item", child) for child in value)
    return f"<{name}>{inner}</{name}>"
