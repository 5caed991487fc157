"""Giving space back while serving: what lives in a sparse segment moves on.

Log segments.  Every record that the index still stands on is written again at the
log's end, with a new number and the same content; then the segment is given up
with a record of its own.  A tombstone keeps older records of its entity from
coming back in a replay; it may be dropped once nothing older can be replayed:
no log segment begins before it, and every kept checkpoint is newer.

What lives in data segments, `engine.extent_moves` moves.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from objstore.config import COMPACT_BYTES, COMPACT_RECORDS
from objstore.engine.core import Core, tail_of
from objstore.engine.operation import Decision
from objstore.engine.space import FOR_COMPACTION
from objstore.errors import CorruptionError
from objstore.index import keys, schema
from objstore.index.base import ReadTransaction
from objstore.index.schema import (
    GoneBody,
    SegmentFreedBody,
    SegmentRow,
    unpack_head,
)
from objstore.log import format as log
from objstore.log.format import FormatError, Record, SegmentHead
from objstore.log.reader import (
    read_batches,
    read_segment_head,
    readable_batches,
)

_MOVED_SLACK_BYTES = 64
"""What moving may add to a record: a tombstone's note of when the deletion was."""


# --- the log ----------------------------------------------------------------------


def row_key_of(record: Record) -> bytes | None:
    """The index row that stands on a record of this kind; None if none does.

    For a version it is where the current one would be; see `find_version_row`.
    """
    match record.kind:
        case log.BUCKET:
            return keys.bucket(record.key)
        case log.MANIFEST:
            start_byte = schema.decode_manifest(record.body).start_byte
            return keys.manifest(record.version_seq, start_byte)
        case log.UPLOAD:
            upload_id = schema.decode_upload(record.body).upload_id
            return keys.upload(record.bucket_id, record.key, upload_id)
        case log.PART:
            body = schema.decode_part(record.body)
            return keys.part(body.upload_id, body.part_number)
        case log.EVENT:
            return keys.event(record.key, record.version_seq)
        case log.DELIVERED:
            return keys.delivered(record.key)
    return None


def is_live(txn: ReadTransaction, record: Record) -> bool:
    """Whether the index stands on this very record."""
    if record.kind == log.VERSION:
        row = txn.get(keys.current(record.bucket_id, record.key))
        if row is not None and unpack_head(row).lsn == record.lsn:
            return True
        row = txn.get(keys.version(record.bucket_id, record.key, record.version_seq))
    else:
        key = row_key_of(record)
        row = txn.get(key) if key is not None else None
    return row is not None and unpack_head(row).lsn == record.lsn


def is_gone(txn: ReadTransaction, record: Record) -> bool:
    """Whether what a tombstone buried is still absent, so that it has work to do.

    If the entity is back, its newer record buries the older ones by itself.
    """
    match record.kind:
        case log.BUCKET_GONE:
            return txn.get(keys.bucket(record.key)) is None
        case log.UPLOAD_GONE:
            upload_id = schema.decode_gone(record.body).upload_id
            return txn.get(keys.upload(record.bucket_id, record.key, upload_id)) is None
    row = txn.get(keys.current(record.bucket_id, record.key))
    if record.flags & schema.FLAG_NULL:
        is_current_null = row is not None and unpack_head(row).flags & schema.FLAG_NULL
        null = keys.null_position(record.bucket_id, record.key)
        return not is_current_null and txn.get(null) is None
    if row is not None and unpack_head(row).version_seq == record.version_seq:
        return False
    older = keys.version(record.bucket_id, record.key, record.version_seq)
    return txn.get(older) is None


class MoveRecords:
    """Write records again, those that are still needed at the moment of the commit."""

    leaves_segments = FOR_COMPACTION

    def __init__(self, records: Sequence[Record], keep_tombstones_from: int) -> None:
        self._records = records
        self._keep_from = keep_tombstones_from
        self.size_bound_bytes = sum(moved_bound_bytes(record) for record in records)

    def decide(self, decision: Decision) -> Sequence[Record]:
        moved = []
        for record in self._records:
            if record.kind in log.TOMBSTONES:
                kept = self._tombstone(decision.txn, record)
                if kept is not None:
                    moved.append(kept)
            elif is_live(decision.txn, record):
                moved.append(_again(record, record.body))
        return moved

    def _tombstone(self, txn: ReadTransaction, record: Record) -> Record | None:
        body = schema.decode_gone(record.body)
        origin_lsn = body.origin_lsn or record.lsn
        if origin_lsn < self._keep_from or not is_gone(txn, record):
            return None
        return _again(record, schema.encode(GoneBody(origin_lsn, body.upload_id)))


def _again(record: Record, body: bytes) -> Record:
    return Record(
        record.kind,
        record.bucket_id,
        record.key,
        body,
        record.version_seq,
        record.flags,
        record.payload,
        record.payload_xxh3,
    )


class FreeSegment:
    """Give up a log segment in which nothing lives any more."""

    leaves_segments = FOR_COMPACTION
    size_bound_bytes = log.RECORD_HEAD_BYTES + 64

    def __init__(self, segment: int, start_seq: int) -> None:
        self._segment, self._start_seq = segment, start_seq
        self.has_live = False

    def decide(self, decision: Decision) -> Sequence[Record]:
        row = decision.txn.get(keys.segment(self._segment))
        segment = SegmentRow.unpack(row) if row else None
        if segment is None or segment.start_seq != self._start_seq or not segment.end_seq:
            return []
        if segment.live_bytes:
            self.has_live = True
            return []
        body = schema.encode(SegmentFreedBody(self._segment, self._start_seq))
        return [Record(log.SEGMENT_FREED, 0, b"", body)]


def oldest_replayable_lsn(core: Core, checkpoint_lsns: Iterable[int], without: int) -> int:
    """The least record number from which on a replay may bring records back.

    Tombstones from there on are needed; `without` is the segment about to go.
    """
    with core.index.read() as txn:
        starts = [
            row.start_lsn
            for segment, row in segments_of(txn)
            if row.kind == schema.SEGMENT_LOG and segment != without
        ]
    # A tombstone buries what is older than itself: it is needed while a segment
    # begins before it, or a checkpoint was taken before it.
    return min([*starts, *checkpoint_lsns], default=0)


def segments_of(txn: ReadTransaction) -> Iterator[tuple[int, SegmentRow]]:
    for key, row in txn.scan(keys.SEGMENT, keys.after(keys.SEGMENT)):
        yield keys.parse_segment(key), SegmentRow.unpack(row)


def compact_log_segment(
    core: Core, segment: int, checkpoint_lsns: Iterable[int], *, salvage: bool = False
) -> bool:
    """Move what lives in a sealed log segment and give it up; whether it was given up.

    `salvage`: move what can be read; the segment goes if nothing else in it lives.

    Raises:
        CorruptionError: a batch of the segment is damaged; it is left as it is.
    """
    with core.index.read() as txn:
        row = txn.get(keys.segment(segment))
    info = SegmentRow.unpack(row) if row else None
    if info is None or info.kind != schema.SEGMENT_LOG or not info.end_seq:
        return False
    head = read_segment_head(core.device, core.layout, segment, core.superblock.store_id)
    if head is None or head.start_seq != info.start_seq:
        if not salvage:
            raise CorruptionError(f"log segment {segment} has lost its head; run `objstore check`")
        head = SegmentHead(core.superblock.store_id, segment, info.start_seq, 0)
    needed_from = oldest_replayable_lsn(core, checkpoint_lsns, segment)
    records = (_readable_records if salvage else _sealed_records)(core, head, info.end_seq)
    for group in _grouped(records, core.layout.segment_bytes):
        core.committer.commit(MoveRecords(group, needed_from))
    free = FreeSegment(segment, info.start_seq)
    return bool(core.committer.commit(free))


def moved_bound_bytes(record: Record) -> int:
    """At most what a record takes when it is written again."""
    slack_bytes = _MOVED_SLACK_BYTES if record.kind in log.TOMBSTONES else 0
    return record.stored_bytes + slack_bytes


def group_bytes_of(segment_bytes: int) -> int:
    """How much compaction writes in one commit."""
    return min(COMPACT_BYTES, segment_bytes // 8 // log.ALIGNMENT_BYTES * log.ALIGNMENT_BYTES)


def _grouped(records: Iterable[Record], segment_bytes: int) -> Iterator[list[Record]]:
    """Records in groups of a commit each; a segment takes several, however small it is."""
    # Whole blocks of the log, so that little of it is padding.
    limit_bytes = group_bytes_of(segment_bytes) - log.BATCH_HEAD_BYTES
    group: list[Record] = []
    group_bytes = 0
    for record in records:
        bound_bytes = moved_bound_bytes(record)
        if group and (group_bytes + bound_bytes > limit_bytes or len(group) == COMPACT_RECORDS):
            yield group
            group, group_bytes = [], 0
        group.append(record)
        group_bytes += bound_bytes
    if group:
        yield group


def _sealed_records(core: Core, head: SegmentHead, end_seq: int) -> Iterator[Record]:
    """Records of a sealed segment that may still be needed, each checked."""
    last_seq = head.start_seq - 1
    for batch in read_batches(core.device, core.layout, head, end_seq=end_seq):
        if isinstance(batch, FormatError):
            break
        last_seq = batch.head.seq
        with core.index.read() as txn:
            wanted = [
                record
                for record in batch.records
                if record.kind in log.TOMBSTONES or is_live(txn, record)
            ]
        for record in wanted:
            if record in batch.damaged:
                raise CorruptionError(
                    f"record {record.lsn} at {record.record_offset}, of key {record.key!r}, does "
                    "not match its checksum; run `objstore check`"
                )
        yield from wanted
    if last_seq < end_seq:
        raise CorruptionError(
            f"log segment {head.segment} ends at batch {last_seq} instead of {end_seq}; "
            "run `objstore check`"
        )


def _readable_records(core: Core, head: SegmentHead, end_seq: int) -> Iterator[Record]:
    """As `_sealed_records`, of what can be read in a damaged segment."""
    for batch in readable_batches(core.device, core.layout, head, end_seq=end_seq):
        for record in batch.records:
            if record not in batch.damaged:
                yield record


class Heartbeat:
    """A batch for its own sake: a tombstone of an upload that never was."""

    leaves_segments = FOR_COMPACTION
    size_bound_bytes = log.RECORD_HEAD_BYTES + 64

    def __init__(self, core: Core) -> None:
        self._nobody = core.entropy.token_bytes(16)

    def decide(self, decision: Decision) -> Sequence[Record]:
        body = schema.encode(GoneBody(0, self._nobody))
        return [Record(log.UPLOAD_GONE, 0, b"", body)]


def heal_log_segment(core: Core, segment: int) -> bool:
    """Rid the log of a damaged segment, keeping what can be read; whether that was done.

    It is not, where an object lives in it whose bytes are what is damaged.
    """
    for _attempt in range(3):  # a late successor is named by a batch of its own first
        with core.index.write() as txn:
            tail = tail_of(txn)
            if tail.segment != segment:
                break
            txn.put(keys.ROLLING, tail.next_seq.to_bytes(8, "little"))
        core.committer.commit(Heartbeat(core))
    return compact_log_segment(core, segment, (), salvage=True)
