"""The transmission phase of one connection: requests in, replies out.

One thread reads.  Requests that the device answers quickly it carries out itself, and
sends their replies together while more requests are already here; the others go to
threads of this connection, so that a client that keeps thirty-two requests in flight has
them wait for the device side by side.  A flush covers the writes whose replies were sent,
which is what the device promises of writes that have returned.
"""

from __future__ import annotations

import socket
from contextlib import suppress
from typing import Final

from blockdev.clock import Clock
from blockdev.nbd import protocol
from blockdev.nbd.buffers import BufferPool, ConnectionLostError, Inbox, Outbox, Outgoing
from blockdev.nbd.commands import Executor, Part, Refusal, Reply
from blockdev.nbd.limits import NbdLimits
from blockdev.nbd.negotiation import Agreement
from blockdev.nbd.pace import Pace
from blockdev.nbd.protocol import NbdProtocolError, Request
from blockdev.nbd.workers import Allowance, Job, Workers

_HEADER_BYTES: Final = protocol.REQUEST_HEADER.size

_INLINE_BYTES: Final = 256 * 1024
"""Longer requests go to a thread: while one is sent, the next is read."""

_TOGETHER_REPLIES: Final = 16
_TOGETHER_BYTES: Final = 512 * 1024
"""Replies kept back to be sent in one call; more would make the first of them late."""

_DRAIN_BYTES: Final = 64 * 1024


class _Together:
    """Replies of the reading thread that are to be sent in one call."""

    def __init__(self, outbox: Outbox, pool: BufferPool) -> None:
        self._outbox, self._pool = outbox, pool
        self._parts: list[Part] = []
        self._buffers: list[memoryview] = []
        self._replies = self._bytes = 0

    def add(self, reply: Reply) -> None:
        self._parts += reply.parts
        self._replies += 1
        if reply.buffer is not None:
            self._buffers.append(reply.buffer)
            self._bytes += len(reply.buffer)
        if self._replies >= _TOGETHER_REPLIES or self._bytes >= _TOGETHER_BYTES:
            self.send()

    def send(self) -> None:
        if not self._replies:
            return
        self._outbox.send(self._parts)
        for buffer in self._buffers:
            self._pool.give(buffer)
        self._parts, self._buffers = [], []
        self._replies = self._bytes = 0


class Transmission:
    """Serves one client until it leaves; `run` is its reading thread."""

    def __init__(
        self, sock: socket.socket, agreement: Agreement, limits: NbdLimits, clock: Clock, name: str
    ) -> None:
        self._sock = sock
        self._limits = limits
        self._now_ns = clock.monotonic_ns
        self._pool = BufferPool()
        self._executor = Executor(agreement, limits, self._pool)
        self._inbox = Inbox(sock)
        self._outbox = Outbox(sock, self._sent)
        self._together = _Together(self._outbox, self._pool)
        self._allowance = Allowance(limits.requests_in_flight, limits.bytes_in_flight)
        self._workers = Workers(name, limits.requests_in_flight, self._work)
        self._paces = {protocol.CMD_READ: Pace(), protocol.CMD_WRITE: Pace()}

    def stop(self) -> None:
        """From any thread: begin nothing new; `run` then ends when what is at work is done."""
        self._executor.stopping = True
        with suppress(OSError):
            self._sock.shutdown(socket.SHUT_RD)

    def run(self) -> None:
        """Serve requests until the client leaves, and wait for those that are at work.

        Raises:
            ConnectionLostError: the client left without saying so.
            NbdProtocolError: it sent what no client may send.
        """
        try:
            while (request := self._next()) is not None:
                self._serve(request)
            self._together.send()
        finally:
            self._workers.stop()

    def _next(self) -> Request | None:
        """The next request; None when the client has taken its leave."""
        header = self._inbox.peek(_HEADER_BYTES)
        if header is None:
            self._together.send()
            header = self._inbox.await_header(_HEADER_BYTES)
            if header is None:
                return None
        magic, flags, command, cookie, offset, length = protocol.REQUEST_HEADER.unpack(header)
        if magic != protocol.REQUEST_MAGIC:
            raise NbdProtocolError(f"a request begins with {magic:#x}")
        request = Request(flags, command, cookie, offset, length)
        return None if request.command == protocol.CMD_DISC else request

    def _serve(self, request: Request) -> None:
        refusal = self._executor.refusal(request)
        is_write = request.command == protocol.CMD_WRITE
        if is_write and request.length_bytes > self._limits.payload_bytes:
            self._refuse_oversize(request)
        if refusal is not None:
            if is_write:
                self._drain(request.length_bytes)
            self._together.add(self._executor.refuse(request, refusal))
            return
        pace = self._paces.get(request.command)
        if (
            pace is not None
            and not request.flags & protocol.CMD_FLAG_FUA
            and request.length_bytes <= _INLINE_BYTES
            and pace.inline()
        ):
            self._serve_at_once(request, pace)
        else:
            self._hand_over(request)

    def _refuse_oversize(self, request: Request) -> None:
        """Such a write's data cannot be taken, and behind them no request could be found."""
        message = f"a write has at most {self._limits.payload_bytes} bytes"
        self._together.add(self._executor.refuse(request, Refusal(protocol.EINVAL, message)))
        self._together.send()
        raise NbdProtocolError(f"a write of {request.length_bytes} bytes")

    def _drain(self, length_bytes: int) -> None:
        """Read a refused write's data away."""
        scratch = self._pool.take(_DRAIN_BYTES)
        for at in range(0, length_bytes, _DRAIN_BYTES):
            self._inbox.read_into(scratch[: min(_DRAIN_BYTES, length_bytes - at)])
        self._pool.give(scratch)

    def _serve_at_once(self, request: Request, pace: Pace) -> None:
        payload: memoryview | None = None
        taken: memoryview | None = None
        if request.command == protocol.CMD_WRITE:
            payload = self._inbox.peek(request.length_bytes)
            if payload is None:
                payload = taken = self._receive(request.length_bytes)
        started_ns = self._now_ns()
        reply = self._executor.execute(request, payload)
        pace.note(self._now_ns() - started_ns)
        if taken is not None:
            self._pool.give(taken)
        self._together.add(reply)

    def _receive(self, length_bytes: int) -> memoryview:
        # Its data may be long in coming; replies that are ready do not wait for them.
        self._together.send()
        buffer = self._pool.take(max(length_bytes, 1))[:length_bytes]
        self._inbox.read_into(buffer)
        return buffer

    def _hand_over(self, request: Request) -> None:
        self._together.send()
        held_bytes = request.length_bytes if request.command in self._paces else 0
        at_work = self._allowance.acquire(held_bytes)
        try:
            is_write = request.command == protocol.CMD_WRITE
            payload = self._receive(request.length_bytes) if is_write else None
        except BaseException:
            self._allowance.release(1, held_bytes)
            raise
        self._workers.submit(Job(request, payload, held_bytes), at_work)

    def _work(self, job: Job) -> None:
        reply = self._executor.execute(job.request, job.payload)
        if job.payload is not None:
            self._pool.give(job.payload)
        try:
            self._outbox.post(Outgoing(reply.parts, reply.buffer, job.held_bytes))
        except ConnectionLostError:
            self.stop()  # nobody is there to be answered

    def _sent(self, replies: list[Outgoing]) -> None:
        for reply in replies:
            if reply.buffer is not None:
                self._pool.give(reply.buffer)
        self._allowance.release(len(replies), sum(reply.held_bytes for reply in replies))
