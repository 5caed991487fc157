"""From settings to a running server: one process, or several under a parent."""

from __future__ import annotations

import functools
import logging
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from blockdev import DeviceError
from blockdev.clock import SystemClock
from objstore.asgi import process
from objstore.asgi.server import FrontServer
from objstore.asgi.state import FrontState
from objstore.asgi.workers import EXIT_NOT_STARTED, EXIT_POISONED, READY, Supervisor
from objstore.config import ServerConfig
from objstore.errors import StoreError

logger = logging.getLogger("objstore.server")


@dataclass(frozen=True, slots=True)
class Settings:
    """What `objstore serve` was asked for."""

    data_dir: Path
    access_key: str
    secret_key: str = field(repr=False)
    region: str = "us-east-1"
    workers: int = 1
    base_domains: tuple[str, ...] = ("localhost",)
    access_log: bool = False
    config: ServerConfig = field(default_factory=ServerConfig)


def serve(settings: Settings, listener: socket.socket, *, on_ready: Callable[[], None]) -> int:
    """Serve until SIGTERM or SIGINT; returns the exit status."""
    if settings.workers == 1:
        return run_process(settings, listener=listener, on_ready=on_ready)
    supervisor = Supervisor(
        listener,
        settings.workers,
        functools.partial(_run_worker, settings),
        clock=SystemClock(),
        grace_s=settings.config.shutdown_grace_s,
        on_ready=on_ready,
    )
    return supervisor.run()


def _run_worker(settings: Settings, channel: socket.socket, note_closed: Callable[[], None]) -> int:
    def on_ready() -> None:
        channel.send(READY)

    return run_process(settings, handoff=channel, on_ready=on_ready, on_close=note_closed)


def run_process(
    settings: Settings,
    *,
    listener: socket.socket | None = None,
    handoff: socket.socket | None = None,
    on_ready: Callable[[], None],
    on_close: Callable[[], None] | None = None,
) -> int:
    """One process's server, from opening the store to closing it; returns the exit status.

    When the device fails, what runs is finished and the process ends with `EXIT_POISONED`:
    only a store that is opened anew takes writes again, after its recovery.
    """
    from objstore import ObjectStore
    from objstore.asgi.app import make_app, root_credentials

    process.tune()
    try:
        store = ObjectStore.open(settings.data_dir, create_buckets=False)
    except (StoreError, DeviceError, OSError) as error:
        logger.error("cannot open the store in %s: %s", settings.data_dir, error)
        return EXIT_NOT_STARTED
    is_poisoned = False

    def stop_poisoned() -> None:
        nonlocal is_poisoned
        if not is_poisoned:
            is_poisoned = True
            logger.error("the device failed: this process ends; the store has to be opened anew")
            server.should_exit = True

    with store:
        app = make_app(
            store,
            [root_credentials(settings.access_key, settings.secret_key)],
            region=settings.region,
            config=settings.config,
            base_domains=settings.base_domains,
            on_poisoned=stop_poisoned,
            data_dir=settings.data_dir,
        )
        state = FrontState(settings.config, clock=store.clock, access_log=settings.access_log)

        def ready() -> None:
            process.settle()
            on_ready()

        server = FrontServer(app, state, handoff=handoff, on_ready=ready, on_close=on_close)
        server.run([listener] if listener is not None else [])
        if is_poisoned:
            return EXIT_POISONED
        return 0 if server.started else EXIT_NOT_STARTED
