"""AWS Signature Version 4 for a load generator: many requests that differ only in their path.

Written from AWS's description of the algorithm, apart from `objstore.auth`, so that a benchmark
run is also a check that both sides read the same document.
https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html
"""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote

UNSIGNED_PAYLOAD = "UNSIGNED-PAYLOAD"
EMPTY_SHA256 = hashlib.sha256(b"").hexdigest()
SIGNED_HEADERS = "host;x-amz-content-sha256;x-amz-date"


@dataclass(frozen=True)
class Credentials:
    """Keys of an S3 account and the region that requests are signed for."""

    access_key: str
    secret_key: str
    region: str = "us-east-1"


@dataclass(frozen=True)
class Endpoint:
    """Where a server listens, without TLS, and the keys for it."""

    host: str
    port: int
    credentials: Credentials


def timestamp_now() -> str:
    """This second in the form that SigV4 wants."""
    return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())


class Signer:
    """Makes complete request heads for one endpoint at one instant.

    `timestamp` is ``YYYYMMDDTHHMMSSZ``.  Servers refuse requests that are over 15 minutes old, so
    sign shortly before sending.
    """

    def __init__(self, endpoint: Endpoint, timestamp: str) -> None:
        credentials = endpoint.credentials
        date = timestamp[:8]
        scope = f"{date}/{credentials.region}/s3/aws4_request"
        self._host = f"{endpoint.host}:{endpoint.port}"
        self._timestamp = timestamp
        self._key = _signing_key(credentials, date)
        self._to_sign = f"AWS4-HMAC-SHA256\n{timestamp}\n{scope}\n"
        self._authorization = (
            f"AWS4-HMAC-SHA256 Credential={credentials.access_key}/{scope}, "
            f"SignedHeaders={SIGNED_HEADERS}, Signature="
        )

    def signature(self, method: str, path: str, query: str, payload_sha256: str) -> str:
        """The hex signature; `path` and `query` percent-encoded, `query` sorted."""
        canonical = (
            f"{method}\n{path}\n{query}\nhost:{self._host}\n"
            f"x-amz-content-sha256:{payload_sha256}\nx-amz-date:{self._timestamp}\n\n"
            f"{SIGNED_HEADERS}\n{payload_sha256}"
        )
        text = self._to_sign + hashlib.sha256(canonical.encode()).hexdigest()
        return hmac.digest(self._key, text.encode(), "sha256").hex()

    def head(
        self,
        method: str,
        path: str,
        *,
        query: str = "",
        payload_sha256: str = EMPTY_SHA256,
        body_bytes: int = 0,
    ) -> bytes:
        """Request line and headers, up to and with the empty line that ends them."""
        signature = self.signature(method, path, query, payload_sha256)
        length = f"Content-Length: {body_bytes}\r\n" if method in ("PUT", "POST") else ""
        target = f"{path}?{query}" if query else path
        return (
            f"{method} {target} HTTP/1.1\r\nHost: {self._host}\r\n"
            f"X-Amz-Date: {self._timestamp}\r\nX-Amz-Content-Sha256: {payload_sha256}\r\n"
            f"Authorization: {self._authorization}{signature}\r\n{length}\r\n"
        ).encode("ascii")


def canonical_query(pairs: Sequence[tuple[str, str]]) -> str:
    """Name and value percent-encoded and sorted, as SigV4 wants a query."""
    return "&".join(
        sorted(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in pairs)
    )


def _signing_key(credentials: Credentials, date: str) -> bytes:
    key = b"AWS4" + credentials.secret_key.encode()
    for part in (date, credentials.region, "s3", "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key
