"""Copying a snapshot, within a store or from one to another."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final

from blockdev import refs
from blockdev.draft import Draft
from blockdev.snapshot_map import SnapshotMap
from blockdev.snapshot_usage import batches

if TYPE_CHECKING:
    from blockdev.snapshot import SnapshotStore

COPY_BLOCKS: Final = 64
"""Blocks that are in memory at once: 32 MiB."""


def copy(
    source: SnapshotStore,
    source_id: str,
    target: SnapshotStore,
    snapshot_id: str,
    progress: Callable[[int], None],
) -> None:
    """Make `snapshot_id` of `target` equal to `source_id`; see `SnapshotStore.copy`."""
    with source.open_map(source_id) as map_:
        draft = _begin(target, snapshot_id, map_, source_id if source is target else "")
        try:
            if source is not target:
                draft.expect(map_.blocks)
                _fill(draft, map_, source, progress)
            draft.complete()
        except BaseException as error:
            with contextlib.suppress(refs.NotPendingError):
                draft.fail(str(error))
            raise


def _begin(target: SnapshotStore, snapshot_id: str, map_: SnapshotMap, base_id: str) -> Draft:
    """A new draft, or the one of a copy that a crash interrupted."""
    if target.state_of(snapshot_id) == "pending":
        return target.draft(snapshot_id)
    return target.begin(snapshot_id, size_bytes=map_.size_bytes, base_id=base_id)


def _fill(
    draft: Draft, map_: SnapshotMap, source: SnapshotStore, progress: Callable[[int], None]
) -> None:
    left = _left(map_, draft)
    done = 0
    for batch in batches(left, COPY_BLOCKS):
        plains = source.get_blocks([digest for _, digest in batch])
        draft.put_many([(index, plain) for (index, _), plain in zip(batch, plains, strict=True)])
        done += len(batch)
        progress(done)


def _left(map_: SnapshotMap, draft: Draft) -> Iterator[tuple[int, bytes]]:
    """What of a map an interrupted copy has not stored; both are in order of the index."""
    present = draft.entries(stored_only=True)
    entry = next(present, None)
    for index, digest in map_.entries():
        while entry is not None and entry[0] < index:
            entry = next(present, None)
        if entry != (index, digest):
            yield index, digest
