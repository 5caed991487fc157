"""Answers in pages: a marker is the last name that was listed."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import Any, Final

from objstore.kms_api.errors import KmsError
from objstore.kms_api.request import Members

_MOST: Final = 1000
_MAX_MARKER_CHARS: Final = 1024


def page(
    members: Members, names: Sequence[str], *, default: int
) -> tuple[Sequence[str], dict[str, Any]]:
    """The names of a page, and the members that end its document.

    Args:
        names: all there are, ascending.
        default: of Limit.

    Raises:
        KmsError: InvalidMarkerException, ValidationException.
    """
    limit = members.integer("Limit", least=1, most=_MOST, default=default)
    marker = members.text("Marker", least=1, most=_MAX_MARKER_CHARS, default="")
    if not marker.isascii() or not marker.isprintable():
        raise KmsError("InvalidMarkerException", "The marker is none that was given out.")
    begin = bisect_right(names, marker) if marker else 0
    found = names[begin : begin + limit]
    if begin + limit >= len(names):
        return found, {"Truncated": False}
    return found, {"Truncated": True, "NextMarker": found[-1]}
