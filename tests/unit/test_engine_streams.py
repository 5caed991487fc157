"""Streams of blocks into an object: whose the bytes are, and until when."""

from __future__ import annotations

import hashlib
import queue
from pathlib import Path

import pytest

from blockdev import MemoryDevice
from blockdev.filters import Fault, FaultDevice, FaultRule, Operation
from objstore.config import KIB
from objstore.engine.hash_queue import HashQueue
from objstore.errors import IncompleteBodyError, StorePoisonedError
from tests.crash.tiny import TINY, open_tiny, pattern
from tests.stores import StoreFactory

BUCKET = "bucket"
DEADLINE_S = 30.0


def test_blocks_are_used_again_as_soon_as_they_are_given_back(store_factory: StoreFactory) -> None:
    store = store_factory()
    body = pattern(7, 5_000_000)
    free: queue.Queue[bytearray] = queue.Queue()
    for _ in range(2):
        free.put(bytearray(256 * KIB))
    seen = hashlib.sha256()
    with store.open_put(BUCKET, "key", hashers=[seen.update]) as stream:
        for at in range(0, len(body), 256 * KIB):
            piece = body[at : at + 256 * KIB]
            block = free.get(timeout=DEADLINE_S)
            block[: len(piece)] = piece
            stream.write(memoryview(block)[: len(piece)], lambda block=block: free.put(block))  # type: ignore[misc]
        info = stream.commit()
    assert info.etag == hashlib.md5(body).hexdigest()
    assert seen.digest() == hashlib.sha256(body).digest()
    with store.get(BUCKET, "key") as reader:
        assert reader.read() == body


def test_what_was_written_may_be_changed_at_once(store_factory: StoreFactory) -> None:
    store = store_factory()
    body = pattern(8, 3_000_000)
    block = bytearray(100_000)
    with store.open_put(BUCKET, "key", size_bytes=len(body)) as stream:
        for at in range(0, len(body), len(block)):
            block[:] = body[at : at + len(block)]
            stream.write(block)
        info = stream.commit()
    assert info.etag == hashlib.md5(body).hexdigest()
    with store.get(BUCKET, "key") as reader:
        assert reader.read() == body


@pytest.mark.parametrize("size_bytes", [0, 10, 100_000])
def test_a_block_comes_back_once(size_bytes: int, store_factory: StoreFactory) -> None:
    given_back: list[int] = []
    with store_factory().open_put(BUCKET, "key") as stream:
        stream.write(bytes(size_bytes), lambda: given_back.append(1))
        stream.commit()
    assert given_back == [1]


def test_a_block_that_is_too_much_comes_back(store_factory: StoreFactory) -> None:
    given_back: list[int] = []
    with (
        store_factory().open_put(BUCKET, "key", size_bytes=10) as stream,
        pytest.raises(IncompleteBodyError),
    ):
        stream.write(bytes(100_000), lambda: given_back.append(1))
    assert given_back == [1]


def test_a_block_that_the_device_fails_on_comes_back(tmp_path: Path) -> None:
    device = FaultDevice(MemoryDevice(TINY.device_bytes))
    given_back: list[int] = []
    with open_tiny(tmp_path, device) as store:
        store.create_bucket(BUCKET)
        device.arm(FaultRule(Fault.IO_ERROR, frozenset({Operation.WRITE})))
        with (
            pytest.raises(StorePoisonedError),
            store.open_put(BUCKET, "key") as stream,
        ):
            stream.write(bytes(200_000), lambda: given_back.append(1))
    assert given_back == [1]


def test_bytes_that_cannot_be_made_durable_end_all_writing(tmp_path: Path) -> None:
    device = FaultDevice(MemoryDevice(TINY.device_bytes))
    with open_tiny(tmp_path, device) as store:
        store.create_bucket(BUCKET)
        device.arm(FaultRule(Fault.IO_ERROR, frozenset({Operation.FLUSH})))
        stream = store.open_put(BUCKET, "key")
        stream.write(bytes(200_000))
        with pytest.raises(StorePoisonedError):
            stream.finish()
        with pytest.raises(StorePoisonedError):
            stream.commit()
        device.disarm_all()
        with pytest.raises(StorePoisonedError):
            store.put(BUCKET, "another", b"body")


def test_a_digest_that_fails_keeps_no_space(
    store_factory: StoreFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a stream had reserved falls free at once, not with the restart."""
    store = store_factory(config=TINY)
    store.create_bucket("bucket")
    monkeypatch.setattr(HashQueue, "join", broken)
    for _turn in range(300):  # 64 MiB of a device would be used up
        stream = store.open_put("bucket", "key", size_bytes=300_000)
        stream.write(pattern(1, 300_000), lambda: None)
        with pytest.raises(MemoryError):
            stream.abort()
    monkeypatch.undo()
    store.put("bucket", "key", pattern(1, 300_000))


def broken(queue: HashQueue) -> None:
    """As `HashQueue.join` where hashing failed, and nobody was told yet."""
    with queue._changed:
        while queue._is_running:
            queue._changed.wait()
    raise MemoryError
