"""CreateSnapshots: one moment for all volumes of an instance.

Every volume is frozen, so that no write takes effect on any of them; then the points in
time are fixed, one after the other; then all go on.  A volume that another process holds is
frozen there, and thaws by itself if this process does not come back.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Final

from blockdev.model import Instance, ServiceError, Snapshot, Volume
from blockdev.region import rows
from blockdev.region.base import Surroundings
from blockdev.region.captures import BEGIN_TRIES, BEGIN_WAIT_S
from blockdev.region.database import Connection
from blockdev.region.holding import Body, VolumeHeldElsewhereError
from blockdev.region.snapshots import SnapshotVerbs
from blockdev.volume import canonical_device

FREEZE_LIMIT_S: Final = 30.0
"""How long a volume stays frozen for another process that does not come back."""


class SnapshotSetVerbs(SnapshotVerbs):
    """Snapshots of several volumes at one moment."""

    def __init__(self, surroundings: Surroundings) -> None:
        super().__init__(surroundings)
        self._frozen_for_others: dict[str, tuple[str, threading.Timer]] = {}
        self._host_verbs["freeze"] = self._answer_freeze
        self._host_verbs["thaw"] = self._answer_thaw
        self._host_verbs["is_frozen"] = self._answer_is_frozen

    def create_snapshots(
        self,
        instance_id: str,
        *,
        exclude_boot: bool = False,
        exclude_volume_ids: Sequence[str] = (),
        description: str = "",
        tags: Mapping[str, str] = {},
        copy_volume_tags: bool = False,
    ) -> list[Snapshot]:
        """Snapshots of all volumes of an instance, consistent with each other; all or none.

        `copy_volume_tags`: each snapshot gets the tags of its volume too.

        Raises:
            ServiceError: InvalidInstanceID.NotFound, InvalidParameterValue (no volume is
                left, or one to be left out is not attached), and what CreateSnapshot raises.
        """
        with self._write() as (connection, now_ns):
            instance = self._instance(connection, instance_id, now_ns)
            volumes = _chosen(connection, now_ns, instance, exclude_boot, exclude_volume_ids)
            begun: dict[str, str] = {}
            for index, volume in enumerate(volumes):
                self._check_may_snapshot(connection, now_ns, volume)
                both = {**volume.tags, **tags} if copy_volume_tags else tags
                begun[volume.volume_id] = self._insert_snapshot(
                    connection, now_ns, volume, description, both, index
                )
        try:
            self._begin_together(begun)
        except BaseException:
            self._strike_snapshots(list(begun.values()))
            raise
        return self.describe_snapshots(list(begun.values()))

    def _begin_together(self, begun: Mapping[str, str]) -> None:
        """Fix all points in time (volume to snapshot) while every volume is frozen.

        One set at a time in a region, so that none thaws what another has frozen.
        """
        with self._alone("sets.lock"), ExitStack() as frozen:
            for volume_id in begun:
                frozen.enter_context(self._frozen(volume_id))
            for volume_id, snapshot_id in begun.items():
                self._begin(volume_id, [snapshot_id])
            for volume_id in begun:
                self._check_frozen(volume_id)

    @contextmanager
    def _frozen(self, volume_id: str) -> Iterator[None]:
        """A volume that takes no writes, wherever it is held."""
        keeper = self._freeze(volume_id)
        try:
            yield
        finally:
            if keeper:
                with self._lock:
                    self._held[volume_id].live.thaw()
                    self._unkeep(volume_id, keeper)
            else:
                self._ask(volume_id, "thaw")

    def _freeze(self, volume_id: str) -> str:
        """Freeze a volume: here, returning its keeper, or where it is held, returning "".

        One that nobody holds is held here, so that nobody opens it meanwhile.
        """
        for attempt in range(BEGIN_TRIES):
            with self._lock:
                is_here = volume_id in self._held
            if not is_here and self._ask(volume_id, "freeze"):
                return ""
            try:
                with self._lock:
                    keeper = self._keep(volume_id)
                    self._held[volume_id].live.freeze()
                    return keeper
            except VolumeHeldElsewhereError:
                if attempt == BEGIN_TRIES - 1:
                    raise
            self._closing.wait(BEGIN_WAIT_S)
        raise AssertionError("unreachable: the last attempt returns or raises")

    def _check_frozen(self, volume_id: str) -> None:
        """Raise Unavailable if a volume thawed by itself before all were done."""
        with self._lock:
            is_here = volume_id in self._held
        if is_here or (self._ask(volume_id, "is_frozen") or {}).get("frozen"):
            return
        raise ServiceError("Unavailable", f"Volume {volume_id} could not be kept still.")

    # What another process asks for.

    def _answer_freeze(self, volume_id: str, _: Body) -> Body:
        """Whoever asks is alone in this (`sets.lock`): who asked before has died since."""
        self._thaw_for_others(volume_id)
        keeper = self._keep(volume_id)
        timer = threading.Timer(FREEZE_LIMIT_S, self._thaw_for_others, (volume_id, keeper))
        timer.daemon = True
        self._frozen_for_others[volume_id] = keeper, timer
        try:
            self._held[volume_id].live.freeze()
            timer.start()
        except BaseException:
            self._thaw_for_others(volume_id)
            raise
        return {"frozen": True}

    def _answer_thaw(self, volume_id: str, _: Body) -> Body:
        """Idempotent."""
        self._thaw_for_others(volume_id)
        return {}

    def _thaw_for_others(self, volume_id: str, keeper: str = "") -> None:
        """Undo a freeze; with `keeper` only that one, so that no timer undoes a later one."""
        with self._lock:
            found, timer = self._frozen_for_others.get(volume_id, ("", None))
            if timer is None or keeper not in ("", found):
                return
            del self._frozen_for_others[volume_id]
            timer.cancel()
            if volume_id in self._held:
                self._held[volume_id].live.thaw()
                self._unkeep(volume_id, found)

    def _answer_is_frozen(self, volume_id: str, _: Body) -> Body:
        return {"frozen": volume_id in self._frozen_for_others}


def _chosen(
    connection: Connection,
    now_ns: int,
    instance: Instance,
    exclude_boot: bool,
    exclude_volume_ids: Sequence[str],
) -> list[Volume]:
    """The volumes of an instance that a set is to hold, in the order of their ids."""
    attached = {a.volume_id: a for a in instance.attachments}
    for volume_id in exclude_volume_ids:
        if volume_id not in attached:
            raise ServiceError(
                "InvalidParameterValue",
                f"Volume '{volume_id}' is not attached to '{instance.instance_id}'.",
            )
    root = canonical_device(instance.root_device)
    wanted = [
        volume_id
        for volume_id, attachment in sorted(attached.items())
        if volume_id not in exclude_volume_ids
        and not (exclude_boot and canonical_device(attachment.device) == root)
    ]
    if not wanted:
        raise ServiceError(
            "InvalidParameterValue", f"No volume of '{instance.instance_id}' is left to snapshot."
        )
    return sorted(rows.load_volumes(connection, now_ns, wanted), key=lambda one: one.volume_id)
