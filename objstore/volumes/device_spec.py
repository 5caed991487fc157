"""What `--device` names: a file, memory, a volume of some type, a disk; parsed, nothing opened.

| form | device |
|---|---|
| ``file`` | the sparse file ``device`` in the store's folder |
| ``memory:SIZE`` | memory of the process, such as ``memory:2GiB`` |
| ``TYPE:GIB[:IOPS[:MIBPS]]`` | a new volume, such as ``gp3:100:6000:250`` |
| ``instance:TYPE`` | the first disk inside an instance, such as ``instance:i4i.large`` |
| ``volume:[REGION_DIR/]vol-…`` | a volume that exists |
| ``path:PATH`` | a raw disk, or a file of the size that it is to have |
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

from blockdev.model import ServiceError, VolumeSpec
from blockdev.profiles import INSTANCE_STORES, VOLUME_TYPES, resolve
from objstore.config import GIB, KIB, MIB, TIB

MIN_MEMORY_BYTES: Final = 128 * MIB
"""The engine wants room for some segments."""

MAX_MEMORY_BYTES: Final = 8 * TIB

_UNITS: Final = {"": 1, "k": KIB, "m": MIB, "g": GIB, "t": TIB}
_SIZE: Final = re.compile(r"([0-9]{1,12})([kmgt]?)(?:i?b)?")
_NUMBER: Final = re.compile(r"[0-9]{1,9}")
_VOLUME_ID: Final = re.compile(r"vol-[0-9a-f]{8,17}")


class DeviceSpecError(ValueError):
    """This names no device; the text says what would."""


@dataclass(frozen=True, slots=True)
class OwnFile:
    """The file in the store's folder: what a store is on unless it is told otherwise."""

    def __str__(self) -> str:
        return "file"


@dataclass(frozen=True, slots=True)
class Memory:
    """Memory of the server process; gone when it ends."""

    size_bytes: int

    def __str__(self) -> str:
        return f"memory:{_size_text(self.size_bytes)}"


@dataclass(frozen=True, slots=True)
class NewVolume:
    """A volume of the server's region, made for the store.  `spec` has its defaults in."""

    spec: VolumeSpec

    def __str__(self) -> str:
        kind, spec = VOLUME_TYPES[self.spec.volume_type], self.spec
        parts: list[object] = [spec.volume_type, spec.size_gib]
        if kind.iops is not None:
            parts.append(spec.iops)
        if kind.mibps is not None:
            parts.append(spec.throughput_mibps)
        return ":".join(map(str, parts))


@dataclass(frozen=True, slots=True)
class InstanceDisk:
    """The first instance-store disk of an instance made for the store."""

    instance_type: str

    def __str__(self) -> str:
        return f"instance:{self.instance_type}"


@dataclass(frozen=True, slots=True)
class ExistingVolume:
    """A volume of the region in `region_dir`, or in the server's own."""

    volume_id: str
    region_dir: Path | None = None

    def __str__(self) -> str:
        if self.region_dir is None:
            return f"volume:{self.volume_id}"
        return f"volume:{self.region_dir / self.volume_id}"


@dataclass(frozen=True, slots=True)
class RawPath:
    """A raw disk, or a file as large as the device is to be."""

    path: Path

    def __str__(self) -> str:
        return f"path:{self.path}"


DeviceSpec: TypeAlias = OwnFile | Memory | NewVolume | InstanceDisk | ExistingVolume | RawPath

FORMS: Final = (
    "file, memory:SIZE, TYPE:GIB[:IOPS[:MIBPS]] with TYPE one of "
    f"{', '.join(VOLUME_TYPES)}, instance:TYPE, volume:[REGION_DIR/]vol-ID, path:PATH"
)


def parse_device(text: str) -> DeviceSpec:
    """The device that `text` names; paths in it become absolute.

    Raises:
        DeviceSpecError: none; or a volume that EC2 would not make.
    """
    kind, colon, rest = text.partition(":")
    if text == "file":
        return OwnFile()
    if colon and kind in VOLUME_TYPES:
        return _new_volume(text, kind, rest)
    if not rest:
        raise DeviceSpecError(f"{text!r} is no device: {FORMS}")
    match kind:
        case "memory":
            return _memory(text, rest)
        case "instance":
            return _instance(rest)
        case "volume":
            return _existing_volume(text, rest)
        case "path":
            return RawPath(Path(rest).absolute())
    raise DeviceSpecError(f"{text!r} is no device: {FORMS}")


def _new_volume(text: str, kind: str, rest: str) -> NewVolume:
    fields = rest.split(":")
    if len(fields) > 3 or not all(_NUMBER.fullmatch(field) for field in fields):
        raise DeviceSpecError(
            f"{text!r} is not {kind}:GIB, {kind}:GIB:IOPS or {kind}:GIB:IOPS:MIBPS"
        )
    size_gib, *provisioned = map(int, fields)
    try:
        return NewVolume(resolve(VolumeSpec(kind, size_gib, *provisioned)))
    except ServiceError as error:
        raise DeviceSpecError(f"{text}: {error.message}") from error


def _memory(text: str, rest: str) -> Memory:
    found = _SIZE.fullmatch(rest.lower())
    if found is None:
        raise DeviceSpecError(f"{text!r}: {rest!r} is not a size such as 512MiB or 2GiB")
    size_bytes = int(found[1]) * _UNITS[found[2]]
    if not MIN_MEMORY_BYTES <= size_bytes <= MAX_MEMORY_BYTES:
        least, most = _size_text(MIN_MEMORY_BYTES), _size_text(MAX_MEMORY_BYTES)
        raise DeviceSpecError(f"{text!r}: a store takes from {least} to {most} of memory")
    return Memory(size_bytes)


def _instance(instance_type: str) -> InstanceDisk:
    if instance_type not in INSTANCE_STORES:
        known = ", ".join(INSTANCE_STORES)
        raise DeviceSpecError(f"{instance_type!r} has no disks that are known; known are {known}")
    return InstanceDisk(instance_type)


def _existing_volume(text: str, rest: str) -> ExistingVolume:
    folder, slash, volume_id = rest.rpartition("/")
    if not _VOLUME_ID.fullmatch(volume_id):
        raise DeviceSpecError(f"{text!r} does not end in the id of a volume, such as vol-0123abcd")
    return ExistingVolume(volume_id, Path(folder or "/").absolute() if slash else None)


def _size_text(size_bytes: int) -> str:
    for suffix, unit in (("TiB", TIB), ("GiB", GIB), ("MiB", MIB), ("KiB", KIB)):
        if size_bytes % unit == 0:
            return f"{size_bytes // unit}{suffix}"
    return f"{size_bytes}"
