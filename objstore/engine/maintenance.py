"""What the store does for itself while it serves; one process at a time.

In this order, each step short: give back what was freed, take a checkpoint when
one is due, compact what is sparse.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from blockdev import DeviceError
from objstore.engine import checkpoint
from objstore.engine.compaction import (
    FreeSegment,
    Heartbeat,
    compact_log_segment,
    group_bytes_of,
    segments_of,
)
from objstore.engine.core import Core, tail_of
from objstore.engine.extent_moves import compact_data_segment
from objstore.engine.extents import stored_bytes
from objstore.engine.space import FOR_WRITES, free_segments, held_back, waits_for_a_batch
from objstore.errors import CorruptionError, StoreError, StoreFullError
from objstore.index import keys, schema
from objstore.index.base import ReadTransaction
from objstore.index.schema import ExtentRow, SegmentRow
from objstore.log.format import ALIGNMENT_BYTES

_FULL_LIVE_RATIO = 0.9
"""In a store that is full, a tenth of what fits into a segment is worth moving the rest."""

_LOG = logging.getLogger("objstore.maintenance")


@dataclass(slots=True)
class MaintenanceReport:
    """What one round did."""

    released_segments: int = 0
    checkpoint_seq: int = 0
    compacted_segments: int = 0


class Maintenance:
    """Runs rounds in a thread every `maintenance_interval_s`, or when asked to."""

    def __init__(self, core: Core, checkpoints: Path) -> None:
        self._core = core
        self._checkpoints = checkpoints
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._damaged: set[int] = set()
        self._vain_lsn = 0

    def start(self) -> None:
        interval_s = self._core.config.maintenance_interval_s
        if interval_s > 0:
            self._thread = threading.Thread(
                target=self._run, args=(interval_s,), name="objstore-maintenance", daemon=True
            )
            self._thread.start()

    def stop(self) -> None:
        """Finish the step under way and end; idempotent."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _run(self, interval_s: float) -> None:
        while not self._stopping.wait(interval_s):
            try:
                self.round()
            except (StoreError, DeviceError) as error:
                _LOG.warning("maintenance: %s", error)
            except Exception:
                _LOG.exception("maintenance failed; it will be tried again")

    @contextmanager
    def _alone(self) -> Iterator[bool]:
        """Whether this process may do maintenance now."""
        if not self._core.maintenance_lock.try_exclusive():
            yield False
            return
        try:
            yield True
        finally:
            self._core.maintenance_lock.release()

    def round(self) -> MaintenanceReport:
        """One round of everything that is due; nothing if another process is at it."""
        report = MaintenanceReport()
        report.released_segments = self._core.reclaim()
        with self._alone() as may:
            if not may:
                return report
            if self._is_checkpoint_due():
                report.checkpoint_seq = self._take_checkpoint()
            report.compacted_segments = self._compact(self._core.config.compact_live_ratio)
        report.released_segments += self._core.reclaim()
        return report

    def take_checkpoint(self) -> int:
        """Take a checkpoint now; the batch it holds, or 0 if another process is at work."""
        with self._alone() as may:
            return self._take_checkpoint() if may else 0

    # --- checkpoints --------------------------------------------------------------

    def _kept(self) -> list[checkpoint.Checkpoint]:
        return checkpoint.find(self._checkpoints, self._core.superblock.store_id)

    def _is_checkpoint_due(self) -> bool:
        with self._core.index.read() as txn:
            log_bytes = tail_of(txn).log_bytes
        kept = self._kept()
        grown_bytes = log_bytes - (kept[0].log_bytes if kept else 0)
        least_bytes = self._core.config.checkpoint_log_bytes
        return grown_bytes > max(least_bytes, self._core.index.size_bytes())

    def _take_checkpoint(self) -> int:
        core = self._core
        taken = checkpoint.write(
            core.index,
            self._checkpoints,
            core.superblock.store_id,
            core.clock,
            core.config.checkpoint_bytes_per_s,
        )
        return taken.seq

    # --- compaction -----------------------------------------------------------------

    def make_room(self) -> bool:
        """The store is full: give back all that can be; whether it is worth another try.

        Checkpoints older than a deletion hold its tombstone back; they are given up if
        nothing else helps, since the log alone is enough to recover from.  What has been
        tried in vain is not tried again before something has changed.
        """
        with self._alone() as may:
            if not may:
                return False
            if self._waits_for_a_batch():
                self._core.committer.commit(Heartbeat(self._core))
            self._core.reclaim_alone()
            if not self._has_room() and self._vain_lsn != self._next_lsn():
                try:
                    self._squeeze()
                except StoreFullError as error:
                    _LOG.warning("no room could be made: %s", error)
                self._vain_lsn = self._next_lsn()
            return self._has_room() or not self._is_low()

    def _is_low(self) -> bool:
        with self._core.index.read() as txn:
            return txn.get(keys.LOW) is not None

    def _squeeze(self) -> None:
        """Compact until there is room, or until that gains nothing any more."""
        free = -1
        while not self._has_room() and free < self._free_segments():
            free = self._free_segments()
            self._compact(self._full_live_ratio(), is_full=True)
            if free >= self._free_segments() and self._kept():
                checkpoint.discard_all(self._checkpoints)
                free -= 1

    def _waits_for_a_batch(self) -> bool:
        with self._core.index.read() as txn:
            return waits_for_a_batch(txn)

    def _next_lsn(self) -> int:
        with self._core.index.read() as txn:
            return tail_of(txn).next_lsn

    def _has_room(self) -> bool:
        return self._free_segments() > held_back(self._core.layout, FOR_WRITES)

    def _free_segments(self) -> int:
        """How many segments are free, as far as that matters here."""
        with self._core.index.read() as txn:
            return free_segments(txn, self._core.layout, FOR_WRITES + 1)

    def _full_live_ratio(self) -> float:
        """As `_FULL_LIVE_RATIO`, of a whole segment; its head and its end take some of it."""
        segment_bytes = self._core.layout.segment_bytes
        lost_bytes = 3 * ALIGNMENT_BYTES + group_bytes_of(segment_bytes)
        return _FULL_LIVE_RATIO * (segment_bytes - lost_bytes) / segment_bytes

    def _compact(self, live_ratio: float, *, is_full: bool = False) -> int:
        """Compact what is sparse, each segment once, until the store is being closed."""
        tried = set(self._damaged)
        while not self._stopping.is_set():
            with self._core.index.read() as txn:
                choice = self._choose(txn, live_ratio, tried)
            if choice is None or (is_full and self._has_room()):
                break
            tried.add(choice[0])
            self._compact_one(*choice)
            if is_full or len(tried) % 8 == 0 or not self._has_room():
                self._core.reclaim_alone()
        return len(tried - self._damaged)

    def _compact_one(self, segment: int, kind: int) -> None:
        try:
            if kind == schema.SEGMENT_DATA:
                compact_data_segment(self._core, segment)
            else:
                self._compact_log(segment)
        except CorruptionError as error:
            # Left as it is, for `objstore check` to show; the rest goes on.
            _LOG.error("compaction left segment %d alone: %s", segment, error)
            self._damaged.add(segment)

    def _compact_log(self, segment: int) -> None:
        with self._core.index.read() as txn:
            row = txn.get(keys.segment(segment))
        info = SegmentRow.unpack(row) if row else None
        if info is not None and not info.live_bytes and not info.tombstone_bytes:
            self._core.committer.commit(FreeSegment(segment, info.start_seq))
            return
        compact_log_segment(self._core, segment, [kept.lsn for kept in self._kept()])

    def _choose(
        self, txn: ReadTransaction, live_ratio: float, tried: set[int]
    ) -> tuple[int, int] | None:
        """The segment most worth compacting, (segment, kind), with less than so much alive."""
        rows = [(name, row) for name, row in segments_of(txn) if name not in tried]
        logs = [(name, row) for name, row in rows if row.kind == schema.SEGMENT_LOG]
        sealed = sorted((r.start_lsn, name, r) for name, r in logs if r.end_seq)
        size_bytes = self._core.layout.segment_bytes
        needed_from = min([row.start_lsn for _n, row in logs], default=0)
        best: tuple[float, int, int] | None = None
        for start_lsn, name, row in sealed:
            # The oldest segment's own tombstones need not be kept once it goes.
            kept_bytes = 0 if start_lsn == needed_from else row.tombstone_bytes
            ratio = (row.live_bytes + kept_bytes) / size_bytes
            if ratio < live_ratio:
                best = min(best or (2.0, 0, 0), (ratio, name, schema.SEGMENT_LOG))
        if best is None:
            best = self._choose_data(txn, rows, live_ratio)
        if best is None and sealed and self._is_buried(logs):
            best = (1.0, sealed[0][1], schema.SEGMENT_LOG)
        return (best[1], best[2]) if best else None

    def _is_buried(self, logs: list[tuple[int, SegmentRow]]) -> bool:
        """Whether tombstones hold so much of the log that the oldest segment has to go."""
        buried_bytes = sum(row.tombstone_bytes for _name, row in logs)
        total_bytes = len(logs) * self._core.layout.segment_bytes
        return buried_bytes > total_bytes * self._core.config.tombstone_log_ratio

    def _choose_data(
        self, txn: ReadTransaction, rows: list[tuple[int, SegmentRow]], live_ratio: float
    ) -> tuple[float, int, int] | None:
        """The sparsest data segment that nobody writes to, by what was written in it."""
        best: tuple[float, int, int] | None = None
        for name, row in rows:
            if row.kind != schema.SEGMENT_DATA or row.run != 1:
                continue
            limit_bytes = live_ratio * self._core.layout.segment_bytes
            if row.live_bytes >= limit_bytes or txn.get(keys.lease(name)) is not None:
                continue
            ratio = row.live_bytes / max(1, self._written_bytes(txn, name))
            if ratio < live_ratio:
                best = min(best or (2.0, 0, 0), (ratio, name, schema.SEGMENT_DATA))
        return best

    def _written_bytes(self, txn: ReadTransaction, segment: int) -> int:
        """How far into a data segment anything lies that still lives."""
        prefix = keys.extents_prefix(segment)
        last = txn.last(prefix, keys.after(prefix))
        if last is None:
            return 0
        extent_bytes = stored_bytes(
            ExtentRow.unpack(last[1]).length_bytes, self._core.superblock.chunk_bytes
        )
        start = self._core.layout.offset(segment)
        return keys.parse_extent(last[0])[1] + extent_bytes - start
