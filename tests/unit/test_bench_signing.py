"""The load generator signs as botocore does."""

from __future__ import annotations

from urllib.parse import parse_qsl, quote

import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as BotoCredentials
from hypothesis import given
from hypothesis import strategies as st

from bench.signing import (
    EMPTY_SHA256,
    SIGNED_HEADERS,
    UNSIGNED_PAYLOAD,
    Credentials,
    Endpoint,
    Signer,
    canonical_query,
)

TIMESTAMP = "20260102T030405Z"
ENDPOINT = Endpoint("127.0.0.1", 9000, Credentials("AKIDEXAMPLE", "wJalr+/secret", "eu-west-1"))


def botocore_signature(method: str, path: str, query: str, payload_sha256: str) -> str:
    """The signature by botocore's own canonical request and string to sign."""
    url = f"http://127.0.0.1:9000{path}" + (f"?{query}" if query else "")
    request = AWSRequest(method=method, url=url)
    request.headers["x-amz-content-sha256"] = payload_sha256
    request.headers["X-Amz-Date"] = TIMESTAMP
    request.context["timestamp"] = TIMESTAMP
    credentials = BotoCredentials("AKIDEXAMPLE", "wJalr+/secret")
    auth = S3SigV4Auth(credentials, "s3", "eu-west-1")
    canonical = auth.canonical_request(request)
    assert SIGNED_HEADERS in canonical  # both sign the same headers
    text = auth.string_to_sign(request, canonical)
    return str(auth.signature(text, request))


@pytest.mark.parametrize(
    ("method", "path", "query", "payload_sha256"),
    [
        ("PUT", "/bench/put-00", "", "a" * 64),
        ("GET", "/", "", EMPTY_SHA256),
        ("PUT", "/bench/large", "", UNSIGNED_PAYLOAD),
        ("GET", "/bench", "list-type=2&max-keys=1000&prefix=read-", EMPTY_SHA256),
        ("DELETE", "/bench/a%20b/%C3%A4", "", EMPTY_SHA256),
    ],
)
def test_signature_is_botocores(method: str, path: str, query: str, payload_sha256: str) -> None:
    signature = Signer(ENDPOINT, TIMESTAMP).signature(method, path, query, payload_sha256)
    assert signature == botocore_signature(method, path, query, payload_sha256)


@given(key=st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=20))
def test_any_key_signs_as_with_botocore(key: str) -> None:
    path = "/bucket/k" + quote(key, safe="~")
    signature = Signer(ENDPOINT, TIMESTAMP).signature("GET", path, "", EMPTY_SHA256)
    assert signature == botocore_signature("GET", path, "", EMPTY_SHA256)


def test_head_is_a_whole_request() -> None:
    head = Signer(ENDPOINT, TIMESTAMP).head("PUT", "/b/k", payload_sha256="f" * 64, body_bytes=5)
    first, *lines = head.decode().removesuffix("\r\n\r\n").split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    assert first == "PUT /b/k HTTP/1.1"
    assert headers["Host"] == "127.0.0.1:9000"
    assert headers["Content-Length"] == "5"
    assert headers["Authorization"].startswith(
        "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20260102/eu-west-1/s3/aws4_request, "
    )


def test_only_requests_with_a_body_have_a_length() -> None:
    signer = Signer(ENDPOINT, TIMESTAMP)
    assert b"Content-Length" not in signer.head("GET", "/b/k")
    assert b"Content-Length: 0\r\n" in signer.head("PUT", "/b")


@given(st.lists(st.tuples(st.text(min_size=1, max_size=5), st.text(min_size=1, max_size=5))))
def test_canonical_query_keeps_every_pair_and_is_sorted(pairs: list[tuple[str, str]]) -> None:
    pairs = [
        (a.encode("utf-8", "replace").decode(), b.encode("utf-8", "replace").decode())
        for a, b in pairs
    ]
    query = canonical_query(pairs)
    assert sorted(parse_qsl(query, keep_blank_values=True)) == sorted(pairs)
    assert query.split("&") == sorted(query.split("&"))
