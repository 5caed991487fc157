"""A toy of an S3 server for the benchmarks' own tests: it stores, and checks no signature."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from bench.signing import Credentials, Endpoint


class ToyServer(ThreadingHTTPServer):
    """Objects in a dict; `fail_every`: one of so many requests is answered with 500."""

    daemon_threads = True

    def __init__(self, fail_every: int = 0) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.objects: dict[str, bytes] = {}
        self.requests: list[tuple[str, str]] = []
        self.fail_every = fail_every

    @property
    def endpoint(self) -> Endpoint:
        """Where it listens."""
        return Endpoint("127.0.0.1", self.server_address[1], Credentials("key", "secret"))


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: ToyServer

    def _answer(self, status: int, body: bytes = b"") -> None:
        self.server.requests.append((self.command, self.path))
        if self.server.fail_every and len(self.server.requests) % self.server.fail_every == 0:
            status, body = 500, b"on purpose"
        self.send_response(status)
        if status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.objects[self.path] = body
        self._answer(200)

    def do_GET(self) -> None:
        if self.path in self.server.objects:
            self._answer(200, self.server.objects[self.path])
        else:
            self._answer(404, b"no such key")

    do_HEAD = do_GET

    def do_DELETE(self) -> None:
        self._answer(204 if self.server.objects.pop(self.path, None) is not None else 404)

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing."""


@contextmanager
def toy_server(fail_every: int = 0) -> Iterator[ToyServer]:
    """A running server."""
    with ToyServer(fail_every) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
