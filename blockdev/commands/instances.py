"""run-instance, reboot, stop, start, terminate: the instances that disks are attached to."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Final

from blockdev.commands.common import (
    Subparsers,
    add_json_option,
    add_new_region_options,
    add_tag_option,
    open_or_make_region,
    open_region,
    parser_for,
    positive,
)
from blockdev.commands.output import print_json
from blockdev.instance import ROOT_DEVICE
from blockdev.model import BlockDeviceMapping, VolumeSpec
from blockdev.service import Region
from blockdev.volume import canonical_device

_DEFAULT_IMAGE: Final = "ami-00000000000000000"
_MAPPING_FIELDS: Final = 5
_DEFAULT_GIB: Final = 8

_VERBS: Final[dict[str, tuple[str, Callable[[Region, list[str]], object]]]] = {
    "reboot": ("restart instances; all disks stay", lambda r, ids: r.reboot_instances(ids)),
    "stop": (
        "stop instances; what is on instance-store disks is gone",
        lambda r, ids: r.stop_instances(ids),
    ),
    "start": ("start stopped instances", lambda r, ids: r.start_instances(ids)),
    "terminate": (
        "end instances; volumes with delete-on-termination go with them",
        lambda r, ids: r.terminate_instances(ids),
    ),
}


def add_parsers(commands: Subparsers) -> None:
    """The grammar of these verbs."""
    parser = parser_for(
        commands,
        "run-instance",
        "start an instance, and make the region if there is none; prints the instance's id",
        epilog="A MAPPING is DEVICE=[SNAPSHOT]:[GIB]:[DELETE]:[TYPE]:[IOPS], such as "
        "/dev/sdf=:100:true:gp3 or /dev/sdg=snap-0123, or DEVICE=ephemeral0 for an "
        "instance-store disk, or DEVICE=none to leave out what the image would map.",
    )
    parser.add_argument("--type", default="m5.large", help="instance type (m5.large)")
    parser.add_argument("--image", default=_DEFAULT_IMAGE, metavar="AMI", help="any AMI's id")
    parser.add_argument("--count", type=positive, default=1, help="how many (1)")
    parser.add_argument(
        "--map", action="append", default=[], type=mapping, metavar="MAPPING", help="a disk"
    )
    add_new_region_options(parser)
    add_tag_option(parser)
    add_json_option(parser)
    parser.set_defaults(run=_run_instance)
    for name, (help_text, _) in _VERBS.items():
        parser = parser_for(commands, name, help_text)
        parser.add_argument("instance", nargs="+", metavar="INSTANCE")
        add_json_option(parser)
        parser.set_defaults(run=_change, verb=name)


def mapping(text: str) -> BlockDeviceMapping:
    """A block device mapping as it is written on the command line."""
    device, equals, rest = text.partition("=")
    if not device or not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is not DEVICE=...")
    if rest == "none":
        return BlockDeviceMapping(device, no_device=True)
    if rest.startswith("ephemeral"):
        return BlockDeviceMapping(device, virtual_name=rest)
    fields = rest.split(":")
    if len(fields) > _MAPPING_FIELDS:
        raise argparse.ArgumentTypeError(f"{text!r} has more than {_MAPPING_FIELDS} fields")
    snapshot_id, size, delete, volume_type, iops = fields + [""] * (_MAPPING_FIELDS - len(fields))
    if delete not in ("", "true", "false"):
        raise argparse.ArgumentTypeError(f"{delete!r} in {text!r} is neither true nor false")
    return BlockDeviceMapping(
        device,
        spec=_spec(snapshot_id, size, volume_type, iops),
        snapshot_id=snapshot_id,
        # By default, as on EC2, only the root volume goes with its instance.
        delete_on_termination=delete == "true" if delete else _is_root(device),
    )


def _is_root(device: str) -> bool:
    return canonical_device(device) == canonical_device(ROOT_DEVICE)


def _spec(snapshot_id: str, size: str, volume_type: str, iops: str) -> VolumeSpec:
    """What a mapping says of its volume.  Size 0 stands for the snapshot's own."""
    size_gib = positive(size) if size else 0 if snapshot_id else _DEFAULT_GIB
    return VolumeSpec(volume_type or "gp2", size_gib, positive(iops) if iops else None)


def _run_instance(arguments: argparse.Namespace) -> int:
    with open_or_make_region(arguments) as region:
        instances = region.run_instances(
            image_id=arguments.image,
            instance_type=arguments.type,
            count=arguments.count,
            zone=arguments.zone,
            mappings=arguments.map,
            tags=dict(arguments.tag),
        )
        ids = [one.instance_id for one in instances]
        if arguments.json:
            print_json(region.describe_instances(ids))
        else:
            print("\n".join(ids))
    return 0


def _change(arguments: argparse.Namespace) -> int:
    _, act = _VERBS[arguments.verb]
    with open_region(arguments) as region:
        act(region, arguments.instance)
        instances = region.describe_instances(arguments.instance)
    if arguments.json:
        print_json(instances)
    else:
        for one in instances:
            print(f"{one.instance_id}: {one.state}")
    return 0
