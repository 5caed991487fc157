"""The NBD handshake, option by option, with a client that writes its bytes by hand."""

from __future__ import annotations

import struct
from collections.abc import Iterator

import pytest

from blockdev.device import Geometry
from blockdev.filters.passthrough import Passthrough
from blockdev.memory import MemoryDevice
from blockdev.nbd import Export, NbdLimits, NbdServer
from tests import nbd_client as nbd
from tests.nbd_client import RawClient, info_data, meta_data
from tests.unit.nbd_servers import MIB, SIZE, memory, serving

HAS_FLAGS, READ_ONLY, SEND_FLUSH, SEND_FUA, ROTATIONAL, SEND_TRIM, SEND_ZEROES, SEND_DF, MULTI = (
    1 << bit for bit in range(9)
)
SEND_CACHE, SEND_FAST_ZERO = 1 << 10, 1 << 11


@pytest.fixture
def server() -> Iterator[NbdServer]:
    """Two exports, so that none is the default."""
    data = Export(memory(), description="The data")
    frozen = Export(MemoryDevice(3 * MIB), read_only=True, rotational=True)
    with serving(exports={"data": data, "frozen": frozen}) as server:
        yield server


@pytest.fixture
def client(server: NbdServer) -> Iterator[RawClient]:
    with RawClient(server.address) as client:
        yield client


def kinds(replies: list[tuple[int, bytes]]) -> list[int]:
    return [kind for kind, _ in replies]


def test_the_greeting_offers_fixed_newstyle_without_zeroes(client: RawClient) -> None:
    assert client.server_flags == 3


def test_a_client_with_flags_unknown_is_cut(server: NbdServer) -> None:
    with RawClient(server.address, client_flags=4 | 3) as client:
        assert client.is_cut()


@pytest.mark.parametrize("client_flags", [0, 1])
def test_an_old_client_gets_its_zeroes(server: NbdServer, client_flags: int) -> None:
    with RawClient(server.address, client_flags=client_flags) as client:
        size_bytes, flags = client.export_name("data", zeroes=True)
        assert size_bytes == SIZE
        assert flags & HAS_FLAGS
        assert not flags & SEND_DF
        client.write(0, b"old")
        assert client.read(0, 3) == b"old"


def test_export_name_enters_transmission(client: RawClient) -> None:
    client.use_structured()
    size_bytes, flags = client.export_name("data")
    assert size_bytes == SIZE
    assert flags & SEND_DF
    client.write(77, b"abc")
    assert client.read(76, 5) == b"\0abc\0"


@pytest.mark.parametrize("name", ["absent", "", "\x00"])
def test_export_name_of_nothing_ends_the_session(client: RawClient, name: str) -> None:
    client.send_option(nbd.EXPORT_NAME, name.encode())
    assert client.is_cut()


def test_abort_is_acknowledged_and_the_end(client: RawClient) -> None:
    assert client.option(nbd.ABORT) == [(nbd.ACK, b"")]
    assert client.is_cut()


def test_list_names_every_export_with_its_description(client: RawClient) -> None:
    replies = client.option(nbd.LIST)
    assert kinds(replies) == [nbd.SERVER, nbd.SERVER, nbd.ACK]
    assert replies[0][1] == struct.pack(">I", 4) + b"data" + b"The data"
    assert replies[1][1] == struct.pack(">I", 6) + b"frozen"


@pytest.mark.parametrize("option", [nbd.LIST, nbd.STRUCTURED, nbd.STARTTLS])
def test_an_option_without_data_refuses_some(client: RawClient, option: int) -> None:
    assert kinds(client.option(option, b"x")) == [nbd.ERR_INVALID]
    client.go("data")


@pytest.mark.parametrize("option", [nbd.STARTTLS, 4, 11, 12, 0, 0xFFFFFFFF])
def test_what_is_not_supported_says_so_and_negotiation_goes_on(
    client: RawClient, option: int
) -> None:
    [(kind, message)] = client.option(option, b"" if option == nbd.STARTTLS else b"junk")
    assert kind == nbd.ERR_UNSUP
    assert message.decode()
    client.go("data")


def test_go_tells_size_flags_and_block_sizes(client: RawClient) -> None:
    infos = client.go("data")
    size_bytes, flags = struct.unpack(">QH", infos[0])
    assert size_bytes == SIZE
    expected = HAS_FLAGS | SEND_FLUSH | SEND_FUA | SEND_TRIM | SEND_ZEROES | MULTI | SEND_CACHE
    assert flags == expected
    assert struct.unpack(">III", infos[3]) == (1, 4096, 32 * MIB)
    assert set(infos) == {0, 3}


def test_df_is_offered_with_structured_replies_only(client: RawClient) -> None:
    client.use_structured()
    _, flags = struct.unpack(">QH", client.go("data")[0])
    assert flags & SEND_DF
    assert not flags & SEND_FAST_ZERO


def test_a_read_only_export_says_so(client: RawClient) -> None:
    size_bytes, flags = struct.unpack(">QH", client.go("frozen")[0])
    assert size_bytes == 3 * MIB
    assert flags & READ_ONLY
    assert flags & ROTATIONAL
    assert flags & MULTI
    assert not flags & (SEND_TRIM | SEND_ZEROES)


def test_name_and_description_come_when_asked_for(client: RawClient) -> None:
    infos = client.go("data", infos=(1, 2, 3, 99))
    assert infos[1] == b"data"
    assert infos[2] == b"The data"


def test_an_export_without_description_has_none(client: RawClient) -> None:
    assert 2 not in client.go("frozen", infos=(2,))


def test_info_tells_the_same_and_negotiation_goes_on(client: RawClient) -> None:
    asked = client.option(nbd.INFO, info_data("data", (1, 2)))
    assert kinds(asked) == [nbd.REP_INFO] * 4 + [nbd.ACK]
    assert client.option(nbd.GO, info_data("data", (1, 2))) == asked
    assert client.read(0, 4) == bytes(4)


@pytest.mark.parametrize("option", [nbd.INFO, nbd.GO])
@pytest.mark.parametrize("name", ["absent", "", "Data", "data/"])
def test_an_unknown_export_is_err_unknown(client: RawClient, option: int, name: str) -> None:
    [(kind, message)] = client.option(option, info_data(name))
    assert kind == nbd.ERR_UNKNOWN
    assert repr(name) in message.decode()
    client.go("data")


MALFORMED_INFO = {
    "nothing": b"",
    "half a length": b"\0\0",
    "name longer than the data": struct.pack(">I", 50) + b"data\0\0",
    "no count": struct.pack(">I", 4) + b"data",
    "count too high": struct.pack(">I", 4) + b"data" + struct.pack(">HH", 2, 1),
    "bytes behind": info_data("data") + b"!",
    "name not UTF-8": struct.pack(">I", 2) + b"\xff\xfe" + b"\0\0",
    "name with NUL": info_data("da\0a"),
    "name too long": struct.pack(">I", 5000) + b"n" * 5000 + b"\0\0",
}


@pytest.mark.parametrize("option", [nbd.INFO, nbd.GO])
@pytest.mark.parametrize("data", MALFORMED_INFO.values(), ids=MALFORMED_INFO.keys())
def test_malformed_info_is_err_invalid(client: RawClient, option: int, data: bytes) -> None:
    assert kinds(client.option(option, data)) == [nbd.ERR_INVALID]
    client.go("data")


def test_a_single_export_is_the_default_and_tells_its_name() -> None:
    with serving(exports={"only": Export(memory())}) as server, RawClient(server.address) as client:
        assert client.go("", infos=(1,))[1] == b"only"


def test_a_name_of_any_unicode_is_found() -> None:
    name = "vol/größe 東京 ✓"
    with serving(exports={name: Export(memory())}) as server, RawClient(server.address) as client:
        assert client.option(nbd.LIST)[0][1] == struct.pack(">I", len(name.encode())) + (
            name.encode()
        )
        client.go(name)


def test_an_odd_preferred_size_is_rounded_to_a_power_of_two() -> None:
    class Odd(Passthrough):
        @property
        def geometry(self) -> Geometry:
            return Geometry(SIZE, preferred_bytes=3 * 4096)

    with serving(Odd(memory())) as server, RawClient(server.address) as client:
        assert struct.unpack(">III", client.go()[3])[1] == 16384


def test_metadata_needs_structured_replies(client: RawClient) -> None:
    for option in (nbd.LIST_META, nbd.SET_META):
        assert kinds(client.option(option, meta_data("data"))) == [nbd.ERR_INVALID]
    client.go("data")


@pytest.mark.parametrize(
    ("queries", "listed", "selected"),
    [
        ((), True, False),
        (("base:allocation",), True, True),
        (("base:",), True, False),
        (("qemu:dirty-bitmap:x",), False, False),
        (("base:unknown", "base:allocation"), True, True),
        (("base:alloc",), False, False),
        (("",), False, False),
    ],
)
def test_metadata_queries(
    client: RawClient, queries: tuple[str, ...], listed: bool, selected: bool
) -> None:
    client.use_structured()
    found = client.option(nbd.LIST_META, meta_data("data", *queries))
    assert found[:-1] == [(nbd.REP_META, bytes(4) + b"base:allocation")] * listed
    chosen = client.option(nbd.SET_META, meta_data("data", *queries))
    assert chosen[-1] == (nbd.ACK, b"")
    assert len(chosen[:-1]) == selected
    assert all(data[4:] == b"base:allocation" for _, data in chosen[:-1])
    client.go("data")
    assert client.ask(nbd.BLOCK_STATUS, 0, 512).error == (0 if selected else nbd.EINVAL)


def test_metadata_of_an_unknown_export_is_err_unknown(client: RawClient) -> None:
    client.use_structured()
    for option in (nbd.LIST_META, nbd.SET_META):
        data = meta_data("absent", "base:allocation")
        assert kinds(client.option(option, data)) == [nbd.ERR_UNKNOWN]


MALFORMED_META = {
    "nothing": b"",
    "no count": struct.pack(">I", 4) + b"data",
    "count too high": struct.pack(">I", 4) + b"data" + struct.pack(">I", 0xFFFFFFFF),
    "query cut off": struct.pack(">I", 4) + b"data" + struct.pack(">II", 1, 9) + b"base:",
    "bytes behind": meta_data("data", "base:allocation") + b"!",
}


@pytest.mark.parametrize("option", [nbd.LIST_META, nbd.SET_META])
@pytest.mark.parametrize("data", MALFORMED_META.values(), ids=MALFORMED_META.keys())
def test_malformed_metadata_is_err_invalid(client: RawClient, option: int, data: bytes) -> None:
    client.use_structured()
    assert kinds(client.option(option, data)) == [nbd.ERR_INVALID]


def test_a_context_set_for_one_export_does_not_hold_for_another(client: RawClient) -> None:
    client.use_structured()
    client.set_allocation("data")
    client.go("frozen")
    assert client.ask(nbd.BLOCK_STATUS, 0, 512).error == nbd.EINVAL


def test_setting_contexts_again_replaces_them_even_when_it_fails(client: RawClient) -> None:
    client.use_structured()
    client.set_allocation("data")
    client.option(nbd.SET_META, b"junk")
    client.go("data")
    assert client.ask(nbd.BLOCK_STATUS, 0, 512).error == nbd.EINVAL


def test_the_default_export_is_meant_by_both_names() -> None:
    with serving(exports={"only": Export(memory())}) as server, RawClient(server.address) as client:
        client.use_structured()
        client.set_allocation("")
        client.go("only")
        assert client.ask(nbd.BLOCK_STATUS, 0, SIZE).runs == [(SIZE, 3)]


def test_an_option_too_large_is_read_away_and_refused(client: RawClient) -> None:
    assert kinds(client.option(nbd.GO, bytes(70_000))) == [nbd.ERR_TOO_BIG]
    client.go("data")


def test_an_option_of_gigabytes_ends_the_session(client: RawClient) -> None:
    client.sock.sendall(struct.pack(">8sII", b"IHAVEOPT", nbd.GO, 0xFFFFFFFF))
    assert client.is_cut()


def test_an_option_without_its_magic_ends_the_session(client: RawClient) -> None:
    client.sock.sendall(struct.pack(">8sII", b"NBDMAGIC", nbd.LIST, 0))
    assert client.is_cut()


def test_options_without_end_end_the_session() -> None:
    with serving(memory(), limits=NbdLimits(options=5)) as server:
        with RawClient(server.address) as client:
            for _ in range(5):
                client.option(nbd.LIST)
            assert client.is_cut()
        with RawClient(server.address) as client:
            client.go()


def test_a_handshake_that_stalls_is_ended() -> None:
    with serving(memory(), limits=NbdLimits(handshake_s=1.0)) as server:
        with RawClient(server.address, client_flags=None) as silent:
            assert silent.is_cut()
        with RawClient(server.address) as slow:
            slow.sock.sendall(b"IHAVE")
            assert slow.is_cut()
