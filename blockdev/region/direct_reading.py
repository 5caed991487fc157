"""The EBS direct APIs that read: ListSnapshotBlocks, ListChangedBlocks, GetSnapshotBlock."""

from __future__ import annotations

from collections.abc import Iterator

from blockdev.errors import DeviceError
from blockdev.region.captures import Captures
from blockdev.region.direct_errors import as_direct_errors, internal, invalid, not_found
from blockdev.region.rows import Row
from blockdev.snapshot_map import SnapshotMap


class DirectReads(Captures):
    """Snapshots read block by block; what one does not hold reads as zero and is not listed."""

    def list_snapshot_blocks(
        self, snapshot_id: str, *, start_index: int = 0
    ) -> Iterator[tuple[int, bytes]]:
        """Index and digest (XXH3-128) of each block that a snapshot holds, in order.

        The arguments are checked by the call; no transaction is open while it is walked.

        Raises:
            ServiceError: ResourceNotFoundException, ValidationException (INVALID_SNAPSHOT_ID:
                not completed, or archived).
        """
        self._readable(snapshot_id)
        map_ = self._open_map(snapshot_id)

        def blocks() -> Iterator[tuple[int, bytes]]:
            with map_:
                yield from map_.entries(start_index)

        return blocks()

    def list_changed_blocks(
        self, first_snapshot_id: str | None, second_snapshot_id: str, *, start_index: int = 0
    ) -> Iterator[tuple[int, bytes | None, bytes | None]]:
        """Where two snapshots of one lineage differ: index, digest in the first, in the second.

        None stands for a block that is not there.  Without a first one every block of the
        second is listed.

        Raises:
            ServiceError: as `list_snapshot_blocks`; ValidationException with
                UNRELATED_SNAPSHOTS.
        """
        second = self._readable(second_snapshot_id)
        if first_snapshot_id and self._readable(first_snapshot_id)["lineage"] != second["lineage"]:
            raise invalid(
                "UNRELATED_SNAPSHOTS",
                f"{first_snapshot_id} and {second_snapshot_id} are not of one lineage.",
            )
        return self._store.diff(first_snapshot_id or "", second_snapshot_id, start_index)

    def get_snapshot_block(self, snapshot_id: str, index: int) -> bytes:
        """The 512 KiB of a block, verified.

        Raises:
            ServiceError: as `list_snapshot_blocks`; ValidationException with INVALID_BLOCK
                (the snapshot does not hold it), InternalServerException (it is lost or
                spoilt in the block store).
        """
        self._readable(snapshot_id)
        with self._open_map(snapshot_id) as map_:
            digest = map_.get(index)
        if digest is None:
            raise invalid("INVALID_BLOCK", f"{snapshot_id} does not hold block {index}.")
        try:
            return self._store.blocks.get(digest)
        except DeviceError as error:
            raise internal(error) from error

    def _find_direct(self, snapshot_id: str) -> Row:
        """The row of a snapshot; raises ResourceNotFoundException."""
        with self._read() as (connection, _):
            row: Row | None = connection.execute(
                "SELECT * FROM snapshots WHERE snapshot_id = ?", (snapshot_id,)
            ).fetchone()
        if row is None:
            raise not_found(snapshot_id)
        return row

    def _readable(self, snapshot_id: str) -> Row:
        """The row of a snapshot whose blocks can be read."""
        row = self._find_direct(snapshot_id)
        with as_direct_errors(), self._read() as (connection, now_ns):
            self._check_usable(self._snapshot(connection, snapshot_id, now_ns))
        return row

    def _open_map(self, snapshot_id: str) -> SnapshotMap:
        try:
            return self._store.open_map(snapshot_id)
        except KeyError:
            raise not_found(snapshot_id) from None
        except DeviceError as error:
            raise internal(error) from error
