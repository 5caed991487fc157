"""Policies: JSON in, statements out that can be asked whether they apply to a request.

Grammar: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_grammar.html
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final, cast

from objstore.auth.conditions import Condition, ConditionError, parse_conditions
from objstore.auth.patterns import Context, Glob
from objstore.auth.vocabulary import (
    ACTIONS,
    BUCKET_ACTIONS,
    OBJECT_ACTIONS,
    actions_like,
    is_of_some,
)

MAX_POLICY_BYTES: Final = 20 * 1024
"""S3's bound on a bucket's policy."""

ALLOW: Final = "Allow"
DENY: Final = "Deny"
EVERYBODY: Final = "*"

_VERSIONS: Final = ("2008-10-17", "2012-10-17")
_WITH_VARIABLES: Final = _VERSIONS[1]
_FIELDS: Final = frozenset(("Version", "Id", "Statement"))
_PAIRS: Final = (("Action", "NotAction"), ("Resource", "NotResource"))
_PRINCIPALS: Final = ("Principal", "NotPrincipal")
_PRINCIPAL_KINDS: Final = ("AWS", "CanonicalUser", "Service", "Federated")
_STATEMENT_FIELDS: Final = frozenset(
    ("Sid", "Effect", "Condition", *_PRINCIPALS, *(name for pair in _PAIRS for name in pair))
)
_ACTION: Final = re.compile(r"\*|[a-z0-9-]+:[a-z0-9*?]+", re.IGNORECASE)
_ARN: Final = "arn:aws:s3:::"


class PolicyError(Exception):
    """A policy that is none; the text says why in S3's words."""


@dataclass(frozen=True, slots=True)
class Request:
    """What is to be decided.

    `action`: such as ``s3:GetObject``.  `resource`: an ARN.  `principals`: every name that
    a policy may call the requester by, as ``AWS:arn:...``; empty for nobody in particular.
    """

    action: str
    resource: str
    principals: frozenset[str] = frozenset()
    context: Context = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement.

    `principals`: names as of `Request`, or `EVERYBODY`; None in policies of an identity.
    `excludes_...`: the field was the one with Not: it means all others.
    """

    effect: str
    actions: tuple[Glob, ...]
    resources: tuple[Glob, ...]
    conditions: tuple[Condition, ...] = ()
    principals: frozenset[str] | None = None
    excludes_actions: bool = False
    excludes_resources: bool = False
    excludes_principals: bool = False
    sid: str = ""

    def applies(self, request: Request) -> bool:
        """Whether what it says is said of a request."""
        context = request.context
        return (
            _any(self.actions, request.action, context) != self.excludes_actions
            and _any(self.resources, request.resource, context) != self.excludes_resources
            and self._is_about(request)
            and all(condition.holds(context) for condition in self.conditions)
        )

    def _is_about(self, request: Request) -> bool:
        if self.principals is None:
            return True
        is_named = EVERYBODY in self.principals or not self.principals.isdisjoint(
            request.principals
        )
        return is_named != self.excludes_principals


@dataclass(frozen=True, slots=True)
class Policy:
    """What a document says, in its order."""

    statements: tuple[Statement, ...] = ()

    def find(self, effect: str, request: Request) -> Statement | None:
        """The first statement of an effect that applies."""
        for statement in self.statements:
            if statement.effect == effect and statement.applies(request):
                return statement
        return None


def _any(patterns: tuple[Glob, ...], text: str, context: Context) -> bool:
    return any(pattern.matches(text, context) for pattern in patterns)


def arn(bucket: str, key: str = "") -> str:
    """The resource that a bucket or an object is in policies."""
    return f"{_ARN}{bucket}/{key}" if key else _ARN + bucket


@lru_cache(maxsize=1024)
def parse_bucket_policy(document: bytes, bucket: str) -> Policy:
    """The policy of a bucket from its JSON.

    Raises:
        PolicyError: it is no policy of this bucket.
    """
    trees, policy = _parse(document, has_principals=True)
    for tree, statement in zip(trees, policy.statements, strict=True):
        _check_terms(tree, statement, bucket)
    return policy


@lru_cache(maxsize=4096)
def parse_identity_policy(document: bytes) -> Policy:
    """The policy of a user, a group or a role.

    Raises:
        PolicyError: it is none.
    """
    return _parse(document, has_principals=False)[1]


def _parse(document: bytes, *, has_principals: bool) -> tuple[list[dict[str, Any]], Policy]:
    """The statements as they stand, and as a policy."""
    if len(document) > MAX_POLICY_BYTES:
        raise PolicyError(f"Policies must not be larger than {MAX_POLICY_BYTES} bytes")
    tree = _tree(document)
    _check_fields(tree, _FIELDS)
    version = tree.get("Version", _VERSIONS[0])
    if version not in _VERSIONS:
        raise PolicyError("The policy must contain a valid version string")
    if not isinstance(tree.get("Id", ""), str):
        raise PolicyError("Invalid policy syntax.")
    found = list(_statements(tree))
    names = [each["Sid"] for each in found if "Sid" in each]
    if any(not isinstance(name, str) for name in names) or len(set(names)) != len(names):
        raise PolicyError("Statement IDs (SID) in a single policy must be unique.")
    has_variables = version == _WITH_VARIABLES
    policy = Policy(tuple(_statement(each, has_principals, has_variables) for each in found))
    return found, policy


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


def _statements(tree: dict[str, Any]) -> Iterator[dict[str, Any]]:
    found = tree.get("Statement")
    if found is None:
        raise PolicyError("Missing required field Statement")
    listed = found if isinstance(found, list) else [found]
    if not listed:
        raise PolicyError("Could not parse the policy: Statement is empty!")
    for each in listed:
        if not isinstance(each, dict):
            raise PolicyError("Invalid policy syntax.")
        yield each


def _check_fields(tree: dict[str, Any], known: frozenset[str]) -> None:
    for name in tree:
        if name not in known:
            raise PolicyError(f"Unknown field {name}")


def _statement(tree: dict[str, Any], has_principals: bool, has_variables: bool) -> Statement:
    _check_fields(tree, _STATEMENT_FIELDS)
    effect = tree.get("Effect")
    if effect is None:
        raise PolicyError("Missing required field Effect")
    if effect not in (ALLOW, DENY):
        raise PolicyError(f"Invalid effect: {effect}")
    principals, excludes_principals = _principals(tree, has_principals)
    actions, excludes_actions = _texts(tree, "Action", "NotAction")
    resources, excludes_resources = _texts(tree, "Resource", "NotResource")
    if not all(map(_ACTION.fullmatch, actions)):
        raise PolicyError("Policy has invalid action")
    try:
        conditions = parse_conditions(tree.get("Condition", {}), has_variables=has_variables)
    except ConditionError as error:
        raise PolicyError(str(error)) from None
    return Statement(
        effect,
        tuple(Glob(action, has_variables=False, ignores_case=True) for action in actions),
        tuple(Glob(resource, has_variables=has_variables) for resource in resources),
        conditions,
        principals,
        excludes_actions,
        excludes_resources,
        excludes_principals,
        tree.get("Sid", ""),
    )


def _texts(tree: dict[str, Any], name: str, opposite: str) -> tuple[list[str], bool]:
    """One text or a list of them, under a name or under its opposite; and whether that was it."""
    if (name in tree) == (opposite in tree):
        raise PolicyError(f"Missing required field {name}")
    given = name if name in tree else opposite
    found = tree[given] if isinstance(tree[given], list) else [tree[given]]
    if not found or not all(isinstance(each, str) and each for each in found):
        raise PolicyError(f"Policy has invalid {name.lower()}")
    return found, given == opposite


def _principals(tree: dict[str, Any], wanted: bool) -> tuple[frozenset[str] | None, bool]:
    given = [name for name in _PRINCIPALS if name in tree]
    if not wanted:
        if given:
            raise PolicyError(f"Policy document should not specify a {given[0].lower()}.")
        return None, False
    if len(given) != 1:
        raise PolicyError("Missing required field Principal")
    found = tree[given[0]]
    excludes = given[0] == "NotPrincipal"
    if found == EVERYBODY:
        return frozenset((EVERYBODY,)), excludes
    if not isinstance(found, dict) or not found or set(found) - set(_PRINCIPAL_KINDS):
        raise PolicyError("Invalid principal in policy")
    names = set()
    for kind, listed in found.items():
        for name in listed if isinstance(listed, list) else [listed]:
            if not isinstance(name, str) or not name:
                raise PolicyError("Invalid principal in policy")
            is_everybody = kind == "AWS" and name == EVERYBODY
            names.add(EVERYBODY if is_everybody else f"{kind}:{name}")
    if not names:
        raise PolicyError("Invalid principal in policy")
    return frozenset(names), excludes


def _check_terms(tree: dict[str, Any], statement: Statement, bucket: str) -> None:
    """Refuse what S3 has no name for, and what can never come together.

    S3 refuses both, and rightly: a right that nobody gets, and a negated condition on what no
    request has, are not what the writer meant.
    """
    patterns = _texts(tree, "Action", "NotAction")[0]
    named = [actions_like(pattern) for pattern in patterns]
    if not all(named):
        raise PolicyError("Policy has invalid action")
    resources = _texts(tree, "Resource", "NotResource")[0]
    if not all(text == "*" or _can_be_in(text, bucket) for text in resources):
        raise PolicyError("Policy has invalid resource")
    if not statement.excludes_resources and not statement.excludes_actions:
        meeting = _actions_on(resources, bucket)
        if any(actions.isdisjoint(meeting) for actions in named):
            raise PolicyError("Action does not apply to any resource(s) in statement")
    actions = frozenset[str]().union(*named)
    meant = ACTIONS - actions if statement.excludes_actions else actions
    for condition in statement.conditions:
        applies = is_of_some(condition.key, meant)
        if applies is None:
            raise PolicyError(f"Policy has an invalid condition key - {condition.key}")
        if not applies:
            raise PolicyError(
                "Conditions do not apply to combination of actions and resources in statement"
            )


def _can_be_in(text: str, bucket: str) -> bool:
    """Whether a resource is the bucket, or can be in it."""
    of_bucket = text.removeprefix(_ARN)
    # a star at the end of the name reaches into the keys, and matches the name as well
    name = of_bucket.partition("/")[0]
    return of_bucket != text and Glob(name, has_variables=False).matches(bucket, {})


def _actions_on(resources: list[str], bucket: str) -> frozenset[str]:
    """The actions whose resource can be one of these, all of which can be in the bucket."""
    found: frozenset[str] = frozenset()
    for text in resources:
        if Glob(text, has_variables=False).matches(arn(bucket), {}):
            found |= BUCKET_ACTIONS
        if "/" in text or "*" in text:
            found |= OBJECT_ACTIONS
    return found
