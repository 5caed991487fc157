"""An object being read: every byte is checked before anybody sees it."""

from __future__ import annotations

import bisect
from collections.abc import Callable, Iterator
from struct import unpack_from
from types import TracebackType
from typing import Self

from xxhash import xxh3_64_intdigest

from blockdev import DeviceError
from objstore.config import TABLE_WINDOW_BYTES
from objstore.engine.core import Core
from objstore.engine.extents import CHECKSUM_BYTES, seed, table_offset
from objstore.engine.frames import stored_size
from objstore.errors import CorruptionError, StoreUnavailableError
from objstore.index.schema import Extent, Head, VersionBody
from objstore.model import ObjectInfo


def payload_is_whole(head: Head, payload: bytes | bytearray) -> bool:
    """Whether the bytes are those that were written; an object of none has no checksum."""
    return not payload or xxh3_64_intdigest(payload) == head.payload_xxh3


def stored_bytes(body: VersionBody) -> int:
    """How many bytes are kept of an object of one piece, encrypted or not."""
    return body.size_bytes if body.seal is None else stored_size(body.size_bytes)


def check_payload_size(bucket: str, key: str, head: Head, body: VersionBody) -> None:
    """Raises CorruptionError where the record of a small object has not all of its bytes."""
    if head.payload_bytes != stored_bytes(body):
        raise CorruptionError(
            f"object {bucket}/{key}: its record holds {head.payload_bytes} bytes instead of "
            f"{stored_bytes(body)}; run `objstore check`"
        )


def payload_corruption(bucket: str, key: str, head: Head) -> CorruptionError:
    return CorruptionError(
        f"object {bucket}/{key}: the bytes at {head.payload_offset} on the device do not match "
        "their checksum; run `objstore check`"
    )


def device_read_failure(error: DeviceError) -> StoreUnavailableError:
    """What a failed read means: nothing for any other read or write."""
    return StoreUnavailableError(f"the device failed while reading: {error}")


class LazyPayload:
    """A payload in the log that was not in memory when it was asked for."""

    def __init__(self, core: Core, head: Head, bucket: str, key: str) -> None:
        self._core, self._head, self._bucket, self._key = core, head, bucket, key

    def read(self) -> bytearray:
        payload = bytearray(self._head.payload_bytes)
        try:
            self._core.device.read_into(self._head.payload_offset, payload)
        except DeviceError as error:
            raise device_read_failure(error) from error
        if not payload_is_whole(self._head, payload):
            raise payload_corruption(self._bucket, self._key, self._head)
        return payload


ReadInto = Callable[[int, bytearray], bool]
"""Fills a buffer from an offset on the device, or says that this would take waiting."""


class ObjectReader:
    """An object, or a range of one, being read.  Close it: it may pin space.

    `info`: the whole object's.  `start_byte`, `length_bytes`: this read's part.
    """

    __slots__ = (
        "_core",
        "_extents",
        "_inline",
        "_payload",
        "_pin",
        "_position",
        "_starts",
        "_table",
        "_table_at",
        "info",
        "length_bytes",
        "start_byte",
    )

    def __init__(
        self,
        core: Core,
        info: ObjectInfo,
        start_byte: int,
        length_bytes: int,
        inline: bytearray | None,
        extents: list[tuple[int, Extent]] | None = None,
        pin: int | None = None,
        payload: LazyPayload | None = None,
    ) -> None:
        self._core = core
        self.info = info
        self.start_byte = start_byte
        self.length_bytes = length_bytes
        self._inline = inline
        self._payload = payload
        self._extents = extents or []
        self._starts = [start for start, _extent in self._extents]
        self._pin = pin
        self._position = start_byte
        self._table = b""
        self._table_at = -1

    @property
    def extent_count(self) -> int:
        """How many extents the bytes lie in, at most; 0 of bytes in the log."""
        return len(self._extents)

    def try_next(self) -> bytes | memoryview | None:
        """The next piece if that takes no waiting, else None; empty at the end.

        Raises:
            CorruptionError: the bytes do not match their checksum.
        """
        return self._next(self._core.device.try_read_into)

    def next(self) -> bytes | memoryview:
        """The next piece, of at most `config.io_bytes`; empty at the end.

        Raises:
            CorruptionError: the bytes do not match their checksum.
        """
        if self._payload is not None:
            self._inline, self._payload = self._payload.read(), None
            self._unpin()
        piece = self._next(self._read)
        assert piece is not None
        return piece

    def _read(self, offset_bytes: int, buffer: bytearray) -> bool:
        self._core.device.read_into(offset_bytes, buffer)
        return True

    def _next(self, read: ReadInto) -> bytes | memoryview | None:
        left_bytes = self.start_byte + self.length_bytes - self._position
        if not left_bytes:
            return b""
        if self._payload is not None:
            return None
        if self._inline is not None:
            piece = memoryview(self._inline)[self._position : self._position + left_bytes]
            self._position += left_bytes
            return piece
        try:
            most_bytes = min(left_bytes, self._core.config.io_bytes)
            found = self._read_at(read, self._position, most_bytes)
        except DeviceError as error:
            raise device_read_failure(error) from error
        if found is not None:
            self._position += len(found)
        return found

    def _read_at(self, read: ReadInto, position: int, most_bytes: int) -> memoryview | None:
        """What the extent at `position` has of `most_bytes`: whole chunks are read and checked."""
        at = bisect.bisect_right(self._starts, position) - 1
        if at < 0:
            raise self._nowhere(position)
        start, extent = self._extents[at]
        rest_bytes = start + extent.size_bytes - position
        if rest_bytes <= 0:
            raise self._nowhere(position)
        chunk_bytes = self._core.superblock.chunk_bytes
        offset = extent.skip_bytes + position - start
        first = offset // chunk_bytes
        want_bytes = min(most_bytes, rest_bytes)
        stop = -(-(offset + want_bytes) // chunk_bytes)
        low, high = first * chunk_bytes, min(stop * chunk_bytes, extent.length_bytes)
        buffer = self._buffer_of(high - low)
        if not read(extent.offset_bytes + low, buffer):
            return None
        view = memoryview(buffer)
        for chunk in range(first, stop):
            expected = self._checksum(read, extent, chunk)
            if expected is None:
                return None
            piece = view[(chunk - first) * chunk_bytes : (chunk - first + 1) * chunk_bytes]
            if xxh3_64_intdigest(piece, seed(extent.nonce, chunk)) != expected:
                raise CorruptionError(
                    f"{self._name()}: chunk {chunk} of the extent at {extent.offset_bytes} on the "
                    "device does not match its checksum; run `objstore check`"
                )
        return view[offset - low : offset - low + want_bytes]

    def _buffer_of(self, length_bytes: int) -> bytearray:
        """What bytes of the device are read into: the caller keeps what lies in it."""
        return bytearray(length_bytes)

    def _checksum(self, read: ReadInto, extent: Extent, chunk: int) -> int | None:
        """What the chunk's checksum should be, from a small window of the extent's table."""
        table = extent.offset_bytes + table_offset(extent.length_bytes)
        at = table + chunk * CHECKSUM_BYTES
        if not self._table_at <= at < self._table_at + len(self._table):
            chunks = -(-extent.length_bytes // self._core.superblock.chunk_bytes)
            end = table + chunks * CHECKSUM_BYTES
            window = bytearray(min(TABLE_WINDOW_BYTES, end - at))
            if not read(at, window):
                return None
            self._table, self._table_at = bytes(window), at
        value: int = unpack_from("<Q", self._table, at - self._table_at)[0]
        return value

    def _nowhere(self, position: int) -> CorruptionError:
        return CorruptionError(f"{self._name()}: byte {position} is nowhere")

    def _name(self) -> str:
        return f"object {self.info.bucket}/{self.info.key}"

    def read(self) -> bytes:
        """All that is left.

        Raises:
            CorruptionError: the bytes do not match their checksum.
        """
        first = self.next()
        if len(first) == self.length_bytes:
            return bytes(first)
        return b"".join((first, *self))

    def __iter__(self) -> Iterator[bytes | memoryview]:
        while piece := self.next():
            yield piece

    def close(self) -> None:
        """Let go of what the reader pins; idempotent."""
        self._extents, self._starts = [], []
        self.length_bytes = self._position - self.start_byte
        self._unpin()

    def _unpin(self) -> None:
        if self._pin is not None:
            self._core.slots.unpin(self._pin)
            self._pin = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __del__(self) -> None:
        self._unpin()
