"""Servers for the NBD tests, and devices that misbehave on purpose."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from blockdev.device import BlockDevice, Buffer
from blockdev.filters.passthrough import Passthrough
from blockdev.memory import MemoryDevice
from blockdev.nbd import Export, NbdLimits, NbdServer, TcpAddress
from tests.nbd_client import RawClient

KIB = 1024
MIB = 1024 * KIB
SIZE = 4 * MIB


def memory() -> MemoryDevice:
    """A device in memory whose holes are 64 KiB apart."""
    return MemoryDevice(SIZE, page_bytes=64 * KIB)


@contextmanager
def serving(
    *devices: BlockDevice,
    exports: Mapping[str, Export] | None = None,
    limits: NbdLimits | None = None,
) -> Iterator[NbdServer]:
    """A server on a free port of 127.0.0.1; unnamed devices are called device0, device1 ..."""
    named = {f"device{number}": Export(device) for number, device in enumerate(devices)}
    with NbdServer(
        {**named, **(exports or {})}, TcpAddress("127.0.0.1", 0), limits=limits
    ) as server:
        yield server


@contextmanager
def client_of(server: NbdServer, name: str = "", *, structured: bool = True) -> Iterator[RawClient]:
    """A client in the transmission phase; with block status where it is structured."""
    with RawClient(server.address) as client:
        if structured:
            client.use_structured()
            client.set_allocation(name)
        client.go(name)
        yield client


class Gate(Passthrough):
    """Holds writes and reads up until it is opened; tells when one has come."""

    def __init__(self, below: BlockDevice) -> None:
        super().__init__(below)
        self.waiting = threading.Semaphore(0)
        self.opened = threading.Event()

    def write(self, offset_bytes: int, data: Buffer, *, fua: bool = False) -> None:
        self._pass()
        super().write(offset_bytes, data, fua=fua)

    def read_into(self, offset_bytes: int, buffer: bytearray | memoryview) -> None:
        self._pass()
        super().read_into(offset_bytes, buffer)

    def arrivals(self, count: int) -> None:
        """Wait until so many calls more have come."""
        for _ in range(count):
            assert self.waiting.acquire(timeout=30), "the call did not come"

    def _pass(self) -> None:
        self.waiting.release()
        assert self.opened.wait(30), "the gate was never opened"


class Journal(Passthrough):
    """Notes what is asked of the device below."""

    def __init__(self, below: BlockDevice) -> None:
        super().__init__(below)
        self.calls: list[tuple[str, int, int]] = []

    def names(self) -> list[str]:
        return [name for name, _, _ in self.calls]

    def read_into(self, offset_bytes: int, buffer: bytearray | memoryview) -> None:
        self.calls.append(("read", offset_bytes, len(buffer)))
        super().read_into(offset_bytes, buffer)

    def write(self, offset_bytes: int, data: Buffer, *, fua: bool = False) -> None:
        self.calls.append(("write-fua" if fua else "write", offset_bytes, len(data)))
        super().write(offset_bytes, data, fua=fua)

    def write_zeroes(self, offset_bytes: int, length_bytes: int) -> None:
        self.calls.append(("write_zeroes", offset_bytes, length_bytes))
        super().write_zeroes(offset_bytes, length_bytes)

    def discard(self, offset_bytes: int, length_bytes: int) -> None:
        self.calls.append(("discard", offset_bytes, length_bytes))
        super().discard(offset_bytes, length_bytes)

    def flush(self) -> None:
        self.calls.append(("flush", 0, 0))
        super().flush()
