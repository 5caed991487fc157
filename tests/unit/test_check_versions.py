"""`objstore check` names versions that are out of order, and objects whose parts do not add up."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

from objstore import ObjectStore
from objstore.engine.apply import manifest_body
from objstore.engine.check_versions import version_problems
from objstore.index import keys, schema
from objstore.index.base import WriteTransaction
from objstore.index.schema import FLAG_NULL, Head, ManifestBody, pack_head, row_body, unpack_head
from objstore.model import CompletedPart
from tests.crash.tiny import TINY, pattern
from tests.stores import StoreFactory

BUCKET, KEY = "bucket", b"key"


class Rollback(Exception):
    """Ends a transaction without a trace."""


@pytest.fixture
def store(store_factory: StoreFactory) -> Iterator[ObjectStore]:
    """One key: a null version, a version in parts, and the current one."""
    store = store_factory(config=TINY)
    store.create_bucket(BUCKET)
    store.put(BUCKET, "key", b"null")
    store.set_versioning(BUCKET, "Enabled")
    upload = store.create_upload(BUCKET, "key").upload_id
    done = []
    for number in range(1, 41):
        with store.open_part(BUCKET, "key", upload, number) as part:
            part.write(pattern(number, 50))
            done.append(CompletedPart(number, part.commit().etag))
    store.complete_upload(BUCKET, "key", upload, done)
    store.put(BUCKET, "key", b"current")
    yield store
    assert store.check() == []


def found(store: ObjectStore, spoil: Callable[[WriteTransaction, int], object]) -> str:
    """What is said of an index that was spoilt in a transaction, which is then taken back."""
    core = store._core
    said: list[str] = []
    with suppress(Rollback), core.index.write() as txn:
        assert list(version_problems(txn)) == []
        spoil(txn, core.bucket(txn, BUCKET).bucket_id)
        said += version_problems(txn)
        raise Rollback
    return "\n".join(said)


def older(txn: WriteTransaction, bucket_id: int) -> list[tuple[bytes, bytes]]:
    """Rows of older versions: the one in parts, the null one."""
    prefix = keys.versions_prefix(bucket_id, KEY)
    rows = list(txn.scan(prefix, keys.after(prefix)))
    assert len(rows) == 2
    return rows


def with_head(row: bytes, **changes: int) -> bytes:
    head: Head = unpack_head(row)._replace(**changes)
    return pack_head(*head) + row_body(row)


def test_no_current_version(store: ObjectStore) -> None:
    said = found(store, lambda txn, bucket: txn.delete(keys.current(bucket, KEY)))
    assert "there is no newer one" in said


def test_an_older_version_that_is_newer(store: ObjectStore) -> None:
    def spoil(txn: WriteTransaction, bucket_id: int) -> None:
        row = txn.get(keys.current(bucket_id, KEY))
        assert row is not None
        txn.put(keys.current(bucket_id, KEY), with_head(row, version_seq=1))

    assert "newer than the current one" in found(store, spoil)


def test_a_version_in_anothers_place(store: ObjectStore) -> None:
    def spoil(txn: WriteTransaction, bucket_id: int) -> None:
        key, row = older(txn, bucket_id)[1]
        txn.put(key, with_head(row, version_seq=1))

    assert "holds version 1" in found(store, spoil)


def test_two_null_versions(store: ObjectStore) -> None:
    def spoil(txn: WriteTransaction, bucket_id: int) -> None:
        row = txn.get(keys.current(bucket_id, KEY))
        assert row is not None
        flags = unpack_head(row).flags | FLAG_NULL
        txn.put(keys.current(bucket_id, KEY), with_head(row, flags=flags))

    assert "has 2 null versions" in found(store, spoil)


def test_a_null_version_that_is_not_named(store: ObjectStore) -> None:
    said = found(store, lambda txn, bucket: txn.delete(keys.null_position(bucket, KEY)))
    assert "is said to be elsewhere" in said


def test_a_null_version_that_is_not_there(store: ObjectStore) -> None:
    def spoil(txn: WriteTransaction, bucket_id: int) -> None:
        txn.delete(older(txn, bucket_id)[1][0])

    assert "names a null version that is not there" in found(store, spoil)


def test_a_run_of_parts_is_gone(store: ObjectStore) -> None:
    def spoil(txn: WriteTransaction, bucket_id: int) -> None:
        seq = unpack_head(older(txn, bucket_id)[0][1]).version_seq
        txn.delete(keys.manifest(seq, 0))

    said = found(store, spoil)
    assert "begins at byte 1600 instead of 0" in said
    assert "the 8 parts" in said


def test_a_part_out_of_order(store: ObjectStore) -> None:
    def spoil(txn: WriteTransaction, bucket_id: int) -> None:
        seq = unpack_head(older(txn, bucket_id)[0][1]).version_seq
        row = txn.get(keys.manifest(seq, 0))
        assert row is not None
        run = schema.decode_manifest(manifest_body(row))
        turned = schema.encode(ManifestBody(run.start_byte, run.parts[::-1]))
        old = manifest_body(row)
        txn.put(keys.manifest(seq, 0), row.replace(old, turned))

    assert "has part 31 behind part 32" in found(store, spoil)
