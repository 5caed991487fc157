"""Snapshots: maps of digests over a block store, made, read, copied and deleted.

`SnapshotStore` puts the pieces together: rows and counts (`refs.py`), map files
(`snapshot_map.py`), blocks (`blocks.py`).  Any number of threads and processes may work on
one store; each transaction takes SQLite's write lock at its start, so they take turns.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from blockdev import refs, snapshot_check, snapshot_usage
from blockdev.block_codec import BLOCK_BYTES, ZERO_BLOCK, digest_of, is_zero
from blockdev.blocks import BlockStore
from blockdev.device import Buffer
from blockdev.errors import DeviceError
from blockdev.map_writer import Change, write_map
from blockdev.model import SnapshotUsage
from blockdev.snapshot_map import SnapshotMap, blocks_of, diff
from blockdev.snapshot_usage import UsageTotal

BUSY_TIMEOUT_S: Final = 30.0
"""How long a transaction waits for those of other processes."""

PUT_THREADS: Final = 2
"""Hashing, compression and writing let go of the GIL: as many blocks are on the way at once."""

BATCH_BLOCKS: Final = 64
"""Blocks that a copy holds in memory at once (32 MiB); a sweep removes this many a transaction."""


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


class SnapshotStore:
    """The snapshots of a region; make one with `open`.  Thread-safe."""

    def __init__(self, database: Path, maps: Path, blocks: BlockStore) -> None:
        self._database = database
        self._maps = maps
        self._blocks = blocks
        self._lock = threading.RLock()
        self._connection = self._connect()
        self._pool = ThreadPoolExecutor(PUT_THREADS, "snapshot-put")

    @classmethod
    def open(cls, database: Path, maps: Path, blocks: BlockStore) -> SnapshotStore:
        """Open the store whose rows are in the SQLite file `database`, making what is missing.

        `maps` is the folder of map files.

        Raises:
            OSError, sqlite3.Error: one of them cannot be made or read.
        """
        maps.mkdir(parents=True, exist_ok=True)
        store = cls(database, maps, blocks)
        with store.transaction() as connection:
            for statement in refs.SCHEMA:
                connection.execute(statement)
        return store

    @property
    def blocks(self) -> BlockStore:
        """Where the blocks are."""
        return self._blocks

    def close(self) -> None:
        """Let go of the database; idempotent."""
        self._pool.shutdown(wait=True)
        with self._lock:
            self._connection.close()

    def __enter__(self) -> SnapshotStore:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    # What there is.

    def status(self, snapshot_id: str) -> MapStatus:
        """One snapshot.

        Raises:
            KeyError: there is none, or it was deleted.
        """
        found = self._statuses("snapshot_id = ?", snapshot_id)
        if not found:
            raise KeyError(snapshot_id)
        return found[0]

    def statuses(self) -> list[MapStatus]:
        """All that are not deleted, in the order in which they were begun."""
        return self._statuses("? = ''", "")

    def open_map(self, snapshot_id: str) -> SnapshotMap:
        """The map of a completed snapshot; close it.

        Raises:
            KeyError: no such snapshot is completed.
        """
        try:
            return SnapshotMap.open(self._map_path(snapshot_id))
        except FileNotFoundError:
            raise KeyError(snapshot_id) from None

    def read_block(self, snapshot_id: str, index: int) -> bytes:
        """A block of a completed snapshot, verified; zeroes where it has none.

        Raises:
            KeyError: no such snapshot is completed.
            BlockMissingError, BlockCorruptError: the block store has lost or spoilt it.
        """
        with self.open_map(snapshot_id) as map_:
            digest = map_.get(index)
        return ZERO_BLOCK if digest is None else self._blocks.get(digest)

    def diff(
        self, first_id: str, second_id: str, start_index: int = 0
    ) -> Iterator[refs.Difference]:
        """Where two completed snapshots differ; an empty `first_id` compares with nothing."""
        with contextlib.ExitStack() as opened:
            first = opened.enter_context(self.open_map(first_id)) if first_id else None
            second = opened.enter_context(self.open_map(second_id))
            yield from diff(first, second, start_index)

    # Making one.

    def begin(
        self, snapshot_id: str, *, size_bytes: int, base_id: str = "", volume: str = ""
    ) -> Draft:
        """A pending snapshot of `base_id`'s blocks, to be changed and completed.

        Raises:
            KeyError: there is no such base.
            ValueError: the base is larger, or failed; or the id is taken.
        """
        with self.transaction() as connection:
            try:
                refs.begin(connection, snapshot_id, volume, base_id, size_bytes)
            except sqlite3.IntegrityError as error:
                raise ValueError(f"{snapshot_id} is there already") from error
        return Draft(self, snapshot_id)

    def draft(self, snapshot_id: str) -> Draft:
        """A pending snapshot again, whoever began it.

        Raises:
            NotPendingError: it is not pending.
        """
        with self.reading() as connection:
            refs.require_pending(connection, snapshot_id)
        return Draft(self, snapshot_id)

    def copy(
        self,
        source: SnapshotStore,
        source_id: str,
        snapshot_id: str,
        *,
        progress: Callable[[int], None] | None = None,
    ) -> None:
        """Make `snapshot_id` equal to `source_id` of this store or another one, and complete it.

        Within the store only rows and a map are written.  From another one, blocks that are
        not here yet are read, verified and put; `progress` hears how many are done.

        Raises:
            KeyError: there is no such completed snapshot.
            DeviceError: a block could not be read or put; the copy is in state error.
        """
        with source.open_map(source_id) as map_:
            base_id = source_id if source is self else ""
            draft = self.begin(snapshot_id, size_bytes=map_.size_bytes, base_id=base_id)
            draft.expect(map_.blocks if source is not self else 0)
            try:
                if source is not self:
                    self._fill(draft, map_, source.blocks, progress)
                draft.complete()
            except BaseException as error:
                with contextlib.suppress(refs.NotPendingError):
                    draft.fail(str(error))
                raise

    # Deleting.

    def delete(self, snapshot_id: str) -> None:
        """Delete a snapshot; one that is pending is cancelled.

        It is gone from `status` at once.  What a volume that still loads from it or a
        pending child needs is kept until they are done.

        Raises:
            KeyError: there is none.
        """
        with self.transaction() as connection:
            refs.doom(connection, snapshot_id)
        self.tidy()

    def pin(self, snapshot_id: str, holder: str) -> None:
        """Keep a snapshot's blocks for `holder`, deleted or not.

        Raises:
            KeyError: there is no such completed snapshot.
        """
        with self.transaction() as connection:
            if not connection.execute(
                "SELECT 1 FROM snap_maps WHERE snapshot_id = ?"
                " AND state IN ('completed', 'doomed')",
                (snapshot_id,),
            ).fetchone():
                raise KeyError(snapshot_id)
            connection.execute(
                "INSERT OR IGNORE INTO snap_pins VALUES (?, ?)", (snapshot_id, holder)
            )

    def unpin(self, snapshot_id: str, holder: str) -> None:
        """Undo `pin`; idempotent."""
        with self.transaction() as connection:
            connection.execute(
                "DELETE FROM snap_pins WHERE snapshot_id = ? AND holder = ?", (snapshot_id, holder)
            )
        self.tidy()

    def unpin_all(self, holder: str) -> None:
        """Undo every `pin` of a holder, because it is gone; idempotent."""
        with self.transaction() as connection:
            connection.execute("DELETE FROM snap_pins WHERE holder = ?", (holder,))
        self.tidy()

    def tidy(self) -> None:
        """Take deleted snapshots apart that nobody needs any more, and remove their blocks."""
        with self.reading() as connection:
            idle = not refs.doomed(connection) and not refs.unneeded(connection, 1)
        while not idle:
            with self.transaction() as connection:
                ids = refs.doomed(connection)[:1]
                for snapshot_id in ids:
                    self._remove(connection, snapshot_id)
            idle = not ids
            for snapshot_id in ids:
                self._map_path(snapshot_id).unlink(missing_ok=True)
        # Rows say what is left to remove: the next call, or the next `recover`, tries again.
        with contextlib.suppress(DeviceError):
            self._sweep()

    def recover(self) -> None:
        """Finish what a crash left undone.  Safe, and cheap, while others are at work."""
        with self.transaction() as connection:
            known = {row[0] for row in connection.execute("SELECT snapshot_id FROM snap_maps")}
            for path in self._maps.glob("*.map"):
                if path.stem not in known:
                    path.unlink(missing_ok=True)
        self.tidy()

    # Knowing what it costs, and whether all is well.

    def usage(self, snapshot_id: str) -> SnapshotUsage:
        """What a completed snapshot takes, and what deleting it would free.

        Raises:
            KeyError: no such snapshot is completed.
        """
        if self.status(snapshot_id).state != "completed":
            raise KeyError(snapshot_id)
        with self.reading() as connection, self._lineage(connection, snapshot_id) as lineage:
            return snapshot_usage.measure(connection, snapshot_id, *lineage)

    def total(self) -> UsageTotal:
        """What all snapshots together take in the block store."""
        with self.reading() as connection:
            return snapshot_usage.total(connection)

    def check(self, *, verify_blocks: bool = True) -> list[str]:
        """Count all references anew from the maps, and compare: problems, none if all is well.

        `verify_blocks` reads every block, too.  What others do meanwhile is not a problem.
        """
        with self.reading() as connection:
            return snapshot_check.find_problems(
                connection, self._maps, self._blocks, verify_blocks=verify_blocks
            )

    # For the modules of this package.

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Exclusive among all processes; durable when it ends, undone when it raises."""
        with self._lock:
            connection = self._connection
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    @contextlib.contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A connection of its own, with one view of the rows throughout."""
        connection = self._connect()
        try:
            connection.execute("BEGIN")
            yield connection
            connection.execute("ROLLBACK")
        finally:
            connection.close()

    def put_blocks(self, rows: Sequence[tuple[bytes, Buffer]]) -> list[int]:
        """Put blocks in parallel and make them durable; their stored bytes."""
        sizes = list(self._pool.map(lambda row: self._blocks.put(*row), rows))
        self._blocks.sync()
        return sizes

    def digests(self, plains: Sequence[Buffer]) -> list[bytes | None]:
        """The digests of blocks, in parallel; None for one of zeroes."""
        return list(self._pool.map(lambda p: None if is_zero(p) else digest_of(p), plains))

    def write_map_of(self, draft: Draft) -> tuple[SnapshotMap | None, int]:
        """Write the map of a pending snapshot: its base, if any, still open; blocks in the map.

        Raises:
            ValueError: the base is not completed.
        """
        status = self.status(draft.snapshot_id)
        base = None
        if status.base_id:
            try:
                base = self.open_map(status.base_id)
            except KeyError:
                raise ValueError(f"the base {status.base_id} is not completed") from None
        path = self._map_path(draft.snapshot_id)
        try:
            return base, write_map(
                path, size_bytes=status.size_bytes, base=base, changes=draft.entries()
            )
        except BaseException:
            if base is not None:
                base.close()
            raise

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self._database,
            timeout=BUSY_TIMEOUT_S,
            isolation_level=None,
            check_same_thread=False,
        )
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        return connection

    def _map_path(self, snapshot_id: str) -> Path:
        return self._maps / f"{snapshot_id}.map"

    def _statuses(self, condition: str, value: str) -> list[MapStatus]:
        query = f"SELECT {_STATUS_COLUMNS} FROM snap_maps WHERE state <> 'doomed' AND {condition}"
        with self._lock:
            rows = self._connection.execute(f"{query} ORDER BY number", (value,)).fetchall()
            return [self._status_of(row) for row in rows]

    def _status_of(self, row: tuple[str, str, str, str, int, int, int, int, int, str]) -> MapStatus:
        snapshot_id, volume, base_id, state, size_bytes, total, done, blocks, added, reason = row
        pins = self._connection.execute(
            "SELECT holder FROM snap_pins WHERE snapshot_id = ? ORDER BY holder", (snapshot_id,)
        )
        percent = 100 if state == "completed" else min(99, done * 100 // max(total, 1))
        return MapStatus(
            snapshot_id,
            volume,
            base_id,
            state,
            size_bytes,
            percent,
            blocks,
            added,
            reason,
            tuple(pin[0] for pin in pins),
        )

    def _fill(
        self,
        draft: Draft,
        map_: SnapshotMap,
        blocks: BlockStore,
        progress: Callable[[int], None] | None,
    ) -> None:
        done = 0
        batch: list[tuple[int, bytes]] = []
        for entry in map_.entries():
            batch.append(entry)
            if len(batch) == BATCH_BLOCKS:
                self._fill_batch(draft, batch, blocks)
                done += len(batch)
                batch.clear()
                if progress is not None:
                    progress(done)
        self._fill_batch(draft, batch, blocks)
        if progress is not None:
            progress(done + len(batch))

    def _fill_batch(
        self, draft: Draft, batch: Sequence[tuple[int, bytes]], blocks: BlockStore
    ) -> None:
        plains = self._pool.map(lambda entry: blocks.get(entry[1]), batch)
        draft.put_many([(index, plain) for (index, _), plain in zip(batch, plains, strict=True)])

    @contextlib.contextmanager
    def _lineage(
        self, connection: sqlite3.Connection, snapshot_id: str
    ) -> Iterator[tuple[SnapshotMap | None, SnapshotMap, list[refs.Readable]]]:
        """The maps that a removal has to look at: base, the snapshot itself, its children."""
        base_id = connection.execute(
            "SELECT base_id FROM snap_maps WHERE snapshot_id = ?", (snapshot_id,)
        ).fetchone()[0]
        with contextlib.ExitStack() as opened:
            base = opened.enter_context(self.open_map(base_id)) if base_id else None
            mine = opened.enter_context(self.open_map(snapshot_id))
            children: list[refs.Readable] = []
            for child_id, state in connection.execute(
                "SELECT snapshot_id, state FROM snap_maps WHERE base_id = ? AND state <> 'error'",
                (snapshot_id,),
            ).fetchall():
                if state == "pending":
                    children.append(snapshot_usage.PendingMap(connection, child_id, mine))
                else:
                    children.append(opened.enter_context(self.open_map(child_id)))
            yield base, mine, children

    def _remove(self, connection: sqlite3.Connection, snapshot_id: str) -> None:
        with self._lineage(connection, snapshot_id) as lineage:
            refs.remove(connection, snapshot_id, *lineage)

    def _sweep(self) -> None:
        """Remove the blocks that nothing refers to.

        Files go inside a transaction: whoever captures such a block waits for it, finds the
        file gone, and puts it anew.  Rows go when the files are durably gone.
        """
        swept = False
        while True:
            with self.transaction() as connection:
                digests = refs.unneeded(connection, BATCH_BLOCKS)
                for digest in digests:
                    self._blocks.delete(digest)
                refs.mark_gone(connection, digests)
            if not digests:
                break
            swept = True
        if swept:
            self._blocks.sync()
        with self.transaction() as connection:
            refs.forget_gone(connection)


_STATUS_COLUMNS: Final = (
    "snapshot_id, volume, base_id, state, size_bytes,"
    " total_blocks, done_blocks, blocks, added_blocks, reason"
)


class Draft:
    """A pending snapshot: its base with blocks put over it.  Thread-safe."""

    def __init__(self, store: SnapshotStore, snapshot_id: str) -> None:
        self._store = store
        self._snapshot_id = snapshot_id

    @property
    def snapshot_id(self) -> str:
        """Of the snapshot that this becomes."""
        return self._snapshot_id

    def put(self, index: int, plain: Buffer) -> None:
        """As `put_many`, one block."""
        self.put_many([(index, plain)])

    def put_many(self, rows: Sequence[tuple[int, Buffer]]) -> list[bytes | None]:
        """Make these the blocks at these indexes, durably; a later put for an index replaces it.

        Returns the digests, None for zeroes.  Blocks that are shorter (the last of a volume)
        are filled up with zeroes.

        Raises:
            NotPendingError: the snapshot was cancelled meanwhile.
            ValueError: an index lies past the end, or a block is longer than BLOCK_BYTES.
            DeviceError: the block store failed; nothing is lost but these blocks.
        """
        limit = blocks_of(self._store.status(self._snapshot_id).size_bytes)
        for index, _ in rows:
            if not 0 <= index < limit:
                raise ValueError(f"block {index} of a snapshot of {limit} blocks")
        plains = [_filled(plain) for _, plain in rows]
        digests = self._store.digests(plains)
        changes = [(index, digest) for (index, _), digest in zip(rows, digests, strict=True)]
        self.note(changes)
        self.store_noted(changes, plains)
        return digests

    def note(self, changes: Sequence[Change]) -> None:
        """The intent: say which blocks are about to be put."""
        with self._store.transaction() as connection:
            refs.capture(connection, self._snapshot_id, changes)

    def store_noted(self, changes: Sequence[Change], plains: Sequence[Buffer]) -> None:
        """Put the blocks that `note` has named, and say that they are durable."""
        wanted = {
            digest: plain
            for (_, digest), plain in zip(changes, plains, strict=True)
            if digest is not None
        }
        sizes = dict(zip(wanted, self._store.put_blocks(list(wanted.items())), strict=True))
        rows = [(index, digest, sizes[digest]) for index, digest in changes if digest is not None]
        with self._store.transaction() as connection:
            refs.stored(connection, self._snapshot_id, rows)

    def expect(self, total_blocks: int) -> None:
        """How many blocks will be put, for the progress."""
        with self._store.transaction() as connection:
            refs.expect(connection, self._snapshot_id, total_blocks)

    def entries(self, *, stored_only: bool = False) -> Iterator[Change]:
        """What was put so far, in order of the index; None for zeroes."""
        with self._store.reading() as connection:
            rows = connection.execute(
                "SELECT block_index, digest FROM snap_captured"
                " WHERE snapshot_id = ? AND stored >= ? ORDER BY block_index",
                (self._snapshot_id, int(stored_only)),
            )
            for index, digest in rows:
                yield index, digest or None

    def complete(self) -> None:
        """Write the map, and make this a completed snapshot.

        Raises:
            NotPendingError: cancelled meanwhile.
            ValueError: its base is not completed.
        """
        with contextlib.ExitStack() as opened:
            base, blocks = self._store.write_map_of(self)
            if base is not None:
                opened.enter_context(base)
            with self._store.transaction() as connection:
                refs.complete(connection, self._snapshot_id, base, blocks)
        self._store.tidy()

    def fail(self, reason: str) -> None:
        """Give it up: state error, its blocks go.

        Raises:
            NotPendingError: it is not pending.
        """
        with self._store.transaction() as connection:
            refs.fail(connection, self._snapshot_id, reason)
        self._store.tidy()


def _filled(plain: Buffer) -> Buffer:
    if len(plain) > BLOCK_BYTES:
        raise ValueError(f"a block has {BLOCK_BYTES} bytes, not {len(plain)}")
    return plain if len(plain) == BLOCK_BYTES else bytes(plain).ljust(BLOCK_BYTES, b"\0")
