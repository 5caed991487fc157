"""The filters of DescribeInstances and DescribeInstanceStatus, all that EC2 documents.

Most of the 130 ask for what an instance here never has: a network, a key, a licence.  They
are taken, and nothing passes them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from blockdev.model import Attachment, Instance
from objstore.ec2.filters import Table, Values, nothing
from objstore.ec2.operations import instance_trees as trees
from objstore.ec2.operations.common import zone_id
from objstore.ec2.xml import iso_time


def _attached(read: Callable[[Attachment], str | bool | None]) -> Callable[[Instance], Values]:
    def values(instance: Instance) -> Values:
        return [read(attachment) for attachment in instance.attachments]

    return values


def _reason(index: int) -> Callable[[Instance], Values]:
    def value(instance: Instance) -> Values:
        reason = trees.reason_of(instance)
        return reason[index] if reason else None

    return value


def _names(prefix: str, names: str) -> dict[str, Callable[[object], Values]]:
    return {prefix + name: nothing for name in names.split()}


_NETWORK: Final = {
    **_names(
        "network-interface.addresses.association.",
        "allocation-id association-id carrier-ip customer-owned-ip ip-owner-id public-dns-name "
        "public-ip",
    ),
    **_names("network-interface.addresses.", "primary private-dns-name private-ip-address"),
    **_names(
        "network-interface.association.",
        "allocation-id association-id carrier-ip customer-owned-ip ip-owner-id public-dns-name "
        "public-ip",
    ),
    **_names(
        "network-interface.attachment.",
        "attach-time attachment-id delete-on-termination device-index instance-id "
        "instance-owner-id network-card-index status",
    ),
    **_names(
        "network-interface.",
        "availability-zone deny-all-igw-traffic description group-id group-name "
        "ipv4-prefixes.ipv4-prefix ipv6-address ipv6-addresses.ipv6-address "
        "ipv6-addresses.is-primary-ipv6 ipv6-native ipv6-prefixes.ipv6-prefix mac-address "
        "network-interface-id operator.managed operator.principal outpost-arn owner-id "
        "private-dns-name private-ip-address public-dns-name requester-id requester-managed "
        "status source-dest-check subnet-id tag-key tag-value vpc-id",
    ),
}

_ABSENT: Final = {
    **_NETWORK,
    **_names("capacity-reservation-", "id specification.capacity-reservation-preference"),
    **_names(
        "capacity-reservation-specification.capacity-reservation-target.capacity-reservation-",
        "id resource-group-arn",
    ),
    **_names("enclave-options.", "enabled"),
    **_names("hibernation-options.", "configured"),
    **_names("iam-instance-profile.", "arn id"),
    **_names("instance.", "group-id group-name"),
    **_names("maintenance-options.", "auto-recovery"),
    **_names(
        "metadata-options.",
        "http-endpoint http-protocol-ipv4 http-protocol-ipv6 http-put-response-hop-limit "
        "http-tokens instance-metadata-tags state",
    ),
    **_names("network-performance-options.", "bandwidth-weighting"),
    **_names("operator.", "principal"),
    **_names("placement-", "group-name partition-number"),
    **_names(
        "private-dns-name-options.",
        "enable-resource-name-dns-a-record enable-resource-name-dns-aaaa-record hostname-type",
    ),
    **_names("product-code.", "type"),
    **_names(
        "",
        "affinity boot-mode client-token current-instance-boot-mode dns-name ena-support "
        "host-id instance-lifecycle ip-address ipv6-address kernel-id key-name outpost-arn "
        "platform private-dns-name private-ip-address product-code ramdisk-id reason "
        "requester-id source-dest-check spot-instance-request-id subnet-id tpm-support "
        "usage-operation usage-operation-update-time vpc-id",
    ),
}

FILTERS: Final[Table[Instance]] = {
    **_ABSENT,
    "architecture": lambda i: trees.ARCHITECTURE,
    "availability-zone": lambda i: i.zone,
    "availability-zone-id": lambda i: zone_id(i.zone),
    "block-device-mapping.attach-time": _attached(lambda a: iso_time(a.attached_ns)),
    "block-device-mapping.delete-on-termination": _attached(lambda a: a.delete_on_termination),
    "block-device-mapping.device-name": _attached(lambda a: a.device),
    "block-device-mapping.status": _attached(lambda a: a.state),
    "block-device-mapping.volume-id": _attached(lambda a: a.volume_id),
    "ebs-optimized": lambda i: False,
    "hypervisor": lambda i: trees.HYPERVISOR,
    "image-id": lambda i: i.image_id,
    "instance-id": lambda i: i.instance_id,
    "instance-state-code": lambda i: trees.STATE_CODES[i.state],
    "instance-state-name": lambda i: i.state,
    "instance-type": lambda i: i.instance_type,
    "launch-index": lambda i: i.launch_index,
    "launch-time": lambda i: iso_time(i.launched_ns),
    "monitoring-state": lambda i: "disabled",
    "operator.managed": lambda i: False,
    "platform-details": lambda i: trees.PLATFORM,
    "reservation-id": lambda i: i.reservation_id,
    "root-device-name": lambda i: i.root_device,
    "root-device-type": lambda i: "ebs",
    "state-reason-code": _reason(0),
    "state-reason-message": _reason(1),
    "tenancy": lambda i: "default",
    "virtualization-type": lambda i: trees.VIRTUALIZATION,
}


def _reachability(instance: Instance) -> Values:
    return "passed" if instance.state == "running" else None


STATUS_FILTERS: Final[Table[Instance]] = {
    **_names(
        "event.",
        "code description instance-event-id not-after not-before not-before-deadline",
    ),
    "application-status.status": nothing,
    "attached-ebs-status.status": trees.status_of,
    "availability-zone": lambda i: i.zone,
    "availability-zone-id": lambda i: zone_id(i.zone),
    "instance-state-code": lambda i: trees.STATE_CODES[i.state],
    "instance-state-name": lambda i: i.state,
    "instance-status.reachability": _reachability,
    "instance-status.status": trees.status_of,
    "operator.managed": lambda i: False,
    "operator.principal": nothing,
    "system-status.reachability": _reachability,
    "system-status.status": trees.status_of,
}
