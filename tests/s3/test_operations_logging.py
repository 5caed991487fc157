"""PutBucketLogging and GetBucketLogging; tests/clients/test_access_logs.py reads what comes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from objstore.access_logs import AccessLogs
from objstore.access_logs.record import Entry
from objstore.asgi.app import Counted, make_app, root_credentials
from objstore.asgi.server import BackgroundServer
from objstore.asgi.state import FrontState
from objstore.config import MIB, ServerConfig
from objstore.s3.access_log import operation_name
from objstore.s3.http import Request
from objstore.s3.table import OPERATIONS, PREFLIGHT
from tests.model_store import ModelStore
from tests.s3.harness import OTHER, ROOT, S3, Reply, backend
from tests.s3.rawhttp import TIMEOUT_S
from tests.s3.signed import Signer

__all__ = ["backend"]


@pytest.fixture
def s3(tmp_path: Path) -> S3:
    server = S3()
    server.ctx.access_logs = AccessLogs(server.store, tmp_path)
    server("PUT", "/source")
    server("PUT", "/target")
    return server


def put(s3: S3, inner: str) -> Reply:
    if inner:
        inner = f"<LoggingEnabled>{inner}</LoggingEnabled>"
    body = f"<BucketLoggingStatus>{inner}</BucketLoggingStatus>"
    return s3("PUT", "/source", body.encode(), query="logging")


TARGET = "<TargetBucket>target</TargetBucket><TargetPrefix>a/&lt;</TargetPrefix>"


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("", "<SimplePrefix/>"),
        ("<SimplePrefix/>", "<SimplePrefix/>"),
        (
            "<PartitionedPrefix/>",
            "<PartitionedPrefix><PartitionDateSource>DeliveryTime</PartitionDateSource>"
            "</PartitionedPrefix>",
        ),
        (
            "<PartitionedPrefix><PartitionDateSource>EventTime</PartitionDateSource>"
            "</PartitionedPrefix>",
            "<PartitionedPrefix><PartitionDateSource>EventTime</PartitionDateSource>"
            "</PartitionedPrefix>",
        ),
    ],
)
def test_what_was_put_is_told(s3: S3, given: str, told: str) -> None:
    assert s3("GET", "/source", query="logging").text("LoggingEnabled") is None
    form = f"<TargetObjectKeyFormat>{given}</TargetObjectKeyFormat>" if given else ""
    assert put(s3, TARGET + form).status == 200
    logs = s3.ctx.access_logs
    assert logs is not None
    assert logs.is_active
    body = s3("GET", "/source", query="logging").body.decode()
    expected = f"{TARGET}<TargetObjectKeyFormat>{told}</TargetObjectKeyFormat>"
    assert f"<LoggingEnabled>{expected}</LoggingEnabled>" in body
    assert put(s3, "").status == 200
    assert s3("GET", "/source", query="logging").text("LoggingEnabled") is None


def test_targets_that_take_none(s3: S3) -> None:
    s3.authenticator.identity = OTHER
    s3("PUT", "/others")
    s3.authenticator.identity = ROOT
    for name in ("missing", "others"):
        refused = put(s3, TARGET.replace(">target<", f">{name}<"))
        assert (refused.status, refused.code) == (400, "InvalidTargetBucketForLogging"), name
    s3("PUT", "/locked", headers={"x-amz-bucket-object-lock-enabled": "true"})
    locked = TARGET.replace(">target<", ">locked<")
    assert put(s3, locked).status == 200
    retention = (
        b"<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled><Rule>"
        b"<DefaultRetention><Mode>GOVERNANCE</Mode><Days>1</Days></DefaultRetention></Rule>"
        b"</ObjectLockConfiguration>"
    )
    assert s3("PUT", "/locked", retention, query="object-lock").status == 200
    assert put(s3, locked).code == "InvalidRequest"


def test_grants_have_no_place(s3: S3) -> None:
    assert put(s3, TARGET + "<TargetGrants/>").status == 200
    refused = put(s3, TARGET + "<TargetGrants><Grant/></TargetGrants>")
    assert (refused.status, refused.code) == (400, "AccessControlListNotSupported")


def test_a_server_that_delivers_nothing_takes_no_configuration(s3: S3) -> None:
    s3.ctx.access_logs = None
    assert put(s3, TARGET).status == 501
    assert put(s3, "").status == 200


def test_what_operations_are_called() -> None:
    names = {}
    for operation in (*OPERATIONS, PREFLIGHT):
        names[operation.name] = operation_name(operation, Request(operation.method, b"/", b"", []))
    for name, expected in (
        ("GetObject", "REST.GET.OBJECT"),
        ("ListObjectsV2", "REST.GET.BUCKET"),
        ("ListObjectVersions", "REST.GET.BUCKETVERSIONS"),
        ("CreateBucket", "REST.PUT.BUCKET"),
        ("GetBucketLogging", "REST.GET.LOGGING_STATUS"),
        ("GetBucketVersioning", "REST.GET.VERSIONING"),
        ("PutObjectTagging", "REST.PUT.OBJECT_TAGGING"),
        ("PutBucketTagging", "REST.PUT.TAGGING"),
        ("CreateMultipartUpload", "REST.POST.UPLOADS"),
        ("ListMultipartUploads", "REST.GET.UPLOADS"),
        ("GetBucketAcl", "REST.GET.ACL"),
        ("DeleteObjects", "REST.POST.MULTI_OBJECT_DELETE"),
    ):
        assert names[name] == expected
    assert operation_name(None, Request("GET", b"/b", b"", [])) == "REST.GET.BUCKET"


class Noted:
    """Stands in for access logs, of which every bucket wants one."""

    is_active = True

    def __init__(self) -> None:
        self.entries: list[Entry] = []

    def wanted(self, bucket: str) -> str:
        return "o"

    def note(self, entry: Entry) -> None:
        self.entries.append(entry)

    def only(self) -> Entry:
        """What was noted, once it was; a server that stops has noted all that it will."""
        deadline_s = time.monotonic() + TIMEOUT_S
        while not self.entries:
            assert time.monotonic() < deadline_s
            time.sleep(0.005)
        time.sleep(0.1)
        (entry,) = self.entries
        return entry


@pytest.fixture
def noted() -> Noted:
    return Noted()


@pytest.fixture
def signer(noted: Noted) -> Iterator[Signer]:
    """Signs for a server that soon gives up who stalls."""
    keys = ("KEY", "secret")
    store = ModelStore(create_buckets=False)
    store.create_bucket("bucket")
    store.put("bucket", "large", bytes(64 * MIB))
    config = replace(ServerConfig(), body_stall_timeout_s=1.0)
    logs = cast(AccessLogs, noted)
    app = make_app(store, [root_credentials(*keys)], config=config, access_logs=logs)
    with BackgroundServer(app, FrontState(config, clock=store.clock)) as server:
        yield Signer(server.url, *keys)


@pytest.mark.parametrize("size", [1000, 9_000_000])
def test_an_upload_that_stalls(signer: Signer, noted: Noted, size: int) -> None:
    with signer.connect() as connection:
        connection.send(signer.put("/bucket/key", b"z" * size)[:-1])
        answer = connection.read()
    assert answer.status == 400
    entry = noted.only()
    assert (entry.operation, entry.key) == ("REST.PUT.OBJECT", "key")
    assert (entry.status, entry.error_code) == (400, "RequestTimeout")
    assert (entry.sent_bytes, entry.size_bytes) == (len(answer.body), None)
    assert entry.request_id == answer.headers["x-amz-request-id"]
    assert entry.total_ns >= 900_000_000


@pytest.mark.parametrize("size", [1000, 9_000_000])
def test_an_upload_whose_client_leaves(signer: Signer, noted: Noted, size: int) -> None:
    with signer.connect() as connection:
        connection.send(signer.put("/bucket/key", b"z" * size)[:-1])
        time.sleep(0.05)
    entry = noted.only()
    assert (entry.operation, entry.key) == ("REST.PUT.OBJECT", "key")
    assert (entry.status, entry.error_code) == (400, "IncompleteBody")
    assert (entry.sent_bytes, entry.size_bytes) == (0, None)
    assert entry.turn_around_ns < 0  # there was no last byte, and no answer


def test_a_download_whose_client_leaves(signer: Signer, noted: Noted) -> None:
    with signer.connect() as connection:
        connection.send(signer.head("GET", "/bucket/large"))
        received = 0
        while received < 3 * MIB:
            received += len(connection.socket.recv(MIB))
    entry = noted.only()
    assert (entry.status, entry.error_code, entry.size_bytes) == (200, "", 64 * MIB)
    assert MIB <= entry.sent_bytes < 32 * MIB  # the last pieces are not sure to have arrived


def test_a_download_that_nobody_takes(signer: Signer, noted: Noted) -> None:
    with signer.connect() as connection:
        connection.send(signer.head("GET", "/bucket/large"))
        entry = noted.only()
    assert (entry.status, entry.error_code, entry.size_bytes) == (200, "", 64 * MIB)
    assert entry.sent_bytes < 32 * MIB


def test_an_answer_that_nobody_waits_for_is_told_as_it_would_have_been(
    signer: Signer, noted: Noted, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit = ModelStore.submit_put

    def slow(*arguments: object, **named: object) -> None:
        time.sleep(0.2)
        submit(*arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(ModelStore, "submit_put", slow)
    with signer.connect() as connection:
        connection.send(signer.put("/bucket/key", b"z" * 1000))
        time.sleep(0.05)
    entry = noted.only()
    assert (entry.status, entry.error_code, entry.size_bytes) == (200, "", 1000)


@pytest.mark.parametrize("sign", ["disconnected", "is_closing"])
@pytest.mark.parametrize("leaves_at", [0, 1, 2, None])
def test_pieces_in_which_the_client_left_do_not_count(sign: str, leaves_at: int | None) -> None:
    signs = {"disconnected": False, "is_closing": False}
    transport = SimpleNamespace(is_closing=lambda: signs["is_closing"])
    exchange: Any = SimpleNamespace(protocol=SimpleNamespace(transport=transport))
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)
        is_last = message["type"] == "http.response.body" and not message["more_body"]
        # the connection that ends after the last piece is the server's own doing
        signs[sign] |= leaves_at == len(sent) - 2
        signs["is_closing"] |= is_last
        exchange.disconnected = signs["disconnected"]

    async def answer() -> Counted:
        exchange.disconnected = False
        counted = Counted(send, exchange)
        await counted({"type": "http.response.start", "status": 206, "headers": []})
        for number in range(4):
            body = {"type": "http.response.body", "body": b"z" * 10, "more_body": number < 3}
            await counted(body)
        return counted

    counted = asyncio.run(answer())
    assert counted.status == 206
    assert counted.sent_bytes == (40 if leaves_at is None else 10 * leaves_at)
