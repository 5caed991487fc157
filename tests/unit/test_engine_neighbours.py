"""What goes wrong for one caller, or ends early, leaves the others alone."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from blockdev import MemoryDevice
from blockdev.filters import Passthrough
from objstore import ObjectAttributes, ObjectInfo, ObjectStore
from objstore.config import KIB, MIB, StoreConfig
from objstore.engine.flush import FlushGate
from objstore.errors import InvalidArgumentError, StoreClosedError, StoreError

CONFIG = StoreConfig(device_bytes=64 * MIB, segment_bytes=1 * MIB, maintenance_interval_s=0)


@pytest.fixture
def store(tmp_path: Path) -> ObjectStore:
    return ObjectStore.open(tmp_path / "data", config=CONFIG)


def test_a_value_that_cannot_be_stored_fails_its_own_caller_alone(store: ObjectStore) -> None:
    outcome: dict[str, ObjectInfo | BaseException | None] = {}
    store.create_bucket("bucket")
    for key in ("good-1", "bad", "good-2"):
        name = "\ud800" if key == "bad" else "fine"

        def done(info: ObjectInfo | None, error: BaseException | None, key: str = key) -> None:
            outcome[key] = info or error

        attributes = ObjectAttributes(metadata={"name": name})
        store.submit_put("bucket", key, b"body", done, attributes=attributes, hold=True)
    store.commit_held()
    assert isinstance(outcome["good-1"], ObjectInfo)
    assert isinstance(outcome["good-2"], ObjectInfo)
    assert isinstance(outcome["bad"], Exception)
    assert [entry.key for entry in store.list("bucket").entries] == ["good-1", "good-2"]
    assert store.check() == []
    store.close()


class Interrupting(Passthrough):
    """A device in whose first flush a signal arrives."""

    interrupts = True

    def flush(self) -> None:
        if self.interrupts:
            self.interrupts = False
            raise KeyboardInterrupt
        super().flush()


def test_a_flush_that_is_interrupted_leaves_the_next_to_others() -> None:
    gate = FlushGate(Interrupting(MemoryDevice(MIB)))
    with pytest.raises(KeyboardInterrupt):
        gate.flush()
    other = threading.Thread(target=gate.flush, daemon=True)
    other.start()
    other.join(timeout=10)
    assert not other.is_alive()


def test_a_forked_child_that_drops_a_reader_unpins_nothing(store: ObjectStore) -> None:
    store.put("bucket", "key", bytes(300 * KIB))
    with store.get("bucket", "key") as reader:
        pin = store._core.slots.oldest_pin()
        child = os.fork()
        if child == 0:
            reader.close()
            os._exit(0)
        os.waitpid(child, 0)
        assert store._core.slots.oldest_pin() == pin
        assert reader.read() == bytes(300 * KIB)
    assert store._core.slots.oldest_pin() > pin
    store.close()


@pytest.mark.parametrize("attempt", range(10))
def test_closing_waits_for_a_writer_in_another_thread(tmp_path: Path, attempt: int) -> None:
    store = ObjectStore.open(tmp_path / "data", config=CONFIG)
    store.create_bucket("bucket")
    errors: list[BaseException] = []
    done: list[str] = []
    first = threading.Event()

    def write(name: str) -> None:
        try:
            for number in range(1000):
                store.put("bucket", f"{name}-{number}", b"body")
                done.append(f"{name}-{number}")
                first.set()
        except StoreError as error:
            errors.append(error)

    threads = [threading.Thread(target=write, args=(f"thread-{n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    first.wait(timeout=30)
    store.close()
    for thread in threads:
        thread.join()
    assert len(errors) == 4
    assert all(isinstance(error, StoreClosedError) for error in errors), errors
    with ObjectStore.open(tmp_path / "data", config=CONFIG) as again:
        for key in done:
            assert again.head("bucket", key).size_bytes == 4
        assert again.check() == []


@pytest.mark.parametrize("data", [5, "text", None])
def test_what_is_not_bytes_is_refused(store: ObjectStore, data: object) -> None:
    with pytest.raises(InvalidArgumentError, match="bytes"):
        store.put("bucket", "key", data)  # type: ignore[arg-type]
    store.close()


def test_a_view_of_larger_items_is_measured_in_bytes(store: ObjectStore) -> None:
    view = memoryview(bytes(400 * KIB)).cast("I")
    assert store.put("bucket", "key", view).size_bytes == 400 * KIB
    with store.get("bucket", "key") as reader:
        assert reader.read() == bytes(400 * KIB)
    store.close()
