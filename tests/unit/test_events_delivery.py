"""Delivery in the background: one process does it, another takes over, nothing is lost."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from objstore import ObjectStore
from objstore.engine import notifications
from objstore.engine.notifications import NOTIFICATION, Notifications, Rule
from objstore.events import Delivery, DestinationError, parse_destination
from objstore.events import delivery as delivering
from tests.stores import StoreFactory

TIMEOUT_S = 30
LOG = "log=file:told.jsonl"


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < deadline, "it does not come"
        time.sleep(0.01)


def listen(store: ObjectStore, bucket: str = "bucket", name: str = "log:file") -> None:
    rule = Rule("queue", "id", f"arn:objstore:sqs::{name}", ["s3:ObjectCreated:*"])
    store.create_bucket(bucket)
    store.set_bucket_setting(bucket, NOTIFICATION, notifications.encode(Notifications([rule])))


def told(path: Path) -> list[str]:
    """The keys that a file of messages tells of, in order."""
    if not path.exists():
        return []
    documents = [json.loads(line) for line in path.read_bytes().splitlines()]
    records = [record for document in documents for record in document.get("Records", [])]
    return [record["s3"]["object"]["key"] for record in records]


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivering, "EVENT_LEADER_POLL_NS", 10_000_000)


def test_everything_is_told_in_order(store_factory: StoreFactory) -> None:
    store = store_factory()
    folder = store_factory.path()
    with Delivery(store, folder, [parse_destination(LOG)]) as delivery:
        assert delivery.names == {"log:file"}
        listen(store)
        keys = [f"k{number}" for number in range(300)]
        for key in keys:
            store.put("bucket", key, b"")
        wait_for(lambda: len(told(folder / "told.jsonl")) >= 300)
    assert told(folder / "told.jsonl") == keys
    (queue,) = store.event_queues()
    assert (queue.waiting, queue.delivered, queue.dead) == (0, 301, 0)


def test_what_happened_while_nobody_delivered(store_factory: StoreFactory) -> None:
    store = store_factory()
    listen(store)
    store.put("bucket", "key", b"")
    store.close()
    store = store_factory()
    path = store_factory.path() / "told.jsonl"
    with Delivery(store, store_factory.path(), [parse_destination(LOG)]):
        wait_for(lambda: told(path) == ["key"])


def test_one_delivers_and_another_takes_over(store_factory: StoreFactory) -> None:
    store, folder = store_factory(), store_factory.path()
    path = folder / "told.jsonl"
    listen(store)
    first = Delivery(store, folder, [parse_destination(LOG)]).start()
    assert first.is_delivering.wait(TIMEOUT_S)
    second = Delivery(store, folder, [parse_destination(LOG)]).start()
    store.put("bucket", "a", b"")
    wait_for(lambda: told(path) == ["a"])
    assert not second.is_delivering.is_set()
    first.stop()
    first.stop()
    assert second.is_delivering.wait(TIMEOUT_S)
    store.put("bucket", "b", b"")
    wait_for(lambda: len(told(path)) >= 2)
    second.stop()
    assert told(path) == ["a", "b"]


def test_a_destination_that_hangs_holds_up_no_other(store_factory: StoreFactory) -> None:
    store, folder = store_factory(), store_factory.path()
    listen(store)
    listen(store, "other", "gone:webhook")
    destinations = [parse_destination(text) for text in (LOG, "gone=http://127.0.0.1:1/")]
    with Delivery(store, folder, destinations):
        for number in range(10):
            store.put("other", f"o{number}", b"")
            store.put("bucket", f"k{number}", b"")
        wait_for(lambda: len(told(folder / "told.jsonl")) == 10)
    waiting = {queue.destination: queue.waiting for queue in store.event_queues()}
    assert waiting == {"log:file": 0, "gone:webhook": 11}


def test_nobody_to_deliver_to(store_factory: StoreFactory) -> None:
    store = store_factory()
    with Delivery(store, store_factory.path(), []) as delivery:
        assert delivery.names == frozenset()
        assert not any(thread.name == "objstore-events" for thread in threading.enumerate())
    with pytest.raises(DestinationError):
        Delivery(store, store_factory.path(), [parse_destination(LOG)] * 2)


def test_a_store_that_is_closed_first(store_factory: StoreFactory) -> None:
    store = store_factory()
    listen(store)
    delivery = Delivery(store, store_factory.path(), [parse_destination(LOG)]).start()
    assert delivery.is_delivering.wait(TIMEOUT_S)
    store.close()
    delivery.stop()
