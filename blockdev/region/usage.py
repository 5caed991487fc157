"""What snapshots cost: block by block in the standard tier, in full in the archive."""

from __future__ import annotations

from dataclasses import dataclass

from blockdev.model import SnapshotUsage
from blockdev.region.snapshot_rows import snapshot_not_found
from blockdev.region.tiers import TierVerbs


@dataclass(frozen=True, slots=True)
class StorageUsage:
    """What all snapshots of a region take.

    `blocks`, `plain_bytes`, `stored_bytes`: each block once, however many snapshots hold it;
    stored is compressed.  `archived_bytes`: the full copies that the archive is charged for.
    """

    snapshots: int
    blocks: int
    plain_bytes: int
    stored_bytes: int
    archived_snapshots: int
    archived_bytes: int


class UsageVerbs(TierVerbs):
    """Accounting."""

    def snapshot_usage(self, snapshot_id: str) -> SnapshotUsage:
        """What a completed snapshot takes, and what deleting it would free.

        Raises:
            ServiceError: InvalidSnapshot.NotFound, IncorrectState (not completed).
        """
        with self._read() as (connection, now_ns):
            snapshot = self._snapshot(connection, snapshot_id, now_ns)
        self._check_completed(snapshot)
        try:
            return self._store.usage(snapshot_id)
        except KeyError:
            raise snapshot_not_found(snapshot_id) from None

    def usage_total(self) -> StorageUsage:
        """What all snapshots together take, and the archive."""
        total = self._store.total()
        archived = [one.archived_bytes for one in self.snapshot_tiers() if one.tier == "archive"]
        return StorageUsage(
            snapshots=total.snapshots,
            blocks=total.blocks,
            plain_bytes=total.plain_bytes,
            stored_bytes=total.stored_bytes,
            archived_snapshots=len(archived),
            archived_bytes=sum(archived),
        )
