"""Slices of extents: what is copied of an object stays, whatever becomes of the rest."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blockdev import MemoryDevice
from blockdev.filters import PowerLossDevice
from objstore import ByteRange, CompletedPart, ObjectStore
from objstore.config import COPY_ATTEMPTS
from objstore.engine.check_sizes import size_problems
from objstore.engine.compaction import segments_of
from objstore.engine.copy_part import SharePart
from objstore.engine.extent_moves import MoveExtent, compact_data_segment
from objstore.engine.extents import cut, moved, placed_from, sliced
from objstore.errors import CorruptionError, InvalidArgumentError, NoSuchKeyError, StoreError
from objstore.index import keys, schema
from objstore.index.schema import Extent
from objstore.log import format as log
from objstore.log.format import Record
from tests.crash.tiny import (
    TINY,
    assert_clean,
    forget_checkpoints,
    forget_index,
    memory_folder,
    open_tiny,
    pattern,
)
from tests.unit.recovery_stores import append

BUCKET = "bucket"
WHOLE = Extent(4096, 1000, 7)


# --- arithmetic -----------------------------------------------------------------------


def test_a_slice_of_everything_is_the_whole() -> None:
    assert sliced(WHOLE, 0, 1000) == WHOLE
    assert sliced(sliced(WHOLE, 10, 500), 5, 20) == Extent(4096, 1000, 7, 15, 20)
    assert (WHOLE.size_bytes, sliced(WHOLE, 10, 500).size_bytes) == (1000, 500)


@given(st.lists(st.integers(1, 50), min_size=1, max_size=6), st.data())
def test_a_cut_has_exactly_the_bytes_asked_for(lengths: list[int], data: st.DataObject) -> None:
    extents = [Extent(number * 4096, length, number) for number, length in enumerate(lengths)]
    start = data.draw(st.integers(0, sum(lengths) - 1))
    length = data.draw(st.integers(1, sum(lengths) - start))
    found = cut(placed_from(extents), start, length)
    assert named(found) == named(extents)[start : start + length]
    assert all(extent.size_bytes for extent in found)


@given(st.lists(st.integers(1, 40), min_size=1, max_size=5), st.data())
def test_moving_an_extent_keeps_every_slice(lengths: list[int], data: st.DataObject) -> None:
    total = sum(lengths)
    old = Extent(0, total, 99)
    new = [Extent((1 + number) * 4096, length, number) for number, length in enumerate(lengths)]
    start = data.draw(st.integers(0, total - 1))
    length = data.draw(st.integers(1, total - start))
    other = Extent(1 << 30, 5, 3)
    found = moved([sliced(old, start, length), other, old], old, new)
    assert named(found) == [
        *named(new)[start : start + length],
        *named([other]),
        *named(new),
    ]


def test_a_cut_beyond_the_end_is_corruption() -> None:
    with pytest.raises(CorruptionError, match="1 of 2 bytes"):
        cut([(0, WHOLE)], 999, 2)


def named(extents: list[Extent]) -> list[tuple[int, int]]:
    """Every byte by its extent and its place there."""
    return [
        (extent.nonce, extent.skip_bytes + at)
        for extent in extents
        for at in range(extent.size_bytes)
    ]


# --- the format -----------------------------------------------------------------------


def test_extents_without_slices_are_encoded_as_ever() -> None:
    part = schema.PartBody(b"u" * 16, 1, 1000, 3, b"m" * 16, [], [WHOLE])
    first = msgspec.msgpack.decode(schema.encode(part))
    assert first[6] == [[4096, 1000, 7]]
    manifest = schema.ManifestBody(0, [schema.ManifestPart(1, 1, b"m" * 16, [], [WHOLE])])
    assert msgspec.msgpack.decode(schema.encode(manifest))[1][0][4] == [[4096, 1000, 7]]


def test_slices_are_encoded_and_read_back() -> None:
    extents = [WHOLE, Extent(4096, 1000, 7, 5, 10)]
    part = schema.PartBody(b"u" * 16, 1, 1010, 3, b"m" * 16, [], extents)
    encoded = schema.encode(part)
    assert msgspec.msgpack.decode(encoded)[6] == [[4096, 1000, 7], [4096, 1000, 7, 5, 10]]
    assert schema.decode_part(encoded) == part


# --- copies ---------------------------------------------------------------------------


def copied(
    store: ObjectStore, key: str, slices: list[tuple[int, int]], source: str = "source"
) -> None:
    """Complete an upload of (first byte, length) of the source."""
    upload_id = store.create_upload(BUCKET, key).upload_id
    parts = []
    for number, (start, length) in enumerate(slices, 1):
        where = ByteRange(start, start + length - 1)
        part = store.copy_part(BUCKET, source, BUCKET, key, upload_id, number, byte_range=where)
        parts.append(CompletedPart(number, part.etag))
    store.complete_upload(BUCKET, key, upload_id, parts)


def read(store: ObjectStore, key: str) -> bytes:
    with store.get(BUCKET, key) as reader:
        return reader.read()


def data_segments(store: ObjectStore) -> list[int]:
    with store._core.index.read() as txn:
        return [name for name, row in segments_of(txn) if row.kind == schema.SEGMENT_DATA]


def used_offsets(store: ObjectStore) -> set[int]:
    """Where the extents lie that somebody uses."""
    with store._core.index.read() as txn:
        return {keys.parse_extent(key)[1] for key, _row in txn.scan(b"x", b"y")}


def compact_data(store: ObjectStore) -> None:
    for segment in data_segments(store):
        compact_data_segment(store._core, segment)


def written_bytes(store: ObjectStore, action: Callable[[], object]) -> int:
    """By how much an action has grown what lives in data segments."""

    def live() -> int:
        with store._core.index.read() as txn:
            rows = [row for _name, row in segments_of(txn) if row.kind == schema.SEGMENT_DATA]
        return sum(row.live_bytes for row in rows)

    before = live()
    action()
    return live() - before


@pytest.fixture
def store(tmp_path: Path) -> ObjectStore:
    return open_tiny(tmp_path, MemoryDevice(TINY.device_bytes))


def test_a_range_is_shared_and_outlives_its_source(store: ObjectStore) -> None:
    data = pattern(1, 40_000)
    with store:
        store.put(BUCKET, "source", data)
        slices = [(0, 40_000), (5, 20_000), (4096, 4096), (39_999, 1)]
        assert written_bytes(store, lambda: copied(store, "copy", slices)) == 0
        wanted = b"".join(data[start : start + length] for start, length in slices)
        store.delete(BUCKET, "source")
        assert read(store, "copy") == wanted
        compact_data(store)
        assert read(store, "copy") == wanted
        assert_clean(store)
        store.delete(BUCKET, "copy")
        assert data_segments(store) == []
        assert_clean(store)


def test_a_part_replaced_lets_go_of_the_extent_that_it_used_twice(store: ObjectStore) -> None:
    data = pattern(2, 30_000)
    with store:
        store.put(BUCKET, "source", data)
        copied(store, "doubled", [(0, 10_000), (5_000, 10_000)])
        upload_id = store.create_upload(BUCKET, "t").upload_id
        for _again in range(2):  # a range over both parts: two slices of one extent in one part
            where = ByteRange(1_000, 18_999)
            store.copy_part(BUCKET, "doubled", BUCKET, "t", upload_id, 1, byte_range=where)
            assert_clean(store)
        store.delete_many(BUCKET, ["source", "doubled"])
        compact_data(store)
        assert_clean(store)
        assert len(data_segments(store)) == 1
        store.abort_upload(BUCKET, "t", upload_id)
        assert data_segments(store) == []


def test_an_extent_of_many_owners_moves_in_several_commits(store: ObjectStore) -> None:
    data = pattern(3, 30_000)
    with store:
        store.put(BUCKET, "source", data)
        for number in range(300):
            store.copy(BUCKET, "source", BUCKET, f"copy-{number}")
        before = store._core.committer
        (segment,) = data_segments(store)
        moves: list[MoveExtent] = []
        real = before.commit

        def noted(operation: object) -> object:
            if isinstance(operation, MoveExtent):
                moves.append(operation)
            return real(operation)  # type: ignore[arg-type]

        before.commit = noted  # type: ignore[method-assign, assignment]
        old = used_offsets(store)
        compact_data_segment(store._core, segment)
        assert len(moves) > 1
        new = used_offsets(store)
        assert len(old) == len(new) == 1
        assert old.isdisjoint(new)
        assert read(store, "copy-299") == data
        assert_clean(store)


def test_an_etag_is_the_md5_of_the_bytes(store: ObjectStore) -> None:
    data = pattern(4, 20_000)
    with store:
        store.put(BUCKET, "source", data)
        upload_id = store.create_upload(BUCKET, "t").upload_id
        for where in (None, ByteRange(0, 19_999), ByteRange(1, 7), ByteRange(100)):
            part = store.copy_part(BUCKET, "source", BUCKET, "t", upload_id, 1, byte_range=where)
            first = where.first if where else 0
            last = where.last if where and where.last is not None else len(data) - 1
            assert part.etag == hashlib.md5(data[first : last + 1]).hexdigest()
        store.abort_upload(BUCKET, "t", upload_id)


def test_whole_objects_and_parts_are_not_read(
    store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = pattern(5, 30_000)
    with store:
        store.put(BUCKET, "source", data)
        copied(store, "parts", [(0, 10_000), (10_000, 20_000)])
        upload_id = store.create_upload(BUCKET, "t").upload_id

        def refuse(*_args: object) -> None:
            raise AssertionError("the bytes were read")

        monkeypatch.setattr("objstore.engine.reader.ObjectReader.next", refuse)
        store.copy_part(BUCKET, "source", BUCKET, "t", upload_id, 1)
        where = ByteRange(10_000, 29_999)
        part = store.copy_part(BUCKET, "parts", BUCKET, "t", upload_id, 2, byte_range=where)
        assert part.etag == hashlib.md5(data[10_000:]).hexdigest()
        with pytest.raises(AssertionError, match="were read"):
            store.copy_part(BUCKET, "source", BUCKET, "t", upload_id, 3, byte_range=ByteRange(1, 2))


@pytest.mark.parametrize("size_bytes", [0, 1, TINY.log_inline_bytes])
def test_small_sources_are_written_again(store: ObjectStore, size_bytes: int) -> None:
    data = pattern(6, size_bytes)
    with store:
        store.put(BUCKET, "source", data)
        upload_id = store.create_upload(BUCKET, "t").upload_id
        part = store.copy_part(BUCKET, "source", BUCKET, "t", upload_id, 1)
        store.delete(BUCKET, "source")
        store.complete_upload(BUCKET, "t", upload_id, [CompletedPart(1, part.etag)])
        assert read(store, "t") == data
        assert_clean(store)


class Changing:
    """Puts something else in the source's place before a part is committed, so often."""

    def __init__(self, store: ObjectStore, times: int) -> None:
        self._store, self._times, self.written = store, times, 0

    def __call__(self, operation: object) -> object:
        if isinstance(operation, SharePart) and self.written < self._times:
            self.written += 1
            self._store.put(BUCKET, "source", pattern(100 + self.written, 20_000))
        return self._real(operation)

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        committer = self._store._core.committer
        self._real: Callable[[object], object] = committer.commit  # type: ignore[assignment]
        monkeypatch.setattr(committer, "commit", self)


@pytest.mark.parametrize("times", [1, 2, 99])
def test_a_source_that_is_replaced_meanwhile_is_noticed(
    store: ObjectStore, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    with store:
        store.put(BUCKET, "source", pattern(100, 20_000))
        upload_id = store.create_upload(BUCKET, "t").upload_id
        changing = Changing(store, times)
        changing.install(monkeypatch)
        part = store.copy_part(
            BUCKET, "source", BUCKET, "t", upload_id, 1, byte_range=ByteRange(10, 9_999)
        )
        assert changing.written == min(times, COPY_ATTEMPTS - 1)
        store.complete_upload(BUCKET, "t", upload_id, [CompletedPart(1, part.etag)])
        assert read(store, "t") == pattern(100 + changing.written, 20_000)[10:10_000]
        assert_clean(store)


def test_what_a_copied_part_cannot_be(store: ObjectStore) -> None:
    with store:
        store.put(BUCKET, "source", b"bytes")
        upload_id = store.create_upload(BUCKET, "t").upload_id
        for number in (0, 10_001):
            with pytest.raises(InvalidArgumentError, match="part number"):
                store.copy_part(BUCKET, "source", BUCKET, "t", upload_id, number)
        with pytest.raises(NoSuchKeyError):
            store.copy_part(BUCKET, "missing", BUCKET, "t", upload_id, 1)


def test_the_check_finds_slices_that_do_not_add_up(store: ObjectStore) -> None:
    with store:
        store.put(BUCKET, "source", pattern(7, 20_000))
        copied(store, "copy", [(1, 10_000)])
        core = store._core
        with core.index.read() as txn:
            ((key, row),) = txn.scan(b"m", b"n")
            assert list(size_problems(txn)) == []
        manifest = schema.decode_manifest(row[schema.HEAD_BYTES : -2 - 4 - len("copy")])
        part = manifest.parts[0]
        spoilt = msgspec.structs.replace(part.extents[0], used_bytes=20_000)
        part = msgspec.structs.replace(part, extents=[spoilt])
        body = schema.encode(msgspec.structs.replace(manifest, parts=[part]))
        head = schema.unpack_head(row)
        bucket_id = 1
        append(store, Record(log.MANIFEST, bucket_id, b"copy", body, head.version_seq))
        problems = [problem.what for problem in store.check()]
        assert len(problems) == 2
        assert "uses more than there is" in problems[0]
        assert f"row {key!r} hold 20000 bytes instead of 10000" in problems[1]


# --- everything together ----------------------------------------------------------------

SIZES = (1, 4_096, 4_097, 20_000, 70_000, 140_000)


class SliceRun:
    """A store, and what its objects hold."""

    def __init__(self, folder: Path, rng: random.Random) -> None:
        self.folder, self.rng = folder, rng
        self.device = PowerLossDevice(MemoryDevice(TINY.device_bytes))
        self.objects: dict[str, bytes] = {}
        self.store = open_tiny(folder, self.device)
        self.store.create_bucket(BUCKET)

    def put(self) -> None:
        key, data = self._key(), self.rng.randbytes(self.rng.choice(SIZES))
        self.store.put(BUCKET, key, data)
        self.objects[key] = data

    def share(self) -> None:
        """A few slices of a few objects, one after the other."""
        if not self.objects:
            return
        key, parts, wanted = self._key(), [], b""
        upload_id = self.store.create_upload(BUCKET, key).upload_id
        for number in range(1, self.rng.randint(1, 4) + 1):
            source = self.rng.choice(sorted(self.objects))
            data = self.objects[source]
            start = self.rng.randrange(len(data))
            end = self.rng.randrange(start, len(data))
            part = self.store.copy_part(
                BUCKET, source, BUCKET, key, upload_id, number, byte_range=ByteRange(start, end)
            )
            assert part.etag == hashlib.md5(data[start : end + 1]).hexdigest()
            parts.append(CompletedPart(number, part.etag))
            wanted += data[start : end + 1]
        self.store.complete_upload(BUCKET, key, upload_id, parts)
        self.objects[key] = wanted

    def copy(self) -> None:
        if self.objects:
            source, key = self.rng.choice(sorted(self.objects)), self._key()
            self.store.copy(BUCKET, source, BUCKET, key)
            self.objects[key] = self.objects[source]

    def delete(self) -> None:
        key = self._key()
        self.store.delete(BUCKET, key)
        self.objects.pop(key, None)

    def compact(self) -> None:
        compact_data(self.store)
        self.store.maintain()

    def lose_power(self) -> None:
        """Everything that was acknowledged is there afterwards, from the log alone."""
        device = self.device.cut(self.rng.getrandbits(32))
        with suppress(StoreError):
            self.store.close()
        self.device = device
        forget_index(self.folder)
        forget_checkpoints(self.folder)
        self.store = open_tiny(self.folder, self.device)

    def check(self) -> None:
        for key, data in self.objects.items():
            assert read(self.store, key) == data
            start = self.rng.randrange(len(data))
            with self.store.get(BUCKET, key, byte_range=ByteRange(start, start + 5000)) as reader:
                assert reader.read() == data[start : start + 5001]
        assert [entry.key for entry in self.store.list(BUCKET).entries] == sorted(self.objects)

    def _key(self) -> str:
        return f"key-{self.rng.randrange(6)}"


STEPS = ("put", "share", "share", "copy", "delete", "compact", "lose_power", "check")


@settings(max_examples=25)
@given(st.integers(0, 2**32), st.lists(st.sampled_from(STEPS), min_size=4, max_size=25))
def test_slices_stay_what_they_were(seed: int, steps: list[str]) -> None:
    with memory_folder() as folder:
        run = SliceRun(folder, random.Random(seed))
        for step in ["put", *steps, "share", "compact", "check"]:
            getattr(run, step)()
        assert_clean(run.store)
        for key in list(run.objects):
            run.store.delete(BUCKET, key)
        assert data_segments(run.store) == []
        assert_clean(run.store)
        run.store.close()
