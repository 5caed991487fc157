"""``python -m bench.block``: what the layers of the block device cost, and how fast it simulates.

A case is a function that `case` has put on the list: it takes the size of the run and
yields figures.  Figures that have a goal say whether they reach it.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from bench.machine import calibrate, describe
from bench.snapshots import figures
from blockdev.clock import SystemClock
from blockdev.credits import Limits, Rate
from blockdev.device import BlockDevice, stack
from blockdev.entropy import SeededEntropy
from blockdev.file import FileDevice
from blockdev.filters.delay import DelayDevice
from blockdev.filters.metrics import MetricsDevice
from blockdev.filters.passthrough import Passthrough
from blockdev.filters.throttle import Budget, ThrottleDevice
from blockdev.latency import NO_LATENCY
from blockdev.live import LiveVolume
from blockdev.memory import MemoryDevice
from blockdev.model import GIB, MIB, VolumeSpec
from blockdev.pattern import Pattern
from blockdev.profiles import limits
from blockdev.region.fence import FenceDevice
from blockdev.simulate import simulate

KIB: Final = 1024
CLOCK: Final = SystemClock()

BOUNDLESS: Final = Limits(256 * KIB, Rate(1 << 40, 1 << 40), Rate(1 << 50, 1 << 50))
"""Limits that are counted and never reached."""


@dataclass(frozen=True)
class Size:
    """How much a run does.

    `calls`: of cheap ones, in each of `rounds`.  `copied_bytes`: of sequential copies.
    `simulated_s`: seconds of virtual time.  `directory`: for files.
    """

    calls: int
    rounds: int
    copied_bytes: int
    simulated_s: float
    directory: Path


FULL: Final = (200_000, 5, GIB, 40.0)
QUICK: Final = (2_000, 2, 4 * MIB, 0.5)


@dataclass(frozen=True)
class Figure:
    """One result.  `goal`: at most, or at least if `more_is_better`; None for no goal."""

    name: str
    value: float
    unit: str
    goal: float | None = None
    more_is_better: bool = True

    @property
    def is_reached(self) -> bool:
        """Whether it meets its goal; True if it has none."""
        if self.goal is None:
            return True
        return self.value >= self.goal if self.more_is_better else self.value <= self.goal


Case = Callable[[Size], Iterator[Figure]]
CASES: Final[list[Case]] = []


def case(function: Case) -> Case:
    """Put a case on the list."""
    CASES.append(function)
    return function


def best_s(action: Callable[[], object], rounds: int) -> float:
    """The least time that `action` takes: what else the machine does only adds to it."""
    times = []
    for _ in range(rounds):
        started = time.perf_counter()
        action()
        times.append(time.perf_counter() - started)
    return min(times)


def paired_s(
    first: Callable[[], object], second: Callable[[], object], rounds: int
) -> tuple[float, float]:
    """The least time of each, run in turn, so that a change of the machine's speed hits both."""
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(rounds):
        for action, taken in zip((first, second), times, strict=True):
            taken.append(best_s(action, 1))
    return min(times[0]), min(times[1])


def throttled(below: BlockDevice, figures: Limits = BOUNDLESS) -> BlockDevice:
    """A throttle that never holds anything up."""
    return ThrottleDevice(below, Budget(figures, CLOCK.monotonic_ns()), CLOCK)


def open_volume_stack(below: BlockDevice) -> BlockDevice:
    """What an open volume is behind, from the top: metrics, throttle, delay, fence."""
    return stack(
        below,
        FenceDevice,
        lambda device: DelayDevice(device, NO_LATENCY, CLOCK, SeededEntropy(1)),
        throttled,
        lambda device: MetricsDevice(device, CLOCK),
    )


def filled(size_bytes: int) -> MemoryDevice:
    """A memory device with something in every page."""
    device = MemoryDevice(size_bytes)
    block = bytes(range(256)) * (MIB // 256)
    for offset_bytes in range(0, size_bytes, MIB):
        device.write(offset_bytes, block[: size_bytes - offset_bytes])
    return device


def random_reads(device: BlockDevice, count: int, span_bytes: int) -> Callable[[], None]:
    """`count` reads of 4 KiB anywhere, ready to be run."""
    pattern = Pattern(rate=count, seconds=1.0, span_bytes=span_bytes)
    offsets = [offset_bytes for _, offset_bytes, _, _ in pattern.workload().ios()]
    buffer = bytearray(4 * KIB)

    def run() -> None:
        read_into = device.read_into
        for offset_bytes in offsets:
            read_into(offset_bytes, buffer)

    return run


def layer_cost_us(wrap: Callable[[BlockDevice], BlockDevice], size: Size) -> float:
    """What a layer adds to a 4 KiB read, in microseconds."""
    below = filled(16 * MIB)
    bare, wrapped = (random_reads(device, size.calls, 16 * MIB) for device in (below, wrap(below)))
    bare_s, wrapped_s = paired_s(bare, wrapped, size.rounds)
    return (wrapped_s - bare_s) / size.calls * 1e6


@case
def passthrough_cost(size: Size) -> Iterator[Figure]:
    """A layer that does nothing."""
    cost_us = layer_cost_us(Passthrough, size)
    yield Figure("a passthrough layer adds to an I/O", cost_us, "µs", 0.3, more_is_better=False)


@case
def throttle_cost(size: Size) -> Iterator[Figure]:
    """The throttle where nothing has to wait: boundless, and a gp2 volume with its credits."""
    cost_us = layer_cost_us(throttled, size)
    yield Figure("the throttle adds to an I/O", cost_us, "µs", 5.0, more_is_better=False)
    gp2 = limits(VolumeSpec("gp2", 100))
    endless = Limits(gp2.unit_bytes, BOUNDLESS.ios, BOUNDLESS.throughput, Rate(300, 1 << 40))
    cost_us = layer_cost_us(lambda below: throttled(below, endless), size)
    yield Figure("the throttle with credits adds", cost_us, "µs", 5.0, more_is_better=False)


@case
def random_reads_through_the_stack(size: Size) -> Iterator[Figure]:
    """4 KiB random reads of a memory device, from one thread."""
    span_bytes = 64 * MIB if size.calls >= 100_000 else MIB
    below = filled(span_bytes)
    bare, through = (
        random_reads(device, size.calls, span_bytes) for device in (below, open_volume_stack(below))
    )
    bare_s, through_s = paired_s(bare, through, size.rounds)
    yield Figure("4 KiB random reads, memory", size.calls / bare_s, "/s")
    rate = size.calls / through_s
    yield Figure("4 KiB random reads, memory behind the stack", rate, "/s", 100_000)


def copier(source: BlockDevice, target: BlockDevice, length_bytes: int) -> Callable[[], None]:
    """A sequential copy in pieces of 1 MiB, ready to be run."""

    def run() -> None:
        buffer = bytearray(MIB)
        for offset_bytes in range(0, length_bytes, MIB):
            source.read_into(offset_bytes, buffer)
            target.write(offset_bytes, buffer)

    return run


@case
def sequential_copy(size: Size) -> Iterator[Figure]:
    """From one memory device to another, bare and with the stack on both."""
    span_bytes = min(size.copied_bytes, 64 * MIB)
    source, target = filled(span_bytes), filled(span_bytes)
    rounds = max(2, size.copied_bytes // span_bytes)
    bare_s, through_s = paired_s(
        copier(source, target, span_bytes),
        copier(open_volume_stack(source), open_volume_stack(target), span_bytes),
        rounds,
    )
    yield Figure("sequential copy, memory", span_bytes / bare_s / 1e6, "MB/s")
    yield Figure("the same through the stack", span_bytes / through_s / 1e6, "MB/s")
    yield Figure("ratio of the two", bare_s / through_s, "×", 0.8)


@contextmanager
def volume_beside_file(size: Size, size_bytes: int) -> Iterator[tuple[LiveVolume, FileDevice]]:
    """A live volume and a file, full of the same data, in memory (tmpfs) if there is such."""
    memory = Path("/dev/shm")
    base = memory if memory.is_dir() else size.directory
    with TemporaryDirectory(prefix="objstore-bench-", dir=base) as name, ExitStack() as undo:
        folder = Path(name) / "vol-1"
        LiveVolume.create(folder, size_bytes=size_bytes, volume="vol-1")
        volume = LiveVolume.open(folder, clock=CLOCK)
        undo.callback(volume.close)
        file = FileDevice.open(Path(name) / "file", size_bytes=size_bytes)
        undo.callback(file.close)
        for device in (volume, file):
            copier(filled(size_bytes), device, size_bytes)()
            device.flush()
        yield volume, file


@case
def an_open_volume(size: Size) -> Iterator[Figure]:
    """All that lies between a client and the bytes of a volume, beside a bare file."""
    span_bytes = 64 * MIB if size.calls >= 100_000 else MIB
    with volume_beside_file(size, span_bytes) as (volume, file):
        through = open_volume_stack(volume)
        taken_s = best_s(random_reads(through, size.calls, span_bytes), size.rounds)
        rate = size.calls / taken_s
        yield Figure("4 KiB random reads, volume behind the stack", rate, "/s", 100_000)
        target = filled(span_bytes)
        file_s, through_s = paired_s(
            copier(file, target, span_bytes),
            copier(through, target, span_bytes),
            max(2, size.copied_bytes // span_bytes),
        )
        yield Figure("sequential copy out of a file", span_bytes / file_s / 1e6, "MB/s")
        yield Figure("out of a volume behind the stack, ratio", file_s / through_s, "×", 0.8)


@case
def snapshots(size: Size) -> Iterator[Figure]:
    """Making them, living with many of them, and coming back from one."""
    full = size.calls >= 100_000
    found = figures(size.directory, size.copied_bytes, size.calls, 200 if full else 3)
    for measured in found:
        yield Figure(*measured)


@case
def virtual_time(size: Size) -> Iterator[Figure]:
    """`blockdev plan`: I/Os simulated in a second, on volumes that keep up and that do not."""
    for text, spec in (
        ("gp3 that keeps up", VolumeSpec("gp3", 100)),
        ("gp2 whose queue grows", VolumeSpec("gp2", 100)),
        ("st1, all throttled", VolumeSpec("st1", 500)),
    ):
        rate = 2_500 if spec.volume_type == "gp3" else 5_000
        pattern = Pattern(16 * KIB, rate, read_share=0.7, seconds=size.simulated_s)
        run = partial(simulate, pattern.workload(), limits(spec))
        count = run().ios
        taken_s = best_s(run, size.rounds)
        yield Figure(f"virtual time, {text}", count / taken_s, "I/Os/s", 100_000)


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.block", description=__doc__)
    parser.add_argument(
        "--only", metavar="TEXT", action="append", help="cases whose name holds TEXT; repeatable"
    )
    parser.add_argument("--dir", type=Path, help="where to put files (the one for temporary ones)")
    parser.add_argument(
        "--quick", action="store_true", help="shows that it works, not how fast it is"
    )
    return parser.parse_args(arguments)


def as_line(figure: Figure) -> str:
    """A figure, and what was wanted."""
    digits = 2 if figure.value < 100 else 0
    line = f"{figure.name:48}{figure.value:14,.{digits}f} {figure.unit:8}"
    if figure.goal is None:
        return line.rstrip()
    sign = "≥" if figure.more_is_better else "≤"
    return f"{line}{sign} {figure.goal:<10,g} {'reached' if figure.is_reached else 'MISSED'}"


def main(argv: Sequence[str]) -> int:
    """0 when every case ran, whatever its figures; 1 when no case has such a name."""
    arguments = parse(argv)
    wanted = arguments.only or [""]
    chosen = [c for c in CASES if any(text in c.__name__ for text in wanted)]
    if not chosen:
        names = ", ".join(c.__name__ for c in CASES)
        print(f"bench.block: no case of that name; there are {names}", file=sys.stderr)
        return 1
    with TemporaryDirectory(prefix="objstore-bench-", dir=arguments.dir) as folder:
        machine = describe(Path(folder))
        print(f"{machine.cpu}, {machine.cores} cores, Python {machine.python}", end=", ")
        print(f"commit {machine.commit}, fixed work {calibrate():.2f} ms")
        size = Size(*(QUICK if arguments.quick else FULL), Path(folder))
        for run in chosen:
            for figure in run(size):
                print(as_line(figure), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
