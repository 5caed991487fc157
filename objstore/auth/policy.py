"""Bucket policies that make a bucket public: what they may say, and what they allow.

A policy is accepted if all of it is honoured.  Honoured are statements that allow everybody
something without conditions: what websites and public downloads are made of.  Anything else
of the policy language is refused by its name, because a policy that is stored and not kept
to would open what it means to close.

Grammar: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_grammar.html
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, cast

MAX_POLICY_BYTES: Final = 20 * 1024
"""S3's bound on a bucket's policy."""

_VERSIONS = ("2008-10-17", "2012-10-17")
_FIELDS = frozenset(("Version", "Id", "Statement"))
_STATEMENT_FIELDS = frozenset(("Sid", "Effect", "Principal", "Action", "Resource"))
_NOT_OFFERED = ("NotPrincipal", "NotAction", "NotResource", "Condition")
_EFFECTS = ("Allow", "Deny")
_EVERYBODY: Final = "*"
_ACTION = re.compile(r"\*|s3:[a-z*?]+", re.IGNORECASE)
_ARN: Final = "arn:aws:s3:::"
# What stands for others, and variables, of which ${*}, ${?} and ${$} are the characters.
_SPECIAL = re.compile(r"\*+|\?|\$\{([^}]*)\}")


class PolicyError(Exception):
    """A policy that is none; the text says why in S3's words."""


class PolicyNotOfferedError(Exception):
    """A policy that is one, and says what is not honoured here; the text names it."""


class Glob:
    """A text in which ``*`` stands for any others and ``?`` for one.

    Matched in time that is bounded by the product of the lengths: as one expression,
    ``a*b*c*`` and so on would take a power of them.
    """

    __slots__ = ("_parts", "_sizes")

    def __init__(self, pattern: str) -> None:
        parts: list[str] = [""]
        sizes = [0]
        at = 0
        for match in _SPECIAL.finditer(pattern):
            parts[-1] += re.escape(pattern[at : match.start()])
            sizes[-1] += match.start() - at
            at = match.end()
            if match.group().startswith("*"):
                parts.append("")
                sizes.append(0)
                continue
            parts[-1] += "." if match.group() == "?" else re.escape(_literal(match))
            sizes[-1] += 1
        parts[-1] += re.escape(pattern[at:])
        sizes[-1] += len(pattern) - at
        self._parts = [re.compile(part, re.DOTALL) for part in parts]
        self._sizes = sizes

    def matches(self, text: str) -> bool:
        """Whether the whole text is one that the pattern stands for."""
        first, *others = self._parts
        if not others:
            return first.fullmatch(text) is not None
        last_start = len(text) - self._sizes[-1]
        at = self._sizes[0]
        if last_start < at or first.match(text) is None:
            return False
        for part in others[:-1]:  # each as early as it can be leaves most to the others
            found = part.search(text, at, last_start)
            if found is None:
                return False
            at = found.end()
        return others[-1].fullmatch(text, last_start) is not None


def _literal(variable: re.Match[str]) -> str:
    if variable.group(1) not in ("*", "?", "$"):
        raise PolicyNotOfferedError(f"The policy variable {variable.group()} is not implemented")
    return variable.group(1)


@dataclass(frozen=True, slots=True)
class Statement:
    """What everybody is allowed: whatever matches one of each.

    `actions`: in lower case, as actions are told apart without it.
    """

    actions: tuple[Glob, ...]
    resources: tuple[Glob, ...]

    def allows(self, action: str, resource: str) -> bool:
        """Whether it allows an action (``s3:GetObject``) on a resource (an ARN)."""
        lower = action.lower()
        return any(pattern.matches(lower) for pattern in self.actions) and any(
            pattern.matches(resource) for pattern in self.resources
        )


@dataclass(frozen=True, slots=True)
class Policy:
    """A bucket's policy.  There is no denying it: what nothing allows is denied."""

    statements: tuple[Statement, ...]

    def allows_everybody(self, action: str, resource: str) -> bool:
        """Whether anybody at all, signed or not, may do it."""
        return any(statement.allows(action, resource) for statement in self.statements)


def arn(bucket: str, key: str = "") -> str:
    """The resource that a bucket or an object is in policies."""
    return f"{_ARN}{bucket}/{key}" if key else _ARN + bucket


@lru_cache(maxsize=256)
def parse(document: bytes, bucket: str) -> Policy:
    """The policy of a bucket from its JSON.

    Raises:
        PolicyError: it is no policy of this bucket.
        PolicyNotOfferedError: it says what is not honoured.
    """
    if len(document) > MAX_POLICY_BYTES:
        raise PolicyError(f"Policies must not be larger than {MAX_POLICY_BYTES} bytes")
    tree = _tree(document)
    _check_fields(tree, _FIELDS)
    if tree.get("Version", _VERSIONS[0]) not in _VERSIONS:
        raise PolicyError("The policy must contain a valid version string")
    if not isinstance(tree.get("Id", ""), str):
        raise PolicyError("Invalid policy syntax.")
    found = tree.get("Statement")
    if found is None:
        raise PolicyError("Missing required field Statement")
    statements = found if isinstance(found, list) else [found]
    if not statements:
        raise PolicyError("Could not parse the policy: Statement is empty!")
    names = [each.get("Sid") for each in statements if isinstance(each, dict) and "Sid" in each]
    if any(not isinstance(name, str) for name in names) or len(set(names)) != len(names):
        raise PolicyError("Statement IDs (SID) in a single policy must be unique.")
    return Policy(tuple(_statement(each, bucket) for each in statements))


def _tree(document: bytes) -> dict[str, Any]:
    if document[:1] != b"{":
        raise PolicyError("Policies must be valid JSON and the first byte must be '{'")
    try:
        tree = json.loads(document.decode("utf-8"), object_pairs_hook=_once)
    except (ValueError, RecursionError):
        raise PolicyError("This policy contains invalid Json") from None
    return cast(dict[str, Any], tree)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object; of a name that stands twice, one would be ignored."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise PolicyError("Duplicate field in a policy")
    return found


def _check_fields(tree: dict[str, Any], known: frozenset[str]) -> None:
    for name in tree:
        if name not in known:
            raise PolicyError(f"Unknown field {name}")


def _statement(tree: Any, bucket: str) -> Statement:
    if not isinstance(tree, dict):
        raise PolicyError("Invalid policy syntax.")
    _check_fields(tree, _STATEMENT_FIELDS.union(_NOT_OFFERED))
    effect = tree.get("Effect")
    if effect is None:
        raise PolicyError("Missing required field Effect")
    if effect not in _EFFECTS:
        raise PolicyError(f"Invalid effect: {effect}")
    for name in _NOT_OFFERED:
        if name in tree:
            raise PolicyNotOfferedError(f"{name} in bucket policies is not implemented")
    if effect == "Deny":
        raise PolicyNotOfferedError("The effect Deny in bucket policies is not implemented")
    _check_principal(tree)
    actions = _texts(tree, "Action")
    resources = _texts(tree, "Resource")
    for action in actions:
        if not _ACTION.fullmatch(action):
            raise PolicyError("Policy has invalid action")
    return Statement(
        tuple(Glob(action.lower()) for action in actions),
        tuple(_resource(text, bucket) for text in resources),
    )


def _check_principal(tree: dict[str, Any]) -> None:
    if "Principal" not in tree:
        raise PolicyError("Missing required field Principal")
    principal = tree["Principal"]
    if isinstance(principal, dict):
        if set(principal) - {"AWS", "CanonicalUser", "Service", "Federated"} or not principal:
            raise PolicyError("Invalid principal in policy")
        if set(principal) == {"AWS"}:
            principal = principal["AWS"]
            principal = principal[0] if principal in ([_EVERYBODY],) else principal
        if principal != _EVERYBODY:
            raise PolicyNotOfferedError("A Principal other than everybody (*) is not implemented")
    elif principal != _EVERYBODY:
        raise PolicyError("Invalid principal in policy")


def _texts(tree: dict[str, Any], name: str) -> Sequence[str]:
    """One text, or a list of them."""
    if name not in tree:
        raise PolicyError(f"Missing required field {name}")
    found = tree[name] if isinstance(tree[name], list) else [tree[name]]
    if not found or not all(isinstance(each, str) for each in found):
        raise PolicyError(f"Policy has invalid {name.lower()}")
    return found


def _resource(text: str, bucket: str) -> Glob:
    """The pattern of a resource, which is the bucket, or is in it."""
    of_bucket = text.removeprefix(_ARN)
    if text == "*":
        return Glob(text)
    if of_bucket == text or not _can_be_in(of_bucket, bucket):
        raise PolicyError("Policy has invalid resource")
    return Glob(text)


def _can_be_in(pattern: str, bucket: str) -> bool:
    # a star at the end of the name reaches into the keys, and matches the name as well
    return Glob(pattern.partition("/")[0]).matches(bucket)
