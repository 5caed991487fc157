"""A supervisor over an application that names its process; run by test_server_workers.

    python -m tests.s3.worker_program WORKERS [GRACE_S]

Prints its address, then READY, then the pid of every worker as it starts to serve.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Callable
from typing import Any

from blockdev.clock import SystemClock
from objstore.asgi.server import FrontServer, bind, url_of
from objstore.asgi.state import FrontState
from objstore.asgi.workers import EXIT_NOT_STARTED, EXIT_POISONED, READY, Supervisor
from objstore.config import ServerConfig
from tests.s3.rawhttp import EchoApp, answer

GRACE_S = float(sys.argv[2]) if len(sys.argv) > 2 else 5.0


class PidApp(EchoApp):
    """``/pid`` answers with the worker's process id, ``/slow`` after a second, ``/never`` not."""

    async def on_pid(self, scope: Any, receive: Any, send: Any) -> None:
        await answer(send, 200, b"%d" % os.getpid())

    async def on_slow(self, scope: Any, receive: Any, send: Any) -> None:
        await asyncio.sleep(1)
        await answer(send, 200, b"late")

    async def on_never(self, scope: Any, receive: Any, send: Any) -> None:
        await asyncio.sleep(3600)

    async def on_exit(self, scope: Any, receive: Any, send: Any) -> None:
        os._exit(7)


def say(text: str) -> None:
    """A line in one write, so that those of several processes do not mix."""
    os.write(1, f"{text}\n".encode())


def run_worker(channel: socket.socket, note_closed: Callable[[], None], is_ending: bool) -> int:
    if os.environ.get("WORKERS_FAIL"):
        return EXIT_NOT_STARTED

    def on_ready() -> None:
        say(str(os.getpid()))
        channel.send(READY)

    state = FrontState(ServerConfig(shutdown_grace_s=GRACE_S))
    FrontServer(PidApp(), state, handoff=channel, on_ready=on_ready, on_close=note_closed).run([])
    return EXIT_POISONED if os.environ.get("WORKERS_POISONED") else 0


def fork_signalled() -> int:
    """Fork when the server is being stopped: each side has a SIGTERM before it does anything."""
    pid = fork()
    os.kill(os.getpid(), signal.SIGTERM)
    return pid


if __name__ == "__main__":
    fork = os.fork
    if os.environ.get("WORKERS_SIGNALLED"):
        setattr(os, "fork", fork_signalled)  # noqa: B010  (mypy)
    listener = bind("127.0.0.1", 0)
    say(url_of(listener))
    supervisor = Supervisor(
        listener,
        int(sys.argv[1]),
        run_worker,
        clock=SystemClock(),
        grace_s=GRACE_S,
        on_ready=lambda: say("READY"),
    )
    sys.exit(supervisor.run())
