"""The write path: operations queue up, a leader commits them as one batch.

Invariants:

1. What is acknowledged is on the device: an operation's caller is told only after
   the batch was written with forced unit access and the index transaction ended.
2. The order of batches on the device is the order of index transactions, in all
   processes: a batch is written while the index's write lock is held.
3. The index never runs ahead of the log: if the device write fails, the
   transaction is rolled back and this store writes no more until reopened.
4. An operation that is refused leaves no trace; it decides before it emits.
5. While operations are queued, somebody leads: `_leader` changes in one assignment, under the
   mutex.  A signal's exception may unwind whoever leads, or waits, at any line; what was
   under way is in the lead and not in the frame, and another thread takes it up from there.
   The handlers that see to it do so in a single call of C code, behind which the next
   signal comes too late.
"""

from __future__ import annotations

import threading
from _thread import start_new_thread
from collections.abc import Callable, Sequence
from pathlib import Path
from queue import SimpleQueue
from typing import Final

from blockdev import BlockDevice, Clock, DeviceError, DeviceFullError
from objstore.config import StoreConfig
from objstore.engine.batch import BatchWriter, NothingToWriteError
from objstore.engine.operation import Operation
from objstore.engine.sharing import Slots
from objstore.engine.ticket import (
    DONE,
    ENDED,
    GATHERED,
    HANDED_ON,
    NEW,
    TRIED,
    Lead,
    Ticket,
    at_most_once,
    fail,
    forget,
    tell,
)
from objstore.errors import (
    InvalidArgumentError,
    StoreClosedError,
    StoreError,
    StoreFullError,
    StorePoisonedError,
    StoreUnavailableError,
)
from objstore.index.base import Index, IndexFullError
from objstore.log.format import Record, Superblock

_HELD: Final = Lead()
"""Leads while what is queued is held, and nobody is at it."""


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
        slots: Slots,
    ) -> None:
        self._index = index
        self._segment_bytes = superblock.segment_bytes
        self._config = config
        self._writer = BatchWriter(device, superblock, config, clock, space_path)
        self._slots = slots
        self._mutex = threading.Lock()
        self._idle = threading.Condition(self._mutex)
        self._queue: list[Ticket] = []
        self._leader: Lead | None = None
        self._failure: StoreUnavailableError | None = None
        self._thread: threading.Thread | None = None
        self._orders: SimpleQueue[Lead | None] = SimpleQueue()

    # --- callers ------------------------------------------------------------------

    def commit(self, operation: Operation) -> Sequence[Record]:
        """Commit `operation` and return its records, placed; blocks until durable.

        Raises:
            StoreError: what the operation decided, or why the store cannot write.
        """
        ticket = Ticket(operation)
        held = Lead()
        try:
            if not self._enqueue(ticket):
                if self._leader is _HELD and self._take_held(held):
                    self._lead(held)  # who was to do that may be this very thread
                ticket.wait()
                ticket.pass_on()
            if self._leader is ticket:
                self._lead(ticket)
        except BaseException:  # a refusal, or a signal's exception, such as KeyboardInterrupt
            if ticket.is_queued:
                start_new_thread(self._stand_in, (held, ticket))
            raise
        error, ticket.error = ticket.error, None
        if error is not None:
            try:
                raise error
            finally:
                del error  # or this frame would keep alive what the error's frames hold
        return ticket.records

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
        ticket = Ticket(operation, at_most_once(done))
        lead: Lead = ticket
        try:
            leads = self._enqueue(ticket, hold=hold)
            if not leads and not hold:
                lead = Lead()
                leads = self._take_held(lead)
            if leads:
                self._hand_to_thread(lead)
        except BaseException:
            if ticket.is_queued:
                start_new_thread(self._stand_in, (lead, None))
            raise

    def commit_held(self) -> None:
        """Commit what was submitted to be held, unless another thread has taken it along."""
        lead = Lead()
        try:
            if self._take_held(lead):
                self._lead(lead)
        except BaseException:
            start_new_thread(self._stand_in, (lead, None))
            raise

    def _take_held(self, lead: Lead) -> bool:
        """Lead over what is held by `lead`; whether there was any."""
        with self._mutex:
            is_held = self._leader is _HELD
            if is_held:
                self._leader = lead
            return is_held

    def close(self) -> None:
        """Refuse what comes from now on; what is queued is still committed."""
        with self._mutex:
            self._failure = self._failure or StoreClosedError("the store is closed; open it again")
        self.commit_held()
        with self._mutex:
            while self._leader is not None and self._thread is not threading.current_thread():
                self._idle.wait()  # whoever leads, in a caller's thread perhaps, still writes
            thread = self._thread
        if thread is not None:
            self._orders.put(None)
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

    @property
    def is_usable(self) -> bool:
        """Whether nothing stands in the way of a write."""
        return self._failure is None

    def raise_if_poisoned(self) -> None:
        """Raises the failure of the device, but not that the store is being closed."""
        if isinstance(self._failure, StorePoisonedError):
            raise self._failure

    def has_reserve(self) -> bool:
        """Whether the file system has more room left than what deletes are to find."""
        return self._writer.has_reserve()

    @property
    def batches(self) -> int:
        """How many batches this process has written."""
        return self._writer.batches

    # --- leader and followers -------------------------------------------------------

    def _enqueue(self, ticket: Ticket, *, hold: bool = False) -> bool:
        """Queue `ticket`; whether its caller has to lead.

        With `hold` it has not, for now: the lead waits with what is held, and anyone who
        would have to wait for it takes it.
        """
        if ticket.bound_bytes > self._segment_bytes // 2:
            raise InvalidArgumentError(
                f"an operation of {ticket.bound_bytes} bytes does not fit into a "
                f"log segment of {self._segment_bytes}; make the store with larger segments"
            )
        with self._mutex:
            self.raise_if_unusable()
            if len(self._queue) >= self._config.queue_ops:
                raise StoreUnavailableError("too many writers are waiting; slow down and retry")
            ticket.is_queued = True
            self._queue.append(ticket)
            if self._leader is not None:
                return False
            self._leader = _HELD if hold else ticket
            return not hold

    def _lead(self, lead: Lead) -> None:
        """Commit the head of the queue, then hand the lead on; from where `lead` stands."""
        if lead.phase <= GATHERED:
            self._gather(lead)
            self._commit_batch(lead)
        elif lead.phase == TRIED:
            self._give_up(lead)
        if self._leader is lead:
            self._hand_on(lead)
        if lead.phase == HANDED_ON:
            self._tell(lead)

    def _gather(self, lead: Lead) -> None:
        """Take the head of the queue."""
        with self._mutex:
            if lead.phase == NEW:
                lead.batch = self._head()
                lead.phase = GATHERED
            if self._queue and lead.batch and self._queue[0] is lead.batch[0]:
                del self._queue[: len(lead.batch)]

    def _hand_on(self, lead: Lead) -> None:
        """Make the first of the queue the next leader."""
        with self._mutex:
            lead.heir = self._queue[0] if self._queue else None
            lead.called = self._call(lead)
            lead.phase = HANDED_ON
            if lead.heir is None:
                self._idle.notify_all()
            self._leader = lead.heir

    def _tell(self, lead: Lead) -> None:
        """Wake the next leader, and tell the callers of the outcome."""
        if lead.heir is not None and lead.heir.callback is not None:
            self._hand_to_thread(lead.heir)
        elif lead.heir is None and self._failure is not None:
            self._orders.put(None)  # the thread may be waiting for the queue to run dry
        if lead.called is not None:
            lead.called.wake()
        for ticket in lead.batch:
            if ticket.callback is not None:
                tell(ticket, ticket.callback)
        lead.phase = DONE
        lead.batch, lead.called, lead.heir = (), None, None  # its own ticket is among them

    def _call(self, lead: Lead) -> Ticket | None:
        """Chain those who wait, the next leader last; the first of them.

        Last, since by then the others may have their next operations in the queue, for
        it to take along.
        """
        called: Ticket | None = None
        if lead.heir is not None and lead.heir.callback is None:
            called = lead.heir
        for ticket in reversed(lead.batch):
            if ticket.callback is None and ticket is not lead:
                ticket.next, called = called, ticket
        return called

    def _head(self) -> list[Ticket]:
        """As many from the queue as make a batch."""
        batch: list[Ticket] = []
        total_bytes = 0
        limit_bytes = min(self._config.batch_bytes, self._segment_bytes // 4)
        for ticket in self._queue[: self._config.batch_ops]:
            total_bytes += ticket.bound_bytes
            if batch and total_bytes > limit_bytes:
                break
            batch.append(ticket)
        return batch

    # --- in place of others ---------------------------------------------------------

    def _hand_to_thread(self, lead: Lead) -> None:
        """Have the committer's thread lead in the place of `lead`."""
        with self._mutex:
            if self._thread is None:
                thread = threading.Thread(target=self._run, name="objstore-commit", daemon=True)
                thread.start()
                self._thread = thread
        self._orders.put(lead)

    def _run(self) -> None:
        while True:
            lead = self._orders.get()
            if lead is not None:
                self._take_over(lead)
            with self._mutex:
                if self._failure is not None and self._leader is None:
                    self._orders.put(None)  # an interrupt may have let a second thread start
                    return

    def _take_over(self, lead: Lead) -> bool:
        """Lead in the place of `lead`, from where it stands; False if it leads no more."""
        with self._mutex:
            if self._leader is not lead:
                return False
            mine = Lead(lead.phase, lead.batch)
            mine.failure = lead.failure
            self._leader = mine
        self._lead(mine)
        return True

    def _stand_in(self, lead: Lead, ticket: Ticket | None) -> None:
        """Do what was to be done by a caller that an exception has taken away.

        What it led comes first: the chain that its ticket may be in counts only once the lead
        was handed on, and who is woken sooner finds neither an outcome nor the lead.
        """
        if ticket is not None:
            with self._mutex:
                # If it is not in a chain yet it must not come into one, where it would be
                # waited for, and another thread has to lead when its turn comes.
                ticket.callback = forget
        for one in (lead, ticket):
            if one is not None and not self._take_over(one) and one.phase == HANDED_ON:
                self._tell(one)
        if ticket is not None:
            ticket.pass_on()
        spare = Lead()
        with self._mutex:
            if self._leader is None and self._queue:
                self._leader = spare  # it was taken away between queue and lead
        self._take_over(spare)

    # --- one batch ------------------------------------------------------------------

    def _commit_batch(self, lead: Lead) -> None:
        """Commit the batch; what became of it is in its tickets, whatever happens."""
        batch = lead.batch
        try:
            lead.phase = TRIED
            again = True
            while again:
                with self._index.write() as txn:
                    self._slots.note_writing(True)
                    self.raise_if_poisoned()
                    again = self._writer.write(txn, batch)
        except NothingToWriteError:
            pass
        except StoreError as error:
            fail(batch, error)
        except DeviceFullError as error:
            fail(batch, StoreFullError(f"no space left for the log: {error}"))
        except IndexFullError as error:
            fail(batch, StoreFullError(f"no space left for the index: {error}"))
        except DeviceError as error:
            lead.failure = error
            fail(batch, self.poison(error))
        except BaseException as error:  # a defect, or a signal's exception
            lead.failure = _failure_behind(error)
            self._give_up(lead, error)
        lead.phase = ENDED
        self._slots.note_writing(False)

    def _give_up(self, lead: Lead, error: BaseException | None = None) -> None:
        """The commit was interrupted: nobody is told that the batch happened.

        It did, if it was interrupted at its very end.
        """
        cause = "" if error is None else f" ({error!r})"
        failure = StoreUnavailableError(f"the commit was interrupted{cause}; try again")
        fail(lead.batch, failure if lead.failure is None else self.poison(lead.failure))
        for ticket in lead.batch:
            if error is not None and (ticket is lead or isinstance(error, Exception)):
                ticket.error = error
        lead.phase = ENDED
        self._slots.note_writing(False)


def _failure_behind(error: BaseException) -> DeviceError | None:
    """The failure of the device that an interrupt came upon while it was being handled."""
    behind = error.__context__
    if isinstance(behind, DeviceError) and not isinstance(behind, DeviceFullError):
        return behind
    return None
