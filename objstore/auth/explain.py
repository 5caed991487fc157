"""Why something is allowed or not: what each statement that has a say says of a request."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from objstore.auth.evaluator import Decision, Policies, Who, decide
from objstore.auth.policy import ALLOW, Policy, Request

APPLIES = "applies"


@dataclass(frozen=True, slots=True)
class Reason:
    """One statement and a request.

    `source`: ``identity``, ``resource``, ``boundary`` or ``session``.  `policy`: its name.
    `statement`: its Sid, or its number in the policy.  `why`: `APPLIES`, or what does not meet:
        ``the action``, ``the resource``, ``the principal``, ``the condition KEY``.
    """

    source: str
    policy: str
    statement: str
    effect: str
    why: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """A decision in words, and what each statement had to say."""

    decision: Decision
    text: str
    reasons: tuple[Reason, ...]


def explain(request: Request, who: Who, policies: Policies) -> Explanation:
    """Decide, and tell why."""
    decision = decide(request, who, policies)
    return Explanation(decision, _text(decision, who, policies), tuple(_reasons(request, policies)))


def _sources(policies: Policies) -> Iterator[tuple[str, Policy]]:
    for policy in policies.identity:
        yield "identity", policy
    for source, bound in (
        ("resource", policies.resource),
        ("boundary", policies.boundary),
        ("session", policies.session),
    ):
        if bound is not None:
            yield source, bound


def _reasons(request: Request, policies: Policies) -> Iterator[Reason]:
    for source, policy in _sources(policies):
        for number, statement in enumerate(policy.statements, 1):
            called = statement.sid or f"statement {number}"
            why = statement.unmet(request) or APPLIES
            yield Reason(source, policy.name or source, called, statement.effect, why)


def _text(decision: Decision, who: Who, policies: Policies) -> str:
    said = "allowed" if decision.is_allowed else "denied"
    if decision.source == "root":
        return f"{said}: it is the root of the account, and nothing denies it"
    if decision.source == "nothing":
        more = {
            Who.NOBODY: "the bucket's policy allows everybody",
            Who.STRANGER: "both the bucket's policy and the identity's allow",
        }.get(who, "a policy of the identity or of the bucket allows")
        return f"{said}: nothing allows it (it would take that {more} it)"
    if decision.statement is None:
        return f"{said}: the {decision.source} policy does not allow it"
    verb = "allows" if decision.statement.effect == ALLOW else "denies"
    return f"{said}: {_called(decision, policies)} {verb} it"


def _called(decision: Decision, policies: Policies) -> str:
    for source, policy in _sources(policies):
        for number, statement in enumerate(policy.statements, 1):
            if statement is decision.statement and source == decision.source:
                name = statement.sid or f"statement {number}"
                return f"{name} of the {source} policy {policy.name or ''}".rstrip()
    return f"the {decision.source} policy"
