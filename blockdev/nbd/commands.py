"""Requests carried out on a device and turned into replies; no socket is known here."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Final, NamedTuple, TypeAlias

from blockdev.device import BlockDevice, Extent
from blockdev.errors import (
    DeviceClosedError,
    DeviceError,
    DeviceFullError,
    OutOfRangeError,
)
from blockdev.nbd import protocol
from blockdev.nbd.buffers import BufferPool
from blockdev.nbd.limits import NbdLimits
from blockdev.nbd.negotiation import Agreement
from blockdev.nbd.protocol import Request

logger = logging.getLogger(__name__)

Part: TypeAlias = bytes | memoryview

MAX_FRAGMENTS: Final = 64
"""A read that would fall into more chunks than this is sent in one."""

_STRIDE_BYTES: Final = 16 * 1024 * 1024
"""Ranges up to 4 GiB are zeroed and discarded in such strides, so that a stop is seen."""

_CACHE_BYTES: Final = 1024 * 1024

_FUA: Final = protocol.CMD_FLAG_FUA
_ALLOWED_FLAGS: Final = {
    protocol.CMD_READ: _FUA | protocol.CMD_FLAG_DF,
    protocol.CMD_WRITE: _FUA,
    protocol.CMD_FLUSH: _FUA,
    protocol.CMD_TRIM: _FUA,
    protocol.CMD_CACHE: _FUA,
    protocol.CMD_WRITE_ZEROES: _FUA | protocol.CMD_FLAG_NO_HOLE,
    protocol.CMD_BLOCK_STATUS: _FUA | protocol.CMD_FLAG_REQ_ONE,
}
_CHANGES: Final = frozenset({protocol.CMD_WRITE, protocol.CMD_TRIM, protocol.CMD_WRITE_ZEROES})
_GROWS: Final = frozenset({protocol.CMD_WRITE, protocol.CMD_WRITE_ZEROES})


class Refusal(NamedTuple):
    """An error value of the protocol, and the sentence that goes with it."""

    error: int
    message: str


class Reply(NamedTuple):
    """What goes to the client: `parts`, and the `buffer` to give back when they are sent."""

    parts: list[Part]
    buffer: memoryview | None = None


def refusal_of(request: Request, agreement: Agreement, limits: NbdLimits) -> Refusal | None:
    """Why a request is not even tried, by the rules of the protocol; None if it is."""
    flags, command, _, offset_bytes, length_bytes = request
    allowed = _ALLOWED_FLAGS.get(command)
    if allowed is None:
        return Refusal(protocol.EINVAL, f"command {command} is not known here")
    if not agreement.structured:
        allowed &= ~protocol.CMD_FLAG_DF
    if flags & ~allowed:
        return Refusal(protocol.EINVAL, f"command {command} does not take flags {flags:#x}")
    if command in _CHANGES and agreement.export.read_only:
        return Refusal(protocol.EPERM, "the export is read-only")
    if offset_bytes + length_bytes > agreement.export.device.geometry.size_bytes:
        error = protocol.ENOSPC if command in _GROWS else protocol.EINVAL
        return Refusal(error, f"{offset_bytes}+{length_bytes} lies outside the export")
    if command == protocol.CMD_READ and length_bytes > limits.payload_bytes:
        return Refusal(protocol.EINVAL, f"a read has at most {limits.payload_bytes} bytes")
    if command == protocol.CMD_BLOCK_STATUS:
        return _refusal_of_status(length_bytes, agreement)
    return None


def _refusal_of_status(length_bytes: int, agreement: Agreement) -> Refusal | None:
    if not agreement.allocation:
        return Refusal(protocol.EINVAL, "no metadata context was set for this export")
    if length_bytes == 0:  # the reply has to have at least one run
        return Refusal(protocol.EINVAL, "block status of nothing")
    return None


def refusal_for(error: Exception) -> Refusal:
    """What a client is told of an error of the device."""
    if isinstance(error, DeviceFullError):
        return Refusal(protocol.ENOSPC, str(error))
    if isinstance(error, OutOfRangeError):
        return Refusal(protocol.EINVAL, str(error))
    if isinstance(error, DeviceClosedError):
        return Refusal(protocol.ESHUTDOWN, str(error))
    if isinstance(error, DeviceError):
        return Refusal(protocol.EIO, str(error))
    return Refusal(protocol.EIO, f"{type(error).__name__}: {error}")


class _Stopped(Exception):
    """The server stops while a long request is at work."""


class Executor:
    """Carries out one client's requests; safe to use from several threads."""

    def __init__(self, agreement: Agreement, limits: NbdLimits, pool: BufferPool) -> None:
        self.stopping = False
        self._agreement = agreement
        self._device: BlockDevice = agreement.export.device
        self._limits = limits
        self._pool = pool
        self._structured = agreement.structured

    def refusal(self, request: Request) -> Refusal | None:
        """Why this request is not tried, or None."""
        if self.stopping:
            return Refusal(protocol.ESHUTDOWN, "the server is stopping")
        return refusal_of(request, self._agreement, self._limits)

    def execute(self, request: Request, payload: memoryview | None) -> Reply:
        """Do what was asked, and say how it went; raises nothing of the device's."""
        try:
            return self._run(request, payload)
        except _Stopped:
            return self.refuse(request, Refusal(protocol.ESHUTDOWN, "the server is stopping"))
        except Exception as error:  # whatever a device raises is one client's trouble
            if not isinstance(error, DeviceError):
                logger.exception("a request on export %r failed", self._agreement.name)
            return self.refuse(request, refusal_for(error))

    def refuse(self, request: Request, refusal: Refusal) -> Reply:
        """The reply to a request that failed."""
        if self._structured:
            return Reply([protocol.error_chunk(request.cookie, *refusal)])
        return Reply(
            [protocol.SIMPLE_REPLY.pack(protocol.SIMPLE_REPLY_MAGIC, refusal.error, request.cookie)]
        )

    def _run(self, request: Request, payload: memoryview | None) -> Reply:
        flags, command, cookie, offset_bytes, length_bytes = request
        if command == protocol.CMD_READ:
            return self._read(request)
        if command == protocol.CMD_BLOCK_STATUS:
            return self._block_status(request)
        if command == protocol.CMD_WRITE:
            assert payload is not None
            self._device.write(offset_bytes, payload, fua=bool(flags & _FUA))
        elif command == protocol.CMD_FLUSH:
            self._device.flush()
        elif command == protocol.CMD_CACHE:
            self._cache(offset_bytes, length_bytes)
        else:
            self._clear(request)
        return Reply([protocol.SIMPLE_REPLY.pack(protocol.SIMPLE_REPLY_MAGIC, 0, cookie)])

    def _read(self, request: Request) -> Reply:
        cookie, offset_bytes, length_bytes = request.cookie, request[3], request[4]
        if length_bytes == 0:
            return self._empty_read(cookie)
        buffer = self._pool.take(length_bytes)
        try:
            self._device.read_into(offset_bytes, buffer)
            if not self._structured:
                head = protocol.SIMPLE_REPLY.pack(protocol.SIMPLE_REPLY_MAGIC, 0, cookie)
                return Reply([head, buffer], buffer)
            looks = length_bytes >= self._limits.hole_lookup_bytes
            if looks and not request.flags & protocol.CMD_FLAG_DF:
                runs = self._runs(offset_bytes, length_bytes, MAX_FRAGMENTS + 1)
                if _worth_splitting(runs):
                    return Reply(_chunks(cookie, runs, offset_bytes, buffer), buffer)
            head = _data_head(cookie, offset_bytes, length_bytes, last=True)
            return Reply([head, buffer], buffer)
        except BaseException:
            self._pool.give(buffer)
            raise

    def _empty_read(self, cookie: int) -> Reply:
        if not self._structured:
            return Reply([protocol.SIMPLE_REPLY.pack(protocol.SIMPLE_REPLY_MAGIC, 0, cookie)])
        magic, done = protocol.STRUCTURED_REPLY_MAGIC, protocol.CHUNK_DONE
        return Reply([protocol.CHUNK_HEADER.pack(magic, done, protocol.CHUNK_NONE, cookie, 0)])

    def _block_status(self, request: Request) -> Reply:
        one = request.flags & protocol.CMD_FLAG_REQ_ONE
        most = 1 if one else self._limits.descriptors
        found = self._runs(request.offset_bytes, request.length_bytes, most)
        empty = protocol.STATE_HOLE | protocol.STATE_ZERO
        runs = [(run.length_bytes, 0 if run.allocated else empty) for run in found]
        return Reply([protocol.block_status_chunk(request.cookie, runs)])

    def _runs(self, offset_bytes: int, length_bytes: int, most: int) -> list[Extent]:
        """The first `most` extents of a range, neighbours of one kind joined."""
        runs: list[Extent] = []
        for extent in self._device.extents(offset_bytes, length_bytes):
            if runs and runs[-1].allocated == extent.allocated:
                last = runs[-1]
                joined_bytes = last.length_bytes + extent.length_bytes
                runs[-1] = Extent(last.offset_bytes, joined_bytes, last.allocated)
            elif len(runs) == most:
                break
            else:
                runs.append(extent)
        return runs

    def _cache(self, offset_bytes: int, length_bytes: int) -> None:
        """Read a range for what that does below: a restored volume fetches its blocks."""
        buffer = self._pool.take(min(_CACHE_BYTES, max(length_bytes, 1)))
        try:
            for at, piece_bytes in self._strides(offset_bytes, length_bytes, _CACHE_BYTES):
                self._device.read_into(at, buffer[:piece_bytes])
        finally:
            self._pool.give(buffer)

    def _clear(self, request: Request) -> None:
        """TRIM and WRITE_ZEROES: a discarded range reads as zero, so both may discard."""
        keep = request.command == protocol.CMD_WRITE_ZEROES and (
            request.flags & protocol.CMD_FLAG_NO_HOLE
        )
        change = self._device.write_zeroes if keep else self._device.discard
        for at, piece_bytes in self._strides(*request[3:], _STRIDE_BYTES):
            change(at, piece_bytes)
        if request.flags & _FUA:
            self._device.flush()

    def _strides(
        self, offset_bytes: int, length_bytes: int, stride_bytes: int
    ) -> Iterator[tuple[int, int]]:
        end_bytes = offset_bytes + length_bytes
        for at in range(offset_bytes, end_bytes, stride_bytes):
            if self.stopping:
                raise _Stopped
            yield at, min(stride_bytes, end_bytes - at)


def _worth_splitting(runs: list[Extent]) -> bool:
    return len(runs) <= MAX_FRAGMENTS and not all(run.allocated for run in runs)


def _chunks(cookie: int, runs: list[Extent], offset_bytes: int, buffer: memoryview) -> list[Part]:
    """A read as chunks: data where there is storage, a few bytes where there is a hole.

    The whole range was read before (a disk counts what was asked for, not what is sent),
    and a hole's bytes were zero when its extent was looked up, which is as good a moment.
    """
    parts: list[Part] = []
    for number, run in enumerate(runs, 1):
        last = number == len(runs)
        if run.allocated:
            start = run.offset_bytes - offset_bytes
            parts.append(_data_head(cookie, run.offset_bytes, run.length_bytes, last=last))
            parts.append(buffer[start : start + run.length_bytes])
        else:
            parts.append(_hole(cookie, run, last=last))
    return parts


def _data_head(cookie: int, offset_bytes: int, length_bytes: int, *, last: bool) -> bytes:
    return protocol.DATA_CHUNK.pack(
        protocol.STRUCTURED_REPLY_MAGIC,
        protocol.CHUNK_DONE if last else 0,
        protocol.CHUNK_OFFSET_DATA,
        cookie,
        8 + length_bytes,
        offset_bytes,
    )


def _hole(cookie: int, run: Extent, *, last: bool) -> bytes:
    return protocol.HOLE_CHUNK.pack(
        protocol.STRUCTURED_REPLY_MAGIC,
        protocol.CHUNK_DONE if last else 0,
        protocol.CHUNK_OFFSET_HOLE,
        cookie,
        12,
        run.offset_bytes,
        run.length_bytes,
    )
