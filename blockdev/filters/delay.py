"""The time that an I/O takes of itself, whatever the limits: network, queue and medium.

Reads, writes and written zeroes take what the model says, counted from their start: what
the device below needs is part of it.  Flushes and discards take nothing of their own: EBS
acknowledges a write when it is durable.
"""

from __future__ import annotations

from blockdev.clock import Clock
from blockdev.device import BlockDevice, Buffer, byte_view, check_range
from blockdev.entropy import Entropy
from blockdev.filters.passthrough import Passthrough
from blockdev.latency import LatencyModel, LatencySampler


class DelayDevice(Passthrough):
    """`below`, no faster than `model`; belongs right below the throttle.

    `entropy`: draws the latencies; a `SeededEntropy` gives the same ones again.
    `try_read_into` declines, since every read waits, unless the model takes no time.
    """

    def __init__(
        self, below: BlockDevice, model: LatencyModel, clock: Clock, entropy: Entropy
    ) -> None:
        super().__init__(below)
        self._is_zero = model.is_zero
        self._sample_ns = LatencySampler(model, entropy).sample_ns
        self._now_ns = clock.monotonic_ns
        self._sleep_until = clock.sleep_until

    def read_into(self, offset_bytes: int, buffer: bytearray | memoryview) -> None:
        if self._is_zero:
            self._below.read_into(offset_bytes, buffer)
            return
        started_ns = self._now_ns()
        self._below.read_into(offset_bytes, buffer)
        self._sleep_until(started_ns + self._sample_ns(False))

    def try_read_into(self, offset_bytes: int, buffer: bytearray | memoryview) -> bool:
        if self._is_zero or not len(buffer):
            return self._below.try_read_into(offset_bytes, buffer)
        # A request that cannot be met is refused, as by any device, and not declined.
        self._below.try_read_into(0, bytearray())
        check_range(self._geometry, offset_bytes, byte_view(buffer).nbytes)
        return False

    def write(self, offset_bytes: int, data: Buffer, *, fua: bool = False) -> None:
        if self._is_zero:
            self._below.write(offset_bytes, data, fua=fua)
            return
        started_ns = self._now_ns()
        self._below.write(offset_bytes, data, fua=fua)
        self._sleep_until(started_ns + self._sample_ns(True))

    def write_zeroes(self, offset_bytes: int, length_bytes: int) -> None:
        started_ns = self._now_ns()
        self._below.write_zeroes(offset_bytes, length_bytes)
        self._sleep_until(started_ns + self._sample_ns(True))
