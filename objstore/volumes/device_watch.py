"""What the log tells of a store's volume: its burst credits as they run dry, and on request."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass
from typing import Final

from blockdev import profiles
from blockdev.filters.metrics import MetricsSnapshot
from blockdev.model import GIB, ServiceError, VolumeSpec
from blockdev.service import Region

LOOK_EVERY_S: Final = 1.0
STEPS: Final = 10
"""A line for each tenth of the bucket that the balance has crossed."""

EMPTY_S: Final = 10
EMPTY_UP_TO: Final = 100
"""Under the earnings of so many seconds a bucket counts as empty, until a hundredth is in it."""

logger = logging.getLogger("objstore.device")


@dataclass(frozen=True, slots=True)
class Credits:
    """A burst bucket: I/Os of gp2, bytes of st1 and sc1; `per_s` is what it earns."""

    balance: float
    depth: int
    per_s: int
    counts_bytes: bool

    def step(self, was: int | None) -> int:
        """How full it is: 0 for empty, STEPS for full, rounded up between.

        Empty is less than what `EMPTY_S` bring in; it then stays so up to a hundredth, for
        a volume that is used as it earns goes up and down there.
        """
        least = self.depth / EMPTY_UP_TO if was == 0 else self.per_s * EMPTY_S
        return 0 if self.balance < least else -int(-self.balance * STEPS // self.depth)

    def __str__(self) -> str:
        share = f"{self.balance / self.depth:.1%}"
        if self.counts_bytes:
            return f"{self.balance / GIB:,.2f} of {self.depth / GIB:,.0f} GiB of credits ({share})"
        return f"{self.balance:,.0f} of {self.depth:,} I/O credits ({share})"


def credits_of(region: Region, volume_id: str) -> Credits | None:
    """The burst credits of a volume; None if its type has none.

    Raises:
        ServiceError: InvalidVolume.NotFound, Unavailable.
    """
    balance = region.credit_balance(volume_id)
    limits = profiles.limits(region.describe_volume(volume_id).spec)
    if balance is None or limits.credits is None:
        return None
    rate = limits.credits
    return Credits(balance, rate.depth, rate.tokens_per_s, limits.counts_whole_units)


class DeviceWatch:
    """Writes lines to the log from a thread of its own, until it is stopped."""

    def __init__(self, region: Region, volume_id: str, every_s: float = LOOK_EVERY_S) -> None:
        self._region = region
        self._volume_id = volume_id
        self._every_s = every_s
        self._asked = 0
        self._answered = 0
        self._step: int | None = None
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="objstore-device", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def ask(self, *_: object) -> None:
        """Have a line written soon; fit to be a signal handler, since it takes no lock."""
        self._asked += 1

    def stop(self) -> None:
        """End the thread; before the region is closed."""
        self._stopping.set()
        self._thread.join()

    def look(self) -> None:
        """Write what there is to tell, if anything."""
        asked = self._asked
        found = credits_of(self._region, self._volume_id)
        if asked != self._answered:
            self._answered = asked
            logger.info("%s", self._report(found))
        was, self._step = self._step, None if found is None else found.step(self._step)
        if found is not None and self._step != was:
            self._tell(found, was)

    def _run(self) -> None:
        while not self._stopping.wait(self._every_s):
            try:
                self.look()
            except ServiceError as error:
                logger.warning("%s: %s", self._volume_id, error)

    def _tell(self, found: Credits, was: int | None) -> None:
        if self._step == 0:
            rest = _least(self._spec())
            logger.warning("%s: its burst credits are used up: %s now", self._volume_id, rest)
        elif was is not None or self._step != STEPS:  # a full one at the start is no news
            logger.info("%s: %s", self._volume_id, found)

    def _spec(self) -> VolumeSpec:
        return self._region.describe_volume(self._volume_id).spec

    def _report(self, found: Credits | None) -> str:
        spec, metrics = self._spec(), self._region.volume_metrics(self._volume_id)
        credits = "no burst credits" if found is None else str(found)
        return (
            f"{self._volume_id} ({spec.volume_type}, {spec.size_gib} GiB): {credits}; "
            f"{_calls(metrics)} since the server started"
        )


def _least(spec: VolumeSpec) -> str:
    """What a volume does without credits."""
    limits = profiles.limits(spec)
    assert limits.credits is not None  # of a type that can use them up
    rate = limits.credits.tokens_per_s
    return f"{rate / 1024**2:.1f} MiB/s" if limits.counts_whole_units else f"{rate:,} IOPS"


def _calls(metrics: MetricsSnapshot) -> str:
    reads = metrics.reads.calls + metrics.try_reads.calls - metrics.try_reads.declined
    writes = metrics.writes.calls + metrics.durable_writes.calls
    moved = metrics.reads.bytes + metrics.try_reads.bytes
    written = metrics.writes.bytes + metrics.durable_writes.bytes
    return (
        f"{reads:,} reads of {moved / 1024**2:,.1f} MiB, "
        f"{writes:,} writes of {written / 1024**2:,.1f} MiB"
    )
