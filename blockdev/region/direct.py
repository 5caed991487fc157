"""The EBS direct APIs that write: StartSnapshot, PutSnapshotBlock, CompleteSnapshot.

Errors are those of the ``ebs`` service model of botocore: ValidationException,
ResourceNotFoundException and ConflictException with their reasons.  Blocks are 512 KiB;
what a snapshot does not hold reads as zero and is not listed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from blockdev.errors import DeviceError
from blockdev.model import GIB, SNAPSHOT_BLOCK_BYTES, Snapshot
from blockdev.refs import NotPendingError
from blockdev.region.base import Surroundings
from blockdev.region.captures import TIMED_OUT
from blockdev.region.copies import COPIED_VOLUME
from blockdev.region.database import Connection
from blockdev.region.direct_counting import DirectPut, seal
from blockdev.region.direct_errors import (
    as_direct_errors,
    internal,
    invalid,
    not_found,
    not_writable,
)
from blockdev.region.direct_reading import DirectReads
from blockdev.region.jobs import map_statuses
from blockdev.region.rows import Row
from blockdev.region.snapshots import check_description, check_snapshot_room
from blockdev.region.volumes import DEFAULT_KEY

TIMEOUT_MINUTES: Final = (10, 4320)
"""StartSnapshot, Timeout [B]: 10 to 4,320 minutes, 60 if none is given."""

MAX_SIZE_GIB: Final = 65_536
"""StartSnapshot, VolumeSize [B]: "The maximum size is 65536 GiB (64 TiB)"."""

COMPLETE_LOCK: Final = "complete.lock"
"""The file whose lock who completes a snapshot holds."""

_MINUTE_NS: Final = 60 * 10**9


class DirectVerbs(DirectReads):
    """StartSnapshot, PutSnapshotBlock, CompleteSnapshot, and reading."""

    def __init__(self, surroundings: Surroundings) -> None:
        super().__init__(surroundings)
        self._puts: dict[tuple[str, int], bytes] = {}

    def start_snapshot(
        self,
        *,
        volume_size_gib: int,
        parent_snapshot_id: str = "",
        description: str = "",
        tags: Mapping[str, str] = {},
        client_token: str = "",
        timeout_minutes: int = 60,
        encrypted: bool = False,
        kms_key_id: str = "",
    ) -> Snapshot:
        """Begin a snapshot to be written block by block, over the blocks of a parent if any.

        It fails by itself `timeout_minutes` after the last block was written.

        Raises:
            ServiceError: ValidationException (INVALID_VOLUME_SIZE, INVALID_PARAMETER_VALUE,
                INVALID_SNAPSHOT_ID, INVALID_TAG), ResourceNotFoundException
                (SNAPSHOT_NOT_FOUND), ConflictException (the client token).
        """
        _check_start(volume_size_gib, parent_snapshot_id, timeout_minutes, encrypted, kms_key_id)
        arguments = {
            "size": volume_size_gib,
            "parent": parent_snapshot_id,
            "description": description,
            "tags": dict(tags),
            "timeout": timeout_minutes,
            "key": kms_key_id if encrypted else "",
            "encrypted": encrypted,
        }
        key = (kms_key_id or DEFAULT_KEY) if encrypted else ""
        with as_direct_errors(), self._write() as (connection, now_ns):
            parent = self._parent(connection, now_ns, parent_snapshot_id, volume_size_gib)
            (snapshot_id,), is_new = self._once(
                connection,
                "StartSnapshot",
                client_token,
                arguments,
                lambda: [
                    self._insert_direct(
                        *(connection, now_ns, volume_size_gib, parent, description),
                        *(tags, timeout_minutes, parent.kms_key_id if parent else key),
                    )
                ],
            )
        if is_new:
            self._begin_direct(snapshot_id, volume_size_gib, parent_snapshot_id)
        return self._described(snapshot_id)

    def put_snapshot_block(self, snapshot_id: str, index: int, data: bytes) -> None:
        """Write block `index` (512 KiB) of a snapshot that was started; durable on return.

        Raises:
            ServiceError: ResourceNotFoundException (SNAPSHOT_NOT_FOUND), ValidationException
                (INVALID_SNAPSHOT_ID: not begun by StartSnapshot, or complete;
                WRITE_REQUEST_TIMEOUT; INVALID_BLOCK; INVALID_PARAMETER_VALUE;
                CONFLICTING_BLOCK_UPDATE: another call writes other data to it right now),
                InternalServerException (the block store failed).
        """
        if len(data) != SNAPSHOT_BLOCK_BYTES:
            raise invalid(
                "INVALID_PARAMETER_VALUE",
                f"A block has {SNAPSHOT_BLOCK_BYTES} bytes, not {len(data)}.",
            )
        row = self._writable(snapshot_id)
        if not 0 <= index < row["volume_size_gib"] * GIB // SNAPSHOT_BLOCK_BYTES:
            raise invalid("INVALID_BLOCK", f"The snapshot has no block {index}.")
        put = DirectPut(snapshot_id, index, data)
        with self._putting((snapshot_id, index), put.sha256):
            try:
                self._store.draft(snapshot_id).put(
                    *(index, data),
                    noted=put.note,
                    stored=lambda connection: put.count(connection, self._clock.now_ns()),
                )
            except (NotPendingError, KeyError) as error:
                raise not_writable(snapshot_id) from error
            except DeviceError as error:
                raise internal(error) from error

    def complete_snapshot(
        self, snapshot_id: str, changed_blocks_count: int, checksum: bytes | None = None
    ) -> str:
        """Seal a snapshot; returns its state, ``completed``.

        `changed_blocks_count`: how many blocks were written.  `checksum`: SHA256 over the
        SHA256 checksums of the blocks that were written, in order of their index (LINEAR).

        Raises:
            ServiceError: as `put_snapshot_block`; INVALID_PARAMETER_VALUE where count or
                checksum do not match what was written, InternalServerException also where a
                block is being written: the snapshot stays as it is.
        """
        # One at a time, also of those for the same snapshot: a client that got no answer asks
        # again while the first call is at work, and both would write the map.
        with self._alone(COMPLETE_LOCK):
            return self._complete(snapshot_id, changed_blocks_count, checksum)

    # How they are done.

    def _complete(self, snapshot_id: str, blocks: int, checksum: bytes | None) -> str:
        row = self._find_direct(snapshot_id)
        if self._state_of(snapshot_id) == "completed" and row["kind"] == "direct":
            return "completed"  # asked for again: its answer was lost
        self._writable(snapshot_id)
        try:
            self._store.draft(snapshot_id).complete(
                lambda connection: seal(connection, snapshot_id, blocks, checksum)
            )
        except NotPendingError as error:
            raise not_writable(snapshot_id) from error
        except (DeviceError, ValueError) as error:
            raise internal(error) from error
        self._note_completions()
        return "completed"

    def _parent(
        self, connection: Connection, now_ns: int, parent_id: str, size_gib: int
    ) -> Snapshot | None:
        """The parent of a snapshot that is started, fit to be one."""
        if not parent_id:
            return None
        parent = self._snapshot(connection, parent_id, now_ns)
        if parent.state != "completed" or parent.tier != "standard":
            raise invalid("INVALID_SNAPSHOT_ID", f"{parent_id} is not completed, or archived.")
        if parent.volume_size_gib > size_gib:
            raise invalid(
                "INVALID_VOLUME_SIZE",
                f"{size_gib} GiB are fewer than the {parent.volume_size_gib} of the parent.",
            )
        return parent

    def _insert_direct(
        self,
        connection: Connection,
        now_ns: int,
        size_gib: int,
        parent: Snapshot | None,
        description: str,
        tags: Mapping[str, str],
        timeout_minutes: int,
        key: str,
    ) -> str:
        check_description(description)
        check_snapshot_room(connection)
        snapshot_id = self._new_id(connection, "snap")
        parent_id = "" if parent is None else parent.snapshot_id
        connection.execute(
            "INSERT INTO snapshots (snapshot_id, volume_id, volume_size_gib, kind, lineage,"
            " started_ns, owner_id, description, encrypted, kms_key_id, parent_id, timeout_ns,"
            " last_put_ns, worker) VALUES (?, ?, ?, 'direct', coalesce((SELECT lineage FROM"
            " snapshots WHERE snapshot_id = ?), ?), ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                *(snapshot_id, COPIED_VOLUME, size_gib, parent_id, snapshot_id, now_ns),
                *(self._account_id, description, bool(key), key, parent_id),
                *(timeout_minutes * _MINUTE_NS, now_ns, self._owner.name),
            ),
        )
        self._tag(connection, snapshot_id, tags)
        return snapshot_id

    def _begin_direct(self, snapshot_id: str, size_gib: int, parent_id: str) -> None:
        try:
            self._store.begin(snapshot_id, size_bytes=size_gib * GIB, base_id=parent_id)
        except (KeyError, ValueError) as error:
            self._strike_snapshots([snapshot_id])
            raise not_found(parent_id) from error

    def _state_of(self, snapshot_id: str) -> str:
        with self._read() as (connection, _):
            status = map_statuses(connection, [snapshot_id]).get(snapshot_id)
        return "pending" if status is None else status.state

    def _writable(self, snapshot_id: str) -> Row:
        """The row of a snapshot that takes blocks still."""
        self._expire_direct()
        row = self._find_direct(snapshot_id)
        if row["kind"] != "direct":
            raise invalid("INVALID_SNAPSHOT_ID", f"{snapshot_id} was not begun with StartSnapshot.")
        with self._read() as (connection, _):
            status = map_statuses(connection, [snapshot_id]).get(snapshot_id)
        if status is None:
            raise not_found(snapshot_id)
        if status.reason == TIMED_OUT:
            raise invalid("WRITE_REQUEST_TIMEOUT", f"{snapshot_id} was not completed in time.")
        if status.state != "pending":
            raise not_writable(snapshot_id)
        return row

    @contextmanager
    def _putting(self, key: tuple[str, int], sha256: bytes) -> Iterator[None]:
        """Let no two calls of this process write different data to one block at a time."""
        with self._lock:
            if self._puts.get(key, sha256) != sha256:
                raise invalid("CONFLICTING_BLOCK_UPDATE", f"Block {key[1]} is being written.")
            self._puts[key] = sha256
        try:
            yield
        finally:
            with self._lock:
                self._puts.pop(key, None)


def _check_start(
    size_gib: int, parent_id: str, timeout_minutes: int, encrypted: bool, kms_key_id: str
) -> None:
    """What StartSnapshot demands of its arguments alone."""
    if not 1 <= size_gib <= MAX_SIZE_GIB:
        raise invalid("INVALID_VOLUME_SIZE", f"A volume has 1 to {MAX_SIZE_GIB} GiB.")
    if parent_id and (encrypted or kms_key_id):
        raise invalid(
            "INVALID_PARAMETER_VALUE",
            "ParentSnapshotId cannot be given together with Encrypted or KmsKeyArn.",
        )
    if kms_key_id and not encrypted:
        raise invalid("INVALID_PARAMETER_VALUE", "KmsKeyArn requires Encrypted.")
    low, high = TIMEOUT_MINUTES
    if not low <= timeout_minutes <= high:
        raise invalid("INVALID_PARAMETER_VALUE", f"Timeout must be {low} to {high} minutes.")
