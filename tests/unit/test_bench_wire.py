"""The load generator takes a right response for right, and no other."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import wire
from bench.signing import Credentials, Endpoint
from bench.wire import BadResponse, Connection, Expectation, Request, dechunk, exchange

OK = b"HTTP/1.1 200 OK\r\nServer: x\r\n"


@contextmanager
def scripted(*answers: Sequence[bytes]) -> Iterator[Endpoint]:
    """A server that answers the requests of one connection with these pieces, then closes it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=_answer, args=(listener, answers), daemon=True)
        thread.start()
        yield Endpoint("127.0.0.1", listener.getsockname()[1], Credentials("a", "b"))
        thread.join(10)
        assert not thread.is_alive()


def _answer(listener: socket.socket, answers: Sequence[Sequence[bytes]]) -> None:
    connection, _ = listener.accept()
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with connection:
        for pieces in answers:
            received = b""
            while not received.endswith(b"\r\n\r\n"):
                received += connection.recv(4096)
            for piece in pieces:
                connection.sendall(piece)


def ask(
    expectation: Expectation, *pieces: bytes, method: str = "GET", reply: bytes | None = None
) -> None:
    """One request to a server that answers with `pieces`."""
    with scripted(pieces) as endpoint:
        head = f"{method} / HTTP/1.1\r\n\r\n".encode()
        exchange(endpoint, Request(head, b"", reply), expectation, timeout_s=10)


@pytest.mark.parametrize("name", [b"Content-Length", b"content-length", b"CONTENT-LENGTH"])
def test_a_right_response_passes(name: bytes) -> None:
    ask(Expectation(200, 5), OK + name + b": 5\r\n\r\nhello", reply=b"hello")


def test_a_response_may_come_byte_by_byte() -> None:
    response = OK + b"Content-Length: 5\r\n\r\nhello"
    ask(Expectation(200, 5), *(bytes([byte]) for byte in response), reply=b"hello")


@pytest.mark.parametrize("cut", [1, 40, 60, 70, 80, 86])
def test_a_chunked_response_may_be_cut_anywhere(cut: int) -> None:
    response = OK + b"Transfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2;x=y\r\nlo\r\n0\r\n\r\n"
    expectation = Expectation(200, 5, b"l", 2)
    ask(expectation, response[:cut], response[cut:], reply=b"hello")


def test_a_chunk_that_looks_like_the_end_is_not_the_end() -> None:
    head = OK + b"Transfer-Encoding: chunked\r\n\r\n"
    ask(Expectation(200, 8), head + b"8\r\nabc0\r\n\r\n", b"\r\n0\r\n\r\n", reply=b"abc0\r\n\r\n")


def test_head_and_204_have_no_body() -> None:
    ask(Expectation(200, 0), OK + b"Content-Length: 4096\r\n\r\n", method="HEAD")
    ask(Expectation(204, 0), b"HTTP/1.1 204 No Content\r\n\r\n", method="DELETE")


@pytest.mark.parametrize(
    ("expectation", "reply", "response", "reason"),
    [
        (
            Expectation(200),
            None,
            b"HTTP/1.1 503 Slow\r\nContent-Length: 4\r\n\r\nslow",
            "status 503",
        ),
        (Expectation(204), None, OK + b"Content-Length: 0\r\n\r\n", "status 200, not 204"),
        (Expectation(200, 6), None, OK + b"Content-Length: 5\r\n\r\nhello", "5 bytes, not 6"),
        (Expectation(200, 5), b"HELLO", OK + b"Content-Length: 5\r\n\r\nhello", "not the one"),
        (
            Expectation(200, None, b"l", 3),
            None,
            OK + b"Content-Length: 5\r\n\r\nhello",
            "2 of b'l'",
        ),
        (Expectation(200), None, OK + b"Content-Length: 5\r\n\r\nhello!", "1 bytes after the end"),
        (Expectation(200), None, OK + b"Content-Length: 9\r\n\r\nhello", "closed"),
        (Expectation(200), None, OK + b"\r\nhello", "without a length"),
        (Expectation(200), None, b"SSH-2.0-x\r\n\r\n", "not HTTP/1.1"),
        (Expectation(200), None, b"", "closed after 0 bytes"),
    ],
)
def test_a_wrong_response_is_an_error(
    expectation: Expectation, reply: bytes | None, response: bytes, reason: str
) -> None:
    with pytest.raises(BadResponse, match=reason):
        ask(expectation, response, reply=reply)


@pytest.mark.parametrize(("sent", "wrong"), [(5000, False), (4999, True), (5001, True)])
def test_a_body_larger_than_the_buffer_is_counted(
    monkeypatch: pytest.MonkeyPatch, sent: int, wrong: bool
) -> None:
    monkeypatch.setattr(wire, "BUFFER_BYTES", 256)
    pieces = (OK + b"Content-Length: 5000\r\n\r\n", b"x" * sent)
    if not wrong:
        return ask(Expectation(200, 5000), *pieces)
    with pytest.raises(BadResponse, match=r"closed with 1 bytes|1 bytes after the end"):
        ask(Expectation(200, 5000), *pieces)


def test_headers_without_end_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "BUFFER_BYTES", 256)
    with pytest.raises(BadResponse, match="headers do not end"):
        ask(Expectation(200), OK + b"X-Long: " + b"x" * 300)


def test_a_connection_serves_one_request_after_the_other() -> None:
    answer = [OK + b"Content-Length: 2\r\n\r\nok"]
    with scripted(answer, answer, answer) as endpoint:
        connection = Connection(endpoint, Expectation(200, 2), "GET")
        connection.socket.settimeout(10)
        for _ in range(3):
            connection.begin(Request(b"GET / HTTP/1.1\r\n\r\n", b"", b"ok"), 0)
            while not connection.receive():
                pass
        connection.close()


def test_a_large_body_is_sent_in_pieces() -> None:
    body = bytes(range(256)) * 64 * 1024  # 16 MiB: more than any socket buffer
    received = bytearray()

    def take(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            while len(received) < 4 + len(body):
                received.extend(connection.recv(1 << 20))
            connection.sendall(OK + b"Content-Length: 0\r\n\r\n")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=take, args=(listener,), daemon=True)
        thread.start()
        endpoint = Endpoint("127.0.0.1", listener.getsockname()[1], Credentials("a", "b"))
        exchange(endpoint, Request(b"PUT ", body), Expectation(200, 0), timeout_s=30)
        thread.join(10)
    assert received == b"PUT " + body


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=5), st.data())
def test_dechunk_wants_the_whole_body(chunks: list[bytes], data: st.DataObject) -> None:
    whole = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"
    assert dechunk(whole) == b"".join(chunks)
    cut = data.draw(st.integers(0, len(whole) - 5))
    assert dechunk(whole[:cut]) is None
