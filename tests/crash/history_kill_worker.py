"""A writer of histories that is killed: it says what it is about to do, and what came of it.

Each line is one write to standard output: ``[call number, kind, argument, expected, began]``
before the call, ``[call number, result, ended]`` after it, as JSON.

    python -m tests.crash.history_kill_worker STORE BUCKET NAME SEED
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from typing import Any

from objstore import ObjectStore
from tests.crash.kill_worker import CONFIG
from tests.linearizability import Recorder
from tests.simulation.history_worker import Writer, now

MOST_CALLS = 10**6


class Journal(Recorder):
    """Takes calls down where they outlive this process."""

    def __init__(self) -> None:
        super().__init__(now)
        self._number = 0

    def take(
        self,
        kind: str,
        act: Callable[[], Any],
        argument: str = "",
        expected: str = "",
        key: int = 0,
        to: int = 0,
    ) -> Any:
        self._number += 1
        say([self._number, kind, argument, expected, now()])
        result = act()
        say([self._number, result, now()])
        return result


def say(line: list[Any]) -> None:
    os.write(1, json.dumps(line).encode() + b"\n")


def main() -> None:
    path, bucket, name, seed = sys.argv[1:]
    store = ObjectStore.open(path, config=CONFIG)
    writer = Writer(store, bucket, name, int(seed))
    writer.recorder = Journal()
    writer.run(MOST_CALLS)


if __name__ == "__main__":
    main()
