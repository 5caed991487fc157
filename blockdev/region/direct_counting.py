"""Which blocks of a snapshot were put by the EBS direct APIs: counted, and held against it.

A row of `direct_blocks` stands for a block that is stored.  Rows change within transactions
of `blockdev.refs`, on its connection, so that what is counted is what gets completed.
"""

from __future__ import annotations

import hashlib

from blockdev import refs
from blockdev.block_codec import digest_of, is_zero
from blockdev.region.database import Connection
from blockdev.region.direct_errors import invalid


class DirectPut:
    """A block that is being put, and its row among those that `seal` counts.

    The row goes when the block is noted and comes when it is stored, each in the transaction
    of `blockdev.refs` that says so: a block without one is not counted, and not completed.
    """

    def __init__(self, snapshot_id: str, index: int, data: bytes) -> None:
        self._key = (snapshot_id, index)
        self._digest = refs.ZERO if is_zero(data) else digest_of(data)
        self.sha256 = hashlib.sha256(data).digest()

    def note(self, connection: Connection) -> None:
        """What was there before counts no more."""
        connection.execute(
            "DELETE FROM direct_blocks WHERE snapshot_id = ? AND block_index = ?", self._key
        )

    def count(self, connection: Connection, now_ns: int) -> None:
        """It is stored.

        Raises:
            ServiceError: CONFLICTING_BLOCK_UPDATE: another call has put other data since.
            NotPendingError: the snapshot has failed, or is gone.
        """
        snapshot_id, index = self._key
        if refs.state_of(connection, snapshot_id) == "completed":
            return  # another call has put the same data, which was counted
        refs.require_pending(connection, snapshot_id)
        row = connection.execute(
            "SELECT digest FROM snap_captured WHERE snapshot_id = ? AND block_index = ?", self._key
        ).fetchone()
        if row is None or row[0] != self._digest:
            raise invalid("CONFLICTING_BLOCK_UPDATE", f"Block {index} is being written.")
        connection.execute(
            "INSERT OR REPLACE INTO direct_blocks SELECT snapshot_id, ?, ? FROM snapshots"
            " WHERE snapshot_id = ?",
            (index, self.sha256, snapshot_id),
        )
        connection.execute(
            "UPDATE snapshots SET last_put_ns = ? WHERE snapshot_id = ?", (now_ns, snapshot_id)
        )


def seal(
    connection: Connection, snapshot_id: str, changed_blocks: int, checksum: bytes | None
) -> None:
    """Hold what was written against what CompleteSnapshot says was.

    It happens in the transaction that completes the snapshot: no block can come in between.
    """
    pending = connection.execute(
        "SELECT block_index FROM snap_captured AS c WHERE snapshot_id = ? AND (stored = 0 OR"
        " NOT EXISTS (SELECT 1 FROM direct_blocks AS d WHERE d.snapshot_id = c.snapshot_id"
        " AND d.block_index = c.block_index)) LIMIT 1",
        (snapshot_id,),
    ).fetchone()
    if pending is not None:
        raise ValueError(f"block {pending[0]} is being written, or was not: put it again")
    written = connection.execute(
        "SELECT sha256 FROM direct_blocks WHERE snapshot_id = ? ORDER BY block_index",
        (snapshot_id,),
    ).fetchall()
    if len(written) != changed_blocks:
        raise invalid(
            "INVALID_PARAMETER_VALUE",
            f"{len(written)} blocks were written, not {changed_blocks}.",
        )
    linear = hashlib.sha256(b"".join(one[0] for one in written)).digest()
    if checksum is not None and checksum != linear:
        raise invalid("INVALID_PARAMETER_VALUE", "The checksum does not match the blocks.")
    connection.execute("DELETE FROM direct_blocks WHERE snapshot_id = ?", (snapshot_id,))
