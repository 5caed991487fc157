"""What RunInstances takes: its block device mapping, and all that is none of a disk's concern."""

from __future__ import annotations

from typing import Final

from blockdev.instance import ROOT_DEVICE, ROOT_SIZE_GIB, ephemeral_index
from blockdev.model import BlockDeviceMapping, VolumeSpec
from blockdev.volume import canonical_device
from objstore.ec2.action import Job
from objstore.ec2.errors import Ec2Error, missing
from objstore.ec2.operations.common import DRY_RUN, TAG_SPECIFICATIONS
from objstore.ec2.operations.volumes import VOLUME_TYPES
from objstore.ec2.parameters import (
    BOOLEAN,
    IGNORED,
    INTEGER,
    REFUSED,
    STRING,
    Kind,
    ListOf,
    Parameters,
    Refused,
    Struct,
)

_EBS: Final = Struct(
    {
        "DeleteOnTermination": BOOLEAN,
        "Iops": INTEGER,
        "SnapshotId": STRING,
        "VolumeSize": INTEGER,
        "VolumeType": VOLUME_TYPES,
        "KmsKeyId": STRING,
        "Throughput": INTEGER,
        "OutpostArn": REFUSED,
        "AvailabilityZone": REFUSED,
        "Encrypted": BOOLEAN,
        "VolumeInitializationRate": INTEGER,
        "AvailabilityZoneId": REFUSED,
        "EbsCardIndex": IGNORED,
    }
)

_MAPPINGS: Final = ListOf(
    Struct({"Ebs": _EBS, "NoDevice": STRING, "DeviceName": STRING, "VirtualName": STRING}), 100
)

_PLACEMENT: Final = Struct(
    {
        "AvailabilityZone": STRING,
        "AvailabilityZoneId": STRING,
        **dict.fromkeys(("Affinity", "GroupName", "PartitionNumber", "HostId", "Tenancy"), IGNORED),
        **dict.fromkeys(("SpreadDomain", "HostResourceGroupArn", "GroupId"), IGNORED),
    }
)

# Networks, processors, keys and software: an instance here is what volumes attach to.
_ELSEWHERE: Final = (
    *("Ipv6AddressCount", "Ipv6Address", "KernelId", "KeyName", "Monitoring", "RamdiskId"),
    *("SecurityGroupId", "SecurityGroup", "SubnetId", "UserData", "CreditSpecification"),
    *("CpuOptions", "LicenseSpecification", "MetadataOptions", "EnclaveOptions"),
    *("PrivateDnsNameOptions", "MaintenanceOptions", "EnablePrimaryIpv6", "AdditionalInfo"),
    *("NetworkPerformanceOptions", "SecondaryInterface", "PrivateIpAddress"),
    *("NetworkInterface", "IamInstanceProfile", "EbsOptimized", "CapacityReservationSpecification"),
    "InstanceInitiatedShutdownBehavior",  # nothing inside of an instance shuts it down
)

# These would change what the verbs do, or name what is not there.
_REFUSED: Final = (
    *("LaunchTemplate", "InstanceMarketOptions", "Operator"),
    *("ElasticGpuSpecification", "ElasticInferenceAccelerator"),
)

RUN_MEMBERS: Final[dict[str, Kind]] = {
    "BlockDeviceMapping": _MAPPINGS,
    "ImageId": STRING,
    "InstanceType": STRING,
    "MaxCount": INTEGER,
    "MinCount": INTEGER,
    "Placement": _PLACEMENT,
    "TagSpecification": TAG_SPECIFICATIONS,
    "ClientToken": STRING,
    **dict.fromkeys(_ELSEWHERE, IGNORED),
    **dict.fromkeys(_REFUSED, REFUSED),
    "DisableApiStop": Refused(harmless=("false",)),
    "DisableApiTermination": Refused(harmless=("false",)),
    "HibernationOptions": Struct({"Configured": Refused(harmless=("false",))}),
    **DRY_RUN,
}


def mapping_of(job: Job, given: Parameters) -> BlockDeviceMapping:
    """One BlockDeviceMapping.

    Raises:
        ServiceError: MissingParameter, InvalidSnapshot.NotFound, InvalidBlockDeviceMapping.
    """
    device = given.text("DeviceName")
    if not device:
        raise missing("BlockDeviceMapping.DeviceName")
    if given.has("NoDevice"):
        return BlockDeviceMapping(device, no_device=True)
    if given.has("VirtualName"):
        ephemeral_index(given.text("VirtualName"))
        return BlockDeviceMapping(device, virtual_name=given.text("VirtualName"))
    if not given.has("Ebs"):
        raise missing("BlockDeviceMapping.Ebs")
    ebs = given.struct("Ebs")
    snapshot_id = ebs.text("SnapshotId")
    deletes = ebs.flag("DeleteOnTermination")
    return BlockDeviceMapping(
        device,
        spec=_spec(job, ebs, device, snapshot_id),
        snapshot_id=snapshot_id,
        delete_on_termination=_is_root(device) if deletes is None else deletes,
        encrypted=bool(ebs.flag("Encrypted")),
        kms_key_id=ebs.text("KmsKeyId"),
        initialization_mibps=ebs.number("VolumeInitializationRate"),
    )


def _is_root(device: str) -> bool:
    return canonical_device(device) == canonical_device(ROOT_DEVICE)


def _spec(job: Job, ebs: Parameters, device: str, snapshot_id: str) -> VolumeSpec:
    size_gib = ebs.number("VolumeSize")
    if size_gib is None and snapshot_id:
        (snapshot,) = job.region.describe_snapshots([snapshot_id])
        size_gib = snapshot.volume_size_gib
    if size_gib is None and _is_root(device):
        size_gib = ROOT_SIZE_GIB
    if size_gib is None:
        raise Ec2Error(
            "InvalidBlockDeviceMapping", f"{device} needs a volume size or the id of a snapshot"
        )
    return VolumeSpec(
        ebs.text("VolumeType") or "gp2", size_gib, ebs.number("Iops"), ebs.number("Throughput")
    )
