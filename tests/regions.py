"""Regions for tests, and the check that each of them ends with."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from blockdev.blocks import FILES, FileBlockStore
from blockdev.clock import ManualClock
from blockdev.device import BlockDevice, Buffer
from blockdev.entropy import SeededEntropy
from blockdev.model import ServiceError
from blockdev.service import Region

IMAGE = "ami-0123456789abcdef0"
SECOND_NS = 1_000_000_000
HOUR_NS = 3600 * SECOND_NS
DAY_NS = 24 * HOUR_NS


def assert_region_whole(path: Path) -> None:
    """Fail with a list of what `Region.check` finds wrong in a closed region."""
    with Region.open(path) as region:
        problems = region.check()
    assert problems == [], "\n".join(problems)


@contextmanager
def refused(code: str, reason: str = "") -> Iterator[None]:
    """What is in it must be refused with this code of EC2's."""
    with pytest.raises(ServiceError) as caught:
        yield
    assert (caught.value.code, caught.value.reason) == (code, reason), caught.value


def read(device: BlockDevice, offset_bytes: int, length_bytes: int) -> bytes:
    """Bytes of a device."""
    buffer = bytearray(length_bytes)
    device.read_into(offset_bytes, buffer)
    return bytes(buffer)


class GatedBlocks:
    """The region's own block store, through which nothing goes while `gate` is not set."""

    location = FILES

    def __init__(self, region: Path) -> None:
        self.gate = threading.Event()
        self._below = FileBlockStore.open(region / "blocks")

    def put(self, digest: bytes, plain: Buffer) -> int:
        assert self.gate.wait(60)
        return self._below.put(digest, plain)

    def get(self, digest: bytes) -> bytes:
        return self._below.get(digest)

    def delete(self, digest: bytes) -> None:
        self._below.delete(digest)

    def hashes(self) -> Iterator[bytes]:
        return self._below.hashes()

    def sync(self) -> None:
        self._below.sync()


class RegionFactory:
    """Called as ``factory("name", **arguments_of_open)``; the same name is the same region.

    All have one `ManualClock`, `clock`, and entropy that the seed settles.
    """

    def __init__(self, root: Path, seed: int) -> None:
        self.root = root
        self.clock = ManualClock()
        self.entropy = SeededEntropy(seed)
        self._regions: list[Region] = []
        self._names: set[str] = set()

    def __call__(self, folder: str = "region", **arguments: Any) -> Region:
        arguments.setdefault("clock", self.clock)
        arguments.setdefault("entropy", self.entropy)
        region = Region.open(self.path(folder), **arguments)
        self._names.add(folder)
        self._regions.append(region)
        return region

    def path(self, folder: str = "region") -> Path:
        """Where the region of this name lies."""
        return self.root / folder

    def gated(self, folder: str = "region") -> tuple[Region, threading.Event]:
        """A region whose snapshots stay pending until the event is set."""
        self.path(folder).mkdir(parents=True, exist_ok=True)
        blocks = GatedBlocks(self.path(folder))
        return self(folder, blocks=blocks), blocks.gate

    def close_and_check(self) -> None:
        """Close what is open and check every region that there ever was."""
        for region in self._regions:
            region.close()
        for folder in sorted(self._names):
            assert_region_whole(self.path(folder))


def running(region: Region, **arguments: Any) -> str:
    """The id of a new instance."""
    arguments.setdefault("image_id", IMAGE)
    return region.run_instances(**arguments)[0].instance_id


def volume(region: Region, **arguments: Any) -> str:
    """The id of a new volume, of 1 GiB of gp2 in the first zone unless told otherwise."""
    arguments.setdefault("zone", region.zones[0])
    if not arguments.get("snapshot_id"):
        arguments.setdefault("size_gib", 1)
    return region.create_volume(**arguments).volume_id
