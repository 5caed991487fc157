"""A write that finds the store full and no thread to make room in: its caller is told."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from blockdev import MemoryDevice
from objstore.engine.core import Core
from objstore.errors import StoreFullError
from objstore.model import ObjectInfo
from tests.crash.tiny import TINY, open_tiny

DEADLINE_S = 60


class Closed:
    """The pool of a store that is being closed."""

    def submit(self, call: object) -> None:
        raise RuntimeError("cannot schedule new futures after shutdown")


def test_a_full_store_without_a_thread_to_make_room_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[ObjectInfo | BaseException | None] = []
    is_told = threading.Event()

    def done(info: ObjectInfo | None, error: BaseException | None) -> None:
        told.append(info or error)
        is_told.set()

    with open_tiny(tmp_path, MemoryDevice(TINY.device_bytes)) as store:
        store.create_bucket("bucket")
        monkeypatch.setattr(Core, "hash_pool", lambda core: Closed())
        monkeypatch.setattr(type(store._core.committer._writer), "has_reserve", lambda _: False)
        store.submit_put("bucket", "key", b"body", done)
        assert is_told.wait(DEADLINE_S)
        monkeypatch.undo()
        store.put("bucket", "key", b"body")
    assert len(told) == 1
    assert isinstance(told[0], StoreFullError)
