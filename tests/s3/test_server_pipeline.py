"""Clients that ask for more than they read, over real sockets."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from starlette.types import Receive, Scope, Send

from objstore.asgi.server import BackgroundServer
from objstore.asgi.state import FrontState
from objstore.config import MIB, ServerConfig
from tests.s3.rawhttp import TIMEOUT_S, EchoApp, RawConnection, answer

ANSWER_BYTES = 4 * MIB
"""More than the kernel's buffers of a connection whose client has a small one."""

GET = b"GET /big HTTP/1.1\r\nhost: h\r\n\r\n"


@dataclass
class BigApp(EchoApp):
    """Notes at each request what its server still has to send."""

    server: BackgroundServer | None = None
    unsent_bytes: list[int] = field(default_factory=list)

    async def on_big(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One large piece."""
        assert self.server is not None
        for connection in self.server.state.connections:
            transport: Any = connection.transport
            self.unsent_bytes.append(transport.get_write_buffer_size())
        await answer(send, 200, b"z" * ANSWER_BYTES)


@pytest.fixture
def serve() -> Iterator[Callable[..., tuple[BigApp, BackgroundServer]]]:
    servers: list[BackgroundServer] = []

    def start(**limits: float) -> tuple[BigApp, BackgroundServer]:
        app = BigApp()
        config = replace(ServerConfig(), **limits)  # type: ignore[arg-type]
        app.server = BackgroundServer(app, FrontState(config)).start()
        servers.append(app.server)
        return app, app.server

    yield start
    for server in servers:
        server.stop()


class NarrowConnection(RawConnection):
    """With a small buffer for what comes."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)


def wait_until(condition: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < deadline_s, "what was waited for did not happen"
        time.sleep(0.01)


def test_answers_that_nobody_reads_are_not_made(
    serve: Callable[..., tuple[BigApp, BackgroundServer]],
) -> None:
    app, server = serve()
    with NarrowConnection(server.url) as connection:
        for _ in range(3):
            connection.send(GET * 15)
            time.sleep(0.1)
        wait_until(lambda: bool(app.unsent_bytes))
        assert len(app.unsent_bytes) < 15
        for _ in range(45):  # and all are made for who reads after all
            assert len(connection.read().body) == ANSWER_BYTES
    assert app.unsent_bytes == [0] * 45


def test_who_asks_on_and_reads_nothing_is_dropped(
    serve: Callable[..., tuple[BigApp, BackgroundServer]],
) -> None:
    app, server = serve(body_stall_timeout_s=0.5)
    with NarrowConnection(server.url) as connection:
        connection.send(GET * 3)
        wait_until(lambda: bool(app.unsent_bytes))
        asking = threading.Event()

        def ask() -> None:
            while not asking.wait(0.05) and connection.send_or_lose(GET):
                pass

        asker = threading.Thread(target=ask)
        asker.start()
        try:
            wait_until(lambda: not server.state.connections)
        finally:
            asking.set()
            asker.join(TIMEOUT_S)
    assert len(app.unsent_bytes) < 10


def test_who_reads_slowly_is_not_dropped(
    serve: Callable[..., tuple[BigApp, BackgroundServer]],
) -> None:
    """Slower than the kernel's send buffer empties by the part that it tells of."""
    _, server = serve(body_stall_timeout_s=2.0)
    with NarrowConnection(server.url) as connection:
        connection.send(GET * 2)
        read_bytes = 0
        for _ in range(100):
            time.sleep(0.05)
            piece = connection.socket.recv(8192)
            assert piece
            read_bytes += len(piece)
        while read_bytes < 2 * ANSWER_BYTES:
            piece = connection.socket.recv(1 << 20)
            assert piece
            read_bytes += len(piece)
