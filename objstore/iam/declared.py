"""Accounts, users, groups and policies as a file declares them; see docs/identities.md.

What is declared is made where it is not there, and brought to what the file says where it is;
what the file does not speak of stays as it is.

    [[account]]
    name = "shop"
    id = "111122223333"
    access_key = "SHOPROOT"
    secret_key = "..."

    [[account.user]]
    name = "ann"
    policies = ["arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess"]
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from objstore.auth.keys import MAIN_ACCOUNT
from objstore.iam.directory import Directory
from objstore.iam.errors import IamError, NoSuchEntityError
from objstore.iam.names import GROUP, USER

_ACCOUNT: Final = {
    **dict.fromkeys(("name", "id", "display_name", "email", "access_key", "secret_key"), str),
    **dict.fromkeys(("user", "group", "policy"), list),
}
_USER: Final = {
    **dict.fromkeys(("name", "path", "access_key", "secret_key", "boundary"), str),
    **dict.fromkeys(("policies", "groups"), list),
    **dict.fromkeys(("inline", "tags"), dict),
}
_GROUP: Final = {"name": str, "path": str, "policies": list, "inline": dict}
_POLICY: Final = {"name": str, "path": str, "description": str, "document": object}


class DeclarationError(Exception):
    """A file that cannot be read, or declares what cannot be; the text says where."""


def load(path: Path) -> list[dict[str, Any]]:
    """The accounts that a file declares, its form checked.

    Raises:
        DeclarationError
    """
    try:
        tree = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DeclarationError(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:
        raise DeclarationError(f"{path} is not TOML: {error}") from error
    try:
        _check(tree, {"account": list}, "the file", ())
        for account in _listed(tree, "account"):
            where = f"account {account.get('name', '')!r}"
            _check(account, _ACCOUNT, where, ("name",))
            for name, known, needed in (
                ("user", _USER, ("name",)),
                ("group", _GROUP, ("name",)),
                ("policy", _POLICY, ("name", "document")),
            ):
                for each in _listed(account, name):
                    _check(each, known, f"{where}, {name} {each.get('name', '')!r}", needed)
    except DeclarationError as error:
        raise DeclarationError(f"{path}: {error}") from None
    return list(_listed(tree, "account"))


def _listed(tree: Mapping[str, Any], name: str) -> Iterator[dict[str, Any]]:
    for each in tree.get(name, ()):
        if not isinstance(each, dict):
            raise DeclarationError(f"{name} is a table, as after [[{name}]]")
        yield each


def _check(
    tree: Mapping[str, Any], known: Mapping[str, type], where: str, needed: tuple[str, ...]
) -> None:
    for name, value in tree.items():
        if name not in known:
            raise DeclarationError(f"{where}: there is no {name!r}; known: {', '.join(known)}")
        if not isinstance(value, known[name]):
            raise DeclarationError(f"{where}: {name} is of the wrong type: {value!r}")
    for name in needed:
        if not tree.get(name):
            raise DeclarationError(f"{where}: {name} is missing")
    if ("access_key" in tree) != ("secret_key" in tree):
        raise DeclarationError(f"{where}: access_key and secret_key go together")


def apply(directory: Directory, accounts: list[dict[str, Any]]) -> None:
    """Make what is declared, and change what is declared otherwise.

    Raises:
        DeclarationError: something cannot be; what came before it has been made.
    """
    for account in accounts:
        where = f"account {account['name']!r}"
        try:
            account_id = _account(directory, account)
            for policy in account.get("policy", ()):
                where = f"account {account['name']!r}, policy {policy['name']!r}"
                _policy(directory, account_id, policy)
            for kind in (GROUP, USER):
                for each in account.get(kind, ()):
                    where = f"account {account['name']!r}, {kind} {each['name']!r}"
                    _entity(directory, account_id, kind, each)
        except IamError as error:
            raise DeclarationError(f"{where}: {error}") from error


def _account(directory: Directory, account: Mapping[str, Any]) -> str:
    """Its id."""
    wanted = account.get("id", "")
    for known in directory.accounts():
        if known.account_id == wanted or (not wanted and known.name == account["name"]):
            if wanted != MAIN_ACCOUNT and known.name != account["name"]:
                raise DeclarationError(f"account {wanted} is there, and is called {known.name!r}")
            _key(directory, known.account_id, "", account)
            return known.account_id
    made = directory.create_account(
        account["name"],
        account_id=wanted,
        display_name=account.get("display_name", ""),
        email=account.get("email", ""),
    )
    _key(directory, made.account_id, "", account)
    return made.account_id


def _key(directory: Directory, account: str, user: str, tree: Mapping[str, Any]) -> None:
    access_key = tree.get("access_key")
    if access_key is None:
        return
    try:
        known = directory.key(access_key)
    except NoSuchEntityError:
        known = None
    if known is not None:
        found = directory.secret_of(access_key)
        is_same = (known.account, known.user.lower()) == (account, user.lower())
        if not is_same or (found is not None and found[2] == tree["secret_key"]):
            if not is_same:
                raise DeclarationError(f"the access key {access_key} is somebody else's")
            return
        directory.delete_key(account, user, access_key)
    directory.create_key(account, user, access_key=access_key, secret_key=tree["secret_key"])


def _policy(directory: Directory, account: str, policy: Mapping[str, Any]) -> None:
    given = policy["document"]
    document = given if isinstance(given, str) else json.dumps(given)
    path = policy.get("path", "/")
    arn = f"arn:aws:iam::{account}:policy{path}{policy['name']}"
    known = directory.document_of(arn)
    if known is None:
        directory.create_policy(
            account, policy["name"], document, path=path, description=policy.get("description", "")
        )
    elif known != document:
        versions = directory.versions(arn)
        if len(versions) == 5:
            oldest = min(each.version for each in versions if not each.is_default)
            directory.delete_version(arn, oldest)
        directory.create_version(arn, document, is_default=True)


def _entity(directory: Directory, account: str, kind: str, tree: Mapping[str, Any]) -> None:
    name = tree["name"]
    if directory.find(account, kind, name) is None:
        directory.create(account, kind, name, path=tree.get("path", "/"))
    for arn in tree.get("policies", ()):
        directory.attach(account, kind, name, str(arn))
    for policy, given in tree.get("inline", {}).items():
        document = given if isinstance(given, str) else json.dumps(given)
        if directory.inline(account, kind, name).get(policy) != document:
            directory.put_inline(account, kind, name, policy, document)
    if kind == GROUP:
        return
    if "boundary" in tree:
        directory.set_boundary(account, kind, name, tree["boundary"])
    if "tags" in tree:
        directory.tag(account, kind, name, {key: str(v) for key, v in tree["tags"].items()})
    for group in tree.get("groups", ()):
        directory.add_member(account, str(group), name)
    _key(directory, account, name, tree)
