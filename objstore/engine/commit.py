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

import threading
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

from blockdev import BlockDevice, Clock, DeviceError, DeviceFullError
from objstore.config import StoreConfig
from objstore.engine.batch import BatchWriter, NothingToWriteError
from objstore.engine.operation import Operation
from objstore.engine.sharing import Slots
from objstore.engine.ticket import Ticket, fail, forget, tell
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
        self._queue: deque[Ticket] = deque()
        self._is_led = False
        self._failure: StoreUnavailableError | None = None
        self._thread: threading.Thread | None = None
        self._thread_wake = threading.Semaphore(0)
        self._thread_leads = False
        self._is_held = False

    # --- callers ------------------------------------------------------------------

    def commit(self, operation: Operation) -> Sequence[Record]:
        """Commit `operation` and return its records, placed; blocks until durable.

        Raises:
            StoreError: what the operation decided, or why the store cannot write.
        """
        ticket = Ticket(operation)
        try:
            if not self._enqueue(ticket):
                if self._is_held:
                    self.commit_held()  # who was to do that may be this very thread
                ticket.wait()
                ticket.pass_on()
        except BaseException:  # a refusal, or a signal's exception, such as KeyboardInterrupt
            self._leave(ticket)
            raise
        if ticket.must_lead:
            self._lead()
        error, ticket.error = ticket.error, None
        if error is not None:
            try:
                raise error
            finally:
                del error  # or this frame would keep alive what the error's frames hold
        return ticket.records

    def _leave(self, ticket: Ticket) -> None:
        """Nobody waits for `ticket` any more: let no other wait for its caller either."""
        with self._mutex:
            if not ticket.is_called and not ticket.must_lead:
                # Another thread has to lead when its turn comes.
                ticket.callback = forget
        ticket.pass_on()
        if ticket.must_lead:
            self._lead()

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
        ticket = Ticket(operation, lambda ended: done(ended.records, ended.error))
        if self._enqueue(ticket, hold=hold) or (not hold and self._take_held()):
            self._hand_to_thread()

    def commit_held(self) -> None:
        """Commit what was submitted to be held, unless another thread has taken it along."""
        if self._take_held():
            self._lead()

    def _take_held(self) -> bool:
        """Take the lead over what is held; whether there was any."""
        with self._mutex:
            is_held, self._is_held = self._is_held, False
            return is_held

    def close(self) -> None:
        """Refuse what comes from now on; what is queued is still committed."""
        with self._mutex:
            self._failure = self._failure or StoreClosedError("the store is closed; open it again")
        self.commit_held()
        with self._mutex:
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
            self._queue.append(ticket)
            leads = not self._is_led
            self._is_led = True
            if leads and hold:
                self._is_held = True
                return False
            ticket.must_lead = leads and ticket.callback is None
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
                tell(ticket, ticket.callback)

    def _call(self, batch: list[Ticket], heir: Ticket | None) -> Ticket | None:
        """Chain those who wait, the next leader last; the first of them.

        Last, since by then the others may have their next operations in the queue, for
        it to take along.
        """
        called: Ticket | None = None
        if heir is not None and heir.callback is None:
            heir.must_lead = heir.is_called = True
            called = heir
        for ticket in reversed(batch):
            if ticket.callback is None and not ticket.must_lead:
                ticket.is_called = True
                ticket.next, called = called, ticket
        return called

    def _gather(self) -> list[Ticket]:
        batch: list[Ticket] = []
        total_bytes = 0
        limit_bytes = min(self._config.batch_bytes, self._segment_bytes // 4)
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

    def _commit_batch(self, batch: list[Ticket]) -> None:
        """Commit `batch`; what became of it is in its tickets, whatever happens."""
        try:
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
            fail(batch, self.poison(error))
        except BaseException as error:
            # A defect, or a signal's exception; nothing of the batch happened.
            fail(batch, StoreUnavailableError(f"the commit was interrupted ({error!r}); try again"))
            for ticket in batch:
                if ticket.must_lead or isinstance(error, Exception):
                    ticket.error = error
        finally:
            self._slots.note_writing(False)
