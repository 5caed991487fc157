"""`objstore check` and `objstore rebuild-index`: a store that nobody serves, looked at whole.

Both find the device of the store as the server does.  `check` also looks at another device
than the store's own, such as a volume restored from a snapshot of it: with an index made for
the occasion, for the one in the folder is of another state.
"""

from __future__ import annotations

import argparse
import errno
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from blockdev import DeviceError
from objstore.errors import StoreError
from objstore.volumes.device_spec import DeviceSpec
from objstore.volumes.placement import (
    Placement,
    PlacementError,
    find_placement,
    parse_option,
    place,
)

if TYPE_CHECKING:
    from objstore.engine.check import Problem

CLEAN, FOUND = 0, 1

_FAILURES = (StoreError, DeviceError, PlacementError, OSError)
_NOT_WRITABLE = (errno.EACCES, errno.EPERM, errno.EROFS)


def add_parsers(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The commands' arguments."""
    check = commands.add_parser(
        "check",
        help="check every invariant and every checksum of a store",
        description="Check every invariant and every checksum of the store in DIR. "
        "Exit status 0 when all is well, 1 with a list when not.",
    )
    check.add_argument("directory", metavar="DIR", type=Path)
    _add_device_option(check, "or another one, such as a volume restored from a snapshot")
    check.set_defaults(run=run_check)
    rebuild = commands.add_parser(
        "rebuild-index",
        help="make the index anew from the log",
        description="Make the index of the store in DIR anew, from the log alone. "
        "The store must not be in use.",
    )
    rebuild.add_argument("directory", metavar="DIR", type=Path)
    _add_device_option(rebuild, "to make sure")
    rebuild.set_defaults(run=run_rebuild)


def _add_device_option(parser: argparse.ArgumentParser, why: str) -> None:
    parser.add_argument(
        "--device",
        metavar="SPEC",
        help=f"the device that the store is on, {why}; as `objstore serve --device` "
        "(the one that it was served on)",
    )


def run_check(arguments: argparse.Namespace) -> int:
    """`objstore check DIR`; the exit status."""
    try:
        problems = _check(arguments.directory, parse_option(arguments.device))
    except _FAILURES as error:
        return _fail("check", arguments.directory, error)
    for problem in problems:
        print(problem)
    if problems:
        count = len(problems)
        print(f"{arguments.directory}: {count} problem{'s' if count > 1 else ''}", file=sys.stderr)
        return FOUND
    print(f"{arguments.directory}: clean")
    return CLEAN


def _check(directory: Path, asked: DeviceSpec | None) -> list[Problem]:
    from objstore.engine.check import check_store
    from objstore.volumes.store_device import open_to_look

    found = find_placement(directory)
    if found is None and asked is None:
        return check_store(directory)  # which says what is missing
    if found is not None and (asked is None or found.names(asked)):
        with open_to_look(found) as opened:
            return check_store(directory, device=opened.device)
    assert asked is not None
    with (
        open_to_look(Placement(directory, asked)) as opened,
        tempfile.TemporaryDirectory(prefix="objstore-check-") as folder,
    ):
        return check_store(folder, device=opened.device)


def run_rebuild(arguments: argparse.Namespace) -> int:
    """`objstore rebuild-index DIR`; the exit status."""
    from objstore.engine.check import rebuild_index
    from objstore.volumes.store_device import open_to_look

    directory: Path = arguments.directory
    try:
        with open_to_look(place(directory, parse_option(arguments.device))) as opened:
            report = rebuild_index(directory, device=opened.device)
    except _FAILURES as error:
        return _fail("rebuild-index", directory, error)
    for problem in (*report.problems, *report.damaged):
        print(problem)
    print(f"{directory}: index made anew from {report.records} records in {report.batches} batches")
    return FOUND if report.problems or report.damaged else CLEAN


def _fail(command: str, directory: Path, error: Exception) -> int:
    print(f"objstore {command}: {error}", file=sys.stderr)
    cause = error if isinstance(error, OSError) else error.__cause__
    if isinstance(cause, OSError) and cause.errno in _NOT_WRITABLE:
        print(
            f"The store in {directory} is locked while it is looked at, which takes a folder "
            f"that can be written to: {directory / 'run'} must be writable.",
            file=sys.stderr,
        )
    return FOUND
