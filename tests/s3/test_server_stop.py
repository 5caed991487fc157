"""The end of a server: what runs is finished, and load balancers hear of it beforehand."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from objstore.config import MIB
from tests.s3.conftest import ACCESS_KEY, SECRET_KEY, STOP_TIMEOUT_S, ServeProcess
from tests.s3.signed import Signer
from tests.stores import assert_whole

Start = Callable[..., ServeProcess]
WORKERS = pytest.mark.parametrize("workers", ["1", "2"])
SIZE_BYTES = 24 * MIB


def signer_of(server: ServeProcess) -> Signer:
    return Signer(server.url, ACCESS_KEY, SECRET_KEY)


@WORKERS
def test_transfers_in_flight_are_finished(
    start_server: Start, tmp_path: Path, workers: str
) -> None:
    server = start_server(tmp_path / "data", "--workers", workers)
    signer, s3 = signer_of(server), server.endpoint.client()
    content = random.Random(1).randbytes(SIZE_BYTES)
    s3.create_bucket(Bucket="bucket")
    s3.put_object(Bucket="bucket", Key="down", Body=content)
    with signer.connect() as up, signer.connect() as down, signer.connect() as idle:
        head = signer.head("PUT", "/bucket/up", [("content-length", str(SIZE_BYTES))])
        up.send(head + content[: SIZE_BYTES // 2])
        down.send(signer.head("GET", "/bucket/down"))
        first = down.line()
        assert first == b"HTTP/1.1 200 OK\r\n"
        idle.send(b"GET /-/health/ready HTTP/1.1\r\nhost: h\r\n\r\n")
        assert idle.read().status == 200
        server.process.send_signal(signal.SIGTERM)
        assert idle.ends()  # so it has been heard
        up.send(content[SIZE_BYTES // 2 :])
        answer = up.read()
        assert (answer.status, answer.headers["connection"]) == (200, "close")
        received = b"".join(iter(lambda: down.socket.recv(MIB), b""))
        assert received.endswith(content[-1000:])
    assert server.process.wait(STOP_TIMEOUT_S) == 0
    again = start_server(tmp_path / "data").endpoint.client()
    for key in ("up", "down"):
        assert again.get_object(Bucket="bucket", Key=key)["Body"].read() == content, key


@WORKERS
def test_a_load_balancer_hears_of_the_end_before_it_comes(
    start_server: Start, tmp_path: Path, workers: str
) -> None:
    server = start_server(tmp_path / "data", "--workers", workers, "--drain-seconds", "3")
    signer = signer_of(server)

    def is_ready() -> int:
        with signer.connect() as connection:
            connection.send(b"GET /-/health/ready HTTP/1.1\r\nhost: h\r\n\r\n")
            return connection.read().status

    assert is_ready() == 200
    started_s = time.monotonic()
    server.process.send_signal(signal.SIGTERM)
    while is_ready() == 200:
        assert time.monotonic() - started_s < STOP_TIMEOUT_S, "it stays ready"
    statuses = [is_ready() for _ in range(4)]  # each worker's turn
    assert statuses == [503] * 4
    with signer.connect() as connection:  # and what comes all the same is served
        connection.send(signer.head("PUT", "/bucket", [("content-length", "0")]))
        assert connection.read().status == 200
        connection.send(signer.head("HEAD", "/bucket"))
        assert connection.read(head=True).status == 200
        connection.send(b"GET /-/health/live HTTP/1.1\r\nhost: h\r\n\r\n")
        assert connection.read().status == 200
    assert server.process.wait(STOP_TIMEOUT_S) == 0
    assert time.monotonic() - started_s >= 2.5
    assert server.stop() == 0, server.errors
    assert_whole(tmp_path / "data")


@WORKERS
@pytest.mark.parametrize("signals", [[signal.SIGTERM, signal.SIGTERM], [signal.SIGINT]])
def test_who_is_in_a_hurry_does_not_wait(
    start_server: Start, tmp_path: Path, workers: str, signals: list[signal.Signals]
) -> None:
    server = start_server(tmp_path / "data", "--workers", workers, "--drain-seconds", "3600")
    for number in signals:
        server.process.send_signal(number)
        time.sleep(0.5)
    assert server.process.wait(STOP_TIMEOUT_S) == 0
    assert_whole(tmp_path / "data")


@WORKERS
def test_what_does_not_finish_is_cut_after_the_grace(
    start_server: Start, tmp_path: Path, workers: str
) -> None:
    server = start_server(tmp_path / "data", "--workers", workers, "--grace-seconds", "1")
    signer = signer_of(server)
    server.endpoint.client().create_bucket(Bucket="bucket")
    with signer.connect() as slow:
        slow.send(signer.head("PUT", "/bucket/key", [("content-length", "1000000")]) + b"begun")
        time.sleep(0.3)
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(STOP_TIMEOUT_S) == 0
    server.stop()
    assert_whole(tmp_path / "data")
