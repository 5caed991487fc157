"""Turns of the EC2 and EBS faces: no connection that trickles keeps the others from them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

from starlette.types import Message, Scope

from objstore.asgi.exchange import ClientDisconnectedError
from objstore.asgi.services import Services
from objstore.asgi.state import RequestIds
from objstore.aws.http import Call, Reply
from objstore.config import ServerConfig
from objstore.entropy import SystemEntropy

CONFIG = ServerConfig(
    max_region_bodies=3, max_region_calls=2, region_threads=2, region_body_grace_s=0.05
)
DEADLINE_S = 60.0
ENOUGH_S = 0.3
"""Of waiting for what must not happen; late machines only make the test easier."""


class Echo:
    """Answers with the body; while `gate` is shut, not yet."""

    max_body_bytes = 100

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.gate.set()
        self.calls = 0

    def answer(self, call: Call) -> Reply:
        self.calls += 1
        assert self.gate.wait(DEADLINE_S)
        return Reply(200, call.body)

    def refuse_length(self, call: Call) -> Reply:
        return Reply(400, b"too long")


class Request:
    """One request whose body comes when the test says so."""

    def __init__(self, services: Services, face: Echo, *, length: int | None = 5) -> None:
        self.messages: asyncio.Queue[Message] = asyncio.Queue()
        self.sent: list[Message] = []
        self.reads = 0
        headers = [] if length is None else [(b"content-length", b"%d" % length)]
        scope: Scope = {
            "method": "POST",
            "raw_path": b"/",
            "query_string": b"",
            "headers": headers,
        }
        self.task = asyncio.create_task(services.answer(face, scope, self._receive, self._send))

    async def _receive(self) -> Message:
        self.reads += 1
        return await self.messages.get()

    async def _send(self, message: Message) -> None:
        self.sent.append(message)

    def feed(self, body: bytes, *, more: bool = False) -> None:
        """A piece of its body comes."""
        self.messages.put_nowait({"type": "http.request", "body": body, "more_body": more})

    async def answered(self) -> tuple[int, bytes]:
        """Status and body."""
        await asyncio.wait_for(self.task, DEADLINE_S)
        return self.sent[0]["status"], self.sent[1]["body"]


def run(test: Callable[[Services, Echo], Any]) -> None:
    async def start() -> None:
        face = Echo()
        services = Services({}, RequestIds(SystemEntropy()), CONFIG)
        try:
            await test(services, face)
        finally:
            face.gate.set()
            services.stop()

    asyncio.run(start())


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


def test_bodies_that_never_end_do_not_keep_others_waiting() -> None:
    async def test(services: Services, face: Echo) -> None:
        trickling = [Request(services, face) for _ in range(9)]
        for request in trickling:
            request.feed(b"x", more=True)
        await settle()
        genuine = Request(services, face)
        genuine.feed(b"hello")
        assert await genuine.answered() == (200, b"hello")
        assert face.calls == 1
        for request in trickling[:3]:
            assert await request.answered() == (503, b"")
            assert (b"connection", b"close") in request.sent[0]["headers"]
        for request in trickling:
            request.task.cancel()

    run(test)


def test_requests_without_a_body_pass_by_those_whose_body_is_awaited() -> None:
    async def test(services: Services, face: Echo) -> None:
        trickling = [Request(services, face) for _ in range(3)]
        await settle()
        assert await Request(services, face, length=None).answered() == (200, b"")
        assert await Request(services, face, length=0).answered() == (200, b"")
        for request in trickling:
            request.feed(b"late!")
            assert await request.answered() == (200, b"late!")

    run(test)


def test_a_slow_body_has_all_the_time_while_nobody_waits() -> None:
    async def test(services: Services, face: Echo) -> None:
        slow = [Request(services, face) for _ in range(3)]
        await asyncio.sleep(ENOUGH_S)
        for request in slow:
            request.feed(b"hello")
            assert await request.answered() == (200, b"hello")

    run(test)


def test_bodies_in_memory_are_bounded_and_none_that_is_whole_is_dropped() -> None:
    async def test(services: Services, face: Echo) -> None:
        face.gate.clear()
        requests = [Request(services, face) for _ in range(12)]
        for request in requests:
            request.feed(b"hello")
        await asyncio.sleep(ENOUGH_S)
        at_most = CONFIG.max_region_bodies + CONFIG.max_region_calls
        assert sum(request.reads for request in requests) == at_most
        assert face.calls == CONFIG.max_region_calls
        face.gate.set()
        for request in requests:
            assert await request.answered() == (200, b"hello")

    run(test)


def test_places_of_those_who_leave_or_send_too_much_are_free_again() -> None:
    async def test(services: Services, face: Echo) -> None:
        for _ in range(4):
            gone = Request(services, face)
            gone.messages.put_nowait({"type": "http.disconnect"})
            await asyncio.wait([gone.task], timeout=DEADLINE_S)
            assert isinstance(gone.task.exception(), ClientDisconnectedError)
            long = Request(services, face)
            long.feed(b"x" * 101)
            assert await long.answered() == (400, b"too long")
            left = Request(services, face)
            await settle()
            left.task.cancel()
            await asyncio.wait([left.task], timeout=DEADLINE_S)
        assert await Request(services, face, length=101).answered() == (400, b"too long")
        last = Request(services, face)
        last.feed(b"hello")
        assert await last.answered() == (200, b"hello")

    run(test)
