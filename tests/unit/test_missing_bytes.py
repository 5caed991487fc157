"""Records that lack the bytes that they speak of: never read as none, and found by the check."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from objstore import ObjectStore
from objstore.engine.check import check_store
from objstore.engine.check_sizes import size_problems
from objstore.engine.put import small_put
from objstore.errors import CorruptionError
from objstore.index import keys
from objstore.model import (
    NO_CONDITIONS,
    NO_ENCRYPTION,
    ByteRange,
    CompletedPart,
    Encryption,
    ObjectAttributes,
)
from tests.crash.tiny import TINY, pattern

BUCKET = "bucket"
SIZE = 1000


@pytest.fixture(params=["", "AES256"])
def store(tmp_path: Path, request: pytest.FixtureRequest) -> ObjectStore:
    """A store with an object whose record has no payload."""
    store = ObjectStore.open(tmp_path / "store", config=TINY)
    store.create_bucket(BUCKET)
    encryption = Encryption(request.param) if request.param else NO_ENCRYPTION
    operation = small_put(
        store._core,
        BUCKET,
        "key",
        b"",
        ObjectAttributes(encryption=encryption),
        NO_CONDITIONS,
        (),
        None,
    )
    operation.size_bytes = SIZE
    store._core.commit(operation)
    return store


ACTS: dict[str, Callable[[ObjectStore], object]] = {
    "get": lambda store: store.get(BUCKET, "key").read(),
    "range": lambda store: store.get(BUCKET, "key", byte_range=ByteRange(10, 20)).read(),
    "copy": lambda store: store.copy(BUCKET, "key", BUCKET, "copy"),
    "append": lambda store: store.append(BUCKET, "key", b"more", SIZE),
    "rename": lambda store: store.rename(BUCKET, "key", "other"),
    "tags": lambda store: store.set_tags(BUCKET, "key", {"a": "b"}),
}


@pytest.mark.parametrize("act", ACTS.values(), ids=ACTS.keys())
def test_payload_that_is_not_there(
    store: ObjectStore, tmp_path: Path, act: Callable[[ObjectStore], object]
) -> None:
    with store, pytest.raises(CorruptionError, match="0 bytes instead of"):
        act(store)
    problems = [str(problem) for problem in check_store(tmp_path / "store")]
    assert len(problems) == 1
    assert "holds 0 bytes instead of" in problems[0]


def test_parts_that_do_not_make_the_object(tmp_path: Path) -> None:
    with ObjectStore.open(tmp_path / "store", config=TINY) as store:
        upload = store.create_upload(BUCKET, "key").upload_id
        with store.open_part(BUCKET, "key", upload, 1) as part:
            part.write(pattern(1, 5000))
            etag = part.commit().etag
        store.complete_upload(BUCKET, "key", upload, [CompletedPart(1, etag)])
        index = store._core.index
        with index.read() as txn:
            assert list(size_problems(txn)) == []
            ((row_key, _row),) = txn.scan(b"m", keys.after(b"m"))
        with index.write() as writing:
            writing.delete(row_key)
            problems = list(size_problems(writing))
        assert problems == [f"the parts of row {keys.current(1, b'key')!r} hold 0 of 5000 bytes"]
        with pytest.raises(CorruptionError, match="byte 0 is nowhere"):
            store.get(BUCKET, "key").read()
