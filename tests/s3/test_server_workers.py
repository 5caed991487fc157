"""Several workers: who gets which connection, who comes back from the dead, how all of it ends."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from objstore.asgi.workers import EXIT_POISONED
from tests.s3.rawhttp import TIMEOUT_S, RawConnection
from tests.s3.signed import Signer


class Program:
    """A running tests.s3.worker_program."""

    def __init__(self, workers: int, *arguments: str, ready: bool = True, **environ: str) -> None:
        command = [sys.executable, "-m", "tests.s3.worker_program", str(workers), *arguments]
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, text=True, env=os.environ | environ
        )
        assert self.process.stdout is not None
        self.url = self.process.stdout.readline().strip()
        self.pids: set[int] = set()
        is_ready = not ready
        while len(self.pids) < workers * ready or not is_ready:
            line = self.process.stdout.readline().strip()
            assert line, "the program ended"
            if line == "READY":
                is_ready = True
            else:
                self.pids.add(int(line))

    def connect(self) -> RawConnection:
        return RawConnection(self.url)

    def stop(self) -> int:
        """SIGTERM; the exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(TIMEOUT_S)


Start = Callable[..., Program]


@pytest.fixture
def start() -> Iterator[Start]:
    programs: list[Program] = []

    def run(workers: int, *arguments: str, ready: bool = True, **environ: str) -> Program:
        programs.append(Program(workers, *arguments, ready=ready, **environ))
        return programs[-1]

    yield run
    for program in programs:
        if program.process.poll() is None:
            program.stop()
        assert program.process.stdout is not None
        program.process.stdout.close()


def ask(connection: RawConnection, path: str = "/pid") -> bytes:
    connection.send(b"GET %s HTTP/1.1\r\nhost: h\r\n\r\n" % path.encode())
    return connection.read().body


def pid_of(connection: RawConnection) -> int:
    return int(ask(connection))


def answers_eventually(program: Program) -> int:
    """The pid of whoever answers, however long it takes them to come back."""
    deadline_s = time.monotonic() + TIMEOUT_S
    while True:
        try:
            with program.connect() as connection:
                return pid_of(connection)
        except (AssertionError, OSError):
            assert time.monotonic() < deadline_s, "nobody answers"
            time.sleep(0.05)


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_connections_spread_evenly(start: Start) -> None:
    program = start(2)
    connections = [program.connect() for _ in range(16)]
    assert sorted(Counter(map(pid_of, connections)).values()) == [8, 8]
    for connection in connections:
        connection.close()


def test_new_connections_go_where_the_fewest_are_open(start: Start) -> None:
    program = start(2)
    connections = [program.connect() for _ in range(16)]
    pids = [pid_of(connection) for connection in connections]
    for connection, pid in zip(connections, pids, strict=True):
        if pid == pids[0]:
            connection.close()
    time.sleep(0.5)  # until the worker has noticed; more is not needed, less would be flaky
    fresh = [program.connect() for _ in range(8)]
    assert Counter(map(pid_of, fresh)) == {pids[0]: 8}
    for connection in (*connections, *fresh):
        connection.close()


def test_a_rush_of_connections_is_served_whole(start: Start) -> None:
    program = start(2)
    connections = [program.connect() for _ in range(600)]  # more than a channel holds
    for connection in connections:
        connection.send(b"GET /pid HTTP/1.1\r\nhost: h\r\n\r\n")
    served = Counter(int(connection.read().body) for connection in connections)
    assert sorted(served.values()) == [300, 300]
    for connection in connections:
        connection.close()


def test_a_killed_worker_is_replaced_and_the_other_serves_on(start: Start) -> None:
    program = start(2)
    connections = [program.connect() for _ in range(2)]
    doomed, other = map(pid_of, connections)
    os.kill(doomed, signal.SIGKILL)
    assert connections[0].ends()
    assert pid_of(connections[1]) == other
    seen: set[int] = set()
    while len(seen | {other}) < 2:
        seen.add(answers_eventually(program))
    assert doomed not in seen
    for connection in connections:
        connection.close()
    assert program.stop() == 0


def test_a_worker_that_keeps_dying_comes_back_each_time(start: Start) -> None:
    program = start(1)
    pids = {answers_eventually(program)}
    for _ in range(3):
        with program.connect() as connection:
            connection.send(b"GET /exit HTTP/1.1\r\nhost: h\r\n\r\n")
            assert connection.ends()
        pids.add(answers_eventually(program))
    assert len(pids) == 4


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_requests_finish(start: Start, number: signal.Signals) -> None:
    program = start(2)
    busy, idle = program.connect(), program.connect()
    assert pid_of(busy) != pid_of(idle)
    busy.send(b"GET /slow HTTP/1.1\r\nhost: h\r\n\r\n")
    time.sleep(0.2)  # for the request to arrive
    program.process.send_signal(number)
    assert idle.ends()
    assert busy.read().body == b"late"
    assert busy.ends()
    assert program.process.wait(TIMEOUT_S) == 0
    assert not any(map(is_running, program.pids))
    busy.close()
    idle.close()


def test_what_does_not_finish_in_time_is_cut(start: Start) -> None:
    program = start(2, "1")
    connection = program.connect()
    connection.send(b"GET /never HTTP/1.1\r\nhost: h\r\n\r\n")
    time.sleep(0.2)
    program.stop()
    assert connection.ends()
    assert not any(map(is_running, program.pids))
    connection.close()


def test_workers_leave_when_their_parent_is_killed(start: Start) -> None:
    program = start(2)
    program.process.kill()
    program.process.wait(TIMEOUT_S)
    deadline_s = time.monotonic() + TIMEOUT_S
    while any(map(is_running, program.pids)):
        assert time.monotonic() < deadline_s, "a worker outlives its parent"
        time.sleep(0.05)


def test_workers_that_cannot_start_end_the_server(start: Start) -> None:
    program = start(2, ready=False, WORKERS_FAIL="1")
    assert program.process.wait(TIMEOUT_S) == 1


def test_a_worker_forked_while_the_server_is_told_to_stop_stops(start: Start) -> None:
    program = start(1, "60", ready=False, WORKERS_SIGNALLED="1")
    assert program.process.wait(TIMEOUT_S) == 0


def test_workers_that_end_poisoned_while_the_server_stops_fail_nothing(start: Start) -> None:
    """They were finishing already; whoever stops the server has nothing to do about it."""
    assert start(2, WORKERS_POISONED="1").stop() == 0


# A device that fails.

KEYS = ("TESTKEY", "test+secret/123")


@pytest.fixture
def serve_poisonable(tmp_path: Path) -> Iterator[Callable[[int], subprocess.Popen[str]]]:
    processes: list[subprocess.Popen[str]] = []

    def run(workers: int) -> subprocess.Popen[str]:
        command = ["-m", "tests.s3.poisoned_program", str(tmp_path / "data"), str(workers), *KEYS]
        pipe = subprocess.PIPE
        processes.append(
            subprocess.Popen([sys.executable, *command], stdout=pipe, stderr=pipe, text=True)
        )
        return processes[-1]

    yield run
    for process in processes:
        if process.poll() is None:
            process.terminate()
            process.wait(TIMEOUT_S)
        for stream in (process.stdout, process.stderr):
            assert stream is not None
            stream.close()


def url_from(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def make_bucket(connection: RawConnection, signer: Signer, bucket: str) -> int:
    connection.send(signer.head("PUT", f"/{bucket}", [("content-length", "0")]))
    return connection.read().status


def test_workers_whose_device_failed_are_replaced(
    serve_poisonable: Callable[[int], subprocess.Popen[str]],
) -> None:
    process = serve_poisonable(2)
    signer = Signer(url_from(process), *KEYS)
    connections = [signer.connect() for _ in range(2)]  # one for each worker
    assert make_bucket(connections[0], signer, "before") == 200
    for connection in connections:
        assert make_bucket(connection, signer, "poison") == 503
        assert connection.ends()
        connection.close()
    status = 0
    deadline_s = time.monotonic() + TIMEOUT_S
    while status != 200:
        with contextlib.suppress(AssertionError, OSError), signer.connect() as connection:
            status = make_bucket(connection, signer, "after")
        assert time.monotonic() < deadline_s, "nobody takes writes again"
    process.terminate()
    assert process.stderr is not None
    errors = process.stderr.read()
    assert process.wait(TIMEOUT_S) == 0, errors
    # The other one may still be finishing when the server is told to stop.
    assert f" ended with {EXIT_POISONED}" in errors
    assert errors.count("the device failed: this process ends") == 2


def test_a_server_of_one_process_ends_when_its_device_fails(
    serve_poisonable: Callable[[int], subprocess.Popen[str]],
) -> None:
    process = serve_poisonable(1)
    signer = Signer(url_from(process), *KEYS)
    with signer.connect() as connection:
        assert make_bucket(connection, signer, "poison") == 503
        assert connection.ends()
    assert process.wait(TIMEOUT_S) == EXIT_POISONED
    again = serve_poisonable(1)
    signer = Signer(url_from(again), *KEYS)
    with signer.connect() as connection:
        assert make_bucket(connection, signer, "after") == 200
