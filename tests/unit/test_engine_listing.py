"""Listings that take several pages of the index, against the model."""

from __future__ import annotations

import itertools
import random

import pytest

from objstore.config import LIST_FIRST_ROWS, LIST_GROWTH
from tests.model_store import ModelStore
from tests.stores import StoreFactory

KEYS = 900
BATCH = 30


@pytest.mark.parametrize("delimiter", ["", "/", "b", "ab"])
def test_many_rows_are_listed_as_the_model_lists_them(
    store_factory: StoreFactory, seed: int, delimiter: str
) -> None:
    assert KEYS > 2 * LIST_FIRST_ROWS * LIST_GROWTH**3  # or the pages are not worth it
    source = random.Random(seed)
    names = {"".join(source.choices("ab/é", k=source.randint(1, 9))) for _ in range(KEYS)}
    store, model = store_factory(), ModelStore()
    for target in (store, model):
        target.create_bucket("bucket")
    for number, name in enumerate(sorted(names)):
        store.submit_put("bucket", name, b"", lambda *_: None, hold=True)
        model.put("bucket", name, b"")
        if number % BATCH == BATCH - 1:
            store.commit_held()
    store.commit_held()
    starts = ["", "a", "b/", *source.sample(sorted(names), 3)]
    for prefix, after, limit in itertools.product(("", "a", "b/"), starts, (1, 9, 400, 2000)):
        query = {"prefix": prefix, "delimiter": delimiter, "start_after": after}
        here = store.list("bucket", limit=limit, **query)
        there = model.list("bucket", limit=limit, **query)
        assert [entry.key for entry in here.entries] == [entry.key for entry in there.entries]
        assert here.common_prefixes == there.common_prefixes
        assert here.next_after == there.next_after
