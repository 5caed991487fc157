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
    compact_data_segment,
    compact_log_segment,
    segments_of,
)
from objstore.engine.core import Core, tail_of
from objstore.engine.extents import stored_bytes
from objstore.errors import CorruptionError, StoreError
from objstore.index import keys, schema
from objstore.index.base import ReadTransaction
from objstore.index.schema import ExtentRow, SegmentRow

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
            report.compacted_segments = self._compact()
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

    def _compact(self) -> int:
        """Compact what is sparse, until nothing is or the store is being closed."""
        done = 0
        while not self._stopping.is_set() and self._compact_one():
            done += 1
            if done % 8 == 0:
                self._core.reclaim_alone()
        return done

    def _compact_one(self) -> bool:
        with self._core.index.read() as txn:
            choice = self._choose(txn)
        if choice is None:
            return False
        segment, kind = choice
        try:
            if kind == schema.SEGMENT_DATA:
                compact_data_segment(self._core, segment)
            else:
                self._compact_log(segment)
        except CorruptionError as error:
            # Left as it is, for `objstore check` to show; the rest goes on.
            _LOG.error("compaction left segment %d alone: %s", segment, error)
            self._damaged.add(segment)
        return True

    def _compact_log(self, segment: int) -> None:
        with self._core.index.read() as txn:
            row = txn.get(keys.segment(segment))
        info = SegmentRow.unpack(row) if row else None
        if info is not None and not info.live_bytes and not info.tombstone_bytes:
            self._core.committer.commit(FreeSegment(segment, info.start_seq))
            return
        compact_log_segment(self._core, segment, [kept.lsn for kept in self._kept()])

    def _choose(self, txn: ReadTransaction) -> tuple[int, int] | None:
        """The segment most worth compacting: (segment, kind)."""
        rows = [(name, row) for name, row in segments_of(txn) if name not in self._damaged]
        logs = [(name, row) for name, row in rows if row.kind == schema.SEGMENT_LOG]
        sealed = sorted((r.start_lsn, name, r) for name, r in logs if r.end_seq)
        size_bytes = self._core.layout.segment_bytes
        needed_from = min([row.start_lsn for _n, row in logs], default=0)
        best: tuple[float, int, int] | None = None
        for start_lsn, name, row in sealed:
            # The oldest segment's own tombstones need not be kept once it goes.
            kept_bytes = 0 if start_lsn == needed_from else row.tombstone_bytes
            ratio = (row.live_bytes + kept_bytes) / size_bytes
            if ratio < self._core.config.compact_live_ratio:
                best = min(best or (2.0, 0, 0), (ratio, name, schema.SEGMENT_LOG))
        if best is None:
            best = self._choose_data(txn, rows)
        if best is None and sealed and self._is_buried(logs):
            best = (1.0, sealed[0][1], schema.SEGMENT_LOG)
        return (best[1], best[2]) if best else None

    def _is_buried(self, logs: list[tuple[int, SegmentRow]]) -> bool:
        """Whether tombstones hold so much of the log that the oldest segment has to go."""
        buried_bytes = sum(row.tombstone_bytes for _name, row in logs)
        total_bytes = len(logs) * self._core.layout.segment_bytes
        return buried_bytes > total_bytes * self._core.config.tombstone_log_ratio

    def _choose_data(
        self, txn: ReadTransaction, rows: list[tuple[int, SegmentRow]]
    ) -> tuple[float, int, int] | None:
        """The sparsest data segment that nobody writes to, by what was written in it."""
        best: tuple[float, int, int] | None = None
        for name, row in rows:
            if row.kind != schema.SEGMENT_DATA or row.run != 1:
                continue
            limit_bytes = self._core.config.compact_live_ratio * self._core.layout.segment_bytes
            if row.live_bytes >= limit_bytes or txn.get(keys.lease(name)) is not None:
                continue
            ratio = row.live_bytes / max(1, self._written_bytes(txn, name))
            if ratio < self._core.config.compact_live_ratio:
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
