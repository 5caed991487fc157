"""A process that is killed: threads that change one store and journal what they do.

Standard output is the journal, a line at a time and each in one write: ``I`` before an
operation, ``A`` once it was acknowledged, ``R`` when it was refused (then nothing
happened).  The rest of the line says which thread, and what every key holds afterwards:
the number of a content, or ``-`` for nothing.

    python -m tests.crash.kill_worker FOLDER WORKER INCARNATION SEED
"""

from __future__ import annotations

import itertools
import os
import random
import sys
import threading
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

from objstore import CompletedPart, ObjectStore
from objstore.config import KIB
from objstore.errors import NoSuchKeyError, StoreFullError
from tests.crash.tiny import TINY

BUCKET = "bucket"
THREADS = 3
KEYS = 6
SIZES = (64, 64, 500, 3_000, 4_000, 5_000, 30_000, 90_000, 250_000)
CONFIG = replace(
    TINY, maintenance_interval_s=0.02, checkpoint_log_bytes=512 * KIB, io_bytes=64 * KIB
)
SHARED = [f"shared/{number}" for number in range(3)]


def body_of(content: int, size_bytes: int) -> bytes:
    """Bytes that say what they are, at least 64 of them."""
    head = f"{content:020} {size_bytes:020}\n".encode()
    return (head + random.Random(content).randbytes(max(size_bytes, 64)))[: max(size_bytes, 64)]


def content_of(body: bytes) -> int:
    """The number of a content; an AssertionError if it is not whole."""
    content, size_bytes = (int(word) for word in body[:42].split())
    assert body == body_of(content, size_bytes), f"content {content} is not what was put"
    return content


def read_all(store: ObjectStore, prefix: str = "") -> dict[str, int]:
    """The content of every key, as far as it is not deleted meanwhile."""
    found = {}
    for entry in store.list(BUCKET, prefix=prefix).entries:
        with suppress(NoSuchKeyError), store.get(BUCKET, entry.key) as reader:
            found[entry.key] = content_of(reader.read())
    return found


class Writer:
    """One thread, and the keys that are its own."""

    def __init__(self, store: ObjectStore, worker: str, thread: int, first: int, seed: int) -> None:
        self.store, self.name = store, f"{worker}.{thread}"
        self.rng = random.Random(seed)
        self.contents = itertools.count(first)
        self.keys = [f"own/{self.name}/{number}" for number in range(KEYS)]
        self.holds = read_all(store, f"own/{self.name}/")

    def attempt(self, after: dict[str, int | None], act: Callable[[], object]) -> None:
        """Journal an operation that leaves the keys as in `after`, and do it."""
        text = " ".join(f"{key}={'-' if value is None else value}" for key, value in after.items())
        tell(f"I {self.name} {text}")
        try:
            act()
        except StoreFullError:
            tell(f"R {self.name} {text}")
            return
        tell(f"A {self.name} {text}")
        for key, value in after.items():
            if value is None:
                self.holds.pop(key, None)
            else:
                self.holds[key] = value

    def put(self) -> None:
        key, content = self.rng.choice(self.keys), next(self.contents)
        body = body_of(content, self.rng.choice(SIZES))
        self.attempt({key: content}, lambda: self.store.put(BUCKET, key, body))

    def put_shared(self) -> None:
        key, content = self.rng.choice(SHARED), next(self.contents)
        body = body_of(content, self.rng.choice(SIZES))
        self.attempt({key: content}, lambda: self.store.put(BUCKET, key, body))

    def delete(self) -> None:
        keys = self.rng.sample(self.keys, self.rng.choice((1, 1, 3)))
        after: dict[str, int | None] = dict.fromkeys(keys)
        self.attempt(after, lambda: self.store.delete_many(BUCKET, keys))

    def copy(self) -> None:
        if self.holds:
            source = self.rng.choice([key for key in self.keys if key in self.holds] or self.keys)
            target = self.rng.choice(self.keys)
            if source in self.holds:
                after: dict[str, int | None] = {target: self.holds[source]}
                self.attempt(after, lambda: self.store.copy(BUCKET, source, BUCKET, target))

    def upload(self) -> None:
        key, content = self.rng.choice(self.keys), next(self.contents)
        body = body_of(content, self.rng.choice(SIZES))
        cuts = sorted(self.rng.randrange(len(body)) for _ in range(2))
        pieces = [body[: cuts[0]], body[cuts[0] : cuts[1]], body[cuts[1] :]]
        upload = self.store.create_upload(BUCKET, key).upload_id
        parts = []
        for number, piece in enumerate(pieces, 1):
            with self.store.open_part(BUCKET, key, upload, number) as stream:
                stream.write(piece)
                parts.append(CompletedPart(number, stream.commit().etag))
        if self.rng.random() < 0.2:
            self.store.abort_upload(BUCKET, key, upload)
        else:
            self.attempt(
                {key: content}, lambda: self.store.complete_upload(BUCKET, key, upload, parts)
            )

    def run(self) -> None:
        actions = [self.put] * 6 + [self.delete] * 2 + [self.put_shared, self.copy, self.upload]
        try:
            while True:
                self.rng.choice(actions)()
        except BaseException:
            tell("X " + traceback.format_exc().replace("\n", "\t"))
            os._exit(1)


def tell(line: str) -> None:
    os.write(1, line.encode() + b"\n")


def main(folder: str, worker: str, incarnation: str, seed: str) -> None:
    store = ObjectStore.open(folder, config=CONFIG)
    for upload in store.list_uploads(BUCKET, prefix=f"own/{worker}.").uploads:
        store.abort_upload(BUCKET, upload.key, upload.upload_id)
    writers = []
    for number in range(THREADS):
        # Contents are numbered so that no two writers ever use the same number.
        first = (int(incarnation) * THREADS + number) * 10**6
        writers.append(Writer(store, worker, number, first, int(seed) + number))
    tell("S")
    threads = [threading.Thread(target=writer.run) for writer in writers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    main(*sys.argv[1:])
