"""RunInstances and what follows: describe, reboot, stop, start, terminate.

What each does to disks: see `blockdev.instance`.  Volumes stay attached while an instance
is stopped; what it had open of them is taken away when it stops.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace

from blockdev import instance as rules
from blockdev.model import (
    Attachment,
    BlockDeviceMapping,
    Instance,
    ServiceError,
    VolumeSpec,
)
from blockdev.region import limits, rows
from blockdev.region.attachments import AttachmentVerbs
from blockdev.region.base import instance_not_found, missing
from blockdev.region.database import Connection
from blockdev.region.disks import DiskVerbs
from blockdev.region.volumes import DEFAULT_TYPE, VolumeRequest, VolumeVerbs
from blockdev.volume import canonical_device

Change = tuple[Instance, str]
"""An instance after a verb, and the state in which it was before."""


class InstanceVerbs(AttachmentVerbs, VolumeVerbs, DiskVerbs):
    """Instances: enough of them for disks to be attached to."""

    def run_instances(
        self,
        *,
        image_id: str,
        instance_type: str = "m5.large",
        count: int = 1,
        zone: str = "",
        mappings: Sequence[BlockDeviceMapping] = (),
        tags: Mapping[str, str] = {},
        volume_tags: Mapping[str, str] = {},
        client_token: str = "",
    ) -> list[Instance]:
        """Start `count` instances, all or none; the answer is in state ``pending``.

        Each gets a root volume of 8 GiB at /dev/xvda unless a mapping says otherwise, the
        volumes that `mappings` name, and the instance-store disks of its type.

        Raises:
            ServiceError: InvalidAMIID.Malformed, InvalidParameterValue, InvalidZone.NotFound,
                InvalidBlockDeviceMapping, InstanceLimitExceeded, AttachmentLimitExceeded,
                and what CreateVolume raises.
        """
        rules.check_image_id(image_id)
        rules.check_instance_type(instance_type)
        rules.check_mappings(mappings)
        _check_count(count)
        volumes = _volumes_of(mappings)
        arguments = {
            "image": image_id,
            "type": instance_type,
            "count": count,
            "zone": zone,
            "mappings": [asdict(mapping) for mapping in mappings],
            "tags": dict(tags),
        }
        wanted = _Launch(
            image_id, instance_type, zone or self.zones[0], volumes, mappings, tags, volume_tags
        )
        with self._write() as (connection, now_ns):
            ids, is_new = self._once(
                connection,
                "RunInstances",
                client_token,
                arguments,
                lambda: self._launch(connection, now_ns, wanted, count),
            )
        if is_new:
            self._run_jobs()
        found = self.describe_instances(ids)
        return [_answer(one, "pending", "running") for one in found] if is_new else found

    def describe_instances(self, instance_ids: Sequence[str] = ()) -> list[Instance]:
        """Those named, or all, in the order of their launch; terminated ones for an hour.

        Raises:
            ServiceError: InvalidInstanceID.NotFound.
        """
        self._forget_the_dead()
        with self._read() as (connection, now_ns):
            found = rows.load_instances(connection, now_ns, instance_ids or None)
        for absent in missing(instance_ids, [one.instance_id for one in found]):
            raise instance_not_found(absent)
        return found

    def reboot_instances(self, instance_ids: Sequence[str]) -> list[Change]:
        """Reboot: volumes and instance-store disks keep their data, and stay open.

        Raises:
            ServiceError: InvalidInstanceID.NotFound, IncorrectInstanceState.
        """
        with self._read() as (connection, now_ns):
            found = [self._instance(connection, one, now_ns) for one in instance_ids]
        for instance in found:
            rules.check_verb(instance, "reboot")
        return [(instance, instance.state) for instance in found]

    def stop_instances(self, instance_ids: Sequence[str]) -> list[Change]:
        """Stop: the data on instance-store disks is gone; the answer is ``stopping``.

        Raises:
            ServiceError: InvalidInstanceID.NotFound, IncorrectInstanceState.
        """
        return self._change(instance_ids, "stop", "stopped", "stopping")

    def start_instances(self, instance_ids: Sequence[str]) -> list[Change]:
        """Start what is stopped, with empty instance-store disks; the answer is ``pending``.

        Raises:
            ServiceError: InvalidInstanceID.NotFound, IncorrectInstanceState.
        """
        return self._change(instance_ids, "start", "running", "pending")

    def terminate_instances(self, instance_ids: Sequence[str]) -> list[Change]:
        """Terminate: instance-store disks are gone, volumes detached, or deleted if they were
        mapped to be; the answer is ``shutting-down``.

        Raises:
            ServiceError: InvalidInstanceID.NotFound.
        """
        return self._change(instance_ids, "terminate", "terminated", "shutting-down")

    # How they are done.

    def _launch(
        self, connection: Connection, now_ns: int, launch: _Launch, count: int
    ) -> list[str]:
        (running,) = connection.execute("SELECT count(*) FROM instances").fetchone()
        if running + count > limits.MAX_INSTANCES:
            raise ServiceError(
                "InstanceLimitExceeded",
                f"{count} more instances are too many: {limits.MAX_INSTANCES} are allowed.",
            )
        self._check_zone(launch.zone)
        reservation_id = self._new_id(connection, "r")
        return [
            self._launch_one(connection, now_ns, launch, reservation_id, index)
            for index in range(count)
        ]

    def _launch_one(
        self,
        connection: Connection,
        now_ns: int,
        launch: _Launch,
        reservation_id: str,
        index: int,
    ) -> str:
        instance_id = self._new_id(connection, "i")
        connection.execute(
            "INSERT INTO instances VALUES (?, ?, ?, ?, ?, ?, ?, ?, 'running', ?, '')",
            (
                *(instance_id, launch.instance_type, launch.image_id, launch.zone, now_ns),
                *(index, reservation_id, launch.volumes[0].device),
                now_ns + self._timings.starting_ns,
            ),
        )
        self._tag(connection, instance_id, launch.tags)
        for mapping in launch.volumes:
            volume_id = self._insert_volume(
                connection, now_ns, _request_of(mapping, launch.zone), launch.volume_tags
            )
            self._insert_attachment(
                *(connection, now_ns, volume_id, instance_id, mapping.device),
                delete_on_termination=mapping.delete_on_termination,
            )
        taken = [mapping.device for mapping in launch.volumes]
        self._insert_disks(connection, instance_id, launch.instance_type, launch.mappings, taken)
        return instance_id

    def _change(
        self, instance_ids: Sequence[str], verb: str, target: str, answer: str
    ) -> list[Change]:
        """Move instances towards `target`, all or none of them."""
        self._forget_the_dead()
        with self._write() as (connection, now_ns):
            before = [self._instance(connection, one, now_ns) for one in instance_ids]
            for instance in before:
                rules.check_verb(instance, verb)
            moved = [one for one in before if not _is_at(one, target)]
            for instance in moved:
                self._move(connection, now_ns, instance, target)
            after = rows.load_instances(connection, now_ns, instance_ids)
        self._run_jobs()
        for instance in moved if target != "running" else []:
            for attachment in instance.attachments:
                self._refresh(attachment.volume_id)
            self._revoke_disks(instance.instance_id)
        found = {one.instance_id: one for one in after}
        changed = {one.instance_id for one in moved}
        return [
            (
                _answer(found[one.instance_id], answer, target)
                if one.instance_id in changed
                else found[one.instance_id],
                one.state,
            )
            for one in before
        ]

    def _move(self, connection: Connection, now_ns: int, instance: Instance, target: str) -> None:
        """One instance: its row, its disks, its attachments."""
        starts = target == "running"
        length_ns = self._timings.starting_ns if starts else self._timings.stopping_ns
        reason = "" if starts else "Client.UserInitiatedShutdown: User initiated shutdown"
        connection.execute(
            "UPDATE instances SET target = ?, reached_ns = ?, state_reason = ?"
            " WHERE instance_id = ?",
            (target, now_ns + length_ns, reason, instance.instance_id),
        )
        if starts:
            return
        connection.execute("DELETE FROM opens WHERE instance_id = ?", (instance.instance_id,))
        self._wipe_disks(connection, instance.instance_id)
        if target == "terminated":
            for attachment in instance.attachments:
                self._detach_for_good(connection, now_ns, attachment)

    def _detach_for_good(self, connection: Connection, now_ns: int, attachment: Attachment) -> None:
        """At a termination: the volume goes too if it is to, and no other instance has it."""
        self._mark_detached(connection, now_ns, attachment, force=True)
        others = connection.execute(
            "SELECT 1 FROM attachments WHERE volume_id = ?", (attachment.volume_id,)
        ).fetchone()
        if attachment.delete_on_termination and others is None:
            self._mark_deleted(connection, attachment.volume_id, now_ns)


class _Launch:
    """What every instance of one RunInstances has in common."""

    def __init__(
        self,
        image_id: str,
        instance_type: str,
        zone: str,
        volumes: Sequence[BlockDeviceMapping],
        mappings: Sequence[BlockDeviceMapping],
        tags: Mapping[str, str],
        volume_tags: Mapping[str, str],
    ) -> None:
        self.image_id = image_id
        self.instance_type = instance_type
        self.zone = zone
        self.volumes = volumes
        self.mappings = mappings
        self.tags = tags
        self.volume_tags = volume_tags


def _check_count(count: int) -> None:
    if not 1 <= count <= limits.MAX_INSTANCES_A_CALL:
        raise ServiceError(
            "InvalidParameterValue",
            f"Value ({count}) for parameter maxCount is invalid: 1 to "
            f"{limits.MAX_INSTANCES_A_CALL} instances can be started at once.",
        )


def _volumes_of(mappings: Sequence[BlockDeviceMapping]) -> list[BlockDeviceMapping]:
    """The volumes that an instance starts with, the root volume first.

    A mapping for the root device changes the root volume: what it leaves out is the
    image's.
    """
    roots = [m for m in mappings if _is_root(m.device)]
    root = roots[0] if roots else BlockDeviceMapping(rules.ROOT_DEVICE)
    if root.no_device or root.virtual_name:
        raise ServiceError(
            "InvalidBlockDeviceMapping", f"The root device '{root.device}' must be a volume."
        )
    if root.spec is None and not root.snapshot_id:
        root = replace(root, spec=VolumeSpec(DEFAULT_TYPE, rules.ROOT_SIZE_GIB))
    rest = [m for m in mappings if m.spec is not None or m.snapshot_id]
    found = [root, *(m for m in rest if not _is_root(m.device))]
    if len(found) > rules.MAX_ATTACHMENTS:
        raise ServiceError(
            "AttachmentLimitExceeded",
            f"{len(found)} volumes are more than the {rules.MAX_ATTACHMENTS} of an instance.",
        )
    return found


def _is_root(device: str) -> bool:
    return canonical_device(device) == canonical_device(rules.ROOT_DEVICE)


def _request_of(mapping: BlockDeviceMapping, zone: str) -> VolumeRequest:
    spec = mapping.spec
    return VolumeRequest(
        zone=zone,
        volume_type=DEFAULT_TYPE if spec is None else spec.volume_type,
        size_gib=None if spec is None or not spec.size_gib else spec.size_gib,
        iops=None if spec is None else spec.iops,
        throughput_mibps=None if spec is None else spec.throughput_mibps,
        snapshot_id=mapping.snapshot_id,
        encrypted=mapping.encrypted,
        kms_key_id=mapping.kms_key_id,
        initialization_mibps=mapping.initialization_mibps,
    )


def _is_at(instance: Instance, target: str) -> bool:
    """Whether a verb has nothing to do: the instance is there, or on its way."""
    ways = {
        "running": ("pending", "running"),
        "stopped": ("stopping", "stopped"),
        "terminated": ("shutting-down", "terminated"),
    }
    return instance.state in ways[target]


def _answer(instance: Instance, state: str, target: str) -> Instance:
    """As EC2's answer shows it: still on the way, however short that is."""
    return rows.with_state(instance, state) if instance.state == target else instance
