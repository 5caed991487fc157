"""Encryption in the engine: what is written can be read with its key, and with no other."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from blockdev.clock import SystemClock
from objstore import ObjectStore
from objstore.config import MAX_ENCRYPTION_CONTEXT_BYTES
from objstore.engine.check import rebuild_index
from objstore.engine.core import tail_of
from objstore.entropy import SystemEntropy
from objstore.errors import (
    BadDigestError,
    CorruptionError,
    CustomerKeyError,
    CustomerKeyMismatchError,
    CustomerKeyMissingError,
    CustomerKeyUnexpectedError,
    InvalidArgumentError,
    KeyDisabledError,
    KeyNotFoundError,
    NoSuchSettingError,
)
from objstore.index import keys
from objstore.kms.service import LocalKeyService
from objstore.model import (
    NO_ENCRYPTION,
    ByteRange,
    CompletedPart,
    Encryption,
    ObjectAttributes,
    ObjectInfo,
)
from tests.crash.tiny import SIZES, TINY, assert_clean, forget_checkpoints, forget_index, pattern
from tests.stores import StoreFactory

BUCKET = "bucket"
KEY = bytes(range(32))
OTHER_KEY = bytes(32)
PLAIN, S3, KMS, CUSTOMER = "plain", "AES256", "aws:kms", "SSE-C"
KINDS = [S3, KMS, CUSTOMER]
FRAME_SIZES = [65_535, 65_536, 65_537, 131_072]


@pytest.fixture
def store(store_factory: StoreFactory) -> ObjectStore:
    return store_factory(config=TINY)


def how(kind: str) -> ObjectAttributes:
    encryption = NO_ENCRYPTION if kind == PLAIN else Encryption(kind)
    return ObjectAttributes(metadata={"a": "b"}, encryption=encryption)


def key_of(kind: str) -> bytes:
    return KEY if kind == CUSTOMER else b""


def put(store: ObjectStore, kind: str, data: bytes, key: str = "key") -> ObjectInfo:
    return store.put(BUCKET, key, data, attributes=how(kind), customer_key=key_of(kind))


def put_parts(store: ObjectStore, kind: str, parts: list[bytes], key: str = "key") -> ObjectInfo:
    upload_id = store.create_upload(
        BUCKET, key, attributes=how(kind), customer_key=key_of(kind)
    ).upload_id
    done = []
    for number, data in enumerate(parts, start=1):
        with store.open_part(BUCKET, key, upload_id, number, customer_key=key_of(kind)) as part:
            part.write(data)
            done.append(CompletedPart(number, part.commit().etag))
    return store.complete_upload(BUCKET, key, upload_id, done)


def read(
    store: ObjectStore, kind: str, byte_range: ByteRange | None = None, key: str = "key"
) -> bytes:
    with store.get(BUCKET, key, byte_range=byte_range, customer_key=key_of(kind)) as reader:
        return reader.read()


def ranges_of(size_bytes: int) -> Iterator[tuple[int, int]]:
    """First and last byte of ranges around every edge of a frame."""
    edges = [0, 1, size_bytes // 2, size_bytes - 1]
    for frame_edge in range(65_536, size_bytes, 65_536):
        edges += [frame_edge - 1, frame_edge]
    wanted = sorted({edge for edge in edges if 0 <= edge < size_bytes})
    return ((first, last) for first in wanted for last in wanted if first <= last)


def places(store: ObjectStore) -> set[tuple[int, int]]:
    """Segment and offset of each extent that anybody uses."""
    with store._core.index.read() as txn:
        rows = txn.scan(b"x", b"y")
        return {keys.parse_extent(key)[:2] for key, _row in rows}


def device_bytes(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size_bytes", [*SIZES, *FRAME_SIZES])
def test_an_object_and_its_ranges(store: ObjectStore, kind: str, size_bytes: int) -> None:
    data = pattern(size_bytes, size_bytes)
    info = put(store, kind, data)
    assert read(store, kind) == data
    for first, last in ranges_of(size_bytes):
        assert read(store, kind, ByteRange(first, last)) == data[first : last + 1]
    assert info == store.head(BUCKET, "key", customer_key=key_of(kind))
    assert info.size_bytes == size_bytes
    assert (info.etag == hashlib.md5(data).hexdigest()) == (kind == S3)
    assert info.attributes.encryption.algorithm == kind
    assert info.attributes.metadata == {"a": "b"}
    assert_clean(store)


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_of_it_lies_on_the_device(
    store_factory: StoreFactory, kind: str, tmp_path: Path
) -> None:
    store = store_factory(config=TINY)
    marker = b"these very bytes are nowhere to be found "
    put(store, kind, marker * 20, "small")
    put(store, kind, marker * 20_000, "large")
    put_parts(store, kind, [marker * 1000, marker * 1000], "parts")
    store.close()
    everything = device_bytes(store_factory.path())
    assert marker not in everything
    assert KEY not in everything
    assert base64.b64encode(KEY) not in everything


@pytest.mark.parametrize("kind", KINDS)
def test_parts(store: ObjectStore, kind: str) -> None:
    parts = [pattern(1, 70_000), b"", pattern(2, 65_536), pattern(3, 1)]
    info = put_parts(store, kind, parts)
    whole = b"".join(parts)
    assert (info.size_bytes, info.part_count) == (len(whole), 4)
    assert info.etag.endswith("-4")
    assert read(store, kind) == whole
    for first, last in ranges_of(len(whole)):
        assert read(store, kind, ByteRange(first, last)) == whole[first : last + 1]
    for number, data in enumerate(parts, start=1):
        with store.get(BUCKET, "key", part_number=number, customer_key=key_of(kind)) as reader:
            assert reader.read() == data
    is_md5 = [
        part.etag == hashlib.md5(data).hexdigest()
        for part, data in zip(store.list_object_parts(BUCKET, "key").parts, parts, strict=True)
    ]
    assert is_md5 == [kind == S3] * 4
    assert_clean(store)


@pytest.mark.parametrize("size_bytes", [0, 10, 300_000])
def test_the_key_of_a_customer(store: ObjectStore, size_bytes: int) -> None:
    data = pattern(1, size_bytes)
    info = put(store, CUSTOMER, data)
    md5 = base64.b64encode(hashlib.md5(KEY).digest()).decode()
    assert info.attributes.encryption == Encryption(CUSTOMER, md5)
    for key, error in [(b"", CustomerKeyMissingError), (OTHER_KEY, CustomerKeyMismatchError)]:
        with pytest.raises(error) as caught:
            store.get(BUCKET, "key", customer_key=key)
        assert "\\x" not in str(caught.value)
        with pytest.raises(error):
            store.head(BUCKET, "key", customer_key=key)
        with pytest.raises(error):
            store.get(BUCKET, "key", part_number=1, customer_key=key)
        with pytest.raises(error):
            store.copy(BUCKET, "key", BUCKET, "copy", source_customer_key=key)
    for kind in (PLAIN, S3, KMS):
        put(store, kind, data, kind)
        with pytest.raises(CustomerKeyUnexpectedError):
            store.get(BUCKET, kind, customer_key=KEY)
        with pytest.raises(CustomerKeyUnexpectedError):
            store.head(BUCKET, kind, customer_key=KEY)


def test_a_customers_key_of_an_upload(store: ObjectStore) -> None:
    upload_id = store.create_upload(BUCKET, "key", customer_key=KEY).upload_id
    for key, error in [(b"", CustomerKeyMissingError), (OTHER_KEY, CustomerKeyMismatchError)]:
        with pytest.raises(error):
            store.open_part(BUCKET, "key", upload_id, 1, customer_key=key)
    with store.open_part(BUCKET, "key", upload_id, 1, customer_key=KEY) as part:
        part.write(b"data")
        done = [CompletedPart(1, part.commit().etag)]
    with pytest.raises(CustomerKeyMismatchError):
        store.complete_upload(BUCKET, "key", upload_id, done, customer_key=OTHER_KEY)
    store.complete_upload(BUCKET, "key", upload_id, done, customer_key=KEY)
    assert read(store, CUSTOMER) == b"data"
    plain = store.create_upload(BUCKET, "plain").upload_id
    with pytest.raises(CustomerKeyUnexpectedError):
        store.open_part(BUCKET, "plain", plain, 1, customer_key=KEY)


@pytest.mark.parametrize(
    ("encryption", "key"),
    [
        (Encryption("rot13"), b""),
        (Encryption(CUSTOMER), b""),
        (Encryption(CUSTOMER), b"short"),
        (Encryption(S3), KEY),
        (Encryption(KMS, "k" * 2049), b""),
        (Encryption(KMS, "", "c" * 10_000), b""),
    ],
)
@pytest.mark.parametrize("size_bytes", [1, 300_000])
def test_what_cannot_be_encrypted_so(
    store: ObjectStore, encryption: Encryption, key: bytes, size_bytes: int
) -> None:
    attributes = ObjectAttributes(encryption=encryption)
    store.create_bucket(BUCKET)
    with pytest.raises(InvalidArgumentError):
        store.put(BUCKET, "key", bytes(size_bytes), attributes=attributes, customer_key=key)
    with pytest.raises(InvalidArgumentError):
        store.create_upload(BUCKET, "key", attributes=attributes, customer_key=key)
    assert store.list(BUCKET).entries == ()


def test_a_buckets_default(store: ObjectStore) -> None:
    store.create_bucket(BUCKET)
    assert store.bucket_encryption(BUCKET) == NO_ENCRYPTION
    data = pattern(1, 300_000)
    store.put(BUCKET, "before", data)
    store.set_bucket_encryption(BUCKET, Encryption(KMS))
    assert store.bucket_encryption(BUCKET) == Encryption(KMS)
    for key, body in [("small", b"s"), ("large", data)]:
        assert store.put(BUCKET, key, body).attributes.encryption.algorithm == KMS
        assert read(store, PLAIN, key=key) == body
    assert put_parts(store, PLAIN, [data], "parts").attributes.encryption.algorithm == KMS
    assert put(store, S3, data).attributes.encryption == Encryption(S3)
    assert put(store, CUSTOMER, data).attributes.encryption.algorithm == CUSTOMER
    assert not store.head(BUCKET, "before").attributes.encryption
    copied = store.copy(BUCKET, "before", BUCKET, "copy", attributes=ObjectAttributes())
    assert copied.attributes.encryption.algorithm == KMS
    store.set_bucket_encryption(BUCKET, NO_ENCRYPTION)
    assert not store.put(BUCKET, "after", b"a").attributes.encryption


@pytest.mark.parametrize(
    "default", [Encryption(CUSTOMER), Encryption("rot13"), Encryption(KMS, "", "{}")]
)
def test_what_cannot_be_a_default(store: ObjectStore, default: Encryption) -> None:
    store.create_bucket(BUCKET)
    with pytest.raises(InvalidArgumentError):
        store.set_bucket_encryption(BUCKET, default)
    with pytest.raises(InvalidArgumentError):
        store.set_bucket_setting(BUCKET, "encryption", b"x")
    assert store.bucket_encryption(BUCKET) == NO_ENCRYPTION


def test_the_default_changes_while_a_put_is_under_way(store: ObjectStore) -> None:
    store.create_bucket(BUCKET)
    data = pattern(1, 300_000)
    for key, before, after in [
        ("a", Encryption(S3), NO_ENCRYPTION),
        ("b", NO_ENCRYPTION, Encryption(KMS)),
    ]:
        store.set_bucket_encryption(BUCKET, before)
        with store.open_put(BUCKET, key) as stream:
            stream.write(data)
            store.set_bucket_encryption(BUCKET, after)
            info = stream.commit()
        assert info.attributes.encryption == before
        assert read(store, PLAIN, key=key) == data


@pytest.mark.parametrize("source", [PLAIN, *KINDS])
@pytest.mark.parametrize("target", [PLAIN, *KINDS])
@pytest.mark.parametrize("form", ["small", "large", "parts"])
def test_copies_between_all_kinds(store: ObjectStore, source: str, target: str, form: str) -> None:
    data = pattern(1, 20 if form == "small" else 150_000)
    if form == "parts":
        info = put_parts(store, source, [data[:70_000], data[70_000:]])
    else:
        info = put(store, source, data)
    copied = store.copy(
        BUCKET,
        "key",
        BUCKET,
        "copy",
        attributes=how(target),
        customer_key=key_of(target),
        source_customer_key=key_of(source),
    )
    assert read(store, target, key="copy") == data
    assert read(store, target, ByteRange(5, 17), key="copy") == data[5:18]
    assert read(store, source) == data
    wanted = "" if target == PLAIN else target
    assert copied.attributes.encryption.algorithm == wanted
    assert copied.size_bytes == info.size_bytes
    if not copied.part_count:
        is_md5 = copied.etag == hashlib.md5(data).hexdigest()
        assert is_md5 == (target in (PLAIN, S3))
    store.delete(BUCKET, "key")
    assert read(store, target, key="copy") == data
    assert_clean(store)


@pytest.mark.parametrize("kind", KINDS)
def test_an_encrypted_copy_shares_the_bytes(store: ObjectStore, kind: str) -> None:
    put(store, kind, pattern(1, 300_000))
    extents = places(store)
    copied = store.copy(BUCKET, "key", BUCKET, "copy", source_customer_key=key_of(kind))
    assert copied.attributes.encryption.algorithm == kind
    assert read(store, kind, key="copy") == pattern(1, 300_000)
    assert places(store) == extents
    assert extents


@pytest.mark.parametrize("kind", [PLAIN, *KINDS])
@pytest.mark.parametrize("upload", [PLAIN, *KINDS])
def test_parts_that_are_copied(store: ObjectStore, kind: str, upload: str) -> None:
    data = pattern(1, 200_000)
    put(store, kind, data)
    upload_id = store.create_upload(
        BUCKET, "copy", attributes=how(upload), customer_key=key_of(upload)
    ).upload_id
    done = [
        CompletedPart(
            number,
            store.copy_part(
                BUCKET,
                "key",
                BUCKET,
                "copy",
                upload_id,
                number,
                byte_range=byte_range,
                customer_key=key_of(upload),
                source_customer_key=key_of(kind),
            ).etag,
        )
        for number, byte_range in enumerate([ByteRange(100, 70_000), None], start=1)
    ]
    store.complete_upload(BUCKET, "copy", upload_id, done)
    assert read(store, upload, key="copy") == data[100:70_001] + data
    assert_clean(store)


def test_a_key_that_is_disabled_and_rotated(store_factory: StoreFactory) -> None:
    path = store_factory.path()
    path.mkdir(parents=True)
    service = LocalKeyService(path / "kms", SystemClock(), SystemEntropy())
    store = store_factory(config=TINY, key_service=service)
    arn = service.create_key(alias="alias/mine").arn
    attributes = ObjectAttributes(encryption=Encryption(KMS, "alias/mine", '{"a": "b"}', True))
    info = store.put(BUCKET, "key", b"data", attributes=attributes)
    assert info.attributes.encryption == Encryption(KMS, arn, '{"a": "b"}', True)
    service.rotate(arn)
    assert read(store, PLAIN) == b"data"
    service.disable(arn)
    with pytest.raises(KeyDisabledError):
        store.get(BUCKET, "key")
    with pytest.raises(KeyDisabledError):
        store.put(BUCKET, "other", b"data", attributes=attributes)
    assert store.head(BUCKET, "key") == info
    service.enable(arn)
    assert read(store, PLAIN) == b"data"
    unknown = ObjectAttributes(encryption=Encryption(KMS, "alias/unknown"))
    for size_bytes in (1, 300_000):
        with pytest.raises(KeyNotFoundError):
            store.put(BUCKET, "other", bytes(size_bytes), attributes=unknown)
    assert_clean(store)
    store.close()
    service.close()


@pytest.mark.parametrize("kind", KINDS)
def test_tags_compaction_and_a_rebuild_leave_it_readable(
    store_factory: StoreFactory, kind: str
) -> None:
    store = store_factory(config=TINY)
    store.create_bucket(BUCKET)
    store.set_versioning(BUCKET, "Enabled")
    bodies = {
        f"{kind}-{size}": pattern(size, size) for size in (0, 10, 4096, 4097, 70_000, 300_000)
    }
    for key, data in bodies.items():
        put(store, kind, b"old " + data, key)
        put(store, kind, data, key)
        store.set_tags(BUCKET, key, {"t": key})
    put_parts(store, kind, [pattern(5, 70_000), pattern(6, 10)], "parts")
    bodies["parts"] = pattern(5, 70_000) + pattern(6, 10)
    for round_ in range(60):  # so that segments become sparse
        store.put("noise", f"{round_ % 7}", pattern(round_, 40_000))
    store.maintain()
    infos = {key: store.head(BUCKET, key, customer_key=key_of(kind)) for key in bodies}
    for _turn in range(2):
        for key, data in bodies.items():
            assert read(store, kind, key=key) == data
            assert store.head(BUCKET, key, customer_key=key_of(kind)) == infos[key]
        assert_clean(store)
        store.close()
        forget_index(store_factory.path())
        forget_checkpoints(store_factory.path())
        rebuild_index(store_factory.path())
        store = store_factory(config=TINY)


@pytest.mark.parametrize("kind", KINDS)
def test_a_changed_byte_is_noticed(store_factory: StoreFactory, kind: str) -> None:
    store = store_factory(config=TINY)
    put(store, kind, pattern(1, 300_000))
    with store.get(BUCKET, "key", customer_key=key_of(kind)) as reader:
        opener_data = reader.next()
        assert opener_data
        # What the checksums cannot notice, since they are made anew: bytes of another stream.
        reader._data_key = bytes(32)  # type: ignore[attr-defined]
        reader._opener = None  # type: ignore[attr-defined]
        with pytest.raises(CorruptionError, match="run `objstore check`"):
            reader.read()


def test_errors_say_nothing_of_keys() -> None:
    for error in (CustomerKeyMissingError(), CustomerKeyMismatchError()):
        assert isinstance(error, CustomerKeyError)
        assert not isinstance(error, BadDigestError)
        assert len(str(error)) < 100


def test_a_default_and_what_goes_with_it_are_one_commit(store: ObjectStore) -> None:
    """A kill leaves both as they were, or both as they are to be."""
    store.create_bucket(BUCKET)

    def commits() -> int:
        with store._core.index.read() as txn:
            return tail_of(txn).next_seq

    before = commits()
    store.set_bucket_encryption(BUCKET, Encryption(S3), also={"blocked": b"SSE-C", "other": b"o"})
    assert commits() == before + 1
    assert store.bucket_encryption(BUCKET) == Encryption(S3)
    assert store.bucket_setting(BUCKET, "blocked") == b"SSE-C"
    store.set_bucket_encryption(BUCKET, None, also={"blocked": None})
    assert store.bucket_encryption(BUCKET) == Encryption(S3)
    with pytest.raises(NoSuchSettingError):
        store.bucket_setting(BUCKET, "blocked")
    store.set_bucket_encryption(BUCKET, NO_ENCRYPTION, also={"other": None})
    assert commits() == before + 3
    with pytest.raises(InvalidArgumentError):
        store.set_bucket_encryption(BUCKET, Encryption(S3), also={"versioning": b"Enabled"})
    assert commits() == before + 3


def test_what_is_too_long_is_named(store: ObjectStore) -> None:
    for how, named in (
        (Encryption(KMS, "k" * 2049), "key_id"),
        (Encryption(KMS, "", "c" * (MAX_ENCRYPTION_CONTEXT_BYTES + 1)), "context"),
    ):
        with pytest.raises(InvalidArgumentError) as caught:
            store.put(BUCKET, "key", b"", attributes=ObjectAttributes(encryption=how))
        assert caught.value.argument == named


@pytest.mark.parametrize("kind", [PLAIN, CUSTOMER])
def test_a_copied_part_has_the_uploads_key(store: ObjectStore, kind: str) -> None:
    """Which is looked at before the source is."""
    upload_id = store.create_upload(
        BUCKET, "parts", attributes=how(kind), customer_key=key_of(kind)
    ).upload_id
    store.put(BUCKET, "source", pattern(1, 20_000))
    expected = CustomerKeyUnexpectedError if kind == PLAIN else CustomerKeyMismatchError
    for source in ("source", "missing"):
        with pytest.raises(expected):
            store.copy_part(BUCKET, source, BUCKET, "parts", upload_id, 1, customer_key=OTHER_KEY)
    assert store.list_parts(BUCKET, "parts", upload_id).parts == ()
