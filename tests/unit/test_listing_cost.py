"""What a listing of current keys reads does not depend on how many versions they have."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from objstore import ObjectStore
from objstore.index.base import Index, ReadTransaction
from tests.crash.tiny import TINY
from tests.stores import StoreFactory

BUCKET = "bucket"
KEYS = 60


class Counting:
    """An index that counts what is asked of it, and the rows that it gives."""

    def __init__(self, index: Index) -> None:
        self._index = index
        self.cost: Counter[str] = Counter()

    def __getattr__(self, name: str) -> object:
        return getattr(self._index, name)

    @contextmanager
    def read(self) -> Iterator[_CountingTransaction]:
        with self._index.read() as txn:
            yield _CountingTransaction(txn, self.cost)


class _CountingTransaction:
    def __init__(self, txn: ReadTransaction, cost: Counter[str]) -> None:
        self._txn, self._cost = txn, cost

    def get(self, key: bytes) -> bytes | None:
        self._cost["get"] += 1
        return self._txn.get(key)

    def scan(self, start: bytes, stop: bytes) -> Iterator[tuple[bytes, bytes]]:
        self._cost["scan"] += 1
        for row in self._txn.scan(start, stop):
            self._cost["row"] += 1
            yield row

    def page(self, start: bytes, stop: bytes, limit: int) -> list[tuple[bytes, bytes]]:
        rows = self._txn.page(start, stop, limit)
        self._cost["page"] += 1
        self._cost["row"] += len(rows)
        return rows

    def last(self, start: bytes, stop: bytes) -> tuple[bytes, bytes] | None:
        self._cost["last"] += 1
        return self._txn.last(start, stop)


def cost_of(store: ObjectStore, **how: object) -> Counter[str]:
    """What all pages of a listing read."""
    counting = Counting(store._core.index)
    plain, store._core.index = store._core.index, counting  # type: ignore[assignment]
    try:
        after = ""
        while True:
            page = store.list(BUCKET, start_after=after, limit=20, **how)  # type: ignore[arg-type]
            if page.next_after is None:
                return counting.cost
            after = page.next_after
    finally:
        store._core.index = plain


@pytest.mark.parametrize("how", [{}, {"delimiter": "/"}, {"prefix": "k0"}], ids=str)
def test_versions_cost_a_listing_nothing(store_factory: StoreFactory, how: dict[str, str]) -> None:
    store = store_factory(config=TINY)
    store.create_bucket(BUCKET)
    store.set_versioning(BUCKET, "Enabled")
    costs = []
    for turn in range(40):
        for number in range(KEYS):
            store.put(BUCKET, f"k{number:03}/{number}", b"%d" % turn)
        if turn in (0, 39):
            costs.append(cost_of(store, **how))
    assert costs[0]["row"] >= (KEYS if "delimiter" not in how else 3)
    assert costs[0] == costs[1]
