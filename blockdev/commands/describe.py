"""describe, tag, untag, check: what there is in a region, and whether it is whole."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import Final

from blockdev.commands.common import (
    CommandError,
    Subparsers,
    add_json_option,
    open_region,
    parser_for,
    tag,
)
from blockdev.commands.output import human_bytes, human_tags, human_time, print_json, print_table
from blockdev.model import Attachment, Instance, Modification, Snapshot, Volume, VolumeSpec
from blockdev.profiles import displayed_iops
from blockdev.service import Region

_KINDS: Final = ("volumes", "snapshots", "instances", "modifications")
_PREFIXES: Final = {"vol": "volumes", "snap": "snapshots", "i": "instances"}


def add_parsers(commands: Subparsers) -> None:
    """The grammar of these verbs."""
    parser = parser_for(
        commands,
        "describe",
        "show volumes, snapshots, instances or modifications",
        description="Show what there is: `describe`, `describe snapshots`, `describe vol-...`.",
    )
    parser.add_argument(
        "what", nargs="*", metavar="KIND|ID", help=f"one of {', '.join(_KINDS)}, and ids"
    )
    add_json_option(parser)
    parser.set_defaults(run=_describe)

    parser = parser_for(commands, "tag", "put tags on a volume, snapshot or instance")
    parser.add_argument("resource", metavar="ID")
    parser.add_argument("tag", nargs="+", type=tag, metavar="KEY=VALUE")
    parser.set_defaults(run=_tag)

    parser = parser_for(commands, "untag", "take tags off a volume, snapshot or instance")
    parser.add_argument("resource", metavar="ID")
    parser.add_argument("key", nargs="+", metavar="KEY")
    parser.set_defaults(run=_untag)

    parser = parser_for(
        commands,
        "check",
        "check the whole region: exit status 0 if all is well, 1 with a list if not",
    )
    add_json_option(parser)
    parser.set_defaults(run=_check)


def _describe(arguments: argparse.Namespace) -> int:
    kinds, ids = _selection(arguments.what)
    with open_region(arguments) as region:
        found = {kind: _FIND[kind](region, ids.get(kind, ())) for kind in kinds}
        if arguments.json:
            print_json(found if len(kinds) > 1 else found[kinds[0]])
            return 0
        for number, kind in enumerate(kinds):
            if len(kinds) > 1:
                print(f"{chr(10) * (number > 0)}{kind}:")
            _SHOW[kind](region, found[kind])
    return 0


def _selection(words: Sequence[str]) -> tuple[list[str], dict[str, list[str]]]:
    """Kinds to show, and the ids named of each.

    Raises:
        CommandError: a word is neither a kind nor an id.
    """
    kinds: list[str] = []
    ids: dict[str, list[str]] = {}
    for word in words:
        kind = word
        if word not in _KINDS:
            kind = _PREFIXES.get(word.partition("-")[0], "")
            if not kind:
                raise CommandError(
                    f"{word!r} is neither one of {', '.join(_KINDS)} nor an id",
                    "ids begin with vol-, snap- or i-",
                )
            if "modifications" in kinds and kind == "volumes":
                kind = "modifications"
            ids.setdefault(kind, []).append(word)
        if kind not in kinds:
            kinds.append(kind)
    return kinds or ["volumes", "snapshots", "instances"], ids


_FIND: Final[dict[str, Callable[[Region, Sequence[str]], Sequence[object]]]] = {
    "volumes": lambda region, ids: region.describe_volumes(ids),
    "snapshots": lambda region, ids: region.describe_snapshots(ids),
    "instances": lambda region, ids: region.describe_instances(ids),
    "modifications": lambda region, ids: region.describe_modifications(ids),
}


def _show_volumes(region: Region, volumes: Sequence[Volume]) -> None:
    headings = (
        "VOLUME", "STATE", "TYPE", "SIZE", "IOPS", "MIB/S", "CREDITS", "ZONE", "ATTACHED",
        "SNAPSHOT", "CREATED", "TAGS",
    )  # fmt: skip
    print_table(headings, [_volume_row(region, volume) for volume in volumes])


def _volume_row(region: Region, volume: Volume) -> tuple[object, ...]:
    spec = volume.spec
    return (
        volume.volume_id,
        volume.state,
        spec.volume_type,
        f"{spec.size_gib} GiB",
        displayed_iops(spec),
        spec.throughput_mibps,
        _credits(spec, region.credit_balance(volume.volume_id)),
        volume.zone,
        _attached(volume.attachments),
        volume.snapshot_id,
        human_time(volume.created_ns),
        human_tags(volume.tags),
    )


def _credits(spec: VolumeSpec, balance: float | None) -> str:
    if balance is None:
        return ""
    # A volume that was modified keeps the credits of its old type until it is optimized.
    counts_bytes = spec.volume_type in ("st1", "sc1")
    return human_bytes(balance) if counts_bytes else f"{balance:,.0f}"


def _attached(attachments: Sequence[Attachment]) -> str:
    return ", ".join(f"{one.instance_id}:{one.device} {one.state}" for one in attachments)


def _show_snapshots(region: Region, snapshots: Sequence[Snapshot]) -> None:
    headings = (
        "SNAPSHOT", "STATE", "PROGRESS", "VOLUME", "SIZE", "DATA", "ADDED", "TIER", "STARTED",
        "DESCRIPTION", "TAGS",
    )  # fmt: skip
    print_table(
        headings,
        [
            (
                one.snapshot_id,
                one.state,
                f"{one.progress_percent}%",
                one.volume_id,
                f"{one.volume_size_gib} GiB",
                human_bytes(one.full_bytes),
                human_bytes(one.added_bytes),
                one.tier,
                human_time(one.started_ns),
                one.description,
                human_tags(one.tags),
            )
            for one in snapshots
        ],
    )


def _show_instances(region: Region, instances: Sequence[Instance]) -> None:
    headings = ("INSTANCE", "STATE", "TYPE", "ZONE", "VOLUMES", "DISKS", "LAUNCHED", "TAGS")
    print_table(
        headings,
        [
            (
                one.instance_id,
                one.state,
                one.instance_type,
                one.zone,
                ", ".join(f"{each.device}={each.volume_id}" for each in one.attachments),
                ", ".join(
                    f"{disk.device} {human_bytes(disk.size_bytes)} {disk.state}"
                    for disk in one.disks
                ),
                human_time(one.launched_ns),
                human_tags(one.tags),
            )
            for one in instances
        ],
    )


def _show_modifications(region: Region, modifications: Sequence[Modification]) -> None:
    print_table(
        ("VOLUME", "STATE", "PROGRESS", "FROM", "TO", "STARTED"),
        [
            (
                one.volume_id,
                one.state,
                f"{one.progress_percent}%",
                _spec(one.original),
                _spec(one.target),
                human_time(one.started_ns),
            )
            for one in modifications
        ],
    )


def _spec(spec: VolumeSpec) -> str:
    parts = [f"{spec.volume_type} {spec.size_gib} GiB"]
    if spec.iops is not None:
        parts.append(f"{spec.iops} IOPS")
    if spec.throughput_mibps is not None:
        parts.append(f"{spec.throughput_mibps} MiB/s")
    return ", ".join(parts)


# The values of each kind are what `_FIND` of that kind returns; a dict cannot say so.
_SHOW: Final[dict[str, Callable[[Region, Sequence[object]], None]]] = {
    "volumes": _show_volumes,  # type: ignore[dict-item]
    "snapshots": _show_snapshots,  # type: ignore[dict-item]
    "instances": _show_instances,  # type: ignore[dict-item]
    "modifications": _show_modifications,  # type: ignore[dict-item]
}


def _tag(arguments: argparse.Namespace) -> int:
    with open_region(arguments) as region:
        region.create_tags([arguments.resource], dict(arguments.tag))
    return 0


def _untag(arguments: argparse.Namespace) -> int:
    with open_region(arguments) as region:
        region.delete_tags([arguments.resource], dict.fromkeys(arguments.key))
    return 0


def _check(arguments: argparse.Namespace) -> int:
    with open_region(arguments) as region:
        problems = region.check()
    if arguments.json:
        print_json({"problems": problems})
    elif problems:
        print("\n".join(problems))
    else:
        print("clean")
    return 1 if problems else 0
