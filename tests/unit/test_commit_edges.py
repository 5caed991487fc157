"""What a commit refuses, what interrupts it, and how it cuts its queue into batches."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from xxhash import xxh3_64_intdigest

from blockdev import MemoryDevice
from objstore import ObjectStore
from objstore.config import KIB
from objstore.engine.operation import Decision
from objstore.engine.space import FOR_WRITES
from objstore.errors import InvalidArgumentError, StoreError, StoreUnavailableError
from objstore.index import schema
from objstore.index.schema import SegmentFreedBody
from objstore.log import format as log
from objstore.log.format import Record
from tests.crash.tiny import TINY, assert_clean, contents
from tests.unit.recovery_stores import Raw, append
from tests.unit.test_commit_chain import DEADLINE_S, Gate

BUCKET = "bucket"
NO_SEGMENT = 400


def nothing_freed(payload_bytes: int = 0) -> Record:
    """A record of any size that changes nothing: it gives up a segment that is not in use."""
    body = schema.encode(SegmentFreedBody(NO_SEGMENT, 1))
    payload = bytes(payload_bytes)
    check = xxh3_64_intdigest(payload) if payload else 0
    return Record(log.SEGMENT_FREED, 0, b"", body, payload=payload, payload_xxh3=check)


@dataclass
class Held:
    """A store whose next leader is held at the device, while others queue behind it."""

    store: ObjectStore
    gate: Gate
    threads: list[threading.Thread]

    @classmethod
    def open(cls, folder: Path, **changes: int) -> Held:
        gate = Gate(MemoryDevice(TINY.device_bytes))
        config = replace(TINY, **changes)
        store = ObjectStore.open(folder, config=config, device=gate)
        store.create_bucket(BUCKET)
        gate.opened.clear()
        held = cls(store, gate, [])
        held.queue(lambda: store.put(BUCKET, "leader", b"x"), is_leader=True)
        return held

    def queue(self, action: Callable[[], object], *, is_leader: bool = False) -> None:
        """Do `action` in a thread; returns once it is in the queue, or at the device."""
        waiting = self.store._core.committer._queue
        before = len(waiting)
        thread = threading.Thread(target=action, daemon=True)
        thread.start()
        self.threads.append(thread)
        if is_leader:
            assert self.gate.reached.wait(DEADLINE_S)
            return
        while len(waiting) == before:
            assert thread.is_alive()

    def let_go(self) -> None:
        self.gate.opened.set()
        for thread in self.threads:
            thread.join(DEADLINE_S)
            assert not thread.is_alive()

    def close(self) -> None:
        assert_clean(self.store)
        self.store.close()


# --- refused ------------------------------------------------------------------------


def test_an_operation_that_no_segment_holds(tmp_path: Path) -> None:
    device = MemoryDevice(TINY.device_bytes)
    with ObjectStore.open(tmp_path, config=TINY, device=device) as store:
        too_large = Raw([nothing_freed()], size_bound_bytes=TINY.segment_bytes // 2 + 1)
        with pytest.raises(InvalidArgumentError, match="larger segments"):
            store._core.committer.commit(too_large)
        append(store, nothing_freed())
        assert_clean(store)


def test_a_full_queue_refuses_the_next_and_keeps_the_others(tmp_path: Path) -> None:
    held = Held.open(tmp_path, queue_ops=2)
    for key in ("one", "two"):
        held.queue(lambda key=key: held.store.put(BUCKET, key, b"x"))  # type: ignore[misc]
    with pytest.raises(StoreUnavailableError, match="too many writers"):
        held.store.put(BUCKET, "three", b"x")
    held.let_go()
    held.store.put(BUCKET, "four", b"x")
    assert contents(held.store, BUCKET).keys() == {"leader", "one", "two", "four"}
    held.close()


@pytest.mark.parametrize("is_new_segment", [False, True])
def test_records_that_outgrow_what_was_said_of_them(tmp_path: Path, is_new_segment: bool) -> None:
    """An object that changes between the estimate and the decision: refused, nothing happens."""
    device = MemoryDevice(TINY.device_bytes)
    with ObjectStore.open(tmp_path, config=TINY, device=device) as store:
        store.put(BUCKET, "key", b"x")
        if is_new_segment:
            for _ in range(TINY.segment_bytes // (32 * KIB) - 1):
                append_bounded(store, nothing_freed(28 * KIB), 32 * KIB)
        before = store._core.committer.batches
        with pytest.raises(StoreUnavailableError, match="changed while this was prepared"):
            append_bounded(store, nothing_freed(TINY.segment_bytes), 4 * KIB)
        assert store._core.committer.batches == before
        store.put(BUCKET, "after", b"x")
        assert contents(store, BUCKET).keys() == {"key", "after"}
        assert_clean(store)


def append_bounded(store: ObjectStore, record: Record, bound_bytes: int) -> None:
    store._core.committer.commit(Raw([record], size_bound_bytes=bound_bytes))


# --- batches ------------------------------------------------------------------------


def test_a_batch_ends_before_it_grows_too_long(tmp_path: Path) -> None:
    held = Held.open(tmp_path, batch_bytes=10 * KIB)
    committer = held.store._core.committer
    before = committer.batches
    for _ in range(5):
        operation = Raw([nothing_freed()], size_bound_bytes=4 * KIB)
        held.queue(lambda operation=operation: committer.commit(operation))  # type: ignore[misc]
    held.let_go()
    assert committer.batches - before == 1 + 3  # the leader's, then two and two and one
    held.close()


def test_the_committers_thread_is_started_once(tmp_path: Path) -> None:
    device = MemoryDevice(TINY.device_bytes)
    with ObjectStore.open(tmp_path, config=TINY, device=device) as store:
        store.create_bucket(BUCKET)
        for number in range(3):
            ended = threading.Event()
            store.submit_put(BUCKET, f"key-{number}", b"x", lambda *_, ended=ended: ended.set())
            assert ended.wait(DEADLINE_S)
        names = [thread.name for thread in threading.enumerate()]
        assert names.count("objstore-commit") == 1
        assert len(contents(store, BUCKET)) == 3


# --- interrupted --------------------------------------------------------------------


@dataclass
class Interrupted:
    """An operation in the middle of which a signal's exception comes."""

    error: BaseException
    size_bound_bytes: int = 4 * KIB
    leaves_segments: int = FOR_WRITES

    def decide(self, decision: Decision) -> Sequence[Record]:
        raise self.error


def test_a_signal_in_the_leader_is_its_own_and_the_others_may_try_again(tmp_path: Path) -> None:
    held = Held.open(tmp_path)
    committer = held.store._core.committer
    outcomes: dict[str, BaseException | None] = {}

    def outcome_of(name: str, action: Callable[[], object]) -> None:
        outcomes[name] = None
        try:
            action()
        except BaseException as error:
            outcomes[name] = error

    operation = Interrupted(KeyboardInterrupt())
    held.queue(lambda: outcome_of("leader", lambda: committer.commit(operation)))
    held.queue(lambda: outcome_of("other", lambda: held.store.put(BUCKET, "other", b"x")))
    held.let_go()
    assert isinstance(outcomes["leader"], KeyboardInterrupt)
    other = outcomes["other"]
    assert isinstance(other, StoreUnavailableError)
    assert "interrupted" in str(other)
    held.store.put(BUCKET, "after", b"x")
    assert contents(held.store, BUCKET).keys() == {"leader", "after"}
    held.close()


def test_an_operation_that_fails_concerns_itself_alone(tmp_path: Path) -> None:
    held = Held.open(tmp_path)
    committer = held.store._core.committer
    failures: list[StoreError] = []

    def fail() -> None:
        try:
            committer.commit(Interrupted(StoreError("refused")))
        except StoreError as error:
            failures.append(error)

    held.queue(fail)
    held.queue(lambda: held.store.put(BUCKET, "other", b"x"))
    held.let_go()
    assert [str(error) for error in failures] == ["refused"]
    assert contents(held.store, BUCKET).keys() == {"leader", "other"}
    held.close()
