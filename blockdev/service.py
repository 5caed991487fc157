"""A region: volumes, snapshots, instances and their disks, in a folder.

The only thing that the faces call (the command, EC2's query API, the EBS direct APIs, NBD).
Verbs and their errors are EC2's; where they differ is told in docs/ebs.md.  The verbs are
in `blockdev.region`, a family a file.

Any number of processes may have one region open, and any of them may be killed: each verb
is one transaction, and what it does to files is finished or undone by whoever looks next.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from blockdev.blocks import FILES, BlockStore, FileBlockStore, location_of
from blockdev.clock import Clock, SystemClock
from blockdev.entropy import Entropy, SystemEntropy
from blockdev.model import ServiceError
from blockdev.region.base import Surroundings
from blockdev.region.check import CheckVerbs
from blockdev.region.copies import CopyVerbs
from blockdev.region.database import Database, keep_location
from blockdev.region.direct import DirectVerbs
from blockdev.region.fast_restores import FastRestoreVerbs
from blockdev.region.instances import InstanceVerbs
from blockdev.region.modifications import ModificationVerbs
from blockdev.region.owners import Owner
from blockdev.region.schema import SCHEMA, VERSION
from blockdev.region.sharing import SharingVerbs
from blockdev.region.snapshot_sets import SnapshotSetVerbs
from blockdev.region.tags import TagVerbs
from blockdev.region.usage import StorageUsage, UsageVerbs
from blockdev.region.volumes import VolumeStatus
from blockdev.snapshot import SnapshotStore
from blockdev.volume import Timings

__all__ = ["DATABASE", "Region", "ServiceError", "StorageUsage", "Timings", "VolumeStatus"]

DATABASE: Final = "region.sqlite"
"""The rows, in the region's folder."""


class Region(
    InstanceVerbs,
    ModificationVerbs,
    SnapshotSetVerbs,
    CopyVerbs,
    SharingVerbs,
    FastRestoreVerbs,
    DirectVerbs,
    UsageVerbs,
    CheckVerbs,
    TagVerbs,
):
    """An open region; make one with `open`.  Share it between threads.

    Not to be used in a child after ``fork``: open it there.
    """

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        *,
        name: str = "us-east-1",
        clock: Clock | None = None,
        entropy: Entropy | None = None,
        account_id: str = "000000000000",
        blocks: BlockStore | None = None,
        timings: Timings | None = None,
    ) -> Region:
        """Open the region in the folder `path`, making it if there is none.

        `name` and `account_id` are those of a new region; one that exists keeps its own.
        `blocks`: where the blocks of snapshots are, the folder's own files if None.
        It must be where they were before, unless there are no snapshots yet.
        `timings`: how long passing states last; see `Timings`.

        Raises:
            ServiceError: InternalError: the folder holds no region of this format,
                or its blocks are in another store than `blocks`.
            OSError: the folder cannot be made or read.
        """
        folder = Path(path)
        for part in (folder, folder / "volumes", folder / "instances"):
            part.mkdir(parents=True, exist_ok=True)
        database = Database(folder / DATABASE, SCHEMA, VERSION)
        entropy = entropy or SystemEntropy()
        name, account_id = _identity(database, name, account_id)
        store = _snapshots(folder, database, blocks)
        region = cls(
            Surroundings(
                path=folder,
                name=name,
                account_id=account_id,
                clock=clock or SystemClock(),
                entropy=entropy,
                timings=timings or Timings(),
                database=database,
                owner=Owner(folder / "owners", entropy),
                store=store,
            )
        )
        region._recover()
        return region

    def close(self) -> None:
        """Close what is open, volumes and disks included; idempotent.

        Copies of snapshots stop, and go on when the region is next opened.
        """
        if self._closing.is_set():
            return
        self._closing.set()
        self._close_disks()
        self._close_volumes()
        self._join_watchers()
        self._join_copiers()
        self._join_saver()
        self._store.close()
        self._owner.close()
        self._database.close()

    def __enter__(self) -> Region:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _recover(self) -> None:
        """Finish or undo what processes that died left half done."""
        self._owner.sweep()
        self._forget_the_dead()
        self._store.recover()
        self._run_jobs()
        self._look_after_snapshots()


def _snapshots(folder: Path, database: Database, blocks: BlockStore | None) -> SnapshotStore:
    """The snapshots, over the block store that the region has had so far."""
    if blocks is None:
        blocks = FileBlockStore.open(folder / "blocks")
    store = SnapshotStore.open(folder / DATABASE, folder / "snapshots", blocks)
    try:
        keep_location(database, location_of(blocks), FILES)
    except ServiceError:
        store.close()
        database.close()
        raise
    return store


def _identity(database: Database, name: str, account_id: str) -> tuple[str, str]:
    """The name and account that a region was made with, now at the latest."""
    with database.write() as connection:
        row = connection.execute("SELECT name, account_id FROM region").fetchone()
        if row is None:
            connection.execute("INSERT INTO region VALUES (?, ?)", (name, account_id))
            return name, account_id
        return row["name"], row["account_id"]
