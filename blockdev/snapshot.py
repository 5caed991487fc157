"""Snapshots: maps of digests over a block store, made, read, copied and deleted.

`SnapshotStore` puts the pieces together: rows and counts (`refs.py`), map files
(`snapshot_map.py`), blocks (`blocks.py`).  Any number of threads and processes may work on
one store; each transaction takes SQLite's write lock at its start, so they take turns.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final

from xxhash import xxh3_128

from blockdev import refs, snapshot_check, snapshot_copy, snapshot_usage
from blockdev.block_codec import DIGEST_BYTES, ZERO_BLOCK, digest_of, is_zero
from blockdev.blocks import BlockStore
from blockdev.database import Database
from blockdev.device import Buffer
from blockdev.draft import Draft, Step
from blockdev.errors import DeviceError
from blockdev.map_writer import Change, abandoned, write_map
from blockdev.model import SnapshotUsage
from blockdev.snapshot_map import SnapshotMap, diff
from blockdev.snapshot_status import MapStatus, statuses
from blockdev.snapshot_usage import UsageTotal

SCHEMA: Final = refs.SCHEMA
"""The tables of a snapshot store; `SnapshotStore.open` makes those that are missing."""

PUT_THREADS: Final = 2
"""Hashing, compression and writing let go of the GIL: as many blocks are on the way at once."""

_NO_DIGEST: Final = bytes(DIGEST_BYTES)

SWEEP_BLOCKS: Final = 64
"""Blocks removed in one transaction, which keeps all others waiting."""


class SnapshotStore:
    """The snapshots of a region; make one with `open`.  Thread-safe."""

    def __init__(self, database: Path, maps: Path, blocks: BlockStore) -> None:
        self._database = Database(database)
        self._maps = maps
        self._blocks = blocks
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
        self._database.close()

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
        with self.reading() as connection:
            for status in statuses(connection, snapshot_id):
                return status
        raise KeyError(snapshot_id)

    def statuses(self) -> list[MapStatus]:
        """All that are not deleted, in the order in which they were begun."""
        with self.reading() as connection:
            return list(statuses(connection))

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
        draft = Draft(self, snapshot_id)
        draft.require_pending()
        return draft

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
        not here yet are read, verified and put; `progress` hears how many this call has put.
        After a crash the same call again goes on with what is pending.

        Raises:
            KeyError: there is no such completed snapshot.
            DeviceError: a block could not be read or put; the copy is in state error.
        """
        snapshot_copy.copy(source, source_id, self, snapshot_id, progress or _ignore)

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
        """Undo every `pin` of a volume, because it is gone; idempotent.

        What was pending of it fails: its blocks went with it.
        """
        with self.transaction() as connection:
            connection.execute("DELETE FROM snap_pins WHERE holder = ?", (holder,))
            for snapshot_id in refs.pending_of(connection, holder):
                refs.fail(connection, snapshot_id, "its volume was deleted")
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
            refs.sweep_again(connection)
        for path in abandoned(self._maps):
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

    def state_of(self, snapshot_id: str) -> str:
        """Also ``cancelled`` and ``doomed``; empty for none."""
        with self.reading() as connection:
            return refs.state_of(connection, snapshot_id)

    def pending_of(self, volume: str) -> dict[str, str]:
        """The snapshots of a volume that it has to complete or settle, and their states."""
        with self.reading() as connection:
            return refs.pending_of(connection, volume)

    def transaction(self) -> AbstractContextManager[sqlite3.Connection]:
        """Exclusive among all processes; durable when it ends, undone when it raises."""
        return self._database.transaction()

    def reading(self) -> AbstractContextManager[sqlite3.Connection]:
        """A connection of its own, with one view of the rows throughout."""
        return self._database.reading()

    def put_blocks(self, rows: Sequence[tuple[bytes, Buffer]]) -> list[int]:
        """Put blocks in parallel and make them durable; their stored bytes."""
        sizes = list(self._pool.map(lambda row: self._blocks.put(*row), rows))
        self._blocks.sync()
        return sizes

    def adopt(self, digests: Sequence[bytes]) -> None:
        """Remove those of these blocks that nobody knows of; see `Draft.store_noted`."""
        with self.transaction() as connection:
            refs.adopt(connection, digests)
        self.tidy()

    def get_blocks(self, digests: Sequence[bytes]) -> list[bytes]:
        """Read blocks in parallel, verified."""
        return list(self._pool.map(self._blocks.get, digests))

    def digests(self, plains: Sequence[Buffer]) -> list[bytes | None]:
        """The digests of blocks, in parallel; None for one of zeroes."""
        return list(self._pool.map(lambda p: None if is_zero(p) else digest_of(p), plains))

    def pending_row(self, snapshot_id: str) -> tuple[str, int]:
        """Base and size in bytes of a pending snapshot.

        Raises:
            NotPendingError: it is not pending.
        """
        with self.reading() as connection:
            refs.require_pending(connection, snapshot_id)
            base_id, size_bytes = connection.execute(
                "SELECT base_id, size_bytes FROM snap_maps WHERE snapshot_id = ?", (snapshot_id,)
            ).fetchone()
        return base_id, size_bytes

    def complete(self, draft: Draft, check: Step | None = None) -> None:
        """Write the map of a pending snapshot, and then its rows; see `Draft.complete`.

        One caller at a time for each snapshot.
        """
        snapshot_id = draft.snapshot_id
        base_id, size_bytes = self.pending_row(snapshot_id)
        in_map = _Fingerprint()
        with contextlib.ExitStack() as opened:
            base = None
            if base_id:
                try:
                    base = opened.enter_context(self.open_map(base_id))
                except KeyError:
                    raise ValueError(f"the base {base_id} is not completed") from None
            opened.callback(self._drop_unused_map, snapshot_id)
            path = self._map_path(snapshot_id)
            changes = in_map.of(draft.entries())
            blocks = write_map(path, size_bytes=size_bytes, base=base, changes=changes)
            with self.transaction() as connection:
                if check is not None:
                    _check_unchanged(connection, snapshot_id, in_map, check)
                refs.complete(connection, snapshot_id, base, blocks)
        self.tidy()

    def _drop_unused_map(self, snapshot_id: str) -> None:
        """Remove the map that was written for nothing, because the snapshot was cancelled."""
        with contextlib.suppress(sqlite3.Error), self.transaction() as connection:
            if refs.state_of(connection, snapshot_id) not in ("completed", "doomed"):
                self._map_path(snapshot_id).unlink(missing_ok=True)

    def _map_path(self, snapshot_id: str) -> Path:
        return self._maps / f"{snapshot_id}.map"

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
        with self.transaction() as connection:
            sweep = refs.new_sweep(connection)
            digests = self._remove_blocks(connection, sweep)
        if not digests:
            return
        try:
            while digests:
                with self.transaction() as connection:
                    digests = self._remove_blocks(connection, sweep)
            self._blocks.sync()
        except DeviceError:
            with self.transaction() as connection:
                refs.sweep_again(connection, sweep)
            raise
        with self.transaction() as connection:
            refs.forget_gone(connection, sweep)

    def _remove_blocks(self, connection: sqlite3.Connection, sweep: int) -> list[bytes]:
        """Remove a few that nothing refers to; which."""
        digests = refs.unneeded(connection, SWEEP_BLOCKS)
        for digest in digests:
            self._blocks.delete(digest)
        refs.mark_gone(connection, digests, sweep)
        return digests


class _Fingerprint:
    """Tells whether two walks over the blocks of a pending snapshot saw the same."""

    def __init__(self) -> None:
        self._hash = xxh3_128()

    def of(self, changes: Iterable[Change]) -> Iterator[Change]:
        """Walk on, and take note."""
        for index, digest in changes:
            self._hash.update(index.to_bytes(8, "little") + (digest or _NO_DIGEST))
            yield index, digest

    @property
    def value(self) -> int:
        """Of all that was walked over."""
        return self._hash.intdigest()


def _check_unchanged(
    connection: sqlite3.Connection, snapshot_id: str, in_map: _Fingerprint, check: Step
) -> None:
    """Look at what was put, in the transaction after which no more is.

    Raises:
        NotPendingError: it was cancelled meanwhile.
        ValueError: it is not what is in the map.
    """
    refs.require_pending(connection, snapshot_id)
    check(connection)
    now = _Fingerprint()
    for _ in now.of(refs.captured(connection, snapshot_id)):
        pass
    if now.value != in_map.value:
        raise ValueError(f"{snapshot_id}: blocks were put while it was completed; try again")


def _ignore(_blocks: int) -> None:
    """The progress that nobody wants to hear of."""


__all__ = ["SCHEMA", "Draft", "MapStatus", "SnapshotStore", "UsageTotal"]
