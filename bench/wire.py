"""One HTTP/1.1 connection of the load generator: a request out, a checked response in.

It reads just enough of a response to know that it is whole and is the right one: the status, the
length (Content-Length or chunked), and what the request expects of the body.  Nothing is parsed
for its own sake, because on the machine that runs the server every microsecond spent here is one
that the server does not get.
"""

from __future__ import annotations

import socket
import time
from typing import NamedTuple

from bench.signing import Endpoint

BUFFER_BYTES = 1024 * 1024
CONNECT_TIMEOUT_S = 10.0


class BadResponse(Exception):
    """The server answered wrongly, cut the connection, or did not answer."""


class Expectation(NamedTuple):
    """What every response of a run has to be.

    `length_bytes`: of the body, None for any.  `marker` has to occur `marker_count` times.
    """

    status: int
    length_bytes: int | None = None
    marker: bytes = b""
    marker_count: int = 0


class Request(NamedTuple):
    """A request ready to send; `reply` is the exact body expected, None when not compared."""

    head: bytes
    body: bytes = b""
    reply: bytes | None = None


class Connection:
    """Non-blocking; `begin` a request, then `send` and `receive` as the socket allows."""

    __slots__ = (
        "_buffer",
        "_expectation",
        "_filled",
        "_head_bytes",
        "_is_head",
        "_left",
        "_length",
        "_request",
        "_status",
        "_view",
        "is_sending",
        "request_started_ns",
        "socket",
        "unsent",
    )

    def __init__(self, endpoint: Endpoint, expectation: Expectation, method: str) -> None:
        address = (endpoint.host, endpoint.port)
        self.socket = socket.create_connection(address, timeout=CONNECT_TIMEOUT_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setblocking(False)
        self.request_started_ns = 0
        self.is_sending = False
        self.unsent: memoryview = memoryview(b"")
        self._buffer = bytearray(BUFFER_BYTES)  # zero pages until used
        self._view = memoryview(self._buffer)
        self._expectation = expectation
        self._is_head = method == "HEAD"
        self._reset()

    def _reset(self) -> None:
        self._filled = 0  # bytes of the response in the buffer
        self._status = 0
        self._head_bytes = 0  # 0 until the headers are whole
        self._length = -1  # of the body; -1: chunked
        self._left = 0  # of a body too large to keep, still to come

    def close(self) -> None:
        """Close the socket; harmless when it is closed."""
        self.socket.close()

    def begin(self, request: Request, now_ns: int) -> None:
        """Send as much of `request` as the socket takes; `is_sending` says whether some is left.

        Raises:
            BadResponse: the server has cut the connection.
        """
        self._request = request
        self.request_started_ns = now_ns
        try:
            if request.body:
                sent = self.socket.sendmsg((request.head, request.body))
            else:
                sent = self.socket.send(request.head)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            raise BadResponse(f"the connection broke while sending: {error}") from error
        head_bytes = len(request.head)
        if sent == head_bytes + len(request.body):
            return
        self.is_sending = True
        if sent < head_bytes:
            self.unsent = memoryview(request.head[sent:] + request.body)
        else:
            self.unsent = memoryview(request.body)[sent - head_bytes :]

    def send(self) -> None:
        """Send more of the request, after the socket said that it takes more.

        Raises:
            BadResponse: the server has cut the connection.
        """
        try:
            while self.unsent:
                self.unsent = self.unsent[self.socket.send(self.unsent) :]
        except BlockingIOError:
            return
        except OSError as error:
            raise BadResponse(f"the connection broke while sending: {error}") from error
        self.is_sending = False

    def receive(self) -> bool:
        """Read what has come; True when the response is whole and right.

        Raises:
            BadResponse: it is not what the request expects; the connection is of no more use.
        """
        try:
            if self._left:
                return self._skip()
            count = self.socket.recv_into(
                self._view[self._filled :] if self._filled else self._view
            )
        except BlockingIOError:
            return False
        except OSError as error:
            raise BadResponse(f"the connection broke: {error}") from error
        if not count:
            raise BadResponse(f"the connection was closed after {self._filled} bytes of a response")
        self._filled += count
        if not self._head_bytes and not self._parse_head():
            return False
        if self._length < 0:
            return self._receive_chunked()
        left = self._head_bytes + self._length - self._filled
        if left > 0:
            if self._head_bytes + self._length > BUFFER_BYTES:
                self._left = left
            return False
        return self._finish(self._head_bytes, self._head_bytes + self._length)

    def _skip(self) -> bool:
        # A body larger than the buffer is counted, not kept.
        count = self.socket.recv_into(self._view)
        if not count:
            raise BadResponse(f"the connection was closed with {self._left} bytes to come")
        self._left -= count
        if self._left > 0:
            return False
        if self._left < 0:
            raise BadResponse(f"{-self._left} bytes after the end of the response")
        self._check_status(b"")
        self._check_length(self._length)
        self._reset()
        return True

    def _parse_head(self) -> bool:
        end = self._buffer.find(b"\r\n\r\n", 0, self._filled)
        if end < 0:
            if self._filled == BUFFER_BYTES:
                raise BadResponse("the headers do not end")
            return False
        self._head_bytes = end + 4
        head = bytes(self._view[:end]).lower()
        if not head.startswith(b"http/1.1 "):
            raise BadResponse(f"not HTTP/1.1: {head[:80]!r}")
        self._status = int(head[9:12])
        if self._is_head or head[9:12] in (b"204", b"304"):
            self._length = 0
            return True
        at = head.find(b"\r\ncontent-length:")
        if at >= 0:
            self._length = int(head[at + 17 :].split(b"\r\n", 1)[0])
        elif b"\r\ntransfer-encoding: chunked" not in head:
            raise BadResponse(f"a response without a length: {head!r}")
        return True

    def _receive_chunked(self) -> bool:
        if not self._buffer.endswith(b"0\r\n\r\n", 0, self._filled):
            if self._filled == BUFFER_BYTES:
                raise BadResponse("a chunked response larger than the buffer")
            return False
        body = dechunk(bytes(self._view[self._head_bytes : self._filled]))
        if body is None:
            return False
        self._buffer[: len(body)] = body  # shorter than its chunks, so it fits
        self._filled = len(body)
        return self._finish(0, len(body))

    def _finish(self, start: int, end: int) -> bool:
        buffer, expected = self._buffer, self._expectation
        self._check_status(buffer[start : min(end, start + 300)])
        self._check_length(end - start)
        if self._filled != end:
            raise BadResponse(f"{self._filled - end} bytes after the end of the response")
        reply = self._request.reply
        if reply is not None and not buffer.startswith(reply, start, end):
            raise BadResponse("the body is not the one that was stored")
        if expected.marker:
            found = buffer.count(expected.marker, start, end)
            if found != expected.marker_count:
                raise BadResponse(f"{found} of {expected.marker!r}, not {expected.marker_count}")
        self._reset()
        return True

    def _check_status(self, text: bytes | bytearray) -> None:
        if self._status != self._expectation.status:
            wanted = self._expectation.status
            raise BadResponse(f"status {self._status}, not {wanted}: {bytes(text)!r}")

    def _check_length(self, length_bytes: int) -> None:
        expected = self._expectation.length_bytes
        if expected is not None and length_bytes != expected:
            raise BadResponse(f"a body of {length_bytes} bytes, not {expected}")


def dechunk(data: bytes) -> bytes | None:
    """The body within chunked transfer encoding; None when it has not ended yet."""
    body, at = bytearray(), 0
    while (end := data.find(b"\r\n", at)) >= 0:
        size = int(data[at:end].split(b";", 1)[0], 16)
        if size == 0:
            return bytes(body)
        at = end + 2
        body += data[at : at + size]
        at += size + 2
    return None


def exchange(
    endpoint: Endpoint, request: Request, expectation: Expectation, *, timeout_s: float = 60.0
) -> None:
    """One request on a connection of its own, for set-up; blocks for its response.

    Raises:
        BadResponse: it was not the one expected, or none came within `timeout_s`.
        OSError: there is no connecting to the server.
    """
    method = request.head[:4].decode().strip()
    connection = Connection(endpoint, expectation, method)
    try:
        deadline_s = time.monotonic() + timeout_s
        connection.socket.settimeout(timeout_s)
        connection.begin(request, 0)
        while connection.is_sending:
            connection.send()
        while not connection.receive():
            if time.monotonic() > deadline_s:
                raise BadResponse(f"no response within {timeout_s} s")
    finally:
        connection.close()
