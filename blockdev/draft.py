"""A pending snapshot that blocks are put into."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from blockdev import refs
from blockdev.block_codec import BLOCK_BYTES
from blockdev.device import Buffer
from blockdev.map_writer import Change
from blockdev.snapshot_map import blocks_of

if TYPE_CHECKING:
    from blockdev.snapshot import SnapshotStore


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
        _, size_bytes = self._store.pending_row(self._snapshot_id)
        limit = blocks_of(size_bytes)
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

    def store_noted(self, changes: Sequence[Change], plains: Sequence[Buffer | None]) -> None:
        """Put the blocks that `note` has named, and say that they are durable.

        One that is None is in the store already, because another snapshot has it.
        """
        wanted = {
            digest: plain
            for (_, digest), plain in zip(changes, plains, strict=True)
            if digest is not None and plain is not None
        }
        sizes = dict(zip(wanted, self._store.put_blocks(list(wanted.items())), strict=True))
        rows = [
            (index, digest, sizes.get(digest, 0)) for index, digest in changes if digest is not None
        ]
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
        self._store.complete(self)

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
