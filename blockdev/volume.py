"""The rules of a volume: what state it is in, and which verb is allowed in that state.

Pure functions over the values of `blockdev.model` and times in nanoseconds since the Unix
epoch.  Nothing here reads a clock, a row or a file.  Codes are those of "Error codes for
the Amazon EC2 API"; what a verb demands is told by the ``ec2`` service model of botocore
([B] below).

States pass with time.  Each row holds the moments at which they do, so that a state is a
function of the row and the clock:

* a volume is ``creating`` until `available_ns`, then ``available``, or ``in-use`` while it
  has attachments; ``deleting`` once it was deleted, until its files are gone;
* an attachment is ``attaching`` until `attached_ns`; once it is to be detached it is
  ``detaching`` until `detached_ns`, and then gone, or ``busy`` as long as its instance
  still has the device open;
* a modification is ``modifying`` until `optimizing_ns`, ``optimizing`` until
  `completed_ns`, then ``completed``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from blockdev import profiles
from blockdev.credits import Limits, Rate
from blockdev.model import Attachment, Instance, Modification, ServiceError, Volume, VolumeSpec

SECOND_NS: Final = 1_000_000_000
HOUR_NS: Final = 3600 * SECOND_NS
DAY_NS: Final = 24 * HOUR_NS

MODIFICATIONS_PER_DAY: Final = 4
"""ModifyVolume [B]: "up to four times within a rolling 24-hour period"."""

MULTI_ATTACH_INSTANCES: Final = 16
"""CreateVolume, MultiAttachEnabled [B]: "up to 16 Instances"."""

_DEVICE: Final = re.compile(r"(/dev/)?(sd[a-z]|xvd[a-z]{1,2})[1-9]?[0-9]?")
"""Names that the EC2 user guide allows for volumes: /dev/sd[a-z], /dev/sd[a-z][1-15], xvd…"""

_ZERO_PROGRESS: Final = 0
_FULL_PROGRESS: Final = 100


@dataclass(frozen=True, slots=True)
class Timings:
    """How long the passing states last, in nanoseconds.

    The default is at once, so that nobody waits for a simulation of waiting; only
    `optimizing` has its real length, because performance differs while it lasts.  The user
    guide of 2023 says of it: 24 hours at most, and about 6 hours for a full 1 TiB volume.
    """

    creating_ns: int = 0
    attaching_ns: int = 0
    detaching_ns: int = 0
    deleting_ns: int = 0
    modifying_ns: int = 0
    optimizing_ns_per_gib: int = 6 * HOUR_NS // 1024
    starting_ns: int = 0
    stopping_ns: int = 0
    fast_restore_ns_per_tib: int = HOUR_NS
    """EnableFastSnapshotRestores: 60 minutes for each TiB to optimize a snapshot."""
    snapshot_spacing_ns: int = 0
    """Between concurrent snapshots of one volume; the EC2 error codes say 15 seconds."""
    archiving_ns: int = 0
    unarchiving_ns: int = 0

    @classmethod
    def realistic(cls) -> Timings:
        """Waits of the order of those on EC2 itself: for tests of code that has to wait."""
        return cls(
            creating_ns=3 * SECOND_NS,
            attaching_ns=2 * SECOND_NS,
            detaching_ns=3 * SECOND_NS,
            deleting_ns=5 * SECOND_NS,
            modifying_ns=5 * SECOND_NS,
            starting_ns=10 * SECOND_NS,
            stopping_ns=20 * SECOND_NS,
            snapshot_spacing_ns=15 * SECOND_NS,
            archiving_ns=HOUR_NS,
            unarchiving_ns=24 * HOUR_NS,
        )

    def optimizing_ns(self, spec: VolumeSpec) -> int:
        """How long a volume that becomes `spec` is optimized; a day at most."""
        return min(self.optimizing_ns_per_gib * spec.size_gib, DAY_NS)


def volume_state(
    now_ns: int, *, available_ns: int, is_deleted: bool, is_failed: bool, is_attached: bool
) -> str:
    """creating, available, in-use, deleting or error; a volume that is ``deleted`` has no row."""
    if is_deleted:
        return "deleting"
    if is_failed:
        return "error"
    if now_ns < available_ns:
        return "creating"
    return "in-use" if is_attached else "available"


def attachment_state(now_ns: int, *, attached_ns: int, detached_ns: int | None, busy: bool) -> str:
    """attaching, attached, detaching, busy or detached.

    `busy`: the instance has the device open, so a detachment cannot end.
    """
    if detached_ns is None:
        return "attaching" if now_ns < attached_ns else "attached"
    if busy:
        return "busy"
    return "detaching" if now_ns < detached_ns else "detached"


def modification_state(now_ns: int, *, optimizing_ns: int, completed_ns: int) -> str:
    """modifying, optimizing or completed."""
    if now_ns < optimizing_ns:
        return "modifying"
    return "optimizing" if now_ns < completed_ns else "completed"


def modification_progress(
    now_ns: int, *, started_ns: int, optimizing_ns: int, completed_ns: int
) -> int:
    """Percent: 0 while modifying, then growing evenly, 100 when completed."""
    if now_ns < optimizing_ns:
        return _ZERO_PROGRESS
    if now_ns >= completed_ns:
        return _FULL_PROGRESS
    length_ns = max(completed_ns - started_ns, 1)
    return min((now_ns - started_ns) * 100 // length_ns, _FULL_PROGRESS - 1)


def halfway(original: VolumeSpec, target: VolumeSpec) -> Limits:
    """What a volume delivers while it is optimized.

    The user guide, "Monitor the progress of volume modifications": "performance is in
    between the source and target configuration specifications".  It is the middle where
    both are of one type; figures of two types have no middle, so there it is the source's.
    """
    old, new = profiles.limits(original), profiles.limits(target)
    if original.volume_type != target.volume_type:
        return old
    return replace(
        new,
        ios=_middle(old.ios, new.ios),
        throughput=_middle(old.throughput, new.throughput),
        credits=None if old.credits is None else _middle(old.credits, new.credits or old.credits),
    )


def _middle(one: Rate, other: Rate) -> Rate:
    return replace(
        other,
        tokens_per_s=(one.tokens_per_s + other.tokens_per_s) // 2,
        depth=(one.depth + other.depth) // 2,
    )


def check_device_name(device: str) -> None:
    """Raise InvalidParameterValue unless EC2 lets a volume be attached under this name."""
    if _DEVICE.fullmatch(device) is None:
        raise ServiceError(
            "InvalidParameterValue",
            f"Value ({device}) for parameter device is invalid. "
            f"{device} is not a valid EBS device name.",
        )


def canonical_device(device: str) -> str:
    """One name for the device that EC2 knows by several: /dev/sdf, sdf, /dev/xvdf, xvdf."""
    name = device.removeprefix("/dev/")
    return name.removeprefix("xvd").removeprefix("sd")


def check_multi_attach(volume_type: str) -> None:
    """Raise InvalidParameterCombination where Multi-Attach is not for this type."""
    if not profiles.supports_multi_attach(volume_type):
        raise ServiceError(
            "InvalidParameterCombination",
            f"The parameter MultiAttachEnabled is not supported for {volume_type} volumes.",
        )


def check_attach(volume: Volume, instance: Instance, device: str, max_attachments: int) -> None:
    """Raise what EC2 does unless `volume` can be attached to `instance` as `device`.

    Raises:
        ServiceError: IncorrectState, VolumeInUse, InvalidVolume.ZoneMismatch,
            AttachmentLimitExceeded, InvalidParameterValue (device name or already in use).
    """
    _check_attachable(volume, instance)
    if instance.state not in ("running", "stopped"):
        raise ServiceError("IncorrectState", f"Instance '{instance.instance_id}' is not 'running'.")
    if volume.zone != instance.zone:
        raise ServiceError(
            "InvalidVolume.ZoneMismatch",
            f"The volume '{volume.volume_id}' is not in the same availability zone as "
            f"instance '{instance.instance_id}'",
        )
    check_device_name(device)
    taken = {canonical_device(a.device) for a in instance.attachments}
    taken.update(canonical_device(disk.device) for disk in instance.disks)
    if canonical_device(device) in taken:
        raise ServiceError(
            "InvalidParameterValue",
            f"Invalid value '{device}' for unixDevice. Attachment point {device} is already in use",
        )
    if len(instance.attachments) >= max_attachments:
        raise ServiceError(
            "AttachmentLimitExceeded",
            f"Instance '{instance.instance_id}' has {len(instance.attachments)} volumes "
            f"attached, the most that it can have.",
        )


def _check_attachable(volume: Volume, instance: Instance) -> None:
    """The part of `check_attach` that looks at the volume's own state."""
    if volume.state not in ("available", "in-use"):
        raise ServiceError("IncorrectState", f"{volume.volume_id} is not 'available'.")
    if any(a.instance_id == instance.instance_id for a in volume.attachments):
        raise ServiceError(
            "VolumeInUse", f"{volume.volume_id} is already attached to {instance.instance_id}"
        )
    if volume.attachments and not volume.multi_attach:
        raise ServiceError("VolumeInUse", f"{volume.volume_id} is already attached to an instance")
    if len(volume.attachments) >= MULTI_ATTACH_INSTANCES:
        raise ServiceError(
            "AttachmentLimitExceeded",
            f"{volume.volume_id} is attached to {MULTI_ATTACH_INSTANCES} instances already, "
            "the most for a Multi-Attach enabled volume.",
        )


def find_attachment(volume: Volume, instance_id: str, device: str) -> Attachment:
    """The attachment that a DetachVolume means; instance and device may be left out.

    Raises:
        ServiceError: IncorrectState (attached to nothing), InvalidAttachment.NotFound (not
            to this instance or device), InvalidParameterCombination (several, none named).
    """
    if not volume.attachments:
        raise ServiceError(
            "IncorrectState", f"Volume '{volume.volume_id}' is in the '{volume.state}' state."
        )
    found = [
        a
        for a in volume.attachments
        if instance_id in ("", a.instance_id)
        and (not device or canonical_device(device) == canonical_device(a.device))
    ]
    if not found:
        raise ServiceError(
            "InvalidAttachment.NotFound",
            f"Volume '{volume.volume_id}' is not attached to instance "
            f"'{instance_id or 'any'}' as device '{device or 'any'}'.",
        )
    if len(found) > 1:
        raise ServiceError(
            "InvalidParameterCombination",
            f"Volume '{volume.volume_id}' is attached to {len(found)} instances: "
            "the parameter instanceId is required.",
        )
    return found[0]


def check_detach(attachment: Attachment, instance: Instance, *, force: bool) -> None:
    """Raise unless `attachment` may be undone now.

    Raises:
        ServiceError: OperationNotPermitted (the root volume of a running instance),
            IncorrectState (detaching already; asking again with force is allowed).
    """
    is_root = canonical_device(attachment.device) == canonical_device(instance.root_device)
    if is_root and instance.state not in ("stopped", "terminated"):
        raise ServiceError(
            "OperationNotPermitted",
            f"Unable to detach root volume '{attachment.volume_id}' from instance "
            f"'{instance.instance_id}'",
        )
    if attachment.state in ("detaching", "busy") and not force:
        raise ServiceError(
            "IncorrectState",
            f"Volume '{attachment.volume_id}' is in the '{attachment.state}' state.",
        )


def check_delete(volume: Volume) -> None:
    """Raise VolumeInUse or IncorrectState unless the volume can be deleted."""
    if volume.attachments:
        raise ServiceError(
            "VolumeInUse",
            f"Volume {volume.volume_id} is currently attached to "
            f"{volume.attachments[0].instance_id}",
        )
    if volume.state not in ("available", "error"):
        raise ServiceError(
            "IncorrectState", f"Volume '{volume.volume_id}' is in the '{volume.state}' state."
        )


def check_modify(
    volume: Volume, target: VolumeSpec, history: Sequence[Modification], now_ns: int
) -> None:
    """Raise unless `volume` may become `target` now; `history` are its earlier modifications.

    Raises:
        ServiceError: IncorrectState, IncorrectModificationState (one is under way),
            InvalidParameterValue (smaller), VolumeModificationRateExceeded.
    """
    if volume.state not in ("available", "in-use"):
        raise ServiceError(
            "IncorrectState", f"Volume '{volume.volume_id}' is in the '{volume.state}' state."
        )
    for earlier in history:
        if earlier.state in ("modifying", "optimizing"):
            raise ServiceError(
                "IncorrectModificationState",
                f"Cannot modify volume '{volume.volume_id}' while its last modification is in "
                f"the '{earlier.state}' state.",
            )
    if target.size_gib < volume.spec.size_gib:
        raise ServiceError(
            "InvalidParameterValue",
            f"New size cannot be smaller than existing size: {target.size_gib} GiB is less "
            f"than {volume.spec.size_gib} GiB.",
        )
    recent = sorted(m.started_ns for m in history if now_ns - m.started_ns < DAY_NS)
    if len(recent) >= MODIFICATIONS_PER_DAY:
        wait_ns = recent[-MODIFICATIONS_PER_DAY] + DAY_NS - now_ns
        raise ServiceError(
            "VolumeModificationRateExceeded",
            f"Volume '{volume.volume_id}' has been modified {len(recent)} times within 24 "
            f"hours. The next modification is possible in {-(-wait_ns // SECOND_NS)} seconds.",
        )


def check_multi_attach_change(volume: Volume, target: VolumeSpec, *, multi_attach: bool) -> None:
    """Raise unless Multi-Attach may be switched to `multi_attach` with the change to `target`.

    Raises:
        ServiceError: InvalidParameterCombination (not for this type), IncorrectState (to be
            switched off while attached to several instances).
    """
    if multi_attach:
        check_multi_attach(target.volume_type)
    elif len(volume.attachments) > 1:
        raise ServiceError(
            "IncorrectState",
            f"Multi-Attach of volume '{volume.volume_id}' cannot be disabled while it is "
            f"attached to {len(volume.attachments)} instances.",
        )
