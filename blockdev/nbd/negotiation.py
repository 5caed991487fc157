"""The handshake: fixed newstyle negotiation, from the greeting to the choice of an export.

A client sends options one after another and waits for the answer to each, so this is a
plain loop on one thread.  What is wrong within an option is answered with an error and
negotiation goes on; what breaks the framing ends the connection.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol, TypeAlias

from blockdev.nbd import protocol
from blockdev.nbd.exports import Export, Exports
from blockdev.nbd.limits import NbdLimits

_DRAIN_BYTES: Final = 1024 * 1024
"""An option longer than allowed is read away up to here, to be answered; beyond, it is abuse."""

_PIECE_BYTES: Final = 64 * 1024


class Wire(Protocol):
    """The connection as negotiation sees it; both raise when the deadline is over."""

    def receive(self, length_bytes: int) -> bytes:
        """Exactly so many bytes."""
        ...

    def send(self, data: bytes) -> None:
        """All of `data`."""
        ...


@dataclass(frozen=True, slots=True)
class Agreement:
    """What was negotiated.  `allocation`: block status of base:allocation may be asked."""

    name: str
    export: Export
    structured: bool
    allocation: bool


class _Aborted(Exception):
    """The client has ended the negotiation."""


class _Refused(Exception):
    """An option cannot be granted; `kind` is the error reply."""

    def __init__(self, kind: int, message: str) -> None:
        super().__init__(message)
        self.kind = kind


_Handler: TypeAlias = Callable[[int, bytes], Agreement | None]


class Negotiation:
    """One client's handshake."""

    def __init__(self, wire: Wire, exports: Exports, limits: NbdLimits) -> None:
        self._wire = wire
        self._exports = exports
        self._limits = limits
        self._send_zeroes = True
        self._structured = False
        self._allocation_of: str | None = None
        self._handlers: dict[int, _Handler] = {
            protocol.OPT_EXPORT_NAME: self._export_name,
            protocol.OPT_ABORT: self._abort,
            protocol.OPT_LIST: self._list,
            protocol.OPT_STARTTLS: self._start_tls,
            protocol.OPT_INFO: self._info,
            protocol.OPT_GO: self._go,
            protocol.OPT_STRUCTURED_REPLY: self._structured_reply,
            protocol.OPT_LIST_META_CONTEXT: self._list_meta_context,
            protocol.OPT_SET_META_CONTEXT: self._set_meta_context,
        }

    def run(self) -> Agreement | None:
        """Negotiate; None when the client has ended it without choosing an export.

        Raises:
            NbdProtocolError: the client does not speak this protocol, or asks too much.
        """
        self._greet()
        try:
            for _ in range(self._limits.options):
                if (agreement := self._option()) is not None:
                    return agreement
        except _Aborted:
            return None
        raise protocol.NbdProtocolError(f"more than {self._limits.options} options")

    def _greet(self) -> None:
        offered = protocol.FLAG_FIXED_NEWSTYLE | protocol.FLAG_NO_ZEROES
        self._wire.send(protocol.GREETING.pack(protocol.INIT_MAGIC, protocol.OPTION_MAGIC, offered))
        (taken,) = protocol.U32.unpack(self._wire.receive(protocol.U32.size))
        if taken & ~offered:
            raise protocol.NbdProtocolError(f"unknown client flags {taken:#x}")
        self._send_zeroes = not taken & protocol.FLAG_NO_ZEROES

    def _option(self) -> Agreement | None:
        header = self._wire.receive(protocol.OPTION_HEADER.size)
        magic, option, length_bytes = protocol.OPTION_HEADER.unpack(header)
        if magic != protocol.OPTION_MAGIC:
            raise protocol.NbdProtocolError(f"an option begins with {magic:#x}")
        try:
            data = self._data(length_bytes)
            handler = self._handlers.get(option)
            if handler is None:
                raise _Refused(protocol.REP_ERR_UNSUP, f"option {option} is not known here")
            return handler(option, data)
        except protocol.MalformedOptionError as error:
            self._refuse(option, protocol.REP_ERR_INVALID, str(error))
        except _Refused as error:
            self._refuse(option, error.kind, str(error))
        return None

    def _data(self, length_bytes: int) -> bytes:
        if length_bytes <= self._limits.option_bytes:
            return self._wire.receive(length_bytes)
        if length_bytes > _DRAIN_BYTES:
            raise protocol.NbdProtocolError(f"an option of {length_bytes} bytes")
        for at in range(0, length_bytes, _PIECE_BYTES):
            self._wire.receive(min(_PIECE_BYTES, length_bytes - at))
        raise _Refused(
            protocol.REP_ERR_TOO_BIG, f"an option has at most {self._limits.option_bytes} bytes"
        )

    def _refuse(self, option: int, kind: int, message: str) -> None:
        if option == protocol.OPT_EXPORT_NAME:  # the one option that has no error reply
            raise protocol.NbdProtocolError(f"EXPORT_NAME: {message}")
        self._reply(option, kind, message.encode())

    def _reply(self, option: int, kind: int, data: bytes = b"") -> None:
        self._wire.send(protocol.option_reply(option, kind, data))

    def _find(self, name: str) -> tuple[str, Export]:
        if (found := self._exports.find(name)) is None:
            raise _Refused(protocol.REP_ERR_UNKNOWN, f"there is no export {name!r}")
        return found

    def _agree(self, name: str, export: Export) -> Agreement:
        # A context was set for one export by name; with another it means nothing.
        allocation = self._structured and self._allocation_of == name
        return Agreement(name, export, self._structured, allocation)

    def _export_name(self, option: int, data: bytes) -> Agreement:
        name, export = self._find(protocol.text_of(data))
        flags = export.flags(structured=self._structured)
        size_bytes = export.device.geometry.size_bytes
        self._wire.send(protocol.export_name_reply(size_bytes, flags, zeroes=self._send_zeroes))
        return self._agree(name, export)

    def _abort(self, option: int, data: bytes) -> None:
        self._reply(option, protocol.REP_ACK)
        raise _Aborted

    def _list(self, option: int, data: bytes) -> None:
        _expect_no_data(data)
        for name, export in self._exports.items():
            entry = protocol.server_reply(name, export.description)
            self._reply(option, protocol.REP_SERVER, entry)
        self._reply(option, protocol.REP_ACK)

    def _start_tls(self, option: int, data: bytes) -> None:
        _expect_no_data(data)
        raise _Refused(protocol.REP_ERR_UNSUP, "this server has no TLS; use a Unix socket or SSH")

    def _info(self, option: int, data: bytes) -> None:
        self._describe(option, data)

    def _go(self, option: int, data: bytes) -> Agreement:
        name, export = self._describe(option, data)
        return self._agree(name, export)

    def _describe(self, option: int, data: bytes) -> tuple[str, Export]:
        request = protocol.parse_info_request(data)
        name, export = self._find(request.name)
        size_bytes = export.device.geometry.size_bytes
        flags = export.flags(structured=self._structured)
        # Sizes are sent unasked, as the document allows: a client that knows them obeys them.
        infos = [
            protocol.export_info(size_bytes, flags),
            protocol.block_size_info(1, export.preferred_bytes(), self._limits.payload_bytes),
        ]
        if protocol.INFO_NAME in request.wanted:
            infos.append(protocol.text_info(protocol.INFO_NAME, name))
        if protocol.INFO_DESCRIPTION in request.wanted and export.description:
            infos.append(protocol.text_info(protocol.INFO_DESCRIPTION, export.description))
        for info in infos:
            self._reply(option, protocol.REP_INFO, info)
        self._reply(option, protocol.REP_ACK)
        return name, export

    def _structured_reply(self, option: int, data: bytes) -> None:
        _expect_no_data(data)
        self._structured = True
        self._reply(option, protocol.REP_ACK)

    def _list_meta_context(self, option: int, data: bytes) -> None:
        request, _ = self._meta_request(data)
        for context in protocol.matching_contexts(request.queries, listing=True):
            reply = protocol.meta_context_reply(0, context)
            self._reply(option, protocol.REP_META_CONTEXT, reply)
        self._reply(option, protocol.REP_ACK)

    def _set_meta_context(self, option: int, data: bytes) -> None:
        self._allocation_of = None  # whatever comes of this, the earlier choice is void
        request, name = self._meta_request(data)
        for context in protocol.matching_contexts(request.queries, listing=False):
            self._allocation_of = name
            reply = protocol.meta_context_reply(protocol.ALLOCATION_ID, context)
            self._reply(option, protocol.REP_META_CONTEXT, reply)
        self._reply(option, protocol.REP_ACK)

    def _meta_request(self, data: bytes) -> tuple[protocol.MetaRequest, str]:
        if not self._structured:
            raise _Refused(protocol.REP_ERR_INVALID, "ask for structured replies first")
        request = protocol.parse_meta_request(data)
        name, _ = self._find(request.name)
        return request, name


def _expect_no_data(data: bytes) -> None:
    if data:
        raise protocol.MalformedOptionError("this option has no data")
