"""Raw sockets against a server: what no HTTP library would send, and what came back."""

from __future__ import annotations

import socket
from dataclasses import dataclass, field
from typing import Any

from starlette.types import Receive, Scope, Send

TIMEOUT_S = 30.0
"""How long a test waits for a server that does not do as it should."""


@dataclass
class Answer:
    """A response as it was read off the wire."""

    status: int
    headers: dict[str, str]
    body: bytes


class RawConnection:
    """A TCP connection that sends bytes as given and reads responses one by one."""

    def __init__(self, url: str) -> None:
        host, port = url.removeprefix("http://").rsplit(":", 1)
        self.socket = socket.create_connection((host, int(port)), timeout=TIMEOUT_S)
        self._file = self.socket.makefile("rb")

    def __enter__(self) -> RawConnection:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._file.close()
        self.socket.close()

    def send(self, data: bytes) -> None:
        """Send bytes."""
        self.socket.sendall(data)

    def send_or_lose(self, data: bytes) -> bool:
        """Send bytes to a server that may close meanwhile; False when it did."""
        try:
            self.socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            return False
        return True

    def line(self) -> bytes:
        """A line as it comes."""
        return self._file.readline()

    def read(self, *, head: bool = False) -> Answer:
        """The next response; fails the test when there is none."""
        status_line = self._file.readline()
        assert status_line.startswith(b"HTTP/1.1 "), f"no response but {status_line!r}"
        status = int(status_line.split()[1])
        headers: dict[str, str] = {}
        while (line := self._file.readline()) not in (b"\r\n", b""):
            name, _, value = line.decode("latin-1").partition(":")
            headers[name.lower()] = value.strip()
        body = b"" if head else self._body(headers)
        return Answer(status, headers, body)

    def rest(self) -> bytes:
        """All that comes until the server closes."""
        return self._file.read()

    def _body(self, headers: dict[str, str]) -> bytes:
        if headers.get("transfer-encoding") == "chunked":
            parts = []
            while size := int(self._file.readline(), 16):
                parts.append(self._file.read(size))
                self._file.readline()
            self._file.readline()
            return b"".join(parts)
        return self._file.read(int(headers.get("content-length", "0")))

    def ends(self) -> bool:
        """Whether the server closes without another byte."""
        try:
            return self._file.read(1) == b""
        except ConnectionResetError:
            return True


@dataclass
class EchoApp:
    """An ASGI application that answers with what it received.

    ``/early`` answers without reading, ``/stream`` sends without a length, ``/stall``
    sends a large body, ``/fail`` raises, ``/half`` raises in the middle of its body.
    """

    requests: list[dict[str, Any]] = field(default_factory=list)
    disconnects: int = 0
    sent_pieces: int = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
            return
        self.requests.append(dict(scope))
        handler = getattr(self, "on_" + scope["path"].strip("/"), self.on_echo)
        await handler(scope, receive, send)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return

    async def on_echo(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The request's body, or its path when it has none."""
        body = b""
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                self.disconnects += 1
                return
            body += message["body"]
            more = message["more_body"]
        await answer(send, 200, body or scope["raw_path"])

    async def on_into(self, scope: Scope, receive: Any, send: Send) -> None:
        """The request's body, read into a buffer of an odd size."""
        exchange = receive.__self__
        buffer = bytearray(100_003)
        body = b""
        count = len(buffer)
        while count == len(buffer):
            try:
                count = await exchange.receive_into(memoryview(buffer))
            except ConnectionError:
                self.disconnects += 1
                raise
            body += buffer[:count]
        await answer(send, 200, body)

    async def on_early(self, scope: Scope, receive: Receive, send: Send) -> None:
        """An answer that leaves the body unread."""
        await answer(send, 403, b"no")

    async def on_stream(self, scope: Scope, receive: Receive, send: Send) -> None:
        """A body without a content-length."""
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for piece in (b"one", b"", b"two"):
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    async def on_large(self, scope: Scope, receive: Receive, send: Send) -> None:
        """64 MiB from one buffer that is overwritten after each piece."""
        buffer = bytearray(1 << 20)
        length = (b"content-length", b"%d" % (64 << 20))
        await send({"type": "http.response.start", "status": 200, "headers": [length]})
        try:
            for number in range(64):
                buffer[:] = bytes([number]) * len(buffer)
                body = memoryview(buffer)
                more = number < 63
                await send({"type": "http.response.body", "body": body, "more_body": more})
                self.sent_pieces += 1
        except ConnectionError:
            self.disconnects += 1
            raise

    async def on_fail(self, scope: Scope, receive: Receive, send: Send) -> None:
        """A defect."""
        raise RuntimeError("on purpose")

    async def on_half(self, scope: Scope, receive: Receive, send: Send) -> None:
        """A defect in the middle of a body."""
        length = (b"content-length", b"10")
        await send({"type": "http.response.start", "status": 200, "headers": [length]})
        await send({"type": "http.response.body", "body": b"12345", "more_body": True})
        raise RuntimeError("on purpose")

    async def on_inject(self, scope: Scope, receive: Receive, send: Send) -> None:
        """A line break in a header."""
        header = (b"x-evil", b"a\r\nset-cookie: b")
        await send({"type": "http.response.start", "status": 200, "headers": [header]})
        await send({"type": "http.response.body", "body": b""})


async def answer(send: Send, status: int, body: bytes) -> None:
    """A whole response."""
    headers = [(b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
