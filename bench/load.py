"""The load generator: a process that signs requests ahead, then drives them over connections.

One thread, one `epoll`, non-blocking sockets, one request in flight a connection.  Everything
that can be done before the clock starts is: bodies, signatures, connections.  What remains in the
timed window is a send, a receive, a check and two readings of the clock: 15 to 25 µs of CPU for
4 KiB over loopback, most of it in the kernel.
"""

from __future__ import annotations

import hashlib
import random
import select
import time
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field

from bench.signing import UNSIGNED_PAYLOAD, Endpoint, Signer
from bench.wire import BadResponse, Connection, Expectation, Request

RESPONSE_TIMEOUT_S = 60.0
MAX_ERRORS = 20
BODY_COUNT = 16
HASHED_BODY_BYTES = 1024 * 1024  # larger bodies are sent as UNSIGNED-PAYLOAD


@dataclass(frozen=True)
class Plan:
    """What one generator process does to one server.

    `key_count`: distinct keys, `prefix` and a scattered number; `step` and `first` give each of
        several processes keys of its own.
    `repeat`: go round the requests until the time is up; otherwise each is sent once.
    `body_bytes`: of a PUT, or of what a GET is to return.
    `seconds`: no request starts later than this.
    `query`: when not empty, the only request is for the bucket with this query.
    """

    endpoint: Endpoint
    method: str
    bucket: str
    expectation: Expectation
    prefix: str = ""
    key_count: int = 0
    connections: int = 1
    seconds: float = 1.0
    body_bytes: int = 0
    repeat: bool = False
    query: str = ""
    first: int = 0
    step: int = 1


@dataclass
class Outcome:
    """What came of a plan.  Times in nanoseconds of the monotonic clock, CPU time of the window."""

    started_ns: int
    ended_ns: int
    cpu_ns: int
    latencies_ns: array[int]
    errors: list[str] = field(default_factory=list)

    @property
    def operations(self) -> int:
        """Requests answered rightly."""
        return len(self.latencies_ns)


def object_key(prefix: str, index: int) -> str:
    """The key of an object: unique, and scattered so that writes are not in key order."""
    return f"{prefix}{index * 2654435761 % 2**32:08x}"


def object_bodies(body_bytes: int) -> list[bytes]:
    """Incompressible bodies, the same in every process; object `i` has number ``i % len``."""
    if body_bytes > HASHED_BODY_BYTES:
        block = random.Random(7).randbytes(HASHED_BODY_BYTES)
        return [(block * (body_bytes // len(block) + 1))[:body_bytes]]
    source = random.Random(11)
    return [source.randbytes(body_bytes) for _ in range(BODY_COUNT)]


def sign_requests(plan: Plan, timestamp: str) -> list[Request]:
    """Every request of the plan, signed for the instant `timestamp` (``YYYYMMDDTHHMMSSZ``)."""
    signer = Signer(plan.endpoint, timestamp)
    if plan.query:
        head = signer.head(plan.method, f"/{plan.bucket}", query=plan.query)
        return [Request(head)]
    numbers = range(plan.first, plan.key_count, plan.step)
    paths = [f"/{plan.bucket}/{object_key(plan.prefix, n)}" for n in numbers]
    if not plan.body_bytes:
        return [Request(signer.head(plan.method, path)) for path in paths]
    bodies = object_bodies(plan.body_bytes)
    chosen = [bodies[n % len(bodies)] for n in numbers]
    is_large = plan.body_bytes > HASHED_BODY_BYTES
    if plan.method != "PUT":
        heads = [signer.head(plan.method, path) for path in paths]
        return [
            Request(head, b"", None if is_large else body)
            for head, body in zip(heads, chosen, strict=True)
        ]
    hashes = {
        id(body): UNSIGNED_PAYLOAD if is_large else hashlib.sha256(body).hexdigest()
        for body in bodies
    }
    return [
        Request(
            signer.head("PUT", path, payload_sha256=hashes[id(body)], body_bytes=len(body)), body
        )
        for path, body in zip(paths, chosen, strict=True)
    ]


class Driver:
    """Sends requests over connections until the time or the requests run out."""

    def __init__(self, plan: Plan, requests: Sequence[Request]) -> None:
        self.errors: list[str] = []
        self.latencies_ns = array("q")
        self._plan = plan
        self._requests = requests
        self._next = 0
        self._end = len(requests) if not plan.repeat else 0
        self._poll = select.epoll()
        self._open: dict[int, Connection] = {}
        for _ in range(min(plan.connections, len(requests)) if self._end else plan.connections):
            self._connect()

    def _connect(self) -> Connection:
        plan = self._plan
        connection = Connection(plan.endpoint, plan.expectation, plan.method)
        self._open[connection.socket.fileno()] = connection
        self._poll.register(connection.socket, select.EPOLLIN)
        return connection

    def _take(self) -> Request | None:
        if self._next == len(self._requests):
            if self._end:
                return None
            self._next = 0
        request = self._requests[self._next]
        self._next += 1
        return request

    def run(self) -> Outcome:
        """Drive the plan to its end: whatever was begun is waited for and counted."""
        cpu_ns = time.process_time_ns()
        started_ns = time.monotonic_ns()
        deadline_ns = started_ns + int(self._plan.seconds * 1e9)
        busy = sum(self._start(connection) for connection in list(self._open.values()))
        while busy:
            events = self._poll.poll(RESPONSE_TIMEOUT_S)
            if not events:
                self.errors.append(f"no response for {RESPONSE_TIMEOUT_S} s, {busy} outstanding")
                break
            for descriptor, event in events:
                connection = self._open[descriptor]
                try:
                    if event & select.EPOLLOUT:
                        self._go_on_sending(connection)
                    if not event & ~select.EPOLLOUT or not connection.receive():
                        continue
                    now_ns = time.monotonic_ns()
                    self.latencies_ns.append(now_ns - connection.request_started_ns)
                    request = self._take() if now_ns < deadline_ns else None
                    if request is None:
                        busy -= 1
                        continue
                    connection.begin(request, now_ns)
                    if connection.is_sending:
                        self._poll.modify(descriptor, select.EPOLLIN | select.EPOLLOUT)
                except BadResponse as error:
                    busy += self._replace(connection, error, deadline_ns) - 1
        ended_ns = time.monotonic_ns()
        cpu_ns = time.process_time_ns() - cpu_ns
        return Outcome(started_ns, ended_ns, cpu_ns, self.latencies_ns, self.errors)

    def _start(self, connection: Connection) -> int:
        request = self._take()
        if request is None:
            return 0
        connection.begin(request, time.monotonic_ns())
        if connection.is_sending:
            self._poll.modify(connection.socket, select.EPOLLIN | select.EPOLLOUT)
        return 1

    def _go_on_sending(self, connection: Connection) -> None:
        connection.send()
        if not connection.is_sending:
            self._poll.modify(connection.socket, select.EPOLLIN)

    def _replace(self, connection: Connection, error: BadResponse, deadline_ns: int) -> int:
        # An error is counted and fails the run later; until then the load stays what it is.
        self.errors.append(str(error))
        del self._open[connection.socket.fileno()]
        connection.close()
        if len(self.errors) >= MAX_ERRORS or time.monotonic_ns() >= deadline_ns:
            return 0
        return self._start(self._connect())

    def close(self) -> None:
        """Close every connection."""
        for connection in self._open.values():
            connection.close()
        self._poll.close()
