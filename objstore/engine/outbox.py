"""The outbox: events that wait to be told, each destination's in a queue of its own.

An event's row lies under its destination and number; a DELIVERED record ends all up to a
number.  How events come to be is in `objstore.engine.telling`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from objstore.engine.core import Core
from objstore.engine.operation import Decision
from objstore.engine.space import FOR_DELETES, FOR_WRITES
from objstore.engine.telling import event_record
from objstore.index import keys, schema
from objstore.index.base import ReadTransaction
from objstore.index.schema import DeliveredBody, EventBody, unpack_head
from objstore.log import format as log
from objstore.log.format import Record


class OutboxEvent(NamedTuple):
    """An event in the outbox: its number there, and what it says."""

    seq: int
    body: EventBody


class Queue(NamedTuple):
    """What is known of a destination's queue.

    `waiting`: how many wait, counted up to the limit that was given; `oldest_ms`: when the
    first of them happened, None without any.  `delivered`, `dead`: how many ever were.
    """

    destination: str
    waiting: int
    oldest_ms: int | None
    delivered: int
    dead: int


class PutEvents:
    """Put events into a destination's queue, as they are: those of dead letters."""

    leaves_segments = FOR_WRITES

    def __init__(self, destination: str, bodies: Sequence[EventBody]) -> None:
        self._records = [event_record(0, destination, body) for body in bodies]
        self.size_bound_bytes = sum(record.stored_bytes for record in self._records)

    def decide(self, decision: Decision) -> Sequence[Record]:
        """All of them, each time that it is asked: a batch may be tried again."""
        return [Record(record.kind, 0, record.key, record.body) for record in self._records]


class EventsDone:
    """End the events of a destination up to a number: told, or given up.

    `dead`: how many of them were given up, `delivered`: how many were told.
    """

    leaves_segments = FOR_DELETES
    size_bound_bytes = log.RECORD_HEAD_BYTES + 256

    def __init__(self, destination: str, up_to_seq: int, delivered: int, dead: int) -> None:
        self._destination = destination.encode()
        self._seq, self._delivered, self._dead = up_to_seq, delivered, dead

    def decide(self, decision: Decision) -> Sequence[Record]:
        """The record; none where more has been ended already."""
        row = decision.txn.get(keys.delivered(self._destination))
        before = DeliveredBody()
        if row is not None:
            before = schema.decode_delivered(schema.row_body(row))
            if unpack_head(row).version_seq >= self._seq:
                return []
        body = DeliveredBody(before.delivered + self._delivered, before.dead + self._dead)
        encoded = schema.encode(body)
        return [Record(log.DELIVERED, 0, self._destination, encoded, self._seq)]


def next_events(core: Core, destination: str, after_seq: int, limit: int) -> list[OutboxEvent]:
    """The first events of a queue behind number `after_seq`, oldest first."""
    prefix = keys.events_prefix(destination.encode())
    start = prefix + (after_seq + 1).to_bytes(8, "big")
    with core.index.read() as txn:
        found = txn.page(start, keys.after(prefix), limit)
    return [
        OutboxEvent(int.from_bytes(key[-8:], "big"), schema.decode_event(schema.row_body(row)))
        for key, row in found
    ]


def queues(core: Core, limit: int) -> list[Queue]:
    """Every destination that ever had an event; at most `limit` are counted of each."""
    with core.index.read() as txn:
        named = [key[1:] for key, _row in txn.scan(keys.DELIVERED, keys.after(keys.DELIVERED))]
        return [_queue(txn, name, limit) for name in sorted({*named, *_waited_for(txn)})]


def _waited_for(txn: ReadTransaction) -> Iterator[bytes]:
    """Destinations with events that wait, by a leap from each to the next."""
    stop = keys.after(keys.EVENT)
    start = keys.EVENT
    while page := txn.page(start, stop, 1):
        destination, _end = keys.unterminated(page[0][0], 1)
        yield destination
        start = keys.after(keys.events_prefix(destination))


def _queue(txn: ReadTransaction, destination: bytes, limit: int) -> Queue:
    row = txn.get(keys.delivered(destination))
    done = DeliveredBody() if row is None else schema.decode_delivered(schema.row_body(row))
    prefix = keys.events_prefix(destination)
    waiting = txn.page(prefix, keys.after(prefix), limit)
    oldest_ms = schema.decode_event(schema.row_body(waiting[0][1])).time_ms if waiting else None
    return Queue(destination.decode(), len(waiting), oldest_ms, done.delivered, done.dead)
