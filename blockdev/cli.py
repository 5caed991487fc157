"""The `blockdev` command.

Exit status: 0 all is well, 1 not so (the reason goes to stderr), 2 wrong usage.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec

from blockdev.commands import describe, images, instances, nbd, snapshots, volumes
from blockdev.commands.common import HINTS, CommandError, add_region_option
from blockdev.commands.output import warn
from blockdev.errors import DeviceError
from blockdev.service import ServiceError

_PLAN = "blockdev.plan"


def make_parser() -> argparse.ArgumentParser:
    """The command line's grammar."""
    parser = argparse.ArgumentParser(
        prog="blockdev",
        description="Simulated EBS in a folder: volumes, snapshots, instances, and NBD.",
        epilog="`blockdev COMMAND --help` shows a command's options.",
    )
    parser.add_argument("--version", action="version", version=f"blockdev {version('objstore')}")
    add_region_option(parser, default="")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    volumes.add_parsers(commands)
    snapshots.add_parsers(commands)
    instances.add_parsers(commands)
    describe.add_parsers(commands)
    images.add_parsers(commands)
    nbd.add_parser(commands)
    if find_spec(_PLAN) is not None:
        import_module(_PLAN).add_parser(commands)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status."""
    parsed = make_parser().parse_args(arguments)
    try:
        status: int = parsed.run(parsed)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return 130  # what a shell says of a command that SIGINT ended
    except BrokenPipeError:
        # Nobody reads on (`| head`): no error, but Python must not flush at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except ServiceError as error:
        return _fail(str(error), HINTS.get(error.code, ""))
    except CommandError as error:
        return _fail(str(error), error.hint)
    except DeviceError as error:
        return _fail(f"{type(error).__name__}: {error}")
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        return _fail(f"{where}{error.strerror or error}")
    return status


def _fail(message: str, hint: str = "") -> int:
    warn(message)
    if hint:
        warn(hint)
    return 1


if __name__ == "__main__":
    raise SystemExit(main())
