"""An NBD client for tests: bytes written and read by hand, and a device on top of it.

It shares no constant and no code with the server, so that a wrong number there is seen.
"""

from __future__ import annotations

import itertools
import socket
import struct
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

from blockdev.device import Buffer, Extent, Geometry, byte_view, check_range
from blockdev.errors import DeviceClosedError, DeviceFullError, DeviceIOError, OutOfRangeError
from blockdev.nbd import Address, TcpAddress

TIMEOUT_S = 30.0

EXPORT_NAME, ABORT, LIST, STARTTLS, INFO, GO, STRUCTURED, LIST_META, SET_META = (
    1, 2, 3, 5, 6, 7, 8, 9, 10,
)  # fmt: skip
ACK, SERVER, REP_INFO, REP_META = 1, 2, 3, 4
ERR_UNSUP, ERR_INVALID, ERR_UNKNOWN, ERR_TOO_BIG = (
    0x80000001, 0x80000003, 0x80000006, 0x80000009,
)  # fmt: skip
READ, WRITE, DISC, FLUSH, TRIM, CACHE, WRITE_ZEROES, BLOCK_STATUS = range(8)
FUA, NO_HOLE, DF, REQ_ONE, FAST_ZERO = 1, 2, 4, 8, 16
EPERM, EIO, EINVAL, ENOSPC, ESHUTDOWN = 1, 5, 22, 28, 108


@dataclass
class Reply:
    """What came back for one request.  `chunks` are type and payload; empty if it was simple."""

    cookie: int
    error: int = 0
    message: str = ""
    data: bytes = b""
    runs: list[tuple[int, int]] = field(default_factory=list)
    chunks: list[tuple[int, bytes]] = field(default_factory=list)


class RawClient:
    """One connection; every call that waits has a deadline."""

    def __init__(self, address: Address, *, client_flags: int | None = 3) -> None:
        self.sock = connect(address)
        self.structured = False
        self._cookies = itertools.count(1)
        self._pending: dict[int, tuple[int, int, int]] = {}
        self._partial: dict[int, Reply] = {}
        magic, option_magic, self.server_flags = struct.unpack(">8s8sH", self.receive(18))
        assert (magic, option_magic) == (b"NBDMAGIC", b"IHAVEOPT")
        if client_flags is not None:
            self.sock.sendall(struct.pack(">I", client_flags))

    def __enter__(self) -> RawClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()

    def receive(self, length_bytes: int) -> bytes:
        data = bytearray()
        while len(data) < length_bytes:
            piece = self.sock.recv(length_bytes - len(data))
            if not piece:
                raise EOFError(f"the server left after {len(data)} of {length_bytes} bytes")
            data += piece
        return bytes(data)

    def is_cut(self) -> bool:
        """Whether the server ends the connection, within the deadline."""
        try:
            return self.sock.recv(1) == b""
        except ConnectionError:
            return True

    # Negotiation

    def send_option(self, option: int, data: bytes = b"") -> None:
        self.sock.sendall(struct.pack(">8sII", b"IHAVEOPT", option, len(data)) + data)

    def option(self, option: int, data: bytes = b"") -> list[tuple[int, bytes]]:
        """Send an option; all replies up to the one that ends them."""
        self.send_option(option, data)
        replies = []
        while True:
            magic, number, kind, length = struct.unpack(">QIII", self.receive(20))
            assert (magic, number) == (0x3E889045565A9, option)
            replies.append((kind, self.receive(length)))
            if kind == ACK or kind & 0x80000000:
                return replies

    def export_name(self, name: str, *, zeroes: bool = False) -> tuple[int, int]:
        """Size and transmission flags."""
        self.send_option(EXPORT_NAME, name.encode())
        size_bytes, flags = struct.unpack(">QH", self.receive(10))
        if zeroes:
            assert self.receive(124) == bytes(124)
        return size_bytes, flags

    def go(self, name: str = "", infos: tuple[int, ...] = ()) -> dict[int, bytes]:
        """Enter transmission; what the server told, by kind of information."""
        replies = self.option(GO, info_data(name, infos))
        assert replies.pop() == (ACK, b"")
        assert all(kind == REP_INFO for kind, _ in replies)
        return {struct.unpack(">H", data[:2])[0]: data[2:] for _, data in replies}

    def use_structured(self) -> None:
        assert self.option(STRUCTURED) == [(ACK, b"")]
        self.structured = True

    def set_allocation(self, name: str = "") -> None:
        replies = self.option(SET_META, meta_data(name, "base:allocation"))
        assert [kind for kind, _ in replies] == [REP_META, ACK]

    # Transmission

    def send(
        self,
        command: int,
        offset_bytes: int = 0,
        length_bytes: int = 0,
        *,
        flags: int = 0,
        payload: bytes | memoryview = b"",
    ) -> int:
        """Send a request without waiting; returns its cookie."""
        cookie = next(self._cookies)
        length_bytes = len(payload) or length_bytes
        head = struct.pack(
            ">IHHQQI", 0x25609513, flags, command, cookie, offset_bytes, length_bytes
        )
        self._pending[cookie] = (command, offset_bytes, length_bytes)
        self.sock.sendall(head + payload)
        return cookie

    def reply(self) -> Reply:
        """The next reply that is complete, to whichever request."""
        while True:
            (magic,) = struct.unpack(">I", self.receive(4))
            if magic == 0x67446698:
                return self._simple()
            assert magic == 0x668E33EF, hex(magic)
            assert self.structured
            if (reply := self._chunk()) is not None:
                return reply

    def ask(
        self,
        command: int,
        offset_bytes: int = 0,
        length_bytes: int = 0,
        *,
        flags: int = 0,
        payload: bytes | memoryview = b"",
    ) -> Reply:
        """Send a request and wait for its reply, the only one under way."""
        cookie = self.send(command, offset_bytes, length_bytes, flags=flags, payload=payload)
        reply = self.reply()
        assert reply.cookie == cookie
        return reply

    def read(self, offset_bytes: int, length_bytes: int, *, flags: int = 0) -> bytes:
        reply = self.ask(READ, offset_bytes, length_bytes, flags=flags)
        assert reply.error == 0, reply
        return reply.data

    def write(self, offset_bytes: int, data: bytes, *, flags: int = 0) -> None:
        reply = self.ask(WRITE, offset_bytes, flags=flags, payload=data)
        assert reply.error == 0, reply

    def _simple(self) -> Reply:
        error, cookie = struct.unpack(">IQ", self.receive(12))
        command, _, length_bytes = self._pending.pop(cookie)
        reply = Reply(cookie, error)
        if command == READ:
            assert not self.structured, "a read has to be answered in chunks"
            reply.data = self.receive(length_bytes) if error == 0 else b""
        return reply

    def _chunk(self) -> Reply | None:
        flags, kind, cookie, length = struct.unpack(">HHQI", self.receive(16))
        payload = self.receive(length)
        command, offset_bytes, length_bytes = self._pending[cookie]
        reply = self._partial.setdefault(cookie, Reply(cookie))
        reply.chunks.append((kind, payload))
        if kind & 0x8000:
            reply.error, size = struct.unpack(">IH", payload[:6])
            reply.message = payload[6 : 6 + size].decode()
        elif kind == 5:
            assert command == BLOCK_STATUS
            reply.runs = list(struct.iter_unpack(">II", payload[4:]))
        if not flags & 1:
            return None
        del self._pending[cookie], self._partial[cookie]
        if command == READ and not reply.error:
            reply.data = assemble(reply.chunks, offset_bytes, length_bytes)
        return reply


def connect(address: Address) -> socket.socket:
    """A connection with deadlines."""
    if isinstance(address, TcpAddress):
        return socket.create_connection((address.host, address.port), timeout=TIMEOUT_S)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.settimeout(TIMEOUT_S)
    sock.connect(str(address.path))
    return sock


def info_data(name: str, infos: tuple[int, ...] = ()) -> bytes:
    encoded = name.encode()
    numbers = struct.pack(f">H{len(infos)}H", len(infos), *infos)
    return struct.pack(">I", len(encoded)) + encoded + numbers


def meta_data(name: str, *queries: str) -> bytes:
    words = [struct.pack(">I", len(word.encode())) + word.encode() for word in (name, *queries)]
    return words[0] + struct.pack(">I", len(queries)) + b"".join(words[1:])


def assemble(chunks: list[tuple[int, bytes]], offset_bytes: int, length_bytes: int) -> bytes:
    """The bytes of a read from its chunks, which have to cover it once."""
    data = bytearray(length_bytes)
    covered = 0
    for kind, payload in chunks:
        if kind == 0:
            continue
        (at,) = struct.unpack(">Q", payload[:8])
        if kind == 1:
            assert len(payload) > 8
            piece = payload[8:]
        else:
            assert kind == 2
            assert len(payload) == 12
            piece = bytes(struct.unpack(">I", payload[8:])[0])
        assert at == offset_bytes + covered, "chunks that overlap, leave a gap or are out of order"
        data[covered : covered + len(piece)] = piece
        covered += len(piece)
    assert covered == length_bytes
    return bytes(data)


class NbdDevice:
    """An export as a `BlockDevice`; calls of several threads take turns."""

    LARGEST_BYTES = 8 * 1024 * 1024

    def __init__(self, address: Address, name: str = "") -> None:
        self._client = RawClient(address)
        self._client.use_structured()
        self._client.set_allocation(name)
        infos = self._client.go(name)
        size_bytes, _ = struct.unpack(">QH", infos[0])
        _, preferred_bytes, _ = struct.unpack(">III", infos[3])
        self._geometry = Geometry(size_bytes, preferred_bytes=preferred_bytes)
        self._lock = threading.Lock()
        self._closed = False

    @property
    def geometry(self) -> Geometry:
        return self._geometry

    def read_into(self, offset_bytes: int, buffer: bytearray | memoryview) -> None:
        view = byte_view(buffer)
        for at, piece_bytes in self._pieces(offset_bytes, len(view)):
            data = self._ask(READ, at, piece_bytes).data
            view[at - offset_bytes : at - offset_bytes + piece_bytes] = data

    def try_read_into(self, offset_bytes: int, buffer: bytearray | memoryview) -> bool:
        self.read_into(offset_bytes, buffer)
        return True

    def write(self, offset_bytes: int, data: Buffer, *, fua: bool = False) -> None:
        view = byte_view(data)
        for at, piece_bytes in self._pieces(offset_bytes, len(view)):
            piece = bytes(view[at - offset_bytes : at - offset_bytes + piece_bytes])
            self._ask(WRITE, at, payload=piece, flags=FUA if fua else 0)

    def write_zeroes(self, offset_bytes: int, length_bytes: int) -> None:
        for at, piece_bytes in self._pieces(offset_bytes, length_bytes):
            self._ask(WRITE_ZEROES, at, piece_bytes, flags=NO_HOLE)

    def discard(self, offset_bytes: int, length_bytes: int) -> None:
        for at, piece_bytes in self._pieces(offset_bytes, length_bytes):
            self._ask(TRIM, at, piece_bytes)

    def flush(self) -> None:
        self._ask(FLUSH)

    def extents(self, offset_bytes: int, length_bytes: int) -> Iterator[Extent]:
        self._check(offset_bytes, length_bytes)
        return self._extents(offset_bytes, offset_bytes + length_bytes)

    def close(self) -> None:
        with self._lock:
            if not self._closed:
                self._closed = True
                self._client.send(DISC)
                self._client.sock.close()

    def _extents(self, at: int, end_bytes: int) -> Iterator[Extent]:
        while at < end_bytes:
            runs = self._ask(BLOCK_STATUS, at, end_bytes - at).runs
            assert runs
            for length_bytes, state in runs:
                assert state in (0, 3)
                yield Extent(at, length_bytes, state == 0)
                at += length_bytes
            assert at <= end_bytes

    def _check(self, offset_bytes: int, length_bytes: int) -> None:
        if self._closed:
            raise DeviceClosedError("the connection is closed")
        check_range(self._geometry, offset_bytes, length_bytes)

    def _pieces(self, offset_bytes: int, length_bytes: int) -> list[tuple[int, int]]:
        self._check(offset_bytes, length_bytes)
        end_bytes = offset_bytes + length_bytes
        starts = range(offset_bytes, end_bytes, self.LARGEST_BYTES)
        return [(at, min(self.LARGEST_BYTES, end_bytes - at)) for at in starts]

    def _ask(
        self,
        command: int,
        offset_bytes: int = 0,
        length_bytes: int = 0,
        *,
        flags: int = 0,
        payload: bytes = b"",
    ) -> Reply:
        with self._lock:
            if self._closed:
                raise DeviceClosedError("the connection is closed")
            reply = self._client.ask(
                command, offset_bytes, length_bytes, flags=flags, payload=payload
            )
        if reply.error:
            kind = {ENOSPC: DeviceFullError, EINVAL: OutOfRangeError, ESHUTDOWN: DeviceClosedError}
            raise kind.get(reply.error, DeviceIOError)(reply.message)
        return reply
