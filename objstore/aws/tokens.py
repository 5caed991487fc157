"""Tokens that clients carry from one request to the next and cannot make themselves.

A token holds an expiry, an HMAC over its purpose and its text, and the text.  The purpose
(an action, or a snapshot and a block) is not in it: whoever checks a token says what it
has to have been made for.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import struct
from typing import Final

from blockdev.clock import Clock

_HEAD: Final = struct.Struct(">BQ")
_VERSION: Final = 1
_MAC_BYTES: Final = 20
_NEVER_S: Final = 0
_NS_PER_S: Final = 1_000_000_000
MAX_TOKEN_CHARS: Final = 1024
"""Longer ones are none of ours and are not decoded."""


class InvalidTokenError(ValueError):
    """The token is none of ours, was made for something else, or is past its end."""


class Sealer:
    """Makes and checks the tokens of one region.  Safe to share between threads."""

    def __init__(self, key: bytes, clock: Clock) -> None:
        self._key = key
        self._clock = clock

    def seal(self, purpose: str, text: str = "", *, lifetime_s: int | None = None) -> str:
        """A token of base64's characters; None for one without an end."""
        end_s = _NEVER_S if lifetime_s is None else self._now_s() + lifetime_s
        head = _HEAD.pack(_VERSION, end_s)
        raw = text.encode("utf-8")
        return base64.b64encode(head + self._mac(head, purpose, raw) + raw).decode("ascii")

    def open(self, purpose: str, token: str) -> str:
        """The text of a token that was made for `purpose`.

        Raises:
            InvalidTokenError
        """
        if len(token) > MAX_TOKEN_CHARS:
            raise InvalidTokenError("too long")
        try:
            raw = base64.b64decode(token.encode("ascii"), validate=True)
            version, end_s = _HEAD.unpack_from(raw)
        except (ValueError, binascii.Error, struct.error):
            raise InvalidTokenError("not a token") from None
        head = raw[: _HEAD.size]
        mac, text = raw[_HEAD.size : _HEAD.size + _MAC_BYTES], raw[_HEAD.size + _MAC_BYTES :]
        if version != _VERSION or not hmac.compare_digest(mac, self._mac(head, purpose, text)):
            raise InvalidTokenError("not made here, or not for this")
        if end_s != _NEVER_S and self._now_s() >= end_s:
            raise InvalidTokenError("past its end")
        return text.decode("utf-8")

    def _mac(self, head: bytes, purpose: str, text: bytes) -> bytes:
        name = purpose.encode("utf-8")
        message = b"%b%d:%b%b" % (head, len(name), name, text)
        return hmac.digest(self._key, message, "sha256")[:_MAC_BYTES]

    def _now_s(self) -> int:
        return self._clock.now_ns() // _NS_PER_S
