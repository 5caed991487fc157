"""Where the client tests talk to: a server process of their own, or one that the caller names."""

from __future__ import annotations

import datetime
import os
import socket
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import botocore.auth
import botocore.compat
import botocore.crt.auth
import pytest
from botocore.config import Config

SCRIPTS = Path(sysconfig.get_path("scripts"))
START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 60.0


@dataclass(frozen=True)
class Endpoint:
    """An S3 server and the keys for it."""

    url: str
    access_key: str
    secret_key: str
    region: str = "us-east-1"

    def client(
        self,
        *,
        access_key: str | None = None,
        secret_key: str | None = None,
        region: str | None = None,
        url: str | None = None,
        **config: Any,
    ) -> Any:
        """A boto3 client that tries once, so that every error reaches the test."""
        config.setdefault("retries", {"total_max_attempts": 1})
        config.setdefault("s3", {"addressing_style": "path"})
        # left alone, botocore still presigns with version 2 in us-east-1
        config.setdefault("signature_version", "s3v4")
        return boto3.client(
            "s3",
            endpoint_url=url or self.url,
            aws_access_key_id=access_key or self.access_key,
            aws_secret_access_key=secret_key or self.secret_key,
            region_name=region or self.region,
            config=Config(connect_timeout=10, read_timeout=120, **config),
        )

    def environ(self) -> dict[str, str]:
        """The environment for an `aws` process: this endpoint and none of the user's settings."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "COV"))}
        return kept | {
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_DEFAULT_REGION": self.region,
            "AWS_ENDPOINT_URL": self.url,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_PAGER": "",
        }

    def aws(
        self,
        *arguments: str | Path,
        stdin: bytes = b"",
        config_file: Path = Path(os.devnull),
        timeout_s: float = 900,
    ) -> subprocess.CompletedProcess[bytes]:
        """Run the `aws` command; its output is the caller's to judge."""
        return subprocess.run(
            [sys.executable, SCRIPTS / "aws", *arguments],
            input=stdin,
            env=self.environ() | {"AWS_CONFIG_FILE": str(config_file)},
            capture_output=True,
            timeout=timeout_s,
            check=False,
        )


def shift_signing_clock(patch: pytest.MonkeyPatch, by: datetime.timedelta) -> None:
    """Let botocore sign as if it were that much later, with either of its two signers."""
    now = botocore.compat.get_current_datetime

    def shifted(*arguments: Any, **named: Any) -> datetime.datetime:
        return now(*arguments, **named) + by

    patch.setattr(botocore.auth, "get_current_datetime", shifted)
    patch.setattr(botocore.crt.auth, "get_current_datetime", shifted)


def free_port() -> int:
    """A TCP port on 127.0.0.1 that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class ServerProcess:
    """`objstore serve` over a directory, with two workers, on a port of its own."""

    def __init__(self, root: Path, *options: str) -> None:
        self.data = root / "data"
        self.log = root / "server.log"
        port = free_port()
        self.endpoint = Endpoint(f"http://127.0.0.1:{port}", "TESTROOT", "testsecret+/0123456789")
        keys = {
            "OBJSTORE_ROOT_ACCESS_KEY": self.endpoint.access_key,
            "OBJSTORE_ROOT_SECRET_KEY": self.endpoint.secret_key,
        }
        command: list[str | Path] = [
            SCRIPTS / "objstore",
            "serve",
            self.data,
            "--port",
            str(port),
            "--workers",
            "2",
            *options,
        ]
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, *command],
                env=os.environ | keys,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self._wait(lambda: self._answers(port))

    def _answers(self, port: int) -> bool:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            return False
        return True

    def _wait(self, ready: Callable[[], bool]) -> None:
        deadline_s = time.monotonic() + START_TIMEOUT_S
        while not ready():
            if self._process.poll() is not None or time.monotonic() > deadline_s:
                self._process.kill()
                raise RuntimeError(f"the server did not start:\n{self.log.read_text()}")
            time.sleep(0.05)

    @property
    def pid(self) -> int:
        """The process that others are the children of."""
        return self._process.pid

    def wait_killed(self) -> None:
        """Wait until it is gone, after somebody has killed it."""
        self._process.wait(STOP_TIMEOUT_S)

    def stop(self) -> None:
        """End it as an operator would; it has to leave with status 0."""
        self._process.terminate()
        try:
            status = self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            raise
        assert status == 0, f"the server left with {status}:\n{self.log.read_text()[-4000:]}"
