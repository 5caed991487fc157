"""Who may do what: one decision of all policies that have a say.  Pure: nothing is looked up.

The order is AWS's: an explicit denial anywhere decides; then what an account's own people may
do, by their policies within their boundaries, or by the resource's policy; people of other
accounts need both.  Nothing is allowed unless something allows it.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

from objstore.auth.policy import ALLOW, DENY, Policy, Request, Statement


class Who(Enum):
    """Whose request it is, as seen from the account of the resource.

    `ROOT` is the resource's account itself, `MEMBER` one of its users or roles, `STRANGER`
    somebody of another account, `NOBODY` who signed nothing.
    """

    ROOT = "root"
    MEMBER = "member"
    STRANGER = "stranger"
    NOBODY = "nobody"


@dataclass(frozen=True, slots=True)
class Policies:
    """All that have a say.

    `identity`: of the user and its groups, or of the role.  `resource`: the bucket's, None
        where it has none.  `boundary`, `session`: at most what these allow; None for no bound.
    `is_root`: whether the requester is the root of its own account, whom none of its account's
        policies bind.
    """

    identity: Sequence[Policy] = ()
    resource: Policy | None = None
    boundary: Policy | None = None
    session: Policy | None = None
    is_root: bool = False


@dataclass(frozen=True, slots=True)
class Decision:
    """What was decided, and by what.

    `source`: ``identity``, ``resource``, ``boundary``, ``session`` or ``root``; ``nothing``
        where nothing allowed it.  `statement`: the one that decided, where one did.
    """

    is_allowed: bool
    source: str
    statement: Statement | None = None


NOTHING_ALLOWS: Final = Decision(False, "nothing")


def decide(request: Request, who: Who, policies: Policies) -> Decision:
    """Decide on a request."""
    denied = _denial(request, policies)
    if denied is not None:
        return denied
    if who is Who.ROOT:
        return Decision(True, "root")
    by_resource = _allowance(request, "resource", policies.resource)
    if who is Who.NOBODY:
        return by_resource or NOTHING_ALLOWS
    by_identity = _by_identity(request, policies)
    if who is Who.STRANGER:
        if by_resource is None or not by_identity.is_allowed:
            return NOTHING_ALLOWS if by_resource is None else by_identity
        return by_resource
    if by_identity.is_allowed or by_resource is None:
        return by_identity
    # What the bucket allows a member needs no policy of theirs, but what bounds a session does.
    return _bound(request, "session", policies.session) or by_resource


def _denial(request: Request, policies: Policies) -> Decision | None:
    for source, policy in (
        *(("identity", policy) for policy in policies.identity),
        ("resource", policies.resource),
        ("boundary", policies.boundary),
        ("session", policies.session),
    ):
        statement = None if policy is None else policy.find(DENY, request)
        if statement is not None:
            return Decision(False, source, statement)
    return None


def _allowance(request: Request, source: str, policy: Policy | None) -> Decision | None:
    statement = None if policy is None else policy.find(ALLOW, request)
    return None if statement is None else Decision(True, source, statement)


def _bound(request: Request, source: str, policy: Policy | None) -> Decision | None:
    """A refusal where a bound does not allow it."""
    if policy is None or policy.find(ALLOW, request) is not None:
        return None
    return Decision(False, source)


def _by_identity(request: Request, policies: Policies) -> Decision:
    """What the requester's own account lets it do."""
    if policies.is_root:
        return Decision(True, "root")
    for policy in policies.identity:
        found = _allowance(request, "identity", policy)
        if found is not None:
            bound = _bound(request, "boundary", policies.boundary)
            return bound or _bound(request, "session", policies.session) or found
    return NOTHING_ALLOWS
