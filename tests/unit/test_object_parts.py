"""Parts of completed objects in the engine: listed, found and read by number."""

from __future__ import annotations

import threading
from collections.abc import Mapping

import pytest

from objstore import ObjectStore
from objstore.engine import get as engine_get
from objstore.engine import object_parts
from objstore.errors import (
    InvalidArgumentError,
    IsDeleteMarkerError,
    NoSuchKeyError,
    NoSuchPartError,
    NoSuchVersionError,
    PreconditionFailedError,
)
from objstore.model import (
    ByteRange,
    Checksum,
    CompletedPart,
    Conditions,
    ObjectInfo,
    ObjectPart,
)
from tests.crash.tiny import TINY, forget_checkpoints, forget_index, pattern
from tests.stores import StoreFactory

BUCKET = "bucket"
# Several manifest rows, with gaps between the numbers.
MANY = {3 * number: pattern(number, 100 + number) for number in range(1, 101)}


@pytest.fixture
def store(store_factory: StoreFactory) -> ObjectStore:
    return store_factory(config=TINY)


def put_parts(store: ObjectStore, parts: Mapping[int, bytes], key: str = "key") -> ObjectInfo:
    upload = store.create_upload(BUCKET, key)
    named = []
    for number, data in parts.items():
        with store.open_part(BUCKET, key, upload.upload_id, number) as part:
            part.write(data)
            done = part.commit(checksums=(Checksum("SHA1", f"sum {number}"),))
        named.append(CompletedPart(number, done.etag))
    return store.complete_upload(BUCKET, key, upload.upload_id, named)


def read_part(store: ObjectStore, number: int, key: str = "key", version_id: str = "") -> bytes:
    with store.get(BUCKET, key, part_number=number, version_id=version_id) as reader:
        assert reader.info.part is not None
        assert reader.info.part.part_number == number
        assert (reader.start_byte, reader.length_bytes) == (
            reader.info.part.start_byte,
            reader.info.part.size_bytes,
        )
        return reader.read()


def assert_parts(store: ObjectStore, parts: Mapping[int, bytes], key: str = "key") -> None:
    listed = store.list_object_parts(BUCKET, key, limit=10_000).parts
    assert [part.part_number for part in listed] == list(parts)
    start_byte = 0
    for part in listed:
        data = parts[part.part_number]
        assert (part.start_byte, part.size_bytes) == (start_byte, len(data))
        assert part.checksums == (Checksum("SHA1", f"sum {part.part_number}"),)
        assert read_part(store, part.part_number, key) == data
        assert store.head(BUCKET, key, part_number=part.part_number).part == part
        start_byte += len(data)


def test_many_parts(store: ObjectStore) -> None:
    info = put_parts(store, MANY)
    assert_parts(store, MANY)
    for number in (1, 2, 4, 31, 299, 301, 10_000):
        for call in (store.head, store.get):
            with pytest.raises(NoSuchPartError) as caught:
                call(BUCKET, "key", part_number=number)
            assert (caught.value.part_number, caught.value.part_count) == (number, 100)
    assert store.head(BUCKET, "key") == info


@pytest.mark.parametrize("limit", [1, 31, 32, 33, 99, 100, 101])
def test_pages(store: ObjectStore, limit: int) -> None:
    put_parts(store, MANY)
    numbers: list[int] = []
    after: int | None = 0
    while after is not None:
        page = store.list_object_parts(BUCKET, "key", after=after, limit=limit)
        assert len(page.parts) <= limit
        numbers += [part.part_number for part in page.parts]
        assert page.next_after in (None, numbers[-1])
        after = page.next_after
    assert numbers == list(MANY)
    nothing = store.list_object_parts(BUCKET, "key", limit=0)
    assert (nothing.parts, nothing.next_after) == ((), None)
    assert store.list_object_parts(BUCKET, "key", after=300).parts == ()


def test_the_part_at_a_byte(store: ObjectStore) -> None:
    put_parts(store, MANY)
    for part in store.list_object_parts(BUCKET, "key").parts:
        assert store.object_part_at(BUCKET, "key", part.start_byte).parts == (part,)
        assert store.object_part_at(BUCKET, "key", part.start_byte + 1).parts == ()
    store.put(BUCKET, "whole", b"bytes")
    assert store.object_part_at(BUCKET, "whole", 0).parts == ()


@pytest.mark.parametrize("size_bytes", [0, 5, 100_000])
def test_an_object_put_whole_is_its_own_part(store: ObjectStore, size_bytes: int) -> None:
    body = pattern(1, size_bytes)
    info = store.put(BUCKET, "key", body, checksums=(Checksum("SHA1", "sum"),))
    assert read_part(store, 1) == body
    part = store.head(BUCKET, "key", part_number=1).part
    assert part == ObjectPart(1, 0, size_bytes, info.etag, info.checksums)
    assert store.list_object_parts(BUCKET, "key").parts == ()
    with pytest.raises(NoSuchPartError):
        store.get(BUCKET, "key", part_number=2)


def test_a_part_without_bytes(store: ObjectStore) -> None:
    parts = {1: pattern(1, 50_000), 2: b""}
    put_parts(store, parts)
    assert_parts(store, parts)


@pytest.mark.parametrize("empty", [31, 32, 33, 64, 65])
def test_runs_of_parts_without_bytes(store: ObjectStore, empty: int) -> None:
    """More of them than a row of the index takes: none takes the place of another."""
    parts = dict.fromkeys(range(1, empty + 1), b"") | {empty + 1: b"bytes"}
    put_parts(store, parts)
    listed = store.list_object_parts(BUCKET, "key").parts
    assert [part.part_number for part in listed] == list(parts)
    for number, data in parts.items():
        assert read_part(store, number) == data
    assert store.check() == []


def test_conditions_and_ranges(store: ObjectStore) -> None:
    info = put_parts(store, MANY)
    right, wrong = Conditions(if_match=(info.etag,)), Conditions(if_match=("x",))
    assert store.head(BUCKET, "key", part_number=3, conditions=right).part is not None
    for part_number in (3, 4):
        with pytest.raises(PreconditionFailedError):
            store.get(BUCKET, "key", part_number=part_number, conditions=wrong)
    with pytest.raises(PreconditionFailedError):
        store.list_object_parts(BUCKET, "key", conditions=wrong)
    with pytest.raises(InvalidArgumentError):
        store.get(BUCKET, "key", part_number=3, byte_range=ByteRange(0, 1))


def test_parts_of_versions(store: ObjectStore) -> None:
    store.create_bucket(BUCKET)
    store.set_versioning(BUCKET, "Enabled")
    first = put_parts(store, {1: b"first", 2: b"version"})
    second = put_parts(store, {5: b"second"})
    store.delete(BUCKET, "key")
    assert read_part(store, 2, version_id=first.version_id) == b"version"
    assert read_part(store, 5, version_id=second.version_id) == b"second"
    page = store.list_object_parts(BUCKET, "key", version_id=first.version_id, after=1)
    assert [part.part_number for part in page.parts] == [2]
    assert page.info == first
    with pytest.raises(NoSuchPartError):
        store.get(BUCKET, "key", part_number=5, version_id=first.version_id)
    for call in (store.list_object_parts, store.head):
        with pytest.raises(NoSuchKeyError):
            call(BUCKET, "key")
        with pytest.raises(NoSuchVersionError):
            call(BUCKET, "key", version_id="0" * 32)
    marker = store.list_versions(BUCKET).entries[0]
    assert marker.is_delete_marker
    with pytest.raises(IsDeleteMarkerError):
        store.list_object_parts(BUCKET, "key", version_id=marker.version_id)


def test_parts_outlive_compaction_and_the_index(store_factory: StoreFactory) -> None:
    store = store_factory(config=TINY)
    parts = {number: pattern(number, 30_000) for number in (1, 2, 5)}
    put_parts(store, parts, "copied")
    store.copy(BUCKET, "copied", BUCKET, "key")
    for number in range(60):  # segments full of what is overwritten at once
        store.put(BUCKET, "churn", pattern(number, 3_000))
    store.delete(BUCKET, "copied")
    for _ in range(5):
        store.maintain()
    assert_parts(store, parts)
    store.close()
    forget_index(store_factory.path())
    forget_checkpoints(store_factory.path())
    assert_parts(store_factory(config=TINY), parts)


def test_an_object_replaced_between_the_two_looks(
    store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Longer, shorter and gone: what is read is never a part of one in another's place."""
    put_parts(store, {1: b"a" * 10_000, 2: b"b" * 10_000})
    others = [{1: b"c" * 10, 2: b"d" * 10}, {1: b"e" * 30_000, 2: b"f" * 30_000}]
    looked = engine_get.get

    def replaced(*arguments: object) -> object:
        if others:
            put_parts(store, others.pop(0))
        return looked(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(object_parts, "get", replaced)
    assert read_part(store, 2) == b"f" * 30_000
    assert others == []


def test_readers_among_writers(store: ObjectStore) -> None:
    """Every read is of one whole part, as some writer put it."""
    shapes = [{1: bytes([n]) * 5_000, 2: bytes([n]) * (1_000 * n)} for n in range(1, 8)]
    put_parts(store, shapes[0])
    stop = threading.Event()
    wrong: list[str] = []

    def read() -> None:
        while not stop.is_set():
            data = read_part(store, 2)
            if len(data) != 1_000 * data[0] or data.strip(data[:1]):
                wrong.append(f"{len(data)} bytes of {data[0]}")

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    try:
        for shape in shapes * 5:
            put_parts(store, shape)
    finally:
        stop.set()
        for reader in readers:
            reader.join()
    assert wrong == []
