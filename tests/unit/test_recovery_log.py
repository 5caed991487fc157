"""The log read back from the device: its end, its damage, and what is no part of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from objstore import ObjectStore
from objstore.engine.check import check_store, rebuild_index
from objstore.entropy import SeededEntropy
from objstore.errors import CorruptionError
from objstore.index import keys, schema
from objstore.log import format as log
from objstore.log.format import BatchBuilder, Record
from tests.unit.recovery_stores import (
    BUCKET,
    PAGE_BYTES,
    SEGMENT_BATCHES,
    Sandbox,
    contents,
    fill,
    live_rows,
)


@pytest.fixture
def sandbox(tmp_path: Path) -> Sandbox:
    return Sandbox(tmp_path)


def filled(sandbox: Sandbox, count: int) -> dict[str, bytes]:
    """A closed store with `count` objects, each in a batch of its own."""
    with sandbox.open() as store:
        store.create_bucket(BUCKET)
        return fill(store, count)


def problem_of(sandbox: Sandbox) -> str:
    """What keeps the store from being opened, once its index is lost."""
    sandbox.lose_index()
    with pytest.raises(CorruptionError) as caught:
        sandbox.open()
    assert "the log is damaged" in str(caught.value)
    assert "rebuild-index" in str(caught.value)
    assert not (sandbox.folder / "index").exists()
    return str(caught.value)


def test_an_empty_store_comes_back_empty(sandbox: Sandbox) -> None:
    with sandbox.open() as store:
        before = live_rows(store)
        assert store.recovery is not None
        assert store.recovery.last_seq == 0
    with sandbox.reopen_from_log() as store:
        assert live_rows(store) == before
        assert store.check() == []


def test_the_log_alone_brings_everything_back(sandbox: Sandbox) -> None:
    put = filled(sandbox, 3 * SEGMENT_BATCHES)
    with sandbox.open() as store:
        assert store.recovery is None
        before = live_rows(store)
    with sandbox.reopen_from_log() as store:
        assert store.recovery is not None
        assert store.recovery.records == len(put) + 1 + store.recovery.segments
        assert store.recovery.batches == len(put) + 1
        assert live_rows(store) == before
        assert contents(store) == put


# --- torn tails ---------------------------------------------------------------------


@pytest.mark.parametrize("kept_bytes", [0, 512, 1024, 3584])
def test_a_torn_last_batch_never_happened(sandbox: Sandbox, kept_bytes: int) -> None:
    put = filled(sandbox, 5)
    with sandbox.open() as store:
        store.put(BUCKET, "large", b"z" * 4000)
    last = sandbox.batches()[-1]
    assert last.head.stored_bytes == 2 * PAGE_BYTES
    torn_bytes = last.head.stored_bytes - kept_bytes
    sandbox.device.write(last.offset_bytes + kept_bytes, bytes(torn_bytes))
    with sandbox.reopen_from_log() as store:
        assert contents(store) == put
        assert store.check() == []
        store.put(BUCKET, "after", b"1")
        assert store.check() == []
    with sandbox.reopen_from_log() as store:
        assert contents(store) == {**put, "after": b"1"}


def test_a_torn_batch_that_kept_its_head_and_lost_its_payload(sandbox: Sandbox) -> None:
    put = filled(sandbox, 2)
    with sandbox.open() as store:
        store.put(BUCKET, "large", b"z" * 4000)
    last = sandbox.batches()[-1]
    sandbox.device.write(last.offset_bytes + PAGE_BYTES, bytes(PAGE_BYTES))
    with sandbox.reopen_from_log() as store:
        assert contents(store) == put


def test_the_first_batch_of_a_segment_is_torn(sandbox: Sandbox) -> None:
    """The head is there, the batch is not: the log ends in the segment before."""
    put = filled(sandbox, 1)
    with sandbox.open() as store:
        number = 0
        while len(sandbox.heads()) == 1:
            before = dict(put)
            put[f"more-{number}"] = b"x"
            store.put(BUCKET, f"more-{number}", b"x")
            number += 1
        successor = sandbox.heads()[-1].segment
    newest = sandbox.batches()[-1]
    sandbox.device.write(newest.offset_bytes, bytes(PAGE_BYTES))
    assert len(sandbox.heads()) == 2
    with sandbox.reopen_from_log() as store:
        assert contents(store) == before
        assert store.check() == []
        store.put(BUCKET, "again", b"y")
        assert sandbox.heads()[-1].segment == successor, "the successor was named beforehand"
        assert store.check() == []
    with sandbox.reopen_from_log() as store:
        assert contents(store) == {**before, "again": b"y"}


def test_the_very_first_batch_is_torn(sandbox: Sandbox) -> None:
    filled(sandbox, 0)
    sandbox.device.write(sandbox.batches()[0].offset_bytes, bytes(PAGE_BYTES))
    with sandbox.reopen_from_log() as store:
        assert store.list_buckets() == []
        assert store.check() == []


# --- damage -------------------------------------------------------------------------


@pytest.mark.parametrize("at", [0, 8, 24, 64, 72, 80, 120, 150])
def test_damage_in_the_midst_of_the_log_is_no_torn_tail(sandbox: Sandbox, at: int) -> None:
    """Wherever the bit is: in the head of a batch, in a record's, in key or body."""
    filled(sandbox, 6)
    damaged = sandbox.batches()[3]
    sandbox.flip(damaged.offset_bytes + at)
    assert f"batch {damaged.head.seq}" in problem_of(sandbox)


def test_damage_to_a_payload_costs_that_object_alone(sandbox: Sandbox) -> None:
    put = filled(sandbox, 6)
    record = sandbox.batches()[3].records[0]
    lost = record.key.decode()
    sandbox.flip(record.payload_offset + 5)
    with sandbox.reopen_from_log() as store:
        assert store.recovery is not None
        assert store.recovery.problems == []
        (told,) = store.recovery.damaged
        assert lost in told
        with pytest.raises(CorruptionError):
            store.get(BUCKET, lost)
        assert len(store.check()) == 1
        store.delete(BUCKET, lost)
        assert contents(store) == {key: data for key, data in put.items() if key != lost}


def test_what_is_left_can_be_had(sandbox: Sandbox) -> None:
    """All but the lost batch, also what is behind it; the log is whole afterwards."""
    put = filled(sandbox, 6)
    lost = sandbox.batches()[4].records[0].key.decode()
    sandbox.flip(sandbox.batches()[4].offset_bytes)
    folder = sandbox.write_as_file()
    report = rebuild_index(folder)
    assert len(report.problems) == 1
    assert report.last_seq == 7
    left = {key: data for key, data in put.items() if key != lost}
    with ObjectStore.open(folder, config=sandbox.config) as store:
        assert contents(store) == left
        left |= fill(store, 3, "after")
        assert contents(store) == left
    assert check_store(folder) == [], "the damaged segment was given up"


def test_damage_in_the_last_batch_of_a_sealed_segment(sandbox: Sandbox) -> None:
    """Nothing follows it in its segment; the segments record says that it was there."""
    filled(sandbox, SEGMENT_BATCHES + 3)
    second = sandbox.heads()[1]
    (last,) = [batch for batch in sandbox.batches() if batch.head.seq == second.start_seq - 1]
    sandbox.flip(last.offset_bytes + 100)
    assert f"batch {last.head.seq}" in problem_of(sandbox)


def test_damage_in_the_first_batch_of_the_newest_segment(sandbox: Sandbox) -> None:
    """It would look like a segment that was never begun, were there nothing after it."""
    filled(sandbox, SEGMENT_BATCHES + 5)
    newest = sandbox.heads()[-1]
    sandbox.flip(sandbox.layout.offset(newest.segment) + PAGE_BYTES)
    assert f"segment {newest.segment}" in problem_of(sandbox)


@pytest.mark.parametrize("position", [0, 1])
def test_a_segment_that_lost_its_head(sandbox: Sandbox, position: int) -> None:
    filled(sandbox, 2 * SEGMENT_BATCHES + 5)
    lost = sandbox.heads()[position]
    sandbox.flip(sandbox.layout.offset(lost.segment) + 20)
    assert f"log segment {lost.segment}" in problem_of(sandbox)


def test_the_newest_segment_lost_its_head(sandbox: Sandbox) -> None:
    filled(sandbox, SEGMENT_BATCHES + 5)
    newest = sandbox.heads()[-1]
    sandbox.flip(sandbox.layout.offset(newest.segment) + 20)
    assert f"log segment {newest.segment}" in problem_of(sandbox)


def test_the_only_segment_lost_its_head(sandbox: Sandbox) -> None:
    filled(sandbox, 3)
    sandbox.flip(sandbox.layout.offset(0) + 20)
    assert "log segment 0" in problem_of(sandbox)


def test_the_open_segment_lost_its_head_after_a_checkpoint(sandbox: Sandbox) -> None:
    """The checkpoint is whole, and yet the store has lost what came after it."""
    filled(sandbox, 3)
    with sandbox.open() as store:
        assert store.checkpoint() == 4
        fill(store, 3, "later")
    sandbox.flip(sandbox.layout.offset(0) + 20)
    assert "log segment 0" in problem_of(sandbox)


def test_a_lost_segment_of_the_middle_after_a_checkpoint(sandbox: Sandbox) -> None:
    filled(sandbox, 2)
    with sandbox.open() as store:
        store.checkpoint()
        fill(store, 3 * SEGMENT_BATCHES, "later")
    lost = sandbox.heads()[1]
    sandbox.device.write(sandbox.layout.offset(lost.segment), bytes(PAGE_BYTES))
    assert f"log segment {lost.segment}" in problem_of(sandbox)


# --- what is no part of the log --------------------------------------------------------


def batch_of_another(seed: int, seq: int) -> bytes:
    """A batch that is whole, for a store with this seed."""
    builder = BatchBuilder(0, seq, 1000, 0, seed)
    builder.place(Record(log.BUCKET, 9, b"foreign", schema.encode(schema.BucketBody(9, 0, "", ""))))
    return builder.finish(log_bytes=0, time_ms=0, next_bucket_id=99)[0]


def test_a_foreign_batch_after_the_end_is_no_sign_of_damage(sandbox: Sandbox) -> None:
    """Left by another store, or stored in an object by somebody who wishes us ill."""
    put = filled(sandbox, 3)
    last = sandbox.batches()[-1]
    foreign = batch_of_another(seed=0, seq=last.head.seq + 50)
    sandbox.device.write(last.end_offset_bytes + 2 * PAGE_BYTES, foreign)
    with sandbox.reopen_from_log() as store:
        assert contents(store) == put
        assert store.check() == []


def test_a_batch_of_our_own_after_a_gap_is_a_sign_of_damage(sandbox: Sandbox) -> None:
    filled(sandbox, 3)
    last = sandbox.batches()[-1]
    ours = batch_of_another(log.batch_seed(sandbox.superblock.store_id), last.head.seq + 2)
    sandbox.device.write(last.end_offset_bytes + PAGE_BYTES, ours)
    assert f"batch {last.head.seq + 1}" in problem_of(sandbox)


def test_a_batch_with_the_next_number_and_another_chain_is_not_taken(sandbox: Sandbox) -> None:
    put = filled(sandbox, 3)
    last = sandbox.batches()[-1]
    ours = batch_of_another(log.batch_seed(sandbox.superblock.store_id), last.head.seq + 1)
    sandbox.device.write(last.end_offset_bytes, ours)
    with sandbox.reopen_from_log() as store:
        assert contents(store) == put


def test_a_segment_of_an_earlier_store_is_not_taken(sandbox: Sandbox, tmp_path: Path) -> None:
    """The device was used before; only its superblock was wiped."""
    earlier = Sandbox(tmp_path / "earlier", entropy=SeededEntropy(1), device=sandbox.device)
    filled(earlier, 3 * SEGMENT_BATCHES)
    assert len(earlier.heads()) > 3
    sandbox.device.write(0, bytes(2 * PAGE_BYTES))
    put = filled(sandbox, 3)
    assert len(sandbox.heads()) == 1
    with sandbox.reopen_from_log() as store:
        assert contents(store) == put
        assert store.check() == []
        put |= fill(store, 2 * SEGMENT_BATCHES, "over")
    with sandbox.reopen_from_log() as store:
        assert contents(store) == put


def test_a_segment_given_up_and_not_yet_wiped_is_not_taken(sandbox: Sandbox) -> None:
    put = filled(sandbox, 2 * SEGMENT_BATCHES)
    stale = sandbox.heads()[0]
    offset_bytes = sandbox.layout.offset(stale.segment)
    image = bytearray(sandbox.config.segment_bytes)
    sandbox.device.read_into(offset_bytes, image)
    with sandbox.open() as store:
        store.delete_many(BUCKET, list(put)[:SEGMENT_BATCHES])
        store.maintain()
        kept = contents(store)
        with store._core.index.read() as txn:
            assert txn.get(keys.segment(stale.segment)) is None
    sandbox.device.write(offset_bytes, image)
    assert stale in sandbox.heads()
    with sandbox.reopen_from_log() as store:
        assert contents(store) == kept
        assert store.check() == []


def test_the_device_need_not_know_what_was_never_written(sandbox: Sandbox) -> None:
    """On a disk everything counts as allocated: every segment's head is looked at."""
    put = filled(sandbox, 5)
    size_bytes = sandbox.device.geometry.size_bytes
    data = bytearray(size_bytes)
    sandbox.device.read_into(0, data)
    sandbox.device.write(0, data)
    with sandbox.reopen_from_log() as store:
        assert contents(store) == put
