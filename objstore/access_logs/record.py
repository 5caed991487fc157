"""A line of an access log, in the format of S3's.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/LogFormat.html
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Final
from urllib import parse

NONE: Final = "-"
# What would end a quoted field, or the line.
_BREAKS: Final = re.compile('["\x00-\x1f\x7f]')
_KEY_SAFE: Final = "/-_.!~*'()"
_NS_PER_S: Final = 1_000_000_000
_NS_PER_MS: Final = 1_000_000
# Half of a pair of surrogates, which no encoding has, is bytes like any other.
quote: Final = partial(parse.quote, errors="surrogatepass")


@dataclass(slots=True)
class Outcome:
    """What came of one more thing that a request did: a key of many, or the source of a copy.

    `operation`: as the log names it; `size_bytes`: of the object, None where there is none.
    """

    operation: str
    bucket: str
    key: str
    status: int
    error_code: str = ""
    size_bytes: int | None = None
    version_id: str = ""


@dataclass(slots=True)
class Note:
    """What is found out of a request on its way.  Times are of a monotonic clock."""

    started_ns: int
    received_ns: int = 0
    answered_ns: int = 0
    error_code: str = ""
    size_bytes: int | None = None
    also: list[Outcome] = field(default_factory=list)


@dataclass(slots=True)
class Entry:
    """A request that has been answered; see the fields of S3's log.

    `time_ns`: since the epoch, when it was received.  `uri`: without what must not be read.
    `total_ns`, `turn_around_ns`: how long it took in all, and from its last byte to the
        answer's first.
    """

    owner: str
    bucket: str
    time_ns: int
    remote_ip: str
    requester: str
    request_id: str
    operation: str
    key: str
    uri: str
    status: int
    error_code: str
    sent_bytes: int
    size_bytes: int | None
    total_ns: int
    turn_around_ns: int
    referer: str
    user_agent: str
    version_id: str
    host_id: str
    signature: str
    authentication: str
    host: str

    @property
    def day(self) -> str:
        """The date of the request, ``2026-11-27``."""
        return f"{datetime.fromtimestamp(self.time_ns // _NS_PER_S, UTC):%Y-%m-%d}"

    def line(self) -> str:
        """The line, with its end.

        Nothing ends TLS here, there are no access points and no ACLs, and where requests come
        from is not known: their fields are empty.
        """
        moment = datetime.fromtimestamp(self.time_ns // _NS_PER_S, UTC)
        fields = (
            self.owner or NONE,
            self.bucket,
            f"[{moment:%d/%b/%Y:%H:%M:%S} +0000]",
            self.remote_ip or NONE,
            self.requester or NONE,
            self.request_id,
            self.operation,
            quote(self.key, safe=_KEY_SAFE) or NONE,
            _quoted(self.uri),
            str(self.status),
            self.error_code or NONE,
            str(self.sent_bytes or NONE),
            NONE if self.size_bytes is None else str(self.size_bytes),
            str(self.total_ns // _NS_PER_MS),
            NONE if self.turn_around_ns < 0 else str(self.turn_around_ns // _NS_PER_MS),
            _quoted(self.referer or NONE),
            _quoted(self.user_agent or NONE),
            quote(self.version_id) or NONE,
            self.host_id or NONE,
            self.signature or NONE,
            NONE,  # cipher suite
            self.authentication or NONE,
            quote(self.host, safe=":.-_[]") or NONE,
            NONE,  # TLS version
            NONE,  # ARN of an access point
            NONE,  # whether an ACL was needed
            NONE,  # region that the request came from
        )
        return " ".join(fields) + "\n"


def _quoted(text: str) -> str:
    """A field in quotes, which nobody who sends a request can end."""
    return f'"{_BREAKS.sub(_escape, text)}"'


def _escape(match: re.Match[str]) -> str:
    return f"%{ord(match.group()):02X}"
