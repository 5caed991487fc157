"""snapshot, copy-snapshot, delete-snapshot, diff, du: what is done with snapshots."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from blockdev.clock import SystemClock
from blockdev.commands.common import (
    CommandError,
    Subparsers,
    add_json_option,
    add_tag_option,
    open_folder,
    open_region,
    parser_for,
)
from blockdev.commands.output import human_bytes, print_json, print_table, warn
from blockdev.commands.progress import Progress
from blockdev.model import SNAPSHOT_BLOCK_BYTES, Snapshot, SnapshotUsage
from blockdev.service import Region

_POLL_S = 0.1


def add_parsers(commands: Subparsers) -> None:
    """The grammar of these verbs."""
    _add_snapshot(commands)
    _add_copy(commands)
    parser = parser_for(
        commands, "delete-snapshot", "delete snapshots; blocks that others need stay"
    )
    parser.add_argument("snapshot", nargs="+", metavar="SNAPSHOT")
    parser.set_defaults(run=_delete)
    parser = parser_for(commands, "diff", "show which ranges differ between two snapshots")
    parser.add_argument("first", metavar="SNAPSHOT")
    parser.add_argument("second", metavar="SNAPSHOT")
    add_json_option(parser)
    parser.set_defaults(run=_diff)
    parser = parser_for(
        commands,
        "du",
        "show what each snapshot adds, and what deleting it would free",
        description="Show what snapshots take. ADDED: blocks that no earlier snapshot had. "
        "FREED: what deleting this one alone would free. STORED figures are compressed.",
    )
    parser.add_argument("snapshot", nargs="*", metavar="SNAPSHOT", help="all if none is named")
    add_json_option(parser)
    parser.set_defaults(run=_du)


def _add_snapshot(commands: Subparsers) -> None:
    parser = parser_for(
        commands,
        "snapshot",
        "take a snapshot of a volume; prints the snapshot's id",
        description="Take a snapshot of a volume as it is now, also while another process "
        "writes to it, and wait until its blocks are stored.",
    )
    parser.add_argument("volume", metavar="VOLUME")
    parser.add_argument("--description", default="")
    parser.add_argument(
        "--no-wait",
        action="store_true",
        help="return once the moment is fixed; the copy goes on in the process that has the "
        "volume open, or when the region is next opened",
    )
    add_tag_option(parser)
    add_json_option(parser)
    parser.set_defaults(run=_snapshot)


def _snapshot(arguments: argparse.Namespace) -> int:
    with open_region(arguments) as region:
        snapshot = region.create_snapshot(
            arguments.volume, description=arguments.description, tags=dict(arguments.tag)
        )
        if not arguments.no_wait:
            snapshot = _follow(region, snapshot)
    return _print_made(snapshot, as_json=arguments.json)


def _print_made(snapshot: Snapshot, *, as_json: bool) -> int:
    if as_json:
        print_json(snapshot)
    else:
        print(snapshot.snapshot_id)
    if snapshot.state == "error":
        raise CommandError(f"{snapshot.snapshot_id}: {snapshot.state_message or 'the copy failed'}")
    return 0


def _follow(region: Region, snapshot: Snapshot) -> Snapshot:
    """Wait for a copy, showing how far it is."""
    clock = SystemClock()
    try:
        with Progress(
            snapshot.snapshot_id, 100, stream=sys.stderr, clock=clock, is_bytes=False
        ) as progress:
            while snapshot.state == "pending":
                progress.update(snapshot.progress_percent)
                snapshot = region.wait_snapshot(snapshot.snapshot_id, _POLL_S)
    except KeyboardInterrupt:
        warn(f"{snapshot.snapshot_id} is there, but not complete: `blockdev describe` shows it")
        raise
    return snapshot


def _add_copy(commands: Subparsers) -> None:
    parser = parser_for(
        commands,
        "copy-snapshot",
        "copy a snapshot, from another region if need be; prints the copy's id",
    )
    parser.add_argument("snapshot", metavar="SNAPSHOT")
    parser.add_argument(
        "--from", dest="source_dir", metavar="DIR", help="folder of the region that it is in"
    )
    parser.add_argument("--description", default="")
    parser.add_argument("--encrypted", action="store_true", help="mark the copy as encrypted")
    parser.add_argument("--kms-key", default="", metavar="ID", help="with --encrypted")
    add_tag_option(parser)
    add_json_option(parser)
    parser.set_defaults(run=_copy)


def _copy(arguments: argparse.Namespace) -> int:
    with open_region(arguments) as region:
        if arguments.source_dir is None:
            return _copy_from(region, None, arguments)
        with open_folder(Path(arguments.source_dir)) as source:
            return _copy_from(region, source, arguments)


def _copy_from(region: Region, source: Region | None, arguments: argparse.Namespace) -> int:
    copy = region.copy_snapshot(
        arguments.snapshot,
        source_region=source,
        description=arguments.description,
        encrypted=arguments.encrypted,
        kms_key_id=arguments.kms_key,
        tags=dict(arguments.tag),
    )
    return _print_made(_follow(region, copy), as_json=arguments.json)


def _delete(arguments: argparse.Namespace) -> int:
    with open_region(arguments) as region:
        for snapshot_id in arguments.snapshot:
            region.delete_snapshot(snapshot_id)
    return 0


@dataclass(frozen=True, slots=True)
class _Range:
    """Neighbouring blocks that differ in the same way: changed, added or removed."""

    offset_bytes: int
    length_bytes: int
    kind: str


def _ranges(blocks: Iterable[tuple[int, bytes | None, bytes | None]]) -> list[_Range]:
    """Blocks that differ, joined where they are neighbours and of one kind."""
    ranges: list[_Range] = []
    for index, first, second in blocks:
        kind = "added" if first is None else "removed" if second is None else "changed"
        offset_bytes = index * SNAPSHOT_BLOCK_BYTES
        last = ranges[-1] if ranges else None
        if last and last.kind == kind and last.offset_bytes + last.length_bytes == offset_bytes:
            joined_bytes = last.length_bytes + SNAPSHOT_BLOCK_BYTES
            ranges[-1] = _Range(last.offset_bytes, joined_bytes, kind)
        else:
            ranges.append(_Range(offset_bytes, SNAPSHOT_BLOCK_BYTES, kind))
    return ranges


def _diff(arguments: argparse.Namespace) -> int:
    with open_region(arguments) as region:
        region.describe_snapshots([arguments.first, arguments.second])
        ranges = _ranges(region.list_changed_blocks(arguments.first, arguments.second))
    total_bytes = sum(each.length_bytes for each in ranges)
    if arguments.json:
        print_json({"changed_bytes": total_bytes, "ranges": ranges})
        return 0
    if ranges:
        rows = [(each.offset_bytes, human_bytes(each.length_bytes), each.kind) for each in ranges]
        print_table(("OFFSET", "LENGTH", "CHANGE"), rows)
    print(f"{human_bytes(total_bytes)} differ, in blocks of {human_bytes(SNAPSHOT_BLOCK_BYTES)}")
    return 0


def _du(arguments: argparse.Namespace) -> int:
    with open_region(arguments) as region:
        snapshots = region.describe_snapshots(arguments.snapshot)
        usages = [region.snapshot_usage(one.snapshot_id) for one in snapshots]
        total = region.usage_total()
    if arguments.json:
        pairs = zip(snapshots, usages, strict=True)
        found = [{**asdict(use), "added_bytes": one.added_bytes} for one, use in pairs]
        print_json({"snapshots": found, "total": total})
        return 0
    rows = [_usage_row(one, use) for one, use in zip(snapshots, usages, strict=True)]
    headings = ("SNAPSHOT", "VOLUME", "FULL", "ADDED", "FREED", "STORED", "STORED-FREED")
    print_table(headings, rows)
    print(
        f"{total.blocks} blocks in all: {human_bytes(total.plain_bytes)}, "
        f"stored in {human_bytes(total.stored_bytes)}"
    )
    return 0


def _usage_row(snapshot: Snapshot, usage: SnapshotUsage) -> tuple[str, ...]:
    sizes = (
        usage.full_bytes,
        snapshot.added_bytes,
        usage.exclusive_bytes,
        usage.stored_bytes,
        usage.exclusive_stored_bytes,
    )
    return (snapshot.snapshot_id, snapshot.volume_id, *map(human_bytes, sizes))
