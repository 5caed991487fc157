"""Opening a store: make it, trust its index, or recover it; then share it.

What a data folder holds::

    device          the block device: a sparse file, the truth
    index/          LMDB, a view of the log; may be deleted while nobody has it open
    checkpoints/    images of the index
    run/            locks and slots of the processes that share the store
    state.json      whether the index can be trusted after a power loss

The index is written without syncing.  A killed process leaves it whole, in the
page cache; a power loss does not.  So it is trusted when this boot of the machine
wrote it, or when the last process to close the store synced it and said so.
"""

from __future__ import annotations

import json
import logging
import shutil
from dataclasses import dataclass
from pathlib import Path

from blockdev import BlockDevice, Clock
from blockdev.file import FileDevice
from objstore.config import (
    LEAST_SEGMENT_BYTES,
    LEAST_SEGMENTS,
    LOCK_POLL_NS,
    LOCK_WAIT_NS,
    StoreConfig,
)
from objstore.engine import checkpoint
from objstore.engine.checkpoint import write_synced
from objstore.engine.recovery import RebuildReport, Replay, put_initial_rows
from objstore.engine.sharing import FileLock
from objstore.engine.superblock import load_superblock
from objstore.entropy import Entropy
from objstore.errors import CorruptionError, StoreError, StoreLockedError, StoreUnavailableError
from objstore.files import sync_folder
from objstore.index import keys
from objstore.index.base import IndexUnusableError
from objstore.index.lmdb_index import LmdbIndex
from objstore.index.schema import Tail
from objstore.log.format import (
    SEGMENTS_START_BYTES,
    SUPERBLOCK_COPIES,
    Layout,
    Superblock,
)

_LOG = logging.getLogger("objstore.recovery")
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(slots=True)
class Opened:
    """What opening gives: the parts that depend on the folder, and its shared lock."""

    device: BlockDevice
    index: LmdbIndex
    superblock: Superblock
    lock: FileLock
    report: RebuildReport | None
    owns_device: bool

    def release(self) -> None:
        """Close everything; the lock last, since it keeps others from recovering."""
        self.index.close()
        if self.owns_device:
            self.device.close()
        self.lock.close()


@dataclass(frozen=True, slots=True)
class Folder:
    """Paths within a data folder."""

    path: Path

    @property
    def device(self) -> Path:
        return self.path / "device"

    @property
    def index(self) -> Path:
        return self.path / "index"

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def run(self) -> Path:
        return self.path / "run"

    @property
    def state(self) -> Path:
        return self.path / "state.json"

    def make(self) -> None:
        """Make the folder; its name is durable before anything in it is acknowledged."""
        if not self.path.is_dir():
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            sync_folder(self.path.absolute().parent)
        self.run.mkdir(mode=0o700, exist_ok=True)


def open_folder(
    folder: Folder,
    config: StoreConfig,
    clock: Clock,
    entropy: Entropy,
    device: BlockDevice | None,
    *,
    mends: bool = True,
) -> Opened:
    """Open the store in `folder`, making or recovering it first if need be.

    `mends`: write a damaged copy of the superblock again.

    Raises:
        StoreLockedError: another process has been recovering it for a minute.
        StoreUnavailableError: it is open in this process already.
        CorruptionError: the log is damaged; `objstore rebuild-index` says where.
    """
    folder.make()
    lock = FileLock(folder.run / "lock")
    try:
        is_alone = _take_lock(lock, clock)
        owns_device = device is None
        device = device or open_device(folder, config)
        try:
            report = None
            if is_alone:
                superblock = load_superblock(device, mends=mends)
                if superblock is None:
                    superblock = make(device, config, clock, entropy)
                if not can_trust_index(folder, superblock) or not is_usable(folder, config):
                    report = recover(folder, device, superblock, config)
                mark(folder, superblock, is_clean=False)
                _share(lock, clock)
            else:
                superblock = load_superblock(device, mends=mends)
                assert superblock is not None, "whoever holds the lock has made the store"
            try:
                index = open_index(folder, config)
            except IndexUnusableError as error:
                raise StoreUnavailableError(f"the store cannot be opened: {error}") from error
        except BaseException:
            if owns_device:
                device.close()
            raise
        return Opened(device, index, superblock, lock, report, owns_device)
    except BaseException:
        lock.close()
        raise


def _take_lock(lock: FileLock, clock: Clock) -> bool:
    """Get in: alone, to recover if need be, or beside others that are in already."""
    deadline_ns = clock.monotonic_ns() + LOCK_WAIT_NS
    while True:
        if lock.try_exclusive():
            return True
        if lock.try_shared():
            return False
        if clock.monotonic_ns() >= deadline_ns:
            raise StoreLockedError("another process has been recovering this store for a minute")
        clock.sleep_until(clock.monotonic_ns() + LOCK_POLL_NS)


def _share(lock: FileLock, clock: Clock) -> None:
    """From exclusive to shared; in between another may have got in, and that is fine."""
    while not lock.try_shared():
        clock.sleep_until(clock.monotonic_ns() + LOCK_POLL_NS)


def open_device(folder: Folder, config: StoreConfig) -> BlockDevice:
    """The folder's own device: a sparse file, as large as it was made."""
    if folder.device.exists() and folder.device.stat().st_size:
        return FileDevice.open(folder.device)
    return FileDevice.open(folder.device, size_bytes=config.device_bytes)


def make(device: BlockDevice, config: StoreConfig, clock: Clock, entropy: Entropy) -> Superblock:
    """Make an empty store on a device of zeroes."""
    size_bytes = device.geometry.size_bytes
    segment_bytes = config.segment_bytes
    if segment_bytes < LEAST_SEGMENT_BYTES or segment_bytes % 4096:
        raise StoreError(
            f"segment_bytes of {segment_bytes}: a multiple of 4 KiB, at least {LEAST_SEGMENT_BYTES}"
        )
    if size_bytes < SEGMENTS_START_BYTES + LEAST_SEGMENTS * segment_bytes:
        raise StoreError(
            f"a device of {size_bytes} bytes is too small for {LEAST_SEGMENTS} segments of "
            f"{segment_bytes}"
        )
    superblock = Superblock(
        entropy.token_bytes(16),
        size_bytes,
        segment_bytes,
        config.checksum_chunk_bytes,
        clock.now_ns() // 1_000_000,
    )
    for offset_bytes in SUPERBLOCK_COPIES:
        device.write(offset_bytes, superblock.pack(), fua=True)
    device.flush()  # the file's length, too
    return superblock


def can_trust_index(folder: Folder, superblock: Superblock) -> bool:
    """Whether the index on disk is what the last commit left."""
    try:
        state = json.loads(folder.state.read_text())
    except (OSError, ValueError):
        return False
    return (
        (folder.index / "data.mdb").exists()
        and state.get("store_id") == superblock.store_id.hex()
        and (state.get("boot_id") == _boot_id() or state.get("is_clean") is True)
    )


def _boot_id() -> str:
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return ""  # then only a clean close is trusted


def mark(folder: Folder, superblock: Superblock, *, is_clean: bool) -> None:
    """Note, durably, whether the index is synced."""
    boot_id = _boot_id() or None
    state = {
        "store_id": superblock.store_id.hex(),
        "boot_id": boot_id,
        "is_clean": is_clean,
    }
    write_synced(folder.state, json.dumps(state, indent=1))


def open_index(folder: Folder, config: StoreConfig) -> LmdbIndex:
    return LmdbIndex(
        folder.index, map_bytes=config.index_map_bytes, max_readers=config.index_max_readers
    )


def is_usable(folder: Folder, config: StoreConfig) -> bool:
    """Whether the index is one at all; nobody else may have it open."""
    try:
        index = open_index(folder, config)
    except IndexUnusableError:
        return False
    try:
        with index.read() as txn:
            return txn.get(keys.TAIL) is not None
    finally:
        index.close()


def recover(
    folder: Folder, device: BlockDevice, superblock: Superblock, config: StoreConfig
) -> RebuildReport:
    """Bring the index back from the newest checkpoint that is whole, or from nothing.

    Raises:
        CorruptionError: the log is damaged; the folder is as it was but for the index.
    """
    for candidate in checkpoint.find(folder.checkpoints, superblock.store_id):
        discard_index(folder)
        if checkpoint.restore(candidate, folder.index) and is_usable(folder, config):
            return _replay_whole(folder, device, superblock, config)
    discard_index(folder)
    return _replay_whole(folder, device, superblock, config)


def _replay_whole(
    folder: Folder, device: BlockDevice, superblock: Superblock, config: StoreConfig
) -> RebuildReport:
    """Replay the log into the index that is in place, if all of it is there."""
    report = replay_into(folder, device, superblock, config)
    if report.problems:
        discard_index(folder)
        raise CorruptionError(
            "the log is damaged: " + "; ".join(report.problems[:3]) + "; run "
            "`objstore rebuild-index` to open the store with what is left"
        )
    return report


def discard_index(folder: Folder) -> None:
    """Remove the index; first what says that it can be trusted.

    A process killed in the midst of a replay leaves an index that is behind the log.
    """
    if folder.state.exists():
        folder.state.unlink()
        sync_folder(folder.path)
    shutil.rmtree(folder.index, ignore_errors=True)


def replay_into(
    folder: Folder,
    device: BlockDevice,
    superblock: Superblock,
    config: StoreConfig,
    *,
    salvage: bool = False,
) -> RebuildReport:
    """Replay the log into the index that is in place, or into an empty one."""
    index = open_index(folder, config)
    try:
        after_seq = prepare(index, Layout.of(superblock))
        replay = Replay(device, index, superblock, after_seq=after_seq, salvage=salvage)
        report = replay.run()
        for text in report.damaged:
            _LOG.error("%s; run `objstore check`", text)
        return report
    finally:
        index.close()


def prepare(index: LmdbIndex, layout: Layout) -> int:
    """Make an index ready for a replay; the last batch that it has seen."""
    with index.write() as txn:
        for key, _row in list(txn.scan(keys.RUNTIME, keys.RUNTIME_END)):
            txn.delete(key)
        row = txn.get(keys.TAIL)
        if row is None:
            put_initial_rows(txn, layout)
            return 0
        return Tail.unpack(row).next_seq - 1
