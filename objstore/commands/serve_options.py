"""The options of `objstore serve`, and what each may be."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from objstore.commands.keys import ROOT_KEY_VARIABLE
from objstore.config import ACCESS_LOG_INTERVAL_S, ServerConfig
from objstore.events.destinations import FORMS as FORMS_OF_DESTINATIONS
from objstore.events.destinations import Destination, DestinationError, parse_destination
from objstore.volumes.device_spec import FORMS

TOKEN_PREFIX = "OBJSTORE_EVENT_TOKEN_"

_REGION = re.compile("[a-z0-9-]{1,32}")


def add_options(parser: argparse.ArgumentParser) -> None:
    """All of them but the file that they may be in."""
    _add_endpoint(parser)
    _add_running(parser)
    _add_device(parser)
    _add_services(parser)


def _add_endpoint(parser: argparse.ArgumentParser) -> None:
    """Where it is, and what it is called."""
    parser.add_argument(
        "data_dir", nargs="?", default="./data", metavar="DATA_DIR", help="default: ./data"
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to bind (127.0.0.1)")
    parser.add_argument(
        "--port", type=_port, default=9000, help="port to bind, 0 for any that is free (9000)"
    )
    parser.add_argument("--workers", type=_workers, default=1, help="server processes (1)")
    parser.add_argument(
        "--region", type=_region, default="us-east-1", help="region of the store (us-east-1)"
    )
    parser.add_argument(
        "--domain",
        action="append",
        default=None,
        metavar="NAME",
        help="host name below which a label names a bucket; may be given again (localhost)",
    )
    parser.add_argument(
        "--website-domain",
        action="append",
        default=None,
        metavar="NAME",
        help="host name below which a label names the bucket of a website, besides "
        "s3-website.DOMAIN and s3-website-REGION.DOMAIN; may be given again",
    )


def _add_running(parser: argparse.ArgumentParser) -> None:
    """What it tells of, and how it ends."""
    parser.add_argument(
        "--access-log",
        action=argparse.BooleanOptionalAction,
        default=False,
        help="print a line for each request",
    )
    parser.add_argument(
        "--bucket-log-interval",
        type=_interval,
        default=ACCESS_LOG_INTERVAL_S,
        metavar="SECONDS",
        help="how long lines of a bucket's access log gather before they are delivered "
        f"({ACCESS_LOG_INTERVAL_S})",
    )
    parser.add_argument(
        "--drain-seconds",
        type=_drain,
        default=0,
        metavar="N",
        help="upon SIGTERM, go on serving for so long while /-/health/ready answers 503 (0)",
    )
    parser.add_argument(
        "--grace-seconds",
        type=_interval,
        default=round(ServerConfig().shutdown_grace_s),
        metavar="N",
        help="what runs when the server stops has so long to finish (30)",
    )


def _add_device(parser: argparse.ArgumentParser) -> None:
    """What the store is on."""
    parser.add_argument(
        "--device",
        metavar="SPEC",
        help=f"what a new store is put on ({FORMS}); later starts find it there (file)",
    )
    parser.add_argument(
        "--credits",
        type=_credits,
        metavar="N",
        help="burst credits of the store's volume from now on: I/Os of gp2, bytes of st1 and sc1; "
        "for experiments (what it has)",
    )
    parser.add_argument(
        "--snapshot-bucket",
        default="",
        metavar="NAME",
        help="bucket of this store that the blocks of snapshots are kept in (files)",
    )


def _add_services(parser: argparse.ArgumentParser) -> None:
    """Keys and events."""
    parser.add_argument(
        "--root-key-file",
        type=Path,
        metavar="PATH",
        help="the root key of encryption, such as a mounted secret "
        f"(${ROOT_KEY_VARIABLE}, else DATA_DIR/kms/root.key)",
    )
    parser.add_argument(
        "--event-destination",
        action="append",
        type=_destination,
        default=None,
        metavar="NAME=URL",
        help=f"where buckets may have their events delivered ({FORMS_OF_DESTINATIONS}); may be "
        f"given again; {TOKEN_PREFIX}NAME has a webhook's token",
    )


def _destination(text: str) -> Destination:
    try:
        return parse_destination(text)
    except DestinationError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _port(text: str) -> int:
    return _number("a port", text, 0, 65535)


def _workers(text: str) -> int:
    return _number("a number of processes", text, 1, 256)


def _number(what: str, text: str, least: int, most: int) -> int:
    try:
        number = int(text)
    except ValueError:
        number = least - 1
    if not least <= number <= most:
        raise argparse.ArgumentTypeError(f"{text!r} is not {what} from {least} to {most}")
    return number


def _credits(text: str) -> int:
    return _number("a credit balance", text, 0, 10**15)


def _drain(text: str) -> int:
    return _number("a number of seconds", text, 0, 3600)


def _interval(text: str) -> int:
    return _number("a number of seconds", text, 1, 86_400)


def _region(text: str) -> str:
    if not _REGION.fullmatch(text):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a region's name: 1 to 32 of the characters a-z, 0-9 and '-'"
        )
    return text
