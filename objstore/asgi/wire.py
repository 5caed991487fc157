"""What stands on the wire and what is still on it: targets of requests, unread bytes."""

from __future__ import annotations

import fcntl
import socket
import struct
import termios

import httptools


def split_target(url: bytes) -> tuple[bytes, bytes]:
    """Path and query of a request's target, which may name its origin as well.

    Raises:
        HttpParserInvalidURLError: it is no target.
    """
    raw_path, _, query = url.partition(b"?")
    if raw_path[:1] == b"/" or raw_path == b"*":
        return raw_path, query
    target = httptools.parse_url(url)
    return target.path or b"/", target.query or b""


def unacknowledged_bytes(connection: socket.socket | None) -> int:
    """What the kernel has taken to send and the other side has not taken; 0 if it cannot tell.

    A slow reader frees the kernel's buffer by a third at a time, megabytes at worst; this
    count goes down with each segment.  SIOCOUTQ in Linux's tcp(7), by its terminals' name.
    """
    if connection is None:
        return 0
    try:
        answer = fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, bytes(4))
    except OSError:
        return 0
    return int(struct.unpack("i", answer)[0])
