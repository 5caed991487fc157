"""What conditions of policies can ask of an S3 request.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/list_amazons3.html#amazons3-policy-keys
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from objstore.auth.policy import Policy
from objstore.errors import StoreError
from objstore.s3.errors import S3Error
from objstore.s3.http import Context, Request
from objstore.s3.tags import parse_tagging_header

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
UNKNOWN_KEYS: Final = frozenset(
    ("aws:resourceaccount", "s3:resourceaccount", "s3:object-lock-remaining-retention-days")
)
"""Keys that a request has in S3, and here not.

All others that are not filled below are those that nobody in particular has none of, or that
come with what there is not here: VPCs, access points, TLS.
"""


def context_of(
    ctx: Context, request: Request, policy: Policy, key: str
) -> dict[str, str | tuple[str, ...]]:
    """The condition keys of a request that nobody signed, in lower case.

    Nothing is computed for a policy without conditions.
    """
    asked = {condition.key for statement in policy.statements for condition in statement.conditions}
    if not asked and not _has_variables(policy):
        return {}
    now_s = ctx.clock.now_ns() // 1_000_000_000
    found: dict[str, str | tuple[str, ...]] = {
        "aws:sourceip": request.client_host,
        "aws:securetransport": "true" if request.scheme == "https" else "false",
        "aws:currenttime": datetime.fromtimestamp(now_s, UTC).isoformat(),
        "aws:epochtime": str(now_s),
        "aws:principaltype": "Anonymous",
        "aws:principalisawsservice": "false",
        "aws:viaawsservice": "false",
        "aws:requestedregion": ctx.region,
    }
    for name, value in request.query:
        if name in _QUERY:
            found.setdefault(_QUERY[name], value)
    for header, condition_key in _HEADERS.items():
        text = request.header(header)
        if text is not None:
            found[condition_key] = text
    if request.operation is not None and request.operation.name == "PutObject":
        found["s3:objectcreationoperation"] = "true"
    _add_request_tags(found, request)
    if any(name.startswith(_EXISTING_TAG) for name in asked):
        _add_existing_tags(found, ctx, request, key)
    return found


def _has_variables(policy: Policy) -> bool:
    return any(
        pattern.has_variables for statement in policy.statements for pattern in statement.resources
    )


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
    found: dict[str, str | tuple[str, ...]], ctx: Context, request: Request, key: str
) -> None:
    if not key:
        return
    version_id = request.query_value("versionId") or ""
    try:
        info = ctx.store.head(request.bucket, key, version_id=version_id, customer_key=None)
    except StoreError:
        return
    tags = info.attributes.tags
    found.update({_EXISTING_TAG + name.lower(): value for name, value in tags.items()})
