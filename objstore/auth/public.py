"""Whether a policy makes what it is about public.

It does if it allows everybody something, unless that is limited to sources that are fixed: an
account, a network no wider than /8 (/32 of IPv6), a VPC.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/access-control-block-public-access.html#access-control-block-public-access-policy-status
"""

from __future__ import annotations

import ipaddress
from typing import Final

from objstore.auth.conditions import FOR_ALL, Condition
from objstore.auth.policy import ALLOW, EVERYBODY, Policy, Statement

_LIMITING: Final = frozenset(
    (
        *("aws:sourcearn", "aws:sourcevpc", "aws:sourcevpce", "aws:sourceowner"),
        *("aws:sourceaccount", "aws:userid", "aws:principalorgid", "aws:principalarn"),
        *("aws:principalaccount", "s3:dataaccesspointaccount", "s3:dataaccesspointarn"),
    )
)
_FIXING: Final = frozenset(
    ("stringequals", "stringequalsignorecase", "stringlike", "arnequals", "arnlike")
)
_WIDEST_PREFIX_BITS: Final = {4: 8, 6: 32}


def is_public(policy: Policy) -> bool:
    """Whether a policy is public."""
    return any(_is_public(statement) for statement in policy.statements)


def _is_public(statement: Statement) -> bool:
    if statement.effect != ALLOW or statement.principals is None:
        return False
    if not statement.excludes_principals and EVERYBODY not in statement.principals:
        return False
    return not any(_limits(condition) for condition in statement.conditions)


def _limits(condition: Condition) -> bool:
    if condition.if_exists or condition.is_negated or not condition.values:
        return False
    if condition.quantifier == FOR_ALL:  # which holds where a request has no such key
        return False
    if condition.operator == "ipaddress" and condition.key == "aws:sourceip":
        return all(map(_is_narrow, condition.values))
    if condition.operator not in _FIXING or condition.key not in _LIMITING:
        return False
    return not any(sign in value for value in condition.values for sign in ("*", "?", "${"))


def _is_narrow(text: str) -> bool:
    network = ipaddress.ip_network(text, strict=False)
    return network.prefixlen >= _WIDEST_PREFIX_BITS[network.version]
