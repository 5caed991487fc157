"""Versions of sectors that are newer than the device they belong on.

The part of `powerloss.py` that knows sectors and no power: what was written
where, in what order, and how it looks on top of the device below.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, TypeAlias

from blockdev.device import BlockDevice, Extent, byte_view

_VERSIONS_MAX: Final = 64
"""Versions kept of one sector; beyond it the oldest is forgotten, so that rewriting
one place for ever takes no more memory."""

_WRITE_BYTES_MAX: Final = 1024 * 1024
"""The most that is put together into one write to the device below."""

Choose: TypeAlias = Callable[[int], int | None]
"""Given how many versions a sector has, which of them survives, None being none of them."""


class UnsyncedSectors:
    """All versions of all sectors not yet on the device `below`; not thread safe by itself."""

    def __init__(self, below: BlockDevice) -> None:
        self._below = below
        self._size_bytes = below.geometry.size_bytes
        self._sector_bytes = below.geometry.sector_bytes
        self._versions: dict[int, list[bytes]] = {}
        # Two kinds of zero sector, told apart by identity: one keeps its storage, one gives it up.
        self._zeroed = bytes(self._sector_bytes)
        self._discarded = bytes(self._sector_bytes)

    def __len__(self) -> int:
        return len(self._versions)

    def clear(self) -> None:
        """Forget all versions."""
        self._versions.clear()

    def overlay(self, offset_bytes: int, view: memoryview) -> None:
        """Put the latest versions over what was read from the device below."""
        for sector in self._held(offset_bytes, offset_bytes + len(view)):
            start, stop = self._part(sector, offset_bytes, len(view))
            at = sector * self._sector_bytes + start - offset_bytes
            view[at : at + stop - start] = self._versions[sector][-1][start:stop]

    def add_write(self, offset_bytes: int, view: memoryview) -> None:
        """One more version of each sector that the write touches."""
        for sector in self._touched(offset_bytes, len(view)):
            start, stop = self._part(sector, offset_bytes, len(view))
            at = sector * self._sector_bytes + start - offset_bytes
            piece = bytes(view[at : at + stop - start])
            if len(piece) < self._sector_bytes:
                latest = self._latest(sector)
                piece = latest[:start] + piece + latest[stop:]
            self._add(sector, piece)

    def add_zeroes(self, offset_bytes: int, length_bytes: int, *, allocate: bool) -> None:
        """One more version, of zeroes, of each sector that the range touches."""
        unit = self._sector_bytes
        end_bytes = offset_bytes + length_bytes
        first = min(-(-offset_bytes // unit) * unit, end_bytes)
        last = max(end_bytes // unit * unit, first)
        if end_bytes == self._size_bytes:
            last = end_bytes
        self.add_write(offset_bytes, memoryview(bytes(first - offset_bytes)))
        self._add_zero_sectors(first, last, self._zeroed if allocate else self._discarded)
        self.add_write(last, memoryview(bytes(end_bytes - last)))

    def settle(self, offset_bytes: int, view: memoryview) -> None:
        """A write became durable by itself: no version may undo it any more.

        Versions of a sector written in part go on competing for the rest of it.
        """
        for sector in self._held(offset_bytes, offset_bytes + len(view)):
            start, stop = self._part(sector, offset_bytes, len(view))
            if stop - start == self._sector_bytes:
                del self._versions[sector]
                continue
            at = sector * self._sector_bytes + start - offset_bytes
            piece = bytes(view[at : at + stop - start])
            self._versions[sector] = [
                version[:start] + piece + version[stop:] for version in self._versions[sector]
            ]

    def write_latest(self) -> None:
        """Bring the device below up to date; the versions are kept until `clear`."""
        self.write_survivors(lambda versions: versions - 1)

    def write_survivors(self, choose: Choose) -> None:
        """Write the chosen version of each sector, if any, to the device below."""
        chosen = []
        for sector in sorted(self._versions):
            versions = self._versions[sector]
            number = choose(len(versions))
            if number is not None:
                chosen.append((sector, versions[number]))
        for first, contents in self._gather(chosen):
            self._write_run(first * self._sector_bytes, contents)

    def extents(self, offset_bytes: int, length_bytes: int) -> list[Extent]:
        """The extents of the device below as they will be once all is written to it."""
        end_bytes = offset_bytes + length_bytes
        runs: list[Extent] = []
        at = offset_bytes
        for sector in self._held(offset_bytes, end_bytes):
            start = max(sector * self._sector_bytes, offset_bytes)
            stop = min((sector + 1) * self._sector_bytes, end_bytes)
            if start > at:
                _extend(runs, self._below.extents(at, start - at))
            allocated = self._versions[sector][-1] is not self._discarded
            _extend(runs, iter([Extent(start, stop - start, allocated)]))
            at = stop
        _extend(runs, self._below.extents(at, end_bytes - at))
        return runs

    def _add(self, sector: int, content: bytes) -> None:
        versions = self._versions.setdefault(sector, [])
        if len(versions) == _VERSIONS_MAX:
            del versions[0]
        versions.append(content)

    def _add_zero_sectors(self, first_bytes: int, last_bytes: int, zero: bytes) -> None:
        """A zero version for whole sectors, at a cost bounded by what is stored in them.

        What neither the device below nor any version stores reads as zero
        already, before and after any power cut: at most it needs storage.
        """
        stored: set[int] = set(self._held(first_bytes, last_bytes))
        for extent in list(self._below.extents(first_bytes, last_bytes - first_bytes)):
            if extent.allocated:
                stored.update(self._touched(extent.offset_bytes, extent.length_bytes))
            elif zero is self._zeroed:
                self._below.write_zeroes(extent.offset_bytes, extent.length_bytes)
        for sector in sorted(stored):
            self._add(sector, zero)

    def _latest(self, sector: int) -> bytes:
        """A sector as a reader sees it, padded with zeroes past the end of the device."""
        versions = self._versions.get(sector)
        if versions:
            return versions[-1]
        content = bytearray(self._sector_bytes)
        start = sector * self._sector_bytes
        inside = min(self._sector_bytes, self._size_bytes - start)
        self._below.read_into(start, byte_view(content)[:inside])
        return bytes(content)

    def _touched(self, offset_bytes: int, length_bytes: int) -> range:
        if length_bytes <= 0:
            return range(0)
        first = offset_bytes // self._sector_bytes
        return range(first, (offset_bytes + length_bytes - 1) // self._sector_bytes + 1)

    def _held(self, offset_bytes: int, end_bytes: int) -> list[int]:
        """Sectors of a range that have versions, in order."""
        touched = self._touched(offset_bytes, end_bytes - offset_bytes)
        if len(touched) <= len(self._versions):
            return [sector for sector in touched if sector in self._versions]
        return sorted(sector for sector in self._versions if sector in touched)

    def _part(self, sector: int, offset_bytes: int, length_bytes: int) -> tuple[int, int]:
        """The bytes of a sector that a range covers: first, and one past the last."""
        sector_start = sector * self._sector_bytes
        start = max(offset_bytes - sector_start, 0)
        return start, min(offset_bytes + length_bytes - sector_start, self._sector_bytes)

    def _gather(self, chosen: list[tuple[int, bytes]]) -> Iterator[tuple[int, list[bytes]]]:
        """Join neighbouring sectors of one kind into runs of bounded length."""
        run: list[bytes] = []
        run_first = 0
        for sector, content in chosen:
            joins = (
                run
                and sector == run_first + len(run)
                and self._kind(content) is self._kind(run[0])
                and len(run) * self._sector_bytes < _WRITE_BYTES_MAX
            )
            if not joins:
                if run:
                    yield run_first, run
                run, run_first = [], sector
            run.append(content)
        if run:
            yield run_first, run

    def _kind(self, content: bytes) -> bytes | None:
        return content if content is self._zeroed or content is self._discarded else None

    def _write_run(self, offset_bytes: int, contents: list[bytes]) -> None:
        length_bytes = min(len(contents) * self._sector_bytes, self._size_bytes - offset_bytes)
        kind = self._kind(contents[0])
        if kind is None:
            self._below.write(offset_bytes, memoryview(b"".join(contents))[:length_bytes])
        elif kind is self._zeroed:
            self._below.write_zeroes(offset_bytes, length_bytes)
        else:
            self._below.discard(offset_bytes, length_bytes)


def _extend(runs: list[Extent], more: Iterator[Extent]) -> None:
    """Append runs, joining neighbours of the same kind."""
    for extent in more:
        if runs and runs[-1].allocated == extent.allocated:
            joined_bytes = runs[-1].length_bytes + extent.length_bytes
            runs[-1] = Extent(runs[-1].offset_bytes, joined_bytes, extent.allocated)
        else:
            runs.append(extent)
