"""A request to the EC2 or EBS face, and its answer, whole; the carrier of HTTP stays outside."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

Headers = list[tuple[bytes, bytes]]


@dataclass(slots=True)
class Call:
    """A request.  `raw_path` is percent-encoded, without the query; header names lower-case."""

    method: str
    raw_path: bytes
    raw_query: bytes
    headers: Headers
    request_id: str
    body: bytes = b""

    def header(self, name: bytes) -> str | None:
        """The first value of a header, by lower-case name; bytes that are no UTF-8 as Latin-1."""
        for key, value in self.headers:
            if key == name:
                try:
                    return value.decode("utf-8")
                except UnicodeDecodeError:
                    return value.decode("latin-1")
        return None


@dataclass(slots=True)
class Reply:
    """An answer; the carrier adds Content-Length, Date and Connection."""

    status: int
    body: bytes = b""
    headers: Headers = field(default_factory=list)


class Face(Protocol):
    """A service that answers calls.  Its methods raise nothing."""

    @property
    def max_body_bytes(self) -> int:
        """A longer body is not collected: the answer is `refuse_length`."""
        ...

    def answer(self, call: Call) -> Reply:
        """Authenticate and do it.  Blocks: run it in a thread."""
        ...

    def refuse_length(self, call: Call) -> Reply:
        """What to say to a body over `max_body_bytes`; quick."""
        ...
