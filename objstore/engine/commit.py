"""The write path: operations queue up, a leader commits them as one batch.

Invariants:

1. What is acknowledged is on the device: an operation's caller is told only after
   the batch was written with forced unit access and the index transaction ended.
2. The order of batches on the device is the order of index transactions, in all
   processes: a batch is written while the index's write lock is held.
3. The index never runs ahead of the log: if the device write fails, the
   transaction is rolled back and this store writes no more until reopened.
4. An operation that is refused leaves no trace; it decides before it emits.
"""

from __future__ import annotations

import logging
import os
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from blockdev import BlockDevice, Clock, DeviceError, DeviceFullError
from objstore.config import StoreConfig
from objstore.engine.apply import Applier
from objstore.engine.roll import Roll
from objstore.engine.space import FOR_WRITES, free_segments, held_back
from objstore.errors import (
    InvalidArgumentError,
    StoreClosedError,
    StoreError,
    StoreFullError,
    StorePoisonedError,
    StoreUnavailableError,
)
from objstore.index import keys
from objstore.index.base import Index, IndexFullError, WriteTransaction
from objstore.index.schema import BucketBody, Tail
from objstore.log import format as log
from objstore.log.format import (
    BATCH_HEAD_BYTES,
    BatchBuilder,
    Layout,
    Record,
    SegmentHead,
    Superblock,
)

_LOG = logging.getLogger("objstore.commit")

_SPACE_EVERY_BYTES = 1024 * 1024


@dataclass(slots=True)
class Decision:
    """What an operation may look at, and take numbers from, while it decides.

    `buckets`: those looked up in this batch already; records about buckets empty it.
    """

    txn: WriteTransaction
    now_ms: int
    next_lsn: int
    next_bucket_id: int
    buckets: dict[str, BucketBody] = field(default_factory=dict)

    def take_bucket_id(self) -> int:
        self.next_bucket_id += 1
        return self.next_bucket_id - 1


class Operation(Protocol):
    """One mutation."""

    @property
    def size_bound_bytes(self) -> int:
        """The most that its records can take in the log."""
        ...

    @property
    def leaves_segments(self) -> int:
        """How many segments it must leave free: `space.FOR_WRITES` and the like."""
        ...

    def decide(self, decision: Decision) -> Sequence[Record]:
        """The records to write, in order; or raise a `StoreError` and nothing happens."""
        ...


class _Ticket:
    """An operation in the queue, and how to tell its caller.

    Callers that wait are woken in a chain: each wakes the next.  Were the leader to wake
    them all, every one would at once ask for the interpreter, which only one can have.
    `is_called`: its outcome stands, or the lead is its; it is in the chain.
    """

    __slots__ = (
        "_wake",
        "bound_bytes",
        "callback",
        "error",
        "is_called",
        "must_lead",
        "next",
        "operation",
        "records",
    )

    def __init__(
        self, operation: Operation, callback: Callable[[_Ticket], None] | None = None
    ) -> None:
        self.operation = operation
        self.bound_bytes = operation.size_bound_bytes
        self.callback = callback
        self.records: Sequence[Record] = ()
        self.error: BaseException | None = None
        self.must_lead = False
        self.is_called = False
        self.next: _Ticket | None = None
        self._wake = threading.Lock()
        self._wake.acquire()

    def wait(self) -> None:
        self._wake.acquire()

    def wake(self) -> None:
        self._wake.release()

    def pass_on(self) -> None:
        """Wake the next of the chain; idempotent."""
        successor, self.next = self.next, None
        if successor is not None:
            successor.wake()


class Committer:
    """Commits operations of many threads in batches; one per open store."""

    def __init__(
        self,
        device: BlockDevice,
        index: Index,
        superblock: Superblock,
        config: StoreConfig,
        clock: Clock,
        space_path: Path | None,
    ) -> None:
        self._device = device
        self._index = index
        self._superblock = superblock
        self._layout = Layout.of(superblock)
        self._seed = log.batch_seed(superblock.store_id)
        self._config = config
        self._clock = clock
        self._space_path = space_path
        self._mutex = threading.Lock()
        self._idle = threading.Condition(self._mutex)
        self._queue: deque[_Ticket] = deque()
        self._is_led = False
        self._failure: StoreUnavailableError | None = None
        self._thread: threading.Thread | None = None
        self._thread_wake = threading.Semaphore(0)
        self._thread_leads = False
        self._is_held = False
        self._zeroed = (-1, 0)
        self._unasked_bytes = _SPACE_EVERY_BYTES
        self.batches = 0

    # --- callers ------------------------------------------------------------------

    def commit(self, operation: Operation) -> Sequence[Record]:
        """Commit `operation` and return its records, placed; blocks until durable.

        Raises:
            StoreError: what the operation decided, or why the store cannot write.
        """
        ticket = _Ticket(operation)
        if self._enqueue(ticket):
            ticket.must_lead = True
        else:
            self._await(ticket)
        if ticket.must_lead:
            self._lead()
        if ticket.error is not None:
            raise ticket.error
        return ticket.records

    def _await(self, ticket: _Ticket) -> None:
        """Wait to be told the outcome, or to lead."""
        try:
            ticket.wait()
            ticket.pass_on()
        except BaseException:  # a signal's exception, such as KeyboardInterrupt
            with self._mutex:
                if not ticket.is_called:
                    # Nobody waits any more: another thread has to lead when its turn comes.
                    ticket.callback = _forget
            ticket.pass_on()
            if ticket.must_lead:
                self._lead()
            raise

    def submit(
        self,
        operation: Operation,
        done: Callable[[Sequence[Record], BaseException | None], None],
        *,
        hold: bool = False,
    ) -> None:
        """Commit `operation` in the background; `done` is called from another thread.

        `hold`: leave it until `commit_held`, which the caller must call soon; it commits
        all that has gathered on its own thread, and calls their `done` there.

        Raises:
            StoreUnavailableError: the queue is full, or the store cannot write.
        """
        ticket = _Ticket(operation, lambda ended: done(ended.records, ended.error))
        if self._enqueue(ticket):
            if hold:
                self._is_held = True
            else:
                self._hand_to_thread()

    def commit_held(self) -> None:
        """Commit what was submitted to be held, unless another thread has taken it along."""
        if self._is_held:
            self._is_held = False
            self._lead()

    def close(self) -> None:
        """Refuse what comes from now on; what is queued is still committed."""
        self.commit_held()
        with self._mutex:
            self._failure = self._failure or StoreClosedError("the store is closed; open it again")
            while self._is_led and self._thread is not threading.current_thread():
                self._idle.wait()  # whoever leads, in a caller's thread perhaps, still writes
            thread = self._thread
        if thread is not None:
            self._thread_wake.release()
            thread.join()

    def poison(self, error: DeviceError) -> StorePoisonedError:
        """The device failed: write no more."""
        failure = StorePoisonedError(
            f"the device failed ({error}); reopen the store and run `objstore check`"
        )
        with self._mutex:
            self._failure = failure
        return failure

    def raise_if_unusable(self) -> None:
        """Raises what stands in the way of any write."""
        if self._failure is not None:
            raise self._failure

    # --- leader and followers -------------------------------------------------------

    def _enqueue(self, ticket: _Ticket) -> bool:
        """Queue `ticket`; whether its caller has to lead."""
        if ticket.bound_bytes > self._layout.segment_bytes // 2:
            raise InvalidArgumentError(
                f"an operation of {ticket.bound_bytes} bytes does not fit into a "
                f"log segment of {self._layout.segment_bytes}; make the store with larger segments"
            )
        with self._mutex:
            self.raise_if_unusable()
            if len(self._queue) >= self._config.queue_ops:
                raise StoreUnavailableError("too many writers are waiting; slow down and retry")
            self._queue.append(ticket)
            leads = not self._is_led
            self._is_led = True
            return leads

    def _lead(self) -> None:
        """Commit the head of the queue, then hand the lead on."""
        with self._mutex:
            batch = self._gather()
        self._commit_batch(batch)
        with self._mutex:
            heir = self._queue[0] if self._queue else None
            self._is_led = heir is not None
            if heir is None:
                self._idle.notify_all()
            called = self._call(batch, heir)
        if heir is not None and not heir.must_lead:
            self._hand_to_thread()
        elif heir is None and self._failure is not None:
            self._thread_wake.release()  # it may be waiting for the queue to run dry
        if called is not None:
            called.wake()
        for ticket in batch:
            if ticket.callback is not None:
                _tell(ticket, ticket.callback)

    def _call(self, batch: list[_Ticket], heir: _Ticket | None) -> _Ticket | None:
        """Chain those who wait, the next leader last; the first of them.

        Last, since by then the others may have their next operations in the queue, for
        it to take along.
        """
        called: _Ticket | None = None
        if heir is not None and heir.callback is None:
            heir.must_lead = heir.is_called = True
            called = heir
        for ticket in reversed(batch):
            if ticket.callback is None and not ticket.must_lead:
                ticket.is_called = True
                ticket.next, called = called, ticket
        return called

    def _gather(self) -> list[_Ticket]:
        batch: list[_Ticket] = []
        total_bytes = 0
        limit_bytes = min(self._config.batch_bytes, self._layout.segment_bytes // 4)
        while self._queue and len(batch) < self._config.batch_ops:
            total_bytes += self._queue[0].bound_bytes
            if batch and total_bytes > limit_bytes:
                break
            batch.append(self._queue.popleft())
        return batch

    def _start_thread(self) -> None:
        with self._mutex:
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._run, name="objstore-commit", daemon=True
                )
                self._thread.start()

    def _hand_to_thread(self) -> None:
        self._start_thread()
        self._thread_leads = True
        self._thread_wake.release()

    def _run(self) -> None:
        while True:
            self._thread_wake.acquire()
            if self._thread_leads:
                self._thread_leads = False
                self._lead()
            with self._mutex:
                if self._failure is not None and not self._is_led:
                    return

    # --- one batch ------------------------------------------------------------------

    def _commit_batch(self, batch: list[_Ticket]) -> None:
        try:
            again = True
            while again:
                with self._index.write() as txn:
                    again = self._write_batch(txn, batch)
        except _NothingToWriteError:
            pass
        except StoreError as error:
            _fail(batch, error)
        except DeviceFullError as error:
            _fail(batch, StoreFullError(f"no space left for the log: {error}"))
        except IndexFullError as error:
            _fail(batch, StoreFullError(f"no space left for the index: {error}"))
        except DeviceError as error:
            _fail(batch, self.poison(error))
        except BaseException as error:
            # A defect, or a signal's exception; nothing of the batch happened.
            _fail(
                batch, StoreUnavailableError(f"the commit was interrupted ({error!r}); try again")
            )
            for ticket in batch:
                if ticket.must_lead or isinstance(error, Exception):
                    ticket.error = error

    def _write_batch(self, txn: WriteTransaction, batch: list[_Ticket]) -> bool:
        """Decide, write, update the index; whether the batch must be tried once more."""
        self.raise_if_poisoned()
        row = txn.get(keys.TAIL)
        assert row is not None, "a store has a tail from the moment it is made"
        tail = Tail.unpack(row)
        bound_bytes = BATCH_HEAD_BYTES + sum(ticket.bound_bytes for ticket in batch)
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
            decided += len(records)
            decision.next_lsn = builder.next_lsn
            ticket.records = records
        if not decided:
            # Nothing to say: the roll, if any, is taken back with the transaction.
            raise _NothingToWriteError
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

    def raise_if_poisoned(self) -> None:
        """Raises the failure of the device, but not that the store is being closed."""
        if isinstance(self._failure, StorePoisonedError):
            raise self._failure

    def has_reserve(self) -> bool:
        """Whether the file system has more room left than what deletes are to find.

        While there is plenty, the system is asked once for so many bytes of the log.
        """
        if self._space_path is None or self._unasked_bytes < _SPACE_EVERY_BYTES:
            return True
        stat = os.statvfs(self._space_path)
        has_reserve = stat.f_bavail * stat.f_frsize > self._config.reserve_bytes
        self._unasked_bytes = 0 if has_reserve else _SPACE_EVERY_BYTES
        return has_reserve


class _NothingToWriteError(Exception):
    """Every operation of the batch was refused or had nothing to do."""


def _forget(_ticket: _Ticket) -> None:
    """The outcome of an operation whose caller has left."""


def _tell(ticket: _Ticket, callback: Callable[[_Ticket], None]) -> None:
    """Call back; what goes wrong there must not keep the rest of the batch waiting."""
    try:
        callback(ticket)
    except Exception:
        _LOG.exception("the caller of a write failed when told of its outcome")


def _fail(batch: list[_Ticket], error: BaseException) -> None:
    for ticket in batch:
        ticket.records = ()
        ticket.error = error
