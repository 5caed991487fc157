"""Batches and records as bytes: what goes in comes out, and nothing else passes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from xxhash import xxh3_64_intdigest

from blockdev import MemoryDevice
from objstore.log import format as log
from objstore.log.format import (
    BATCH_HEAD_BYTES,
    BatchBuilder,
    BatchHead,
    FormatError,
    Layout,
    Record,
    SegmentHead,
    Superblock,
    parse_records,
)
from objstore.log.reader import (
    Batch,
    find_batch_after,
    log_segments,
    read_batch,
    read_batches,
    read_segment_head,
)

STORE_ID = bytes(range(16))
SEED = log.batch_seed(STORE_ID)
SEGMENT_BYTES = 64 * 1024
LAYOUT = Layout(SEGMENT_BYTES, 4)
PAGE = log.ALIGNMENT_BYTES

RECORDS = st.lists(
    st.builds(
        Record,
        kind=st.integers(0, 255),
        bucket_id=st.integers(0, 2**32 - 1),
        key=st.binary(max_size=50),
        body=st.binary(max_size=50),
        version_seq=st.integers(0, 2**64 - 1),
        flags=st.integers(0, 255),
        payload=st.binary(max_size=5000),
    ),
    max_size=5,
)


def batch_of(records: list[Record], offset_bytes: int = PAGE, seq: int = 7) -> bytes:
    builder = BatchBuilder(offset_bytes, seq, 100, 0xABCD, SEED)
    for record in records:
        record.payload_xxh3 = xxh3_64_intdigest(record.payload) if len(record.payload) else 0
        builder.place(record)
    assert builder.record_count == len(records)
    return builder.finish(log_bytes=8192, time_ms=5, next_bucket_id=3)[0]


def device_with(data: bytes, offset_bytes: int = PAGE) -> MemoryDevice:
    device = MemoryDevice(256 * 1024)
    device.write(offset_bytes, data)
    return device


def read_back(device: MemoryDevice, limit_bytes: int = 200_000) -> Batch:
    return read_batch(device, PAGE, limit_bytes, 7, 0xABCD, SEED)


@given(RECORDS)
def test_a_batch_is_read_back_as_it_was_placed(records: list[Record]) -> None:
    data = batch_of(records)
    assert len(data) % PAGE == 0
    batch = read_back(device_with(data))
    assert batch.records == records
    assert batch.damaged == []
    assert batch.end_offset_bytes == PAGE + len(data)
    assert [record.lsn for record in records] == list(range(100, 100 + len(records)))
    for record in records:
        at = record.payload_offset - PAGE
        assert data[at : at + len(record.payload)] == record.payload
        assert record.payload_offset == record.record_offset + record.record_bytes
        assert record.stored_bytes == record.record_bytes + len(record.payload)


@given(RECORDS, st.data())
def test_no_flipped_bit_passes_unnoticed(records: list[Record], data: st.DataObject) -> None:
    """In head or records the batch is refused, in a payload the record is named."""
    whole = batch_of(records)
    head, _check = BatchHead.unpack(whole, SEED)
    at = data.draw(st.integers(0, BATCH_HEAD_BYTES + head.body_bytes - 1))
    spoilt = bytearray(whole)
    spoilt[at] ^= 1 << data.draw(st.integers(0, 7))
    hit = [
        record
        for record in records
        if record.payload_offset <= PAGE + at < record.payload_offset + len(record.payload)
    ]
    if not hit:
        with pytest.raises(FormatError):
            read_back(device_with(bytes(spoilt)))
        return
    assert [record.lsn for record in read_back(device_with(bytes(spoilt))).damaged] == [hit[0].lsn]


def test_a_version_seq_of_its_own_is_kept_and_zero_becomes_the_lsn() -> None:
    records = [Record(log.VERSION, 1, b"a", b""), Record(log.VERSION, 1, b"b", b"", 42)]
    batch_of(records)
    assert [record.version_seq for record in records] == [100, 42]


@pytest.mark.parametrize("wrong", [{"seq": 8}, {"previous_hash": 1}, {"seed": SEED + 1}])
def test_a_batch_of_another_place_in_the_chain_is_refused(wrong: dict[str, int]) -> None:
    arguments = {"seq": 7, "previous_hash": 0xABCD, "seed": SEED, **wrong}
    with pytest.raises(FormatError):
        read_batch(device_with(batch_of([])), PAGE, 200_000, **arguments)


def test_a_batch_that_does_not_fit_its_segment_is_refused() -> None:
    device = device_with(batch_of([Record(log.VERSION, 1, b"a", b"", payload=b"p" * 9000)]))
    with pytest.raises(FormatError, match="reaches past its segment"):
        read_back(device, limit_bytes=3 * PAGE)
    with pytest.raises(FormatError, match="the segment is full"):
        read_back(device, limit_bytes=PAGE + 100)


def resealed(data: bytes, **changed: int) -> tuple[BatchHead, memoryview]:
    """A head with other figures and a right checksum, and the body."""
    head, _check = BatchHead.unpack(data, SEED)
    return head._replace(**changed), memoryview(data)[BATCH_HEAD_BYTES:][: head.body_bytes]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"record_count": 3}, "reaches past the end"),
        ({"record_count": 1}, "do not match their checksum"),
        ({"body_bytes": 90}, "do not match their checksum"),
        ({"meta_xxh3": 1}, "do not match their checksum"),
    ],
)
def test_records_that_do_not_add_up_are_refused(changed: dict[str, int], message: str) -> None:
    data = batch_of([Record(1, 1, b"a", b"b"), Record(1, 1, b"c", b"d")])
    head, body = resealed(data, **changed)
    with pytest.raises(FormatError, match=message):
        list(parse_records(head, body, 0))


def test_a_record_longer_than_its_batch_is_refused() -> None:
    head, body = resealed(batch_of([Record(1, 1, b"a", b"b" * 50)]))
    with pytest.raises(FormatError, match="reaches past the end"):
        list(parse_records(head, body[:-1], 0))


# --- superblock and segment heads ------------------------------------------------------

SUPERBLOCK = Superblock(STORE_ID, 2**40, SEGMENT_BYTES, 65536, 1)
HEAD = SegmentHead(STORE_ID, 2, 10, 0xABCD)


def test_superblock_and_segment_head_are_read_back() -> None:
    assert Superblock.unpack(SUPERBLOCK.pack()) == SUPERBLOCK
    assert SegmentHead.unpack(HEAD.pack()) == HEAD
    assert len(SUPERBLOCK.pack()) == len(HEAD.pack()) == PAGE


@given(st.integers(0, 71), st.integers(0, 7))
def test_no_flipped_bit_of_a_superblock_passes(at: int, bit: int) -> None:
    data = bytearray(SUPERBLOCK.pack())
    data[at] ^= 1 << bit
    with pytest.raises(FormatError):
        Superblock.unpack(data)


@given(st.integers(0, 55), st.integers(0, 7))
def test_no_flipped_bit_of_a_segment_head_passes(at: int, bit: int) -> None:
    data = bytearray(HEAD.pack())
    data[at] ^= 1 << bit
    with pytest.raises(FormatError):
        SegmentHead.unpack(data)


def test_segments_lie_one_after_another() -> None:
    layout = Layout.of(Superblock(STORE_ID, 64 * 1024 + 3 * SEGMENT_BYTES - 1, SEGMENT_BYTES, 1, 1))
    assert layout.segment_count == 2
    for segment in range(2):
        start = layout.offset(segment)
        assert start == 64 * 1024 + segment * SEGMENT_BYTES
        assert layout.segment_of(start) == layout.segment_of(start + SEGMENT_BYTES - 1) == segment


def log_device() -> MemoryDevice:
    """Log segments 2 (older) and 0; 1 holds data; 3 was never written."""
    device = MemoryDevice(LAYOUT.offset(4), page_bytes=PAGE)
    device.write(LAYOUT.offset(2), HEAD.pack())
    device.write(LAYOUT.offset(0), SegmentHead(STORE_ID, 0, 30, 1).pack())
    device.write(LAYOUT.offset(1), b"data")
    return device


def test_log_segments_are_found_oldest_first() -> None:
    device = log_device()
    assert [head.segment for head in log_segments(device, LAYOUT, STORE_ID)] == [2, 0]


def test_a_segment_head_in_the_wrong_place_or_of_another_store_is_none() -> None:
    device = log_device()
    device.write(LAYOUT.offset(3), HEAD.pack())
    assert read_segment_head(device, LAYOUT, 3, STORE_ID) is None
    assert read_segment_head(device, LAYOUT, 2, bytes(16)) is None
    assert read_segment_head(device, LAYOUT, 1, STORE_ID) is None
    assert read_segment_head(device, LAYOUT, 2, STORE_ID) == HEAD


# --- the end of a segment -------------------------------------------------------------


def chained(count: int, payload: bytes = b"") -> tuple[MemoryDevice, list[int]]:
    """A segment with so many batches, and where they are."""
    device = log_device()
    offset_bytes = LAYOUT.offset(2) + PAGE
    offsets, previous = [], HEAD.previous_hash
    for seq in range(10, 10 + count):
        builder = BatchBuilder(offset_bytes, seq, seq, previous, SEED)
        payload_xxh3 = xxh3_64_intdigest(payload) if payload else 0
        builder.place(Record(log.VERSION, 1, b"k", b"", payload=payload, payload_xxh3=payload_xxh3))
        data, previous = builder.finish(log_bytes=0, time_ms=0, next_bucket_id=1)
        device.write(offset_bytes, data)
        offsets.append(offset_bytes)
        offset_bytes += len(data)
    return device, offsets


def seqs(device: MemoryDevice, end_seq: int = 0) -> tuple[list[int], str]:
    """Numbers of the batches read, and the error that ended them, if one did."""
    found: list[int] = []
    for batch in read_batches(device, LAYOUT, HEAD, end_seq=end_seq):
        if isinstance(batch, FormatError):
            return found, str(batch)
        found.append(batch.head.seq)
    return found, ""


def test_a_segment_is_read_to_its_end_or_to_where_it_is_known_to_end() -> None:
    device, _offsets = chained(4)
    assert seqs(device) == ([10, 11, 12, 13], "not a batch")
    assert seqs(device, end_seq=12) == ([10, 11, 12], "")


def test_a_full_segment_ends_with_its_space() -> None:
    device, offsets = chained(SEGMENT_BYTES // PAGE - 1)
    found, error = seqs(device)
    assert len(found) == len(offsets)
    assert error == "the segment is full"


def test_a_payload_torn_at_the_end_ends_the_log_and_elsewhere_it_does_not() -> None:
    device, offsets = chained(3, payload=b"p" * 5000)
    for position, offset_bytes in enumerate(offsets):
        device.write(offset_bytes + PAGE, b"x")
        found, error = seqs(device)
        assert ("payload" in error) == (position == 2)
        assert found == [10, 11, 12][: 2 if position == 2 else 3]
    # Known to have gone on in another segment, it was whole once.
    assert seqs(device, end_seq=12) == ([10, 11, 12], "")


def test_looking_for_a_batch_behind_damage() -> None:
    device, offsets = chained(5)
    found = find_batch_after(device, LAYOUT, STORE_ID, 2, offsets[0], 12)
    assert found is not None
    assert (found[0], found[1].seq) == (offsets[2], 12)
    device.write(offsets[2] + 20, b"spoilt")
    found = find_batch_after(device, LAYOUT, STORE_ID, 2, offsets[0], 12)
    assert found is not None
    assert found[1].seq == 13
    assert find_batch_after(device, LAYOUT, STORE_ID, 2, offsets[0], 15) is None
    assert find_batch_after(device, LAYOUT, bytes(16), 2, offsets[0], 0) is None
    assert find_batch_after(device, LAYOUT, STORE_ID, 3, LAYOUT.offset(3), 0) is None
