"""Whatever a client sends, signed or not: an answer in the service's own form, and never a 5xx
that nobody foresaw."""

from __future__ import annotations

import json
import urllib.parse
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blockdev.clock import ManualClock
from blockdev.entropy import SeededEntropy
from objstore.aws.http import Call, Reply
from objstore.aws.regions import Regions
from objstore.ebs.face import EbsFace
from objstore.ec2.face import Ec2Face
from objstore.ec2.parameters import Kind, ListOf, Scalar, Struct
from objstore.ec2.table import ACTIONS
from tests.unit.service_requests import KEYS, sign

CLOCK = ManualClock()


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Ec2Face, EbsFace]]:
    regions = Regions(tmp_path_factory.mktemp("fuzz"), "us-east-1", CLOCK, SeededEntropy(1))
    yield (
        Ec2Face(regions, KEYS, CLOCK, max_body_bytes=100_000),
        EbsFace(regions, KEYS, CLOCK, max_body_bytes=512 * 1024),
    )
    region = regions.get("us-east-1").region
    assert region.check() == []
    regions.close()


def well_formed(reply: Reply) -> None:
    """An answer or a refusal; `Unsupported…` is one of them."""
    assert reply.status < 500 or reply.status == 501, reply.body
    if dict(reply.headers)[b"content-type"].startswith(b"text/xml"):
        ET.fromstring(reply.body)
    else:
        json.loads(reply.body)


VALUES = st.one_of(
    st.text(max_size=12),
    st.sampled_from(
        (
            *("", "0", "1", "-1", "2147483647", "true", "false", "us-east-1a", "gp3", "io2", "*"),
            *("vol-1", "snap-1", "i-1", "ami-12345678", "volume", "/dev/sdf", "size", "tag:a"),
            *("all", "add"),
        )
    ),
)


def names_of(kind: Kind, prefix: str = "") -> Iterator[str]:
    """Every parameter of a table by the name that a client writes."""
    if isinstance(kind, Struct):
        for name, member in kind.members.items():
            yield from names_of(member, f"{prefix}.{name}" if prefix else name)
    elif isinstance(kind, ListOf):
        yield from names_of(kind.item, f"{prefix}.1")
    else:
        yield prefix if isinstance(kind, Scalar) else f"{prefix}.1"


@st.composite
def forms(draw: st.DrawFn) -> dict[str, str]:
    """A form for some action: parameters that it has, with any values, and perhaps another."""
    row = ACTIONS[draw(st.sampled_from(sorted(ACTIONS)))]
    names = sorted(names_of(row.table))
    fields = draw(st.dictionaries(st.sampled_from(names), VALUES, max_size=8))
    for name in row.table.required:
        fields.setdefault(next(n for n in names if n.split(".")[0] == name), draw(VALUES))
    extra = draw(st.dictionaries(st.text(max_size=8), VALUES, max_size=1))
    return {"Action": row.name} | fields | extra


def ec2_call(body: bytes) -> Call:
    signed = sign(CLOCK, body=body, region="us-east-1")
    return Call("POST", signed.path, signed.query, list(signed.headers), "ID", body)


@given(forms())
def test_forms_of_every_kind(faces: tuple[Ec2Face, EbsFace], fields: dict[str, str]) -> None:
    body = urllib.parse.urlencode(fields, errors="surrogatepass").encode()
    well_formed(faces[0].answer(ec2_call(body)))


@given(st.binary(max_size=300))
def test_bodies_of_every_kind(faces: tuple[Ec2Face, EbsFace], body: bytes) -> None:
    well_formed(faces[0].answer(ec2_call(body)))


HEADERS = st.lists(
    st.tuples(
        st.sampled_from(
            (
                *(b"authorization", b"x-amz-date", b"date", b"host", b"x-amz-content-sha256"),
                *(b"x-amz-security-token", b"content-type", b"x-amz-checksum"),
            )
        ),
        st.one_of(
            st.binary(max_size=40),
            st.sampled_from(
                [
                    b"AWS4-HMAC-SHA256 Credential=AKID/20231114/us-east-1/ec2/aws4_request,"
                    b"SignedHeaders=host,Signature=0",
                    b"20231114T221320Z",
                    b"UNSIGNED-PAYLOAD",
                ]
            ),
        ),
    ),
    max_size=6,
)


@given(
    st.sampled_from(["GET", "POST", "PUT", "HEAD", "X"]),
    st.binary(max_size=30),
    st.binary(max_size=60),
    HEADERS,
    st.binary(max_size=60),
)
def test_requests_that_are_not_signed_or_wrongly(
    faces: tuple[Ec2Face, EbsFace],
    method: str,
    path: bytes,
    query: bytes,
    headers: list[tuple[bytes, bytes]],
    body: bytes,
) -> None:
    for face in faces:
        reply = face.answer(Call(method, path, query, headers, "ID", body))
        assert 400 <= reply.status < 500
        if method != "HEAD":
            well_formed(reply)


SEGMENTS = st.one_of(
    st.sampled_from(["snapshots", "completion", "blocks", "changedblocks", "snap-1", "0", "-1"]),
    st.text("ab%/.0é", max_size=6).map(urllib.parse.quote),
)
JSON: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner),
    max_leaves=6,
)
STARTS = st.dictionaries(
    st.sampled_from(
        (
            *("VolumeSize", "ParentSnapshotId", "Tags", "Description", "ClientToken"),
            *("Encrypted", "KmsKeyArn", "Timeout", "Other"),
        )
    ),
    JSON,
    max_size=5,
)


@given(
    st.sampled_from(["GET", "POST", "PUT", "DELETE"]),
    st.lists(SEGMENTS, max_size=5),
    st.dictionaries(
        st.sampled_from(["maxResults", "pageToken", "startingBlockIndex", "blockToken", "x"]),
        st.text(max_size=8),
        max_size=3,
    ),
    STARTS.map(json.dumps),
)
def test_blocks_of_every_kind(
    faces: tuple[Ec2Face, EbsFace],
    method: str,
    segments: list[str],
    query: dict[str, str],
    body: str,
) -> None:
    path = "/" + "/".join(segments)
    target = path + ("?" + urllib.parse.urlencode(query) if query else "")
    raw = body.encode()
    signed = sign(CLOCK, method=method, path=target, body=raw, service="ebs", region="us-east-1")
    call = Call(method, signed.path, signed.query, list(signed.headers), "ID", raw)
    well_formed(faces[1].answer(call))


@given(STARTS.map(json.dumps))
def test_starts_of_every_kind(faces: tuple[Ec2Face, EbsFace], body: str) -> None:
    raw = body.encode()
    signed = sign(
        CLOCK, method="POST", path="/snapshots", body=raw, service="ebs", region="us-east-1"
    )
    call = Call("POST", signed.path, signed.query, list(signed.headers), "ID", raw)
    well_formed(faces[1].answer(call))
