"""CreateSnapshot, CreateSnapshots, DescribeSnapshots, DeleteSnapshot.

A row first, then the point in time, taken by the process that holds the volume: this one,
another one that is asked over its socket, or this one for as long as the copy takes.  A
crash in between leaves a row that nothing has begun for; it is struck off.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from blockdev import profiles
from blockdev.model import ServiceError, Snapshot, Volume
from blockdev.region import limits
from blockdev.region.base import missing
from blockdev.region.captures import POLL_S, Captures, too_many_pending
from blockdev.region.database import Connection
from blockdev.region.jobs import pending_snapshots
from blockdev.region.snapshot_rows import snapshot_not_found


class SnapshotVerbs(Captures):
    """Snapshots of volumes, from the point in time to their deletion."""

    def create_snapshot(
        self, volume_id: str, *, description: str = "", tags: Mapping[str, str] = {}
    ) -> Snapshot:
        """Take a snapshot of a volume as it is now; the copy goes on in the background.

        What was written before the call is in it, what is written after it returned is not.

        Raises:
            ServiceError: InvalidVolume.NotFound, IncorrectState (being created or deleted),
                ConcurrentSnapshotLimitExceeded, SnapshotLimitExceeded,
                InvalidParameterValue, Unavailable (the volume's holder does not answer).
        """
        with self._write() as (connection, now_ns):
            volume = self._volume(connection, volume_id, now_ns)
            self._check_may_snapshot(connection, now_ns, volume)
            snapshot_id = self._insert_snapshot(connection, now_ns, volume, description, tags)
        try:
            self._begin(volume_id, [snapshot_id])
        except BaseException:
            self._strike_snapshots([snapshot_id])
            raise
        return self.describe_snapshot(snapshot_id)

    def describe_snapshots(self, snapshot_ids: Sequence[str] = ()) -> list[Snapshot]:
        """Those named, or all, in the order in which they were begun.

        Raises:
            ServiceError: InvalidSnapshot.NotFound.
        """
        self._look_after_snapshots()
        with self._read() as (connection, now_ns):
            found = self._snapshots(connection, now_ns, snapshot_ids or None)
        for absent in missing(snapshot_ids, [one.snapshot_id for one in found]):
            raise snapshot_not_found(absent)
        return found

    def describe_snapshot(self, snapshot_id: str) -> Snapshot:
        """One snapshot; raises InvalidSnapshot.NotFound."""
        return self.describe_snapshots([snapshot_id])[0]

    def wait_snapshot(self, snapshot_id: str, timeout_s: float | None = None) -> Snapshot:
        """The snapshot once it is no longer pending, or as it is after `timeout_s`.

        Waits by the machine's clock, since the copy takes real time.

        Raises:
            ServiceError: InvalidSnapshot.NotFound.
        """
        left_s = timeout_s
        while True:
            found = self.describe_snapshot(snapshot_id)
            if found.state != "pending" or (left_s is not None and left_s <= 0):
                return found
            step_s = POLL_S if left_s is None else min(POLL_S, left_s)
            left_s = None if left_s is None else left_s - step_s
            watcher = self._watchers.get(found.volume_id)
            if watcher is not None:
                watcher.join(step_s)
            elif self._closing.wait(step_s):
                return found

    def delete_snapshot(self, snapshot_id: str) -> None:
        """Delete a snapshot, also one that is pending; blocks that others need stay.

        Volumes that still load from it go on doing so.

        Raises:
            ServiceError: InvalidSnapshot.NotFound, InvalidSnapshot.InUse (a volume or a copy
                of it is being made at this moment).
        """
        with self._write() as (connection, now_ns):
            self._snapshot(connection, snapshot_id, now_ns)
            _check_not_in_use(connection, snapshot_id)
            connection.execute("DELETE FROM snapshots WHERE snapshot_id = ?", (snapshot_id,))
            connection.execute("DELETE FROM tags WHERE resource_id = ?", (snapshot_id,))
            self._add_job(connection, "delete-snapshot", snapshot_id)
        self._run_jobs()

    # Rows.

    def _check_may_snapshot(self, connection: Connection, now_ns: int, volume: Volume) -> None:
        """Raise unless one more snapshot of the volume may be begun now.

        Raises:
            ServiceError: IncorrectState, ConcurrentSnapshotLimitExceeded,
                SnapshotCreationPerVolumeRateExceeded.
        """
        if volume.state not in ("available", "in-use"):
            raise ServiceError(
                "IncorrectState",
                f"Volume '{volume.volume_id}' is in the '{volume.state}' state.",
            )
        pending = pending_snapshots(connection, volume.volume_id)
        if len(pending) >= profiles.max_pending_snapshots(volume.spec.volume_type):
            raise too_many_pending(volume.volume_id)
        if not pending:
            return
        (last_ns,) = connection.execute(
            "SELECT max(started_ns) FROM snapshots WHERE volume_id = ?", (volume.volume_id,)
        ).fetchone()
        if last_ns is not None and now_ns - last_ns < self._timings.snapshot_spacing_ns:
            raise ServiceError(
                "SnapshotCreationPerVolumeRateExceeded",
                f"A snapshot of volume {volume.volume_id} is pending and was begun too short a "
                "time ago.",
            )

    def _insert_snapshot(
        self,
        connection: Connection,
        now_ns: int,
        volume: Volume,
        description: str,
        tags: Mapping[str, str],
        index: int = 0,
    ) -> str:
        check_description(description)
        check_snapshot_room(connection)
        snapshot_id = self._new_id(connection, "snap")
        connection.execute(
            "INSERT INTO snapshots (snapshot_id, volume_id, volume_size_gib, kind, started_ns,"
            " start_index, owner_id, description, encrypted, kms_key_id, parent_id, worker,"
            " lineage) SELECT ?, volume_id, ?, 'volume', ?, ?, ?, ?, ?, ?, '', ?, lineage"
            " FROM volumes WHERE volume_id = ?",
            (
                *(snapshot_id, volume.spec.size_gib, now_ns, index, self._account_id),
                *(description, volume.encrypted, volume.kms_key_id, self._owner.name),
                volume.volume_id,
            ),
        )
        self._tag(connection, snapshot_id, tags)
        return snapshot_id


def check_description(description: str) -> None:
    """Raise InvalidParameterValue for one that is too long."""
    if len(description) > limits.MAX_DESCRIPTION:
        raise ServiceError(
            "InvalidParameterValue",
            f"A description has at most {limits.MAX_DESCRIPTION} characters.",
        )


def check_snapshot_room(connection: Connection) -> None:
    """Raise SnapshotLimitExceeded when the region is full."""
    (count,) = connection.execute("SELECT count(*) FROM snapshots").fetchone()
    if count >= limits.MAX_SNAPSHOTS:
        raise ServiceError(
            "SnapshotLimitExceeded", f"There are {count} snapshots, the most of a region."
        )


def _check_not_in_use(connection: Connection, snapshot_id: str) -> None:
    """A volume whose files are not made yet has not pinned the snapshot yet."""
    row = connection.execute(
        "SELECT volume_id FROM volumes WHERE snapshot_id = ? AND NOT files_made"
        " AND deleted_ns IS NULL",
        (snapshot_id,),
    ).fetchone()
    if row is not None:
        raise ServiceError(
            "InvalidSnapshot.InUse",
            f"The snapshot {snapshot_id} is currently in use by {row['volume_id']}",
        )
