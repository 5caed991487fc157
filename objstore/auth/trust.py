"""Trust policies of roles: who may have a session of it."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from objstore.auth.policy import Policy, PolicyError, parse_trust_policy

_ACTIONS: Final = ("sts:",)


class TrustError(Exception):
    """A document that is no trust policy; the text says why."""


@lru_cache(maxsize=1024)
def parse_trust(document: bytes) -> Policy:
    """The trust policy of a role.

    Raises:
        TrustError: it is none.
    """
    try:
        policy = parse_trust_policy(document)
    except PolicyError as error:
        raise TrustError(str(error)) from None
    for statement in policy.statements:
        for action in statement.actions:
            if action.text != "*" and not action.text.lower().startswith(_ACTIONS):
                raise TrustError("AssumeRolepolicy may only specify STS AssumeRole actions.")
    return policy
