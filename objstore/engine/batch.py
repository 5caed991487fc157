"""Writing one batch: the operations decide, the log takes it, the index follows.

The caller holds the index's write transaction, and with it the lock among processes.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from blockdev import BlockDevice, Clock
from objstore.config import SPACE_EVERY_BYTES, StoreConfig
from objstore.engine.apply import Applier
from objstore.engine.operation import Decision
from objstore.engine.roll import Roll
from objstore.engine.space import FOR_WRITES, free_segments, held_back
from objstore.engine.telling import Listening
from objstore.engine.ticket import Ticket
from objstore.errors import StoreFullError, StoreUnavailableError
from objstore.index import keys
from objstore.index.base import WriteTransaction
from objstore.index.schema import Tail
from objstore.log import format as log
from objstore.log.format import BATCH_HEAD_BYTES, BatchBuilder, Layout, SegmentHead, Superblock


class NothingToWriteError(Exception):
    """Every operation of the batch was refused or had nothing to do."""


class BatchWriter:
    """Writes batches, one at a time; one for each open store.

    `batches`: how many it has written.
    """

    def __init__(
        self,
        device: BlockDevice,
        superblock: Superblock,
        config: StoreConfig,
        clock: Clock,
        space_path: Path | None,
    ) -> None:
        self._device = device
        self._superblock = superblock
        self._layout = Layout.of(superblock)
        self._seed = log.batch_seed(superblock.store_id)
        self._config = config
        self._clock = clock
        self._space_path = space_path
        self._zeroed = (-1, 0)
        self._unasked_bytes = SPACE_EVERY_BYTES
        self.batches = 0

    def write(self, txn: WriteTransaction, batch: Sequence[Ticket]) -> bool:
        """Decide, write, update the index; whether the batch must be tried once more.

        What an operation decides is in its ticket.

        Raises:
            NothingToWriteError: no operation had anything to say; end the transaction.
            StoreError, DeviceError, IndexFullError: nothing of the batch happened.
        """
        row = txn.get(keys.TAIL)
        assert row is not None, "a store has a tail from the moment it is made"
        tail = Tail.unpack(row)
        bound_bytes = BATCH_HEAD_BYTES + sum(ticket.bound_bytes for ticket in batch)
        listening = Listening.of(txn)
        if listening is not None:
            bound_bytes = self._bound_with_events(listening, batch, bound_bytes)
        leaves = min(ticket.operation.leaves_segments for ticket in batch)
        roll = Roll.plan(txn, tail, self._layout, bound_bytes, leaves)
        if roll is None:
            return True
        has_space = self._has_space(txn, roll)
        builder = BatchBuilder(
            roll.offset_bytes, tail.next_seq, tail.next_lsn, tail.previous_hash, self._seed
        )
        applier = Applier(txn, self._layout, self._superblock.chunk_bytes, tail.next_seq)
        if roll.record is not None:
            builder.place(roll.record)
            applier.apply(roll.record)
        now_ms = self._clock.now_ns() // 1_000_000
        decision = Decision(txn, now_ms, builder.next_lsn, tail.next_bucket_id)
        decided = int(roll.record is not None and not roll.is_new_segment)
        for ticket in () if roll.goes_alone else batch:
            if not has_space and ticket.operation.leaves_segments == FOR_WRITES:
                ticket.error = StoreFullError("the store is full; delete something, then retry")
                continue
            try:
                records = ticket.operation.decide(decision)
            except Exception as error:  # it has emitted nothing: nobody else is concerned
                ticket.error = error
                continue
            for record in records:
                builder.place(record)
                applier.apply(record)
                if record.kind <= log.BUCKET_GONE:
                    decision.buckets.clear()
            if listening is not None:
                for record in listening.events(ticket.operation, records, now_ms):
                    builder.place(record)
                    applier.apply(record)
            decided += len(records)
            decision.next_lsn = builder.next_lsn
            ticket.records = records
        if not decided:
            # Nothing to say: the roll, if any, is taken back with the transaction.
            raise NothingToWriteError
        applier.finish()
        data, check = builder.finish(
            log_bytes=tail.log_bytes,
            time_ms=decision.now_ms,
            next_bucket_id=decision.next_bucket_id,
        )
        self._write(txn, roll, tail, data)
        txn.put(
            keys.TAIL,
            Tail(
                tail.next_seq + 1,
                builder.next_lsn,
                roll.segment,
                roll.offset_bytes + len(data),
                check,
                tail.log_bytes + len(data),
                decision.next_bucket_id,
                roll.successor,
                roll.log_segments,
            ).pack(),
        )
        self.batches += 1
        self._unasked_bytes += len(data)
        return roll.goes_alone

    def _bound_with_events(
        self, listening: Listening, batch: Sequence[Ticket], bound_bytes: int
    ) -> int:
        """As `bound_bytes`, with the events that the batch may cause.

        No more than a segment takes: they are mostly far smaller than their bound, and
        where they do not fit the batch is refused, to be tried again.
        """
        events_bytes = sum(listening.bound_bytes(ticket.operation) for ticket in batch)
        return max(bound_bytes, min(bound_bytes + events_bytes, self._layout.segment_bytes // 2))

    def _has_space(self, txn: WriteTransaction, roll: Roll) -> bool:
        """Whether the batch may write, and not only delete.

        That is decided when the log takes a segment, and holds until one is given back.
        """
        if roll.record is None:
            is_low = txn.get(keys.LOW) is not None
        else:
            wanted = held_back(self._layout, FOR_WRITES)
            is_low = free_segments(txn, self._layout, wanted) < wanted
            if is_low:
                txn.put(keys.LOW, b"")
            else:
                txn.delete(keys.LOW)
        return roll.successor >= 0 and not is_low and self.has_reserve()

    def _write(self, txn: WriteTransaction, roll: Roll, tail: Tail, data: bytes) -> None:
        """One durable write: the segment's head if it is new, the batch, zeroes ahead."""
        offset_bytes = roll.offset_bytes
        end = self._layout.offset(roll.segment) + self._layout.segment_bytes
        if offset_bytes + len(data) > end:
            # What an operation said it takes was of an earlier state; nothing was written.
            raise StoreUnavailableError("the object changed while this was prepared; try again")
        ahead_bytes = self._zero_ahead(txn, roll.segment, offset_bytes + len(data))
        if ahead_bytes:
            data += bytes(ahead_bytes)
        if roll.is_new_segment:
            head = SegmentHead(
                self._superblock.store_id, roll.segment, tail.next_seq, tail.previous_hash
            ).pack()
            data = head + data
            offset_bytes -= len(head)
        self._device.write(offset_bytes, data, fua=True)

    def _zero_ahead(self, txn: WriteTransaction, segment: int, end: int) -> int:
        """How many zeroes to write after the batch that ends at `end`.

        Nothing beyond the tail matters to anybody, so that writing there is always
        safe; how far it was done is shared so that each byte is zeroed once.
        """
        if self._zeroed[0] == segment and end <= self._zeroed[1]:
            return 0
        row = txn.get(keys.ZEROED)
        if row is not None:
            self._zeroed = (
                int.from_bytes(row[:4], "little"),
                int.from_bytes(row[4:], "little"),
            )
            if self._zeroed[0] == segment and end <= self._zeroed[1]:
                return 0
        limit = self._layout.offset(segment) + self._layout.segment_bytes
        want_bytes = min(self._config.zero_ahead_bytes, self._layout.segment_bytes // 16)
        ahead_bytes = min(want_bytes, limit - end)
        self._zeroed = (segment, end + ahead_bytes)
        txn.put(
            keys.ZEROED, segment.to_bytes(4, "little") + (end + ahead_bytes).to_bytes(8, "little")
        )
        return ahead_bytes

    def has_reserve(self) -> bool:
        """Whether the file system has more room left than what deletes are to find.

        While there is plenty, the system is asked once for so many bytes of the log.
        """
        if self._space_path is None or self._unasked_bytes < SPACE_EVERY_BYTES:
            return True
        stat = os.statvfs(self._space_path)
        has_reserve = stat.f_bavail * stat.f_frsize > self._config.reserve_bytes
        self._unasked_bytes = 0 if has_reserve else SPACE_EVERY_BYTES
        return has_reserve
