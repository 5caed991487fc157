"""A map that a killed process was writing is told of, and taken away at the next opening."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from blockdev.map_writer import abandoned
from tests.regions import RegionFactory


def dead_pid() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_of_the_dead_only(tmp_path: Path) -> None:
    mine = tmp_path / f"snap-1.map.{os.getpid()}.new"
    theirs = tmp_path / f"snap-2.map.{dead_pid()}.new"
    for path in (mine, theirs, tmp_path / "snap-3.map"):
        path.touch()
    assert abandoned(tmp_path) == [theirs]


def test_a_region_is_rid_of_them(region_factory: RegionFactory) -> None:
    region = region_factory()
    left = region.path / "snapshots" / f"snap-1.map.{dead_pid()}.new"
    left.touch()
    assert region.check() == [], "what the dead left behind is undone first"
    assert not left.exists()
    left.touch()
    region.close()
    region_factory()
    assert not left.exists()
