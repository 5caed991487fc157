"""Volumes: create, describe, attach, detach, delete."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from blockdev.model import Attachment, Volume
from blockdev.profiles import displayed_iops
from objstore.ec2 import filters, pages
from objstore.ec2.action import Action, Job, action
from objstore.ec2.errors import combination, invalid_value, missing
from objstore.ec2.filters import Table, Values, nothing
from objstore.ec2.operations.common import (
    DRY_RUN,
    RETURN,
    TAG_SPECIFICATIONS,
    attachment_tree,
    instant_key,
    specified_tags,
    tag_set,
    zone_id,
    zone_of_id,
)
from objstore.ec2.parameters import (
    BOOLEAN,
    IGNORED,
    INSTANCE_ID,
    INTEGER,
    REFUSED,
    STRING,
    VOLUME_ID,
    VOLUME_IDS,
    Parameters,
    Scalar,
)
from objstore.ec2.xml import Tree, iso_time

VOLUME_TYPES: Final = Scalar("string", ("standard", "io1", "io2", "gp2", "sc1", "st1", "gp3"))
PAGE_BOUNDS: Final = pages.Bounds(5, 500)


def _attached(read: Callable[[Attachment], Values]) -> Callable[[Volume], Values]:
    def values(volume: Volume) -> list[str | int | bool | None]:
        return [read(attachment) for attachment in volume.attachments]  # type: ignore[misc]

    return values


FILTERS: Final[Table[Volume]] = {
    "attachment.attach-time": _attached(lambda a: iso_time(a.attached_ns)),
    "attachment.delete-on-termination": _attached(lambda a: a.delete_on_termination),
    "attachment.device": _attached(lambda a: a.device),
    "attachment.instance-id": _attached(lambda a: a.instance_id),
    "attachment.status": _attached(lambda a: a.state),
    "availability-zone": lambda v: v.zone,
    "availability-zone-id": lambda v: zone_id(v.zone),
    "create-time": lambda v: iso_time(v.created_ns),
    "encrypted": lambda v: v.encrypted,
    "fast-restored": lambda v: v.fast_restored,
    "multi-attach-enabled": lambda v: v.multi_attach,
    "operator.managed": lambda v: False,
    "operator.principal": nothing,
    "size": lambda v: v.spec.size_gib,
    "snapshot-id": lambda v: v.snapshot_id or None,
    "status": lambda v: v.state,
    "volume-id": lambda v: v.volume_id,
    "volume-type": lambda v: v.spec.volume_type,
}


def volume_tree(volume: Volume) -> Tree:
    """A Volume."""
    spec = volume.spec
    return {
        "volumeId": volume.volume_id,
        "size": spec.size_gib,
        "snapshotId": volume.snapshot_id,
        "availabilityZone": volume.zone,
        "availabilityZoneId": zone_id(volume.zone),
        "status": volume.state,
        "createTime": iso_time(volume.created_ns),
        "attachmentSet": [attachment_tree(a) for a in volume.attachments],
        "tagSet": tag_set(volume.tags),
        "volumeType": spec.volume_type,
        "iops": displayed_iops(spec),
        "throughput": spec.throughput_mibps,
        "encrypted": volume.encrypted,
        "kmsKeyId": volume.kms_key_id or None,
        "multiAttachEnabled": volume.multi_attach,
        "fastRestored": volume.fast_restored if volume.snapshot_id else None,
        "volumeInitializationRate": volume.initialization_mibps,
    }


def tags_of(volume: Volume) -> Mapping[str, str]:
    """For the filters on tags."""
    return volume.tags


def volume_key(volume: Volume) -> str:
    """What volumes are listed by."""
    return instant_key(volume.created_ns, volume.volume_id)


def zone_parameter(job: Job, parameters: Parameters) -> str:
    """AvailabilityZone, or the zone that AvailabilityZoneId means; "" for neither.

    Raises:
        Ec2Error: InvalidParameterCombination, InvalidParameterValue.
    """
    name, wanted = parameters.text("AvailabilityZone"), parameters.text("AvailabilityZoneId")
    if name and wanted:
        raise combination("Specify AvailabilityZone or AvailabilityZoneId, not both")
    return zone_of_id(job.region, wanted) if wanted else name


def create_volume(job: Job) -> Tree:
    """CreateVolume."""
    given = job.parameters
    zone = zone_parameter(job, given)
    if not zone:
        raise missing("AvailabilityZone")
    volume = job.region.create_volume(
        zone=zone,
        volume_type=given.text("VolumeType") or "gp2",
        size_gib=given.number("Size"),
        iops=given.number("Iops"),
        throughput_mibps=given.number("Throughput"),
        snapshot_id=given.text("SnapshotId"),
        encrypted=bool(given.flag("Encrypted")),
        kms_key_id=given.text("KmsKeyId"),
        multi_attach=bool(given.flag("MultiAttachEnabled")),
        initialization_mibps=given.number("VolumeInitializationRate"),
        tags=specified_tags(given, "volume").get("volume", {}),
        client_token=given.text("ClientToken"),
    )
    return volume_tree(volume)


def describe_volumes(job: Job) -> Tree:
    """DescribeVolumes."""
    given = job.parameters
    pages.refuse_with_ids(given, "VolumeId")
    volumes = job.region.describe_volumes(given.texts("VolumeId"))
    chosen = filters.select(given, volumes, FILTERS, tags_of)
    shown, token = pages.page("DescribeVolumes", given, job.sealer, chosen, volume_key, PAGE_BOUNDS)
    return {"volumeSet": [volume_tree(volume) for volume in shown], "nextToken": token}


def attach_volume(job: Job) -> Tree:
    """AttachVolume."""
    given = job.parameters
    if given.number("EbsCardIndex"):
        raise invalid_value(given.number("EbsCardIndex"), "EbsCardIndex", "There is one card: 0.")
    return attachment_tree(
        job.region.attach_volume(
            given.text("VolumeId"), given.text("InstanceId"), given.text("Device")
        )
    )


def detach_volume(job: Job) -> Tree:
    """DetachVolume."""
    given = job.parameters
    return attachment_tree(
        job.region.detach_volume(
            given.text("VolumeId"),
            instance_id=given.text("InstanceId"),
            device=given.text("Device"),
            force=bool(given.flag("Force")),
        )
    )


def delete_volume(job: Job) -> Tree:
    """DeleteVolume."""
    job.region.delete_volume(job.parameters.text("VolumeId"))
    return RETURN


ACTIONS: Final[tuple[Action, ...]] = (
    action(
        "CreateVolume",
        create_volume,
        {
            "AvailabilityZone": STRING,
            "AvailabilityZoneId": STRING,
            "Encrypted": BOOLEAN,
            "Iops": INTEGER,
            "KmsKeyId": STRING,
            "OutpostArn": REFUSED,
            "Size": INTEGER,
            "SnapshotId": STRING,
            "VolumeType": VOLUME_TYPES,
            "TagSpecification": TAG_SPECIFICATIONS,
            "MultiAttachEnabled": BOOLEAN,
            "Throughput": INTEGER,
            "ClientToken": STRING,
            "VolumeInitializationRate": INTEGER,
            "Operator": REFUSED,
            **DRY_RUN,
        },
    ),
    action(
        "DescribeVolumes",
        describe_volumes,
        {
            "VolumeId": VOLUME_IDS,
            "IncludeManagedResources": IGNORED,
            **filters.MEMBERS,
            **pages.MEMBERS,
            **DRY_RUN,
        },
        filters=FILTERS,
    ),
    action(
        "AttachVolume",
        attach_volume,
        {
            "Device": STRING,
            "InstanceId": INSTANCE_ID,
            "VolumeId": VOLUME_ID,
            "EbsCardIndex": INTEGER,
            **DRY_RUN,
        },
        required=("Device", "InstanceId", "VolumeId"),
    ),
    action(
        "DetachVolume",
        detach_volume,
        {
            "Device": STRING,
            "Force": BOOLEAN,
            "InstanceId": INSTANCE_ID,
            "VolumeId": VOLUME_ID,
            **DRY_RUN,
        },
        required=("VolumeId",),
    ),
    action(
        "DeleteVolume",
        delete_volume,
        {"VolumeId": VOLUME_ID, **DRY_RUN},
        required=("VolumeId",),
    ),
)
