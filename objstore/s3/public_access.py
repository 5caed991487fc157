"""A bucket's policy and its public access block, as its settings keep them.

Two things have to say so before everybody may do anything: the policy, and the bucket's public
access block, which a new bucket has whole, as in S3 since April 2023.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/access-control-block-public-access.html
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from objstore.auth.evaluator import Who
from objstore.auth.policy import Policy, PolicyError, parse_bucket_policy
from objstore.auth.public import is_public
from objstore.s3.policy_context import UNKNOWN_KEYS

POLICY: Final = "policy"
BLOCK: Final = "public-access-block"
"""The bucket's settings: the policy's document as it was put, and `encode_block`'s."""

PAYER: Final = "request-payment"
REQUESTER: Final = b"Requester"
"""Who pays for requests; where this setting is not there, the owner does."""

BLOCKS: Final = (
    "BlockPublicAcls",
    "IgnorePublicAcls",
    "BlockPublicPolicy",
    "RestrictPublicBuckets",
)
BLOCK_POLICY, RESTRICT = BLOCKS[2:]

NO_POLICY: Final = Policy()

NO_BLOCK: Final = b"none"
"""The setting of a bucket whose block was deleted."""


def encode_block(blocks: frozenset[str]) -> bytes:
    """A public access block, as the bucket's setting: the names of what is blocked."""
    return " ".join(name for name in BLOCKS if name in blocks).encode("ascii")


def blocked(setting: bytes | None) -> frozenset[str]:
    """What is blocked; everything where nobody said anything."""
    return frozenset(BLOCKS if setting is None else setting.decode("ascii").split())


class PolicyNotHonouredError(Exception):
    """A policy that is one, and says what is not honoured here; the text names it."""


def parse(document: bytes, bucket: str) -> Policy:
    """A bucket's policy, all of which is honoured.

    Raises:
        PolicyError: it is none.
        PolicyNotHonouredError: it says what is not honoured.
    """
    policy = parse_bucket_policy(document, bucket)
    for statement in policy.statements:
        for condition in statement.conditions:
            if condition.key in UNKNOWN_KEYS:
                raise PolicyNotHonouredError(
                    f"The condition key {condition.key} is not implemented"
                )
    return policy


def effective_policy(settings: Mapping[str, bytes], bucket: str, who: Who) -> Policy:
    """What the policy of a bucket says to somebody, its block considered.

    One that does not parse any more was stored by a version that knew less: it opens nothing.
    """
    document = settings.get(POLICY)
    if document is None:
        return NO_POLICY
    try:
        policy = parse_bucket_policy(document, bucket)
    except PolicyError:
        return NO_POLICY
    if who in (Who.NOBODY, Who.STRANGER) and RESTRICT in blocked(settings.get(BLOCK)):
        return NO_POLICY if is_public(policy) else policy
    return policy
