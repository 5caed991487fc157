"""Snapshots of a live volume: the point in time, copy before write, and the copying behind it.

    begin         writers stand still for an instant; the bits of what changed since the last
                  snapshot are frozen, durably, and counting starts anew
    copy          a thread stores the frozen blocks, some at a time
    before_write  a writer that is about to overwrite a frozen block stores it first, durably
    complete      parent's map and stored blocks make the map; then the slot is free again

A block that is frozen and not stored yet is in place, unchanged: that is what lets a copy
go on after a crash.  What was stored before it was overwritten has a row that says so.

Of several pending snapshots at most one has a given block frozen and not stored: for a
later one to freeze it, it must have been written to, and that write stored it first.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from dataclasses import dataclass, replace
from typing import Final

from blockdev import refs
from blockdev.block_copier import BlockCopier, Pending
from blockdev.errors import DeviceClosedError, DeviceError
from blockdev.gate import Gate
from blockdev.snapshot import Draft, SnapshotStore
from blockdev.snapshot_map import set_bits
from blockdev.snapshot_usage import batches
from blockdev.volume_blocks import VolumeBlocks, merge
from blockdev.volume_map import (
    PENDING_MAX,
    SECTOR_BYTES,
    Header,
    PendingRecord,
)

RETRY_S: Final = 1.0
"""Between attempts to note that a snapshot failed, while the database cannot be written."""

ATTEMPTS_MAX: Final = 3
"""Such attempts by `Captures.wait`, without a thread."""

FAILURES: Final = (DeviceError, OSError, sqlite3.Error, refs.NotPendingError)
"""What ends a snapshot and is no bug: media, database, somebody deleted it."""

CLOSED: Final = (DeviceClosedError, sqlite3.ProgrammingError, RuntimeError)
"""What says that volume or store were closed under a copy, which the next open goes on with.
(ProgrammingError and RuntimeError: of a closed connection, and of a pool that was shut down.)"""


COMPLETED: Final = ("completed", "doomed")
"""States of a snapshot whose map and rows are whole."""


class TooManyPendingError(Exception):
    """PENDING_MAX snapshots of the volume are pending already."""


@dataclass(frozen=True, slots=True)
class CopyPlan:
    """How snapshots are copied.

    `batch_blocks`: read, put and noted at once; 64 are 32 MiB of memory and two transactions.
    `background`: by a thread.  Without, `Captures.step` and `wait` do it, in who calls them:
    for simulations that a seed is to settle wholly.
    """

    batch_blocks: int = 64
    background: bool = True


class Captures:
    """The pending snapshots of one volume, oldest first, and the thread that completes them."""

    def __init__(
        self, blocks: VolumeBlocks, gate: Gate, store: SnapshotStore, plan: CopyPlan
    ) -> None:
        self._blocks = blocks
        self._gate = gate
        self._store = store
        self._plan = plan
        self._copier = BlockCopier(blocks, store)
        self._pending: tuple[Pending, ...] = ()
        self._lock = threading.Lock()
        self._begin_lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def active(self) -> bool:
        """Whether writers have to ask `before_write`."""
        return bool(self._pending)

    @property
    def snapshot_ids(self) -> list[str]:
        """Of the pending snapshots, oldest first."""
        return [pending.snapshot_id for pending in self._pending]

    # The point in time.

    def begin(self, snapshot_id: str) -> None:
        """Fix the point in time of a snapshot: now.

        Raises:
            TooManyPendingError: complete some first.
            ValueError: the id is taken.
            DeviceError, sqlite3.Error: it could not be noted durably; there is no snapshot.
        """
        with self._begin_lock:
            self._settle_failed()
            if len(self._pending) >= PENDING_MAX:
                raise TooManyPendingError(f"{PENDING_MAX} snapshots are pending already")
            try:
                self._begin(snapshot_id)
            except (KeyError, ValueError):
                raise
            except BaseException:
                self._undo_begin(snapshot_id)
                raise
        self._start()

    def _settle_failed(self) -> None:
        """A new snapshot must not build on one that failed: writers store nothing for those."""
        for pending in self._pending:
            if pending.record.failed:
                self._give_back(pending)

    def _begin(self, snapshot_id: str) -> None:
        header = self._blocks.header
        base_id, draft = self._begin_on_base(snapshot_id, header)
        frozen = self._freeze(draft, header.free_slot(), base_id, header.base_id)
        with contextlib.suppress(*FAILURES):  # only the progress needs it
            draft.expect(int.from_bytes(frozen, "little").bit_count())

    def _undo_begin(self, snapshot_id: str) -> None:
        """The point in time was not fixed.  If this fails, too, the next `resume` sees to it."""
        with contextlib.suppress(*FAILURES):
            Draft(self._store, snapshot_id).fail("its point in time was never fixed")
            self._store.delete(snapshot_id)

    def _begin_on_base(self, snapshot_id: str, header: Header) -> tuple[str, Draft]:
        """A draft on the snapshot that changes are counted from; if that is gone, on the origin."""
        for base_id in (header.base_id, header.origin_id):
            with contextlib.suppress(KeyError):
                draft = self._store.begin(
                    snapshot_id, size_bytes=header.size_bytes, base_id=base_id, volume=header.volume
                )
                return base_id, draft
        raise DeviceError(f"{header.origin_id} is gone, and blocks of the volume with it")

    def _freeze(self, draft: Draft, slot: int, base_id: str, counted_from: str) -> bytearray:
        blocks = self._blocks
        blocks.map.clear_slot(slot)
        blocks.flush()  # while writers go on, so that little is left to do when they stand still
        blocks.map.flush()
        with self._gate.shut():
            if base_id != counted_from:
                blocks.add_changed(blocks.stored_here())
            blocks.flush()
            header = blocks.header
            record = PendingRecord(draft.snapshot_id, base_id, header.size_bytes, header.live_slot)
            frozen = blocks.freeze(
                lambda h: replace(
                    h,
                    base_id=draft.snapshot_id,
                    live_slot=slot,
                    pending=(*h.pending, record),
                )
            )
            self._pending = (*self._pending, Pending(record, frozen, bytearray(frozen), draft))
        return frozen

    # Copy before write.

    def before_write(self, first: int, stop: int) -> None:
        """Store what these blocks hold, where a pending snapshot still needs it.

        Called inside the gate.  If that fails the snapshot does, and not the write.

        Raises:
            DeviceError: the failure could not even be noted: the write must not be done.
        """
        for pending in self._pending:
            for index in range(first, stop):
                if pending.is_left(index) and not pending.record.failed:
                    try:
                        self._copier.store_first(pending, index)
                    except CLOSED as error:
                        raise DeviceClosedError(
                            f"closed before a copy was made: {error}"
                        ) from error
                    except FAILURES as error:
                        self._give_up(pending, str(error))

    def _give_up(self, failed: Pending, reason: str) -> None:
        """A frozen block is about to be lost: note durably that who needs it cannot have it.

        That is this snapshot, and all later ones, whose maps build on it.
        """
        with self._lock:
            at = self._pending.index(failed) if failed in self._pending else 0
            doomed = {pending.snapshot_id for pending in self._pending[at:]}
            self._blocks.write_header(
                lambda header: replace(
                    header,
                    pending=tuple(
                        replace(record, failed=record.failed or record.snapshot_id in doomed)
                        for record in header.pending
                    ),
                )
            )
            for pending in self._pending[at:]:
                pending.record = replace(pending.record, failed=True)
                pending.reason = pending.reason or reason

    # Copying, and the end of it.

    def resume(self) -> None:
        """After opening the volume: go on with what is pending, and settle what has failed."""
        known = {record.snapshot_id for record in self._blocks.header.pending}
        for snapshot_id in self._store.pending_of(self._blocks.header.volume).keys() - known:
            Draft(self._store, snapshot_id).fail("its point in time was never fixed")
        self._pending = tuple(map(self._reopened, self._blocks.header.pending))
        for pending in self._pending:
            state = self._store.state_of(pending.snapshot_id)
            if state in COMPLETED:
                self._drop(pending)
            elif state != "pending" or pending.record.failed:
                self._give_back(pending)
        for pending in self._pending:
            pending.left = bytearray(pending.frozen)
            stored = [index for index, _ in pending.draft.entries(stored_only=True)]
            self._copier.clear_left(pending, stored)
        if self._pending:
            self._start()

    def wait(self, timeout_s: float | None) -> bool:
        """Whether all snapshots were settled, completed or failed, within `timeout_s`."""
        failures = 0
        while not self._plan.background and self._pending and failures < ATTEMPTS_MAX:
            failures = 0 if self.step() else failures + 1
        with self._changed:
            if not self._plan.background:
                return not self._pending
            return self._changed.wait_for(lambda: not self._pending, timeout_s)

    def step(self) -> bool:
        """Without a thread: copy one batch of the oldest pending snapshot, or complete it.

        False if it failed, and not even that could be noted.
        """
        with contextlib.suppress(*FAILURES):
            if self._pending:
                self._advance(self._pending[0], batches_max=1)
            return True
        return False

    def stop(self) -> None:
        """End the thread, between two batches; what is pending stays so."""
        self._stopping.set()
        with self._changed:
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join()

    def _reopened(self, record: PendingRecord) -> Pending:
        frozen = self._blocks.map.read_slot(record.slot, record.size_bytes)
        draft = Draft(self._store, record.snapshot_id)
        return Pending(record, frozen, bytearray(len(frozen)), draft)

    def _start(self) -> None:
        if not self._plan.background:
            return
        with self._changed:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="snapshot", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._pending or self._stopping.is_set())
            if self._stopping.is_set():
                return
            try:
                self._advance(self._pending[0])
            except CLOSED:
                return
            except FAILURES:  # not even the failure could be noted
                self._stopping.wait(RETRY_S)

    def _advance(self, pending: Pending, batches_max: int | None = None) -> None:
        """Copy the oldest pending snapshot, or settle that it failed."""
        if not pending.record.failed:
            try:
                if self._copy(pending, batches_max):
                    self._drop(pending)
                return
            except CLOSED:
                raise
            except Exception as error:  # whatever it is: the volume and later snapshots go on
                pending.reason = str(error) or type(error).__name__
        if self._store.state_of(pending.snapshot_id) in COMPLETED:
            self._drop(pending)  # the commit was done, and what came after it failed
        else:
            self._give_back(pending)

    def _copy(self, pending: Pending, batches_max: int | None) -> bool:
        """Store what is left, and complete; False if there is more to do, or it was given up."""
        with contextlib.ExitStack() as opened:
            base = None
            if pending.record.base_id:
                base = opened.enter_context(self._store.open_map(pending.record.base_id))
            left = batches(set_bits(bytes(pending.left)), self._plan.batch_blocks)
            for number, batch in enumerate(left):
                if self._stopping.is_set() or pending.record.failed or number == batches_max:
                    return False
                pending.draft.require_pending()
                self._copier.copy_batch(pending, batch, base)
        if pending.record.failed:
            return False
        pending.draft.complete()
        return True

    def _drop(self, pending: Pending) -> None:
        """It is completed: its slot is free."""
        with self._changed:
            self._blocks.write_header(
                lambda header: replace(header, pending=_without(header.pending, pending))
            )
            self._pending = tuple(other for other in self._pending if other is not pending)
            self._changed.notify_all()

    def _give_back(self, failed: Pending) -> None:
        """It failed: what it was to copy is for the next one to copy, or changed again.

        The rows go first, then the bits: `resume` does the latter again after a crash.
        """
        with self._begin_lock, self._gate.shut():
            if failed not in self._pending:  # somebody else was first
                return
            at = self._pending.index(failed)
            heir = self._pending[at + 1] if at + 1 < len(self._pending) else None
            self._note_failure(failed, heir)
            base_id = failed.record.base_id
            if heir is None:
                self._blocks.add_changed(failed.frozen)
                self._blocks.flush()
            else:
                merge(heir.frozen, failed.frozen)
                merge(heir.left, failed.left)
                self._copier.write_frozen(heir, range(len(heir.frozen) // SECTOR_BYTES))
                heir.record = replace(heir.record, base_id=base_id)
            with self._changed:
                rest = (*self._pending[:at], *self._pending[at + 1 :])
                self._blocks.write_header(
                    lambda header: replace(
                        header,
                        base_id=header.base_id if heir is not None else base_id,
                        pending=tuple(pending.record for pending in rest),
                    )
                )
                self._pending = rest
                self._changed.notify_all()
        self._store.tidy()

    def _note_failure(self, failed: Pending, heir: Pending | None) -> None:
        """What the failed one stored, and the heir's map needs, becomes the heir's."""
        inherits = heir is not None and not heir.record.failed
        with self._store.transaction() as connection:
            refs.settle(
                connection,
                failed.snapshot_id,
                failed.reason,
                heir.snapshot_id if heir is not None and inherits else "",
                lambda index: heir is not None and not heir.is_frozen(index),
            )


def _without(records: tuple[PendingRecord, ...], pending: Pending) -> tuple[PendingRecord, ...]:
    return tuple(record for record in records if record.snapshot_id != pending.snapshot_id)
