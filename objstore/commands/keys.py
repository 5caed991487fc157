"""`objstore keys`: the keys that encrypt the objects of a store, also while it is served.

Nothing here shows key material.  A KEY is an id, an ARN or an alias.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from blockdev.clock import SystemClock
from blockdev.commands.output import human_time, print_json, print_table
from objstore.entropy import SystemEntropy
from objstore.errors import StoreError
from objstore.kms.model import KeyInfo
from objstore.kms.service import DEFAULT_REGION, FOLDER_NAME, LocalKeyService

ROOT_KEY_VARIABLE: Final = "OBJSTORE_KMS_ROOT_KEY_FILE"

_DONE, _REFUSED = 0, 1
_NS_PER_MS: Final = 1_000_000

Action = Callable[[LocalKeyService, argparse.Namespace], KeyInfo]


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The command's arguments."""
    parser = commands.add_parser(
        "keys",
        help="manage the keys of encrypted objects",
        description="Manage the keys that objects of the store in DATA_DIR are encrypted with, "
        "also while it is served. KEY is an id, an ARN or an alias.",
        epilog="The root key, without which no encrypted object can be read, is in "
        f"DATA_DIR/{FOLDER_NAME}/root.key, or where {ROOT_KEY_VARIABLE} or --root-key-file says. "
        "Keep a copy of it elsewhere.",
    )
    parser.add_argument("data_dir", metavar="DATA_DIR", type=Path)
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    _add_overview(actions)
    _add_states(actions)
    _add_rotation(actions)


def _add_overview(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    _action(actions, "list", "all keys", run_list)
    create = _action(actions, "create", "make a key", run_create)
    create.add_argument("--description", default="", metavar="TEXT", help="what it is for")
    create.add_argument("--alias", default="", metavar="NAME", help="alias/NAME, to name it by")
    create.add_argument(
        "--region", default=DEFAULT_REGION, help=f"of its ARN, the server's ({DEFAULT_REGION})"
    )
    _key_action(actions, "describe", "all there is to tell of a key", run_describe)


def _add_states(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    _key_action(actions, "enable", "have a key be used again", _changing(_enable))
    _key_action(actions, "disable", "have a key not be used", _changing(_disable))
    schedule = _key_action(
        actions,
        "schedule-deletion",
        "destroy a key in some days; what it encrypted is lost then",
        _changing(_schedule_deletion),
    )
    schedule.add_argument("--days", type=int, default=30, help="7 to 30 (30)")
    _key_action(
        actions,
        "cancel-deletion",
        "keep a key that was to be destroyed; it is disabled",
        _changing(_cancel_deletion),
    )


def _add_rotation(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    _key_action(actions, "rotate", "encrypt with new material from now on", _changing(_rotate))
    _action(
        actions,
        "rotate-root",
        "make a new root key and wrap every key under it; copies of the old one are of no "
        "use afterwards",
        run_rotate_root,
    )


def _action(
    actions: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    text: str,
    run: Callable[[LocalKeyService, argparse.Namespace], None],
) -> argparse.ArgumentParser:
    parser = actions.add_parser(name, help=text, description=f"{text[:1].upper()}{text[1:]}.")
    parser.add_argument(
        "--root-key-file",
        type=Path,
        metavar="PATH",
        help=f"where the root key is (${ROOT_KEY_VARIABLE}, else DATA_DIR/{FOLDER_NAME}/root.key)",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=_run, action=run)
    return parser


def _key_action(
    actions: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    text: str,
    run: Callable[[LocalKeyService, argparse.Namespace], None],
) -> argparse.ArgumentParser:
    parser = _action(actions, name, text, run)
    parser.add_argument("key", metavar="KEY", help="an id, an ARN or an alias")
    return parser


def root_key_path(asked: Path | None, environ: Mapping[str, str]) -> Path | None:
    """Where the root key is: as asked for, else as in the environment; None for its own place."""
    if asked is not None:
        return asked
    named = environ.get(ROOT_KEY_VARIABLE, "")
    return Path(named) if named else None


def _run(arguments: argparse.Namespace) -> int:
    """`objstore keys DATA_DIR ACTION`; the exit status."""
    data_dir: Path = arguments.data_dir
    if not data_dir.is_dir():
        # Rather than to make keys where a path was mistyped.
        return _fail(f"there is no folder {data_dir}")
    service = LocalKeyService(
        data_dir / FOLDER_NAME,
        SystemClock(),
        SystemEntropy(),
        root_key_path(arguments.root_key_file, os.environ),
        region=getattr(arguments, "region", DEFAULT_REGION),
    )
    try:
        arguments.action(service, arguments)
    except StoreError as error:
        return _fail(str(error))
    finally:
        service.close()
    return _DONE


def _fail(message: str) -> int:
    print(f"objstore keys: {message}", file=sys.stderr)
    return _REFUSED


def run_list(service: LocalKeyService, arguments: argparse.Namespace) -> None:
    """Print all keys."""
    keys = service.list_keys()
    if arguments.json:
        print_json(keys)
        return
    headings = ("KEY ID", "STATE", "MANAGER", "VERSIONS", "CREATED", "ALIASES", "DESCRIPTION")
    print_table(headings, map(_row, keys))


def _row(key: KeyInfo) -> tuple[object, ...]:
    aliases = " ".join(key.aliases)
    created = _time(key.created_ms)
    return (key.key_id, key.state, key.manager, key.versions, created, aliases, key.description)


def run_create(service: LocalKeyService, arguments: argparse.Namespace) -> None:
    """Make a key; print its ARN."""
    key = service.create_key(arguments.description, arguments.alias)
    if arguments.json:
        print_json(key)
    else:
        print(key.arn)


def run_describe(service: LocalKeyService, arguments: argparse.Namespace) -> None:
    """Print all there is to tell of a key."""
    key = service.describe(arguments.key)
    if arguments.json:
        print_json(key)
        return
    rotation = f"every {key.rotation_days} days" if key.rotation_days else "by hand"
    lines = {
        "arn": key.arn,
        "state": key.state,
        "manager": key.manager,
        "description": key.description,
        "aliases": " ".join(key.aliases),
        "created": _time(key.created_ms),
        "versions": key.versions,
        "newest": _time(key.rotated_ms),
        "rotation": rotation,
        "rotates": _time(key.next_rotation_ms),
        "deleted": _time(key.deletion_ms),
    }
    print_table(("FIELD", "VALUE"), ((name, f"{text}") for name, text in lines.items() if text))


def run_rotate_root(service: LocalKeyService, arguments: argparse.Namespace) -> None:
    """Make a new root key; print its id."""
    root_id = service.rotate_root()
    if arguments.json:
        print_json({"root_key_id": root_id})
    else:
        print(f"every key is wrapped under the new root key {root_id}")


def _changing(action: Action) -> Callable[[LocalKeyService, argparse.Namespace], None]:
    """Do it to a key, and print the state that the key is in then."""

    def run(service: LocalKeyService, arguments: argparse.Namespace) -> None:
        key = action(service, arguments)
        if arguments.json:
            print_json(key)
            return
        until = f", deleted {_time(key.deletion_ms)}" if key.deletion_ms else ""
        print(f"{key.arn}  {key.state}, version {key.versions}{until}")

    return run


def _enable(service: LocalKeyService, arguments: argparse.Namespace) -> KeyInfo:
    return service.enable(arguments.key)


def _disable(service: LocalKeyService, arguments: argparse.Namespace) -> KeyInfo:
    return service.disable(arguments.key)


def _rotate(service: LocalKeyService, arguments: argparse.Namespace) -> KeyInfo:
    return service.rotate(arguments.key)


def _schedule_deletion(service: LocalKeyService, arguments: argparse.Namespace) -> KeyInfo:
    return service.schedule_deletion(arguments.key, arguments.days)


def _cancel_deletion(service: LocalKeyService, arguments: argparse.Namespace) -> KeyInfo:
    return service.cancel_deletion(arguments.key)


def _time(at_ms: int) -> str:
    return human_time(at_ms * _NS_PER_MS) if at_ms else ""
