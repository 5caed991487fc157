"""Requests signed by botocore are let in; the same requests changed anywhere are not."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qsl, quote, urlsplit

from botocore.auth import S3SigV4Auth, S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as BotoCredentials
from hypothesis import given, settings
from hypothesis import strategies as st

from objstore.auth import Authenticator, AuthError, StaticKeyStore
from objstore.auth.canonical import canonical_path, canonical_query, decode_query
from objstore.auth.dates import parse_iso_basic
from tests.unit.sigv4_helpers import ALICE, Parts, clock_at

BOTO_KEYS = BotoCredentials(ALICE.access_key, ALICE.secret_key)
HOST = "127.0.0.1:9000"

# Any character but surrogates, which have no UTF-8.
text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
# What may stand in a header; botocore folds all blanks and Python's idea of one is wide.
header_text = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=20)
methods = st.sampled_from(["GET", "PUT", "HEAD", "DELETE", "POST"])
metadata = st.dictionaries(
    st.from_regex(r"x-amz-meta-[a-z0-9-]{1,10}", fullmatch=True), header_text
)
params = st.dictionaries(text.filter(lambda name: not name.startswith("X-Amz")), text, max_size=4)


def parts_of(request: Any) -> Parts:
    """What a server sees of a prepared request."""
    prepared = request.prepare()
    url = urlsplit(prepared.url)
    headers = {"host": url.netloc} | {
        name.lower(): value for name, value in prepared.headers.items()
    }
    pairs = tuple(
        (name.encode(), value if isinstance(value, bytes) else str(value).encode())
        for name, value in headers.items()
    )
    return Parts(prepared.method, url.path.encode(), url.query.encode(), pairs)


def server_at(timestamp: bytes) -> Authenticator:
    time_s = parse_iso_basic(timestamp)
    assert time_s is not None
    return Authenticator(StaticKeyStore([ALICE]), clock_at(time_s))


def boto_request(
    method: str, key: str, params: dict[str, str], headers: dict[str, str], body: bytes
) -> Any:
    url = f"http://{HOST}/bucket/{quote(key, safe='/~')}"
    return AWSRequest(method=method, url=url, params=params, headers=dict(headers), data=body)


@st.composite
def signed_requests(draw: st.DrawFn) -> tuple[Parts, Authenticator]:
    request = boto_request(
        draw(methods), draw(text), draw(params), draw(metadata), draw(st.binary(max_size=20))
    )
    S3SigV4Auth(BOTO_KEYS, "s3", "us-east-1").add_auth(request)
    parts = parts_of(request)
    return parts, server_at(parts.header(b"x-amz-date"))


@st.composite
def presigned_requests(draw: st.DrawFn) -> tuple[Parts, Authenticator]:
    request = boto_request(draw(methods), draw(text), draw(params), draw(metadata), b"")
    S3SigV4QueryAuth(BOTO_KEYS, "s3", "us-east-1", expires=60).add_auth(request)
    parts = parts_of(request)
    timestamp = dict(parse_qsl(parts.query.decode()))["X-Amz-Date"].encode()
    return parts, server_at(timestamp)


@given(signed_requests())
def test_header_signatures_of_botocore(signed: tuple[Parts, Authenticator]) -> None:
    parts, by = signed
    result = parts.authenticate(by)
    assert result.identity is ALICE.identity
    assert not result.presigned


@given(presigned_requests())
def test_presigned_urls_of_botocore(signed: tuple[Parts, Authenticator]) -> None:
    parts, by = signed
    result = parts.authenticate(by)
    assert result.identity is ALICE.identity
    assert result.presigned


def respell(raw: bytes, choose: Callable[[int], int]) -> bytes:
    """The same path or query with other escapes: lower-case ones, ones that need not be."""

    def other(match: re.Match[bytes]) -> bytes:
        char = match[0]
        choice = choose(3)
        if choice == 0:
            return char
        if char.startswith(b"%"):
            return char.lower()
        return (b"%%%02x" if choice == 1 else b"%%%02X") % char[0]

    return re.sub(rb"%[0-9A-Fa-f]{2}|[A-Za-z0-9~_.-]", other, raw)


@given(st.one_of(signed_requests(), presigned_requests()), st.randoms(use_true_random=False))
def test_other_escapes_of_the_same_request(
    signed: tuple[Parts, Authenticator], random: Any
) -> None:
    parts, by = signed
    other = replace(
        parts,
        path=respell(parts.path, random.randrange),
        query=respell(parts.query, random.randrange),
    )
    assert other.authenticate(by).identity is ALICE.identity


def change_byte(data: st.DataObject, value: bytes, least: int = 0) -> bytes:
    """`value` with one character replaced, inserted or removed; never in meaning the same."""
    at = data.draw(st.integers(least, len(value)), "at")
    new = data.draw(st.sampled_from(b"azAZ09!"), "new")
    kind = data.draw(st.sampled_from(["insert", "replace", "remove"]), "kind")
    tail = value[at:] if kind == "insert" else value[at + 1 :]
    middle = b"" if kind == "remove" else bytes([new])
    return value[:at] + middle + tail


def mutate(data: st.DataObject, parts: Parts) -> Parts:
    """A request that differs from `parts` in something that was signed."""
    what = data.draw(st.sampled_from(["method", "path", "query", "header", "drop", "add"]), "what")
    if what == "method":
        return replace(parts, method=change_byte(data, parts.method.encode()).decode())
    if what == "path":
        return replace(parts, path=change_byte(data, parts.path, 1))
    if what == "query":
        return replace(parts, query=change_byte(data, parts.query))
    if what == "add":
        return parts.with_header(b"x-amz-added", data.draw(st.sampled_from([b"", b"1"])))
    names = [
        name
        for name, _ in parts.headers
        if name in (b"host", b"authorization") or name.startswith(b"x-amz-")
    ]
    name = data.draw(st.sampled_from(names), "name")
    if what == "drop":
        return parts.without_header(name)
    return parts.with_header(name, change_byte(data, parts.header(name)))


def meaning(parts: Parts) -> object:
    """Two requests of one meaning may both be let in."""
    return (
        parts.method,
        canonical_path(parts.path),
        canonical_query(decode_query(parts.query)),
        sorted((name, b" ".join(value.split())) for name, value in parts.headers),
    )


@settings(max_examples=300)
@given(st.data(), st.one_of(signed_requests(), presigned_requests()))
def test_a_change_anywhere_is_noticed(
    data: st.DataObject, signed: tuple[Parts, Authenticator]
) -> None:
    parts, by = signed
    other = mutate(data, parts)
    if meaning(other) == meaning(parts):
        assert other.authenticate(by).identity is ALICE.identity
        return
    try:
        result = other.authenticate(by)
    except AuthError:
        return
    # Without any credentials left it is anonymous, which the caller refuses.
    assert result.is_anonymous


def test_a_request_without_its_credentials_is_anonymous() -> None:
    request = boto_request("GET", "k", {}, {}, b"")
    S3SigV4Auth(BOTO_KEYS, "s3", "us-east-1").add_auth(request)
    parts = parts_of(request)
    by = server_at(parts.header(b"x-amz-date"))
    assert parts.without_header(b"authorization").authenticate(by).is_anonymous
