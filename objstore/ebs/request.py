"""A request's parts by the ``ebs`` model: path, query, headers and JSON, each checked.

The bounds and patterns are the model's; what breaks them is a ValidationException.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import unquote_to_bytes

from objstore.aws.http import Call
from objstore.ebs.errors import invalid

SNAPSHOT_ID: Final = re.compile("snap-[0-9a-f]+")
TOKEN: Final = re.compile("[A-Za-z0-9+/=]+")
MAX_SNAPSHOT_ID_CHARS: Final = 64
MAX_TOKEN_CHARS: Final = 256
MAX_INTEGER_DIGITS: Final = 10
MAX_INTEGER: Final = 2**31 - 1
MAX_QUERY_PAIRS: Final = 64
SHA256_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class EbsRequest:
    """A call taken apart."""

    call: Call
    segments: tuple[str, ...]
    query: Mapping[str, str]

    @classmethod
    def of(cls, call: Call) -> EbsRequest:
        """Take a call apart.

        Raises:
            ServiceError: ValidationException.
        """
        segments = tuple(_text(part) for part in call.raw_path.split(b"/")[1:])
        query: dict[str, str] = {}
        pieces = [piece for piece in call.raw_query.split(b"&") if piece]
        if len(pieces) > MAX_QUERY_PAIRS:
            raise invalid("The query has too many parameters.")
        for piece in pieces:
            name, _, value = piece.partition(b"=")
            if query.setdefault(_text(name), _text(value)) != _text(value):
                raise invalid(f"{_text(name)} is given more than once.")
        return cls(call, segments, query)

    def snapshot_id(self, text: str, name: str = "SnapshotId") -> str:
        """A snapshot's id, of the right form."""
        if len(text) > MAX_SNAPSHOT_ID_CHARS or not SNAPSHOT_ID.fullmatch(text):
            raise invalid(f"{name} is not a snapshot's id.", "INVALID_SNAPSHOT_ID")
        return text

    def block_index(self) -> int:
        """The block index in the path."""
        return integer(self.segments[3], "BlockIndex", least=0)

    def optional_integer(self, name: str, what: str, least: int, most: int) -> int | None:
        """An integer of the query."""
        text = self.query.get(name)
        return None if text is None else integer(text, what, least=least, most=most)

    def token(self, name: str, what: str, reason: str) -> str:
        """A token of the query, "" when there is none."""
        text = self.query.get(name, "")
        if text and (len(text) > MAX_TOKEN_CHARS or not TOKEN.fullmatch(text)):
            raise invalid(f"{what} is not a token.", reason)
        return text

    def integer_header(self, name: str, *, least: int, most: int = MAX_INTEGER) -> int:
        """An integer that a header has to hold."""
        text = self.call.header(name.lower().encode("ascii"))
        if text is None:
            raise invalid(f"The header {name} is missing.")
        return integer(text, name, least=least, most=most)

    def sha256_header(self) -> bytes | None:
        """The digest in x-amz-Checksum, None when there is none."""
        text = self.call.header(b"x-amz-checksum")
        if text is None:
            return None
        try:
            digest = base64.b64decode(text.encode("ascii"), validate=True)
        except (ValueError, binascii.Error):
            digest = b""
        if len(digest) != SHA256_BYTES:
            raise invalid("x-amz-Checksum is not a SHA256 in base64.")
        return digest

    def choice_header(self, name: str, only: str) -> bool:
        """Whether a header that can have one value is there."""
        text = self.call.header(name.lower().encode("ascii"))
        if text is not None and text != only:
            raise invalid(f"{name} must be {only}.")
        return text is not None

    def json(self) -> dict[str, Any]:
        """The body, an object."""
        try:
            document = json.loads(self.call.body or b"{}")
        except (ValueError, RecursionError):
            raise invalid("The body is not JSON.") from None
        if not isinstance(document, dict):
            raise invalid("The body is not a JSON object.")
        return document


def integer(text: str, name: str, *, least: int, most: int = MAX_INTEGER) -> int:
    """A number within bounds.

    Raises:
        ServiceError: ValidationException.
    """
    digits = text.removeprefix("-")
    fits = digits.isascii() and digits.isdigit() and len(digits) <= MAX_INTEGER_DIGITS
    if not fits or not least <= int(text) <= most:
        raise invalid(f"{name} must be an integer from {least} to {most}.")
    return int(text)


def _text(raw: bytes) -> str:
    try:
        return unquote_to_bytes(raw.replace(b"+", b" ")).decode("utf-8")
    except UnicodeDecodeError:
        raise invalid("The request's path or query is not UTF-8.") from None
