"""What the connections of one server process share: limits, time, ids, the sweep.

Deadlines cost no timer each.  A request only notes when it would be late; `FrontState.tick`
runs ten times a second, keeps a coarse clock and, every so often, asks each
connection whether it is past its deadline.
"""

from __future__ import annotations

import itertools
import logging
from email.utils import formatdate
from typing import TYPE_CHECKING

from uvicorn.server import ServerState

from blockdev.clock import Clock, SystemClock
from objstore.config import ServerConfig
from objstore.entropy import Entropy, SystemEntropy
from objstore.s3.errors import S3Error
from objstore.s3.http import Headers
from objstore.s3.xml import error_document

if TYPE_CHECKING:
    from objstore.access_logs import AccessLogs
    from objstore.asgi.protocol import FrontProtocol

TICK_S = 0.1
"""Seconds between two ticks of uvicorn's main loop, which calls `FrontState.tick`."""

access_logger = logging.getLogger("objstore.access")


class RequestIds:
    """Ids of requests: unlike each other, and unlike any other process's or run's.

    16 characters of upper-case hex as S3's are: eight random bytes to start from,
    counted up.  A new one costs no system call.
    """

    def __init__(self, entropy: Entropy) -> None:
        self._count = itertools.count(int.from_bytes(entropy.token_bytes(8), "big"))

    def next(self) -> str:
        """A fresh id."""
        # An odd constant multiplies without collisions, and ids in a row look apart.
        return "%016X" % (next(self._count) * 0x9E3779B97F4A7C15 & 0xFFFFFFFFFFFFFFFF)


class FrontState(ServerState):
    """uvicorn's shared state, with the limits and the time that `FrontProtocol` needs.

    `now_s` is the event loop's time as of the last tick: good to a tenth of a second,
    and read without a call.  `date_line` is the Date header, rendered once a second.
    """

    def __init__(
        self,
        config: ServerConfig,
        *,
        clock: Clock | None = None,
        entropy: Entropy | None = None,
        access_log: bool = False,
    ) -> None:
        super().__init__()
        self.limits = config
        self.clock: Clock = clock or SystemClock()
        self.request_ids = RequestIds(entropy or SystemEntropy())
        self.log_access = access_log
        self.access_logs: AccessLogs | None = None
        self.now_s = 0.0
        self.date_line = b""
        shortest_s = min(
            config.header_timeout_s,
            config.body_stall_timeout_s,
            config.idle_timeout_s,
            config.linger_timeout_s,
        )
        self._sweep_ticks = max(1, min(10, int(shortest_s / 4 / TICK_S)))

    def tick(self, counter: int, now_s: float) -> None:
        """Take note of the time; sweep when it is time to.  `now_s` is the event loop's."""
        self.now_s = now_s
        if counter % 10 == 0 or not self.date_line:
            date = formatdate(self.clock.now_ns() // 10**9, usegmt=True)
            self.date_line = b"date: " + date.encode("ascii") + b"\r\n"
        if counter % self._sweep_ticks == 0:
            self.sweep()

    def sweep(self) -> None:
        """Have every connection enforce its deadline."""
        connection: FrontProtocol
        for connection in list(self.connections):  # type: ignore[assignment]
            connection.check_deadline(self.now_s)

    def render_refusal(self, refusal: S3Error, request_id: str) -> tuple[Headers, bytes]:
        """Headers and XML body for a request that the S3 layer does not answer."""
        body = error_document(
            refusal.code, refusal.message, refusal.extra, "", request_id, "objstore"
        )
        headers = [
            (b"x-amz-request-id", request_id.encode("ascii")),
            (b"server", b"objstore"),
            (b"content-type", b"application/xml"),
            (b"content-length", b"%d" % len(body)),
            (b"connection", b"close"),
        ]
        return headers, body

    def log_request(self, client: str, method: str, target: bytes, status: int, sent: int) -> None:
        """One line of access log."""
        access_logger.info(
            '%s "%s %s" %d %d', client, method, target.decode("latin-1"), status, sent
        )
