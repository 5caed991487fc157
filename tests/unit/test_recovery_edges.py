"""What a log may say that is rare: no successor, two damaged beginnings, an extent named twice."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from objstore import ObjectStore
from objstore.engine.apply import Applier
from objstore.engine.check import check_store, rebuild_index
from objstore.engine.core import tail_of
from objstore.engine.extents import stored_bytes
from objstore.errors import CorruptionError, StoreFullError
from objstore.index import keys, schema
from objstore.index.memory_index import MemoryIndex
from objstore.index.schema import (
    FLAG_EXTENTS,
    Counters,
    Extent,
    GoneBody,
    SegmentFreedBody,
    SegmentRow,
    VersionBody,
)
from objstore.log import format as log
from objstore.log.format import BatchBuilder, Layout, Record
from tests.unit.recovery_stores import (
    BUCKET,
    SEGMENT_BATCHES,
    Sandbox,
    contents,
    fill,
    live_rows,
)


@pytest.fixture
def sandbox(tmp_path: Path) -> Sandbox:
    return Sandbox(tmp_path)


def test_a_log_that_had_no_room_to_name_a_successor(sandbox: Sandbox) -> None:
    """Deletes go on in a full store until the log is in its last segment; then it is lost."""
    with sandbox.open() as store:
        put: dict[str, bytes] = {}
        with contextlib.suppress(StoreFullError):
            while True:
                put |= fill(store, 1, f"{len(put):05}")
        for key in list(put):
            with store._core.index.read() as txn:
                if tail_of(txn).successor < 0:
                    break
            store.delete(BUCKET, key)
            del put[key]
        else:
            raise AssertionError("the log never runs out of segments")
        rows = live_rows(store)
    with sandbox.reopen_from_log() as store:
        assert live_rows(store) == rows
        assert contents(store) == put
        assert store.check() == []
        store.delete(BUCKET, next(iter(put)))
        assert store.check() == []


def test_two_segments_in_a_row_have_lost_their_first_batch(sandbox: Sandbox) -> None:
    """The second of them is named by nobody who can still be read; what is in it is kept."""
    with sandbox.open() as store:
        put = fill(store, 5 * SEGMENT_BATCHES)
    heads = sandbox.heads()
    assert len(heads) >= 5
    if len(sandbox.batches()) - heads[-1].start_seq < 2:  # something must follow the damage
        with sandbox.open() as store:
            put |= fill(store, 3, "more")
    for head in sandbox.heads()[-2:]:
        sandbox.flip(sandbox.layout.offset(head.segment) + log.ALIGNMENT_BYTES + 30)
    sandbox.lose_index()
    folder = sandbox.write_as_file()
    with pytest.raises(CorruptionError, match="rebuild-index"):
        ObjectStore.open(folder)
    report = rebuild_index(folder)
    assert report.problems
    assert check_store(folder) == []
    with ObjectStore.open(folder) as store:
        found = contents(store)
        assert len(put) - len(found) == 2, "one object in each of the batches that were damaged"
        assert found.items() <= put.items()
        store.put(BUCKET, "after", b"x")
        assert store.check() == []


# --- what records may say ----------------------------------------------------------------

LAYOUT = Layout(64 * 1024, 100)
CHUNK_BYTES = 4096
DATA_SEGMENT = 50
EXTENT = Extent(LAYOUT.offset(DATA_SEGMENT), 10_000, 77)


def applied(index: MemoryIndex, first_lsn: int, *records: Record) -> None:
    """`records` as a batch of log segment 0."""
    builder = BatchBuilder(LAYOUT.offset(0) + first_lsn * 8192, first_lsn, first_lsn, 0, 0)
    with index.write() as txn:
        txn.put(keys.segment(0), SegmentRow(schema.SEGMENT_LOG).pack())
        applier = Applier(txn, LAYOUT, CHUNK_BYTES, first_lsn)
        for record in records:
            builder.place(record)
            applier.apply(record)
        applier.finish()


def data_rows(index: MemoryIndex) -> dict[int, SegmentRow]:
    with index.read() as txn:
        rows = {
            keys.parse_segment(key): SegmentRow.unpack(row) for key, row in txn.scan(b"s", b"t")
        }
    return {segment: row for segment, row in rows.items() if row.kind == schema.SEGMENT_DATA}


def test_an_extent_that_a_version_uses_twice(tmp_path: Path) -> None:
    """It is there once, and falls free once."""
    index = MemoryIndex()
    body = VersionBody(20_000, 0, b"", 0, "", "", [], {}, {}, {}, "", [EXTENT, EXTENT])
    applied(index, 1, Record(log.VERSION, 7, b"key", schema.encode(body), 0, FLAG_EXTENTS))
    assert data_rows(index) == {
        DATA_SEGMENT: SegmentRow(
            schema.SEGMENT_DATA, live_bytes=stored_bytes(EXTENT.length_bytes, CHUNK_BYTES)
        )
    }
    applied(index, 2, Record(log.VERSION_GONE, 7, b"key", schema.encode(GoneBody()), 1))
    assert data_rows(index) == {}
    with index.read() as txn:
        assert list(txn.scan(b"x", b"y")) == []
        row = txn.get(keys.counters(7))
        assert row is not None
        assert Counters.unpack(row) == Counters()
        quarantined = [
            keys.parse_segment(key)
            for key, _row in txn.scan(keys.QUARANTINE, keys.after(keys.QUARANTINE))
        ]
    assert quarantined == [DATA_SEGMENT]


def test_a_segment_that_is_given_up_and_was_named_by_nobody(tmp_path: Path) -> None:
    """As where the record that named it is lost: there is nothing to give back."""
    index = MemoryIndex()
    applied(index, 1, Record(log.SEGMENT_FREED, 0, b"", schema.encode(SegmentFreedBody(9, 1))))
    with index.read() as txn:
        assert txn.get(keys.segment(9)) is None
        assert list(txn.scan(keys.QUARANTINE, keys.after(keys.QUARANTINE))) == []
