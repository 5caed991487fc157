"""The live index, and what the log alone gives, are the same bytes after heavy churn."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest

from objstore import ObjectStore
from objstore.config import CHECKPOINTS_KEPT
from objstore.engine import checkpoint
from objstore.errors import StoreFullError
from objstore.index import keys, schema
from objstore.index.schema import SegmentRow
from objstore.log import format as log
from objstore.log.format import Record
from objstore.model import CompletedPart
from tests.unit.recovery_stores import BUCKET, Sandbox, append, live_rows

SMALL = (0, 10, 1000, 3000, 4096)
LARGE = (5_000, 20_000, 60_000, 150_000)
OTHER = "other"


class Churn:
    """Random operations of every kind; `expected` is {(bucket, key): bytes}."""

    def __init__(self, store: ObjectStore, rng: random.Random) -> None:
        self.store, self.rng = store, rng
        self.expected: dict[tuple[str, str], bytes] = {}
        self.uploads: dict[tuple[str, str], dict[int, bytes]] = {}
        self._steps = [
            *[self.put_small] * 9,
            *[self.put_large] * 3,
            *[self.delete] * 5,
            self.copy,
            self.create_upload,
            *[self.put_part] * 3,
            self.complete,
            self.abort,
            self.recreate_bucket,
            *[self.maintain] * 2,
        ]

    def run(self, steps: int) -> None:
        for _ in range(steps):
            try:
                self.rng.choice(self._steps)()
            except StoreFullError:
                self.delete()
                self.maintain()

    def _key(self) -> str:
        return f"key-{self.rng.randrange(30)}"

    def put_small(self) -> None:
        self._put(self.rng.choice(SMALL))

    def put_large(self) -> None:
        self._put(self.rng.choice(LARGE))

    def _put(self, size_bytes: int) -> None:
        key, data = self._key(), self.rng.randbytes(size_bytes)
        self.store.put(BUCKET, key, data)
        self.expected[BUCKET, key] = data

    def delete(self) -> None:
        names = [self._key() for _ in range(self.rng.randrange(1, 5))]
        self.store.delete_many(BUCKET, names)
        for name in names:
            self.expected.pop((BUCKET, name), None)

    def copy(self) -> None:
        if not self.expected:
            return
        source = self.rng.choice(sorted(self.expected))
        target = (BUCKET, self._key())
        self.store.copy(*source, *target)
        self.expected[target] = self.expected[source]

    def create_upload(self) -> None:
        key = self._key()
        upload = self.store.create_upload(BUCKET, key)
        self.uploads[key, upload.upload_id] = {}

    def put_part(self) -> None:
        if not self.uploads:
            return
        key, upload_id = self.rng.choice(sorted(self.uploads))
        number, data = self.rng.randrange(1, 4), self.rng.randbytes(self.rng.choice(LARGE[:2]))
        with self.store.open_part(BUCKET, key, upload_id, number) as part:
            part.write(data)
            part.commit()
        self.uploads[key, upload_id][number] = data

    def complete(self) -> None:
        ready = sorted(name for name, parts in self.uploads.items() if parts)
        if not ready:
            return
        key, upload_id = name = self.rng.choice(ready)
        listed = self.store.list_parts(BUCKET, key, upload_id).parts
        parts = [CompletedPart(part.part_number, part.etag) for part in listed]
        self.store.complete_upload(BUCKET, key, upload_id, parts)
        data = self.uploads.pop(name)
        self.expected[BUCKET, key] = b"".join(data[number] for number in sorted(data))

    def abort(self) -> None:
        if self.uploads:
            key, upload_id = name = self.rng.choice(sorted(self.uploads))
            self.store.abort_upload(BUCKET, key, upload_id)
            del self.uploads[name]

    def recreate_bucket(self) -> None:
        """Bucket ids are never used again; what the old one held must not come back."""
        self.store.put(OTHER, "key", b"1")
        self.store.delete(OTHER, "key")
        self.store.delete_bucket(OTHER)

    def maintain(self) -> None:
        self.store.maintain()

    def check_contents(self, store: ObjectStore) -> None:
        names = [entry.key for entry in store.list(BUCKET).entries]
        assert names == sorted(key for _bucket, key in self.expected)
        for (bucket, key), data in self.expected.items():
            with store.get(bucket, key) as reader:
                assert reader.read() == data


@pytest.fixture
def sandbox(tmp_path: Path) -> Sandbox:
    return Sandbox(tmp_path)


@pytest.mark.parametrize("number", range(6))
def test_the_log_alone_gives_the_live_index(number: int, seed: int, sandbox: Sandbox) -> None:
    rng = random.Random(seed + number)
    with sandbox.open() as store:
        store.create_bucket(BUCKET)
        churn = Churn(store, rng)
        for _ in range(8):
            churn.run(60)
            assert sandbox.rebuilt() == live_rows(store)
        churn.check_contents(store)
        expected = live_rows(store)
        moved = [batch for batch in sandbox.batches() for record in batch.records if moved_(record)]
        assert moved, "nothing was compacted: the test is not what it was made for"
    with sandbox.reopen_from_log() as store:
        assert live_rows(store) == expected
        churn.check_contents(store)
        assert store.check() == []


def moved_(record: Record) -> bool:
    return record.kind == log.VERSION and record.lsn != record.version_seq


@pytest.mark.parametrize("number", range(4))
def test_every_checkpoint_and_the_log_after_it_give_the_live_index(
    number: int, seed: int, sandbox: Sandbox
) -> None:
    """The one before the last as well, though compaction has gone on since."""
    rng = random.Random(seed + number)
    with sandbox.open() as store:
        store.create_bucket(BUCKET)
        churn = Churn(store, rng)
        for _ in range(4):
            churn.run(80)
            assert store.checkpoint()
        churn.run(120)
        expected = live_rows(store)
    kept = checkpoint.find(sandbox.folder / "checkpoints", sandbox.superblock.store_id)
    assert len(kept) == CHECKPOINTS_KEPT
    for newest in kept:
        with sandbox.reopen_from_log() as store:
            assert store.recovery is not None
            assert 0 < store.recovery.batches < store.recovery.last_seq
            assert live_rows(store) == expected
            churn.check_contents(store)
        newest.path.unlink()
    with sandbox.reopen_from_log() as store:
        assert live_rows(store) == expected


def test_segments_are_given_up_out_of_order_and_tombstones_stay(sandbox: Sandbox) -> None:
    """A dense old segment holds the tombstones of what was deleted after it."""
    with sandbox.open() as store:
        store.create_bucket(BUCKET)
        for number in range(16):
            store.put(BUCKET, f"dense-{number:02}", b"d" * 3500)
        for _ in range(6):
            for number in range(15):
                store.put(BUCKET, f"short-lived-{number}", b"s" * 900)
            store.delete_many(BUCKET, [f"short-lived-{number}" for number in range(15)])
            store.maintain()
        starts = [head.start_seq for head in sandbox.heads()]
        with store._core.index.read() as txn:
            rows = {
                keys.parse_segment(key): SegmentRow.unpack(row)
                for key, row in txn.scan(keys.SEGMENT, keys.after(keys.SEGMENT))
            }
        logs = sorted(row.start_seq for row in rows.values() if row.kind == schema.SEGMENT_LOG)
        assert logs[0] == 1
        assert logs[1] > 60, "segments behind the oldest one were given up"
        kept = [
            schema.decode_gone(record.body)
            for batch in sandbox.batches()
            for record in batch.records
            if record.kind == log.VERSION_GONE and batch.head.seq >= logs[1]
        ]
        assert any(body.origin_lsn for body in kept), "a tombstone moved, with its origin"
        assert starts[0] == 1
        expected = live_rows(store)
        # Once the dense segment has gone as well, nothing holds them any more.
        store.delete_many(BUCKET, [f"dense-{number:02}" for number in range(16)])
        for number in range(30):
            store.put(BUCKET, f"last-{number}", b"l" * 900)
        store.maintain()
        assert sandbox.rebuilt() == live_rows(store) != expected
        gone = [
            record
            for batch in sandbox.batches()
            for record in batch.records
            if record.kind == log.VERSION_GONE and record.key.startswith(b"short")
        ]
        assert gone == []


@pytest.mark.parametrize("key", [b"gone", b"replaced"])
def test_a_manifest_whose_version_has_gone_is_swept(key: bytes, sandbox: Sandbox) -> None:
    """The version's record was compacted away, the manifest's, in another segment, not yet."""
    with sandbox.open() as store:
        store.put(BUCKET, "replaced", b"by this")
        free = sandbox.layout.offset(9)
        parts = [schema.ManifestPart(1, 10, b"m" * 16, [], [schema.Extent(free, 10, 5)])]
        body = schema.encode(schema.ManifestBody(0, parts))
        append(store, Record(log.MANIFEST, 1, key, body, 999))
        assert {row[0][:1] for row in live_rows(store)} >= {b"m", b"x"}
    with sandbox.reopen_from_log() as store:
        assert not {row[0][:1] for row in live_rows(store)} & {b"m", b"x"}
        with store._core.index.read() as txn:
            assert txn.get(keys.segment(9)) is None
        assert store.check() == []


def test_without_its_index_folder_at_all(sandbox: Sandbox) -> None:
    with sandbox.open() as store:
        store.create_bucket(BUCKET)
        expected = live_rows(store)
    for path in sandbox.folder.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    with sandbox.open() as store:
        assert live_rows(store) == expected
