"""A connection: uvicorn's httptools protocol with limits, deadlines and strict framing.

The rules that the code below keeps:

1. Whatever a client sends, memory stays bounded: header bytes and lines, requests that
   wait in the pipeline, bytes of a body that nobody has read yet.
2. Every state that waits for the client has a deadline (`FrontState.sweep` enforces it).
3. A byte is interpreted once.  After anything that makes the end of a request uncertain
   (a parse error, an early answer to a large body, an upgrade) the connection closes.
4. A response is followed to its end: before closing on a client that is still sending,
   its bytes are read and dropped for a while, or the reset would overtake the response.

A large body of known length does not pass through the parser: the parser would copy
it, and there is nothing in it to parse.
"""

from __future__ import annotations

import asyncio
import logging
import math
import socket
import sys
from collections import deque
from collections.abc import Callable
from typing import Any

import httptools
from uvicorn.config import Config

from objstore.asgi.exchange import CONTINUE, Exchange
from objstore.asgi.head import HeadProtocol, Phase
from objstore.asgi.sink import BodySink
from objstore.asgi.state import FrontState
from objstore.asgi.wire import unacknowledged_bytes
from objstore.config import UNPARSED_BODY_BYTES
from objstore.s3.access_log import redacted
from objstore.s3.errors import S3Error, header_not_implemented

logger = logging.getLogger("objstore.http")

_MAPPED = "::ffff:"
"""How a socket of both kinds writes an address of IPv4, which policies and logs call as it is."""

NEVER_S = math.inf
NO_BYTES_YET = sys.maxsize
"""More than can be unread: whatever is found first counts as progress."""


class FrontProtocol(HeadProtocol):
    """One connection.  `active` is answered now, `waiting` are pipelined behind it."""

    server_state: FrontState

    def __init__(
        self,
        config: Config,
        server_state: FrontState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        on_close: Callable[[], None] | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._on_close = on_close
        self.deadline_s = NEVER_S
        self.unread_bytes = NO_BYTES_YET
        self.active: Exchange | None = None
        self.newest: Exchange | None = None
        self.waiting: deque[Exchange] = deque()
        self.deaf = False
        self.half_closed = False
        self.linger_left = 0
        self.body_left = 0
        self.sink: BodySink | None = None
        # the code and the request id of the answer past the application, which is the last one
        self.refused = "", ""

    # The connection's life.

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if self.client is not None and self.client[0].startswith(_MAPPED):
            self.client = (self.client[0].removeprefix(_MAPPED), self.client[1])
        connection: socket.socket | None = transport.get_extra_info("socket")
        if connection is not None and connection.family != socket.AF_UNIX:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # With no room in the write buffer, "not paused" means "all bytes are with the
        # kernel", which is when the buffer of an object's piece may be used again.
        transport.set_write_buffer_limits(high=0)
        self.deadline_s = self.server_state.now_s + self.limits.idle_timeout_s
        if len(self.connections) > self.limits.max_connections:
            self._refuse(S3Error("SlowDown"))

    def connection_lost(self, exc: Exception | None) -> None:
        self.connections.discard(self)
        for exchange in (self.active, self.newest, *self.waiting):
            if exchange is not None:
                exchange.disconnect()
        self.waiting.clear()
        self.deaf = True
        self.flow.resume_writing()
        if exc is None:
            self.transport.close()
        self.parser = None  # type: ignore[assignment]
        if self._on_close is not None:
            self._on_close()

    def eof_received(self) -> bool | None:  # type: ignore[override]
        # A client that has sent all it will and waits for the answer gets it.
        if self.phase is Phase.ANSWERING and self.active is not None:
            self.active.keep_alive = False
            self.deaf = self.half_closed = True
            return True
        return None

    def shutdown(self) -> None:
        """Let the request under way finish, and close."""
        if self.active is not None:
            self.active.keep_alive = False
        elif self.phase is not Phase.LINGER:
            self.transport.close()

    def abort(self) -> None:
        """Drop the connection at once, with all that was not sent."""
        self.transport.abort()

    def check_deadline(self, now_s: float) -> None:
        """Act if the client is late; called by the sweep."""
        stall_s = self.limits.body_stall_timeout_s
        if self.flow.write_paused:
            # Waiting for the client to read: late is who takes nothing at all meanwhile.
            unread_bytes = self._unread_bytes()
            if unread_bytes < self.unread_bytes:
                self.unread_bytes = unread_bytes
                self.deadline_s = now_s + stall_s
            elif now_s >= self.deadline_s:
                self.abort()
        elif self.flow.read_paused and self.phase is Phase.BODY:
            self.deadline_s = now_s + stall_s
        elif now_s >= self.deadline_s:
            self._expire()

    def _unread_bytes(self) -> int:
        """Written and not yet with the client's machine; nothing is written meanwhile."""
        connection: socket.socket | None = self.transport.get_extra_info("socket")
        return self.transport.get_write_buffer_size() + unacknowledged_bytes(connection)

    def resume_writing(self) -> None:
        """The kernel has taken all that was written: go on with what waited for that."""
        super().resume_writing()
        self.unread_bytes = NO_BYTES_YET
        if self.active is not None or self.phase is Phase.LINGER or self.transport.is_closing():
            return
        if self.deaf:
            self._finish(unread=True)
        else:
            self._go_on()

    def _expire(self) -> None:
        if self.phase is Phase.LINGER:
            self.abort()
        elif self.phase is Phase.IDLE:
            self.transport.close()
        elif self.phase is not Phase.ANSWERING:
            self._refuse(S3Error("RequestTimeout"))

    # Bytes in.

    def data_received(self, data: bytes) -> None:
        if self.deaf:
            self._drop(data)
        elif self.body_left:
            self._take_body(data)
        else:
            self._parse(data)

    def _drop(self, data: bytes) -> None:
        self.linger_left -= len(data)
        if self.phase is Phase.LINGER and self.linger_left < 0:
            self.abort()

    def _take_body(self, data: bytes) -> None:
        """Pass on a piece of a body that the parser does not get to see."""
        left = self.body_left
        if len(data) < left:
            self.body_left = left - len(data)
            self._pass_body(data)
            return
        self.body_left = 0
        self._pass_body(data[:left])
        self._end_unparsed_body()
        if len(data) > left and not self.deaf:
            self._parse(data[left:])

    def _end_unparsed_body(self) -> None:
        """Go on with a new parser: the old one still waits for the body."""
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        self.on_message_complete()

    # Bytes in, past `data_received`; `BodySink` calls.

    def body_room(self) -> memoryview:
        """Where the next bytes of the body go."""
        exchange = self.newest
        if exchange is None or exchange.target is None:
            raise RuntimeError("reading a body that nobody wants")
        return exchange.target[: self.body_left]

    def body_received(self, size_bytes: int) -> None:
        """Bytes of the body have come, to where `body_room` said."""
        self.deadline_s = self.server_state.now_s + self.limits.body_stall_timeout_s
        exchange = self.newest
        if exchange is None or exchange.target is None:
            return
        exchange.target = exchange.target[size_bytes:]
        self.body_left -= size_bytes
        if not self.body_left:
            self._close_sink()
            self._end_unparsed_body()
        elif not len(exchange.target):
            self.flow.pause_reading()
            exchange.wake()

    def _close_sink(self) -> None:
        """Take the transport back from the sink."""
        if self.sink is not None:
            self.sink = None
            if not self.transport.is_closing():
                self.transport.set_protocol(self)

    def _parse(self, data: bytes) -> None:
        unfinished = self.lines_id
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            # Nothing here upgrades, and what follows may be in another protocol.
            self._stop_listening()
        except httptools.HttpParserError as error:
            self._refuse(self.refusal or self._parse_refusal(error))
            return
        # A line that never ends reaches no callback, so count what was fed.
        if unfinished and unfinished == self.lines_id:
            self.trickle_left -= len(data)
            if self.trickle_left < 0:
                self._refuse(S3Error("RequestHeaderSectionTooLarge"))

    def _parse_refusal(self, error: httptools.HttpParserError) -> S3Error:
        if isinstance(error, httptools.HttpParserCallbackError):
            logger.error("a failure while parsing a request", exc_info=error)
        return S3Error("BadRequest")

    # The parser's callbacks.

    def on_message_begin(self) -> None:
        self.phase = Phase.HEADERS
        self.deadline_s = self.server_state.now_s + self.limits.header_timeout_s
        self._reset_request()
        self._begin_lines()

    def on_headers_complete(self) -> None:
        self.lines_id = 0
        version = self.parser.get_http_version()
        upgrade = self.parser.should_upgrade()
        if upgrade and self.body_length != 0:
            self._fail_parse(header_not_implemented("Upgrade"))
        if version not in ("1.1", "1.0") or self.host_count > 1:
            self._fail_parse(S3Error("BadRequest"))
        if version == "1.1" and not self.host_count:
            self._fail_parse(S3Error("BadRequest"))
        exchange = Exchange(
            self,
            self._scope(version),
            keep_alive=version == "1.1" and not upgrade and self.parser.should_keep_alive(),
            expects_continue=self.expect_100_continue and version == "1.1",
        )
        self.phase = Phase.BODY
        self.deadline_s = NEVER_S
        if not exchange.expects_continue:
            self.deadline_s = self.server_state.now_s + self.limits.body_stall_timeout_s
        if self.body_length is not None and self.body_length > UNPARSED_BODY_BYTES:
            self.body_left = self.body_length
        self.newest = exchange
        self._schedule(exchange)

    def _schedule(self, exchange: Exchange) -> None:
        # Who has yet to read an answer gets no other one made: it would have to be kept.
        if self.active is None and not self.flow.write_paused:
            self._start(exchange)
        elif len(self.waiting) < self.limits.max_pipelined:
            self.flow.pause_reading()
            self.waiting.append(exchange)
        else:
            self._fail_parse(S3Error("BadRequest"))

    def _start(self, exchange: Exchange) -> None:
        self.active = exchange
        task = self.loop.create_task(exchange.run_asgi(self.app))
        exchange.task = task
        self.tasks.add(task)

    def on_chunk_header(self) -> None:
        """A chunk follows, or the trailers."""
        self._begin_lines()

    def on_body(self, body: bytes) -> None:
        self.lines_id = 0
        if self.body_left:
            self.body_left -= len(body)
        self._pass_body(body)

    def _pass_body(self, body: bytes) -> None:
        self.deadline_s = self.server_state.now_s + self.limits.body_stall_timeout_s
        exchange = self.newest
        if exchange is not None and not exchange.response_complete:
            exchange.feed(body)

    def on_message_complete(self) -> None:
        self.lines_id = 0
        exchange = self.newest
        if exchange is None:
            return
        self.deadline_s = NEVER_S
        self.phase = Phase.ANSWERING
        exchange.finish_body()
        if exchange.response_complete:
            self._rest()

    # What an exchange calls.

    def send_continue(self, exchange: Exchange) -> None:
        """Invite the body, unless it has come uninvited."""
        if not exchange.chunks and not self.transport.is_closing():
            self.transport.write(CONTINUE)
            self.deadline_s = self.server_state.now_s + self.limits.body_stall_timeout_s

    def receive_directly(self, exchange: Exchange) -> None:
        """Read more of a body: into `exchange.target` where that can be, else the usual way."""
        if self.body_left and exchange is self.newest and not self.deaf and self.sink is None:
            self.sink = BodySink(self)
            self.transport.set_protocol(self.sink)
        self.want_body()

    def want_body(self) -> None:
        """There is room for more of the body."""
        if not self.deaf and not self.transport.is_closing():
            self.flow.resume_reading()

    def can_drain(self, exchange: Exchange) -> bool:
        """Whether the rest of a body that nobody wants is short enough to read and drop."""
        if exchange.expects_continue or self.body_length is None:
            return False
        return exchange is self.newest and self.body_length <= self.limits.drain_bytes

    def exchange_done(self, exchange: Exchange) -> None:
        """The response is complete: go on to the next request, or close."""
        state = self.server_state
        state.total_requests += 1
        if state.log_access:
            self._log_access(exchange)
        if self.active is exchange:
            self.active = None
        if self.transport.is_closing():
            return
        if not exchange.keep_alive or self.deaf:
            self._finish(unread=self.deaf or not exchange.body_complete)
        else:
            exchange.chunks.clear()
            if not self.flow.write_paused:
                self._go_on()

    def _go_on(self) -> None:
        """Start the next request, or wait for one."""
        if self.waiting:
            self._start(self.waiting.popleft())
            if not self.waiting:
                self.flow.resume_reading()
        else:
            self.flow.resume_reading()
            if self.phase is Phase.ANSWERING:
                self._rest()

    def _rest(self) -> None:
        self.phase = Phase.IDLE
        self.deadline_s = self.server_state.now_s + self.limits.idle_timeout_s

    def _log_access(self, exchange: Exchange) -> None:
        scope = exchange.scope
        client = f"{self.client[0]}:{self.client[1]}" if self.client else "-"
        target = scope["raw_path"]
        if scope["query_string"]:
            target = target + b"?" + redacted(scope["query_string"])
        self.server_state.log_request(
            client, scope["method"], target, exchange.status, exchange.sent_bytes
        )

    # Refusing and closing.

    def answer_refusal(self, exchange: Exchange | None, refusal: S3Error) -> None:
        """Write a whole error response past the application, and close."""
        request_id = self.server_state.request_ids.next()
        headers, body = self.server_state.render_refusal(refusal, request_id)
        if exchange is None:
            scope = {"method": "GET", "http_version": "1.1", "raw_path": b"", "query_string": b""}
            exchange = Exchange(self, scope, keep_alive=False, expects_continue=False)
            exchange.body_complete = True
        self.refused = refusal.code, request_id
        exchange.replace_response(refusal.status, headers, body)

    def _refuse(self, refusal: S3Error) -> None:
        """Stop listening, and say why if nothing else is being said."""
        broken, active, owes = self.newest, self.active, bool(self.waiting)
        self._stop_listening()
        if active is None and owes:  # it would be taken for the answer to another request
            self._finish(unread=True)
        elif active is None:
            self.answer_refusal(None, refusal)
        elif active is broken and self.phase is Phase.BODY and not active.response_started:
            self.answer_refusal(active, refusal)
            active.disconnect()
        elif active is broken and self.phase is Phase.BODY:
            active.disconnect()
            self.abort()

    def _stop_listening(self) -> None:
        """Interpret nothing more; close after the response under way."""
        self.deaf = True
        self.body_left = 0
        self._close_sink()
        self.deadline_s = NEVER_S
        for exchange in self.waiting:
            exchange.disconnect()
        self.waiting.clear()
        if self.active is not None:
            self.active.keep_alive = False
            self.flow.pause_reading()

    def _finish(self, *, unread: bool) -> None:
        """Close; with `unread` bytes about, only after letting the client read the response."""
        if not unread or self.half_closed:
            self.transport.close()
            return
        self._stop_listening()
        self.phase = Phase.LINGER
        self.linger_left = self.limits.linger_bytes
        self.deadline_s = self.server_state.now_s + self.limits.linger_timeout_s
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.flow.resume_reading()
