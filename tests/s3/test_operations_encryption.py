"""Encryption on the wire: what is asked for, what is answered, and whose key opens it."""

from __future__ import annotations

import base64
import hashlib

import pytest

from tests.s3.harness import S3, Reply, backend, md5_header

__all__ = ["backend"]

SSE = "x-amz-server-side-encryption"
CUSTOMER = f"{SSE}-customer-"
SOURCE = "x-amz-copy-source-server-side-encryption-customer-"
KEY, OTHER = bytes(range(32)), bytes(32)
DATA = b"some bytes that nobody else is to read" * 40
PART = b"p" * 100


def sse_c(key: bytes = KEY, prefix: str = CUSTOMER) -> dict[str, str]:
    return {
        f"{prefix}algorithm": "AES256",
        f"{prefix}key": base64.b64encode(key).decode(),
        f"{prefix}key-md5": base64.b64encode(hashlib.md5(key).digest()).decode(),
    }


KINDS: list[dict[str, str]] = [{}, {SSE: "AES256"}, {SSE: "aws:kms"}, sse_c()]
IDS = ["plain", "SSE-S3", "SSE-KMS", "SSE-C"]


@pytest.fixture
def s3() -> S3:
    server = S3(min_part_bytes=1)
    server("PUT", "/bucket")
    return server


def carried(headers: dict[str, str]) -> dict[str, str]:
    """What has to come along with a read."""
    return {name: value for name, value in headers.items() if "customer" in name}


def of_source(headers: dict[str, str]) -> dict[str, str]:
    return sse_c(prefix=SOURCE) if carried(headers) else {}


def check_answer(reply: Reply, asked: dict[str, str]) -> None:
    """The answer says how the object is encrypted, and never the key."""
    said = {name: value for name, value in reply.headers.items() if name.startswith(SSE)}
    for name, value in asked.items():
        if name != f"{CUSTOMER}key":
            assert said.pop(name) == value
    if asked.get(SSE) == "aws:kms":
        assert said.pop(f"{SSE}-aws-kms-key-id").startswith("arn:aws:kms:")
    assert said == {}
    assert base64.b64encode(KEY).decode() not in str(reply)


def put_encryption(s3: S3, rule: str, *, bucket: str = "bucket") -> Reply:
    body = f"<ServerSideEncryptionConfiguration>{rule}</ServerSideEncryptionConfiguration>".encode()
    headers = {"content-md5": md5_header(body)}
    return s3("PUT", f"/{bucket}", body, query="encryption", headers=headers)


def by_default(algorithm: str, key: str = "") -> str:
    named = f"<KMSMasterKeyID>{key}</KMSMasterKeyID>" if key else ""
    return (
        "<Rule><ApplyServerSideEncryptionByDefault>"
        f"<SSEAlgorithm>{algorithm}</SSEAlgorithm>{named}"
        "</ApplyServerSideEncryptionByDefault></Rule>"
    )


@pytest.mark.parametrize("asked", KINDS, ids=IDS)
def test_an_object(s3: S3, asked: dict[str, str]) -> None:
    put = s3("PUT", "/bucket/key", DATA, headers=asked)
    assert put.status == 200
    check_answer(put, asked)
    got = s3("GET", "/bucket/key", headers=carried(asked))
    assert (got.status, got.body, got.etag) == (200, DATA, put.etag)
    check_answer(got, asked)
    part = s3("GET", "/bucket/key", headers={"range": "bytes=5-20", **carried(asked)})
    assert (part.status, part.body) == (206, DATA[5:21])
    head = s3("HEAD", "/bucket/key", headers=carried(asked))
    assert (head.status, head.headers["content-length"]) == (200, str(len(DATA)))
    check_answer(head, asked)
    attributes = s3(
        "GET",
        "/bucket/key",
        query="attributes",
        headers={"x-amz-object-attributes": "ObjectSize", **carried(asked)},
    )
    assert attributes.text("ObjectSize") == str(len(DATA))
    is_md5 = put.etag == hashlib.md5(DATA).hexdigest()
    assert is_md5 == (asked.get(SSE, "AES256") == "AES256" and not carried(asked))


@pytest.mark.parametrize("asked", KINDS, ids=IDS)
def test_a_multipart_upload(s3: S3, asked: dict[str, str]) -> None:
    created = s3("POST", "/bucket/key", query="uploads", headers=asked)
    check_answer(created, asked)
    upload_id = created.text("UploadId")
    etags = []
    for number, data in enumerate((DATA, PART), start=1):
        query = f"partNumber={number}&uploadId={upload_id}"
        part = s3("PUT", "/bucket/key", data, query=query, headers=carried(asked))
        assert part.status == 200
        check_answer(part, asked)
        etags.append(part.etag)
    listed = s3("GET", "/bucket/key", query=f"uploadId={upload_id}", headers=carried(asked))
    assert listed.texts("Part/Size") == [str(len(DATA)), str(len(PART))]
    parts = "".join(
        f"<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>"
        for number, etag in enumerate(etags, start=1)
    )
    body = f"<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>".encode()
    done = s3("POST", "/bucket/key", body, query=f"uploadId={upload_id}")
    assert done.status == 200
    check_answer(done, {} if carried(asked) else asked)
    got = s3("GET", "/bucket/key", headers=carried(asked))
    assert got.body == DATA + PART
    second = s3("GET", "/bucket/key", query="partNumber=2", headers=carried(asked))
    assert (second.status, second.body) == (206, PART)


@pytest.mark.parametrize("source", KINDS, ids=IDS)
@pytest.mark.parametrize("target", KINDS, ids=IDS)
def test_copies(s3: S3, source: dict[str, str], target: dict[str, str]) -> None:
    s3("PUT", "/bucket/key", DATA, headers=source)
    headers = {"x-amz-copy-source": "/bucket/key", **target, **of_source(source)}
    copied = s3("PUT", "/bucket/copy", headers=headers)
    assert copied.status == 200
    check_answer(copied, target)
    got = s3("GET", "/bucket/copy", headers=carried(target))
    assert (got.status, got.body) == (200, DATA)
    created = s3("POST", "/bucket/parts", query="uploads", headers=target)
    upload_id = created.text("UploadId")
    headers = {
        "x-amz-copy-source": "/bucket/key",
        "x-amz-copy-source-range": "bytes=3-10",
        **carried(target),
        **of_source(source),
    }
    part = s3("PUT", "/bucket/parts", query=f"partNumber=1&uploadId={upload_id}", headers=headers)
    assert part.status == 200
    check_answer(part, target)
    etag = part.text("ETag")
    body = (
        "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber>"
        f"<ETag>{etag}</ETag></Part></CompleteMultipartUpload>"
    ).encode()
    assert s3("POST", "/bucket/parts", body, query=f"uploadId={upload_id}").status == 200
    assert s3("GET", "/bucket/parts", headers=carried(target)).body == DATA[3:11]


def test_an_object_changes_its_encryption_in_place(s3: S3) -> None:
    s3("PUT", "/bucket/key", DATA)
    onto_itself = {"x-amz-copy-source": "/bucket/key"}
    assert s3("PUT", "/bucket/key", headers=onto_itself).code == "InvalidRequest"
    changed = s3("PUT", "/bucket/key", headers={**onto_itself, **sse_c()})
    assert changed.status == 200
    assert s3("GET", "/bucket/key", headers=sse_c()).body == DATA
    again = {**onto_itself, **sse_c(OTHER), **sse_c(prefix=SOURCE)}
    assert s3("PUT", "/bucket/key", headers=again).status == 200
    assert s3("GET", "/bucket/key", headers=sse_c(OTHER)).body == DATA


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_the_wrong_customers_key(s3: S3, method: str) -> None:
    s3("PUT", "/bucket/key", DATA, headers=sse_c())
    s3("PUT", "/bucket/plain", DATA)
    assert s3(method, "/bucket/key").status == 400
    assert s3(method, "/bucket/key", headers=sse_c(OTHER)).status == 403
    assert s3(method, "/bucket/plain", headers=sse_c()).status == 400
    attributes = {"x-amz-object-attributes": "ETag"}
    missing = s3("GET", "/bucket/key", query="attributes", headers=attributes)
    assert (missing.status, missing.code) == (400, "InvalidRequest")
    wrong = s3("GET", "/bucket/key", query="attributes", headers={**attributes, **sse_c(OTHER)})
    assert (wrong.status, wrong.code) == (403, "AccessDenied")


def test_the_wrong_customers_key_of_a_copys_source(s3: S3) -> None:
    s3("PUT", "/bucket/key", DATA, headers=sse_c())
    source = {"x-amz-copy-source": "/bucket/key"}
    assert s3("PUT", "/bucket/copy", headers=source).code == "InvalidRequest"
    wrong = s3("PUT", "/bucket/copy", headers={**source, **sse_c(OTHER, SOURCE)})
    assert (wrong.status, wrong.code) == (403, "AccessDenied")
    assert s3("HEAD", "/bucket/copy").status == 404


@pytest.mark.parametrize("given", [{}, sse_c(OTHER)], ids=["none", "another"])
def test_the_wrong_customers_key_of_a_part(s3: S3, given: dict[str, str]) -> None:
    upload_id = s3("POST", "/bucket/key", query="uploads", headers=sse_c()).text("UploadId")
    query = f"partNumber=1&uploadId={upload_id}"
    refused = s3("PUT", "/bucket/key", DATA, query=query, headers=given)
    assert (refused.status, refused.code) == (400, "InvalidRequest")
    s3("PUT", "/bucket/plain", DATA)
    copied = s3(
        "PUT",
        "/bucket/key",
        query=query,
        headers={"x-amz-copy-source": "/bucket/plain", **given},
    )
    assert (copied.status, copied.code) == (400, "InvalidRequest")
    assert s3("GET", "/bucket/key", query=f"uploadId={upload_id}").texts("Part/Size") == []


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({SSE: "AES128"}, "InvalidArgument"),
        ({SSE: ""}, "InvalidArgument"),
        ({SSE: "AES256", f"{SSE}-aws-kms-key-id": "k"}, "InvalidArgument"),
        ({f"{SSE}-aws-kms-key-id": "k"}, "InvalidArgument"),
        ({SSE: "aws:kms", f"{SSE}-context": "no base64"}, "InvalidArgument"),
        ({SSE: "aws:kms", f"{SSE}-bucket-key-enabled": "maybe"}, "InvalidArgument"),
        ({SSE: "AES256", **sse_c()}, "InvalidArgument"),
        ({f"{SSE}-aws-kms-key-id": "k", **sse_c()}, "InvalidArgument"),
        ({f"{SSE}-context": "e30=", **sse_c()}, "InvalidArgument"),
        ({f"{SSE}-bucket-key-enabled": "bogus", **sse_c()}, "InvalidArgument"),
        ({f"{CUSTOMER}algorithm": "AES256"}, "InvalidArgument"),
        ({**sse_c(), f"{CUSTOMER}algorithm": "AES128"}, "InvalidEncryptionAlgorithmError"),
        (sse_c(b"short"), "InvalidArgument"),
        ({SSE: "aws:kms", f"{SSE}-aws-kms-key-id": "k" * 2049}, "InvalidArgument"),
        ({**sse_c(), f"{CUSTOMER}key-md5": md5_header(b"")}, "InvalidArgument"),
        ({**sse_c(), f"{CUSTOMER}key": "!"}, "InvalidArgument"),
    ],
)
def test_bad_input_of_writes(s3: S3, headers: dict[str, str], code: str) -> None:
    for method, query, body in [("PUT", "", DATA), ("POST", "uploads", b"")]:
        reply = s3(method, "/bucket/key", body, query=query, headers=headers)
        assert (reply.status, reply.code) == (400, code)
        secret = headers.get(f"{CUSTOMER}key", "")
        assert len(secret) < 8 or secret not in str(reply)
    assert s3("HEAD", "/bucket/key").status == 404
    assert s3("GET", "/bucket", query="uploads").texts("Upload") == []


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE"])
def test_encryption_is_not_chosen_by_a_read(s3: S3, method: str) -> None:
    s3("PUT", "/bucket/key", DATA)
    reply = s3(method, "/bucket/key", headers={SSE: "AES256"})
    assert reply.status == (501 if method == "DELETE" else 400)
    assert s3("HEAD", "/bucket/key").status == 200


def test_a_buckets_default(s3: S3) -> None:
    missing = s3("GET", "/bucket", query="encryption")
    assert missing.code == "ServerSideEncryptionConfigurationNotFoundError"
    assert missing.status == 404
    assert put_encryption(s3, by_default("AES256")).status == 200
    shown = s3("GET", "/bucket", query="encryption")
    path = "Rule/ApplyServerSideEncryptionByDefault/SSEAlgorithm"
    assert shown.text(path) == "AES256"
    put = s3("PUT", "/bucket/key", DATA)
    check_answer(put, {SSE: "AES256"})
    check_answer(s3("GET", "/bucket/key"), {SSE: "AES256"})
    own = s3("PUT", "/bucket/own", DATA, headers=sse_c())
    check_answer(own, sse_c())
    put_encryption(s3, by_default("aws:kms"))
    check_answer(s3("POST", "/bucket/key", query="uploads"), {SSE: "aws:kms"})
    assert s3("DELETE", "/bucket", query="encryption").status == 204
    check_answer(s3("PUT", "/bucket/key", DATA), {})
    assert s3("GET", "/bucket", query="encryption").status == 404


def test_a_bucket_that_refuses_customers_keys(s3: S3) -> None:
    rule = (
        "<Rule><BlockedEncryptionTypes><EncryptionType>SSE-C</EncryptionType>"
        "</BlockedEncryptionTypes></Rule>"
    )
    assert put_encryption(s3, rule).status == 200
    refused = s3("PUT", "/bucket/key", DATA, headers=sse_c())
    assert (refused.status, refused.code) == (403, "AccessDenied")
    assert s3("PUT", "/bucket/key", DATA).status == 200
    assert put_encryption(s3, rule.replace("SSE-C", "NONE")).status == 200
    assert s3("PUT", "/bucket/key", DATA, headers=sse_c()).status == 200


def test_a_rule_that_says_both(s3: S3) -> None:
    blocks = "<BlockedEncryptionTypes><EncryptionType>SSE-C</EncryptionType>"
    both = by_default("AES256").replace("</Rule>", f"{blocks}</BlockedEncryptionTypes></Rule>")
    assert put_encryption(s3, both).status == 200
    shown = s3("GET", "/bucket", query="encryption")
    assert shown.text("Rule/ApplyServerSideEncryptionByDefault/SSEAlgorithm") == "AES256"
    assert shown.text("Rule/BlockedEncryptionTypes/EncryptionType") == "SSE-C"
    assert s3("DELETE", "/bucket", query="encryption").status == 204
    assert s3("PUT", "/bucket/key", DATA, headers=sse_c()).status == 200
    check_answer(s3("PUT", "/bucket/key", DATA), {})


@pytest.mark.parametrize(
    "rule",
    [
        "",
        "<Rule/>",
        by_default(""),
        by_default("SSE-C"),
        by_default("AES256") * 2,
        "<Rule><Unknown/></Rule>",
        "<Rule><BucketKeyEnabled>maybe</BucketKeyEnabled></Rule>",
        "<Rule><BucketKeyEnabled>true</BucketKeyEnabled></Rule>",
    ],
)
def test_bad_input_of_defaults(s3: S3, rule: str) -> None:
    reply = put_encryption(s3, rule)
    assert (reply.status, reply.code) == (400, "MalformedXML")
    named = put_encryption(s3, by_default("AES256", "some-key"))
    assert (named.status, named.code) == (400, "InvalidArgument")
    assert put_encryption(s3, by_default("AES256"), bucket="missing").code == "NoSuchBucket"
    assert s3("GET", "/missing", query="encryption").code == "NoSuchBucket"
    assert s3("DELETE", "/missing", query="encryption").code == "NoSuchBucket"
    assert s3("GET", "/bucket", query="encryption").status == 404


def test_a_context_is_said_back(s3: S3) -> None:
    context = base64.b64encode(b'{"a": "b"}').decode()
    asked = {SSE: "aws:kms", f"{SSE}-context": context, f"{SSE}-bucket-key-enabled": "true"}
    put = s3("PUT", "/bucket/key", DATA, headers=asked)
    assert put.headers[f"{SSE}-context"] == context
    assert put.headers[f"{SSE}-bucket-key-enabled"] == "true"
    got = s3("GET", "/bucket/key")
    assert got.body == DATA
    assert f"{SSE}-context" not in got.headers
