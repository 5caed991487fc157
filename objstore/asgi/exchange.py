"""One request and its response, as the ASGI application sees them.

What differs from uvicorn's own `RequestResponseCycle`:

* the head of a response waits for the first piece of its body: one write for both;
* `send` of a piece with more to come returns once the piece has left for the kernel, so
  that the caller may reuse its buffer, and so that a slow reader holds one piece at most;
* "100 Continue" goes out when the application first asks for a body that has not come;
* what arrives of the body is handed on in the pieces in which it came, uncopied;
  `receive_into` reads a large one from the socket into the caller's own buffer.
"""

from __future__ import annotations

import asyncio
import http
import logging
from collections import deque
from collections.abc import MutableMapping
from typing import TYPE_CHECKING, Any

from starlette.types import ASGIApp, Message

from objstore.config import BODY_BUFFER_BYTES, COALESCE_BYTES, EARLY_BODY_BYTES, JOIN_BYTES
from objstore.s3.errors import S3Error
from objstore.s3.http import Headers

if TYPE_CHECKING:
    from objstore.asgi.protocol import FrontProtocol

logger = logging.getLogger("objstore.http")


class ClientDisconnectedError(ConnectionError):
    """The client is gone, or was answered without the application; nothing can be sent."""


CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
DISCONNECT: Message = {"type": "http.disconnect"}


def _status_line(status: int) -> bytes:
    try:
        phrase = http.HTTPStatus(status).phrase
    except ValueError:
        phrase = ""
    return f"HTTP/1.1 {status} {phrase}\r\n".encode("ascii")


STATUS_LINES = {status: _status_line(status) for status in range(100, 600)}


class Exchange:
    """A request being received and answered; made by `FrontProtocol` once the headers are in."""

    __slots__ = (
        "body_complete",
        "body_told",
        "buffered_bytes",
        "chunked",
        "chunks",
        "disconnected",
        "expects_continue",
        "head",
        "high_water_bytes",
        "is_head",
        "keep_alive",
        "length_left",
        "protocol",
        "received_ns",
        "response_complete",
        "response_started",
        "scope",
        "sent_bytes",
        "status",
        "target",
        "task",
        "waiter",
    )

    def __init__(
        self,
        protocol: FrontProtocol,
        scope: MutableMapping[str, Any],
        *,
        keep_alive: bool,
        expects_continue: bool,
    ) -> None:
        self.protocol = protocol
        self.scope = scope
        self.is_head = scope["method"] == "HEAD"
        self.keep_alive = keep_alive
        self.expects_continue = expects_continue
        self.disconnected = False

        self.chunks: deque[bytes | memoryview] = deque()
        self.buffered_bytes = 0
        self.high_water_bytes = EARLY_BODY_BYTES
        self.body_complete = False
        self.body_told = False
        self.waiter: asyncio.Future[None] | None = None
        self.target: memoryview | None = None
        self.task: asyncio.Task[None] | None = None

        self.received_ns = 0
        self.head: bytes | None = None
        self.response_started = False
        self.response_complete = False
        self.chunked = False
        self.length_left = 0
        self.status = 0
        self.sent_bytes = 0

    # What the protocol calls.

    def feed(self, data: bytes) -> None:
        """Take a piece of the request's body."""
        self.chunks.append(data)
        self.buffered_bytes += len(data)
        if self.buffered_bytes >= self.high_water_bytes:
            self.protocol.flow.pause_reading()
        self.wake()

    def finish_body(self) -> None:
        """The request's body has arrived whole."""
        self.body_complete = True
        state = self.protocol.server_state
        if state.access_logs is not None and state.access_logs.is_active:
            self.received_ns = state.clock.monotonic_ns()
        self.wake()

    def disconnect(self) -> None:
        """The client is gone, or has been given its answer without the application."""
        self.disconnected = True
        self.wake()

    def wake(self) -> None:
        """Let a waiting `receive` look again."""
        waiter = self.waiter
        if waiter is not None:
            self.waiter = None
            if not waiter.done():
                waiter.set_result(None)

    # The ASGI side.

    async def run_asgi(self, app: ASGIApp) -> None:
        """Run the application; whatever it does, the connection ends up in a known state."""
        try:
            await app(self.scope, self.receive, self.send)
        except asyncio.CancelledError:
            self.protocol.abort()
            raise
        except ClientDisconnectedError:
            pass
        except Exception:
            logger.exception("the application failed on %s %s", *self._name())
            self._fail()
        else:
            if not self.response_complete and not self.disconnected:
                logger.error("the application left %s %s without an answer", *self._name())
                self._fail()
        finally:
            # Here and not in a callback of the task, which would be one more turn of the loop.
            if self.task is not None:
                self.protocol.tasks.discard(self.task)

    def _name(self) -> tuple[str, str]:
        return self.scope["method"], self.scope["raw_path"].decode("latin-1")

    def _fail(self) -> None:
        if self.response_started:
            self.protocol.abort()
        elif not self.disconnected:
            self.protocol.answer_refusal(self, S3Error("InternalError"))

    async def receive(self) -> Message:
        """The next piece of the request's body; after its end, or the client's, a disconnect."""
        if self.expects_continue:
            self.expects_continue = False
            self.protocol.send_continue(self)
        self.high_water_bytes = BODY_BUFFER_BYTES
        chunks = self.chunks
        while not (self.disconnected or self.response_complete):
            if chunks or (self.body_complete and not self.body_told):
                data = self._take() if chunks else b""
                self.body_told = self.body_complete and not chunks
                return {"type": "http.request", "body": data, "more_body": not self.body_told}
            self.waiter = self.protocol.loop.create_future()
            await self.waiter
        return DISCONNECT

    async def receive_into(self, buffer: memoryview) -> int:
        """Fill `buffer` from the request's body; fewer bytes only at the body's end.

        Not ASGI: a short cut for large bodies, which go straight from the socket into
        `buffer`.  Do not mix it with `receive`.

        Raises:
            ClientDisconnectedError: the client left before the end of its body.
        """
        if self.expects_continue:
            self.expects_continue = False
            self.protocol.send_continue(self)
        self.high_water_bytes = BODY_BUFFER_BYTES
        left = self._take_into(buffer)
        while len(left) and (self.chunks or not self.body_complete):
            if self.disconnected or self.response_complete:
                raise ClientDisconnectedError("the client left in the middle of its body")
            self.target = left
            self.waiter = self.protocol.loop.create_future()
            self.protocol.receive_directly(self)
            try:
                await self.waiter
            finally:
                left, self.target = self.target, None
            left = self._take_into(left)
        return len(buffer) - len(left)

    def _take_into(self, buffer: memoryview) -> memoryview:
        """Move what has come into `buffer`; returns the room that is left in it."""
        chunks = self.chunks
        while chunks and len(buffer):
            chunk = chunks.popleft()
            taken = min(len(chunk), len(buffer))
            buffer[:taken] = chunk[:taken]
            buffer = buffer[taken:]
            self.buffered_bytes -= taken
            if taken < len(chunk):
                chunks.appendleft(memoryview(chunk)[taken:])
        return buffer

    def _take(self) -> bytes | memoryview:
        chunks = self.chunks
        if len(chunks) == 1 or len(chunks[0]) >= COALESCE_BYTES:
            data: bytes | memoryview = chunks.popleft()
        else:
            data = b"".join(chunks)
            chunks.clear()
        self.buffered_bytes -= len(data)
        if not self.body_complete and self.buffered_bytes <= BODY_BUFFER_BYTES // 2:
            self.protocol.want_body()
        return data

    async def send(self, message: Message) -> None:
        """Take a message of the response; returns when its bytes are with the kernel.

        Raises:
            ClientDisconnectedError: there is nobody to send to.
        """
        if self.disconnected:
            raise ClientDisconnectedError("the client is gone")
        if message["type"] == "http.response.body":
            more = message.get("more_body", False)
            self.write_piece(message.get("body", b""), more)
            if not more:
                self.complete()
            elif self.protocol.flow.write_paused:
                await self.protocol.flow.drain()
        elif self.status:
            raise RuntimeError(f"a second {message['type']!r} in one response")
        else:
            self.start_response(message["status"], message.get("headers", ()))

    def answer(self, status: int, headers: Headers, body: bytes) -> None:
        """A whole response at once.  Not ASGI: what two calls of `send` would do.

        Raises:
            ClientDisconnectedError: there is nobody to send to.
        """
        if self.disconnected:
            raise ClientDisconnectedError("the client is gone")
        if self.status:
            raise RuntimeError("a second response to one request")
        self.start_response(status, headers)
        self.write_piece(body, more=False)
        self.complete()

    def replace_response(self, status: int, headers: Headers, body: bytes) -> None:
        """Answer in the application's stead, before any of its answer has gone out."""
        self.status = 0
        self.chunked = False
        self.start_response(status, headers)
        self.write_piece(body, more=False)
        self.complete()

    def start_response(self, status: int, headers: Headers) -> None:
        """Render the head; it is written with the first piece of the body."""
        self.status = status
        lines = [STATUS_LINES[status], self.protocol.server_state.date_line]
        length: int | None = None
        for header in headers:
            name = header[0]
            if name == b"content-length":
                length = int(header[1])
            elif name == b"connection" and header[1].lower() == b"close":
                self.keep_alive = False
                continue
            lines.append(b"%b: %b\r\n" % (name, header[1]))
        if self.expects_continue and self.body_complete and not self.chunks:
            # An empty body that nobody asked for.  After a final answer without the invitation,
            # botocore misreads the next answer on the connection, and waits for it a minute.
            self.expects_continue = False
            self.protocol.send_continue(self)
        self._frame(status, length, lines)
        head = b"".join(lines)
        if head.count(b"\n") != len(lines) or head.count(b"\r") != len(lines):
            raise ValueError("a line break inside a response header")
        self.head = head + b"\r\n"

    def _frame(self, status: int, length: int | None, lines: list[bytes]) -> None:
        """Decide how the end of the response is told, and whether the connection goes on."""
        if not self.body_complete and not self.protocol.can_drain(self):
            self.keep_alive = False
        bodiless = self.is_head or status in (204, 304)
        if length is not None:
            self.length_left = 0 if bodiless else length
        elif not bodiless and self.scope["http_version"] == "1.1":
            self.chunked = True
            lines.append(b"transfer-encoding: chunked\r\n")
        elif not bodiless:
            self.length_left = -1
            self.keep_alive = False
        if not self.keep_alive:
            lines.append(b"connection: close\r\n")

    def write_piece(self, body: bytes | memoryview, more: bool) -> None:
        """Write a piece of the body, framed, and the head before the first."""
        if self.response_complete or not self.status:
            raise RuntimeError("a body outside of a response")
        if self.is_head or self.status in (204, 304):
            body = b""
        size = len(body)
        self.sent_bytes += size
        if self.chunked:
            body = self._chunk(body, more)
        elif self.length_left >= 0:
            self.length_left -= size
            if self.length_left < 0 or (self.length_left and not more):
                raise RuntimeError("the body's length is not the content-length")
        self._write(body)

    def _chunk(self, body: bytes | memoryview, more: bool) -> bytes:
        parts = [b"%x\r\n" % len(body), body, b"\r\n"] if len(body) else []
        if not more and not self.is_head:
            parts.append(b"0\r\n\r\n")
        return b"".join(parts)

    def _write(self, body: bytes | memoryview) -> None:
        head, self.head = self.head, None
        transport = self.protocol.transport
        if head is None:
            if len(body):
                transport.write(body)
            return
        self.response_started = True
        if len(body) <= JOIN_BYTES:
            transport.write(b"".join((head, body)))
        else:
            transport.writelines((head, body))

    def complete(self) -> None:
        """The response is whole."""
        self.response_complete = True
        self.wake()
        self.protocol.exchange_done(self)
