"""Counts, bytes and latencies of a device, kept cheaply and read as one frozen value."""

from __future__ import annotations

import copy
import threading
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Final

from blockdev.clock import Clock
from blockdev.device import BlockDevice, Buffer, Extent
from blockdev.filters.passthrough import Passthrough

LATENCY_BUCKETS: Final = 48
"""Bucket b counts calls that took from 2**(b-1) to 2**b - 1 ns; the last one also all longer
ones (2**47 ns is 39 hours), and bucket 0 those of which the clock saw nothing."""


@dataclass(frozen=True, slots=True)
class OperationMetrics:
    """One kind of call, up to one moment.

    `calls` counts all; of these `errors` raised and `declined` answered False
    (`try_read_into` only).  `bytes` were moved by the calls that succeeded.
    `total_ns` is the time spent in all of them, and `latency_buckets` its
    distribution (see LATENCY_BUCKETS).
    """

    calls: int
    errors: int
    declined: int
    bytes: int
    total_ns: int
    latency_buckets: tuple[int, ...]

    def quantile_ns(self, fraction: float) -> int:
        """An upper bound, less than twice too high, of the latency that `fraction` of calls met.

        0 if there were no calls.
        """
        left = fraction * self.calls
        for bucket, count in enumerate(self.latency_buckets):
            left -= count
            if count and left <= 0:
                return (1 << bucket) - 1
        return 0

    def plus(self, other: OperationMetrics) -> OperationMetrics:
        """Both together, such as two ways into one volume."""
        return OperationMetrics(
            self.calls + other.calls,
            self.errors + other.errors,
            self.declined + other.declined,
            self.bytes + other.bytes,
            self.total_ns + other.total_ns,
            tuple(
                mine + theirs
                for mine, theirs in zip(self.latency_buckets, other.latency_buckets, strict=True)
            ),
        )

    def since(self, earlier: OperationMetrics) -> OperationMetrics:
        """What came after `earlier`."""
        return OperationMetrics(
            self.calls - earlier.calls,
            self.errors - earlier.errors,
            self.declined - earlier.declined,
            self.bytes - earlier.bytes,
            self.total_ns - earlier.total_ns,
            tuple(
                now - then
                for now, then in zip(self.latency_buckets, earlier.latency_buckets, strict=True)
            ),
        )


@dataclass(frozen=True, slots=True)
class MetricsSnapshot:
    """All kinds of calls up to one moment; `durable_writes` are those with ``fua=True``."""

    reads: OperationMetrics
    try_reads: OperationMetrics
    writes: OperationMetrics
    durable_writes: OperationMetrics
    zeroes: OperationMetrics
    discards: OperationMetrics
    flushes: OperationMetrics

    @classmethod
    def nothing(cls) -> MetricsSnapshot:
        """No call at all."""
        none = OperationMetrics(0, 0, 0, 0, 0, (0,) * LATENCY_BUCKETS)
        return cls(none, none, none, none, none, none, none)

    def plus(self, other: MetricsSnapshot) -> MetricsSnapshot:
        """Both together."""
        return MetricsSnapshot(
            **{
                field.name: getattr(self, field.name).plus(getattr(other, field.name))
                for field in fields(self)
            }
        )

    def since(self, earlier: MetricsSnapshot) -> MetricsSnapshot:
        """What came after `earlier`."""
        return MetricsSnapshot(
            **{
                field.name: getattr(self, field.name).since(getattr(earlier, field.name))
                for field in fields(self)
            }
        )


class _Tally:
    """The running figures of one kind of call.

    `add` takes the lock: += on an attribute is several steps of the
    interpreter, and two threads would lose counts between them.
    """

    __slots__ = ("_buckets", "_bytes", "_calls", "_declined", "_errors", "_lock", "_total_ns")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._calls = self._errors = self._declined = self._bytes = self._total_ns = 0
        self._buckets = [0] * LATENCY_BUCKETS

    def add(self, elapsed_ns: int, length_bytes: int, declined: int = 0, errors: int = 0) -> None:
        bucket = min(elapsed_ns.bit_length(), LATENCY_BUCKETS - 1)
        with self._lock:
            self._calls += 1
            self._errors += errors
            self._declined += declined
            self._bytes += length_bytes
            self._total_ns += elapsed_ns
            self._buckets[bucket] += 1

    def snapshot(self) -> OperationMetrics:
        with self._lock:
            return OperationMetrics(
                self._calls,
                self._errors,
                self._declined,
                self._bytes,
                self._total_ns,
                tuple(self._buckets),
            )


class MetricsDevice(Passthrough):
    """`below`, measured with `clock`; put it on top, so that waiting in other layers counts."""

    def __init__(self, below: BlockDevice, clock: Clock) -> None:
        super().__init__(below)
        self._now_ns = clock.monotonic_ns
        self._reads = _Tally()
        self._try_reads = _Tally()
        self._writes = _Tally()
        self._durable_writes = _Tally()
        self._zeroes = _Tally()
        self._discards = _Tally()
        self._flushes = _Tally()

    def beside(self, below: BlockDevice) -> MetricsDevice:
        """Another device, whose calls are counted among the figures of this one."""
        other = copy.copy(self)
        other.rebase(below)
        return other

    def snapshot(self) -> MetricsSnapshot:
        """The figures so far; each kind of call is consistent in itself."""
        return MetricsSnapshot(
            reads=self._reads.snapshot(),
            try_reads=self._try_reads.snapshot(),
            writes=self._writes.snapshot(),
            durable_writes=self._durable_writes.snapshot(),
            zeroes=self._zeroes.snapshot(),
            discards=self._discards.snapshot(),
            flushes=self._flushes.snapshot(),
        )

    def read_into(self, offset_bytes: int, buffer: bytearray | memoryview) -> None:
        started_ns = self._now_ns()
        try:
            self._below.read_into(offset_bytes, buffer)
        except BaseException:
            self._reads.add(self._now_ns() - started_ns, 0, errors=1)
            raise
        self._reads.add(self._now_ns() - started_ns, _length(buffer))

    def try_read_into(self, offset_bytes: int, buffer: bytearray | memoryview) -> bool:
        started_ns = self._now_ns()
        try:
            done = self._below.try_read_into(offset_bytes, buffer)
        except BaseException:
            self._try_reads.add(self._now_ns() - started_ns, 0, errors=1)
            raise
        length_bytes, declined = (_length(buffer), 0) if done else (0, 1)
        self._try_reads.add(self._now_ns() - started_ns, length_bytes, declined)
        return done

    def write(self, offset_bytes: int, data: Buffer, *, fua: bool = False) -> None:
        tally = self._durable_writes if fua else self._writes
        started_ns = self._now_ns()
        try:
            self._below.write(offset_bytes, data, fua=fua)
        except BaseException:
            tally.add(self._now_ns() - started_ns, 0, errors=1)
            raise
        tally.add(self._now_ns() - started_ns, _length(data))

    def write_zeroes(self, offset_bytes: int, length_bytes: int) -> None:
        started_ns = self._now_ns()
        try:
            self._below.write_zeroes(offset_bytes, length_bytes)
        except BaseException:
            self._zeroes.add(self._now_ns() - started_ns, 0, errors=1)
            raise
        self._zeroes.add(self._now_ns() - started_ns, length_bytes)

    def discard(self, offset_bytes: int, length_bytes: int) -> None:
        started_ns = self._now_ns()
        try:
            self._below.discard(offset_bytes, length_bytes)
        except BaseException:
            self._discards.add(self._now_ns() - started_ns, 0, errors=1)
            raise
        self._discards.add(self._now_ns() - started_ns, length_bytes)

    def flush(self) -> None:
        started_ns = self._now_ns()
        try:
            self._below.flush()
        except BaseException:
            self._flushes.add(self._now_ns() - started_ns, 0, errors=1)
            raise
        self._flushes.add(self._now_ns() - started_ns, 0)

    def extents(self, offset_bytes: int, length_bytes: int) -> Iterator[Extent]:
        """Not measured: the time goes by while the caller walks through it."""
        return self._below.extents(offset_bytes, length_bytes)


def _length(buffer: Buffer) -> int:
    return buffer.nbytes if isinstance(buffer, memoryview) else len(buffer)
