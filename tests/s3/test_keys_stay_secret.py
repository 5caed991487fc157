"""No key is anywhere in the clear: in no log, at any level, and in no file but the root key's."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import io
import logging
import os
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from botocore.exceptions import ClientError

from blockdev.clock import SystemClock
from objstore import ObjectStore
from objstore.asgi.app import make_app, root_credentials
from objstore.asgi.server import BackgroundServer
from objstore.asgi.state import FrontState
from objstore.config import MIB, ServerConfig, StoreConfig
from objstore.entropy import SystemEntropy
from objstore.kms.folder import ROOT_NAME
from objstore.kms.service import LocalKeyService
from tests.clients.endpoint import Endpoint
from tests.stores import StoreFactory

KEY_BYTES = 32
BLOCK_BYTES = 4096
CONFIG = StoreConfig(device_bytes=128 * MIB, segment_bytes=MIB, reserve_bytes=0, min_part_bytes=0)
# Random, so that none of them is in a file by chance.
CUSTOMERS = [os.urandom(KEY_BYTES) for _ in range(3)]
CREDENTIALS = ("TESTKEY", "test+secret/" + os.urandom(9).hex())
CLIENT_SIDE = ("boto", "urllib3", "s3transfer")


class Noting(SystemEntropy):
    """Real randomness that remembers what has the length of a key, and is one therefore."""

    def __init__(self) -> None:
        self.keys: list[bytes] = []

    def token_bytes(self, count: int) -> bytes:
        token = super().token_bytes(count)
        if count == KEY_BYTES:
            self.keys.append(token)
        return token


def spellings(key: bytes) -> list[bytes]:
    """How a key could be written: as it is, in hexadecimal, in base64, escaped, by Python."""
    standard = base64.b64encode(key).rstrip(b"=")
    safe = base64.urlsafe_b64encode(key).rstrip(b"=")
    shown = repr(key)[2:-1].encode()
    listed = ", ".join(map(str, key)).encode()
    escaped = quote(standard, safe="").encode()
    hexadecimal = key.hex().encode()
    return [key, hexadecimal, hexadecimal.upper(), standard, safe, escaped, shown, listed]


def leaks(keys: list[bytes], places: dict[str, bytes]) -> list[str]:
    """Where a key stands, or half of one."""
    halves = [half for key in keys for half in (key[:16], key[16:])]
    needles = [text for key in (*keys, *halves) for text in spellings(key)]
    return [
        f"{name}: {text[:60]!r}"
        for name, content in places.items()
        for text in needles
        if text in content
    ]


def files(folder: Path) -> dict[str, bytes]:
    """All that lies in a folder, but the file of the root key; without blocks of zeroes."""
    return {
        str(path.relative_to(folder)): written(path)
        for path in folder.rglob("*")
        if path.is_file() and path.name != ROOT_NAME
    }


def written(path: Path) -> bytes:
    empty = bytes(BLOCK_BYTES)
    with path.open("rb") as file:
        return b"".join(
            block for block in iter(lambda: file.read(BLOCK_BYTES), b"") if block != empty
        )


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """All that is logged in this process, at every level, but by the client."""
    text = io.StringIO()
    handler = logging.StreamHandler(text)
    handler.setFormatter(logging.Formatter("%(name)s %(message)s %(args)s"))
    handler.addFilter(lambda record: not record.name.startswith(CLIENT_SIDE))
    loggers = [logging.getLogger(name) for name in ("", "objstore", "uvicorn", "asyncio")]
    levels = [logger.level for logger in loggers]
    logging.getLogger().addHandler(handler)
    for logger in loggers:
        logger.setLevel(logging.DEBUG)
    yield text
    logging.getLogger().removeHandler(handler)
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)


@pytest.fixture
def entropy() -> Noting:
    return Noting()


@pytest.fixture
def keys(store_factory: StoreFactory, entropy: Noting) -> Iterator[LocalKeyService]:
    service = LocalKeyService(store_factory.path() / "kms", SystemClock(), entropy)
    yield service
    service.close()


@pytest.fixture
def store(store_factory: StoreFactory, entropy: Noting, keys: LocalKeyService) -> ObjectStore:
    return store_factory(config=CONFIG, entropy=entropy, key_service=keys, create_buckets=False)


@pytest.fixture
def endpoint(store: ObjectStore, log: io.StringIO) -> Iterator[Endpoint]:
    config = ServerConfig()
    app = make_app(store, [root_credentials(*CREDENTIALS)], config=config)
    state = FrontState(config, clock=store.clock, entropy=store.entropy, access_log=True)
    server = BackgroundServer(app, state).start()
    yield Endpoint(server.url, *CREDENTIALS)
    server.stop()


def sse_c(key: bytes, prefix: str = "") -> dict[str, Any]:
    return {
        f"{prefix}SSECustomerAlgorithm": "AES256",
        f"{prefix}SSECustomerKey": key,
    }


def use(s3: Any, endpoint: Endpoint, store: ObjectStore, keys: LocalKeyService) -> None:
    """Everything that handles keys, as it should be and otherwise."""
    s3.create_bucket(Bucket="bucket")
    managed = [{"ServerSideEncryption": "AES256"}, {"ServerSideEncryption": "aws:kms"}]
    sizes = (100, 200_000)
    for number, how in enumerate([*managed, sse_c(CUSTOMERS[0])]):
        read = {name: value for name, value in how.items() if name.startswith("SSECustomer")}
        for size in sizes:
            key = f"{number}/{size}"
            s3.put_object(Bucket="bucket", Key=key, Body=b"b" * size, **how)
            s3.get_object(Bucket="bucket", Key=key, Range="bytes=5-50", **read)["Body"].read()
            source = {f"CopySource{name}": value for name, value in read.items()}
            copied = {"Bucket": "bucket", "Key": "copy", "CopySource": f"bucket/{key}"}
            s3.copy_object(**copied, **source, **sse_c(CUSTOMERS[1]))
            s3.copy_object(**copied, **source, **managed[0])
        upload = {"Bucket": "bucket", "Key": f"{number}/parts"}
        upload["UploadId"] = s3.create_multipart_upload(**upload, **how)["UploadId"]
        part = s3.upload_part(**upload, PartNumber=1, Body=b"p" * 200_000, **read)
        parts = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
        s3.complete_multipart_upload(**upload, MultipartUpload=parts)
    for key_id in [each.key_id for each in keys.list_keys()]:
        keys.rotate(key_id)
    s3.put_object(Bucket="bucket", Key="rotated", Body=b"r", ServerSideEncryption="aws:kms")
    keys.rotate_root()
    s3.get_object(Bucket="bucket", Key="rotated")["Body"].read()
    go_wrong(s3, endpoint)
    store.maintain()


def go_wrong(s3: Any, endpoint: Endpoint) -> None:
    """Errors of every kind, with a key in the request."""
    key = "2/100"
    wrong = [
        sse_c(CUSTOMERS[2]),
        {
            **sse_c(CUSTOMERS[2]),
            # With an MD5 botocore leaves both as they are.
            "SSECustomerKey": base64.b64encode(CUSTOMERS[2]).decode(),
            "SSECustomerKeyMD5": "AAAAAAAAAAAAAAAAAAAAAA==",
        },
        {**sse_c(CUSTOMERS[2]), "SSECustomerAlgorithm": "ROT13"},
    ]
    for how in wrong:
        for act in (s3.get_object, s3.head_object):
            refused(act, Bucket="bucket", Key=key, **how)
        refused(s3.get_object, Bucket="bucket", Key="missing", **how)
        refused(s3.put_object, Bucket="missing", Key=key, Body=b"", **how)
    refused(s3.get_object, Bucket="bucket", Key="0/100", **sse_c(CUSTOMERS[2]))
    other = endpoint.client(secret_key="wrong")
    refused(other.get_object, Bucket="bucket", Key=key, **sse_c(CUSTOMERS[0]))
    # In a query, where nothing signs it: presigned for other headers than are sent.
    for customer in CUSTOMERS:
        hidden = quote(base64.b64encode(customer), safe="")
        name = "x-amz-server-side-encryption-customer-key"
        url = f"{endpoint.url}/bucket/{key}?{name}={hidden}&X-Amz-Expires=1"
        with contextlib.suppress(OSError):
            urllib.request.urlopen(url, timeout=10)


def refused(act: Any, **arguments: Any) -> None:
    with pytest.raises(ClientError):
        act(**arguments)


def test_no_key_is_in_the_clear(
    endpoint: Endpoint,
    store: ObjectStore,
    keys: LocalKeyService,
    entropy: Noting,
    log: io.StringIO,
    store_factory: StoreFactory,
    capfd: pytest.CaptureFixture[str],
) -> None:
    use(endpoint.client(), endpoint, store, keys)
    store.close()
    printed = capfd.readouterr()
    assert len(entropy.keys) > 20, "data keys, keys of the key service and its root keys"
    assert "GET" in log.getvalue(), "the log is not taken down"
    secrets = [*CUSTOMERS, *entropy.keys, CREDENTIALS[1].encode()]
    places = {**files(store_factory.path()), "log": log.getvalue().encode()}
    places |= {"stdout": printed.out.encode(), "stderr": printed.err.encode()}
    assert any("kms" in name for name in places)
    assert leaks(secrets, places) == []


@pytest.mark.parametrize("number", range(8))
def test_a_leak_is_found(number: int, log: io.StringIO, tmp_path: Path) -> None:
    """However the key is written: or the test above would tell nothing."""
    key = bytes(range(100, 100 + KEY_BYTES))
    assert leaks([key], {"log": log.getvalue().encode(), **files(tmp_path)}) == []
    text = spellings(key)[number]
    logging.getLogger("objstore.server").debug("a key: %s", text.decode("latin-1"))
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "file").write_bytes(b"before" + text[len(text) // 2 :] + b"after")
    found = leaks([key], {"log": log.getvalue().encode("latin-1"), **files(tmp_path)})
    assert {line.partition(":")[0] for line in found} >= {"log"}
    digest = hashlib.md5(key).digest()
    assert leaks([digest * 2], {"log": log.getvalue().encode()}) == []
