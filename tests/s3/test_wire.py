"""What S3 says of HTTP itself, against a real server and by sockets: no library in between."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest

from objstore.s3.xml import NAMESPACE
from tests.s3.conftest import ACCESS_KEY, SECRET_KEY, ServeProcess
from tests.s3.rawhttp import Answer, RawConnection
from tests.s3.signed import Signer

DATA = bytes(range(256)) * 4
DATES = {
    "IMF-fixdate": "%a, %d %b %Y %H:%M:%S GMT",
    "RFC 850": "%A, %d-%b-%y %H:%M:%S GMT",
    "asctime": "%a %b %e %H:%M:%S %Y",
}


@pytest.fixture(scope="module")
def signer(server: ServeProcess) -> Signer:
    return Signer(server.url, ACCESS_KEY, SECRET_KEY)


@pytest.fixture(scope="module")
def bucket(client: Any) -> str:
    client.create_bucket(Bucket="wire")
    client.put_object(
        Bucket="wire",
        Key="key",
        Body=DATA,
        ContentType="text/x-mine",
        CacheControl="max-age=5",
        Metadata={"a": "b"},
        Tagging="a=b",
        ChecksumAlgorithm="CRC32C",
    )
    return "wire"


@pytest.fixture
def connection(signer: Signer) -> Iterator[RawConnection]:
    with signer.connect() as found:
        yield found


def ask(
    connection: RawConnection, signer: Signer, method: str, path: str, **headers: str
) -> Answer:
    named = [(name.replace("_", "-"), value) for name, value in headers.items()]
    connection.send(signer.head(method, path, named))
    return connection.read(head=method == "HEAD")


def without(answer: Answer, *names: str) -> dict[str, str]:
    varying = {"date", "x-amz-request-id", *names}
    return {name: value for name, value in answer.headers.items() if name not in varying}


@pytest.mark.parametrize(
    ("query", "headers"),
    [
        ("", {}),
        ("", {"range": "bytes=0-9"}),
        ("", {"range": "bytes=-5"}),
        ("", {"range": "bytes=0-1,5-6"}),
        ("", {"x_amz_checksum_mode": "ENABLED"}),
        ("?partNumber=1", {}),
        ("?response-content-type=a%2Fb&response-expires=soon", {}),
        ("?versionId=null", {}),
        ("", {"if_none_match": "*"}),
        ("", {"origin": "http://a"}),
        ("?x-id=GetObject", {}),
    ],
)
def test_head_says_what_get_says(
    connection: RawConnection, signer: Signer, bucket: str, query: str, headers: dict[str, str]
) -> None:
    path = f"/{bucket}/key{query}"
    got = ask(connection, signer, "GET", path, **headers)
    head = ask(connection, signer, "HEAD", path, **headers)
    assert head.status == got.status
    assert without(head) == without(got)
    assert got.headers.get("content-length", "0") == str(len(got.body))


def test_several_ranges_are_no_range(
    connection: RawConnection, signer: Signer, bucket: str
) -> None:
    several = ask(connection, signer, "GET", f"/{bucket}/key", range="bytes=0-1,5-6")
    assert (several.status, several.body) == (200, DATA)
    assert "content-range" not in several.headers


@pytest.mark.parametrize("form", DATES)
def test_dates_in_their_three_forms(
    connection: RawConnection, signer: Signer, bucket: str, form: str
) -> None:
    from datetime import datetime, timedelta

    path = f"/{bucket}/key"
    told = ask(connection, signer, "HEAD", path).headers["last-modified"]
    modified = datetime.strptime(told, DATES["IMF-fixdate"])
    before = (modified - timedelta(days=1)).strftime(DATES[form])
    same = modified.strftime(DATES[form])
    assert ask(connection, signer, "GET", path, if_modified_since=same).status == 304
    assert ask(connection, signer, "GET", path, if_modified_since=before).status == 200
    assert ask(connection, signer, "GET", path, if_unmodified_since=before).status == 412
    assert ask(connection, signer, "GET", path, if_unmodified_since=same).status == 200


def test_if_range(connection: RawConnection, signer: Signer, bucket: str) -> None:
    path = f"/{bucket}/key"
    head = ask(connection, signer, "HEAD", path).headers
    for value, status in (
        (head["etag"], 206),
        (head["last-modified"], 206),
        ('"another"', 200),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 200),
    ):
        part = ask(connection, signer, "GET", path, range="bytes=0-9", if_range=value)
        assert part.status == status, value
        assert part.body == (DATA[:10] if status == 206 else DATA)


@pytest.mark.parametrize("name", ["", f' xmlns="{NAMESPACE}"', ' xmlns="http://somebody/else"'])
@pytest.mark.parametrize("prefix", ["", "s3:"])
def test_namespaces_of_documents(
    connection: RawConnection, signer: Signer, bucket: str, name: str, prefix: str
) -> None:
    if prefix:
        name = (name or ' xmlns="x"').replace("xmlns=", "xmlns:s3=")
    tag = "".join(f"<{prefix}{each}>" for each in ("TagSet", "Tag", "Key"))
    tag += f"k</{prefix}Key><{prefix}Value>v</{prefix}Value></{prefix}Tag></{prefix}TagSet>"
    body = f"<{prefix}Tagging{name}>{tag}</{prefix}Tagging>".encode()
    length = [("content-length", str(len(body)))]
    connection.send(signer.head("PUT", f"/{bucket}/key?tagging", length) + body)
    assert connection.read().status == 200
    assert (
        b"<Key>k</Key><Value>v</Value>"
        in ask(connection, signer, "GET", f"/{bucket}/key?tagging").body
    )


ODD_KEYS = [
    *("a//b", "/a", "a/", "//", "..", "../x", "a/../b", "./a", "a%2Fb", "a%b", "100%", "a+b c"),
    *("a?b#c", "a&b=c", "[x]{y}", "\x7f", "é", "e\u0301", "\U0001f418", "\u202e", "\ufffe"),
    *(chr(code) for code in range(1, 32)),
]


def test_odd_keys_by_their_own_names(
    connection: RawConnection, signer: Signer, client: Any
) -> None:
    client.create_bucket(Bucket="wire-odd")
    for number, key in enumerate(ODD_KEYS):
        path = "/wire-odd/" + quote(key, safe="")
        body = b"%d" % number
        connection.send(signer.head("PUT", path, [("content-length", str(len(body)))]) + body)
        assert connection.read().status == 200, key
    for number, key in enumerate(ODD_KEYS):
        got = ask(connection, signer, "GET", "/wire-odd/" + quote(key, safe="/"))
        assert (got.status, got.body) == (200, b"%d" % number), key
    listed = ask(connection, signer, "GET", "/wire-odd?list-type=2&encoding-type=url").body
    for key in ODD_KEYS:
        assert f"<Key>{quote(key, safe='/*')}</Key>".encode() in listed, key
    for query in ("versions&encoding-type=url", "encoding-type=url"):
        page = ask(connection, signer, "GET", f"/wire-odd?{query}").body
        assert f"<Key>{quote(chr(1))}</Key>".encode() in page
    upload = ask(connection, signer, "POST", f"/wire-odd/{quote(chr(2))}?uploads")
    assert upload.status == 200
    page = ask(connection, signer, "GET", "/wire-odd?uploads&encoding-type=url").body
    assert b"<Key>%02</Key>" in page
    assert b"<EncodingType>url</EncodingType>" in page


def test_http_1_0_and_connections_that_close(signer: Signer, bucket: str) -> None:
    head = signer.head("GET", f"/{bucket}/key")
    with signer.connect() as old:
        old.send(head.replace(b" HTTP/1.1\r\n", b" HTTP/1.0\r\n"))
        answer = old.read()
        assert (answer.status, answer.body) == (200, DATA)
        assert "transfer-encoding" not in answer.headers
        assert old.ends()
    with signer.connect() as polite:
        polite.send(signer.head("GET", f"/{bucket}/key", [("connection", "close")]))
        answer = polite.read()
        assert (answer.body, answer.headers["connection"]) == (DATA, "close")
        assert polite.ends()


def test_a_pipeline_of_every_kind(connection: RawConnection, signer: Signer, bucket: str) -> None:
    put = signer.head("PUT", f"/{bucket}/piped", [("content-length", "5")]) + b"piped"
    connection.send(
        put
        + signer.head("GET", f"/{bucket}/piped")
        + signer.head("HEAD", f"/{bucket}/piped")
        + signer.head("GET", f"/{bucket}/missing")
        + signer.head("DELETE", f"/{bucket}/piped")
        + signer.head("GET", f"/{bucket}/key")
    )
    assert connection.read().status == 200
    assert connection.read().body == b"piped"
    assert connection.read(head=True).headers["content-length"] == "5"
    assert connection.read().status == 404
    assert connection.read().status == 204
    assert connection.read().body == DATA


def test_a_body_in_chunks_of_http(connection: RawConnection, signer: Signer, bucket: str) -> None:
    """Chunked transfer-encoding around aws-chunked frames, as SDKs stream; and without a length."""
    frames = b"5\r\nhello\r\n0\r\nx-amz-checksum-crc32:NhCmhg==\r\n\r\n"
    headers = [
        ("transfer-encoding", "chunked"),
        ("content-encoding", "aws-chunked"),
        ("x-amz-decoded-content-length", "5"),
        ("x-amz-trailer", "x-amz-checksum-crc32"),
    ]
    head = signer.head(
        "PUT", f"/{bucket}/chunked", headers, sha256="STREAMING-UNSIGNED-PAYLOAD-TRAILER"
    )
    pieces = b"".join(b"1\r\n%c\r\n" % byte for byte in frames)
    connection.send(head + pieces + b"0\r\n\r\n")
    answer = connection.read()
    assert (answer.status, answer.headers["x-amz-checksum-crc32"]) == (200, "NhCmhg==")
    assert ask(connection, signer, "GET", f"/{bucket}/chunked").body == b"hello"
    chunked = [("transfer-encoding", "chunked")]
    connection.send(signer.head("PUT", f"/{bucket}/x", chunked) + b"1\r\nx\r\n0\r\n\r\n")
    refused = connection.read()
    assert (refused.status, b"MissingContentLength" in refused.body) == (411, True)


def test_nobody_is_invited_before_he_is_known(
    connection: RawConnection, signer: Signer, bucket: str
) -> None:
    size = [("content-length", "5"), ("expect", "100-continue")]
    connection.send(signer.head("PUT", f"/{bucket}/invited", size))
    assert connection.line() == b"HTTP/1.1 100 Continue\r\n"
    assert connection.line() == b"\r\n"
    connection.send(b"hello")
    assert connection.read().status == 200
    large = [("content-length", str(10**8)), ("expect", "100-continue")]
    connection.send(signer.head("PUT", "/nowhere-at-all/key", large))
    assert connection.read().status == 404
    with signer.connect() as stranger:
        unsigned = f"PUT /{bucket}/key HTTP/1.1\r\nhost: h\r\ncontent-length: 5\r\n"
        stranger.send(unsigned.encode() + b"expect: 100-continue\r\n\r\n")
        assert stranger.read().status == 403


def test_an_early_answer_leaves_no_half_body(
    connection: RawConnection, signer: Signer, bucket: str
) -> None:
    small = signer.head("PUT", "/nowhere-at-all/key", [("content-length", "1000")])
    connection.send(small + b"GET /evil HTTP/1.1\r\n\r\n" + b"x" * 978)
    assert connection.read().status == 404
    # what came behind the head was its body, and the connection is where it should be
    assert ask(connection, signer, "GET", f"/{bucket}/key").body == DATA
    large = signer.head("PUT", "/nowhere-at-all/key", [("content-length", str(10**9))])
    connection.send(large)
    answer = connection.read()
    assert (answer.status, answer.headers["connection"]) == (404, "close")


def test_the_same_by_host_and_by_path(connection: RawConnection, bucket: str) -> None:
    for head in (
        f"GET /{bucket}/key?x-id=GetObject HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n",
        f"GET /key HTTP/1.1\r\nhost: {bucket}.localhost:1\r\n\r\n",
        f"GET http://{bucket}.localhost/key HTTP/1.1\r\nhost: {bucket}.localhost\r\n\r\n",
    ):
        connection.send(head.encode())
        answer = connection.read()
        assert answer.status == 403  # found, and closed to who signs nothing
        assert b"AccessDenied" in answer.body
