"""Instance-store disks: files that last as long as the instance keeps running.

The file of a disk carries its generation in its name.  To lose a disk's data is to count
the generation up, in the transaction of the verb that loses it; what is left of the old
file is removed afterwards, by a job.  So data never comes back, wherever a crash strikes.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from blockdev import instance as rules
from blockdev.device import BlockDevice, stack
from blockdev.errors import DeviceError
from blockdev.file import FileDevice
from blockdev.filters.delay import DelayDevice
from blockdev.filters.metrics import MetricsDevice
from blockdev.filters.throttle import Budget, ThrottleDevice
from blockdev.instance_store import InstanceStore
from blockdev.model import BlockDeviceMapping, InstanceDisk, ServiceError
from blockdev.profiles import INSTANCE_STORES
from blockdev.region.base import Surroundings
from blockdev.region.database import Connection
from blockdev.region.fence import FenceDevice
from blockdev.region.handle import VolumeHandle
from blockdev.region.jobs import Jobs

_Key = tuple[str, int]


class DiskVerbs(Jobs):
    """The disks inside instances."""

    def __init__(self, surroundings: Surroundings) -> None:
        super().__init__(surroundings)
        self._disk_budgets: dict[_Key, Budget] = {}
        self._open_disks: dict[_Key, dict[VolumeHandle, BlockDevice]] = {}

    def open_disk(
        self, instance_id: str, disk_index: int, *, throttled: bool = True, delayed: bool = True
    ) -> BlockDevice:
        """Open an instance-store disk of a running instance, at the speed of its type.

        It is closed, with `DeviceClosedError` from then on, when the instance stops or is
        terminated, or the disk fails, through this `Region`; another process that has it
        open goes on with a file that has no name any more.

        Raises:
            ServiceError: InvalidInstanceID.NotFound, IncorrectInstanceState (not running),
                InvalidParameterValue (no such disk), IncorrectState (it has failed).
        """
        with self._lock:
            path, disk = self._disk_file(instance_id, disk_index)
            store = INSTANCE_STORES[self._instance_type(instance_id)]
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                file = FileDevice.open(path, size_bytes=disk.size_bytes)
            except DeviceError as error:
                raise ServiceError("InternalError", str(error)) from error
            key = instance_id, disk_index
            fence = FenceDevice(file)
            device = self._disk_stack(fence, key, store, throttled=throttled, delayed=delayed)
            handle = VolumeHandle(
                "", instance_id, device, fence, lambda one: self._forget(key, one)
            )
            self._open_disks.setdefault(key, {})[handle] = device
            return handle

    def fail_disk(self, instance_id: str, disk_index: int) -> None:
        """Let a disk fail: its data is gone for good, and it cannot be opened again until the
        instance is stopped and started (on other hardware).

        Raises:
            ServiceError: as `open_disk`.
        """
        self._disk_file(instance_id, disk_index)
        with self._write() as (connection, _):
            self._wipe(connection, instance_id, disk_index)
            connection.execute(
                "UPDATE instance_disks SET failed = 1 WHERE instance_id = ? AND disk_index = ?",
                (instance_id, disk_index),
            )
        self._run_jobs()
        self._revoke_disk((instance_id, disk_index), "the disk has failed")

    # For run_instances and what follows it.

    def _insert_disks(
        self,
        connection: Connection,
        instance_id: str,
        instance_type: str,
        mappings: Sequence[BlockDeviceMapping],
        taken: Sequence[str],
    ) -> None:
        store = INSTANCE_STORES.get(instance_type)
        if store is None:
            return
        names = rules.disk_devices(store.disks, mappings, taken)
        connection.executemany(
            "INSERT INTO instance_disks (instance_id, disk_index, device, size_bytes)"
            " VALUES (?, ?, ?, ?)",
            [(instance_id, index, name, store.disk_bytes) for index, name in enumerate(names)],
        )

    def _wipe_disks(self, connection: Connection, instance_id: str) -> None:
        """Lose the data of all disks of an instance; those of its next start are sound."""
        found = connection.execute(
            "SELECT disk_index FROM instance_disks WHERE instance_id = ?", (instance_id,)
        ).fetchall()
        for row in found:
            self._wipe(connection, instance_id, row["disk_index"])
        connection.execute(
            "UPDATE instance_disks SET failed = 0 WHERE instance_id = ?", (instance_id,)
        )

    def _wipe(self, connection: Connection, instance_id: str, disk_index: int) -> None:
        key = instance_id, disk_index
        row = connection.execute(
            "SELECT generation FROM instance_disks WHERE instance_id = ? AND disk_index = ?", key
        ).fetchone()
        self._add_job(connection, "remove-disk", _file_name(*key, row["generation"]))
        connection.execute(
            "UPDATE instance_disks SET generation = generation + 1"
            " WHERE instance_id = ? AND disk_index = ?",
            key,
        )

    def _revoke_disks(self, instance_id: str) -> None:
        """Take an instance's disks from those that have them open in this process."""
        for key in [one for one in self._open_disks if one[0] == instance_id]:
            self._revoke_disk(key, f"{instance_id} was stopped")

    def _revoke_disk(self, key: _Key, why: str) -> None:
        with self._lock:
            for handle, device in self._open_disks.pop(key, {}).items():
                handle.revoke(why)
                device.close()
            self._disk_budgets.pop(key, None)

    def _close_disks(self) -> None:
        for key in list(self._open_disks):
            self._revoke_disk(key, "the region was closed")

    # How a disk is found and put together.

    def _disk_file(self, instance_id: str, disk_index: int) -> tuple[Path, InstanceDisk]:
        """The file of a disk that can be opened now."""
        with self._read() as (connection, now_ns):
            instance = self._instance(connection, instance_id, now_ns)
            row = connection.execute(
                "SELECT generation FROM instance_disks WHERE instance_id = ? AND disk_index = ?",
                (instance_id, disk_index),
            ).fetchone()
        if instance.state not in ("pending", "running"):
            raise ServiceError(
                "IncorrectInstanceState", f"The instance '{instance_id}' is not running."
            )
        if row is None:
            raise ServiceError(
                "InvalidParameterValue",
                f"Instance '{instance_id}' has no instance-store disk {disk_index}.",
            )
        disk = instance.disks[disk_index]
        if disk.state == "failed":
            raise ServiceError(
                "IncorrectState", f"Disk {disk_index} of instance '{instance_id}' has failed."
            )
        name = _file_name(instance_id, disk_index, row["generation"])
        return self._path / "instances" / name, disk

    def _instance_type(self, instance_id: str) -> str:
        with self._read() as (connection, now_ns):
            return self._instance(connection, instance_id, now_ns).instance_type

    def _disk_stack(
        self, file: BlockDevice, key: _Key, store: InstanceStore, *, throttled: bool, delayed: bool
    ) -> BlockDevice:
        """As a volume's: metrics, throttle, delay, the disk; one budget for all openings."""
        limits = store.disk_limits()
        budget = self._disk_budgets.setdefault(key, Budget(limits, self._clock.monotonic_ns()))
        device = file
        if delayed:
            device = DelayDevice(device, limits.latency, self._clock, self._entropy)
        if throttled:
            device = ThrottleDevice(device, budget, self._clock)
        return stack(device, lambda below: MetricsDevice(below, self._clock))

    def _forget(self, key: _Key, handle: VolumeHandle) -> None:
        """A handle was closed."""
        with self._lock:
            device = self._open_disks.get(key, {}).pop(handle, None)
        if device is not None:
            device.close()


def _file_name(instance_id: str, disk_index: int, generation: int) -> str:
    return f"{instance_id}/disk-{disk_index}.{generation}"
