"""The outbox of the engine: what is told, in which order, and that the log alone has it all."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import pytest

from blockdev import ManualClock
from objstore import CompletedPart, ObjectAttributes, ObjectStore
from objstore.cause import Cause, asked_by
from objstore.config import KIB
from objstore.engine import notifications
from objstore.engine.check import rebuild_index
from objstore.engine.notifications import BRIDGE, NOTIFICATION, Notifications, Rule
from objstore.errors import InvalidArgumentError, NoSuchKeyError, PreconditionFailedError
from objstore.index import keys
from objstore.index.schema import EventBody
from objstore.model import Conditions
from tests.stores import SMALL_CONFIG, StoreFactory

HOOK, LOG = "hook:webhook", "log:file"
CREATED, REMOVED, TAGGING = "s3:ObjectCreated:*", "s3:ObjectRemoved:*", "s3:ObjectTagging:*"


def rule(*events: str, name: str = HOOK, prefix: str = "", suffix: str = "") -> Rule:
    rule_id = f"{name}/{prefix}/{suffix}"
    return Rule("queue", rule_id, f"arn:objstore:sqs::{name}", list(events), prefix, suffix)


def listen(store: ObjectStore, *rules: Rule, bucket: str = "told", bridge: bool = False) -> None:
    """Configure a bucket, and take the test events away."""
    setting = notifications.encode(Notifications(list(rules), bridge))
    store.set_bucket_setting(bucket, NOTIFICATION, setting)
    for queue in store.event_queues():
        waiting = store.next_events(queue.destination)
        assert {event.body.name for event in waiting} <= {"TestEvent"}
        if waiting:
            store.end_events(queue.destination, waiting[-1].seq)


def bodies(store: ObjectStore, destination: str = HOOK) -> list[EventBody]:
    return [event.body for event in store.next_events(destination, limit=10_000)]


def told(store: ObjectStore, destination: str = HOOK) -> list[tuple[str, str]]:
    return [(body.name, body.key) for body in bodies(store, destination)]


@pytest.fixture
def store(store_factory: StoreFactory) -> ObjectStore:
    store = store_factory(config=replace(SMALL_CONFIG, min_part_bytes=0, maintenance_interval_s=0))
    store.create_bucket("told", region="eu-north-1", owner="somebody")
    return store


def test_nobody_listens_and_nothing_is_told(store: ObjectStore) -> None:
    store.put("told", "k", b"v")
    assert store.event_queues() == []


def test_whether_anybody_listens_is_one_row(store: ObjectStore) -> None:
    def is_there() -> bool:
        with store._core.index.read() as txn:
            return txn.get(keys.LISTENER) is not None

    store.create_bucket("other")
    assert not is_there()
    listen(store, rule(CREATED))
    listen(store, rule(CREATED), bucket="other")
    assert is_there()
    store.set_bucket_setting("told", NOTIFICATION, None)
    assert is_there()
    store.delete_bucket("other")
    assert not is_there()
    listen(store, rule(CREATED))
    store.put("told", "key", b"")
    assert told(store) == [("ObjectCreated:Put", "key")]


def test_each_kind_of_change(store: ObjectStore) -> None:
    listen(store, rule(CREATED, REMOVED, TAGGING, "s3:ObjectRetention:Put"))
    store.put("told", "small", b"v")
    store.put("told", "large", b"v" * 200 * KIB)
    store.copy("told", "small", "told", "copy of small")
    store.copy("told", "large", "told", "copy of large")
    upload = store.create_upload("told", "parts")
    with store.open_part("told", "parts", upload.upload_id, 1) as stream:
        stream.write(b"p")
        part = stream.commit()
    completed = [CompletedPart(1, part.etag)]
    for _again in range(2):  # a completion that is repeated does nothing
        store.complete_upload("told", "parts", upload.upload_id, completed)
    with store.open_append("told", "small", 1) as appended:
        appended.write(b"w")
        appended.commit()
    store.rename("told", "small", "renamed")
    store.set_tags("told", "renamed", {"a": "b"})
    store.set_tags("told", "renamed", {})
    store.delete("told", "renamed")
    store.delete("told", "renamed")  # there is none: nothing happens, nothing is told
    store.delete_many("told", ["large", "parts", "no such key"])
    assert told(store) == [
        ("ObjectCreated:Put", "small"),
        ("ObjectCreated:Put", "large"),
        ("ObjectCreated:Copy", "copy of small"),
        ("ObjectCreated:Copy", "copy of large"),
        ("ObjectCreated:CompleteMultipartUpload", "parts"),
        ("ObjectCreated:Put", "small"),
        ("ObjectCreated:Copy", "renamed"),
        ("ObjectRemoved:Delete", "small"),
        ("ObjectTagging:Put", "renamed"),
        ("ObjectTagging:Delete", "renamed"),
        ("ObjectRemoved:Delete", "renamed"),
        ("ObjectRemoved:Delete", "large"),
        ("ObjectRemoved:Delete", "parts"),
    ]


def test_versions_and_markers(store: ObjectStore) -> None:
    store.set_versioning("told", "Enabled")
    listen(store, rule(CREATED, REMOVED))
    first = store.put("told", "k", b"1")
    marker = store.delete("told", "k")
    store.delete("told", "k", version_id=first.version_id)
    store.delete_many("told", ["k", "k"])
    assert marker.version_id is not None
    store.delete("told", "k", version_id=marker.version_id)
    names = [(body.name, body.version_id) for body in bodies(store)]
    assert names[:3] == [
        ("ObjectCreated:Put", first.version_id),
        ("ObjectRemoved:DeleteMarkerCreated", marker.version_id),
        ("ObjectRemoved:Delete", first.version_id),
    ]
    assert [name for name, _id in names[3:5]] == ["ObjectRemoved:DeleteMarkerCreated"] * 2
    assert names[5] == ("ObjectRemoved:Delete", marker.version_id)


def test_what_an_event_says(store_factory: StoreFactory) -> None:
    clock = ManualClock()
    store = store_factory("clocked", clock=clock, create_buckets=False)
    store.create_bucket("told", region="eu-north-1", owner="somebody")
    listen(store, rule(CREATED, prefix="k", suffix="y"))
    asked_by(lambda: Cause("me", "192.0.2.1", "request"))
    try:
        info = store.put("told", "key", b"value")
    finally:
        asked_by(None)
    (body,) = bodies(store)
    assert body == EventBody(
        "ObjectCreated:Put",
        clock.now_ns() // 1_000_000,
        "told",
        "key",
        5,
        info.etag,
        "",
        info.version_seq,
        "eu-north-1",
        "somebody",
        "me",
        "192.0.2.1",
        "request",
        "hook:webhook/k/y",
    )


def test_what_was_refused_is_not_told(store: ObjectStore) -> None:
    listen(store, rule(CREATED, REMOVED))
    store.put("told", "k", b"v")
    with pytest.raises(PreconditionFailedError):
        store.put("told", "k", b"w", conditions=Conditions(if_none_match=("*",)))
    with pytest.raises(NoSuchKeyError):
        store.rename("told", "no such key", "other")
    assert told(store) == [("ObjectCreated:Put", "k")]


def test_filters_destinations_and_the_bridge(store: ObjectStore) -> None:
    listen(store, rule(CREATED, prefix="in/"), rule(REMOVED, name=LOG, suffix=".x"), bridge=True)
    store.create_bucket("deaf")
    for key in ("in/a", "out/a", "in/b.x"):
        store.put("told", key, b"")
        store.delete("told", key)
        store.put("deaf", key, b"")
    assert told(store) == [("ObjectCreated:Put", "in/a"), ("ObjectCreated:Put", "in/b.x")]
    assert told(store, LOG) == [("ObjectRemoved:Delete", "in/b.x")]
    assert len(told(store, BRIDGE)) == 6
    assert [queue.destination for queue in store.event_queues()] == [BRIDGE, HOOK, LOG]


def test_a_configuration_is_tested(store: ObjectStore) -> None:
    setting = notifications.encode(Notifications([rule(CREATED), rule(REMOVED, name=LOG)]))
    for _again in range(2):
        store.set_bucket_setting("told", NOTIFICATION, setting)
    assert [told(store, name) for name in (HOOK, LOG)] == [[("TestEvent", "")] * 2] * 2
    store.set_bucket_setting("told", NOTIFICATION, None)
    store.put("told", "k", b"v")
    assert len(told(store)) == 2


def test_a_setting_that_is_none_is_refused(store: ObjectStore) -> None:
    with pytest.raises(InvalidArgumentError):
        store.set_bucket_setting("told", NOTIFICATION, b"e")
    nowhere = Rule("queue", "id", "arn:aws:sqs:::x", [CREATED])
    with pytest.raises(InvalidArgumentError):
        store.set_bucket_setting(
            "told", NOTIFICATION, notifications.encode(Notifications([nowhere]))
        )


def test_ends_are_kept_and_never_go_back(store: ObjectStore) -> None:
    listen(store, rule(CREATED))
    for number in range(10):
        store.put("told", f"{number}", b"")
    events = store.next_events(HOOK, limit=4)
    assert [event.body.key for event in events] == ["0", "1", "2", "3"]
    store.end_events(HOOK, events[3].seq, delivered=3, dead=1)
    store.end_events(HOOK, events[1].seq, delivered=2)
    (queue,) = store.event_queues(limit=5)
    assert (queue.waiting, queue.delivered, queue.dead) == (5, 3, 1)
    assert [event.body.key for event in store.next_events(HOOK, limit=1)] == ["4"]
    after = store.next_events(HOOK, after_seq=events[3].seq, limit=100)
    assert [event.body.key for event in after] == [str(number) for number in range(4, 10)]


def test_dead_letters_go_in_again(store: ObjectStore) -> None:
    listen(store, rule(CREATED))
    store.put("told", "k", b"v")
    (event,) = store.next_events(HOOK)
    store.end_events(HOOK, event.seq, dead=1)
    store.put_events(HOOK, [event.body])
    assert bodies(store) == [event.body]


def test_the_bucket_may_go_and_another_of_its_name_is_deaf(store: ObjectStore) -> None:
    listen(store, rule(CREATED, REMOVED))
    store.put("told", "k", b"v")
    store.delete("told", "k")
    store.delete_bucket("told")
    store.create_bucket("told")
    store.put("told", "k", b"v")
    assert told(store) == [("ObjectCreated:Put", "k"), ("ObjectRemoved:Delete", "k")]


def test_compaction_and_a_rebuild_keep_what_waits(tmp_path: Path) -> None:
    """Segments full of events that are half delivered are moved; the log alone has the rest."""
    config = replace(
        SMALL_CONFIG, segment_bytes=64 * KIB, maintenance_interval_s=0, compact_live_ratio=0.9
    )
    keys = itertools.count()
    with ObjectStore.open(tmp_path, config=config) as store:
        store.create_bucket("told")
        listen(store, rule(CREATED))
        waiting: list[str] = []
        for _round in range(6):
            for _put in range(60):
                key = f"{next(keys) % 20}"
                store.put("told", key, b"v" * 500)
                waiting.append(key)
            half = store.next_events(HOOK, limit=len(waiting) // 2)
            store.end_events(HOOK, half[-1].seq, delivered=len(half))
            del waiting[: len(half)]
            compacted = store.maintain().compacted_segments
            assert [key for _name, key in told(store)] == waiting
        assert compacted
        assert store.check() == []
    rebuild_index(tmp_path)
    with ObjectStore.open(tmp_path, config=config) as store:
        assert [key for _name, key in told(store)] == waiting
        store.put("told", "heard", b"", attributes=ObjectAttributes(owner="o"))
        assert told(store)[-1] == ("ObjectCreated:Put", "heard")
        assert store.check() == []


def test_a_batch_of_deletes_in_a_small_segment(tmp_path: Path) -> None:
    """What the events take is bounded by more than they take, and by what a segment has."""
    config = replace(SMALL_CONFIG, segment_bytes=64 * KIB, maintenance_interval_s=0)
    with ObjectStore.open(tmp_path, config=config) as store:
        store.create_bucket("told")
        listen(store, rule(REMOVED))
        names = [f"{number}" for number in range(100)]
        for name in names:
            store.put("told", name, b"")
        assert all(result.error is None for result in store.delete_many("told", names))
        assert [key for _name, key in told(store)] == names
        assert store.check() == []
