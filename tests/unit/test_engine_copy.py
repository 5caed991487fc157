"""Copies whose source changes under them: each is of the source as it is at its commit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from objstore import ObjectStore
from objstore.config import COPY_ATTEMPTS, KIB
from objstore.engine.buckets import ensure
from objstore.engine.core import Core
from objstore.errors import NoSuchKeyError, PreconditionFailedError, SourceChangedError
from objstore.model import CompletedPart, Conditions, Encryption, ObjectAttributes
from tests.crash.tiny import TINY, assert_clean, pattern
from tests.stores import StoreFactory

BUCKET = "bucket"
SMALL, LARGE = 1000, 70_000
SEALED = ObjectAttributes(encryption=Encryption("AES256"))


@pytest.fixture
def store(store_factory: StoreFactory) -> ObjectStore:
    return store_factory(config=TINY)


@pytest.fixture
def meanwhile(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[int], object], int], None]:
    """Has something done each time that a copy has looked at its source, `times` at most."""

    def arrange(act: Callable[[int], object], times: int) -> None:
        turns: list[int] = []

        def interfering(core: Core, bucket: str, key: str) -> None:
            ensure(core, bucket, key)
            if len(turns) < times:
                turns.append(1)
                act(len(turns))

        monkeypatch.setattr("objstore.engine.copy.ensure", interfering)

    return arrange


def body(store: ObjectStore, key: str) -> bytes:
    with store.get(BUCKET, key) as reader:
        return reader.read()


@pytest.mark.parametrize("before", [SMALL, LARGE])
@pytest.mark.parametrize("after", [0, SMALL, LARGE])
@pytest.mark.parametrize("versioned", [False, True])
@pytest.mark.parametrize("attributes", [None, ObjectAttributes(metadata={"a": "b"}), SEALED])
def test_source_replaced(
    store: ObjectStore,
    meanwhile: Callable[..., None],
    before: int,
    after: int,
    versioned: bool,
    attributes: ObjectAttributes | None,
) -> None:
    """The copy has the bytes of the one or the other, and never none of either."""
    store.create_bucket(BUCKET)
    if versioned:
        store.set_versioning(BUCKET, "Enabled")
    store.put(BUCKET, "source", pattern(1, before))
    data = pattern(2, after)
    meanwhile(lambda _turn: store.put(BUCKET, "source", data), 1)
    copied = store.copy(BUCKET, "source", BUCKET, "copy", attributes=attributes)
    assert copied.size_bytes == after
    assert body(store, "copy") == data
    assert_clean(store)


def test_source_in_the_log_of_a_store_that_had_it_larger(store_factory: StoreFactory) -> None:
    """What was small by the configuration then is still in the log, and no extent to share."""
    with store_factory("one", config=replace(TINY, log_inline_bytes=16 * KIB)) as store:
        store.put(BUCKET, "source", pattern(1, 10_000))
    with store_factory("one", config=TINY) as store:
        for attributes in (None, SEALED):
            store.copy(BUCKET, "source", BUCKET, "copy", attributes=attributes)
            assert body(store, "copy") == pattern(1, 10_000)


def test_source_of_empty_parts(store: ObjectStore) -> None:
    upload_id = store.create_upload(BUCKET, "source").upload_id
    with store.open_part(BUCKET, "source", upload_id, 1) as stream:
        part = stream.commit()
    store.complete_upload(BUCKET, "source", upload_id, [CompletedPart(1, part.etag)])
    for attributes in (None, SEALED):
        copied = store.copy(BUCKET, "source", BUCKET, "copy", attributes=attributes)
        assert (copied.size_bytes, body(store, "copy")) == (0, b"")


@pytest.mark.parametrize("size_bytes", [SMALL, LARGE])
@pytest.mark.parametrize("attributes", [ObjectAttributes(), SEALED])
def test_source_deleted(
    store: ObjectStore,
    meanwhile: Callable[..., None],
    size_bytes: int,
    attributes: ObjectAttributes,
) -> None:
    store.put(BUCKET, "source", pattern(1, size_bytes))
    meanwhile(lambda _turn: store.delete(BUCKET, "source"), 1)
    with pytest.raises(NoSuchKeyError):
        store.copy(BUCKET, "source", BUCKET, "copy", attributes=attributes)
    with pytest.raises(NoSuchKeyError):
        store.head(BUCKET, "copy")


@pytest.mark.parametrize("size_bytes", [SMALL, LARGE])
@pytest.mark.parametrize("source", [ObjectAttributes(), SEALED])
def test_tags_of_the_source_change(
    store: ObjectStore, meanwhile: Callable[..., None], size_bytes: int, source: ObjectAttributes
) -> None:
    store.put(BUCKET, "source", pattern(1, size_bytes), attributes=source)
    meanwhile(lambda _turn: store.set_tags(BUCKET, "source", {"new": "tag"}), 1)
    copied = store.copy(BUCKET, "source", BUCKET, "copy")
    assert copied.attributes.tags == {"new": "tag"}
    assert store.head(BUCKET, "copy").attributes.tags == {"new": "tag"}


@pytest.mark.parametrize("attributes", [None, SEALED])
def test_small_source_grows(
    store: ObjectStore, meanwhile: Callable[..., None], attributes: ObjectAttributes | None
) -> None:
    store.put(BUCKET, "source", pattern(1, SMALL))
    meanwhile(lambda _turn: store.append(BUCKET, "source", pattern(2, LARGE), SMALL), 1)
    store.copy(BUCKET, "source", BUCKET, "copy", attributes=attributes)
    assert body(store, "copy") == pattern(1, SMALL) + pattern(2, LARGE)


@pytest.mark.parametrize("size_bytes", [SMALL, LARGE])
@pytest.mark.parametrize("attributes", [None, SEALED])
def test_source_that_never_rests(
    store: ObjectStore,
    meanwhile: Callable[..., None],
    size_bytes: int,
    attributes: ObjectAttributes | None,
) -> None:
    """A bounded number of attempts, and then a conflict; the target is as it was."""
    store.put(BUCKET, "source", pattern(0, size_bytes))
    store.put(BUCKET, "copy", b"as it was")
    turns: list[int] = []

    def replace(turn: int) -> None:
        turns.append(turn)
        store.put(BUCKET, "source", pattern(turn, size_bytes))

    meanwhile(replace, 100)
    with pytest.raises(SourceChangedError):
        store.copy(BUCKET, "source", BUCKET, "copy", attributes=attributes)
    assert len(turns) == COPY_ATTEMPTS
    assert body(store, "copy") == b"as it was"
    assert_clean(store)


@pytest.mark.parametrize("size_bytes", [SMALL, LARGE])
def test_condition_that_holds_no_longer(
    store: ObjectStore, meanwhile: Callable[..., None], size_bytes: int
) -> None:
    put = store.put(BUCKET, "source", pattern(1, size_bytes))
    meanwhile(lambda _turn: store.put(BUCKET, "source", b"other"), 1)
    with pytest.raises(PreconditionFailedError):
        store.copy(
            BUCKET,
            "source",
            BUCKET,
            "copy",
            source_conditions=Conditions(if_match=(put.etag,)),
        )
