"""Writing the map of a snapshot: its parent's map with what changed put in, durably."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path
from typing import BinaryIO

import xxhash
import zstandard

from blockdev.block_codec import DIGEST_BYTES
from blockdev.snapshot_map import (
    END_MAGIC,
    FOOTER,
    HEADER,
    KIND_RAW,
    KIND_ZSTD,
    MAGIC,
    ROW,
    SECTION_BLOCKS,
    Row,
    SnapshotMap,
    blocks_of,
    directory_check,
)

Change = tuple[int, bytes | None]
"""Index of a block, and its digest; None: it reads as zero now."""


def write_map(
    path: Path, *, size_bytes: int, base: SnapshotMap | None, changes: Iterable[Change]
) -> int:
    """Write a map of `base` with `changes`, which come in order of their index.

    The file is whole and durable under its name when this returns; one that was there
    is replaced.  Returns how many blocks it names.  Memory: one section, and the directory.

    Raises:
        ValueError: the changes are out of order or lie past the end of the volume.
    """
    beside = path.with_name(f"{path.name}.{os.getpid()}.new")
    try:
        with open(beside, "wb") as file:
            blocks = _MapWriter(file, size_bytes).write(base, changes)
            file.flush()
            os.fsync(file.fileno())
        os.rename(beside, path)
    except BaseException:
        with contextlib.suppress(OSError):
            beside.unlink()
        raise
    sync_folder(path.parent)
    return blocks


def abandoned(folder: Path) -> list[Path]:
    """Maps that processes were writing when they were killed; nobody else takes them away."""
    return [path for path in sorted(folder.glob("*.new")) if not _is_alive(path)]


def _is_alive(beside: Path) -> bool:
    pid = beside.name.split(".")[-2]
    try:
        os.kill(int(pid), 0)
    except (ProcessLookupError, ValueError):
        return False
    except PermissionError:
        return True
    return True


def sync_folder(path: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class _MapWriter:
    """One map on its way into a file."""

    def __init__(self, file: BinaryIO, size_bytes: int) -> None:
        self._file = file
        self._header = HEADER.pack(MAGIC, size_bytes)
        self._limit = blocks_of(size_bytes)
        self._at = len(self._header)
        self._directory: list[bytes] = []
        self._blocks = 0

    def write(self, base: SnapshotMap | None, changes: Iterable[Change]) -> int:
        self._file.write(self._header)
        old_rows = iter(base.rows if base is not None else ())
        old = next(old_rows, None)
        for number, group in groupby(self._checked(changes), lambda c: c[0] // SECTION_BLOCKS):
            while base is not None and old is not None and old.number < number:
                self._take(old, base.stored_section(old))
                old = next(old_rows, None)
            merged: dict[int, bytes | None] = {}
            if base is not None and old is not None and old.number == number:
                section = base.section(number)
                merged.update(section.entries() if section is not None else ())
                old = next(old_rows, None)
            merged.update(group)
            self._add(number, merged)
        while base is not None and old is not None:
            self._take(old, base.stored_section(old))
            old = next(old_rows, None)
        self._finish()
        return self._blocks

    def _checked(self, changes: Iterable[Change]) -> Iterator[Change]:
        latest = -1
        for index, digest in changes:
            if not latest < index < self._limit:
                raise ValueError(f"block {index} after {latest} in a map of {self._limit} blocks")
            latest = index
            yield index, digest

    def _add(self, number: int, merged: dict[int, bytes | None]) -> None:
        entries = sorted((index, digest) for index, digest in merged.items() if digest is not None)
        if not entries:
            return
        bitmap = bytearray(SECTION_BLOCKS // 8)
        for index, _ in entries:
            bitmap[index % SECTION_BLOCKS >> 3] |= 1 << (index & 7)
        plain = bytes(bitmap) + b"".join(digest for _, digest in entries)
        if len(plain) != len(bitmap) + DIGEST_BYTES * len(entries):
            raise ValueError(f"a digest in section {number} has not {DIGEST_BYTES} bytes")
        packed = zstandard.ZstdCompressor(level=1).compress(plain)
        kind, stored = (KIND_ZSTD, packed) if len(packed) < len(plain) else (KIND_RAW, plain)
        check = xxhash.xxh3_128_digest(plain)
        self._take(Row(number, len(entries), 0, len(stored), kind, check), stored)

    def _take(self, row: Row, stored: bytes) -> None:
        self._directory.append(ROW.pack(*row._replace(offset_bytes=self._at)))
        self._file.write(stored)
        self._at += len(stored)
        self._blocks += row.entries

    def _finish(self) -> None:
        directory = b"".join(self._directory)
        check = directory_check(self._header, directory, self._blocks)
        rows = len(self._directory)
        self._file.write(directory)
        self._file.write(FOOTER.pack(self._at, rows, 0, self._blocks, check, END_MAGIC))
