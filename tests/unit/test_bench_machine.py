"""CPU time and memory of a process tree, from /proc."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest

from bench.machine import (
    busy_seconds,
    calibrate,
    cpu_seconds,
    peak_memory_bytes,
    process_tree,
    reset_peak_memory,
)

MIB = 1 << 20
CHILD = """
import subprocess, sys, time
code = "data = bytearray(64 << 20); data[::4096] = bytes(len(data) // 4096); del data\\n"
code += "import time\\nwhile time.process_time() < 0.5: pass\\nprint('ready', flush=True)\\ninput()"
child = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE)
input()
child.communicate()
"""


@pytest.fixture
def family() -> Iterator[int]:
    """A process whose child has used 64 MiB and 0.5 s of CPU; both wait."""
    process = subprocess.Popen(
        [sys.executable, "-c", CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    yield process.pid
    process.communicate(b"\n", timeout=30)


def test_a_tree_holds_children_and_their_cost(family: int) -> None:
    before = busy_seconds()
    tree = process_tree(family)
    assert tree[0] == family
    assert len(tree) == 2
    assert cpu_seconds(tree) - cpu_seconds(tree[:1]) >= 0.45  # two counters of 10 ms ticks
    peak = peak_memory_bytes(tree)
    assert peak > 64 * MIB + peak_memory_bytes(tree[:1])
    reset_peak_memory(tree)
    assert peak - peak_memory_bytes(tree) > 48 * MIB  # they were freed
    assert busy_seconds() >= before


def test_a_process_that_is_gone_costs_nothing() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    assert cpu_seconds([process.pid]) == 0
    assert peak_memory_bytes([process.pid]) == 0
    reset_peak_memory([process.pid])
    assert process_tree(process.pid) == [process.pid]


def test_the_fixed_work_takes_time() -> None:
    assert calibrate() > 0
