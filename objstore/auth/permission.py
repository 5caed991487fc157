"""Whether an identity may do something: its grants and the resource's policy before the judge."""

from __future__ import annotations

from collections.abc import Mapping

from objstore.auth.evaluator import Decision, Policies, Who, decide
from objstore.auth.keys import MAIN_ACCOUNT, Identity
from objstore.auth.policy import Policy, Request


def who_is(identity: Identity, owner: str | None) -> Who:
    """Whose request it is, as seen from the account with the canonical id `owner`.

    "" stands for the main account, None for the requester's own.
    """
    if identity.is_anonymous:
        return Who.NOBODY
    if owner is not None and owner != identity.id and (owner or identity.account != MAIN_ACCOUNT):
        return Who.STRANGER
    return Who.ROOT if identity.is_root else Who.MEMBER


def ask(
    identity: Identity,
    action: str,
    resource: str,
    *,
    owner: str | None = None,
    resource_policy: Policy | None = None,
    context: Mapping[str, str | tuple[str, ...]] | None = None,
) -> Decision:
    """Decide whether an identity may do `action` on `resource`.

    Args:
        owner: canonical id of the resource's account; see `who_is`.
        context: condition keys of the request; those of the identity are added.
    """
    grants = identity.grants
    known = grants.context if context is None else {**context, **grants.context}
    request = Request(action, resource, grants.names, known, grants.account_names)
    policies = policies_of(identity, resource_policy)
    return decide(request, who_is(identity, owner), policies)


def may_in_main(identity: Identity, action: str, resource: str = "*") -> bool:
    """Whether an identity may do something with what is the main account's: volumes and keys."""
    return ask(identity, action, resource, owner="").is_allowed


def policies_of(identity: Identity, resource_policy: Policy | None = None) -> Policies:
    """All policies that have a say."""
    grants = identity.grants
    return Policies(
        grants.policies,
        resource_policy,
        grants.boundary,
        grants.session,
        identity.is_root,
        grants.session_names,
    )
