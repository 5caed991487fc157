"""What an NBD server allows its clients: every bound and deadline in one place."""

from __future__ import annotations

from dataclasses import dataclass

KIB = 1024
MIB = 1024 * KIB


@dataclass(frozen=True, slots=True)
class NbdLimits:
    """Bounds of an NBD server; the first five are each client's own.

    `payload_bytes`: of one read or write.  32 MiB is what the protocol's document tells
    clients to expect where nothing else was negotiated.
    `requests_in_flight`, `bytes_in_flight`: being worked on; further ones wait in the
    socket.  A connection has up to as many threads, made when they are first needed.
    `handshake_s`: until an export has been chosen.
    `stall_s`: how long a request begun may not go on, or a reply not be taken.  Between
    requests a client may be silent for as long as it likes.
    `options`, `option_bytes`: during the handshake.
    `connections`: at once, of all clients; one more is closed as soon as it comes.
    `shutdown_s`: for requests at work to end when the server stops.
    `descriptors`: runs in one block status reply.
    `hole_lookup_bytes`: reads shorter than this are sent whole, holes and all: looking
    for them would take longer than sending them.
    """

    payload_bytes: int = 32 * MIB
    requests_in_flight: int = 64
    bytes_in_flight: int = 64 * MIB
    handshake_s: float = 10.0
    stall_s: float = 60.0
    options: int = 256
    option_bytes: int = 64 * KIB
    connections: int = 64
    shutdown_s: float = 10.0
    descriptors: int = 4096
    hole_lookup_bytes: int = 64 * KIB

    def __post_init__(self) -> None:
        if self.bytes_in_flight < self.payload_bytes:
            raise ValueError(
                f"bytes_in_flight {self.bytes_in_flight} is less than one payload of "
                f"{self.payload_bytes} bytes, which could never be taken"
            )
