"""Snapshots as they are described: what callers said of them, and how far their copy is.

The state, progress and size of a snapshot are `blockdev.snapshot`'s, the rest is a row of
the control plane.  A row without a state is one whose making has not begun, or was cut
short before it began: the latter is struck off when its process is seen to be dead.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Final

from blockdev.model import ServiceError, Snapshot
from blockdev.region import rows
from blockdev.region.database import Connection
from blockdev.region.jobs import Jobs, map_statuses
from blockdev.snapshot_status import MapStatus

_FULL_PROGRESS: Final = 100


class SnapshotRows(Jobs):
    """Looking snapshots up."""

    def _snapshots(
        self, connection: Connection, now_ns: int, ids: Sequence[str] | None = None
    ) -> list[Snapshot]:
        """Snapshots in the order in which they were begun; ids that have no row are left out."""
        order = "ORDER BY started_ns, start_index, rowid"
        found = rows.select(connection, "snapshots", "snapshot_id", ids, order)
        known = [row["snapshot_id"] for row in found]
        states = map_statuses(connection, known if ids is not None else None)
        shares = defaultdict(list)
        for row in rows.select(connection, "snapshot_shares", "snapshot_id", known):
            shares[row["snapshot_id"]].append(row["account_id"])
        tags = rows.load_tags(connection, known)
        return [
            _snapshot(
                row,
                states.get(row["snapshot_id"]),
                now_ns,
                tuple(sorted(shares[row["snapshot_id"]])),
                tags[row["snapshot_id"]],
            )
            for row in found
        ]

    def _snapshot(self, connection: Connection, snapshot_id: str, now_ns: int) -> Snapshot:
        """Raises InvalidSnapshot.NotFound."""
        found = self._snapshots(connection, now_ns, [snapshot_id])
        if not found:
            raise snapshot_not_found(snapshot_id)
        return found[0]

    def _check_usable(self, snapshot: Snapshot) -> None:
        """Raise IncorrectState unless its blocks can be read: completed, and not in the archive."""
        self._check_completed(snapshot)
        if snapshot.tier == "archive" and snapshot.restore_expires_ns is None:
            raise ServiceError(
                "IncorrectState",
                f"Snapshot '{snapshot.snapshot_id}' is archived: restore it first.",
            )

    def _check_completed(self, snapshot: Snapshot) -> None:
        """Raise IncorrectState unless the copy that makes it is done."""
        if snapshot.state != "completed":
            raise ServiceError(
                "IncorrectState",
                f"Snapshot '{snapshot.snapshot_id}' is in the '{snapshot.state}' state.",
            )


def snapshot_not_found(snapshot_id: str) -> ServiceError:
    """What EC2 says of a snapshot that is not there."""
    return ServiceError("InvalidSnapshot.NotFound", f"The snapshot '{snapshot_id}' does not exist.")


def is_restored(row: rows.Row, now_ns: int) -> bool:
    """Whether an archived snapshot's blocks are back for the time being."""
    ready_ns, expires_ns = row["restored_ns"], row["restore_expires_ns"]
    return ready_ns is not None and ready_ns <= now_ns and (expires_ns or now_ns + 1) > now_ns


def tier_of(row: rows.Row, now_ns: int) -> str:
    """standard or archive: it is moved when the move is over, back for good likewise."""
    if row["tier"] == "standard" or now_ns < row["tiered_ns"]:
        return "standard"
    if is_restored(row, now_ns) and row["restore_expires_ns"] is None:
        return "standard"
    return "archive"


def _snapshot(
    row: rows.Row,
    status: MapStatus | None,
    now_ns: int,
    shared_with: tuple[str, ...],
    tags: Mapping[str, str],
) -> Snapshot:
    state = "pending" if status is None else status.state
    completed_ns = row["completed_ns"]
    if state == "completed" and completed_ns is None:
        completed_ns = now_ns  # just now, so far as anybody has noticed
    expires_ns = row["restore_expires_ns"] if is_restored(row, now_ns) else None
    return Snapshot(
        snapshot_id=row["snapshot_id"],
        volume_id=row["volume_id"],
        volume_size_gib=row["volume_size_gib"],
        state=state,
        started_ns=row["started_ns"],
        progress_percent=_progress(status),
        owner_id=row["owner_id"],
        description=row["description"],
        encrypted=bool(row["encrypted"]),
        kms_key_id=row["kms_key_id"],
        parent_id=row["parent_id"] or ("" if status is None else status.base_id),
        tier=tier_of(row, now_ns),
        completed_ns=completed_ns,
        full_bytes=0 if status is None else status.full_bytes,
        added_bytes=0 if status is None else status.added_bytes,
        shared_with=shared_with,
        is_public=bool(row["is_public"]),
        restore_expires_ns=expires_ns,
        state_message="" if status is None else status.reason,
        tags=tags,
    )


def _progress(status: MapStatus | None) -> int:
    if status is None:
        return 0
    return _FULL_PROGRESS if status.state == "completed" else status.progress_percent
