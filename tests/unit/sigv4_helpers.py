"""Requests, credentials and clocks for the tests of objstore.auth."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from blockdev.clock import ManualClock
from objstore.auth import (
    Authenticator,
    AuthResult,
    Credentials,
    Identity,
    StaticKeyStore,
    authorization_for,
)

GOLDEN = Path(__file__).parent.parent / "golden" / "sigv4"
NOW_S = 1_700_000_000  # 2023-11-14T22:13:20Z
NOW = b"20231114T221320Z"
ALICE = Credentials("AKIDALICE", "alice/secret+key", Identity("alice-id", "alice", is_root=True))
TEMPORARY = Credentials(
    "ASIATEMP",
    "temporary-secret",
    Identity("temp-id"),
    session_token="token/of+temp==",
    expires_ms=(NOW_S + 60) * 1000,
)
EMPTY_SHA256 = b"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def load(name: str) -> Any:
    return json.loads((GOLDEN / name).read_text("utf-8"))


def clock_at(time_s: float) -> ManualClock:
    return ManualClock(round(time_s * 1_000_000_000))


def authenticator(time_s: float = NOW_S, **options: Any) -> Authenticator:
    return Authenticator(StaticKeyStore([ALICE, TEMPORARY]), clock_at(time_s), **options)


@dataclass(frozen=True)
class Parts:
    """A request as `Authenticator.authenticate` takes it."""

    method: str = "GET"
    path: bytes = b"/bucket/key"
    query: bytes = b""
    headers: tuple[tuple[bytes, bytes], ...] = (
        (b"host", b"localhost:9000"),
        (b"x-amz-content-sha256", EMPTY_SHA256),
        (b"x-amz-date", NOW),
    )

    def header(self, name: bytes) -> bytes:
        return dict(self.headers)[name]

    def with_header(self, name: bytes, value: bytes) -> Parts:
        """This request with one header set or replaced."""
        kept = tuple(pair for pair in self.headers if pair[0] != name)
        return replace(self, headers=(*kept, (name, value)))

    def without_header(self, name: bytes) -> Parts:
        return replace(self, headers=tuple(pair for pair in self.headers if pair[0] != name))

    def signed(self, credentials: Credentials = ALICE, **options: Any) -> Parts:
        """This request with the Authorization of `credentials`, all its headers signed."""
        options.setdefault("region", "us-east-1")
        options.setdefault("time_s", NOW_S)
        value = authorization_for(
            credentials, self.method, self.path, self.query, list(self.headers), **options
        )
        return self.with_header(b"authorization", value)

    def authenticate(self, by: Authenticator | None = None) -> AuthResult:
        by = by or authenticator()
        return by.authenticate(self.method, self.path, self.query, list(self.headers))
