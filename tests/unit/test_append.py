"""Appends in the engine: what grows, what is refused, and what nobody else notices of it."""

from __future__ import annotations

import base64
import hashlib
import threading
import zlib
from collections.abc import Callable
from typing import Any

import pytest

from objstore import ObjectStore
from objstore.engine import append_base
from objstore.engine import copy as copy_shared
from objstore.engine.check import rebuild_index
from objstore.engine.core import tail_of
from objstore.engine.part_digests import PartDigests, new_digest
from objstore.errors import (
    AppendOffsetError,
    CustomerKeyUnexpectedError,
    EncryptionMismatchError,
    KeyNotFoundError,
    NoSuchBucketError,
    NoSuchKeyError,
    NoSuchUploadError,
    NotAppendableError,
    ObjectReplacedError,
    PreconditionFailedError,
    TooManyPartsError,
)
from objstore.model import (
    ByteRange,
    Checksum,
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
# Inline, of an extent, of several segments; nothing at all.
FIRST_SIZES = [0, 1, 4096, 4097, 300_000]


@pytest.fixture
def store(store_factory: StoreFactory) -> ObjectStore:
    return store_factory(config=TINY)


def read(store: ObjectStore, key: str = "key", version_id: str = "") -> bytes:
    with store.get(BUCKET, key, version_id=version_id) as reader:
        return reader.read()


def crc32(data: bytes, kind: str = "FULL_OBJECT") -> Checksum:
    digest = zlib.crc32(data).to_bytes(4, "big")
    return Checksum("CRC32", base64.b64encode(digest).decode(), kind)


def sha1(data: bytes) -> Checksum:
    return Checksum("SHA1", base64.b64encode(hashlib.sha1(data).digest()).decode())


def parts_etag(parts: list[bytes]) -> str:
    digests = b"".join(hashlib.md5(part).digest() for part in parts)
    return f"{hashlib.md5(digests).hexdigest()}-{len(parts)}"


def grow(store: ObjectStore, parts: list[bytes], key: str = "key") -> ObjectInfo:
    """Append each of the parts to what is there."""
    try:
        size_bytes = store.head(BUCKET, key).size_bytes
    except (NoSuchKeyError, NoSuchBucketError):
        size_bytes = 0
    for part in parts:
        info = store.append(BUCKET, key, part, size_bytes)
        size_bytes += len(part)
        assert info.size_bytes == size_bytes
    return info


def put_parts(store: ObjectStore, parts: dict[int, bytes]) -> ObjectInfo:
    upload = store.create_upload(BUCKET, "key")
    named = []
    for number, data in parts.items():
        with store.open_part(BUCKET, "key", upload.upload_id, number) as part:
            part.write(data)
            done = part.commit(checksums=(crc32(data),))
        named.append(CompletedPart(number, done.etag))
    composite = Checksum("CRC32", f"AAAAAA==-{len(parts)}", "COMPOSITE")
    return store.complete_upload(BUCKET, "key", upload.upload_id, named, checksums=(composite,))


@pytest.mark.parametrize("first_bytes", FIRST_SIZES)
@pytest.mark.parametrize("count", [1, 2, 70])
def test_an_object_grows(store: ObjectStore, first_bytes: int, count: int) -> None:
    first = pattern(1, first_bytes)
    attributes = ObjectAttributes(
        headers={"content-type": "text/plain"},
        metadata={"a": "b"},
        tags={"c": "d"},
        storage_class="STANDARD_IA",
        owner="me",
    )
    old = store.put(BUCKET, "key", first, attributes=attributes)
    parts = [pattern(2 + number, 1 + 97 * number) for number in range(count)]
    info = grow(store, parts)
    whole = [first, *parts] if first else parts
    assert read(store) == b"".join(whole)
    assert info == store.head(BUCKET, "key")
    assert (info.etag, info.part_count) == (parts_etag(whole), len(whole))
    assert (info.version_seq, info.version_id) == (old.version_seq, "null")
    assert info.attributes == attributes
    assert info.modified_ms >= old.modified_ms
    listed = store.list_object_parts(BUCKET, "key").parts
    assert [part.part_number for part in listed] == list(range(1, len(whole) + 1))
    assert [part.etag for part in listed] == [hashlib.md5(part).hexdigest() for part in whole]
    for part, data in zip(listed, whole, strict=True):
        with store.get(BUCKET, "key", part_number=part.part_number) as reader:
            assert reader.read() == data
    (entry,) = store.list(BUCKET).entries
    assert (entry.size_bytes, entry.etag) == (info.size_bytes, info.etag)
    assert_clean(store)


def test_an_append_makes_an_object(store: ObjectStore) -> None:
    attributes = ObjectAttributes(metadata={"a": "b"})
    info = store.append(BUCKET, "key", b"new", 0, attributes=attributes)
    assert (info.etag, info.part_count) == (hashlib.md5(b"new").hexdigest(), 0)
    assert store.head(BUCKET, "key").attributes == attributes
    assert read(store) == b"new"
    grow(store, [b"er"])
    assert read(store) == b"newer"
    with pytest.raises(AppendOffsetError) as caught:
        store.append(BUCKET, "other", b"data", 1)
    assert caught.value.size_bytes == 0


@pytest.mark.parametrize("offset_bytes", [0, 2, 4, 2**63])
def test_the_offset_is_the_size(store: ObjectStore, offset_bytes: int) -> None:
    store.put(BUCKET, "key", b"abc")
    with pytest.raises(AppendOffsetError) as caught:
        store.append(BUCKET, "key", b"data", offset_bytes)
    assert (caught.value.offset_bytes, caught.value.size_bytes) == (offset_bytes, 3)
    assert read(store) == b"abc"


def test_what_cannot_be_appended(store: ObjectStore) -> None:
    store.put(BUCKET, "key", b"abc")
    for attributes in (ObjectAttributes(metadata={"a": "b"}), ObjectAttributes(tags={"a": "b"})):
        with pytest.raises(NotAppendableError, match="for existing objects"):
            store.append(BUCKET, "key", b"data", 3, attributes=attributes)
    with pytest.raises(NotAppendableError, match="empty"):
        store.append(BUCKET, "key", b"", 3)
    with pytest.raises(NotAppendableError):
        store.append(BUCKET, "key", b"data", -1)
    assert read(store) == b"abc"


def test_conditions(store: ObjectStore) -> None:
    info = store.put(BUCKET, "key", b"abc")
    for conditions in (Conditions(if_none_match=("*",)), Conditions(if_match=("no",))):
        with pytest.raises(PreconditionFailedError):
            store.append(BUCKET, "key", b"data", 3, conditions=conditions)
    with pytest.raises(NoSuchKeyError):
        store.append(BUCKET, "other", b"data", 0, conditions=Conditions(if_match=(info.etag,)))
    grown = store.append(BUCKET, "key", b"d", 3, conditions=Conditions(if_match=(info.etag,)))
    with pytest.raises(PreconditionFailedError):  # the ETag is another one now
        store.append(BUCKET, "key", b"e", 4, conditions=Conditions(if_match=(info.etag,)))
    store.append(BUCKET, "key", b"e", 4, conditions=Conditions(if_match=(grown.etag,)))
    assert read(store) == b"abcde"


def test_crcs_are_joined(store: ObjectStore) -> None:
    store.put(BUCKET, "key", b"abc", checksums=(crc32(b"abc"),))
    assert store.append(BUCKET, "key", b"def", 3).checksums == (crc32(b"abcdef"),)
    info = store.append(BUCKET, "key", b"ghi", 6, checksums=(crc32(b"ghi"),))
    assert info.checksums == store.head(BUCKET, "key").checksums == (crc32(b"abcdefghi"),)
    parts = store.list_object_parts(BUCKET, "key").parts
    assert [part.checksums for part in parts] == [(crc32(d),) for d in (b"abc", b"def", b"ghi")]
    with pytest.raises(NotAppendableError, match=r"expected checksum Type: crc32, actual .* sha1"):
        store.append(BUCKET, "key", b"jkl", 9, checksums=(sha1(b"jkl"),))
    assert read(store) == b"abcdefghi"


def test_an_object_without_checksums_stays_so(store: ObjectStore) -> None:
    store.put(BUCKET, "key", b"abc")
    assert store.append(BUCKET, "key", b"def", 3, checksums=(sha1(b"def"),)).checksums == ()


def test_a_hash_cannot_go_on(store: ObjectStore) -> None:
    store.put(BUCKET, "key", b"abc", checksums=(sha1(b"abc"),))
    with pytest.raises(NotAppendableError, match="sha1"):
        store.append(BUCKET, "key", b"def", 3, checksums=(sha1(b"def"),))
    assert read(store) == b"abc"


def test_composite_crcs_become_one_of_the_object(store: ObjectStore) -> None:
    parts = {number: pattern(number, 100 + number) for number in range(1, 41)}
    put_parts(store, parts)
    info = grow(store, [b"more"])
    whole = b"".join(parts.values()) + b"more"
    assert info.checksums == (crc32(whole),)
    assert read(store) == whole


def test_an_upload_grows(store: ObjectStore) -> None:
    parts = {3 * number: pattern(number, 100 + number) for number in range(1, 33)}
    completed = put_parts(store, parts)
    info = grow(store, [b"more", b"still more"])
    assert info.etag == parts_etag([*parts.values(), b"more", b"still more"])
    assert info.version_seq == completed.version_seq
    numbers = [part.part_number for part in store.list_object_parts(BUCKET, "key").parts]
    assert numbers == [*parts, 97, 98]
    with pytest.raises(NoSuchUploadError):  # what it was completed to is no more
        store.complete_upload(BUCKET, "key", "0" * 32, [CompletedPart(3, "0" * 32)])


@pytest.mark.parametrize("count", [1, 31, 32, 33, 64])
def test_behind_empty_parts(store: ObjectStore, count: int) -> None:
    parts = {1: b"first"} | dict.fromkeys(range(2, count + 1), b"")
    put_parts(store, parts)
    grow(store, [b"x" * 50, b"y"])
    assert read(store) == b"first" + b"x" * 50 + b"y"
    with store.get(BUCKET, "key", byte_range=ByteRange(54, 55)) as reader:
        assert reader.read() == b"xy"
    listed = store.list_object_parts(BUCKET, "key").parts
    assert [part.part_number for part in listed] == list(range(1, count + 3))


def test_no_more_parts_than_there_may_be(
    store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("objstore.engine.append", "objstore.engine.append_base"):
        monkeypatch.setattr(f"{module}.MAX_PARTS", 40)
    grow(store, [b"x"] * 40)
    for _attempt in range(2):
        with pytest.raises(TooManyPartsError):
            store.append(BUCKET, "key", b"x", 40)
    store.delete(BUCKET, "key")
    put_parts(store, {40: b"one part, of the last number"})
    with pytest.raises(TooManyPartsError):
        store.append(BUCKET, "key", b"x", 28)


def test_an_append_costs_the_same_whatever_there_is(store: ObjectStore) -> None:
    """Neither the log nor the rows that are read grow with the number of parts."""
    costs = []
    for count in range(1, 321):
        before = _log_bytes(store)
        grow(store, [b"x"])
        if count % 32 == 20:
            costs.append(_log_bytes(store) - before)
    assert max(costs[1:]) <= min(costs[1:]) + 4096, costs


def _log_bytes(store: ObjectStore) -> int:
    with store._core.index.read() as txn:
        return tail_of(txn).log_bytes


def test_digests_that_are_not_kept_are_made_again(store: ObjectStore) -> None:
    parts = [b"%d" % number for number in range(100)]
    grow(store, parts[:70])
    store._core.part_digests = PartDigests(1)
    assert grow(store, parts[70:71]).etag == parts_etag(parts[:71])
    grow(store, [b"other"], "other")  # puts the first out
    assert grow(store, parts[71:]).etag == parts_etag(parts)
    info = store.head(BUCKET, "key")
    store._core.part_digests.note(info.version_seq, 99, new_digest([b"wrong"]))
    assert grow(store, [b"end"]).etag == parts_etag([*parts, b"end"])


def test_others_append_in_between(store: ObjectStore) -> None:
    """As two processes would, each of which keeps the digests that it has computed itself."""
    kept = [PartDigests(8), PartDigests(8)]
    parts = [b"%d" % number for number in range(100)]
    for number, part in enumerate(parts):
        store._core.part_digests = kept[number % 7 < 4]
        info = grow(store, [part])
    assert info.etag == parts_etag(parts)
    assert read(store) == b"".join(parts)


@pytest.mark.parametrize("first_bytes", FIRST_SIZES)
def test_a_reader_reads_what_it_opened(store: ObjectStore, first_bytes: int) -> None:
    first = pattern(1, first_bytes)
    store.put(BUCKET, "key", first)
    with store.get(BUCKET, "key") as reader:
        grow(store, [b"x" * 5000, b"y"])
        with store.get(BUCKET, "key") as later:
            store.append(BUCKET, "key", b"z", first_bytes + 5001)
            store.maintain()
            assert reader.read() == first
            assert later.read() == first + b"x" * 5000 + b"y"


@pytest.mark.parametrize("first_bytes", FIRST_SIZES)
def test_versions(store: ObjectStore, first_bytes: int) -> None:
    first = pattern(1, first_bytes)
    null = store.put(BUCKET, "key", first)
    store.set_versioning(BUCKET, "Enabled")
    contents = {null.version_id: first}
    whole = first
    for number in range(40):
        info = store.append(BUCKET, "key", b"%d" % number, len(whole))
        whole += b"%d" % number
        contents[info.version_id] = whole
    assert len(contents) == 41
    for version_id, data in contents.items():
        assert read(store, version_id=version_id) == data
    store.set_versioning(BUCKET, "Suspended")
    info = store.append(BUCKET, "key", b"null again", len(whole))  # replaces the null version
    contents["null"] = whole + b"null again"
    assert info.version_id == "null"
    in_place = store.append(BUCKET, "key", b"!", info.size_bytes)
    contents["null"] += b"!"
    assert in_place.version_seq == info.version_seq
    for version_id, data in contents.items():
        assert read(store, version_id=version_id) == data
    for version_id in contents:
        store.delete(BUCKET, "key", version_id=version_id)
    assert_clean(store)


def test_behind_a_delete_marker_an_object_is_made(store: ObjectStore) -> None:
    store.put(BUCKET, "key", b"old")
    store.set_versioning(BUCKET, "Enabled")
    store.delete(BUCKET, "key")
    with pytest.raises(AppendOffsetError):
        store.append(BUCKET, "key", b"new", 3)
    store.append(BUCKET, "key", b"new", 0)
    assert (read(store), read(store, version_id="null")) == (b"new", b"old")


def test_a_locked_version_stays_as_it_is(store: ObjectStore) -> None:
    store.create_bucket(BUCKET, object_lock=True)
    held = ObjectAttributes(lock=ObjectLock(legal_hold=True))
    old = store.put(BUCKET, "key", b"old", attributes=held)
    info = grow(store, [b"er"])
    assert info.version_id != old.version_id
    assert not store.head(BUCKET, "key").attributes.lock
    assert read(store, version_id=old.version_id) == b"old"


def test_of_many_at_one_offset_one_wins(store: ObjectStore, seed: int) -> None:
    store.put(BUCKET, "key", b"")
    writers, rounds = 8, 12
    won: list[tuple[int, bytes]] = []
    barrier = threading.Barrier(writers, timeout=60)
    refused: list[int] = []

    def write(number: int) -> None:
        for turn in range(rounds):
            data = b"%d.%d.%d;" % (seed % 1000, turn, number)
            offset_bytes = store.head(BUCKET, "key").size_bytes
            barrier.wait()
            try:
                store.append(BUCKET, "key", data, offset_bytes)
                won.append((turn, data))
            except AppendOffsetError:
                refused.append(turn)
            barrier.wait()

    threads = [threading.Thread(target=write, args=(number,)) for number in range(writers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert [turn for turn, _data in won] == list(range(rounds))
    assert len(refused) == rounds * (writers - 1)
    assert read(store) == b"".join(data for _turn, data in won)
    assert store.head(BUCKET, "key").etag == parts_etag([data for _turn, data in won])


def test_an_object_that_changes_while_an_append_is_prepared(
    store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.put(BUCKET, "key", b"abc")
    prepare = append_base.prepare
    others: list[Callable[[], object]] = [
        lambda: store.put(BUCKET, "key", b"xyz"),
        lambda: store.set_tags(BUCKET, "key", {"a": "b" * 100}),
        lambda: store.delete(BUCKET, "key"),
    ]

    def interfered(*arguments: Any) -> append_base.Base:
        base = prepare(*arguments)
        if others:
            others.pop(0)()
        return base

    monkeypatch.setattr(append_base, "prepare", interfered)
    with pytest.raises(AppendOffsetError):  # in the end it was deleted
        store.append(BUCKET, "key", b"def", 3)
    others.append(lambda: store.put(BUCKET, "key", b""))
    store.append(BUCKET, "key", b"def", 0)
    assert read(store) == b"def"
    assert_clean(store)


def test_an_append_that_is_given_up_leaves_nothing(store: ObjectStore) -> None:
    store.put(BUCKET, "key", b"abc")
    with store.open_append(BUCKET, "key", 3) as stream:
        stream.write(pattern(1, 200_000))
    late = store.open_append(BUCKET, "key", 3)
    late.write(b"late")
    grow(store, [b"x"])
    with pytest.raises(AppendOffsetError):
        late.commit()
    assert read(store) == b"abcx"
    assert_clean(store)


def _segments(store: ObjectStore) -> None:
    for _round in range(8):
        store.maintain()
    assert_clean(store)


@pytest.mark.parametrize("first_bytes", FIRST_SIZES)
def test_through_compaction_and_recovery(store_factory: StoreFactory, first_bytes: int) -> None:
    """Records of one version, before and after it became parts, in segments that move."""
    store = store_factory(config=TINY)
    whole = {}
    for number in range(12):
        key = f"key {number}"
        whole[key] = pattern(number, first_bytes)
        store.put(BUCKET, key, whole[key])
        store.put(BUCKET, f"filler {number}", pattern(number, 4000))
    for turn in range(6):
        for number, key in enumerate(whole):
            data = pattern(100 * turn + number, 1 + 3000 * (number % 3))
            store.append(BUCKET, key, data, len(whole[key]))
            whole[key] += data
            store.put(BUCKET, f"filler {number}", pattern(number, 4000))
        _segments(store)
    gone = list(whole)[::3]
    for key in gone:
        store.delete(BUCKET, key)
        del whole[key]
    _segments(store)
    for forgets_checkpoints in (False, True):
        store.close()
        forget_index(store_factory.path())
        if forgets_checkpoints:
            forget_checkpoints(store_factory.path())
        store = store_factory(config=TINY)
        for key, data in whole.items():
            assert read(store, key) == data
        assert_clean(store)
    store.close()
    assert rebuild_index(store_factory.path()).problems == []


@pytest.mark.parametrize("kind", ["AES256", "aws:kms", "SSE-C"])
@pytest.mark.parametrize("first_bytes", [0, 1, 4096, 70_000])
def test_an_encrypted_object_grows(store: ObjectStore, kind: str, first_bytes: int) -> None:
    key = bytes(range(32)) if kind == "SSE-C" else b""
    attributes = ObjectAttributes(encryption=Encryption(kind))
    first = pattern(1, first_bytes)
    store.put(BUCKET, "key", first, attributes=attributes, customer_key=key)
    whole = first
    for number in range(40):
        part = pattern(number, 1 + 61 * number)
        info = store.append(BUCKET, "key", part, len(whole), customer_key=key)
        whole += part
    assert info.attributes.encryption.algorithm == kind
    with store.get(BUCKET, "key", customer_key=key) as reader:
        assert reader.read() == whole
    with store.get(BUCKET, "key", byte_range=ByteRange(5, 9000), customer_key=key) as reader:
        assert reader.read() == whole[5:9001]
    copied = store.copy(BUCKET, "key", BUCKET, "copy", source_customer_key=key)
    assert copied.part_count == info.part_count
    with store.get(BUCKET, "copy", customer_key=key) as reader:
        assert reader.read() == whole
    assert_clean(store)


def test_an_append_names_the_key_of_its_object(store: ObjectStore) -> None:
    sealed = ObjectAttributes(encryption=Encryption("aws:kms", "", '{"a": "b"}'))
    info = store.put(BUCKET, "key", b"data", attributes=sealed)
    key_id = info.attributes.encryption.key_id

    def append(offset_bytes: int, encryption: Encryption) -> None:
        attributes = ObjectAttributes(encryption=encryption)
        store.append(BUCKET, "key", b"more", offset_bytes, attributes=attributes)

    append(4, Encryption("aws:kms"))
    append(8, Encryption("aws:kms", key_id, '{"a": "b"}'))
    append(12, Encryption("aws:kms", "alias/aws/s3"))
    with pytest.raises(KeyNotFoundError):
        append(16, Encryption("aws:kms", "alias/unknown"))
    with pytest.raises(EncryptionMismatchError):
        append(16, Encryption("aws:kms", key_id, '{"a": "c"}'))
    assert read(store) == b"datamoremoremore"


def test_an_append_makes_an_encrypted_object(store: ObjectStore) -> None:
    attributes = ObjectAttributes(encryption=Encryption("aws:kms"))
    info = store.append(BUCKET, "key", b"data", 0, attributes=attributes)
    assert info.attributes.encryption.algorithm == "aws:kms"
    assert info.etag != hashlib.md5(b"data").hexdigest()
    store.append(BUCKET, "key", b"more", 4)
    assert read(store) == b"datamore"
    with pytest.raises(EncryptionMismatchError):
        store.append(
            BUCKET, "key", b"x", 8, attributes=ObjectAttributes(encryption=Encryption("AES256"))
        )
    with pytest.raises(CustomerKeyUnexpectedError):
        store.append(BUCKET, "key", b"x", 8, customer_key=bytes(32))
    assert read(store) == b"datamore"


def test_an_encrypted_object_is_replaced_while_bytes_come(store: ObjectStore) -> None:
    """They were encrypted for the old one: they cannot be read with the key of the new one."""
    sealed = ObjectAttributes(encryption=Encryption("AES256"))
    for before, after in [
        (sealed, sealed),
        (sealed, ObjectAttributes()),
        (ObjectAttributes(), sealed),
    ]:
        store.put(BUCKET, "key", b"data", attributes=before)
        with store.open_append(BUCKET, "key", 4) as stream:
            stream.write(b"more")
            store.put(BUCKET, "key", b"DATA", attributes=after)
            with pytest.raises(ObjectReplacedError):
                stream.commit()
        assert read(store) == b"DATA"
    store.put(BUCKET, "key", b"", attributes=sealed)
    with store.open_append(BUCKET, "key", 0) as stream:
        stream.write(b"more")
        store.delete(BUCKET, "key")
        stream.commit()
    assert read(store) == b"more"
    assert store.head(BUCKET, "key").attributes.encryption.algorithm == "AES256"
    assert_clean(store)


@pytest.mark.parametrize("key", ["copy", "k" * 200])
def test_an_object_that_grows_while_it_is_copied(
    store: ObjectStore, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    """What the copy has to write is more than was reckoned with: it is reckoned anew."""
    parts = [pattern(number, 100) for number in range(100)]
    grow(store, parts)
    bound = copy_shared.CopyShared._bound
    turns = []

    def grown_since(self: copy_shared.CopyShared) -> int:
        bound_bytes = bound(self)
        turns.append(bound_bytes)
        if len(turns) == 1:
            for number in range(100, 700):
                parts.append(pattern(number, 10))
                size_bytes = store.head(BUCKET, "key").size_bytes
                store.append(BUCKET, "key", parts[-1], size_bytes)
        return bound_bytes

    monkeypatch.setattr(copy_shared.CopyShared, "_bound", grown_since)
    copied = store.copy(BUCKET, "key", BUCKET, key)
    assert len(turns) == 2
    assert (copied.part_count, read(store, key)) == (700, b"".join(parts))
    assert_clean(store)
