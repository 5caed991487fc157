"""The bytes of the NBD protocol: numbers, headers and replies, without a socket or a device.

Source of every number and rule: the protocol's own document, ``doc/proto.md`` of
https://github.com/NetworkBlockDevice/nbd.  Everything is big-endian.  What that document
calls NBD_OPT_GO is `OPT_GO` here, and so on.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

INIT_MAGIC: Final = 0x4E42444D41474943  # "NBDMAGIC"
OPTION_MAGIC: Final = 0x49484156454F5054  # "IHAVEOPT"
OPTION_REPLY_MAGIC: Final = 0x0003E889045565A9
REQUEST_MAGIC: Final = 0x25609513
SIMPLE_REPLY_MAGIC: Final = 0x67446698
STRUCTURED_REPLY_MAGIC: Final = 0x668E33EF

# Handshake flags of the server, and the same bits as the client's answer.
FLAG_FIXED_NEWSTYLE: Final = 1
FLAG_NO_ZEROES: Final = 2

OPT_EXPORT_NAME: Final = 1
OPT_ABORT: Final = 2
OPT_LIST: Final = 3
OPT_STARTTLS: Final = 5
OPT_INFO: Final = 6
OPT_GO: Final = 7
OPT_STRUCTURED_REPLY: Final = 8
OPT_LIST_META_CONTEXT: Final = 9
OPT_SET_META_CONTEXT: Final = 10

REP_ACK: Final = 1
REP_SERVER: Final = 2
REP_INFO: Final = 3
REP_META_CONTEXT: Final = 4
_REP_ERROR: Final = 1 << 31
REP_ERR_UNSUP: Final = _REP_ERROR + 1
REP_ERR_INVALID: Final = _REP_ERROR + 3
REP_ERR_UNKNOWN: Final = _REP_ERROR + 6
REP_ERR_SHUTDOWN: Final = _REP_ERROR + 7
REP_ERR_TOO_BIG: Final = _REP_ERROR + 9

INFO_EXPORT: Final = 0
INFO_NAME: Final = 1
INFO_DESCRIPTION: Final = 2
INFO_BLOCK_SIZE: Final = 3

# Transmission flags.
FLAG_HAS_FLAGS: Final = 1 << 0
FLAG_READ_ONLY: Final = 1 << 1
FLAG_SEND_FLUSH: Final = 1 << 2
FLAG_SEND_FUA: Final = 1 << 3
FLAG_ROTATIONAL: Final = 1 << 4
FLAG_SEND_TRIM: Final = 1 << 5
FLAG_SEND_WRITE_ZEROES: Final = 1 << 6
FLAG_SEND_DF: Final = 1 << 7
FLAG_CAN_MULTI_CONN: Final = 1 << 8
FLAG_SEND_CACHE: Final = 1 << 10

CMD_READ: Final = 0
CMD_WRITE: Final = 1
CMD_DISC: Final = 2
CMD_FLUSH: Final = 3
CMD_TRIM: Final = 4
CMD_CACHE: Final = 5
CMD_WRITE_ZEROES: Final = 6
CMD_BLOCK_STATUS: Final = 7

CMD_FLAG_FUA: Final = 1 << 0
CMD_FLAG_NO_HOLE: Final = 1 << 1
CMD_FLAG_DF: Final = 1 << 2
CMD_FLAG_REQ_ONE: Final = 1 << 3
CMD_FLAG_FAST_ZERO: Final = 1 << 4

CHUNK_DONE: Final = 1  # the only flag of a structured reply
CHUNK_NONE: Final = 0
CHUNK_OFFSET_DATA: Final = 1
CHUNK_OFFSET_HOLE: Final = 2
CHUNK_BLOCK_STATUS: Final = 5
CHUNK_ERROR: Final = (1 << 15) + 1

# Error values: the protocol's own, whatever errno is on this machine.
EPERM: Final = 1
EIO: Final = 5
EINVAL: Final = 22
ENOSPC: Final = 28
EOVERFLOW: Final = 75
ESHUTDOWN: Final = 108

ALLOCATION_CONTEXT: Final = "base:allocation"
ALLOCATION_ID: Final = 1
"""The number under which block status of `ALLOCATION_CONTEXT` is sent; any would do."""
STATE_HOLE: Final = 1
STATE_ZERO: Final = 2

MAX_STRING_BYTES: Final = 4096
"""No string of the protocol may be longer."""

GREETING: Final = struct.Struct(">QQH")
OPTION_HEADER: Final = struct.Struct(">QII")
OPTION_REPLY_HEADER: Final = struct.Struct(">QIII")
REQUEST_HEADER: Final = struct.Struct(">IHHQQI")
SIMPLE_REPLY: Final = struct.Struct(">IIQ")
CHUNK_HEADER: Final = struct.Struct(">IHHQI")
DATA_CHUNK: Final = struct.Struct(">IHHQIQ")
HOLE_CHUNK: Final = struct.Struct(">IHHQIQI")
U16: Final = struct.Struct(">H")
U32: Final = struct.Struct(">I")
_EXPORT_INFO: Final = struct.Struct(">HQH")
_BLOCK_SIZE_INFO: Final = struct.Struct(">HIII")
_EXPORT_REPLY: Final = struct.Struct(">QH")
_ERROR_PAYLOAD: Final = struct.Struct(">IH")
_DESCRIPTOR: Final = struct.Struct(">II")


class NbdProtocolError(Exception):
    """The other side broke a rule of the protocol; the connection is of no more use."""


class MalformedOptionError(Exception):
    """The data of an option do not read as what they should be; negotiation goes on."""


class Request(NamedTuple):
    """A request's header after its magic; `cookie` is sent back with the reply."""

    flags: int
    command: int
    cookie: int
    offset_bytes: int
    length_bytes: int


class InfoRequest(NamedTuple):
    """What OPT_INFO and OPT_GO carry: an export's name, and what is asked of it."""

    name: str
    wanted: frozenset[int]


class MetaRequest(NamedTuple):
    """What the two META_CONTEXT options carry."""

    name: str
    queries: tuple[str, ...]


class _Fields:
    """Reads an option's data from left to right."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def number(self, kind: struct.Struct) -> int:
        value: int = kind.unpack(self._take(kind.size))[0]
        return value

    def string(self) -> str:
        length_bytes = self.number(U32)
        if length_bytes > MAX_STRING_BYTES:
            raise MalformedOptionError(f"a string of {length_bytes} bytes; {MAX_STRING_BYTES} fit")
        return text_of(self._take(length_bytes))

    def end(self) -> None:
        if self._at != len(self._data):
            raise MalformedOptionError(f"{len(self._data) - self._at} bytes too many")

    def _take(self, length_bytes: int) -> bytes:
        start, self._at = self._at, self._at + length_bytes
        if self._at > len(self._data):
            raise MalformedOptionError("the data end too early")
        return self._data[start : self._at]


def text_of(data: bytes) -> str:
    """A string of the protocol.

    Raises:
        MalformedOptionError: it is not UTF-8, or has a NUL in it.
    """
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise MalformedOptionError("a string is not UTF-8") from None
    if "\0" in text:
        raise MalformedOptionError("a string has a NUL in it")
    return text


def parse_info_request(data: bytes) -> InfoRequest:
    """Read the data of OPT_INFO or OPT_GO.

    Raises:
        MalformedOptionError: they are not such data.
    """
    fields = _Fields(data)
    name = fields.string()
    wanted = frozenset(fields.number(U16) for _ in range(fields.number(U16)))
    fields.end()
    return InfoRequest(name, wanted)


def parse_meta_request(data: bytes) -> MetaRequest:
    """Read the data of OPT_LIST_META_CONTEXT or OPT_SET_META_CONTEXT.

    Raises:
        MalformedOptionError: they are not such data.
    """
    fields = _Fields(data)
    name = fields.string()
    count = fields.number(U32)
    if count > len(data) // U32.size:
        raise MalformedOptionError(f"{count} queries do not fit in {len(data)} bytes")
    queries = tuple(fields.string() for _ in range(count))
    fields.end()
    return MetaRequest(name, queries)


def option_reply(option: int, kind: int, data: bytes = b"") -> bytes:
    """A reply to an option, whole."""
    return OPTION_REPLY_HEADER.pack(OPTION_REPLY_MAGIC, option, kind, len(data)) + data


def server_reply(name: str, description: str) -> bytes:
    """The data of REP_SERVER: one export of a list."""
    encoded = name.encode()
    return U32.pack(len(encoded)) + encoded + description.encode()


def export_info(size_bytes: int, flags: int) -> bytes:
    """The data of REP_INFO that say how large an export is and what it can do."""
    return _EXPORT_INFO.pack(INFO_EXPORT, size_bytes, flags)


def text_info(kind: int, text: str) -> bytes:
    """The data of REP_INFO for INFO_NAME or INFO_DESCRIPTION."""
    return U16.pack(kind) + text.encode()


def block_size_info(minimum_bytes: int, preferred_bytes: int, maximum_bytes: int) -> bytes:
    """The data of REP_INFO about request sizes; the first two are powers of two."""
    return _BLOCK_SIZE_INFO.pack(INFO_BLOCK_SIZE, minimum_bytes, preferred_bytes, maximum_bytes)


def export_name_reply(size_bytes: int, flags: int, *, zeroes: bool) -> bytes:
    """The answer to OPT_EXPORT_NAME; `zeroes` unless the client can do without them."""
    return _EXPORT_REPLY.pack(size_bytes, flags) + (bytes(124) if zeroes else b"")


def meta_context_reply(context_id: int, name: str) -> bytes:
    """The data of REP_META_CONTEXT."""
    return U32.pack(context_id) + name.encode()


def error_chunk(cookie: int, error: int, message: str) -> bytes:
    """The last chunk of a structured reply that failed, with a sentence for a human."""
    text = message.encode()[:MAX_STRING_BYTES]
    payload = _ERROR_PAYLOAD.pack(error, len(text)) + text
    head = (STRUCTURED_REPLY_MAGIC, CHUNK_DONE, CHUNK_ERROR, cookie, len(payload))
    return CHUNK_HEADER.pack(*head) + payload


def block_status_chunk(cookie: int, runs: Sequence[tuple[int, int]]) -> bytes:
    """The whole of a block status reply: `runs` of length in bytes and STATE bits."""
    payload = U32.pack(ALLOCATION_ID) + b"".join(_DESCRIPTOR.pack(*run) for run in runs)
    head = (STRUCTURED_REPLY_MAGIC, CHUNK_DONE, CHUNK_BLOCK_STATUS, cookie, len(payload))
    return CHUNK_HEADER.pack(*head) + payload


def matching_contexts(queries: Sequence[str], *, listing: bool) -> Iterator[str]:
    """Which metadata contexts the queries select; there is one in all.

    A list takes no query for all of them and ``base:`` for those of that namespace; to
    set one it has to be named.
    """
    selecting = {ALLOCATION_CONTEXT, *(("base:",) if listing else ())}
    if (listing and not queries) or selecting.intersection(queries):
        yield ALLOCATION_CONTEXT
