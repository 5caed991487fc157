"""`objstore check` and `objstore rebuild-index`: a store that nobody serves, looked at whole."""

from __future__ import annotations

import argparse
import errno
import sys
from pathlib import Path

from blockdev import DeviceError
from objstore.errors import StoreError

CLEAN, FOUND = 0, 1

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
    check.set_defaults(run=run_check)
    rebuild = commands.add_parser(
        "rebuild-index",
        help="make the index anew from the log",
        description="Make the index of the store in DIR anew, from the log alone. "
        "The store must not be in use.",
    )
    rebuild.add_argument("directory", metavar="DIR", type=Path)
    rebuild.set_defaults(run=run_rebuild)


def run_check(arguments: argparse.Namespace) -> int:
    """`objstore check DIR`; the exit status."""
    from objstore.engine.check import check_store

    try:
        problems = check_store(arguments.directory)
    except (StoreError, DeviceError, OSError) as error:
        return _fail("check", arguments.directory, error)
    for problem in problems:
        print(problem)
    if problems:
        count = len(problems)
        print(f"{arguments.directory}: {count} problem{'s' if count > 1 else ''}", file=sys.stderr)
        return FOUND
    print(f"{arguments.directory}: clean")
    return CLEAN


def run_rebuild(arguments: argparse.Namespace) -> int:
    """`objstore rebuild-index DIR`; the exit status."""
    from objstore.engine.check import rebuild_index

    try:
        report = rebuild_index(arguments.directory)
    except (StoreError, DeviceError, OSError) as error:
        return _fail("rebuild-index", arguments.directory, error)
    for problem in (*report.problems, *report.damaged):
        print(problem)
    print(
        f"{arguments.directory}: index made anew from {report.records} records "
        f"in {report.batches} batches"
    )
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
