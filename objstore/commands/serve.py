"""`objstore serve`: the S3 endpoint over a folder, with EC2's, EBS's and KMS's APIs on its port."""

from __future__ import annotations

import argparse
import logging
import os
import shlex
import socket
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from objstore.commands.config_file import add_config_option
from objstore.commands.credentials import (
    ACCESS_KEY_VARIABLE,
    SECRET_KEY_VARIABLE,
    CredentialsError,
    RootKeys,
    root_keys,
)
from objstore.commands.keys import root_key_path
from objstore.commands.serve_options import TOKEN_PREFIX, add_options
from objstore.config import ServerConfig
from objstore.engine.notifications import BRIDGE
from objstore.entropy import SystemEntropy
from objstore.events.destinations import (
    Destination,
    DestinationError,
    check_destinations,
    parse_destination,
)
from objstore.volumes.device_spec import OwnFile
from objstore.volumes.placement import (
    Placement,
    PlacementError,
    find_placement,
    parse_option,
    place,
)

if TYPE_CHECKING:
    from objstore.asgi.launch import Settings


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The command's arguments."""
    parser = commands.add_parser(
        "serve",
        help="serve a store over S3's protocol",
        description=(
            "Serve the store in DATA_DIR over S3's protocol, and its volumes and snapshots over "
            "EC2's and EBS's; make it if it is not there."
        ),
        epilog=(
            f"The root keys come from {ACCESS_KEY_VARIABLE} and {SECRET_KEY_VARIABLE} when set; "
            "otherwise they are made once and kept in DATA_DIR."
        ),
    )
    add_options(parser)
    add_config_option(parser)
    parser.set_defaults(run=run)


def _tokens(destinations: Sequence[Destination], environ: Mapping[str, str]) -> dict[str, str]:
    """The tokens of webhooks, which a command line would show to everybody."""
    named = {each.name: TOKEN_PREFIX + each.name.upper().replace("-", "_") for each in destinations}
    return {name: environ[variable] for name, variable in named.items() if variable in environ}


def run(arguments: argparse.Namespace) -> int:
    """Serve until told to stop; the exit status."""
    from objstore.asgi.server import bind

    _log_to_stderr(arguments.access_log)
    data_dir = Path(arguments.data_dir)
    try:
        placement = _placement(arguments, data_dir)
        destinations = _destinations(arguments)
    except (PlacementError, DestinationError) as error:
        return _fail(str(error))
    try:
        # First of all: without its port the server leaves neither a folder nor keys behind.
        listener = bind(arguments.host, arguments.port)
    except socket.gaierror as error:
        return _fail(f"cannot listen on {arguments.host}: {error.strerror}")
    except OSError as error:
        return _fail(f"cannot use {arguments.host}:{arguments.port}: {error.strerror}")
    with listener:
        try:
            data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            keys = root_keys(data_dir, os.environ, SystemEntropy())
        except CredentialsError as error:
            return _fail(str(error))
        except OSError as error:
            return _fail(f"cannot use {error.filename or data_dir}: {error.strerror}")
        return _serve(arguments, placement, destinations, keys, listener)


def _destinations(arguments: argparse.Namespace) -> tuple[Destination, ...]:
    """Those of the command line, else of the file.

    Raises:
        DestinationError: one is none, or they cannot be served together.
    """
    found = tuple(
        arguments.event_destination or map(parse_destination, arguments.config_event_destinations)
    )
    check_destinations(found)
    return found


def _placement(arguments: argparse.Namespace, data_dir: Path) -> Placement:
    """The device that the store is on, or is to be made on.

    Raises:
        PlacementError: there is no such device, or it cannot be served like this.
    """
    placement = place(data_dir, parse_option(arguments.device))
    if arguments.workers > 1 and not placement.is_shared:
        raise PlacementError(
            f"--workers {arguments.workers}: one process at a time can have {placement.spec} "
            "open; serve it with one worker"
        )
    if arguments.snapshot_bucket and not placement.is_shared:
        # A volume's or disk's region would need the store to open what the store is on, and
        # memory forgets the blocks of snapshots that the region remembers.
        raise PlacementError(
            f"--snapshot-bucket {arguments.snapshot_bucket}: the store is on {placement.spec}; "
            "blocks of snapshots can be in a store on a file or path:PATH only, which is there "
            "without the region whose snapshots they are, and stays"
        )
    return placement


def _serve(
    arguments: argparse.Namespace,
    placement: Placement,
    destinations: tuple[Destination, ...],
    keys: RootKeys,
    listener: socket.socket,
) -> int:
    from objstore.asgi.launch import Settings, serve
    from objstore.asgi.server import url_of

    settings = Settings(
        data_dir=placement.data_dir,
        access_key=keys.access_key,
        secret_key=keys.secret_key,
        region=arguments.region,
        workers=arguments.workers,
        base_domains=tuple(name.lower() for name in _domains(arguments)),
        website_domains=tuple(
            name.lower() for name in arguments.website_domain or arguments.config_website_domains
        ),
        access_log=arguments.access_log,
        bucket_log_interval_s=arguments.bucket_log_interval,
        config=ServerConfig(
            drain_s=arguments.drain_seconds, shutdown_grace_s=arguments.grace_seconds
        ),
        placement=placement,
        credits=arguments.credits,
        snapshot_bucket=arguments.snapshot_bucket,
        root_key_file=root_key_path(arguments.root_key_file, os.environ),
        destinations=destinations,
        tokens=_tokens(destinations, os.environ),
    )
    url = url_of(listener)
    is_announced = False

    def on_ready() -> None:
        nonlocal is_announced
        is_announced = True
        _announce(url, settings, keys)

    try:
        return serve(settings, listener, on_ready=on_ready)
    finally:
        if keys.is_new and not is_announced:
            # The next start finds them kept and shows them no more.
            _print(_key_lines(keys))


def _domains(arguments: argparse.Namespace) -> Sequence[str]:
    """Those of the command line, else of the file, else the one that is always there."""
    return arguments.domain or arguments.config_domains or ("localhost",)


def _fail(message: str) -> int:
    print(f"objstore serve: {message}", file=sys.stderr)
    return 1


def _log_to_stderr(access_log: bool) -> None:
    logging.basicConfig(
        level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    # Of the store's volume also what is no warning: there is a line a minute at most.
    logging.getLogger("objstore.device").setLevel(logging.INFO)
    if access_log:
        # To stdout and bare: it is output, where the rest of the log is commentary.
        handler = logging.StreamHandler(sys.stdout)
        handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
        logger = logging.getLogger("objstore.access")
        logger.setLevel(logging.INFO)
        logger.addHandler(handler)
        logger.propagate = False


def _announce(url: str, settings: Settings, keys: RootKeys) -> None:
    """Print where the endpoint is and how to use it."""
    aws = f"aws --endpoint-url {url}"
    lines = [
        f"objstore serves {settings.data_dir} on {url} (region {settings.region})",
        *_device_lines(settings),
        *(f"events can go to {each.arn}" for each in settings.destinations if each.key != BRIDGE),
        "",
        *_key_lines(keys),
        "",
        "Try it:",
        "",
        f"  {_export_line(keys)}",
        f"  export AWS_DEFAULT_REGION={shlex.quote(settings.region)}",
        f"  {aws} s3 mb s3://hello",
        f"  echo 'Hello!' | {aws} s3 cp - s3://hello/world.txt",
        f"  {aws} s3 ls s3://hello",
        f"  {aws} ec2 create-volume --availability-zone {settings.region}a --size 8",
        "",
    ]
    if not _print(lines):
        logging.getLogger("objstore.server").warning("serving on %s", url)


def _device_lines(settings: Settings) -> list[str]:
    placement = find_placement(settings.data_dir) or settings.placement
    if placement is None or isinstance(placement.spec, OwnFile):
        return []
    return [f"  device      {placement.description}"]


def _print(lines: list[str]) -> bool:
    """Print; False when stdout is closed or a full disk, and the server serves all the same."""
    try:
        print("\n".join(lines), flush=True)
    except OSError:
        return False
    return True


def _key_lines(keys: RootKeys) -> list[str]:
    return [f"  access key  {keys.access_key}", f"  secret key  {_secret_line(keys)}"]


def _secret_line(keys: RootKeys) -> str:
    if keys.path is None:
        return f"(from {SECRET_KEY_VARIABLE})"
    if keys.is_new:
        return f"{keys.secret_key}  (shown this once; kept in {keys.path})"
    return f"(kept in {keys.path})"


def _export_line(keys: RootKeys) -> str:
    if keys.path is not None and not keys.is_new:
        path = shlex.quote(str(keys.path.resolve()))
        return f"export AWS_SHARED_CREDENTIALS_FILE={path}"
    if keys.is_new:
        access, secret = shlex.quote(keys.access_key), shlex.quote(keys.secret_key)
    else:
        access, secret = f'"${ACCESS_KEY_VARIABLE}"', f'"${SECRET_KEY_VARIABLE}"'
    return f"export AWS_ACCESS_KEY_ID={access} AWS_SECRET_ACCESS_KEY={secret}"
