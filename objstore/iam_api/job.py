"""What an action works with: who asks, what for, and the directory."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

from objstore.auth.keys import Identity
from objstore.auth.permission import ask
from objstore.auth.policy import Policy
from objstore.aws.query import Node
from objstore.aws.xml import Tree, Value
from objstore.iam import Directory
from objstore.iam_api.errors import ApiError, invalid

_Item = TypeVar("_Item")
_MOST_ITEMS = 1000
_ITEMS = 100


BucketPolicy: TypeAlias = Callable[[str, Identity], tuple[str, Policy | None]]
"""The owner of a bucket, and its policy as far as it counts for an identity.

Raises `NoSuchBucketError`.
"""


@dataclass(slots=True)
class Job:
    """One call.  `parameters`: as the query's tree; `service`: what actions begin with."""

    action: str
    directory: Directory
    identity: Identity
    access_key: str
    parameters: Mapping[str, Node]
    service: str = "iam"
    now_ms: int = 0
    bucket_policy: BucketPolicy | None = None

    @property
    def account(self) -> str:
        """The account of who asks, whose identities these are."""
        return self.identity.account

    # Parameters.

    def text(self, name: str, default: str = "") -> str:
        """A parameter that may be absent."""
        value = self.parameters.get(name)
        if value is None:
            return default
        if not isinstance(value, str):
            raise invalid(f"The parameter {name} takes a single value")
        return value

    def given(self, name: str) -> str:
        """A parameter that has to be there."""
        value = self.text(name)
        if not value:
            raise invalid(
                f"1 validation error detected: Value null at '{name[0].lower()}{name[1:]}' "
                "failed to satisfy constraint: Member must not be null"
            )
        return value

    def optional(self, name: str) -> str | None:
        """A parameter, None where it is absent."""
        return self.text(name) if name in self.parameters else None

    def number(self, name: str, default: int, least: int, most: int) -> int:
        """A number within bounds."""
        text = self.text(name)
        if not text:
            return default
        if not text.isascii() or not text.isdigit() or not least <= int(text) <= most:
            raise invalid(f"The parameter {name} is a number from {least} to {most}")
        return int(text)

    def flag(self, name: str) -> bool:
        """True or false."""
        text = self.text(name, "false").lower()
        if text not in ("true", "false"):
            raise invalid(f"The parameter {name} is true or false")
        return text == "true"

    def refuse(self, *names: str) -> None:
        """Raises NotImplemented where a parameter is there that is not honoured."""
        for name in names:
            if name in self.parameters:
                raise ApiError(
                    "NotImplemented",
                    f"The parameter {name} of {self.action} is not supported by this server",
                    501,
                )

    def members(self, name: str) -> list[Node]:
        """The members of a list, in their order."""
        found = self.parameters.get(name)
        if found is None or found == "":
            return []
        listed = found.get("member") if isinstance(found, dict) else None
        if not isinstance(listed, dict) or not all(key.isdigit() for key in listed):
            raise invalid(f"The parameter {name} is a list: {name}.member.1")
        return [listed[key] for key in sorted(listed, key=int)]

    def texts(self, name: str) -> list[str]:
        """The members of a list of texts."""
        found = self.members(name)
        if not all(isinstance(each, str) for each in found):
            raise invalid(f"The members of {name} take a single value")
        return [each for each in found if isinstance(each, str)]

    def tags(self) -> dict[str, str]:
        """Tags.member.1.Key and .Value."""
        found: dict[str, str] = {}
        for each in self.members("Tags"):
            key = each.get("Key") if isinstance(each, dict) else None
            value = each.get("Value", "") if isinstance(each, dict) else None
            if not isinstance(key, str) or not isinstance(value, str) or key in found:
                raise invalid("Tags have a Key and a Value, and each key stands once")
            found[key] = value
        return found

    # Who may.

    def permit(self, resource: str, action: str = "") -> None:
        """Raises AccessDenied unless who asks may do this action on a resource."""
        asked = f"{self.service}:{action or self.action}"
        if not ask(self.identity, asked, resource).is_allowed:
            raise denied(self.identity, asked, resource)

    # Pages.

    def page(self, items: Sequence[_Item], name: str, tell: Callable[[_Item], Value]) -> Tree:
        """A part of a list, as Marker and MaxItems ask for it."""
        start = _offset(self.text("Marker"))
        most = self.number("MaxItems", _ITEMS, 1, _MOST_ITEMS)
        part = items[start : start + most]
        more = start + most < len(items)
        marker = base64.urlsafe_b64encode(b"%d" % (start + most)).decode() if more else None
        told: Tree = {
            name: [tell(item) for item in part],
            "IsTruncated": more,
            "Marker": marker,
        }
        return told


def _offset(marker: str) -> int:
    if not marker:
        return 0
    try:
        return int(base64.urlsafe_b64decode(marker.encode("ascii", "replace")))
    except (ValueError, binascii.Error):
        raise invalid("Invalid Marker.") from None


def denied(identity: Identity, action: str, resource: str) -> ApiError:
    """AccessDenied, in IAM's words."""
    return ApiError(
        "AccessDenied",
        f"User: {identity.arn} is not authorized to perform: {action} on resource: {resource}",
        403,
    )
