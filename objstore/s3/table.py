"""The rows of the routing table: every operation of S3's published model.

The offered ones name their handlers; the others are known so that they can be refused by
name.  ``docs/s3-compatibility.md`` is generated from here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from objstore.s3.operation import Kind, Level, Operation
from objstore.s3.operations import (
    attributes,
    bucket_encryption,
    buckets,
    copy,
    cors,
    defaults,
    delete,
    get,
    listing,
    logging,
    multipart,
    notification,
    object_lock,
    post,
    public_access,
    put,
    rename,
    settings,
    tagging,
    versioning,
    website,
)

_LIST = ("delimiter", "encoding-type", "max-keys", "prefix")
_RESPONSE = (
    "response-cache-control",
    "response-content-disposition",
    "response-content-encoding",
    "response-content-language",
    "response-content-type",
    "response-expires",
)
_READ = (*_RESPONSE, "versionId", "partNumber")
_UPLOADS = (
    "delimiter",
    "encoding-type",
    "key-marker",
    "max-uploads",
    "prefix",
    "upload-id-marker",
)


def _row(
    name: str,
    method: str,
    level: Level,
    *selectors: str,
    params: tuple[str, ...] = (),
    header: bytes = b"",
    kind: Kind = "plain",
    handler: Callable[..., Any] | None = None,
    checksum_of_object: bool = False,
) -> Operation:
    return Operation(
        name,
        method,
        level,
        selectors,
        header,
        frozenset(params),
        kind,
        checksum_of_object,
        handler,
    )


def _offered() -> list[Operation]:
    copies = b"x-amz-copy-source"
    return [
        _row(
            "ListBuckets",
            "GET",
            "service",
            params=("max-buckets", "continuation-token", "prefix", "bucket-region"),
            handler=buckets.list_buckets,
        ),
        _row("CreateBucket", "PUT", "bucket", handler=buckets.create_bucket),
        _row("HeadBucket", "HEAD", "bucket", handler=buckets.head_bucket),
        _row("DeleteBucket", "DELETE", "bucket", handler=buckets.delete_bucket),
        _row("GetBucketLocation", "GET", "bucket", "location", handler=buckets.get_location),
        _row(
            "GetBucketVersioning", "GET", "bucket", "versioning", handler=versioning.get_versioning
        ),
        _row(
            "PutBucketVersioning", "PUT", "bucket", "versioning", handler=versioning.put_versioning
        ),
        _row(
            "ListObjectVersions",
            "GET",
            "bucket",
            "versions",
            params=(*_LIST, "key-marker", "version-id-marker"),
            kind="list",
            handler=versioning.list_versions,
        ),
        _row(
            "ListObjects",
            "GET",
            "bucket",
            params=(*_LIST, "marker"),
            kind="list",
            handler=listing.list_objects,
        ),
        _row(
            "ListObjectsV2",
            "GET",
            "bucket",
            "list-type=2",
            params=(*_LIST, "continuation-token", "fetch-owner", "start-after"),
            kind="list",
            handler=listing.list_objects_v2,
        ),
        *_tagging(),
        *_verbs(
            "BucketEncryption",
            "encryption",
            GET=bucket_encryption.get_encryption,
            PUT=bucket_encryption.put_encryption,
            DELETE=bucket_encryption.delete_encryption,
        ),
        *_verbs(
            "BucketCors", "cors", GET=cors.get_cors, PUT=cors.put_cors, DELETE=cors.delete_cors
        ),
        *_verbs("BucketLogging", "logging", GET=logging.get_logging, PUT=logging.put_logging),
        *_verbs(
            "BucketWebsite",
            "website",
            GET=website.get_website,
            PUT=website.put_website,
            DELETE=website.delete_website,
        ),
        *_defaults(),
        *_verbs(
            "BucketRequestPayment",
            "requestPayment",
            GET=settings.get_payment,
            PUT=settings.put_payment,
        ),
        *_verbs(
            "BucketAccelerateConfiguration",
            "accelerate",
            GET=settings.get_acceleration,
            PUT=settings.put_acceleration,
        ),
        *_verbs(
            "BucketOwnershipControls",
            "ownershipControls",
            GET=settings.get_ownership,
            PUT=settings.put_ownership,
        ),
        *_verbs(
            "BucketPolicy",
            "policy",
            GET=public_access.get_policy,
            PUT=public_access.put_policy,
            DELETE=public_access.delete_policy,
        ),
        *_verbs("BucketPolicyStatus", "policyStatus", GET=public_access.get_policy_status),
        *_verbs(
            "PublicAccessBlock",
            "publicAccessBlock",
            GET=public_access.get_block,
            PUT=public_access.put_block,
            DELETE=public_access.delete_block,
        ),
        *_verbs(
            "BucketNotificationConfiguration",
            "notification",
            GET=notification.get_notification,
            PUT=notification.put_notification,
        ),
        *_object_lock(),
        # A browser's form upload, which the published model leaves out.
        _row("PostObject", "POST", "bucket", kind="form", handler=post.post_object),
        _row("DeleteObjects", "POST", "bucket", "delete", handler=delete.delete_objects),
        _row("GetObject", "GET", "object", params=_READ, kind="read", handler=get.get_object),
        _row("HeadObject", "HEAD", "object", params=_READ, kind="read", handler=get.head_object),
        _row(
            "GetObjectAttributes",
            "GET",
            "object",
            "attributes",
            params=("versionId",),
            kind="list",
            handler=attributes.get_attributes,
        ),
        _row("PutObject", "PUT", "object", kind="write", handler=put.put_object),
        _row("RenameObject", "PUT", "object", "renameObject", handler=rename.rename_object),
        _row("CopyObject", "PUT", "object", header=copies, handler=copy.copy_object),
        _row(
            "DeleteObject",
            "DELETE",
            "object",
            params=("versionId",),
            kind="commit",
            handler=delete.delete_object,
        ),
        _row("CreateMultipartUpload", "POST", "object", "uploads", handler=multipart.create_upload),
        _row(
            "UploadPart",
            "PUT",
            "object",
            "partNumber",
            "uploadId",
            kind="write",
            handler=multipart.upload_part,
        ),
        _row(
            "UploadPartCopy",
            "PUT",
            "object",
            "partNumber",
            "uploadId",
            header=copies,
            handler=copy.upload_part_copy,
        ),
        _row(
            "ListParts",
            "GET",
            "object",
            "uploadId",
            params=("max-parts", "part-number-marker"),
            kind="list",
            handler=multipart.list_parts,
        ),
        _row(
            "ListMultipartUploads",
            "GET",
            "bucket",
            "uploads",
            params=_UPLOADS,
            kind="list",
            handler=multipart.list_uploads,
        ),
        _row(
            "CompleteMultipartUpload",
            "POST",
            "object",
            "uploadId",
            handler=multipart.complete_upload,
            checksum_of_object=True,
        ),
        _row(
            "AbortMultipartUpload", "DELETE", "object", "uploadId", handler=multipart.abort_upload
        ),
    ]


def _tagging() -> list[Operation]:
    of_version = ("versionId",)
    rows = [
        _row("GetBucketTagging", "GET", "bucket", "tagging", handler=tagging.get_bucket_tagging),
        _row("PutBucketTagging", "PUT", "bucket", "tagging", handler=tagging.put_bucket_tagging),
        _row(
            "DeleteBucketTagging",
            "DELETE",
            "bucket",
            "tagging",
            handler=tagging.delete_bucket_tagging,
        ),
    ]
    for name, method, handler in (
        ("GetObjectTagging", "GET", tagging.get_object_tagging),
        ("PutObjectTagging", "PUT", tagging.put_object_tagging),
        ("DeleteObjectTagging", "DELETE", tagging.delete_object_tagging),
    ):
        rows.append(_row(name, method, "object", "tagging", params=of_version, handler=handler))
    return rows


def _object_lock() -> list[Operation]:
    rows = [
        _row(f"{verb}ObjectLockConfiguration", method, "bucket", "object-lock", handler=handler)
        for verb, method, handler in (
            ("Get", "GET", object_lock.get_configuration),
            ("Put", "PUT", object_lock.put_configuration),
        )
    ]
    of_version = ("versionId",)
    for name, method, parameter, handler in (
        ("GetObjectRetention", "GET", "retention", object_lock.get_retention),
        ("PutObjectRetention", "PUT", "retention", object_lock.put_retention),
        ("GetObjectLegalHold", "GET", "legal-hold", object_lock.get_legal_hold),
        ("PutObjectLegalHold", "PUT", "legal-hold", object_lock.put_legal_hold),
    ):
        rows.append(_row(name, method, "object", parameter, params=of_version, handler=handler))
    return rows


def _defaults() -> list[Operation]:
    rows = [
        _row(name, "GET", "bucket", subresource, handler=handler)
        for subresource, name, handler in defaults.OF_BUCKETS
    ]
    of_version = ("versionId",)
    handler = defaults.get_object_acl
    return [*rows, _row("GetObjectAcl", "GET", "object", "acl", params=of_version, handler=handler)]


def _verbs(name: str, subresource: str, **handlers: Callable[..., Any]) -> list[Operation]:
    """Rows of a configuration of buckets: ``GET``, ``PUT`` and ``DELETE``."""
    return [
        _row(f"{method.capitalize()}{name}", method, "bucket", subresource, handler=handler)
        for method, handler in handlers.items()
    ]


# Sub-resources of a bucket: name, and the methods with the operation each selects.
_BUCKET_SUBRESOURCES: dict[str, dict[str, str]] = {
    "abac": {"GET": "GetBucketAbac", "PUT": "PutBucketAbac"},
    "acl": {"PUT": "PutBucketAcl"},
    "lifecycle": {
        "PUT": "PutBucketLifecycleConfiguration",
        "DELETE": "DeleteBucketLifecycle",
    },
    "metadataAnnotationTable": {"PUT": "UpdateBucketMetadataAnnotationTableConfiguration"},
    "metadataConfiguration": {
        "GET": "GetBucketMetadataConfiguration",
        "POST": "CreateBucketMetadataConfiguration",
        "DELETE": "DeleteBucketMetadataConfiguration",
    },
    "metadataInventoryTable": {"PUT": "UpdateBucketMetadataInventoryTableConfiguration"},
    "metadataJournalTable": {"PUT": "UpdateBucketMetadataJournalTableConfiguration"},
    "metadataTable": {
        "GET": "GetBucketMetadataTableConfiguration",
        "POST": "CreateBucketMetadataTableConfiguration",
        "DELETE": "DeleteBucketMetadataTableConfiguration",
    },
    "ownershipControls": {
        "DELETE": "DeleteBucketOwnershipControls",
    },
    "replication": {
        "PUT": "PutBucketReplication",
        "DELETE": "DeleteBucketReplication",
    },
    "session": {"GET": "CreateSession"},
}

# Configurations of which a bucket has many, each with an id; GET without an id lists them.
_BUCKET_CONFIGURATIONS = {
    "analytics": "Analytics",
    "intelligent-tiering": "IntelligentTiering",
    "inventory": "Inventory",
    "metrics": "Metrics",
}

_OBJECT_SUBRESOURCES: dict[str, dict[str, str]] = {
    "acl": {"PUT": "PutObjectAcl"},
    "annotation": {"GET": "ListObjectAnnotations"},
    "encryption": {"PUT": "UpdateObjectEncryption"},
    "restore": {"POST": "RestoreObject"},
    "torrent": {"GET": "GetObjectTorrent"},
}

# What the operations not offered take besides their selectors.
_EXTRA_PARAMS = {
    "ListObjectAnnotations": ("max-annotation-results", "annotation-prefix", "continuation-token"),
}


def _known() -> list[Operation]:
    rows = [
        _row(name, method, "bucket", subresource, params=_EXTRA_PARAMS.get(name, ()))
        for subresource, methods in _BUCKET_SUBRESOURCES.items()
        for method, name in methods.items()
    ]
    rows += [
        _row(
            name,
            method,
            "object",
            subresource,
            params=("versionId", *_EXTRA_PARAMS.get(name, ())),
        )
        for subresource, methods in _OBJECT_SUBRESOURCES.items()
        for method, name in methods.items()
    ]
    for subresource, noun in _BUCKET_CONFIGURATIONS.items():
        rows += [
            _row(f"{verb}Bucket{noun}Configuration", method, "bucket", subresource, "id")
            for verb, method in (("Get", "GET"), ("Put", "PUT"), ("Delete", "DELETE"))
        ]
        listing_name = f"ListBucket{noun}Configurations"
        rows.append(
            _row(listing_name, "GET", "bucket", subresource, params=("continuation-token",))
        )
    rows += [
        _row(name, method, "object", "annotation", "annotationName", params=("versionId",))
        for name, method in (
            ("GetObjectAnnotation", "GET"),
            ("PutObjectAnnotation", "PUT"),
            ("DeleteObjectAnnotation", "DELETE"),
        )
    ]
    rows += [
        _row("SelectObjectContent", "POST", "object", "select", "select-type=2"),
        _row(
            "ListDirectoryBuckets",
            "GET",
            "service",
            "max-directory-buckets",
            params=("continuation-token",),
        ),
        _row("WriteGetObjectResponse", "POST", "bucket", header=b"x-amz-request-route"),
    ]
    return rows


OPERATIONS: tuple[Operation, ...] = (*_offered(), *_known())

# What a browser asks before a request of another origin; not S3's, so not in its model.
PREFLIGHT = _row("Preflight", "OPTIONS", "bucket", handler=cors.preflight)

# Names of the model that stand for the same request as a newer one.
ALIASES = {
    "GetBucketLifecycle": "GetBucketLifecycleConfiguration",
    "PutBucketLifecycle": "PutBucketLifecycleConfiguration",
    "GetBucketNotification": "GetBucketNotificationConfiguration",
    "PutBucketNotification": "PutBucketNotificationConfiguration",
}

# Query parameters that choose an operation rather than parametrise one.
SUBRESOURCES = frozenset(
    selector.partition("=")[0]
    for row in OPERATIONS
    for selector in row.selectors
    if selector not in ("id", "annotationName", "partNumber", "max-directory-buckets")
)
