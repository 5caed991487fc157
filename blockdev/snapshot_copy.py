"""Copying a snapshot, within a store or from one to another."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
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
        base_id = source_id if source is target else ""
        draft = target.begin(snapshot_id, size_bytes=map_.size_bytes, base_id=base_id)
        try:
            if source is not target:
                draft.expect(map_.blocks)
                _fill(draft, map_, source, progress)
            draft.complete()
        except BaseException as error:
            with contextlib.suppress(refs.NotPendingError):
                draft.fail(str(error))
            raise


def _fill(
    draft: Draft, map_: SnapshotMap, source: SnapshotStore, progress: Callable[[int], None]
) -> None:
    done = 0
    for batch in batches(map_.entries(), COPY_BLOCKS):
        plains = source.get_blocks([digest for _, digest in batch])
        draft.put_many([(index, plain) for (index, _), plain in zip(batch, plains, strict=True)])
        done += len(batch)
        progress(done)
