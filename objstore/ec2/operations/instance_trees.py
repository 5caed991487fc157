"""Instances as EC2 describes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from blockdev.model import Instance
from objstore.ec2.operations.common import tag_set, zone_id
from objstore.ec2.xml import Tree, iso_time

STATE_CODES: Final = {
    "pending": 0,
    "running": 16,
    "shutting-down": 32,
    "terminated": 48,
    "stopping": 64,
    "stopped": 80,
}
"""InstanceState, Code (the low byte), in EC2's API reference."""

ARCHITECTURE: Final = "x86_64"
HYPERVISOR: Final = "xen"
"""What EC2 says of Nitro instances, too."""
VIRTUALIZATION: Final = "hvm"
PLATFORM: Final = "Linux/UNIX"


def state_tree(state: str) -> Tree:
    """An InstanceState."""
    return {"code": STATE_CODES[state], "name": state}


def reason_of(instance: Instance) -> tuple[str, str] | None:
    """Code and message of a StateReason: ``Client.UserInitiatedShutdown: …``."""
    if not instance.state_reason:
        return None
    code, _, message = instance.state_reason.partition(": ")
    return code, instance.state_reason if message else code


def instance_tree(instance: Instance) -> Tree:
    """An Instance.  What belongs to networks and images is empty: there are none."""
    reason = reason_of(instance)
    return {
        "instanceId": instance.instance_id,
        "imageId": instance.image_id,
        "instanceState": state_tree(instance.state),
        "privateDnsName": "",
        "dnsName": "",
        "reason": "",
        "amiLaunchIndex": instance.launch_index,
        "productCodes": [],
        "instanceType": instance.instance_type,
        "launchTime": iso_time(instance.launched_ns),
        "placement": {
            "availabilityZone": instance.zone,
            "availabilityZoneId": zone_id(instance.zone),
            "groupName": "",
            "tenancy": "default",
        },
        "monitoring": {"state": "disabled"},
        "stateReason": {"code": reason[0], "message": reason[1]} if reason else None,
        "architecture": ARCHITECTURE,
        "rootDeviceType": "ebs",
        "rootDeviceName": instance.root_device,
        "blockDeviceMapping": [
            {
                "deviceName": attachment.device,
                "ebs": {
                    "volumeId": attachment.volume_id,
                    "status": attachment.state,
                    "attachTime": iso_time(attachment.attached_ns),
                    "deleteOnTermination": attachment.delete_on_termination,
                },
            }
            for attachment in instance.attachments
        ],
        "virtualizationType": VIRTUALIZATION,
        "tagSet": tag_set(instance.tags),
        "hypervisor": HYPERVISOR,
        "ebsOptimized": False,
        "platformDetails": PLATFORM,
    }


def reservation_tree(account_id: str, instances: Sequence[Instance]) -> Tree:
    """A Reservation with those of its instances that are to be shown."""
    return {
        "reservationId": instances[0].reservation_id,
        "ownerId": account_id,
        "groupSet": [],
        "instancesSet": [instance_tree(instance) for instance in instances],
    }


def status_of(instance: Instance) -> str:
    """What the status checks say: of an instance that does not run, nothing."""
    return "ok" if instance.state == "running" else "not-applicable"


def status_tree(instance: Instance) -> Tree:
    """An InstanceStatus."""
    checks: Tree = {"status": status_of(instance)}
    if instance.state == "running":
        checks = {**checks, "details": [{"name": "reachability", "status": "passed"}]}
    return {
        "instanceId": instance.instance_id,
        "availabilityZone": instance.zone,
        "availabilityZoneId": zone_id(instance.zone),
        "instanceState": state_tree(instance.state),
        "systemStatus": checks,
        "instanceStatus": checks,
        "attachedEbsStatus": checks,
    }
