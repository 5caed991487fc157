"""The head of a request, collected line by line and held to its limits.

`HeadProtocol` takes what uvicorn's httptools protocol collects of a request before its body;
`objstore.asgi.protocol.FrontProtocol` goes on from there.
"""

from __future__ import annotations

import asyncio
import enum
import urllib.parse
from typing import Any, NoReturn

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from objstore.asgi.state import FrontState
from objstore.asgi.wire import split_target
from objstore.s3.errors import S3Error, header_not_implemented

HEADER_OVERHEAD_BYTES = 4
"""Of a header line besides name and value: colon, space, carriage return, line feed."""

NOTED_HEADERS = frozenset((b"host", b"content-length", b"transfer-encoding", b"expect"))


class ParseStoppedError(Exception):
    """Raised inside the parser to stop it; `FrontProtocol.refusal` says why."""


class Phase(enum.Enum):
    """What the receiving side of a connection is in the middle of."""

    IDLE = "between requests"
    HEADERS = "in the headers of a request"
    BODY = "in the body of a request"
    ANSWERING = "after a request, before the end of its response"
    LINGER = "after the last response, dropping what still comes"


class HeadProtocol(HttpToolsProtocol):
    """Collects target and headers.

    `lines_id` tells blocks of lines apart, headers and trailers; it is 0 outside of any.
    """

    def __init__(
        self,
        config: Config,
        server_state: FrontState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.limits = server_state.limits
        self.phase = Phase.IDLE
        self._lines_ids = 0
        self._reset_request()
        self._begin_lines()
        self.lines_id = 0

    def _reset_request(self) -> None:
        self.url = b""
        self.headers = []
        self.host_count = 0
        self.body_length: int | None = 0
        self.expect_100_continue = False
        self.refusal: S3Error | None = None

    def _begin_lines(self) -> None:
        """Headers begin, or trailers: each block of them has the limits for itself."""
        self.lines_id = self._lines_ids = self._lines_ids + 1
        self.lines_left = self.limits.max_header_lines
        self.header_left = self.trickle_left = self.limits.max_header_bytes

    # The parser's callbacks.

    def on_url(self, url: bytes) -> None:
        self.url += url
        if len(self.url) > self.limits.max_target_bytes:
            self._fail_parse(S3Error("RequestHeaderSectionTooLarge"))

    def on_header(self, name: bytes, value: bytes) -> None:
        self.header_left -= len(name) + len(value) + HEADER_OVERHEAD_BYTES
        self.lines_left -= 1
        if self.header_left < 0 or self.lines_left < 0:
            self._fail_parse(S3Error("RequestHeaderSectionTooLarge"))
        if self.phase is not Phase.HEADERS:
            return  # a trailer: S3 defines none, and as a header it would bypass signatures
        name = name.lower()
        value = value.rstrip(b" \t")
        if name in NOTED_HEADERS:
            self._note_header(name, value)
        self.headers.append((name, value))

    def _note_header(self, name: bytes, value: bytes) -> None:
        if name == b"host":
            self.host_count += 1
        elif name == b"content-length":
            self.body_length = int(value)
        elif name == b"expect":
            self.expect_100_continue = value.lower() == b"100-continue"
        elif value.lower() == b"chunked":
            self.body_length = None
        else:
            self._fail_parse(header_not_implemented("Transfer-Encoding"))

    def _fail_parse(self, refusal: S3Error) -> NoReturn:
        self.refusal = refusal
        raise ParseStoppedError(refusal.code)

    def _scope(self, version: str) -> dict[str, Any]:
        try:
            raw_path, query = split_target(self.url)
        except httptools.HttpParserInvalidURLError:
            self._fail_parse(S3Error("BadRequest"))
        path = raw_path.decode("ascii")
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": version,
            "server": self.server,
            "client": self.client,
            "scheme": self.scheme,
            "method": self.parser.get_method().decode("ascii"),
            "root_path": "",
            "path": urllib.parse.unquote(path) if "%" in path else path,
            "raw_path": raw_path,
            "query_string": query,
            "headers": self.headers,
            "state": self.app_state.copy(),
        }
