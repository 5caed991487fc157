"""What takes messages: an HTTP server, a file, or Redis.

A target is used by one thread.  What it returns from has been told; where that is in doubt
it raises, and the message is sent again: at least once.
"""

from __future__ import annotations

import base64
import http.client
import os
import socket
from pathlib import Path
from typing import Any, Final, Protocol
from urllib.parse import unquote, urlunsplit

from objstore.config import EVENT_TIMEOUT_S, MAX_EVENT_ANSWER_BYTES
from objstore.events.destinations import FILE, WEBHOOK, Destination, redis_room
from objstore.files import sync_folder, write_all

_RETRIED: Final = frozenset((408, 425, 429))
"""Of the statuses that call a message wrong, those that do not mean it."""


class TargetError(Exception):
    """The message was not taken.  `is_refused`: it never will be, as far as the target says."""

    def __init__(self, message: str, *, is_refused: bool = False) -> None:
        super().__init__(message)
        self.is_refused = is_refused


class Target(Protocol):
    """Takes messages."""

    def send(self, message: bytes) -> None:
        """Hand a message over; on return it is taken.

        Raises:
            TargetError: it is not, or perhaps not.
        """
        ...

    def close(self) -> None:
        """Let go of connections and files; a later `send` takes new ones."""
        ...


def open_target(destination: Destination, folder: Path, token: str = "") -> Target:
    """What takes the messages of a destination.

    Args:
        folder: that relative paths are relative to.
        token: of a webhook, sent as ``Authorization: Bearer``; empty for none.
    """
    if destination.kind == WEBHOOK:
        return Webhook(destination, token)
    if destination.kind == FILE:
        return LineFile(folder / unquote(destination.parts.path))
    return Redis(destination)


class Webhook:
    """POSTs each message, over one connection as long as that lasts."""

    def __init__(self, destination: Destination, token: str = "") -> None:
        parts = destination.parts
        self._is_https = parts.scheme == "https"
        self._host, self._port = parts.hostname or "", parts.port
        self._path = urlunsplit(("", "", parts.path or "/", parts.query, ""))
        self._headers = {"Content-Type": "application/json", "User-Agent": "objstore"}
        if token:
            self._headers["Authorization"] = f"Bearer {token}"
        elif parts.username is not None:
            pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            self._headers["Authorization"] = "Basic " + base64.b64encode(pair.encode()).decode()
        self._connection: http.client.HTTPConnection | None = None

    def send(self, message: bytes) -> None:
        """Any status of success will do; a redirect is not followed."""
        try:
            status = self._post(message)
        except (OSError, http.client.HTTPException, ValueError) as error:
            self.close()
            raise TargetError(f"{type(error).__name__}: {error}") from error
        if 200 <= status < 300:
            return
        is_refused = 300 <= status < 500 and status not in _RETRIED
        raise TargetError(f"it answered {status}", is_refused=is_refused)

    def _post(self, message: bytes) -> int:
        was_open = self._connection is not None
        connection = self._connection or self._connect()
        try:
            connection.request("POST", self._path, message, self._headers)
            response = connection.getresponse()
        except (http.client.RemoteDisconnected, ConnectionError):
            if not was_open:
                raise
            # It was closed while nothing was to be said, as servers do.
            self.close()
            connection = self._connect()
            connection.request("POST", self._path, message, self._headers)
            response = connection.getresponse()
        response.read(MAX_EVENT_ANSWER_BYTES)
        if not response.isclosed():
            self.close()  # it has more to say than anybody wants to hear
        return response.status

    def _connect(self) -> http.client.HTTPConnection:
        kind = http.client.HTTPSConnection if self._is_https else http.client.HTTPConnection
        self._connection = kind(self._host, self._port, timeout=EVENT_TIMEOUT_S)
        self._connection.connect()
        self._connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return self._connection

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class LineFile:
    """Appends each message as a line, durable on return; another may rename the file away."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd: int | None = None

    def send(self, message: bytes) -> None:
        try:
            fd = self._opened()
            write_all(fd, message + b"\n")
            os.fdatasync(fd)
        except OSError as error:
            self.close()  # what was written of the line is ended when the file is next opened
            raise TargetError(f"{self._path}: {error.strerror or error}") from error

    def _opened(self) -> int:
        """The file as it is called now: after a rotation, a new one."""
        if self._fd is not None and not self._is_current(self._fd):
            self.close()
        if self._fd is None:
            fd = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
            self._fd = fd
            size_bytes = os.fstat(fd).st_size
            if size_bytes and os.pread(fd, 1, size_bytes - 1) != b"\n":
                write_all(fd, b"\n")  # half a line, from a kill: it is told again
            sync_folder(self._path.parent)
        return self._fd

    def _is_current(self, fd: int) -> bool:
        try:
            named = os.stat(self._path)
        except FileNotFoundError:
            return False
        held = os.fstat(fd)
        return (named.st_dev, named.st_ino) == (held.st_dev, held.st_ino)

    def close(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


class Redis:
    """Appends each message to a list (RPUSH), or to a stream (XADD, field ``message``)."""

    def __init__(self, destination: Destination) -> None:
        import redis  # an extra; `check_destinations` has found it

        parts = destination.parts
        self._room, self._key = redis_room(parts, destination.name)
        self._failures = (redis.RedisError, OSError)
        self._client: Any = redis.Redis.from_url(
            urlunsplit(parts._replace(query="")),
            socket_timeout=EVENT_TIMEOUT_S,
            socket_connect_timeout=EVENT_TIMEOUT_S,
        )

    def send(self, message: bytes) -> None:
        try:
            if self._room == "list":
                self._client.rpush(self._key, message)
            else:
                self._client.xadd(self._key, {"message": message})
        except self._failures as error:
            raise TargetError(f"{type(error).__name__}: {error}") from error

    def close(self) -> None:
        self._client.close()
