"""Targets of events: what counts as taken, what is tried again, what is refused."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from objstore.engine.outbox import OutboxEvent
from objstore.events import message, targets
from objstore.events.destinations import (
    DestinationError,
    check_destinations,
    parse_destination,
)
from objstore.events.targets import TargetError, open_target
from objstore.index.schema import EventBody

TIMEOUT_S = 30
REDIS_SERVER = shutil.which("redis-server")


# --- names --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("hook=http://127.0.0.1:8080/path?a=b", "hook:webhook"),
        ("hook=https://user:secret@host/", "hook:webhook"),
        ("log=file:events.jsonl", "log:file"),
        ("log=file:///var/log/events.jsonl", "log:file"),
        ("red_1=redis://:secret@host:6379/0?list=events", "red_1:redis"),
        ("red-2=rediss://host?stream=events", "red-2:redis"),
        ("eventbridge=file:bridge.jsonl", "eventbridge"),
    ],
)
def test_destinations(text: str, key: str) -> None:
    destination = parse_destination(text)
    assert destination.key == key
    assert destination.arn.startswith("arn:objstore:sqs::")
    assert "secret" not in repr(destination)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hook",
        "=http://host/",
        "a b=http://host/",
        "n" * 65 + "=http://host/",
        "hook=http:///path",
        "hook=http://host:x/",
        "hook=http://[/",
        "hook=ftp://host/",
        "hook=host",
        "log=file:",
        "log=file:folder/",
        "log=file://host/path",
        "red=redis://host/0",
        "red=redis://host/0?set=key",
        "red=redis://host/0?list=a&stream=b",
        "red=redis://host/0?list=",
    ],
)
def test_what_is_no_destination(text: str) -> None:
    with pytest.raises(DestinationError):
        parse_destination(text)


def test_destinations_of_one_server(monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = parse_destination("a=file:x"), parse_destination("a=file:y")
    check_destinations([one, parse_destination("a=http://host/")])
    with pytest.raises(DestinationError, match="two destinations a:file"):
        check_destinations([one, other])
    with pytest.raises(DestinationError, match="64 at most"):
        check_destinations([parse_destination(f"n{number}=file:x") for number in range(65)])
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(DestinationError, match=r"pip install 'objstore\[redis\]'"):
        check_destinations([parse_destination("r=redis://host?list=k")])


# --- webhooks -----------------------------------------------------------------------


class Hook:
    """An HTTP server that answers as `script` says; what it was sent is in `taken`."""

    def __init__(self) -> None:
        self.taken: list[tuple[str, dict[str, str], bytes]] = []
        self.script: Callable[[BaseHTTPRequestHandler], int | None] = lambda _request: 200
        hook = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                hook.taken.append((self.path, dict(self.headers), body))
                status = hook.script(self)
                if status is None:
                    self.close_connection = True
                    return
                self.send_response(status)
                self.send_header("content-length", "2")
                self.send_header("location", "/elsewhere")
                self.end_headers()
                self.wfile.write(b"ok")

            def log_message(self, *_arguments: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}/hook?a=b"

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join(TIMEOUT_S)


@pytest.fixture
def hook() -> Iterator[Hook]:
    hook = Hook()
    yield hook
    hook.stop()


def webhook(url: str, token: str = "") -> Any:
    return open_target(parse_destination(f"hook={url}"), Path(), token)


def test_a_webhook_is_sent_json(hook: Hook) -> None:
    target = webhook(hook.url, "token")
    for number in range(3):
        target.send(b"%d" % number)
    target.close()
    target.send(b"again")
    assert [body for _path, _headers, body in hook.taken] == [b"0", b"1", b"2", b"again"]
    path, headers, _body = hook.taken[0]
    assert path == "/hook?a=b"
    assert headers["Content-Type"] == "application/json"
    assert headers["Authorization"] == "Bearer token"
    target.close()


def test_a_name_and_a_password(hook: Hook) -> None:
    target = webhook(hook.url.replace("://", "://na%3Ame:pass@"))
    target.send(b"")
    assert hook.taken[0][1]["Authorization"] == "Basic bmE6bWU6cGFzcw=="
    target.close()


@pytest.mark.parametrize(
    ("status", "is_refused"),
    [
        *((204, None), (299, None)),
        *((301, True), (400, True), (404, True), (410, True)),
        *((408, False), (429, False), (500, False), (503, False)),
    ],
)
def test_what_the_status_means(hook: Hook, status: int, is_refused: bool | None) -> None:
    hook.script = lambda _request: status
    target = webhook(hook.url)
    if is_refused is None:
        target.send(b"x")
    else:
        with pytest.raises(TargetError, match=str(status)) as caught:
            target.send(b"x")
        assert caught.value.is_refused == is_refused
    assert len(hook.taken) == 1  # a redirect is not followed
    target.close()


def test_a_connection_that_is_closed_meanwhile(hook: Hook) -> None:
    """Servers close what is idle: that is no failure, and the message goes out once."""
    target = webhook(hook.url)
    target.send(b"first")
    target._connection.sock.shutdown(socket.SHUT_RDWR)
    target.send(b"second")
    assert [body for _path, _headers, body in hook.taken] == [b"first", b"second"]
    target.close()


def test_a_server_that_hangs_or_is_not_there(hook: Hook, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(targets, "EVENT_TIMEOUT_S", 0.2)
    answers = threading.Event()
    hook.script = lambda _request: 200 if answers.wait(TIMEOUT_S) else 500
    target = webhook(hook.url)
    with pytest.raises(TargetError, match="timed out") as caught:
        target.send(b"x")
    assert not caught.value.is_refused
    answers.set()
    hook.script = lambda _request: None  # it closes without a word
    with pytest.raises(TargetError) as caught:
        target.send(b"x")
    assert not caught.value.is_refused
    hook.script = lambda _request: 200
    target.send(b"x")
    target.close()
    gone = webhook("http://127.0.0.1:1/")
    with pytest.raises(TargetError, match="refused"):
        gone.send(b"x")


def test_an_answer_without_an_end(hook: Hook) -> None:
    """No more of it is read than anybody wants; the next message has a connection of its own."""

    def talk(request: BaseHTTPRequestHandler) -> None:
        request.wfile.write(b"HTTP/1.1 200 OK\r\ncontent-length: 10000000\r\n\r\n" + bytes(200_000))

    hook.script = talk
    target = webhook(hook.url)
    target.send(b"x")
    hook.script = lambda _request: 200
    target.send(b"y")
    target.close()


# --- files --------------------------------------------------------------------------


def lines(path: Path) -> list[bytes]:
    return path.read_bytes().splitlines()


def test_a_file_has_a_line_for_each(tmp_path: Path) -> None:
    target = open_target(parse_destination("log=file:a%20b.jsonl"), tmp_path)
    target.send(b"1")
    target.send(b"2")
    path = tmp_path / "a b.jsonl"
    assert lines(path) == [b"1", b"2"]
    path.rename(tmp_path / "rotated")
    target.send(b"3")
    assert (lines(tmp_path / "rotated"), lines(path)) == ([b"1", b"2"], [b"3"])
    path.unlink()
    target.send(b"4")
    target.close()
    assert lines(path) == [b"4"]


def test_half_a_line_is_ended(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b'1\n{"half')
    target = open_target(parse_destination(f"log=file://{path}"), Path("/nowhere"))
    target.send(b"2")
    target.send(b"3")
    target.close()
    assert lines(path) == [b"1", b'{"half', b"2", b"3"]


def test_a_file_that_cannot_be_written(tmp_path: Path) -> None:
    target = open_target(parse_destination("log=file:missing/log"), tmp_path)
    with pytest.raises(TargetError, match="No such file") as caught:
        target.send(b"1")
    assert not caught.value.is_refused
    (tmp_path / "missing").mkdir()
    target.send(b"1")
    target.close()
    full = open_target(parse_destination("log=file:///dev/full"), tmp_path)
    with pytest.raises(TargetError):
        full.send(b"1")


# --- Redis --------------------------------------------------------------------------


@pytest.fixture
def redis_port(tmp_path: Path) -> Iterator[int]:
    if REDIS_SERVER is None:
        pytest.skip("redis-server is not installed: apt-get install redis-server")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [REDIS_SERVER, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", tmp_path],
        stdout=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + TIMEOUT_S
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            break
        except OSError:
            assert time.monotonic() < deadline, "redis-server does not listen"
            time.sleep(0.05)
    yield port
    process.terminate()
    process.wait(TIMEOUT_S)


def test_redis(redis_port: int) -> None:
    import redis

    url = f"redis://127.0.0.1:{redis_port}/2"
    client: Any = redis.Redis.from_url(url)
    for room in ("list", "stream"):
        target = open_target(parse_destination(f"r={url}?{room}=told%20{room}"), Path())
        target.send(b'{"a":1}')
        target.send(b"2")
        target.close()
        target.send(b"3")
        target.close()
    assert client.lrange("told list", 0, -1) == [b'{"a":1}', b"2", b"3"]
    told = [fields[b"message"] for _id, fields in client.xrange("told stream")]
    assert told == [b'{"a":1}', b"2", b"3"]
    client.set("text", "a text")
    wrong = open_target(parse_destination(f"r={url}?list=text"), Path())
    with pytest.raises(TargetError, match="WRONGTYPE"):
        wrong.send(b"4")
    client.close()
    wrong.close()


def test_no_redis_there() -> None:
    target = open_target(parse_destination("r=redis://127.0.0.1:1/?list=k"), Path())
    with pytest.raises(TargetError):
        target.send(b"1")
    target.close()


# --- messages -----------------------------------------------------------------------


def event(name: str, key: str = "key", **how: Any) -> OutboxEvent:
    body = EventBody(
        name,
        1_700_000_000_123,
        "photos",
        key,
        region="eu-north-1",
        owner="owner",
        principal="someone",
        source_ip="10.0.0.1",
        request_id="0123456789ABCDEF",
        rule_id="rule",
        **how,
    )
    return OutboxEvent(77, body)


def test_a_record_of_s3() -> None:
    """As "Event message structure" of S3's user guide has it."""
    put = event(
        "ObjectCreated:Put", "a b/ü+.jpg", size_bytes=5, etag="e" * 32, version_id="v", sequencer=9
    )
    (record,) = json.loads(message.s3_message([put]))["Records"]
    assert record == {
        "eventVersion": "2.1",
        "eventSource": "aws:s3",
        "awsRegion": "eu-north-1",
        "eventTime": "2023-11-14T22:13:20.123Z",
        "eventName": "ObjectCreated:Put",
        "userIdentity": {"principalId": "someone"},
        "requestParameters": {"sourceIPAddress": "10.0.0.1"},
        "responseElements": {"x-amz-request-id": "0123456789ABCDEF", "x-amz-id-2": "objstore"},
        "s3": {
            "s3SchemaVersion": "1.0",
            "configurationId": "rule",
            "bucket": {
                "name": "photos",
                "ownerIdentity": {"principalId": "owner"},
                "arn": "arn:aws:s3:::photos",
            },
            "object": {
                "key": "a+b/%C3%BC%2B.jpg",
                "size": 5,
                "eTag": "e" * 32,
                "versionId": "v",
                "sequencer": "000000000000000009",
            },
        },
    }
    removed = json.loads(message.s3_message([event("ObjectRemoved:Delete")]))
    assert removed["Records"][0]["s3"]["object"].keys() == {"key", "sequencer"}


def test_the_test_event() -> None:
    assert json.loads(message.s3_message([event("TestEvent")])) == {
        "Service": "Amazon S3",
        "Event": "s3:TestEvent",
        "Time": "2023-11-14T22:13:20.123Z",
        "Bucket": "photos",
        "RequestId": "0123456789ABCDEF",
        "HostId": "objstore",
    }


def test_an_event_of_the_bridge() -> None:
    names = {
        "ObjectCreated:Copy": ("Object Created", "CopyObject", None),
        "ObjectRemoved:Delete": ("Object Deleted", "DeleteObject", "Permanently Deleted"),
        "ObjectRemoved:DeleteMarkerCreated": (
            *("Object Deleted", "DeleteObject", "Delete Marker Created"),
        ),
        "ObjectTagging:Put": ("Object Tags Added", None, None),
    }
    for name, (kind, reason, deletion) in names.items():
        told = event(name, "ü.jpg", size_bytes=5, etag="e", version_id="v")
        (found,) = json.loads(message.bridge_message([told]))["Events"]
        assert (found["detail-type"], found["source"]) == (kind, "aws.s3")
        assert found["time"] == "2023-11-14T22:13:20Z"
        detail = found["detail"]
        assert detail["object"]["key"] == "ü.jpg"
        assert (detail.get("reason"), detail.get("deletion-type")) == (reason, deletion)
        again = json.loads(message.bridge_message([told]))["Events"][0]
        assert again["id"] == found["id"]


def test_later_changes_have_greater_sequencers() -> None:
    texts = [message.sequencer(event("x", sequencer=number).body) for number in (1, 9, 10, 2**63)]
    assert texts == sorted(texts)
