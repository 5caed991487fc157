"""The whole-store check: every invariant, every checksum.

The index is a function of the log.  So the check replays the log into a second
index and compares the two, row by row: every counter, every place, every owner
must be the same.  Besides that it reads every byte that the index refers to.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from blockdev import BlockDevice, DeviceError, SystemClock
from objstore.config import CHECK_SHOWN_ROWS, StoreConfig
from objstore.engine.check_sizes import size_problems
from objstore.engine.check_versions import version_problems
from objstore.engine.compaction import heal_log_segment, segments_of
from objstore.engine.core import Core, tail_of
from objstore.engine.extent_moves import verified_pieces
from objstore.engine.extents import span
from objstore.engine.opening import (
    Folder,
    discard_index,
    mark,
    open_device,
    open_folder,
    prepare,
    replay_into,
)
from objstore.engine.recovery import LogMap, RebuildReport, Replay
from objstore.engine.sharing import FileLock
from objstore.engine.superblock import load_superblock, superblock_problems
from objstore.entropy import SystemEntropy
from objstore.errors import CorruptionError, StoreError, StoreLockedError
from objstore.index import keys, schema
from objstore.index.base import ReadTransaction
from objstore.index.lmdb_index import LmdbIndex
from objstore.index.schema import Extent, ExtentRow
from objstore.log.format import SegmentHead
from objstore.log.reader import read_segment_head


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that should not be.  `where`: the part of the store it is in."""

    where: str
    what: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}"


def check_store(
    path: str | os.PathLike[str], *, device: BlockDevice | None = None
) -> list[Problem]:
    """Check the store in folder `path`; an empty list says that all is whole.

    May run while other processes serve the store: it checks the state it finds
    when it begins, and keeps that from being overwritten meanwhile.  Nothing that is
    damaged is mended.

    `device`: what the store is on, if not on the folder's own file; it stays open.

    Raises:
        StoreError: the folder cannot be opened as a store at all.
    """
    from objstore.engine.store import ObjectStore

    _check_is_store(path, device)
    folder = Folder(Path(path))
    config, clock, entropy = StoreConfig(maintenance_interval_s=0), SystemClock(), SystemEntropy()
    try:
        opened = open_folder(folder, config, clock, entropy, device, mends=False)
    except CorruptionError as error:
        return [Problem("store", str(error))]
    store = ObjectStore._join(opened, folder, config, clock, entropy, create_buckets=False)
    with store:
        return store.check()


def _check_is_store(path: str | os.PathLike[str], device: BlockDevice | None) -> None:
    """Raise `StoreError` where there is none, before anything is made there."""
    if device is None and not Folder(Path(path)).device.exists():
        raise StoreError(f"{os.fspath(path)!r} holds no store: there is no file 'device' in it")
    if device is not None and load_superblock(device, mends=False) is None:
        raise StoreError("the device is blank: there was never a store on it")


def check_core(core: Core) -> list[Problem]:
    """Check an open store, as of now."""
    with core.index.read() as txn:
        pin = tail_of(txn).next_seq
    core.slots.pin(pin)
    try:
        with core.index.read() as txn:
            problems = list(_check_superblock(core))
            problems += _check_log(core, txn)
            problems += _check_extents(core, txn)
            problems += _check_segments(core, txn)
            problems += [Problem("data", text) for text in size_problems(txn)]
            problems += [Problem("versions", text) for text in version_problems(txn)]
            return problems
    finally:
        core.slots.unpin(pin)


def _check_superblock(core: Core) -> Iterator[Problem]:
    """Both copies are there, and are those that the store was opened with."""
    for text in superblock_problems(core.device, core.superblock):
        yield Problem("superblock", text)


def _check_log(core: Core, txn: ReadTransaction) -> Iterator[Problem]:
    """Replay the log beside the index and compare."""
    tail = tail_of(txn)
    log_map = LogMap()
    for segment, row in segments_of(txn):
        if row.kind != schema.SEGMENT_LOG:
            continue
        head = read_segment_head(core.device, core.layout, segment, core.superblock.store_id)
        if head is None or head.start_seq != row.start_seq:
            yield Problem("log", f"segment {segment} has lost its head")
            head = SegmentHead(core.superblock.store_id, segment, row.start_seq, 0)
        log_map.heads.append(head)
        log_map.first_lsns[segment] = row.start_lsn
        log_map.end_seqs[segment] = row.end_seq
    log_map.heads.sort(key=lambda head: head.start_seq)
    last_seq = tail.next_seq - 1
    with tempfile.TemporaryDirectory(prefix="objstore-check-") as folder:
        twin = LmdbIndex(Path(folder), map_bytes=core.config.index_map_bytes, max_readers=64)
        try:
            prepare(twin, core.layout)
            # Read on behind damage: it is named once, and not again by each row it is about.
            replay = Replay(
                core.device,
                twin,
                core.superblock,
                until_seq=last_seq,
                log_map=log_map,
                salvage=True,
            )
            report = replay.run()
            for text in (*report.problems, *report.damaged):
                yield Problem("log", text)
            if last_seq and report.last_seq != last_seq:
                yield Problem("log", f"ends at batch {report.last_seq} instead of {last_seq}")
            with twin.read() as expected:
                yield from _compare(txn, expected)
        finally:
            twin.close()


def _compare(actual: ReadTransaction, expected: ReadTransaction) -> Iterator[Problem]:
    """Rows in which the index differs from the log; no more than a screenful."""
    found = 0
    for key, row, wanted in _merged(_durable_rows(actual), _durable_rows(expected)):
        if row == wanted:
            continue
        found += 1
        if found <= CHECK_SHOWN_ROWS:
            state = (
                "missing" if row is None else "not in the log" if wanted is None else "different"
            )
            yield Problem("index", f"row {key!r} is {state}")
    if found > CHECK_SHOWN_ROWS:
        yield Problem("index", f"{found - CHECK_SHOWN_ROWS} more rows differ from the log")


def _durable_rows(txn: ReadTransaction) -> Iterator[tuple[bytes, bytes]]:
    yield from txn.scan(b"\x00", keys.RUNTIME)


def _merged(
    left: Iterator[tuple[bytes, bytes]], right: Iterator[tuple[bytes, bytes]]
) -> Iterator[tuple[bytes, bytes | None, bytes | None]]:
    """Two sorted streams as one: (key, left's value, right's value)."""
    a, b = next(left, None), next(right, None)
    while a is not None or b is not None:
        if b is None or (a is not None and a[0] < b[0]):
            assert a is not None
            yield a[0], a[1], None
            a = next(left, None)
        elif a is None or b[0] < a[0]:
            yield b[0], None, b[1]
            b = next(right, None)
        else:
            yield a[0], a[1], b[1]
            a, b = next(left, None), next(right, None)


def _check_extents(core: Core, txn: ReadTransaction) -> Iterator[Problem]:
    """Every extent lies in its segment, none overlaps another, all bytes match."""
    end = 0
    last: Extent | None = None
    for key, row in txn.scan(b"x", keys.after(b"x")):
        segment, offset_bytes, _owner, _start = keys.parse_extent(key)
        use = ExtentRow.unpack(row)
        extent = Extent(offset_bytes, use.length_bytes, use.nonce)
        if extent == last:
            continue
        last = extent
        if offset_bytes < end:
            yield Problem("data", f"the extent at {offset_bytes} overlaps the one before it")
        first, run = span(extent, core.layout, core.superblock.chunk_bytes)
        if first != segment or first + run > core.layout.segment_count:
            yield Problem("data", f"the extent at {offset_bytes} lies outside its segment")
            continue
        end = offset_bytes + use.length_bytes
        try:
            for _piece in verified_pieces(core, extent):
                pass
        except (CorruptionError, DeviceError) as error:
            yield Problem("data", str(error))


def _check_segments(core: Core, txn: ReadTransaction) -> Iterator[Problem]:
    """No two rows claim the same segment."""
    end = 0
    for segment, row in segments_of(txn):
        if segment < end:
            yield Problem("segments", f"segment {segment} is used twice")
        end = max(end, segment + row.run)
        if end > core.layout.segment_count:
            yield Problem("segments", f"segment {segment} reaches past the device")


def rebuild_index(
    path: str | os.PathLike[str], *, device: BlockDevice | None = None
) -> RebuildReport:
    """Throw the index and its checkpoints away and make the index anew from the log.

    Damage does not end it: what can be read is taken, and the report lists the rest.

    `device`: what the store is on, if not on the folder's own file; it stays open.

    Raises:
        StoreLockedError: a process has the store open.
        StoreError: there is no store.
    """
    _check_is_store(path, device)
    folder = Folder(Path(path))
    folder.make()
    lock = FileLock(folder.run / "lock")
    try:
        if not lock.try_exclusive():
            raise StoreLockedError("a process has this store open; stop it first")
        config = StoreConfig()
        opened = device or open_device(folder, config)
        try:
            report = rebuild(folder, opened, config)
        finally:
            if device is None:
                opened.close()
    finally:
        lock.close()
    if report.damaged_segments:
        heal(path, report.damaged_segments, device)
    return report


def heal(
    path: str | os.PathLike[str], segments: Iterable[int], device: BlockDevice | None = None
) -> None:
    """Write what could be read of damaged log segments again, and give them up."""
    from objstore.engine.store import ObjectStore

    config = StoreConfig(maintenance_interval_s=0)
    with ObjectStore.open(path, config=config, device=device) as store:
        for segment in sorted(segments):
            heal_log_segment(store._core, segment)


def rebuild(folder: Folder, device: BlockDevice, config: StoreConfig) -> RebuildReport:
    """As `rebuild_index`, on a device that is open, under the exclusive lock."""
    superblock = load_superblock(device, mends=True)
    if superblock is None:
        raise StoreError("the device is blank: there was never a store on it")
    discard_index(folder)
    shutil.rmtree(folder.checkpoints, ignore_errors=True)
    report = replay_into(folder, device, superblock, config, salvage=True)
    mark(folder, superblock, is_clean=False)
    return report
