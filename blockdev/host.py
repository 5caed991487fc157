"""How other processes ask the one that holds a volume.

Only one process has a volume open (`folder_lock.py`).  It answers on a Unix socket in the
volume's folder: one request a connection, a line of JSON each way.

    → {"verb": "begin_snapshot", "arguments": {"snapshot_id": "snap-…"}}
    ← {"result": {…}}  or  {"error": "…", "code": "…"}

Everything is bounded: the length of a line, the connections at once, the time for each
step.  A socket that a killed process left behind refuses connections, and the next host
takes its place; whether anybody holds the volume is for the lock to say, not the socket.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from blockdev.folder_lock import is_held

SOCKET_NAME: Final = "host.sock"
LINE_BYTES_MAX: Final = 64 * 1024
REQUESTS_MAX: Final = 8
"""Requests that are handled at once; further ones wait in the kernel's queue."""
BACKLOG: Final = 64
REQUEST_S: Final = 5.0
"""For each part of a request to arrive, and for its answer to be taken."""
PARTS_MAX: Final = 64
"""In which a line may arrive: somebody who drips bytes does not keep a place for ever."""
RETRY_S: Final = 0.02
"""Between attempts to reach a host that holds the lock and does not listen yet."""

Handler = Callable[[Mapping[str, Any]], Mapping[str, Any]]


class HostError(Exception):
    """The host could not be asked, or said no."""


class NobodyHoldsError(HostError):
    """No process has the volume open: open it."""


class HostTimeoutError(HostError):
    """The host did not answer in time; whether it did what was asked is not known."""


class HostRefusedError(HostError):
    """The host tried, and failed.  `code` is the error's, as the handler named it."""

    def __init__(self, message: str, code: str = "") -> None:
        super().__init__(message)
        self.code = code


class VolumeHost:
    """Answers for a volume that this process holds; close it before the volume.

    A handler takes the arguments and returns the result.  What it raises goes to who asked,
    with the exception's `code` if it has one, else its class.
    """

    def __init__(self, folder: Path, handlers: Mapping[str, Handler]) -> None:
        self._folder = folder
        self._handlers = handlers
        self._slots = threading.BoundedSemaphore(REQUESTS_MAX)
        self._closing = threading.Event()
        self._listener: socket.socket | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Listen.

        Raises:
            OSError: the socket cannot be made.
        """
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            with _short_path(self._folder) as path:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(path)  # of a holder before us, who is gone: we have the lock
                listener.bind(path)
                os.chmod(path, 0o600)
            listener.listen(BACKLOG)
        except BaseException:
            listener.close()
            raise
        self._listener = listener
        self._thread = threading.Thread(target=self._serve, name="volume-host", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Listen no more, and wait for the requests that are being handled; idempotent."""
        self._closing.set()
        listener, self._listener = self._listener, None
        if listener is None:
            return
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)  # ends `accept`
        if self._thread is not None:
            self._thread.join()
        listener.close()
        for _ in range(REQUESTS_MAX):
            self._slots.acquire()
        with contextlib.suppress(OSError):
            (self._folder / SOCKET_NAME).unlink()

    def _serve(self) -> None:
        listener = self._listener
        while listener is not None and not self._closing.is_set():
            self._slots.acquire()
            try:
                connection, _ = listener.accept()
            except OSError:
                self._slots.release()
                if self._closing.wait(RETRY_S):  # else out of descriptors: try again
                    return
                continue
            worker = threading.Thread(target=self._answer, args=(connection,), daemon=True)
            try:
                worker.start()
            except RuntimeError:  # out of threads
                connection.close()
                self._slots.release()

    def _answer(self, connection: socket.socket) -> None:
        try:
            with connection, contextlib.suppress(OSError):
                connection.settimeout(REQUEST_S)
                answer = self._handle(_receive_line(connection))
                connection.settimeout(REQUEST_S)
                connection.sendall(_line(answer))
        finally:
            self._slots.release()

    def _handle(self, line: bytes) -> dict[str, Any]:
        try:
            request = json.loads(line)
            handler = self._handlers[request["verb"]]
            arguments = request["arguments"]
        except (ValueError, KeyError, TypeError) as error:
            return {"error": f"no such request: {error}", "code": "BadRequest"}
        try:
            return {"result": dict(handler(arguments))}
        except Exception as error:
            code = getattr(error, "code", type(error).__name__)
            return {"error": getattr(error, "message", str(error)), "code": str(code)}


def ask(folder: Path, verb: str, arguments: Mapping[str, Any], timeout_s: float) -> dict[str, Any]:
    """Ask whoever holds the volume in `folder`, and return the result.

    `timeout_s` bounds each wait: for the host to listen, and for its answer.

    Raises:
        NobodyHoldsError: there is nobody to ask.
        HostTimeoutError: it did not listen or answer in time, or ended without an answer.
        HostRefusedError: it failed.
    """
    request = _line({"verb": verb, "arguments": dict(arguments)})
    connection = _connect(folder, timeout_s)
    try:
        with connection:
            connection.settimeout(timeout_s)
            connection.sendall(request)
            line = _receive_line(connection)
    except OSError as error:
        if not is_held(folder):
            raise HostTimeoutError(f"{folder.name}: its host ended without an answer") from error
        raise HostTimeoutError(f"{folder.name}: {verb}: {error}") from error
    answer: dict[str, Any] = json.loads(line)
    if "error" in answer:
        raise HostRefusedError(answer["error"], answer.get("code", ""))
    result: dict[str, Any] = answer["result"]
    return result


def _connect(folder: Path, timeout_s: float) -> socket.socket:
    """A connection, waiting for a holder that does not listen yet."""
    waiting = threading.Event()
    attempts = max(1, int(timeout_s / RETRY_S))
    for _ in range(attempts):
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(timeout_s)
        try:
            with _short_path(folder) as path:
                connection.connect(path)
            return connection
        except OSError:
            connection.close()
        if not is_held(folder):
            raise NobodyHoldsError(f"{folder.name} is not open in any process")
        waiting.wait(RETRY_S)
    raise HostTimeoutError(f"{folder.name} is held by a process that does not listen")


@contextlib.contextmanager
def _short_path(folder: Path) -> Iterator[str]:
    """The socket by way of an open folder: a socket's path has 107 bytes at most (unix(7))."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{descriptor}/{SOCKET_NAME}"
    finally:
        os.close(descriptor)


def _line(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value).encode() + b"\n"


def _receive_line(connection: socket.socket) -> bytes:
    """One line; each part of it has to come within the socket's timeout."""
    received = bytearray()
    for _ in range(PARTS_MAX):
        part = connection.recv(LINE_BYTES_MAX)
        if not part:
            raise ConnectionError("the connection ended within a line")
        received += part
        if len(received) > LINE_BYTES_MAX:
            break
        if received.endswith(b"\n"):
            return bytes(received)
    raise ConnectionError(f"no line of at most {LINE_BYTES_MAX} bytes in {PARTS_MAX} parts")


__all__ = [
    "HostError",
    "HostRefusedError",
    "HostTimeoutError",
    "NobodyHoldsError",
    "VolumeHost",
    "ask",
    "is_held",
]
