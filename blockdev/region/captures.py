"""Copies of volumes into snapshots: the point in time, and who waits for the end.

The process that holds a volume makes its copies.  Each volume with a pending one has a
thread here that waits for the end, and keeps the volume open until then.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from blockdev.captures import TooManyPendingError
from blockdev.errors import DeviceError
from blockdev.model import ServiceError, Snapshot
from blockdev.refs import NotPendingError
from blockdev.region import rows
from blockdev.region.base import Surroundings
from blockdev.region.held import HeldVolume
from blockdev.region.holding import Body, Holding, VolumeHeldElsewhereError
from blockdev.region.jobs import map_statuses

POLL_S: Final = 0.25
"""How often a wait looks whether the region is being closed."""

BEGIN_WAIT_S: Final = 0.02
BEGIN_TRIES: Final = 50
"""How often a point in time is asked for while the volume changes hands."""

TIMED_OUT: Final = "WRITE_REQUEST_TIMEOUT: neither a block nor the completion came in time"
"""Why a snapshot failed that was to be written block by block."""


class Captures(Holding):
    """Pending copies of volumes."""

    def __init__(self, surroundings: Surroundings) -> None:
        super().__init__(surroundings)
        self._watchers: dict[str, threading.Thread] = {}
        self._host_verbs["begin_snapshot"] = self._answer_begin

    def _begin(self, volume_id: str, snapshot_ids: Sequence[str]) -> None:
        """Fix the point in time of snapshots of a volume, wherever it is held.

        A volume that is opened or closed at this very moment is asked for again.
        """
        for attempt in range(BEGIN_TRIES):
            with self._lock:
                self._check_region_open()
                if volume_id in self._held:
                    self._begin_held(volume_id, snapshot_ids)
                    return
            if self._ask(volume_id, "begin_snapshot", {"snapshots": list(snapshot_ids)}):
                return
            try:
                self._begin_held(volume_id, snapshot_ids)
                return
            except VolumeHeldElsewhereError:
                if attempt == BEGIN_TRIES - 1:
                    raise
            self._closing.wait(BEGIN_WAIT_S)

    def _answer_begin(self, volume_id: str, arguments: Body) -> Body:
        """Another process asks for the point in time of snapshots of a volume held here."""
        self._begin_held(volume_id, arguments["snapshots"])
        self._drop_rowless(arguments["snapshots"])
        return {"begun": True}

    def _drop_rowless(self, snapshot_ids: Sequence[str]) -> None:
        """Delete snapshots that were begun for a process that died meanwhile, and its rows.

        Whoever strikes a row deletes the snapshot too; what it came too early for goes here.
        """
        with self._read() as (connection, _):
            found = rows.select(connection, "snapshots", "snapshot_id", snapshot_ids)
        for snapshot_id in set(snapshot_ids) - {row["snapshot_id"] for row in found}:
            with suppress(KeyError):
                self._store.delete(snapshot_id)

    def _begin_held(self, volume_id: str, snapshot_ids: Sequence[str]) -> None:
        """The same in the process that holds the volume, or opens it for this."""
        with self._lock:
            held = self._hold(volume_id)
            try:
                for snapshot_id in snapshot_ids:
                    held.live.begin_snapshot(snapshot_id)
            except TooManyPendingError as error:
                raise too_many_pending(volume_id) from error
            except DeviceError as error:
                raise ServiceError("InternalError", f"Volume {volume_id}: {error}") from error
            finally:
                self._watch_captures(held)

    def _hold_and_copy(self, volume_id: str) -> HeldVolume:
        """The volume, opened; copies of it that were interrupted go on."""
        held = self._hold(volume_id)
        if held.live.pending_snapshots:
            self._watch_captures(held)
        return held

    def _watch_captures(self, held: HeldVolume) -> None:
        """Have a thread wait for the copies of a held volume, unless there is one."""
        held.budget.snapshot_in_progress = True
        if not held.copy_keeper:
            held.copy_keeper = self._keep(held.volume_id)
            watcher = threading.Thread(
                target=self._watch, args=(held,), name=f"snapshot {held.volume_id}", daemon=True
            )
            self._watchers[held.volume_id] = watcher
            watcher.start()

    def _watch(self, held: HeldVolume) -> None:
        """Wait until no copy of the volume is pending, then let go of it."""
        while not self._closing.is_set():
            held.live.wait_snapshots(POLL_S)
            with self._lock:
                if self._closing.is_set() or self._end_copies(held):
                    break
        if self._closing.is_set():
            return
        with suppress(ServiceError):
            self._note_completions()
            self._run_jobs()  # a deleted volume whose files were needed until now

    def _end_copies(self, held: HeldVolume) -> bool:
        """Under the lock: False while there is something to wait for still."""
        is_here = self._held.get(held.volume_id) is held
        if is_here and held.live.pending_snapshots:
            return False
        if self._watchers.get(held.volume_id) is threading.current_thread():
            del self._watchers[held.volume_id]
        if not is_here:
            return True  # another process goes on with them
        held.budget.snapshot_in_progress = False
        keeper, held.copy_keeper = held.copy_keeper, ""
        self._unkeep(held.volume_id, keeper)
        return True

    def _resume_copies(self) -> None:
        """Go on with the copies of volumes that no living process has open."""
        with self._read() as (connection, _):
            known = map_statuses(connection).values()
        volumes = {one.volume for one in known if one.state == "pending"} - {""}
        if not volumes:
            return
        self._forget_the_dead()
        with self._read() as (connection, _):
            opened = {row["volume_id"] for row in connection.execute("SELECT * FROM opens")}
        for volume_id in sorted(volumes - opened):
            with self._lock, suppress(ServiceError):
                if not self._closing.is_set():
                    # One that had nothing left to copy need not stay open.
                    self._let_go_if_idle(self._hold_and_copy(volume_id))

    def _join_watchers(self) -> None:
        """Wait for the threads to notice that the region is being closed."""
        for watcher in list(self._watchers.values()):
            watcher.join()
        self._watchers.clear()

    def _look_after_snapshots(self) -> None:
        """What passes with time, or that a dead process left: whoever looks finishes it."""
        self._strike_unbegun()
        self._expire_direct()
        self._resume_copies()
        self._note_completions()

    def _described(self, snapshot_id: str) -> Snapshot:
        with self._read() as (connection, now_ns):
            return self._snapshot(connection, snapshot_id, now_ns)

    def _strike_unbegun(self) -> None:
        """Remove rows that a process wrote and died before it began the snapshot."""
        with self._read() as (connection, _):
            found = connection.execute(
                "SELECT snapshot_id, worker FROM snapshots WHERE completed_ns IS NULL"
            ).fetchall()
            known = map_statuses(connection) if found else {}
        dead = self._owner.dead({row["worker"] for row in found})
        unbegun = [
            row["snapshot_id"]
            for row in found
            if row["worker"] in dead and row["snapshot_id"] not in known
        ]
        if unbegun:
            self._strike_snapshots(unbegun)

    def _expire_direct(self) -> None:
        """Fail the snapshots whose timeout has passed: whoever looks does it."""
        with self._read() as (connection, now_ns):
            late = connection.execute(
                "SELECT snapshot_id FROM snapshots WHERE kind = 'direct'"
                " AND completed_ns IS NULL AND last_put_ns + timeout_ns < ?",
                (now_ns,),
            ).fetchall()
        for row in late:
            with suppress(NotPendingError, KeyError):
                self._store.draft(row["snapshot_id"]).fail(TIMED_OUT)

    def _strike_snapshots(self, snapshot_ids: Sequence[str]) -> None:
        """Undo rows of snapshots that were not begun, or only in part of a set."""
        with self._write() as (connection, _):
            for snapshot_id in snapshot_ids:
                connection.execute("DELETE FROM snapshots WHERE snapshot_id = ?", (snapshot_id,))
                connection.execute("DELETE FROM tags WHERE resource_id = ?", (snapshot_id,))
                self._add_job(connection, "delete-snapshot", snapshot_id)
        self._run_jobs()

    def _note_completions(self) -> None:
        """Write down when snapshots were completed, as soon as somebody notices."""
        with self._read() as (connection, _):
            unnoted = connection.execute(
                "SELECT snapshot_id FROM snapshots WHERE completed_ns IS NULL"
            ).fetchall()
            known = map_statuses(connection) if unnoted else {}
        done = [
            (self._clock.now_ns(), row["snapshot_id"])
            for row in unnoted
            if row["snapshot_id"] in known and known[row["snapshot_id"]].state == "completed"
        ]
        if done:
            with self._database.write() as connection:
                connection.executemany(
                    "UPDATE snapshots SET completed_ns = ?"
                    " WHERE snapshot_id = ? AND completed_ns IS NULL",
                    done,
                )


def too_many_pending(volume_id: str) -> ServiceError:
    """What EC2 says when as many snapshots of a volume are pending as may be."""
    return ServiceError(
        "ConcurrentSnapshotLimitExceeded",
        f"Maximum allowed in-progress snapshots for volume {volume_id} exceeded.",
    )
