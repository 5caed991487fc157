"""Starting and stopping an NBD server, its addresses, and when it hands work over."""

from __future__ import annotations

import itertools
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from blockdev.errors import DeviceIOError
from blockdev.filters.fault import Fault, FaultDevice, FaultRule, Operation
from blockdev.memory import MemoryDevice
from blockdev.nbd import (
    Export,
    ListenError,
    NbdLimits,
    NbdServer,
    TcpAddress,
    UnixAddress,
    parse_address,
)
from blockdev.nbd.buffers import BufferPool
from blockdev.nbd.pace import FIRST_PAUSE, LONGEST_PAUSE, QUICK_NS, TRIALS, Pace
from tests import nbd_client as nbd
from tests.nbd_client import RawClient
from tests.unit.nbd_servers import Gate, Journal, client_of, memory, serving

ANY_PORT = TcpAddress("127.0.0.1", 0)


@pytest.fixture
def socket_path() -> Iterator[Path]:
    """Short, as the path of a socket has to be."""
    with tempfile.TemporaryDirectory(prefix="nbd-") as folder:
        yield Path(folder) / "socket"


def test_stopping_flushes_and_leaves_the_device_open() -> None:
    journal, frozen = Journal(memory()), Journal(memory())
    exports = {"data": Export(journal), "frozen": Export(frozen, read_only=True)}
    with serving(exports=exports) as server, client_of(server, "data") as client:
        client.write(0, b"to be flushed")
    assert journal.names() == ["write", "flush"]
    assert frozen.names() == []
    journal.write(0, b"still open")
    server.stop()
    assert journal.names().count("flush") == 1


def test_a_flush_that_fails_at_the_end_is_told() -> None:
    failing = FaultDevice(memory(), [FaultRule(Fault.IO_ERROR, frozenset({Operation.FLUSH}))])
    journal = Journal(memory())
    server = NbdServer({"bad": Export(failing), "good": Export(journal)}, ANY_PORT)
    server.start()
    with pytest.raises(DeviceIOError):
        server.stop()
    assert journal.names() == ["flush"]


def test_stopping_answers_what_is_at_work_and_refuses_what_comes() -> None:
    gate = Gate(memory())
    with serving(gate) as server, client_of(server) as client:
        first = client.send(nbd.WRITE, 0, payload=b"begun", flags=nbd.FUA)
        gate.arrivals(1)
        stopping = threading.Thread(target=server.stop)
        stopping.start()
        gate.opened.set()
        reply = client.reply()
        assert (reply.cookie, reply.error) == (first, 0)
        stopping.join(30)
        assert not stopping.is_alive()
        assert client.is_cut()
        with pytest.raises(OSError):
            RawClient(server.address)


def test_requests_that_hang_do_not_keep_the_server_up() -> None:
    gate = Gate(memory())
    with serving(gate, limits=NbdLimits(shutdown_s=0.1)) as server, client_of(server) as client:
        client.send(nbd.WRITE, 0, payload=b"hangs", flags=nbd.FUA)
        gate.arrivals(1)
        server.stop()
        gate.opened.set()


def test_stopping_ends_idle_and_negotiating_clients() -> None:
    with serving(memory()) as server, client_of(server) as idle:
        with RawClient(server.address) as negotiating:
            assert server.connection_count == 2
            server.stop()
            assert negotiating.is_cut()
        assert idle.is_cut()
        assert server.connection_count == 0


def test_a_server_that_was_never_started_can_be_stopped() -> None:
    NbdServer({"x": Export(memory())}, ANY_PORT).stop()


SERVE = """
import sys
from blockdev import FileDevice
from blockdev.nbd import serve
device = FileDevice.open(sys.argv[1], size_bytes=1 << 20)
serve({"file": device}, "127.0.0.1", int(sys.argv[2]))
device.close()
print("served")
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_serve_ends_in_order_at_a_signal(tmp_path: Path, number: signal.Signals) -> None:
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-c", SERVE, str(tmp_path / "file"), str(port)],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        with patient_client(TcpAddress("127.0.0.1", port)) as client:
            client.go("file")
            client.write(0, b"before the signal")
            process.send_signal(number)
            assert client.is_cut()
        told, _ = process.communicate(timeout=60)
    finally:
        process.kill()
    assert (told, process.returncode) == ("served\n", 0)
    assert (tmp_path / "file").read_bytes().startswith(b"before the signal")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def patient_client(address: TcpAddress) -> RawClient:
    """A client of a server that is only just starting."""
    for _ in range(3000):
        try:
            return RawClient(address)
        except ConnectionRefusedError:
            threading.Event().wait(0.01)
    raise AssertionError("the server does not listen")


def test_several_exports_are_apart() -> None:
    with (
        serving(MemoryDevice(1 << 20), MemoryDevice(1 << 20)) as server,
        client_of(server, "device0") as zero,
        client_of(server, "device1") as one,
    ):
        zero.write(0, b"zero")
        one.write(0, b"one!")
        assert zero.read(0, 4) == b"zero"
        assert one.read(0, 4) == b"one!"


def test_a_server_needs_exports_with_names_that_fit() -> None:
    for exports in ({}, {"x" * 4097: Export(memory())}, {"a\0b": Export(memory())}):
        with pytest.raises(ValueError):
            NbdServer(exports, ANY_PORT)


def test_limits_that_no_request_could_meet_are_refused() -> None:
    with pytest.raises(ValueError):
        NbdLimits(payload_bytes=2, bytes_in_flight=1)


def test_a_unix_socket_is_for_its_owner_and_goes_away(socket_path: Path) -> None:
    with NbdServer({"v": Export(memory())}, UnixAddress(socket_path)) as server:
        assert stat.S_IMODE(socket_path.stat().st_mode) == 0o600
        with client_of(server) as client:
            client.write(0, b"by path")
        assert server.address.uri("v") == f"nbd+unix:///v?socket={socket_path}"
    assert not socket_path.exists()


def test_a_socket_left_behind_is_replaced_but_a_living_one_is_not(socket_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(socket_path))
    with NbdServer({"v": Export(memory())}, UnixAddress(socket_path)) as server:
        with pytest.raises(ListenError):
            NbdServer({"v": Export(memory())}, UnixAddress(socket_path))
        with client_of(server) as client:
            assert client.read(0, 1) == b"\0"


def test_a_file_in_the_socket_s_place_is_left_alone(socket_path: Path) -> None:
    socket_path.write_text("precious")
    with pytest.raises(ListenError):
        NbdServer({"v": Export(memory())}, UnixAddress(socket_path))
    assert socket_path.read_text() == "precious"


@pytest.mark.parametrize(
    "address",
    [
        UnixAddress(Path("/nonexistent/folder/socket")),
        UnixAddress(Path("/tmp") / ("x" * 120)),
        TcpAddress("203.0.113.1", 0),
        TcpAddress("a..b", 0),
    ],
)
def test_an_address_that_cannot_be_used(address: TcpAddress | UnixAddress) -> None:
    with pytest.raises(ListenError) as caught:
        NbdServer({"v": Export(memory())}, address)
    assert str(address) in str(caught.value)


def test_a_port_that_is_taken() -> None:
    with serving(memory()) as server, pytest.raises(ListenError, match="in use"):
        NbdServer({"v": Export(memory())}, server.address)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:10809", TcpAddress("127.0.0.1", 10809)),
        ("localhost", TcpAddress("localhost", 10809)),
        (":0", TcpAddress("127.0.0.1", 0)),
        ("[::1]:99", TcpAddress("::1", 99)),
        ("[::1]", TcpAddress("::1", 10809)),
        ("unix:/run/x.sock", UnixAddress(Path("/run/x.sock"))),
        ("unix:a:b", UnixAddress(Path("a:b"))),
    ],
)
def test_addresses_are_read(text: str, address: TcpAddress | UnixAddress) -> None:
    assert parse_address(text) == address


@pytest.mark.parametrize(
    "text", ["host:", "host:x", "host:65536", "host:-1", "::1", "[::1", "[::1]x", "unix:", "h:²"]
)
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(ValueError):
        parse_address(text)


def test_uris_quote_the_export() -> None:
    assert TcpAddress("::1", 5).uri("a b/c") == "nbd://[::1]:5/a%20b%2Fc"


QUICK, SLOW = QUICK_NS - 1, QUICK_NS


def answers(pace: Pace, elapsed_ns: int, calls: int) -> list[bool]:
    """What is decided for so many calls on a device that takes so long."""
    decided = []
    for _ in range(calls):
        decided.append(pace.inline())
        if decided[-1]:
            pace.note(elapsed_ns)
    return decided


def test_a_quick_device_is_called_at_once_for_ever() -> None:
    assert all(answers(Pace(), QUICK, 1000))


def test_a_slow_device_is_tried_ever_more_rarely() -> None:
    decided = answers(Pace(), SLOW, 200_000)
    assert decided[: TRIALS + 1] == [True] * TRIALS + [False]
    trials = [n for n in range(1, len(decided)) if decided[n] and not decided[n - 1]]
    gaps = [after - before for before, after in itertools.pairwise(trials)]
    assert gaps == sorted(gaps)
    assert gaps[0] < 4 * FIRST_PAUSE
    assert gaps[-1] == LONGEST_PAUSE + TRIALS
    assert sum(decided) < 100


def test_one_slow_call_is_forgiven_and_two_are_not() -> None:
    pace = Pace()
    assert all(answers(pace, QUICK, 5))
    assert answers(pace, SLOW, 1) == [True]
    assert answers(pace, QUICK, 1) == [True]
    assert answers(pace, SLOW, 3) == [True, True, False]


def test_a_device_that_becomes_quick_is_found_out() -> None:
    pace = Pace()
    answers(pace, SLOW, 500)
    assert all(answers(pace, QUICK, LONGEST_PAUSE)[-1000:])


def test_buffers_are_used_again_within_bounds() -> None:
    pool = BufferPool()
    first = pool.take(5000)
    assert len(first) == 5000
    whole = first.obj
    pool.give(first)
    assert pool.take(8192).obj is whole
    large = [pool.take(4 << 20) for _ in range(5)]
    kept = [buffer.obj for buffer in large]
    for buffer in large:
        pool.give(buffer)
    again = [pool.take(4 << 20).obj for _ in range(5)]
    assert sum(any(buffer is each for each in kept) for buffer in again) == 2
