"""The options of `objstore serve` from a file in TOML: named as on the command line, which
goes before it.

    data_dir = "/srv/objects"
    port = 9000
    domain = ["objects.example"]
    device = "gp3:100:6000:250"
"""

from __future__ import annotations

import argparse
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

OPTIONS: Final[Mapping[str, type]] = {
    "data_dir": str,
    "host": str,
    "port": int,
    "workers": int,
    "region": str,
    "domain": list,
    "website_domain": list,
    "access_log": bool,
    "bucket_log_interval": int,
    "drain_seconds": int,
    "grace_seconds": int,
    "device": str,
    "credits": int,
    "snapshot_bucket": str,
    "root_key_file": str,
    "event_destination": list,
}
"""Every option of the command but the file itself, and what TOML calls its type."""

_TYPE_NAMES: Final = {str: "a string", int: "a whole number", bool: "true or false"}


class ConfigError(Exception):
    """The file cannot be read, or holds what is no option; the text says which."""


def add_config_option(parser: argparse.ArgumentParser) -> None:
    """The option that names the file, and what `with_config` needs."""
    parser.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help="TOML with these options (data_dir, host, ..., access_log); the command line's win",
    )
    lists: dict[str, Any] = {_of_list(name): () for name in OPTIONS if OPTIONS[name] is list}
    parser.set_defaults(serve_parser=parser, **lists)


def with_config(arguments: argparse.Namespace) -> bool:
    """Let the options in the file, if one is named, be the defaults; whether there is one.

    The command line then has to be parsed again.  What is wrong in the file ends the program
    as wrong usage does.
    """
    path: Path | None = getattr(arguments, "config", None)
    if path is None:
        return False
    parser: argparse.ArgumentParser = arguments.serve_parser
    try:
        parser.set_defaults(**load(path))
    except ConfigError as error:
        parser.error(str(error))
    return True


def load(path: Path) -> dict[str, Any]:
    """The options in the file at `path`, as defaults for the parser, which checks the values.

    Raises:
        ConfigError: no file, no TOML, an unknown option, or a value of the wrong type.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:
        raise ConfigError(f"{path} is not TOML: {error}") from error
    found: dict[str, Any] = {}
    for name, value in document.items():
        if name not in OPTIONS:
            raise ConfigError(f"{path}: there is no option {name!r}; known: {', '.join(OPTIONS)}")
        found.update(_default(path, name, value))
    return found


def _of_list(name: str) -> str:
    """What the parser knows a list of the file by: the command line's replaces all of it."""
    return f"config_{name}s"


def _default(path: Path, name: str, value: Any) -> dict[str, Any]:
    wanted = OPTIONS[name]
    if wanted is list:
        names = [value] if isinstance(value, str) else value
        if not isinstance(names, list) or not all(isinstance(one, str) for one in names):
            raise ConfigError(f"{path}: {name} is not a string or a list of them: {value!r}")
        return {_of_list(name): tuple(names)}
    if type(value) is not wanted:
        raise ConfigError(f"{path}: {name} is not {_TYPE_NAMES[wanted]}: {value!r}")
    # Text goes through the checks of the command line; only a switch has none.
    return {name: value if wanted is bool else str(value)}
