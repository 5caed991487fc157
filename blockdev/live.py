"""A volume: a flat file with a map beside it, lazily loaded, tracked, and snapshotted.

Reading costs a bit test more than the file does, whatever number of snapshots there are.
A block is *remote* while its content is still in the snapshot that the volume came from:
the first touch loads it.  What is written to is marked as changed, so that a snapshot
reads those blocks and no others; see `volume_blocks.py` and `captures.py`.

In the stack it lies below delay and throttle, so that copies and loads are not billed to
the client, and above the file.  The contract holds as it is; beyond it, `grow` changes the
geometry, which layers above have noted: stack them anew.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final

from blockdev.block_codec import BLOCK_BYTES
from blockdev.captures import Captures, CopyPlan
from blockdev.clock import Clock
from blockdev.device import BlockDevice, Buffer, Extent, Geometry, byte_view, check_range
from blockdev.errors import DeviceClosedError, DeviceError, DeviceOpenError
from blockdev.extents import join_extents
from blockdev.file import FileDevice
from blockdev.folder_lock import FolderLock, VolumeHeldError
from blockdev.gate import Gate
from blockdev.initialization import Initializer
from blockdev.snapshot import SnapshotStore
from blockdev.snapshot_map import blocks_of
from blockdev.volume_blocks import VolumeBlocks
from blockdev.volume_files import (
    DATA_NAME,
    MAP_NAME,
    create_files,
    format_volume,
    open_data,
)
from blockdev.volume_map import VolumeMap, read_header

FirstTouch = Callable[[int], None]
"""Called with the index of a block that a client's request has just loaded; may sleep."""

EXTENT_BLOCKS: Final = 4096
"""Blocks whose remote bits are looked at in one go: 2 GiB."""


class LiveVolume:
    """A volume that is open; make one with `create` and `open`.  Thread-safe.

    Over devices of one's own: `format_volume`, then the constructor, then `start`.
    """

    def __init__(
        self,
        data: BlockDevice,
        map_device: BlockDevice,
        *,
        clock: Clock,
        store: SnapshotStore | None = None,
        first_touch: FirstTouch | None = None,
        larger: Callable[[int], BlockDevice] | None = None,
        lock: FolderLock | None = None,
        copy_plan: CopyPlan | None = None,
    ) -> None:
        """Take over the devices; `larger` gives a data device of a new size, for `grow`.

        Raises:
            DeviceOpenError: there is no map, or the data device is smaller than it says.
            KeyError: `store` does not have the snapshot that the volume loads from.
        """
        map_ = VolumeMap.open(map_device)
        header = map_.header
        if data.geometry.size_bytes < header.size_bytes:
            raise DeviceOpenError(f"{header.volume}: the data device is too small")
        if header.origin_id and store is None:
            raise DeviceOpenError(f"{header.volume} needs the store of {header.origin_id}")
        origin = store.open_map(header.origin_id) if store and header.origin_id else None
        self._blocks = VolumeBlocks(data, map_, origin, store.blocks if store else None)
        self._store = store
        self._first_touch = first_touch
        self._larger = larger
        self._lock = lock
        self._gate = Gate()
        self._closing = threading.Lock()
        self._closed = False
        self._captures: Captures | None = None
        if store is not None:
            self._captures = Captures(self._blocks, self._gate, store, copy_plan or CopyPlan())
        self._initializer = Initializer(self._blocks, clock)
        self._set_geometry(header.size_bytes)
        # On the path of every small request; both keep their identity for life.
        self._changed = self._blocks.changed
        self._has_origin = bool(header.origin_id)

    @classmethod
    def create(
        cls,
        folder: Path,
        *,
        size_bytes: int,
        volume: str,
        store: SnapshotStore | None = None,
        origin_id: str = "",
    ) -> None:
        """Make a volume's files in `folder`, durably; once more for one that is there is fine.

        `origin_id`: the snapshot that it starts as; it is pinned in `store` for `volume`.

        Raises:
            KeyError: there is no such snapshot.
            ValueError: the snapshot is larger, or there is no volume of that size.
            DeviceError: the files cannot be made.
        """
        create_files(folder, size_bytes, volume, store, origin_id)

    @classmethod
    def open(
        cls,
        folder: Path,
        *,
        clock: Clock,
        store: SnapshotStore | None = None,
        first_touch: FirstTouch | None = None,
    ) -> LiveVolume:
        """Open the volume in `folder`; snapshots of it that are pending go on.

        Raises:
            VolumeHeldError: another process, or object, has it open.
            DeviceOpenError: there is no whole volume there.
        """
        lock = FolderLock.acquire(folder)
        try:
            map_device = FileDevice.open(folder / MAP_NAME)
            header = read_header(map_device)
            if header is None:
                raise DeviceOpenError(f"{folder.name}: its making was not finished")
            path = folder / DATA_NAME
            volume = cls(
                open_data(path, header.size_bytes),
                map_device,
                clock=clock,
                store=store,
                first_touch=first_touch,
                larger=lambda size_bytes: open_data(path, size_bytes),
                lock=lock,
            )
            volume.start()
        except BaseException:
            lock.release()
            raise
        return volume

    def start(self) -> None:
        """Begin: from here on a crash is one; go on with pending snapshots.

        Raises:
            DeviceError, sqlite3.Error: map or store fail.
        """
        self._blocks.write_header(lambda header: replace(header, clean=False))
        if self._captures is not None:
            self._captures.resume()
        self._settle_origin()

    @property
    def geometry(self) -> Geometry:
        return self._geometry

    @property
    def volume(self) -> str:
        """Its id."""
        return self._blocks.header.volume

    @property
    def unloaded_bytes(self) -> int:
        """What is still to be loaded from the snapshot that the volume came from."""
        return self._blocks.remote_left * BLOCK_BYTES

    # The device.

    def read_into(self, offset_bytes: int, buffer: bytearray | memoryview) -> None:
        length_bytes = buffer.nbytes if isinstance(buffer, memoryview) else len(buffer)
        if offset_bytes < 0 or offset_bytes + length_bytes > self._size_bytes:
            check_range(self._geometry, offset_bytes, length_bytes)
        blocks = self._blocks
        if blocks.remote_left:
            self._load_range(offset_bytes, length_bytes)
        blocks.data.read_into(offset_bytes, buffer)

    def try_read_into(self, offset_bytes: int, buffer: bytearray | memoryview) -> bool:
        length_bytes = buffer.nbytes if isinstance(buffer, memoryview) else len(buffer)
        check_range(self._geometry, offset_bytes, length_bytes)
        if self._blocks.remote_within(*_span(offset_bytes, length_bytes)):
            self._check_open()
            return False
        return self._blocks.data.try_read_into(offset_bytes, buffer)

    def write(self, offset_bytes: int, data: Buffer, *, fua: bool = False) -> None:
        length_bytes = data.nbytes if isinstance(data, memoryview) else len(data)
        if offset_bytes < 0 or offset_bytes + length_bytes > self._size_bytes:
            check_range(self._geometry, offset_bytes, length_bytes)
        first = offset_bytes // BLOCK_BYTES
        self._gate.enter()
        try:
            if (
                length_bytes
                and offset_bytes + length_bytes <= (first + 1) * BLOCK_BYTES
                and self._changed[first >> 3] >> (first & 7) & 1
                and not self._has_origin
                and not (self._captures and self._captures.active)
            ):
                self._blocks.data.write(offset_bytes, data, fua=fua)
            else:
                self._write_prepared(offset_bytes, byte_view(data), fua)
        finally:
            self._gate.leave()

    def write_zeroes(self, offset_bytes: int, length_bytes: int) -> None:
        self._clear(offset_bytes, length_bytes, lambda at, n: self._blocks.data.write_zeroes(at, n))

    def discard(self, offset_bytes: int, length_bytes: int) -> None:
        self._clear(offset_bytes, length_bytes, lambda at, n: self._blocks.data.discard(at, n))

    def flush(self) -> None:
        self._check_open()
        self._blocks.flush()
        self._settle_origin()

    def extents(self, offset_bytes: int, length_bytes: int) -> Iterator[Extent]:
        check_range(self._geometry, offset_bytes, length_bytes)
        self._check_open()
        if not self._blocks.remote_left:
            return self._blocks.data.extents(offset_bytes, length_bytes)
        return join_extents(self._mixed_extents(offset_bytes, offset_bytes + length_bytes))

    def close(self) -> None:
        """As the contract says; flushes on the way if it can, so that no region is in doubt."""
        with self._closing:
            if self._closed:
                return
            self._closed = True
        self._gate.thaw()  # who waits to write is refused
        self._initializer.stop()
        if self._captures is not None:
            self._captures.stop()
        with self._gate.shut():  # a write after the clean header would be one that nobody noted
            with contextlib.suppress(DeviceError):
                self._blocks.close_clean()
            self._blocks.data.close()
            self._blocks.map.close()
        if self._blocks.origin is not None:
            self._blocks.origin.close()
        if self._lock is not None:
            self._lock.release()

    # What only a volume has.

    def grow(self, size_bytes: int) -> None:
        """Make the volume larger; the new part reads as zero.  Durable on return.

        Raises:
            ValueError: it would not grow.
            DeviceError: there is no room, or no such data device.
        """
        if size_bytes < self._size_bytes:
            raise ValueError(f"a volume of {self._size_bytes} bytes cannot become {size_bytes}")
        if self._larger is None:
            raise DeviceError("the data device cannot grow")
        data = self._larger(size_bytes)
        with self._gate.shut():
            # Who reads from the old one goes on; it closes when nobody does any more.
            self._blocks.grow(data, size_bytes)
            self._set_geometry(size_bytes)

    def begin_snapshot(self, snapshot_id: str) -> None:
        """Fix the point in time of a snapshot, durably; a thread completes it.

        Raises:
            TooManyPendingError: PENDING_MAX are pending.
            ValueError: the id is taken.
            DeviceError, sqlite3.Error: there is no snapshot.
        """
        self._check_open()
        if self._captures is None:
            raise DeviceError("the volume was opened without a snapshot store")
        self._captures.begin(snapshot_id)

    def freeze(self) -> None:
        """Let no change take effect from now until `thaw`; waits for those under way.

        Reads go on, and snapshots can be begun: so that those of several volumes are of one
        moment.
        """
        self._check_open()
        self._gate.freeze()

    def thaw(self) -> None:
        """Undo `freeze`; idempotent."""
        self._gate.thaw()

    @property
    def pending_snapshots(self) -> list[str]:
        """Those that are not completed yet, oldest first."""
        return self._captures.snapshot_ids if self._captures else []

    def wait_snapshots(self, timeout_s: float | None = None) -> bool:
        """Whether none was pending any more within `timeout_s`; completed or failed."""
        return self._captures.wait(timeout_s) if self._captures else True

    def step_snapshots(self) -> None:
        """Without a copying thread (`CopyPlan`): do the next batch of the oldest snapshot."""
        if self._captures is not None:
            self._captures.step()

    def set_first_touch(self, hook: FirstTouch | None) -> None:
        """What a first touch costs from now on; None with fast snapshot restore."""
        self._first_touch = hook

    def initialize(self, bytes_per_s: int | None) -> None:
        """Load all that is remote in the background, at this rate of the clock (None: at once).

        Again: at another rate.
        """
        self._check_open()
        self._initializer.start(bytes_per_s, self._settle_origin)

    def _set_geometry(self, size_bytes: int) -> None:
        below = self._blocks.data.geometry
        self._geometry = replace(below, size_bytes=size_bytes)
        self._size_bytes = size_bytes

    def _check_open(self) -> None:
        if self._closed:
            raise DeviceClosedError("the volume is closed")

    def _load_range(self, offset_bytes: int, length_bytes: int) -> None:
        for index in self._blocks.remote_within(*_span(offset_bytes, length_bytes)):
            self._check_open()
            self._touch(index)

    def _touch(self, index: int) -> None:
        """Load a block for a client, who pays for being the first."""
        if self._blocks.load(index):
            hook = self._first_touch
            if hook is not None:
                hook(index)

    def _prepare(self, first: int, stop: int) -> None:
        """Before blocks change: copies for pending snapshots, and the marks."""
        if self._captures is not None and self._captures.active:
            self._captures.before_write(first, stop)
        self._blocks.mark_changed(first, stop)

    def _write_prepared(self, offset_bytes: int, view: memoryview, fua: bool) -> None:
        """The general case, inside the gate."""
        blocks = self._blocks
        self._check_open()
        first, stop = _span(offset_bytes, len(view))
        self._prepare(first, stop)
        remote = blocks.remote_within(first, stop)
        if not remote:
            blocks.data.write(offset_bytes, view, fua=fua)
        else:
            for index, at, length_bytes in self._pieces(offset_bytes, len(view)):
                piece = view[at - offset_bytes :][:length_bytes]
                self._replace(index, length_bytes, partial(blocks.data.write, at, piece, fua=fua))
        if fua and self._has_origin and blocks.has_unsaved(first, stop):
            blocks.flush()

    def _replace(self, index: int, length_bytes: int, change: Callable[[], None]) -> None:
        """Change a block, or a part of it, that may be remote."""
        blocks = self._blocks
        if length_bytes < blocks.length_of(index, self._size_bytes):
            self._touch(index)
            change()
            return
        with blocks.stripe(index):
            change()
            blocks.mark_loaded(index)

    def _clear(
        self, offset_bytes: int, length_bytes: int, clear: Callable[[int, int], None]
    ) -> None:
        """Make a range read as zero; blocks that store nothing are not changed by that."""
        check_range(self._geometry, offset_bytes, length_bytes)
        self._gate.enter()
        try:
            self._check_open()
            blocks = self._blocks
            # In this order: a block that is loaded in between is in one of the two.
            remote = blocks.remote_within(*_span(offset_bytes, length_bytes))
            for first, stop in blocks.allocated_blocks(offset_bytes, length_bytes):
                self._prepare(first, stop)
            for index in remote:
                self._prepare(index, index + 1)
                at = max(offset_bytes, index * BLOCK_BYTES)
                piece_bytes = min(offset_bytes + length_bytes, (index + 1) * BLOCK_BYTES) - at
                self._replace(index, piece_bytes, partial(clear, at, piece_bytes))
            clear(offset_bytes, length_bytes)
        finally:
            self._gate.leave()

    def _pieces(self, offset_bytes: int, length_bytes: int) -> Iterator[tuple[int, int, int]]:
        """Cut a range at blocks: index, offset, length."""
        end_bytes = offset_bytes + length_bytes
        while offset_bytes < end_bytes:
            index = offset_bytes // BLOCK_BYTES
            stop = min((index + 1) * BLOCK_BYTES, end_bytes)
            yield index, offset_bytes, stop - offset_bytes
            offset_bytes = stop

    def _mixed_extents(self, at: int, end_bytes: int) -> Iterator[Extent]:
        while at < end_bytes:
            first = at // BLOCK_BYTES
            stop = min(first + EXTENT_BLOCKS, blocks_of(end_bytes))
            run_end = min(stop * BLOCK_BYTES, end_bytes)
            for index in self._blocks.remote_within(first, stop):
                start = max(index * BLOCK_BYTES, at)
                yield from self._blocks.data.extents(at, start - at)
                at = min((index + 1) * BLOCK_BYTES, end_bytes)
                yield Extent(start, at - start, allocated=True)
            yield from self._blocks.data.extents(at, run_end - at)
            at = run_end

    def _settle_origin(self) -> None:
        """When all is loaded, and durably so, the snapshot that it came from is needed no more."""
        if not self._has_origin or self._store is None or not self._blocks.all_saved():
            return
        with self._gate.shut():
            if not self._has_origin:
                return
            origin_id = self._blocks.header.origin_id
            self._blocks.write_header(lambda header: replace(header, origin_id=""))
            self._has_origin = False
        with contextlib.suppress(sqlite3.Error):  # the next open tries again
            self._store.unpin(origin_id, self.volume)


def _span(offset_bytes: int, length_bytes: int) -> tuple[int, int]:
    """The blocks of a range: the first, and one past the last."""
    if not length_bytes:
        return 0, 0
    return offset_bytes // BLOCK_BYTES, blocks_of(offset_bytes + length_bytes)


__all__ = ["FirstTouch", "LiveVolume", "VolumeHeldError", "format_volume"]
