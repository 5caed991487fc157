"""Is the region whole?  Rows against rows, rows against files, blocks against counts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from blockdev import profiles
from blockdev.model import GIB, ServiceError
from blockdev.region import rows
from blockdev.region.captures import Captures
from blockdev.region.database import Connection
from blockdev.region.jobs import map_statuses

CONFIRMATIONS: Final = 2
"""How often a problem must be found again."""


class CheckVerbs(Captures):
    """What `blockdev check` does."""

    def check(self, *, verify_blocks: bool = True) -> list[str]:
        """Everything that is not as it must be, a sentence each; empty if all is well.

        Reads every block of every snapshot unless `verify_blocks` is False.  What a dead
        process left behind is finished or undone first.  What others are doing meanwhile is
        not a problem: only what is found each of several times is told.
        """
        found = self._problems(verify_blocks)
        for _ in range(CONFIRMATIONS):
            if not found:
                break
            again = set(self._problems(verify_blocks))
            found = [problem for problem in found if problem in again]
        return found

    def _problems(self, verify_blocks: bool) -> list[str]:
        """What is wrong at this moment, or seems to be."""
        self._forget_the_dead()
        self._run_jobs()
        self._store.recover()
        self._look_after_snapshots()
        with self._read() as (connection, _):
            problems = [
                *self._integrity(connection),
                *self._volume_problems(connection),
                *self._snapshot_problems(connection),
                *self._disk_problems(connection),
                *_orphans(connection),
            ]
        return problems + self._store.check(verify_blocks=verify_blocks)

    def _integrity(self, connection: Connection) -> Iterator[str]:
        for (line,) in connection.execute("PRAGMA integrity_check(10)"):
            if line != "ok":
                yield f"database: {line}"
        for table, _, parent, _ in connection.execute("PRAGMA foreign_key_check"):
            yield f"database: a row of {table} refers to a row of {parent} that is not there"

    def _volume_problems(self, connection: Connection) -> Iterator[str]:
        """Files without rows, rows without files, and volumes that no type allows."""
        found = {row["volume_id"]: row for row in connection.execute("SELECT * FROM volumes")}
        folders = {path.name for path in (self._path / "volumes").iterdir()}
        for name in sorted(folders - set(found)):
            yield f"volumes/{name}: there is no such volume"
        for volume_id, row in sorted(found.items()):
            yield from self._one_volume(volume_id, row)

    def _one_volume(self, volume_id: str, row: rows.Row) -> Iterator[str]:
        try:
            profiles.resolve(rows.spec_of(row))
        except ServiceError as error:
            yield f"{volume_id}: {error.message}"
        if row["deleted_ns"] is not None and not row["files_made"]:
            if self._volume_folder(volume_id).exists():
                yield f"volumes/{volume_id}: the volume is deleted, its files are not"
            return
        if not row["files_made"] or row["failure"]:
            return
        folder = self._volume_folder(volume_id)
        for name in ("data", "map"):
            if not (folder / name).is_file():
                yield f"{volume_id}: its file {name} is missing"
        data = folder / "data"
        if data.is_file() and data.stat().st_size > row["size_gib"] * GIB:
            yield f"{volume_id}: its file is larger than {row['size_gib']} GiB"

    def _snapshot_problems(self, connection: Connection) -> Iterator[str]:
        """Rows of one side that the other side does not know."""
        found = {row["snapshot_id"]: row for row in connection.execute("SELECT * FROM snapshots")}
        known = map_statuses(connection)
        going = {row["target"] for row in connection.execute("SELECT target FROM jobs")}
        for snapshot_id in sorted(set(known) - set(found) - going):
            yield f"{snapshot_id}: it has blocks, but there is no such snapshot"
        for snapshot_id, row in sorted(found.items()):
            status = known.get(snapshot_id)
            if status is None:
                if self._owner.dead({row["worker"]}):
                    yield f"{snapshot_id}: it was never begun"
            elif status.size_bytes != row["volume_size_gib"] * GIB:
                yield f"{snapshot_id}: its map is one of {status.size_bytes} bytes"

    def _disk_problems(self, connection: Connection) -> Iterator[str]:
        """Files of instance-store disks whose data is lost, but which are still there."""
        alive = {
            f"{row['instance_id']}/disk-{row['disk_index']}.{row['generation']}"
            for row in connection.execute("SELECT * FROM instance_disks")
        }
        folder = self._path / "instances"
        for path in sorted(folder.glob("*/*")):
            name = str(path.relative_to(folder))
            if name not in alive:
                yield f"instances/{name}: no disk has this file"


def _orphans(connection: Connection) -> Iterator[str]:
    """Rows that speak of something that has no row."""
    query = (
        "SELECT DISTINCT resource_id FROM tags WHERE resource_id NOT IN"
        " (SELECT volume_id FROM volumes UNION SELECT snapshot_id FROM snapshots"
        " UNION SELECT instance_id FROM instances)"
    )
    for (resource_id,) in connection.execute(query):
        yield f"{resource_id}: it has tags, but there is no such resource"
    single = (
        "SELECT volume_id, count(*) FROM attachments JOIN volumes USING (volume_id)"
        " WHERE NOT multi_attach AND detached_ns IS NULL GROUP BY volume_id HAVING count(*) > 1"
    )
    for volume_id, count in connection.execute(single):
        yield f"{volume_id}: it is attached to {count} instances without Multi-Attach"
