"""The archive: ModifySnapshotTier, RestoreSnapshotTier, DescribeSnapshotTierStatus.

In the archive a snapshot is a full copy of its own, paid for 90 days at least, and its
blocks cannot be read before it is restored, for some days or for good (Amazon EBS user
guide, "Archive Amazon EBS snapshots").  Here its blocks stay where they are, since they
take no more room there: what is simulated is what one may do, and what it costs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from blockdev.model import ServiceError, Snapshot, SnapshotTier
from blockdev.region import rows
from blockdev.region.base import missing
from blockdev.region.database import Connection
from blockdev.region.snapshot_rows import SnapshotRows, is_restored, snapshot_not_found, tier_of
from blockdev.volume import DAY_NS

ARCHIVE_MINIMUM_NS: Final = 90 * DAY_NS
"""The same page: "the minimum archive period is 90 days"."""

_RESTORE_DAYS: Final = (1, 180)
"""The same page: a temporary restore lasts 1 to 180 days."""

_FULL_PROGRESS: Final = 100


class TierVerbs(SnapshotRows):
    """Snapshots in and out of the archive."""

    def archive_snapshot(self, snapshot_id: str) -> SnapshotTier:
        """Move a snapshot to the archive.

        Raises:
            ServiceError: InvalidSnapshot.NotFound, IncorrectState (not completed, or in the
                archive already), InvalidSnapshot.InUse (fast restore is enabled, or a
                volume is being made of it).
        """
        with self._write() as (connection, now_ns):
            snapshot = self._snapshot(connection, snapshot_id, now_ns)
            row = _row(connection, snapshot_id)
            if snapshot.state != "completed" or _is_moving_or_archived(row, now_ns):
                raise ServiceError(
                    "IncorrectState",
                    f"Snapshot '{snapshot_id}' is {snapshot.state} in the {row['tier']} tier.",
                )
            _check_not_restoring_fast(connection, snapshot_id)
            connection.execute(
                "UPDATE snapshots SET tier = 'archive', tier_start_ns = ?, tiered_ns = ?,"
                " restore_start_ns = NULL, restored_ns = NULL, restore_expires_ns = NULL"
                " WHERE snapshot_id = ?",
                (now_ns, now_ns + self._timings.archiving_ns, snapshot_id),
            )
            return self._tier(connection, snapshot_id, now_ns)

    def restore_snapshot_tier(
        self, snapshot_id: str, *, days: int | None = None, permanent: bool = False
    ) -> SnapshotTier:
        """Restore an archived snapshot for `days` (1 to 180), or for good.

        Asking again while it is restored for some days changes how long, counted from now.

        Raises:
            ServiceError: InvalidSnapshot.NotFound, MissingParameter (neither),
                InvalidParameterCombination (both), InvalidParameterValue (days),
                IncorrectState (not in the archive).
        """
        _check_restore(days, permanent=permanent)
        with self._write() as (connection, now_ns):
            self._snapshot(connection, snapshot_id, now_ns)
            row = _row(connection, snapshot_id)
            if tier_of(row, now_ns) != "archive" or _restores_for_good(row):
                raise ServiceError(
                    "IncorrectState", f"Snapshot '{snapshot_id}' is not in the archive tier."
                )
            back = is_restored(row, now_ns)
            ready_ns = row["restored_ns"] if back else now_ns + self._timings.unarchiving_ns
            expires_ns = None if days is None else max(now_ns, ready_ns) + days * DAY_NS
            connection.execute(
                "UPDATE snapshots SET restore_start_ns = ?, restored_ns = ?,"
                " restore_expires_ns = ? WHERE snapshot_id = ?",
                (now_ns, ready_ns, expires_ns, snapshot_id),
            )
            return self._tier(connection, snapshot_id, now_ns)

    def snapshot_tiers(self, snapshot_ids: Sequence[str] = ()) -> list[SnapshotTier]:
        """The tiers of the snapshots named, or of all.

        Raises:
            ServiceError: InvalidSnapshot.NotFound.
        """
        with self._read() as (connection, now_ns):
            found = self._snapshots(connection, now_ns, snapshot_ids or None)
            for absent in missing(snapshot_ids, [one.snapshot_id for one in found]):
                raise snapshot_not_found(absent)
            by_id = {
                row["snapshot_id"]: row
                for row in rows.select(connection, "snapshots", "snapshot_id", None)
            }
        return [_tier_of_snapshot(one, by_id[one.snapshot_id], now_ns) for one in found]

    def _tier(self, connection: Connection, snapshot_id: str, now_ns: int) -> SnapshotTier:
        snapshot = self._snapshot(connection, snapshot_id, now_ns)
        return _tier_of_snapshot(snapshot, _row(connection, snapshot_id), now_ns)


def _row(connection: Connection, snapshot_id: str) -> rows.Row:
    row: rows.Row = connection.execute(
        "SELECT * FROM snapshots WHERE snapshot_id = ?", (snapshot_id,)
    ).fetchone()
    return row


def _restores_for_good(row: rows.Row) -> bool:
    return row["restore_start_ns"] is not None and row["restore_expires_ns"] is None


def _is_moving_or_archived(row: rows.Row, now_ns: int) -> bool:
    """Whether it is on its way into the archive, in it, or on its way out."""
    if row["tier"] == "standard":
        return False
    return not (_restores_for_good(row) and tier_of(row, now_ns) == "standard")


def _check_restore(days: int | None, *, permanent: bool) -> None:
    if days is None and not permanent:
        raise ServiceError(
            "MissingParameter",
            "The request must contain the parameter TemporaryRestoreDays or PermanentRestore",
        )
    if days is None:
        return
    if permanent:
        raise ServiceError(
            "InvalidParameterCombination",
            "TemporaryRestoreDays and PermanentRestore cannot be given together.",
        )
    low, high = _RESTORE_DAYS
    if not low <= days <= high:
        raise ServiceError(
            "InvalidParameterValue", f"TemporaryRestoreDays must be between {low} and {high}."
        )


def _check_not_restoring_fast(connection: Connection, snapshot_id: str) -> None:
    found = connection.execute(
        "SELECT 1 FROM fast_restores WHERE snapshot_id = ?", (snapshot_id,)
    ).fetchone()
    if found is not None:
        raise ServiceError(
            "InvalidSnapshot.InUse", f"Fast restore of snapshot '{snapshot_id}' is enabled."
        )


def _tier_of_snapshot(snapshot: Snapshot, row: rows.Row, now_ns: int) -> SnapshotTier:
    name, start_ns, end_ns = _last_move(row)
    is_over = end_ns is not None and now_ns >= end_ns
    progress = None
    if start_ns is not None and end_ns is not None:
        length_ns = max(end_ns - start_ns, 1)
        progress = _FULL_PROGRESS if is_over else (now_ns - start_ns) * 100 // length_ns
    in_archive = tier_of(row, now_ns) == "archive"
    archived_ns = row["tiered_ns"] if in_archive else None
    return SnapshotTier(
        snapshot_id=snapshot.snapshot_id,
        volume_id=snapshot.volume_id,
        status=snapshot.state,
        owner_id=snapshot.owner_id,
        tier=snapshot.tier,
        last_tiering_start_ns=start_ns,
        last_tiering_progress=progress,
        last_tiering_status=f"{name}-{'completed' if is_over else 'in-progress'}" if name else "",
        archived_ns=archived_ns,
        restore_expires_ns=snapshot.restore_expires_ns,
        minimum_ends_ns=None if archived_ns is None else archived_ns + ARCHIVE_MINIMUM_NS,
        archived_bytes=snapshot.full_bytes if in_archive else 0,
        tags=snapshot.tags,
    )


def _last_move(row: rows.Row) -> tuple[str, int | None, int | None]:
    """What last moved a snapshot between the tiers, when it began and when it ends."""
    if row["restore_start_ns"] is not None:
        kind = "permanent" if _restores_for_good(row) else "temporary"
        return f"{kind}-restore", row["restore_start_ns"], row["restored_ns"]
    if row["tier"] == "archive":
        return "archival", row["tier_start_ns"], row["tiered_ns"]
    return "", None, None
