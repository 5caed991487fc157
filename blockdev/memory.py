"""A block device in memory: the reference that the others are tested against.

Storage is allocated in pages on first write, so a device of terabytes costs
only what was written to it.  One lock makes every call atomic, even between
overlapping ranges, which is more than the contract asks for.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator

from blockdev.device import Buffer, Extent, Geometry, byte_view, check_range
from blockdev.errors import DeviceClosedError

DEFAULT_PAGE_BYTES = 64 * 1024
"""The unit of allocation: small enough for sparse tests, large enough for fast large writes."""


class MemoryDevice:
    """A sparse device of `size_bytes`, gone when it is closed.

    `flush` has nothing to do.  Extents are found at the grain of `page_bytes`.

    Raises:
        ValueError: a size or page of less than one byte was asked for.
    """

    def __init__(self, size_bytes: int, *, page_bytes: int = DEFAULT_PAGE_BYTES) -> None:
        if size_bytes < 1 or page_bytes < 1:
            raise ValueError(f"no device of {size_bytes} bytes in pages of {page_bytes}")
        self._geometry = Geometry(size_bytes)
        self._page_bytes = page_bytes
        self._pages: dict[int, memoryview] = {}
        self._zeroes = memoryview(bytes(page_bytes))
        self._lock = threading.Lock()
        self._closed = False

    @property
    def geometry(self) -> Geometry:
        return self._geometry

    @property
    def allocated_bytes(self) -> int:
        """Memory taken by pages, in bytes."""
        with self._lock:
            return len(self._pages) * self._page_bytes

    def read_into(self, offset_bytes: int, buffer: bytearray | memoryview) -> None:
        view = byte_view(buffer)
        with self._lock:
            self._check(offset_bytes, len(view))
            at = 0
            for number, start, stop in self._pieces(offset_bytes, len(view)):
                page = self._pages.get(number, self._zeroes)
                view[at : at + stop - start] = page[start:stop]
                at += stop - start

    def try_read_into(self, offset_bytes: int, buffer: bytearray | memoryview) -> bool:
        self.read_into(offset_bytes, buffer)
        return True

    def write(self, offset_bytes: int, data: Buffer, *, fua: bool = False) -> None:
        view = byte_view(data)
        with self._lock:
            self._check(offset_bytes, len(view))
            at = 0
            for number, start, stop in self._pieces(offset_bytes, len(view)):
                self._page(number)[start:stop] = view[at : at + stop - start]
                at += stop - start

    def write_zeroes(self, offset_bytes: int, length_bytes: int) -> None:
        with self._lock:
            self._check(offset_bytes, length_bytes)
            for number, start, stop in self._pieces(offset_bytes, length_bytes):
                self._page(number)[start:stop] = self._zeroes[start:stop]

    def discard(self, offset_bytes: int, length_bytes: int) -> None:
        with self._lock:
            self._check(offset_bytes, length_bytes)
            end_bytes = offset_bytes + length_bytes
            for number in self._pages_within(offset_bytes, end_bytes):
                page_start = number * self._page_bytes
                start = max(offset_bytes - page_start, 0)
                stop = min(end_bytes - page_start, self._page_bytes)
                if start == 0 and (stop == self._page_bytes or self._reaches_end(end_bytes)):
                    del self._pages[number]
                else:
                    self._pages[number][start:stop] = self._zeroes[start:stop]

    def flush(self) -> None:
        with self._lock:
            self._check(0, 0)

    def extents(self, offset_bytes: int, length_bytes: int) -> Iterator[Extent]:
        with self._lock:
            self._check(offset_bytes, length_bytes)
            end_bytes = offset_bytes + length_bytes
            numbers = self._pages_within(offset_bytes, end_bytes)
        return self._runs(numbers, offset_bytes, end_bytes)

    def close(self) -> None:
        with self._lock:
            self._closed = True
            self._pages.clear()

    def _check(self, offset_bytes: int, length_bytes: int) -> None:
        if self._closed:
            raise DeviceClosedError("the memory device is closed")
        check_range(self._geometry, offset_bytes, length_bytes)

    def _pieces(self, offset_bytes: int, length_bytes: int) -> Iterator[tuple[int, int, int]]:
        """Cut a range at page boundaries: page number, first and last-plus-one byte in it."""
        end_bytes = offset_bytes + length_bytes
        while offset_bytes < end_bytes:
            number, start = divmod(offset_bytes, self._page_bytes)
            stop = min(self._page_bytes, start + end_bytes - offset_bytes)
            yield number, start, stop
            offset_bytes += stop - start

    def _page(self, number: int) -> memoryview:
        page = self._pages.get(number)
        if page is None:
            page = self._pages[number] = memoryview(bytearray(self._page_bytes))
        return page

    def _reaches_end(self, end_bytes: int) -> bool:
        return end_bytes == self._geometry.size_bytes

    def _pages_within(self, offset_bytes: int, end_bytes: int) -> list[int]:
        """Allocated pages that a range touches, in order; cost bounded by what is allocated."""
        if offset_bytes >= end_bytes:
            return []
        first = offset_bytes // self._page_bytes
        last = (end_bytes - 1) // self._page_bytes
        if last - first < len(self._pages):
            return [number for number in range(first, last + 1) if number in self._pages]
        return sorted(number for number in self._pages if first <= number <= last)

    def _runs(self, numbers: list[int], offset_bytes: int, end_bytes: int) -> Iterator[Extent]:
        """Turn the allocated pages of a range into alternating runs that cover it."""
        run_start = at = offset_bytes
        for number in numbers:
            page_start = max(number * self._page_bytes, offset_bytes)
            if page_start > at:
                if at > run_start:
                    yield Extent(run_start, at - run_start, allocated=True)
                yield Extent(at, page_start - at, allocated=False)
                run_start = page_start
            at = min((number + 1) * self._page_bytes, end_bytes)
        if at > run_start:
            yield Extent(run_start, at - run_start, allocated=True)
        if end_bytes > at:
            yield Extent(at, end_bytes - at, allocated=False)
