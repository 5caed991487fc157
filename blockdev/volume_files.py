"""The files of a volume: made whole, made larger, and opened."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from blockdev.device import BlockDevice
from blockdev.errors import DeviceOpenError
from blockdev.file import FileDevice
from blockdev.map_writer import sync_folder
from blockdev.snapshot import SnapshotStore
from blockdev.volume_map import MAP_BYTES, VolumeMap, read_header

DATA_NAME: Final = "data"
MAP_NAME: Final = "map"


def create_files(
    folder: Path, size_bytes: int, volume: str, store: SnapshotStore | None, origin_id: str
) -> None:
    """See `LiveVolume.create`."""
    with as_open_error(folder):
        folder.mkdir(parents=True, exist_ok=True)
    with (
        contextlib.closing(FileDevice.open(folder / DATA_NAME, size_bytes=size_bytes)),
        contextlib.closing(FileDevice.open(folder / MAP_NAME, size_bytes=MAP_BYTES)) as map_device,
    ):
        format_volume(map_device, size_bytes, volume, store, origin_id)
    with as_open_error(folder):
        # The devices have synced their own names, in `folder`.  Its name, and that of the folder
        # of all volumes, are made durable always and not only by whoever made them: that may
        # have been a process that was killed before it came to this.
        sync_folder(folder.parent)
        sync_folder(folder.parent.parent)


def format_volume(
    map_device: BlockDevice,
    size_bytes: int,
    volume: str,
    store: SnapshotStore | None = None,
    origin_id: str = "",
) -> None:
    """Make a device the map of a new volume, unless it is one already.  See `LiveVolume.create`.

    Its data device is empty, and at least `size_bytes` large.
    """
    if read_header(map_device) is not None:
        return
    if not origin_id:
        VolumeMap.create(map_device, size_bytes, volume)
        return
    if store is None:
        raise KeyError(origin_id)
    store.pin(origin_id, volume)
    with store.open_map(origin_id) as origin:
        VolumeMap.create(map_device, size_bytes, volume, origin, origin_id)


def open_data(path: Path, size_bytes: int) -> FileDevice:
    """The data file, at least that large: a crash may have come between it and the map."""
    with as_open_error(path):
        if path.stat().st_size < size_bytes:
            os.truncate(path, size_bytes)
            descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
    return FileDevice.open(path, size_bytes=size_bytes)


@contextlib.contextmanager
def as_open_error(path: Path) -> Iterator[None]:
    """Errors of the operating system as `DeviceOpenError`."""
    try:
        yield
    except OSError as error:
        raise DeviceOpenError(f"{path.name}: {error.strerror}") from error
