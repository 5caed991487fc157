"""Settings of buckets that nobody can change here: what is the case, as S3 tells it.

Tools ask for all of them before they do anything; an answer of 501 would stop them, and these
are true: every bucket belongs to its owner alone.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final, TypeAlias

from objstore.s3 import versions, xml
from objstore.s3.authentication import identity
from objstore.s3.errors import S3Error
from objstore.s3.http import Context, Request, Response

Handler: TypeAlias = Callable[[Context, Request, bytes], Response]

_INSTANCE: Final = 'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:type="CanonicalUser"'


def _missing(code: str, ctx: Context, request: Request, body: bytes) -> Response:
    ctx.store.head_bucket(request.bucket)
    raise S3Error(code)


def _access_control(owner: str) -> bytes:
    """The owner may do everything, and nobody else anything."""
    who = xml.element("ID", owner)
    grantee = f"<Grantee {_INSTANCE}>{who}</Grantee>"
    grant = f"<Grant>{grantee}<Permission>FULL_CONTROL</Permission></Grant>"
    return xml.document(
        "AccessControlPolicy",
        f"<Owner>{who}</Owner>",
        f"<AccessControlList>{grant}</AccessControlList>",
    )


def get_bucket_acl(ctx: Context, request: Request, body: bytes) -> Response:
    """GetBucketAcl: the owner's full control."""
    owner = ctx.store.head_bucket(request.bucket).owner
    return xml.response(_access_control(owner or identity(request).id))


def get_object_acl(ctx: Context, request: Request, body: bytes) -> Response:
    """GetObjectAcl: the bucket's owner has everything in it."""
    version_id = versions.version_id(request)
    info = ctx.store.head(request.bucket, request.key, version_id=version_id, customer_key=None)
    owner = ctx.store.head_bucket(request.bucket).owner
    response = xml.response(_access_control(owner or identity(request).id))
    response.headers += versions.version_headers(info)
    return response


# Sub-resource of a bucket, operation, and what answers its GET.
OF_BUCKETS: Final[tuple[tuple[str, str, Handler], ...]] = (
    ("acl", "GetBucketAcl", get_bucket_acl),
    (
        "lifecycle",
        "GetBucketLifecycleConfiguration",
        partial(_missing, "NoSuchLifecycleConfiguration"),
    ),
    (
        "replication",
        "GetBucketReplication",
        partial(_missing, "ReplicationConfigurationNotFoundError"),
    ),
)
