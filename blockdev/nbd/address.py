"""Where a server listens: ``HOST:PORT``, ``[IPv6]:PORT`` or ``unix:PATH``."""

from __future__ import annotations

import errno
import os
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import quote

DEFAULT_PORT: Final = 10809
"""IANA's for NBD."""

_BACKLOG: Final = 128
_UNIX_PATH_BYTES: Final = 107
"""What fits into sockaddr_un on Linux, with the NUL that ends it."""


class ListenError(Exception):
    """The address cannot be listened on; the text says why."""


@dataclass(frozen=True, slots=True)
class TcpAddress:
    """A host and a port; port 0 is any that is free."""

    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    def uri(self, export: str) -> str:
        """The address as NBD tools take it."""
        return f"nbd://{self}/{quote(export, safe='')}"


@dataclass(frozen=True, slots=True)
class UnixAddress:
    """A path at which a Unix socket is made."""

    path: Path

    def __str__(self) -> str:
        return f"unix:{self.path}"

    def uri(self, export: str) -> str:
        """The address as NBD tools take it."""
        return f"nbd+unix:///{quote(export, safe='')}?socket={quote(str(self.path.absolute()))}"


Address = TcpAddress | UnixAddress


def parse_address(text: str) -> Address:
    """Read an address; the port may be left out.

    Raises:
        ValueError: it is none.
    """
    if text.startswith("unix:"):
        if len(text) == len("unix:"):
            raise ValueError("unix: needs a path behind it")
        return UnixAddress(Path(text[len("unix:") :]))
    host, port_text = _split(text)
    if not port_text.isascii() or not port_text.isdigit() or int(port_text) > 65535:
        raise ValueError(f"{port_text!r} is not a port from 0 to 65535")
    return TcpAddress(host or "127.0.0.1", int(port_text))


def _split(text: str) -> tuple[str, str]:
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise ValueError(f"{text!r} is not an address such as [::1]:{DEFAULT_PORT}")
        return host, rest[1:] or str(DEFAULT_PORT)
    host, colon, port_text = text.partition(":")
    if ":" in port_text:
        raise ValueError(f"an IPv6 address goes into brackets: [{text}]:{DEFAULT_PORT}")
    return host, port_text if colon else str(DEFAULT_PORT)


def listen(address: Address) -> tuple[socket.socket, Address]:
    """A listening socket, and the address with the port that it got.

    Raises:
        ListenError: the address is taken, unknown or not allowed.
    """
    try:
        if isinstance(address, UnixAddress):
            return _listen_unix(address.path), address
        return _listen_tcp(address)
    except socket.gaierror as error:
        raise ListenError(f"{address}: {error.strerror}") from error
    except (OSError, UnicodeError) as error:  # the latter: a host that no name can be
        raise ListenError(f"{address}: {getattr(error, 'strerror', None) or error}") from error


def _listen_tcp(address: TcpAddress) -> tuple[socket.socket, Address]:
    found = socket.getaddrinfo(
        address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    family, kind, number, _, where = found[0]
    sock = socket.socket(family, kind, number)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(where)
        sock.listen(_BACKLOG)
    except BaseException:
        sock.close()
        raise
    return sock, TcpAddress(address.host, sock.getsockname()[1])


def _listen_unix(path: Path) -> socket.socket:
    if len(os.fsencode(path)) > _UNIX_PATH_BYTES:
        raise OSError(errno.ENAMETOOLONG, f"a socket's path has at most {_UNIX_PATH_BYTES} bytes")
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        os.fchmod(sock.fileno(), 0o600)  # before bind: at no moment may others connect
        try:
            sock.bind(str(path))
        except OSError as error:
            if error.errno != errno.EADDRINUSE or _is_alive(path):
                raise
            path.unlink()  # left behind by a server that was killed
            sock.bind(str(path))
        sock.listen(_BACKLOG)
    except BaseException:
        sock.close()
        raise
    return sock


def _is_alive(path: Path) -> bool:
    """Whether somebody answers at a socket's path, or it is no socket at all."""
    if not path.is_socket():
        return True
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            return False
        except OSError:
            return True
    return True
