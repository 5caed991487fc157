"""The table of IAM's actions: every one that this server offers, by its name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from importlib.resources import files
from typing import Final

from objstore.aws.xml import Tree
from objstore.iam_api.job import Job
from objstore.iam_api.operations import account, entities, extensions, keys, policies

Handler = Callable[[Job], Tree]


def _name(function: str) -> str:
    return "".join(part.title() for part in function.split("_"))


def _actions(*modules: object) -> dict[str, Handler]:
    """Public functions of modules, called as the action is."""
    found: dict[str, Handler] = {}
    for module in modules:
        for name, function in vars(module).items():
            is_own = getattr(function, "__module__", "") == getattr(module, "__name__", "")
            if is_own and _name(name) in known_actions():
                found[_name(name)] = function
    return found


@cache
def known_actions() -> frozenset[str]:
    """All actions of IAM, offered or not."""
    text = files("objstore.iam_api").joinpath("actions.txt").read_text("ascii")
    return frozenset(text.split())


ACTIONS: Final[Mapping[str, Handler]] = {
    **_actions(account, entities, keys, policies),
    "ObjstoreCreateAccount": extensions.create_account,
    "ObjstoreListAccounts": extensions.list_accounts,
    "ObjstoreCreateUser": extensions.create_user_with_key,
    "ObjstoreExplain": extensions.explain,
}
