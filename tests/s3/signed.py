"""Signed requests put together by hand, for what no S3 library would send."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable, Sequence

from objstore.auth import ChunkSigning, Credentials, Identity, authorization_for
from objstore.auth.dates import iso_basic
from objstore.auth.payload import EMPTY_SHA256
from objstore.auth.sigv4 import derive_signing_key
from tests.s3.rawhttp import RawConnection

Headers = Sequence[tuple[str, str]]

UNSIGNED = "UNSIGNED-PAYLOAD"
SIGNED_CHUNKS = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
UNSIGNED_CHUNKS = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"


class Signer:
    """Signs for one endpoint."""

    def __init__(self, url: str, access_key: str, secret_key: str) -> None:
        self.url = url
        self._host = url.removeprefix("http://")
        self._credentials = Credentials(access_key, secret_key, Identity("x"))

    def connect(self) -> RawConnection:
        """A connection to the endpoint."""
        return RawConnection(self.url)

    def head(
        self, method: str, path: str, headers: Headers = (), *, sha256: str = UNSIGNED
    ) -> bytes:
        """A request's head, signed; `headers` are signed with it."""
        return self.signed_head(method, path, headers, sha256=sha256)[0]

    def signed_head(
        self, method: str, path: str, headers: Headers = (), *, sha256: str = UNSIGNED
    ) -> tuple[bytes, ChunkSigning]:
        """The same, and what the chunks of its body are signed with."""
        now_s = int(time.time())
        timestamp = iso_basic(now_s)
        lines = [
            (b"host", self._host.encode()),
            (b"x-amz-content-sha256", sha256.encode()),
            (b"x-amz-date", timestamp),
            *((name.encode(), value.encode()) for name, value in headers),
        ]
        raw_path, _, raw_query = path.encode().partition(b"?")
        authorization = authorization_for(
            self._credentials, method, raw_path, raw_query, lines, region="us-east-1", time_s=now_s
        )
        lines.append((b"authorization", authorization))
        scope = timestamp[:8] + b"/us-east-1/s3/aws4_request"
        chain = ChunkSigning(
            derive_signing_key(self._credentials.secret_key, scope),
            timestamp,
            scope,
            authorization.rpartition(b"=")[2],
        )
        rendered = b"".join(b"%b: %b\r\n" % line for line in lines)
        return b"%b %b HTTP/1.1\r\n%b\r\n" % (method.encode(), path.encode(), rendered), chain

    def put(self, path: str, body: bytes, headers: Headers = (), *, sha256: str = "") -> bytes:
        """A whole PUT, its payload signed unless `sha256` says otherwise."""
        length = ("content-length", str(len(body)))
        digest = sha256 or hashlib.sha256(body).hexdigest()
        return self.head("PUT", path, [*headers, length], sha256=digest) + body


def sign_chunk(chain: ChunkSigning, data: bytes) -> bytes:
    """The next chunk of a signed aws-chunked body; an empty one ends it."""
    digest = hashlib.sha256(data).hexdigest().encode()
    text = b"AWS4-HMAC-SHA256-PAYLOAD\n%b\n%b\n%b\n%b\n%b" % (
        chain.timestamp,
        chain.scope_text,
        chain.previous,
        EMPTY_SHA256,
        digest,
    )
    chain.previous = chain.signing_key.sign(text)
    return b"%x;chunk-signature=%b\r\n%b\r\n" % (len(data), chain.previous, data)


def signed_chunks_bytes(pieces: Iterable[bytes]) -> int:
    """The length of a signed aws-chunked body of `pieces`."""
    return sum(len(f"{len(piece):x};chunk-signature=") + 64 + 4 + len(piece) for piece in pieces)


def plain_chunks(pieces: Iterable[bytes], *trailers: str) -> bytes:
    """An unsigned aws-chunked body with its trailers."""
    framed = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
    return framed + b"0\r\n" + "".join(f"{line}\r\n" for line in trailers).encode() + b"\r\n"
