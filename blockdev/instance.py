"""The rules of an instance: its states, which verb each allows, and what its disks go through.

Pure, like `blockdev.volume`.  An instance is a target (running, stopped, terminated) and
the moment at which it is reached; until then it is on the way there.

What becomes of an instance-store disk (EC2 user guide, "Instance store"): it survives a
reboot, and its data is gone for good after stop, terminate or a failure of the disk.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from string import ascii_lowercase
from typing import Final

from blockdev.model import BlockDeviceMapping, Instance, ServiceError
from blockdev.volume import HOUR_NS, canonical_device, check_device_name

MAX_ATTACHMENTS: Final = 27
"""Volumes of one instance.  EC2 user guide, "Instance volume limits": most Nitro instances
take 28 attachments, one of which is the network interface."""

TERMINATED_VISIBLE_NS: Final = HOUR_NS
"""How long a terminated instance is described still; EC2 user guide: "a short while", seen
to be about an hour."""

ROOT_DEVICE: Final = "/dev/xvda"
ROOT_SIZE_GIB: Final = 8
"""The root volume of an image that maps nothing else: that of Amazon Linux."""

_ON_THE_WAY: Final = {"running": "pending", "stopped": "stopping", "terminated": "shutting-down"}
_INSTANCE_TYPE: Final = re.compile(r"[a-z][a-z0-9-]*\.[a-z0-9-]+")
_IMAGE_ID: Final = re.compile(r"ami-[0-9a-f]{8}([0-9a-f]{9})?")
_EPHEMERAL: Final = re.compile(r"ephemeral(0|[1-9][0-9]?)")


def instance_state(now_ns: int, *, target: str, reached_ns: int) -> str:
    """pending, running, stopping, stopped, shutting-down or terminated."""
    return target if now_ns >= reached_ns else _ON_THE_WAY[target]


def check_instance_type(instance_type: str) -> None:
    """Raise InvalidParameterValue unless this looks like an instance type.

    Types are not listed here: all but those with instance-store disks are alike to a disk.
    """
    if _INSTANCE_TYPE.fullmatch(instance_type) is None:
        raise ServiceError(
            "InvalidParameterValue", f"Invalid value '{instance_type}' for InstanceType."
        )


def check_image_id(image_id: str) -> None:
    """Raise InvalidAMIID.Malformed unless `image_id` has the form of one; any such exists."""
    if _IMAGE_ID.fullmatch(image_id) is None:
        raise ServiceError("InvalidAMIID.Malformed", f'Invalid id: "{image_id}"')


def check_verb(instance: Instance, verb: str) -> None:
    """Raise unless `verb` (start, stop, reboot, terminate) is allowed in the instance's state.

    Starting what runs and stopping what is stopped do nothing, as on EC2; so does
    terminating twice.

    Raises:
        ServiceError: IncorrectInstanceState.
    """
    allowed = {
        "start": ("stopped", "pending", "running"),
        "stop": ("running", "pending", "stopping", "stopped"),
        "reboot": ("running", "pending"),
        "terminate": (
            *("pending", "running", "stopping", "stopped"),
            *("shutting-down", "terminated"),
        ),
    }[verb]
    if instance.state not in allowed:
        raise ServiceError(
            "IncorrectInstanceState",
            f"The instance '{instance.instance_id}' is not in a state from which it can be "
            f"{_DONE[verb]}: it is {instance.state}.",
        )


_DONE: Final = {
    "start": "started",
    "stop": "stopped",
    "reboot": "rebooted",
    "terminate": "terminated",
}


def ephemeral_index(virtual_name: str) -> int:
    """The disk that ``ephemeral0`` … names.

    Raises:
        ServiceError: InvalidBlockDeviceMapping.
    """
    found = _EPHEMERAL.fullmatch(virtual_name)
    if found is None:
        raise ServiceError(
            "InvalidBlockDeviceMapping", f"The virtual name '{virtual_name}' is not valid."
        )
    return int(found.group(1))


def check_mappings(mappings: Sequence[BlockDeviceMapping]) -> None:
    """Raise InvalidBlockDeviceMapping or InvalidParameterValue where mappings contradict."""
    seen: set[str] = set()
    for mapping in mappings:
        check_device_name(mapping.device)
        device = canonical_device(mapping.device)
        if device in seen:
            raise ServiceError(
                "InvalidBlockDeviceMapping",
                f"The device '{mapping.device}' is used in more than one block-device mapping",
            )
        seen.add(device)
        is_volume = mapping.spec is not None or bool(mapping.snapshot_id)
        if is_volume + bool(mapping.virtual_name) + mapping.no_device > 1:
            raise ServiceError(
                "InvalidBlockDeviceMapping",
                f"The mapping of '{mapping.device}' must name a volume, a virtual name or "
                "no device, and only one of them.",
            )


def disk_devices(
    disks: int, mappings: Sequence[BlockDeviceMapping], taken: Sequence[str]
) -> list[str]:
    """The device name of each of `disks` instance-store disks, in order of their index.

    A mapping with a virtual name gives one; the rest get the first names free from
    /dev/sdb on.  NVMe disks of an instance are there whether they are mapped or not
    (EC2 user guide), so none is left out.  Disks named beyond `disks` are ignored, as on EC2.

    Raises:
        ServiceError: InvalidBlockDeviceMapping (no such virtual name).
    """
    names: dict[int, str] = {}
    for mapping in mappings:
        if mapping.virtual_name:
            index = ephemeral_index(mapping.virtual_name)
            if index < disks:
                names[index] = mapping.device
    used = {canonical_device(name) for name in (*taken, *names.values())}
    free = (f"/dev/{kind}{letter}" for kind in ("sd", "xvdb") for letter in ascii_lowercase[1:])
    spare = (name for name in free if canonical_device(name) not in used)
    return [names[index] if index in names else next(spare) for index in range(disks)]
