"""Runs the NBD tools of other projects, or skips the test where they are not installed."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

TIMEOUT_S = 120
_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"


def tool(name: str) -> str:
    """The path of a tool; skips the test if it is not there."""
    found = shutil.which(name, path=_PATH)
    if found is None:
        pytest.skip(f"{name} is not installed; `make tools` installs it on Debian, as root")
    return found


def run(name: str, *arguments: object, env: Mapping[str, str] | None = None) -> str:
    """Run a tool to its end; its output.  It has to succeed."""
    done = attempt(name, *arguments, env=env)
    assert done.returncode == 0, f"{name} {arguments}: {done.stdout}{done.stderr}"
    return done.stdout


def attempt(
    name: str, *arguments: object, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a tool to its end, whatever that is."""
    return subprocess.run(
        [tool(name), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
        env={**os.environ, **(env or {})},
    )


def fio(uri: str, folder: Path, **options: object) -> None:
    """One fio job over an export, with what it writes read back and verified."""
    job = {
        "ioengine": "nbd",
        "uri": uri,
        "verify": "crc32c",
        "verify_fatal": 1,
        "group_reporting": 1,
        **options,
    }
    path = folder / "job.fio"
    path.write_text("[job]\n" + "".join(f"{key}={value}\n" for key, value in job.items()))
    # fio drops its state files where it stands.
    done = subprocess.run(
        [tool("fio"), str(path)],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "err= 0" in done.stdout, done.stdout
