"""A writer of histories of several keys: copies, completions, appends and renames as well.

Run as ``python -m tests.simulation.keys_worker STORE BUCKET NAME SEED COUNT``: it opens the
store, makes the calls and prints them as JSON.
"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Callable
from dataclasses import asdict

from objstore import ObjectStore
from objstore.config import StoreConfig
from objstore.errors import (
    AppendOffsetError,
    NoSuchKeyError,
    ObjectReplacedError,
    PreconditionFailedError,
)
from objstore.model import NO_CONDITIONS, CompletedPart, Conditions
from tests.linearizability import Recorder
from tests.simulation.history_worker import now

KEYS = ("key0", "key1", "key2")
KINDS = (
    *("get", "get", "get", "put", "put_if_match", "put_if_absent", "delete"),
    *("append", "append", "copy", "copy_if_match", "copy_if_absent"),
    *("rename", "rename_if_match", "rename_if_absent"),
)
LARGE = 70_000
"""Bytes beyond what lies in the log: these are shared by copies, and not written again."""


class KeysWriter:
    """Makes calls on `KEYS`.  `name`: so that no two writers write the same.

    `gave_up`: how many copies found no source at rest, or appends were encrypted for an
    object that was replaced; they have done nothing.
    """

    def __init__(self, store: ObjectStore, bucket: str, name: str, seed: int) -> None:
        self._store, self._bucket, self._name = store, bucket, name
        self._dice = random.Random(seed)
        self._seen: dict[int, tuple[str, str]] = {}
        self._number = 0
        self.gave_up = 0
        self.recorder = Recorder(now)

    def run(self, count: int) -> None:
        for _turn in range(count):
            self._call(self._dice.choice(KINDS))

    def _call(self, kind: str) -> None:
        key = self._dice.randrange(len(KEYS))
        to = (key + self._dice.randrange(1, len(KEYS))) % len(KEYS)
        if kind == "get":
            self.recorder.take("get", lambda: self._get(key), key=key)
            return
        what, _, condition = kind.partition("_if_")
        if condition == "match" and key not in self._seen:
            return
        content, etag = self._seen.get(key, ("", "")) if condition == "match" else ("", "")
        is_same = Conditions(if_match=(etag,)) if etag else NO_CONDITIONS
        is_absent = Conditions(if_none_match=("*",)) if condition == "absent" else NO_CONDITIONS
        piece, expected = self._piece(), content
        if what == "put":
            act = self._writes(key, piece, is_same if etag else is_absent)
        elif what == "delete":
            act = self._acts(lambda: self._store.delete(self._bucket, KEYS[key]))
        elif what == "append":
            offset = len(self._seen[key][0]) if key in self._seen else 0
            expected = str(offset)
            act = self._acts(
                lambda: self._store.append(self._bucket, KEYS[key], piece.encode(), offset)
            )
        else:
            act = self._moves(what, key, to, is_same, is_absent)
        before = len(self.recorder.calls)
        argument = piece if what in ("put", "append") else ""
        if self.recorder.take(kind, act, argument, expected, key, to) == "gave up":
            self.gave_up += 1
            del self.recorder.calls[before:]

    def _piece(self) -> str:
        self._number += 1
        return f"<{self._name} {self._number}>".ljust(self._dice.choice((1, 1, 1, LARGE)), ".")

    def _get(self, key: int) -> str | None:
        try:
            with self._store.get(self._bucket, KEYS[key]) as reader:
                content = reader.read().decode()
                self._seen[key] = (content, reader.info.etag)
                return content
        except NoSuchKeyError:
            return None

    def _writes(self, key: int, piece: str, conditions: Conditions) -> Callable[[], str]:
        """A put, or an upload that is completed: to others they are the same."""
        name, body = KEYS[key], piece.encode()
        if self._dice.random() < 0.5:
            return self._acts(
                lambda: self._store.put(self._bucket, name, body, conditions=conditions)
            )
        upload_id = self._store.create_upload(self._bucket, name).upload_id
        parts = []
        for number, data in enumerate((body[:5], body[5:]), 1):
            with self._store.open_part(self._bucket, name, upload_id, number) as part:
                part.write(data)
                parts.append(CompletedPart(number, part.commit().etag))
        return self._acts(
            lambda: self._store.complete_upload(
                self._bucket, name, upload_id, parts, conditions=conditions
            )
        )

    def _moves(
        self, what: str, key: int, to: int, is_same: Conditions, is_absent: Conditions
    ) -> Callable[[], str]:
        if what == "copy":
            return self._acts(
                lambda: self._store.copy(
                    self._bucket,
                    KEYS[key],
                    self._bucket,
                    KEYS[to],
                    source_conditions=is_same,
                    conditions=is_absent,
                )
            )
        return self._acts(
            lambda: self._store.rename(
                self._bucket,
                KEYS[key],
                KEYS[to],
                source_conditions=is_same,
                conditions=is_absent,
            )
        )

    @staticmethod
    def _acts(act: Callable[[], object]) -> Callable[[], str]:
        def tried() -> str:
            try:
                act()
            except (PreconditionFailedError, NoSuchKeyError, AppendOffsetError):
                return "failed"
            except ObjectReplacedError:
                return "gave up"
            return "ok"

        return tried


def main() -> None:
    path, bucket, name, seed, count = sys.argv[1:]
    with ObjectStore.open(path, config=StoreConfig(min_part_bytes=0)) as store:
        writer = KeysWriter(store, bucket, name, int(seed))
        writer.run(int(count))
    print(json.dumps([asdict(call) for call in writer.recorder.calls]))


if __name__ == "__main__":
    main()
