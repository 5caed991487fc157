"""A key service that takes its time keeps nobody waiting but who asks it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from blockdev.clock import SystemClock
from objstore import ObjectStore
from objstore.config import PREPARE_ATTEMPTS
from objstore.engine.put import PutObject
from objstore.entropy import SystemEntropy
from objstore.errors import BucketStateError, KeyServiceError, PreconditionFailedError
from objstore.kms.service import LocalKeyService
from objstore.model import NO_ENCRYPTION, Conditions, Encryption, ObjectAttributes
from tests.crash.tiny import TINY, assert_clean, pattern
from tests.stores import StoreFactory

BUCKET = "bucket"
TIMEOUT_S = 30
SSE_S3, SSE_KMS = Encryption("AES256"), Encryption("aws:kms")


class SlowKeys:
    """A key service that wraps nothing before `may_go_on`, once `is_slow`."""

    def __init__(self, keys: LocalKeyService) -> None:
        self._keys = keys
        self.is_slow = False
        self.fails = False
        self.is_asked, self.may_go_on = threading.Event(), threading.Event()
        self.wrapped = 0

    def wrap(self, key_id: str, plaintext_key: bytes, context: bytes) -> bytes:
        if self.fails:
            raise KeyServiceError("no key today")
        self.wrapped += 1
        if self.is_slow:
            self.is_asked.set()
            assert self.may_go_on.wait(TIMEOUT_S)
        return self._keys.wrap(key_id, plaintext_key, context)

    def unwrap(self, wrapped_key: bytes, context: bytes) -> bytes:
        return self._keys.unwrap(wrapped_key, context)

    def resolve(self, name: str) -> str:
        return self._keys.resolve(name)


@pytest.fixture
def keys(tmp_path: Path) -> Iterator[SlowKeys]:
    local = LocalKeyService(tmp_path / "kms", SystemClock(), SystemEntropy())
    yield SlowKeys(local)
    local.close()


@pytest.fixture
def store(store_factory: StoreFactory, keys: SlowKeys) -> ObjectStore:
    store = store_factory(config=TINY, key_service=keys)
    store.create_bucket(BUCKET)
    store.create_bucket("plain")
    for name, size_bytes in (("small", 100), ("large", 70_000)):
        store.put(
            BUCKET, name, pattern(1, size_bytes), attributes=ObjectAttributes(encryption=SSE_S3)
        )
    return store


ACTS: dict[str, Callable[[ObjectStore, ObjectAttributes], object]] = {
    "put": lambda store, how: store.put(BUCKET, "key", b"k", attributes=how),
    "put large": lambda store, how: store.put(BUCKET, "key", pattern(2, 70_000), attributes=how),
    "copy": lambda store, how: store.copy(BUCKET, "small", BUCKET, "key", attributes=how),
    "copy large": lambda store, how: store.copy(BUCKET, "large", BUCKET, "key", attributes=how),
    "upload": lambda store, how: store.create_upload(BUCKET, "key", attributes=how),
    "append": lambda store, how: store.append(BUCKET, "key", b"k", 0, attributes=how),
}


@pytest.mark.parametrize("act", ACTS.values(), ids=ACTS.keys())
@pytest.mark.parametrize("asked", [SSE_S3, SSE_KMS, NO_ENCRYPTION])
@pytest.mark.parametrize("is_known", [True, False], ids=["known", "unknown"])
def test_writers_do_not_wait_for_it(
    store: ObjectStore,
    keys: SlowKeys,
    act: Callable[[ObjectStore, ObjectAttributes], object],
    asked: Encryption,
    is_known: bool,
) -> None:
    """Whether the bucket is known to this process already, or the commit finds out."""
    if not asked:
        store.set_bucket_encryption(BUCKET, SSE_S3)
    store.head(BUCKET, "small")
    if not is_known:
        store._core.buckets.clear()
    keys.is_slow = True
    thread = threading.Thread(target=act, args=(store, ObjectAttributes(encryption=asked)))
    thread.start()
    try:
        assert keys.is_asked.wait(TIMEOUT_S)
        written = threading.Thread(target=store.put, args=("plain", "other", b"o"))
        written.start()
        written.join(TIMEOUT_S)
        assert not written.is_alive()
        assert store.head("plain", "other").size_bytes == 1
    finally:
        keys.may_go_on.set()
        thread.join(TIMEOUT_S)
    assert not thread.is_alive()
    assert_clean(store)


def test_background_put(store: ObjectStore, keys: SlowKeys) -> None:
    store.set_bucket_encryption(BUCKET, SSE_S3)
    store._core.buckets.clear()
    told: list[object] = []
    is_told = threading.Event()

    def done(info: object, error: BaseException | None) -> None:
        told.extend((info, error))
        is_told.set()

    store.submit_put(BUCKET, "key", b"in the background", done)
    assert is_told.wait(TIMEOUT_S)
    assert told[1] is None
    assert store.head(BUCKET, "key").attributes.encryption == SSE_S3
    keys.fails = True
    told.clear()
    is_told.clear()
    store.submit_put(BUCKET, "key", b"in the background", done)
    assert is_told.wait(TIMEOUT_S)
    assert isinstance(told[1], KeyServiceError)


@pytest.mark.parametrize("act", ACTS.values(), ids=ACTS.keys())
def test_it_is_asked_once(
    store: ObjectStore,
    keys: SlowKeys,
    act: Callable[[ObjectStore, ObjectAttributes], object],
) -> None:
    store.set_bucket_encryption(BUCKET, SSE_S3)
    store.head(BUCKET, "small")
    before = keys.wrapped
    act(store, ObjectAttributes())
    assert keys.wrapped == before + 1


def test_another_reason_to_refuse_goes_first(store: ObjectStore, keys: SlowKeys) -> None:
    keys.fails = True
    attributes = ObjectAttributes(encryption=SSE_S3)
    with pytest.raises(PreconditionFailedError):
        store.put(
            BUCKET, "small", b"", attributes=attributes, conditions=Conditions(if_none_match=("*",))
        )
    with pytest.raises(KeyServiceError):
        store.put(BUCKET, "other", b"", attributes=attributes)


def test_the_default_changes_meanwhile(store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """What counts is the bucket's setting at the commit."""
    store.set_bucket_encryption(BUCKET, SSE_S3)
    store.head(BUCKET, "small")
    encrypt = PutObject.encrypt
    turns: list[Encryption] = []

    def changing(self: PutObject, wanted: Encryption) -> None:
        encrypt(self, wanted)
        turns.append(wanted)
        if len(turns) in times:
            other = SSE_S3 if wanted.algorithm == "aws:kms" else SSE_KMS
            store.set_bucket_encryption(BUCKET, other)

    monkeypatch.setattr(PutObject, "encrypt", changing)
    times = {1}
    assert store.put(BUCKET, "key", b"key").attributes.encryption.algorithm == "aws:kms"
    assert turns == [SSE_S3, SSE_KMS]
    turns.clear()
    times = set(range(100))
    with pytest.raises(BucketStateError, match="keep changing"):
        store.put(BUCKET, "key", b"key")
    assert len(turns) == PREPARE_ATTEMPTS + 1
    turns.clear()
    times = {1}
    store.set_bucket_encryption(BUCKET, SSE_S3)
    store.head(BUCKET, "small")

    def ended(self: PutObject, wanted: Encryption) -> None:
        encrypt(self, wanted)
        store.set_bucket_encryption(BUCKET, NO_ENCRYPTION)

    monkeypatch.setattr(PutObject, "encrypt", ended)
    assert not store.put(BUCKET, "key", b"key").attributes.encryption
    with store.get(BUCKET, "key") as reader:
        assert reader.read() == b"key"
