"""kill -9 of `blockdev nbd` under load: what was acknowledged as durable is there.

Writers over several connections put versions into slots of their own, some with FUA, some
with a flush later.  The process is killed, the region checked, and the volume served anew:
every sector of every slot holds a version from the last one that was durable up to the last
one that was sent.  The volume is one restored from a snapshot, so that blocks are fetched
and written over meanwhile; snapshots are taken of it while all that goes on.
"""

from __future__ import annotations

import os
import random
import struct
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from blockdev.service import Region
from tests.clients.nbd_process import NbdProcess, blockdev
from tests.nbd_client import FLUSH, FUA, RawClient

ROUNDS = max(2, int(os.environ.get("OBJSTORE_KILLS", "50")) // 10)
WRITERS = 4
SLOTS = 12
SLOT_BYTES = 6 * 512
SPACING_BYTES = 150_016
"""Slots of different writers share 512 KiB blocks, which are the unit of snapshots."""

_LABEL = struct.Struct(">IIQ")


def content(writer: int, slot: int, version: int) -> bytes:
    """Sectors that each say whose they are, and which version."""
    return (_LABEL.pack(writer, slot, version) * 32) * (SLOT_BYTES // 512)


def versions(data: bytes, writer: int, slot: int) -> list[int]:
    """The version of each sector; an AssertionError where it is somebody else's or torn."""
    found = []
    for at in range(0, SLOT_BYTES, 512):
        owner, number, version = _LABEL.unpack(data[at : at + _LABEL.size])
        assert data[at : at + 512] == _LABEL.pack(owner, number, version) * 32, "a torn sector"
        assert (owner, number) == (writer, slot)
        found.append(version)
    return found


class Writer:
    """One connection's slots: what is durable of them, and what was sent."""

    def __init__(self, number: int, seed: int) -> None:
        self.number = number
        self.rng = random.Random(seed)
        self.version = 1
        self.sent = dict.fromkeys(range(SLOTS), 1)
        self.durable = dict.fromkeys(range(SLOTS), 1)
        self.acknowledged: dict[int, int] = {}
        self.durable_count = 0
        self.moved = threading.Condition()

    def offset_bytes(self, slot: int) -> int:
        return (slot * WRITERS + self.number) * SPACING_BYTES

    def fill(self, client: RawClient) -> None:
        """Version 1 of everything."""
        for slot in range(SLOTS):
            client.write(self.offset_bytes(slot), content(self.number, slot, 1))

    def work(self, client: RawClient) -> None:
        """Write until the connection breaks."""
        self.acknowledged.clear()
        try:
            while True:
                self._step(client)
        except (EOFError, OSError):
            return

    def _step(self, client: RawClient) -> None:
        if self.acknowledged and self.rng.random() < 0.2:
            assert client.ask(FLUSH).error == 0
            self._settle(self.acknowledged)
            self.acknowledged.clear()
            return
        slot = self.rng.randrange(SLOTS)
        self.version += 1
        self.sent[slot] = self.version
        durable_at_once = self.rng.random() < 0.4
        client.write(
            self.offset_bytes(slot),
            content(self.number, slot, self.version),
            flags=FUA if durable_at_once else 0,
        )
        if durable_at_once:
            self._settle({slot: self.version})
        else:
            self.acknowledged[slot] = self.version

    def _settle(self, written: dict[int, int]) -> None:
        with self.moved:
            for slot, version in written.items():
                self.durable[slot] = max(version, self.durable[slot])
            self.durable_count += len(written)
            self.moved.notify_all()

    def wait_for(self, count: int) -> None:
        """Until so many more writes were acknowledged as durable."""
        with self.moved:
            wanted = self.durable_count + count
            done = self.moved.wait_for(lambda: self.durable_count >= wanted, timeout=60)
            assert done, "nothing is acknowledged any more"

    def verify(self, client: RawClient) -> None:
        """Every sector of every slot is between durable and sent."""
        for slot in range(SLOTS):
            data = client.read(self.offset_bytes(slot), SLOT_BYTES)
            for version in versions(data, self.number, slot):
                assert self.durable[slot] <= version <= self.sent[slot]


@pytest.fixture
def region(tmp_path: Path) -> Iterator[Path]:
    """A region's folder, checked whole at the end."""
    yield tmp_path / "region"
    assert_clean(tmp_path / "region")


def assert_clean(folder: Path) -> None:
    with Region.open(folder) as region:
        assert region.check() == []


def connected(server: NbdProcess) -> RawClient:
    client = RawClient(server.address)
    client.use_structured()
    client.go()
    return client


def restored_volume(region: Path, writers: list[Writer]) -> str:
    """A volume made from a snapshot in which every slot has version 1."""
    volume_id = blockdev(region, "create", "--size", 1, "--type", "gp3")
    server = NbdProcess(region, volume_id, "--no-throttle", "--no-delay")
    with connected(server) as client:
        for writer in writers:
            writer.fill(client)
    server.stop()
    snapshot_id = blockdev(region, "snapshot", volume_id)
    return blockdev(region, "restore", snapshot_id, "--type", "gp3")


def under_load(region: Path, volume_id: str, writers: list[Writer], rng: random.Random) -> None:
    """Serve, write, take a snapshot at times, and kill -9 in the middle of it."""
    server = NbdProcess(region, volume_id, "--no-throttle", "--no-delay")
    clients = [connected(server) for _ in writers]
    try:
        for writer, client in zip(writers, clients, strict=True):
            writer.verify(client)
        threads = [
            threading.Thread(target=writer.work, args=(client,))
            for writer, client in zip(writers, clients, strict=True)
        ]
        for thread in threads:
            thread.start()
        rng.choice(writers).wait_for(rng.randrange(5, 60))
        if rng.random() < 0.5:
            with Region.open(region) as other:
                other.create_snapshot(volume_id)
            rng.choice(writers).wait_for(rng.randrange(1, 10))
    finally:
        server.kill()
        for client in clients:
            client.sock.close()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()


def test_kill_9_of_a_server_under_load(region: Path, seed: int) -> None:
    rng = random.Random(seed)
    writers = [Writer(number, seed + number) for number in range(WRITERS)]
    volume_id = restored_volume(region, writers)
    for _ in range(ROUNDS):
        under_load(region, volume_id, writers, rng)
        assert_clean(region)
    server = NbdProcess(region, volume_id)
    with connected(server) as client:
        for writer in writers:
            writer.verify(client)
    server.stop()
    print(f"{ROUNDS} kills, {sum(writer.durable_count for writer in writers)} durable writes")
    assert all(writer.durable_count > 0 for writer in writers)
