"""What is held for an event loop never keeps anybody else waiting."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest

from blockdev import MemoryDevice
from objstore import ObjectStore
from objstore.asgi.gather import Gather
from objstore.asgi.strand import Completions
from objstore.errors import StoreClosedError
from objstore.model import ObjectInfo
from tests.crash.tiny import TINY

DEADLINE_S = 60


def open_store(path: Path) -> ObjectStore:
    store = ObjectStore.open(path, config=TINY, device=MemoryDevice(TINY.device_bytes))
    store.create_bucket("bucket")
    return store


def ended_in_time(call: Any) -> None:
    """Run `call` in a thread that must not take for ever."""
    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    thread.join(DEADLINE_S)
    assert not thread.is_alive(), "it waits for what is held"


@pytest.mark.parametrize("submits", [False, True])
def test_who_would_wait_for_what_is_held_commits_it(tmp_path: Path, submits: bool) -> None:
    """The one who holds it may be this very thread."""
    told: list[ObjectInfo | BaseException | None] = []
    with open_store(tmp_path) as store:
        committed = threading.Event()

        def act() -> None:
            for number in range(300):  # more than one batch takes
                store.submit_put(
                    "bucket",
                    f"held-{number}",
                    b"1",
                    lambda info, error: told.append(info or error),
                    hold=True,
                )
            if submits:
                store.submit_put("bucket", "other", b"2", lambda info, error: committed.set())
                assert committed.wait(DEADLINE_S)
            else:
                assert store.put("bucket", "other", b"2").key == "other"

        ended_in_time(act)
        store.commit_held()
        assert [info.key for info in told if isinstance(info, ObjectInfo)] == [
            f"held-{number}" for number in range(300)
        ]
        assert store.check() == []


def test_closing_commits_what_is_held_and_what_comes_later_is_refused(tmp_path: Path) -> None:
    told: list[ObjectInfo | BaseException | None] = []
    store = open_store(tmp_path)
    store.submit_put(
        "bucket", "held", b"1", lambda info, error: told.append(info or error), hold=True
    )
    ended_in_time(store.close)
    assert len(told) == 1
    assert isinstance(told[0], ObjectInfo)
    store.commit_held()  # the loop whose turn ends now: nothing is left, and that is no error
    with pytest.raises(StoreClosedError):
        store.submit_put("bucket", "late", b"2", lambda info, error: None, hold=True)


def test_a_loop_that_ends_early_leaves_nobody_waiting(tmp_path: Path) -> None:
    """Another process seems to write, so the loop waits for more turns than it has left."""
    with open_store(tmp_path) as store:

        async def put_and_leave() -> None:
            gather = Gather(store, Completions(asyncio.get_running_loop()))
            task = asyncio.create_task(
                gather.run(
                    lambda done, hold: store.submit_put("bucket", "a", b"1", done, hold=hold)
                )
            )
            await asyncio.sleep(0)
            task.cancel()

        store._core.slots.note_writing(True)
        asyncio.run(put_and_leave())
        store._core.slots.note_writing(False)
        ended_in_time(lambda: store.put("bucket", "b", b"2"))
        assert store.head("bucket", "a").size_bytes == 1
        assert store.check() == []
