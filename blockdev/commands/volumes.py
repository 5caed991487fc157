"""create, restore, attach, detach, modify, delete: what is done to volumes."""

from __future__ import annotations

import argparse

from blockdev.commands.common import (
    Subparsers,
    add_json_option,
    add_new_region_options,
    add_performance_options,
    add_tag_option,
    open_or_make_region,
    open_region,
    parser_for,
    positive,
)
from blockdev.commands.output import print_json
from blockdev.model import Volume
from blockdev.service import Region


def add_parsers(commands: Subparsers) -> None:
    """The grammar of these verbs."""
    _add_create(commands)
    _add_restore(commands)
    _add_attach(commands)
    _add_detach(commands)
    _add_modify(commands)
    parser = parser_for(commands, "delete", "delete volumes that are attached to nothing")
    parser.add_argument("volume", nargs="+", metavar="VOLUME")
    parser.set_defaults(run=_delete)


def _add_create(commands: Subparsers) -> None:
    parser = parser_for(
        commands,
        "create",
        "make a volume, and the region if there is none; prints the volume's id",
    )
    add_performance_options(parser, default_type="gp2")
    parser.add_argument("--snapshot", default="", help="make it from this snapshot")
    _add_making_options(parser)
    parser.set_defaults(run=_create)


def _add_restore(commands: Subparsers) -> None:
    parser = parser_for(
        commands,
        "restore",
        "make a volume from a snapshot; prints the volume's id",
        description="Make a volume from a snapshot. It can be used at once: a block is fetched "
        "from the snapshot when it is first touched.",
    )
    parser.add_argument("snapshot", metavar="SNAPSHOT")
    add_performance_options(parser, default_type="gp2")
    _add_making_options(parser)
    parser.set_defaults(run=_create)


def _add_making_options(parser: argparse.ArgumentParser) -> None:
    add_new_region_options(parser)
    parser.add_argument(
        "--multi-attach", action="store_true", help="for several instances at once (io1, io2)"
    )
    parser.add_argument("--encrypted", action="store_true", help="mark it as encrypted")
    parser.add_argument("--kms-key", default="", metavar="ID", help="with --encrypted")
    parser.add_argument(
        "--initialization-rate",
        type=positive,
        metavar="MIBPS",
        help="fetch the snapshot's blocks at this rate from the start (100 to 300)",
    )
    add_tag_option(parser)
    add_json_option(parser)


def _create(arguments: argparse.Namespace) -> int:
    with open_or_make_region(arguments) as region:
        volume = region.create_volume(
            zone=arguments.zone or region.zones[0],
            volume_type=arguments.type,
            size_gib=arguments.size,
            iops=arguments.iops,
            throughput_mibps=arguments.throughput,
            snapshot_id=arguments.snapshot,
            encrypted=arguments.encrypted,
            kms_key_id=arguments.kms_key,
            multi_attach=arguments.multi_attach,
            initialization_mibps=arguments.initialization_rate,
            tags=dict(arguments.tag),
        )
        _print_made(region, volume, as_json=arguments.json)
    return 0


def _print_made(region: Region, volume: Volume, *, as_json: bool) -> None:
    if as_json:
        print_json(region.describe_volumes([volume.volume_id])[0])
    else:
        print(volume.volume_id)


def _add_attach(commands: Subparsers) -> None:
    parser = parser_for(commands, "attach", "attach a volume to an instance")
    parser.add_argument("volume", metavar="VOLUME")
    parser.add_argument("instance", metavar="INSTANCE")
    parser.add_argument("device", metavar="DEVICE", help="such as /dev/sdf")
    add_json_option(parser)
    parser.set_defaults(run=_attach)


def _attach(arguments: argparse.Namespace) -> int:
    with open_region(arguments) as region:
        attachment = region.attach_volume(arguments.volume, arguments.instance, arguments.device)
        if arguments.json:
            print_json(attachment)
        else:
            print(
                f"{attachment.volume_id} on {attachment.instance_id} as {attachment.device}: "
                f"{attachment.state}"
            )
    return 0


def _add_detach(commands: Subparsers) -> None:
    parser = parser_for(commands, "detach", "take a volume off an instance")
    parser.add_argument("volume", metavar="VOLUME")
    parser.add_argument("--instance", default="", help="where several have it attached")
    parser.add_argument("--device", default="", help="it has to be attached as this")
    parser.add_argument(
        "--force", action="store_true", help="at once, whatever the instance has not written"
    )
    add_json_option(parser)
    parser.set_defaults(run=_detach)


def _detach(arguments: argparse.Namespace) -> int:
    with open_region(arguments) as region:
        attachment = region.detach_volume(
            arguments.volume,
            instance_id=arguments.instance,
            device=arguments.device,
            force=arguments.force,
        )
        if arguments.json:
            print_json(attachment)
        else:
            print(f"{attachment.volume_id} on {attachment.instance_id}: {attachment.state}")
    return 0


def _add_modify(commands: Subparsers) -> None:
    parser = parser_for(
        commands,
        "modify",
        "change a volume's type, size or performance",
        description="Change a volume's type, size or performance while it is in use. A volume "
        "only grows, and takes four modifications in 24 hours.",
    )
    parser.add_argument("volume", metavar="VOLUME")
    add_performance_options(parser, default_type=None)
    parser.add_argument(
        "--multi-attach", action=argparse.BooleanOptionalAction, help="several instances (io2)"
    )
    add_json_option(parser)
    parser.set_defaults(run=_modify)


def _modify(arguments: argparse.Namespace) -> int:
    with open_region(arguments) as region:
        change = region.modify_volume(
            arguments.volume,
            volume_type=arguments.type,
            size_gib=arguments.size,
            iops=arguments.iops,
            throughput_mibps=arguments.throughput,
            multi_attach=arguments.multi_attach,
        )
        if arguments.json:
            print_json(change)
        else:
            target = change.target
            print(
                f"{change.volume_id}: {change.state} to {target.volume_type} of "
                f"{target.size_gib} GiB, {change.progress_percent} %"
            )
    return 0


def _delete(arguments: argparse.Namespace) -> int:
    with open_region(arguments) as region:
        for volume_id in arguments.volume:
            region.delete_volume(volume_id)
    return 0
