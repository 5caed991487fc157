"""What snapshots cost: making them, living with many, and coming back from one.

Part of ``python -m bench.block``.  Data lies in files, in the directory that is being
measured; figures of bytes are 10^6 a second, of plain data.
"""

from __future__ import annotations

import random
import sysconfig
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, NamedTuple

from blockdev.block_codec import BLOCK_BYTES
from blockdev.blocks import FileBlockStore
from blockdev.clock import SystemClock
from blockdev.device import BlockDevice
from blockdev.live import LiveVolume
from blockdev.snapshot import SnapshotStore

MIB: Final = 1 << 20
CLOCK: Final = SystemClock()


class Measured(NamedTuple):
    """A figure.  `goal`: at least, or at most unless `more_is_better`; None for none."""

    name: str
    value: float
    unit: str
    goal: float | None = None
    more_is_better: bool = True


def figures(
    directory: Path, size_bytes: int, calls: int, snapshots: int = 200
) -> Iterator[Measured]:
    """All of them, on volumes of `size_bytes`; reads are repeated `calls` times."""
    yield from making(directory, size_bytes)
    yield from many(directory, min(size_bytes, 64 * MIB), calls, snapshots)
    yield from restoring(directory, min(size_bytes, 256 * MIB))


def making(directory: Path, size_bytes: int) -> Iterator[Measured]:
    """From the call until it is completed; then once more, with a hundredth changed."""
    kinds = {"random": random_pieces(), "installed files": installed_pieces()}
    for kind, pieces in kinds.items():
        with opened(directory, size_bytes) as (volume, store):
            for at in range(0, size_bytes, MIB):
                volume.write(at, next(pieces))
            volume.flush()
            taken_s = timed(partial(snapshot, volume, "snap-1"))
            name = f"snapshot of {size_bytes // MIB} MiB, {kind}"
            yield Measured(name, size_bytes / taken_s / 1e6, "MB/s", 300)
            ratio = store.total().plain_bytes / store.total().stored_bytes
            yield Measured(f"  compressed, {kind}", ratio, "×")
            changed_bytes = max(MIB, size_bytes // 100 // MIB * MIB)
            for at in range(0, changed_bytes, MIB):
                volume.write(at, next(pieces))
            volume.flush()
            taken_s = timed(partial(snapshot, volume, "snap-2"))
            yield Measured(f"  {changed_bytes // MIB} MiB changed", taken_s * 1e3, "ms")


def many(directory: Path, size_bytes: int, calls: int, snapshots: int) -> Iterator[Measured]:
    """The same random reads of 4 KiB, with one snapshot behind the volume and with many."""
    with opened(directory, size_bytes) as (volume, _):
        for at in range(0, size_bytes, MIB):
            volume.write(at, bytes([at // MIB % 256]) * MIB)
        snapshot(volume, "snap-1")
        reads = partial(random_reads, volume, size_bytes, calls)
        one_s = min(timed(reads) for _ in range(3))
        for number in range(2, snapshots + 1):
            volume.write(number % 16 * BLOCK_BYTES, number.to_bytes(8, "little") * 512)
            snapshot(volume, f"snap-{number}")
        many_s = min(timed(reads) for _ in range(3))
    yield Measured("4 KiB random reads, 1 snapshot", calls / one_s, "/s")
    yield Measured(f"4 KiB random reads, {snapshots} snapshots", calls / many_s, "/s")
    yield Measured("ratio of the two", one_s / many_s, "×", 0.9)


def restoring(directory: Path, size_bytes: int) -> Iterator[Measured]:
    """A volume made of a snapshot: how soon it is there, and how fast first touches are."""
    pieces = installed_pieces()
    with opened(directory, size_bytes) as (volume, store):
        for at in range(0, size_bytes, MIB):
            volume.write(at, next(pieces))
        snapshot(volume, "snap-1")
        folder = directory / "restored"
        make = partial(
            LiveVolume.create,
            folder,
            size_bytes=size_bytes,
            volume="vol-2",
            store=store,
            origin_id="snap-1",
        )
        yield Measured("a volume of a snapshot is there in", timed(make) * 1e3, "ms")
        with closing(LiveVolume.open(folder, clock=CLOCK, store=store)) as restored:
            first_s = timed(partial(read_all, restored, size_bytes))
            again_s = timed(partial(read_all, restored, size_bytes))
        yield Measured("its first read, every block loaded", size_bytes / first_s / 1e6, "MB/s")
        yield Measured("its second", size_bytes / again_s / 1e6, "MB/s")


@contextmanager
def opened(directory: Path, size_bytes: int) -> Iterator[tuple[LiveVolume, SnapshotStore]]:
    """A volume and a snapshot store, in files of their own."""
    with TemporaryDirectory(dir=directory) as name, ExitStack() as undo:
        folder = Path(name)
        blocks = FileBlockStore.open(folder / "blocks")
        store = undo.enter_context(
            SnapshotStore.open(folder / "region.sqlite", folder / "snapshots", blocks)
        )
        LiveVolume.create(folder / "vol-1", size_bytes=size_bytes, volume="vol-1")
        volume = LiveVolume.open(folder / "vol-1", clock=CLOCK, store=store)
        undo.callback(volume.close)
        yield volume, store


def snapshot(volume: LiveVolume, name: str) -> None:
    """Begin one, and wait until it is completed."""
    volume.begin_snapshot(name)
    volume.wait_snapshots()


def random_reads(device: BlockDevice, size_bytes: int, calls: int) -> None:
    """`calls` reads of 4 KiB, the same ones each time."""
    numbers = random.Random(1)
    offsets = [numbers.randrange(size_bytes // 4096) * 4096 for _ in range(1024)]
    buffer = bytearray(4096)
    read = device.read_into
    for call in range(calls):
        read(offsets[call & 1023], buffer)


def read_all(device: BlockDevice, size_bytes: int) -> None:
    """All of it, a mebibyte at a time."""
    buffer = bytearray(MIB)
    for at in range(0, size_bytes, MIB):
        device.read_into(at, buffer)


def random_pieces() -> Iterator[bytes]:
    """Mebibytes that nothing compresses."""
    numbers = random.Random(1)
    while True:
        yield numbers.randbytes(MIB)


def installed_pieces() -> Iterator[bytes]:
    """Mebibytes of this Python's own files, libraries and sources, none twice the same."""
    held = bytearray()
    lap = 0
    while True:
        lap += 1
        for path in sorted(Path(sysconfig.get_paths()["stdlib"]).rglob("*")):
            if path.suffix in (".py", ".so", ".pyc") and path.is_file():
                held += lap.to_bytes(4, "little") + path.read_bytes()
            while len(held) >= MIB:
                yield bytes(held[:MIB])
                del held[:MIB]


def timed(action: Callable[[], None]) -> float:
    """How long it took, in seconds."""
    started = time.perf_counter()
    action()
    return time.perf_counter() - started
