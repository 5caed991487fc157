"""A process that is killed: threads that make, grow, rename and remove versions, and say so.

Standard output is the journal, a line of JSON in one write: ``[writer, "I", after]`` before an
operation, ``[writer, "A", after]`` once it was acknowledged.  `after` is what each key that is
concerned then has: its versions, newest first, each ``[id, digest of its bytes, is held]``.
The id is ``?`` where nobody knows it yet, the digest ``-`` of a delete marker.

    python -m tests.crash.version_kill_worker FOLDER SEED
"""

from __future__ import annotations

import json
import os
import random
import sys
import threading
import traceback
from collections.abc import Callable
from contextlib import suppress
from hashlib import sha256
from typing import Any, TypeAlias

from objstore import CompletedPart, ObjectStore
from objstore.errors import ObjectLockedError
from objstore.model import (
    NO_ENCRYPTION,
    NO_LOCK,
    ByteRange,
    Encryption,
    ObjectAttributes,
    ObjectLock,
    VersionEntry,
)
from tests.crash.kill_worker import CONFIG
from tests.crash.tiny import pattern

VERSIONED, SUSPENDED, LOCKED = BUCKETS = ("versioned", "suspended", "locked")
THREADS = 3
KEYS = 3
MOST_VERSIONS = 8
SIZES = (0, 10, 3000, 5000, 30_000, 150_000)
ALGORITHMS = ("", "", "AES256", "aws:kms", "SSE-C")
SECRET = bytes(range(32))

Version: TypeAlias = list[Any]
State: TypeAlias = dict[str, list[Version]]
"""By ``bucket/key``, the versions of the key, newest first."""


def digest(data: bytes) -> str:
    return sha256(data).hexdigest()[:16]


def secret_of(store: ObjectStore, bucket: str, key: str, version_id: str = "") -> bytes:
    """The customer's key of a version; empty if it has none."""
    info = store.head(bucket, key, version_id=version_id, customer_key=None)
    return SECRET if info.attributes.encryption.algorithm == "SSE-C" else b""


def read_version(store: ObjectStore, bucket: str, entry: VersionEntry) -> Version:
    """What a listed version is."""
    if entry.is_delete_marker:
        return [entry.version_id, "-", False]
    version_id = entry.version_id
    secret = secret_of(store, bucket, entry.key, version_id)
    with store.get(bucket, entry.key, version_id=version_id, customer_key=secret) as reader:
        lock = reader.info.attributes.lock
        return [entry.version_id, digest(reader.read()), bool(lock.legal_hold)]


def read_all(store: ObjectStore, prefix: str) -> State:
    """Every version of the keys that begin so."""
    found: State = {}
    for bucket in BUCKETS:
        page = store.list_versions(bucket, prefix=prefix, limit=10**6)
        for entry in page.entries:
            versions = found.setdefault(f"{bucket}/{entry.key}", [])
            versions.append(read_version(store, bucket, entry))
    return found


def say(*line: Any) -> None:
    os.write(1, json.dumps(line).encode() + b"\n")


class Writer:
    """One thread, and the keys that are its own."""

    def __init__(self, store: ObjectStore, thread: int, seed: int) -> None:
        self._store, self._name = store, f"t{thread}"
        self._dice = random.Random(seed)
        self._keys = [f"{self._name}/{number}" for number in range(KEYS)]
        self._holds = read_all(store, f"{self._name}/")

    # --- what is there -----------------------------------------------------------------

    def _versions(self, bucket: str, key: str) -> list[Version]:
        return self._holds.get(f"{bucket}/{key}", [])

    def _current(self, bucket: str, key: str) -> tuple[bytes | None, bytes]:
        """The present object's bytes, None without one; and its customer's key."""
        versions = self._versions(bucket, key)
        if not versions or versions[0][1] == "-":
            return None, b""
        secret = secret_of(self._store, bucket, key)
        with self._store.get(bucket, key, customer_key=secret) as reader:
            return reader.read(), secret

    def _with(self, bucket: str, key: str, data: bytes | None, is_held: bool = False) -> State:
        """The key with one more version; while versioning is suspended, with a null one."""
        old = self._versions(bucket, key)
        if bucket == SUSPENDED:
            old = [version for version in old if version[0] != "null"]
        new = ["?", "-" if data is None else digest(data), is_held]
        return {f"{bucket}/{key}": [new, *old]}

    def _attempt(self, after: State, act: Callable[[], Any]) -> None:
        """Say what an operation is to make of the keys, and do it."""
        say(self._name, "I", after)
        act()
        for name, versions in after.items():
            bucket, _, key = name.partition("/")
            if versions and versions[0][0] == "?":
                newest = self._store.list_versions(bucket, prefix=key, limit=1).entries[0]
                versions[0][0] = newest.version_id
        self._holds |= after
        say(self._name, "A", after)

    # --- operations --------------------------------------------------------------------

    def put(self, bucket: str, key: str) -> None:
        data = pattern(self._dice.getrandbits(32), self._dice.choice(SIZES))
        is_held = bucket == LOCKED and self._dice.random() < 0.4
        algorithm = self._dice.choice(ALGORITHMS)
        attributes = ObjectAttributes(
            lock=ObjectLock(legal_hold=True) if is_held else NO_LOCK,
            encryption=Encryption(algorithm) if algorithm else NO_ENCRYPTION,
        )
        secret = SECRET if algorithm == "SSE-C" else b""
        self._attempt(
            self._with(bucket, key, data, is_held),
            lambda: self._store.put(bucket, key, data, attributes=attributes, customer_key=secret),
        )

    def delete(self, bucket: str, key: str) -> None:
        self._attempt(self._with(bucket, key, None), lambda: self._store.delete(bucket, key))

    def append(self, bucket: str, key: str) -> None:
        found, secret = self._current(bucket, key)
        old = found or b""
        data = pattern(self._dice.getrandbits(32), self._dice.choice(SIZES[1:]))
        self._attempt(
            self._with(bucket, key, old + data),
            lambda: self._store.append(bucket, key, data, len(old), customer_key=secret),
        )

    def rename(self, bucket: str, key: str) -> None:
        target = self._dice.choice([other for other in self._keys if other != key])
        data, _secret = self._current(bucket, key)
        if data is not None:
            after = self._with(bucket, target, data) | self._with(bucket, key, None)
            self._attempt(after, lambda: self._store.rename(bucket, key, target))

    def copy(self, bucket: str, key: str) -> None:
        source = self._dice.choice(BUCKETS)
        data, secret = self._current(source, key)
        if data is not None:
            self._attempt(
                self._with(bucket, key, data),
                lambda: self._store.copy(source, key, bucket, key, source_customer_key=secret),
            )

    def upload(self, bucket: str, key: str) -> None:
        """Of new bytes and of a slice of what is there."""
        data = pattern(self._dice.getrandbits(32), 20_000)
        found, secret = self._current(bucket, key)
        old = found or b""
        upload_id = self._store.create_upload(bucket, key).upload_id
        with self._store.open_part(bucket, key, upload_id, 1) as part:
            part.write(data)
            parts = [CompletedPart(1, part.commit().etag)]
        if len(old) > 200:
            how: dict[str, Any] = {"byte_range": ByteRange(100, len(old) - 50)}
            how["source_customer_key"] = secret
            copied = self._store.copy_part(bucket, key, bucket, key, upload_id, 2, **how)
            parts.append(CompletedPart(2, copied.etag))
            data += old[100 : len(old) - 49]
        self._attempt(
            self._with(bucket, key, data),
            lambda: self._store.complete_upload(bucket, key, upload_id, parts),
        )

    def remove(self, bucket: str, key: str) -> None:
        """One version for good, unless it is held."""
        versions = self._versions(bucket, key)
        if not versions:
            return
        chosen = self._dice.choice(versions)
        named = {"version_id": chosen[0], "bypass_governance": True}
        if chosen[2]:
            with suppress(ObjectLockedError):
                self._store.delete(bucket, key, **named)
                raise AssertionError("a held version could be deleted")
            return
        left = [version for version in versions if version is not chosen]
        after = {f"{bucket}/{key}": left}
        self._attempt(after, lambda: self._store.delete(bucket, key, **named))

    def release(self, bucket: str, key: str) -> None:
        """End a legal hold, so that the store does not fill."""
        versions = self._versions(bucket, key)
        held = [version for version in versions if version[2]]
        if held:
            chosen = self._dice.choice(held)
            after = [[*v[:2], False] if v is chosen else v for v in versions]
            self._attempt(
                {f"{bucket}/{key}": after},
                lambda: self._store.set_legal_hold(bucket, key, False, version_id=chosen[0]),
            )

    def run(self) -> None:
        actions = [self.put] * 3 + [self.append] * 2 + [self.remove] * 4
        actions += [self.delete, self.rename, self.copy, self.upload, self.release]
        try:
            while True:
                bucket, key = self._dice.choice(BUCKETS), self._dice.choice(self._keys)
                if len(self._versions(bucket, key)) > MOST_VERSIONS:
                    self._dice.choice((self.remove, self.release))(bucket, key)
                else:
                    self._dice.choice(actions)(bucket, key)
        except BaseException:
            say(self._name, "X", traceback.format_exc())
            os._exit(1)


def main(folder: str, seed: str) -> None:
    store = ObjectStore.open(folder, config=CONFIG)
    for bucket in BUCKETS:
        for upload in store.list_uploads(bucket).uploads:
            store.abort_upload(bucket, upload.key, upload.upload_id)
    writers = [Writer(store, number, int(seed) + number) for number in range(THREADS)]
    threads = [threading.Thread(target=writer.run) for writer in writers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    main(*sys.argv[1:])
