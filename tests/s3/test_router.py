"""Every operation of S3's published model resolves to itself, and nothing falls through."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import botocore.session
import pytest
from botocore.model import OperationModel, Shape
from botocore.serialize import create_serializer

from bench import s3_compatibility
from objstore.s3 import refusals, router
from objstore.s3.checksums import ALGORITHMS
from objstore.s3.errors import S3Error
from objstore.s3.http import Request
from objstore.s3.operation import Operation
from objstore.s3.table import ALIASES, OPERATIONS
from tests.s3.harness import S3

MODEL = botocore.session.get_session().get_service_model("s3")
SERIALIZER = create_serializer("rest-xml", include_validation=False)
# A browser's form is not in the published model.
OFFERED = sorted(row.name for row in OPERATIONS if row.offered and row.name != "PostObject")
SUBRESOURCE_METHODS = ("GET", "HEAD", "PUT", "POST", "DELETE", "PATCH")


def operations() -> Iterator[OperationModel]:
    for name in MODEL.operation_names:
        yield MODEL.operation_model(name)


def build(operation: OperationModel, arguments: dict[str, Any]) -> Request:
    """The request that botocore would send, in path style."""
    made = SERIALIZER.serialize_to_request(arguments, operation)
    target = urlsplit(made["url_path"])
    pairs = [target.query] if target.query else []
    for name, value in made["query_string"].items():
        pairs.append(f"{name}={value}" if value != "" else name)
    return Request(
        method=made["method"],
        raw_path=target.path.encode("ascii"),
        raw_query="&".join(pairs).encode("ascii"),
        headers=[(k.lower().encode(), str(v).encode()) for k, v in made["headers"].items()],
    )


def sample(shape: Shape) -> Any:
    """Some valid value of a shape."""
    if shape.type_name == "structure":
        return {name: sample(shape.members[name]) for name in shape.required_members}
    if shape.type_name == "list":
        return [sample(shape.member)]
    if shape.type_name == "timestamp":
        return 0
    return {"integer": 1, "long": 1, "boolean": True, "blob": b""}.get(shape.type_name, "x")


def required(operation: OperationModel) -> dict[str, Any]:
    shape = operation.input_shape
    arguments = {} if shape is None else sample(shape)
    if operation.name == "ListDirectoryBuckets":
        # otherwise it is ListBuckets sent to another host
        arguments["MaxDirectoryBuckets"] = 1
    return dict(arguments)


def every_query_argument(operation: OperationModel) -> dict[str, Any]:
    arguments = required(operation)
    if operation.input_shape is not None:
        for name, member in operation.input_shape.members.items():
            if member.serialization.get("location") == "querystring":
                arguments[name] = sample(member)
    return arguments


def resolve(request: Request) -> str:
    return router.route(S3().ctx, request).name


def resolve_or_error(s3: S3, request: Request) -> Operation | str:
    try:
        return router.route(s3.ctx, request)
    except S3Error as error:
        return error.code


@pytest.mark.parametrize("name", MODEL.operation_names)
def test_an_operation_resolves_to_its_own_name(name: str) -> None:
    operation = MODEL.operation_model(name)
    request = build(operation, required(operation))
    assert resolve(request) == ALIASES.get(name, name)


@pytest.mark.parametrize("name", MODEL.operation_names)
def test_all_its_query_parameters_do_not_change_that(name: str) -> None:
    operation = MODEL.operation_model(name)
    request = build(operation, every_query_argument(operation))
    if name == "ListDirectoryBuckets" or not request.raw_query:
        return
    assert resolve(request) == ALIASES.get(name, name)


def test_the_table_names_nothing_that_s3_does_not_have() -> None:
    known = set(MODEL.operation_names) - ALIASES.keys() | {"PostObject"}
    names = [row.name for row in OPERATIONS]
    assert set(names) == known
    assert len(names) == len(set(names))


@pytest.mark.parametrize("method", SUBRESOURCE_METHODS)
@pytest.mark.parametrize("path", ["/", "/bucket", "/bucket/key"])
def test_an_unknown_sub_resource_is_refused_on_every_method(method: str, path: str) -> None:
    s3 = S3()
    s3("PUT", "/bucket")
    s3("PUT", "/bucket/key", b"data")
    for query in ("somethingNew", "somethingNew=1", "x=1&prefix=a", "Acl", "ACL="):
        reply = s3(method, path, query=query)
        assert reply.status == 501, (method, path, query)
        assert method == "HEAD" or reply.code == "NotImplemented"
    assert s3("GET", "/bucket/key").body == b"data"


@pytest.mark.parametrize("method", SUBRESOURCE_METHODS)
def test_a_known_sub_resource_never_falls_through(method: str) -> None:
    """With any method, each of S3's sub-resources is offered, or refused without effect."""
    s3 = S3()
    s3("PUT", "/empty")
    s3("PUT", "/bucket")
    s3("PUT", "/bucket/key", b"data")
    for row in OPERATIONS:
        query = "&".join(row.selectors)
        for path in ("/empty", "/bucket/key") if query else ():
            found = resolve_or_error(s3, Request(method, path.encode(), query.encode(), []))
            if isinstance(found, str):
                assert found in ("InvalidArgument", "MethodNotAllowed")
            elif not found.offered:
                assert s3(method, path, query=query).status == 501
            else:
                assert found.selectors, (method, query, found)
    assert s3("GET", "/bucket/key").body == b"data"
    assert s3("HEAD", "/empty").status == 200


def test_the_refusal_names_the_operation() -> None:
    s3 = S3()
    reply = s3("DELETE", "/bucket", query="replication")
    assert (reply.status, reply.code) == (501, "NotImplemented")
    assert "DeleteBucketReplication" in (reply.text("Message") or "")
    assert "?shiny" in (s3("GET", "/bucket/key", query="shiny").text("Message") or "")


def test_two_sub_resources_conflict() -> None:
    reply = S3()("GET", "/bucket", query="acl&policy")
    assert (reply.status, reply.code) == (400, "InvalidArgument")
    assert "acl, policy" in (reply.text("Message") or "")


@pytest.mark.parametrize("query", ["partNumber=1", "uploadId=x"])
def test_half_of_an_upload_part_is_not_put_object(query: str) -> None:
    s3 = S3()
    s3("PUT", "/bucket")
    assert s3("PUT", "/bucket/key", b"part", query=query).code == "InvalidArgument"
    assert s3("GET", "/bucket/key").status == 404


def test_signing_parameters_choose_nothing() -> None:
    presigned = (
        "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=a&X-Amz-Date=b&X-Amz-Expires=1"
        "&X-Amz-SignedHeaders=host&X-Amz-Signature=c&X-Amz-Security-Token=d&x-id=GetObject"
    )
    request = Request("GET", b"/bucket/key", presigned.encode(), [])
    assert resolve(request) == "GetObject"
    assert request.query == []


def test_a_header_in_a_presigned_query_counts_as_a_header() -> None:
    s3 = S3()
    s3("PUT", "/bucket")
    hold = "X-Amz-Object-Lock-Event-Hold=ON&X-Amz-Signature=s"
    refused = s3("PUT", "/bucket/key", b"", query=hold)
    assert refused.status == 501
    assert refused.text("Header") == "x-amz-object-lock-event-hold"
    redirect = "X-Amz-Website-Redirect-Location=%2Fx&X-Amz-Signature=s"
    assert s3("PUT", "/bucket/moved", b"", query=redirect).status == 200
    moved = s3("HEAD", "/bucket/moved")
    assert moved.headers["x-amz-website-redirect-location"] == "/x"
    sealed = "X-Amz-Server-Side-Encryption=AES256&X-Amz-Signature=s"
    answer = s3("PUT", "/bucket/sealed", b"", query=sealed)
    assert answer.headers["x-amz-server-side-encryption"] == "AES256"
    red = "x-amz-meta-colour=red&X-Amz-Signature=s"
    assert s3("PUT", "/bucket/key", b"", query=red).status == 200
    assert s3("GET", "/bucket/key").headers["x-amz-meta-colour"] == "red"
    both = {"x-amz-meta-colour": "blue"}
    s3("PUT", "/bucket/key", b"", query=red, headers=both)
    assert s3("GET", "/bucket/key").headers["x-amz-meta-colour"] == "blue"


@pytest.mark.parametrize("method", SUBRESOURCE_METHODS)
@pytest.mark.parametrize(
    "query",
    [
        "x-amz-unknown-op=1",
        "x-amz-unknown-op",
        "X-Amz-Unknown-Op=1&X-Amz-Signature=s",
        "x-amz-metadata=1&X-Amz-Signature=s",
        "x-amz-rename-target-if-match=a&X-Amz-Signature=s",
        "x-amz-meta-colour=red",  # nothing is hoisted without a signature
        "x-amz-acl=private",
        "x-amz-copy-source=bucket%2Fkey",
        "X-Amz-Date=20260101T000000Z",  # nor is anything signed in the query
        "x-amz-signature=s",
        "Expires=1",
    ],
)
def test_amz_parameters_that_are_no_hoisted_headers_are_refused(method: str, query: str) -> None:
    s3 = S3()
    s3("PUT", "/empty")
    s3("PUT", "/bucket")
    s3("PUT", "/bucket/key", b"data")
    for path in ("/", "/empty", "/bucket/key"):
        reply = s3(method, path, query=query)
        assert reply.status == 501, path
        name = query.partition("=")[0]
        assert method == "HEAD" or name in (reply.text("Message") or "")
    assert s3("HEAD", "/empty").status == 200
    assert s3("GET", "/bucket/key").body == b"data"


@pytest.mark.parametrize("name", OFFERED)
def test_every_amz_header_of_an_offered_operation_may_be_hoisted(name: str) -> None:
    shape = MODEL.operation_model(name).input_shape
    for member in () if shape is None else shape.members.values():
        header = member.serialization.get("name", "").lower().encode()
        if member.serialization.get("location") == "header" and header.startswith(b"x-amz-"):
            assert header in router.HOISTABLE


def test_a_method_that_s3_does_not_have() -> None:
    reply = S3()("PATCH", "/bucket/key")
    assert (reply.status, reply.code) == (405, "MethodNotAllowed")
    assert "PUT" in S3()("POST", "/bucket/key").headers["allow"]


@pytest.mark.parametrize(
    ("host", "path", "bucket", "key"),
    [
        ("localhost:9000", "/bucket/a/b", "bucket", "a/b"),
        ("localhost", "/bucket", "bucket", ""),
        ("localhost", "/bucket/", "bucket", ""),
        ("localhost", "/", "", ""),
        ("bucket.localhost:9000", "/a/b", "bucket", "a/b"),
        ("BUCKET.S3.EXAMPLE.COM", "/", "bucket", ""),
        ("my.dotted.bucket.s3.example.com", "/k", "my.dotted.bucket", "k"),
        ("s3.example.com", "/bucket/k", "bucket", "k"),
        ("127.0.0.1:9000", "/bucket/k", "bucket", "k"),
        ("[::1]:9000", "/bucket/k", "bucket", "k"),
        ("elsewhere.test", "/bucket/k", "bucket", "k"),
        ("localhost", "/bucket//k", "bucket", "/k"),
        ("localhost", "/bucket/a+b", "bucket", "a+b"),
        ("localhost", "/bucket/a%2Fb%20%2B", "bucket", "a/b +"),
        ("localhost", "/bucket/../x", "bucket", "../x"),
    ],
)
def test_where_bucket_and_key_come_from(host: str, path: str, bucket: str, key: str) -> None:
    request = Request("GET", path.encode(), b"", [(b"host", host.encode())])
    router.route(S3().ctx, request)
    assert (request.bucket, request.key) == (bucket, key)


@pytest.mark.parametrize("path", [b"/b/%ff", b"/%c3", b"//key", b"nonsense", b"/b/%ed%a0%80"])
def test_paths_that_cannot_be_parsed(path: bytes) -> None:
    with pytest.raises(S3Error) as caught:
        router.route(S3().ctx, Request("GET", path, b"", []))
    assert caught.value.code == "InvalidURI"


def test_how_a_query_is_decoded() -> None:
    request = Request("GET", b"/b", b"prefix=a+b%2Bc&&delimiter&max-keys=1=2", [])
    assert resolve(request) == "ListObjects"
    assert request.query == [("prefix", "a b+c"), ("delimiter", ""), ("max-keys", "1=2")]
    assert request.query_value("prefix") == "a b+c"
    assert request.query_value("marker") is None


def test_a_query_that_is_not_utf_8() -> None:
    assert S3()("GET", "/bucket", query="prefix=%ff").code == "InvalidURI"


# Headers of the offered operations that are honoured, with those that change nothing here.
HONOURED = {
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-length",
    "content-md5",
    "content-type",
    "expires",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-unmodified-since",
    "range",
    "x-amz-bypass-governance-retention",
    "x-amz-checksum-algorithm",
    "x-amz-checksum-mode",
    "x-amz-checksum-type",
    "x-amz-copy-source-if-match",
    "x-amz-copy-source-if-modified-since",
    "x-amz-copy-source-if-none-match",
    "x-amz-copy-source-if-unmodified-since",
    "x-amz-meta-",
    "x-amz-max-parts",
    "x-amz-metadata-directive",
    "x-amz-mp-object-size",
    "x-amz-object-attributes",
    "x-amz-part-number-marker",
    "x-amz-client-token",
    "x-amz-rename-source-if-match",
    "x-amz-rename-source-if-modified-since",
    "x-amz-rename-source-if-none-match",
    "x-amz-rename-source-if-unmodified-since",
    "x-amz-sdk-checksum-algorithm",
    "x-amz-source-expected-bucket-owner",
    "x-amz-storage-class",
    "x-amz-tagging",
    "x-amz-tagging-directive",
    *(algorithm.header for algorithm in ALGORITHMS.values()),
    "x-amz-skip-destination-validation",
    "x-amz-website-redirect-location",
}
WITHOUT_EFFECT = {
    "x-amz-confirm-remove-self-bucket-access": "no policy can deny the owner anything",
    "x-amz-bucket-object-lock-token": "object lock comes to a bucket without asking anybody",
    "x-amz-mfa": "no bucket has MFA delete",
    "x-amz-object-annotation-directive": "no object has annotations",
    "x-amz-optional-object-attributes": "no object was ever restored",
    "x-amz-request-payer": "nobody is charged",
}


@pytest.mark.parametrize("name", OFFERED)
def test_no_header_of_an_offered_operation_is_ignored_in_silence(name: str) -> None:
    suspect = {header.decode("ascii") for header in refusals.SUSPECT_HEADERS}
    known = HONOURED | WITHOUT_EFFECT.keys() | suspect
    shape = MODEL.operation_model(name).input_shape
    members = [] if shape is None else shape.members.values()
    headers = {
        member.serialization["name"].lower()
        for member in members
        if member.serialization.get("location") in ("header", "headers")
    }
    assert headers <= known, headers - known


def test_the_documented_table_is_current() -> None:
    page = s3_compatibility.PAGE.read_text("utf-8")
    assert s3_compatibility.render(page) == page, "run: python -m bench.s3_compatibility"
    for row in OPERATIONS:
        assert f"| {row.name} |" in page


@pytest.mark.parametrize("path", [b"/bucket/%", b"/bucket/a%2", b"/bucket/%zz", b"/bucket/%%41"])
def test_a_percent_sign_that_escapes_nothing(path: bytes) -> None:
    s3 = S3()
    s3("PUT", "/bucket")
    for method in ("PUT", "GET"):
        request = Request(method, path, b"", [(b"host", b"localhost")], body_length=0)
        reply = s3.run(request, b"")
        assert (reply.status, reply.code) == (400, "InvalidURI")
    assert s3.store.list("bucket").entries == ()
