"""Maps of snapshots against dictionaries, and against spoilt bytes."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blockdev.block_codec import BLOCK_BYTES
from blockdev.errors import DeviceClosedError
from blockdev.map_writer import write_map
from blockdev.snapshot_map import (
    SECTION_BLOCKS,
    MapCorruptError,
    SnapshotMap,
    blocks_of,
    diff,
    set_bits,
)

LIMIT = 3 * SECTION_BLOCKS + 17
SIZE = LIMIT * BLOCK_BYTES - 5
EDGES = [0, 1, 7, 8, SECTION_BLOCKS - 1, SECTION_BLOCKS, 2 * SECTION_BLOCKS, LIMIT - 1]
INDEXES = st.one_of(st.sampled_from(EDGES), st.integers(0, LIMIT - 1))
DIGESTS = st.integers(1, 5).map(lambda number: bytes([number]) * 16)
IMAGES = st.dictionaries(INDEXES, DIGESTS, max_size=40)
CHANGES = st.dictionaries(INDEXES, st.one_of(st.none(), DIGESTS), max_size=40)


@contextmanager
def written(*steps: dict[int, bytes | None]) -> Iterator[list[SnapshotMap]]:
    """A map for each step, on the map of the step before."""
    with tempfile.TemporaryDirectory() as directory, ExitStack() as opened:
        maps: list[SnapshotMap] = []
        for number, changes in enumerate(steps):
            path = Path(directory) / f"{number}.map"
            base = maps[-1] if maps else None
            blocks = write_map(path, size_bytes=SIZE, base=base, changes=sorted(changes.items()))
            maps.append(opened.enter_context(SnapshotMap.open(path)))
            assert maps[-1].blocks == blocks
        yield maps


def applied(image: dict[int, bytes], changes: dict[int, bytes | None]) -> dict[int, bytes]:
    merged = {**image, **changes}
    return {index: digest for index, digest in merged.items() if digest is not None}


@given(image=IMAGES, start=INDEXES)
def test_a_map_is_a_sorted_dictionary(image: dict[int, bytes], start: int) -> None:
    with written(dict(image)) as (map_,):
        assert map_.size_bytes == SIZE
        assert map_.blocks == len(image)
        assert list(map_.entries()) == sorted(image.items())
        assert list(map_.entries(start)) == [
            item for item in sorted(image.items()) if item[0] >= start
        ]
        for index in {*image, *EDGES, start}:
            assert map_.get(index) == image.get(index)


@given(image=IMAGES, changes=CHANGES)
def test_changes_are_laid_over_the_base(
    image: dict[int, bytes], changes: dict[int, bytes | None]
) -> None:
    with written(dict(image), changes) as (_, second):
        assert dict(second.entries()) == applied(image, changes)


@given(image=IMAGES, changes=CHANGES, start=INDEXES)
def test_a_diff_is_what_changed(
    image: dict[int, bytes], changes: dict[int, bytes | None], start: int
) -> None:
    after = applied(image, changes)
    expected = [
        (index, image.get(index), after.get(index))
        for index in sorted(image.keys() | after.keys())
        if image.get(index) != after.get(index)
    ]
    with written(dict(image), changes) as (first, second):
        assert list(diff(first, second)) == expected
        assert list(diff(first, second, start)) == [row for row in expected if row[0] >= start]
        assert list(diff(second, second)) == []
        assert list(diff(None, second)) == [(i, None, d) for i, d in sorted(after.items())]
        assert list(diff(second, None)) == [(i, d, None) for i, d in sorted(after.items())]


def test_an_unchanged_section_is_taken_over_and_not_read(tmp_path: Path) -> None:
    """Its bytes are spoilt in the base: only who reads them notices."""
    write_map(
        tmp_path / "base.map",
        size_bytes=SIZE,
        base=None,
        changes=[(index, index.to_bytes(16, "big")) for index in range(0, LIMIT, 3)],
    )
    with SnapshotMap.open(tmp_path / "base.map") as base:
        first, second = base.rows[0], base.rows[1]
    packed = bytearray((tmp_path / "base.map").read_bytes())
    packed[first.offset_bytes + 600] ^= 1
    (tmp_path / "base.map").write_bytes(packed)
    with SnapshotMap.open(tmp_path / "base.map") as base:
        changes = [(SECTION_BLOCKS, b"\x01" * 16)]
        write_map(tmp_path / "new.map", size_bytes=SIZE, base=base, changes=changes)
        with SnapshotMap.open(tmp_path / "new.map") as new:
            assert [index for index, _, _ in diff(base, new)] == [SECTION_BLOCKS]
            assert new.rows[0].check == first.check
            assert new.rows[1].check != second.check
            with pytest.raises(MapCorruptError):
                new.get(0)


@pytest.mark.parametrize("changes", [[(5, b"x" * 16), (5, None)], [(5, None), (4, None)]])
def test_changes_out_of_order_are_refused(
    tmp_path: Path, changes: list[tuple[int, bytes | None]]
) -> None:
    with pytest.raises(ValueError, match=r"block [45] after 5"):
        write_map(tmp_path / "a.map", size_bytes=SIZE, base=None, changes=changes)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("index", [-1, LIMIT, 1 << 40])
def test_changes_past_the_end_are_refused(tmp_path: Path, index: int) -> None:
    with pytest.raises(ValueError, match="in a map of"):
        write_map(tmp_path / "a.map", size_bytes=SIZE, base=None, changes=[(index, b"x" * 16)])


def test_a_digest_of_another_length_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="has not 16 bytes"):
        write_map(tmp_path / "a.map", size_bytes=SIZE, base=None, changes=[(0, b"short")])


def test_a_spoilt_byte_is_noticed_or_harmless(tmp_path: Path, seed: int) -> None:
    numbers = random.Random(seed)
    path = tmp_path / "a.map"
    image = {numbers.randrange(LIMIT): numbers.randbytes(16) for _ in range(300)}
    write_map(path, size_bytes=SIZE, base=None, changes=sorted(image.items()))
    whole = path.read_bytes()
    noticed = 0
    for at in [
        *range(40),
        *range(len(whole) - 150, len(whole)),
        *numbers.sample(range(len(whole)), 150),
    ]:
        spoilt = bytearray(whole)
        spoilt[at] ^= 1 << numbers.randrange(8)
        path.write_bytes(spoilt)
        try:
            with SnapshotMap.open(path) as map_:
                assert dict(map_.entries()) == image  # a bit of a frame that says nothing
        except MapCorruptError:
            noticed += 1
    assert noticed > 300


def test_a_map_that_was_cut_short_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "a.map"
    write_map(path, size_bytes=SIZE, base=None, changes=[(3, b"x" * 16)])
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(MapCorruptError):
            SnapshotMap.open(path)
    with pytest.raises(FileNotFoundError):
        SnapshotMap.open(tmp_path / "b.map")


def test_a_full_map_of_two_tebibytes_is_read_in_little_memory(tmp_path: Path) -> None:
    """4 million blocks, of which a reader keeps some sections: a mebibyte, not hundreds."""
    import tracemalloc

    limit = blocks_of(2 << 40)
    path = tmp_path / "a.map"
    same = b"\x07" * 16
    write_map(
        path, size_bytes=2 << 40, base=None, changes=((index, same) for index in range(limit))
    )
    tracemalloc.start()
    try:
        with SnapshotMap.open(path) as map_:
            assert map_.blocks == limit
            for index in range(0, limit, SECTION_BLOCKS):
                assert map_.get(index) == same
            assert sum(1 for _ in map_.entries(limit - 100)) == 100
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak_bytes < 8 << 20


@given(bits=st.sets(st.integers(0, 200)), first=st.integers(0, 1000))
def test_set_bits(bits: set[int], first: int) -> None:
    bitmap = bytearray(26)
    for bit in bits:
        bitmap[bit >> 3] |= 1 << (bit & 7)
    assert list(set_bits(bitmap, first)) == [first + bit for bit in sorted(bits)]


def test_a_closed_map_says_so(tmp_path: Path) -> None:
    write_map(tmp_path / "a.map", size_bytes=SIZE, base=None, changes=[(3, b"x" * 16)])
    map_ = SnapshotMap.open(tmp_path / "a.map")
    map_.close()
    map_.close()
    with pytest.raises(DeviceClosedError):
        map_.get(3)
