"""Requests that have to be refused: what they are made of, and those about buckets and versions."""

from __future__ import annotations

from dataclasses import dataclass, field

from objstore.s3.operations.defaults import OF_BUCKETS

UPLOAD = "{upload}"
"""In a query: the id of an upload under way."""
UNKNOWN = "0123456789abcdef" * 2
LONG = "k" * 1025
BAD_UTF8 = "%ff%fe"


@dataclass(frozen=True)
class Bad:
    """A request, and what it is answered."""

    operation: str
    why: str
    method: str
    path: str = "/bucket"
    query: str = ""
    body: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    status: int = 400
    code: str = "InvalidArgument"
    is_signed: bool = True
    """Whether a document comes with its MD5, as SDKs send it."""

    def __str__(self) -> str:
        return f"{self.operation}: {self.why}"


def xml(root: str, inner: str = "") -> str:
    return f"<{root}>{inner}</{root}>"


def documents(
    operation: str, method: str, path: str, query: str, root: str, *more: tuple[str, str, str]
) -> list[Bad]:
    """What every document can be; `more`: why, inner elements, code."""
    rows = [
        ("not XML", "{", "MalformedXML"),
        ("cut short", f"<{root}", "MalformedXML"),
        ("another root", "<Other/>", "MalformedXML"),
        ("a document type", f"<!DOCTYPE {root} [<!ENTITY a 'b'>]><{root}/>", "MalformedXML"),
        ("an unknown encoding", f'<?xml version="1.0" encoding="x"?><{root}/>', "MalformedXML"),
    ]
    rows += [(why, xml(root, inner), code) for why, inner, code in more]
    return [Bad(operation, why, method, path, query, body, code=code) for why, body, code in rows]


def missing_bucket(operation: str, method: str, query: str = "", key: str = "") -> Bad:
    path = f"/missing{key}"
    return Bad(operation, "no bucket", method, path, query, status=404, code="NoSuchBucket")


def tag(key: str, value: str = "v") -> str:
    return f"<Tag><Key>{key}</Key><Value>{value}</Value></Tag>"


def tags(*each: str) -> str:
    return f"<TagSet>{''.join(each)}</TagSet>"


def tagging(operation: str, path: str, most: int) -> list[Bad]:
    many = tags(*[tag(f"k{number}") for number in range(most + 1)])
    return [
        *documents(
            operation,
            "PUT",
            path,
            "tagging",
            "Tagging",
            ("a key that is too long", tags(tag("k" * 129)), "InvalidTag"),
            ("a value that is too long", tags(tag("k", "v" * 257)), "InvalidTag"),
            ("no key", tags(tag("")), "InvalidTag"),
            ("a key twice", tags(tag("k"), tag("k")), "InvalidTag"),
            ("a reserved key", tags(tag("aws:x")), "InvalidTag"),
            ("no set", "", "MalformedXML"),
            ("too many", many, "BadRequest"),
        )
    ]


BUCKETS = [
    Bad("ListBuckets", "pages of none", "GET", "/", "max-buckets=0"),
    Bad("ListBuckets", "pages of many", "GET", "/", "max-buckets=10001"),
    Bad("ListBuckets", "no number", "GET", "/", "max-buckets=x"),
    Bad("ListBuckets", "no token", "GET", "/", "continuation-token=!"),
    Bad("CreateBucket", "a bad name", "PUT", "/UPPER", code="InvalidBucketName"),
    Bad("CreateBucket", "a short name", "PUT", "/ab", code="InvalidBucketName"),
    Bad("CreateBucket", "an address", "PUT", "/1.2.3.4", code="InvalidBucketName"),
    Bad("CreateBucket", "no XML", "PUT", "/other", body="{", code="MalformedXML"),
    Bad(
        "CreateBucket",
        "two regions",
        "PUT",
        "/other",
        body=xml(
            "CreateBucketConfiguration",
            "<LocationConstraint/><LocationConstraint>mars</LocationConstraint>",
        ),
        code="MalformedXML",
    ),
    Bad(
        "CreateBucket",
        "another region",
        "PUT",
        "/other",
        body=xml("CreateBucketConfiguration", "<LocationConstraint>mars</LocationConstraint>"),
        code="IllegalLocationConstraintException",
    ),
    Bad(
        "CreateBucket",
        "a lock or not",
        "PUT",
        "/other",
        headers={"x-amz-bucket-object-lock-enabled": "yes"},
    ),
    Bad(
        "CreateBucket",
        "an ACL",
        "PUT",
        "/other",
        headers={"x-amz-acl": "public-read"},
        code="InvalidBucketAclWithObjectOwnership",
    ),
    missing_bucket("HeadBucket", "HEAD"),
    missing_bucket("DeleteBucket", "DELETE"),
    Bad("DeleteBucket", "it is full", "DELETE", "/bucket", status=409, code="BucketNotEmpty"),
    missing_bucket("GetBucketLocation", "GET", "location"),
    missing_bucket("GetBucketVersioning", "GET", "versioning"),
    *documents(
        "PutBucketVersioning",
        "PUT",
        "/bucket",
        "versioning",
        "VersioningConfiguration",
        ("no status", "", "IllegalVersioningConfigurationException"),
        ("a bad status", "<Status>Off</Status>", "MalformedXML"),
        ("two states", "<Status>Enabled</Status><Status>Suspended</Status>", "MalformedXML"),
        ("something else", "<Status>Enabled</Status><Other/>", "MalformedXML"),
        ("a bad MfaDelete", "<Status>Enabled</Status><MfaDelete>foo</MfaDelete>", "MalformedXML"),
    ),
    missing_bucket("GetBucketTagging", "GET", "tagging"),
    *tagging("PutBucketTagging", "/bucket", 50),
    missing_bucket("DeleteBucketTagging", "DELETE", "tagging"),
    missing_bucket("GetBucketEncryption", "GET", "encryption"),
    *documents(
        "PutBucketEncryption",
        "PUT",
        "/bucket",
        "encryption",
        "ServerSideEncryptionConfiguration",
        ("no rule", "", "MalformedXML"),
        ("an empty rule", "<Rule/>", "MalformedXML"),
    ),
    missing_bucket("DeleteBucketEncryption", "DELETE", "encryption"),
    *[missing_bucket(name, "GET", query) for query, name, _handler in OF_BUCKETS],
    missing_bucket("GetBucketRequestPayment", "GET", "requestPayment"),
    missing_bucket("GetBucketAccelerateConfiguration", "GET", "accelerate"),
    missing_bucket("GetBucketOwnershipControls", "GET", "ownershipControls"),
    *documents(
        "PutBucketRequestPayment",
        "PUT",
        "/bucket",
        "requestPayment",
        "RequestPaymentConfiguration",
        ("no payer", "", "MalformedXML"),
        ("another payer", "<Payer>Nobody</Payer>", "MalformedXML"),
        ("two", "<Payer>Requester</Payer><Payer>BucketOwner</Payer>", "MalformedXML"),
    ),
    *documents(
        "PutBucketAccelerateConfiguration",
        "PUT",
        "/bucket",
        "accelerate",
        "AccelerateConfiguration",
        ("no status", "", "MalformedXML"),
        ("another status", "<Status>On</Status>", "MalformedXML"),
    ),
    *documents(
        "PutBucketOwnershipControls",
        "PUT",
        "/bucket",
        "ownershipControls",
        "OwnershipControls",
        ("no rule", "", "MalformedXML"),
        ("an empty rule", "<Rule/>", "MalformedXML"),
        (
            "another owner",
            "<Rule><ObjectOwnership>Nobody</ObjectOwnership></Rule>",
            "MalformedXML",
        ),
    ),
    missing_bucket("GetBucketPolicy", "GET", "policy"),
    missing_bucket("GetBucketPolicyStatus", "GET", "policyStatus"),
    missing_bucket("DeleteBucketPolicy", "DELETE", "policy"),
    missing_bucket("PutBucketPolicy", "PUT", "policy"),
    Bad(
        "PutBucketPolicy",
        "no JSON",
        "PUT",
        "/bucket",
        "policy",
        body="<Policy/>",
        code="MalformedPolicy",
    ),
    Bad(
        "PutBucketPolicy",
        "no principal",
        "PUT",
        "/bucket",
        "policy",
        body='{"Statement": {"Effect": "Allow"}}',
        code="MalformedPolicy",
    ),
    missing_bucket("GetPublicAccessBlock", "GET", "publicAccessBlock"),
    missing_bucket("DeletePublicAccessBlock", "DELETE", "publicAccessBlock"),
    *documents(
        "PutPublicAccessBlock",
        "PUT",
        "/bucket",
        "publicAccessBlock",
        "PublicAccessBlockConfiguration",
        ("perhaps", "<BlockPublicAcls>perhaps</BlockPublicAcls>", "MalformedXML"),
        ("something else", "<BlockEverything>true</BlockEverything>", "MalformedXML"),
    ),
    missing_bucket("GetBucketLogging", "GET", "logging"),
    *documents(
        "PutBucketLogging",
        "PUT",
        "/bucket",
        "logging",
        "BucketLoggingStatus",
        ("no target", "<LoggingEnabled/>", "MalformedXML"),
        (
            "no such target",
            "<LoggingEnabled><TargetBucket>nowhere</TargetBucket><TargetPrefix/></LoggingEnabled>",
            "InvalidTargetBucketForLogging",
        ),
    ),
    missing_bucket("GetBucketWebsite", "GET", "website"),
    missing_bucket("DeleteBucketWebsite", "DELETE", "website"),
    *documents(
        "PutBucketWebsite",
        "PUT",
        "/bucket",
        "website",
        "WebsiteConfiguration",
        ("nothing", "", "MalformedXML"),
        ("no index", "<IndexDocument/>", "MalformedXML"),
        (
            "an index in a folder",
            "<IndexDocument><Suffix>a/b</Suffix></IndexDocument>",
            "InvalidArgument",
        ),
        (
            "a host that is none",
            "<RedirectAllRequestsTo><HostName>a b</HostName></RedirectAllRequestsTo>",
            "InvalidArgument",
        ),
    ),
    missing_bucket("GetObjectAcl", "GET", "acl", "/key"),
    Bad("GetObjectAcl", "no version", "GET", "/bucket/key", "acl&versionId=x"),
    missing_bucket("GetBucketCors", "GET", "cors"),
    *documents(
        "PutBucketCors",
        "PUT",
        "/bucket",
        "cors",
        "CORSConfiguration",
        ("no rule", "", "MalformedXML"),
        ("an empty rule", "<CORSRule/>", "MalformedXML"),
    ),
    missing_bucket("DeleteBucketCors", "DELETE", "cors"),
    missing_bucket("GetBucketNotificationConfiguration", "GET", "notification"),
    *documents(
        "PutBucketNotificationConfiguration",
        "PUT",
        "/bucket",
        "notification",
        "NotificationConfiguration",
        ("an empty configuration", "<QueueConfiguration/>", "MalformedXML"),
        (
            "nobody's ARN",
            "<QueueConfiguration><Queue>arn:objstore:sqs::nobody:webhook</Queue>"
            "<Event>s3:ObjectCreated:*</Event></QueueConfiguration>",
            "InvalidArgument",
        ),
    ),
    missing_bucket("GetObjectLockConfiguration", "GET", "object-lock"),
    *documents(
        "PutObjectLockConfiguration",
        "PUT",
        "/bucket",
        "object-lock",
        "ObjectLockConfiguration",
        ("not enabled", "", "MalformedXML"),
    ),
]

LISTINGS = [
    bad
    for operation, query in (
        ("ListObjects", ""),
        ("ListObjectsV2", "list-type=2&"),
        ("ListObjectVersions", "versions&"),
    )
    for bad in (
        Bad(operation, "no number of keys", "GET", query=f"{query}max-keys=x"),
        Bad(operation, "less than none", "GET", query=f"{query}max-keys=-1"),
        Bad(operation, "a huge number", "GET", query=f"{query}max-keys={10**20}"),
        Bad(operation, "an encoding", "GET", query=f"{query}encoding-type=base64"),
        Bad(operation, "no bucket", "GET", "/missing", query, status=404, code="NoSuchBucket"),
    )
] + [
    Bad("ListObjectsV2", "no token", "GET", query="list-type=2&continuation-token=!"),
    Bad("ListObjectsV2", "an empty token", "GET", query="list-type=2&continuation-token="),
    Bad("ListObjectVersions", "no key", "GET", query=f"versions&version-id-marker={UNKNOWN}"),
    Bad("ListObjectVersions", "no id", "GET", query="versions&key-marker=k&version-id-marker=x"),
    Bad("ListMultipartUploads", "no number", "GET", query="uploads&max-uploads=x"),
    Bad("ListMultipartUploads", "an encoding", "GET", query="uploads&encoding-type=x"),
    missing_bucket("ListMultipartUploads", "GET", "uploads"),
]

OF_VERSIONS = [
    bad
    for operation, method, query in (
        ("GetObjectTagging", "GET", "tagging"),
        ("DeleteObjectTagging", "DELETE", "tagging"),
        ("GetObjectRetention", "GET", "retention"),
        ("GetObjectLegalHold", "GET", "legal-hold"),
    )
    for bad in (
        Bad(operation, "no version", method, "/locked/key", f"{query}&versionId=x"),
        Bad(operation, "no object", method, "/locked/x", query, status=404, code="NoSuchKey"),
        Bad(
            operation,
            "an unknown version",
            method,
            "/locked/key",
            f"{query}&versionId={UNKNOWN}",
            status=404,
            code="NoSuchVersion",
        ),
        missing_bucket(operation, method, query, "/key"),
    )
] + [
    *tagging("PutObjectTagging", "/bucket/key", 10),
    *documents(
        "PutObjectRetention",
        "PUT",
        "/locked/key",
        "retention",
        "Retention",
        ("half of it", "<Mode>GOVERNANCE</Mode>", "MalformedXML"),
    ),
    *documents(
        "PutObjectLegalHold",
        "PUT",
        "/locked/key",
        "legal-hold",
        "LegalHold",
        ("no status", "", "MalformedXML"),
    ),
]
