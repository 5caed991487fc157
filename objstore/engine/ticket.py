"""An operation in the queue of the commit, and how its caller is told."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Sequence

from objstore.engine.operation import Operation
from objstore.log.format import Record

_LOG = logging.getLogger("objstore.commit")


class Ticket:
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
        self, operation: Operation, callback: Callable[[Ticket], None] | None = None
    ) -> None:
        self.operation = operation
        self.bound_bytes = operation.size_bound_bytes
        self.callback = callback
        self.records: Sequence[Record] = ()
        self.error: BaseException | None = None
        self.must_lead = False
        self.is_called = False
        self.next: Ticket | None = None
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


def forget(_ticket: Ticket) -> None:
    """The outcome of an operation whose caller has left."""


def tell(ticket: Ticket, callback: Callable[[Ticket], None]) -> None:
    """Call back; what goes wrong there must not keep the rest of the batch waiting."""
    try:
        callback(ticket)
    except Exception:
        _LOG.exception("the caller of a write failed when told of its outcome")


def fail(batch: Iterable[Ticket], error: BaseException) -> None:
    """Nothing of the batch happened."""
    for ticket in batch:
        ticket.records = ()
        ticket.error = error
