"""Reading the log back: heads of segments, batches in order, what lies past the end."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from blockdev import BlockDevice, DeviceIOError
from objstore.config import RESYNC_BYTES
from objstore.log.format import (
    ALIGNMENT_BYTES,
    BATCH_HEAD_BYTES,
    BATCH_MAGIC,
    SUPERBLOCK_COPIES,
    BatchHead,
    FormatError,
    Layout,
    Record,
    SegmentHead,
    Superblock,
    UnknownFormatError,
    batch_seed,
    parse_records,
    payload_is_whole,
)


class Batch(NamedTuple):
    """A batch as read: `head_hash` is what the next one must carry.

    `damaged`: those of its records whose payload does not match its checksum.
    """

    head: BatchHead
    head_hash: int
    offset_bytes: int
    records: list[Record]
    damaged: list[Record]

    @property
    def end_offset_bytes(self) -> int:
        return self.offset_bytes + self.head.stored_bytes


def read_bytes(device: BlockDevice, offset_bytes: int, length_bytes: int) -> bytearray:
    """A range of the device in memory."""
    buffer = bytearray(length_bytes)
    device.read_into(offset_bytes, buffer)
    return buffer


class SuperblockCopies(NamedTuple):
    """What the two copies of the superblock say.

    `superblock`: None on a device of zeroes.  `damaged`: by their places, the copies that
    should be written again, and what is wrong with them in words.
    """

    superblock: Superblock | None
    damaged: dict[int, str]


def read_superblock_copies(device: BlockDevice) -> SuperblockCopies:
    """Both copies of the superblock; one that is whole is enough.

    Raises:
        FormatError: neither copy is whole, or they are of different stores, or one is
            whole and of a format that is unknown.
    """
    if device.geometry.size_bytes < ALIGNMENT_BYTES:
        raise FormatError("the device is too small for a store")
    whole: list[Superblock] = []
    damaged: dict[int, str] = {}
    is_blank = True
    for offset_bytes in SUPERBLOCK_COPIES:
        if offset_bytes + ALIGNMENT_BYTES > device.geometry.size_bytes:
            continue
        try:
            data = read_bytes(device, offset_bytes, ALIGNMENT_BYTES)
            if not any(data):
                damaged[offset_bytes] = "blank"
                continue
            is_blank = False
            whole.append(Superblock.unpack(data))
        except UnknownFormatError:
            raise
        except (FormatError, DeviceIOError) as error:
            is_blank = False
            damaged[offset_bytes] = str(error)
    if not whole and is_blank:
        return SuperblockCopies(None, {})
    if not whole:
        texts = "; ".join(f"at byte {offset}: {text}" for offset, text in damaged.items())
        raise FormatError(f"no copy of the superblock is whole ({texts})")
    if whole[0] != whole[-1]:
        names = " and ".join(copy.store_id.hex() for copy in whole)
        raise FormatError(f"the copies of the superblock are of different stores ({names})")
    return SuperblockCopies(whole[0], damaged)


def read_superblock(device: BlockDevice) -> Superblock | None:
    """The superblock, from whichever copy is whole; None on a device of zeroes.

    Raises:
        FormatError: as `read_superblock_copies`.
    """
    return read_superblock_copies(device).superblock


def read_segment_head(
    device: BlockDevice, layout: Layout, segment: int, store_id: bytes
) -> SegmentHead | None:
    """The head of log segment `segment`, or None if it is not one of this store."""
    data = read_bytes(device, layout.offset(segment), ALIGNMENT_BYTES)
    try:
        head = SegmentHead.unpack(data)
    except FormatError:
        return None
    return head if head.segment == segment and head.store_id == store_id else None


def log_segments(device: BlockDevice, layout: Layout, store_id: bytes) -> list[SegmentHead]:
    """Heads of everything on the device that looks like a log segment, oldest first."""
    heads = []
    seen: set[int] = set()
    start = layout.offset(0)
    for extent in device.extents(start, layout.segment_count * layout.segment_bytes):
        if not extent.allocated:
            continue
        first = layout.segment_of(extent.offset_bytes)
        last = layout.segment_of(extent.offset_bytes + extent.length_bytes - 1)
        for segment in range(first, last + 1):
            if segment in seen:
                continue
            seen.add(segment)
            head = read_segment_head(device, layout, segment, store_id)
            if head is not None:
                heads.append(head)
    return sorted(heads, key=lambda head: head.start_seq)


def read_batch(
    device: BlockDevice,
    offset_bytes: int,
    limit_bytes: int,
    seq: int,
    previous_hash: int,
    seed: int,
) -> Batch:
    """The batch at `offset_bytes`, which must be number `seq` and carry `previous_hash`.

    Every checksum is verified.  Payloads that do not match theirs are for the caller to
    judge: see `Batch.damaged`.

    Raises:
        FormatError: there is no such batch, or what it says is not whole.
    """
    if offset_bytes + ALIGNMENT_BYTES > limit_bytes:
        raise FormatError("the segment is full")
    page = read_bytes(device, offset_bytes, ALIGNMENT_BYTES)
    head, head_hash = BatchHead.unpack(page, seed)
    if head.seq != seq or head.previous_hash != previous_hash:
        raise FormatError(f"batch {head.seq} stands where batch {seq} belongs")
    if offset_bytes + head.stored_bytes > limit_bytes:
        raise FormatError(f"batch {seq} reaches past its segment")
    if head.stored_bytes > ALIGNMENT_BYTES:
        page += read_bytes(
            device, offset_bytes + ALIGNMENT_BYTES, head.stored_bytes - ALIGNMENT_BYTES
        )
    body = memoryview(page)[BATCH_HEAD_BYTES : BATCH_HEAD_BYTES + head.body_bytes]
    records = list(parse_records(head, body, offset_bytes + BATCH_HEAD_BYTES))
    damaged = [record for record in records if not payload_is_whole(record)]
    return Batch(head, head_hash, offset_bytes, records, damaged)


class Position(NamedTuple):
    """Where a batch is expected, its number, and the hash of the one before."""

    offset_bytes: int
    seq: int
    previous_hash: int


def first_position(layout: Layout, head: SegmentHead) -> Position:
    """Where a segment's first batch is."""
    offset_bytes = layout.offset(head.segment) + ALIGNMENT_BYTES
    return Position(offset_bytes, head.start_seq, head.previous_hash)


def read_batches(
    device: BlockDevice,
    layout: Layout,
    head: SegmentHead,
    *,
    end_seq: int = 0,
    position: Position | None = None,
) -> Iterator[Batch | FormatError]:
    """Batches of a segment in order; last, the error that ended them.

    `end_seq`: the segment's last batch, if it is known; then what follows it, which was
    never finished, is not read.  `position`: where to begin, if not at the first batch.

    The last batch of an open segment ends the log if a payload of it is torn: it was
    never acknowledged.  A batch with another behind it, or that the log is known to
    go beyond, was; then a payload that does not match is damage, and only that.
    """
    limit_bytes = layout.offset(head.segment) + layout.segment_bytes
    offset_bytes, seq, previous_hash = position or first_position(layout, head)
    seed = batch_seed(head.store_id)
    while True:
        try:
            batch = read_batch(device, offset_bytes, limit_bytes, seq, previous_hash, seed)
            end = batch.end_offset_bytes
            if batch.damaged and not end_seq:
                store_id, segment = head.store_id, head.segment
                if find_batch_after(device, layout, store_id, segment, end, seq + 1) is None:
                    raise FormatError(f"batch {seq}: a payload was never written to its end")
        except FormatError as error:
            yield error
            return
        yield batch
        if seq == end_seq:
            return
        offset_bytes, seq, previous_hash = end, seq + 1, batch.head_hash


def readable_batches(
    device: BlockDevice, layout: Layout, head: SegmentHead, *, end_seq: int = 0
) -> Iterator[Batch]:
    """All batches of a segment that can be read, in order, also those behind damage."""
    position: Position | None = first_position(layout, head)
    while position is not None:
        wanted, position = position, None
        for batch in read_batches(device, layout, head, end_seq=end_seq, position=wanted):
            if isinstance(batch, FormatError):
                position = position_after(device, layout, head, wanted)
                break
            wanted = Position(batch.end_offset_bytes, batch.head.seq + 1, batch.head_hash)
            yield batch


def position_after(
    device: BlockDevice, layout: Layout, head: SegmentHead, damaged: Position
) -> Position | None:
    """Where to read on behind a batch that cannot be read; None at the log's end."""
    store_id, segment = head.store_id, head.segment
    least_seq = damaged.seq + 1
    later = find_batch_after(device, layout, store_id, segment, damaged.offset_bytes, least_seq)
    return Position(later[0], later[1].seq, later[1].previous_hash) if later else None


def find_batch_after(
    device: BlockDevice,
    layout: Layout,
    store_id: bytes,
    segment: int,
    offset_bytes: int,
    least_seq: int,
) -> tuple[int, BatchHead] | None:
    """The first batch header at or after `offset_bytes` numbered at least `least_seq`.

    For telling a torn tail, after which nothing was ever written, from damage
    in the midst of the log.
    """
    limit_bytes = layout.offset(segment) + layout.segment_bytes
    seed = batch_seed(store_id)
    while offset_bytes < limit_bytes:
        window = read_bytes(device, offset_bytes, min(RESYNC_BYTES, limit_bytes - offset_bytes))
        for position in range(0, len(window), ALIGNMENT_BYTES):
            if not window.startswith(BATCH_MAGIC, position):
                continue
            try:
                head, _check = BatchHead.unpack(memoryview(window)[position:], seed)
            except FormatError:
                continue
            if head.seq >= least_seq:
                return offset_bytes + position, head
        offset_bytes += len(window)
    return None
