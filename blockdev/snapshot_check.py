"""Whether a snapshot store is whole: everything counted anew from the maps."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Final

from blockdev import refs
from blockdev.block_codec import BlockCorruptError, BlockMissingError
from blockdev.blocks import BlockStore
from blockdev.errors import DeviceError
from blockdev.map_writer import abandoned
from blockdev.snapshot_map import SnapshotMap, diff
from blockdev.snapshot_usage import batches

PROBLEMS_MAX: Final = 1000
"""More are not listed: whoever has that many needs no longer list."""


def find_problems(
    connection: sqlite3.Connection, maps: Path, blocks: BlockStore, *, verify_blocks: bool
) -> list[str]:
    """Sentences, one a problem, in the order: maps, counts, blocks.

    `connection` is inside a transaction, so that all its answers are of one moment.  What a
    block store shows is of later moments; a finding there counts only if the rows of now,
    asked again, confirm it.
    """
    problems: list[str] = []
    for problem in _all_problems(connection, maps, blocks, verify_blocks):
        problems.append(problem)
        if len(problems) == PROBLEMS_MAX:
            problems.append("there are more")
            break
    return problems


def _all_problems(
    connection: sqlite3.Connection, maps: Path, blocks: BlockStore, verify_blocks: bool
) -> Iterator[str]:
    _make_tables(connection)
    broken = list(_count_references(connection, maps))
    yield from broken
    yield from _orphan_maps(connection, maps)
    if not broken:  # without all maps, no count can be right
        yield from _wrong_counts(connection)
    yield from _block_problems(connection, blocks, verify_blocks)


def _make_tables(connection: sqlite3.Connection) -> None:
    connection.execute("CREATE TEMP TABLE counted (digest BLOB PRIMARY KEY, refs INTEGER)")
    connection.execute("CREATE TEMP TABLE present (digest BLOB PRIMARY KEY)")


def _count_references(connection: sqlite3.Connection, maps: Path) -> Iterator[str]:
    """Introductions by every map, and the captured rows of what is pending."""
    rows = connection.execute(
        "SELECT snapshot_id, base_id, size_bytes, blocks FROM snap_maps"
        " WHERE state IN ('completed', 'doomed') ORDER BY number"
    ).fetchall()
    for snapshot_id, base_id, size_bytes, blocks in rows:
        try:
            yield from _count_one(connection, maps, snapshot_id, base_id, size_bytes, blocks)
        except (OSError, DeviceError) as error:
            yield f"map of {snapshot_id}: {error}"
    _add(
        connection,
        connection.execute(
            "SELECT c.digest FROM snap_captured AS c JOIN snap_maps AS m USING (snapshot_id)"
            " WHERE m.state IN ('pending', 'cancelled') AND c.digest <> x''"
        ),
    )
    for (stray,) in connection.execute(
        "SELECT DISTINCT snapshot_id FROM snap_captured WHERE snapshot_id NOT IN"
        " (SELECT snapshot_id FROM snap_maps WHERE state IN ('pending', 'cancelled'))"
    ):
        yield f"{stray} is not pending and has captured blocks"


def _count_one(
    connection: sqlite3.Connection,
    maps: Path,
    snapshot_id: str,
    base_id: str,
    size_bytes: int,
    blocks: int,
) -> Iterator[str]:
    with contextlib.ExitStack() as opened:
        mine = opened.enter_context(SnapshotMap.open(maps / f"{snapshot_id}.map"))
        base = None
        if base_id:
            base = opened.enter_context(SnapshotMap.open(maps / f"{base_id}.map"))
        if (mine.size_bytes, mine.blocks) != (size_bytes, blocks):
            yield (
                f"map of {snapshot_id}: {mine.blocks} blocks of {mine.size_bytes} bytes, "
                f"where its row says {blocks} of {size_bytes}"
            )
        if not all(a < b for (a, _), (b, _) in pairwise(mine.entries())):
            yield f"map of {snapshot_id}: its entries are out of order"
        introduced = ((new,) for _, _, new in diff(base, mine) if new is not None)
        _add(connection, introduced)


def _add(connection: sqlite3.Connection, digests: Iterator[tuple[bytes]]) -> None:
    for batch in batches(digests, refs.DELTA_ROWS):
        connection.executemany(
            "INSERT INTO counted VALUES (?, 1) ON CONFLICT (digest) DO UPDATE SET refs = refs + 1",
            batch,
        )


def _orphan_maps(connection: sqlite3.Connection, maps: Path) -> Iterator[str]:
    known = {row[0] for row in connection.execute("SELECT snapshot_id FROM snap_maps")}
    for path in sorted(maps.glob("*.map")):
        if path.stem not in known and path.exists():
            yield f"{path.name} belongs to no snapshot"
    for path in abandoned(maps):
        yield f"{path.name} was being written by a process that is gone"


def _wrong_counts(connection: sqlite3.Connection) -> Iterator[str]:
    rows = connection.execute(
        "SELECT digest, b.refs, COALESCE(c.refs, 0) FROM snap_blocks AS b"
        " LEFT JOIN counted AS c USING (digest) WHERE b.refs <> COALESCE(c.refs, 0)"
        " UNION ALL SELECT c.digest, 0, c.refs FROM counted AS c"
        " LEFT JOIN snap_blocks AS b USING (digest) WHERE b.digest IS NULL"
    )
    for digest, noted, counted in rows:
        yield f"block {digest.hex()}: {noted} references are noted and {counted} found"
    for (digest,) in connection.execute("SELECT digest FROM snap_blocks WHERE refs = 0"):
        yield f"block {digest.hex()}: nothing refers to it, and it waits to be removed"


def _block_problems(
    connection: sqlite3.Connection, blocks: BlockStore, verify_blocks: bool
) -> Iterator[str]:
    for batch in batches(blocks.hashes(), refs.DELTA_ROWS):
        connection.executemany(
            "INSERT OR IGNORE INTO present VALUES (?)", [(digest,) for digest in batch]
        )
    needed = (
        "SELECT digest FROM snap_blocks AS b WHERE refs > 0 AND digest NOT IN"
        " (SELECT digest FROM snap_captured WHERE stored = 0)"
    )
    missing = [
        row[0]
        for row in connection.execute(f"{needed} AND digest NOT IN (SELECT digest FROM present)")
    ]
    leaked = [
        row[0]
        for row in connection.execute(
            "SELECT digest FROM present WHERE digest NOT IN (SELECT digest FROM snap_blocks)"
        )
    ]
    spoilt: list[str] = []
    if verify_blocks:
        query = f"{needed} AND digest IN (SELECT digest FROM present)"
        for (digest,) in connection.execute(query):
            with contextlib.suppress(BlockMissingError):  # deleted since
                try:
                    blocks.get(digest)
                except BlockCorruptError as error:
                    spoilt.append(str(error))
    yield from _confirmed(connection, missing, leaked)
    yield from spoilt


def _confirmed(
    connection: sqlite3.Connection, missing: list[bytes], leaked: list[bytes]
) -> Iterator[str]:
    """Only what the rows of this moment say, too: others may have been at work."""
    connection.execute("ROLLBACK")
    connection.execute("BEGIN")
    query = "SELECT refs FROM snap_blocks WHERE digest = ?"
    for digest in missing:
        row = connection.execute(query, (digest,)).fetchone()
        if row is not None and row[0] > 0:
            yield f"block {digest.hex()} is missing, and {row[0]} references need it"
    for digest in leaked:
        if connection.execute(query, (digest,)).fetchone() is None:
            yield f"block {digest.hex()} is leaked: no row knows of it"
