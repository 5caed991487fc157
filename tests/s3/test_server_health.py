"""What a load balancer asks: whether the server lives, and whether it can serve."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from blockdev import MemoryDevice
from blockdev.filters import Fault, FaultDevice, FaultRule, Operation
from objstore import ObjectStore
from objstore.asgi.app import root_credentials
from objstore.asgi.server import Server
from objstore.errors import StorePoisonedError
from tests.crash.tiny import TINY
from tests.s3.rawhttp import Answer, RawConnection

KEYS = ("TESTKEY", "test+secret/123")


@pytest.fixture
def device() -> FaultDevice:
    return FaultDevice(MemoryDevice(TINY.device_bytes))


@pytest.fixture
def store(tmp_path: Path, device: FaultDevice) -> Iterator[ObjectStore]:
    with ObjectStore.open(tmp_path, config=TINY, device=device) as store:
        yield store


@pytest.fixture
def connection(store: ObjectStore) -> Iterator[RawConnection]:
    server = Server(store, [root_credentials(*KEYS)]).start()
    try:
        with RawConnection(server.url) as connection:
            yield connection
    finally:
        server.stop()


def ask(connection: RawConnection, path: str, method: str = "GET") -> Answer:
    connection.send(f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    return connection.read(head=method == "HEAD")


@pytest.mark.parametrize("path", ["/-/health/live", "/-/health/ready"])
def test_a_server_that_is_well(connection: RawConnection, path: str) -> None:
    got = ask(connection, path)
    assert (got.status, got.headers["cache-control"]) == (200, "no-store")
    assert got.body == path.rpartition("/")[2].encode() + b"\n"
    head = ask(connection, path, "HEAD")
    assert (head.status, head.body, head.headers["content-length"]) == (
        200,
        b"",
        str(len(got.body)),
    )
    refused = ask(connection, path, "PUT")
    assert (refused.status, refused.headers["allow"]) == (405, "GET, HEAD")
    assert ask(connection, "/-/health/other").status == 404
    assert b"NoSuchBucket" in ask(connection, "/-/health").body  # S3's


def test_a_device_that_failed(
    connection: RawConnection, store: ObjectStore, device: FaultDevice
) -> None:
    store.put("bucket", "key", b"data")
    device.arm(FaultRule(Fault.IO_ERROR, frozenset((Operation.WRITE,))))
    with pytest.raises(StorePoisonedError):
        store.put("bucket", "key", b"more")
    assert ask(connection, "/-/health/live").status == 200
    ready = ask(connection, "/-/health/ready")
    assert (ready.status, ready.body) == (503, b"not ready\n")
    device.disarm_all()


def test_a_store_that_is_closed(tmp_path: Path) -> None:
    store = ObjectStore.open(tmp_path, config=TINY)
    assert store.is_writable
    store.close()
    assert not store.is_writable
