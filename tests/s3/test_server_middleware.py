"""Whoever embeds the application may wrap it: what he wraps sees every answer."""

from __future__ import annotations

from pathlib import Path

import pytest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from blockdev import SystemClock
from objstore import ObjectStore
from objstore.asgi.app import make_app, root_credentials
from objstore.asgi.server import BackgroundServer
from objstore.asgi.state import FrontState
from objstore.config import ServerConfig
from tests.s3.rawhttp import EchoApp, RawConnection
from tests.s3.signed import Signer

KEYS = ("TESTROOTKEY", "test+secret/0123456789")


class Stamp:
    """Puts a header into every response."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def stamped(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"x-stamp", b"seen")]
            await send(message)

        await self.app(scope, receive, stamped)


@pytest.mark.parametrize("method", ["PUT", "GET", "HEAD", "DELETE"])
def test_a_wrapper_sees_the_answers(tmp_path: Path, method: str) -> None:
    with ObjectStore.open(tmp_path) as store:
        store.put("bucket", "key", b"body")
        app = make_app(store, [root_credentials(*KEYS)])
        state = FrontState(ServerConfig(), clock=SystemClock())
        server = BackgroundServer(Stamp(app), state, host="127.0.0.1", port=0).start()
        try:
            signer = Signer(server.url, *KEYS)
            with signer.connect() as connection:
                request = (
                    signer.put("/bucket/key", b"body")
                    if method == "PUT"
                    else signer.head(method, "/bucket/key", [])
                )
                connection.send(request)
                answer = connection.read(head=method == "HEAD")
                assert answer.status in (200, 204)
                assert answer.headers["x-stamp"] == "seen"
        finally:
            server.stop()


def test_an_address_is_one_whatever_the_kind_of_socket() -> None:
    app = EchoApp()
    try:
        server = BackgroundServer(app, FrontState(ServerConfig()), host="::")
    except OSError as error:
        pytest.skip(f"this machine has no IPv6: {error}")
    with server, RawConnection(server.url) as connection:  # over IPv4
        connection.send(b"GET /echo HTTP/1.1\r\nhost: h\r\n\r\n")
        assert connection.read().status == 200
    assert app.requests[0]["client"][0] == "127.0.0.1"
