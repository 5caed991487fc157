"""CopySnapshot: within a region only rows, from another one all blocks that are not here yet.

The copy is made by a thread of the process that asked.  The source is pinned meanwhile, so
that its deletion takes no block away.  A process that dies leaves a copy that fails, in
state ``error``, and a pin that is undone; both are written down as jobs beforehand.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from blockdev.model import ServiceError, Snapshot
from blockdev.region import limits
from blockdev.region.base import Surroundings
from blockdev.region.captures import Captures
from blockdev.region.database import Connection
from blockdev.region.snapshots import check_description, check_snapshot_room
from blockdev.region.volumes import DEFAULT_KEY

if TYPE_CHECKING:
    from blockdev.service import Region

COPIED_VOLUME: Final = "vol-ffffffff"
"""CopySnapshot [B]: copies "have an arbitrary source volume ID"; this is the one they have."""


class _RegionClosed(Exception):
    """Ends a copy whose region is being closed."""


class CopyVerbs(Captures):
    """Copies of snapshots."""

    def __init__(self, surroundings: Surroundings) -> None:
        super().__init__(surroundings)
        self._copiers: dict[str, threading.Thread] = {}

    def copy_snapshot(
        self,
        source_snapshot_id: str,
        *,
        source_region: Region | None = None,
        description: str = "",
        encrypted: bool = False,
        kms_key_id: str = "",
        tags: Mapping[str, str] = {},
        client_token: str = "",
    ) -> Snapshot:
        """Copy a completed snapshot into this region, from this one or `source_region`.

        The answer is pending; `wait_snapshot` waits.  Both regions stay open until then: a
        copy whose region is closed fails.

        Raises:
            ServiceError: InvalidSnapshot.NotFound (also: not shared with this account),
                IncorrectState (not completed, or archived), InvalidParameterDependency,
                InvalidParameterValue, ResourceLimitExceeded, SnapshotLimitExceeded,
                IdempotentParameterMismatch.
        """
        source_owner: CopyVerbs = self if source_region is None else source_region
        source = source_owner._copyable(source_snapshot_id, self.account_id)
        check_description(description)
        if kms_key_id and not encrypted:
            raise ServiceError(
                "InvalidParameterDependency",
                "The parameter KmsKeyId requires the parameter Encrypted to be set.",
            )
        key = _key_of(source, encrypted=encrypted, kms_key_id=kms_key_id)
        arguments = {
            "source": [str(source_owner.path), source_snapshot_id],
            "description": description,
            "key": key,
            "tags": dict(tags),
        }
        with self._lock:
            self._check_region_open()
            self._check_copiers()
            with self._write() as (connection, now_ns):
                (snapshot_id,), is_new = self._once(
                    connection,
                    "CopySnapshot",
                    client_token,
                    arguments,
                    lambda: [self._insert_copy(connection, now_ns, source, description, key, tags)],
                )
            if is_new:
                self._start_copy(source_owner, source_snapshot_id, snapshot_id)
        return self._described(snapshot_id)

    def _copyable(self, snapshot_id: str, account_id: str) -> Snapshot:
        """A snapshot of this region that the account may copy."""
        with self._read() as (connection, now_ns):
            found = self._snapshot(connection, snapshot_id, now_ns)
        shared = found.is_public or account_id in (found.owner_id, *found.shared_with)
        if not shared:
            raise ServiceError(
                "InvalidSnapshot.NotFound", f"The snapshot '{snapshot_id}' does not exist."
            )
        self._check_usable(found)
        return found

    def _insert_copy(
        self,
        connection: Connection,
        now_ns: int,
        source: Snapshot,
        description: str,
        key: str,
        tags: Mapping[str, str],
    ) -> str:
        check_snapshot_room(connection)
        snapshot_id = self._new_id(connection, "snap")
        connection.execute(
            "INSERT INTO snapshots (snapshot_id, volume_id, volume_size_gib, kind, lineage,"
            " started_ns, owner_id, description, encrypted, kms_key_id, parent_id, worker)"
            " VALUES (?, ?, ?, 'copy', ?, ?, ?, ?, ?, ?, '', ?)",
            (
                *(snapshot_id, COPIED_VOLUME, source.volume_size_gib),
                *(self._lineage_of(connection, source), now_ns, self._account_id, description),
                *(bool(key), key, self._owner.name),
            ),
        )
        self._tag(connection, snapshot_id, tags)
        self._add_job(connection, "fail-copy", snapshot_id)
        return snapshot_id

    def _lineage_of(self, connection: Connection, source: Snapshot) -> str:
        """The source's, if it is of this region; one from elsewhere begins its own."""
        row = connection.execute(
            "SELECT lineage FROM snapshots WHERE snapshot_id = ?", (source.snapshot_id,)
        ).fetchone()
        return source.snapshot_id if row is None else str(row["lineage"])

    def _check_copiers(self) -> None:
        if len(self._copiers) >= limits.MAX_COPIES:
            raise ServiceError(
                "ResourceLimitExceeded",
                f"{limits.MAX_COPIES} copies are being made; wait until one is completed.",
            )

    def _start_copy(self, source: CopyVerbs, source_id: str, snapshot_id: str) -> None:
        """Pin the source and let a thread copy it."""
        with source._database.write() as connection:
            source._add_job(connection, "unpin", snapshot_id)
        with suppress(KeyError):  # deleted since we looked: the thread finds that out again
            source._store.pin(source_id, snapshot_id)
        copier = threading.Thread(
            target=self._copy,
            args=(source, source_id, snapshot_id),
            name=f"copy {snapshot_id}",
            daemon=True,
        )
        self._copiers[snapshot_id] = copier
        copier.start()

    def _copy(self, source: CopyVerbs, source_id: str, snapshot_id: str) -> None:
        """Copy the blocks; the store says how it went.  Runs in a thread of its own."""

        def progress(_: int) -> None:
            if self._closing.is_set() or source._closing.is_set():
                raise _RegionClosed("the region was closed before the copy was done")

        try:
            # What goes wrong is the snapshot's state, not an error of anybody's call.
            with suppress(Exception):
                self._store.copy(source._store, source_id, snapshot_id, progress=progress)
            with suppress(ServiceError):
                self._end_copy(source, snapshot_id)
        finally:
            with self._lock:
                self._copiers.pop(snapshot_id, None)

    def _end_copy(self, source: CopyVerbs, snapshot_id: str) -> None:
        """Undo the pin, and strike off what is to be done if we had died."""
        self._fail_copy(snapshot_id)
        source._store.unpin_all(snapshot_id)
        source._strike_job("unpin", snapshot_id)
        self._strike_job("fail-copy", snapshot_id)
        self._note_completions()

    def _join_copiers(self) -> None:
        """Wait for copies to notice that the region is being closed, and to fail."""
        for copier in list(self._copiers.values()):
            copier.join()


def _key_of(source: Snapshot, *, encrypted: bool, kms_key_id: str) -> str:
    """The key of the copy, empty for none: what is encrypted stays so."""
    if kms_key_id:
        return kms_key_id
    if source.encrypted:
        return source.kms_key_id
    return DEFAULT_KEY if encrypted else ""
