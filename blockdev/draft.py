"""A pending snapshot that blocks are put into."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, TypeAlias

from blockdev import refs
from blockdev.block_codec import BLOCK_BYTES
from blockdev.device import Buffer
from blockdev.map_writer import Change
from blockdev.snapshot_map import blocks_of

if TYPE_CHECKING:
    from blockdev.snapshot import SnapshotStore


Step: TypeAlias = Callable[[sqlite3.Connection], object]
"""What a caller adds to a transaction: it happens with that, or if it raises, neither does."""


class Draft:
    """A pending snapshot: its base with blocks put over it.  Thread-safe."""

    def __init__(self, store: SnapshotStore, snapshot_id: str) -> None:
        self._store = store
        self._snapshot_id = snapshot_id

    @property
    def snapshot_id(self) -> str:
        """Of the snapshot that this becomes."""
        return self._snapshot_id

    def require_pending(self) -> None:
        """Raise `NotPendingError` if it was cancelled, completed or failed."""
        with self._store.reading() as connection:
            refs.require_pending(connection, self._snapshot_id)

    def put(
        self,
        index: int,
        plain: Buffer,
        *,
        noted: Step | None = None,
        stored: Step | None = None,
    ) -> None:
        """As `put_many`, one block."""
        self.put_many([(index, plain)], noted=noted, stored=stored)

    def put_many(
        self,
        rows: Sequence[tuple[int, Buffer]],
        *,
        noted: Step | None = None,
        stored: Step | None = None,
    ) -> list[bytes | None]:
        """Make these the blocks at these indexes, durably; a later put for an index replaces it.

        `noted` happens along with the note that they are about to be put, `stored` with the
        one that they are.
        Returns the digests, None for zeroes.  Blocks that are shorter (the last of a volume)
        are filled up with zeroes.

        Raises:
            NotPendingError: the snapshot was cancelled meanwhile.
            ValueError: an index lies past the end, or a block is longer than BLOCK_BYTES.
            DeviceError: the block store failed; nothing is lost but these blocks.
        """
        _, size_bytes = self._store.pending_row(self._snapshot_id)
        limit = blocks_of(size_bytes)
        for index, _ in rows:
            if not 0 <= index < limit:
                raise ValueError(f"block {index} of a snapshot of {limit} blocks")
        plains = [_filled(plain) for _, plain in rows]
        digests = self._store.digests(plains)
        changes = [(index, digest) for (index, _), digest in zip(rows, digests, strict=True)]
        self.note(changes, noted)
        self.store_noted(changes, plains, stored)
        return digests

    def note(self, changes: Sequence[Change], noted: Step | None = None) -> None:
        """The intent: say which blocks are about to be put."""
        with self._store.transaction() as connection:
            refs.capture(connection, self._snapshot_id, changes)
            if noted is not None:
                noted(connection)

    def store_noted(
        self,
        changes: Sequence[Change],
        plains: Sequence[Buffer | None],
        stored: Step | None = None,
    ) -> None:
        """Put the blocks that `note` has named, and say that they are durable.

        One that is None is in the store already, because another snapshot has it.
        """
        wanted = {
            digest: plain
            for (_, digest), plain in zip(changes, plains, strict=True)
            if digest is not None and plain is not None
        }
        is_known = False
        try:
            sizes = dict(zip(wanted, self._store.put_blocks(list(wanted.items())), strict=True))
            rows = [
                (index, digest, sizes.get(digest, 0))
                for index, digest in changes
                if digest is not None
            ]
            with self._store.transaction() as connection:
                refs.stored(connection, self._snapshot_id, rows)
                is_known = refs.are_known(connection, wanted)
                if stored is not None:
                    stored(connection)
        finally:
            if not is_known:
                # The snapshot was deleted or failed between the note and the put: what it
                # noted was swept, and forgotten, before these files came.
                self._store.adopt(list(wanted))

    def expect(self, total_blocks: int) -> None:
        """How many blocks will be put, for the progress."""
        with self._store.transaction() as connection:
            refs.expect(connection, self._snapshot_id, total_blocks)

    def entries(self, *, stored_only: bool = False) -> Iterator[Change]:
        """What was put so far, in order of the index; None for zeroes."""
        with self._store.reading() as connection:
            yield from refs.captured(connection, self._snapshot_id, stored_only=stored_only)

    def complete(self, check: Step | None = None) -> None:
        """Write the map, and make this a completed snapshot.

        `check` looks at what was put, and raises if that is not to be completed.  Then also
        what others put meanwhile is looked for: without it, nobody else may put anything.

        Raises:
            NotPendingError: cancelled meanwhile.
            ValueError: its base is not completed; a block was noted and is not stored, or
                one was put after the map was begun.
        """
        self._store.complete(self, check)

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
