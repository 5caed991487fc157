"""On a device that makes its callers wait, the event loop itself never does."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from blockdev import Buffer, MemoryDevice, SystemClock
from blockdev.filters.passthrough import Passthrough
from objstore import ObjectStore
from objstore.asgi.app import root_credentials
from objstore.asgi.gather import Gather
from objstore.asgi.server import Server
from objstore.asgi.strand import Completions
from objstore.config import MIB, ServerConfig
from tests.clients.endpoint import Endpoint
from tests.stores import SMALL_CONFIG

Done = Callable[[Any, BaseException | None], None]


class Store:
    """Counts how it is asked to commit."""

    clock = SystemClock()
    is_being_written = False

    def __init__(self) -> None:
        self.held: list[Done] = []
        self.handed_over = 0

    def submit(self, done: Done, hold: bool) -> None:
        if hold:
            self.held.append(done)
        else:
            self.handed_over += 1
            threading.Thread(target=done, args=("by a thread", None)).start()

    def commit_held(self) -> None:
        held, self.held = self.held, []
        for done in held:
            done("by the loop", None)


@pytest.mark.parametrize(("may_commit", "by"), [(True, "by the loop"), (False, "by a thread")])
def test_who_commits(may_commit: bool, by: str) -> None:
    store = Store()

    async def run() -> Any:
        completions = Completions(asyncio.get_running_loop())
        gather = Gather(store, completions, may_commit=may_commit)
        return await asyncio.gather(*(gather.run(store.submit) for _ in range(5)))

    assert asyncio.run(run()) == [by] * 5
    assert store.handed_over == (0 if may_commit else 5)


class Reluctant(Passthrough):
    """Never reads at once, and notes the threads that wait for it."""

    def __init__(self, size_bytes: int) -> None:
        super().__init__(MemoryDevice(size_bytes))
        self.waiting: set[str] = set()

    def read_into(self, offset_bytes: int, buffer: bytearray | memoryview) -> None:
        self.waiting.add(threading.current_thread().name)
        super().read_into(offset_bytes, buffer)

    def try_read_into(self, offset_bytes: int, buffer: bytearray | memoryview) -> bool:
        return False

    def write(self, offset_bytes: int, data: Buffer, *, fua: bool = False) -> None:
        self.waiting.add(threading.current_thread().name)
        super().write(offset_bytes, data, fua=fua)


def test_no_request_waits_for_the_device_on_the_loop(tmp_path: Path) -> None:
    device = Reluctant(256 * MIB)
    store = ObjectStore.open(tmp_path / "data", config=SMALL_CONFIG, device=device)
    keys = ("TESTROOT", "testsecret+/0123456789")
    config = ServerConfig(commits_on_loop=False)
    device.waiting.clear()
    with Server(store, [root_credentials(*keys)], config=config) as server:
        client = Endpoint(server.url, *keys).client()
        client.create_bucket(Bucket="bucket")
        for size_bytes in (0, 4096, 100_000, 3 * MIB):
            client.put_object(Bucket="bucket", Key="key", Body=bytes(size_bytes))
            got = client.get_object(Bucket="bucket", Key="key")["Body"].read()
            assert got == bytes(size_bytes)
            client.copy_object(Bucket="bucket", Key="copy", CopySource="bucket/key")
        client.delete_object(Bucket="bucket", Key="key")
    assert device.waiting
    assert "objstore-http" not in device.waiting
    assert store.check() == []
    store.close()
