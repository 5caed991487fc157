"""NBD's transmission phase, request by request, with simple and with structured replies."""

from __future__ import annotations

import itertools
import random
import struct
import threading
from collections.abc import Iterator

import pytest

from blockdev.errors import DeviceClosedError, DeviceFullError, DeviceIOError, OutOfRangeError
from blockdev.filters.fault import Fault, FaultDevice, FaultRule, Operation
from blockdev.filters.passthrough import Passthrough
from blockdev.memory import MemoryDevice
from blockdev.nbd import Export, NbdLimits, NbdServer
from tests import nbd_client as nbd
from tests.nbd_client import RawClient
from tests.unit.nbd_servers import KIB, MIB, SIZE, Gate, Journal, client_of, memory, serving

BOTH = pytest.mark.parametrize("structured", [False, True], ids=["simple", "structured"])


@pytest.fixture
def journal() -> Journal:
    return Journal(memory())


@pytest.fixture
def server(journal: Journal) -> Iterator[NbdServer]:
    with serving(journal) as server:
        yield server


@pytest.fixture
def client(server: NbdServer) -> Iterator[RawClient]:
    with client_of(server) as client:
        yield client


@BOTH
@pytest.mark.parametrize("length_bytes", [1, 511, 4 * KIB, 64 * KIB + 1, 300 * KIB, 3 * MIB])
def test_what_is_written_is_read(
    server: NbdServer, structured: bool, length_bytes: int, seed: int
) -> None:
    data = random.Random(seed).randbytes(length_bytes)
    with client_of(server, structured=structured) as client:
        client.write(12_345, data)
        assert client.read(12_345, length_bytes) == data
        assert client.read(12_344, length_bytes + 2) == b"\0" + data + b"\0"


@BOTH
def test_the_largest_payload_passes_both_ways(structured: bool, seed: int) -> None:
    data = random.Random(seed).randbytes(32 * MIB)
    device = MemoryDevice(40 * MIB)
    with serving(device) as server, client_of(server, structured=structured) as client:
        client.write(MIB + 1, data)
        assert client.read(MIB + 1, 32 * MIB) == data
        assert client.ask(nbd.READ, 0, 32 * MIB + 1).error == nbd.EINVAL
        assert client.read(MIB + 1, 10) == data[:10]


def test_fua_and_flush_reach_the_device(client: RawClient, journal: Journal) -> None:
    client.write(0, b"plain")
    client.write(8, b"fua", flags=nbd.FUA)
    assert client.ask(nbd.FLUSH).error == 0
    assert client.ask(nbd.FLUSH, flags=nbd.FUA).error == 0
    assert journal.names() == ["write", "write-fua", "flush", "flush"]


def test_trim_discards(client: RawClient, journal: Journal) -> None:
    client.write(0, b"x" * MIB)
    assert client.ask(nbd.TRIM, 64 * KIB, 128 * KIB).error == 0
    assert client.read(64 * KIB, 128 * KIB) == bytes(128 * KIB)
    assert client.ask(nbd.BLOCK_STATUS, 0, MIB).runs == [
        (64 * KIB, 0), (128 * KIB, 3), (MIB - 192 * KIB, 0),
    ]  # fmt: skip
    assert "flush" not in journal.names()
    assert client.ask(nbd.TRIM, 0, 64 * KIB, flags=nbd.FUA).error == 0
    assert journal.names()[-2:] == ["discard", "flush"]


def test_write_zeroes_may_make_holes_unless_told_not_to(
    client: RawClient, journal: Journal
) -> None:
    client.write(0, b"x" * MIB)
    assert client.ask(nbd.WRITE_ZEROES, 0, 128 * KIB).error == 0
    assert client.ask(nbd.WRITE_ZEROES, MIB, 128 * KIB, flags=nbd.NO_HOLE).error == 0
    assert journal.names() == ["write", "discard", "write_zeroes"]
    assert client.read(0, 128 * KIB) == bytes(128 * KIB)
    runs = client.ask(nbd.BLOCK_STATUS, 0, SIZE).runs
    assert runs == [(128 * KIB, 3), (MIB, 0), (SIZE - MIB - 128 * KIB, 3)]
    flags = nbd.NO_HOLE | nbd.FUA
    assert client.ask(nbd.WRITE_ZEROES, 0, 4 * KIB, flags=flags).error == 0
    assert journal.names()[-2:] == ["write_zeroes", "flush"]


def test_long_ranges_go_in_strides() -> None:
    journal = Journal(MemoryDevice(1 << 40))
    length_bytes = 0xFFFFF000
    with serving(journal) as server, client_of(server) as client:
        assert client.ask(nbd.TRIM, 4096, length_bytes).error == 0
    assert sum(length for name, _, length in journal.calls if name == "discard") == length_bytes
    assert max(length for name, _, length in journal.calls if name == "discard") == 16 * MIB
    assert journal.calls[0][1] == 4096


def test_cache_reads_the_range_and_sends_nothing(client: RawClient, journal: Journal) -> None:
    reply = client.ask(nbd.CACHE, 5000, 2 * MIB + 5)
    assert (reply.error, reply.data) == (0, b"")
    assert journal.calls == [
        ("read", 5000, MIB), ("read", 5000 + MIB, MIB), ("read", 5000 + 2 * MIB, 5),
    ]  # fmt: skip
    assert client.ask(nbd.CACHE, 0, 0).error == 0


def test_a_hole_is_sent_as_a_hole_and_is_read_all_the_same(
    client: RawClient, journal: Journal
) -> None:
    client.write(MIB, b"d" * 64 * KIB)
    reply = client.ask(nbd.READ, MIB - 64 * KIB, 192 * KIB)
    assert [kind for kind, _ in reply.chunks] == [2, 1, 2]
    assert struct.unpack(">QI", reply.chunks[0][1]) == (MIB - 64 * KIB, 64 * KIB)
    assert reply.data == bytes(64 * KIB) + b"d" * 64 * KIB + bytes(64 * KIB)
    # A disk counts what was asked of it, whatever of that goes over the wire.
    assert journal.calls[-1] == ("read", MIB - 64 * KIB, 192 * KIB)


def test_an_empty_device_is_one_hole(client: RawClient) -> None:
    reply = client.ask(nbd.READ, 0, 2 * MIB)
    assert [(kind, len(payload)) for kind, payload in reply.chunks] == [(2, 12)]
    assert reply.data == bytes(2 * MIB)


def test_do_not_fragment_is_obeyed(client: RawClient) -> None:
    client.write(MIB, b"d" * 64 * KIB)
    reply = client.ask(nbd.READ, 0, SIZE, flags=nbd.DF)
    assert [kind for kind, _ in reply.chunks] == [1]
    assert reply.data[MIB : MIB + 64 * KIB] == b"d" * 64 * KIB


def test_a_short_read_and_one_in_shreds_go_whole() -> None:
    device = MemoryDevice(SIZE, page_bytes=4 * KIB)
    with serving(device) as server, client_of(server) as client:
        assert [kind for kind, _ in client.ask(nbd.READ, 0, 4 * KIB).chunks] == [1]
        for at in range(0, MIB, 8 * KIB):
            client.write(at, b"s" * 4 * KIB)
        whole = client.ask(nbd.READ, 0, MIB)
        assert [kind for kind, _ in whole.chunks] == [1]
        assert whole.data == (b"s" * 4 * KIB + bytes(4 * KIB)) * 128
        some = client.ask(nbd.READ, 0, 256 * KIB)
        assert [kind for kind, _ in some.chunks] == [1, 2] * 32
        assert some.data == whole.data[: 256 * KIB]


def test_block_status_covers_the_range_or_says_less() -> None:
    device = MemoryDevice(SIZE, page_bytes=4 * KIB)
    for at in range(0, SIZE, 8 * KIB):
        device.write(at, b"x")
    with (
        serving(device, limits=NbdLimits(descriptors=100)) as server,
        client_of(server) as client,
    ):
        assert client.ask(nbd.BLOCK_STATUS, 1, 10 * KIB).runs == [
            (4 * KIB - 1, 0), (4 * KIB, 3), (2 * KIB + 1, 0),
        ]  # fmt: skip
        assert client.ask(nbd.BLOCK_STATUS, 0, SIZE).runs == [(4 * KIB, 0), (4 * KIB, 3)] * 50
        one = client.ask(nbd.BLOCK_STATUS, 4 * KIB, SIZE // 2, flags=nbd.REQ_ONE)
        assert one.runs == [(4 * KIB, 3)]
        assert [kind for kind, _ in one.chunks] == [5]


def test_block_status_without_negotiation_is_einval(server: NbdServer) -> None:
    with RawClient(server.address) as client:
        client.use_structured()
        client.go()
        assert client.ask(nbd.BLOCK_STATUS, 0, 512).error == nbd.EINVAL
    with client_of(server, structured=False) as client:
        assert client.ask(nbd.BLOCK_STATUS, 0, 512).error == nbd.EINVAL


@BOTH
def test_requests_of_length_zero(server: NbdServer, structured: bool) -> None:
    with client_of(server, structured=structured) as client:
        for command in (nbd.READ, nbd.WRITE, nbd.TRIM, nbd.CACHE, nbd.WRITE_ZEROES):
            reply = client.ask(command, SIZE, 0)
            assert (reply.error, reply.data) == (0, b"")
        assert client.ask(nbd.BLOCK_STATUS, 0, 0).error == nbd.EINVAL
        assert client.read(0, 5) == bytes(5)


OUTSIDE = [(SIZE, 1), (SIZE - 1, 2), (0, SIZE + 1), ((1 << 64) - 1, 1), (1 << 63, 4096)]


@BOTH
@pytest.mark.parametrize(
    ("command", "error"),
    [
        (nbd.READ, nbd.EINVAL),
        (nbd.WRITE, nbd.ENOSPC),
        (nbd.TRIM, nbd.EINVAL),
        (nbd.CACHE, nbd.EINVAL),
        (nbd.WRITE_ZEROES, nbd.ENOSPC),
        (nbd.BLOCK_STATUS, nbd.EINVAL),
    ],
)
def test_outside_the_export(
    server: NbdServer, journal: Journal, structured: bool, command: int, error: int
) -> None:
    with client_of(server, structured=structured) as client:
        for at, length_bytes in OUTSIDE:
            payload = bytes(length_bytes) if command == nbd.WRITE else b""
            reply = client.ask(command, at, length_bytes, payload=payload)
            assert reply.error == error
            assert bool(reply.message) == structured
        assert journal.calls == []
        client.write(0, b"still here")


@BOTH
@pytest.mark.parametrize("command", [nbd.WRITE, nbd.TRIM, nbd.WRITE_ZEROES])
def test_a_read_only_export_is_not_changed(structured: bool, command: int) -> None:
    journal = Journal(memory())
    exports = {"frozen": Export(journal, read_only=True)}
    with (
        serving(exports=exports) as server,
        client_of(server, structured=structured) as client,
    ):
        payload = b"y" * 100_000 if command == nbd.WRITE else b""
        assert client.ask(command, 0, 100_000, payload=payload).error == nbd.EPERM
        assert client.read(0, 4) == bytes(4)
        assert client.ask(nbd.FLUSH).error == 0
    assert journal.names() == ["read", "flush"]


@BOTH
@pytest.mark.parametrize(
    ("command", "flags"),
    [
        (nbd.READ, nbd.NO_HOLE),
        (nbd.READ, 1 << 15),
        (nbd.WRITE, nbd.DF),
        (nbd.WRITE, nbd.NO_HOLE),
        (nbd.TRIM, nbd.NO_HOLE),
        (nbd.FLUSH, nbd.DF),
        (nbd.WRITE_ZEROES, nbd.FAST_ZERO),
        (nbd.WRITE_ZEROES, nbd.DF),
        (nbd.BLOCK_STATUS, nbd.DF),
    ],
)
def test_a_flag_that_does_not_belong_is_einval(
    server: NbdServer, journal: Journal, structured: bool, command: int, flags: int
) -> None:
    with client_of(server, structured=structured) as client:
        payload = b"z" * 512 if command == nbd.WRITE else b""
        assert client.ask(command, 0, 512, flags=flags, payload=payload).error == nbd.EINVAL
        assert journal.calls == []
        assert client.read(0, 2) == bytes(2)


def test_df_needs_structured_replies(server: NbdServer) -> None:
    with client_of(server, structured=False) as client:
        assert client.ask(nbd.READ, 0, 512, flags=nbd.DF).error == nbd.EINVAL


@BOTH
@pytest.mark.parametrize("command", [8, 9, 77, 0xFFFF])
def test_an_unknown_command_is_einval(server: NbdServer, structured: bool, command: int) -> None:
    with client_of(server, structured=structured) as client:
        assert client.ask(command, 0, 4096).error == nbd.EINVAL
        assert client.read(0, 2) == bytes(2)


class Failing(Passthrough):
    """Raises what it is told to, of every read."""

    def __init__(self, error: Exception) -> None:
        super().__init__(memory())
        self.error = error

    def read_into(self, offset_bytes: int, buffer: bytearray | memoryview) -> None:
        raise self.error


@BOTH
@pytest.mark.parametrize(
    ("raised", "error"),
    [
        (DeviceIOError("the medium"), nbd.EIO),
        (DeviceFullError("no room"), nbd.ENOSPC),
        (DeviceClosedError("closed"), nbd.ESHUTDOWN),
        (OutOfRangeError("shrunk"), nbd.EINVAL),
        (RuntimeError("a bug"), nbd.EIO),
        (MemoryError(), nbd.EIO),
    ],
)
def test_what_the_device_raises(structured: bool, raised: Exception, error: int) -> None:
    with (
        serving(Failing(raised)) as server,
        client_of(server, structured=structured) as client,
    ):
        for length_bytes in (10, 300 * KIB):
            reply = client.ask(nbd.READ, 0, length_bytes)
            assert reply.error == error
            if structured:
                assert str(raised) in reply.message
        client.write(0, b"and on it goes")


def test_errors_of_other_calls_come_back_too() -> None:
    everything = frozenset(Operation)
    device = FaultDevice(memory(), [FaultRule(Fault.FULL, everything - {Operation.READ})])
    with serving(device) as server, client_of(server) as client:
        assert client.ask(nbd.WRITE, payload=b"x").error == nbd.ENOSPC
        assert client.ask(nbd.WRITE, payload=b"x", flags=nbd.FUA).error == nbd.ENOSPC
        assert client.ask(nbd.TRIM, 0, 4096).error == nbd.ENOSPC
        assert client.ask(nbd.WRITE_ZEROES, 0, 4096).error == nbd.ENOSPC
        assert client.ask(nbd.FLUSH).error == nbd.ENOSPC
        device.disarm_all()


@BOTH
def test_a_pipeline_of_requests_is_answered_in_full(
    server: NbdServer, structured: bool, seed: int
) -> None:
    """Hundreds of requests are sent before the first reply is looked at."""
    numbers = random.Random(seed)
    with client_of(server, structured=structured) as client:
        content = numbers.randbytes(MIB)
        client.write(0, content)
        sent = {}
        for _ in range(300):
            at = numbers.randrange(MIB - 5000)
            length_bytes = numbers.choice((1, 512, 4096, 5000))
            sent[client.send(nbd.READ, at, length_bytes)] = content[at : at + length_bytes]
        for _ in range(300):
            reply = client.reply()
            assert reply.data == sent.pop(reply.cookie)
        assert not sent


def test_writes_in_a_pipeline_of_all_sizes(client: RawClient, seed: int) -> None:
    numbers = random.Random(seed)
    expected = bytearray(SIZE)
    at = 0
    waiting = set()
    for size in numbers.sample([1, 7, 512, 4096, 65_536, 70_000, 262_144, 262_145, MIB] * 2, 18):
        data = numbers.randbytes(size)
        expected[at : at + size] = data
        waiting.add(client.send(nbd.WRITE, at, payload=data))
        at += size
    while waiting:
        reply = client.reply()
        assert reply.error == 0
        waiting.remove(reply.cookie)
    assert client.read(0, at) == expected[:at]


def test_slow_requests_wait_side_by_side_and_do_not_hold_up_others() -> None:
    gate = Gate(memory())
    with serving(gate) as server, client_of(server) as client:
        slow = [client.send(nbd.WRITE, 4096 * n, payload=b"g", flags=nbd.FUA) for n in range(20)]
        gate.arrivals(20)
        assert client.ask(nbd.FLUSH).error == 0
        gate.opened.set()
        assert {client.reply().cookie for _ in slow} == set(slow)


def test_requests_in_flight_are_bounded() -> None:
    gate = Gate(memory())
    limits = NbdLimits(requests_in_flight=4)
    with serving(gate, limits=limits) as server, client_of(server) as client:
        sent = {client.send(nbd.WRITE, 4096 * n, payload=b"g", flags=nbd.FUA) for n in range(9)}
        gate.arrivals(4)
        assert not gate.waiting.acquire(timeout=0.1)
        gate.opened.set()
        assert {client.reply().cookie for _ in sent} == sent


def test_bytes_in_flight_are_bounded() -> None:
    gate = Gate(memory())
    limits = NbdLimits(payload_bytes=MIB, bytes_in_flight=2 * MIB)
    with serving(gate, limits=limits) as server, client_of(server) as client:
        sent = {client.send(nbd.READ, 0, MIB) for _ in range(5)}
        gate.arrivals(2)
        assert not gate.waiting.acquire(timeout=0.1)
        gate.opened.set()
        assert {client.reply().cookie for _ in sent} == sent


def test_connections_see_each_others_writes(server: NbdServer) -> None:
    """What CAN_MULTI_CONN promises: answered on one is there on all."""
    with client_of(server) as one, client_of(server) as other:
        for number in range(50):
            data = struct.pack(">Q", number) * 64
            one.write(number * 512, data, flags=nbd.FUA if number % 2 else 0)
            assert other.read(number * 512, 512) == data
            assert other.ask(nbd.FLUSH).error == 0
            other.write(0, data)
            assert one.read(0, 512) == data


def test_pipelines_on_several_connections_are_seen_by_all(server: NbdServer, seed: int) -> None:
    """Four clients write their quarters at once, each many requests deep; all read all."""
    quarter = SIZE // 4
    wanted = [random.Random(seed + number).randbytes(quarter) for number in range(4)]
    failures: list[BaseException] = []
    all_written = threading.Barrier(4, timeout=60)

    def work(number: int) -> None:
        numbers = random.Random(-seed - number)
        try:
            with client_of(server) as client:
                write_in_shreds(client, numbers, number * quarter, wanted[number])
                all_written.wait()
                for other in numbers.sample(range(4), 4):
                    assert client.read(other * quarter, quarter) == wanted[other]
        except BaseException as error:
            failures.append(error)
            all_written.abort()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failures == []


def write_in_shreds(
    client: RawClient, numbers: random.Random, offset_bytes: int, content: bytes
) -> None:
    """Pieces of all sizes in any order, plain and FUA, up to 16 on their way at a time."""
    cuts = sorted({0, len(content), *(numbers.randrange(len(content)) for _ in range(150))})
    pieces = list(itertools.pairwise(cuts))
    numbers.shuffle(pieces)
    waiting: set[int] = set()
    for start, end in pieces:
        flags = nbd.FUA if numbers.random() < 0.3 else 0
        at = offset_bytes + start
        waiting.add(client.send(nbd.WRITE, at, flags=flags, payload=content[start:end]))
        while len(waiting) >= 16:
            waiting.remove(succeeded(client))
    while waiting:
        waiting.remove(succeeded(client))


def succeeded(client: RawClient) -> int:
    reply = client.reply()
    assert reply.error == 0
    return reply.cookie


def test_disconnect_is_silent_and_after_it_others_are_served(server: NbdServer) -> None:
    with client_of(server) as client:
        client.write(0, b"kept")
        client.send(nbd.DISC)
        assert client.is_cut()
    with client_of(server) as client:
        assert client.read(0, 4) == b"kept"


def test_disconnect_waits_for_what_is_under_way() -> None:
    gate = Gate(memory())
    with serving(gate) as server, client_of(server) as client:
        cookie = client.send(nbd.WRITE, 0, payload=b"late", flags=nbd.FUA)
        client.send(nbd.DISC)
        gate.arrivals(1)
        gate.opened.set()
        assert client.reply().cookie == cookie
        assert client.is_cut()
