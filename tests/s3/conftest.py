"""A real `objstore serve` for tests over HTTP."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.clients.endpoint import Endpoint

STOP_TIMEOUT_S = 60.0
ACCESS_KEY = "TESTROOTKEY"
SECRET_KEY = "test+secret/0123456789"

_URL = re.compile(r" on (http://\S+) \(region (\S+)\)")


class ServeProcess:
    """`objstore serve` on a free port; knows its endpoint once it has announced itself.

    Args:
        arguments: further ones, such as ``--workers 2``.
        keys: root keys for the environment; None to have the server make some.
    """

    def __init__(
        self,
        data_dir: Path,
        *arguments: str,
        keys: tuple[str, str] | None = (ACCESS_KEY, SECRET_KEY),
        cwd: Path | None = None,
    ) -> None:
        self.data_dir = data_dir
        environ = {k: v for k, v in os.environ.items() if not k.startswith("OBJSTORE_ROOT_")}
        if keys is not None:
            environ["OBJSTORE_ROOT_ACCESS_KEY"], environ["OBJSTORE_ROOT_SECRET_KEY"] = keys
        self.process = subprocess.Popen(
            [sys.executable, "-m", "objstore.cli", "serve", data_dir, "--port", "0", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environ,
            cwd=cwd,
            start_new_session=True,  # a group of its own: see `signal_group`
        )
        self.banner = ""
        self.errors = ""
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()
        self._read_banner(keys)

    def _read_banner(self, keys: tuple[str, str] | None) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.banner += line
            if " s3 ls " in line:
                break
        match = _URL.search(self.banner)
        if match is None:
            self.process.wait(STOP_TIMEOUT_S)
            self._listener.join()
            raise RuntimeError(f"the server did not start:\n{self.banner}{self.errors}")
        access_key, secret_key = keys or ("", "")
        self.endpoint = Endpoint(match[1], access_key, secret_key, match[2])

    def _listen(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.errors += line

    @property
    def url(self) -> str:
        """Where it listens."""
        return self.endpoint.url

    @property
    def pid(self) -> int:
        """The process that was started; the server itself unless there are workers."""
        return self.process.pid

    def signal_group(self, number: signal.Signals) -> None:
        """Signal all its processes, workers as well, as service managers and terminals do."""
        os.killpg(self.process.pid, number)

    def stop(self) -> int:
        """End it as an operator would; the exit status.  Idempotent."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        self._listener.join()
        for stream in (self.process.stdout, self.process.stderr):
            assert stream is not None
            stream.close()
        return status


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServeProcess]:
    """A server that many tests share; its store is checked whole at the end."""
    from tests.stores import assert_whole

    process = ServeProcess(tmp_path_factory.mktemp("server") / "data", "--workers", "2")
    yield process
    status = process.stop()
    assert status == 0, process.errors
    assert_whole(process.data_dir)


@pytest.fixture
def start_server() -> Iterator[Callable[..., ServeProcess]]:
    """Starts servers of a test's own; see `ServeProcess`."""
    processes: list[ServeProcess] = []

    def start(data_dir: Path, *arguments: str, **options: Any) -> ServeProcess:
        processes.append(ServeProcess(data_dir, *arguments, **options))
        return processes[-1]

    yield start
    for process in processes:
        process.stop()


@pytest.fixture(scope="session")
def client(server: ServeProcess) -> Any:
    """A boto3 client of the shared server."""
    return server.endpoint.client()
