"""Fast snapshot restore: volumes that need no loading, as long as there are credits.

A snapshot enabled in a zone has a bucket of ``max(1, min(10, 1024 / GiB))`` credits that
begins empty and gains ``min(10, 1024 / GiB)`` an hour (Amazon EBS user guide, "Volume
creation credits"); a volume takes one, and one made without a credit loads lazily.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from blockdev.model import FastRestore, ServiceError
from blockdev.region import limits, rows
from blockdev.region.database import Connection
from blockdev.region.snapshot_rows import SnapshotRows
from blockdev.volume import HOUR_NS

_MOST: Final = 10.0
_GIB_A_CREDIT: Final = 1024


def credits_per_hour(size_gib: int) -> float:
    """How fast the bucket of a snapshot of a volume of this size fills."""
    return min(_MOST, _GIB_A_CREDIT / size_gib)


def max_credits(size_gib: int) -> float:
    """How many volumes can be made at once, at most."""
    return max(1.0, credits_per_hour(size_gib))


def credits_now(row: rows.Row, size_gib: int, now_ns: int) -> float:
    """What is in the bucket: it fills from the moment at which it was enabled."""
    since_ns = max(now_ns - max(row["credits_ns"], row["enabled_ns"]), 0)
    gained = credits_per_hour(size_gib) * since_ns / HOUR_NS
    filled: float = min(max_credits(size_gib), row["credits"] + gained)
    return filled


def take_credit(
    connection: Connection, now_ns: int, snapshot_id: str, size_gib: int, zone: str
) -> bool:
    """Take a credit for a volume in `zone` if there is a whole one."""
    row = connection.execute(
        "SELECT * FROM fast_restores WHERE snapshot_id = ? AND zone = ?", (snapshot_id, zone)
    ).fetchone()
    if row is None or now_ns < row["enabled_ns"]:
        return False
    left = credits_now(row, size_gib, now_ns)
    if left < 1:
        return False
    connection.execute(
        "UPDATE fast_restores SET credits = ?, credits_ns = ? WHERE snapshot_id = ? AND zone = ?",
        (left - 1, now_ns, snapshot_id, zone),
    )
    return True


class FastRestoreVerbs(SnapshotRows):
    """EnableFastSnapshotRestores, DisableFastSnapshotRestores, DescribeFastSnapshotRestores."""

    def enable_fast_restores(
        self, snapshot_ids: Sequence[str], zones: Sequence[str]
    ) -> list[FastRestore]:
        """Enable each snapshot in each zone; what is enabled already stays as it is.

        Raises:
            ServiceError: InvalidSnapshot.NotFound, InvalidZone.NotFound, IncorrectState
                (not completed, or archived), FastSnapshotRestoreLimitExceeded.
        """
        with self._write() as (connection, now_ns):
            for snapshot_id in snapshot_ids:
                snapshot = self._snapshot(connection, snapshot_id, now_ns)
                self._check_usable(snapshot)
                length_ns = self._timings.fast_restore_ns_per_tib * snapshot.volume_size_gib // 1024
                connection.executemany(
                    "INSERT OR IGNORE INTO fast_restores VALUES (?, ?, ?, ?, 0.0, ?)",
                    [
                        (snapshot_id, self._check_zone(zone), now_ns, now_ns + length_ns, now_ns)
                        for zone in zones
                    ],
                )
            _check_limit(connection)
            return self._fast_restores(connection, now_ns, snapshot_ids, zones)

    def disable_fast_restores(
        self, snapshot_ids: Sequence[str], zones: Sequence[str]
    ) -> list[FastRestore]:
        """Disable them; returns those that were enabled, as ``disabling``.

        Raises:
            ServiceError: InvalidSnapshot.NotFound, InvalidZone.NotFound.
        """
        with self._write() as (connection, now_ns):
            for snapshot_id in snapshot_ids:
                self._snapshot(connection, snapshot_id, now_ns)
            for zone in zones:
                self._check_zone(zone)
            found = self._fast_restores(connection, now_ns, snapshot_ids, zones)
            connection.executemany(
                "DELETE FROM fast_restores WHERE snapshot_id = ? AND zone = ?",
                [(one.snapshot_id, one.zone) for one in found],
            )
        return [rows.with_state(one, "disabling") for one in found]

    def describe_fast_restores(
        self, snapshot_ids: Sequence[str] = (), zones: Sequence[str] = ()
    ) -> list[FastRestore]:
        """Those of the snapshots and zones named, or all."""
        with self._read() as (connection, now_ns):
            return self._fast_restores(connection, now_ns, snapshot_ids, zones)

    def _fast_restores(
        self,
        connection: Connection,
        now_ns: int,
        snapshot_ids: Sequence[str],
        zones: Sequence[str],
    ) -> list[FastRestore]:
        found = connection.execute(
            "SELECT fast_restores.*, volume_size_gib FROM fast_restores"
            " JOIN snapshots USING (snapshot_id) ORDER BY requested_ns, snapshot_id, zone"
        ).fetchall()
        return [
            _fast_restore(row, now_ns)
            for row in found
            if (not snapshot_ids or row["snapshot_id"] in snapshot_ids)
            and (not zones or row["zone"] in zones)
        ]


def _fast_restore(row: rows.Row, now_ns: int) -> FastRestore:
    """enabling at the very moment of the request, then optimizing until it is enabled."""
    size_gib = row["volume_size_gib"]
    if now_ns >= row["enabled_ns"]:
        state, changed_ns = "enabled", row["enabled_ns"]
    else:
        state = "optimizing" if now_ns > row["requested_ns"] else "enabling"
        changed_ns = row["requested_ns"]
    return FastRestore(
        snapshot_id=row["snapshot_id"],
        zone=row["zone"],
        state=state,
        changed_ns=changed_ns,
        credits=credits_now(row, size_gib, now_ns),
        max_credits=max_credits(size_gib),
        credits_per_hour=credits_per_hour(size_gib),
    )


def _check_limit(connection: Connection) -> None:
    (count,) = connection.execute(
        "SELECT count(DISTINCT snapshot_id) FROM fast_restores"
    ).fetchone()
    if count > limits.MAX_FAST_RESTORES:
        raise ServiceError(
            "FastSnapshotRestoreLimitExceeded",
            f"{count} snapshots would be enabled; {limits.MAX_FAST_RESTORES} are allowed.",
        )
