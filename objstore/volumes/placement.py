"""Where a store is: what its folder says, what was asked for, and whether they agree.

A store on another device than its own file has a note in its folder, ``device.json``:

    {"device": "gp2:100", "token": "…", "volume_id": "vol-…", "instance_id": "i-…"}

It is written before anything is made, with the token that EC2's idempotency goes by, so that
a start that was killed half-way makes nothing twice; the ids are added when they are known.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from objstore.engine.checkpoint import write_synced
from objstore.volumes.device_spec import (
    DeviceSpec,
    DeviceSpecError,
    ExistingVolume,
    Memory,
    NewVolume,
    OwnFile,
    RawPath,
    parse_device,
)

NOTE_NAME: Final = "device.json"
OWN_FILE_NAME: Final = "device"
REGION_NAME: Final = "region"
"""The folder of a server's own region, in its data folder."""


class PlacementError(Exception):
    """The store's device cannot be had; the text says why, and what would do."""


@dataclass(frozen=True, slots=True)
class Placement:
    """The device of the store in `data_dir`.

    `token`: makes what is made for it once; empty while nothing is noted.
    `volume_id`, `instance_id`: what was made, or found.
    """

    data_dir: Path
    spec: DeviceSpec
    token: str = ""
    volume_id: str = ""
    instance_id: str = ""

    @property
    def is_shared(self) -> bool:
        """Whether several processes may have it open at a time."""
        return isinstance(self.spec, OwnFile | RawPath)

    @property
    def is_noted(self) -> bool:
        """Whether it needs a note: memory is gone with its process, and with it the store."""
        return not isinstance(self.spec, OwnFile | Memory)

    @property
    def description(self) -> str:
        """The device in words, for messages."""
        return f"{self.spec} ({self.volume_id})" if self.volume_id else str(self.spec)

    def names(self, asked: DeviceSpec) -> bool:
        """Whether `asked` is this device."""
        if asked == self.spec:
            return True
        is_here = isinstance(asked, ExistingVolume) and asked.region_dir in (None, self.region_dir)
        return is_here and asked.volume_id == self.volume_id != ""  # type: ignore[union-attr]

    @property
    def region_dir(self) -> Path:
        """The folder of the region that its volume or instance is in."""
        if isinstance(self.spec, ExistingVolume) and self.spec.region_dir is not None:
            return self.spec.region_dir
        return (self.data_dir / REGION_NAME).absolute()


def find_placement(data_dir: Path) -> Placement | None:
    """The device that the store in `data_dir` is on; None if there is no store.

    Raises:
        PlacementError: the note cannot be read.
    """
    note = data_dir / NOTE_NAME
    try:
        fields = json.loads(note.read_text(encoding="utf-8"))
        return Placement(
            data_dir,
            parse_device(fields["device"]),
            fields["token"],
            fields["volume_id"],
            fields["instance_id"],
        )
    except (FileNotFoundError, NotADirectoryError):
        own = data_dir / OWN_FILE_NAME
        return Placement(data_dir, OwnFile()) if own.exists() and own.stat().st_size else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise PlacementError(f"{note} does not say where the store is: {error}") from error


def place(data_dir: Path, asked: DeviceSpec | None) -> Placement:
    """The device that a store is on, or the one that a new store is to be on.

    Raises:
        PlacementError: the store is on another device than `asked`.
    """
    found = find_placement(data_dir)
    if found is None:
        return Placement(data_dir, asked or OwnFile())
    if asked is not None and not found.names(asked):
        raise PlacementError(
            f"the store in {data_dir} is on {found.description}, not on {asked}: leave the device "
            "out to use it where it is, or name another folder for a store on that device"
        )
    return found


def write_note(placement: Placement) -> None:
    """Note in the folder, durably, where the store is."""
    fields = {
        "device": str(placement.spec),
        "token": placement.token,
        "volume_id": placement.volume_id,
        "instance_id": placement.instance_id,
    }
    write_synced(placement.data_dir / NOTE_NAME, json.dumps(fields, indent=1) + "\n")


def parse_option(text: str | None) -> DeviceSpec | None:
    """As `parse_device`, of an option that may be left out.

    Raises:
        PlacementError: it names no device.
    """
    try:
        return None if text is None else parse_device(text)
    except DeviceSpecError as error:
        raise PlacementError(str(error)) from error


def is_throttled(spec: DeviceSpec) -> bool:
    """Whether I/O on the device waits for its limits."""
    return not isinstance(spec, OwnFile | Memory | RawPath)


def has_volume(spec: DeviceSpec) -> bool:
    """Whether the device is a volume, which may have credits and can be snapshotted."""
    return isinstance(spec, NewVolume | ExistingVolume)
