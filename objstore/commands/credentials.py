"""The root keys of a server: from the environment, or made once and kept beside the data.

The file is one that AWS tools read (``AWS_SHARED_CREDENTIALS_FILE``), so that nobody
has to see the secret again:

    [default]
    aws_access_key_id = ...
    aws_secret_access_key = ...
"""

from __future__ import annotations

import base64
import configparser
import contextlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from objstore.entropy import Entropy

ACCESS_KEY_VARIABLE = "OBJSTORE_ROOT_ACCESS_KEY"
SECRET_KEY_VARIABLE = "OBJSTORE_ROOT_SECRET_KEY"
FILE_NAME = "root-credentials"

_PROFILE = "default"
_ACCESS_OPTION = "aws_access_key_id"
_SECRET_OPTION = "aws_secret_access_key"
_MIN_LENGTHS = (3, 8)


class CredentialsError(Exception):
    """The root keys cannot be had; the text says what to do about it."""


@dataclass(frozen=True, slots=True)
class RootKeys:
    """The root's key pair.

    `path`: the file that keeps it; None when it came from the environment.
    `is_new`: made just now.
    """

    access_key: str
    secret_key: str = field(repr=False)
    path: Path | None = None
    is_new: bool = False


def root_keys(data_dir: Path, environ: Mapping[str, str], entropy: Entropy) -> RootKeys:
    """The keys of the environment, else those kept in `data_dir`, made now if there are none.

    Raises:
        CredentialsError: half a pair in the environment, or a file that cannot be used.
    """
    access_key = environ.get(ACCESS_KEY_VARIABLE, "")
    secret_key = environ.get(SECRET_KEY_VARIABLE, "")
    if access_key or secret_key:
        return _from_environment(access_key, secret_key)
    path = data_dir / FILE_NAME
    try:
        if not path.exists() and _create(path, entropy):
            return _read(path, is_new=True)
        return _read(path, is_new=False)
    except OSError as error:
        raise CredentialsError(f"cannot use {path}: {error.strerror}") from error


def _from_environment(access_key: str, secret_key: str) -> RootKeys:
    if not access_key or not secret_key:
        raise CredentialsError(f"set both {ACCESS_KEY_VARIABLE} and {SECRET_KEY_VARIABLE}, or none")
    pairs = zip(
        (ACCESS_KEY_VARIABLE, SECRET_KEY_VARIABLE),
        (access_key, secret_key),
        _MIN_LENGTHS,
        strict=True,
    )
    for name, value, least in pairs:
        if len(value) < least or not value.isascii() or not value.isprintable():
            raise CredentialsError(f"{name} needs at least {least} printable ASCII characters")
    if "/" in access_key or "," in access_key:
        raise CredentialsError(f"{ACCESS_KEY_VARIABLE} may hold neither '/' nor ','")
    return RootKeys(access_key, secret_key)


def _create(path: Path, entropy: Entropy) -> bool:
    """Make a file of new keys, whole and readable by its owner alone; False if one was there."""
    access_key = "OSR" + base64.b32encode(entropy.token_bytes(11)).decode("ascii")[:17]
    secret_key = base64.b64encode(entropy.token_bytes(30)).decode("ascii")
    text = f"[{_PROFILE}]\n{_ACCESS_OPTION} = {access_key}\n{_SECRET_OPTION} = {secret_key}\n"
    draft = path.with_name(f".{FILE_NAME}.{entropy.token_bytes(4).hex()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with open(descriptor, "w", encoding="ascii") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        # A link does not replace: of two servers that start at once, one makes the keys.
        os.link(draft, path)
    except FileExistsError:
        return False
    finally:
        with contextlib.suppress(FileNotFoundError):
            draft.unlink()
    return True


def _read(path: Path, *, is_new: bool) -> RootKeys:
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read_string(path.read_text(encoding="ascii"))
        profile = parser[_PROFILE]
        return RootKeys(profile[_ACCESS_OPTION], profile[_SECRET_OPTION], path, is_new)
    except (configparser.Error, KeyError, UnicodeDecodeError) as error:
        raise CredentialsError(
            f"{path} does not hold a key pair ({error}); remove it to have a new one made"
        ) from error
