"""What snapshots cost: what one takes, what it adds, and what deleting it would free."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

from blockdev import refs
from blockdev.block_codec import BLOCK_BYTES
from blockdev.model import SnapshotUsage
from blockdev.snapshot_map import SnapshotMap

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class UsageTotal:
    """What all snapshots together take: each block once, however many refer to it.

    `stored_bytes` is the compressed size; `unneeded_blocks` wait to be removed.
    """

    snapshots: int
    blocks: int
    plain_bytes: int
    stored_bytes: int
    unneeded_blocks: int


class PendingMap:
    """A pending snapshot as a map: what it has captured so far, over its base."""

    def __init__(self, connection: sqlite3.Connection, snapshot_id: str, base: SnapshotMap) -> None:
        self._connection = connection
        self._snapshot_id = snapshot_id
        self._base = base

    def get(self, index: int) -> bytes | None:
        """The digest of a block, None when it reads as zero."""
        row = self._connection.execute(
            "SELECT digest FROM snap_captured WHERE snapshot_id = ? AND block_index = ?",
            (self._snapshot_id, index),
        ).fetchone()
        return self._base.get(index) if row is None else row[0] or None


def measure(
    connection: sqlite3.Connection,
    snapshot_id: str,
    base: SnapshotMap | None,
    mine: SnapshotMap,
    children: Sequence[refs.Readable],
) -> SnapshotUsage:
    """What a snapshot takes (each of its blocks once), and what would go with it.

    The latter is the removal itself, done on a temporary table instead of the counts.
    """
    _into_temporary(connection, ((0, digest) for _, digest in mine.entries()))
    held_bytes = connection.execute(
        "SELECT COALESCE(SUM(b.stored_bytes), 0) FROM temp.deltas AS d"
        " JOIN snap_blocks AS b USING (digest)"
    ).fetchone()[0]
    _into_temporary(connection, refs.removal_deltas(base, mine, children))
    freed, freed_bytes = connection.execute(
        "SELECT COUNT(*), COALESCE(SUM(b.stored_bytes), 0) FROM temp.deltas AS d"
        " JOIN snap_blocks AS b USING (digest) WHERE b.refs + d.delta = 0"
    ).fetchone()
    return SnapshotUsage(
        snapshot_id=snapshot_id,
        blocks=mine.blocks,
        full_bytes=mine.blocks * BLOCK_BYTES,
        exclusive_blocks=freed,
        exclusive_bytes=freed * BLOCK_BYTES,
        stored_bytes=held_bytes,
        exclusive_stored_bytes=freed_bytes,
    )


def total(connection: sqlite3.Connection) -> UsageTotal:
    """What all snapshots together take."""
    snapshots = connection.execute(
        "SELECT COUNT(*) FROM snap_maps WHERE state IN ('completed', 'pending')"
    ).fetchone()[0]
    blocks, stored_bytes = connection.execute(
        "SELECT COUNT(*), COALESCE(SUM(stored_bytes), 0) FROM snap_blocks WHERE refs > 0"
    ).fetchone()
    unneeded = connection.execute("SELECT COUNT(*) FROM snap_blocks WHERE refs = 0").fetchone()[0]
    return UsageTotal(snapshots, blocks, blocks * BLOCK_BYTES, stored_bytes, unneeded)


def _into_temporary(connection: sqlite3.Connection, deltas: Iterable[tuple[int, bytes]]) -> None:
    """Sums by digest, in SQLite's temporary file rather than in memory."""
    connection.execute(
        "CREATE TABLE IF NOT EXISTS temp.deltas"
        " (digest BLOB PRIMARY KEY, delta INTEGER NOT NULL) WITHOUT ROWID"
    )
    connection.execute("DELETE FROM temp.deltas")
    for batch in batches(deltas, refs.DELTA_ROWS):
        connection.executemany(
            "INSERT INTO temp.deltas (delta, digest) VALUES (?, ?)"
            " ON CONFLICT (digest) DO UPDATE SET delta = delta + excluded.delta",
            batch,
        )


def batches(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Lists of at most `size` items, in order."""
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch
