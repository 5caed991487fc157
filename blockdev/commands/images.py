"""import and export: raw images into volumes, and out of volumes and snapshots."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from blockdev.clock import SystemClock
from blockdev.commands.common import CommandError, Subparsers, open_region, parser_for
from blockdev.commands.output import human_bytes, warn
from blockdev.commands.progress import Progress
from blockdev.device import BlockDevice
from blockdev.images import Advance, copy_in, copy_out, device_blocks, image_bytes
from blockdev.model import GIB, SNAPSHOT_BLOCK_BYTES
from blockdev.service import Region


def add_parsers(commands: Subparsers) -> None:
    """The grammar of these verbs."""
    parser = parser_for(
        commands,
        "import",
        "write a raw image into a volume",
        description="Write a raw image over the start of a volume, without its throttle. Holes "
        "of the image become holes of the volume.",
    )
    parser.add_argument("file", type=Path, metavar="FILE")
    parser.add_argument("volume", metavar="VOLUME")
    parser.set_defaults(run=_import)
    parser = parser_for(
        commands,
        "export",
        "write a volume or a snapshot into a raw image",
        description="Write a volume or a snapshot into a raw, sparse image, which appears under "
        "its name when it is whole. Of a volume that another process has open, take a snapshot "
        "and export that.",
    )
    parser.add_argument("source", metavar="SNAPSHOT|VOLUME")
    parser.add_argument("file", type=Path, metavar="FILE")
    parser.add_argument("--force", action="store_true", help="replace the file if it is there")
    parser.set_defaults(run=_export)


def _bar(label: str, total_bytes: int) -> Progress:
    return Progress(label, total_bytes, stream=sys.stderr, clock=SystemClock())


def _import(arguments: argparse.Namespace) -> int:
    size_bytes = image_bytes(arguments.file)
    with (
        open_region(arguments) as region,
        closing(_open_unthrottled(region, arguments.volume)) as device,
    ):
        volume_bytes = device.geometry.size_bytes
        if size_bytes > volume_bytes:
            raise CommandError(
                f"{arguments.file} has {human_bytes(size_bytes)}, and {arguments.volume} "
                f"{human_bytes(volume_bytes)}",
                f"`blockdev modify {arguments.volume} --size {-(-size_bytes // GIB)}` makes "
                "it large enough",
            )
        with _bar(f"import {arguments.file.name}", size_bytes) as progress:
            written_bytes = copy_in(arguments.file, device, progress.advance)
    warn(f"{human_bytes(written_bytes)} written, of an image of {human_bytes(size_bytes)}")
    return 0


def _open_unthrottled(region: Region, volume_id: str) -> BlockDevice:
    return region.open_volume(volume_id, throttled=False, delayed=False)


def _export(arguments: argparse.Namespace) -> int:
    target: Path = arguments.file
    if target.exists() and not (arguments.force and target.is_file()):
        raise CommandError(f"{target} is there already", "--force replaces a file")
    with open_region(arguments) as region:
        if arguments.source.startswith("snap-"):
            written_bytes = _export_snapshot(region, arguments.source, target)
        else:
            written_bytes = _export_volume(region, arguments.source, target)
    warn(f"{human_bytes(written_bytes)} written to {target}")
    return 0


def _export_volume(region: Region, volume_id: str, target: Path) -> int:
    with closing(_open_unthrottled(region, volume_id)) as device:
        size_bytes = device.geometry.size_bytes
        with _bar(f"export {volume_id}", size_bytes) as progress:
            return copy_out(target, size_bytes, device_blocks(device, progress.advance))


def _export_snapshot(region: Region, snapshot_id: str, target: Path) -> int:
    (snapshot,) = region.describe_snapshots([snapshot_id])
    size_bytes = snapshot.volume_size_gib * GIB
    with _bar(f"export {snapshot_id}", snapshot.full_bytes) as progress:
        blocks = _snapshot_blocks(region, snapshot_id, progress.advance)
        return copy_out(target, size_bytes, blocks)


def _snapshot_blocks(
    region: Region, snapshot_id: str, advance: Advance
) -> Iterator[tuple[int, bytes]]:
    for index, _ in region.list_snapshot_blocks(snapshot_id):
        yield index * SNAPSHOT_BLOCK_BYTES, region.get_snapshot_block(snapshot_id, index)
        advance(SNAPSHOT_BLOCK_BYTES)
