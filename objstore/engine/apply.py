"""What a record does to the index: the one function of commit and recovery.

Invariants of the rows, for every key of every bucket:

* ``o`` holds the version with the greatest version_seq, ``v`` all others;
* at most one version is the null version; ``z`` names it while it is in ``v``;
* an ``x`` row stands for every use of an extent, and a segment's live bytes are
  the distinct extents, or the records, that rows refer to;
* ``n`` counts what ``o`` and ``v`` hold.

Applying all surviving records in order gives these rows whatever compaction
has dropped or moved in between: of every entity, the last record is there.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping

from objstore.engine.notifications import listener_row
from objstore.engine.segment_sums import SegmentSums
from objstore.index import keys, schema
from objstore.index.base import WriteTransaction
from objstore.index.schema import (
    FLAG_DELETE_MARKER,
    FLAG_EXTENTS,
    FLAG_MANIFEST,
    FLAG_NULL,
    Counters,
    Head,
    SegmentRow,
    pack_head,
    row_body,
    unpack_head,
)
from objstore.log import format as log
from objstore.log.format import Layout, Record


class Applier:
    """Applies records within one write transaction; `finish` writes the sums.

    `quarantine_seq`: number of the batch under way, noted with every segment that
    falls free, so that it is not used again while a reader may still be in it;
    None in recovery, when there are no readers.
    `first_lsns`: in recovery, the first record of each log segment that survives.  A
    row of the checkpoint may point into a segment that was given up since, and whose
    place another has taken: it was never counted there, and is not discounted.
    Data segments are not counted in recovery at all: where the record that released
    an extent was moved, the segment may have become another one long before it.
    `settle_data_segments` counts what is left in the end.
    """

    def __init__(
        self,
        txn: WriteTransaction,
        layout: Layout,
        chunk_bytes: int,
        quarantine_seq: int | None = None,
        first_lsns: Mapping[int, int] | None = None,
    ) -> None:
        self._txn = txn
        self._sums = SegmentSums(txn, layout, chunk_bytes, quarantine_seq, first_lsns)
        self._objects: defaultdict[int, int] = defaultdict(int)
        self._versions: defaultdict[int, int] = defaultdict(int)
        self._bytes: defaultdict[int, int] = defaultdict(int)

    def apply(self, record: Record) -> None:
        """Change the rows as `record`, which has its place and number, says.

        Raises:
            FormatError: the record is of a kind that this release does not know.
        """
        apply = _APPLY.get(record.kind)
        if apply is None:
            raise log.FormatError(f"record {record.lsn} is of unknown kind {record.kind}")
        if record.kind in log.TOMBSTONES:
            self._sums.bury(record.record_offset, record.record_bytes)
        apply(self, record)

    def finish(self) -> None:
        """Write the segments' and buckets' sums; call once, last."""
        self._sums.write()
        for bucket_id in {*self._objects, *self._versions, *self._bytes}:
            change = (
                self._objects[bucket_id],
                self._versions[bucket_id],
                self._bytes[bucket_id],
            )
            key = keys.counters(bucket_id)
            row = self._txn.get(key)
            if row is None or any(change):
                objects, versions, stored_bytes = Counters.unpack(row) if row else Counters()
                new = Counters(objects + change[0], versions + change[1], stored_bytes + change[2])
                self._txn.put(key, new.pack())

    # --- versions ---------------------------------------------------------------

    def _version(self, record: Record) -> None:
        current_key = keys.current(record.bucket_id, record.key)
        row = self._row(record)
        old_row = self._txn.replace(current_key, row)
        if old_row is None:
            self._count_current(record.bucket_id, FLAG_DELETE_MARKER, record.flags)
        else:
            old = unpack_head(old_row)
            if _is_same_version(record, old):
                self._count_current(record.bucket_id, old.flags, record.flags)
                self._removed(record.bucket_id, record.key, old_row, record.version_seq)
            else:
                self._add_beside(record, row, current_key, old_row)
        self._added(record)

    def _add_beside(self, record: Record, row: bytes, current_key: bytes, old_row: bytes) -> None:
        """Put in its place a version that displaced another one from ``o``."""
        bucket_id, key = record.bucket_id, record.key
        replaced = self._take_older(record)
        if replaced is not None:
            self._removed(bucket_id, key, replaced, record.version_seq)
        old = unpack_head(old_row)
        if record.version_seq > old.version_seq:
            self._put_older(bucket_id, key, old, old_row)
            self._count_current(bucket_id, old.flags, record.flags)
        else:
            self._txn.put(current_key, old_row)
            self._put_older(bucket_id, key, unpack_head(row), row)

    def _take_older(self, record: Record) -> bytes | None:
        """Remove from ``v``, and return, the row that `record` is about."""
        seq = record.version_seq
        if record.flags & FLAG_NULL:
            null_key = keys.null_position(record.bucket_id, record.key)
            position = self._txn.get(null_key)
            if position is None:
                return None
            self._txn.delete(null_key)
            seq = int.from_bytes(position, "big")
        key = keys.version(record.bucket_id, record.key, seq)
        row = self._txn.get(key)
        if row is not None:
            self._txn.delete(key)
        return row

    def _put_older(self, bucket_id: int, key: bytes, head: Head, row: bytes) -> None:
        self._txn.put(keys.version(bucket_id, key, head.version_seq), row)
        if head.flags & FLAG_NULL:
            position = head.version_seq.to_bytes(8, "big")
            self._txn.put(keys.null_position(bucket_id, key), position)

    def _version_gone(self, record: Record) -> None:
        current_key = keys.current(record.bucket_id, record.key)
        row: bytes | None = self._txn.get(current_key)
        if row is None:
            return
        head = unpack_head(row)
        if _is_same_version(record, head):
            self._promote(record.bucket_id, record.key, current_key, head)
        else:
            row = self._take_older(record)
        if row is not None:
            self._removed(record.bucket_id, record.key, row, 0)

    def _promote(self, bucket_id: int, key: bytes, current_key: bytes, old: Head) -> None:
        """Put the newest older version in the place of the current one, if there is any."""
        prefix = keys.versions_prefix(bucket_id, key)
        heir = next(iter(self._txn.scan(prefix, keys.after(prefix))), None)
        if heir is None:
            self._txn.delete(current_key)
            self._count_current(bucket_id, old.flags, FLAG_DELETE_MARKER)
            return
        heir_key, heir_row = heir
        heir_flags = unpack_head(heir_row).flags
        self._txn.delete(heir_key)
        self._txn.put(current_key, heir_row)
        self._count_current(bucket_id, old.flags, heir_flags)
        if heir_flags & FLAG_NULL:
            self._txn.delete(keys.null_position(bucket_id, key))

    def _count_current(self, bucket_id: int, old_flags: int, new_flags: int) -> None:
        """Count keys whose current version is an object; no version counts as a marker."""
        self._objects[bucket_id] += bool(old_flags & FLAG_DELETE_MARKER) - bool(
            new_flags & FLAG_DELETE_MARKER
        )

    def _added(self, record: Record) -> None:
        bucket_id = record.bucket_id
        self._sums.charge(record.lsn, record.record_offset, record.stored_bytes)
        self._versions[bucket_id] += 1
        self._bytes[bucket_id] += schema.decode_size(record.body).size_bytes
        if record.flags & FLAG_EXTENTS:
            owner = bucket_id.to_bytes(4, "big") + record.key
            for extent in schema.decode_version(record.body).extents:
                self._sums.use(extent, record.version_seq, 0, owner, is_version=True)

    def _removed(self, bucket_id: int, key: bytes, row: bytes, heir_seq: int) -> None:
        """Undo `_added`; the manifest stays if `heir_seq` is the same version rewritten."""
        head, body = unpack_head(row), row_body(row)
        self._sums.discharge(head)
        self._versions[bucket_id] -= 1
        self._bytes[bucket_id] -= schema.decode_size(body).size_bytes
        if head.flags & FLAG_EXTENTS:
            for extent in schema.decode_version(body).extents:
                self._sums.release(extent, head.version_seq, 0, is_version=True)
        if heir_seq != head.version_seq and head.flags & FLAG_MANIFEST:
            self.drop_manifest(head.version_seq)

    # --- manifests, uploads, parts --------------------------------------------------

    def _manifest(self, record: Record) -> None:
        body = schema.decode_manifest(record.body)
        key = keys.manifest(record.version_seq, body.start_byte)
        old = self._txn.get(key)
        if old is not None:
            self._manifest_removed(key, old)
        # The owner's name goes along, for recovery to find manifests that nobody owns.
        owner = record.bucket_id.to_bytes(4, "big") + record.key
        row = self._row(record)
        self._txn.put(key, row + owner + len(owner).to_bytes(2, "big"))
        self._sums.charge(record.lsn, record.record_offset, record.stored_bytes)
        for part in body.parts:
            for extent in part.extents:
                self._sums.use(extent, record.version_seq, body.start_byte, key)

    def drop_manifest(self, version_seq: int) -> None:
        """Remove all manifest rows of a version."""
        prefix = keys.manifest_prefix(version_seq)
        for key, row in list(self._txn.scan(prefix, keys.after(prefix))):
            self._txn.delete(key)
            self._manifest_removed(key, row)

    def _manifest_removed(self, key: bytes, row: bytes) -> None:
        head = unpack_head(row)
        self._sums.discharge(head)
        body = schema.decode_manifest(manifest_body(row))
        for part in body.parts:
            for extent in part.extents:
                self._sums.release(extent, head.version_seq, body.start_byte)

    def _upload(self, record: Record) -> None:
        upload_id = schema.decode_upload(record.body).upload_id
        self._replace(keys.upload(record.bucket_id, record.key, upload_id), record)

    def _upload_gone(self, record: Record) -> None:
        upload_id = schema.decode_gone(record.body).upload_id
        self._remove(keys.upload(record.bucket_id, record.key, upload_id))
        prefix = keys.parts_prefix(upload_id)
        for key, row in list(self._txn.scan(prefix, keys.after(prefix))):
            self._txn.delete(key)
            self._part_removed(row)

    def _part(self, record: Record) -> None:
        body = schema.decode_part(record.body)
        key = keys.part(body.upload_id, body.part_number)
        old = self._txn.get(key)
        if old is not None:
            self._part_removed(old)
        row = self._row(record)
        self._txn.put(key, row)
        self._sums.charge(record.lsn, record.record_offset, record.stored_bytes)
        for extent in body.extents:
            self._sums.use(extent, record.version_seq, 0, key)

    def _part_removed(self, row: bytes) -> None:
        head = unpack_head(row)
        self._sums.discharge(head)
        for extent in schema.decode_part(row_body(row)).extents:
            self._sums.release(extent, head.version_seq, 0)

    # --- buckets ----------------------------------------------------------------------

    def _bucket(self, record: Record) -> None:
        body = schema.decode_bucket(record.body)
        old = self._txn.get(keys.bucket(record.key))
        if old is not None:
            self._forget_bucket(schema.decode_bucket(row_body(old)).bucket_id, body.bucket_id)
        self._replace(keys.bucket(record.key), record)
        self._txn.put(keys.bucket_name(body.bucket_id), record.key)
        listener = listener_row(record.key, body)
        if listener is not None:
            self._txn.put(keys.listener(body.bucket_id), listener)
            self._txn.put(keys.LISTENER, b"")
        elif old is not None:
            self._hush(body.bucket_id)
        self._objects[body.bucket_id] += 0

    def _bucket_gone(self, record: Record) -> None:
        old = self._txn.get(keys.bucket(record.key))
        if old is not None:  # in a replay perhaps an earlier one of the name
            self._forget_bucket(schema.decode_bucket(row_body(old)).bucket_id)
        self._remove(keys.bucket(record.key))
        self._forget_bucket(record.bucket_id)

    def _forget_bucket(self, bucket_id: int, heir_id: int = 0) -> None:
        """Drop what is kept by a bucket's id, unless the same bucket is written again."""
        if bucket_id == heir_id:
            return
        self._txn.delete(keys.bucket_name(bucket_id))
        self._hush(bucket_id)
        self._txn.delete(keys.counters(bucket_id))
        for sums in (self._objects, self._versions, self._bytes):
            sums.pop(bucket_id, None)

    def _hush(self, bucket_id: int) -> None:
        """The bucket tells nobody anything, any more; perhaps it was the last that did."""
        txn = self._txn
        if txn.delete(keys.listener(bucket_id)):
            last = txn.last(keys.LISTENER, keys.after(keys.LISTENER))
            if last is not None and last[0] == keys.LISTENER:
                txn.delete(keys.LISTENER)

    # --- the outbox -------------------------------------------------------------------

    def _event(self, record: Record) -> None:
        self._replace(keys.event(record.key, record.version_seq), record)

    def _delivered(self, record: Record) -> None:
        """End the destination's events up to the record's number.

        Copies of an event that compaction made stand before the record that ends it: it
        moves those alone that have not been ended.
        """
        self._replace(keys.delivered(record.key), record)
        prefix = keys.events_prefix(record.key)
        stop = keys.event(record.key, record.version_seq + 1)
        for key, row in list(self._txn.scan(prefix, stop)):
            self._txn.delete(key)
            self._sums.discharge(unpack_head(row))

    # --- segments of the log ------------------------------------------------------------

    def _segments(self, record: Record) -> None:
        """Make the log's segments exactly those that `record` names."""
        self._sums.write()
        body = schema.decode_segments(record.body)
        wanted = {segment: row for segment, *row in body.segments}
        rows = list(self._txn.scan(keys.SEGMENT, keys.after(keys.SEGMENT)))
        present = {keys.parse_segment(key): SegmentRow.unpack(row) for key, row in rows}
        for segment, row in present.items():
            if row.kind != schema.SEGMENT_DATA and segment not in wanted:
                self._txn.delete(keys.segment(segment))
        for segment, (start_seq, end_seq, start_lsn) in wanted.items():
            old = present.get(segment)
            is_same = old is not None and old.start_seq == start_seq
            live = (old.live_bytes, old.tombstone_bytes) if old and is_same else (0, 0)
            new = SegmentRow(schema.SEGMENT_LOG, 1, start_seq, end_seq, start_lsn, *live)
            if new != old:
                self._txn.put(keys.segment(segment), new.pack())
        if body.successor >= 0:
            row = SegmentRow(schema.SEGMENT_NEXT)
            self._txn.put(keys.segment(body.successor), row.pack())

    def _segment_freed(self, record: Record) -> None:
        self._sums.write()
        segment = schema.decode_segment_freed(record.body).segment
        if self._txn.delete(keys.segment(segment)):
            self._sums.quarantine(segment, 1)

    # --- rows -------------------------------------------------------------------------

    def _row(self, record: Record) -> bytes:
        return (
            pack_head(
                record.lsn,
                record.version_seq,
                record.record_offset,
                record.payload_offset,
                record.payload_offset - record.record_offset,
                len(record.payload),
                record.payload_xxh3,
                record.flags,
            )
            + record.body
        )

    def _replace(self, key: bytes, record: Record) -> None:
        self._remove(key)
        row = self._row(record)
        self._txn.put(key, row)
        self._sums.charge(record.lsn, record.record_offset, record.stored_bytes)

    def _remove(self, key: bytes) -> None:
        old = self._txn.get(key)
        if old is not None:
            self._txn.delete(key)
            self._sums.discharge(unpack_head(old))


def sweep_counters(txn: WriteTransaction) -> None:
    """Drop the counters of buckets that are gone; the end of a replay.

    A replay may meet what was deleted from a bucket, moved, after the bucket's own end.
    """
    for key, _row in list(txn.scan(b"n", keys.after(b"n"))):
        if txn.get(b"c" + key[1:]) is None:
            txn.delete(key)


_APPLY: dict[int, Callable[[Applier, Record], None]] = {
    log.BUCKET: Applier._bucket,
    log.BUCKET_GONE: Applier._bucket_gone,
    log.VERSION: Applier._version,
    log.VERSION_GONE: Applier._version_gone,
    log.MANIFEST: Applier._manifest,
    log.UPLOAD: Applier._upload,
    log.UPLOAD_GONE: Applier._upload_gone,
    log.PART: Applier._part,
    log.SEGMENTS: Applier._segments,
    log.SEGMENT_FREED: Applier._segment_freed,
    log.EVENT: Applier._event,
    log.DELIVERED: Applier._delivered,
}


def _is_same_version(record: Record, head: Head) -> bool:
    """Whether `record` is about the version of `head`: by number, or as the null version."""
    if record.flags & FLAG_NULL:
        return bool(head.flags & FLAG_NULL)
    return record.version_seq == head.version_seq and not head.flags & FLAG_NULL


def manifest_body(row: bytes) -> bytes:
    """The record's body in a manifest row, which ends with its owner's name."""
    owner_bytes = int.from_bytes(row[-2:], "big")
    return row_body(row)[: -2 - owner_bytes]


def manifest_owner(row: bytes) -> tuple[int, bytes]:
    """(bucket id, key) of the object that a manifest row belongs to."""
    owner_bytes = int.from_bytes(row[-2:], "big")
    owner = row[-2 - owner_bytes : -2]
    return int.from_bytes(owner[:4], "big"), owner[4:]
