"""Requests of every operation with something changed at random.

Whatever comes, the answer is a success or an S3 error that is well formed, never a 500; after
an error everything that requests can see is as it was; and the next request is answered.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from objstore.access_logs import AccessLogs
from objstore.config import ServerConfig
from objstore.s3.http import Request
from objstore.s3.table import OPERATIONS
from tests.s3.conftest import ACCESS_KEY, SECRET_KEY, ServeProcess
from tests.s3.extremes import state, world
from tests.s3.harness import S3, Reply, backend, has_digest, md5_header
from tests.s3.mutations import mutated
from tests.s3.rawhttp import RawConnection
from tests.s3.signed import Signer
from tests.s3.valid import VALID, Valid
from tests.stores import assert_whole

__all__ = ["backend"]

MUTATED = 1200
SENT = 600
EVERY = 40
# They answer what no bucket has, so that there is nothing to succeed with.
NEVER = {"GetBucketLifecycleConfiguration", "GetBucketReplication"}
SETTINGS = ("PutBucketCors", "PutBucketWebsite", "PutBucketPolicy", "PutBucketEncryption")
MAX_BODY_BYTES = ServerConfig().max_xml_body_bytes


def rich_world(server: S3) -> dict[str, str]:
    """`world`, and something of every setting."""
    ids = world(server)
    server.ctx.destinations = frozenset(("hook:webhook",))
    server("PUT", "/empty")
    blocks = b"<PublicAccessBlockConfiguration><BlockPublicAcls>true</BlockPublicAcls>"
    blocks += b"</PublicAccessBlockConfiguration>"
    server("PUT", "/bucket", blocks, query="publicAccessBlock")
    for valid in VALID:
        if valid.operation in SETTINGS:
            assert send(server, ids, valid).status in (200, 204)
    headers = {"content-md5": md5_header(b"held"), "x-amz-object-lock-legal-hold": "ON"}
    headers |= {
        "x-amz-object-lock-mode": "GOVERNANCE",
        "x-amz-object-lock-retain-until-date": "2100-01-01T00:00:00Z",
    }
    assert server("PUT", "/locked/held", b"held", headers=headers).status == 200
    ids["object_etag"] = server("HEAD", "/bucket/key").etag
    return ids


def filled(ids: dict[str, str], valid: Valid) -> tuple[str, bytes, dict[str, str]]:
    """Query, body and headers with the ids of what there is, and a digest of the body."""
    query, body = valid.query, valid.body
    headers = {"host": "localhost:9000"} | valid.headers
    for name, value in ids.items():
        query = query.replace("{" + name + "}", value)
        body = body.replace(b"{" + name.encode() + b"}", value.encode())
        headers = {each: text.replace("{" + name + "}", value) for each, text in headers.items()}
    if body and not has_digest(headers) and valid.operation not in ("PostObject", "PutObject"):
        headers["content-md5"] = md5_header(body)
    return query, body, headers


def send(server: S3, ids: dict[str, str], valid: Valid) -> Reply:
    query, body, headers = filled(ids, valid)
    request = Request(
        method=valid.method,
        raw_path=valid.path.encode("latin-1"),
        raw_query=query.encode("latin-1"),
        headers=[(k.encode("latin-1"), v.encode("utf-8")) for k, v in headers.items()],
        request_id="0123456789ABCDEF",
        body_length=len(body),
    )
    return server.run(request, body)


def check_answer(method: str, status: int, headers: dict[str, str], body: bytes) -> None:
    assert status < 500 or status == 501, (status, body)
    if status < 400 or method == "HEAD" or not body:
        return
    if headers.get("content-type", "").startswith("text/html"):  # a website's
        assert body.startswith(b"<html>")
        return
    reply = Reply(status, headers, body)
    assert reply.xml.tag == "Error"
    assert reply.code
    assert reply.text("RequestId")


@pytest.fixture
def make(tmp_path: Path) -> S3:
    server = S3(min_part_bytes=1)
    server.ctx.access_logs = AccessLogs(server.store, tmp_path)
    server.ctx.website_domains = ("s3-website.localhost",)
    return server


def test_what_is_changed_was_right_before(make: S3) -> None:
    offered = {row.name for row in OPERATIONS if row.handler is not None}
    assert {valid.operation for valid in VALID} == offered - NEVER
    wrong = []
    for number, valid in enumerate(VALID):
        server = S3(min_part_bytes=1) if number else make
        server.ctx.access_logs = make.ctx.access_logs
        reply = send(server, rich_world(server), valid)
        if reply.status not in (200, 204, 206):
            wrong.append((valid, reply))
    assert wrong == []


def test_mutated_requests(seed: int, make: S3) -> None:
    dice = random.Random(seed)
    logs = make.ctx.access_logs
    refused: set[str] = set()
    for turn in range(MUTATED):
        if turn % EVERY == 0:
            server = S3(min_part_bytes=1) if turn else make
            server.ctx.access_logs = logs
            server.ctx.website_domains = make.ctx.website_domains
            ids = rich_world(server)
            before = state(server, ids)
        valid = VALID[turn % len(VALID)]
        request = mutated(dice, valid)
        if len(request.body) > MAX_BODY_BYTES:
            continue
        reply = send(server, ids, request)
        check_answer(request.method, reply.status, reply.headers, reply.body)
        now = state(server, ids)
        if reply.status >= 400:
            assert now == before, (request, reply)
            refused.add(valid.operation)
        before = now
    assert len(refused) > 50  # mutations that change nothing would be no test


def test_mutated_requests_on_a_wire(
    seed: int, start_server: Callable[..., ServeProcess], tmp_path: Path
) -> None:
    """The same over HTTP, signed: the server lives, and answers the next one."""
    server = start_server(tmp_path / "data", "--workers", "2")
    s3 = server.endpoint.client()
    for name in ("bucket", "empty"):
        s3.create_bucket(Bucket=name)
    s3.create_bucket(Bucket="locked", ObjectLockEnabledForBucket=True)
    for path in ("bucket/key", "bucket/other", "locked/key"):
        name, _, key = path.partition("/")
        s3.put_object(Bucket=name, Key=key, Body=b"content")
    dice = random.Random(seed)
    signer = Signer(server.url, ACCESS_KEY, SECRET_KEY)
    connection: RawConnection | None = None
    statuses: set[int] = set()
    for turn in range(SENT):
        request = mutated(dice, VALID[turn % len(VALID)])
        query, body, headers = filled({}, request)
        wire = [
            (name, value)
            for name, value in headers.items()
            if name not in ("host", "expect") and value.isascii() and value.strip() == value
        ]
        path = request.path if request.path.startswith("/") else "/" + request.path
        path = path.replace(" ", "%20")
        target = f"{path}?{query}" if query else path
        if not target.isascii() or any(c in target for c in " \t"):
            continue
        wire.append(("content-length", str(len(body))))
        connection = connection or signer.connect()
        head = signer.head(request.method, target, wire)
        sent = connection.send_or_lose(head + body)
        answer = connection.read(head=request.method == "HEAD")
        statuses.add(answer.status)
        check_answer(request.method, answer.status, answer.headers, answer.body)
        if not sent or answer.headers.get("connection") == "close":
            connection.close()
            connection = None
    assert {200, 400, 404, 405, 501} <= statuses
    with signer.connect() as healthy:
        healthy.send(b"GET /-/health/ready HTTP/1.1\r\nhost: h\r\n\r\n")
        assert healthy.read().status == 200
    if connection is not None:
        connection.close()
    assert server.stop() == 0, server.errors
    assert_whole(tmp_path / "data")
