"""Small stores for tests, and the check that each of them ends with."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from objstore import ObjectStore
from objstore.config import KIB, MIB, StoreConfig
from objstore.engine.check import check_store

SMALL_CONFIG = StoreConfig(
    device_bytes=1024 * MIB,
    segment_bytes=4 * MIB,
    log_inline_bytes=64 * KIB,
    checkpoint_log_bytes=8 * MIB,
    reserve_bytes=0,
)
"""Everything small, so that a test meets full segments and checkpoints early."""


def assert_whole(path: str | os.PathLike[str]) -> None:
    """Fail with a list of what `objstore check` finds wrong in a closed store."""
    problems = check_store(path)
    assert problems == [], "\n".join(map(str, problems))


class StoreFactory:
    """Called as ``factory("name", **arguments_of_open)``; the same name is the same store."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._stores: list[ObjectStore] = []
        self._names: set[str] = set()

    def __call__(self, name: str = "store", **arguments: Any) -> ObjectStore:
        arguments.setdefault("config", SMALL_CONFIG)
        store = ObjectStore.open(self.path(name), **arguments)
        self._names.add(name)
        self._stores.append(store)
        return store

    def path(self, name: str = "store") -> Path:
        """Where the store of this name lies."""
        return self.root / name

    def close_and_check(self) -> None:
        """Close what is open and check every store that there ever was."""
        for store in self._stores:
            store.close()
        for name in sorted(self._names):
            assert_whole(self.path(name))
