"""A writer of histories: random calls on one key, noted with their times and results.

Run as ``python -m tests.simulation.history_worker STORE BUCKET NAME SEED COUNT``: it opens the
store, makes the calls and prints them as JSON.
"""

from __future__ import annotations

import hashlib
import json
import random
import sys
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from blockdev.clock import SystemClock
from objstore import ObjectStore
from objstore.errors import NoSuchKeyError, PreconditionFailedError
from objstore.model import Conditions
from tests.linearizability import Recorder

KEY = "key"
KINDS = ("get", "get", "put", "put_if_match", "put_if_match", "put_if_absent", "delete_if_match")
RARELY = "delete"
_CLOCK = SystemClock()


def now() -> float:
    """The same in all processes of a machine."""
    return float(_CLOCK.monotonic_ns())


def etag_of(body: bytes) -> str:
    return hashlib.md5(body).hexdigest()


class Writer:
    """Makes calls on one key of a store.  `name`: so that no two writers write the same."""

    def __init__(self, store: Any, bucket: str, name: str, seed: int) -> None:
        self._store, self._bucket, self._name = store, bucket, name
        self._dice = random.Random(seed)
        self._last = ""
        self.recorder = Recorder(now)

    def run(self, count: int) -> None:
        for number in range(count):
            kind = RARELY if self._dice.random() < 0.05 else self._dice.choice(KINDS)
            self._call(kind, f"{self._name} {number} ".encode() * self._dice.choice((1, 900)))

    def _call(self, kind: str, body: bytes) -> None:
        if kind == "get":
            self._last = self.recorder.take("get", self._get) or self._last
            return
        expected = self._last if kind.endswith("match") else ""
        if kind.endswith("match") and not expected:
            return
        conditions = Conditions(
            if_match=(expected,) if expected else (),
            if_none_match=("*",) if kind == "put_if_absent" else (),
        )
        if kind.startswith("delete"):
            self.recorder.take(kind, lambda: self._delete(conditions), "", expected)
            return
        result = self.recorder.take(
            kind, lambda: self._put(body, conditions), etag_of(body), expected
        )
        if result == "ok":
            self._last = etag_of(body)

    def _get(self) -> str | None:
        try:
            with self._store.get(self._bucket, KEY) as reader:
                etag: str = reader.info.etag
                assert etag_of(reader.read()) == etag
                return etag
        except NoSuchKeyError:
            return None

    def _put(self, body: bytes, conditions: Conditions) -> str:
        return _tried(lambda: self._store.put(self._bucket, KEY, body, conditions=conditions))

    def _delete(self, conditions: Conditions) -> str:
        return _tried(lambda: self._store.delete(self._bucket, KEY, conditions=conditions))


def _tried(act: Callable[[], object]) -> str:
    try:
        act()
    except (PreconditionFailedError, NoSuchKeyError):
        return "failed"
    return "ok"


def main() -> None:
    path, bucket, name, seed, count = sys.argv[1:]
    with ObjectStore.open(path) as store:
        writer = Writer(store, bucket, name, int(seed))
        writer.run(int(count))
    print(json.dumps([asdict(call) for call in writer.recorder.calls]))


if __name__ == "__main__":
    main()
