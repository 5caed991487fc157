"""The `objstore` command.

Exit status: 0 all is well, 1 not so (the reason goes to stderr), 2 wrong usage.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from importlib.metadata import version

from objstore.commands import events, keys, serve, store
from objstore.commands.config_file import with_config


def make_parser() -> argparse.ArgumentParser:
    """The command line's grammar."""
    parser = argparse.ArgumentParser(
        prog="objstore",
        description="An S3 object store: serve it, check it, manage its keys, see its events.",
    )
    parser.add_argument("--version", action="version", version=f"objstore {version('objstore')}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    serve.add_parser(commands)
    store.add_parsers(commands)
    keys.add_parser(commands)
    events.add_parser(commands)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status."""
    parser = make_parser()
    parsed = parser.parse_args(arguments)
    if with_config(parsed):
        parsed = parser.parse_args(arguments)
    try:
        status: int = parsed.run(parsed)
    except KeyboardInterrupt:
        return 130  # what a shell says of a command that SIGINT ended
    return status


if __name__ == "__main__":
    raise SystemExit(main())
