"""Requests to EC2 and EBS, signed by botocore at the time of a clock of the test's own."""

from __future__ import annotations

import datetime
from dataclasses import dataclass, replace
from typing import Any

import botocore.auth
import pytest
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as BotoCredentials

from blockdev.clock import ManualClock
from objstore.auth.keys import Credentials, Identity, StaticKeyStore

IDENTITY = Identity("a" * 64, "root", is_root=True)
KEYS = StaticKeyStore(
    [
        Credentials("AKID", "secret/+key", IDENTITY),
        Credentials("ASIA", "temporary", IDENTITY, session_token="token"),
        Credentials("GONE", "expired", IDENTITY, "token", expires_ms=1),
    ]
)
HOST = "127.0.0.1:9000"


@dataclass(frozen=True)
class Signed:
    """A request as the server gets it."""

    method: str
    path: bytes
    query: bytes
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes

    def header(self, name: bytes) -> bytes:
        return dict(self.headers)[name]

    def with_header(self, name: bytes, value: bytes | None) -> Signed:
        kept = tuple(pair for pair in self.headers if pair[0] != name)
        return replace(self, headers=kept if value is None else (*kept, (name, value)))


def sign(
    clock: ManualClock,
    *,
    method: str = "POST",
    path: str = "/",
    body: bytes = b"Action=DescribeVolumes",
    service: str = "ec2",
    region: str = "eu-west-1",
    key: tuple[str, str, str | None] = ("AKID", "secret/+key", None),
    query: bool = False,
    unsigned: bool = False,
    headers: dict[str, str] | None = None,
) -> Signed:
    """What botocore sends at the clock's time."""
    request = AWSRequest(method, f"http://{HOST}{path}", data=body, headers=headers or {})
    if unsigned:
        request.headers["X-Amz-Content-SHA256"] = "UNSIGNED-PAYLOAD"
    kind: Any = botocore.auth.SigV4QueryAuth if query else botocore.auth.SigV4Auth
    now = datetime.datetime.fromtimestamp(clock.now_ns() / 1e9, datetime.UTC)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(botocore.auth, "get_current_datetime", lambda **_: now.replace(tzinfo=None))
        kind(BotoCredentials(*key), service, region).add_auth(request)
    target = request.url.removeprefix(f"http://{HOST}")
    raw_path, _, raw_query = target.partition("?")
    sent = [(b"host", HOST.encode())]
    sent += [(n.lower().encode(), str(v).encode()) for n, v in request.headers.items()]
    return Signed(method, raw_path.encode(), raw_query.encode(), tuple(dict(sent).items()), body)
