"""What somebody may do who signs nothing: what the bucket's policy allows everybody.

Two things have to say so: the policy, and the bucket's public access block, which a new
bucket has whole, as in S3 since April 2023.  Until there are several accounts, whoever signs
owns everything, and is asked nothing of this: so a policy that denies anything, or names
anybody, is refused.  A policy that is stored and not kept to would open what it means to close.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/access-control-block-public-access.html
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from typing import Any, Final

from objstore.auth.evaluator import Policies, Who, decide
from objstore.auth.policy import (
    DENY,
    EVERYBODY,
    Policy,
    PolicyError,
    Statement,
    arn,
    parse_bucket_policy,
)
from objstore.auth.policy import Request as Asked
from objstore.auth.public import is_public
from objstore.errors import NoSuchKeyError, NoSuchSettingError, NoSuchVersionError
from objstore.model import Encryption
from objstore.s3.encryption import ALGORITHM, KMS
from objstore.s3.errors import S3Error, invalid_argument, invalid_request
from objstore.s3.http import Context, Request, Response
from objstore.s3.operation import Operation
from objstore.s3.policy_context import UNKNOWN_KEYS, context_of

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
_KMS: Final = KMS.encode("ascii")

LIST: Final = "s3:ListBucket"
GET: Final = "s3:GetObject"
PUT: Final = "s3:PutObject"

# What everybody can be allowed at all.  Settings of buckets and uploads in parts are for those
# who sign: S3 starts no such upload for anybody else, and settings are the owner's.
_ACTIONS: Final = {
    "HeadBucket": (LIST,),
    "ListObjects": (LIST,),
    "ListObjectsV2": (LIST,),
    "ListObjectVersions": ("s3:ListBucketVersions",),
    "GetBucketLocation": ("s3:GetBucketLocation",),
    "GetObject": (GET,),
    "HeadObject": (GET,),
    "GetObjectAttributes": (GET, "s3:GetObjectAttributes"),
    "GetObjectTagging": ("s3:GetObjectTagging",),
    "PutObject": (PUT,),
    "DeleteObject": ("s3:DeleteObject",),
}
_OF_VERSIONS: Final = {
    GET: "s3:GetObjectVersion",
    "s3:GetObjectAttributes": "s3:GetObjectVersionAttributes",
    "s3:GetObjectTagging": "s3:GetObjectVersionTagging",
    "s3:DeleteObject": "s3:DeleteObjectVersion",
}
# What a header asks for besides.
_OF_HEADERS: Final = {
    b"x-amz-tagging": "s3:PutObjectTagging",
    b"x-amz-object-lock-mode": "s3:PutObjectRetention",
    b"x-amz-object-lock-retain-until-date": "s3:PutObjectRetention",
    b"x-amz-object-lock-legal-hold": "s3:PutObjectLegalHold",
    b"x-amz-bypass-governance-retention": "s3:BypassGovernanceRetention",
}


# Conditions of writes, whose outcome tells of the object that is there: that is to read it.
_WRITES: Final = frozenset((PUT, "s3:DeleteObject"))
_OF_CONDITIONS: Final = frozenset(
    (b"if-match", b"x-amz-if-match-size", b"x-amz-if-match-last-modified-time")
)
_HONOURED: Final = frozenset(
    (
        *(action for actions in _ACTIONS.values() for action in actions),
        *_OF_VERSIONS.values(),
        *_OF_HEADERS.values(),
    )
)


NO_BLOCK: Final = b"none"
"""The setting of a bucket whose block was deleted."""


def encode_block(blocks: frozenset[str]) -> bytes:
    """A public access block, as the bucket's setting: the names of what is blocked."""
    return " ".join(name for name in BLOCKS if name in blocks).encode("ascii")


def block_setting(ctx: Context, bucket: str) -> bytes | None:
    """The bucket's setting `BLOCK`, None where nobody said anything.

    Raises:
        NoSuchBucketError: there is no such bucket.
    """
    try:
        return ctx.store.bucket_setting(bucket, BLOCK)
    except NoSuchSettingError:
        return None


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
        _check_honoured(statement)
    return policy


def _check_honoured(statement: Statement) -> None:
    if statement.effect == DENY:
        raise PolicyNotHonouredError("The effect Deny in bucket policies is not implemented")
    if statement.excludes_principals or statement.principals != frozenset((EVERYBODY,)):
        raise PolicyNotHonouredError(
            "A Principal other than everybody (*) is not implemented in bucket policies"
        )
    for pattern in () if statement.excludes_actions else statement.actions:
        if not any(pattern.matches(action, {}) for action in _HONOURED):
            raise PolicyNotHonouredError(
                f"The action {pattern.text} for everybody is not implemented"
            )
    for condition in statement.conditions:
        if condition.key in UNKNOWN_KEYS:
            raise PolicyNotHonouredError(f"The condition key {condition.key} is not implemented")


def policy_of(ctx: Context, bucket: str) -> Policy:
    """What a bucket allows everybody, the block considered.

    Raises:
        NoSuchBucketError: there is no such bucket.
    """
    try:
        document = ctx.store.bucket_setting(bucket, POLICY)
    except NoSuchSettingError:
        return NO_POLICY
    try:
        policy = parse_bucket_policy(document, bucket)
    except PolicyError:  # stored by a version that knew less: it opens nothing
        return NO_POLICY
    is_restricted = is_public(policy) and RESTRICT in blocked(block_setting(ctx, bucket))
    return NO_POLICY if is_restricted else policy


def may_all(ctx: Context, request: Request, action: str, key: str = "") -> bool:
    """Whether everybody may do something with the bucket of a request, or with an object of it."""
    policy = policy_of(ctx, request.bucket)
    return _allows(ctx, request, policy, (action,), key)


def _allows(
    ctx: Context, request: Request, policy: Policy, actions: Iterable[str], key: str
) -> bool:
    """Whether a policy allows nobody in particular all of these actions."""
    if not policy.statements:
        return False
    resource, context = arn(request.bucket, key), context_of(ctx, request, policy, key)
    policies = Policies(resource=policy)
    return all(
        decide(Asked(action, resource, context=context), Who.NOBODY, policies).is_allowed
        for action in actions
    )


def admit(ctx: Context, request: Request, operation: Operation) -> Operation:
    """The operation for somebody who signed nothing, if that is allowed everybody.

    Raises:
        S3Error: AccessDenied.
        NoSuchBucketError: there is no such bucket, which S3 tells everybody.
    """
    actions = _ACTIONS.get(operation.name)
    if actions is None:
        raise S3Error("AccessDenied")
    check(ctx, request, actions)
    if any(name.startswith("response-") for name, _ in request.query):
        raise invalid_request(
            "Request specific response headers cannot be used for anonymous GET requests."
        )
    if operation.kind in ("commit", "write"):
        return operation
    return replace(operation, handler=partial(_concealing, operation.handler))


def reading(handler: Callable[..., Response], ctx: Context, request: Request) -> Response:
    """What answers a read of an object that everybody may read.

    Raises:
        S3Error: AccessDenied.
    """
    check(ctx, request, (GET,))
    response: Response = _concealing(handler, ctx, request)
    return response


def check(ctx: Context, request: Request, actions: tuple[str, ...]) -> None:
    """Raises AccessDenied unless everybody may do all of it, and what headers ask besides."""
    if _WRITES.intersection(actions) and not _OF_CONDITIONS.isdisjoint(request.header_map):
        actions = (*actions, GET)
    if request.query_value("versionId") is not None:
        actions = tuple(_OF_VERSIONS.get(action, action) for action in actions)
    besides = {needed for name, needed in _OF_HEADERS.items() if name in request.header_map}
    policy = policy_of(ctx, request.bucket)
    if not _allows(ctx, request, policy, (*actions, *besides), request.key):
        raise S3Error("AccessDenied")
    if _requester_pays(ctx, request.bucket):  # and nobody is there to pay
        raise S3Error("AccessDenied")


def _requester_pays(ctx: Context, bucket: str) -> bool:
    try:
        return ctx.store.bucket_setting(bucket, PAYER) == REQUESTER
    except NoSuchSettingError:
        return False


def owner_of_new(ctx: Context, request: Request) -> str:
    """Whose an object is that a request makes: what nobody signed is the bucket owner's."""
    if request.auth is None:
        raise S3Error("AccessDenied")
    if request.auth.is_anonymous:
        return ctx.store.head_bucket(request.bucket).owner
    return request.auth.identity.id


def _concealing(handler: Any, ctx: Context, request: Request, *arguments: Any) -> Any:
    """Who may not list is not told that there is no such key, but that it is denied.

    And what a key of KMS encrypts is nobody's who signs nothing: nobody may use that key.
    """
    try:
        response = handler(ctx, request, *arguments)
    except (NoSuchKeyError, NoSuchVersionError):
        if not may_all(ctx, request, LIST):
            raise S3Error("AccessDenied") from None
        raise
    if any(name == ALGORITHM and value.startswith(_KMS) for name, value in response.headers):
        if not isinstance(response.body, bytes):
            response.body.close()
        raise needs_signature()
    return response


def check_writable(ctx: Context, request: Request, encryption: Encryption) -> None:
    """Raises InvalidArgument where nobody signed for what a key of KMS is to encrypt.

    Args:
        encryption: that the request asks for; NO_ENCRYPTION leaves it to the bucket.
    """
    if request.auth is None or not request.auth.is_anonymous:
        return
    chosen = encryption or ctx.store.bucket_encryption(request.bucket)
    if chosen.algorithm.startswith(KMS):
        raise needs_signature()


def needs_signature() -> S3Error:
    """What S3 answers who wants something of a key of KMS and signs nothing."""
    return invalid_argument(
        "Requests specifying Server Side Encryption with AWS KMS managed keys require AWS "
        "Signature Version 4.",
        "Authorization",
        "null",
    )
