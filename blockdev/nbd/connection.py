"""One client from its first byte to its last: handshake, then transmission."""

from __future__ import annotations

import logging
import socket
import struct
import threading
from contextlib import suppress

from blockdev.clock import Clock
from blockdev.nbd.buffers import ConnectionLostError
from blockdev.nbd.exports import Exports
from blockdev.nbd.limits import NbdLimits
from blockdev.nbd.negotiation import Negotiation
from blockdev.nbd.protocol import NbdProtocolError
from blockdev.nbd.transmission import Transmission

logger = logging.getLogger(__name__)


class _HandshakeWire:
    """The socket during the handshake, with one deadline for all of it."""

    def __init__(self, sock: socket.socket, clock: Clock, timeout_s: float) -> None:
        self._sock, self._clock = sock, clock
        self._deadline_ns = clock.monotonic_ns() + int(timeout_s * 1e9)

    def receive(self, length_bytes: int) -> bytes:
        data = bytearray()
        while len(data) < length_bytes:
            self._arm()
            piece = self._sock.recv(length_bytes - len(data))
            if not piece:
                raise ConnectionLostError("the client left during the handshake")
            data += piece
        return bytes(data)

    def send(self, data: bytes) -> None:
        self._arm()
        self._sock.sendall(data)

    def _arm(self) -> None:
        left_ns = self._deadline_ns - self._clock.monotonic_ns()
        if left_ns <= 0:
            raise TimeoutError("the handshake took too long")
        self._sock.settimeout(left_ns / 1e9)


class Connection:
    """A client; `run` serves it and closes its socket, `stop` and `abort` may come any time."""

    def __init__(
        self,
        sock: socket.socket,
        exports: Exports,
        limits: NbdLimits,
        clock: Clock,
        peer: str,
    ) -> None:
        self._sock = sock
        self._exports = exports
        self._limits = limits
        self._clock = clock
        self._peer = peer
        self._lock = threading.Lock()
        self._transmission: Transmission | None = None
        self._stopping = False

    def run(self) -> None:
        """Serve until the client leaves; whatever goes wrong is this client's alone."""
        try:
            self._serve()
        except NbdProtocolError as error:
            logger.warning("%s: broke the protocol: %s", self._peer, error)
        except ConnectionLostError as error:
            logger.info("%s: lost: %s", self._peer, error)
        except OSError as error:  # of the handshake: timeouts and resets
            logger.info("%s: lost: %s", self._peer, error)
        except Exception:
            logger.exception("%s: the connection failed", self._peer)
        finally:
            self._sock.close()

    def stop(self) -> None:
        """Begin nothing new; what is at work is done and answered."""
        with self._lock:
            self._stopping = True
            transmission = self._transmission
        if transmission is not None:
            transmission.stop()
        else:
            self.abort()

    def abort(self) -> None:
        """Cut the connection."""
        with suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)

    def _serve(self) -> None:
        wire = _HandshakeWire(self._sock, self._clock, self._limits.handshake_s)
        agreement = Negotiation(wire, self._exports, self._limits).run()
        if agreement is None:
            return
        logger.info("%s: has export %r", self._peer, agreement.name)
        self._prepare_socket()
        name = f"nbd {self._peer} {agreement.name}"
        transmission = Transmission(self._sock, agreement, self._limits, self._clock, name)
        with self._lock:
            self._transmission = transmission
            if self._stopping:
                return
        transmission.run()
        logger.info("%s: has left export %r", self._peer, agreement.name)

    def _prepare_socket(self) -> None:
        """Blocking, with deadlines that the kernel keeps: no call more for each request."""
        self._sock.settimeout(None)
        seconds = int(self._limits.stall_s)
        stall = struct.pack("@ll", seconds, int((self._limits.stall_s - seconds) * 1e6))
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, stall)
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, stall)
        if self._sock.family != socket.AF_UNIX:
            self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
