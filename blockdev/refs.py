"""Which blocks are needed: reference counts as rows, each change of them one transaction.

A snapshot *introduces* a block at an index if its map names it there and the map of its
base does not.  ``refs`` of a block counts its introductions by all snapshots, and the rows
that pending snapshots have captured of it.  A block is needed as long as that is over zero:
follow any map's entry down its bases, and the first snapshot that has it introduced it.
So completing or deleting a snapshot costs what it changed, not what it holds.

    capture     row in snap_captured and refs + 1        before the block is put
    stored      the row says so                          after the block is durable
    complete    state, rows of captured away             after the map is durable
    delete      refs - 1 for what it introduced; what its children had of it is theirs now
    sweep       files of blocks with refs = 0 away       then their rows

Whatever the moment of a crash, a block on the disk has a row, and one that is needed is
there.  All functions take a connection that is inside a transaction begun IMMEDIATE, so
that no other process counts at the same time.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, NoReturn, Protocol

from blockdev.map_writer import Change
from blockdev.snapshot_map import SnapshotMap, diff

SCHEMA: Final = (
    """CREATE TABLE IF NOT EXISTS snap_maps (
        number INTEGER PRIMARY KEY,
        snapshot_id TEXT NOT NULL UNIQUE,
        volume TEXT NOT NULL,
        base_id TEXT NOT NULL,
        state TEXT NOT NULL CHECK (state IN
            ('pending', 'cancelled', 'completed', 'error', 'doomed')),
        size_bytes INTEGER NOT NULL,
        total_blocks INTEGER NOT NULL DEFAULT 0,
        done_blocks INTEGER NOT NULL DEFAULT 0,
        blocks INTEGER NOT NULL DEFAULT 0,
        added_blocks INTEGER NOT NULL DEFAULT 0,
        reason TEXT NOT NULL DEFAULT '') STRICT""",
    "CREATE INDEX IF NOT EXISTS snap_maps_base ON snap_maps (base_id)",
    """CREATE TABLE IF NOT EXISTS snap_captured (
        snapshot_id TEXT NOT NULL,
        block_index INTEGER NOT NULL,
        digest BLOB NOT NULL,
        stored INTEGER NOT NULL,
        PRIMARY KEY (snapshot_id, block_index)) STRICT, WITHOUT ROWID""",
    """CREATE TABLE IF NOT EXISTS snap_blocks (
        digest BLOB PRIMARY KEY,
        refs INTEGER NOT NULL CHECK (refs >= 0),
        stored_bytes INTEGER NOT NULL DEFAULT 0,
        gone INTEGER NOT NULL DEFAULT 0) STRICT, WITHOUT ROWID""",
    "CREATE INDEX IF NOT EXISTS snap_blocks_unneeded ON snap_blocks (digest) WHERE refs = 0",
    """CREATE TABLE IF NOT EXISTS snap_pins (
        snapshot_id TEXT NOT NULL,
        holder TEXT NOT NULL,
        PRIMARY KEY (snapshot_id, holder)) STRICT, WITHOUT ROWID""",
)
"""The tables of snapshots in ``region.sqlite``.  An empty digest: the block reads as zero.
``doomed``: deleted, but a volume that loads from it or a pending child still needs it;
``cancelled``: deleted while pending, and the volume that it is of has yet to take note."""

Difference = tuple[int, bytes | None, bytes | None]
"""Index, digest before, digest after; None reads as zero."""

ZERO: Final = b""
DELTA_ROWS: Final = 4096


class NotPendingError(Exception):
    """The snapshot was cancelled, completed or failed meanwhile, by somebody else."""


class Readable(Protocol):
    """What a map has that counting needs."""

    def get(self, index: int) -> bytes | None:
        """The digest of a block."""
        ...


def begin(
    connection: sqlite3.Connection, snapshot_id: str, volume: str, base_id: str, size_bytes: int
) -> None:
    """A pending snapshot, with nothing captured.

    Raises:
        KeyError: there is no such base.
        ValueError: the base is larger than this, or has failed.
    """
    if base_id:
        state, base_bytes = connection.execute(
            "SELECT state, size_bytes FROM snap_maps WHERE snapshot_id = ?", (base_id,)
        ).fetchone() or _raise(KeyError(base_id))
        if state == "error" or base_bytes > size_bytes:
            raise ValueError(f"{base_id} ({state}, {base_bytes} bytes) cannot be the base")
    connection.execute(
        "INSERT INTO snap_maps (snapshot_id, volume, base_id, state, size_bytes)"
        " VALUES (?, ?, ?, 'pending', ?)",
        (snapshot_id, volume, base_id, size_bytes),
    )


def require_pending(connection: sqlite3.Connection, snapshot_id: str, *states: str) -> None:
    """Raise `NotPendingError` unless the snapshot is still being made (or in one of `states`)."""
    state = state_of(connection, snapshot_id)
    if state != "pending" and state not in states:
        raise NotPendingError(f"{snapshot_id} is {state or 'gone'}")


def state_of(connection: sqlite3.Connection, snapshot_id: str) -> str:
    """The state of a snapshot, empty if there is none."""
    row = connection.execute(
        "SELECT state FROM snap_maps WHERE snapshot_id = ?", (snapshot_id,)
    ).fetchone()
    return str(row[0]) if row is not None else ""


def capture(connection: sqlite3.Connection, snapshot_id: str, rows: Iterable[Change]) -> None:
    """Say that these blocks are about to be put, before any is; again for one replaces it.

    Also for one that is cancelled: a later snapshot of its volume may need the block.
    """
    require_pending(connection, snapshot_id, "cancelled")
    captured = 0
    for index, digest in rows:
        key = (snapshot_id, index)
        old = connection.execute(
            "SELECT digest FROM snap_captured WHERE snapshot_id = ? AND block_index = ?", key
        ).fetchone()
        new = digest or ZERO
        if old is not None and old[0] == new:
            continue
        if old is not None:
            _add_refs(connection, [(-1, old[0])])
        if new:
            connection.execute(
                "INSERT INTO snap_blocks (digest, refs) VALUES (?, 1)"
                " ON CONFLICT (digest) DO UPDATE SET refs = refs + 1, gone = 0",
                (new,),
            )
        connection.execute(
            "INSERT OR REPLACE INTO snap_captured VALUES (?, ?, ?, ?)",
            (*key, new, int(not new)),
        )
        captured += old is None
    _progress(connection, snapshot_id, captured)


def stored(
    connection: sqlite3.Connection, snapshot_id: str, rows: Sequence[tuple[int, bytes, int]]
) -> None:
    """These blocks (index, digest, stored bytes) are durable in the block store.

    0 stored bytes: it was there before.
    """
    connection.executemany(
        "UPDATE snap_captured SET stored = 1"
        " WHERE snapshot_id = ? AND block_index = ? AND digest = ?",
        [(snapshot_id, index, digest) for index, digest, _ in rows],
    )
    connection.executemany(
        "UPDATE snap_blocks SET stored_bytes = ?1 WHERE digest = ?2 AND stored_bytes <> ?1",
        [(stored_bytes, digest) for _, digest, stored_bytes in rows if stored_bytes],
    )


def expect(connection: sqlite3.Connection, snapshot_id: str, total_blocks: int) -> None:
    """How many blocks will be captured, for the progress."""
    connection.execute(
        "UPDATE snap_maps SET total_blocks = ? WHERE snapshot_id = ?", (total_blocks, snapshot_id)
    )


def captured(
    connection: sqlite3.Connection, snapshot_id: str, *, stored_only: bool = False
) -> Iterator[Change]:
    """What a pending snapshot changes of its base, in order of the index; None for zeroes."""
    rows = connection.execute(
        "SELECT block_index, digest FROM snap_captured"
        " WHERE snapshot_id = ? AND stored >= ? ORDER BY block_index",
        (snapshot_id, int(stored_only)),
    )
    for index, digest in rows:
        yield index, digest or None


def complete(
    connection: sqlite3.Connection, snapshot_id: str, base: Readable | None, blocks: int
) -> None:
    """The map is durable: from captured to completed.  `blocks`: how many the map names.

    Raises:
        NotPendingError: cancelled meanwhile.
        ValueError: a captured block is not stored yet, and the base does not have it either.
    """
    require_pending(connection, snapshot_id)
    if base is not None:
        # Before looking for what is not stored: a writer that was killed between note and put
        # may have noted what the base has, and the copy that went on had nothing to store.
        _forget_unchanged(connection, snapshot_id, base)
    if connection.execute(
        "SELECT 1 FROM snap_captured WHERE snapshot_id = ? AND stored = 0 LIMIT 1", (snapshot_id,)
    ).fetchone():
        raise ValueError(f"{snapshot_id}: not all captured blocks are stored")
    added = connection.execute(_COUNT_ADDED, (snapshot_id, snapshot_id)).fetchone()[0]
    connection.execute("DELETE FROM snap_captured WHERE snapshot_id = ?", (snapshot_id,))
    connection.execute(
        "UPDATE snap_maps SET state = 'completed', blocks = ?, added_blocks = ?"
        " WHERE snapshot_id = ?",
        (blocks, added, snapshot_id),
    )


_COUNT_ADDED: Final = """
    SELECT COUNT(*)
    FROM (SELECT digest, COUNT(*) AS n FROM snap_captured
          WHERE snapshot_id = ? AND digest <> x'' GROUP BY digest) AS mine
    JOIN snap_blocks AS b ON b.digest = mine.digest
    LEFT JOIN (SELECT digest, COUNT(*) AS n FROM snap_captured
               WHERE snapshot_id <> ? AND digest <> x'' GROUP BY digest) AS others
        ON others.digest = mine.digest
    WHERE b.refs = mine.n + COALESCE(others.n, 0)"""
# Blocks that no completed snapshot refers to: all their references are captured rows.


def fail(connection: sqlite3.Connection, snapshot_id: str, reason: str) -> None:
    """A pending snapshot will not be completed: its captured blocks are needed no more."""
    require_pending(connection, snapshot_id, "cancelled")
    connection.execute(
        "UPDATE snap_blocks SET refs = refs - mine.n"
        " FROM (SELECT digest, COUNT(*) AS n FROM snap_captured"
        "       WHERE snapshot_id = ? AND digest <> x'' GROUP BY digest) AS mine"
        " WHERE snap_blocks.digest = mine.digest",
        (snapshot_id,),
    )
    connection.execute("DELETE FROM snap_captured WHERE snapshot_id = ?", (snapshot_id,))
    if state_of(connection, snapshot_id) == "cancelled":
        connection.execute("DELETE FROM snap_maps WHERE snapshot_id = ?", (snapshot_id,))
    connection.execute(
        "UPDATE snap_maps SET state = 'error', reason = ? WHERE snapshot_id = ?",
        (reason, snapshot_id),
    )


def settle(
    connection: sqlite3.Connection,
    snapshot_id: str,
    reason: str,
    heir_id: str = "",
    is_needed: Callable[[int], bool] = bool,
) -> None:
    """`fail` one of several pending snapshots of a volume, if that was not done before.

    The next one, the heir, built its map on this one's: it goes on from this one's base, and
    takes over those captured rows whose index `is_needed`.
    """
    if state_of(connection, snapshot_id) not in ("pending", "cancelled"):
        return
    if heir_id:
        rows = connection.execute(
            "SELECT block_index FROM snap_captured WHERE snapshot_id = ? AND stored = 1",
            (snapshot_id,),
        ).fetchall()
        moved = [(heir_id, snapshot_id, index) for (index,) in rows if is_needed(index)]
        connection.executemany(
            "UPDATE snap_captured SET snapshot_id = ? WHERE snapshot_id = ? AND block_index = ?",
            moved,
        )
        _progress(connection, heir_id, len(moved))
        connection.execute(
            "UPDATE snap_maps SET total_blocks = total_blocks + ?1, base_id ="
            " (SELECT base_id FROM snap_maps WHERE snapshot_id = ?2) WHERE snapshot_id = ?3",
            (len(moved), snapshot_id, heir_id),
        )
    fail(connection, snapshot_id, reason)


def doom(connection: sqlite3.Connection, snapshot_id: str) -> None:
    """Delete a snapshot: at once if it holds nothing, else as soon as `doomed` names it.

    One of a volume that is pending is cancelled: the volume has to settle it.

    Raises:
        KeyError: there is none.
    """
    state, volume = connection.execute(
        "SELECT state, volume FROM snap_maps WHERE snapshot_id = ?"
        " AND state NOT IN ('doomed', 'cancelled')",
        (snapshot_id,),
    ).fetchone() or _raise(KeyError(snapshot_id))
    if state == "completed":
        _set_state(connection, snapshot_id, "doomed")
    elif state == "pending" and volume:
        _set_state(connection, snapshot_id, "cancelled")
    else:
        if state == "pending":
            fail(connection, snapshot_id, "deleted")
        connection.execute("DELETE FROM snap_maps WHERE snapshot_id = ?", (snapshot_id,))


def pending_of(connection: sqlite3.Connection, volume: str) -> dict[str, str]:
    """The snapshots of a volume that have captured rows, and their states."""
    rows = connection.execute(
        "SELECT snapshot_id, state FROM snap_maps"
        " WHERE volume = ? AND state IN ('pending', 'cancelled')",
        (volume,),
    )
    return dict(rows.fetchall())


def doomed(connection: sqlite3.Connection) -> list[str]:
    """Snapshots that were deleted and that nothing needs any more."""
    rows = connection.execute(
        "SELECT snapshot_id FROM snap_maps AS s WHERE state = 'doomed'"
        " AND NOT EXISTS (SELECT 1 FROM snap_pins AS p WHERE p.snapshot_id = s.snapshot_id)"
        " AND NOT EXISTS (SELECT 1 FROM snap_maps AS c"
        "                 WHERE c.base_id = s.snapshot_id AND c.state IN ('pending', 'cancelled'))"
    )
    return [row[0] for row in rows]


def remove(
    connection: sqlite3.Connection,
    snapshot_id: str,
    base: SnapshotMap | None,
    mine: SnapshotMap,
    children: Sequence[Readable],
) -> None:
    """Take a doomed snapshot out of its lineage; its children now stand on its base."""
    batch: list[tuple[int, bytes]] = []
    for delta in removal_deltas(base, mine, children):
        batch.append(delta)
        if len(batch) == DELTA_ROWS:
            _add_refs(connection, batch)
            batch.clear()
    _add_refs(connection, batch)
    connection.execute(
        "UPDATE snap_maps SET base_id = (SELECT base_id FROM snap_maps WHERE snapshot_id = ?1)"
        " WHERE base_id = ?1",
        (snapshot_id,),
    )
    connection.execute("DELETE FROM snap_maps WHERE snapshot_id = ?", (snapshot_id,))


def removal_deltas(
    base: SnapshotMap | None, mine: SnapshotMap, children: Sequence[Readable]
) -> Iterator[tuple[int, bytes]]:
    """By how much the counts change (change, digest) when a snapshot goes.

    Where the snapshot does not differ from its base nothing changes.  Elsewhere its own
    introduction goes; a child that has the same block introduces it now; and a child that
    had gone back to what the base has introduces that no longer.
    """
    for index, old, own in diff(base, mine):
        if own is not None:
            yield -1, own
        for child in children:
            theirs = child.get(index)
            if theirs is None:
                continue
            if theirs == own:
                yield 1, theirs
            elif theirs == old:
                yield -1, theirs


def unneeded(connection: sqlite3.Connection, limit: int) -> list[bytes]:
    """Blocks whose files are to be removed inside this transaction, and then `mark_gone`."""
    rows = connection.execute(
        "SELECT digest FROM snap_blocks WHERE refs = 0 AND gone = 0 LIMIT ?", (limit,)
    )
    return [row[0] for row in rows]


def new_sweep(connection: sqlite3.Connection) -> int:
    """A number for one sweep, other than that of any other process or time; never 0."""
    return int(connection.execute("SELECT random() | 1").fetchone()[0])


def mark_gone(connection: sqlite3.Connection, digests: Iterable[bytes], sweep: int) -> None:
    """Their files are removed by this sweep, if not yet durably so."""
    connection.executemany(
        "UPDATE snap_blocks SET gone = ? WHERE digest = ?", [(sweep, digest) for digest in digests]
    )


def forget_gone(connection: sqlite3.Connection, sweep: int) -> None:
    """What this sweep removed is removed durably.

    A block that somebody needs again is not forgotten; nor is what another sweep has removed
    and not synced yet: a power loss would bring its file back, and no row would know of it.
    """
    connection.execute("DELETE FROM snap_blocks WHERE refs = 0 AND gone = ?", (sweep,))


def sweep_again(connection: sqlite3.Connection, sweep: int | None = None) -> None:
    """What this sweep removed (None: any) may not be gone durably: remove it once more.

    If another process is at it still, it is removed twice, which does no harm.
    """
    connection.execute(
        "UPDATE snap_blocks SET gone = 0 WHERE refs = 0 AND gone <> 0 AND gone = coalesce(?, gone)",
        (sweep,),
    )


def adopt(connection: sqlite3.Connection, digests: Iterable[bytes]) -> None:
    """These blocks may be in the store: those that nobody knows of are to be swept."""
    connection.executemany(
        "INSERT OR IGNORE INTO snap_blocks (digest, refs) VALUES (?, 0)",
        [(digest,) for digest in digests],
    )


def are_known(connection: sqlite3.Connection, digests: Iterable[bytes]) -> bool:
    """Whether there is a row for each of these blocks."""
    query = "SELECT 1 FROM snap_blocks WHERE digest = ?"
    return all(connection.execute(query, (digest,)).fetchone() for digest in digests)


def _add_refs(connection: sqlite3.Connection, deltas: Iterable[tuple[int, bytes]]) -> None:
    connection.executemany("UPDATE snap_blocks SET refs = refs + ? WHERE digest = ?", deltas)


def _set_state(connection: sqlite3.Connection, snapshot_id: str, state: str) -> None:
    connection.execute("UPDATE snap_maps SET state = ? WHERE snapshot_id = ?", (state, snapshot_id))


def _progress(connection: sqlite3.Connection, snapshot_id: str, blocks: int) -> None:
    connection.execute(
        "UPDATE snap_maps SET done_blocks = done_blocks + ? WHERE snapshot_id = ?",
        (blocks, snapshot_id),
    )


def _forget_unchanged(connection: sqlite3.Connection, snapshot_id: str, base: Readable) -> None:
    """Captured, but the same as in the base: written with what was there already."""
    rows = connection.execute(
        "SELECT block_index, digest FROM snap_captured"
        " WHERE snapshot_id = ? AND digest <> x'' ORDER BY block_index",
        (snapshot_id,),
    )
    same = [(index, digest) for index, digest in rows if base.get(index) == digest]
    _add_refs(connection, [(-1, digest) for _, digest in same])
    connection.executemany(
        "DELETE FROM snap_captured WHERE snapshot_id = ? AND block_index = ?",
        [(snapshot_id, index) for index, _ in same],
    )


def _raise(error: Exception) -> NoReturn:
    raise error
