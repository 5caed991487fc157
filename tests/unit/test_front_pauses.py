"""A connection whose client does not read: what is not begun meanwhile, and when it is late."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from starlette.types import Receive, Scope, Send
from uvicorn.config import Config

from objstore.asgi.head import Phase
from objstore.asgi.protocol import FrontProtocol
from objstore.asgi.state import FrontState
from objstore.config import ServerConfig

GET = b"GET /%d HTTP/1.1\r\nhost: h\r\n\r\n"
STALL_S = 60.0


class Wire(asyncio.Transport):
    """Keeps what is written; takes it at once unless `is_full`."""

    def __init__(self) -> None:
        super().__init__()
        self.protocol: Any = None
        self.is_full = False
        self.written: list[bytes] = []
        self.unsent_bytes = 0
        self.reads_on = True
        self.ended = ""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written.append(bytes(data))
        if self.is_full:
            self.unsent_bytes += len(data)
            self.protocol.pause_writing()

    def writelines(self, list_of_data: Iterable[Any]) -> None:
        self.write(b"".join(list_of_data))

    def take(self, size_bytes: int) -> None:
        """The client reads."""
        self.unsent_bytes -= size_bytes
        if not self.unsent_bytes:
            self.protocol.resume_writing()

    def get_write_buffer_size(self) -> int:
        return self.unsent_bytes

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        assert high == 0

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return default

    def pause_reading(self) -> None:
        self.reads_on = False

    def resume_reading(self) -> None:
        self.reads_on = True

    def is_closing(self) -> bool:
        return bool(self.ended)

    def can_write_eof(self) -> bool:
        return False

    def close(self) -> None:
        self.ended = self.ended or "closed"

    def abort(self) -> None:
        self.ended = "aborted"


class Client:
    """Drives a protocol over a `Wire`, without a server."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        state = FrontState(ServerConfig(body_stall_timeout_s=STALL_S))
        state.tick(0, 0.0)
        config = Config(self._answer, log_config=None)
        config.load()
        config.loaded_app = self._answer
        self.wire = Wire()
        self.protocol = FrontProtocol(config, state, {}, asyncio.get_running_loop())
        self.wire.protocol = self.protocol
        self.protocol.connection_made(self.wire)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.begun.append(scope["path"])
        body = b"x" * 1000
        headers = [(b"content-length", b"1000")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def send(self, data: bytes) -> None:
        self.protocol.data_received(data)
        await settle()


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


def run(test: Callable[[Client], Any]) -> None:
    async def start() -> None:
        await test(Client())

    asyncio.run(start())


def requests(*numbers: int) -> bytes:
    return b"".join(GET % number for number in numbers)


def test_the_next_request_waits_for_the_client_to_read() -> None:
    async def test(client: Client) -> None:
        client.wire.is_full = True
        await client.send(requests(0, 1, 2))
        for number in range(3):
            assert client.begun == [f"/{begun}" for begun in range(number + 1)]
            assert client.wire.reads_on is (number == 2)
            client.wire.take(client.wire.unsent_bytes)
            await settle()
        assert client.wire.reads_on
        assert client.protocol.phase is Phase.IDLE
        assert client.wire.ended == ""

    run(test)


def test_a_request_that_comes_while_the_client_does_not_read_waits() -> None:
    async def test(client: Client) -> None:
        client.wire.is_full = True
        await client.send(requests(0))
        await client.send(requests(1))
        assert client.begun == ["/0"]
        assert not client.wire.reads_on
        client.wire.take(client.wire.unsent_bytes)
        await settle()
        assert client.begun == ["/0", "/1"]

    run(test)


def test_nothing_waits_while_the_client_reads() -> None:
    async def test(client: Client) -> None:
        await client.send(requests(0, 1))
        await client.send(requests(2))
        assert client.begun == ["/0", "/1", "/2"]
        assert client.wire.reads_on

    run(test)


@pytest.mark.parametrize("at_once", [requests(0), requests(0, 1)])
def test_a_client_that_takes_nothing_is_late(at_once: bytes) -> None:
    async def test(client: Client) -> None:
        client.wire.is_full = True
        await client.send(at_once)
        client.protocol.check_deadline(10.0)
        client.protocol.check_deadline(9.9 + STALL_S)
        assert client.wire.ended == ""
        client.protocol.check_deadline(10.0 + STALL_S)
        assert client.wire.ended == "aborted"

    run(test)


def test_what_is_written_on_top_is_no_progress() -> None:
    async def test(client: Client) -> None:
        client.wire.is_full = True
        await client.send(requests(0))
        client.protocol.check_deadline(10.0)
        client.wire.write(b"more")
        client.protocol.check_deadline(10.0 + STALL_S)
        assert client.wire.ended == "aborted"

    run(test)


def test_a_client_that_takes_a_little_is_not_late() -> None:
    async def test(client: Client) -> None:
        client.wire.is_full = True
        await client.send(requests(*range(20)))
        now_s = 0.0
        while len(client.begun) < 20:
            client.protocol.check_deadline(now_s)
            assert client.wire.ended == ""
            now_s += STALL_S - 1
            client.wire.take(min(300, client.wire.unsent_bytes))
            await settle()

    run(test)


def test_a_broken_request_behind_one_that_waits_is_not_answered_in_its_place() -> None:
    async def test(client: Client) -> None:
        client.wire.is_full = True
        await client.send(requests(0))
        await client.send(requests(1) + b"NONSENSE\r\n\r\n")
        assert client.begun == ["/0"]
        assert not any(b" 400 " in data for data in client.wire.written)
        assert client.protocol.phase is Phase.LINGER

    run(test)


def test_an_upgrade_that_comes_while_the_client_does_not_read_ends_the_connection() -> None:
    async def test(client: Client) -> None:
        client.wire.is_full = True
        await client.send(requests(0))
        upgrade = b"GET /1 HTTP/1.1\r\nhost: h\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n"
        await client.send(upgrade)
        client.wire.take(client.wire.unsent_bytes)
        await settle()
        assert client.protocol.phase is Phase.LINGER

    run(test)


def test_the_last_answer_of_a_connection_is_waited_for_too() -> None:
    async def test(client: Client) -> None:
        client.wire.is_full = True
        await client.send(b"GET /0 HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n")
        assert client.wire.ended == "closed"
        client.protocol.check_deadline(0.0)
        client.protocol.check_deadline(STALL_S)
        assert client.wire.ended == "aborted"

    run(test)
