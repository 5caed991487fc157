"""Runs of extents."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from blockdev.device import Extent


def join_extents(extents: Iterator[Extent]) -> Iterator[Extent]:
    """Neighbours of one kind as one."""
    held: Extent | None = None
    for extent in extents:
        if held is None:
            held = extent
        elif held.allocated == extent.allocated:
            held = replace(held, length_bytes=held.length_bytes + extent.length_bytes)
        else:
            yield held
            held = extent
    if held is not None:
        yield held
