"""What listings touch: current keys cost the same however many versions each of them has.

Rows are counted, not time.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from objstore import ObjectStore
from objstore.index import lmdb_index
from tests.stores import StoreFactory

KEYS, VERSIONS = 50, 200


class Counter:
    """Rows that transactions have read."""

    def __init__(self) -> None:
        self.rows = 0


@pytest.fixture
def counter(monkeypatch: pytest.MonkeyPatch) -> Counter:
    """Counts the rows of every page, scan and look-up from here on."""
    counter = Counter()
    transaction = lmdb_index._LmdbTransaction
    page, scan = transaction.page, transaction.scan

    def counted_page(
        self: lmdb_index._LmdbTransaction, start: bytes, stop: bytes, limit: int
    ) -> list[tuple[bytes, bytes]]:
        rows = page(self, start, stop, limit)
        counter.rows += len(rows)
        return rows

    def counted_scan(
        self: lmdb_index._LmdbTransaction, start: bytes, stop: bytes
    ) -> Iterator[tuple[bytes, bytes]]:
        for row in scan(self, start, stop):
            counter.rows += 1
            yield row

    monkeypatch.setattr(transaction, "page", counted_page)
    monkeypatch.setattr(transaction, "scan", counted_scan)
    return counter


@pytest.fixture
def store(store_factory: StoreFactory) -> ObjectStore:
    """Two buckets of the same keys: one version of each, and many."""
    store = store_factory()
    for bucket, versions in (("few", 1), ("many", VERSIONS)):
        store.create_bucket(bucket)
        store.set_versioning(bucket, "Enabled")
        for number in range(versions):
            for key in range(KEYS):
                store.put(bucket, f"dir-{key % 5}/{key:03}", b"%d" % number)
    return store


def test_current_keys_cost_the_same(store: ObjectStore, counter: Counter) -> None:
    touched = {}
    for bucket in ("few", "many"):
        counter.rows = 0
        assert len(store.list(bucket).entries) == KEYS
        assert len(store.list(bucket, delimiter="/").common_prefixes) == 5
        for key in range(KEYS):
            store.head(bucket, f"dir-{key % 5}/{key:03}")
        touched[bucket] = counter.rows
    assert touched["few"] == touched["many"] > 0


def test_a_page_of_versions_touches_little_more_than_it_shows(
    store: ObjectStore, counter: Counter
) -> None:
    page = store.list_versions("many", limit=1000)
    assert len(page.entries) == 1000
    assert counter.rows < 3000
    counter.rows = 0
    assert page.next_key is not None
    store.list_versions(
        "many", key_marker=page.next_key, version_id_marker=page.next_version_id or "", limit=10
    )
    assert counter.rows < 500


def test_versions_below_a_common_prefix_are_passed_over(
    store: ObjectStore, counter: Counter
) -> None:
    page = store.list_versions("many", delimiter="/")
    assert len(page.common_prefixes) == 5
    assert page.entries == ()
    assert counter.rows < KEYS * VERSIONS / 10
