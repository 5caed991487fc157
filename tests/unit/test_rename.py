"""Renames in the engine: all of the object under its new key, nothing of it under the old."""

from __future__ import annotations

import threading

import msgspec
import pytest

from objstore import ObjectStore
from objstore.engine.check import rebuild_index
from objstore.errors import (
    IsDeleteMarkerError,
    NoSuchBucketError,
    NoSuchKeyError,
    PreconditionFailedError,
    RenameToItselfError,
    TokenReusedError,
)
from objstore.model import (
    CompletedPart,
    Conditions,
    Encryption,
    ObjectAttributes,
    ObjectInfo,
    ObjectLock,
)
from tests.crash.tiny import TINY, assert_clean, forget_checkpoints, forget_index, pattern
from tests.stores import StoreFactory

BUCKET = "bucket"


@pytest.fixture
def store(store_factory: StoreFactory) -> ObjectStore:
    store = store_factory(config=TINY)
    store.create_bucket(BUCKET)
    return store


def read(store: ObjectStore, key: str, version_id: str = "") -> bytes:
    with store.get(BUCKET, key, version_id=version_id) as reader:
        return reader.read()


def make(store: ObjectStore, form: str) -> bytes:
    """An object ``a`` of some form; its bytes."""
    if form == "parts":
        upload_id = store.create_upload(BUCKET, "a").upload_id
        done = []
        for number, size_bytes in enumerate((70_000, 0, 9), start=1):
            with store.open_part(BUCKET, "a", upload_id, number) as part:
                part.write(pattern(number, size_bytes))
                done.append(CompletedPart(number, part.commit().etag))
        store.complete_upload(BUCKET, "a", upload_id, done)
        return pattern(1, 70_000) + pattern(3, 9)
    data = pattern(1, {"empty": 0, "small": 10, "large": 300_000}[form.split()[0]])
    encryption = Encryption("AES256") if form.endswith("sealed") else Encryption()
    attributes = ObjectAttributes({"content-type": "x"}, {"a": "b"}, encryption=encryption)
    store.put(BUCKET, "a", data, attributes=attributes)
    return data


def said(info: ObjectInfo) -> ObjectInfo:
    """What a rename must not change."""
    return msgspec.structs.replace(info, key="", version_id="", version_seq=0)


FORMS = ["empty", "small", "large", "parts", "small sealed", "large sealed"]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("is_versioned", [False, True])
def test_all_goes_along_and_stays(
    store_factory: StoreFactory, store: ObjectStore, form: str, is_versioned: bool
) -> None:
    if is_versioned:
        store.set_versioning(BUCKET, "Enabled")
    data = make(store, form)
    before = store.head(BUCKET, "a")
    parts = store.list_object_parts(BUCKET, "a").parts
    info = store.rename(BUCKET, "a", "b")
    assert said(info) == said(before)
    for _turn in range(2):
        assert store.head(BUCKET, "b") == info
        assert read(store, "b") == data
        assert store.list_object_parts(BUCKET, "b").parts == parts
        with pytest.raises(NoSuchKeyError):
            store.get(BUCKET, "a")
        if is_versioned:
            assert read(store, "a", before.version_id) == data
        else:
            assert [entry.key for entry in store.list_versions(BUCKET).entries] == ["b"]
        for number in range(40):
            store.put("noise", f"{number % 5}", pattern(number, 40_000))
        store.maintain()
        assert_clean(store)
        store.close()
        forget_index(store_factory.path())
        forget_checkpoints(store_factory.path())
        rebuild_index(store_factory.path())
        store = store_factory(config=TINY)


def test_the_target_is_replaced_or_hidden(store: ObjectStore) -> None:
    make(store, "large")
    store.put(BUCKET, "b", pattern(9, 200_000))
    store.rename(BUCKET, "a", "b")
    assert len(store.list_versions(BUCKET).entries) == 1
    store.set_versioning(BUCKET, "Enabled")
    hidden = store.put(BUCKET, "c", b"hidden").version_id
    made = store.rename(BUCKET, "b", "c", owner="me")
    assert read(store, "c", hidden) == b"hidden"
    assert made.version_id != "null"
    marker = store.list_versions(BUCKET).entries[0]
    assert (marker.key, marker.is_delete_marker, marker.owner) == ("b", True, "me")
    assert_clean(store)


def test_what_cannot_be_renamed(store: ObjectStore) -> None:
    make(store, "small")
    store.put(BUCKET, "b", b"other")
    with pytest.raises(RenameToItselfError):
        store.rename(BUCKET, "a", "a")
    with pytest.raises(NoSuchKeyError):
        store.rename(BUCKET, "missing", "b")
    with pytest.raises(NoSuchBucketError):
        store.rename("missing", "a", "b")
    for conditions in (Conditions(if_none_match=("*",)), Conditions(if_match=("x",))):
        with pytest.raises(PreconditionFailedError):
            store.rename(BUCKET, "a", "b", conditions=conditions)
    with pytest.raises(PreconditionFailedError):
        store.rename(BUCKET, "a", "b", source_conditions=Conditions(if_match=("x",)))
    assert (read(store, "b"), len(read(store, "a"))) == (b"other", 10)


def test_a_token(store: ObjectStore) -> None:
    make(store, "large")
    info = store.rename(BUCKET, "a", "b", client_token="t")
    assert store.rename(BUCKET, "a", "b", client_token="t") == info
    store.put(BUCKET, "a", b"another")
    with pytest.raises(TokenReusedError):
        store.rename(BUCKET, "a", "b", client_token="t", conditions=Conditions(if_match=("*",)))
    assert store.rename(BUCKET, "a", "b", client_token="other").size_bytes == 7


def test_a_locked_version_stays_where_it_is(store: ObjectStore) -> None:
    store.create_bucket("locked", object_lock=True)
    held = ObjectAttributes(lock=ObjectLock(legal_hold=True))
    version = store.put("locked", "a", b"data", attributes=held).version_id
    renamed = store.rename("locked", "a", "b")
    assert not renamed.attributes.lock.legal_hold
    assert store.head("locked", "a", version_id=version).attributes.lock.legal_hold
    with pytest.raises(NoSuchKeyError):
        store.head("locked", "a")


def test_of_many_one_renames(store: ObjectStore) -> None:
    """Who comes second finds nothing; the bytes are there once."""
    make(store, "large")
    done: list[str] = []

    def rename(key: str) -> None:
        try:
            store.rename(BUCKET, "a", key)
            done.append(key)
        except NoSuchKeyError:
            pass

    threads = [threading.Thread(target=rename, args=(f"t{n}",)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [entry.key for entry in store.list(BUCKET).entries] == done
    assert len(done) == 1


def test_a_rename_against_writers(store: ObjectStore) -> None:
    """Appends, tags and copies meanwhile: each version is whole, under one key at a time."""
    store.put(BUCKET, "k0", pattern(1, 20_000))
    stop = threading.Event()
    failures: list[BaseException] = []

    def disturb() -> None:
        number = 0
        while not stop.is_set():
            for entry in store.list(BUCKET, prefix="k").entries:
                try:
                    size_bytes = store.head(BUCKET, entry.key).size_bytes
                    store.append(BUCKET, entry.key, b"more", size_bytes)
                    store.set_tags(BUCKET, entry.key, {"n": str(number)})
                    store.copy(BUCKET, entry.key, BUCKET, "copy")
                except (NoSuchKeyError, IsDeleteMarkerError):
                    pass
                except Exception as error:
                    if type(error).__name__ != "AppendOffsetError":
                        failures.append(error)
                number += 1

    thread = threading.Thread(target=disturb)
    thread.start()
    try:
        for number in range(60):
            store.rename(BUCKET, f"k{number}", f"k{number + 1}")
    finally:
        stop.set()
        thread.join()
    assert failures == []
    assert [entry.key for entry in store.list(BUCKET, prefix="k").entries] == ["k60"]
    data = read(store, "k60")
    assert data[:20_000] == pattern(1, 20_000)
    assert set(data[20_000:]) <= set(b"more")
    assert_clean(store)
