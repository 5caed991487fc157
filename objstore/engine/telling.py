"""The events of a commit: records of the same batch as the change that they tell of.

Both count or neither.  An operation that tells of what it does has these attributes:

* `event`: S3's name, without ``s3:``, of what its versions are; empty for nothing;
* `cause`: who tells of the request behind it, see `objstore.cause`;
* `most_events`: how many keys it changes at most, where that is not one;
* `gone_ids`: ids of the versions that it removes, by their numbers.

Whatever is built later and has something to tell needs no more than these.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from objstore.cause import UNKNOWN, Cause
from objstore.config import MAX_KEY_BYTES
from objstore.engine import rows
from objstore.engine.notifications import Listener, decode_listener
from objstore.engine.versions import version_id
from objstore.index import keys, schema
from objstore.index.base import ReadTransaction
from objstore.index.schema import FLAG_DELETE_MARKER, EventBody
from objstore.log import format as log
from objstore.log.format import Record

EVENT_BOUND_BYTES = 1200
"""At most what an event's record takes besides the key that it is about."""

MOST_TOLD = 2
"""Whom one event may be told: the rules of a bucket do not overlap, and there is the bridge."""

CREATED_PUT = "ObjectCreated:Put"
CREATED_COPY = "ObjectCreated:Copy"
CREATED_COMPLETED = "ObjectCreated:CompleteMultipartUpload"
REMOVED = "ObjectRemoved:Delete"
MARKER_CREATED = "ObjectRemoved:DeleteMarkerCreated"
TAGGING_PUT = "ObjectTagging:Put"
TAGGING_DELETED = "ObjectTagging:Delete"
RETENTION_PUT = "ObjectRetention:Put"
TEST = "TestEvent"


class Listening:
    """Who listens while one batch is decided: as before it, for all of its operations."""

    def __init__(self, txn: ReadTransaction) -> None:
        self._txn = txn
        self._listeners: dict[int, Listener | None] = {}

    @classmethod
    def of(cls, txn: ReadTransaction) -> Listening | None:
        """None where no bucket tells anybody anything, which is one look at the index."""
        return cls(txn) if txn.get(keys.LISTENER) is not None else None

    def bound_bytes(self, operation: object) -> int:
        """At most what the events of an operation take in the log."""
        if not getattr(operation, "event", ""):
            return 0
        count: int = getattr(operation, "most_events", 1)
        return MOST_TOLD * count * (EVENT_BOUND_BYTES + MAX_KEY_BYTES)

    def events(self, operation: Any, records: Sequence[Record], now_ms: int) -> Iterator[Record]:
        """The records of what is to be told of `records`, which are placed."""
        name: str = getattr(operation, "event", "")
        if not name:
            return
        cause = UNKNOWN
        is_asked = False
        for record in records:
            if record.kind != log.VERSION and record.kind != log.VERSION_GONE:
                continue
            listener = self._listener(record.bucket_id)
            if listener is None:
                continue
            if not is_asked:
                ask = getattr(operation, "cause", None)
                cause, is_asked = (ask() if ask is not None else UNKNOWN), True
            event = _event_name(record, cause.event or name)
            key = record.key.decode()
            told = list(listener.notifications.told(event, key))
            if told:
                body = _event_body(operation, record, event, listener, cause, now_ms)
                for destination, rule_id in told:
                    yield event_record(record.bucket_id, destination, body.of_rule(rule_id))

    def _listener(self, bucket_id: int) -> Listener | None:
        if bucket_id not in self._listeners:
            row = self._txn.get(keys.listener(bucket_id))
            self._listeners[bucket_id] = None if row is None else decode_listener(row)
        return self._listeners[bucket_id]


def _event_name(record: Record, name: str) -> str:
    """What `record` is to its reader; `name` is that of the request."""
    if record.kind == log.VERSION_GONE:
        return REMOVED
    return MARKER_CREATED if record.flags & FLAG_DELETE_MARKER else name


def _event_body(
    operation: Any, record: Record, event: str, listener: Listener, cause: Cause, now_ms: int
) -> EventBody:
    size_bytes, etag = -1, ""
    if record.kind == log.VERSION_GONE:
        gone_ids: dict[int, str] = getattr(operation, "gone_ids", {})
        version = gone_ids.get(record.version_seq, "")
    else:
        body = schema.decode_listing(record.body)
        version = version_id(record.flags, record.version_seq, body.modified_ms)
        if not record.flags & FLAG_DELETE_MARKER:
            etag = rows.etag_text(body.etag, body.etag_parts)
            size_bytes = body.size_bytes
    return EventBody(
        event,
        now_ms,
        listener.name,
        record.key.decode(),
        size_bytes,
        etag,
        version if listener.has_versions else "",
        record.lsn,
        listener.region,
        listener.owner,
        cause.principal,
        cause.source_ip,
        cause.request_id,
    )


def event_record(bucket_id: int, destination: str, body: EventBody) -> Record:
    """A record that tells `destination`; its number is its place in the queue."""
    return Record(log.EVENT, bucket_id, destination.encode(), schema.encode(body))
