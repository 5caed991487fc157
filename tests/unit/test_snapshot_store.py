"""Snapshots over counted blocks: made, read, deleted anywhere in a lineage, copied, accounted."""

from __future__ import annotations

import contextlib
import random
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blockdev.block_codec import BLOCK_BYTES, ZERO_BLOCK, BlockCorruptError, digest_of
from blockdev.blocks import FileBlockStore, MemoryBlockStore
from blockdev.refs import NotPendingError
from blockdev.snapshot import SnapshotStore
from tests.volumes import image_of, open_store, pattern_block

SIZE = 8 * BLOCK_BYTES
A, B, C, D = (pattern_block(number) for number in range(1, 5))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SnapshotStore]:
    with open_store(tmp_path) as opened:
        yield opened
        assert opened.check() == []


def make(
    store: SnapshotStore, name: str, blocks: dict[int, bytes], base: str = "", size: int = SIZE
) -> None:
    draft = store.begin(name, size_bytes=size, base_id=base)
    draft.put_many(list(blocks.items()))
    draft.complete()


def stored(store: SnapshotStore) -> set[bytes]:
    return set(store.blocks.hashes())


def test_a_snapshot_is_its_base_with_blocks_put_over_it(store: SnapshotStore) -> None:
    make(store, "s1", {0: A, 2: B})
    make(store, "s2", {2: ZERO_BLOCK, 5: C}, "s1")
    assert image_of(store, "s1") == A + bytes(BLOCK_BYTES) + B + bytes(5 * BLOCK_BYTES)
    assert image_of(store, "s2") == A + bytes(4 * BLOCK_BYTES) + C + bytes(2 * BLOCK_BYTES)
    assert store.read_block("s1", 2) == B
    assert store.read_block("s2", 2) == ZERO_BLOCK
    assert list(store.diff("s1", "s2")) == [(2, digest_of(B), None), (5, None, digest_of(C))]
    assert list(store.diff("", "s2", 1)) == [(5, None, digest_of(C))]


def test_zeroes_are_not_stored(store: SnapshotStore) -> None:
    make(store, "s1", {0: ZERO_BLOCK, 1: ZERO_BLOCK})
    assert store.status("s1").blocks == 0
    assert stored(store) == set()


def test_the_same_block_is_stored_once(store: SnapshotStore) -> None:
    make(store, "s1", {0: A, 1: A, 2: A})
    make(store, "s2", {7: A})
    assert stored(store) == {digest_of(A)}
    assert store.status("s1").added_blocks == 1
    assert store.status("s2").added_blocks == 0
    assert store.total().plain_bytes == BLOCK_BYTES
    store.delete("s1")
    assert stored(store) == {digest_of(A)}
    store.delete("s2")
    assert stored(store) == set()
    assert store.total().blocks == 0


def test_a_short_last_block_is_filled_up(store: SnapshotStore) -> None:
    make(store, "s1", {7: A[:100]}, size=SIZE - BLOCK_BYTES + 100)
    assert store.read_block("s1", 7) == A[:100] + bytes(BLOCK_BYTES - 100)


def test_a_later_put_for_an_index_replaces_the_earlier_one(store: SnapshotStore) -> None:
    draft = store.begin("s1", size_bytes=SIZE)
    draft.put(0, A)
    draft.put(0, B)
    draft.put(1, C)
    draft.put(1, ZERO_BLOCK)
    assert list(draft.entries()) == [(0, digest_of(B)), (1, None)]
    draft.complete()
    assert image_of(store, "s1") == B + bytes(SIZE - BLOCK_BYTES)
    assert stored(store) == {digest_of(B)}


def test_what_was_put_again_unchanged_adds_nothing(store: SnapshotStore) -> None:
    make(store, "s1", {0: A, 1: B})
    make(store, "s2", {0: A, 1: C}, "s1")
    store.delete("s1")
    assert stored(store) == {digest_of(A), digest_of(C)}
    assert image_of(store, "s2")[: 2 * BLOCK_BYTES] == A + C


def test_indexes_outside_and_blocks_too_long_are_refused(store: SnapshotStore) -> None:
    draft = store.begin("s1", size_bytes=SIZE)
    for index in (-1, 8, 1 << 40):
        with pytest.raises(ValueError, match="of a snapshot of 8 blocks"):
            draft.put(index, A)
    with pytest.raises(ValueError, match="not 524289"):
        draft.put(0, A + b"x")
    draft.complete()
    assert store.status("s1").blocks == 0


def test_states_and_progress(store: SnapshotStore) -> None:
    draft = store.begin("s1", size_bytes=SIZE, volume="")
    draft.expect(4)
    assert (store.status("s1").state, store.status("s1").progress_percent) == ("pending", 0)
    draft.put_many([(0, A), (1, B)])
    assert store.status("s1").progress_percent == 50
    draft.put_many([(2, C), (3, D)])
    assert store.status("s1").progress_percent == 99
    draft.complete()
    status = store.status("s1")
    assert (status.state, status.progress_percent) == ("completed", 100)
    assert status.full_bytes == status.added_bytes == 4 * BLOCK_BYTES
    assert [status.snapshot_id for status in store.statuses()] == ["s1"]


def test_what_is_over_takes_no_more_blocks(store: SnapshotStore) -> None:
    draft = store.begin("s1", size_bytes=SIZE)
    draft.put(0, A)
    draft.complete()
    with pytest.raises(NotPendingError):
        draft.put(1, B)
    with pytest.raises(NotPendingError):
        draft.complete()
    with pytest.raises(NotPendingError):
        draft.fail("no")
    with pytest.raises(NotPendingError):
        store.draft("s1")
    assert image_of(store, "s1")[:BLOCK_BYTES] == A


def test_a_failed_one_keeps_its_reason_and_no_blocks(store: SnapshotStore) -> None:
    draft = store.begin("s1", size_bytes=SIZE)
    draft.put(0, A)
    draft.fail("no reason")
    status = store.status("s1")
    assert (status.state, status.reason) == ("error", "no reason")
    assert stored(store) == set()
    with pytest.raises(KeyError):
        store.open_map("s1")
    with pytest.raises(ValueError, match="cannot be the base"):
        store.begin("s2", size_bytes=SIZE, base_id="s1")
    store.delete("s1")
    with pytest.raises(KeyError):
        store.status("s1")


def test_unknown_snapshots_are_key_errors(store: SnapshotStore) -> None:
    for call in (store.status, store.open_map, store.delete, store.usage):
        with pytest.raises(KeyError):
            call("s1")
    for other in (
        lambda: store.pin("s1", "vol-1"),
        lambda: store.begin("s2", size_bytes=SIZE, base_id="s1"),
        lambda: store.copy(store, "s1", "s2"),
        lambda: store.read_block("s1", 0),
    ):
        with pytest.raises(KeyError):
            other()
    assert store.statuses() == []


def test_an_id_is_taken_once(store: SnapshotStore) -> None:
    make(store, "s1", {0: A})
    with pytest.raises(ValueError, match="there already"):
        store.begin("s1", size_bytes=SIZE)


def test_a_base_may_grow_and_not_shrink(store: SnapshotStore) -> None:
    make(store, "s1", {7: A})
    make(store, "s2", {9: B}, "s1", size=10 * BLOCK_BYTES)
    assert store.read_block("s2", 7) == A
    with pytest.raises(ValueError, match="cannot be the base"):
        store.begin("s3", size_bytes=SIZE, base_id="s2")


# Deleting.


def test_deleting_in_the_middle_frees_what_no_other_needs(store: SnapshotStore) -> None:
    make(store, "s1", {0: A, 1: A})
    make(store, "s2", {0: B, 1: C}, "s1")
    make(store, "s3", {1: D}, "s2")
    usage = store.usage("s2")
    assert (usage.exclusive_blocks, usage.blocks) == (1, 2)
    store.delete("s2")
    assert stored(store) == {digest_of(A), digest_of(B), digest_of(D)}
    assert image_of(store, "s3")[: 2 * BLOCK_BYTES] == B + D
    assert store.status("s3").base_id == "s1"
    store.delete("s1")
    assert stored(store) == {digest_of(B), digest_of(D)}
    assert image_of(store, "s3")[: 2 * BLOCK_BYTES] == B + D


def test_a_child_that_went_back_to_what_the_base_had(store: SnapshotStore) -> None:
    make(store, "s1", {0: A})
    make(store, "s2", {0: B}, "s1")
    make(store, "s3", {0: A}, "s2")
    store.delete("s2")
    assert stored(store) == {digest_of(A)}
    store.delete("s3")
    assert stored(store) == {digest_of(A)}
    assert image_of(store, "s1")[:BLOCK_BYTES] == A


def test_a_pinned_one_keeps_its_blocks_until_it_is_not(store: SnapshotStore) -> None:
    make(store, "s1", {0: A})
    store.pin("s1", "vol-1")
    store.pin("s1", "vol-2")
    store.pin("s1", "vol-2")
    assert store.status("s1").pinned_by == ("vol-1", "vol-2")
    store.delete("s1")
    with pytest.raises(KeyError):
        store.status("s1")
    with pytest.raises(KeyError):
        store.delete("s1")
    assert stored(store) == {digest_of(A)}
    assert store.check() == []
    store.unpin("s1", "vol-1")
    assert stored(store) == {digest_of(A)}
    store.unpin_all("vol-2")
    assert stored(store) == set()


def test_a_pending_child_keeps_its_base(store: SnapshotStore, tmp_path: Path) -> None:
    make(store, "s1", {0: A, 1: B})
    draft = store.begin("s2", size_bytes=SIZE, base_id="s1")
    draft.put(1, C)
    store.delete("s1")
    assert store.check() == []
    assert stored(store) == {digest_of(A), digest_of(B), digest_of(C)}
    draft.complete()
    assert image_of(store, "s2")[: 2 * BLOCK_BYTES] == A + C
    assert stored(store) == {digest_of(A), digest_of(C)}
    assert [path.name for path in (tmp_path / "snapshots").iterdir()] == ["s2.map"]


def test_a_pending_one_is_cancelled_by_deleting_it(store: SnapshotStore) -> None:
    draft = store.begin("s1", size_bytes=SIZE)
    draft.put(0, A)
    store.delete("s1")
    assert stored(store) == set()
    with pytest.raises(NotPendingError):
        draft.put(1, B)
    with pytest.raises(NotPendingError):
        draft.complete()
    assert store.statuses() == []


NAMES = st.integers(0, 5)
STEP: st.SearchStrategy[tuple[str, int, int, dict[int, int]]] = st.one_of(
    st.tuples(
        st.just("make"),
        NAMES,
        NAMES,
        st.dictionaries(st.integers(0, 7), st.integers(0, 5), max_size=5),
    ),
    st.tuples(st.just("delete"), NAMES, NAMES, st.just({})),
    st.tuples(st.just("copy"), NAMES, NAMES, st.just({})),
)


@given(steps=st.lists(STEP, max_size=25))
@settings(max_examples=60)
def test_any_tree_of_snapshots_frees_exactly_what_it_says(
    tmp_path_factory: pytest.TempPathFactory,
    steps: list[tuple[str, int, int, dict[int, int]]],
) -> None:
    """Blocks of six contents in trees of any shape, against sets that are counted by hand."""
    contents = [None, *(digest_of(pattern_block(number)) for number in range(1, 6))]
    images: dict[str, dict[int, bytes]] = {}
    with open_store(tmp_path_factory.mktemp("store"), MemoryBlockStore()) as store:
        for number, (action, first, second, blocks) in enumerate(steps):
            mine, other = (sorted(images)[n] if n < len(images) else "" for n in (first, second))
            if action == "make":
                image = dict(images.get(other, {}))
                image.update({i: contents[n] for i, n in blocks.items()})  # type: ignore[misc]
                plains = {i: pattern_block(n) if n else ZERO_BLOCK for i, n in blocks.items()}
                make(store, f"s{number}", plains, other)
                images[f"s{number}"] = {i: d for i, d in image.items() if d is not None}
            elif action == "copy" and mine:
                store.copy(store, mine, f"s{number}")
                images[f"s{number}"] = images[mine]
            elif action == "delete" and mine:
                needed = {d for name in images if name != mine for d in images[name].values()}
                expected = set(images[mine].values()) - needed
                usage = store.usage(mine)
                assert usage.exclusive_blocks == len(expected)
                before = store.total()
                store.delete(mine)
                del images[mine]
                after = store.total()
                assert before.stored_bytes - after.stored_bytes == usage.exclusive_stored_bytes
            everything = {d for image in images.values() for d in image.values()}
            assert stored(store) == everything
        for name, image in images.items():
            with store.open_map(name) as map_:
                assert dict(map_.entries()) == image
        assert store.check() == []


# Copies.


def test_a_copy_within_the_store_shares_every_block(store: SnapshotStore) -> None:
    make(store, "s1", {0: A, 3: B})
    store.copy(store, "s1", "s2")
    assert store.usage("s2").exclusive_blocks == 0
    store.delete("s1")
    assert image_of(store, "s2") == A + bytes(2 * BLOCK_BYTES) + B + bytes(4 * BLOCK_BYTES)
    assert store.usage("s2").exclusive_blocks == 2


def test_a_copy_to_another_store_is_whole_there(store: SnapshotStore, tmp_path: Path) -> None:
    make(store, "s1", {index: pattern_block(index) for index in range(8)})
    heard: list[int] = []
    with open_store(tmp_path / "elsewhere") as other:
        make(other, "x", {3: pattern_block(3)})
        other.copy(store, "s1", "s9", progress=heard.append)
        assert image_of(other, "s9") == image_of(store, "s1")
        assert other.status("s9").added_blocks == 7
        assert heard[-1] == 8
        assert other.check() == []


def test_a_copy_of_a_spoilt_block_fails_and_leaves_nothing(
    store: SnapshotStore, tmp_path: Path
) -> None:
    make(store, "s1", {0: A, 1: B})
    with open_store(tmp_path / "elsewhere") as other:
        with spoilt(store, B), pytest.raises(BlockCorruptError):
            other.copy(store, "s1", "s9")
        assert other.status("s9").state == "error"
        assert stored(other) == set()
        assert other.check() == []


@contextlib.contextmanager
def spoilt(store: SnapshotStore, plain: bytes) -> Iterator[Path]:
    """The file of a block, with a byte of it changed for the time being."""
    assert isinstance(store.blocks, FileBlockStore)
    name = digest_of(plain).hex()
    path = store.blocks.folder / name[:2] / name
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    yield path
    path.write_bytes(whole)


# Accounting.


def test_usage_of_one_with_a_pending_child(store: SnapshotStore) -> None:
    make(store, "s1", {0: A, 1: B})
    draft = store.begin("s2", size_bytes=SIZE, base_id="s1")
    draft.put(1, C)
    usage = store.usage("s1")
    assert usage.exclusive_blocks == 1  # B: A would be the child's, if it were completed now
    assert usage.full_bytes == 2 * BLOCK_BYTES
    draft.complete()
    assert store.usage("s1") == usage


def test_stored_bytes_are_what_the_files_take(store: SnapshotStore) -> None:
    make(store, "s1", {0: A, 1: b"text " * 1000})
    assert isinstance(store.blocks, FileBlockStore)
    files = [path for path in store.blocks.folder.glob("*/*") if path.is_file()]
    assert store.total().stored_bytes == sum(path.stat().st_size for path in files)
    assert store.usage("s1").stored_bytes == store.total().stored_bytes


# Checking.


def test_check_finds_what_is_missing_leaked_and_spoilt(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        make(store, "s1", {0: A, 1: B})
        with spoilt(store, A) as path:
            (problem,) = store.check()
            assert problem.startswith(f"block {digest_of(A).hex()}: ")
            assert store.check(verify_blocks=False) == []
            path.unlink()
            assert store.check() == [
                f"block {digest_of(A).hex()} is missing, and 1 references need it"
            ]
            path.touch()
        store.blocks.put(digest_of(C), C)
        assert store.check() == [f"block {digest_of(C).hex()} is leaked: no row knows of it"]


def test_check_finds_wrong_counts_and_lost_maps(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        make(store, "s1", {0: A, 1: B})
        with store.transaction() as connection:
            connection.execute("UPDATE snap_blocks SET refs = 2 WHERE digest = ?", (digest_of(A),))
        assert store.check() == [f"block {digest_of(A).hex()}: 2 references are noted and 1 found"]
        with store.transaction() as connection:
            connection.execute("UPDATE snap_blocks SET refs = 0 WHERE digest = ?", (digest_of(A),))
        assert f"block {digest_of(A).hex()}: 0 references are noted and 1 found" in store.check()
        with store.transaction() as connection:
            connection.execute("UPDATE snap_blocks SET refs = 1 WHERE digest = ?", (digest_of(A),))
        map_path = tmp_path / "snapshots" / "s1.map"
        map_path.rename(tmp_path / "snapshots" / "s7.map")
        problems = store.check()
        assert problems[0].startswith("map of s1: ")
        assert problems[1] == "s7.map belongs to no snapshot"
        store.recover()
        assert not list((tmp_path / "snapshots").iterdir())


def test_two_stores_over_one_folder_put_and_delete_the_same_blocks(
    tmp_path: Path, seed: int
) -> None:
    """As two processes do: one's last reference goes while the other puts the block again."""
    failures: list[BaseException] = []

    def work(turn: int) -> None:
        numbers = random.Random(seed + turn)
        kept: dict[str, dict[int, bytes]] = {}
        try:
            with open_store(tmp_path) as mine:
                for number in range(25):
                    name = f"s{turn}-{number}"
                    blocks = {i: numbers.choice([A, B, C, D]) for i in range(numbers.randrange(4))}
                    make(mine, name, blocks)
                    kept[name] = blocks
                    if len(kept) > 1:
                        gone = numbers.choice(sorted(kept))
                        mine.delete(gone)
                        del kept[gone]
                    for kept_name, content in kept.items():
                        for index, plain in content.items():
                            assert mine.read_block(kept_name, index) == plain
        except BaseException as error:
            failures.append(error)

    open_store(tmp_path).close()
    threads = [threading.Thread(target=work, args=(turn,)) for turn in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    with open_store(tmp_path) as store:
        store.recover()
        assert store.check() == []
