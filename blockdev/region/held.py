"""A volume that this process has open: its live device, its one budget, the stacks over it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from blockdev import profiles
from blockdev import volume as rules
from blockdev.clock import Clock
from blockdev.credits import Limits, earned
from blockdev.device import BlockDevice
from blockdev.entropy import Entropy
from blockdev.filters.delay import DelayDevice
from blockdev.filters.metrics import MetricsDevice, MetricsSnapshot
from blockdev.filters.throttle import Budget, ThrottleDevice
from blockdev.host import VolumeHost
from blockdev.live import LiveVolume
from blockdev.model import GIB
from blockdev.region import rows
from blockdev.region.fence import FenceDevice
from blockdev.region.handle import VolumeHandle, WatchDevice

FIRST_TOUCH_NS: Final = 20_000_000
"""What the first touch of a block of a restored volume takes beyond its I/O: 512 KiB fetched
from S3.  AWS states no figure; derived from a single stream of some 25 MiB/s."""

Way = tuple[bool, bool]
"""Whether a volume is opened throttled, and whether delayed."""


@dataclass(frozen=True, slots=True)
class Performance:
    """What a volume is at a moment, and what it becomes by itself.

    `limits` hold now, `later` from `later_ns` on (wall clock).  `resize_ns`: when the size
    will be another one.
    """

    size_bytes: int
    limits: Limits
    later: Limits | None = None
    later_ns: int = 0
    resize_ns: int | None = None


def performance(volume: rows.Row, modification: rows.Row | None, now_ns: int) -> Performance:
    """By the row of a volume and that of its latest modification."""
    spec = rows.spec_of(volume)
    if modification is None or now_ns >= modification["completed_ns"]:
        return Performance(spec.size_gib * GIB, profiles.limits(spec))
    original, resize_ns = rows.original_of(modification), modification["optimizing_ns"]
    if now_ns < resize_ns:
        limits = profiles.limits(original)
        return Performance(original.size_gib * GIB, limits, resize_ns=resize_ns)
    return Performance(
        spec.size_gib * GIB,
        rules.halfway(original, spec),
        later=profiles.limits(spec),
        later_ns=modification["completed_ns"],
    )


def saved_credits(volume: rows.Row, limits: Limits, now_ns: int) -> float | None:
    """What the burst bucket holds after the time in which nobody had the volume open."""
    if volume["credits"] is None:
        return None
    away_ns = max(now_ns - volume["credits_ns"], 0)
    return earned(limits, volume["credits"], away_ns)


@dataclass(frozen=True, slots=True)
class _Opening:
    """A handle, how it was opened, and the layers below it that are its own."""

    handle: VolumeHandle
    way: Way
    fence: FenceDevice
    metrics: MetricsDevice


class HeldVolume:
    """Not safe to share between threads by itself: the region's lock guards it.

    The devices that it hands out are.
    """

    def __init__(
        self,
        volume_id: str,
        live: LiveVolume,
        host: VolumeHost,
        budget: Budget,
        clock: Clock,
        entropy: Entropy,
        *,
        touch_costs: bool,
    ) -> None:
        self.volume_id = volume_id
        self.live = live
        self.host = host
        self.budget = budget
        self.handles: dict[str, _Opening] = {}
        self.keepers: set[str] = set()
        self.copy_keeper = ""
        self._clock = clock
        self._entropy = entropy
        self._touch_costs = touch_costs
        self._figures = MetricsDevice(live, clock)
        self._watched: tuple[int, Callable[[], None]] | None = None

    @property
    def is_idle(self) -> bool:
        """Whether nobody needs it open: no handle, no copy."""
        return not self.handles and not self.keepers

    def add(
        self, open_id: str, instance_id: str, way: Way, release: Callable[[VolumeHandle], None]
    ) -> VolumeHandle:
        """A handle for one more opening."""
        fence = FenceDevice(self.live)
        metrics = self._figures.beside(self._below_metrics(way, fence))
        handle = VolumeHandle(self.volume_id, instance_id, self._top(metrics), fence, release)
        self.handles[open_id] = _Opening(handle, way, fence, metrics)
        self._set_touch()
        return handle

    def remove(self, handle: VolumeHandle) -> str:
        """Forget a handle; returns its open_id, or "" if it is forgotten already."""
        for open_id, opening in self.handles.items():
            if opening.handle is handle:
                del self.handles[open_id]
                self._set_touch()
                return open_id
        return ""

    def revoke(self, known: set[str]) -> None:
        """Take the device away from handles whose opening is not among `known`.

        When it returns nothing that was asked for through them takes effect any more.
        """
        lost = [one for one in self.handles if one not in known]
        handles = [self.handles.pop(open_id).handle for open_id in lost]
        for handle in handles:
            handle.revoke(f"{self.volume_id} was detached")
        for handle in handles:
            if not handle.drain():  # then the volume is frozen, and so are the others
                break
        self._set_touch()

    def apply(self, now: Performance, due: Callable[[], None]) -> None:
        """Be what `now` says: size, limits, and what comes later; `due` is called then."""
        monotonic_ns = self._clock.monotonic_ns()
        if now.limits != self.budget.limits:
            self.budget.change(now.limits, monotonic_ns)
        if now.later is not None:
            left_ns = max(now.later_ns - self._clock.now_ns(), 0)
            self.budget.schedule(now.later, monotonic_ns + left_ns)
        if now.size_bytes > self.live.geometry.size_bytes:
            self.live.grow(now.size_bytes)
        self._watched = None if now.resize_ns is None else (now.resize_ns, due)
        for opening in self.handles.values():
            opening.fence.rebase(self.live)
            opening.metrics.rebase(self._below_metrics(opening.way, opening.fence))
            opening.handle.put_on(self._top(opening.metrics))

    def metrics(self) -> MetricsSnapshot:
        """All calls on the volume since this process opened it."""
        return self._figures.snapshot()

    def _below_metrics(self, way: Way, fence: FenceDevice) -> BlockDevice:
        throttled, delayed = way
        device: BlockDevice = fence
        if delayed:
            latency = self.budget.limits.latency
            device = DelayDevice(device, latency, self._clock, self._entropy)
        if throttled:
            device = ThrottleDevice(device, self.budget, self._clock)
        return device

    def _top(self, metrics: MetricsDevice) -> BlockDevice:
        if self._watched is None:
            return metrics
        at_ns, due = self._watched

        def changed() -> BlockDevice:
            due()
            return metrics

        return WatchDevice(metrics, self._clock, at_ns, changed)

    def _set_touch(self) -> None:
        """The first touch costs time while somebody has the volume open with its delays."""
        delayed = any(opening.way[1] for opening in self.handles.values())
        self.live.set_first_touch(self._touch if delayed and self._touch_costs else None)

    def _touch(self, index: int) -> None:
        self._clock.sleep_until(self._clock.monotonic_ns() + FIRST_TOUCH_NS)
