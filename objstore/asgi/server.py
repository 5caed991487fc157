"""The HTTP server: uvicorn with our protocol, in this thread or in one of its own."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import signal
import socket
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from types import FrameType
from typing import Any, Self

import uvicorn
from starlette.types import ASGIApp

from objstore.asgi.app import make_app
from objstore.asgi.protocol import FrontProtocol
from objstore.asgi.state import FrontState
from objstore.asgi.workers import DRAIN_SIGNAL, TOLD_TO_STOP
from objstore.auth.keys import Credentials, KeyStore
from objstore.config import ServerConfig

logger = logging.getLogger("objstore.server")

BACKLOG = 2048
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def bind(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 takes any that is free.

    Raises:
        OSError: the address cannot be had.
    """
    family, kind, proto, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    listener = socket.socket(family, kind, proto)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


def url_of(listener: socket.socket) -> str:
    """The address that a client on this machine can use for `listener`."""
    host, port = listener.getsockname()[:2]
    if host in ("0.0.0.0", "::"):
        host = "127.0.0.1"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def uvicorn_config(app: ASGIApp, shutdown_grace_s: float) -> uvicorn.Config:
    """uvicorn without whatever the S3 front does itself or does not want."""
    return uvicorn.Config(
        app,
        http=FrontProtocol,
        loop="uvloop",
        ws="none",
        lifespan="on",
        interface="asgi3",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        date_header=False,
        backlog=BACKLOG,
        timeout_graceful_shutdown=max(1, round(shutdown_grace_s)),
    )


class FrontServer(uvicorn.Server):
    """uvicorn's server with our state and our way of stopping.

    `on_ready` is called on the event loop once connections are served.  With
    `handoff`, connections come from there as descriptors besides those of `listeners`.
    `on_drain` is called when the end is near: upon SIGTERM, and `ServerConfig.drain_s`
    before connections are refused.
    """

    server_state: FrontState

    def __init__(
        self,
        app: ASGIApp,
        state: FrontState,
        *,
        handoff: socket.socket | None = None,
        on_ready: Callable[[], None] | None = None,
        on_close: Callable[[], None] | None = None,
        on_drain: Callable[[], None] | None = None,
    ) -> None:
        super().__init__(uvicorn_config(app, state.limits.shutdown_grace_s))
        self.server_state = state
        self._handoff = handoff
        self._on_ready = on_ready
        self._on_close = on_close
        self._on_drain = on_drain
        self._drained_ns: int | None = None
        self._arrivals: set[asyncio.Task[None]] = set()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to serve."""
        self.server_state.tick(0, asyncio.get_running_loop().time())
        await super().startup(sockets)
        if self._handoff is not None and not self.should_exit:
            self._handoff.setblocking(False)
            asyncio.get_running_loop().add_reader(self._handoff, self._take_connections)
        if self._on_ready is not None:
            self._on_ready()

    async def on_tick(self, counter: int) -> bool:
        """Ten times a second, from uvicorn's main loop."""
        now_s = asyncio.get_running_loop().time()
        self.server_state.tick(counter, now_s)
        if self._drained_ns is not None and self._now_ns() >= self._drained_ns:
            self.should_exit = True
        return self.should_exit

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """A signal to stop: SIGTERM after a while, if one is wanted; again, or SIGINT, at once.

        A worker leaves SIGTERM to its parent, which has it too where a whole group of processes
        is told to stop: the parent says when connections end, by closing the channel.
        """
        drain_s = self.server_state.limits.drain_s
        if self._handoff is not None and sig == signal.SIGTERM:
            self._withdraw()
            with contextlib.suppress(OSError):  # it knows, or is gone
                self._handoff.send(TOLD_TO_STOP)
        elif sig == signal.SIGTERM and drain_s and self._drained_ns is None:
            self._drained_ns = self._now_ns() + int(drain_s * 1e9)
            self._withdraw()
        else:
            super().handle_exit(sig, frame)

    def _now_ns(self) -> int:
        return self.server_state.clock.monotonic_ns()

    def _withdraw(self, *_signal: object) -> None:
        if self._on_drain is not None:
            self._on_drain()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop accepting, let what runs finish, then close."""
        loop = asyncio.get_running_loop()
        self._withdraw()
        if self._handoff is not None:
            loop.remove_reader(self._handoff)
            # The parent hears of it at once, and deals to the other workers meanwhile.
            self._handoff.close()
        # uvicorn no longer ticks now, but deadlines go on counting.
        ticking = loop.create_task(self._tick_on())
        await super().shutdown(sockets)
        ticking.cancel()

    async def _tick_on(self) -> None:
        counter = 0
        while True:
            counter += 1
            self.server_state.tick(counter, asyncio.get_running_loop().time())
            await asyncio.sleep(0.1)

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Stop gracefully on SIGINT and SIGTERM, at once on a second SIGINT.

        uvicorn would raise the signal again afterwards; a server that did as it was
        told leaves with status 0 instead.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self.handle_exit) for number in STOP_SIGNALS}
        if self._handoff is not None:
            before[DRAIN_SIGNAL] = signal.signal(DRAIN_SIGNAL, self._withdraw)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    # Connections that a parent process accepted.

    def _take_connections(self) -> None:
        assert self._handoff is not None
        loop = asyncio.get_running_loop()
        for descriptor in receive_descriptors(self._handoff):
            if descriptor is None:
                logger.info("the parent process is gone, or sends nobody any more: stopping")
                loop.remove_reader(self._handoff)
                self.should_exit = True
                return
            task = loop.create_task(self._serve_connection(descriptor))
            self._arrivals.add(task)
            task.add_done_callback(self._arrivals.discard)

    async def _serve_connection(self, descriptor: int) -> None:
        connection = socket.socket(fileno=descriptor)
        connection.setblocking(False)
        factory = functools.partial(
            FrontProtocol,
            config=self.config,
            server_state=self.server_state,
            app_state=self.lifespan.state,
            on_close=self._on_close,
        )
        try:
            await asyncio.get_running_loop().connect_accepted_socket(factory, connection)
        except OSError:
            connection.close()
            if self._on_close is not None:
                self._on_close()


def receive_descriptors(channel: socket.socket) -> Iterator[int | None]:
    """Descriptors that wait in a Unix socket; None when its other end was closed."""
    while True:
        try:
            data, descriptors, _, _ = socket.recv_fds(channel, 1, 1)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data, descriptors = b"", []
        yield from descriptors
        if not data:
            yield None
            return


class BackgroundServer:
    """A server in a thread of this process: for tests, and for embedding.

    ``with BackgroundServer(app) as server: ... server.url``
    """

    def __init__(
        self,
        app: ASGIApp,
        state: FrontState,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        self._listener = bind(host, port)
        self.url = url_of(self._listener)
        self._ready = threading.Event()
        self._server = FrontServer(app, state, on_ready=self._ready.set)
        self._thread = threading.Thread(target=self._run, name="objstore-http", daemon=True)

    @property
    def state(self) -> FrontState:
        """What the server's connections share."""
        return self._server.server_state

    def _run(self) -> None:
        try:
            self._server.run([self._listener])
        except SystemExit:
            logger.error("the HTTP server did not start")
        finally:
            self._ready.set()

    def start(self) -> Self:
        """Serve; returns once connections are accepted.

        Raises:
            RuntimeError: the server did not start; the log says why.
        """
        self._thread.start()
        self._ready.wait()
        if not self._server.started:
            raise RuntimeError("the HTTP server did not start")
        return self

    def stop(self) -> None:
        """Finish what runs, close, and end the thread.  Idempotent."""
        self._server.should_exit = True
        if self._thread.is_alive():
            self._thread.join()
        self._listener.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *exc: object) -> None:
        self.stop()


class Server(BackgroundServer):
    """An S3 endpoint over an open store, in a thread of this process.

    ``with Server(store, [root_credentials("KEY", "SECRET")]) as server: ... server.url``

    Args:
        store: an open `ObjectStore`; it stays open when the server stops.
        credentials: who may use it, or where to look them up.
        port: 0 takes any that is free; `url` has the real one.
    """

    def __init__(
        self,
        store: Any,
        credentials: Iterable[Credentials] | KeyStore,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        region: str = "us-east-1",
        config: ServerConfig | None = None,
        base_domains: tuple[str, ...] = ("localhost",),
    ) -> None:
        config = config or ServerConfig()
        app = make_app(store, credentials, region=region, config=config, base_domains=base_domains)
        state = FrontState(config, clock=store.clock, entropy=store.entropy)
        super().__init__(app, state, host=host, port=port)
