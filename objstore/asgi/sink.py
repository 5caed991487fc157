"""Reads a body from the socket straight into the application's buffer."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from objstore.asgi.protocol import FrontProtocol


class BodySink(asyncio.BufferedProtocol):
    """Stands in for a `FrontProtocol` on its transport while a large body comes in.

    The usual way copies every byte twice on the way from the socket to a block: into a
    `bytes` for `data_received`, and from there into the block.  At a gigabyte per second
    that is a fifth of a core.  All but the bytes themselves is passed on to the protocol.
    """

    def __init__(self, protocol: FrontProtocol) -> None:
        self._protocol = protocol

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where the next bytes go; the protocol has stopped reading when there is no room."""
        return self._protocol.body_room()

    def buffer_updated(self, nbytes: int) -> None:
        """Bytes have come."""
        self._protocol.body_received(nbytes)

    def eof_received(self) -> bool | None:
        """The client has sent all it will; see `FrontProtocol`."""
        return self._protocol.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        self._protocol.connection_lost(exc)

    def pause_writing(self) -> None:
        """The client does not keep up."""
        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        """The client has caught up."""
        self._protocol.resume_writing()
