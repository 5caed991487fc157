"""EC2's and EBS's requests on the wire: bodies in chunks, lost clients, many at a time."""

from __future__ import annotations

import hashlib
import time
import urllib.parse
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from objstore import ObjectStore
from objstore.asgi.app import root_credentials
from objstore.asgi.server import Server
from objstore.auth import Credentials, Identity, authorization_for
from objstore.auth.dates import iso_basic
from tests.clients.block_services import service_client
from tests.clients.endpoint import Endpoint, ServerProcess
from tests.clients.test_ebs_direct import linear_checksum, put, read_snapshot, some_blocks
from tests.s3.rawhttp import RawConnection

FORM = b"Action=DescribeAvailabilityZones&Version=2016-11-15"
EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def head(endpoint: Endpoint, digest: str, *lines: str, method: str = "POST") -> bytes:
    """The head of a signed request for EC2; `lines` are not signed."""
    now_s = int(time.time())
    host = urllib.parse.urlsplit(endpoint.url).netloc
    signed = [
        (b"host", host.encode()),
        (b"x-amz-content-sha256", digest.encode()),
        (b"x-amz-date", iso_basic(now_s)),
    ]
    keys = Credentials(endpoint.access_key, endpoint.secret_key, Identity("x"))
    authorization = authorization_for(
        keys, method, b"/", b"", signed, region="us-east-1", time_s=now_s, service="ec2"
    )
    rendered = [b"%b: %b" % line for line in (*signed, (b"authorization", authorization))]
    rendered += [line.encode() for line in lines]
    return b"%b / HTTP/1.1\r\n%b\r\n\r\n" % (method.encode(), b"\r\n".join(rendered))


def digest_of(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def test_a_form_in_chunks(block_server: ServerProcess) -> None:
    endpoint = block_server.endpoint
    with RawConnection(endpoint.url) as connection:
        connection.send(head(endpoint, digest_of(FORM), "transfer-encoding: chunked"))
        for start in range(0, len(FORM), 7):
            piece = FORM[start : start + 7]
            connection.send(b"%x\r\n%b\r\n" % (len(piece), piece))
        connection.send(b"0\r\n\r\n")
        answer = connection.read()
    assert (answer.status, b"<zoneName>us-east-1a</zoneName>" in answer.body) == (200, True)


def test_a_form_that_waits_to_be_asked_for(block_server: ServerProcess) -> None:
    endpoint = block_server.endpoint
    length = f"content-length: {len(FORM)}"
    with RawConnection(endpoint.url) as connection:
        connection.send(head(endpoint, digest_of(FORM), length, "expect: 100-continue"))
        assert connection.line() == b"HTTP/1.1 100 Continue\r\n"
        assert connection.line() == b"\r\n"
        connection.send(FORM)
        assert connection.read().status == 200


def test_several_requests_on_one_connection(block_server: ServerProcess) -> None:
    endpoint = block_server.endpoint
    length = f"content-length: {len(FORM)}"
    request = head(endpoint, digest_of(FORM), length) + FORM
    with RawConnection(endpoint.url) as connection:
        connection.send(request + head(endpoint, EMPTY, method="PUT") + request)
        answers = [connection.read() for _ in range(3)]
    assert [answer.status for answer in answers] == [200, 400, 200]
    ids = {answer.headers["x-amzn-requestid"] for answer in answers}
    assert len(ids) == 3


@pytest.mark.parametrize("framing", ["content-length: 5000000", "transfer-encoding: chunked"])
def test_a_form_without_end(block_server: ServerProcess, framing: str) -> None:
    endpoint = block_server.endpoint
    with RawConnection(endpoint.url) as connection:
        connection.send(head(endpoint, digest_of(FORM), framing))
        piece = b"10000\r\n" + b"x" * 65536 + b"\r\n"
        for _ in range(40):
            if framing.startswith("content") or not connection.send_or_lose(piece):
                break
        answer = connection.read()
    assert (answer.status, b"MalformedQueryString" in answer.body) == (400, True)


def test_clients_that_leave(block_server: ServerProcess, ec2: Any) -> None:
    endpoint = block_server.endpoint
    for _ in range(300):  # more than may be under way at a time
        with RawConnection(endpoint.url) as connection:
            connection.send(head(endpoint, digest_of(FORM), "content-length: 1000") + b"Action=")
    assert ec2.describe_availability_zones()["AvailabilityZones"]


def test_many_at_a_time(block_server: ServerProcess, ec2: Any) -> None:
    """Both workers, more requests than threads: each gets its own volume."""

    def make(number: int) -> str:
        client = service_client(block_server.endpoint, "ec2")
        volume: dict[str, Any] = client.create_volume(
            AvailabilityZone="us-east-1a", Size=number, VolumeType="gp2"
        )
        return str(volume["VolumeId"])

    with ThreadPoolExecutor(16) as threads:
        made = list(threads.map(make, range(1, 33)))
    assert len(set(made)) == 32
    found = ec2.describe_volumes(VolumeIds=made)["Volumes"]
    assert {v["VolumeId"]: v["Size"] for v in found} == dict(zip(made, range(1, 33), strict=True))
    with ThreadPoolExecutor(16) as threads:
        list(threads.map(lambda one: ec2.delete_volume(VolumeId=one), made))


def test_one_volume_for_many_that_ask_with_one_token(block_server: ServerProcess) -> None:
    token = f"token-{time.time_ns()}"

    def make(_: int) -> str:
        client = service_client(block_server.endpoint, "ec2")
        return str(
            client.create_volume(AvailabilityZone="us-east-1a", Size=1, ClientToken=token)[
                "VolumeId"
            ]
        )

    with ThreadPoolExecutor(8) as threads:
        made = set(threads.map(make, range(16)))
    assert len(made) == 1
    service_client(block_server.endpoint, "ec2").delete_volume(VolumeId=made.pop())


def test_blocks_of_one_snapshot_from_many(ebs: Any, ec2: Any, seed: int) -> None:
    blocks = some_blocks(seed, *range(24))
    snapshot_id = ebs.start_snapshot(VolumeSize=1)["SnapshotId"]
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda index: put(ebs, snapshot_id, index, blocks[index]), blocks))
    ebs.complete_snapshot(
        SnapshotId=snapshot_id,
        ChangedBlocksCount=24,
        Checksum=linear_checksum(blocks),
        ChecksumAlgorithm="SHA256",
        ChecksumAggregationMethod="LINEAR",
    )
    assert read_snapshot(ebs, snapshot_id) == blocks
    ec2.delete_snapshot(SnapshotId=snapshot_id)


def test_a_server_without_a_folder_for_regions_answers_as_s3_only(tmp_path: Path) -> None:
    """An embedded server has a store and no region."""
    keys = root_credentials("KEY", "SECRET")
    length = f"content-length: {len(FORM)}"
    with (
        ObjectStore.open(tmp_path) as store,
        Server(store, [keys]) as server,
        RawConnection(server.url) as connection,
    ):
        connection.send(head(Endpoint(server.url, "KEY", "SECRET"), digest_of(FORM), length) + FORM)
        answer = connection.read()
    assert answer.status in (400, 405)
    assert b"<Error><Code>" in answer.body  # S3's document; EC2's has <Errors> around it
    assert b"<Errors>" not in answer.body
    assert not (tmp_path / "region").exists()
