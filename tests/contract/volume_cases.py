"""Volumes that the device contract runs over: each starts as zeroes, however it comes by them."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from blockdev.block_codec import ZERO_BLOCK, digest_of
from blockdev.captures import TooManyPendingError
from blockdev.clock import ManualClock
from blockdev.device import BlockDevice, Buffer, Extent
from blockdev.filters.passthrough import Passthrough
from blockdev.filters.powerloss import PowerLossDevice
from blockdev.live import LiveVolume
from blockdev.snapshot import SnapshotStore
from blockdev.snapshot_map import blocks_of
from tests.volumes import open_memory_volume, open_store


def live_memory(path: Path, undo: ExitStack, size_bytes: int) -> BlockDevice:
    """No snapshots, no store."""
    return open_memory_volume(size_bytes)


def live_powerloss(path: Path, undo: ExitStack, size_bytes: int) -> BlockDevice:
    """Over devices that can lose their power."""
    return open_memory_volume(size_bytes, wrap=PowerLossDevice)


def live_file(path: Path, undo: ExitStack, size_bytes: int) -> BlockDevice:
    """As a region has it."""
    store = undo.enter_context(open_store(path))
    LiveVolume.create(path / "volume", size_bytes=size_bytes, volume="vol-1")
    return LiveVolume.open(path / "volume", clock=ManualClock(), store=store)


def live_restored(path: Path, undo: ExitStack, size_bytes: int) -> BlockDevice:
    """Every block is remote, and holds zeroes: no ordinary snapshot would store them."""
    store = undo.enter_context(open_store(path))
    _snapshot_of_zeroes(store, size_bytes)
    folder = path / "volume"
    LiveVolume.create(
        folder, size_bytes=size_bytes, volume="vol-1", store=store, origin_id="snap-1"
    )
    return LiveVolume.open(folder, clock=ManualClock(), store=store)


def live_initializing(path: Path, undo: ExitStack, size_bytes: int) -> BlockDevice:
    """The same, while a thread loads what is remote."""
    store = undo.enter_context(open_store(path))
    _snapshot_of_zeroes(store, size_bytes)
    volume = open_memory_volume(size_bytes, store, "snap-1")
    volume.initialize(None)
    return volume


def live_snapshotted(path: Path, undo: ExitStack, size_bytes: int) -> BlockDevice:
    """A snapshot is begun before every few changes: all writes meet copies that are not made."""
    store = undo.enter_context(open_store(path))
    return SnapshotNow(open_memory_volume(size_bytes, store))


class SnapshotNow(Passthrough):
    """Begins a snapshot of the volume below before every third change."""

    def __init__(self, below: LiveVolume) -> None:
        super().__init__(below)
        self._volume = below
        self._numbers = itertools.count()

    def write(self, offset_bytes: int, data: Buffer, *, fua: bool = False) -> None:
        self._begin()
        self._volume.write(offset_bytes, data, fua=fua)

    def write_zeroes(self, offset_bytes: int, length_bytes: int) -> None:
        self._begin()
        self._volume.write_zeroes(offset_bytes, length_bytes)

    def discard(self, offset_bytes: int, length_bytes: int) -> None:
        self._begin()
        self._volume.discard(offset_bytes, length_bytes)

    def extents(self, offset_bytes: int, length_bytes: int) -> Iterator[Extent]:
        return self._volume.extents(offset_bytes, length_bytes)

    def _begin(self) -> None:
        number = next(self._numbers)
        if number % 3 == 0:
            with contextlib.suppress(TooManyPendingError):
                self._volume.begin_snapshot(f"snap-{number}")


def _snapshot_of_zeroes(store: SnapshotStore, size_bytes: int) -> None:
    draft = store.begin("snap-1", size_bytes=size_bytes)
    zero = digest_of(ZERO_BLOCK)
    changes = [(index, zero) for index in range(blocks_of(size_bytes))]
    draft.note(changes)
    draft.store_noted(changes, [ZERO_BLOCK] * len(changes))
    draft.complete()
