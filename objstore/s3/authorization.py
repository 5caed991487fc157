"""Who may do which S3 operation: the actions that it stands for, put to the judge.

Every request passes `admit`, once it is known who sent it; what a handler finds out on its
way (the source of a copy, the keys of a batch) it puts to `check` or `judge`.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/using-with-s3-policy-actions.html
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final, TypeAlias

from objstore.auth.evaluator import Decision, Policies, Who, decide
from objstore.auth.keys import Identity
from objstore.auth.permission import policies_of, who_is
from objstore.auth.policy import Policy, arn
from objstore.auth.policy import Request as Asked
from objstore.errors import NoSuchBucketError, NoSuchKeyError, NoSuchVersionError
from objstore.model import Encryption
from objstore.s3.encryption import ALGORITHM, KMS
from objstore.s3.errors import S3Error, invalid_argument, invalid_request
from objstore.s3.http import Context, Request, Response
from objstore.s3.operation import Operation
from objstore.s3.policy_context import context_of
from objstore.s3.public_access import NO_POLICY, PAYER, POLICY, REQUESTER, effective_policy

LIST: Final = "s3:ListBucket"
GET: Final = "s3:GetObject"
PUT: Final = "s3:PutObject"
DELETE: Final = "s3:DeleteObject"
BYPASS: Final = "s3:BypassGovernanceRetention"
_KMS: Final = KMS.encode("ascii")


def _settings(names: str) -> dict[str, tuple[str, ...]]:
    """Rows of operations that read or change a setting: ``Name`` or ``Name=Action``."""
    found: dict[str, tuple[str, ...]] = {}
    for name in names.split():
        operation, _, action = name.partition("=")
        for verb in ("Get", "Put", "Delete"):
            needed = "Put" if verb == "Delete" else verb  # to take it away is to change it
            found[verb + operation] = (f"s3:{needed}{action or operation}",)
    return found


ACTIONS: Final[Mapping[str, tuple[str, ...]]] = {
    **_settings(
        """
        BucketVersioning BucketTagging BucketEncryption=EncryptionConfiguration
        BucketCors=BucketCORS BucketLogging BucketAcl BucketRequestPayment
        BucketLifecycleConfiguration=LifecycleConfiguration
        BucketReplication=ReplicationConfiguration
        BucketAccelerateConfiguration=AccelerateConfiguration BucketOwnershipControls
        PublicAccessBlock=BucketPublicAccessBlock BucketNotificationConfiguration=BucketNotification
        ObjectLockConfiguration=BucketObjectLockConfiguration
        ObjectAcl ObjectRetention ObjectLegalHold BucketWebsite BucketPolicy
        """
    ),
    "ListBuckets": ("s3:ListAllMyBuckets",),
    "CreateBucket": ("s3:CreateBucket",),
    "DeleteBucket": ("s3:DeleteBucket",),
    "HeadBucket": (LIST,),
    "ListObjects": (LIST,),
    "ListObjectsV2": (LIST,),
    "ListObjectVersions": ("s3:ListBucketVersions",),
    "ListMultipartUploads": ("s3:ListBucketMultipartUploads",),
    "GetBucketLocation": ("s3:GetBucketLocation",),
    "DeleteBucketWebsite": ("s3:DeleteBucketWebsite",),
    "DeleteBucketPolicy": ("s3:DeleteBucketPolicy",),
    "GetBucketPolicyStatus": ("s3:GetBucketPolicyStatus",),
    "GetObject": (GET,),
    "HeadObject": (GET,),
    "GetObjectAttributes": (GET, "s3:GetObjectAttributes"),
    "GetObjectTagging": ("s3:GetObjectTagging",),
    "PutObjectTagging": ("s3:PutObjectTagging",),
    "DeleteObjectTagging": ("s3:DeleteObjectTagging",),
    "PutObject": (PUT,),
    "PostObject": (PUT,),
    "CopyObject": (PUT,),
    "RenameObject": (PUT,),
    "DeleteObject": (DELETE,),
    "DeleteObjects": (),  # each key is judged by itself
    "CreateMultipartUpload": (PUT,),
    "UploadPart": (PUT,),
    "UploadPartCopy": (PUT,),
    "CompleteMultipartUpload": (PUT,),
    "AbortMultipartUpload": ("s3:AbortMultipartUpload",),
    "ListParts": ("s3:ListMultipartUploadParts",),
}
"""What each operation needs on its bucket or object; copies and batches need more."""

# What nobody in particular can be allowed at all.  Settings of buckets and uploads in parts are
# for those who sign: S3 starts no such upload for anybody else, and settings are the owner's.
FOR_NOBODY: Final = frozenset(
    (
        *("HeadBucket", "ListObjects", "ListObjectsV2", "ListObjectVersions"),
        *("GetBucketLocation", "GetObject", "HeadObject", "GetObjectAttributes"),
        *("GetObjectTagging", "PutObject", "DeleteObject"),
    )
)
# The way out of a policy that denies everybody everything.
_OF_THE_POLICY: Final = frozenset(("GetBucketPolicy", "PutBucketPolicy", "DeleteBucketPolicy"))

_OF_VERSIONS: Final = {
    GET: "s3:GetObjectVersion",
    DELETE: "s3:DeleteObjectVersion",
    **{
        f"s3:{verb}Object{name}": f"s3:{verb}ObjectVersion{name}"
        for verb, names in (
            ("Get", ("Attributes", "Tagging", "Acl")),
            ("Put", ("Tagging", "Acl")),
            ("Delete", ("Tagging",)),
        )
        for name in names
    },
}
# What a header asks for besides.
_OF_HEADERS: Final = {
    b"x-amz-tagging": "s3:PutObjectTagging",
    b"x-amz-object-lock-mode": "s3:PutObjectRetention",
    b"x-amz-object-lock-retain-until-date": "s3:PutObjectRetention",
    b"x-amz-object-lock-legal-hold": "s3:PutObjectLegalHold",
    b"x-amz-bypass-governance-retention": BYPASS,
}
_ASKING_HEADERS: Final = frozenset(_OF_HEADERS)
# Conditions of writes, whose outcome tells of the object that is there: that is to read it.
_WRITES: Final = frozenset((PUT, DELETE))
_OF_CONDITIONS: Final = frozenset(
    (b"if-match", b"x-amz-if-match-size", b"x-amz-if-match-last-modified-time")
)
_NO_KEY: Final = frozenset(("ListBuckets", "CreateBucket"))


# Operations, and what they are to who may not list; a few dozen.
_CONCEALED: Final[dict[str, tuple[Operation, Operation]]] = {}


@dataclass(slots=True)
class Access:
    """How a requester stands to a bucket.

    `policies`: all that have a say, the bucket's own as far as it counts for the requester.
    `pays`: whether requesters do, and this one has not said that it will.
    """

    identity: Identity
    who: Who
    owner: str
    policies: Policies
    pays: bool = False

    @property
    def is_free(self) -> bool:
        """Whether nothing can stand in the way."""
        return self.who is Who.ROOT and self.policies.resource is NO_POLICY


def identity_of(request: Request) -> Identity:
    """Who sent a request; AccessDenied before that is known."""
    if request.auth is None:
        raise S3Error("AccessDenied")
    return request.auth.identity


def access_to(ctx: Context, request: Request, bucket: str) -> Access:
    """How the sender of a request stands to a bucket.

    Raises:
        NoSuchBucketError: there is no such bucket.
    """
    owner, settings = ctx.store.bucket_settings(bucket)
    if bucket == request.bucket:
        request.bucket_owner = owner
    return _access(request, bucket, owner, settings)


def _access(request: Request, bucket: str, owner: str, settings: Mapping[str, bytes]) -> Access:
    identity = identity_of(request)
    who = who_is(identity, owner)
    policy = NO_POLICY
    if POLICY in settings:
        policy = effective_policy(settings, bucket, who)
    pays = False
    if PAYER in settings and who in (Who.STRANGER, Who.NOBODY):
        promised = request.header(b"x-amz-request-payer") == "requester"
        pays = settings[PAYER] == REQUESTER and not (promised and who is Who.STRANGER)
    return Access(identity, who, owner, policies_of(identity, policy), pays)


def admit(ctx: Context, request: Request, operation: Operation) -> Operation:
    """The operation, if its sender may have it.

    Raises:
        S3Error: AccessDenied.
        NoSuchBucketError: there is no such bucket, and the sender may know it.
    """
    identity = identity_of(request)
    if identity.is_anonymous and operation.name not in FOR_NOBODY:
        raise S3Error("AccessDenied")
    if operation.handler is None:  # it does nothing, whoever asks
        return operation
    actions = ACTIONS[operation.name]
    if operation.name in _NO_KEY:
        _check_own(ctx, request, actions)
        return operation
    try:
        owner, settings = ctx.store.bucket_settings(request.bucket)
    except NoSuchBucketError:
        if not identity.is_root and not identity.is_anonymous:
            _check_own(ctx, request, actions)
        raise
    request.bucket_owner = owner
    if identity.is_root and owner == identity.id and POLICY not in settings:
        return operation  # nothing can stand in the way: most requests, so this is short
    access = _access(request, request.bucket, owner, settings)
    if access.is_free or (access.who is Who.ROOT and operation.name in _OF_THE_POLICY):
        return operation
    if actions:
        _check(ctx, request, access, actions, request.bucket, request.key)
    return _limited(request, access, operation)


def _limited(request: Request, access: Access, operation: Operation) -> Operation:
    """The operation for somebody who may not do everything."""
    if access.who is Who.NOBODY and any(name.startswith("response-") for name, _ in request.query):
        raise invalid_request(
            "Request specific response headers cannot be used for anonymous GET requests."
        )
    if operation.kind in ("commit", "write") or access.who is Who.ROOT:
        return operation
    known = _CONCEALED.get(operation.name)
    if known is None or known[0] is not operation:
        concealed = replace(operation, handler=partial(_concealing, operation.handler))
        known = _CONCEALED[operation.name] = operation, concealed
    return known[1]


def _check_own(ctx: Context, request: Request, actions: Iterable[str]) -> None:
    """Raises AccessDenied unless the sender may do this in its own account."""
    identity = identity_of(request)
    who = who_is(identity, None)
    access = Access(identity, who, identity.id, policies_of(identity))
    if who is not Who.ROOT:
        _check(ctx, request, access, actions, request.bucket or "*", request.key)


def check(
    ctx: Context, request: Request, actions: tuple[str, ...], bucket: str = "", key: str = ""
) -> None:
    """Raises AccessDenied unless the sender may do all of it, and what headers ask besides.

    Args:
        bucket, key: of what; those of the request where no bucket is given.
    """
    if not bucket:
        bucket, key = request.bucket, request.key
    access = access_to(ctx, request, bucket)
    if not access.is_free:
        _check(ctx, request, access, actions, bucket, key)


def check_source(
    ctx: Context, request: Request, action: str, bucket: str, key: str, version_id: str
) -> None:
    """Raises AccessDenied unless the sender may do this with the source of a copy."""
    access = access_to(ctx, request, bucket)
    if access.is_free:
        return
    asked = Request("GET", b"", b"", [], request.scheme, request.client_host)
    asked.bucket, asked.key, asked.auth = bucket, key, request.auth
    if version_id:
        action = _OF_VERSIONS.get(action, action)
    if access.pays or not _allows(ctx, asked, access, (action,), bucket, key, version_id):
        raise S3Error("AccessDenied")


def may_list(ctx: Context, request: Request, bucket: str) -> bool:
    """Whether the sender may be told that there is no such key in a bucket."""
    try:
        check_source(ctx, request, LIST, bucket, "", "")
    except S3Error:
        return False
    return True


Judge: TypeAlias = Callable[[str, str, str], bool]
"""Whether somebody may do an action with a key and, unless that is empty, a version of it."""


def judge(ctx: Context, request: Request) -> Judge:
    """What judges the sender on the keys of the request's bucket."""
    access = access_to(ctx, request, request.bucket)
    if access.is_free or access.pays:
        return lambda action, key, version_id: not access.pays

    def may(action: str, key: str, version_id: str) -> bool:
        if version_id:
            action = _OF_VERSIONS.get(action, action)
        return _allows(ctx, request, access, (action,), request.bucket, key, version_id)

    return may


def _check(
    ctx: Context,
    request: Request,
    access: Access,
    actions: Iterable[str],
    bucket: str,
    key: str,
) -> None:
    needed, headers = list(actions), request.header_map
    if not _OF_CONDITIONS.isdisjoint(headers) and not _WRITES.isdisjoint(needed):
        needed.append(GET)
    if request.query and request.query_value("versionId") is not None:
        needed = [_OF_VERSIONS.get(action, action) for action in needed]
    if not _ASKING_HEADERS.isdisjoint(headers):
        needed += {action for name, action in _OF_HEADERS.items() if name in headers}
    if access.pays or not _allows(ctx, request, access, needed, bucket, key):
        raise S3Error("AccessDenied")


def _allows(
    ctx: Context,
    request: Request,
    access: Access,
    actions: Iterable[str],
    bucket: str,
    key: str,
    version_id: str = "",
) -> bool:
    grants = access.identity.grants
    is_own = access.who in (Who.ROOT, Who.MEMBER)
    context = context_of(ctx, request, access.policies, key, version_id=version_id, is_own=is_own)
    resource = arn(bucket, key)
    for action in actions:
        asked = Asked(action, resource, grants.names, context, grants.account_names)
        if not decided(asked, access).is_allowed:
            return False
    return True


def decided(asked: Asked, access: Access) -> Decision:
    """What the judge says."""
    return decide(asked, access.who, access.policies)


def reading(handler: Callable[..., Response], ctx: Context, request: Request) -> Response:
    """What answers a read of an object that the sender may read.

    Raises:
        S3Error: AccessDenied.
    """
    check(ctx, request, (GET,))
    response: Response = _concealing(handler, ctx, request)
    return response


def owner_of_new(request: Request) -> str:
    """Whose an object is that a request makes: the bucket's owner's, whoever makes it.

    "" of a bucket without one, unless it is the owner that makes it.
    """
    identity = identity_of(request)
    if request.bucket_owner or who_is(identity, "") in (Who.STRANGER, Who.NOBODY):
        return request.bucket_owner
    return identity.id


def _concealing(handler: Any, ctx: Context, request: Request, *arguments: Any) -> Any:
    """Who may not list is not told that there is no such key, but that it is denied.

    And what a key of KMS encrypts is nobody's who signs nothing: nobody may use that key.
    """
    try:
        response = handler(ctx, request, *arguments)
    except (NoSuchKeyError, NoSuchVersionError):
        if not may_list(ctx, request, request.bucket):
            raise S3Error("AccessDenied") from None
        raise
    if not identity_of(request).is_anonymous:
        return response
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
    if not identity_of(request).is_anonymous:
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


def would_allow(ctx: Context, request: Request, policy: Policy, action: str) -> bool:
    """Whether the sender might still do an action on the bucket under another policy."""
    access = access_to(ctx, request, request.bucket)
    if access.who is Who.ROOT:  # who can always have another one
        return True
    access = replace(access, policies=replace(access.policies, resource=policy))
    return _allows(ctx, request, access, (action,), request.bucket, "")
