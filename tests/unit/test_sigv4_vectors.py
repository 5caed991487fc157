"""AWS's published vectors: the test suite, and the worked examples of the S3 reference."""

from __future__ import annotations

import re
from hashlib import sha256
from typing import Any
from urllib.parse import urlsplit

import pytest

from objstore.auth import (
    Authenticator,
    ChunkedDecoder,
    Credentials,
    Identity,
    StaticKeyStore,
    authorization_for,
    decoded_length,
    presign,
)
from objstore.auth.canonical import (
    canonical_path,
    canonical_query,
    decode_query,
    merge_headers,
)
from objstore.auth.dates import parse_iso_basic
from objstore.auth.sigv4 import derive_signing_key, parse_authorization, string_to_sign
from tests.unit.sigv4_helpers import clock_at, load

SUITE = load("aws4_testsuite.json")
SUITE_SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
EXAMPLES = load("s3_examples.json")
EXAMPLE_KEYS = Credentials(EXAMPLES["access_key"], EXAMPLES["secret_key"], Identity("example"))
EXAMPLE_TIME = parse_iso_basic(EXAMPLES["timestamp"].encode()) or 0


def split_request(text: str) -> tuple[bytes, bytes, bytes, list[tuple[bytes, bytes]], bytes]:
    """Method, path, query, headers and body of a request written out."""
    head, _, body = text.partition("\n\n")
    first, *lines = re.sub(r"\n[ \t]+", " ", head).encode().split(b"\n")
    method, _, rest = first.partition(b" ")
    target = rest.removesuffix(b" HTTP/1.1")
    path, _, query = target.partition(b"?")
    headers = []
    for line in filter(None, lines):
        name, _, value = line.partition(b":")
        headers.append((name.lower(), value))
    return method, path, query, headers, body.encode()


@pytest.mark.parametrize("case", SUITE, ids=lambda case: case["name"])
def test_the_aws_test_suite(case: dict[str, Any]) -> None:
    method, path, query, headers, body = split_request(case["request"])
    scope, signed, signature = parse_authorization(case["authorization"].encode())

    canonical = signed.canonical_request(
        method,
        canonical_path(path, normalise=case["normalise"]),
        canonical_query(decode_query(query)),
        merge_headers(headers),
        sha256(body).hexdigest().encode(),
    )
    text = string_to_sign(b"20150830T123600Z", scope.text, canonical)

    assert canonical.decode() == case["canonical_request"]
    assert text.decode() == case["string_to_sign"]
    assert derive_signing_key(SUITE_SECRET, scope.text).sign(text) == signature


def test_the_suite_is_whole() -> None:
    assert len(SUITE) == 34
    assert len({case["name"] for case in SUITE}) == 34


def example_request(case: dict[str, Any]) -> tuple[str, bytes, bytes, list[tuple[bytes, bytes]]]:
    path, _, query = case["target"].encode().partition(b"?")
    headers = [(name.encode(), value.encode()) for name, value in case["headers"].items()]
    return case["method"], path, query, headers


@pytest.mark.parametrize(
    "case", EXAMPLES["header"] + EXAMPLES["chunked"], ids=lambda case: case["name"]
)
def test_header_examples_of_the_s3_reference(case: dict[str, Any]) -> None:
    method, path, query, headers = example_request(case)
    value = authorization_for(
        EXAMPLE_KEYS, method, path, query, headers, region="us-east-1", time_s=EXAMPLE_TIME
    )
    assert value.decode().endswith("Signature=" + case["signature"])

    by = Authenticator(StaticKeyStore([EXAMPLE_KEYS]), clock_at(EXAMPLE_TIME))
    result = by.authenticate(method, path, query, [*headers, (b"authorization", value)])
    assert result.identity.id == "example"
    assert result.access_key == EXAMPLES["access_key"]
    assert not result.presigned


def test_the_presigned_example_of_the_s3_reference() -> None:
    url = EXAMPLES["presigned"]["url"]
    made = presign(
        EXAMPLE_KEYS,
        "GET",
        "https://examplebucket.s3.amazonaws.com",
        "/test.txt",
        region="us-east-1",
        time_s=EXAMPLE_TIME,
        expires_s=86400,
    )
    assert made == url

    by = Authenticator(StaticKeyStore([EXAMPLE_KEYS]), clock_at(EXAMPLE_TIME + 86400))
    parts = urlsplit(url)
    headers = [(b"host", parts.netloc.encode())]
    result = by.authenticate("GET", parts.path.encode(), parts.query.encode(), headers)
    assert result.identity.id == "example"
    assert result.presigned


@pytest.mark.parametrize("case", EXAMPLES["chunked"], ids=lambda case: case["name"])
@pytest.mark.parametrize("trailer_end", [b"\r\n", b"\n\r\n"])
def test_chunked_examples_of_the_s3_reference(case: dict[str, Any], trailer_end: bytes) -> None:
    data = b"a" * 66560
    first, second, last = (signature.encode() for signature in case["chunk_signatures"])
    body = b"10000;chunk-signature=%b\r\n%b\r\n" % (first, data[:65536])
    body += b"400;chunk-signature=%b\r\n%b\r\n" % (second, data[65536:])
    body += b"0;chunk-signature=%b\r\n" % last
    for name, value in case["trailers"].items():
        body += f"{name}:{value}".encode() + trailer_end
    if "trailer_signature" in case:
        body += f"x-amz-trailer-signature:{case['trailer_signature']}\r\n".encode()
    body += b"\r\n"
    if "content-length" in case["headers"]:
        assert len(body) == int(case["headers"]["content-length"])

    method, path, query, headers = example_request(case)
    value = authorization_for(
        EXAMPLE_KEYS, method, path, query, headers, region="us-east-1", time_s=EXAMPLE_TIME
    )
    by = Authenticator(StaticKeyStore([EXAMPLE_KEYS]), clock_at(EXAMPLE_TIME))
    result = by.authenticate(method, path, query, [*headers, (b"authorization", value)])
    decoder = ChunkedDecoder(
        result.payload,
        decoded_length(dict(headers)[b"x-amz-decoded-content-length"]),
        result.chunk_signing,
        case["trailers"],
    )
    assert b"".join(decoder.feed(body)) == data
    assert decoder.finish() == case["trailers"]
