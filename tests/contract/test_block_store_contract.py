"""What a block store promises, over each that there is."""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from blockdev import block_codec
from blockdev.block_codec import (
    BLOCK_BYTES,
    ZERO_BLOCK,
    BlockCollisionError,
    BlockCorruptError,
    BlockMissingError,
    digest_of,
)
from blockdev.blocks import BlockStore, FileBlockStore, MemoryBlockStore
from objstore import ObjectStore
from objstore.volumes import BucketBlockStore
from tests.volumes import pattern_block

Make = Callable[[Path, ExitStack], BlockStore]

RANDOM = pattern_block(1)
TEXT = (b"the same line again and again\n" * 20_000)[:BLOCK_BYTES]
NOISE = random.Random(2).randbytes(BLOCK_BYTES)


def _files(path: Path, undo: ExitStack) -> BlockStore:
    store = FileBlockStore.open(path / "blocks")
    undo.callback(store.close)
    return store


def _bucket(path: Path, undo: ExitStack) -> BlockStore:
    return BucketBlockStore(undo.enter_context(ObjectStore.open(path / "store")), "ebs", "blocks/")


def _memory(path: Path, undo: ExitStack) -> BlockStore:
    return MemoryBlockStore()


CASES: dict[str, Make] = {"memory": _memory, "files": _files, "bucket": _bucket}


@pytest.fixture(params=CASES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def store(name: str, tmp_path: Path) -> Iterator[BlockStore]:
    with ExitStack() as undo:
        yield CASES[name](tmp_path, undo)


@pytest.mark.parametrize("plain", [RANDOM, TEXT, NOISE, ZERO_BLOCK], ids=["r", "t", "n", "0"])
def test_a_block_comes_back_as_it_was(store: BlockStore, plain: bytes) -> None:
    digest = digest_of(plain)
    stored_bytes = store.put(digest, plain)
    store.sync()
    assert store.get(digest) == plain
    assert 0 < stored_bytes <= block_codec.STORED_BYTES_MAX
    assert list(store.hashes()) == [digest]


def test_it_takes_any_buffer(store: BlockStore) -> None:
    digest = digest_of(TEXT)
    store.put(digest, memoryview(bytearray(TEXT)))
    assert store.get(digest) == TEXT
    assert store.put(digest, bytearray(TEXT)) == store.put(digest, TEXT)


def test_what_compresses_is_stored_small_and_what_does_not_as_it_is(store: BlockStore) -> None:
    assert store.put(digest_of(TEXT), TEXT) < BLOCK_BYTES // 10
    assert BLOCK_BYTES < store.put(digest_of(NOISE), NOISE) <= block_codec.STORED_BYTES_MAX


def test_no_other_length_is_a_block(store: BlockStore) -> None:
    for plain in (b"", TEXT[:-1], TEXT + b"x"):
        with pytest.raises(ValueError, match="a block has 524288 bytes"):
            store.put(digest_of(plain), plain)
    assert list(store.hashes()) == []


def test_a_put_twice_is_one_block(store: BlockStore) -> None:
    digest = digest_of(RANDOM)
    assert store.put(digest, RANDOM) == store.put(digest, RANDOM)
    assert list(store.hashes()) == [digest]


def test_two_blocks_of_one_digest_are_refused(store: BlockStore) -> None:
    """XXH3-128 can be made to collide on purpose: the second block must not become the first."""
    digest = digest_of(RANDOM)
    store.put(digest, RANDOM)
    with pytest.raises(BlockCollisionError):
        store.put(digest, TEXT)
    assert store.get(digest) == RANDOM


def test_what_is_not_there_is_missing(store: BlockStore) -> None:
    with pytest.raises(BlockMissingError):
        store.get(digest_of(RANDOM))
    store.put(digest_of(TEXT), TEXT)
    with pytest.raises(BlockMissingError):
        store.get(digest_of(RANDOM))


def test_deleting_is_idempotent(store: BlockStore) -> None:
    digest = digest_of(RANDOM)
    store.delete(digest)
    store.put(digest, RANDOM)
    store.put(digest_of(TEXT), TEXT)
    store.delete(digest)
    store.delete(digest)
    store.sync()
    with pytest.raises(BlockMissingError):
        store.get(digest)
    assert list(store.hashes()) == [digest_of(TEXT)]


def test_a_block_under_another_ones_name_is_corrupt(store: BlockStore) -> None:
    """A digest that does not fit is not checked by `put`, and never passes `get`."""
    wrong = digest_of(TEXT)
    store.put(wrong, RANDOM)
    with pytest.raises(BlockCorruptError):
        store.get(wrong)
    store.put(wrong, TEXT)  # and whoever puts the right one mends it
    assert store.get(wrong) == TEXT


def test_threads_put_and_get_at_once(store: BlockStore) -> None:
    plains = [pattern_block(number) for number in range(12)]
    failures: list[BaseException] = []

    def work(turn: int) -> None:
        try:
            for plain in plains[turn:] + plains[:turn]:
                store.put(digest_of(plain), plain)
                assert store.get(digest_of(plain)) == plain
                store.sync()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(turn,)) for turn in (0, 3, 6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert sorted(store.hashes()) == sorted(map(digest_of, plains))


@pytest.mark.parametrize("kept", [0, 3, 100, BLOCK_BYTES // 2])
def test_a_file_that_was_cut_short_is_corrupt(tmp_path: Path, kept: int) -> None:
    store = FileBlockStore.open(tmp_path)
    digest = digest_of(NOISE)
    store.put(digest, NOISE)
    store.sync()
    path = tmp_path / digest.hex()[:2] / digest.hex()
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(BlockCorruptError):
        store.get(digest)
    store.put(digest, NOISE)
    assert store.get(digest) == NOISE


@pytest.mark.parametrize("plain", [TEXT, NOISE], ids=["compressed", "raw"])
def test_any_flipped_bit_is_noticed(tmp_path: Path, plain: bytes, seed: int) -> None:
    store = FileBlockStore.open(tmp_path)
    digest = digest_of(plain)
    stored_bytes = store.put(digest, plain)
    path = tmp_path / digest.hex()[:2] / digest.hex()
    whole = path.read_bytes()
    for at in {0, 3, 4, 9, stored_bytes - 1, seed % stored_bytes}:
        spoilt = bytearray(whole)
        spoilt[at] ^= 1 << seed % 8
        path.write_bytes(spoilt)
        try:
            assert store.get(digest) == plain  # a bit of a frame that says nothing
        except BlockCorruptError:
            continue
        assert plain is TEXT


def test_a_store_of_files_is_there_again(tmp_path: Path) -> None:
    first = FileBlockStore.open(tmp_path / "blocks")
    first.put(digest_of(TEXT), TEXT)
    first.sync()
    assert FileBlockStore.open(tmp_path / "blocks").get(digest_of(TEXT)) == TEXT


def test_leftovers_of_dead_processes_go_and_those_of_others_stay(tmp_path: Path) -> None:
    store = FileBlockStore.open(tmp_path)
    digest = digest_of(TEXT)
    store.put(digest, TEXT)
    dead = tmp_path / "new" / f"{digest.hex()}.{1 << 22}.0"  # past the highest process number
    ours = tmp_path / "new" / f"{digest.hex()}.{os.getpid()}.99"
    dead.write_bytes(b"half")
    ours.write_bytes(b"half")
    assert list(FileBlockStore.open(tmp_path).hashes()) == [digest]
    assert ours.exists()
    assert not dead.exists()


def test_many_unsynced_puts_keep_few_files_open(tmp_path: Path) -> None:
    store = FileBlockStore.open(tmp_path)
    before = len(os.listdir("/proc/self/fd"))
    for number in range(200):
        plain = number.to_bytes(8, "little") * (BLOCK_BYTES // 8)
        store.put(digest_of(plain), plain)
        assert len(os.listdir("/proc/self/fd")) - before <= 130
    store.sync()
    assert len(os.listdir("/proc/self/fd")) <= before
    assert len(list(store.hashes())) == 200


def test_other_objects_of_the_bucket_are_left_alone(tmp_path: Path) -> None:
    with ObjectStore.open(tmp_path) as objects:
        objects.put("ebs", "blocks/readme", b"not a block")
        objects.put("ebs", "other", b"not ours")
        blocks = BucketBlockStore(objects, "ebs", "blocks/")
        blocks.put(digest_of(TEXT), TEXT)
        assert list(blocks.hashes()) == [digest_of(TEXT)]
        blocks.delete(digest_of(TEXT))
        keys = [entry.key for entry in objects.list("ebs").entries]
        assert keys == ["blocks/readme", "other"]
