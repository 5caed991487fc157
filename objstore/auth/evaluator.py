"""Who may do what: one decision of all policies that have a say.  Pure: nothing is looked up.

The order is AWS's: an explicit denial anywhere decides; then what an account's own people may
do, by their policies within their boundaries, or by the resource's policy; people of other
accounts need both.  Nothing is allowed unless something allows it.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
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


@dataclass(slots=True)
class Policies:
    """All that have a say.

    `identity`: of the user and its groups, or of the role.  `resource`: the bucket's, None
        where it has none.  `boundary`, `session`: at most what these allow; None for no bound.
    `is_root`: whether the requester is the root of its own account, whom none of its account's
        policies bind.
    `session_names`: of a role's session, its own names: what the bucket allows these neither
        boundary nor session policy limits; what it allows the role, both do.
    """

    identity: Sequence[Policy] = ()
    resource: Policy | None = None
    boundary: Policy | None = None
    session: Policy | None = None
    is_root: bool = False
    session_names: frozenset[str] = frozenset()


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
    if who is Who.STRANGER:  # whose account may be meant as well
        request = replace(request, principals=request.principals | request.account_names)
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
    return _bound_by_resource(request, policies, by_resource)


def _bound_by_resource(request: Request, policies: Policies, found: Decision) -> Decision:
    """What the bucket allows a member needs no policy of theirs, but what bounds a session does."""
    named = None if found.statement is None else found.statement.principals
    if named is not None and not named.isdisjoint(policies.session_names):
        return found
    if policies.session_names:
        bound = _bound(request, "boundary", policies.boundary)
        if bound is not None:
            return bound
    return _bound(request, "session", policies.session) or found


def _denial(request: Request, policies: Policies) -> Decision | None:
    for policy in policies.identity:
        statement = policy.find(DENY, request)
        if statement is not None:
            return Decision(False, "identity", statement)
    for source, other in (
        ("resource", policies.resource),
        ("boundary", policies.boundary),
        ("session", policies.session),
    ):
        statement = None if other is None else other.find(DENY, request)
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
