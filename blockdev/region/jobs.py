"""File work that follows a verb: written down with it, done after it, struck off when done.

A verb's transaction holds its jobs.  The process that wrote them does them as soon as the
transaction is committed; if it is killed before it struck them off, whoever next opens the
region (or notices that the process is dead) does them again, so each can be done twice:

================  ==============================================================
make-volume       the files of a new volume; its snapshot is pinned
remove-volume     those of a deleted one, when no copy reads from them any more
delete-snapshot   its map, and the blocks that no other snapshot needs
remove-disk       the file of an instance-store disk whose data is lost
fail-copy         only if its process died: a copy of a snapshot that it was making
unpin             likewise: the source of a copy, which it had pinned
================  ==============================================================

One process works on jobs at a time: it holds the lock of ``jobs.lock``.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from blockdev.errors import DeviceError
from blockdev.folder_lock import FolderLock, VolumeHeldError
from blockdev.live import LiveVolume
from blockdev.model import GIB, ServiceError
from blockdev.refs import NotPendingError
from blockdev.region.base import RegionBase
from blockdev.region.database import Connection
from blockdev.region.rows import Row
from blockdev.snapshot_status import MapStatus, statuses

_AFTER_DEATH: Final = frozenset({"fail-copy", "unpin"})

CAPTURE: Final = "#capture"
"""The instance under which a volume is opened while a snapshot of it is copied."""


class Jobs(RegionBase):
    """Jobs, and what dead processes left behind."""

    def _add_job(self, connection: Connection, kind: str, target: str) -> None:
        connection.execute(
            "INSERT INTO jobs (kind, target, owner, created_ns) VALUES (?, ?, ?, ?)",
            (kind, target, self._owner.name, self._clock.now_ns()),
        )

    def _run_jobs(self) -> None:
        """Do what this process has to do, and what dead ones left; in order, each once."""
        with self._alone("jobs.lock"):
            last = 0
            while (row := self._next_job(last)) is not None:
                last = row["job_id"]
                self._run_job(row)

    def _next_job(self, after: int) -> Row | None:
        """The first job after `after` that this process may do."""
        with self._read() as (connection, _):
            found = connection.execute(
                "SELECT * FROM jobs WHERE job_id > ? ORDER BY job_id", (after,)
            ).fetchall()
        others = {row["owner"] for row in found} - {self._owner.name}
        dead = self._owner.dead(others)
        return next(
            (
                row
                for row in found
                if row["owner"] in dead
                or (row["owner"] == self._owner.name and row["kind"] not in _AFTER_DEATH)
            ),
            None,
        )

    def _run_job(self, row: Row) -> None:
        kind, target = row["kind"], row["target"]
        if kind == "make-volume":
            self._make_volume(target)
        elif kind == "remove-volume":
            if not self._remove_volume(target):
                return  # a copy still reads from it: whoever ends that comes here again
        elif kind == "delete-snapshot":
            with suppress(KeyError):
                self._store.delete(target)
        elif kind == "remove-disk":
            (self._path / "instances" / target).unlink(missing_ok=True)
        elif kind == "fail-copy":
            self._fail_copy(target)
        elif kind == "unpin":
            self._store.unpin_all(target)
        with self._write() as (connection, _):
            connection.execute("DELETE FROM jobs WHERE job_id = ?", (row["job_id"],))

    def _strike_job(self, kind: str, target: str) -> None:
        """Strike off what is not to be done any more."""
        with self._database.write() as connection:
            connection.execute("DELETE FROM jobs WHERE kind = ? AND target = ?", (kind, target))

    def _fail_copy(self, snapshot_id: str) -> None:
        """Give up a snapshot that is still pending although nobody makes it any more."""
        with suppress(NotPendingError, KeyError):
            self._store.draft(snapshot_id).fail("the copy was interrupted")

    def _volume_folder(self, volume_id: str) -> Path:
        return self._path / "volumes" / volume_id

    def _make_volume(self, volume_id: str) -> None:
        """A volume whose files cannot be made is one in the state ``error``."""
        with self._read() as (connection, _):
            row = connection.execute(
                "SELECT * FROM volumes WHERE volume_id = ?", (volume_id,)
            ).fetchone()
        if row is None or row["files_made"]:
            return
        failure = ""
        try:
            LiveVolume.create(
                self._volume_folder(volume_id),
                size_bytes=row["size_gib"] * GIB,
                volume=volume_id,
                store=self._store,
                origin_id=row["snapshot_id"],
            )
        except (DeviceError, OSError) as error:
            failure = str(error)
        with self._database.write() as connection:
            connection.execute(
                "UPDATE volumes SET files_made = 1, failure = ? WHERE volume_id = ?",
                (failure, volume_id),
            )

    def _remove_volume(self, volume_id: str) -> bool:
        """False while a snapshot of the volume is being copied from these files."""
        self._forget_the_dead()
        with self._read() as (connection, _):
            opened = connection.execute(
                "SELECT 1 FROM opens WHERE volume_id = ?", (volume_id,)
            ).fetchone()
            pending = pending_snapshots(connection, volume_id)
        if opened is not None or pending:
            return False
        try:
            _remove_folder(self._volume_folder(volume_id))
        except VolumeHeldError:
            return False
        self._store.unpin_all(volume_id)
        with self._database.write() as connection:
            connection.execute(
                "UPDATE volumes SET files_made = 0 WHERE volume_id = ?", (volume_id,)
            )
        return True

    def _forget_the_dead(self) -> None:
        """Strike off what dead processes had open; nothing is written when there is none."""
        with self._read() as (connection, _):
            rows = connection.execute("SELECT DISTINCT owner FROM opens").fetchall()
        dead = self._owner.dead({row["owner"] for row in rows})
        if dead:
            with self._database.write() as connection:
                connection.executemany(
                    "DELETE FROM opens WHERE owner = ?", [(name,) for name in dead]
                )

    def _check_not_open(self, connection: Connection, volume_id: str) -> None:
        """Raise VolumeInUse while a caller has the volume open; copies do not count."""
        found = connection.execute(
            "SELECT 1 FROM opens WHERE volume_id = ? AND instance_id <> ?", (volume_id, CAPTURE)
        ).fetchone()
        if found is not None:
            raise ServiceError("VolumeInUse", f"Volume {volume_id} is open in a process.")

    @contextmanager
    def _alone(self, lock: str) -> Iterator[None]:
        """Exclusive among all threads of all processes that have the region open."""
        fd = os.open(self._path / lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            os.close(fd)


def map_statuses(connection: Connection, ids: Sequence[str] | None = None) -> dict[str, MapStatus]:
    """How far the making of snapshots is, in the view of this transaction.

    Not by way of `SnapshotStore`, which has connections and locks of its own: a thread that
    waits there for our transaction must not be waited for within it.
    """
    if ids is not None and len(ids) == 1:
        return {one.snapshot_id: one for one in statuses(connection, ids[0])}
    wanted = None if ids is None else set(ids)
    return {
        one.snapshot_id: one
        for one in statuses(connection)
        if wanted is None or one.snapshot_id in wanted
    }


def pending_snapshots(connection: Connection, volume_id: str) -> list[str]:
    """Snapshots whose copy still reads from the volume's files."""
    return [
        one.snapshot_id
        for one in statuses(connection)
        if one.volume == volume_id and one.state == "pending"
    ]


def _remove_folder(folder: Path) -> None:
    """Remove a volume's folder, under its lock; once more after a crash is fine.

    It is renamed first, so that nobody puts a lock or a socket into it meanwhile.
    """
    doomed = folder.with_name(f".{folder.name}")
    if folder.is_dir():
        lock = FolderLock.acquire(folder)
        try:
            folder.rename(doomed)
        finally:
            lock.release()
    if doomed.is_dir():
        shutil.rmtree(doomed)
        _sync_folder(folder.parent)


def _sync_folder(path: Path) -> None:
    """Make what was removed from a folder stay removed."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
