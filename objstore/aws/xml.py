"""XML of AWS's query APIs: answers out of nested mappings, lists as elements of one name."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Final, TypeAlias, Union
from xml.sax import saxutils

DECLARATION: Final = '<?xml version="1.0" encoding="UTF-8"?>\n'


class Entries(dict[str, str | int | bool]):
    """A map of the query protocol: an ``entry`` with ``key`` and ``value`` for each."""


Value: TypeAlias = Union[str, int, bool, "Tree", Entries, Sequence["Value"], None]
Tree: TypeAlias = Mapping[str, Value]
"""Elements by their names in the service's model; None leaves an element out."""

# No XML 1.0 at all, not even as references; no service takes any of them in.
_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_NS_PER_MS: Final = 1_000_000


def is_text(text: str) -> bool:
    """Whether XML can carry it."""
    return _FORBIDDEN.search(text) is None


def escape(text: str) -> str:
    """Text as character data; what XML cannot carry as U+FFFD."""
    return saxutils.escape(_FORBIDDEN.sub("�", text), {"\r": "&#13;"})


def iso_time(time_ns: int | None) -> str | None:
    """Nanoseconds since the epoch as services write times: UTC, milliseconds."""
    if time_ns is None:
        return None
    time_ms = time_ns // _NS_PER_MS
    whole = datetime.fromtimestamp(time_ms // 1000, UTC)
    return f"{whole:%Y-%m-%dT%H:%M:%S}.{time_ms % 1000:03d}Z"


def text_of(value: str | int | bool) -> str:
    """A scalar as services write it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def element(name: str, value: Value, item: str) -> str:
    """An element and all that is in it; "" for None.

    Args:
        item: what the elements of lists are called.
    """
    if value is None:
        return ""
    if isinstance(value, str | int):
        return f"<{name}>{escape(text_of(value))}</{name}>"
    if isinstance(value, Entries):
        pairs = ({"key": key, "value": each} for key, each in value.items())
        inner = "".join(element("entry", pair, item) for pair in pairs)
    elif isinstance(value, Mapping):
        inner = "".join(element(child, child_value, item) for child, child_value in value.items())
    else:
        inner = "".join(element(item, child, item) for child in value)
    return f"<{name}>{inner}</{name}>"
