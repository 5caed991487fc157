"""`objstore account` and `objstore user`: who may use a store, offline or on a running server."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from blockdev.clock import SystemClock
from blockdev.commands.output import print_json, print_table
from objstore.auth.keys import MAIN_ACCOUNT
from objstore.commands.keys import ROOT_KEY_VARIABLE, root_key_path
from objstore.commands.remote import RemoteError, call, own_keys
from objstore.entropy import SystemEntropy
from objstore.errors import StoreError
from objstore.iam.directory import Directory
from objstore.iam.errors import IamError
from objstore.iam.names import USER
from objstore.kms.service import FOLDER_NAME, LocalKeyService

_DONE, _REFUSED = 0, 1
_ENDPOINT_VARIABLES: Final = ("OBJSTORE_ENDPOINT", "AWS_ENDPOINT_URL")


def add_parsers(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The commands' arguments."""
    account = commands.add_parser("account", help="accounts of a store")
    actions = account.add_subparsers(metavar="ACTION", required=True)
    create = _action(actions, "create", "make an account, and keys for its root", _create_account)
    create.add_argument("name", metavar="NAME")
    create.add_argument("--account-id", default="", metavar="DIGITS", help="twelve digits")
    create.add_argument("--display-name", default="", metavar="TEXT")
    create.add_argument("--email", default="", metavar="ADDRESS")
    _add_keys(create)
    _action(actions, "list", "all accounts", _list_accounts)
    user = commands.add_parser("user", help="users of a store")
    actions = user.add_subparsers(metavar="ACTION", required=True)
    create = _action(actions, "create", "make a user, and keys for it", _create_user)
    create.add_argument("name", metavar="NAME")
    create.add_argument(
        "--account", default=MAIN_ACCOUNT, metavar="DIGITS", help=f"its account ({MAIN_ACCOUNT})"
    )
    create.add_argument("--path", default="/", metavar="PATH", help="such as /team/ (/)")
    create.add_argument(
        "--policy",
        action="append",
        default=[],
        metavar="ARN",
        help="a managed policy to attach, such as arn:aws:iam::aws:policy/AmazonS3FullAccess; "
        "repeatable",
    )
    _add_keys(create)


def _add_keys(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--access-key", default="", metavar="ID", help="a given one")
    parser.add_argument("--secret-key", default="", metavar="SECRET", help="of --access-key")


def _action(
    actions: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    text: str,
    run: Any,
) -> argparse.ArgumentParser:
    parser = actions.add_parser(name, help=text, description=f"{text[:1].upper()}{text[1:]}.")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--data", type=Path, metavar="DIR", help="the store's folder")
    where.add_argument(
        "--endpoint",
        metavar="URL",
        default="",
        help=f"a running server (${_ENDPOINT_VARIABLES[0]}), signed with the root's keys",
    )
    parser.add_argument(
        "--root-key-file",
        type=Path,
        metavar="PATH",
        help=f"with --data, where the root key is (${ROOT_KEY_VARIABLE})",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=_run, action=run)
    return parser


class Place:
    """The identities of a folder, or those of a server."""

    def __init__(self, arguments: argparse.Namespace, environ: Mapping[str, str]) -> None:
        self._data: Path | None = arguments.data
        named = [environ[name] for name in _ENDPOINT_VARIABLES if environ.get(name)]
        self._endpoint: str = arguments.endpoint or ("" if self._data else next(iter(named), ""))
        self._root_key = root_key_path(arguments.root_key_file, environ)
        self._environ = environ
        if self._data is None and not self._endpoint:
            raise RemoteError("say where: --data DIR, or --endpoint URL of a running server")
        if self._data is not None and not self._data.is_dir():
            # Rather than to make identities where a path was mistyped.
            raise RemoteError(f"there is no folder {self._data}")

    @property
    def is_remote(self) -> bool:
        """Whether a server is asked."""
        return self._data is None

    def ask(self, action: str, **parameters: str) -> dict[str, Any]:
        """An action of a server's."""
        keys = own_keys(self._environ)
        return call(self._endpoint, action, parameters, keys, SystemClock())

    def open(self) -> Directory:
        """The identities of the folder."""
        assert self._data is not None
        service = LocalKeyService(
            self._data / FOLDER_NAME, SystemClock(), SystemEntropy(), self._root_key
        )
        return Directory(self._data, SystemClock(), SystemEntropy(), service)


def _run(arguments: argparse.Namespace) -> int:
    try:
        arguments.action(Place(arguments, os.environ), arguments)
    except (IamError, StoreError, RemoteError) as error:
        print(f"objstore: {error}", file=sys.stderr)
        return _REFUSED
    return _DONE


def _create_account(place: Place, arguments: argparse.Namespace) -> None:
    given = {
        "Name": arguments.name,
        "AccountId": arguments.account_id,
        "DisplayName": arguments.display_name,
        "Email": arguments.email,
        "AccessKeyId": arguments.access_key,
        "SecretAccessKey": arguments.secret_key,
    }
    if place.is_remote:
        made = place.ask("ObjstoreCreateAccount", **given)
        told, key = made["Account"], made["AccessKey"]
    else:
        directory = place.open()
        account = directory.create_account(
            arguments.name,
            account_id=arguments.account_id,
            display_name=arguments.display_name,
            email=arguments.email,
        )
        made_key = directory.create_key(
            account.account_id,
            "",
            access_key=arguments.access_key,
            secret_key=arguments.secret_key,
        )
        told = {"AccountId": account.account_id, "CanonicalId": account.canonical_id}
        key = {"AccessKeyId": made_key.access_key, "SecretAccessKey": made_key.secret_key}
    _tell(arguments, {"name": arguments.name, **_named(told), **_named(key)})


def _list_accounts(place: Place, arguments: argparse.Namespace) -> None:
    rows: Sequence[Mapping[str, Any]]
    if place.is_remote:
        rows = place.ask("ObjstoreListAccounts")["Accounts"]
    else:
        rows = [
            {
                "AccountId": account.account_id,
                "Name": account.name,
                "DisplayName": account.display_name,
                "Email": account.email,
                "CanonicalId": account.canonical_id,
            }
            for account in place.open().accounts()
        ]
    if arguments.json:
        print_json([_named(row) for row in rows])
        return
    names = ("AccountId", "Name", "DisplayName", "Email", "CanonicalId")
    headings = ("ACCOUNT", "NAME", "DISPLAY NAME", "EMAIL", "CANONICAL ID")
    print_table(headings, ([row.get(name) or "-" for name in names] for row in rows))


def _create_user(place: Place, arguments: argparse.Namespace) -> None:
    if place.is_remote:
        policies = {
            f"PolicyArns.member.{number}": arn for number, arn in enumerate(arguments.policy, 1)
        }
        made = place.ask(
            "ObjstoreCreateUser",
            UserName=arguments.name,
            AccountId=arguments.account,
            Path=arguments.path,
            AccessKeyId=arguments.access_key,
            SecretAccessKey=arguments.secret_key,
            **policies,
        )
        arn, key = made["User"]["Arn"], made["AccessKey"]
    else:
        directory = place.open()
        user = directory.create(arguments.account, USER, arguments.name, path=arguments.path)
        for policy in arguments.policy:
            directory.attach(arguments.account, USER, arguments.name, policy)
        made_key = directory.create_key(
            arguments.account,
            arguments.name,
            access_key=arguments.access_key,
            secret_key=arguments.secret_key,
        )
        arn = user.arn
        key = {"AccessKeyId": made_key.access_key, "SecretAccessKey": made_key.secret_key}
    _tell(arguments, {"name": arguments.name, "arn": arn, **_named(key)})


_NAMES: Final = {
    "AccountId": "account",
    "CanonicalId": "canonical_id",
    "AccessKeyId": "access_key",
    "SecretAccessKey": "secret_key",
    "Name": "name",
    "DisplayName": "display_name",
    "Email": "email",
}


def _named(row: Mapping[str, Any]) -> dict[str, Any]:
    return {_NAMES[name]: value for name, value in row.items() if name in _NAMES}


def _tell(arguments: argparse.Namespace, lines: Mapping[str, Any]) -> None:
    if arguments.json:
        print_json(dict(lines))
    else:
        print_table(("FIELD", "VALUE"), lines.items())
        print("The secret key is shown this once.")
