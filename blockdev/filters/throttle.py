"""A volume's limits, enforced: I/O waits until its share of IOPS, throughput and credits is there.

By reservation: an I/O takes its tokens at once, into debt if need be, and sleeps until the
time at which the debt is paid.  That is fair, needs no retry, and gives the same answer on
the real clock as on a `ManualClock`, where the sleep costs nothing.
"""

from __future__ import annotations

import threading

from blockdev.clock import Clock
from blockdev.credits import Limits, Meter
from blockdev.device import BlockDevice, Buffer
from blockdev.filters.passthrough import Passthrough


class Budget:
    """What a volume may still do; the attachments of one volume share one.

    Times are readings of `Clock.monotonic_ns`.  Safe to share between threads.
    """

    def __init__(self, limits: Limits, now_ns: int, credits: float | None = None) -> None:
        """Begin with `credits` in the burst bucket, full if that is None."""
        self._meter = Meter(limits, now_ns, credits)
        self._lock = threading.Lock()

    @property
    def limits(self) -> Limits:
        """Those in force."""
        return self._meter.limits

    @property
    def snapshot_in_progress(self) -> bool:
        """Holds st1 and sc1 to their baseline while it is True."""
        return self._meter.snapshot_in_progress

    @snapshot_in_progress.setter
    def snapshot_in_progress(self, value: bool) -> None:
        self._meter.snapshot_in_progress = value

    def reserve(
        self,
        offset_bytes: int,
        length_bytes: int,
        is_write: bool,
        now_ns: int,
        ends_run: bool = False,
    ) -> int:
        """Take what an I/O costs; returns when it may begin, `now_ns` or later.

        `ends_run`: nothing that comes after it is merged with it.
        """
        with self._lock:
            return self._meter.reserve(offset_bytes, length_bytes, is_write, now_ns, ends_run)

    def end_writes(self) -> None:
        """A flush: what was written before it is not merged with what is written after."""
        with self._lock:
            self._meter.end_writes()

    def is_free(self, offset_bytes: int, length_bytes: int, is_write: bool, now_ns: int) -> bool:
        """Whether an I/O could begin at once; takes nothing."""
        with self._lock:
            return self._meter.is_free(offset_bytes, length_bytes, is_write, now_ns)

    def credit_balance(self, now_ns: int) -> float | None:
        """I/O credits (gp2) or bytes of throughput (st1, sc1); None for types without."""
        with self._lock:
            return self._meter.credit_balance(now_ns)

    def change(self, limits: Limits, now_ns: int) -> None:
        """Go on with other limits at once, the credits kept; see `Meter.change`."""
        with self._lock:
            self._meter.change(limits, now_ns)

    def schedule(self, limits: Limits, at_ns: int) -> None:
        """Let other limits come into force at `at_ns`; replaces what was scheduled before."""
        with self._lock:
            self._meter.schedule(limits, at_ns)


class ThrottleDevice(Passthrough):
    """`below`, as fast as `budget` allows.

    Belongs above the volume, so that its copy-on-write is not billed to the client, and
    below metrics, so that waiting shows as latency.  Reads, writes and written zeroes cost;
    flushes, discards and requests that `below` will refuse do not.  `try_read_into` declines
    what would have to wait.
    """

    def __init__(self, below: BlockDevice, budget: Budget, clock: Clock) -> None:
        super().__init__(below)
        self._budget = budget
        self._reserve = budget.reserve
        self._now_ns = clock.monotonic_ns
        self._sleep_until = clock.sleep_until
        self._size_bytes = self._geometry.size_bytes
        self._closed = False

    @property
    def budget(self) -> Budget:
        """What it draws on."""
        return self._budget

    def read_into(self, offset_bytes: int, buffer: bytearray | memoryview) -> None:
        length_bytes = buffer.nbytes if isinstance(buffer, memoryview) else len(buffer)
        self._pay(offset_bytes, length_bytes, False)
        self._below.read_into(offset_bytes, buffer)

    def try_read_into(self, offset_bytes: int, buffer: bytearray | memoryview) -> bool:
        length_bytes = buffer.nbytes if isinstance(buffer, memoryview) else len(buffer)
        if not self._costs(offset_bytes, length_bytes):
            return self._below.try_read_into(offset_bytes, buffer)
        now_ns = self._now_ns()
        if not self._budget.is_free(offset_bytes, length_bytes, False, now_ns):
            return False
        if not self._below.try_read_into(offset_bytes, buffer):
            return False  # costs nothing: the caller comes again with read_into
        # Others may have been faster meanwhile; then this is a debt that the next one waits for.
        self._reserve(offset_bytes, length_bytes, False, now_ns)
        return True

    def write(self, offset_bytes: int, data: Buffer, *, fua: bool = False) -> None:
        length_bytes = data.nbytes if isinstance(data, memoryview) else len(data)
        # What has to be durable before its sender goes on cannot wait to be merged with more;
        # plain writes can, as in the queue of a kernel until it flushes.
        self._pay(offset_bytes, length_bytes, True, fua)
        self._below.write(offset_bytes, data, fua=fua)

    def write_zeroes(self, offset_bytes: int, length_bytes: int) -> None:
        """Costs what writing them would: EBS has no command for it."""
        self._pay(offset_bytes, length_bytes, True)
        self._below.write_zeroes(offset_bytes, length_bytes)

    def flush(self) -> None:
        """Costs nothing, but the writes before it can no longer be merged with later ones."""
        self._budget.end_writes()
        self._below.flush()

    def close(self) -> None:
        self._closed = True
        self._below.close()

    def _costs(self, offset_bytes: int, length_bytes: int) -> bool:
        """Whether there is something to do, and `below` will not refuse to do it."""
        return (
            not self._closed
            and offset_bytes >= 0
            and length_bytes > 0
            and offset_bytes + length_bytes <= self._size_bytes
        )

    def _pay(
        self, offset_bytes: int, length_bytes: int, is_write: bool, ends_run: bool = False
    ) -> None:
        """Wait for an I/O's turn; one that `below` will refuse has none."""
        if not self._costs(offset_bytes, length_bytes):
            return
        now_ns = self._now_ns()
        ready_ns = self._reserve(offset_bytes, length_bytes, is_write, now_ns, ends_run)
        if ready_ns > now_ns:
            self._sleep_until(ready_ns)
