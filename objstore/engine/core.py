"""The parts of an open store, and the look-ups that every operation shares."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from blockdev import BlockDevice, Clock, DeviceError, DeviceFullError
from objstore.config import (
    APPENDS_KEPT,
    BUCKETS_CACHED,
    MAX_KEY_BYTES,
    PREPARE_ATTEMPTS,
    StoreConfig,
)
from objstore.engine.commit import Committer
from objstore.engine.flush import FlushGate
from objstore.engine.operation import Decision, NotPreparedError, Operation
from objstore.engine.part_digests import PartDigests
from objstore.engine.pool import submit_once
from objstore.engine.sharing import Slots, SoleLock
from objstore.engine.space import Space, reap_leases, release_quarantine
from objstore.entropy import Entropy
from objstore.errors import (
    BucketStateError,
    InvalidArgumentError,
    KeyTooLongError,
    NoSuchBucketError,
    StoreFullError,
    StoreUnavailableError,
)
from objstore.index import keys, schema
from objstore.index.base import Index, IndexFullError, ReadTransaction
from objstore.index.schema import BucketBody, Tail
from objstore.kms.service import KeyService
from objstore.log.format import Layout, Record, Superblock

Outcome = TypeVar("Outcome")


@dataclass(slots=True)
class Core:
    """What an open store is made of; operations take it as their first argument."""

    device: BlockDevice
    index: Index
    superblock: Superblock
    layout: Layout
    config: StoreConfig
    clock: Clock
    entropy: Entropy
    slots: Slots
    space: Space
    committer: Committer
    flush_gate: FlushGate
    maintenance_lock: SoleLock
    makes_buckets: bool
    key_service: KeyService
    make_room: Callable[[], bool] = lambda: False
    close_keys: Callable[[], None] = lambda: None
    buckets: dict[str, tuple[bytes, BucketBody]] = field(default_factory=dict)
    part_digests: PartDigests = field(default_factory=lambda: PartDigests(APPENDS_KEPT))
    _pool: ThreadPoolExecutor | None = None
    _pool_lock: threading.Lock = field(default_factory=threading.Lock)

    def commit(self, operation: Operation) -> Sequence[Record]:
        """Commit `operation`; if the store is full, make sure first that it really is.

        Raises:
            StoreError: what the operation decided, or why the store cannot write.
        """
        for _attempt in range(PREPARE_ATTEMPTS):
            try:
                return self._commit_with_room(operation)
            except NotPreparedError as error:
                prepare = error.prepare
            prepare()
        raise BucketStateError("the bucket's settings keep changing; try again")

    def _commit_with_room(self, operation: Operation) -> Sequence[Record]:
        try:
            return self.committer.commit(operation)
        except StoreFullError:
            if not self.make_room():
                raise
            return self.committer.commit(operation)

    def submit(
        self,
        operation: Operation,
        outcome: Callable[[Sequence[Record]], Outcome],
        done: Callable[[Outcome | None, BaseException | None], None],
        hold: bool,
    ) -> None:
        """As `commit`, in the background; `done` is given the `outcome` of the records."""

        def ended(records: Sequence[Record], error: BaseException | None) -> None:
            if error is None:
                done(outcome(records), None)
            elif isinstance(error, (StoreFullError, NotPreparedError)):
                try:
                    submit_once(self.hash_pool(), partial(again, error))
                except Exception:  # closed meanwhile, or no thread to be had
                    done(None, error)
            else:
                done(None, error)

        def again(error: StoreFullError | NotPreparedError) -> None:
            try:
                if isinstance(error, NotPreparedError):
                    error.prepare()
                value = outcome(self.commit(operation))
            except BaseException as error:
                done(None, error)
            else:
                done(value, None)

        self.committer.submit(operation, ended, hold=hold)

    def reclaim(self) -> int:
        """Give back at once what was freed; the number of segments.

        One process at a time does this; where another is at it, that serves as well.
        """
        if not self.maintenance_lock.try_exclusive():
            return 0
        try:
            return self.reclaim_alone()
        finally:
            self.maintenance_lock.release()

    def reclaim_alone(self) -> int:
        """As `reclaim`, for who holds the maintenance lock."""
        self.slots.forget_dead_writers()
        try:
            reaped = reap_leases(self.index, self.slots)
            return reaped + release_quarantine(self.index, self.device, self.layout, self.slots)
        except IndexFullError:
            return 0  # there is no room to note it; what was freed stays so

    def flush(self) -> None:
        """Make what this thread has written durable."""
        try:
            self.flush_gate.flush()
        except DeviceError as error:
            raise self.device_failure(error) from error

    def device_failure(self, error: DeviceError) -> StoreUnavailableError:
        """What a failed write means; unless space ran out, it ends all writing."""
        if isinstance(error, DeviceFullError):
            return StoreFullError(f"no space left on the device: {error}")
        return self.committer.poison(error)

    def hash_pool(self) -> ThreadPoolExecutor:
        """Threads for digests, which let the interpreter go while they compute."""
        with self._pool_lock:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(max(2, os.cpu_count() or 1), "objstore-hash")
            return self._pool

    def close_pool(self) -> None:
        with self._pool_lock:
            if self._pool is not None:
                self._pool.shutdown()

    def nonce(self) -> int:
        """A random number that seeds an extent's checksums."""
        return int.from_bytes(self.entropy.token_bytes(8), "big")

    def bucket(self, txn: ReadTransaction, name: str) -> BucketBody:
        """The bucket's row, decoded once for as long as it does not change.

        Raises:
            NoSuchBucketError: there is none of that name.
        """
        row = txn.get(keys.bucket(name.encode()))
        if row is None:
            raise NoSuchBucketError(f"there is no bucket {name!r}")
        known = self.buckets.get(name)
        if known is not None and known[0] == row:
            return known[1]
        body = schema.decode_bucket(schema.row_body(row))
        if len(self.buckets) >= BUCKETS_CACHED:
            self.buckets.clear()
        self.buckets[name] = (row, body)
        return body


def decided_bucket(core: Core, decision: Decision, name: str) -> BucketBody:
    """As `Core.bucket`, looked up once in a batch."""
    body = decision.buckets.get(name)
    if body is None:
        body = decision.buckets[name] = core.bucket(decision.txn, name)
    return body


def encode_key(key: str) -> bytes:
    """The key's bytes.

    Raises:
        KeyTooLongError: over 1,024 bytes of UTF-8.
        InvalidArgumentError: empty, or not text that UTF-8 can carry.
    """
    try:
        encoded = key.encode()
    except UnicodeEncodeError as error:
        raise InvalidArgumentError(f"the key is not valid Unicode: {error}", "Key") from error
    if not encoded:
        raise InvalidArgumentError("a key has at least one byte", "Key")
    if len(encoded) > MAX_KEY_BYTES:
        raise KeyTooLongError(
            f"the key has {len(encoded)} bytes of UTF-8, the limit is {MAX_KEY_BYTES}", "Key"
        )
    return encoded


def tail_of(txn: ReadTransaction) -> Tail:
    """Where the log ends, as of `txn`."""
    row = txn.get(keys.TAIL)
    assert row is not None, "a store has a tail from the moment it is made"
    return Tail.unpack(row)
