"""Opening volumes: one process holds a volume, and all its openings there share it."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from typing import Any, Final

from blockdev.device import BlockDevice
from blockdev.filters.metrics import MetricsSnapshot, OperationMetrics
from blockdev.filters.throttle import Budget
from blockdev.folder_lock import is_held
from blockdev.model import ServiceError
from blockdev.region.base import Surroundings
from blockdev.region.captures import Captures
from blockdev.region.handle import VolumeHandle
from blockdev.region.held import HeldVolume, performance, saved_credits
from blockdev.region.holding import (
    OPEN_ID_BYTES,
    Body,
    VolumeHeldElsewhereError,
    volume_rows,
)

OPEN_TRIES: Final = 100
OPEN_WAIT_S: Final = 0.05
"""How long a volume is waited for that another process lets go of: five seconds."""


class OpenVerbs(Captures):
    """Volumes as block devices."""

    def __init__(self, surroundings: Surroundings) -> None:
        super().__init__(surroundings)
        self._host_verbs["metrics"] = self._answer_metrics
        self._host_verbs["credits"] = self._answer_credits
        self._host_verbs["yield"] = self._answer_yield

    def open_volume(
        self, volume_id: str, *, instance_id: str = "", throttled: bool = True, delayed: bool = True
    ) -> BlockDevice:
        """Open a volume: metrics, throttle, delay, live volume, from the top.

        One process holds a volume; one that only copies a snapshot of it lets go.  More
        openings in the process share the volume and its budget, those of several instances
        with Multi-Attach among them.  With `instance_id` the volume must be attached to
        that running instance.  `throttled=False` and `delayed=False` leave those layers
        out.  Closing the device gives the volume back.

        Raises:
            ServiceError: InvalidVolume.NotFound, IncorrectState (being created, deleted or
                detached, or the instance is not running), InvalidInstanceID.NotFound,
                InvalidAttachment.NotFound, VolumeInUse (another process holds it).
        """
        self._forget_the_dead()
        open_id = self._register_open(volume_id, instance_id)
        try:
            for _ in range(OPEN_TRIES):
                with self._lock, suppress(VolumeHeldElsewhereError):
                    self._check_region_open()
                    held = self._hold_and_copy(volume_id)
                    return held.add(open_id, instance_id, (throttled, delayed), self._release)
                if (self._ask(volume_id, "yield") or {}).get("refused"):
                    break
                self._closing.wait(OPEN_WAIT_S)
            raise VolumeHeldElsewhereError(volume_id)
        except BaseException:
            self._strike_open(open_id)
            raise

    def volume_metrics(self, volume_id: str) -> MetricsSnapshot:
        """All calls on an open volume, whichever process holds it; nothing if nobody does.

        Raises:
            ServiceError: InvalidVolume.NotFound.
        """
        with self._lock:
            held = self._held.get(volume_id)
            if held is not None:
                return held.metrics()
        answer = self._ask(volume_id, "metrics")
        if answer is None:
            self._check_volume_exists(volume_id)
            return MetricsSnapshot.nothing()
        return MetricsSnapshot(**{name: _operation(one) for name, one in answer.items()})

    def credit_balance(self, volume_id: str) -> float | None:
        """I/O credits (gp2) or bytes (st1, sc1) in the burst bucket; None for other types.

        A volume that is not open earns: the balance is as of now.

        Raises:
            ServiceError: InvalidVolume.NotFound.
        """
        with self._lock:
            held = self._held.get(volume_id)
            if held is not None:
                return held.budget.credit_balance(self._clock.monotonic_ns())
        answer = self._ask(volume_id, "credits")
        if answer is not None:
            balance: float | None = answer["balance"]
            return balance
        with self._read() as (connection, now_ns):
            self._volume(connection, volume_id, now_ns)
            row, latest = volume_rows(connection, volume_id)
        assert row is not None  # it was found in the same transaction
        limits = performance(row, latest, now_ns).limits
        saved = saved_credits(row, limits, now_ns)
        return Budget(limits, 0, saved).credit_balance(0)

    def set_credits(self, volume_id: str, credits: float) -> None:
        """Let the burst bucket of a volume that nobody has open hold `credits` from now on, or
        what it holds at most: for experiments; EC2 has no such verb.

        Raises:
            ServiceError: InvalidVolume.NotFound, InvalidParameterCombination (the type has no
                credits), InvalidParameterValue (fewer than none), VolumeInUse (it is open).
        """
        if credits < 0:
            raise ServiceError("InvalidParameterValue", "A credit balance is 0 or more.")
        if self.credit_balance(volume_id) is None:
            raise ServiceError(
                "InvalidParameterCombination", f"Volume '{volume_id}' is of a type without credits."
            )
        with self._lock:
            if volume_id in self._held or is_held(self._volume_folder(volume_id)):
                raise ServiceError("VolumeInUse", f"Volume {volume_id} is open.")
            with self._write() as (connection, now_ns):
                connection.execute(
                    "UPDATE volumes SET credits = ?, credits_ns = ? WHERE volume_id = ?",
                    (float(credits), now_ns, volume_id),
                )

    def _release(self, handle: VolumeHandle) -> None:
        """A handle was closed: strike its opening, and let go of the volume if it was the last."""
        with self._lock:
            held = self._held.get(handle.volume_id)
            if held is None:
                return
            open_id = held.remove(handle)
            self._let_go_if_idle(held)
            if open_id:
                self._strike_open(open_id)

    # Rows of openings.

    def _register_open(self, volume_id: str, instance_id: str) -> str:
        """Write down that this process opens the volume, if it may."""
        open_id = self._entropy.token_bytes(OPEN_ID_BYTES).hex()
        with self._write() as (connection, now_ns):
            volume = self._volume(connection, volume_id, now_ns)
            if volume.state not in ("available", "in-use"):
                raise ServiceError(
                    "IncorrectState", f"Volume '{volume_id}' is in the '{volume.state}' state."
                )
            if instance_id:
                instance = self._instance(connection, instance_id, now_ns)
                if instance.state not in ("pending", "running"):
                    raise ServiceError(
                        "IncorrectState", f"Instance '{instance_id}' is not 'running'."
                    )
                states = [a.state for a in volume.attachments if a.instance_id == instance_id]
                _check_attached(volume_id, instance_id, states)
            connection.execute(
                "INSERT INTO opens VALUES (?, ?, ?, ?)",
                (open_id, volume_id, instance_id, self._owner.name),
            )
        return open_id

    def _check_volume_exists(self, volume_id: str) -> None:
        with self._read() as (connection, now_ns):
            self._volume(connection, volume_id, now_ns)

    def _answer_metrics(self, volume_id: str, _: Body) -> Body:
        return asdict(self.volume_metrics(volume_id))

    def _answer_yield(self, volume_id: str, _: Body) -> Body:
        """Let go of a volume that is held for a copy only; the asker goes on with the copy."""
        held = self._held[volume_id]
        if not _is_copying_only(held):
            return {"refused": True}
        self._unkeep(volume_id, held.copy_keeper)
        return {}

    def _answer_credits(self, volume_id: str, _: Body) -> Body:
        return {"balance": self.credit_balance(volume_id)}


def _is_copying_only(held: HeldVolume) -> bool:
    return not held.handles and held.keepers == {held.copy_keeper}


def _check_attached(volume_id: str, instance_id: str, states: list[str]) -> None:
    if not states:
        raise ServiceError(
            "InvalidAttachment.NotFound",
            f"Volume '{volume_id}' is not attached to instance '{instance_id}'.",
        )
    if states[0] != "attached":
        raise ServiceError(
            "IncorrectState",
            f"The attachment of volume '{volume_id}' to instance '{instance_id}' is in the "
            f"'{states[0]}' state.",
        )


def _operation(fields: Mapping[str, Any]) -> OperationMetrics:
    """Figures as another process sent them."""
    return OperationMetrics(**{**fields, "latency_buckets": tuple(fields["latency_buckets"])})
