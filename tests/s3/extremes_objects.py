"""Bad requests to objects and uploads: headers that contradict, numbers, dates, digests."""

from __future__ import annotations

from tests.s3.extremes import NOBODY, Bad

_KEY = "/bucket/key"
# Not hexadecimal, too short, too long, empty.
_NO_VERSIONS = ("", "short", "x" * 33, "x" * 5000)
_OF_VERSIONS = (
    ("GetObject", "GET", ""),
    ("GetObjectTagging", "GET", "tagging&"),
    ("DeleteObjectTagging", "DELETE", "tagging&"),
    ("GetObjectRetention", "GET", "retention&"),
    ("GetObjectLegalHold", "GET", "legal-hold&"),
    ("DeleteObject", "DELETE", ""),
)
_BAD_DIGESTS: tuple[tuple[str, dict[str, str]], ...] = (
    ("InvalidDigest", {"content-md5": "no base64!"}),
    ("InvalidDigest", {"content-md5": "AAAA"}),
    ("BadDigest", {"content-md5": "AAAAAAAAAAAAAAAAAAAAAA=="}),
    ("InvalidRequest", {"x-amz-checksum-crc32": "no base64!"}),
    ("InvalidRequest", {"x-amz-checksum-crc32": "AAAAAAAA"}),
    ("BadDigest", {"x-amz-checksum-crc32": "AAAAAA=="}),
    ("InvalidRequest", {"x-amz-sdk-checksum-algorithm": "CRC33"}),
    ("InvalidRequest", {"x-amz-checksum-crc32": "AAAAAA==", "x-amz-checksum-crc32c": "AAAAAA=="}),
)
_BAD_ATTRIBUTES: tuple[tuple[str, dict[str, str]], ...] = (
    ("InvalidStorageClass", {"x-amz-storage-class": "LUKEWARM"}),
    ("InvalidArgument", {"x-amz-tagging": "a=1&a=2"}),
    ("InvalidArgument", {"x-amz-tagging": "=1"}),
    ("InvalidArgument", {"x-amz-tagging": "a=%FF"}),
    ("InvalidTag", {"x-amz-tagging": "k=" + "v" * 257}),
    ("BadRequest", {"x-amz-tagging": "&".join(f"k{number}=v" for number in range(11))}),
    ("MetadataTooLarge", {"x-amz-meta-a": "x" * 2048}),
    ("InvalidArgument", {"x-amz-server-side-encryption": "ROT13"}),
    ("InvalidArgument", {"x-amz-server-side-encryption-customer-algorithm": "AES256"}),
)


def _versions() -> list[Bad]:
    rows = [
        Bad(name, method, _KEY, 400, "InvalidArgument", f"{query}versionId={version}")
        for name, method, query in _OF_VERSIONS
        for version in _NO_VERSIONS
    ]
    rows += [
        Bad(name, method, _KEY, 404, "NoSuchVersion", f"{query}versionId={NOBODY}")
        for name, method, query in _OF_VERSIONS[:3]
    ]
    rows += [
        Bad("HeadObject", "HEAD", _KEY, 400, "", f"versionId={version}") for version in _NO_VERSIONS
    ]
    return rows


def _writes() -> list[Bad]:
    rows = [
        Bad("PutObject", "PUT", _KEY, 400, code, body="new", headers=headers)
        for code, headers in (*_BAD_DIGESTS, *_BAD_ATTRIBUTES)
    ]
    rows += [
        Bad("PutObject", "PUT", _KEY, 501, "NotImplemented", body="new", headers=headers)
        for headers in (
            {"if-none-match": "abc"},
            {"if-match": "*"},
            {"if-match": "a, b"},
            {"if-modified-since": "Thu, 01 Jan 1970 00:00:00 GMT"},
            {"x-amz-storage-class": "GLACIER"},
        )
    ]
    rows += [
        Bad("PutObject", "PUT", _KEY, 400, "InvalidArgument", body="new",
            headers={"x-amz-write-offset-bytes": offset})
        for offset in ("-1", "x", "1.5", "9" * 40)
    ]  # fmt: skip
    rows += [
        Bad("PutObject", "PUT", _KEY, 412, "PreconditionFailed", body="n",
            headers={"if-match": "0" * 32}),
        Bad("PutObject", "PUT", _KEY, 412, "PreconditionFailed", body="n",
            headers={"if-none-match": "*"}),
        Bad("PutObject", "PUT", "/missing/key", 404, "NoSuchBucket", body="n"),
        Bad("PutObject", "PUT", "/locked/key", 400, "InvalidArgument", body="n", digest=True,
            headers={"x-amz-object-lock-mode": "GOVERNANCE"}),
    ]  # fmt: skip
    return rows


def _reads() -> list[Bad]:
    return [
        *(
            Bad("GetObject", "GET", _KEY, 416, "InvalidRange", headers={"range": value})
            for value in ("bytes=10-", f"bytes={'9' * 40}-", "bytes=-0")
        ),
        *(
            Bad("GetObject", "GET", _KEY, 400, "InvalidArgument", f"partNumber={number}")
            for number in ("0", "-1", "x", "10001", "9" * 40)
        ),
        Bad("GetObject", "GET", _KEY, 400, "InvalidRequest", "partNumber=1",
            headers={"range": "bytes=0-1"}),
        Bad("GetObject", "GET", "/bucket/missing", 404, "NoSuchKey"),
        Bad("HeadObject", "HEAD", _KEY, 416, "", headers={"range": "bytes=10-"}),
        *(
            Bad("GetObjectAttributes", "GET", _KEY, 400, "InvalidArgument", "attributes",
                headers=headers)
            for headers in (
                {"x-amz-object-attributes": "ETag,Weight"},
                {"x-amz-object-attributes": "ETag", "x-amz-max-parts": "-1"},
                {"x-amz-object-attributes": "ETag", "x-amz-part-number-marker": "x"},
            )
        ),
        Bad("GetObjectAttributes", "GET", _KEY, 400, "InvalidRequest", "attributes"),
        Bad("GetObjectAttributes", "GET", _KEY, 400, "InvalidRequest", "attributes",
            headers={"x-amz-object-attributes": ""}),
        *(
            Bad("DeleteObject", "DELETE", _KEY, 400, "InvalidArgument", headers={name: value})
            for name, value in (
                ("x-amz-if-match-size", "-1"),
                ("x-amz-if-match-size", "9" * 40),
                ("x-amz-if-match-last-modified-time", "yesterday"),
            )
        ),
    ]  # fmt: skip


def _copies(operation: str, query: str) -> list[Bad]:
    def row(status: int, code: str, source: str, **headers: str) -> Bad:
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        given["x-amz-copy-source"] = source
        return Bad(operation, "PUT", "/bucket/copy" if not query else _KEY, status, code, query,
                   headers=given)  # fmt: skip

    return [
        row(400, "InvalidArgument", ""),
        row(400, "InvalidArgument", "bucket"),
        row(400, "InvalidArgument", "/bucket/"),
        row(400, "InvalidArgument", "bucket/%FF"),
        row(400, "InvalidArgument", "bucket/key?versionId="),
        row(400, "InvalidArgument", "bucket/key?versionId=short"),
        row(404, "NoSuchKey", "bucket/missing"),
        row(404, "NoSuchBucket", "missing/key"),
        row(404, "NoSuchVersion", f"bucket/key?versionId={NOBODY}"),
        row(412, "PreconditionFailed", "bucket/key", x_amz_copy_source_if_match="0" * 32),
    ]


def _copied_objects() -> list[Bad]:
    source = {"x-amz-copy-source": "bucket/key"}
    rows = _copies("CopyObject", "")
    rows += [
        Bad("CopyObject", "PUT", path, 400, code, headers=source | headers)
        for path, code, headers in (
            ("/bucket/copy", "InvalidArgument", {"x-amz-metadata-directive": "KEEP"}),
            ("/bucket/copy", "InvalidArgument", {"x-amz-tagging-directive": "KEEP"}),
            ("/bucket/copy", "InvalidStorageClass", {"x-amz-storage-class": "LUKEWARM"}),
            ("/bucket/copy", "InvalidRequest", {"x-amz-checksum-algorithm": "CRC33"}),
            ("/bucket/key", "InvalidRequest", {}),
        )
    ]
    part = "partNumber=1&uploadId={upload}"
    rows += _copies("UploadPartCopy", part)
    rows += [
        Bad("UploadPartCopy", "PUT", _KEY, 400, "InvalidArgument", part,
            headers=source | {"x-amz-copy-source-range": value})
        for value in ("bytes=0-", "bytes=-1", "bytes=x-y", "0-1", "bytes=5-4", "bytes=0-10")
    ]  # fmt: skip
    rows.append(Bad("UploadPartCopy", "PUT", _KEY, 404, "NoSuchUpload",
                    f"partNumber=1&uploadId={NOBODY}", headers=source))  # fmt: skip
    return rows


def _renames() -> list[Bad]:
    return [
        Bad("RenameObject", "PUT", "/bucket/new", status, code, "renameObject",
            headers={"x-amz-rename-source": source} | headers)
        for status, code, source, headers in (
            (400, "InvalidArgument", "", {}),
            (400, "InvalidArgument", "%FF", {}),
            (400, "InvalidArgument", "/bucket/", {}),
            (400, "InvalidRequest", "/locked/key", {}),
            (404, "NoSuchKey", "missing", {}),
            (400, "InvalidArgument", "key", {"x-amz-client-token": "x" * 5000}),
            (412, "PreconditionFailed", "key", {"x-amz-rename-source-if-match": "0" * 32}),
        )
    ]  # fmt: skip


def _uploads() -> list[Bad]:
    form = {"content-type": "multipart/form-data; boundary=b"}
    rows = [
        Bad("PostObject", "POST", "/bucket", 412, "PreconditionFailed", body="data"),
        Bad("PostObject", "POST", "/bucket", 412, "PreconditionFailed", body="data",
            headers={"content-type": "multipart/form-data; boundary="}),
        *(Bad("PostObject", "POST", "/bucket", 400, code, body=body, headers=form)
          for body, code in (
              ("data", "MalformedPOSTRequest"),
              ("--b\r\n", "MalformedPOSTRequest"),
              ("--b\r\nno header\r\n\r\n", "MalformedPOSTRequest"),
              ("--b--\r\n", "InvalidArgument"),
              ("--b\r\nA: " + "x" * 30_000, "MalformedPOSTRequest"),
          )),
    ]  # fmt: skip
    rows += [
        Bad("CreateMultipartUpload", "POST", "/bucket/new", 400, code, "uploads", headers=headers)
        for code, headers in (
            *_BAD_ATTRIBUTES,
            ("InvalidRequest", {"x-amz-checksum-algorithm": "CRC33"}),
            ("InvalidRequest", {"x-amz-checksum-type": "COMPOSITE"}),
            ("InvalidRequest", {"x-amz-checksum-algorithm": "SHA256",
                                "x-amz-checksum-type": "FULL_OBJECT"}),
        )
    ]  # fmt: skip
    rows += [
        Bad("UploadPart", "PUT", _KEY, 400, "InvalidArgument",
            f"partNumber={number}&uploadId={{upload}}", "new")
        for number in ("", "0", "-1", "10001", "x", "9" * 40)
    ]  # fmt: skip
    rows += [
        Bad("UploadPart", "PUT", _KEY, 400, code, "partNumber=1&uploadId={upload}", "new", headers)
        for code, headers in _BAD_DIGESTS
    ]
    for name, method, query in (
        ("UploadPart", "PUT", "partNumber=1&"),
        ("ListParts", "GET", ""),
        ("AbortMultipartUpload", "DELETE", ""),
    ):
        rows += [
            Bad(name, method, _KEY, 404, "NoSuchUpload", f"{query}uploadId={upload}")
            for upload in ("", "x", NOBODY, "x" * 5000, "%F0%9F%98%80")
        ]
    rows += [
        Bad("ListParts", "GET", _KEY, 400, "InvalidArgument",
            f"uploadId={{upload}}&{name}={number}")
        for name in ("max-parts", "part-number-marker")
        for number in ("-1", "x", "9" * 40)
    ]  # fmt: skip
    return rows


def _completions() -> list[Bad]:
    def row(status: int, code: str, body: str, **headers: str) -> Bad:
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        return Bad("CompleteMultipartUpload", "POST", _KEY, status, code, "uploadId={upload}",
                   body, given)  # fmt: skip

    root = "<CompleteMultipartUpload>{}</CompleteMultipartUpload>".format

    def part(number: str = "1", etag: str = "{etag}", extra: str = "") -> str:
        return f"<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag>{extra}</Part>"

    malformed = (
        "<a><b></a>", "<Wrong/>", root(""), root("<Part/>"),
        root("<Part><PartNumber>1</PartNumber></Part>"), root("<Part><ETag>x</ETag></Part>"),
        root(part("x")), root(part("")), root(part("-1")), root(part("9" * 40)),
        root(part() * 10_001),
        root(part(extra="<PartNumber>2</PartNumber>")), root("\udcff"),
    )  # fmt: skip
    return [
        *(row(400, "MalformedXML", body) for body in malformed),
        row(400, "InvalidRequest", ""),
        row(400, "InvalidArgument", root(part("0"))),
        row(400, "InvalidPart", root(part("10001"))),
        row(400, "InvalidPart", root(part("2"))),
        row(400, "InvalidPart", root(part(etag="0" * 32))),
        row(400, "InvalidPart", root(part(etag=""))),
        row(400, "InvalidPartOrder", root(part("2") + part("1"))),
        row(400, "InvalidPartOrder", root(part() * 2)),
        row(501, "NotImplemented", root(part()), if_none_match="x"),
        row(400, "InvalidRequest", root(part()), x_amz_mp_object_size="5"),
        row(400, "InvalidRequest", root(part()), x_amz_mp_object_size="-1"),
        Bad("CompleteMultipartUpload", "POST", _KEY, 404, "NoSuchUpload", f"uploadId={NOBODY}",
            root(part())),
    ]  # fmt: skip


def _locks() -> list[Bad]:
    def row(operation: str, query: str, body: str, code: str = "MalformedXML") -> Bad:
        return Bad(operation, "PUT", "/locked/key", 400, code, query, body, digest=True)

    retention = "<Retention>{}</Retention>".format
    hold = "<LegalHold>{}</LegalHold>".format
    mode, until = "<Mode>GOVERNANCE</Mode>", "<RetainUntilDate>{}</RetainUntilDate>".format
    return [
        *(
            row("PutObjectRetention", "retention", body)
            for body in (
                "<Wrong/>", retention(mode), retention(until("2099-01-01T00:00:00Z")),
                retention("<Mode>NONE</Mode>" + until("2099-01-01T00:00:00Z")),
                retention(mode + until("tomorrow")), retention(mode + until("")),
                retention(mode + until("2099-13-45T00:00:00Z")), retention(mode * 2),
                retention(mode + until("99999-01-01T00:00:00Z")),
            )
        ),
        row("PutObjectRetention", "retention", "", "MissingRequestBodyError"),
        row("PutObjectRetention", "retention",
            retention(mode + until("1969-01-01T00:00:00Z")), "InvalidArgument"),
        *(
            row("PutObjectLegalHold", "legal-hold", body)
            for body in ("<Wrong/>", hold(""), hold("<Status>on</Status>"), hold("<Status/>"),
                         hold("<Status>ON</Status>" * 2))
        ),
        row("PutObjectLegalHold", "legal-hold", "", "MissingRequestBodyError"),
    ]  # fmt: skip


ROWS = [
    *_versions(),
    *_writes(),
    *_reads(),
    *_copied_objects(),
    *_renames(),
    *_uploads(),
    *_completions(),
    *_locks(),
]
