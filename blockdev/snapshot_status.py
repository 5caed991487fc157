"""Snapshots as their rows tell them."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass

from blockdev.block_codec import BLOCK_BYTES


@dataclass(frozen=True, slots=True)
class MapStatus:
    """A snapshot as its map and its counts know it.  `state`: pending, completed, error.

    `added_blocks`: that no completed snapshot of the store held when this one completed.
    """

    snapshot_id: str
    volume: str
    base_id: str
    state: str
    size_bytes: int
    progress_percent: int
    blocks: int
    added_blocks: int
    reason: str
    pinned_by: tuple[str, ...] = ()

    @property
    def full_bytes(self) -> int:
        """Of all its blocks, plain."""
        return self.blocks * BLOCK_BYTES

    @property
    def added_bytes(self) -> int:
        """Of `added_blocks`, plain."""
        return self.added_blocks * BLOCK_BYTES


def statuses(connection: sqlite3.Connection, snapshot_id: str = "") -> Iterator[MapStatus]:
    """All snapshots that are not deleted, in the order in which they were begun; or this one."""
    pins: dict[str, list[str]] = {}
    for pinned, holder in connection.execute("SELECT * FROM snap_pins ORDER BY holder"):
        pins.setdefault(pinned, []).append(holder)
    rows = connection.execute(
        "SELECT snapshot_id, volume, base_id, state, size_bytes,"
        " total_blocks, done_blocks, blocks, added_blocks, reason FROM snap_maps"
        " WHERE state NOT IN ('doomed', 'cancelled') AND (?1 = '' OR snapshot_id = ?1)"
        " ORDER BY number",
        (snapshot_id,),
    )
    for name, volume, base_id, state, size_bytes, total, done, blocks, added, reason in rows:
        percent = 100 if state == "completed" else min(99, done * 100 // max(total, 1))
        pinned_by = tuple(pins.get(name, ()))
        yield MapStatus(
            name, volume, base_id, state, size_bytes, percent, blocks, added, reason, pinned_by
        )
