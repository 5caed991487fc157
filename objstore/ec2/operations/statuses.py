"""DescribeVolumeStatus, and the attributes of a volume."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from blockdev.model import Volume
from objstore.ec2 import filters, pages
from objstore.ec2.action import Action, Job, action
from objstore.ec2.filters import Table, nothing
from objstore.ec2.operations.common import DRY_RUN, instant_key, zone_id
from objstore.ec2.parameters import IGNORED, VOLUME_ID, VOLUME_IDS, Scalar
from objstore.ec2.xml import Tree

if TYPE_CHECKING:
    from blockdev.service import VolumeStatus

ENABLED, PERFORMANCE = "io-enabled", "io-performance"
_PROVISIONED: Final = ("io1", "io2")


@dataclass(frozen=True, slots=True)
class Checked:
    """A volume and its status."""

    volume: Volume
    status: VolumeStatus

    @property
    def details(self) -> dict[str, str]:
        """The checks by name; io-performance is one of Provisioned IOPS volumes only."""
        found = {ENABLED: "passed" if self.status.io_enabled else "failed"}
        if self.volume.spec.volume_type in _PROVISIONED:
            found[PERFORMANCE] = "normal" if self.status.status == "ok" else "not-applicable"
        return found


FILTERS: Final[Table[Checked]] = {
    "action.code": nothing,
    "action.description": nothing,
    "action.event-id": nothing,
    "attachment-status.instance-id": lambda c: [a.instance_id for a in c.volume.attachments],
    "attachment-status.io-performance": lambda c: c.details.get(PERFORMANCE),
    "availability-zone": lambda c: c.volume.zone,
    "event.description": nothing,
    "event.event-id": nothing,
    "event.event-type": nothing,
    "event.not-after": nothing,
    "event.not-before": nothing,
    "volume-status.details-name": lambda c: c.details.keys(),
    "volume-status.details-status": lambda c: c.details.values(),
    "volume-status.status": lambda c: c.status.status,
}


def _tree(checked: Checked) -> Tree:
    volume = checked.volume
    performance = checked.details.get(PERFORMANCE)
    attached = [
        {"instanceId": a.instance_id, "ioPerformance": performance} for a in volume.attachments
    ]
    return {
        "volumeId": volume.volume_id,
        "availabilityZone": volume.zone,
        "availabilityZoneId": zone_id(volume.zone),
        "volumeStatus": {
            "status": checked.status.status,
            "details": [{"name": name, "status": s} for name, s in checked.details.items()],
        },
        "eventsSet": [],
        "actionsSet": [],
        "attachmentStatuses": attached or None,
    }


def describe_status(job: Job) -> Tree:
    """DescribeVolumeStatus."""
    given = job.parameters
    pages.refuse_with_ids(given, "VolumeId")
    statuses = job.region.volume_status(given.texts("VolumeId"))
    volumes = {volume.volume_id: volume for volume in job.region.describe_volumes()}
    checked = [Checked(volumes[s.volume_id], s) for s in statuses if s.volume_id in volumes]
    chosen = filters.select(given, checked, FILTERS)
    shown, token = pages.page("DescribeVolumeStatus", given, job.sealer, chosen, _key)
    return {"volumeStatusSet": [_tree(one) for one in shown], "nextToken": token}


def _key(checked: Checked) -> str:
    return instant_key(checked.volume.created_ns, checked.volume.volume_id)


def describe_attribute(job: Job) -> Tree:
    """DescribeVolumeAttribute: I/O is never suspended here, so there is nothing to resume."""
    given = job.parameters
    (volume,) = job.region.describe_volumes([given.text("VolumeId")])
    if given.text("Attribute") == "productCodes":
        return {"volumeId": volume.volume_id, "productCodes": []}
    return {"volumeId": volume.volume_id, "autoEnableIO": {"value": False}}


ACTIONS: Final[tuple[Action, ...]] = (
    action(
        "DescribeVolumeStatus",
        describe_status,
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
        "DescribeVolumeAttribute",
        describe_attribute,
        {
            "Attribute": Scalar("string", ("autoEnableIO", "productCodes")),
            "VolumeId": VOLUME_ID,
            **DRY_RUN,
        },
        required=("Attribute", "VolumeId"),
    ),
)
