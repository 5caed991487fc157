"""Bad requests to buckets: what is wrong with a document, a number, a name, a marker."""

from __future__ import annotations

from objstore.s3.operations.defaults import OF_BUCKETS
from tests.s3.extremes import NOBODY, Bad

_BROKEN = "<a><b></a>"
# Not XML at all, another root, a document type, an encoding that nobody knows, not UTF-8.
_NO_DOCUMENTS = (
    _BROKEN,
    "<Wrong/>",
    '<!DOCTYPE x [<!ENTITY e "e">]><Wrong>&e;</Wrong>',
    '<?xml version="1.0" encoding="nobody-knows"?><Wrong/>',
    "<Wrong>\udcff</Wrong>",
    "\x00",
)
_NUMBERS = ("-1", "x", "1.5", "2147483648", "9" * 40, "%D9%A1", "+1")  # %D9%A1: an Arabic 1


def _documents(operation: str, path: str, query: str, *bodies: str) -> list[Bad]:
    """PUTs of documents that are malformed."""
    return [
        Bad(operation, "PUT", path, 400, "MalformedXML", query, body, digest=True)
        for body in (*_NO_DOCUMENTS, *bodies)
    ]


def _website() -> list[Bad]:
    def site(*inner: str) -> str:
        return f"<WebsiteConfiguration>{''.join(inner)}</WebsiteConfiguration>"

    def rule(inner: str) -> str:
        return f"<RoutingRules><RoutingRule>{inner}</RoutingRule></RoutingRules>"

    def on(status: str) -> str:
        name = "HttpErrorCodeReturnedEquals"
        return rule(f"<Condition><{name}>{status}</{name}></Condition>{target}")

    def code(status: str) -> str:
        return rule(f"<Redirect><HttpRedirectCode>{status}</HttpRedirectCode></Redirect>")

    index = "<IndexDocument><Suffix>i</Suffix></IndexDocument>"
    target = "<Redirect><HostName>h</HostName></Redirect>"
    everything = "<RedirectAllRequestsTo><HostName>h</HostName></RedirectAllRequestsTo>"
    malformed = (
        site(),
        site("<Other/>"),
        site(index * 2),
        site(index, "<RoutingRules/>"),
        site(index, rule("")),
        site(index, rule("<Redirect/>")),
        site(index, "<ErrorDocument/>"),
        site(index, rule("<Condition/>" + target)),
        site("<RedirectAllRequestsTo/>"),
    )
    bad = (
        (site(index, everything), "InvalidArgument"),
        (site("<IndexDocument><Suffix/></IndexDocument>"), "InvalidArgument"),
        (site(index, "<ErrorDocument><Key/></ErrorDocument>"), "InvalidArgument"),
        (site(index, f"<ErrorDocument><Key>{'k' * 1025}</Key></ErrorDocument>"), "InvalidArgument"),
        *((site(index, on(status)), "InvalidArgument") for status in ("", "200", "600", "4x4")),
        *((site(index, code(status)), "InvalidArgument") for status in ("", "300", "400", "-301")),
        (site(everything.replace(">h<", ">h/path<")), "InvalidArgument"),
        (site(everything.replace(">h<", f">{'h' * 256}<")), "InvalidArgument"),
        (site(everything.replace("</H", "\r\nX: y</H")), "InvalidArgument"),
        (site(index, rule(target.replace("</R", "<Protocol>ftp</Protocol></R"))), "InvalidRequest"),
        (
            site(
                index,
                rule(
                    "<Redirect><ReplaceKeyWith>a</ReplaceKeyWith><ReplaceKeyPrefixWith>b"
                    "</ReplaceKeyPrefixWith></Redirect>"
                ),
            ),
            "InvalidRequest",
        ),
        (
            site(
                index, rule(f"<Redirect><ReplaceKeyWith>{'k' * 1025}</ReplaceKeyWith></Redirect>")
            ),
            "InvalidArgument",
        ),
    )
    return [
        *_documents("PutBucketWebsite", "/bucket", "website", *malformed),
        *(
            Bad("PutBucketWebsite", "PUT", "/bucket", 400, error, "website", body)
            for body, error in bad
        ),
    ]


def _logging() -> list[Bad]:
    def status(inner: str) -> str:
        enabled = f"<LoggingEnabled>{inner}</LoggingEnabled>"
        return f"<BucketLoggingStatus>{enabled}</BucketLoggingStatus>"

    def form(inner: str) -> str:
        return f"{to('bucket')}<TargetObjectKeyFormat>{inner}</TargetObjectKeyFormat>"

    def to(target: str, prefix: str = "") -> str:
        bucket = f"<TargetBucket>{target}</TargetBucket>"
        return f"{bucket}<TargetPrefix>{prefix}</TargetPrefix>"

    by_no_date = "<PartitionDateSource>Today</PartitionDateSource>"
    malformed = (
        "",
        "<TargetBucket>bucket</TargetBucket>",
        to(""),
        to("bucket") * 2,
        to("bucket") + "<Other/>",
        form(""),
        form("<Other/>"),
        form("<SimplePrefix/><PartitionedPrefix/>"),
        form(f"<PartitionedPrefix>{by_no_date}</PartitionedPrefix>"),
        form("<PartitionedPrefix><Other/></PartitionedPrefix>"),
    )
    bad = (
        (to("missing"), "InvalidTargetBucketForLogging"),
        (to("/etc/passwd"), "InvalidTargetBucketForLogging"),
        (to("bucket", "p" * 1025), "InvalidArgument"),
        (to("bucket") + "<TargetGrants><Grant/></TargetGrants>", "AccessControlListNotSupported"),
    )
    return [
        Bad("GetBucketLogging", "GET", "/missing", 404, "NoSuchBucket", "logging"),
        *_documents(
            "PutBucketLogging",
            "/bucket",
            "logging",
            *map(status, malformed),
            "<BucketLoggingStatus><Other/></BucketLoggingStatus>",
        ),
        *(
            Bad("PutBucketLogging", "PUT", "/bucket", 400, error, "logging", status(body))
            for body, error in bad
        ),
    ]


def _numbers(operation: str, path: str, query: str) -> list[Bad]:
    return [
        Bad(operation, "GET", path, 400, "InvalidArgument", query + number) for number in _NUMBERS
    ]


def _tagging(operation: str, path: str, limit: int) -> list[Bad]:
    def tag(key: str, value: str = "v") -> str:
        return f"<Tag><Key>{key}</Key><Value>{value}</Value></Tag>"

    def document(*tags: str) -> str:
        return f"<Tagging><TagSet>{''.join(tags)}</TagSet></Tagging>"

    def row(code: str, body: str) -> Bad:
        return Bad(operation, "PUT", path, 400, code, "tagging", body, digest=True)

    return [
        *_documents(
            operation,
            path,
            "tagging",
            "",
            "<Tagging/>",
            "<Tagging><TagSet/><TagSet/></Tagging>",
            document("<Tag><Key>a</Key></Tag>"),
            document("<Tag><Value>a</Value></Tag>"),
            document("<Tag><Key>a</Key><Key>b</Key><Value>c</Value></Tag>"),
            document("<Tag><Key><b/></Key><Value>c</Value></Tag>"),
            document("<Other/>"),
        ),
        row("InvalidTag", document(tag("a"), tag("a"))),
        row("InvalidTag", document(tag(""))),
        row("InvalidTag", document(tag("k" * 129))),
        row("InvalidTag", document(tag("k", "v" * 257))),
        row("InvalidTag", document(tag("a;b"))),
        row("BadRequest", document(*(tag(f"k{number}") for number in range(limit + 1)))),
    ]


def _lists(operation: str, query: str) -> list[Bad]:
    base = f"{query}&" if query else ""
    return [
        *_numbers(operation, "/bucket", f"{base}max-keys="),
        Bad(operation, "GET", "/bucket", 400, "InvalidArgument", f"{base}encoding-type=base64"),
        Bad(operation, "GET", "/bucket", 400, "InvalidURI", f"{base}prefix=%FF"),
        Bad(operation, "GET", "/missing", 404, "NoSuchBucket", query),
        Bad(operation, "GET", "/missing", 404, "NoSuchBucket", f"{base}max-keys=0"),
    ]


def _listings() -> list[Bad]:
    versions = [
        Bad("ListObjectVersions", "GET", "/bucket", 400, "InvalidArgument", f"versions&{rest}")
        for rest in (
            f"version-id-marker={NOBODY}",
            "version-id-marker=",
            "key-marker=key&version-id-marker=",
            "key-marker=&version-id-marker={version}",
            "key-marker=key&version-id-marker=short",
            "key-marker=key&version-id-marker=" + "x" * 5000,
        )
    ]
    return [
        *_lists("ListObjects", ""),
        *_lists("ListObjectsV2", "list-type=2"),
        Bad("ListObjectsV2", "GET", "/bucket", 400, "InvalidArgument", "list-type=3"),
        *(
            Bad("ListObjectsV2", "GET", "/bucket", 400, "InvalidArgument",
                f"list-type=2&continuation-token={token}")
            for token in ("", "x", "%F0%9F%98%80", "!" * 3000)
        ),
        *_lists("ListObjectVersions", "versions"),
        *versions,
        *_numbers("ListMultipartUploads", "/bucket", "uploads&max-uploads="),
        Bad("ListMultipartUploads", "GET", "/bucket", 400, "InvalidArgument",
            "uploads&encoding-type=x"),
        Bad("ListMultipartUploads", "GET", "/missing", 404, "NoSuchBucket", "uploads"),
        *_numbers("ListBuckets", "/", "max-buckets="),
        Bad("ListBuckets", "GET", "/", 400, "InvalidArgument", "max-buckets=0"),
        Bad("ListBuckets", "GET", "/", 400, "InvalidArgument", "continuation-token=x"),
    ]  # fmt: skip


def _buckets() -> list[Bad]:
    configuration = "<CreateBucketConfiguration>{}</CreateBucketConfiguration>"
    names = ("Upper", "ab", "a" * 64, "a..b", "192.168.0.1", "xn--a", "a-s3alias", "-ab", "a_b")
    return [
        *(Bad("CreateBucket", "PUT", f"/{name}", 400, "InvalidBucketName") for name in names),
        *(
            Bad("CreateBucket", "PUT", "/new-bucket", 400, "MalformedXML", body=body)
            for body in _NO_DOCUMENTS
        ),
        Bad("CreateBucket", "PUT", "/new-bucket", 400, "IllegalLocationConstraintException",
            body=configuration.format("<LocationConstraint>nowhere</LocationConstraint>")),
        Bad("CreateBucket", "PUT", "/new-bucket", 400, "InvalidArgument",
            headers={"x-amz-bucket-object-lock-enabled": "maybe"}),
        Bad("HeadBucket", "HEAD", "/missing", 404, ""),
        Bad("DeleteBucket", "DELETE", "/missing", 404, "NoSuchBucket"),
        Bad("DeleteBucket", "DELETE", "/bucket", 409, "BucketNotEmpty"),
        Bad("GetBucketLocation", "GET", "/missing", 404, "NoSuchBucket", "location"),
        Bad("GetBucketVersioning", "GET", "/missing", 404, "NoSuchBucket", "versioning"),
    ]  # fmt: skip


def _settings() -> list[Bad]:
    versioning = "<VersioningConfiguration>{}</VersioningConfiguration>".format
    lock = "<ObjectLockConfiguration>{}</ObjectLockConfiguration>".format
    rule = (
        "<ObjectLockEnabled>Enabled</ObjectLockEnabled><Rule><DefaultRetention>{}"
        "</DefaultRetention></Rule>"
    ).format
    encryption = (
        "<ServerSideEncryptionConfiguration>{}</ServerSideEncryptionConfiguration>"
    ).format
    default = (
        "<Rule><ApplyServerSideEncryptionByDefault>{}</ApplyServerSideEncryptionByDefault></Rule>"
    ).format
    mode = "<Mode>GOVERNANCE</Mode>"
    cors = "<CORSConfiguration>{}</CORSConfiguration>".format
    notified = "<NotificationConfiguration>{}</NotificationConfiguration>".format
    queue = (
        "<QueueConfiguration><Queue>arn:objstore:sqs::none:webhook</Queue>{}</QueueConfiguration>"
    ).format
    event = "<Event>s3:ObjectCreated:*</Event>"
    side = (
        "<Filter><S3Key><FilterRule><Name>{}</Name><Value>{}</Value></FilterRule></S3Key></Filter>"
    ).format
    origin = "<AllowedOrigin>*</AllowedOrigin>"
    method = "<AllowedMethod>GET</AllowedMethod>"
    return [
        *_documents("PutBucketVersioning", "/bucket", "versioning",
                    versioning("<Status>On</Status>"), versioning("<Status/>")),
        Bad("PutBucketVersioning", "PUT", "/bucket", 400,
            "IllegalVersioningConfigurationException", "versioning", versioning("")),
        Bad("PutBucketVersioning", "PUT", "/missing", 404, "NoSuchBucket", "versioning",
            versioning("<Status>Enabled</Status>")),
        *_tagging("PutBucketTagging", "/bucket", 50),
        Bad("GetBucketTagging", "GET", "/locked", 404, "NoSuchTagSet", "tagging"),
        Bad("DeleteBucketTagging", "DELETE", "/missing", 404, "NoSuchBucket", "tagging"),
        *_documents(
            "PutBucketEncryption", "/bucket", "encryption", "", encryption(""),
            encryption("<Rule/>"), encryption("<Rule/><Rule/>"), encryption(default("")),
            encryption(default("<SSEAlgorithm>ROT13</SSEAlgorithm>")),
            encryption(default("<SSEAlgorithm>AES256</SSEAlgorithm>" * 2)),
            encryption("<Rule><BucketKeyEnabled>maybe</BucketKeyEnabled></Rule>"),
        ),
        Bad("PutBucketEncryption", "PUT", "/bucket", 400, "InvalidArgument", "encryption",
            encryption(default("<SSEAlgorithm>AES256</SSEAlgorithm><KMSMasterKeyID>k"
                               "</KMSMasterKeyID>"))),
        Bad("GetBucketEncryption", "GET", "/bucket", 404,
            "ServerSideEncryptionConfigurationNotFoundError", "encryption"),
        Bad("DeleteBucketEncryption", "DELETE", "/missing", 404, "NoSuchBucket", "encryption"),
        *_documents(
            "PutBucketCors", "/bucket", "cors", "", cors(""), cors("<CORSRule/>"),
            cors("<Rule/>"), cors(f"<CORSRule>{origin}</CORSRule>"),
            cors(f"<CORSRule>{origin}{method}<MaxAgeSeconds>-1</MaxAgeSeconds></CORSRule>"),
            cors(f"<CORSRule>{origin}{method}</CORSRule>" * 101),
        ),
        Bad("PutBucketCors", "PUT", "/bucket", 400, "InvalidRequest", "cors",
            cors(f"<CORSRule>{origin}<AllowedMethod>PATCH</AllowedMethod></CORSRule>")),
        Bad("GetBucketCors", "GET", "/bucket", 404, "NoSuchCORSConfiguration", "cors"),
        *_documents(
            "PutBucketNotificationConfiguration", "/bucket", "notification", notified("<Other/>"),
            notified("<QueueConfiguration/>"), notified(queue("")),
            notified("<EventBridgeConfiguration/>" * 2),
            notified(queue(event + "<Id>a</Id><Id>b</Id>")), notified(queue(event + "<Any/>")),
            notified(queue(event + "<Filter><Any/></Filter>")),
        ),
        *(
            Bad("PutBucketNotificationConfiguration", "PUT", "/bucket", 400, "InvalidArgument",
                "notification", notified(body), digest=True)
            for body in (
                queue(event), queue("<Event>s3:Nothing</Event>"), queue("<Event/>"),
                queue(f"{event}<Id>{'i' * 256}</Id>"), queue(event) * 2,
                queue(f"{event}{side('middle', 'x')}"),
                queue(f"{event}{side('suffix', 'é' * 513)}"), "<EventBridgeConfiguration/>",
                queue(event).replace("sqs", "sns"), queue(event).replace(":webhook", ""),
            )
        ),
        Bad("PutBucketNotificationConfiguration", "PUT", "/bucket", 400, "TooManyConfigurations",
            "notification", notified(queue(event) * 101), digest=True),
        Bad("PutBucketNotificationConfiguration", "PUT", "/bucket", 400, "InvalidArgument",
            "notification", notified(""), digest=True,
            headers={"x-amz-skip-destination-validation": "perhaps"}),
        Bad("GetBucketNotificationConfiguration", "GET", "/missing", 404, "NoSuchBucket",
            "notification"),
        *(Bad(name, "GET", "/missing", 404, "NoSuchBucket", query)
          for query, name, _handler in OF_BUCKETS),
        *(Bad(f"GetBucket{name}", "GET", "/missing", 404, "NoSuchBucket", query)
          for name, query in (("RequestPayment", "requestPayment"),
                              ("AccelerateConfiguration", "accelerate"),
                              ("OwnershipControls", "ownershipControls"))),
        *_website(),
        *_logging(),
        *(
            Bad("PutBucketPolicy", "PUT", "/bucket", 400, "MalformedPolicy", "policy", body)
            for body in (
                "", "{", "[]", "{}", '{"Statement": []}', '{"Statement": [[]]}',
                '{"Statement": {"Effect": "Allow", "Principal": "*", "Action": "s3:*", '
                '"Resource": "arn:aws:s3:::other"}}',
                '{"Statement": {"Effect": 1}}', '{"a":' * 10_000, " " * 30_000,
            )
        ),
        *(Bad(name, method, "/missing", 404, "NoSuchBucket", query)
          for name, method, query in (
              ("GetBucketPolicy", "GET", "policy"), ("DeleteBucketPolicy", "DELETE", "policy"),
              ("GetBucketPolicyStatus", "GET", "policyStatus"),
              ("GetPublicAccessBlock", "GET", "publicAccessBlock"),
              ("DeletePublicAccessBlock", "DELETE", "publicAccessBlock"),
              ("GetBucketWebsite", "GET", "website"),
              ("DeleteBucketWebsite", "DELETE", "website"))),
        *_documents("PutPublicAccessBlock", "/bucket", "publicAccessBlock",
                    "<PublicAccessBlockConfiguration><BlockPublicAcls/>"
                    "</PublicAccessBlockConfiguration>",
                    "<PublicAccessBlockConfiguration><Other>true</Other>"
                    "</PublicAccessBlockConfiguration>"),
        *_documents("PutBucketRequestPayment", "/bucket", "requestPayment",
                    "<RequestPaymentConfiguration><Payer/></RequestPaymentConfiguration>"),
        *_documents("PutBucketAccelerateConfiguration", "/bucket", "accelerate",
                    "<AccelerateConfiguration><Status/></AccelerateConfiguration>"),
        *_documents("PutBucketOwnershipControls", "/bucket", "ownershipControls",
                    "<OwnershipControls><Rule/><Rule/></OwnershipControls>"),
        Bad("GetObjectAcl", "GET", "/bucket/key", 400, "InvalidArgument", "acl&versionId=x"),
        Bad("DeleteBucketCors", "DELETE", "/missing", 404, "NoSuchBucket", "cors"),
        *_documents(
            "PutObjectLockConfiguration", "/locked", "object-lock", lock(""),
            lock(rule("") + "<Rule/>"), lock(rule(mode)), lock(rule("<Mode>NONE</Mode>")),
            lock(rule(mode + "<Days>1</Days><Years>1</Years>")), lock(rule(mode + "<Days/>")),
            lock(rule(mode + "<Days>one</Days>")), lock(rule(mode + "<Days>1</Days>" * 2)),
        ),
        *(
            Bad("PutObjectLockConfiguration", "PUT", "/locked", 400, "InvalidArgument",
                "object-lock", lock(rule(f"{mode}<Days>{days}</Days>")), digest=True)
            for days in ("0", "-1", "9" * 30)
        ),
        Bad("PutObjectLockConfiguration", "PUT", "/locked", 400, "MissingRequestBodyError",
            "object-lock", digest=True),
        Bad("GetObjectLockConfiguration", "GET", "/bucket", 404,
            "ObjectLockConfigurationNotFoundError", "object-lock"),
    ]  # fmt: skip


def _deletes() -> list[Bad]:
    def row(body: str, code: str = "MalformedXML", digest: bool = True) -> Bad:
        return Bad("DeleteObjects", "POST", "/bucket", 400, code, "delete", body, digest=digest)

    one = "<Object><Key>key</Key>{}</Object>".format
    bodies = [
        "<Delete/>",
        "<Delete><Object/></Delete>",
        "<Delete><Quiet>true</Quiet></Delete>",
        f"<Delete>{one('') * 1001}</Delete>",
        *(
            f"<Delete>{one(extra)}</Delete>"
            for extra in (
                "<Size>-1</Size>",
                "<Size>many</Size>",
                f"<Size>{'9' * 30}</Size>",
                "<Size/>",
                "<LastModifiedTime>yesterday</LastModifiedTime>",
                "<LastModifiedTime/>",
                "<LastModifiedTime>2026-13-45T00:00:00Z</LastModifiedTime>",
                "<ETag>a, b</ETag>",
                "<Key>other</Key>",
                "<Size>1</Size><Size>2</Size>",
                "<Unknown>1</Unknown>",
            )
        ),
    ]
    return [
        *(row(body) for body in (*_NO_DOCUMENTS, "", *bodies)),
        row(f"<Delete>{one('')}</Delete>", "InvalidRequest", digest=False),
        Bad("DeleteObjects", "POST", "/missing", 404, "NoSuchBucket", "delete",
            f"<Delete>{one('')}</Delete>", digest=True),
        Bad("DeleteObjects", "POST", "/bucket", 400, "InvalidDigest", "delete",
            f"<Delete>{one('')}</Delete>", {"content-md5": "no base64!"}),
        Bad("DeleteObjects", "POST", "/bucket", 400, "BadDigest", "delete",
            f"<Delete>{one('')}</Delete>", {"content-md5": "AAAAAAAAAAAAAAAAAAAAAA=="}),
    ]  # fmt: skip


ROWS = [
    *_buckets(),
    *_settings(),
    *_listings(),
    *_deletes(),
    *_tagging("PutObjectTagging", "/bucket/key", 10),
]
