"""Changes of volumes, their status and their attributes."""

from __future__ import annotations

from typing import Final

from blockdev.model import Modification
from blockdev.profiles import displayed_iops
from objstore.ec2 import filters, pages
from objstore.ec2.action import Action, Job, action
from objstore.ec2.filters import Table
from objstore.ec2.operations.common import DRY_RUN, instant_key
from objstore.ec2.operations.volumes import VOLUME_TYPES
from objstore.ec2.parameters import (
    BOOLEAN,
    IGNORED,
    INTEGER,
    VOLUME_ID,
    VOLUME_IDS,
)
from objstore.ec2.xml import Tree, iso_time

PAGE_BOUNDS: Final = pages.Bounds(1, 500, clamps=False)

FILTERS: Final[Table[Modification]] = {
    "modification-state": lambda m: m.state,
    "original-iops": lambda m: displayed_iops(m.original),
    "original-size": lambda m: m.original.size_gib,
    "original-volume-type": lambda m: m.original.volume_type,
    "originalMultiAttachEnabled": lambda m: m.original_multi_attach,
    "start-time": lambda m: iso_time(m.started_ns),
    "target-iops": lambda m: displayed_iops(m.target),
    "target-size": lambda m: m.target.size_gib,
    "target-volume-type": lambda m: m.target.volume_type,
    "targetMultiAttachEnabled": lambda m: m.target_multi_attach,
    "volume-id": lambda m: m.volume_id,
}


def modification_tree(modification: Modification) -> Tree:
    """A VolumeModification."""
    original, target = modification.original, modification.target
    return {
        "volumeId": modification.volume_id,
        "modificationState": modification.state,
        "statusMessage": modification.status_message or None,
        "targetSize": target.size_gib,
        "targetIops": displayed_iops(target),
        "targetVolumeType": target.volume_type,
        "targetThroughput": target.throughput_mibps,
        "targetMultiAttachEnabled": modification.target_multi_attach,
        "originalSize": original.size_gib,
        "originalIops": displayed_iops(original),
        "originalVolumeType": original.volume_type,
        "originalThroughput": original.throughput_mibps,
        "originalMultiAttachEnabled": modification.original_multi_attach,
        "progress": modification.progress_percent,
        "startTime": iso_time(modification.started_ns),
        "endTime": iso_time(modification.ended_ns),
    }


def modify_volume(job: Job) -> Tree:
    """ModifyVolume."""
    given = job.parameters
    modification = job.region.modify_volume(
        given.text("VolumeId"),
        volume_type=given.text("VolumeType") or None,
        size_gib=given.number("Size"),
        iops=given.number("Iops"),
        throughput_mibps=given.number("Throughput"),
        multi_attach=given.flag("MultiAttachEnabled"),
    )
    return {"volumeModification": modification_tree(modification)}


def describe_modifications(job: Job) -> Tree:
    """DescribeVolumesModifications."""
    given = job.parameters
    found = job.region.describe_modifications(given.texts("VolumeId"))
    chosen = filters.select(given, found, FILTERS)
    shown, token = pages.page(
        "DescribeVolumesModifications", given, job.sealer, chosen, _key, PAGE_BOUNDS
    )
    return {"volumeModificationSet": [modification_tree(m) for m in shown], "nextToken": token}


def _key(modification: Modification) -> str:
    return instant_key(modification.started_ns, modification.volume_id)


ACTIONS: Final[tuple[Action, ...]] = (
    action(
        "ModifyVolume",
        modify_volume,
        {
            "VolumeId": VOLUME_ID,
            "Size": INTEGER,
            "VolumeType": VOLUME_TYPES,
            "Iops": INTEGER,
            "Throughput": INTEGER,
            "MultiAttachEnabled": BOOLEAN,
            **DRY_RUN,
        },
        required=("VolumeId",),
    ),
    action(
        "DescribeVolumesModifications",
        describe_modifications,
        {
            "VolumeId": VOLUME_IDS,
            "IncludeManagedResources": IGNORED,
            **filters.MEMBERS,
            **pages.MEMBERS,
            **DRY_RUN,
        },
        filters=FILTERS,
    ),
)
