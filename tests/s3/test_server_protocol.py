"""The connection: framing, limits, deadlines and what becomes of the connection afterwards."""

from __future__ import annotations

import contextlib
import logging
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from objstore.asgi.server import BackgroundServer
from objstore.asgi.state import FrontState
from objstore.config import ServerConfig
from tests.s3.rawhttp import TIMEOUT_S, EchoApp, RawConnection

NEVER_S = 3600.0
PATIENT = ServerConfig(
    header_timeout_s=NEVER_S, body_stall_timeout_s=NEVER_S, idle_timeout_s=NEVER_S
)
GET = b"GET /x HTTP/1.1\r\nhost: h\r\n\r\n"


@pytest.fixture(scope="module")
def shared() -> Iterator[tuple[EchoApp, BackgroundServer]]:
    """A server that the tests without limits of their own share."""
    app = EchoApp()
    with BackgroundServer(app, FrontState(PATIENT)) as server:
        yield app, server


@pytest.fixture
def app(shared: tuple[EchoApp, BackgroundServer]) -> EchoApp:
    app = shared[0]
    app.requests = []
    app.disconnects = app.sent_pieces = 0
    return app


@pytest.fixture
def serve(app: EchoApp) -> Iterator[Callable[..., BackgroundServer]]:
    """Starts a server with the limits of PATIENT but for what is given."""
    servers: list[BackgroundServer] = []

    def start(**limits: float) -> BackgroundServer:
        state = FrontState(replace(PATIENT, **limits))  # type: ignore[arg-type]
        servers.append(BackgroundServer(app, state).start())
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


@pytest.fixture
def url(app: EchoApp, shared: tuple[EchoApp, BackgroundServer]) -> str:
    return shared[1].url


@pytest.fixture
def connection(url: str) -> Iterator[RawConnection]:
    with RawConnection(url) as connection:
        yield connection


def put(path: str, body: bytes, *headers: bytes) -> bytes:
    lines = [b"PUT %s HTTP/1.1" % path.encode(), b"host: h", b"content-length: %d" % len(body)]
    return b"\r\n".join([*lines, *headers, b"", body])


def wait_until(condition: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < deadline_s, "what was waited for did not happen"
        time.sleep(0.01)


def assert_alive(url: str) -> None:
    with RawConnection(url) as connection:
        connection.send(GET)
        assert connection.read().body == b"/x"


# Framing.


def test_a_connection_serves_many_requests(connection: RawConnection) -> None:
    for size in (0, 1, 4096, 65_536, 65_537, 1 << 20, 3_000_001, 5):
        body = bytes(range(256)) * (size // 256 + 1)
        connection.send(put("/echo", body[:size]))
        assert connection.read().body == (body[:size] or b"/echo")


def test_responses_carry_a_date(connection: RawConnection) -> None:
    connection.send(GET)
    assert connection.read().headers["date"].endswith("GMT")


@pytest.mark.parametrize("size", [0, 1, 65_536, 65_537, 100_003, 200_006, 1 << 20, 10_000_000])
@pytest.mark.parametrize("pieces", [1, 7])
def test_bodies_that_are_read_into_a_buffer(
    connection: RawConnection, size: int, pieces: int
) -> None:
    body = (bytes(range(251)) * (size // 251 + 1))[:size]
    request = put("/into", body) + GET + put("/into", b"next")
    step = len(request) // pieces + 1
    for start in range(0, len(request), step):
        connection.send(request[start : start + step])
        time.sleep(0.01 * (pieces > 1))
    assert connection.read().body == body
    assert connection.read().body == b"/x"
    assert connection.read().body == b"next"


def test_chunked_bodies_that_are_read_into_a_buffer(connection: RawConnection) -> None:
    body = bytes(range(256)) * 4096
    head = b"PUT /into HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n"
    chunks = [body[at : at + 70_000] for at in range(0, len(body), 70_000)]
    framed = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)
    connection.send(head + framed + b"0\r\n\r\n" + GET)
    assert connection.read().body == body
    assert connection.read().body == b"/x"


def test_pipelined_requests_are_answered_in_order(connection: RawConnection) -> None:
    large = b"z" * 200_000
    connection.send(
        b"".join([GET, put("/echo", b"one"), put("/echo", large), put("/echo", b"two"), GET, GET])
    )
    bodies = [connection.read().body for _ in range(6)]
    assert bodies == [b"/x", b"one", large, b"two", b"/x", b"/x"]


def test_a_pipeline_that_is_too_long_costs_the_connection(
    serve: Callable[..., BackgroundServer], app: EchoApp
) -> None:
    server = serve(max_pipelined=3)
    with RawConnection(server.url) as connection:
        connection.send(GET * 50)
        assert connection.read().body == b"/x"
        wait_until(lambda: not server.state.connections or connection.ends())
    assert len(app.requests) < 10


def test_chunked_bodies_arrive_whole_and_without_their_trailers(
    connection: RawConnection, app: EchoApp
) -> None:
    connection.send(
        b"PUT /echo HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n"
        b"3;note=1\r\nabc\r\n10\r\n0123456789abcdef\r\n0\r\nx-amz-meta-late: 1\r\n\r\n" + GET
    )
    assert connection.read().body == b"abc0123456789abcdef"
    assert connection.read().body == b"/x"
    assert b"x-amz-meta-late" not in dict(app.requests[0]["headers"])


def test_many_tiny_chunks(connection: RawConnection) -> None:
    connection.send(b"PUT /echo HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n")
    connection.send(b"1\r\nx\r\n" * 20_000 + b"0\r\n\r\n")
    assert connection.read().body == b"x" * 20_000


def test_header_values_lose_their_surrounding_spaces(
    connection: RawConnection, app: EchoApp
) -> None:
    connection.send(b"GET /x HTTP/1.1\r\nHost: h\r\nX-A:  a  b \t \r\nX-B:\r\nX-C: c\r\n\r\n")
    connection.read()
    assert app.requests[0]["headers"] == [
        (b"host", b"h"),
        (b"x-a", b"a  b"),
        (b"x-b", b""),
        (b"x-c", b"c"),
    ]


def test_the_scope_keeps_the_path_as_sent(connection: RawConnection, app: EchoApp) -> None:
    connection.send(b"GET //a%2Fb%20c/../%ff?x=%20&y HTTP/1.1\r\nhost: h\r\n\r\n")
    connection.read()
    assert app.requests[0]["raw_path"] == b"//a%2Fb%20c/../%ff"
    assert app.requests[0]["query_string"] == b"x=%20&y"


def test_absolute_targets_lose_their_origin(connection: RawConnection, app: EchoApp) -> None:
    connection.send(b"GET http://other:1/a/b?c=d HTTP/1.1\r\nhost: h\r\n\r\n")
    connection.read()
    assert (app.requests[0]["raw_path"], app.requests[0]["query_string"]) == (b"/a/b", b"c=d")


def test_http_1_0_is_answered_and_closed(connection: RawConnection) -> None:
    connection.send(b"PUT /echo HTTP/1.0\r\ncontent-length: 2\r\n\r\nhi")
    answer = connection.read()
    assert (answer.body, answer.headers["connection"]) == (b"hi", "close")
    assert connection.ends()


def test_http_1_0_gets_no_chunks(connection: RawConnection) -> None:
    connection.send(b"GET /stream HTTP/1.0\r\n\r\n")
    raw = b"".join(iter(connection.line, b""))
    assert b"transfer-encoding" not in raw
    assert raw.endswith(b"\r\n\r\nonetwo")


def test_a_body_without_length_is_chunked(connection: RawConnection) -> None:
    connection.send(b"GET /stream HTTP/1.1\r\nhost: h\r\n\r\n" + GET)
    assert connection.read().body == b"onetwo"
    assert connection.read().body == b"/x"


def test_head_has_the_headers_of_get_and_no_body(connection: RawConnection) -> None:
    connection.send(b"HEAD /echo HTTP/1.1\r\nhost: h\r\n\r\n" + GET)
    assert connection.read(head=True).headers["content-length"] == "5"
    assert connection.read().body == b"/x"


def test_close_is_honoured(connection: RawConnection) -> None:
    connection.send(b"GET /x HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n")
    assert connection.read().headers["connection"] == "close"
    assert connection.ends()


def test_a_client_that_has_finished_sending_gets_its_answer(connection: RawConnection) -> None:
    connection.send(GET)
    connection.socket.shutdown(socket.SHUT_WR)
    assert connection.read().body == b"/x"
    assert connection.ends()


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"PUT /x HTTP/1.1\r\nhost: h\r\ncontent-length: 3\r\ncontent-length: 3\r\n\r\nabc",
        b"PUT /x HTTP/1.1\r\nhost: h\r\ncontent-length: 3\r\ncontent-length: 4\r\n\r\nabcd",
        b"PUT /x HTTP/1.1\r\nhost: h\r\ncontent-length: 3\r\n"
        b"transfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        b"PUT /x HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n"
        b"content-length: 3\r\n\r\n0\r\n\r\n",
        b"PUT /x HTTP/1.1\r\nhost: h\r\ncontent-length: -1\r\n\r\n",
        b"PUT /x HTTP/1.1\r\nhost: h\r\ncontent-length: 99999999999999999999\r\n\r\n",
        b"GET /x HTTP/1.1\r\n\r\n",
        b"GET /x HTTP/1.1\r\nhost: h\r\nhost: i\r\n\r\n",
        b"GET /x HTTP/1.1\r\nhost: h\r\nx-a: 1\r\n folded\r\n\r\n",
        b"GET /x HTTP/1.1\r\nhost: h\r\nx a: 1\r\n\r\n",
        b"GET /x HTTP/1.1\r\nhost: h\r\nx-a: \x01\r\n\r\n",
        b"GET /x y HTTP/1.1\r\nhost: h\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nhost: h\r\n\r\n",
        b"GET http://[ HTTP/1.1\r\nhost: h\r\n\r\n",
        b"GET http://h:99999999/x HTTP/1.1\r\nhost: h\r\n\r\n",
        b"GET /x HTTP/3.7\r\nhost: h\r\n\r\n",
        b"GET /x HTTP/1.1\nhost: h\n\n",
        b"NONSENSE\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        bytes(range(256)) * 64,
    ],
)
def test_what_is_not_http_is_refused_and_closed(
    request_bytes: bytes,
    connection: RawConnection,
    url: str,
    app: EchoApp,
    caplog: pytest.LogCaptureFixture,
) -> None:
    connection.send(request_bytes)
    answer = connection.read()
    assert answer.status == 400
    assert b"<Code>BadRequest</Code>" in answer.body
    assert answer.headers["x-amz-request-id"]
    assert connection.ends()
    assert not app.requests
    assert not caplog.records, "strangers fill the log"
    assert_alive(url)


@pytest.mark.parametrize(
    ("query", "logged"),
    [
        (b"prefix=a&delimiter", b"prefix=a&delimiter"),
        (
            b"X-Amz-Date=d&X-Amz-Credential=AK%2F1&X-Amz-Signature=beef&X-Amz-Security-Token=t",
            b"X-Amz-Date=d&X-Amz-Credential=REDACTED&X-Amz-Signature=REDACTED"
            b"&X-Amz-Security-Token=REDACTED",
        ),
        (b"X%2damz-Signatur%65=beef", b"X%2damz-Signatur%65=REDACTED"),
        (
            b"AWSAccessKeyId=AK&Signature=s%3D&Expires=9",
            b"AWSAccessKeyId=REDACTED&Signature=REDACTED&Expires=9",
        ),
    ],
)
def test_the_access_log_does_not_tell_what_signs_a_url(
    query: bytes, logged: bytes, app: EchoApp, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "objstore.access")
    state = FrontState(PATIENT, access_log=True)
    with BackgroundServer(app, state) as server, RawConnection(server.url) as connection:
        connection.send(b"GET /x?%s HTTP/1.1\r\nhost: h\r\n\r\n" % query)
        assert connection.read().status == 200
    (line,) = [record.getMessage() for record in caplog.records]
    assert f'"GET /x?{logged.decode()}" 200' in line
    assert app.requests[0]["query_string"] == query


@pytest.mark.parametrize(
    "headers",
    [
        b"transfer-encoding: gzip, chunked\r\n",
        b"transfer-encoding: identity\r\n",
        b"connection: upgrade\r\nupgrade: h2c\r\ncontent-length: 3\r\n",
    ],
)
def test_codings_and_upgrades_that_are_not_offered(
    headers: bytes, connection: RawConnection, app: EchoApp
) -> None:
    connection.send(b"PUT /x HTTP/1.1\r\nhost: h\r\n" + headers + b"\r\nabc")
    answer = connection.read()
    assert answer.status == 501
    assert b"<Code>NotImplemented</Code>" in answer.body
    assert connection.ends()
    assert not app.requests


def test_an_offer_to_upgrade_is_declined_by_answering(connection: RawConnection) -> None:
    connection.send(
        b"GET /x HTTP/1.1\r\nhost: h\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n" + GET
    )
    assert connection.read().body == b"/x"
    assert connection.ends()  # what follows might be in the other protocol


def test_a_broken_chunk_ends_request_and_connection(
    connection: RawConnection, app: EchoApp
) -> None:
    connection.send(
        b"PUT /echo HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabcdef\r\n" + GET
    )
    assert connection.read().status == 400
    assert connection.ends()
    wait_until(lambda: app.disconnects == 1)
    assert len(app.requests) == 1


# Limits.


def test_too_many_header_bytes(connection: RawConnection, url: str) -> None:
    connection.send_or_lose(b"GET /x HTTP/1.1\r\nhost: h\r\n")
    for _ in range(100):
        if not connection.send_or_lose(b"x-filler: " + b"a" * 1000 + b"\r\n"):
            break
    answer = connection.read()
    assert answer.status == 400
    assert b"<Code>RequestHeaderSectionTooLarge</Code>" in answer.body
    assert connection.ends()
    assert_alive(url)


def test_one_header_without_end(connection: RawConnection) -> None:
    connection.send(b"GET /x HTTP/1.1\r\nhost: h\r\nx-filler: ")
    for _ in range(4000):
        if not connection.send_or_lose(b"a" * 1000):
            break
        time.sleep(0)
    assert b"RequestHeaderSectionTooLarge" in connection.read().body


def test_too_many_header_lines(connection: RawConnection) -> None:
    connection.send(b"GET /x HTTP/1.1\r\nhost: h\r\n" + b"a: b\r\n" * 200 + b"\r\n")
    assert b"RequestHeaderSectionTooLarge" in connection.read().body


def test_limits_of_headers_are_exact(connection: RawConnection) -> None:
    connection.send(b"GET /x HTTP/1.1\r\nhost: h\r\n" + b"a: b\r\n" * 199 + b"\r\n")
    assert connection.read().status == 200
    room = 32 * 1024 - len(b"host: h\r\n") - len(b"x-filler: \r\n")
    for size, status in ((room, 200), (room + 1, 400)):
        filler = b"x-filler: " + b"a" * size + b"\r\n"
        connection.send(b"GET /x HTTP/1.1\r\nhost: h\r\n" + filler + b"\r\n")
        assert connection.read().status == status


def test_headers_that_come_byte_by_byte_count_once(connection: RawConnection) -> None:
    filler = b"x-filler: " + b"a" * 20_000 + b"\r\n"
    request = b"GET /x HTTP/1.1\r\nhost: h\r\n" + filler + b"\r\n"
    for start in range(0, len(request), 500):
        connection.send(request[start : start + 500])
        time.sleep(0)
    assert connection.read().status == 200


def test_a_target_that_is_too_long(connection: RawConnection) -> None:
    connection.send(b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\nhost: h\r\n\r\n")
    assert connection.read().status == 400


def test_trailers_are_limited_too(connection: RawConnection, app: EchoApp) -> None:
    connection.send(b"PUT /echo HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n0\r\n")
    for _ in range(100):
        if not connection.send_or_lose(b"x-filler: " + b"a" * 1000 + b"\r\n"):
            break
    assert connection.read().status == 400
    assert connection.ends()


def test_limits_of_trailers_are_exact(connection: RawConnection) -> None:
    head = b"PUT /echo HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n"
    head += b"a: b\r\n" * 198 + b"\r\n1\r\nx\r\n0\r\n"  # 200 lines of headers
    room = 32 * 1024 - len(b"x-filler: \r\n")
    longest = b"x-filler: " + b"a" * room + b"\r\n"
    for trailers in (b"a: b\r\n" * 200, longest):
        connection.send(head + trailers + b"\r\n")
        assert connection.read().body == b"x"
    connection.send(head + longest.replace(b"a", b"aa", 1) + b"\r\n")
    assert b"RequestHeaderSectionTooLarge" in connection.read().body
    assert connection.ends()


def test_one_trailer_line_too_many(connection: RawConnection) -> None:
    head = b"PUT /echo HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n0\r\n"
    connection.send(head + b"a: b\r\n" * 201 + b"\r\n")
    assert b"RequestHeaderSectionTooLarge" in connection.read().body


def test_one_trailer_without_end(connection: RawConnection) -> None:
    head = b"PUT /echo HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n"
    connection.send(head + b"1\r\nx\r\n0\r\nx-filler: ")
    for _ in range(4000):
        if not connection.send_or_lose(b"a" * 1000):
            break
        time.sleep(0)
    assert b"RequestHeaderSectionTooLarge" in connection.read().body


def test_too_many_connections(serve: Callable[..., BackgroundServer]) -> None:
    url = serve(max_connections=2).url
    with RawConnection(url) as first, RawConnection(url) as second:
        for connection in (first, second):
            connection.send(GET)
            connection.read()
        with RawConnection(url) as third:
            assert b"<Code>SlowDown</Code>" in third.read().body
            assert third.ends()
        first.send(GET)
        assert first.read().status == 200


def test_a_body_that_nobody_reads_is_not_taken_in(
    serve: Callable[..., BackgroundServer], app: EchoApp
) -> None:
    taken: list[int] = []

    async def watch(scope: object, receive: object, send: object) -> None:
        import asyncio

        connection = next(iter(server.state.connections))
        for _ in range(50):
            await asyncio.sleep(0.01)
            taken.append(connection.active.buffered_bytes)  # type: ignore[union-attr]
        await app.on_echo(scope, receive, send)  # type: ignore[arg-type]

    app.on_watch = watch  # type: ignore[attr-defined]
    server = serve()
    body = b"b" * (8 << 20)
    with RawConnection(server.url) as connection:
        connection.send(put("/watch", body))
        assert connection.read().body == body
    assert 0 < max(taken) <= 512 * 1024


# Deadlines.


def test_slow_headers_time_out(serve: Callable[..., BackgroundServer]) -> None:
    server = serve(header_timeout_s=0.3)
    with RawConnection(server.url) as connection:
        connection.send(b"GET /x HTTP/1.1\r\nhost")
        answer = connection.read()
        assert answer.status == 400
        assert b"<Code>RequestTimeout</Code>" in answer.body
        assert connection.ends()


def test_headers_that_trickle_time_out(serve: Callable[..., BackgroundServer]) -> None:
    server = serve(header_timeout_s=0.5)
    with RawConnection(server.url) as connection:
        connection.send(b"GET /x HTTP/1.1\r\nhost: h\r\n")
        while connection.send_or_lose(b"a: b\r\n") and server.state.connections:
            time.sleep(0.05)
        assert b"<Code>RequestTimeout</Code>" in connection.read().body


def test_a_stalled_body_times_out(serve: Callable[..., BackgroundServer], app: EchoApp) -> None:
    server = serve(body_stall_timeout_s=0.3)
    with RawConnection(server.url) as connection:
        connection.send(put("/echo", b"x" * 1000)[:-500])
        answer = connection.read()
        assert b"<Code>RequestTimeout</Code>" in answer.body
        assert connection.ends()
    wait_until(lambda: app.disconnects == 1)


@pytest.mark.parametrize("path", ["/echo", "/into"])
def test_a_stalled_large_body_times_out(serve: Callable[..., BackgroundServer], path: str) -> None:
    server = serve(body_stall_timeout_s=0.3)
    with RawConnection(server.url) as connection:
        connection.send(put(path, b"x" * 1_000_000)[:-1])
        assert b"<Code>RequestTimeout</Code>" in connection.read().body
        assert connection.ends()


def test_a_body_that_trickles_goes_through(serve: Callable[..., BackgroundServer]) -> None:
    server = serve(body_stall_timeout_s=2.0)
    request = put("/echo", b"x" * 30)
    with RawConnection(server.url) as connection:
        connection.send(request[:-30])
        for _ in range(30):
            time.sleep(0.1)
            connection.send(b"x")
        assert connection.read().body == b"x" * 30


def test_who_does_not_read_the_response_is_dropped(
    serve: Callable[..., BackgroundServer], app: EchoApp
) -> None:
    server = serve(body_stall_timeout_s=0.3)
    with RawConnection(server.url) as connection:
        connection.send(b"GET /large HTTP/1.1\r\nhost: h\r\n\r\n")
        wait_until(lambda: app.disconnects == 1)
        wait_until(lambda: not server.state.connections)
    assert app.sent_pieces < 64


def test_idle_connections_are_closed_without_a_word(
    serve: Callable[..., BackgroundServer],
) -> None:
    server = serve(idle_timeout_s=0.3)
    with RawConnection(server.url) as fresh, RawConnection(server.url) as used:
        used.send(GET)
        used.read()
        assert fresh.ends()
        assert used.ends()


def test_a_slow_application_is_not_the_clients_fault(
    serve: Callable[..., BackgroundServer], app: EchoApp
) -> None:
    async def slow(scope: object, receive: object, send: object) -> None:
        import asyncio

        await asyncio.sleep(1.0)
        await app.on_echo(scope, receive, send)  # type: ignore[arg-type]

    app.on_slow = slow  # type: ignore[attr-defined]
    server = serve(body_stall_timeout_s=0.3, idle_timeout_s=0.3, header_timeout_s=0.3)
    with RawConnection(server.url) as connection:
        connection.send(put("/slow", b"abc"))
        assert connection.read().body == b"abc"


# Answers before the body's end.


def test_an_early_answer_to_a_small_body_keeps_the_connection(
    connection: RawConnection,
) -> None:
    request = put("/early", b"GET /smuggled HTTP/1.1\r\nhost: h\r\n\r\n" * 100)
    connection.send(request[:200])
    assert connection.read().status == 403
    connection.send(request[200:] + GET)
    assert connection.read().body == b"/x"


def test_an_early_answer_to_a_large_body_closes(connection: RawConnection, app: EchoApp) -> None:
    smuggled = b"GET /smuggled HTTP/1.1\r\nhost: h\r\n\r\n"
    request = put("/early", smuggled * 100_000)
    assert connection.send_or_lose(request)
    answer = connection.read()
    assert (answer.status, answer.headers["connection"]) == (403, "close")
    assert connection.ends()
    assert [scope["path"] for scope in app.requests] == ["/early"]


def test_an_early_answer_to_a_chunked_body_closes(connection: RawConnection, app: EchoApp) -> None:
    connection.send(b"PUT /early HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n5\r\nab")
    assert connection.read().headers["connection"] == "close"
    connection.send_or_lose(b"cde\r\n0\r\n\r\n" + GET)
    assert connection.ends()
    assert len(app.requests) == 1


def test_continue_is_sent_when_the_body_is_wanted(connection: RawConnection) -> None:
    body = b"b" * 100_000
    head = put("/echo", body, b"expect: 100-continue")[: -len(body)]
    connection.send(head)
    assert connection.line() == b"HTTP/1.1 100 Continue\r\n"
    assert connection.line() == b"\r\n"
    connection.send(body)
    assert connection.read().body == body


def test_continue_is_not_sent_with_a_refusal(connection: RawConnection) -> None:
    connection.send(put("/early", b"b" * 10, b"expect: 100-continue")[:-10])
    answer = connection.read()
    assert (answer.status, answer.headers["connection"]) == (403, "close")
    assert connection.ends()


def test_who_waits_for_continue_is_not_late(
    serve: Callable[..., BackgroundServer], app: EchoApp
) -> None:
    async def slow(scope: object, receive: object, send: object) -> None:
        import asyncio

        await asyncio.sleep(1.0)
        await app.on_echo(scope, receive, send)  # type: ignore[arg-type]

    app.on_slow = slow  # type: ignore[attr-defined]
    server = serve(body_stall_timeout_s=0.3)
    with RawConnection(server.url) as connection:
        connection.send(put("/slow", b"abc", b"expect: 100-continue")[:-3])
        assert connection.line() == b"HTTP/1.1 100 Continue\r\n"
        connection.line()
        connection.send(b"abc")
        assert connection.read().body == b"abc"


# Faults.


@pytest.mark.parametrize("path", ["/echo", "/into"])
def test_a_client_that_leaves_mid_body_is_noticed(url: str, app: EchoApp, path: str) -> None:
    for size in (1000, 1_000_000):
        with RawConnection(url) as connection:
            connection.send(put(path, b"x" * size)[:-1])
            wait_until(lambda: len(app.requests) > app.disconnects)
        wait_until(lambda: len(app.requests) == app.disconnects)


def test_a_large_response_from_one_buffer_is_whole(connection: RawConnection) -> None:
    connection.send(b"GET /large HTTP/1.1\r\nhost: h\r\n\r\n")
    body = connection.read().body
    assert len(body) == 64 << 20
    for number in range(64):
        piece = body[number << 20 : number + 1 << 20]
        assert piece == bytes([number]) * (1 << 20)


def test_a_defect_is_a_500_and_the_server_goes_on(connection: RawConnection, url: str) -> None:
    connection.send(b"GET /fail HTTP/1.1\r\nhost: h\r\n\r\n")
    answer = connection.read()
    assert answer.status == 500
    assert b"<Code>InternalError</Code>" in answer.body
    assert_alive(url)


def test_a_defect_in_mid_body_cuts_the_connection(connection: RawConnection, url: str) -> None:
    connection.send(b"GET /half HTTP/1.1\r\nhost: h\r\n\r\n")
    raw = b""
    with contextlib.suppress(ConnectionResetError):
        raw = b"".join(iter(connection.line, b""))
    assert not raw.endswith(b"1234567890")
    assert_alive(url)


def test_line_breaks_do_not_get_into_headers(connection: RawConnection) -> None:
    connection.send(b"GET /inject HTTP/1.1\r\nhost: h\r\n\r\n")
    answer = connection.read()
    assert answer.status == 500
    assert "set-cookie" not in answer.headers


def test_stopping_lets_a_request_finish(
    serve: Callable[..., BackgroundServer], app: EchoApp
) -> None:
    import threading

    server = serve()
    with RawConnection(server.url) as connection, RawConnection(server.url) as idle:
        idle.send(GET)
        idle.read()
        connection.send(put("/echo", b"x" * 100)[:-50])
        wait_until(lambda: len(app.requests) == 2)
        stopping = threading.Thread(target=server.stop)
        stopping.start()
        assert idle.ends()
        connection.send(b"x" * 50)
        answer = connection.read()
        assert (answer.body, answer.headers["connection"]) == (b"x" * 100, "close")
        assert connection.ends()
        stopping.join(TIMEOUT_S)
        assert not stopping.is_alive()
