"""Digests of small bodies without handing the interpreter to another thread.

hashlib lets other threads run for pieces over 2,047 bytes.  Where threads wait for their
turn, having the interpreter back takes longer than the digest of 4 KiB: sixteen threads
that put such objects get half as much again done without it.
"""

from __future__ import annotations

import hashlib
from typing import Protocol

from blockdev import Buffer

UNSHARED_BYTES = 1984
"""Of what hashlib digests without letting other threads run: under 2,048, and whole blocks."""

SMALL_BYTES = 16 * 1024
"""Bodies up to this are digested in pieces of `UNSHARED_BYTES`; for more, letting go is right."""


class Updatable(Protocol):
    """A hash that is fed."""

    def update(self, data: Buffer, /) -> object:
        """Take in `data`."""
        ...


def feed(hasher: Updatable, body: Buffer) -> None:
    """Update `hasher` with a whole body, undisturbed if it is small."""
    if len(body) <= UNSHARED_BYTES or len(body) > SMALL_BYTES:
        hasher.update(body)
        return
    view = memoryview(body)
    for start in range(0, len(body), UNSHARED_BYTES):
        hasher.update(view[start : start + UNSHARED_BYTES])


def md5(body: Buffer) -> bytes:
    """MD5 of a body, 16 bytes."""
    hasher = hashlib.md5(usedforsecurity=False)
    feed(hasher, body)
    return hasher.digest()
