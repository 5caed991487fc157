"""Clients that send garbage, stop in the middle or leave: they harm nobody else."""

from __future__ import annotations

import contextlib
import random
import socket
import struct
import threading
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blockdev.nbd import NbdLimits, NbdServer, UnixAddress
from tests import nbd_client as nbd
from tests.nbd_client import RawClient, connect
from tests.unit.nbd_servers import KIB, MIB, SIZE, Gate, client_of, memory, serving

MAGIC = 0x25609513


@pytest.fixture
def server() -> Iterator[NbdServer]:
    with serving(memory(), limits=NbdLimits(handshake_s=5, stall_s=0.3)) as server:
        yield server


@contextlib.contextmanager
def undisturbed(server: NbdServer) -> Iterator[None]:
    """A client that is connected before, during and after whatever happens inside."""
    with client_of(server) as bystander:
        bystander.write(SIZE - 4096, b"bystander")
        yield
        assert bystander.read(SIZE - 4096, 9) == b"bystander"
        with client_of(server) as newcomer:
            assert newcomer.read(SIZE - 4096, 9) == b"bystander"


def header(
    command: int,
    offset_bytes: int = 0,
    length_bytes: int = 0,
    *,
    magic: int = MAGIC,
    flags: int = 0,
) -> bytes:
    return struct.pack(">IHHQQI", magic, flags, command, 7, offset_bytes, length_bytes)


def reset(sock: socket.socket) -> None:
    """Close so that the server gets an RST, as from a machine that has crashed."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


@pytest.mark.parametrize("structured", [False, True])
def test_a_write_that_is_too_long_is_refused_and_ends_the_connection(
    server: NbdServer, structured: bool
) -> None:
    with undisturbed(server), client_of(server, structured=structured) as client:
        for_cookie = client.send(nbd.READ, 0, 16)
        assert client.reply().cookie == for_cookie
        client._pending[7] = (nbd.WRITE, 0, 0)
        client.sock.sendall(header(nbd.WRITE, 0, 32 * MIB + 1) + b"x" * KIB)
        assert client.reply().error == nbd.EINVAL
        assert client.is_cut()


def test_a_request_without_its_magic_ends_the_connection(server: NbdServer) -> None:
    with undisturbed(server), client_of(server) as client:
        client.sock.sendall(header(nbd.READ, 0, 512, magic=0x12345678))
        assert client.is_cut()


def test_replies_that_are_ready_are_sent_before_the_cut(server: NbdServer) -> None:
    with undisturbed(server), client_of(server) as client:
        cookie = client.send(nbd.READ, 0, 100)
        assert client.reply().cookie == cookie
        cookie = client.send(nbd.READ, 0, 100)
        client.sock.sendall(b"garbage that is not a request at all")
        assert client.reply().cookie == cookie
        assert client.is_cut()


@pytest.mark.parametrize("leave", [socket.socket.close, reset], ids=["close", "reset"])
@pytest.mark.parametrize(
    "before",
    [
        b"",
        header(nbd.READ)[:5],
        header(nbd.WRITE, 0, 100_000),
        header(nbd.WRITE, 0, 100_000) + b"part of it",
        header(nbd.WRITE, 0, 20 * MIB) + bytes(3 * MIB),
        header(nbd.WRITE, SIZE, 100_000) + b"refused and unfinished",
        header(nbd.READ, 0, 3 * MIB),
        header(nbd.FLUSH) * 50,
    ],
    ids=["idle", "header", "no-data", "some-data", "much-data", "refused", "read", "flushes"],
)
def test_a_client_that_leaves_in_the_middle(
    server: NbdServer, before: bytes, leave: Callable[[socket.socket], None]
) -> None:
    with undisturbed(server), client_of(server) as client:
        client.sock.sendall(before)
        leave(client.sock)


@pytest.mark.parametrize("sent", [header(nbd.WRITE, 0, 4096) + b"only this", header(nbd.READ)[:9]])
def test_a_client_that_stops_in_the_middle_is_cut(server: NbdServer, sent: bytes) -> None:
    with undisturbed(server), client_of(server) as client:
        client.sock.sendall(sent)
        assert client.is_cut()


def test_a_client_that_is_idle_is_not_cut(server: NbdServer) -> None:
    """Several times the stall deadline goes by, as seen by one that is cut meanwhile."""
    with client_of(server) as idle:
        for _ in range(3):
            with client_of(server) as stalled:
                stalled.sock.sendall(header(nbd.READ)[:9])
                assert stalled.is_cut()
        assert idle.read(0, 3) == bytes(3)


def test_a_client_that_takes_no_replies_is_cut(server: NbdServer) -> None:
    with undisturbed(server), client_of(server) as client:
        client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        with contextlib.suppress(OSError):  # sending fails as soon as the server has gone
            for _ in range(2000):
                client.sock.sendall(header(nbd.READ, 0, MIB, flags=nbd.DF))
            client.sock.settimeout(30)
            while client.sock.recv(1 << 20):
                pass


def test_a_client_gone_while_its_request_is_at_work() -> None:
    gate = Gate(memory())
    with serving(gate) as server:
        with client_of(server) as client:
            client.send(nbd.WRITE, 0, payload=b"orphan", flags=nbd.FUA)
            gate.arrivals(1)
            reset(client.sock)
        gate.opened.set()
        with client_of(server) as client:
            assert client.read(0, 6) == b"orphan"


def test_more_clients_than_allowed_are_turned_away() -> None:
    limits = NbdLimits(connections=3)
    with serving(memory(), limits=limits) as server, contextlib.ExitStack() as stack:
        clients = [stack.enter_context(client_of(server)) for _ in range(3)]
        with pytest.raises((EOFError, ConnectionError)):
            RawClient(server.address)
        assert all(client.read(0, 1) == b"\0" for client in clients)
        clients[0].send(nbd.DISC)
        assert clients[0].is_cut()
        replacement = stack.enter_context(retrying(server))
        assert replacement.read(0, 1) == b"\0"


@contextlib.contextmanager
def retrying(server: NbdServer) -> Iterator[RawClient]:
    """A client that comes back until it is let in; a place is free a moment after a cut."""
    for _ in range(1000):
        try:
            with client_of(server) as client:
                yield client
                return
        except (EOFError, ConnectionError):
            threading.Event().wait(0.01)
    raise AssertionError("the place was never freed")


def test_a_hundred_clients_at_once_that_all_misbehave(seed: int) -> None:
    numbers = random.Random(seed)
    with serving(memory(), limits=NbdLimits(connections=200)) as server, undisturbed(server):
        sockets = [connect(server.address) for _ in range(100)]
        for sock in sockets:
            with contextlib.suppress(OSError):
                sock.sendall(numbers.randbytes(numbers.randrange(1, 300)))
        for sock in sockets:
            numbers.choice([reset, socket.socket.close])(sock)


@pytest.fixture(scope="module")
def lasting() -> Iterator[NbdServer]:
    """One server for all the examples of a module: none of them may bring it down."""
    with serving(memory()) as server:
        yield server


@given(junk=st.binary(max_size=200), polite=st.booleans())
def test_any_bytes_in_the_handshake(lasting: NbdServer, junk: bytes, polite: bool) -> None:
    with RawClient(lasting.address, client_flags=3 if polite else None) as client:
        client.sock.sendall(b"IHAVEOPT" + junk if polite else junk)
    with client_of(lasting) as client:
        assert len(client.read(0, 4096)) == 4096


_COMMANDS = st.integers(0, 9)
_REQUESTS = st.tuples(
    _COMMANDS,
    st.sampled_from([0, 1, 2, 4, 8, 16, 0x8000]),
    st.integers(0, SIZE + 1000) | st.integers(0, (1 << 64) - 1),
    st.integers(0, 9000) | st.integers(0, (1 << 32) - 1),
    st.binary(max_size=40),
)


@given(requests=st.lists(_REQUESTS, max_size=8), structured=st.booleans())
def test_any_requests(
    lasting: NbdServer, requests: list[tuple[int, int, int, int, bytes]], structured: bool
) -> None:
    """Well framed or not: requests with any fields, with any bytes behind them."""
    with client_of(lasting, structured=structured) as client, contextlib.suppress(OSError):
        for command, flags, offset_bytes, length_bytes, junk in requests:
            head = header(command, offset_bytes, length_bytes, flags=flags)
            client.sock.sendall(head + (junk if command == nbd.WRITE else b""))
    with client_of(lasting) as client:
        assert len(client.read(0, 4096)) == 4096


def test_a_peer_on_a_unix_socket_that_vanishes(tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("s") / "s"
    if len(str(path)) > 100:
        pytest.skip("the temporary folder's path is too long for a socket")
    from blockdev.nbd import Export

    with NbdServer({"": Export(memory())}, UnixAddress(path)) as server, undisturbed(server):
        for _ in range(20):
            with client_of(server) as client:
                client.sock.sendall(header(nbd.WRITE, 0, 500_000) + bytes(1000))
