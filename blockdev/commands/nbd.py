"""nbd: volumes served over NBD, so that real tools see a real disk."""

from __future__ import annotations

import argparse
import logging
import sys
from contextlib import ExitStack
from typing import Final

from blockdev.commands.common import (
    CommandError,
    Subparsers,
    open_region,
    parser_for,
    positive,
)
from blockdev.model import Volume
from blockdev.nbd import (
    Address,
    Export,
    ListenError,
    NbdLimits,
    NbdServer,
    StopSignal,
    TcpAddress,
    parse_address,
)
from blockdev.service import Region

_ROTATING: Final = frozenset({"st1", "sc1", "standard"})


def add_parser(commands: Subparsers) -> None:
    """The grammar of this verb."""
    parser = parser_for(
        commands,
        "nbd",
        "serve volumes over NBD until SIGTERM or SIGINT",
        description="Serve volumes over NBD, each as the export of its id; with one volume, it "
        "is also the default export. Prints the address to use. Whoever can connect can read "
        "and write: there is no TLS and no password.",
    )
    parser.add_argument("volume", nargs="+", metavar="VOLUME")
    parser.add_argument(
        "--listen",
        type=_address,
        default=TcpAddress(),
        metavar="ADDRESS",
        help="HOST:PORT, port 0 for any that is free, or unix:PATH (127.0.0.1:10809)",
    )
    parser.add_argument("--read-only", action="store_true", help="refuse writes")
    parser.add_argument(
        "--instance", default="", metavar="ID", help="as this instance, which has them attached"
    )
    parser.add_argument(
        "--no-throttle", action="store_true", help="without limits of IOPS and throughput"
    )
    parser.add_argument("--no-delay", action="store_true", help="without the type's latency")
    parser.add_argument(
        "--connections", type=positive, default=64, help="clients at the same time (64)"
    )
    parser.add_argument("--verbose", action="store_true", help="log connections to stderr")
    parser.set_defaults(run=_run)


def _address(text: str) -> Address:
    try:
        return parse_address(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _run(arguments: argparse.Namespace) -> int:
    logging.basicConfig(
        stream=sys.stderr,
        level=logging.INFO if arguments.verbose else logging.WARNING,
        format="%(asctime)s %(levelname)s %(message)s",
    )
    # Before anything is open: from here on a signal ends the command in order.
    stop = StopSignal()
    with ExitStack() as stack:
        region = stack.enter_context(open_region(arguments))
        exports = _open_exports(region, arguments, stack)
        limits = NbdLimits(connections=arguments.connections)
        try:
            server = NbdServer(exports, arguments.listen, limits=limits)
        except ListenError as error:
            raise CommandError(
                f"cannot listen on {error}", "choose another address with --listen"
            ) from error
        stack.enter_context(server)
        for name in exports:
            print(server.address.uri(name), flush=True)
        stop.wait()
    return 0


def _open_exports(
    region: Region, arguments: argparse.Namespace, stack: ExitStack
) -> dict[str, Export]:
    """Open the volumes; `stack` closes them."""
    wanted = list(dict.fromkeys(arguments.volume))
    exports = {}
    for volume in region.describe_volumes(wanted):
        device = region.open_volume(
            volume.volume_id,
            instance_id=arguments.instance,
            throttled=not arguments.no_throttle,
            delayed=not arguments.no_delay,
        )
        stack.callback(device.close)
        exports[volume.volume_id] = Export(
            device,
            read_only=arguments.read_only,
            rotational=volume.spec.volume_type in _ROTATING,
            description=_description(volume),
        )
    return exports


def _description(volume: Volume) -> str:
    spec = volume.spec
    name = volume.tags.get("Name", "")
    return f"{spec.volume_type}, {spec.size_gib} GiB" + (f", {name}" if name else "")
