"""The map of a snapshot: which block of the volume has which digest, complete in one file.

The bytes are specified in ``docs/snapshots.md``.  A map is cut into sections of 4,096
blocks (2 GiB of the volume), each checked by a hash of its own, so that

* one entry costs one section to read, and memory never grows with the volume;
* two maps are compared by the hashes of their sections first: what a snapshot has in
  common with its parent is skipped unread;
* a new map takes its parent's sections as they are stored.

A block that is not in the map reads as zero.
"""

from __future__ import annotations

import os
import struct
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from threading import Lock
from typing import Final, NamedTuple

import xxhash
import zstandard

from blockdev.block_codec import BLOCK_BYTES, DIGEST_BYTES
from blockdev.errors import DeviceClosedError, DeviceIOError

SECTION_BLOCKS: Final = 4096
BITMAP_BYTES: Final = SECTION_BLOCKS // 8

CACHED_SECTIONS: Final = 16
"""Sections that an open map keeps unpacked: about a mebibyte."""

HEADER: Final = struct.Struct("<8sQ")
"""Magic, size of the volume in bytes."""
ROW: Final = struct.Struct("<IIQII16s")
"""Of the directory: section number, entries, offset, stored bytes, kind, XXH3-128 of the plain."""
FOOTER: Final = struct.Struct("<QIIQ16s8s")
"""Offset of the directory, its rows, zero, entries of all, XXH3-128, magic."""

MAGIC: Final = b"OBSNMAP1"
END_MAGIC: Final = b"OBSNEND1"
KIND_RAW: Final = 0
KIND_ZSTD: Final = 1

_BITS: Final = tuple(tuple(bit for bit in range(8) if byte >> bit & 1) for byte in range(256))


class MapCorruptError(DeviceIOError):
    """The file is not the map that was written."""


class Row(NamedTuple):
    """What the directory says of a section."""

    number: int
    entries: int
    offset_bytes: int
    stored_bytes: int
    kind: int
    check: bytes


class Section:
    """4,096 blocks of a map: a bitmap of those that it names, and their digests in order."""

    __slots__ = ("bitmap", "digests", "first")

    def __init__(self, number: int, plain: bytes) -> None:
        self.first = number * SECTION_BLOCKS
        self.bitmap = plain[:BITMAP_BYTES]
        self.digests = memoryview(plain)[BITMAP_BYTES:]

    def get(self, index: int) -> bytes | None:
        """The digest of a block of this section."""
        byte, bit = divmod(index - self.first, 8)
        here = self.bitmap[byte]
        if not here >> bit & 1:
            return None
        before = int.from_bytes(self.bitmap[:byte], "little").bit_count()
        at = (before + (here & ((1 << bit) - 1)).bit_count()) * DIGEST_BYTES
        return bytes(self.digests[at : at + DIGEST_BYTES])

    def entries(self) -> Iterator[tuple[int, bytes]]:
        """Index and digest of each block named, in order."""
        at = 0
        for index in set_bits(self.bitmap, self.first):
            yield index, bytes(self.digests[at : at + DIGEST_BYTES])
            at += DIGEST_BYTES


def set_bits(bitmap: bytes | bytearray | memoryview, first: int = 0) -> Iterator[int]:
    """The numbers of the bits that are set, in order, counted from `first`."""
    for position, byte in enumerate(bitmap):
        if byte:
            start = first + position * 8
            for bit in _BITS[byte]:
                yield start + bit


class _OpenFile:
    """A descriptor that closes when nobody uses it any more.

    Each read holds a reference, so that `SnapshotMap.close` in another thread cannot hand
    the number to another file in the middle of it.
    """

    __slots__ = ("descriptor",)

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    def __del__(self) -> None:
        os.close(self.descriptor)

    def read(self, length_bytes: int, offset_bytes: int) -> bytes:
        return os.pread(self.descriptor, length_bytes, offset_bytes)


class SnapshotMap:
    """An open map; immutable, safe to share between threads.  Make one with `open`."""

    def __init__(self, path: Path, file: _OpenFile) -> None:
        self._path = path
        self._file: _OpenFile | None = file
        self._lock = Lock()
        self._cache: OrderedDict[int, Section] = OrderedDict()
        self._size_bytes = self._blocks = 0
        self._rows: list[Row] = []
        self._read_directory(file)

    @classmethod
    def open(cls, path: Path) -> SnapshotMap:
        """Open the map at `path`; its directory is checked, each section when it is read.

        Raises:
            FileNotFoundError: there is none.
            MapCorruptError: it is no map, or a spoilt one.
        """
        return cls(path, _OpenFile(os.open(path, os.O_RDONLY | os.O_CLOEXEC)))

    @property
    def path(self) -> Path:
        """The file."""
        return self._path

    @property
    def size_bytes(self) -> int:
        """Of the volume when the snapshot was taken."""
        return self._size_bytes

    @property
    def blocks(self) -> int:
        """How many blocks the map names."""
        return self._blocks

    @property
    def rows(self) -> list[Row]:
        """The directory, in order."""
        return self._rows

    def get(self, index: int) -> bytes | None:
        """The digest of block `index`, None when it is not stored and reads as zero."""
        section = self.section(index // SECTION_BLOCKS)
        return None if section is None else section.get(index)

    def entries(self, start_index: int = 0) -> Iterator[tuple[int, bytes]]:
        """Index and digest of each block from `start_index` on, in order."""
        at = bisect_left(self._numbers, start_index // SECTION_BLOCKS)
        for row in self._rows[at:]:
            for index, digest in self._unpack(row).entries():
                if index >= start_index:
                    yield index, digest

    def section(self, number: int) -> Section | None:
        """A section, None if no block in it is named; the last few are kept unpacked."""
        with self._lock:
            section = self._cache.get(number)
            if section is not None:
                self._cache.move_to_end(number)
                return section
        row = self.row(number)
        if row is None:
            return None
        section = self._unpack(row)
        with self._lock:
            self._cache[number] = section
            while len(self._cache) > CACHED_SECTIONS:
                self._cache.popitem(last=False)
        return section

    def row(self, number: int) -> Row | None:
        """The directory's row of a section."""
        at = bisect_left(self._numbers, number)
        found = at < len(self._numbers) and self._numbers[at] == number
        return self._rows[at] if found else None

    def stored_section(self, row: Row) -> bytes:
        """A section as it is stored, unchecked: the check goes with it into a copy."""
        file = self._file
        if file is None:
            raise DeviceClosedError(f"{self._path.name} is closed")
        stored = file.read(row.stored_bytes, row.offset_bytes)
        if len(stored) != row.stored_bytes:
            raise MapCorruptError(f"{self._path.name}: section {row.number} is cut short")
        return stored

    def close(self) -> None:
        """Close the file; idempotent."""
        self._file = None

    def __enter__(self) -> SnapshotMap:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _unpack(self, row: Row) -> Section:
        plain = self.stored_section(row)
        if row.kind == KIND_ZSTD:
            plain = self._decompressed(row, plain)
        if xxhash.xxh3_128_digest(plain) != row.check:
            raise MapCorruptError(f"{self._path.name}: section {row.number} does not match")
        return Section(row.number, plain)

    def _decompressed(self, row: Row, stored: bytes) -> bytes:
        """A section's plain bytes; their length is known, and a spoilt frame may claim any."""
        length_bytes = BITMAP_BYTES + row.entries * DIGEST_BYTES
        try:
            if zstandard.frame_content_size(stored) != length_bytes:
                raise MapCorruptError(f"{self._path.name}: section {row.number} has another length")
            return zstandard.ZstdDecompressor().decompress(stored, max_output_size=length_bytes)
        except zstandard.ZstdError as error:
            raise MapCorruptError(f"{self._path.name}: {error}") from error

    def _read_directory(self, file: _OpenFile) -> None:
        end = os.lseek(file.descriptor, 0, os.SEEK_END)
        if end < HEADER.size + FOOTER.size:
            raise MapCorruptError(f"{self._path.name}: too short for a map")
        header = file.read(HEADER.size, 0)
        footer = file.read(FOOTER.size, end - FOOTER.size)
        magic, self._size_bytes = HEADER.unpack(header)
        at, rows, zero, self._blocks, check, end_magic = FOOTER.unpack(footer)
        if magic != MAGIC or end_magic != END_MAGIC or zero:
            raise MapCorruptError(f"{self._path.name}: this is no map")
        if at + rows * ROW.size + FOOTER.size != end:
            raise MapCorruptError(f"{self._path.name}: its directory has the wrong length")
        directory = file.read(rows * ROW.size, at)
        if directory_check(header, directory, self._blocks) != check:
            raise MapCorruptError(f"{self._path.name}: its directory does not match")
        self._rows = [Row(*fields) for fields in ROW.iter_unpack(directory)]
        self._numbers = [row.number for row in self._rows]


def directory_check(header: bytes, directory: bytes, blocks: int) -> bytes:
    """XXH3-128 over what is not in a section: the header, the directory, the count of entries."""
    return xxhash.xxh3_128_digest(b"".join((header, directory, blocks.to_bytes(8, "little"))))


def blocks_of(size_bytes: int) -> int:
    """How many blocks a volume has; the last one may be cut short."""
    return -(-size_bytes // BLOCK_BYTES)


def diff(
    first: SnapshotMap | None, second: SnapshotMap | None, start_index: int = 0
) -> Iterator[tuple[int, bytes | None, bytes | None]]:
    """Where two maps differ: index, digest in `first`, digest in `second`; None reads as zero.

    In order of the index.  Costs the sections that differ, not the size of the maps.  A map
    that is None counts as an empty one.
    """
    for number in _numbers_of_either(first, second, start_index // SECTION_BLOCKS):
        old_row = first.row(number) if first is not None else None
        new_row = second.row(number) if second is not None else None
        if old_row is not None and new_row is not None and old_row.check == new_row.check:
            continue
        old = dict(_entries(first, number))
        new = dict(_entries(second, number))
        for index in sorted(old.keys() | new.keys()):
            if index >= start_index and old.get(index) != new.get(index):
                yield index, old.get(index), new.get(index)


def _numbers_of_either(
    first: SnapshotMap | None, second: SnapshotMap | None, start: int
) -> list[int]:
    numbers = {row.number for map_ in (first, second) if map_ is not None for row in map_.rows}
    return sorted(number for number in numbers if number >= start)


def _entries(map_: SnapshotMap | None, number: int) -> Iterator[tuple[int, bytes]]:
    section = map_.section(number) if map_ is not None else None
    return iter(()) if section is None else section.entries()
