"""Which segments are free, and who may write where.

A segment is free when no row stands for it: neither a log or data segment (``s``,
from the log) nor a lease or the quarantine (``~``, of the running processes).
Data segments are leased to a process, which hands out ranges of them to its
writers without asking anybody; a lease ends when the segment is full and every
range in it was committed or given up.
"""

from __future__ import annotations

import heapq
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from blockdev import BlockDevice
from objstore.engine.sharing import Slots
from objstore.errors import StoreFullError
from objstore.index import keys
from objstore.index.base import Index, IndexFullError, ReadTransaction, WriteTransaction
from objstore.index.schema import LeaseRow, SegmentRow, Tail
from objstore.log.format import Layout, align_up

FOR_WRITES = 3
FOR_DELETES = 2
FOR_MOVES = 1
FOR_COMPACTION = 0
"""How many segments must stay free when one is taken for a write, for a delete, to move
data to, and for the log of compaction.

A store that is full for writes can still take deletes, and compaction always has what
it needs to empty one segment: the contents of a full one, with the padding of its
batches, take at most two.
"""


def held_back(layout: Layout, leaves: int) -> int:
    """How many segments that is on this device: at most an eighth of a small one."""
    return min(leaves, layout.segment_count // 8)


def _taken(txn: ReadTransaction, first: int) -> Iterator[tuple[int, int]]:
    """(segment, run) of all that is in use from segment `first` on, ascending."""

    def rows(prefix: bytes) -> Iterator[tuple[int, int]]:
        before = txn.last(prefix, prefix + first.to_bytes(4, "big"))
        if before is not None:
            yield keys.parse_segment(before[0]), _run_of(before)
        for row in txn.scan(prefix + first.to_bytes(4, "big"), keys.after(prefix)):
            yield keys.parse_segment(row[0]), _run_of(row)

    quarantined = sorted(
        (keys.parse_segment(key), int.from_bytes(row, "little"))
        for key, row in txn.scan(keys.QUARANTINE, keys.after(keys.QUARANTINE))
    )
    yield from heapq.merge(rows(keys.SEGMENT), rows(keys.LEASE), quarantined)


def _run_of(row: tuple[bytes, bytes]) -> int:
    if row[0].startswith(keys.SEGMENT):
        return SegmentRow.unpack(row[1]).run
    return LeaseRow.unpack(row[1]).run


def find_free(txn: ReadTransaction, layout: Layout, run: int, first: int = 0) -> int:
    """The lowest segment from `first` on with `run` free ones in a row; -1 if none."""
    candidate = first
    for segment, length in _taken(txn, first):
        if segment >= candidate + run:
            break
        candidate = max(candidate, segment + length)
    return candidate if candidate + run <= layout.segment_count else -1


def free_segments(
    txn: ReadTransaction, layout: Layout, limit: int, without: range = range(0)
) -> int:
    """How many segments are free besides those of `without`; counts no further than `limit`."""
    count, first = 0, _hint(txn)
    while count < limit:
        candidate = find_free(txn, layout, 1, first)
        if candidate < 0:
            break
        first = candidate + 1
        if candidate in without:
            first = without.stop
        else:
            count += 1
    return count


def _hint(txn: ReadTransaction) -> int:
    row = txn.get(keys.ALLOCATION_HINT)
    return int.from_bytes(row, "little") if row else 0


def allocate(txn: WriteTransaction, layout: Layout, run: int, leaves: int) -> int:
    """A free segment (the first of `run`), or -1; the caller puts a row for it at once.

    `leaves`: how many others must be free after that: FOR_WRITES and the like.

    Everything below the hint is known to be taken, which keeps this from being a
    scan of the whole device each time.
    """
    found = find_free(txn, layout, run, _hint(txn))
    leaves = held_back(layout, leaves)
    if found >= 0 and free_segments(txn, layout, leaves, range(found, found + run)) < leaves:
        return -1
    if found >= 0 and run == 1:
        txn.put(keys.ALLOCATION_HINT, (found + 1).to_bytes(4, "little"))
    return found


def lower_hint(txn: WriteTransaction, segment: int) -> None:
    """Say that `segment` has become free."""
    row = txn.get(keys.ALLOCATION_HINT)
    if row and int.from_bytes(row, "little") > segment:
        txn.put(keys.ALLOCATION_HINT, segment.to_bytes(4, "little"))


@dataclass(slots=True, eq=False)
class Lease:
    """Adjacent data segments that this process writes into.

    `cursor`: where the next range begins; `pending`: ranges not yet settled.
    `is_doubtful`: a batch that refers to it was refused, and may be on the device.
    """

    segment: int
    cursor: int
    end: int
    pending: int = 0
    is_sealed: bool = False
    is_doubtful: bool = False


@dataclass(slots=True)
class Range:
    """A stretch of a leased segment; settle it once its extent is committed or given up."""

    lease: Lease
    offset_bytes: int
    length_bytes: int


class Space:
    """Hands out ranges of the data segments; one per open store, for any thread."""

    def __init__(self, device: BlockDevice, index: Index, layout: Layout, slots: Slots) -> None:
        self._device = device
        self._index = index
        self._layout = layout
        self._slots = slots
        self._mutex = threading.Lock()
        self._shared: Lease | None = None
        self._leases: set[Lease] = set()
        self.on_full: Callable[[], bool] = lambda: False

    def reserve(self, length_bytes: int, least_bytes: int, leaves: int = FOR_WRITES) -> Range:
        """A range of `length_bytes`, or less where so much is not free in one piece.

        Raises:
            StoreFullError: not even `least_bytes` are to be had.
        """
        try:
            return self._reserve(length_bytes, least_bytes, leaves)
        except StoreFullError:
            if not self.on_full():  # what was freed a moment ago may do
                raise
            return self._reserve(length_bytes, least_bytes, leaves)

    def _reserve(self, length_bytes: int, least_bytes: int, leaves: int) -> Range:
        length_bytes = align_up(length_bytes)
        if length_bytes > self._layout.segment_bytes // 2:
            return self._reserve_run(length_bytes, align_up(least_bytes), leaves)
        with self._mutex:
            lease = self._shared
            if lease is None or lease.cursor + length_bytes > lease.end:
                self._seal_shared()
                lease = self._shared = self._lease(1, leaves)
                if lease is None:
                    raise StoreFullError("the store is full; delete something, then retry")
            reserved = Range(lease, lease.cursor, length_bytes)
            lease.cursor += length_bytes
            lease.pending += 1
            return reserved

    def _reserve_run(self, length_bytes: int, least_bytes: int, leaves: int) -> Range:
        run = -(-length_bytes // self._layout.segment_bytes)
        while run:
            with self._mutex:
                lease = self._lease(run, leaves)
            if lease is not None:
                lease.pending = 1
                lease.is_sealed = True
                free_bytes = run * self._layout.segment_bytes
                return Range(lease, lease.cursor, min(length_bytes, free_bytes))
            run //= 2
            if run * self._layout.segment_bytes < least_bytes:
                break
        raise StoreFullError("the store is full; delete something, then retry")

    def shrink(self, reserved: Range, used_bytes: int) -> None:
        """Give back what a range did not need, if nothing was handed out after it."""
        with self._mutex:
            end = reserved.offset_bytes + reserved.length_bytes
            if reserved.lease.cursor == end and not reserved.lease.is_sealed:
                reserved.lease.cursor = reserved.offset_bytes + align_up(used_bytes)
                reserved.length_bytes = align_up(used_bytes)

    def settle(self, reserved: Range, *, is_doubtful: bool) -> None:
        """The range's extent is committed, or its bytes are not wanted any more.

        `is_doubtful`: the commit was tried and failed; see `release_lease`.
        """
        with self._mutex:
            reserved.lease.pending -= 1
            reserved.lease.is_doubtful |= is_doubtful
            self._release_if_done(reserved.lease)

    def end_all(self) -> None:
        """Give every lease up; nothing may be writing any more."""
        with self._mutex:
            self._seal_shared()
            for lease in list(self._leases):
                lease.pending, lease.is_sealed = 0, True
                self._release_if_done(lease)

    def _seal_shared(self) -> None:
        if self._shared is not None:
            self._shared.is_sealed = True
            self._release_if_done(self._shared)
            self._shared = None

    def _lease(self, run: int, leaves: int) -> Lease | None:
        try:
            with self._index.write() as txn:
                segment = allocate(txn, self._layout, run, leaves)
                if segment < 0:
                    return None
                row = LeaseRow(run, self._slots.slot)
                txn.put(keys.lease(segment), row.pack())
        except IndexFullError as error:
            raise StoreFullError(f"no space left for the index: {error}") from error
        start = self._layout.offset(segment)
        lease = Lease(segment, start, start + run * self._layout.segment_bytes)
        self._leases.add(lease)
        return lease

    def _release_if_done(self, lease: Lease) -> None:
        if not lease.is_sealed or lease.pending or lease not in self._leases:
            return
        try:
            with self._index.write() as txn:
                release_lease(txn, lease.segment, is_doubtful=lease.is_doubtful)
        except IndexFullError:
            return  # the lease stands until the store is closed; what is in it is safe
        self._leases.discard(lease)


def release_lease(txn: WriteTransaction, segment: int, *, is_doubtful: bool) -> None:
    """End a lease; segments with nothing alive in them go to quarantine.

    `is_doubtful`: a writer may have got its batch onto the device and no further: its
    process died, or the index had no room, or the device said that it failed and had
    not.  Such a batch, at the very end of the log, comes back in a replay, and what it
    refers to must still be there.  So these segments stay as they are until another
    batch has been written over it: quarantine by the number of the next one.
    """
    row = txn.get(keys.lease(segment))
    if row is None:
        return
    txn.delete(keys.lease(segment))
    run = LeaseRow.unpack(row).run
    used = txn.get(keys.segment(segment))
    used_run = SegmentRow.unpack(used).run if used else 0
    if used_run < run:
        tail = txn.get(keys.TAIL)
        next_seq = Tail.unpack(tail).next_seq if tail else 1
        key = keys.quarantine(next_seq if is_doubtful else next_seq - 1, segment + used_run)
        txn.put(key, (run - used_run).to_bytes(4, "little"))


def waits_for_a_batch(txn: ReadTransaction) -> bool:
    """Whether something is in quarantine that the next batch will let go."""
    row = txn.get(keys.TAIL)
    next_seq = Tail.unpack(row).next_seq if row else 1
    start = keys.QUARANTINE + next_seq.to_bytes(8, "big")
    return any(True for _row in txn.scan(start, keys.after(keys.QUARANTINE)))


def reap_leases(index: Index, slots: Slots, *, own: bool = False) -> int:
    """End the leases of processes that have died; how many there were.

    `own`: also those of this process's slot, which an earlier holder has left;
    for use before the first lease.
    """

    def is_dead(row: bytes) -> bool:
        slot = LeaseRow.unpack(row).slot
        return own if slot == slots.slot else not slots.is_alive(slot)

    with index.read() as txn:
        if not any(is_dead(row) for _key, row in txn.scan(keys.LEASE, keys.after(keys.LEASE))):
            return 0
    with index.write() as txn:
        dead = [
            keys.parse_segment(key)
            for key, row in txn.scan(keys.LEASE, keys.after(keys.LEASE))
            if is_dead(row)
        ]
        for segment in dead:
            release_lease(txn, segment, is_doubtful=True)
    return len(dead)


def release_quarantine(index: Index, device: BlockDevice, layout: Layout, slots: Slots) -> int:
    """Give back segments that no reader can be in any more; how many there were.

    Only one process at a time may do this.  The bytes are discarded while the
    quarantine still stands, since afterwards somebody may be writing there.
    """
    with index.write() as txn:
        # Under the write lock: a reader that pins later begins its look-up later, too,
        # and sees nothing of what this transaction finds in quarantine.
        oldest_pin = slots.oldest_pin()
        tail = txn.get(keys.TAIL)
        ripe_before = min(oldest_pin, Tail.unpack(tail).next_seq if tail else 0)
        ripe = []
        held: set[int] = set()
        # The latest first: a segment may have fallen free several times within one lease,
        # and a reader that holds it back for the last time does so for all times before.
        for key, row in reversed(list(txn.scan(keys.QUARANTINE, keys.after(keys.QUARANTINE)))):
            freed_seq = int.from_bytes(key[2:10], "big")
            segment, run = keys.parse_segment(key), int.from_bytes(row, "little")
            segments = range(segment, segment + run)
            if txn.get(keys.segment(segment)) or txn.get(keys.lease(segment)):
                txn.delete(key)  # in use again by the lease it was in; it will come back here
            elif freed_seq < ripe_before and held.isdisjoint(segments):
                ripe.append((key, segment, run))
            else:
                held.update(segments)
    for _key, segment, run in ripe:
        device.discard(layout.offset(segment), run * layout.segment_bytes)
    if ripe:
        with index.write() as txn:
            for key, segment, _run in ripe:
                txn.delete(key)
                lower_hint(txn, segment)
            wanted = held_back(layout, FOR_WRITES)
            if free_segments(txn, layout, wanted) == wanted:
                txn.delete(keys.LOW)
    return len(ripe)
