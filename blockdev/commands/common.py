"""What the verbs share: the region's folder, arguments that are read the same way, errors."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final, TypeAlias

from blockdev.service import DATABASE, Region

Subparsers: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"

REGION_VARIABLE: Final = "BLOCKDEV_REGION"
DEFAULT_REGION: Final = "./region"


class CommandError(Exception):
    """The command cannot go on; the text says why, and `hint` what to do about it."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


HINTS: Final[Mapping[str, str]] = {
    "InvalidVolume.NotFound": "`blockdev describe volumes` lists those there are",
    "InvalidSnapshot.NotFound": "`blockdev describe snapshots` lists those there are",
    "InvalidInstanceID.NotFound": "`blockdev describe instances` lists those there are",
    "InvalidAttachment.NotFound": "`blockdev describe volumes` shows what is attached where",
    "InvalidZone.NotFound": "a region's zones are its name with a, b or c behind it",
    "VolumeInUse": "detach it, or stop the process that has it open (a `blockdev nbd`, a server); "
    "a snapshot can be taken and exported meanwhile",
    "IncorrectState": "`blockdev describe` shows the state; wait for it to pass, or change it",
    "IncorrectModificationState": "`blockdev describe modifications` shows how far the last one is",
    "VolumeModificationRateExceeded": "a volume takes four modifications in 24 hours; wait",
    "InvalidSnapshot.InUse": "something is being made of it at this moment; try again",
    "UnknownVolumeType": "types are gp2, gp3, io1, io2, st1, sc1 and standard",
    "MissingParameter": "`blockdev COMMAND --help` shows the parameters",
    "Unavailable": "the process that holds the volume does not answer; try again, or end it",
    "InternalError": "`blockdev check` looks the region over",
}
"""What to do about an error code; AWS's own message is shown before it."""


def parser_for(
    commands: Subparsers,
    name: str,
    help_text: str,
    *,
    description: str = "",
    epilog: str | None = None,
) -> argparse.ArgumentParser:
    """A verb's parser, with the options that every verb has."""
    parser = commands.add_parser(
        name,
        help=help_text,
        description=description or help_text[:1].upper() + help_text[1:] + ".",
        epilog=epilog,
    )
    add_region_option(parser, default=argparse.SUPPRESS)
    return parser


def add_region_option(parser: argparse.ArgumentParser, *, default: str) -> None:
    """The option that says which region is meant; it may stand before or behind the verb."""
    parser.add_argument(
        "--region-dir",
        default=default,
        metavar="DIR",
        help=f"the region's folder (${REGION_VARIABLE}, or else {DEFAULT_REGION})",
    )


def region_folder(arguments: argparse.Namespace) -> Path:
    """The folder of the region that is meant."""
    return Path(arguments.region_dir or os.environ.get(REGION_VARIABLE) or DEFAULT_REGION)


def open_region(arguments: argparse.Namespace) -> Region:
    """The region that is meant, which has to exist.

    Raises:
        CommandError: it does not.
    """
    return open_folder(region_folder(arguments))


def open_folder(folder: Path) -> Region:
    """An existing region.

    Raises:
        CommandError: there is none in the folder.
    """
    if not (folder / DATABASE).exists():
        raise CommandError(
            f"there is no region in {folder}",
            f"`blockdev create` makes one; --region-dir or {REGION_VARIABLE} names another folder",
        )
    return Region.open(folder)


def add_new_region_options(parser: argparse.ArgumentParser) -> None:
    """Options of the verbs that make the region where there is none yet."""
    parser.add_argument(
        "--region",
        default="us-east-1",
        metavar="NAME",
        help="name of the region, if this is its first use (us-east-1)",
    )
    parser.add_argument("--zone", default="", help="availability zone (the region's first)")


def open_or_make_region(arguments: argparse.Namespace) -> Region:
    """The region that is meant, made if it does not exist."""
    return Region.open(region_folder(arguments), name=arguments.region)


def add_tag_option(parser: argparse.ArgumentParser) -> None:
    """Tags for what is made."""
    parser.add_argument(
        "--tag",
        action="append",
        default=[],
        type=tag,
        metavar="KEY=VALUE",
        help="a tag; may be given again",
    )


def add_json_option(parser: argparse.ArgumentParser) -> None:
    """JSON instead of text."""
    parser.add_argument("--json", action="store_true", help="print JSON")


def tag(text: str) -> tuple[str, str]:
    """A tag as it is written on the command line."""
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is not KEY=VALUE")
    return key, value


def positive(text: str) -> int:
    """A whole number from 1 on."""
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 on")
    return int(text)


def add_performance_options(parser: argparse.ArgumentParser, *, default_type: str | None) -> None:
    """Type, size and what can be provisioned."""
    shown = f" ({default_type})" if default_type else ""
    parser.add_argument(
        "--type", default=default_type, help=f"gp2 gp3 io1 io2 st1 sc1 standard{shown}"
    )
    parser.add_argument("--size", type=positive, metavar="GIB", help="size in GiB")
    parser.add_argument("--iops", type=positive, help="provisioned IOPS (gp3, io1, io2)")
    parser.add_argument(
        "--throughput", type=positive, metavar="MIBPS", help="provisioned MiB/s (gp3)"
    )
