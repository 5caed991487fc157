"""The blocks of a pending snapshot: from the volume into the store, some at a time or one first."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from blockdev.draft import Draft
from blockdev.map_writer import Change
from blockdev.snapshot import SnapshotStore
from blockdev.snapshot_map import SnapshotMap
from blockdev.volume_blocks import VolumeBlocks
from blockdev.volume_map import SECTOR_BLOCKS, SECTOR_BYTES, PendingRecord

Content: TypeAlias = tuple[int, bytes | None, bytearray | None]
"""Index of a block, its digest if that is known unread, its plain bytes if they are here."""


@dataclass(eq=False)
class Pending:
    """A snapshot on its way.  `frozen`: all that it has to copy; `left`: what is not stored."""

    record: PendingRecord
    frozen: bytearray
    left: bytearray
    draft: Draft
    reason: str = ""

    @property
    def snapshot_id(self) -> str:
        """The snapshot."""
        return self.record.snapshot_id

    def is_frozen(self, index: int) -> bool:
        """Whether the block is one that this snapshot has to have a copy of."""
        byte = index >> 3
        return byte < len(self.frozen) and bool(self.frozen[byte] >> (index & 7) & 1)

    def is_left(self, index: int) -> bool:
        """Whether a block must be stored before it is overwritten."""
        byte = index >> 3
        return byte < len(self.left) and bool(self.left[byte] >> (index & 7) & 1)


class BlockCopier:
    """Copies blocks of one volume into its store.  Thread-safe."""

    def __init__(self, blocks: VolumeBlocks, store: SnapshotStore) -> None:
        self._blocks = blocks
        self._store = store
        self._lock = threading.Lock()

    def store_first(self, pending: Pending, index: int) -> None:
        """Store a block that is about to be overwritten, durably, if that is still to be done."""
        with self._blocks.stripe(index):
            if not pending.is_left(index):
                return
            self._store_rows(pending, [self._content(pending, index)])
            self.clear_left(pending, [index])

    def _content(self, pending: Pending, index: int) -> Content:
        """Index, digest if it is known unread, plain bytes if they have to be stored."""
        if self._blocks.is_remote(index):
            return index, self._blocks.origin_digest(index), None
        return index, None, self._blocks.read_block(index, pending.record.size_bytes)

    def _store_rows(self, pending: Pending, rows: Sequence[Content]) -> None:
        """Put blocks, durably, with their rows.  What is remote is in the store already."""
        changes = self._name(rows)
        pending.draft.note(changes)
        pending.draft.store_noted(changes, [plain for _, _, plain in rows])

    def _name(self, rows: Sequence[Content]) -> list[Change]:
        digests = iter(self._store.digests([plain for _, _, plain in rows if plain is not None]))
        return [(index, known if plain is None else next(digests)) for index, known, plain in rows]

    def clear_left(self, pending: Pending, indexes: Iterable[int]) -> None:
        """These blocks are stored."""
        with self._lock:
            for index in indexes:
                pending.left[index >> 3] &= ~(1 << (index & 7))

    def copy_batch(self, pending: Pending, batch: Sequence[int], base: SnapshotMap | None) -> None:
        """Store blocks, but for those that are as in the base.

        They are read while their stripes are held, so that no writer comes between, and
        noted and put without: a writer that comes meanwhile stores the same again.  When this
        returns none is at that any more, so that the snapshot may be completed.
        """
        rows = []
        for index in batch:
            with self._blocks.stripe(index):
                if pending.is_left(index):
                    rows.append(self._content(pending, index))
        same: list[int] = []
        new: list[tuple[Change, bytearray | None]] = []
        for (index, digest), (_, _, plain) in zip(self._name(rows), rows, strict=True):
            if digest == (base.get(index) if base is not None else None):
                same.append(index)
            else:
                new.append(((index, digest), plain))
        if same:
            self._thaw(pending, same)
        if new:
            changes = [change for change, _ in new]
            pending.draft.note(changes)
            pending.draft.store_noted(changes, [plain for _, plain in new])
        for index, _, _ in rows:
            with self._blocks.stripe(index):
                self.clear_left(pending, (index,))

    def _thaw(self, pending: Pending, indexes: Sequence[int]) -> None:
        """These blocks are as in the base: nothing to store, which must be durable knowledge."""
        with self._lock:
            for index in indexes:
                pending.frozen[index >> 3] &= ~(1 << (index & 7))
            self.write_frozen(pending, {index // SECTOR_BLOCKS for index in indexes})

    def write_frozen(self, pending: Pending, sectors: Iterable[int]) -> None:
        """Make these sectors of a snapshot's slot durable."""
        for sector in sorted(sectors):
            content = pending.frozen[sector * SECTOR_BYTES : (sector + 1) * SECTOR_BYTES]
            self._blocks.map.write_slot(pending.record.slot, bytes(content), sector)
        self._blocks.map.flush()
