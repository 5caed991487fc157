"""Versions in the engine: what is kept, what hides it, what removes it, and what may not go."""

from __future__ import annotations

import random
import shutil
from typing import Any

import msgspec
import pytest

from blockdev import ManualClock
from objstore import ObjectStore
from objstore.engine.versions import parse_version_id, version_id
from objstore.errors import (
    BucketNotEmptyError,
    InvalidArgumentError,
    IsDeleteMarkerError,
    NoSuchKeyError,
    NoSuchUploadError,
    NoSuchVersionError,
    PreconditionFailedError,
)
from objstore.model import (
    CompletedPart,
    Conditions,
    DeleteTarget,
    ObjectAttributes,
    VersionEntry,
)
from tests.stores import StoreFactory

BUCKET = "bucket"
DAY_MS = 24 * 3600 * 1000


@pytest.fixture
def store(store_factory: StoreFactory) -> ObjectStore:
    made = store_factory(clock=ManualClock())
    made.create_bucket(BUCKET)
    return made


@pytest.fixture
def versioned(store: ObjectStore) -> ObjectStore:
    store.set_versioning(BUCKET, "Enabled")
    return store


def body_of(store: ObjectStore, key: str, version: str = "") -> bytes:
    with store.get(BUCKET, key, version_id=version) as reader:
        return reader.read()


def ids(store: ObjectStore, key: str) -> list[str]:
    return [e.version_id for e in store.list_versions(BUCKET, prefix=key).entries if e.key == key]


def test_ids_are_32_digits_that_carry_their_number() -> None:
    assert parse_version_id(version_id(0, 12345, 99)) == 12345
    assert version_id(0, 1, 5) != version_id(0, 1, 6)
    for wrong in ("", "x" * 32, "A" * 32, "0" * 31):
        with pytest.raises(InvalidArgumentError):
            parse_version_id(wrong)


def test_every_write_is_a_version_and_each_can_be_read(versioned: ObjectStore) -> None:
    bodies = [b"one", b"two" * 30_000, b"", b"four"]
    made = [versioned.put(BUCKET, "k", body).version_id for body in bodies]
    assert len(set(made)) == 4
    assert ids(versioned, "k") == made[::-1]
    for body, version in zip(bodies, made, strict=True):
        assert body_of(versioned, "k", version) == body
        assert versioned.head(BUCKET, "k", version_id=version).version_id == version
    assert body_of(versioned, "k") == b"four"


def test_a_delete_leaves_a_marker_and_the_marker_can_go(versioned: ObjectStore) -> None:
    first = versioned.put(BUCKET, "k", b"one").version_id
    result = versioned.delete(BUCKET, "k")
    assert result.delete_marker
    assert result.version_id is not None
    with pytest.raises(NoSuchKeyError) as hidden:
        versioned.head(BUCKET, "k")
    assert hidden.value.marker_version_id == result.version_id
    with pytest.raises(IsDeleteMarkerError):
        versioned.get(BUCKET, "k", version_id=result.version_id)
    assert versioned.list(BUCKET).entries == ()
    assert body_of(versioned, "k", first) == b"one"
    gone = versioned.delete(BUCKET, "k", version_id=result.version_id)
    assert gone.delete_marker
    assert body_of(versioned, "k") == b"one"
    with pytest.raises(BucketNotEmptyError):
        versioned.delete_bucket(BUCKET)
    versioned.delete(BUCKET, "k", version_id=first)
    versioned.delete_bucket(BUCKET)


def test_deleting_the_current_version_brings_back_the_one_before(versioned: ObjectStore) -> None:
    made = [versioned.put(BUCKET, "k", b"%d" % n).version_id for n in range(3)]
    versioned.delete(BUCKET, "k", version_id=made[2])
    assert body_of(versioned, "k") == b"1"
    assert not versioned.delete(BUCKET, "k", version_id=made[2]).existed
    versioned.delete(BUCKET, "k", version_id=made[0])
    assert ids(versioned, "k") == [made[1]]


def test_suspended_writes_replace_the_null_version_alone(store: ObjectStore) -> None:
    store.put(BUCKET, "k", b"before")
    store.set_versioning(BUCKET, "Enabled")
    kept = store.put(BUCKET, "k", b"kept").version_id
    assert ids(store, "k") == [kept, "null"]
    assert body_of(store, "k", "null") == b"before"
    store.set_versioning(BUCKET, "Suspended")
    assert store.put(BUCKET, "k", b"after").version_id == "null"
    assert ids(store, "k") == ["null", kept]
    marker = store.delete(BUCKET, "k")
    assert (marker.version_id, marker.delete_marker) == ("null", True)
    assert ids(store, "k") == ["null", kept]
    with pytest.raises(IsDeleteMarkerError):
        store.head(BUCKET, "k", version_id="null")
    store.delete(BUCKET, "k", version_id="null")
    assert body_of(store, "k") == b"kept"


def test_versioning_is_never_off_again(store: ObjectStore) -> None:
    assert store.versioning(BUCKET) == ""
    store.set_versioning(BUCKET, "Enabled")
    for wrong in ("", "Off", "enabled"):
        with pytest.raises(InvalidArgumentError):
            store.set_versioning(BUCKET, wrong)
    assert store.versioning(BUCKET) == "Enabled"


def test_ids_of_others_name_nothing(versioned: ObjectStore) -> None:
    mine = versioned.put(BUCKET, "k", b"x").version_id
    other = versioned.put(BUCKET, "other", b"y").version_id
    seq = parse_version_id(mine)
    assert seq is not None
    for wrong in (other, "null", version_id(0, seq, 1)):
        with pytest.raises(NoSuchVersionError):
            versioned.head(BUCKET, "k", version_id=wrong)
    with pytest.raises(InvalidArgumentError):
        versioned.head(BUCKET, "k", version_id="no id")


def test_a_delete_of_many_has_an_outcome_for_each(versioned: ObjectStore) -> None:
    first = versioned.put(BUCKET, "a", b"1").version_id
    versioned.put(BUCKET, "b", b"22")
    results = versioned.delete_many(
        BUCKET,
        [
            "missing",
            "missing",
            DeleteTarget("a", first),
            DeleteTarget("a", first),
            DeleteTarget("b", conditions=Conditions(if_match_size_bytes=3)),
            DeleteTarget("b", "nonsense"),
        ],
    )
    assert [r.delete_marker for r in results[:2]] == [True, True]
    assert results[0].version_id != results[1].version_id
    assert [r.existed for r in results[2:4]] == [True, False]
    assert isinstance(results[4].error, PreconditionFailedError)
    assert isinstance(results[5].error, InvalidArgumentError)
    assert body_of(versioned, "b") == b"22"


@pytest.mark.parametrize("is_versioned", [True, False])
def test_conditions_of_a_delete(store: ObjectStore, is_versioned: bool) -> None:
    if is_versioned:
        store.set_versioning(BUCKET, "Enabled")
    info = store.put(BUCKET, "k", b"body")
    second = info.modified_ms // 1000
    wrong = [
        Conditions(if_match=("0" * 32,)),
        Conditions(if_match_size_bytes=5),
        Conditions(if_match_modified_s=second + 1),
    ]
    for conditions in wrong:
        with pytest.raises(PreconditionFailedError):
            store.delete(BUCKET, "k", conditions=conditions)
    everything = Conditions(
        if_match=(info.etag,), if_match_size_bytes=4, if_match_modified_s=second
    )
    assert store.delete(BUCKET, "k", conditions=everything).existed
    again = store.delete(BUCKET, "k", conditions=Conditions(if_match_size_bytes=5))
    assert not again.existed
    assert again.version_id is None
    with pytest.raises(PreconditionFailedError if is_versioned else NoSuchKeyError):
        store.delete(BUCKET, "k", conditions=Conditions(if_match=("*",)))


def test_conditions_of_a_delete_of_a_version(versioned: ObjectStore) -> None:
    old = versioned.put(BUCKET, "k", b"old")
    versioned.put(BUCKET, "k", b"new and longer")
    marker = versioned.delete(BUCKET, "k").version_id
    assert marker is not None
    for wanted, conditions in [
        (old.version_id, Conditions(if_match_size_bytes=14)),
        (marker, Conditions(if_match=("*",))),
        (marker, Conditions(if_match_size_bytes=0)),
        (marker, Conditions(if_match_modified_s=1)),
    ]:
        with pytest.raises(PreconditionFailedError):
            versioned.delete(BUCKET, "k", version_id=wanted, conditions=conditions)
    with pytest.raises(NoSuchVersionError):
        versioned.delete(BUCKET, "k", version_id="null", conditions=Conditions(if_match=("*",)))
    matching = Conditions(if_match=(old.etag,))
    assert versioned.delete(BUCKET, "k", version_id=old.version_id, conditions=matching).existed
    assert len(versioned.list_versions(BUCKET).entries) == 2


@pytest.mark.parametrize("is_versioned", [True, False])
def test_a_condition_on_what_the_same_call_has_deleted(
    store: ObjectStore, is_versioned: bool
) -> None:
    if is_versioned:
        store.set_versioning(BUCKET, "Enabled")
    store.put(BUCKET, "k", b"body")
    wanted = DeleteTarget("k", conditions=Conditions(if_match=("*",)))
    first, second, third = store.delete_many(
        BUCKET, [wanted, wanted, DeleteTarget("k", conditions=Conditions(if_match_size_bytes=9))]
    )
    assert (first.existed, first.error) == (True, None)
    assert isinstance(second.error, PreconditionFailedError if is_versioned else NoSuchKeyError)
    assert (third.existed, third.error) == (False, None)
    assert len(store.list_versions(BUCKET).entries) == (2 if is_versioned else 0)


def test_an_object_says_whether_its_bucket_has_versions(store: ObjectStore) -> None:
    assert not store.put(BUCKET, "k", b"body").has_versions
    assert not store.head(BUCKET, "k").has_versions
    for status in ("Enabled", "Suspended"):
        store.set_versioning(BUCKET, status)
        assert store.put(BUCKET, "k", b"body").has_versions
        assert store.put(BUCKET, "large", bytes(300_000)).has_versions
        assert store.head(BUCKET, "k").has_versions
        assert store.head(BUCKET, "large", part_number=1).has_versions
        assert store.set_tags(BUCKET, "k", {"a": "b"}).has_versions
        for key in ("k", "large"):
            assert store.copy(BUCKET, key, BUCKET, "copy").has_versions
            with store.get(BUCKET, key) as reader:
                assert reader.info.has_versions


def test_a_completion_repeated_after_the_key_was_overwritten(versioned: ObjectStore) -> None:
    upload_id = versioned.create_upload(BUCKET, "k").upload_id
    with versioned.open_part(BUCKET, "k", upload_id, 1) as part:
        part.write(b"part")
        made = part.commit()
    parts = [CompletedPart(1, made.etag)]
    done = versioned.complete_upload(BUCKET, "k", upload_id, parts)
    versioned.put(BUCKET, "k", b"newer")
    versioned.delete(BUCKET, "k")
    again = versioned.complete_upload(BUCKET, "k", upload_id, parts)
    assert (again.version_id, again.etag) == (done.version_id, done.etag)
    versioned.delete(BUCKET, "k", version_id=done.version_id)
    with pytest.raises(NoSuchUploadError):
        versioned.complete_upload(BUCKET, "k", upload_id, parts)


def expected_page(entries: list[VersionEntry], prefix: str, delimiter: str) -> list[str]:
    """Keys with version ids, and common prefixes, in order."""
    shown: list[str] = []
    for entry in entries:
        if not entry.key.startswith(prefix):
            continue
        at = entry.key.find(delimiter, len(prefix)) if delimiter else -1
        line = f"{entry.key} {entry.version_id}" if at < 0 else entry.key[: at + 1]
        if at < 0 or line not in shown:
            shown.append(line)
    return shown


@pytest.mark.parametrize(("prefix", "delimiter"), [("", ""), ("", "/"), ("a", "/"), ("b/", "")])
def test_pages_of_any_size_show_all_once(
    store: ObjectStore, seed: int, prefix: str, delimiter: str
) -> None:
    chance = random.Random(seed)
    names = ["a", "a/1", "a/2/x", "ab", "b/\x00", "b/\x00\x00", "b/1", "c"]
    store.put(BUCKET, "a", b"null")
    for round_ in range(60):
        if round_ in (5, 40):
            store.set_versioning(BUCKET, "Enabled")
        if round_ == 30:
            store.set_versioning(BUCKET, "Suspended")
        name = chance.choice(names)
        if chance.random() < 0.2:
            store.delete(BUCKET, name)
        else:
            store.put(BUCKET, name, b"%d" % round_)
    whole = list(store.list_versions(BUCKET).entries)
    latest = [entry for entry in whole if entry.is_latest]
    assert len({entry.key for entry in whole}) == len(latest)
    assert [entry.key.encode() for entry in whole] == sorted(e.key.encode() for e in whole)
    expected = expected_page(whole, prefix, delimiter)
    for limit in (1, 2, 3, 7, 1000):
        shown: list[str] = []
        key_marker = version_marker = ""
        while True:
            page = store.list_versions(
                BUCKET,
                prefix=prefix,
                delimiter=delimiter,
                key_marker=key_marker,
                version_id_marker=version_marker,
                limit=limit,
            )
            lines = [f"{entry.key} {entry.version_id}" for entry in page.entries]
            assert 0 < len(lines) + len(page.common_prefixes) <= limit
            shown += [*lines, *page.common_prefixes]
            if page.next_key is None:
                break
            key_marker, version_marker = page.next_key, page.next_version_id or ""
        assert sorted(shown) == sorted(expected), limit


@pytest.mark.parametrize("limit", [1, 2, 3, 1000])
def test_who_deletes_page_by_page_leaves_nothing(versioned: ObjectStore, limit: int) -> None:
    """The version that a page ended with is gone when the next one is asked for."""
    for round_ in range(5):
        for key in ("a", "b/1", "b/2", "c"):
            versioned.put(BUCKET, key, b"%d" % round_)
    versioned.delete(BUCKET, "b/1")
    key_marker = version_marker = ""
    pages = 0
    while True:
        page = versioned.list_versions(
            BUCKET, key_marker=key_marker, version_id_marker=version_marker, limit=limit
        )
        pages += 1
        for entry in page.entries:
            versioned.delete(BUCKET, entry.key, version_id=entry.version_id)
        if page.next_key is None:
            break
        key_marker, version_marker = page.next_key, page.next_version_id or ""
    assert versioned.list_versions(BUCKET).entries == ()
    assert pages == -(-21 // limit)


def test_a_marker_that_is_gone_keeps_its_place(versioned: ObjectStore) -> None:
    made = [versioned.put(BUCKET, "key", b"%d" % turn).version_id for turn in range(5)]
    versioned.put(BUCKET, "later", b"")
    versioned.delete(BUCKET, "key", version_id=made[2])
    versioned.delete(BUCKET, "key", version_id=made[4])

    def after(marker: str, **more: Any) -> list[tuple[str, str, bool]]:
        page = versioned.list_versions(BUCKET, key_marker="key", version_id_marker=marker, **more)
        return [(e.key, e.version_id, e.is_latest) for e in page.entries if e.key == "key"]

    rest = [("key", made[1], False), ("key", made[0], False)]
    assert after(made[2]) == after(made[3]) == rest
    assert after(made[4]) == [("key", made[3], True), *rest]
    assert after(made[4], limit=1) == [("key", made[3], True)]
    assert after(made[2], prefix="key") == rest
    assert after(made[2], prefix="l") == []
    assert after(made[2], delimiter="e") == []


def test_a_marker_without_a_place_leaves_nothing_out(versioned: ObjectStore) -> None:
    """A null version that is gone, and another store's id: all of the key comes again."""
    versioned.set_versioning(BUCKET, "Suspended")
    versioned.put(BUCKET, "key", b"null")
    versioned.set_versioning(BUCKET, "Enabled")
    versioned.put(BUCKET, "key", b"one")
    assert [e.version_id for e in versioned.list_versions(BUCKET).entries][1] == "null"
    assert versioned.list_versions(BUCKET, key_marker="key", version_id_marker="null").entries == ()
    versioned.delete(BUCKET, "key", version_id="null")
    for marker in ("null", "Z" * 32, "0" * 32, "f" * 31 + "0"):
        page = versioned.list_versions(BUCKET, key_marker="key", version_id_marker=marker)
        assert [(e.key, e.is_latest) for e in page.entries] == [("key", True)]


def test_tags_change_nothing_else(versioned: ObjectStore) -> None:
    bodies = {"small": b"s", "large": b"l" * 200_000}
    for key, body in bodies.items():
        old = versioned.put(BUCKET, key, body, attributes=ObjectAttributes(metadata={"m": "1"}))
        versioned.put(BUCKET, key, b"newer")
        tagged = versioned.set_tags(BUCKET, key, {"a": "b"}, version_id=old.version_id)
        assert tagged.attributes.tags == {"a": "b"}
        untagged = msgspec.structs.replace(tagged.attributes, tags={})
        assert msgspec.structs.replace(tagged, attributes=untagged) == old
        assert body_of(versioned, key, old.version_id) == body
        assert len(ids(versioned, key)) == 2
        assert versioned.head(BUCKET, key).attributes.tags == {}


def test_a_completed_upload_and_a_copy_are_versions(versioned: ObjectStore) -> None:
    first = versioned.put(BUCKET, "k", b"one").version_id
    upload = versioned.create_upload(BUCKET, "k").upload_id
    with versioned.open_part(BUCKET, "k", upload, 1) as part:
        part.write(b"p" * 100_000)
        etag = part.commit().etag
    done = versioned.complete_upload(BUCKET, "k", upload, [CompletedPart(1, etag)])
    copied = versioned.copy(BUCKET, "k", BUCKET, "k", source_version_id=first)
    assert ids(versioned, "k") == [copied.version_id, done.version_id, first]
    assert body_of(versioned, "k") == b"one"
    assert body_of(versioned, "k", done.version_id) == b"p" * 100_000


def test_all_of_it_survives_compaction_and_the_loss_of_the_index(
    store_factory: StoreFactory, seed: int
) -> None:
    chance = random.Random(seed)
    store = store_factory(clock=ManualClock())
    store.create_bucket(BUCKET)
    store.set_versioning(BUCKET, "Enabled")
    expected: dict[tuple[str, str], bytes] = {}
    for number in range(80):
        key = f"k{chance.randrange(6)}"
        body = chance.randbytes(chance.choice([10, 3000, 150_000]))
        expected[key, store.put(BUCKET, key, body).version_id] = body
        if chance.random() < 0.3:
            name = chance.choice(list(expected))
            store.delete(BUCKET, name[0], version_id=name[1])
            del expected[name]
        if number % 9 == 0:
            store.delete(BUCKET, key)
    listed = store.list_versions(BUCKET)
    store.maintain()
    store.close()
    shutil.rmtree(store_factory.path() / "index", ignore_errors=True)
    again = store_factory()
    assert again.list_versions(BUCKET) == listed
    for (key, version), body in expected.items():
        assert body_of(again, key, version) == body
    assert again.check() == []
