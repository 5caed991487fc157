"""The map beside a live volume's data: what is where, and what changed since when, on a device.

The bytes are specified in ``docs/snapshots.md``.  The map has a fixed place for each thing,
made for the largest volume; the device under it is sparse, so that costs nothing:

    two headers      written in turn, whole or not at all; the later valid one counts
    regions          bit set: blocks of this 64 MiB may have changed and the bitmap not say so
    remote           bit set: the block's content is still in the snapshot the volume came from
    six slots        bit set: the block changed; one slot is live, the others are frozen, one
                     for each snapshot on its way

A bit that is wrong in the safe direction costs time, and nothing else: a block that is
marked as changed and is not gets compared; one that is marked as remote and was loaded, but
never flushed, is loaded again.  Writing bits is therefore ordered so that only those occur.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from typing import Final

import xxhash

from blockdev.block_codec import BLOCK_BYTES
from blockdev.device import BlockDevice
from blockdev.errors import DeviceIOError, DeviceOpenError
from blockdev.snapshot_map import SECTION_BLOCKS, SnapshotMap, blocks_of

VOLUME_BYTES_MAX: Final = 64 * 1024**4
"""65,536 GiB, the largest volume of any type (io2 Block Express, gp3)."""

PENDING_MAX: Final = 5
"""Snapshots of one volume that may be pending at once (EC2 user guide; 1 for st1 and sc1)."""

REGION_BLOCKS: Final = 128
"""64 MiB: the first write to each costs one durable sector, and after a crash each that was
written to has its blocks compared at the next snapshot.  Larger trades the one for the other."""

ID_BYTES_MAX: Final = 64

_HEADER_BYTES: Final = 4096
_SLOTS: Final = PENDING_MAX + 1
_BITMAP_BYTES: Final = VOLUME_BYTES_MAX // BLOCK_BYTES // 8
_REGIONS_AT: Final = 2 * _HEADER_BYTES
_REGIONS_BYTES: Final = _BITMAP_BYTES // REGION_BLOCKS
_REMOTE_AT: Final = _REGIONS_AT + _REGIONS_BYTES
_SLOTS_AT: Final = _REMOTE_AT + _BITMAP_BYTES
MAP_BYTES: Final = _SLOTS_AT + _SLOTS * _BITMAP_BYTES

SECTOR_BYTES: Final = 512
SECTOR_BLOCKS: Final = SECTOR_BYTES * 8
"""Blocks that one sector of a bitmap speaks of; as many as a section of a snapshot's map."""

_MAGIC: Final = b"OBSVMAP1"
_HEAD: Final = struct.Struct("<8sQQ64s64s64sBBB5x")
"""Magic, sequence, size in bytes, volume, origin, base, clean, live slot, pending snapshots."""
_PENDING: Final = struct.Struct("<64s64sQBB6x")
"""Snapshot, its base, size of the volume at its moment in bytes, slot, failed."""


@dataclass(frozen=True, slots=True)
class PendingRecord:
    """A snapshot whose point in time is fixed; `slot` holds what it has to copy.

    `failed`: a block was overwritten that could not be copied first.
    """

    snapshot_id: str
    base_id: str
    size_bytes: int
    slot: int
    failed: bool = False


@dataclass(frozen=True, slots=True)
class Header:
    """What a map says of its volume.

    `origin_id`: the snapshot that remote blocks are in, empty when all are here.
    `base_id`: the snapshot that the live slot counts changes from, empty for none.
    `clean`: closed in order, so that the slots say all and the regions are to be ignored.
    """

    size_bytes: int
    volume: str
    origin_id: str = ""
    base_id: str = ""
    clean: bool = True
    live_slot: int = 0
    pending: tuple[PendingRecord, ...] = ()
    sequence: int = 0

    def free_slot(self) -> int:
        """A slot that is neither live nor frozen."""
        used = {self.live_slot, *(record.slot for record in self.pending)}
        return next(slot for slot in range(_SLOTS) if slot not in used)

    def pack(self) -> bytes:
        """The header's bytes, with their checksum."""
        parts = [
            _HEAD.pack(
                _MAGIC,
                self.sequence,
                self.size_bytes,
                self.volume.encode(),
                self.origin_id.encode(),
                self.base_id.encode(),
                self.clean,
                self.live_slot,
                len(self.pending),
            )
        ]
        for record in self.pending:
            names = record.snapshot_id.encode(), record.base_id.encode()
            parts.append(_PENDING.pack(*names, record.size_bytes, record.slot, record.failed))
        body = b"".join(parts).ljust(_HEADER_BYTES - 16, b"\0")
        return body + xxhash.xxh3_128_digest(body)


def unpack_header(packed: bytes) -> Header | None:
    """The header in these bytes, None if they are no whole one."""
    body, check = packed[:-16], packed[-16:]
    if not body.startswith(_MAGIC) or xxhash.xxh3_128_digest(body) != check:
        return None
    fields = _HEAD.unpack_from(body)
    _magic, sequence, size_bytes, volume, origin, base, clean, live_slot, count = fields
    pending = []
    for number in range(count):
        snapshot_id, base_id, bytes_then, slot, failed = _PENDING.unpack_from(
            body, _HEAD.size + number * _PENDING.size
        )
        names = _text(snapshot_id), _text(base_id)
        pending.append(PendingRecord(*names, bytes_then, slot, bool(failed)))
    return Header(
        size_bytes,
        _text(volume),
        _text(origin),
        _text(base),
        bool(clean),
        live_slot,
        tuple(pending),
        sequence,
    )


class VolumeMap:
    """A map on its device: no locks, no decisions; its owner orders the writes."""

    def __init__(self, device: BlockDevice, header: Header) -> None:
        self._device = device
        self._header = header

    @classmethod
    def open(cls, device: BlockDevice) -> VolumeMap:
        """The map on `device`.

        Raises:
            DeviceOpenError: there is none, or both of its headers are spoilt.
        """
        header = read_header(device)
        if header is None:
            raise DeviceOpenError("there is no map of a volume here")
        return cls(device, header)

    @classmethod
    def create(
        cls,
        device: BlockDevice,
        size_bytes: int,
        volume: str,
        origin: SnapshotMap | None = None,
        name: str = "",
    ) -> VolumeMap:
        """Write the map of a new volume, durably; `origin`, named `name`, is what it starts as.

        Raises:
            ValueError: a size, or an id, that has no room in a map.
        """
        if not 0 < size_bytes <= VOLUME_BYTES_MAX:
            raise ValueError(f"no volume of {size_bytes} bytes: at most {VOLUME_BYTES_MAX}")
        if origin is not None and origin.size_bytes > size_bytes:
            raise ValueError(f"a volume of {size_bytes} bytes has no room for {name}")
        check_id(volume)
        check_id(name)
        map_ = cls(device, Header(size_bytes, volume, origin_id=name, base_id=name))
        device.discard(_REGIONS_AT, MAP_BYTES - _REGIONS_AT)  # of an attempt that a crash ended
        map_.clear_regions()
        for row in origin.rows if origin is not None else ():
            section = origin.section(row.number) if origin is not None else None
            if section is not None:
                device.write(_REMOTE_AT + row.number * SECTOR_BYTES, section.bitmap)
        device.flush()
        map_.write_header(map_.header)
        return map_

    @property
    def header(self) -> Header:
        """The latest one written."""
        return self._header

    def write_header(self, header: Header) -> None:
        """Make this the header, durably: the other place of two gets it."""
        header = replace(header, sequence=self._header.sequence + 1)
        at = header.sequence % 2 * _HEADER_BYTES
        self._device.write(at, header.pack(), fua=True)
        self._header = header

    def read_regions(self) -> bytearray:
        """The bitmap of regions, as far as the volume goes."""
        return self._read(_REGIONS_AT, self.regions_bytes(self._header.size_bytes))

    def read_remote(self) -> bytearray:
        """The bitmap of remote blocks, as far as the volume goes."""
        return self._read(_REMOTE_AT, bitmap_bytes(self._header.size_bytes))

    def read_slot(self, slot: int, size_bytes: int) -> bytearray:
        """A bitmap of changed blocks of a volume of that size."""
        return self._read(_slot_at(slot), bitmap_bytes(size_bytes))

    def write_regions(self, regions: bytearray, first: int, count: int) -> None:
        """Make the sectors that hold these regions durable."""
        start = first // 8 // SECTOR_BYTES * SECTOR_BYTES
        stop = min(((first + count - 1) // 8 // SECTOR_BYTES + 1) * SECTOR_BYTES, len(regions))
        self._device.write(_REGIONS_AT + start, memoryview(regions)[start:stop], fua=True)

    def clear_regions(self) -> None:
        """All regions are told by the slots; not durable by itself."""
        self._device.write_zeroes(_REGIONS_AT, self.regions_bytes(self._header.size_bytes))

    def write_remote(self, content: bytes, sector: int) -> None:
        """Write one sector of the remote bitmap; `flush` makes it durable."""
        self._device.write(_REMOTE_AT + sector * SECTOR_BYTES, content)

    def write_slot(self, slot: int, content: bytes, sector: int) -> None:
        """Write one sector of a slot; `flush` makes it durable."""
        self._device.write(_slot_at(slot) + sector * SECTOR_BYTES, content)

    def clear_slot(self, slot: int) -> None:
        """Nothing is changed in this slot; `flush` makes it durable."""
        self._device.discard(_slot_at(slot), _BITMAP_BYTES)

    def flush(self) -> None:
        """Make all that was written durable."""
        self._device.flush()

    def close(self) -> None:
        """Close the device."""
        self._device.close()

    @staticmethod
    def regions_bytes(size_bytes: int) -> int:
        """The length of the bitmap of regions: whole sectors."""
        regions = -(-blocks_of(size_bytes) // REGION_BLOCKS)
        return -(-regions // 8 // SECTOR_BYTES) * SECTOR_BYTES

    def _read(self, offset_bytes: int, length_bytes: int) -> bytearray:
        buffer = bytearray(length_bytes)
        self._device.read_into(offset_bytes, buffer)
        return buffer


def read_header(device: BlockDevice) -> Header | None:
    """The later of the headers that are whole.

    Raises:
        DeviceOpenError: the device is too small for a map.
        DeviceIOError: there was a map, and neither header is whole.
    """
    if device.geometry.size_bytes < MAP_BYTES:
        raise DeviceOpenError(f"a map takes {MAP_BYTES} bytes")
    packed = bytearray(2 * _HEADER_BYTES)
    device.read_into(0, packed)
    halves = bytes(packed[:_HEADER_BYTES]), bytes(packed[_HEADER_BYTES:])
    found = [header for half in halves if (header := unpack_header(half)) is not None]
    if found:
        return max(found, key=lambda header: header.sequence)
    if halves[0].startswith(_MAGIC) and halves[1].startswith(_MAGIC):
        raise DeviceIOError("both headers of the map are spoilt")
    return None


def bitmap_bytes(size_bytes: int) -> int:
    """The length of a bitmap of a volume's blocks: whole sectors."""
    return -(-blocks_of(size_bytes) // SECTOR_BLOCKS) * SECTOR_BYTES


def check_id(name: str) -> None:
    """Raise ValueError unless an id fits into a header."""
    if len(name.encode()) > ID_BYTES_MAX or "\0" in name:
        raise ValueError(f"{name!r} is no id of at most {ID_BYTES_MAX} bytes")


def _slot_at(slot: int) -> int:
    return _SLOTS_AT + slot * _BITMAP_BYTES


def _text(packed: bytes) -> str:
    return packed.rstrip(b"\0").decode()


assert SECTOR_BLOCKS == SECTION_BLOCKS  # `create` copies the one into the other
