"""Access logs as S3 delivers them: set by a client, read back and taken apart by S3's format."""

from __future__ import annotations

import os
import re
import signal
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.clients.endpoint import ServerProcess
from tests.s3 import forms
from tests.stores import assert_whole

# As S3 documents its fields, one after the other.
LINE = re.compile(
    r"(?P<owner>[0-9a-f]{64}|-) (?P<bucket>[a-z0-9.-]+) "
    r"\[(?P<time>\d\d/[A-Z][a-z][a-z]/\d{4}:\d\d:\d\d:\d\d \+0000)\] (?P<ip>[0-9a-f.:]+|-) "
    r"(?P<requester>[0-9a-f]{64}|-) (?P<request_id>[0-9A-F]{16}) "
    r"(?P<operation>(?:REST|WEBSITE|BATCH)\.[A-Z]+\.[A-Z_]+) (?P<key>\S+) "
    r'"(?P<uri>[A-Z]+ [^"]+ HTTP/1\.[01])" (?P<status>\d{3}) (?P<error>[A-Za-z]+|-) '
    r"(?P<sent>\d+|-) (?P<size>\d+|-) (?P<total>\d+|-) (?P<turn_around>\d+|-) "
    r'"(?P<referer>[^"]*)" "(?P<agent>[^"]*)" (?P<version>\S+) (?P<host_id>\S+) '
    r"(?P<signature>SigV4|-) (?P<cipher>-) (?P<auth>AuthHeader|QueryString|-) (?P<host>\S+) "
    r"(?P<tls>-) (?P<access_point>-) (?P<acl>-) (?P<source_region>-)"
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    found = ServerProcess(tmp_path_factory.mktemp("logs"), "--bucket-log-interval", "1")
    try:
        yield found
    finally:
        found.stop()
    assert_whole(found.data)


@pytest.fixture
def s3(server: ServerProcess) -> Any:
    return server.endpoint.client()


def enable(s3: Any, source: str, target: str, prefix: str = "", **form: Any) -> None:
    for name in (source, target):
        s3.create_bucket(Bucket=name)
    enabled: dict[str, Any] = {"TargetBucket": target, "TargetPrefix": prefix}
    if form:
        enabled["TargetObjectKeyFormat"] = form
    s3.put_bucket_logging(Bucket=source, BucketLoggingStatus={"LoggingEnabled": enabled})
    time.sleep(2.5)  # every worker knows of it by then


def delivered(s3: Any, target: str) -> dict[str, list[str]]:
    """The lines of each object of logs."""
    found = {}
    for entry in s3.list_objects_v2(Bucket=target).get("Contents", []):
        body = s3.get_object(Bucket=target, Key=entry["Key"])["Body"].read()
        assert body.endswith(b"\n")
        found[entry["Key"]] = body.decode().splitlines()
    return found


def lines(s3: Any, target: str, *expected: str) -> list[dict[str, str]]:
    """The fields of the lines, once there is one for each ``OPERATION KEY`` that is expected."""
    deadline = time.monotonic() + 60
    while True:
        listed = [line for some in delivered(s3, target).values() for line in some]
        missing = [each for each in expected if not any(f" {each} " in line for line in listed)]
        if not missing:
            break
        assert time.monotonic() < deadline, (missing, listed)
        time.sleep(0.2)
    found = []
    for line in listed:
        match = LINE.fullmatch(line)
        assert match is not None, line
        found.append(match.groupdict())
    return found


def one(found: list[dict[str, str]], operation: str, **fields: str) -> dict[str, str]:
    matching = [
        line for line in found if line["operation"] == operation and fields.items() <= line.items()
    ]
    assert len(matching) == 1, (operation, fields, found)
    return matching[0]


def test_every_request_is_a_line(s3: Any, server: ServerProcess) -> None:
    enable(s3, "source", "target", "logs/")
    assert s3.get_bucket_logging(Bucket="source")["LoggingEnabled"]["TargetBucket"] == "target"
    key = 'odd "key" +é/\n'
    s3.put_object(Bucket="source", Key=key, Body=b"x" * 3000)
    s3.get_object(Bucket="source", Key=key, Range="bytes=0-99")["Body"].read()
    s3.head_object(Bucket="source", Key=key)
    with pytest.raises(ClientError):
        s3.get_object(Bucket="source", Key="missing")
    s3.copy_object(Bucket="source", Key="copy", CopySource={"Bucket": "source", "Key": key})
    s3.list_objects_v2(Bucket="source")
    s3.delete_objects(
        Bucket="source", Delete={"Objects": [{"Key": "copy"}, {"Key": "never-there"}]}
    )
    url = s3.generate_presigned_url("get_object", Params={"Bucket": "source", "Key": key})
    request = urllib.request.Request(
        url, headers={"User-Agent": 'my "browser"', "Referer": "http://from/"}
    )
    with urllib.request.urlopen(request, timeout=30) as reply:
        assert len(reply.read()) == 3000
    upload = s3.create_multipart_upload(Bucket="source", Key="parts")["UploadId"]
    part = s3.upload_part(
        Bucket="source", Key="parts", UploadId=upload, PartNumber=1, Body=b"y" * 5000
    )
    s3.complete_multipart_upload(
        Bucket="source",
        Key="parts",
        UploadId=upload,
        MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]},
    )
    s3.delete_object(Bucket="source", Key="parts")
    anonymous = f"{server.endpoint.url}/source/secret?x-mine=1"
    with pytest.raises(urllib.error.HTTPError):
        urllib.request.urlopen(anonymous, timeout=30)

    quoted = "odd%20%22key%22%20%2B%C3%A9/%0A"
    found = lines(
        s3,
        "target",
        *(f"REST.{name}" for name in (f"PUT.OBJECT {quoted}", f"HEAD.OBJECT {quoted}")),
        *(f"REST.GET.{name}" for name in ("OBJECT missing", "OBJECT secret", "BUCKET -")),
        *("REST.COPY.OBJECT copy", f"REST.COPY.OBJECT_GET {quoted}"),
        *("REST.POST.MULTI_OBJECT_DELETE -", "BATCH.DELETE.OBJECT never-there"),
        *("REST.POST.UPLOADS parts", "REST.PUT.PART parts", "REST.POST.UPLOAD parts"),
        *("REST.DELETE.OBJECT parts", "SigV4 - QueryString", "206 - 100"),
    )
    put = one(found, "REST.PUT.OBJECT", key=quoted)
    assert (put["status"], put["error"], put["sent"], put["size"]) == ("200", "-", "-", "3000")
    assert put["owner"] == put["requester"] != "-"
    assert (put["signature"], put["auth"], put["ip"]) == ("SigV4", "AuthHeader", "127.0.0.1")
    assert put["host"] == server.endpoint.url.removeprefix("http://")
    assert "Boto3" in put["agent"]
    part_read = one(found, "REST.GET.OBJECT", status="206")
    assert (part_read["sent"], part_read["size"]) == ("100", "3000")
    head = one(found, "REST.HEAD.OBJECT", key=quoted)
    assert (head["sent"], head["size"]) == ("-", "3000")
    missing = one(found, "REST.GET.OBJECT", key="missing")
    assert (missing["status"], missing["error"], missing["size"]) == ("404", "NoSuchKey", "-")
    assert int(missing["sent"]) > 100
    assert one(found, "REST.COPY.OBJECT", key="copy")["size"] == "3000"
    read = one(found, "REST.COPY.OBJECT_GET", key=quoted)
    assert (read["status"], read["size"], read["sent"]) == ("200", "3000", "-")
    assert one(found, "REST.GET.BUCKET")["key"] == "-"
    assert one(found, "REST.POST.MULTI_OBJECT_DELETE")["status"] == "200"
    for name in ("copy", "never-there"):
        assert one(found, "BATCH.DELETE.OBJECT", key=name)["status"] == "204"
    linked = one(found, "REST.GET.OBJECT", auth="QueryString")
    assert (linked["agent"], linked["referer"]) == ("my %22browser%22", "http://from/")
    assert "X-Amz-Signature=REDACTED" in linked["uri"]
    assert url.partition("Signature=")[2][:64] not in linked["uri"]
    for operation in ("REST.POST.UPLOADS", "REST.PUT.PART", "REST.POST.UPLOAD"):
        assert one(found, operation, key="parts")["status"] == "200"
    assert one(found, "REST.PUT.PART")["size"] == "5000"
    assert one(found, "REST.DELETE.OBJECT", key="parts")["status"] == "204"
    denied = one(found, "REST.GET.OBJECT", key="secret")
    assert (denied["status"], denied["error"], denied["requester"]) == ("403", "AccessDenied", "-")
    assert denied["uri"] == "GET /source/secret?x-mine=1 HTTP/1.1"
    for name in delivered(s3, "target"):
        assert re.fullmatch(r"logs/\d{4}(-\d\d){5}-[0-9A-F]{16}", name), name


def break_off(s3: Any, server: ServerProcess, key: str, head: str, body: bytes) -> bytes:
    """Begin to upload, send no more, and see what comes of it."""
    url = s3.generate_presigned_url("put_object", Params={"Bucket": "broken", "Key": key})
    host, _, path = url.removeprefix("http://").partition("/")
    name, _, port = host.partition(":")
    with socket.create_connection((name, int(port)), timeout=30) as connection:
        request = f"PUT /{path} HTTP/1.1\r\nhost: {host}\r\n{head}\r\n\r\n"
        connection.sendall(request.encode() + body)
        time.sleep(0.5)  # it is at the body by now
        connection.shutdown(socket.SHUT_WR)
        return connection.recv(100)


def test_what_is_broken_off_is_a_line_too(s3: Any, server: ServerProcess) -> None:
    enable(s3, "broken", "target-broken")
    assert break_off(s3, server, "small", "content-length: 1000", b"begun") == b""
    assert break_off(s3, server, "large", "content-length: 9000000", b"begun" * 100_000) == b""
    assert b" 400 " in break_off(s3, server, "odd", "transfer-encoding: chunked", b"5\r\nbegun!!!")
    found = lines(s3, "target-broken", *(f"REST.PUT.OBJECT {key}" for key in ("small", "large")))
    for key in ("small", "large"):
        broken = one(found, "REST.PUT.OBJECT", key=key)
        assert (broken["status"], broken["error"]) == ("400", "IncompleteBody")
        assert (broken["sent"], broken["size"]) == ("-", "-")
    found = lines(s3, "target-broken", "REST.PUT.OBJECT odd")
    refused = one(found, "REST.PUT.OBJECT", key="odd")
    assert (refused["status"], refused["error"]) == ("400", "BadRequest")
    assert int(refused["sent"]) > 100
    assert "Contents" not in s3.list_objects_v2(Bucket="broken")


def test_forms_have_sizes_and_referers_no_signatures(s3: Any, server: ServerProcess) -> None:
    enable(s3, "formed", "target-formed")
    made = s3.generate_presigned_post("formed", "by-form")
    body = forms.encode(made["fields"], b"z" * 777)
    posted = urllib.request.Request(made["url"], body, headers=forms.HEADERS)
    with urllib.request.urlopen(posted, timeout=30) as reply:
        assert reply.status == 204
    s3.put_object(Bucket="formed", Key="page", Body=b"x")
    page = s3.generate_presigned_url("get_object", Params={"Bucket": "formed", "Key": "page"})
    request = urllib.request.Request(page, headers={"Referer": f"{page}&shown=1"})
    with urllib.request.urlopen(request, timeout=30):
        pass
    found = lines(s3, "target-formed", "REST.POST.OBJECT by-form", "REST.GET.OBJECT page")
    assert one(found, "REST.POST.OBJECT")["size"] == "777"
    referer = one(found, "REST.GET.OBJECT", key="page")["referer"]
    assert referer.startswith(page.partition("?")[0])
    assert "X-Amz-Signature=REDACTED" in referer
    assert referer.endswith("&shown=1")
    assert page.partition("Signature=")[2][:64] not in referer


def test_keys_by_date(s3: Any) -> None:
    form = {"PartitionedPrefix": {"PartitionDateSource": "EventTime"}}
    enable(s3, "dated", "target-dated", "p/", **form)
    s3.put_object(Bucket="dated", Key="key", Body=b"x")
    one(lines(s3, "target-dated", "REST.PUT.OBJECT key"), "REST.PUT.OBJECT", key="key")
    day = time.strftime("%Y/%m/%d", time.gmtime())
    beginning = f"p/000000000000/us-east-1/dated/{day}/{day.replace('/', '-')}-00-00-00-"
    for name in delivered(s3, "target-dated"):
        assert re.fullmatch(re.escape(beginning) + "[0-9A-F]{16}", name), name


def test_a_bucket_that_wants_no_more(s3: Any) -> None:
    enable(s3, "ending", "target-ending")
    s3.put_object(Bucket="ending", Key="key", Body=b"x")
    s3.put_bucket_logging(Bucket="ending", BucketLoggingStatus={})
    assert "LoggingEnabled" not in s3.get_bucket_logging(Bucket="ending")
    one(lines(s3, "target-ending", "REST.PUT.OBJECT key"), "REST.PUT.OBJECT", key="key")
    time.sleep(1.2)  # every worker knows of it by then
    s3.put_object(Bucket="ending", Key="unseen", Body=b"x")
    time.sleep(3.5)
    assert not any(
        "unseen" in line for some in delivered(s3, "target-ending").values() for line in some
    )


def test_a_target_has_to_be_there(s3: Any) -> None:
    s3.create_bucket(Bucket="lonely")
    enabled = {"TargetBucket": "nowhere", "TargetPrefix": ""}
    with pytest.raises(ClientError, match="InvalidTargetBucketForLogging"):
        s3.put_bucket_logging(Bucket="lonely", BucketLoggingStatus={"LoggingEnabled": enabled})


def _stopped(server: ServerProcess) -> None:
    server.stop()


def _killed(server: ServerProcess) -> None:
    time.sleep(1.5)  # what a second has passed over is in a file
    children = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()
    for pid in (server.pid, *map(int, children)):
        os.kill(pid, signal.SIGKILL)
    server.wait_killed()


@pytest.mark.parametrize("end", [_stopped, _killed])
def test_what_waits_is_delivered_after_the_end(
    end: Callable[[ServerProcess], None], tmp_path: Path
) -> None:
    first = ServerProcess(tmp_path, "--bucket-log-interval", "3600")
    s3 = first.endpoint.client()
    enable(s3, "source", "target")
    for number in range(20):
        s3.put_object(Bucket="source", Key=f"k{number}", Body=b"x")
    assert delivered(s3, "target") == {}
    end(first)
    second = ServerProcess(tmp_path, "--bucket-log-interval", "3600")
    try:
        client = second.endpoint.client()
        expected = [f"REST.PUT.OBJECT k{number}" for number in range(20)]
        found = lines(client, "target", *expected)
        keys = sorted(line["key"] for line in found if line["operation"] == "REST.PUT.OBJECT")
        assert keys == sorted(f"k{number}" for number in range(20))
    finally:
        second.stop()
    assert_whole(second.data)
    waiting = second.data / "run" / "access-logs"
    assert [path for path in waiting.iterdir() if path.is_dir()] == []
