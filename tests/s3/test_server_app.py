"""Requests through the whole HTTP front, over a store that can be made to fail."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import logging
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from botocore.exceptions import ClientError

from objstore.asgi.app import root_credentials
from objstore.asgi.server import Server
from objstore.config import KIB, MIB, ServerConfig, StoreConfig
from objstore.errors import (
    CorruptionError,
    StoreFullError,
    StorePoisonedError,
    StoreUnavailableError,
)
from objstore.model import DefaultRetention
from objstore.s3.checksums import digest_of, encode
from tests.clients.endpoint import Endpoint
from tests.model_store import ModelStore
from tests.s3.rawhttp import TIMEOUT_S, RawConnection
from tests.s3.signed import (
    SIGNED_CHUNKS,
    UNSIGNED_CHUNKS,
    Signer,
    plain_chunks,
    sign_chunk,
    signed_chunks_bytes,
)

KEYS = ("TESTKEY", "test+secret/123")
CONFIG = ServerConfig()


class FaultyStore(ModelStore):
    """A model store whose calls can be replaced, and that counts what streams do."""

    def __init__(self) -> None:
        super().__init__(create_buckets=False, config=StoreConfig(io_bytes=256 * KIB))
        self.aborted = 0
        self.opened = 0
        self.largest_write = 0
        self.before_write: Callable[[], object] = lambda: None

    def open_put(self, *arguments: Any, **options: Any) -> Any:
        return self._watched(super().open_put(*arguments, **options))

    def open_part(self, *arguments: Any, **options: Any) -> Any:
        return self._watched(super().open_part(*arguments, **options))

    def _watched(self, stream: Any) -> Any:
        self.opened += 1
        write, abort = stream.write, stream.abort

        def watched_write(data: Any, done: Callable[[], object]) -> None:
            self.largest_write = max(self.largest_write, len(data))
            try:
                self.before_write()
            except BaseException:
                done()
                raise
            write(data, done)

        def watched_abort() -> None:
            self.aborted += 1
            abort()

        stream.write, stream.abort = watched_write, watched_abort
        return stream


@pytest.fixture
def store() -> FaultyStore:
    store = FaultyStore()
    store.create_bucket("bucket")
    return store


@pytest.fixture
def serve(store: FaultyStore) -> Iterator[Callable[..., Signer]]:
    """Starts a server with the default limits but for what is given."""
    servers: list[Server] = []

    def start(**limits: float) -> Signer:
        config = replace(CONFIG, **limits)  # type: ignore[arg-type]
        servers.append(Server(store, [root_credentials(*KEYS)], config=config).start())
        return Signer(servers[-1].url, *KEYS)

    yield start
    for server in servers:
        server.stop()


@pytest.fixture
def signer(serve: Callable[..., Signer]) -> Signer:
    return serve()


@pytest.fixture
def connection(signer: Signer) -> Iterator[RawConnection]:
    with signer.connect() as connection:
        yield connection


@pytest.fixture
def s3(signer: Signer) -> Any:
    return Endpoint(signer.url, *KEYS).client()


def body_of(size: int) -> bytes:
    return (bytes(range(256)) * (size // 256 + 1))[:size]


def stored(store: ModelStore, key: str = "key") -> bytes:
    return store.get("bucket", key).read()


def wait_until(condition: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < deadline_s, "what was waited for did not happen"
        time.sleep(0.01)


SIZES = [0, 1, 4096, 128 * KIB, 128 * KIB + 1, 256 * KIB, 1_000_000, 5 * MIB + 7]


# Bodies in and out.


@pytest.mark.parametrize("size", SIZES)
def test_an_object_comes_back_as_it_went_in(s3: Any, size: int) -> None:
    body = body_of(size)
    put = s3.put_object(Bucket="bucket", Key="key", Body=body)
    got = s3.get_object(Bucket="bucket", Key="key")
    assert got["Body"].read() == body
    assert put["ETag"] == got["ETag"] == f'"{hashlib.md5(body).hexdigest()}"'


@pytest.mark.parametrize("size", SIZES)
def test_a_body_in_unsigned_chunks(
    signer: Signer, connection: RawConnection, store: FaultyStore, size: int
) -> None:
    body = body_of(size)
    pieces = [body[at : at + 64 * KIB] for at in range(0, size, 64 * KIB)]
    trailer = f"x-amz-checksum-crc32c:{encode(digest_of('CRC32C', body))}"
    framed = plain_chunks(pieces, trailer)
    headers = [
        ("content-encoding", "aws-chunked"),
        ("content-length", str(len(framed))),
        ("x-amz-decoded-content-length", str(size)),
        ("x-amz-trailer", "x-amz-checksum-crc32c"),
    ]
    connection.send(signer.head("PUT", "/bucket/key", headers, sha256=UNSIGNED_CHUNKS) + framed)
    answer = connection.read()
    assert answer.status == 200, answer.body
    assert answer.headers["x-amz-checksum-crc32c"] == trailer.partition(":")[2]
    assert stored(store) == body


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("transfer", ["content-length", "transfer-encoding"])
def test_a_body_in_signed_chunks(
    signer: Signer, connection: RawConnection, store: FaultyStore, size: int, transfer: str
) -> None:
    body = body_of(size)
    pieces = [body[at : at + 64 * KIB] for at in range(0, size, 64 * KIB)]
    length = signed_chunks_bytes([*pieces, b""])
    headers = [
        ("content-encoding", "aws-chunked"),
        ("x-amz-decoded-content-length", str(size)),
        (transfer, str(length) if transfer == "content-length" else "chunked"),
    ]
    head, chain = signer.signed_head("PUT", "/bucket/key", headers, sha256=SIGNED_CHUNKS)
    framed = b"".join(sign_chunk(chain, piece) for piece in [*pieces, b""])
    assert len(framed) == length
    if transfer == "transfer-encoding":
        framed = b"%x\r\n%b\r\n0\r\n\r\n" % (len(framed), framed)
    connection.send(head + framed)
    answer = connection.read()
    assert answer.status == 200, answer.body
    assert stored(store) == body


def test_blocks_reach_the_engine_at_its_own_size(s3: Any, store: FaultyStore) -> None:
    s3.put_object(Bucket="bucket", Key="key", Body=body_of(5 * MIB))
    assert store.largest_write == store.config.io_bytes


def test_ranges_and_heads(s3: Any) -> None:
    body = body_of(3 * MIB)
    s3.put_object(Bucket="bucket", Key="key", Body=body)
    got = s3.get_object(Bucket="bucket", Key="key", Range="bytes=1000000-2000000")
    assert got["Body"].read() == body[1_000_000:2_000_001]
    assert got["ContentRange"] == f"bytes 1000000-2000000/{len(body)}"
    assert s3.head_object(Bucket="bucket", Key="key")["ContentLength"] == len(body)


# Bodies that are not what they should be: an error, nothing stored, the connection in order.


def assert_refused(
    signer: Signer, store: FaultyStore, request: bytes, code: str, status: int = 400
) -> None:
    before = store.list("bucket")
    with signer.connect() as connection:
        connection.send_or_lose(request)
        answer = connection.read()
        assert f"<Code>{code}</Code>".encode() in answer.body
        assert answer.status == status
        if answer.headers.get("connection") != "close":
            connection.send(signer.head("GET", "/bucket/other"))
            assert b"<Code>NoSuchKey</Code>" in connection.read().body
    assert store.list("bucket") == before
    wait_until(lambda: store.aborted == store.opened)


@pytest.mark.parametrize("size", [10, 4096, 1_000_000])
@pytest.mark.parametrize(
    ("headers", "sha256", "code"),
    [
        ([("content-md5", base64.b64encode(bytes(16)).decode())], "", "BadDigest"),
        ([], hashlib.sha256(b"another").hexdigest(), "XAmzContentSHA256Mismatch"),
        ([("x-amz-checksum-crc32", "AAAAAA==")], "", "BadDigest"),
        ([("x-amz-checksum-sha256", base64.b64encode(bytes(32)).decode())], "", "BadDigest"),
    ],
)
def test_a_digest_that_differs(
    signer: Signer,
    store: FaultyStore,
    size: int,
    headers: list[tuple[str, str]],
    sha256: str,
    code: str,
) -> None:
    request = signer.put("/bucket/key", body_of(size), headers, sha256=sha256)
    assert_refused(signer, store, request, code)


@pytest.mark.parametrize("size", [0, 10_000, 1_000_000])
def test_what_a_bucket_locks_comes_with_a_digest(
    signer: Signer, store: FaultyStore, size: int
) -> None:
    store.set_versioning("bucket", "Enabled")
    store.set_object_lock("bucket", DefaultRetention("GOVERNANCE", days=1))
    body = body_of(size)
    assert_refused(signer, store, signer.put("/bucket/key", body), "InvalidRequest")
    digest = ("content-md5", base64.b64encode(hashlib.md5(body).digest()).decode())
    with signer.connect() as connection:
        connection.send(signer.put("/bucket/key", body, [digest]))
        assert connection.read().status == 200
    assert store.head("bucket", "key").attributes.lock.mode == "GOVERNANCE"


@pytest.mark.parametrize("size", [10_000, 1_000_000])
@pytest.mark.parametrize(
    ("declared", "trailer", "code"),
    [
        (-1, None, "IncompleteBody"),
        (+1, None, "IncompleteBody"),
        (0, "x-amz-checksum-crc32c:AAAAAA==", "BadDigest"),
        (0, "x-amz-checksum-crc32c:nonsense", "InvalidRequest"),
        (0, "x-amz-checksum-crc32:AAAAAA==", "MalformedTrailerError"),
        (0, "", "IncompleteBody"),
    ],
)
def test_chunks_that_do_not_add_up(
    signer: Signer, store: FaultyStore, size: int, declared: int, trailer: str | None, code: str
) -> None:
    body = body_of(size)
    good = f"x-amz-checksum-crc32c:{encode(digest_of('CRC32C', body))}"
    trailers = [good if trailer is None else trailer]
    framed = plain_chunks([body], *filter(None, trailers))
    headers = [
        ("content-length", str(len(framed))),
        ("x-amz-decoded-content-length", str(size + declared)),
        ("x-amz-trailer", "x-amz-checksum-crc32c"),
    ]
    head = signer.head("PUT", "/bucket/key", headers, sha256=UNSIGNED_CHUNKS)
    assert_refused(signer, store, head + framed, code)


@pytest.mark.parametrize("size", [20_000, 1_000_000])
def test_a_chunk_signature_that_is_wrong(signer: Signer, store: FaultyStore, size: int) -> None:
    body = body_of(size)
    halves = body[: size // 2], body[size // 2 :], b""
    length = signed_chunks_bytes(halves)
    headers = [
        ("content-length", str(length)),
        ("x-amz-decoded-content-length", str(size)),
    ]
    head, chain = signer.signed_head("PUT", "/bucket/key", headers, sha256=SIGNED_CHUNKS)
    framed = bytearray(b"".join(sign_chunk(chain, half) for half in halves))
    assert len(framed) == length
    framed[-200] ^= 1  # in the data of the second chunk
    assert_refused(signer, store, head + framed, "SignatureDoesNotMatch", 403)


@pytest.mark.parametrize("size", [100, 1_000_000])
def test_a_body_in_nonsense_frames(signer: Signer, store: FaultyStore, size: int) -> None:
    headers = [
        ("content-length", str(size)),
        ("x-amz-decoded-content-length", str(size)),
        ("x-amz-trailer", "x-amz-checksum-crc32c"),
    ]
    head = signer.head("PUT", "/bucket/key", headers, sha256=UNSIGNED_CHUNKS)
    with signer.connect() as connection:
        connection.send_or_lose(head + b"z" * size)
        answer = connection.read()
        assert answer.status == 400, answer.body
        assert b"<Error>" in answer.body
    assert not store.list("bucket").entries


def test_xml_that_is_too_long(signer: Signer, store: FaultyStore) -> None:
    body = b"<Delete>" + b" " * (3 * MIB)
    length = ("content-length", str(len(body)))
    request = signer.head("POST", "/bucket?delete", [length]) + body
    assert_refused(signer, store, request, "MaxMessageLengthExceeded")


def test_xml_that_is_too_long_and_does_not_say_so(signer: Signer, store: FaultyStore) -> None:
    head = signer.head("POST", "/bucket?delete", [("transfer-encoding", "chunked")])
    assert_refused(
        signer, store, head + b"100000\r\n%b\r\n" % (b" " * MIB) * 3, "MaxMessageLengthExceeded"
    )


@pytest.mark.parametrize("size", [1000, 1_000_000])
def test_a_client_that_leaves_leaves_nothing(signer: Signer, store: FaultyStore, size: int) -> None:
    with signer.connect() as connection:
        connection.send(signer.put("/bucket/key", body_of(size))[:-1])
        if size > 128 * KIB:
            wait_until(lambda: store.opened == 1)
    wait_until(lambda: store.aborted == store.opened)
    assert not store.list("bucket").entries


def test_a_stalled_upload_is_given_up(serve: Callable[..., Signer], store: FaultyStore) -> None:
    signer = serve(body_stall_timeout_s=0.3)
    with signer.connect() as connection:
        connection.send(signer.put("/bucket/key", body_of(1_000_000))[:-1])
        answer = connection.read()
        assert b"<Code>RequestTimeout</Code>" in answer.body
    wait_until(lambda: store.aborted == store.opened == 1)


# Who may say "continue".


def test_continue_comes_after_the_signature_was_checked(signer: Signer) -> None:
    liar = Signer(signer.url, KEYS[0], "not the secret")
    for who, first_line in ((signer, b"HTTP/1.1 100 Continue\r\n"), (liar, b"HTTP/1.1 403 ")):
        with who.connect() as connection:
            expect = [("expect", "100-continue")]
            request = who.put("/bucket/key", body_of(1_000_000), expect)
            connection.send(request[:-1_000_000])
            assert connection.line().startswith(first_line)


def test_continue_comes_after_the_upload_was_found(
    signer: Signer, connection: RawConnection
) -> None:
    path = "/bucket/key?partNumber=1&uploadId=00000000000000000000000000000000"
    request = signer.put(path, body_of(1_000_000), [("expect", "100-continue")])
    connection.send(request[:-1_000_000])
    answer = connection.read()
    assert (answer.status, answer.headers["connection"]) == (404, "close")
    assert b"<Code>NoSuchUpload</Code>" in answer.body


# Errors of the store.


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (StoreFullError("full"), 507, "InsufficientStorage"),
        (StoreUnavailableError("busy"), 503, "SlowDown"),
        (StorePoisonedError("the device failed"), 503, "ServiceUnavailable"),
        (RuntimeError("a defect"), 500, "InternalError"),
    ],
)
@pytest.mark.parametrize("size", [1000, 1_000_000])
@pytest.mark.parametrize("alone", [True, False])
def test_a_write_that_fails(
    signer: Signer,
    store: FaultyStore,
    error: Exception,
    status: int,
    code: str,
    size: int,
    alone: bool,
) -> None:
    def fail(*_: Any, **__: Any) -> Any:
        raise error

    store.before_write = fail
    store.put = store.submit_put = fail  # type: ignore[method-assign]
    request = signer.put("/bucket/key", body_of(size))
    with contextlib.ExitStack() as others:
        if not alone:
            others.enter_context(signer.connect())
        assert_refused(signer, store, request, code, status)


def test_puts_of_one_turn_are_committed_together(signer: Signer, store: FaultyStore) -> None:
    """The event loop commits what has gathered once a turn, not once a request."""
    held: list[Callable[[], None]] = []
    committed: list[int] = []
    submit_put = store.submit_put

    def submit(*arguments: Any, hold: bool, **options: Any) -> None:
        assert hold
        held.append(lambda: submit_put(*arguments, **options))

    def commit_held() -> None:
        committed.append(len(held))
        while held:
            held.pop(0)()

    store.submit_put, store.commit_held = submit, commit_held  # type: ignore[method-assign,assignment]
    connections = [signer.connect() for _ in range(8)]
    for round_number in range(4):
        for connection in connections:
            connection.send(signer.put(f"/bucket/key-{round_number}", b"abc"))
        for connection in connections:
            assert connection.read().status == 200
    for connection in connections:
        connection.close()
    assert sum(committed) == 32
    assert all(committed), "a commit was due with nothing to commit"


def test_a_device_that_is_slow_is_left_to_the_thread(
    serve: Callable[..., Signer], store: FaultyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("objstore.asgi.gather.SLOW_PAUSE_NS", 3600 * 10**9)
    submit_put = store.submit_put
    held: list[Callable[[], None]] = []
    holds: list[bool] = []

    def submit(*arguments: Any, hold: bool, **options: Any) -> None:
        holds.append(hold)
        held.append(lambda: submit_put(*arguments, **options))
        if not hold:
            held.pop()()

    def commit_held() -> None:
        while held:
            time.sleep(0.06)
            held.pop(0)()

    store.submit_put, store.commit_held = submit, commit_held  # type: ignore[method-assign,assignment]
    signer = serve()
    with signer.connect() as connection:
        for _ in range(5):
            connection.send(signer.put("/bucket/key", b"abc"))
            assert connection.read().status == 200
    # One that takes over 50 ms decides alone.
    assert holds == [True] + [False] * 4


def test_a_commit_that_fails_in_the_background(
    signer: Signer, connection: RawConnection, store: FaultyStore
) -> None:
    def submit(*arguments: Any, **_: Any) -> None:
        threading.Thread(target=arguments[3], args=(None, StoreFullError("full"))).start()

    store.submit_put = submit  # type: ignore[method-assign]
    with signer.connect() as other:
        other.send(signer.put("/bucket/key", b"abc"))
        assert other.read().status == 507


def test_a_defect_is_logged_with_its_request_id(
    signer: Signer,
    connection: RawConnection,
    store: FaultyStore,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(*_: Any, **__: Any) -> Any:
        raise RuntimeError("on purpose")

    store.get = fail  # type: ignore[method-assign]
    with caplog.at_level(logging.ERROR):
        connection.send(signer.head("GET", "/bucket/key"))
        answer = connection.read()
    request_id = answer.headers["x-amz-request-id"]
    assert f"<RequestId>{request_id}</RequestId>".encode() in answer.body
    record = next(record for record in caplog.records if request_id in record.getMessage())
    assert record.exc_info is not None
    connection.send(signer.head("HEAD", "/bucket"))
    assert connection.read(head=True).status == 200


def test_corruption_before_the_first_byte_is_an_error(
    signer: Signer, connection: RawConnection, store: FaultyStore
) -> None:
    get = store.get
    store.put("bucket", "key", body_of(1000))

    def damaged(*arguments: Any, **options: Any) -> Any:
        reader = get(*arguments, **options)

        def fail() -> Any:
            raise CorruptionError("flipped")

        reader.try_next = fail  # type: ignore[method-assign]
        return reader

    store.get = damaged  # type: ignore[method-assign]
    connection.send(signer.head("GET", "/bucket/key") * 2)
    for _ in range(2):
        answer = connection.read()
        assert answer.status == 500
        assert b"do not match their checksum" in answer.body


def test_corruption_further_on_cuts_the_connection(
    signer: Signer, connection: RawConnection, store: FaultyStore
) -> None:
    get = store.get
    body = body_of(2 * MIB)
    store.put("bucket", "key", body)

    def damaged(*arguments: Any, **options: Any) -> Any:
        reader = get(*arguments, **options)
        first = reader.try_next()
        pieces = iter([first])

        def fail() -> Any:
            for piece in pieces:
                return piece
            raise CorruptionError("flipped")

        reader.try_next = fail  # type: ignore[method-assign]
        return reader

    store.get = damaged  # type: ignore[method-assign]
    connection.send(signer.head("GET", "/bucket/key"))
    received = b""
    try:
        while data := connection.socket.recv(1 << 20):
            received += data
    except ConnectionResetError:
        pass
    assert b"HTTP/1.1 200" in received
    assert len(received) < len(body)


def test_a_read_that_would_block_goes_to_a_thread(
    signer: Signer, connection: RawConnection, store: FaultyStore
) -> None:
    get = store.get
    store.put("bucket", "key", body_of(1 * MIB))
    threads: set[str] = set()

    def slow(*arguments: Any, **options: Any) -> Any:
        reader = get(*arguments, **options)
        read = reader.next

        def watched() -> Any:
            threads.add(threading.current_thread().name)
            return read()

        reader.try_next = lambda: None  # type: ignore[method-assign]
        reader.next = watched  # type: ignore[method-assign]
        return reader

    store.get = slow  # type: ignore[method-assign]
    connection.send(signer.head("GET", "/bucket/key"))
    assert connection.read().body == body_of(1 * MIB)
    assert all(name.startswith("objstore-request") for name in threads)


# Bounds.


def test_a_slow_device_holds_the_client_back(
    serve: Callable[..., Signer], store: FaultyStore
) -> None:
    go_on = threading.Event()
    store.before_write = lambda: go_on.wait(TIMEOUT_S)
    signer = serve(upload_buffer_bytes=1 * MIB)
    size = 64 * MIB
    sent = 0
    with signer.connect() as connection:
        request = signer.put("/bucket/key", bytes(size))
        connection.socket.settimeout(1.0)
        try:
            while sent < len(request):
                sent += connection.socket.send(request[sent : sent + 256 * KIB])
        except TimeoutError:
            pass
        assert sent < 32 * MIB  # what the kernel's own buffers take, and our 2 MiB
        go_on.set()
        connection.socket.settimeout(TIMEOUT_S)
        connection.send(request[sent:])
        assert connection.read().status == 200
    assert stored(store) == bytes(size)


def test_uploads_share_a_budget(serve: Callable[..., Signer], store: FaultyStore) -> None:
    signer = serve(uploads_buffer_bytes=256 * KIB, upload_threads=2)
    body = body_of(3 * MIB)
    answers = []

    def put(number: int) -> None:
        with signer.connect() as connection:
            connection.send(signer.put(f"/bucket/{number}", body))
            answers.append(connection.read().status)

    threads = [threading.Thread(target=put, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [200] * 12
    assert all(stored(store, str(number)) == body for number in range(12))


def test_too_many_large_bodies_are_told_to_slow_down(
    serve: Callable[..., Signer], store: FaultyStore
) -> None:
    signer = serve(max_streams=1)
    store.put("bucket", "large", body_of(2 * MIB))
    with signer.connect() as first, signer.connect() as second:
        request = signer.put("/bucket/key", body_of(2 * MIB))
        first.send(request[:-1])
        wait_until(lambda: store.opened == 1)
        for refused in (
            signer.put("/bucket/two", body_of(MIB)),
            signer.head("GET", "/bucket/large"),
        ):
            second.send_or_lose(refused)
            assert b"<Code>SlowDown</Code>" in second.read().body
            second.close()
            second = signer.connect()
        second.send(signer.put("/bucket/small", b"abc"))
        assert second.read().status == 200
        first.send(request[-1:])
        assert first.read().status == 200
        second.send(signer.head("GET", "/bucket/large"))
        assert len(second.read().body) == 2 * MIB


# What every response has.


def test_request_ids_are_all_different(signer: Signer, connection: RawConnection) -> None:
    seen = set()
    for path in ("/", "/bucket", "/bucket/missing", "/?nonsense", "/nobody/x") * 20:
        connection.send(signer.head("GET", path))
        answer = connection.read()
        assert answer.headers["server"] == "objstore"
        assert answer.headers["date"].endswith(" GMT")
        seen.add(answer.headers["x-amz-request-id"])
    assert len(seen) == 100


def test_a_head_that_fails_has_no_body(signer: Signer, connection: RawConnection) -> None:
    connection.send(signer.head("HEAD", "/bucket/missing") * 2)
    assert connection.read(head=True).status == 404
    assert connection.read(head=True).status == 404


def test_no_credentials_no_service(connection: RawConnection) -> None:
    targets = (b"GET /", b"GET /bucket", b"GET /bucket/key", b"PUT /bucket/key")
    for target in (*targets, b"DELETE /bucket/key", b"POST /bucket?delete"):
        connection.send(target + b" HTTP/1.1\r\nhost: h\r\ncontent-length: 0\r\n\r\n")
        answer = connection.read()
        assert answer.status == 403
        assert b"<Code>AccessDenied</Code>" in answer.body


def test_methods_that_s3_does_not_have(connection: RawConnection) -> None:
    for method in (b"PATCH", b"TRACE", b"PROPFIND"):
        connection.send(method + b" /bucket/key HTTP/1.1\r\nhost: h\r\n\r\n")
        assert connection.read().status == 405


def test_keys_of_every_kind_go_through_every_method(s3: Any) -> None:
    keys = ["a\nb", "/", "//", "a//b", "ü/日本/\U0001f600", "a b+c%2F&=?#", ".", "../x", "\x7f"]
    for key in keys:
        s3.put_object(Bucket="bucket", Key=key, Body=key.encode())
        assert s3.get_object(Bucket="bucket", Key=key)["Body"].read() == key.encode()
        upload = s3.create_multipart_upload(Bucket="bucket", Key=key)
        s3.abort_multipart_upload(Bucket="bucket", Key=key, UploadId=upload["UploadId"])
        s3.delete_object(Bucket="bucket", Key=key)
        with pytest.raises(ClientError, match="404"):
            s3.head_object(Bucket="bucket", Key=key)
