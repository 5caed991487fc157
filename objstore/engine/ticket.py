"""An operation in the queue of the commit, how its caller is told, and how far a lead is."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Final, TypeAlias

from blockdev import DeviceError
from objstore.engine.operation import Operation
from objstore.log.format import Record

Callback: TypeAlias = "Callable[[Ticket], None]"

_LOG = logging.getLogger("objstore.commit")


NEW: Final = 0
GATHERED: Final = 1
TRIED: Final = 2
ENDED: Final = 3
HANDED_ON: Final = 4
DONE: Final = 5
"""How far a lead has come: its batch is taken from the queue; is being committed; its outcome
stands; the next leader is named; all are told."""


class Lead:
    """Of one batch: what is under way lies here, and not in a frame that may be unwound.

    `batch`: taken from the queue.  `failure`: of the device, while it was tried.  `called`,
    `heir`: who is to be woken first and who leads next, once that is `HANDED_ON`.
    """

    __slots__ = ("batch", "called", "failure", "heir", "phase")

    def __init__(self, phase: int = NEW, batch: Sequence[Ticket] = ()) -> None:
        self.phase = phase
        self.batch = batch
        self.failure: DeviceError | None = None
        self.called: Ticket | None = None
        self.heir: Ticket | None = None


class Ticket(Lead):
    """An operation in the queue, how to tell its caller, and its lead if it comes to that.

    Callers that wait are woken in a chain: each wakes the next.  Were the leader to wake
    them all, every one would at once ask for the interpreter, which only one can have.
    `callback`: None while its caller waits.
    """

    __slots__ = (
        "_wake",
        "bound_bytes",
        "callback",
        "error",
        "is_queued",
        "next",
        "operation",
        "records",
    )

    def __init__(self, operation: Operation, callback: Callback | None = None) -> None:
        super().__init__()
        self.operation = operation
        self.bound_bytes = operation.size_bound_bytes
        self.callback = callback
        self.records: Sequence[Record] = ()
        self.error: BaseException | None = None
        self.is_queued = False
        self.next: Ticket | None = None
        self._wake = threading.Lock()
        self._wake.acquire()

    def wait(self) -> None:
        self._wake.acquire()

    def wake(self) -> None:
        """Let `wait` return; once more does no harm."""
        if self._wake.locked():
            self._wake.release()

    def pass_on(self) -> None:
        """Wake the next of the chain; idempotent."""
        if self.next is not None:
            self.next.wake()
            self.next = None


def forget(_ticket: Ticket) -> None:
    """The outcome of an operation whose caller has left."""


def tell(ticket: Ticket, callback: Callback) -> None:
    """Call back; what goes wrong there must not keep the rest of the batch waiting."""
    try:
        callback(ticket)
    except Exception:
        _LOG.exception("the caller of a write failed when told of its outcome")
    ticket.callback = forget


def at_most_once(done: Callable[[Sequence[Record], BaseException | None], None]) -> Callback:
    """A callback that calls `done`, also if it is told again because it was interrupted."""
    calls = [done]

    def callback(ended: Ticket) -> None:
        if calls:
            calls.pop()(ended.records, ended.error)

    return callback


def fail(batch: Iterable[Ticket], error: BaseException) -> None:
    """Nothing of the batch happened, or nobody is to rely on it."""
    for ticket in batch:
        ticket.records = ()
        ticket.error = error
