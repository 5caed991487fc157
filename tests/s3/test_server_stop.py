"""The end of a server: what runs is finished, and load balancers hear of it beforehand."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from objstore.config import MIB, ServerConfig
from tests.s3.conftest import ACCESS_KEY, SECRET_KEY, STOP_TIMEOUT_S, ServeProcess
from tests.s3.signed import Signer
from tests.stores import assert_whole

Start = Callable[..., ServeProcess]
WORKERS = pytest.mark.parametrize("workers", ["1", "2"])
TELL = pytest.mark.parametrize("to_all", [False, True], ids=["parent", "group"])
SIZE_BYTES = 24 * MIB
CUT_S = ServerConfig().shutdown_grace_s * 0.7
"""A connection that a grace of one second ends has ended by then; with the default it has not."""


def tell(server: ServeProcess, number: signal.Signals, to_all: bool) -> None:
    """Signal the process that was started, or all of its group."""
    if to_all:
        server.signal_group(number)
    else:
        server.process.send_signal(number)


def ready_status(signer: Signer) -> int:
    with signer.connect() as connection:
        connection.send(b"GET /-/health/ready HTTP/1.1\r\nhost: h\r\n\r\n")
        return connection.read().status


def await_status(signer: Signer, wanted: int) -> None:
    """Ask until that is the answer."""
    deadline_s = time.monotonic() + STOP_TIMEOUT_S
    while ready_status(signer) != wanted:
        assert time.monotonic() < deadline_s, f"it never answers {wanted}"
        time.sleep(0.02)


def signer_of(server: ServeProcess) -> Signer:
    return Signer(server.url, ACCESS_KEY, SECRET_KEY)


@WORKERS
@TELL
def test_transfers_in_flight_are_finished(
    start_server: Start, tmp_path: Path, workers: str, to_all: bool
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
        tell(server, signal.SIGTERM, to_all)
        assert idle.ends()  # so it has been heard
        up.send(content[SIZE_BYTES // 2 :])
        answer = up.read()
        assert (answer.status, answer.headers["connection"]) == (200, "close")
        while down.line() not in (b"", b"\r\n"):  # the rest of the head
            pass
        received = down.rest()
        assert len(received) == SIZE_BYTES
        assert received == content
    assert server.process.wait(STOP_TIMEOUT_S) == 0
    assert server.stop() == 0
    assert not server.errors
    again = start_server(tmp_path / "data").endpoint.client()
    for key in ("up", "down"):
        assert again.get_object(Bucket="bucket", Key=key)["Body"].read() == content, key


@WORKERS
@TELL
def test_a_load_balancer_hears_of_the_end_before_it_comes(
    start_server: Start, tmp_path: Path, workers: str, to_all: bool
) -> None:
    server = start_server(tmp_path / "data", "--workers", workers, "--drain-seconds", "3600")
    signer = signer_of(server)
    assert ready_status(signer) == 200
    tell(server, signal.SIGTERM, to_all)
    await_status(signer, 503)
    for _ in range(4):  # until each worker has been asked: signals do not come at once
        await_status(signer, 503)
    time.sleep(2)  # a worker that went would have been replaced by now
    assert [ready_status(signer) for _ in range(6)] == [503] * 6
    with signer.connect() as connection:  # and what comes all the same is served
        connection.send(signer.head("PUT", "/bucket", [("content-length", "0")]))
        assert connection.read().status == 200
        connection.send(signer.head("HEAD", "/bucket"))
        assert connection.read(head=True).status == 200
        connection.send(b"GET /-/health/live HTTP/1.1\r\nhost: h\r\n\r\n")
        assert connection.read().status == 200
    tell(server, signal.SIGTERM, to_all)  # enough of it
    assert server.process.wait(STOP_TIMEOUT_S) == 0
    assert server.stop() == 0
    assert not server.errors
    assert_whole(tmp_path / "data")


@WORKERS
@TELL
def test_the_end_comes_when_it_was_announced(
    start_server: Start, tmp_path: Path, workers: str, to_all: bool
) -> None:
    server = start_server(tmp_path / "data", "--workers", workers, "--drain-seconds", "3")
    signer = signer_of(server)
    started_s = time.monotonic()
    tell(server, signal.SIGTERM, to_all)
    await_status(signer, 503)
    assert server.process.wait(STOP_TIMEOUT_S) == 0
    assert time.monotonic() - started_s >= 3


def workers_of(server: ServeProcess) -> list[int]:
    children = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text()
    return [int(pid) for pid in children.split()]


def test_a_worker_that_dies_near_the_end_is_replaced_by_one_that_is_not_ready(
    start_server: Start, tmp_path: Path
) -> None:
    server = start_server(tmp_path / "data", "--workers", "2", "--drain-seconds", "3600")
    signer = signer_of(server)
    before = workers_of(server)
    assert len(before) == 2
    server.process.send_signal(signal.SIGTERM)
    await_status(signer, 503)
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    deadline_s = time.monotonic() + STOP_TIMEOUT_S
    while len(set(workers_of(server)) - set(before)) < 2:
        assert time.monotonic() < deadline_s, "they are not replaced"
        time.sleep(0.05)
    statuses = []
    for _ in range(40):  # from the first answer of the new ones on
        with contextlib.suppress(AssertionError, OSError):
            statuses.append(ready_status(signer))
    assert set(statuses) == {503}
    assert len(statuses) > 20
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(STOP_TIMEOUT_S) == 0


def test_a_worker_that_alone_is_told_to_stop_is_replaced(
    start_server: Start, tmp_path: Path
) -> None:
    server = start_server(tmp_path / "data", "--workers", "2")
    signer = signer_of(server)
    before = workers_of(server)
    os.kill(before[0], signal.SIGTERM)
    deadline_s = time.monotonic() + STOP_TIMEOUT_S
    while len(now := workers_of(server)) < 2 or before[0] in now:
        assert time.monotonic() < deadline_s, "it goes on"
        time.sleep(0.05)
    assert before[1] in now
    await_status(signer, 200)
    assert server.stop() == 0


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
@TELL
def test_what_does_not_finish_is_cut_after_the_grace(
    start_server: Start, tmp_path: Path, workers: str, to_all: bool
) -> None:
    server = start_server(tmp_path / "data", "--workers", workers, "--grace-seconds", "1")
    signer = signer_of(server)
    server.endpoint.client().create_bucket(Bucket="bucket")
    with signer.connect() as slow:
        slow.socket.settimeout(CUT_S)
        slow.send(signer.head("PUT", "/bucket/key", [("content-length", "1000000")]) + b"begun")
        time.sleep(0.3)
        tell(server, signal.SIGTERM, to_all)
        assert slow.ends()
    assert server.process.wait(STOP_TIMEOUT_S) == 0
    server.stop()
    assert_whole(tmp_path / "data")
