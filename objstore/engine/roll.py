"""Where the next batch of the log goes, and when the log takes a new segment."""

from __future__ import annotations

from dataclasses import dataclass

from objstore.engine.space import allocate
from objstore.errors import StoreFullError
from objstore.index import keys, schema
from objstore.index.base import WriteTransaction
from objstore.index.schema import SegmentRow, SegmentsBody, Tail
from objstore.log import format as log
from objstore.log.format import ALIGNMENT_BYTES, BATCH_HEAD_BYTES, Layout, Record

# A segments record: an entry of four packed integers a segment, and the rest.
_SEGMENTS_ENTRY_BYTES = 34
_SEGMENTS_BASE_BYTES = 256


@dataclass(frozen=True, slots=True)
class Roll:
    """Where the next batch goes, and the segments record that this takes.

    A log segment names its successor while it is open, so that recovery finds the
    next one by name.  The end of every segment is kept free for a batch that names
    a successor late, after space was found.

    There is only ever one place where the next batch can go.  A writer may be killed
    after its batch reached the device and before the index took it; the next writer
    has another batch, and were that to go elsewhere because its length is another, then
    the log would hold two batches of one number.  So the decision to leave a segment
    is committed to the index by itself first, and binds whoever comes next.
    """

    segment: int
    offset_bytes: int
    successor: int
    log_segments: int
    record: Record | None = None
    is_new_segment: bool = False
    goes_alone: bool = False

    @classmethod
    def plan(
        cls, txn: WriteTransaction, tail: Tail, layout: Layout, bound_bytes: int, leaves: int
    ) -> Roll | None:
        """None if the decision to roll was noted: commit that, then plan again.

        `leaves`: as in `space.allocate`.

        Raises:
            StoreFullError: the log cannot go on at all.
        """
        left_bytes = layout.offset(tail.segment) + layout.segment_bytes - tail.offset_bytes
        # Room for this batch with a record of its own, and for one more after it.
        slack_bytes = _segments_bound_bytes(tail.log_segments + 1)
        this_roll = tail.next_seq.to_bytes(8, "little")
        is_rolling = txn.get(keys.ROLLING) == this_roll
        fits = bound_bytes + 2 * slack_bytes <= left_bytes and not is_rolling
        stay = (tail.segment, tail.offset_bytes)
        if tail.successor >= 0 and fits:
            return cls(*stay, tail.successor, tail.log_segments)
        if tail.successor >= 0 and not is_rolling:
            txn.put(keys.ROLLING, this_roll)
            return None
        successor = allocate(txn, layout, 1, leaves)
        if tail.successor >= 0:
            record, count = _segments_record(txn, tail, tail.successor, successor)
            offset_bytes = layout.offset(tail.successor) + ALIGNMENT_BYTES
            return cls(tail.successor, offset_bytes, successor, count, record, is_new_segment=True)
        if successor >= 0 and slack_bytes <= left_bytes:
            record, count = _segments_record(txn, tail, tail.segment, successor)
            return cls(*stay, successor, count, record, goes_alone=not fits)
        if fits:
            return cls(*stay, -1, tail.log_segments)
        raise StoreFullError("the store is full: the log has no room left to grow into")


def _segments_bound_bytes(segments: int) -> int:
    """What a batch with nothing but a segments record takes at most."""
    return log.align_up(BATCH_HEAD_BYTES + _SEGMENTS_BASE_BYTES + segments * _SEGMENTS_ENTRY_BYTES)


def _segments_record(
    txn: WriteTransaction, tail: Tail, current: int, successor: int
) -> tuple[Record, int]:
    """The record that names the log's segments as they will be, and their number."""
    segments = []
    for key, row in txn.scan(keys.SEGMENT, keys.after(keys.SEGMENT)):
        segment = SegmentRow.unpack(row)
        if segment.kind == schema.SEGMENT_LOG:
            is_open = segment.end_seq == 0 and current != tail.segment
            end_seq = tail.next_seq - 1 if is_open else segment.end_seq
            name = keys.parse_segment(key)
            segments.append((name, segment.start_seq, end_seq, segment.start_lsn))
    if not segments or current != tail.segment:
        segments.append((current, tail.next_seq, 0, tail.next_lsn))
    segments.sort(key=lambda entry: entry[1])
    body = schema.encode(SegmentsBody(current, successor, segments))
    return Record(log.SEGMENTS, 0, b"", body), len(segments)
