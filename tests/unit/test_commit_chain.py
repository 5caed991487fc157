"""Writers that wait for a commit wake one another: nobody may be left asleep."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from blockdev import Buffer, MemoryDevice
from blockdev.filters.passthrough import Passthrough
from objstore import ObjectStore
from objstore.engine.ticket import Ticket
from tests.crash.tiny import TINY

DEADLINE_S = 60
INTERRUPTED = "interrupted"


class Gate(Passthrough):
    """Holds the next durable write back until it is opened."""

    def __init__(self, below: MemoryDevice) -> None:
        super().__init__(below)
        self.opened = threading.Event()
        self.opened.set()
        self.reached = threading.Event()

    def write(self, offset_bytes: int, data: Buffer, *, fua: bool = False) -> None:
        if fua and not self.opened.is_set():
            self.reached.set()
            assert self.opened.wait(DEADLINE_S)
        super().write(offset_bytes, data, fua=fua)


def interrupt_before(ticket: Ticket, wait: Callable[[Ticket], None]) -> None:
    raise KeyboardInterrupt


def interrupt_after(ticket: Ticket, wait: Callable[[Ticket], None]) -> None:
    wait(ticket)
    raise KeyboardInterrupt


@pytest.mark.parametrize("interrupt", [interrupt_before, interrupt_after])
@pytest.mark.parametrize("place", range(4))
def test_an_interrupted_writer_does_not_keep_the_others_waiting(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    interrupt: Callable[[Ticket, Callable[[Ticket], None]], None],
    place: int,
) -> None:
    """One leads and is held at the device; four queue, one of them is interrupted."""
    wait = Ticket.wait

    def wait_or_not(ticket: Ticket) -> None:
        if threading.current_thread().name == INTERRUPTED:
            interrupt(ticket, wait)
        else:
            wait(ticket)

    monkeypatch.setattr(Ticket, "wait", wait_or_not)
    gate = Gate(MemoryDevice(TINY.device_bytes))
    with ObjectStore.open(tmp_path, config=TINY, device=gate) as store:
        store.put("bucket", "first", b"0")
        committer = store._core.committer
        done: list[str] = []

        def put(key: str) -> None:
            try:
                store.put("bucket", key, key.encode())
            except KeyboardInterrupt:
                return
            done.append(key)

        gate.opened.clear()
        threads = [threading.Thread(target=put, args=("leader",), daemon=True)]
        threads[0].start()
        assert gate.reached.wait(DEADLINE_S)
        for number in range(4):
            name = INTERRUPTED if number == place else f"writer-{number}"
            thread = threading.Thread(target=put, args=(name,), name=name, daemon=True)
            queued = len(committer._queue)
            thread.start()
            threads.append(thread)
            while len(committer._queue) == queued:
                if name == INTERRUPTED and not thread.is_alive():
                    break  # it came and went
                assert thread.is_alive()
        gate.opened.set()
        for thread in threads:
            thread.join(DEADLINE_S)
            assert not thread.is_alive(), f"{thread.name} still waits"
        assert sorted(done) == sorted(
            {thread.name for thread in threads[1:]} - {INTERRUPTED} | {"leader"}
        )
        store.put("bucket", "last", b"1")
        for key in (*done, "last"):
            assert store.head("bucket", key).key == key
        assert store.check() == []
