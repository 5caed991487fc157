"""What records make of the index, held against a naive model, and against their replay.

Versions of every kind are put, replaced and removed in any order; log segments are
compacted in any order, as the engine does it, with its own judgement of what lives.
The rows must keep the invariants that `objstore.engine.apply` states, and a replay of
the records that survived must give the same rows.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from objstore.engine.apply import Applier
from objstore.engine.compaction import MoveRecords
from objstore.engine.extents import stored_bytes
from objstore.engine.operation import Decision
from objstore.engine.segment_sums import settle_data_segments
from objstore.index import keys, schema
from objstore.index.base import ReadTransaction
from objstore.index.memory_index import MemoryIndex
from objstore.index.schema import (
    FLAG_DELETE_MARKER,
    FLAG_EXTENTS,
    FLAG_NULL,
    Counters,
    Extent,
    GoneBody,
    SegmentRow,
    VersionBody,
    unpack_head,
)
from objstore.log import format as log
from objstore.log.format import BatchBuilder, Layout, Record

LAYOUT = Layout(64 * 1024, 1000)
CHUNK_BYTES = 4096
FIRST_DATA_SEGMENT = 500
RECORDS_A_SEGMENT = 5
BUCKET = 7
NAMES = (b"a", b"a\x00b")

PUTS = ("put", "put", "put null", "mark", "mark null", "share")
REMOVALS = ("remove", "remove", "remove null", "compact", "compact")

# (what, key, which) of one change; `which` picks a version, an extent or a segment.
CHANGES = st.lists(
    st.tuples(
        st.sampled_from((*PUTS, *REMOVALS)),
        st.sampled_from(NAMES),
        st.integers(0, 7),
    ),
    max_size=60,
)


@dataclass
class Version:
    is_null: bool
    is_marker: bool
    size_bytes: int
    extents: list[Extent]


@dataclass
class World:
    """A log of tiny segments, the index kept along it, and the model."""

    index: MemoryIndex = field(default_factory=MemoryIndex)
    segments: dict[int, list[Record]] = field(default_factory=dict)
    first_lsns: dict[int, int] = field(default_factory=dict)
    versions: dict[bytes, dict[int, Version]] = field(
        default_factory=lambda: {name: {} for name in NAMES}
    )
    next_lsn: int = 1
    next_segment: int = 0
    next_extent: int = 0

    def commit(self, records: list[Record]) -> None:
        with self.index.write() as txn:
            applier = Applier(txn, LAYOUT, CHUNK_BYTES, self.next_lsn)
            for record in records:
                self._place(record, txn)
                applier.apply(record)
            applier.finish()

    def _place(self, record: Record, txn: MemoryIndex) -> None:
        segment = self.next_segment - 1
        if segment < 0 or len(self.segments[segment]) >= RECORDS_A_SEGMENT:
            segment = self.next_segment
            self.next_segment += 1
            self.segments[segment], self.first_lsns[segment] = [], self.next_lsn
            txn.put(keys.segment(segment), SegmentRow(schema.SEGMENT_LOG).pack())
        offset = LAYOUT.offset(segment) + 4096 * (1 + len(self.segments[segment]))
        BatchBuilder(offset, 1, self.next_lsn, 0, 0).place(record)
        self.next_lsn += 1
        self.segments[segment].append(record)

    # --- changes ----------------------------------------------------------------------

    def put(self, name: bytes, which: int, *, is_null: bool, is_marker: bool) -> None:
        extents = [] if is_marker or which % 2 else [self._new_extent(which)]
        self._put(name, Version(is_null, is_marker, 0 if is_marker else 100 + which, extents))

    def share(self, name: bytes, which: int) -> None:
        """A version that uses another one's extents, as a copy does."""
        sources = [v for each in self.versions.values() for v in each.values() if v.extents]
        if sources:
            source = sources[which % len(sources)]
            self._put(name, Version(which % 2 == 0, False, 50, list(source.extents)))

    def _put(self, name: bytes, version: Version) -> None:
        flags = (
            version.is_null * FLAG_NULL
            | version.is_marker * FLAG_DELETE_MARKER
            | bool(version.extents) * FLAG_EXTENTS
        )
        body = VersionBody(
            version.size_bytes, 0, b"", 0, "", "", [], {}, {}, {}, "", version.extents
        )
        if version.is_null:
            self._forget_null(name)
        self.versions[name][self.next_lsn] = version
        self.commit([Record(log.VERSION, BUCKET, name, schema.encode(body), 0, flags)])

    def _forget_null(self, name: bytes) -> None:
        old = [seq for seq, version in self.versions[name].items() if version.is_null]
        for seq in old:
            del self.versions[name][seq]

    def _new_extent(self, which: int) -> Extent:
        self.next_extent += 1
        segment = FIRST_DATA_SEGMENT + self.next_extent // 3
        offset = LAYOUT.offset(segment) + (self.next_extent % 3) * 16_384
        return Extent(offset, 1_000 + which, self.next_extent)

    def remove(self, name: bytes, which: int, *, is_null: bool) -> None:
        """Of numbered versions: one that is there, or now and then one that is not."""
        numbered = [s for s, v in sorted(self.versions[name].items()) if not v.is_null]
        seq = numbered[which % len(numbered)] if numbered else 10**6
        gone = schema.encode(GoneBody())
        if is_null:
            if not any(version.is_null for version in self.versions[name].values()):
                return  # the engine writes no tombstone for what is not there
            self._forget_null(name)
            self.commit([Record(log.VERSION_GONE, BUCKET, name, gone, 1, FLAG_NULL)])
        elif numbered:
            del self.versions[name][seq]
            self.commit([Record(log.VERSION_GONE, BUCKET, name, gone, seq)])

    def compact(self, which: int) -> None:
        sealed = sorted(self.segments)[:-1]
        if not sealed:
            return
        segment = sealed[which % len(sealed)]
        kept_from = min(lsn for name, lsn in self.first_lsns.items() if name != segment)
        with self.index.write() as txn:
            decision = Decision(txn, 0, self.next_lsn, 0)
            moved = MoveRecords(self.segments[segment], kept_from).decide(decision)
        self.commit(list(moved))
        with self.index.write() as txn:
            row = txn.get(keys.segment(segment))
            assert row is not None
            assert SegmentRow.unpack(row).live_bytes == 0
            txn.delete(keys.segment(segment))
        del self.segments[segment], self.first_lsns[segment]

    # --- what must hold -----------------------------------------------------------------

    def replayed(self) -> MemoryIndex:
        index = MemoryIndex()
        with index.write() as txn:
            for segment in self.segments:
                txn.put(keys.segment(segment), SegmentRow(schema.SEGMENT_LOG).pack())
            applier = Applier(txn, LAYOUT, CHUNK_BYTES, None, self.first_lsns)
            for segment in sorted(self.segments):
                for record in self.segments[segment]:
                    applier.apply(record)
            applier.finish()
            settle_data_segments(txn, LAYOUT, CHUNK_BYTES)
        return index

    def assert_as_modelled(self) -> None:
        with self.index.read() as txn:
            for name in NAMES:
                self._assert_versions(txn, name)
            self._assert_counters(txn)
            self._assert_segments(txn)

    def _assert_versions(self, txn: ReadTransaction, name: bytes) -> None:
        expected = self.versions[name]
        row = txn.get(keys.current(BUCKET, name))
        current = unpack_head(row).version_seq if row is not None else None
        assert current == max(expected, default=None)
        prefix = keys.versions_prefix(BUCKET, name)
        older = [unpack_head(row) for _key, row in txn.scan(prefix, keys.after(prefix))]
        assert [head.version_seq for head in older] == sorted(expected, reverse=True)[1:]
        nulls = [head.version_seq for head in older if head.flags & FLAG_NULL]
        place = txn.get(keys.null_position(BUCKET, name))
        assert ([] if place is None else [int.from_bytes(place, "big")]) == nulls
        for seq, version in expected.items():
            head = next((head for head in older if head.version_seq == seq), None)
            if head is None:
                assert row is not None
                head = unpack_head(row)
            assert bool(head.flags & FLAG_NULL) == version.is_null
            assert bool(head.flags & FLAG_DELETE_MARKER) == version.is_marker

    def _assert_counters(self, txn: ReadTransaction) -> None:
        row = txn.get(keys.counters(BUCKET))
        counted = Counters.unpack(row) if row is not None else Counters()
        tops = [each[max(each)] for each in self.versions.values() if each]
        everything = [version for each in self.versions.values() for version in each.values()]
        assert counted == Counters(
            sum(not version.is_marker for version in tops),
            len(everything),
            sum(version.size_bytes for version in everything),
        )

    def _assert_segments(self, txn: ReadTransaction) -> None:
        used: set[tuple[int, int]] = set()
        live: defaultdict[int, int] = defaultdict(int)
        distinct: set[Extent] = set()
        for each in self.versions.values():
            for seq, version in each.items():
                used |= {(extent.offset_bytes, seq) for extent in version.extents}
                distinct |= set(version.extents)
        rows = [keys.parse_extent(key) for key, _row in txn.scan(b"x", b"y")]
        assert {(offset, owner) for _segment, offset, owner, _start in rows} == used
        for extent in distinct:
            segment = LAYOUT.segment_of(extent.offset_bytes)
            live[segment] += stored_bytes(extent.length_bytes, CHUNK_BYTES)
        for prefix in (b"o", b"v"):
            for _key, row in txn.scan(prefix, keys.after(prefix)):
                head = unpack_head(row)
                live[LAYOUT.segment_of(head.record_offset)] += head.charge_bytes
        found = {
            keys.parse_segment(key): SegmentRow.unpack(row) for key, row in txn.scan(b"s", b"t")
        }
        assert {name: row.live_bytes for name, row in found.items() if row.live_bytes} == live


def rows_of(index: MemoryIndex) -> list[tuple[bytes, bytes]]:
    """All but counters of nothing: a replay meets the bucket's own record, this log has none."""
    with index.read() as txn:
        rows = [*txn.scan(b"\x00", keys.RUNTIME)]
    return [(key, row) for key, row in rows if any(row) or not key.startswith(b"n")]


@given(CHANGES)
def test_rows_are_as_modelled_and_as_replayed(changes: list[tuple[str, bytes, int]]) -> None:
    world = World()
    for what, name, which in changes:
        verb, *kinds = what.split()
        if verb == "compact":
            world.compact(which)
        elif verb == "share":
            world.share(name, which)
        elif verb == "remove":
            world.remove(name, which, is_null=bool(kinds))
        else:
            world.put(name, which, is_null=bool(kinds), is_marker=verb == "mark")
        world.assert_as_modelled()
    assert rows_of(world.replayed()) == rows_of(world.index)
