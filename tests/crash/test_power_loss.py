"""Power cuts: whatever was acknowledged is there, whatever was not is there whole or not at all.

Each cut: operations run against a store on a device whose power fails in the middle
of some write (a batch of the log, a block of a large object, a discard, a flush);
unsynced sectors survive at random; the index is thrown away, and so, now and then,
are some checkpoints; the store is opened again and compared, and goes on from there.

    OBJSTORE_POWER_CUTS=50000   more cuts
    OBJSTORE_SEED=n             the same cuts again
"""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from blockdev import MemoryDevice
from blockdev.filters import Fault, FaultDevice, FaultRule, Operation, PowerLossDevice
from objstore import CompletedPart, ObjectStore
from objstore.config import KIB
from objstore.errors import CorruptionError, NotFoundError, StoreUnavailableError
from tests.crash.tiny import (
    SIZES,
    TINY,
    assert_clean,
    contents,
    forget_checkpoints,
    forget_index,
    memory_folder,
    open_tiny,
    pattern,
)

CUTS = int(os.environ.get("OBJSTORE_POWER_CUTS", "1000"))
CUTS_A_STORE = 25
KEYS = [f"key-{number}" for number in range(12)]
BUCKET = "bucket"

Objects = dict[str, bytes]


class PowerLossRun:
    """One store and what is known of it, through many cuts."""

    def __init__(self, folder: Path, rng: random.Random, device: PowerLossDevice) -> None:
        self.folder, self.rng, self.device = folder, rng, device
        self.objects: Objects = {}
        self.uploads: dict[tuple[str, str], dict[int, bytes]] = {}
        self._maybe_upload: tuple[tuple[str, str], dict[int, bytes]] | None = None
        self.store = open_tiny(folder, device)
        self.store.create_bucket(BUCKET)

    # --- operations: each returns what the objects are once it is acknowledged ----------

    def put(self) -> Objects:
        key, size = self.rng.choice(KEYS), self.rng.choice(SIZES)
        body = pattern(self.rng.getrandbits(64), size)
        after = self.objects | {key: body}
        self._attempt(after, lambda: self.store.put(BUCKET, key, body))
        return after

    def put_stream(self) -> Objects:
        key, size = self.rng.choice(KEYS), self.rng.choice(SIZES)
        body = pattern(self.rng.getrandbits(64), size)
        after = self.objects | {key: body}
        pieces = (body[at : at + 7000] for at in range(0, size, 7000))
        self._attempt(after, lambda: self.store.put(BUCKET, key, pieces))
        return after

    def delete(self) -> Objects:
        keys = self.rng.sample(KEYS, self.rng.choice((1, 1, 2, 6)))
        after = {key: body for key, body in self.objects.items() if key not in keys}
        self._attempt(after, lambda: self.store.delete_many(BUCKET, keys))
        return after

    def copy(self) -> Objects:
        if not self.objects:
            return self.objects
        source, target = self.rng.choice(sorted(self.objects)), self.rng.choice(KEYS)
        after = self.objects | {target: self.objects[source]}
        self._attempt(after, lambda: self.store.copy(BUCKET, source, BUCKET, target))
        return after

    def upload(self) -> Objects:
        key = self.rng.choice(KEYS)
        parts = [pattern(self.rng.getrandbits(64), self.rng.choice(SIZES)) for _ in range(3)]
        after = self.objects | {key: b"".join(parts)}
        upload = self.store.create_upload(BUCKET, key).upload_id
        named = []
        for number, body in enumerate(parts, 1):
            with self.store.open_part(BUCKET, key, upload, number) as stream:
                stream.write(body)
                named.append(CompletedPart(number, stream.commit().etag))
            self.uploads.setdefault((key, upload), {})[number] = body
        if self.rng.random() < 0.3:
            if self.rng.random() < 0.5:
                self.store.abort_upload(BUCKET, key, upload)
                del self.uploads[key, upload]
            return self.objects
        known = self.uploads.pop((key, upload))
        try:
            self._attempt(after, lambda: self.store.complete_upload(BUCKET, key, upload, named))
        except StoreUnavailableError:
            self._maybe_upload = ((key, upload), known)
            raise
        return after

    def maintain(self) -> Objects:
        self.store.maintain()
        return self.objects

    def checkpoint(self) -> Objects:
        self.store.checkpoint()
        return self.objects

    def _attempt(self, after: Objects, act: Callable[[], object]) -> None:
        """Do something that may be cut short: then the objects may be `after`, too."""
        self.possible = [self.objects, after]
        act()

    # --- the cut ----------------------------------------------------------------------

    def run_until_cut(self) -> None:
        """Arm the cut and operate until it strikes."""
        actions = [self.put] * 5 + [self.put_stream] * 3 + [self.delete] * 3
        actions += [self.copy, self.upload, self.maintain, self.maintain, self.checkpoint]
        self.device.cut_during(self.rng.randrange(1, 60), self.rng.getrandbits(32))
        self._maybe_upload = None
        while True:
            self.possible = [self.objects]
            try:
                self.objects = self.rng.choice(actions)()
            except StoreUnavailableError:
                return
            except Exception:
                if not self._is_off():
                    raise
                return

    def _is_off(self) -> bool:
        try:
            self.device.restart()
        except ValueError:
            return False
        return True

    def reboot(self) -> None:
        """Come back as after the power loss, with no index and perhaps fewer checkpoints."""
        self.store.close()
        self.device = self.device.restart()
        forget_index(self.folder)
        chance = self.rng.random()
        if chance < 0.5:
            forget_checkpoints(self.folder, keep_oldest=chance < 0.25)
        self.store = open_tiny(self.folder, self.device)

    def verify(self) -> None:
        found = contents(self.store, BUCKET)
        assert found in self.possible, difference(found, self.possible)
        self.objects = found
        self._verify_uploads()
        assert_clean(self.store)

    def _verify_uploads(self) -> None:
        if self._maybe_upload is not None and self.objects == self.possible[0]:
            name, parts = self._maybe_upload
            self.uploads[name] = parts  # the completion did not happen
        for (key, upload), parts in list(self.uploads.items()):
            try:
                page = self.store.list_parts(BUCKET, key, upload)
            except NotFoundError:
                assert self._was_aborting(upload), f"upload {upload} of {key} is lost"
                del self.uploads[key, upload]
                continue
            sizes = {part.part_number: part.size_bytes for part in page.parts}
            for number, body in parts.items():
                assert sizes.get(number) == len(body), f"part {number} of {key} is lost"

    def _was_aborting(self, upload: str) -> bool:
        """The last upload made may have been in the middle of its abort."""
        return upload == list(self.uploads)[-1][1]


def difference(found: Objects, possible: list[Objects]) -> str:
    """What of `found` is in none of the possible states."""
    lines = []
    for key in sorted({*found, *(key for state in possible for key in state)}):
        allowed = [state.get(key) for state in possible]
        if found.get(key) not in allowed:
            lines.append(f"{key}: {summary(found.get(key))}, not {[*map(summary, allowed)]}")
    return "\n".join(lines) or "a mixture of the states before and after"


def summary(body: bytes | None) -> str:
    return "nothing" if body is None else f"{len(body)} bytes {body[:6].hex()}"


def run_cuts(seed: int, cuts: int, device: Callable[[], PowerLossDevice]) -> None:
    rng = random.Random(seed)
    with memory_folder() as folder:
        run = PowerLossRun(folder, rng, device())
        try:
            for _ in range(cuts):
                run.run_until_cut()
                run.reboot()
                run.verify()
        finally:
            run.store.close()


def fresh_device() -> PowerLossDevice:
    return PowerLossDevice(MemoryDevice(TINY.device_bytes))


@pytest.mark.parametrize("part", range(max(1, CUTS // CUTS_A_STORE)))
def test_no_power_cut_loses_what_was_acknowledged(part: int, seed: int) -> None:
    run_cuts(seed, CUTS_A_STORE, fresh_device)


class LyingDevice(PowerLossDevice):
    """Says that writes are durable, and does not make them so."""

    def write(self, offset_bytes: int, data: object, *, fua: bool = False) -> None:
        super().write(offset_bytes, data, fua=False)  # type: ignore[arg-type]


class DeafDevice(PowerLossDevice):
    """Ignores flushes."""

    def flush(self) -> None:
        """Nothing, and says it went well."""


@pytest.mark.parametrize("device", [LyingDevice, DeafDevice])
def test_a_device_that_lies_is_found_out(device: type[PowerLossDevice], seed: int) -> None:
    """Proof that the test above can fail: without durable writes, or flushes, it does."""

    def is_found_out(number: int) -> bool:
        try:
            run_cuts(seed + number, 1, lambda: device(MemoryDevice(TINY.device_bytes)))
        except (AssertionError, StoreUnavailableError, NotFoundError):
            return True
        return False

    assert any(is_found_out(number) for number in range(20))


def test_cuts_under_concurrent_writers(seed: int) -> None:
    """Several writers share each batch; every one of them keeps what it was told."""
    rng = random.Random(seed)
    with memory_folder() as folder:
        device = fresh_device()
        store = open_tiny(folder, device)
        store.create_bucket(BUCKET)
        known: Objects = {}
        for _ in range(max(10, CUTS // 20)):
            device.cut_during(rng.randrange(1, 40), rng.getrandbits(32))
            pending: dict[str, bytes | None] = {}
            seeds = [rng.getrandbits(64) for _ in range(4)]
            threads = [
                threading.Thread(target=_write_until_cut, args=(store, name, s, known, pending))
                for name, s in enumerate(seeds)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            store.close()
            device = device.restart()
            forget_index(folder)
            store = open_tiny(folder, device)
            found = contents(store, BUCKET)
            for key in {*found, *known, *pending}:
                allowed = [known.get(key)] + ([pending[key]] if key in pending else [])
                assert found.get(key) in allowed, f"{key}: {summary(found.get(key))}"
            assert_clean(store)
            known = found
        store.close()


def _write_until_cut(
    store: ObjectStore, name: int, seed: int, known: Objects, pending: dict[str, bytes | None]
) -> None:
    rng = random.Random(seed)
    while True:
        key = f"{name}-{rng.randrange(4)}"
        body = pattern(rng.getrandbits(64), rng.choice(SIZES)) if rng.random() < 0.8 else None
        pending[key] = body
        try:
            if body is None:
                store.delete(BUCKET, key)
                known.pop(key, None)
            else:
                store.put(BUCKET, key, body)
                known[key] = body
        except StoreUnavailableError:
            return
        del pending[key]


@pytest.mark.parametrize("keeps_index", [True, False])
@pytest.mark.parametrize("lost", [2, 10, 28, 29, 30, 31, 32, 33, 40, 59])
def test_a_lost_acknowledged_batch_is_detected(
    lost: int, keeps_index: bool, tmp_path: Path, seed: int
) -> None:
    """A disk that undoes what it called durable is damage, and never a silent loss.

    Wherever in a segment the batch stood, the last of a sealed one included.
    """
    faulty = FaultDevice(MemoryDevice(TINY.device_bytes), seed=seed)
    store = open_tiny(tmp_path, faulty)
    rule = FaultRule(
        Fault.LOSE, frozenset({Operation.WRITE}), 64 * KIB, first_call=lost, last_call=lost
    )
    armed = faulty.arm(rule)
    for number in range(64):
        store.put(BUCKET, f"key-{number}", pattern(number, 2000))
    assert armed.hits == 1
    if keeps_index:
        assert store.check()
    store.close()
    forget_index(tmp_path)
    with pytest.raises(CorruptionError, match="damaged"):
        open_tiny(tmp_path, faulty)
