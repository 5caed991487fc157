"""`blockdev` and `blockdev nbd` as processes of their own."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from contextlib import closing
from pathlib import Path

from blockdev.nbd import TcpAddress
from blockdev.service import Region

TIMEOUT_S = 120


def blockdev(region: Path, *arguments: object) -> str:
    """Run a verb that has to succeed; its standard output without the last newline."""
    done = subprocess.run(
        [sys.executable, "-m", "blockdev", *map(str, arguments)],
        env=environment(region),
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.removesuffix("\n")


def environment(region: Path) -> dict[str, str]:
    """The environment of a command on this region."""
    return {**os.environ, "BLOCKDEV_REGION": str(region)}


def put(region_dir: Path, volume_id: str, offset_bytes: int, length_bytes: int) -> None:
    """Blocks that are like no others."""
    data = random.Random(f"{offset_bytes}").randbytes(length_bytes)
    with (
        Region.open(region_dir) as region,
        closing(region.open_volume(volume_id, throttled=False, delayed=False)) as device,
    ):
        device.write(offset_bytes, data)
        device.flush()


class NbdProcess:
    """A `blockdev nbd` that serves volumes on a free port of 127.0.0.1."""

    def __init__(self, region: Path, *arguments: str) -> None:
        command = ["nbd", "--listen", "127.0.0.1:0", *arguments]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "blockdev", *command],
            env=environment(region),
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        self.uri = self.process.stdout.readline().rstrip("\n")
        assert self.uri.startswith("nbd://"), f"it did not start: {self.process.wait(TIMEOUT_S)}"

    @property
    def address(self) -> TcpAddress:
        """Where it listens."""
        host, _, port = self.uri.removeprefix("nbd://").partition("/")[0].rpartition(":")
        return TcpAddress(host, int(port))

    def stop(self) -> None:
        """End it in order, which has to leave status 0; idempotent."""
        if self.process.returncode is None:
            self.process.terminate()
            assert self.process.wait(TIMEOUT_S) == 0
            self._close()

    def kill(self) -> None:
        """kill -9."""
        self.process.kill()
        self.process.wait(TIMEOUT_S)
        self._close()

    def _close(self) -> None:
        assert self.process.stdout is not None
        self.process.stdout.close()
