"""What conditions of policies can ask of an S3 request.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/list_amazons3.html#amazons3-policy-keys
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

from objstore.auth.authenticator import AuthResult
from objstore.auth.evaluator import Policies
from objstore.errors import StoreError
from objstore.s3.errors import S3Error
from objstore.s3.http import Context, Request
from objstore.s3.tags import parse_tagging_header

# Which writes make an object, and which only prepare for one.
_CREATING: Final = {
    **dict.fromkeys(("PutObject", "PostObject", "CopyObject", "CompleteMultipartUpload"), "true"),
    **dict.fromkeys(("CreateMultipartUpload", "UploadPart", "UploadPartCopy"), "false"),
}
_EXISTING_TAG: Final = "s3:existingobjecttag/"
_REQUEST_TAG: Final = "s3:requestobjecttag/"
_QUERY: Final = {
    "prefix": "s3:prefix",
    "delimiter": "s3:delimiter",
    "max-keys": "s3:max-keys",
    "versionId": "s3:versionid",
}
_HEADERS: Final = {
    b"referer": "aws:referer",
    b"user-agent": "aws:useragent",
    **{
        name.encode("ascii"): f"s3:{name}"
        for name in (
            "x-amz-acl",
            "x-amz-grant-full-control",
            "x-amz-grant-read",
            "x-amz-grant-read-acp",
            "x-amz-grant-write",
            "x-amz-grant-write-acp",
            "x-amz-content-sha256",
            "x-amz-copy-source",
            "x-amz-metadata-directive",
            "x-amz-server-side-encryption",
            "x-amz-server-side-encryption-aws-kms-key-id",
            "x-amz-server-side-encryption-customer-algorithm",
            "x-amz-storage-class",
            "x-amz-website-redirect-location",
            "x-amz-object-ownership",
        )
    },
    b"x-amz-object-lock-mode": "s3:object-lock-mode",
    b"x-amz-object-lock-retain-until-date": "s3:object-lock-retain-until-date",
    b"x-amz-object-lock-legal-hold": "s3:object-lock-legal-hold",
    b"if-match": "s3:if-match",
    b"if-none-match": "s3:if-none-match",
}
UNKNOWN_KEYS: Final = frozenset(("s3:object-lock-remaining-retention-days",))
"""Keys that a request has in S3, and here not.

All others that are not filled below come with what there is not here: VPCs, access points.
"""

_CLOCKED: Final = frozenset(("aws:currenttime", "aws:epochtime", "s3:signatureage"))
_NOTHING: Final[Mapping[str, str | tuple[str, ...]]] = {}


def context_of(
    ctx: Context,
    request: Request,
    policies: Policies,
    key: str,
    *,
    version_id: str = "",
    is_own: bool = False,
) -> Mapping[str, str | tuple[str, ...]]:
    """The condition keys of a request, in lower case, of which policies ask for any.

    Args:
        key: of the object in question, and `version_id` where the query has none.
        is_own: whether the bucket is of the sender's account.
    """
    asked = _keys(policies)
    auth = request.auth
    if not asked or auth is None:
        return _NOTHING
    identity = auth.identity
    found: dict[str, str | tuple[str, ...]] = {
        "aws:sourceip": request.client_host,
        "aws:securetransport": "true" if request.scheme == "https" else "false",
        "aws:principalisawsservice": "false",
        "aws:viaawsservice": "false",
        "aws:requestedregion": ctx.region,
    }
    if request.tls:
        found["s3:tlsversion"] = request.tls[0].removeprefix("TLSv")
    if auth.is_anonymous:
        found["aws:principaltype"] = "Anonymous"
    else:
        found |= identity.grants.context
        found["s3:authtype"] = _kind_of(request, auth)
        found["s3:signatureversion"] = "AWS4-HMAC-SHA256"
    if is_own:
        found["aws:resourceaccount"] = found["s3:resourceaccount"] = identity.account
    if not asked.isdisjoint(_CLOCKED):
        _add_times(found, ctx, auth.signed_at_s)
    for name, value in request.query:
        if name in _QUERY:
            found.setdefault(_QUERY[name], value)
    if version_id:
        found.setdefault("s3:versionid", version_id)
    for header, condition_key in _HEADERS.items():
        text = request.header(header)
        if text is not None:
            found[condition_key] = text
    if request.operation is not None and request.operation.name in _CREATING:
        found["s3:objectcreationoperation"] = _CREATING[request.operation.name]
    _add_request_tags(found, request)
    if any(name.startswith(_EXISTING_TAG) for name in asked):
        _add_existing_tags(found, ctx, request, key, version_id)
    return found


def _keys(policies: Policies) -> frozenset[str]:
    others = (policies.resource, policies.boundary, policies.session)
    given = [policy.keys for policy in others if policy is not None and policy.keys]
    given += [policy.keys for policy in policies.identity if policy.keys]
    return frozenset().union(*given)


def _kind_of(request: Request, auth: AuthResult) -> str:
    if request.operation is not None and request.operation.name == "PostObject":
        return "POST"
    return "REST-QUERY-STRING" if auth.presigned else "REST-HEADER"


def _add_times(
    found: dict[str, str | tuple[str, ...]], ctx: Context, signed_at_s: int | None
) -> None:
    now_ns = ctx.clock.now_ns()
    now_s = now_ns // 1_000_000_000
    found["aws:currenttime"] = datetime.fromtimestamp(now_s, UTC).isoformat()
    found["aws:epochtime"] = str(now_s)
    if signed_at_s is not None:
        found["s3:signatureage"] = str(max(0, now_ns // 1_000_000 - signed_at_s * 1000))


def _add_request_tags(found: dict[str, str | tuple[str, ...]], request: Request) -> None:
    header = request.header(b"x-amz-tagging")
    if not header:
        return
    try:
        tags = parse_tagging_header(header)
    except S3Error:  # of which the request will be told
        return
    found["s3:requestobjecttagkeys"] = tuple(tags)
    found.update({_REQUEST_TAG + name.lower(): value for name, value in tags.items()})


def _add_existing_tags(
    found: dict[str, str | tuple[str, ...]],
    ctx: Context,
    request: Request,
    key: str,
    version_id: str,
) -> None:
    if not key:
        return
    version_id = version_id or request.query_value("versionId") or ""
    try:
        info = ctx.store.head(request.bucket, key, version_id=version_id, customer_key=None)
    except StoreError:
        return
    tags = info.attributes.tags
    found.update({_EXISTING_TAG + name.lower(): value for name, value in tags.items()})
