"""What the control plane of a region speaks of: frozen values and the errors of its API.

Names and states are EC2's own (the ``ec2`` and ``ebs`` service models of botocore).  Sizes
are GiB where EC2 says GiB, MiB/s where it says so, and times are nanoseconds since the
Unix epoch (UTC).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

GIB: Final = 1024**3
MIB: Final = 1024**2

SNAPSHOT_BLOCK_BYTES: Final = 512 * 1024
"""The unit of snapshots and of the EBS direct APIs: 524,288 bytes, aligned."""


class ServiceError(Exception):
    """A rule of EC2 or of the EBS direct APIs was broken; nothing was changed.

    `code` is AWS's own, such as ``VolumeInUse`` or ``InvalidParameterValue``; `reason` is
    what the EBS direct APIs put beside it, such as ``INVALID_BLOCK_TOKEN``.
    """

    def __init__(self, code: str, message: str, *, reason: str = "") -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.reason = reason


@dataclass(frozen=True, slots=True)
class VolumeSpec:
    """What a volume is, or is to be: `size_gib`, type, and what was provisioned for it.

    `iops` and `throughput_mibps` are None where the type does not take them, or where its
    default is meant; `profiles.resolve` fills them in and checks them.
    """

    volume_type: str
    size_gib: int
    iops: int | None = None
    throughput_mibps: int | None = None


@dataclass(frozen=True, slots=True)
class Attachment:
    """A volume on an instance.  `state`: attaching, attached, detaching, detached, busy."""

    volume_id: str
    instance_id: str
    device: str
    state: str
    attached_ns: int
    delete_on_termination: bool = False


@dataclass(frozen=True, slots=True)
class Volume:
    """A volume as it is described.

    `state`: creating, available, in-use, deleting, deleted, error.
    `initialization_mibps`: VolumeInitializationRate, None for lazy loading as it comes.
    """

    volume_id: str
    spec: VolumeSpec
    state: str
    zone: str
    created_ns: int
    snapshot_id: str = ""
    encrypted: bool = False
    kms_key_id: str = ""
    multi_attach: bool = False
    fast_restored: bool = False
    initialization_mibps: int | None = None
    attachments: tuple[Attachment, ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Modification:
    """A change of a volume.  `state`: modifying, optimizing, completed, failed."""

    volume_id: str
    state: str
    original: VolumeSpec
    target: VolumeSpec
    progress_percent: int
    started_ns: int
    ended_ns: int | None = None
    status_message: str = ""
    original_multi_attach: bool = False
    target_multi_attach: bool = False


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A snapshot as it is described.

    `state`: pending, completed, error, recoverable, recovering.  `tier`: standard, archive.
    `progress_percent`: of the copy that makes it.  `full_bytes`: of all its blocks;
    `added_bytes`: of those that no earlier snapshot in the store held when it was made.
    """

    snapshot_id: str
    volume_id: str
    volume_size_gib: int
    state: str
    started_ns: int
    progress_percent: int
    owner_id: str
    description: str = ""
    encrypted: bool = False
    kms_key_id: str = ""
    parent_id: str = ""
    tier: str = "standard"
    completed_ns: int | None = None
    full_bytes: int = 0
    added_bytes: int = 0
    shared_with: tuple[str, ...] = ()
    is_public: bool = False
    restore_expires_ns: int | None = None
    state_message: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SnapshotUsage:
    """What a snapshot costs in the block store, in stored (compressed) and plain bytes.

    `exclusive_…`: what deleting it would free; nothing else refers to those blocks.
    """

    snapshot_id: str
    blocks: int
    full_bytes: int
    exclusive_blocks: int
    exclusive_bytes: int
    stored_bytes: int
    exclusive_stored_bytes: int


@dataclass(frozen=True, slots=True)
class SnapshotTier:
    """The storage tier of a snapshot, and what last moved it.

    `status`: the snapshot's state.  `last_tiering_status`: ``archival-``, ``temporary-restore-``
    or ``permanent-restore-`` and then ``in-progress`` or ``completed``; empty if it never
    moved.  `last_tiering_progress`: percent.  `minimum_ends_ns`: until when the archive is
    paid for at least.  `archived_bytes`: the full copy that the archive holds.
    """

    snapshot_id: str
    volume_id: str
    status: str
    owner_id: str
    tier: str
    last_tiering_start_ns: int | None = None
    last_tiering_progress: int | None = None
    last_tiering_status: str = ""
    archived_ns: int | None = None
    restore_expires_ns: int | None = None
    minimum_ends_ns: int | None = None
    archived_bytes: int = 0
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class FastRestore:
    """Fast snapshot restore of a snapshot in a zone.

    `state`: enabling, optimizing, enabled, disabling, disabled.  `credits`: volumes that
    can be made at full speed now; at most `max_credits`, filling at `credits_per_hour`.
    """

    snapshot_id: str
    zone: str
    state: str
    changed_ns: int
    credits: float
    max_credits: float
    credits_per_hour: float


@dataclass(frozen=True, slots=True)
class BlockDeviceMapping:
    """A disk that an instance is to start with: an EBS volume, or an instance-store disk.

    `device`: such as ``/dev/sdf``.  `virtual_name`: ``ephemeral0`` and so on for an
    instance-store disk; `no_device` drops what the image would have mapped.
    """

    device: str
    spec: VolumeSpec | None = None
    snapshot_id: str = ""
    delete_on_termination: bool = True
    encrypted: bool = False
    virtual_name: str = ""
    no_device: bool = False
    kms_key_id: str = ""
    initialization_mibps: int | None = None


@dataclass(frozen=True, slots=True)
class InstanceDisk:
    """An instance-store disk: `disk_index` counts from 0; `state`: present, failed, gone."""

    instance_id: str
    device: str
    disk_index: int
    size_bytes: int
    state: str


@dataclass(frozen=True, slots=True)
class Instance:
    """A small instance: enough of one for disks to be attached to.

    `state`: pending, running, stopping, stopped, shutting-down, terminated.
    """

    instance_id: str
    instance_type: str
    image_id: str
    state: str
    zone: str
    launched_ns: int
    reservation_id: str
    root_device: str
    attachments: tuple[Attachment, ...] = ()
    disks: tuple[InstanceDisk, ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict)
    state_reason: str = ""
    launch_index: int = 0
