"""Every version of every kind is the same after compaction, kill -9 and a rebuild of the index.

The bytes of each, all that is said of it, its parts, and the order of versions.
"""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from blockdev.clock import ManualClock
from objstore import ObjectStore
from objstore.engine.check import rebuild_index
from objstore.errors import IsDeleteMarkerError, ObjectLockedError
from objstore.index.schema import unpack_head
from objstore.model import (
    NO_ENCRYPTION,
    ByteRange,
    CompletedPart,
    DefaultRetention,
    Encryption,
    ObjectAttributes,
    ObjectLock,
    VersionEntry,
)
from tests.crash.tiny import TINY, assert_clean, forget_checkpoints, forget_index, pattern
from tests.stores import StoreFactory

KEY = bytes(range(32))
YEAR_MS = 365 * 24 * 3600 * 1000
SIZES = (0, 10, 4096, 4097, 70_000, 300_000)
BUCKETS = ("plain", "versioned", "suspended", "locked")


def parts_of(store: ObjectStore, bucket: str, key: str, sizes: tuple[int, ...], **how: Any) -> None:
    """An object uploaded in parts."""
    customer = how.pop("customer_key", b"")
    upload_id = store.create_upload(bucket, key, customer_key=customer, **how).upload_id
    done = []
    for number, size_bytes in enumerate(sizes, start=1):
        with store.open_part(bucket, key, upload_id, number, customer_key=customer) as part:
            part.write(pattern(number, size_bytes))
            done.append(CompletedPart(number, part.commit().etag))
    store.complete_upload(bucket, key, upload_id, done)


def slices_of(store: ObjectStore, bucket: str, source: str, key: str) -> None:
    """An object of ranges of another, whose extents it shares."""
    upload_id = store.create_upload(bucket, key).upload_id
    ranges = (ByteRange(5, 99_999), ByteRange(50, 150), ByteRange(100_000, 299_999))
    done = [
        CompletedPart(
            number,
            store.copy_part(
                bucket, source, bucket, key, upload_id, number, byte_range=byte_range
            ).etag,
        )
        for number, byte_range in enumerate(ranges, start=1)
    ]
    store.complete_upload(bucket, key, upload_id, done)


def fill(store: ObjectStore, bucket: str) -> None:
    """Objects of every kind, most of them over an older one and some below a delete marker."""
    for turn in (1, 2):
        for size_bytes in SIZES:
            attributes = ObjectAttributes(
                {"content-type": f"x/{turn}"}, {"turn": str(turn)}, {"tag": str(size_bytes)}
            )
            key = f"size-{size_bytes}"
            store.put(bucket, key, pattern(turn + size_bytes, size_bytes), attributes=attributes)
        for kind in ("AES256", "aws:kms", "SSE-C"):
            sealed = ObjectAttributes(encryption=Encryption(kind))
            secret = KEY if kind == "SSE-C" else b""
            for size_bytes in (10, 70_000):
                data = pattern(turn + size_bytes, size_bytes)
                key = f"{kind}-{size_bytes}"
                store.put(bucket, key, data, attributes=sealed, customer_key=secret)
            sizes = (70_000, 0, 5)
            parts_of(store, bucket, f"{kind}-parts", sizes, attributes=sealed, customer_key=secret)
            store.copy(bucket, f"{kind}-70000", bucket, f"{kind}-copy", source_customer_key=secret)
        parts_of(store, bucket, "parts", (100_000, 3, 0, 40_000))
        store.copy(bucket, "size-300000", bucket, "copy")
        slices_of(store, bucket, "size-300000", "slices")
        store.set_tags(bucket, "copy", {"said": "later"})
    for key in ("size-10", "size-70000", "parts", "AES256-10"):
        for _turn in range(3):
            store.append(bucket, key, b"appended", store.head(bucket, key).size_bytes)
    store.rename(bucket, "copy", "renamed")
    store.delete(bucket, "size-4096")
    store.delete(bucket, "slices")
    slices_of(store, bucket, "size-300000", "slices-again")
    store.delete(bucket, "size-300000")


def lock_some(store: ObjectStore) -> None:
    now_ms = store.clock.now_ns() // 1_000_000
    held = ObjectAttributes(lock=ObjectLock("COMPLIANCE", now_ms + YEAR_MS, True))
    for size_bytes in SIZES:
        store.put("locked", f"held-{size_bytes}", pattern(9, size_bytes), attributes=held)
        store.delete("locked", f"held-{size_bytes}")
    store.set_legal_hold("locked", "size-10", True)
    store.set_retention("locked", "size-70000", "GOVERNANCE", now_ms + YEAR_MS)


def make(store: ObjectStore) -> None:
    for bucket in BUCKETS:
        store.create_bucket(bucket, object_lock=bucket == "locked")
    store.set_object_lock("locked", DefaultRetention("GOVERNANCE", 3, 0))
    for bucket in ("versioned", "suspended"):
        store.set_versioning(bucket, "Enabled")
    fill(store, "suspended")
    store.set_versioning("suspended", "Suspended")
    for bucket in BUCKETS:
        fill(store, bucket)
    lock_some(store)


def all_versions(store: ObjectStore, bucket: str) -> list[VersionEntry]:
    entries: list[VersionEntry] = []
    how: dict[str, Any] = {"limit": 13}
    while True:
        page = store.list_versions(bucket, **how)
        entries += page.entries
        if page.next_key is None:
            return entries
        how |= {"key_marker": page.next_key, "version_id_marker": page.next_version_id or ""}


def read_version(store: ObjectStore, bucket: str, entry: VersionEntry) -> Any:
    """All that can be read of a version; of a marker that it is one."""
    named: dict[str, Any] = {"version_id": entry.version_id}
    if entry.is_delete_marker:
        with pytest.raises(IsDeleteMarkerError):
            store.head(bucket, entry.key, **named)
        return None
    described = store.head(bucket, entry.key, customer_key=None, **named)
    secret = KEY if described.attributes.encryption.algorithm == "SSE-C" else b""
    with store.get(bucket, entry.key, customer_key=secret, **named) as reader:
        data = reader.read()
        assert reader.info == described
    middle = ByteRange(len(data) // 3, len(data) // 2)
    if data:
        with store.get(
            bucket, entry.key, byte_range=middle, customer_key=secret, **named
        ) as reader:
            assert reader.read() == data[len(data) // 3 : len(data) // 2 + 1]
    return described, data, store.list_object_parts(bucket, entry.key, **named).parts


def places(store: ObjectStore) -> dict[bytes, int]:
    """Where the records of versions lie."""
    with store._core.index.read() as txn:
        rows = [*txn.scan(b"o", b"p"), *txn.scan(b"v", b"w")]
    return {key: unpack_head(row).record_offset for key, row in rows}


def everything(store: ObjectStore) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for bucket in BUCKETS:
        entries = all_versions(store, bucket)
        found[bucket] = [(entry, read_version(store, bucket, entry)) for entry in entries]
        found[f"{bucket}, current"] = store.list(bucket).entries
        found[f"{bucket}, versioning"] = store.versioning(bucket)
    return found


class Life:
    """A store that is closed, killed, compacted and rebuilt."""

    def __init__(self, factory: StoreFactory, seed: int) -> None:
        self._factory, self._seed = factory, seed
        self.clock = ManualClock()
        self.moved = 0
        self.store = self._open()

    def _open(self) -> ObjectStore:
        return self._factory(config=TINY, clock=self.clock)

    @property
    def path(self) -> Path:
        return self._factory.path()

    def compaction(self) -> None:
        """Noise makes segments sparse; what lives in them moves."""
        before = places(self.store)
        for number in range(120):
            self.store.put("noise", f"{number % 6}", pattern(number, 30_000))
            if number % 20 == 0:
                self.store.maintain()
        self.store.delete_many("noise", [f"{number}" for number in range(6)])
        self.store.maintain()
        after = places(self.store)
        self.moved += sum(after.get(row, place) != place for row, place in before.items())

    def kill(self) -> None:
        """Another process writes and compacts, and is killed; the index stays as it was."""
        self.store.close()
        command = (sys.executable, "-m", "tests.crash.noise_worker", self.path, str(self._seed))
        worker = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2])
        assert worker.stdout is not None
        with worker.stdout:
            assert worker.stdout.readline() == b"under way\n"
        worker.send_signal(signal.SIGKILL)
        worker.wait(60)
        self.store = self._open()

    def recovery(self) -> None:
        """The index is lost: it comes back from the last checkpoint and the log behind it."""
        self.store.close()
        forget_index(self.path)
        self.store = self._open()

    def rebuild(self) -> None:
        """From the log alone."""
        self.store.close()
        forget_index(self.path)
        forget_checkpoints(self.path)
        rebuild_index(self.path)
        self.store = self._open()


STEPS: list[Callable[[Life], None]] = [Life.compaction, Life.kill, Life.recovery, Life.rebuild]


def test_every_version_survives(store_factory: StoreFactory, seed: int) -> None:
    life = Life(store_factory, seed)
    make(life.store)
    before = everything(life.store)
    assert len(before["locked"]) > 40
    dice = random.Random(seed)
    steps = [*STEPS, *dice.sample(STEPS, 3)]
    dice.shuffle(steps)
    for step in steps:
        step(life)
        assert_clean(life.store)
        after = everything(life.store)
        for name, found in before.items():
            assert after[name] == found, (step.__name__, name)
    assert life.moved, "compaction has moved nothing"


def test_nothing_removes_a_locked_version(store_factory: StoreFactory, seed: int) -> None:
    """No request, no compaction, no rebuild; and when its time is over, a request does."""
    life = Life(store_factory, seed)
    store = life.store
    store.create_bucket("locked", object_lock=True)
    now_ms = life.clock.now_ns() // 1_000_000
    attributes = ObjectAttributes(lock=ObjectLock("COMPLIANCE", now_ms + YEAR_MS))
    versions = {
        store.put("locked", "key", pattern(size, size), attributes=attributes).version_id: size
        for size in SIZES
    }
    store.delete("locked", "key")
    for step in STEPS:
        step(life)
        for version, size_bytes in versions.items():
            for bypass in (False, True):
                with pytest.raises(ObjectLockedError):
                    life.store.delete("locked", "key", version_id=version, bypass_governance=bypass)
            with life.store.get("locked", "key", version_id=version) as reader:
                assert reader.read() == pattern(size_bytes, size_bytes)
    life.clock.advance((YEAR_MS + 1) * 1_000_000)
    for version in versions:
        assert life.store.delete("locked", "key", version_id=version).existed
    life.rebuild()
    assert [entry.is_delete_marker for entry in all_versions(life.store, "locked")] == [True]


def test_what_was_deleted_stays_deleted(store_factory: StoreFactory, seed: int) -> None:
    """Tombstones of named versions outlive the compaction of what they buried."""
    life = Life(store_factory, seed)
    store = life.store
    store.create_bucket("versioned")
    store.set_versioning("versioned", "Enabled")
    dice = random.Random(seed)
    made = [
        store.put("versioned", f"k{n % 5}", pattern(n, dice.choice(SIZES))).version_id
        for n in range(60)
    ]
    gone = set(dice.sample(range(60), 40))
    for n in gone:
        store.delete("versioned", f"k{n % 5}", version_id=made[n])
    left = {made[n] for n in range(60) if n not in gone}
    steps = [*STEPS, *STEPS]
    dice.shuffle(steps)
    for step in steps:
        step(life)
        assert {entry.version_id for entry in all_versions(life.store, "versioned")} == left
        assert_clean(life.store)
    assert life.store.head("versioned", "k0", customer_key=None).attributes.encryption == (
        NO_ENCRYPTION
    )
