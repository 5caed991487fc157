"""A request of every offered operation that succeeds in `tests.s3.extremes.world`.

Where to begin for tests that change something of it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from tests.s3 import forms

NAMESPACE = 'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'


@dataclass(frozen=True)
class Valid:
    """One request; names in braces, such as ``{upload}``, stand for ids of what there is.

    `path` and `query` are sent as they are.
    """

    operation: str
    method: str
    path: str
    query: str = ""
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


def xml(root: str, inner: str) -> bytes:
    return f"<{root} {NAMESPACE}>{inner}</{root}>".encode()


def _gets() -> list[Valid]:
    of_buckets = {
        "HeadBucket": "",
        "ListObjects": "prefix=k&max-keys=2&encoding-type=url&delimiter=%2F",
        "ListObjectsV2": "list-type=2&max-keys=1&fetch-owner=true&start-after=a",
        "ListObjectVersions": "versions&max-keys=1&key-marker=a",
        "ListMultipartUploads": "uploads&max-uploads=5",
        "GetBucketLocation": "location",
        "GetBucketVersioning": "versioning",
        "GetBucketTagging": "tagging",
        "GetBucketAcl": "acl",
        "GetBucketLogging": "logging",
        "GetPublicAccessBlock": "publicAccessBlock",
        "GetBucketRequestPayment": "requestPayment",
        "GetBucketAccelerateConfiguration": "accelerate",
        "GetBucketOwnershipControls": "ownershipControls",
        "GetBucketNotificationConfiguration": "notification",
        "GetBucketCors": "cors",
        "GetBucketEncryption": "encryption",
        "GetBucketWebsite": "website",
        "GetBucketPolicy": "policy",
        "GetBucketPolicyStatus": "policyStatus",
    }
    key = "/bucket/key"
    return [
        Valid("ListBuckets", "GET", "/", "prefix=b&max-buckets=1"),
        *(
            Valid(name, "HEAD" if name == "HeadBucket" else "GET", "/bucket", query)
            for name, query in of_buckets.items()
        ),
        Valid("GetObjectLockConfiguration", "GET", "/locked", "object-lock"),
        Valid("GetObject", "GET", key, "",
              headers={"range": "bytes=1-3", "if-match": "{object_etag}"}),
        Valid("GetObject", "GET", key, "versionId={version}&response-content-type=a"),
        Valid("HeadObject", "HEAD", key, "partNumber=1",
              headers={"x-amz-checksum-mode": "ENABLED"}),
        Valid("GetObjectAttributes", "GET", key, "attributes",
              headers={"x-amz-object-attributes": "ETag,ObjectSize"}),
        Valid("GetObjectTagging", "GET", key, "tagging"),
        Valid("GetObjectAcl", "GET", key, "acl"),
        Valid("ListParts", "GET", key, "uploadId={upload}&max-parts=1"),
    ]  # fmt: skip


def _settings() -> list[Valid]:
    bodies = {
        "PutBucketVersioning": (
            "versioning", "VersioningConfiguration", "<Status>Enabled</Status>",
        ),
        "PutBucketTagging": (
            "tagging", "Tagging",
            "<TagSet><Tag><Key>a</Key><Value>c</Value></Tag></TagSet>",
        ),
        "PutBucketRequestPayment": (
            "requestPayment", "RequestPaymentConfiguration", "<Payer>Requester</Payer>",
        ),
        "PutBucketAccelerateConfiguration": (
            "accelerate", "AccelerateConfiguration", "<Status>Suspended</Status>",
        ),
        "PutBucketOwnershipControls": (
            "ownershipControls", "OwnershipControls",
            "<Rule><ObjectOwnership>BucketOwnerEnforced</ObjectOwnership></Rule>",
        ),
        "PutPublicAccessBlock": (
            "publicAccessBlock", "PublicAccessBlockConfiguration",
            "<BlockPublicAcls>true</BlockPublicAcls><BlockPublicPolicy>false</BlockPublicPolicy>",
        ),
        "PutBucketCors": (
            "cors", "CORSConfiguration",
            "<CORSRule><ID>i</ID><AllowedOrigin>http://a</AllowedOrigin><AllowedMethod>GET"
            "</AllowedMethod><MaxAgeSeconds>5</MaxAgeSeconds></CORSRule>",
        ),
        "PutBucketEncryption": (
            "encryption", "ServerSideEncryptionConfiguration",
            "<Rule><ApplyServerSideEncryptionByDefault><SSEAlgorithm>AES256</SSEAlgorithm>"
            "</ApplyServerSideEncryptionByDefault></Rule>",
        ),
        "PutBucketNotificationConfiguration": (
            "notification", "NotificationConfiguration",
            "<QueueConfiguration><Id>q</Id><Queue>arn:objstore:sqs::hook:webhook</Queue>"
            "<Event>s3:ObjectCreated:*</Event><Filter><S3Key><FilterRule><Name>prefix</Name>"
            "<Value>a</Value></FilterRule></S3Key></Filter></QueueConfiguration>",
        ),
        "PutBucketLogging": (
            "logging", "BucketLoggingStatus",
            "<LoggingEnabled><TargetBucket>bucket</TargetBucket><TargetPrefix>p</TargetPrefix>"
            "<TargetObjectKeyFormat><PartitionedPrefix><PartitionDateSource>EventTime"
            "</PartitionDateSource></PartitionedPrefix></TargetObjectKeyFormat></LoggingEnabled>",
        ),
        "PutBucketWebsite": (
            "website", "WebsiteConfiguration",
            "<IndexDocument><Suffix>i</Suffix></IndexDocument><ErrorDocument><Key>e</Key>"
            "</ErrorDocument><RoutingRules><RoutingRule><Condition><KeyPrefixEquals>a"
            "</KeyPrefixEquals><HttpErrorCodeReturnedEquals>404</HttpErrorCodeReturnedEquals>"
            "</Condition><Redirect><HostName>h</HostName><HttpRedirectCode>302</HttpRedirectCode>"
            "<ReplaceKeyWith>b</ReplaceKeyWith></Redirect></RoutingRule></RoutingRules>",
        ),
    }  # fmt: skip
    return [
        *(
            Valid(name, "PUT", "/bucket", query, xml(root, inner))
            for name, (query, root, inner) in bodies.items()
        ),
        Valid(
            "PutBucketPolicy", "PUT", "/bucket", "policy",
            b'{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": "*", '
            b'"Action": ["s3:GetObject"], "Resource": "arn:aws:s3:::bucket/public/*"}]}',
        ),
        Valid(
            "PutObjectLockConfiguration", "PUT", "/locked", "object-lock",
            xml("ObjectLockConfiguration",
                "<ObjectLockEnabled>Enabled</ObjectLockEnabled><Rule><DefaultRetention>"
                "<Mode>GOVERNANCE</Mode><Days>1</Days></DefaultRetention></Rule>"),
        ),
        *(
            Valid(f"DeleteBucket{name}", "DELETE", "/bucket", name.lower())
            for name in ("Tagging", "Cors", "Encryption", "Website", "Policy")
        ),
        Valid("DeletePublicAccessBlock", "DELETE", "/bucket", "publicAccessBlock"),
    ]  # fmt: skip


def _writes() -> list[Valid]:
    key = "/bucket/key"
    source = {"x-amz-copy-source": "/bucket/key"}
    part = "<Part><PartNumber>1</PartNumber><ETag>{etag}</ETag></Part>"
    return [
        Valid("CreateBucket", "PUT", "/made", "",
              xml("CreateBucketConfiguration", "<LocationConstraint/>")),
        Valid("DeleteBucket", "DELETE", "/empty"),
        Valid("PutObject", "PUT", "/bucket/a", "", b"new", {
            "x-amz-tagging": "a=b", "x-amz-meta-a": "b", "cache-control": "no-store",
            "x-amz-checksum-algorithm": "CRC32", "x-amz-storage-class": "STANDARD_IA",
        }),
        Valid("CopyObject", "PUT", "/bucket/copy", "", b"",
              source | {"x-amz-metadata-directive": "REPLACE", "x-amz-meta-c": "d"}),
        Valid("RenameObject", "PUT", "/bucket/renamed", "renameObject", b"",
              {"x-amz-rename-source": "other"}),
        Valid("DeleteObject", "DELETE", key, "versionId={version}"),
        Valid("DeleteObjects", "POST", "/bucket", "delete",
              xml("Delete", "<Object><Key>other</Key><VersionId>null</VersionId></Object>"
                  "<Object><Key>none</Key></Object><Quiet>true</Quiet>")),
        Valid("PostObject", "POST", "/bucket", "",
              forms.encode({"key": "posted", "x-amz-meta-a": "b"}, b"file"), dict(forms.HEADERS)),
        Valid("PutObjectTagging", "PUT", key, "tagging&versionId={version}",
              xml("Tagging", "<TagSet><Tag><Key>x</Key><Value>y</Value></Tag></TagSet>")),
        Valid("DeleteObjectTagging", "DELETE", key, "tagging"),
        Valid("PutObjectRetention", "PUT", "/locked/key", "retention",
              xml("Retention", "<Mode>GOVERNANCE</Mode>"
                  "<RetainUntilDate>2100-01-01T00:00:00Z</RetainUntilDate>")),
        Valid("GetObjectRetention", "GET", "/locked/held", "retention"),
        Valid("PutObjectLegalHold", "PUT", "/locked/key", "legal-hold",
              xml("LegalHold", "<Status>ON</Status>")),
        Valid("GetObjectLegalHold", "GET", "/locked/held", "legal-hold"),
        Valid("CreateMultipartUpload", "POST", "/bucket/parts", "uploads", b"",
              {"x-amz-checksum-algorithm": "SHA256", "x-amz-checksum-type": "COMPOSITE"}),
        Valid("UploadPart", "PUT", key, "partNumber=2&uploadId={upload}", b"part two"),
        Valid("UploadPartCopy", "PUT", key, "partNumber=3&uploadId={upload}", b"",
              source | {"x-amz-copy-source-range": "bytes=0-3"}),
        Valid("CompleteMultipartUpload", "POST", key, "uploadId={upload}",
              xml("CompleteMultipartUpload", part)),
        Valid("AbortMultipartUpload", "DELETE", key, "uploadId={upload}"),
    ]  # fmt: skip


VALID = [*_gets(), *_settings(), *_writes()]
