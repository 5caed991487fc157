"""The server: listens, has a thread for each client, and stops in order."""

from __future__ import annotations

import logging
import select
import signal
import socket
import threading
from collections.abc import Mapping
from contextlib import suppress
from types import FrameType, TracebackType
from typing import Final

from blockdev.clock import Clock, SystemClock
from blockdev.device import BlockDevice
from blockdev.errors import DeviceClosedError
from blockdev.nbd.address import Address, TcpAddress, UnixAddress, listen
from blockdev.nbd.connection import Connection
from blockdev.nbd.exports import Export, Exports
from blockdev.nbd.limits import NbdLimits

logger = logging.getLogger(__name__)

_OUT_OF_FILES_PAUSE_NS: Final = 100_000_000


class NbdServer:
    """Serves devices over NBD from threads of this process; they stay the caller's to close.

    Use as a context manager, or `start` and `stop`.  `address` is where it listens.

    Raises:
        ListenError: `address` cannot be listened on.
        ValueError: there is no export, or a name that NBD cannot carry.
    """

    def __init__(
        self,
        exports: Mapping[str, Export],
        address: Address,
        *,
        limits: NbdLimits | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._exports = Exports(exports)
        self._limits = limits or NbdLimits()
        self._clock = clock or SystemClock()
        self._lock = threading.Lock()
        self._connections: dict[Connection, threading.Thread] = {}
        self._stopped = False
        self._listener, self.address = listen(address)
        self._listener.setblocking(False)
        self._wake, self._wakes = socket.socketpair()
        self._acceptor = threading.Thread(target=self._accept_all, name="nbd accept", daemon=True)

    def __enter__(self) -> NbdServer:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Begin to take connections."""
        self._acceptor.start()

    @property
    def connection_count(self) -> int:
        """Clients connected now."""
        with self._lock:
            return len(self._connections)

    def stop(self) -> None:
        """Take nothing new, let requests at work end, close all connections, flush.

        Idempotent.  Requests that have not ended after `shutdown_s` are cut off.

        Raises:
            DeviceError: a device could not be flushed; the others were tried all the same.
        """
        if self._stopped:
            return
        self._stopped = True
        self._stop_listening()
        self._stop_connections()
        self._flush()

    def _stop_listening(self) -> None:
        self._wakes.close()
        if self._acceptor.ident is not None:
            self._acceptor.join()
        self._listener.close()
        self._wake.close()
        if isinstance(self.address, UnixAddress):
            with suppress(FileNotFoundError):
                self.address.path.unlink()

    def _stop_connections(self) -> None:
        with self._lock:
            connections = dict(self._connections)
        for connection in connections:
            connection.stop()
        deadline_ns = self._clock.monotonic_ns() + int(self._limits.shutdown_s * 1e9)
        for connection, thread in connections.items():
            left_ns = deadline_ns - self._clock.monotonic_ns()
            thread.join(max(left_ns, 0) / 1e9)
            if thread.is_alive():
                logger.warning("%s did not end in time", thread.name)
                connection.abort()

    def _flush(self) -> None:
        failure: Exception | None = None
        for name, export in self._exports.items():
            if export.read_only:
                continue
            try:
                export.device.flush()
            except DeviceClosedError as error:  # taken away by force: nothing is ours to flush
                logger.warning("export %r was not flushed: %s", name, error)
            except Exception as error:
                logger.error("export %r could not be flushed: %s", name, error)
                failure = failure or error
        if failure is not None:
            raise failure

    def _accept_all(self) -> None:
        poll = select.poll()
        poll.register(self._listener, select.POLLIN)
        poll.register(self._wake, select.POLLIN)
        while True:
            ready = {fd for fd, _ in poll.poll()}
            if self._wake.fileno() in ready:
                return
            self._accept()

    def _accept(self) -> None:
        try:
            sock, where = self._listener.accept()
        except (BlockingIOError, ConnectionError):
            return  # the client has left already
        except OSError as error:  # out of descriptors or memory: the others may go
            logger.error("cannot take a connection: %s", error)
            self._clock.sleep_until(self._clock.monotonic_ns() + _OUT_OF_FILES_PAUSE_NS)
            return
        peer = f"{where[0]}:{where[1]}" if isinstance(where, tuple) else "unix"
        with self._lock:
            if len(self._connections) >= self._limits.connections:
                logger.warning("%s: turned away, %d are served", peer, len(self._connections))
                sock.close()
                return
            connection = Connection(sock, self._exports, self._limits, self._clock, peer)
            thread = threading.Thread(
                target=self._run, args=(connection,), name=f"nbd {peer}", daemon=True
            )
            self._connections[connection] = thread
        thread.start()

    def _run(self, connection: Connection) -> None:
        try:
            connection.run()
        finally:
            with self._lock:
                del self._connections[connection]


def serve(
    devices: Mapping[str, BlockDevice],
    host: str = "127.0.0.1",
    port: int = 10809,
    *,
    limits: NbdLimits | None = None,
) -> None:
    """Serve devices by name until SIGTERM or SIGINT; to be called from the main thread.

    Raises:
        ListenError: the address cannot be listened on.
        DeviceError: at the end a device could not be flushed.
    """
    exports = {name: Export(device) for name, device in devices.items()}
    stop = StopSignal()
    with NbdServer(exports, TcpAddress(host, port), limits=limits):
        stop.wait()


class StopSignal:
    """SIGTERM and SIGINT as something to wait for; to be made in the main thread.

    From the moment it is made the first of them only ends `wait`.  A second one has the
    default effect, so that a user who is in a hurry is obeyed.
    """

    def __init__(self) -> None:
        self._arrived = threading.Event()
        for each in (signal.SIGTERM, signal.SIGINT):
            signal.signal(each, self._note)

    def wait(self) -> None:
        """Block until one of the signals has come."""
        self._arrived.wait()

    def _note(self, number: int, frame: FrameType | None) -> None:
        for each in (signal.SIGTERM, signal.SIGINT):
            signal.signal(each, signal.SIG_DFL)
        self._arrived.set()
