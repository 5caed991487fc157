"""Memory of a connection: buffers used again, bytes received ahead, replies sent whole."""

from __future__ import annotations

import socket
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

_LEAST_BYTES: Final = 4096
_KEPT_BYTES: Final = 8 * 1024 * 1024
_INBOX_BYTES: Final = 64 * 1024
"""Received ahead: a few thousand requests, or one write's bytes, which are then copied."""

_MOST_PARTS: Final = 512
"""Given to one sendmsg; Linux takes 1,024 (IOV_MAX)."""


class ConnectionLostError(Exception):
    """The client is gone, or has not gone on in time."""


class BufferPool:
    """Buffers in sizes of powers of two, kept for the next request up to 8 MiB."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._free: dict[int, list[bytearray]] = {}
        self._kept_bytes = 0

    def take(self, length_bytes: int) -> memoryview:
        """A buffer of `length_bytes`, at least 1, with anything in it."""
        size_bytes = max(_LEAST_BYTES, 1 << (length_bytes - 1).bit_length())
        with self._lock:
            free = self._free.get(size_bytes)
            if free:
                self._kept_bytes -= size_bytes
                return memoryview(free.pop())[:length_bytes]
        return memoryview(bytearray(size_bytes))[:length_bytes]

    def give(self, buffer: memoryview) -> None:
        """Hand a buffer back; nobody may use it or a slice of it any more."""
        whole = buffer.obj
        assert isinstance(whole, bytearray)
        with self._lock:
            if self._kept_bytes + len(whole) <= _KEPT_BYTES:
                self._kept_bytes += len(whole)
                self._free.setdefault(len(whole), []).append(whole)


class Inbox:
    """What has been received and not been looked at yet; for the reading thread only.

    The socket has to be a blocking one with SO_RCVTIMEO: when a message has begun and
    then nothing comes for so long, the client is given up.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._view = memoryview(bytearray(_INBOX_BYTES))
        self._start = self._end = 0

    @property
    def held_bytes(self) -> int:
        """Bytes that can be had without waiting."""
        return self._end - self._start

    def await_header(self, length_bytes: int) -> memoryview | None:
        """The next message's header; None if the client has ended the connection before it.

        It waits for ever for the first byte, and is valid until the next call.

        Raises:
            ConnectionLostError: the connection broke, or stalled within the header.
        """
        while self.held_bytes < length_bytes:
            if not self._fill():
                if self.held_bytes:
                    raise ConnectionLostError("the client left in the middle of a request")
                return None
        return self._consume(length_bytes)

    def peek(self, length_bytes: int) -> memoryview | None:
        """The next bytes without waiting, if they are all here; valid until the next call."""
        return self._consume(length_bytes) if self.held_bytes >= length_bytes else None

    def read_into(self, buffer: memoryview) -> None:
        """Fill `buffer`.

        Raises:
            ConnectionLostError: the connection broke or stalled before that.
        """
        done = min(self.held_bytes, len(buffer))
        buffer[:done] = self._consume(done)
        while done < len(buffer):
            try:
                count = self._sock.recv_into(buffer[done:], 0, socket.MSG_WAITALL)
            except BlockingIOError:
                raise ConnectionLostError("a request's data stopped coming") from None
            except OSError as error:
                raise ConnectionLostError(str(error)) from error
            if count == 0:
                raise ConnectionLostError("the client left in the middle of a request")
            done += count

    def _consume(self, length_bytes: int) -> memoryview:
        start, self._start = self._start, self._start + length_bytes
        return self._view[start : self._start]

    def _fill(self) -> bool:
        """Receive what there is; False at the end of the connection."""
        if self._start:
            held = self.held_bytes
            self._view[:held] = bytes(self._view[self._start : self._end])
            self._start, self._end = 0, held
        try:
            count = self._sock.recv_into(self._view[self._end :])
        except BlockingIOError:
            if self.held_bytes:
                raise ConnectionLostError("a request's header stopped coming") from None
            return True  # an idle client may be idle
        except OSError as error:
            raise ConnectionLostError(str(error)) from error
        self._end += count
        return count > 0


class Outgoing(NamedTuple):
    """A reply on its way: its `parts`, and what is given back when they are sent."""

    parts: list[bytes | memoryview]
    buffer: memoryview | None
    held_bytes: int


class Outbox:
    """Sends replies whole, whichever thread they come from.

    A thread that finds another one sending leaves its reply with that one and goes on to
    its next request: nobody waits, and replies that come together go out in one call.
    `sent` is told of the replies that `post` was given when they are done with, sent or not.

    The socket has to be a blocking one with SO_SNDTIMEO.
    """

    def __init__(self, sock: socket.socket, sent: Callable[[list[Outgoing]], None]) -> None:
        self._sock = sock
        self._sent = sent
        self._lock = threading.Lock()
        self._posted: deque[Outgoing] = deque()
        self._broken = False

    def post(self, outgoing: Outgoing) -> None:
        """Have a reply sent, by this thread or by one that is sending.

        Raises:
            ConnectionLostError: the client does not take replies; nor will it take others.
        """
        self._posted.append(outgoing)
        self._send_posted()

    def send(self, parts: Sequence[bytes | memoryview]) -> None:
        """Send all of `parts`, in order, with nothing in between, before returning.

        Raises:
            ConnectionLostError: the client does not take them; nor will it take others.
        """
        with self._lock:
            self._send(parts)
        self._send_posted()

    def _send_posted(self) -> None:
        # Looked at again after the lock was let go: what was posted meanwhile is ours too.
        while self._posted and self._lock.acquire(blocking=False):
            try:
                while self._posted:
                    self._send_batch()
            finally:
                self._lock.release()

    def _send_batch(self) -> None:
        batch: list[Outgoing] = []
        parts: list[bytes | memoryview] = []
        while self._posted and len(parts) < _MOST_PARTS:
            batch.append(self._posted.popleft())
            parts += batch[-1].parts
        try:
            self._send(parts)
        finally:
            self._sent(batch)

    def _send(self, parts: Sequence[bytes | memoryview]) -> None:
        if self._broken:
            raise ConnectionLostError("an earlier reply could not be sent")
        try:
            self._send_all(list(parts))
        except BlockingIOError:
            self._broken = True
            raise ConnectionLostError("the client does not take its replies") from None
        except OSError as error:
            self._broken = True
            raise ConnectionLostError(str(error)) from error

    def _send_all(self, parts: list[bytes | memoryview]) -> None:
        first = 0
        while first < len(parts):
            sent = self._sock.sendmsg(parts[first : first + _MOST_PARTS])
            while first < len(parts) and sent >= len(parts[first]):
                sent -= len(parts[first])
                first += 1
            if sent:
                parts[first] = memoryview(parts[first])[sent:]
