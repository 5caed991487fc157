"""Object lock and settings of buckets in the engine."""

from __future__ import annotations

import shutil

import pytest

from blockdev import ManualClock
from objstore import ObjectStore
from objstore.errors import (
    BucketStateError,
    DigestRequiredError,
    InvalidArgumentError,
    NoSuchSettingError,
    ObjectLockedError,
    SettingChangedError,
)
from objstore.model import (
    DefaultRetention,
    DeleteTarget,
    ObjectAttributes,
    ObjectLock,
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


@pytest.fixture
def locking(versioned: ObjectStore) -> ObjectStore:
    versioned.set_object_lock(BUCKET, DefaultRetention())
    return versioned


def now_ms(store: ObjectStore) -> int:
    return store.clock.now_ns() // 1_000_000


def locked(store: ObjectStore, lock: ObjectLock) -> str:
    return store.put(BUCKET, "k", b"locked", attributes=ObjectAttributes(lock=lock)).version_id


def test_object_lock_needs_versions_and_keeps_them(store: ObjectStore) -> None:
    with pytest.raises(NoSuchSettingError):
        store.object_lock(BUCKET)
    with pytest.raises(BucketStateError):
        store.set_object_lock(BUCKET, DefaultRetention())
    with pytest.raises(BucketStateError):
        locked(store, ObjectLock(legal_hold=True))
    store.set_versioning(BUCKET, "Enabled")
    store.set_object_lock(BUCKET, DefaultRetention("GOVERNANCE", days=1))
    with pytest.raises(BucketStateError):
        store.set_versioning(BUCKET, "Suspended")
    assert store.object_lock(BUCKET) == DefaultRetention("GOVERNANCE", 1)
    for wrong in (
        DefaultRetention("GOVERNANCE"),
        DefaultRetention("OTHER", 1),
        DefaultRetention("COMPLIANCE", 1, 1),
        DefaultRetention("COMPLIANCE", -1),
        DefaultRetention("COMPLIANCE", years=101),
        DefaultRetention("", 1),
    ):
        with pytest.raises(InvalidArgumentError):
            store.set_object_lock(BUCKET, wrong)
    for wrong, named in (
        (DefaultRetention("COMPLIANCE", years=101), "Years"),
        (DefaultRetention("COMPLIANCE", years=-1), "Years"),
        (DefaultRetention("COMPLIANCE", days=36_501), "Days"),
        (DefaultRetention("COMPLIANCE", days=-1), "Days"),
    ):
        with pytest.raises(InvalidArgumentError) as caught:
            store.set_object_lock(BUCKET, wrong)
        assert caught.value.argument == named


def test_retention_ends_and_governance_can_be_bypassed(locking: ObjectStore) -> None:
    clock = locking.clock
    assert isinstance(clock, ManualClock)
    until = now_ms(locking) + DAY_MS
    governed = locked(locking, ObjectLock("GOVERNANCE", until))
    complied = locked(locking, ObjectLock("COMPLIANCE", until))
    for version in (governed, complied):
        with pytest.raises(ObjectLockedError):
            locking.delete(BUCKET, "k", version_id=version)
    with pytest.raises(ObjectLockedError):
        locking.delete(BUCKET, "k", version_id=complied, bypass_governance=True)
    assert locking.delete(BUCKET, "k", version_id=governed, bypass_governance=True).existed
    results = locking.delete_many(BUCKET, [DeleteTarget("k", complied), "k"])
    assert isinstance(results[0].error, ObjectLockedError)
    assert results[1].delete_marker  # hides it, and removes nothing
    clock.advance(DAY_MS * 1_000_000 + 1)
    assert locking.delete(BUCKET, "k", version_id=complied).existed


def test_no_date_is_behind_the_calendar(locking: ObjectStore) -> None:
    """No client could read it, and COMPLIANCE would keep it."""
    version = locked(locking, ObjectLock())
    for until_ms in (253_402_300_800_000, 2**62):
        with pytest.raises(InvalidArgumentError):
            locking.set_retention(BUCKET, "k", "COMPLIANCE", until_ms, version_id=version)
        with pytest.raises(InvalidArgumentError):
            locked(locking, ObjectLock("COMPLIANCE", until_ms))


def test_a_legal_hold_outlasts_everything(locking: ObjectStore) -> None:
    version = locked(locking, ObjectLock(legal_hold=True))
    with pytest.raises(ObjectLockedError):
        locking.delete(BUCKET, "k", version_id=version, bypass_governance=True)
    locking.set_retention(BUCKET, "k", "GOVERNANCE", now_ms(locking) + 5)
    info = locking.set_legal_hold(BUCKET, "k", False, version_id=version)
    assert info.attributes.lock == ObjectLock("GOVERNANCE", now_ms(locking) + 5, False)
    locking.set_retention(BUCKET, "k", "", 0, bypass_governance=True)
    assert locking.head(BUCKET, "k").attributes.lock == ObjectLock(legal_hold=False)
    assert locking.delete(BUCKET, "k", version_id=version).existed


def test_a_retention_is_only_ever_made_longer(locking: ObjectStore) -> None:
    now = now_ms(locking)
    locked(locking, ObjectLock("COMPLIANCE", now + 100))
    locking.set_retention(BUCKET, "k", "COMPLIANCE", now + 200)
    for mode, until in (("COMPLIANCE", now + 150), ("GOVERNANCE", now + 300), ("", 0)):
        with pytest.raises(ObjectLockedError):
            locking.set_retention(BUCKET, "k", mode, until, bypass_governance=True)
    for mode, until in (("COMPLIANCE", now), ("OTHER", now + 900), ("GOVERNANCE", 0)):
        with pytest.raises(InvalidArgumentError):
            locking.set_retention(BUCKET, "k", mode, until)
    locked(locking, ObjectLock("GOVERNANCE", now + 100))
    with pytest.raises(ObjectLockedError):
        locking.set_retention(BUCKET, "k", "GOVERNANCE", now + 50)
    with pytest.raises(ObjectLockedError):
        locking.set_retention(BUCKET, "k", "COMPLIANCE", now + 200)
    locking.set_retention(BUCKET, "k", "GOVERNANCE", now + 50, bypass_governance=True)
    assert locking.head(BUCKET, "k").attributes.lock.retain_until_ms == now + 50
    locking.set_retention(BUCKET, "k", "COMPLIANCE", now + 60, bypass_governance=True)
    assert locking.head(BUCKET, "k").attributes.lock == ObjectLock("COMPLIANCE", now + 60)


def test_the_default_retention_is_of_writes_that_name_none(locking: ObjectStore) -> None:
    locking.set_object_lock(BUCKET, DefaultRetention("COMPLIANCE", years=2))
    until = now_ms(locking) + 2 * 365 * DAY_MS
    info = locking.put(BUCKET, "k", b"x")
    assert info.attributes.lock == ObjectLock("COMPLIANCE", until)
    assert locking.head(BUCKET, "k").attributes.lock == info.attributes.lock
    own = ObjectLock("GOVERNANCE", now_ms(locking) + 5, legal_hold=True)
    named = locking.put(BUCKET, "k", b"x", attributes=ObjectAttributes(lock=own))
    assert named.attributes.lock == own
    assert locking.copy(BUCKET, "k", BUCKET, "copy").attributes.lock.mode == "COMPLIANCE"


def test_what_a_default_would_lock_needs_a_digest(locking: ObjectStore) -> None:
    locking.open_put(BUCKET, "k", has_digest=False).commit()
    early = locking.open_put(BUCKET, "k", has_digest=False)
    locking.set_object_lock(BUCKET, DefaultRetention("GOVERNANCE", days=1))
    with pytest.raises(DigestRequiredError), early:  # it was not yet to be locked when it began
        early.commit()
    with pytest.raises(DigestRequiredError):
        locking.open_put(BUCKET, "k", has_digest=False)
    told: list[BaseException | None] = []
    locking.submit_put(
        BUCKET,
        "k",
        b"",
        lambda _info, error: told.append(error),
        has_digest=False,
        hold=True,
    )
    locking.commit_held()
    assert isinstance(told[0], DigestRequiredError)
    assert len(locking.list_versions(BUCKET).entries) == 1
    locking.open_put(BUCKET, "k").commit()


def test_a_locked_version_outlives_compaction_and_rebuild(store_factory: StoreFactory) -> None:
    clock = ManualClock()
    store = store_factory(clock=clock)
    store.create_bucket(BUCKET)
    store.set_versioning(BUCKET, "Enabled")
    store.set_object_lock(BUCKET, DefaultRetention("COMPLIANCE", days=1))
    version = store.put(BUCKET, "k", b"locked" * 40_000).version_id
    store.delete(BUCKET, "k")
    for _ in range(3):
        for number in range(20):
            store.put(BUCKET, f"n{number}", b"n" * 50_000)
        store.maintain()
    store.close()
    shutil.rmtree(store_factory.path() / "index")
    again = store_factory(clock=clock)
    with pytest.raises(ObjectLockedError):
        again.delete(BUCKET, "k", version_id=version, bypass_governance=True)
    assert body_of(again, "k", version) == b"locked" * 40_000


# --- settings -----------------------------------------------------------------------


def test_settings_are_kept_and_deleted(store_factory: StoreFactory) -> None:
    store = store_factory()
    store.create_bucket(BUCKET)
    with pytest.raises(NoSuchSettingError):
        store.bucket_setting(BUCKET, "tagging")
    store.set_bucket_setting(BUCKET, "tagging", b"t" * 5000)
    store.set_bucket_setting(BUCKET, "website", b"e")
    store.put(BUCKET, "k", b"in the same bucket")
    for name in ("versioning", "object-lock"):
        with pytest.raises(InvalidArgumentError):
            store.set_bucket_setting(BUCKET, name, b"x")
    with pytest.raises(SettingChangedError, match="website"):
        store.set_bucket_setting(
            BUCKET, "cors", b"c", given={"tagging": b"t" * 5000, "website": None}
        )
    with pytest.raises(NoSuchSettingError):
        store.bucket_setting(BUCKET, "cors")
    store.set_bucket_setting(BUCKET, "cors", b"c", given={"website": b"e", "logging": None})
    assert store.bucket_setting(BUCKET, "cors") == b"c"
    store.close()
    again = store_factory()
    assert again.bucket_setting(BUCKET, "tagging") == b"t" * 5000
    again.set_bucket_setting(BUCKET, "tagging", None)
    again.set_bucket_setting(BUCKET, "tagging", None)
    with pytest.raises(NoSuchSettingError):
        again.bucket_setting(BUCKET, "tagging")
    assert again.bucket_setting(BUCKET, "website") == b"e"
    assert [entry.key for entry in again.list(BUCKET).entries] == ["k"]
