"""The part of `ObjectStore` that is about events, for who delivers them."""

from __future__ import annotations

from collections.abc import Sequence

from objstore.engine import outbox
from objstore.engine.calls import Calls
from objstore.engine.outbox import OutboxEvent, Queue
from objstore.index.schema import EventBody


class OutboxCalls(Calls):
    """The outbox: each destination's events, in the order of the changes."""

    def next_events(
        self, destination: str, *, after_seq: int = 0, limit: int = 100
    ) -> list[OutboxEvent]:
        """Events that `destination` is to be told, behind number `after_seq`, oldest first."""
        return outbox.next_events(self._open_core(), destination, after_seq, limit)

    def end_events(
        self, destination: str, up_to_seq: int, *, delivered: int = 0, dead: int = 0
    ) -> None:
        """Take the events of `destination` up to number `up_to_seq` out of the outbox, durably.

        Args:
            delivered, dead: how many of them were told, and how many given up; the totals
                are in `event_queues`.
        """
        operation = outbox.EventsDone(destination, up_to_seq, delivered, dead)
        self._open_core().commit(operation)

    def put_events(self, destination: str, events: Sequence[EventBody]) -> None:
        """Put events into the outbox once more, behind all that wait there.

        Raises:
            InvalidArgumentError: they do not fit into one commit.
        """
        if events:
            self._open_core().commit(outbox.PutEvents(destination, events))

    def event_queues(self, *, limit: int = 10_000) -> list[Queue]:
        """What waits for each destination, counted up to `limit`, and what has been told."""
        return outbox.queues(self._open_core(), limit)
