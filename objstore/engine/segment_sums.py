"""What a segment holds: counted as records come and go, written to its row at the end.

Adjacent data segments hold one extent, larger than half a segment, and nothing besides:
they fall free together.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from objstore.engine.extents import span, stored_bytes
from objstore.index import keys, schema
from objstore.index.base import WriteTransaction
from objstore.index.schema import Extent, ExtentRow, Head, SegmentRow
from objstore.log.format import Layout


class SegmentSums:
    """Live bytes and tombstones of segments, within one write transaction.

    `quarantine_seq`, `first_lsns`: see `Applier`.
    """

    def __init__(
        self,
        txn: WriteTransaction,
        layout: Layout,
        chunk_bytes: int,
        quarantine_seq: int | None,
        first_lsns: Mapping[int, int] | None,
    ) -> None:
        self._txn = txn
        self._layout = layout
        self._chunk_bytes = chunk_bytes
        self._quarantine_seq = quarantine_seq
        self._first_lsns = first_lsns
        self._live: defaultdict[int, int] = defaultdict(int)
        self._tombstones: defaultdict[int, int] = defaultdict(int)
        self._runs: dict[int, int] = {}

    def charge(self, lsn: int, record_offset: int, size_bytes: int) -> None:
        """A record lives in the log segment that it is in, with so many bytes."""
        segment = self._layout.segment_of(record_offset)
        if self._first_lsns is not None and lsn < self._first_lsns.get(segment, lsn + 1):
            return
        self._live[segment] += size_bytes

    def discharge(self, head: Head) -> None:
        """A record lives no more."""
        self.charge(head.lsn, head.record_offset, -head.charge_bytes)

    def bury(self, record_offset: int, size_bytes: int) -> None:
        """A tombstone stands in a log segment."""
        self._tombstones[self._layout.segment_of(record_offset)] += size_bytes

    def use(
        self,
        extent: Extent,
        owner_seq: int,
        start_byte: int,
        owner: bytes,
        is_version: bool = False,
    ) -> None:
        """A version, a part or a manifest uses an extent of a data segment."""
        segment, run = span(extent, self._layout, self._chunk_bytes)
        key = keys.extent(segment, extent.offset_bytes, owner_seq, start_byte)
        if self._first_lsns is None and not self._is_used(segment, extent):
            self._live[segment] += stored_bytes(extent.length_bytes, self._chunk_bytes)
            self._runs[segment] = max(run, self._runs.get(segment, 1))
        row = ExtentRow(extent.length_bytes, extent.nonce, is_version, owner)
        self._txn.put(key, row.pack())

    def release(
        self, extent: Extent, owner_seq: int, start_byte: int, is_version: bool = False
    ) -> None:
        """One of them uses it no more.

        The first append makes the extents of a version those of its first part, under the
        same row.  In a replay the version may let go of them after the part has taken them.
        """
        segment, _run = span(extent, self._layout, self._chunk_bytes)
        key = keys.extent(segment, extent.offset_bytes, owner_seq, start_byte)
        row = self._txn.get(key)
        use = ExtentRow.unpack(row) if row is not None else None
        if use is None or use.nonce != extent.nonce or use.is_version != is_version:
            return
        self._txn.delete(key)
        if self._first_lsns is None and not self._is_used(segment, extent):
            self._live[segment] -= stored_bytes(extent.length_bytes, self._chunk_bytes)

    def _is_used(self, segment: int, extent: Extent) -> bool:
        """Whether some row uses this very extent, not another that once stood there."""
        prefix = keys.extent_prefix(segment, extent.offset_bytes)
        return any(
            ExtentRow.unpack(row).nonce == extent.nonce
            for _key, row in self._txn.scan(prefix, keys.after(prefix))
        )

    def write(self) -> None:
        """Write what was counted to the segments' rows, and count on from nothing."""
        for segment in {*self._live, *self._tombstones, *self._runs}:
            self._write_segment(segment)
        self._live.clear()
        self._tombstones.clear()
        self._runs.clear()

    def _write_segment(self, segment: int) -> None:
        key = keys.segment(segment)
        row = self._txn.get(key)
        old = SegmentRow.unpack(row) if row else None
        is_data = old.kind == schema.SEGMENT_DATA if old else segment in self._runs
        if old is None and not is_data:
            return  # a record moved out of a log segment that is gone already
        old = old or SegmentRow(schema.SEGMENT_DATA)
        live_bytes = old.live_bytes + self._live.get(segment, 0)
        run = max(old.run, self._runs.get(segment, 1)) if is_data else 1
        if is_data and live_bytes <= 0:
            self._txn.delete(key)
            self.quarantine(segment, run)
            return
        tombstone_bytes = old.tombstone_bytes + self._tombstones.get(segment, 0)
        # Less than nothing can only live where damage has swallowed the records that did.
        sums = (max(0, live_bytes), tombstone_bytes)
        self._txn.put(key, SegmentRow(old.kind, run, *old[2:5], *sums).pack())

    def quarantine(self, segment: int, run: int) -> None:
        """Segments have fallen free, and readers may be in them; in a recovery there are none."""
        if self._quarantine_seq is not None:
            key = keys.quarantine(self._quarantine_seq, segment)
            self._txn.put(key, run.to_bytes(4, "little"))


def settle_data_segments(txn: WriteTransaction, layout: Layout, chunk_bytes: int) -> None:
    """Make the data segments' rows from the extents that are used; the end of a replay."""
    live_bytes: defaultdict[int, int] = defaultdict(int)
    runs: dict[int, int] = {}
    last: Extent | None = None
    for key, row in txn.scan(b"x", keys.after(b"x")):
        segment, offset_bytes, _owner, _start = keys.parse_extent(key)
        use = ExtentRow.unpack(row)
        extent = Extent(offset_bytes, use.length_bytes, use.nonce)
        if extent != last:
            live_bytes[segment] += stored_bytes(extent.length_bytes, chunk_bytes)
            runs[segment] = max(runs.get(segment, 1), span(extent, layout, chunk_bytes)[1])
        last = extent
    for key, row in list(txn.scan(keys.SEGMENT, keys.after(keys.SEGMENT))):
        is_data = SegmentRow.unpack(row).kind == schema.SEGMENT_DATA
        if is_data and keys.parse_segment(key) not in runs:
            txn.delete(key)
    for segment, run in runs.items():
        new = SegmentRow(schema.SEGMENT_DATA, run, live_bytes=live_bytes[segment])
        txn.put(keys.segment(segment), new.pack())
