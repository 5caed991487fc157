"""Bringing the index back: from a checkpoint and the log after it, or from the log alone.

Which segments belong to the log is read from the newest one: its segments record
names all that were there when it was written, and the records after it which of
those were given up since.  They are replayed in order.  What compaction dropped
in between is missing, and not missed: of every entity, the last record is there.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import msgspec

from blockdev import BlockDevice
from objstore.config import REPLAY_BATCHES, REPLAY_BYTES
from objstore.engine.apply import Applier, manifest_owner, sweep_counters
from objstore.engine.core import tail_of
from objstore.engine.segment_sums import settle_data_segments
from objstore.errors import CorruptionError
from objstore.index import keys, schema
from objstore.index.base import Index, WriteTransaction
from objstore.index.schema import SegmentRow, SegmentsBody, Tail, unpack_head
from objstore.log import format as log
from objstore.log.format import BatchHead, FormatError, Layout, Record, SegmentHead, Superblock
from objstore.log.reader import (
    Batch,
    Position,
    find_batch_after,
    first_position,
    log_segments,
    position_after,
    read_batches,
)


@dataclass(slots=True)
class RebuildReport:
    """What a replay found.

    `records`, `batches`: replayed; `last_seq`: number of the last batch (0: none).
    `problems`: parts of the log that are gone, in words; what they said is lost.
    `damaged_segments`: of the log, those that the problems are in.
    `damaged`: objects whose bytes do not match their checksum, in words; they cannot
    be read, and all others can.
    """

    segments: int = 0
    batches: int = 0
    records: int = 0
    last_seq: int = 0
    problems: list[str] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)
    damaged_segments: set[int] = field(default_factory=set)


def initial_tail(layout: Layout) -> Tail:
    """The tail of a store without a batch: the first one opens segment 0."""
    return Tail(1, 1, 0, layout.offset(0) + layout.segment_bytes, 0, 0, 1, 0, 0)


def put_initial_rows(txn: WriteTransaction, layout: Layout) -> None:
    """The rows of an empty store."""
    txn.put(keys.TAIL, initial_tail(layout).pack())
    txn.put(keys.segment(0), SegmentRow(schema.SEGMENT_NEXT).pack())


@dataclass(slots=True)
class LogMap:
    """Which segments make up the log: their heads, oldest first; what is missing of them.

    `first_lsns`: the first record of each segment; `end_seqs`: its last batch (0: open).
    """

    heads: list[SegmentHead] = field(default_factory=list)
    first_lsns: dict[int, int] = field(default_factory=dict)
    end_seqs: dict[int, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    damaged_segments: set[int] = field(default_factory=set)


def map_log(
    device: BlockDevice, layout: Layout, superblock: Superblock, *, salvage: bool = False
) -> LogMap:
    """Find the log's segments on the device.

    `salvage`: also those that have lost their head or their first batch, to read on
    in them where that is possible.
    """
    found = log_segments(device, layout, superblock.store_id)
    result = LogMap()
    table: SegmentsBody | None = None
    freed: set[tuple[int, int]] = set()
    while found and table is None:
        table, freed = _segment_table(device, layout, found[-1])
        if table is None:
            # Its first batch was never finished: then nothing in it was acknowledged.
            unnamed = found.pop()
            if salvage and _goes_on(device, layout, unnamed):
                result.heads.append(unnamed)
                result.first_lsns[unnamed.segment] = 0
    if table is None:
        return result
    by_name = {(head.segment, head.start_seq): head for head in found}
    for segment, start_seq, end_seq, start_lsn in table.segments:
        if (segment, start_seq) in freed:
            continue
        head = by_name.get((segment, start_seq))
        if head is None:
            result.problems.append(
                f"log segment {segment} (from batch {start_seq} on) is damaged or gone"
            )
            result.damaged_segments.add(segment)
            if not salvage:
                continue
            head = SegmentHead(superblock.store_id, segment, start_seq, 0)
        result.heads.append(head)
        result.first_lsns[segment] = start_lsn
        result.end_seqs[segment] = end_seq
    result.heads.sort(key=lambda head: head.start_seq)
    return result


def _goes_on(device: BlockDevice, layout: Layout, head: SegmentHead) -> bool:
    """Whether there is a batch in a segment whose first one cannot be read."""
    start = layout.offset(head.segment)
    least_seq = head.start_seq + 1
    found = find_batch_after(device, layout, head.store_id, head.segment, start, least_seq)
    return found is not None


def _segment_table(
    device: BlockDevice, layout: Layout, head: SegmentHead
) -> tuple[SegmentsBody | None, set[tuple[int, int]]]:
    """The last segments record of a segment, and what its records freed."""
    table: SegmentsBody | None = None
    freed: set[tuple[int, int]] = set()
    batches = read_batches(device, layout, head)
    while isinstance(batch := next(batches), Batch):
        for record in batch.records:
            with _reading(record):
                if record.kind == log.SEGMENTS:
                    table = schema.decode_segments(record.body)
                elif record.kind == log.SEGMENT_FREED:
                    body = schema.decode_segment_freed(record.body)
                    freed.add((body.segment, body.start_seq))
    return table, freed


@contextmanager
def _reading(record: Record) -> Iterator[None]:
    """Turns what this release makes nothing of into an error of the engine."""
    try:
        yield
    except (FormatError, msgspec.MsgspecError) as error:
        raise CorruptionError(
            f"record {record.lsn} at {record.record_offset} is whole, but this release cannot "
            f"read it ({error}); open the store with the release that wrote it"
        ) from error


class Replay:
    """Applies the log to an index, from batch `after_seq` + 1 on.

    Raises `CorruptionError` for a record that a later release must have written.

    `until_seq`: the last batch wanted, for comparing with a live index; None for all.
    `log_map`: the log's segments, if they are known; else they are looked for.
    `salvage`: read on behind damage, and take what there is.
    """

    def __init__(
        self,
        device: BlockDevice,
        index: Index,
        superblock: Superblock,
        *,
        after_seq: int = 0,
        until_seq: int | None = None,
        log_map: LogMap | None = None,
        salvage: bool = False,
    ) -> None:
        self._device, self._index, self._superblock = device, index, superblock
        self._layout = Layout.of(superblock)
        self._after_seq, self._until_seq = after_seq, until_seq
        self._is_salvage = salvage
        self._log_map = log_map or map_log(device, self._layout, superblock, salvage=salvage)
        self._successor, self._log_segments = 0, 0
        self.report = RebuildReport(last_seq=after_seq)

    def run(self) -> RebuildReport:
        """Replay; the report says what was found, and the index is complete."""
        self.report.problems += self._log_map.problems
        self.report.damaged_segments |= self._log_map.damaged_segments
        with self._index.read() as txn:
            tail = tail_of(txn)
        self._successor, self._log_segments = tail.successor, tail.log_segments
        self._check_start(tail)
        pending: list[Batch] = []
        pending_bytes = 0
        for batch in self._batches(self._log_map.heads):
            pending.append(batch)
            pending_bytes += batch.head.stored_bytes
            if len(pending) == REPLAY_BATCHES or pending_bytes >= REPLAY_BYTES:
                self._apply(pending)
                pending, pending_bytes = [], 0
        self._apply(pending)
        if self._until_seq is None:
            self._check_successor()
        with self._index.write() as txn:
            chunk_bytes = self._superblock.chunk_bytes
            applier = Applier(txn, self._layout, chunk_bytes, None, self._log_map.first_lsns)
            sweep_manifests(txn, applier)
            sweep_counters(txn)
            settle_data_segments(txn, self._layout, chunk_bytes)
            if self._is_salvage:
                self._adopt_segments(txn)
        return self.report

    def _adopt_segments(self, txn: WriteTransaction) -> None:
        """Name the segments whose own segments record could not be read."""
        heads = self._log_map.heads
        for head, following in itertools.zip_longest(heads, heads[1:]):
            key = keys.segment(head.segment)
            row = txn.get(key)
            old = SegmentRow.unpack(row) if row else SegmentRow(schema.SEGMENT_NEXT)
            end_seq = following.start_seq - 1 if following else 0
            if old.start_seq == head.start_seq and (old.end_seq or not following):
                continue
            new = old._replace(kind=schema.SEGMENT_LOG, start_seq=head.start_seq, end_seq=end_seq)
            txn.put(key, new.pack())
        tail = tail_of(txn)
        if heads and tail.successor == tail.segment:
            # The record that chose another successor is among those that are lost.
            txn.put(keys.TAIL, tail._replace(successor=-1, log_segments=len(heads)).pack())

    def _check_start(self, tail: Tail) -> None:
        """The segment that a checkpoint ends in is there, unless the log has gone on since."""
        if self._after_seq and not any(
            head.segment == tail.segment or head.start_seq > self._after_seq
            for head in self._log_map.heads
        ):
            self.report.problems.append(
                f"log segment {tail.segment}, in which the checkpoint ends, is damaged or gone"
            )

    def _batches(self, heads: list[SegmentHead]) -> Iterator[Batch]:
        for position, head in enumerate(heads):
            following = heads[position + 1].start_seq if position + 1 < len(heads) else None
            if following is not None and following <= self._after_seq + 1:
                continue
            self.report.segments += 1
            yield from self._segment_batches(head)

    def _segment_batches(self, head: SegmentHead) -> Iterator[Batch]:
        """The batches wanted of a segment; in a salvage, also those behind damage."""
        position: Position | None = first_position(self._layout, head)
        end_seq = self._log_map.end_seqs.get(head.segment, 0)
        while position is not None:
            begun = position
            batches = read_batches(
                self._device, self._layout, head, end_seq=end_seq, position=begun
            )
            position = None
            for batch in batches:
                if isinstance(batch, FormatError):
                    position = self._after_damage(head, begun, batch)
                    break
                seq = batch.head.seq
                begun = Position(batch.end_offset_bytes, seq + 1, batch.head_hash)
                if self._until_seq is not None and seq > self._until_seq:
                    return
                if seq > self._after_seq:
                    self._note_damage(batch)
                    yield batch

    def _note_damage(self, batch: Batch) -> None:
        for record in batch.damaged:
            self.report.damaged.append(
                f"log segment {self._layout.segment_of(batch.offset_bytes)}: the bytes of key "
                f"{record.key!r} at {record.payload_offset} do not match their checksum"
            )

    def _after_damage(
        self, head: SegmentHead, wanted: Position, error: FormatError
    ) -> Position | None:
        """Where to read on, in a salvage, if this is damage and not the log's end.

        A torn tail has nothing after it.
        """
        if self._until_seq is not None and wanted.seq > self._until_seq:
            return None  # written while this reads; not asked for
        end_seq = self._log_map.end_seqs.get(head.segment, 0)
        later = position_after(self._device, self._layout, head, wanted)
        if later is None and wanted.seq > end_seq:
            return None
        behind = f"batch {later.seq} stands after it" if later else "none can be read after it"
        self.report.problems.append(
            f"log segment {head.segment}: batch {wanted.seq} at {wanted.offset_bytes} is damaged "
            f"({error}), and {behind}"
        )
        self.report.damaged_segments.add(head.segment)
        return later if self._is_salvage else None

    def _find_batch_after(
        self, segment: int, offset_bytes: int, least_seq: int
    ) -> tuple[int, BatchHead] | None:
        store_id = self._superblock.store_id
        return find_batch_after(
            self._device, self._layout, store_id, segment, offset_bytes, least_seq
        )

    def _check_successor(self) -> None:
        """The log has ended; in the segment to go on in there is at most a torn batch."""
        if self._successor < 0:
            return
        least_seq = self.report.last_seq + 2
        start = self._layout.offset(self._successor)
        later = self._find_batch_after(self._successor, start, least_seq)
        if later is not None:
            self.report.problems.append(
                f"log segment {self._successor}: batch {self.report.last_seq + 1} at its start is "
                f"damaged or gone, and batch {later[1].seq} stands after it"
            )

    def _apply(self, batches: list[Batch]) -> None:
        if not batches:
            return
        with self._index.write() as txn:
            applier = Applier(
                txn, self._layout, self._superblock.chunk_bytes, None, self._log_map.first_lsns
            )
            for batch in batches:
                for record in batch.records:
                    with _reading(record):
                        applier.apply(record)
                    if record.kind == log.SEGMENTS:
                        body = schema.decode_segments(record.body)
                        self._successor = body.successor
                        self._log_segments = len(body.segments)
                self.report.records += len(batch.records)
                self.report.batches += 1
            applier.finish()
            txn.put(keys.TAIL, self._tail_after(batches[-1]).pack())
        self.report.last_seq = batches[-1].head.seq

    def _tail_after(self, batch: Batch) -> Tail:
        head = batch.head
        return Tail(
            head.seq + 1,
            head.first_lsn + head.record_count,
            self._layout.segment_of(batch.offset_bytes),
            batch.end_offset_bytes,
            batch.head_hash,
            head.log_bytes + head.stored_bytes,
            head.next_bucket_id,
            self._successor,
            self._log_segments,
        )


def sweep_manifests(txn: WriteTransaction, applier: Applier) -> int:
    """Drop manifest rows whose version is not there; how many versions they were of.

    A replay meets them where the version's own record was compacted away after the
    version had gone, and the manifest's record was not.
    """
    orphans: set[int] = set()
    for key, row in txn.scan(b"m", keys.after(b"m")):
        seq = int.from_bytes(key[1:9], "big")
        if seq not in orphans and not _has_version(txn, *manifest_owner(row), seq):
            orphans.add(seq)
    for seq in orphans:
        applier.drop_manifest(seq)
    applier.finish()
    return len(orphans)


def _has_version(txn: WriteTransaction, bucket_id: int, key: bytes, seq: int) -> bool:
    row = txn.get(keys.current(bucket_id, key))
    if row is not None and unpack_head(row).version_seq == seq:
        return True
    return txn.get(keys.version(bucket_id, key, seq)) is not None
