"""The EBS direct APIs: a snapshot written block by block, read, and compared."""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import random
import urllib.error
import urllib.parse
import urllib.request
import uuid
from collections.abc import Mapping
from typing import Any

import botocore.auth
import pytest
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from tests.clients.block_services import service_client
from tests.clients.endpoint import ServerProcess
from tests.clients.errors import refused

BLOCK = 512 * 1024
NOWHERE = "snap-0123456789abcdef0"


def digest_of(data: bytes) -> str:
    return base64.b64encode(hashlib.sha256(data).digest()).decode()


def linear_checksum(blocks: Mapping[int, bytes]) -> str:
    """SHA-256 over the SHA-256s of the blocks, in order of their index."""
    joined = b"".join(hashlib.sha256(blocks[index]).digest() for index in sorted(blocks))
    return base64.b64encode(hashlib.sha256(joined).digest()).decode()


def put(ebs: Any, snapshot_id: str, index: int, data: bytes, **changes: Any) -> Any:
    asked: dict[str, Any] = {
        "SnapshotId": snapshot_id,
        "BlockIndex": index,
        "BlockData": data,
        "DataLength": BLOCK,
        "Checksum": digest_of(data),
        "ChecksumAlgorithm": "SHA256",
    }
    return ebs.put_snapshot_block(**asked | changes)


def write_snapshot(ebs: Any, blocks: Mapping[int, bytes], size_gib: int = 1, **options: Any) -> str:
    """A completed snapshot of these blocks; its id."""
    snapshot_id: str = ebs.start_snapshot(VolumeSize=size_gib, **options)["SnapshotId"]
    for index, data in blocks.items():
        put(ebs, snapshot_id, index, data)
    answer = ebs.complete_snapshot(
        SnapshotId=snapshot_id,
        ChangedBlocksCount=len(blocks),
        Checksum=linear_checksum(blocks),
        ChecksumAlgorithm="SHA256",
        ChecksumAggregationMethod="LINEAR",
    )
    assert answer["Status"] == "completed"
    return snapshot_id


def read_snapshot(ebs: Any, snapshot_id: str) -> dict[int, bytes]:
    """All blocks of a snapshot."""
    found: dict[int, bytes] = {}
    token: dict[str, str] = {}
    while True:
        page = ebs.list_snapshot_blocks(SnapshotId=snapshot_id, MaxResults=100, **token)
        for block in page["Blocks"]:
            got = ebs.get_snapshot_block(SnapshotId=snapshot_id, **block)
            data = got["BlockData"].read()
            assert (got["DataLength"], got["ChecksumAlgorithm"]) == (BLOCK, "SHA256")
            assert got["Checksum"] == digest_of(data)
            found[block["BlockIndex"]] = data
        if "NextToken" not in page:
            return found
        token = {"NextToken": page["NextToken"]}


def some_blocks(seed: int, *indexes: int) -> dict[int, bytes]:
    generator = random.Random(seed)
    return {index: generator.randbytes(BLOCK) for index in indexes}


def test_what_was_written_is_read(ebs: Any, ec2: Any, seed: int) -> None:
    blocks = some_blocks(seed, 0, 7, 2047)
    started = ebs.start_snapshot(
        VolumeSize=1, Description="by hand", Tags=[{"Key": "k", "Value": "v"}], Timeout=10
    )
    assert started["ResponseMetadata"]["HTTPStatusCode"] == 201
    assert (started["Status"], started["VolumeSize"], started["BlockSize"]) == ("pending", 1, BLOCK)
    assert (started["Description"], started["OwnerId"]) == ("by hand", "000000000000")
    assert started["Tags"] == [{"Key": "k", "Value": "v"}]
    snapshot_id = started["SnapshotId"]
    for index, data in blocks.items():
        answer = put(ebs, snapshot_id, index, data, Progress=50)
        assert answer["ResponseMetadata"]["HTTPStatusCode"] == 201
        assert answer["Checksum"] == digest_of(data)
    done = ebs.complete_snapshot(SnapshotId=snapshot_id, ChangedBlocksCount=3)
    assert done["ResponseMetadata"]["HTTPStatusCode"] == 202
    ec2.get_waiter("snapshot_completed").wait(SnapshotIds=[snapshot_id])
    assert read_snapshot(ebs, snapshot_id) == blocks
    (described,) = ec2.describe_snapshots(SnapshotIds=[snapshot_id])["Snapshots"]
    assert described["StartTime"] == started["StartTime"]
    assert (described["Description"], described["VolumeSize"]) == ("by hand", 1)
    ec2.delete_snapshot(SnapshotId=snapshot_id)


def test_a_block_written_twice_holds_the_second(ebs: Any, ec2: Any, seed: int) -> None:
    first, second = some_blocks(seed, 4), some_blocks(seed + 1, 4)
    snapshot_id = ebs.start_snapshot(VolumeSize=1)["SnapshotId"]
    for blocks in (first, second):
        put(ebs, snapshot_id, 4, blocks[4])
    ebs.complete_snapshot(SnapshotId=snapshot_id, ChangedBlocksCount=1)
    assert read_snapshot(ebs, snapshot_id) == second
    ec2.delete_snapshot(SnapshotId=snapshot_id)


def test_what_changed_between_two(ebs: Any, ec2: Any, seed: int) -> None:
    before = some_blocks(seed, 0, 1, 2)
    first = write_snapshot(ebs, before)
    changed = some_blocks(seed + 1, 1, 9)
    second = write_snapshot(ebs, changed, ParentSnapshotId=first)
    assert read_snapshot(ebs, second) == before | changed
    listed = ebs.list_changed_blocks(FirstSnapshotId=first, SecondSnapshotId=second)
    assert (listed["VolumeSize"], listed["BlockSize"]) == (1, BLOCK)
    tokens = {b["BlockIndex"]: b for b in listed["ChangedBlocks"]}
    assert sorted(tokens) == [1, 9]
    assert "FirstBlockToken" not in tokens[9]
    for snapshot_id, name, expected in (
        (first, "FirstBlockToken", before[1]),
        (second, "SecondBlockToken", changed[1]),
    ):
        got = ebs.get_snapshot_block(
            SnapshotId=snapshot_id, BlockIndex=1, BlockToken=tokens[1][name]
        )
        assert got["BlockData"].read() == expected
    later = ebs.list_changed_blocks(
        FirstSnapshotId=first, SecondSnapshotId=second, StartingBlockIndex=2
    )
    assert [b["BlockIndex"] for b in later["ChangedBlocks"]] == [9]
    stranger = write_snapshot(ebs, changed)
    with refused(400, "ValidationException") as refusal:
        ebs.list_changed_blocks(FirstSnapshotId=stranger, SecondSnapshotId=second)
    assert refusal.response["Reason"] == "UNRELATED_SNAPSHOTS"
    for snapshot_id in (first, second, stranger):
        ec2.delete_snapshot(SnapshotId=snapshot_id)


def test_pages_of_blocks(ebs: Any, ec2: Any, seed: int) -> None:
    first = write_snapshot(ebs, {})
    block = random.Random(seed).randbytes(BLOCK)
    indexes = list(range(250))
    second = write_snapshot(ebs, dict.fromkeys(indexes, block), ParentSnapshotId=first)
    for name, asked in (
        ("Blocks", {"SnapshotId": second}),
        ("ChangedBlocks", {"FirstSnapshotId": first, "SecondSnapshotId": second}),
    ):
        verb = ebs.list_snapshot_blocks if name == "Blocks" else ebs.list_changed_blocks
        token: dict[str, str] = {}
        sizes, seen = [], []
        while True:
            page = verb(MaxResults=100, **asked, **token)
            sizes.append(len(page[name]))
            seen += [entry["BlockIndex"] for entry in page[name]]
            if "NextToken" not in page:
                break
            token = {"NextToken": page["NextToken"]}
        assert (sizes, seen) == ([100, 100, 50], indexes)
        # A token counts for more than StartingBlockIndex, as the model says.
        page = verb(MaxResults=100, StartingBlockIndex=5, **asked, **token)
        assert page[name][0]["BlockIndex"] == 200
        assert [e["BlockIndex"] for e in verb(StartingBlockIndex=248, **asked)[name]] == [248, 249]
        with refused(400, "ValidationException") as refusal:
            verb(MaxResults=10_001, **asked)
        assert refusal.response["Reason"] == "INVALID_PARAMETER_VALUE"
    for snapshot_id in (second, first):
        ec2.delete_snapshot(SnapshotId=snapshot_id)


def reason(refusal: Any) -> str:
    return str(refusal.response["Reason"])


def test_tokens_are_good_for_what_they_were_made_for(ebs: Any, ec2: Any, seed: int) -> None:
    one = write_snapshot(ebs, some_blocks(seed, 0, 1))
    other = write_snapshot(ebs, some_blocks(seed, 0, 1))
    first, second = ebs.list_snapshot_blocks(SnapshotId=one)["Blocks"]
    for snapshot_id, index, token in (
        (other, 0, first["BlockToken"]),
        (one, 0, second["BlockToken"]),
        (one, 0, "AAAA" + first["BlockToken"][4:]),
        (one, 0, "not+a+token"),
        (one, 0, "x" * 300),
    ):
        with refused(400, "ValidationException") as refusal:
            ebs.get_snapshot_block(SnapshotId=snapshot_id, BlockIndex=index, BlockToken=token)
        assert reason(refusal) == "INVALID_BLOCK_TOKEN"
    for token in (first["BlockToken"], "not+a+token", "x" * 300):
        with refused(400, "ValidationException") as refusal:
            ebs.list_snapshot_blocks(SnapshotId=one, NextToken=token)
        assert reason(refusal) == "INVALID_PAGE_TOKEN"
    with refused(404, "ResourceNotFoundException") as refusal:
        ebs.get_snapshot_block(SnapshotId=NOWHERE, BlockIndex=0, BlockToken=first["BlockToken"])
    assert reason(refusal) == "SNAPSHOT_NOT_FOUND"
    for snapshot_id in (one, other):
        ec2.delete_snapshot(SnapshotId=snapshot_id)


def test_a_client_token_starts_once(ebs: Any, ec2: Any) -> None:
    token = uuid.uuid4().hex
    first = ebs.start_snapshot(VolumeSize=1, ClientToken=token)["SnapshotId"]
    assert ebs.start_snapshot(VolumeSize=1, ClientToken=token)["SnapshotId"] == first
    with refused(409, "ConflictException"):
        ebs.start_snapshot(VolumeSize=2, ClientToken=token)
    ec2.delete_snapshot(SnapshotId=first)


@pytest.mark.parametrize(
    ("expected", "asked"),
    [
        ("INVALID_VOLUME_SIZE", {"VolumeSize": 65_537}),
        ("INVALID_PARAMETER_VALUE", {"VolumeSize": 1, "Timeout": 4_321}),
        ("INVALID_SNAPSHOT_ID", {"VolumeSize": 1, "ParentSnapshotId": "vol-1"}),
        (
            "INVALID_PARAMETER_VALUE",
            {"VolumeSize": 1, "ParentSnapshotId": NOWHERE, "Encrypted": True},
        ),
        ("INVALID_PARAMETER_VALUE", {"VolumeSize": 1, "Description": "x" * 256}),
        ("INVALID_TAG", {"VolumeSize": 1, "Tags": [{"Key": "aws:x", "Value": ""}]}),
        ("INVALID_TAG", {"VolumeSize": 1, "Tags": [{"Key": "x" * 128, "Value": ""}]}),
        ("INVALID_TAG", {"VolumeSize": 1, "Tags": [{"Key": f"{n}"} for n in range(51)]}),
        ("INVALID_TAG", {"VolumeSize": 1, "Tags": [{"Key": "x"}, {"Key": "x"}]}),
        ("INVALID_CUSTOMER_KEY", {"VolumeSize": 1, "Encrypted": True, "KmsKeyArn": "key"}),
    ],
)
def test_snapshots_that_cannot_be_started(ebs: Any, expected: str, asked: dict[str, Any]) -> None:
    with refused(400, "ValidationException") as refusal:
        ebs.start_snapshot(**asked)
    assert reason(refusal) == expected


def test_parents_that_are_not_there(ebs: Any) -> None:
    with refused(404, "ResourceNotFoundException") as refusal:
        ebs.start_snapshot(VolumeSize=1, ParentSnapshotId=NOWHERE)
    assert reason(refusal) == "SNAPSHOT_NOT_FOUND"


def test_blocks_that_cannot_be_written(ebs: Any, ec2: Any, seed: int) -> None:
    data = random.Random(seed).randbytes(BLOCK)
    snapshot_id = ebs.start_snapshot(VolumeSize=1)["SnapshotId"]
    for expected, changes in (
        ("INVALID_BLOCK", {"Checksum": digest_of(b"other")}),
        ("INVALID_PARAMETER_VALUE", {"Checksum": "c2hvcnQ="}),
        ("INVALID_PARAMETER_VALUE", {"DataLength": 1024}),
        ("INVALID_PARAMETER_VALUE", {"Progress": 101}),
        ("INVALID_PARAMETER_VALUE", {"ChecksumAlgorithm": "MD5"}),
        ("INVALID_BLOCK", {"BlockIndex": 2048}),
        ("INVALID_BLOCK", {"BlockData": data[:-1], "Checksum": digest_of(data[:-1])}),
        ("INVALID_BLOCK", {"BlockData": data + b"x", "Checksum": digest_of(data + b"x")}),
    ):
        with refused(400, "ValidationException") as refusal:
            put(ebs, snapshot_id, 0, data, **changes)
        assert reason(refusal) == expected, changes
    with refused(404, "ResourceNotFoundException"):
        put(ebs, NOWHERE, 0, data)
    put(ebs, snapshot_id, 0, data)
    with refused(400, "ValidationException"):
        ebs.list_snapshot_blocks(SnapshotId=snapshot_id)
    for changes in (
        {"ChangedBlocksCount": 2},
        {"Checksum": digest_of(b"other"), **AGGREGATED},
        {"Checksum": linear_checksum({0: data})},
        {"ChecksumAggregationMethod": "TREE"},
    ):
        with refused(400, "ValidationException"):
            ebs.complete_snapshot(**{"SnapshotId": snapshot_id, "ChangedBlocksCount": 1} | changes)
    ebs.complete_snapshot(SnapshotId=snapshot_id, ChangedBlocksCount=1)
    with refused(400, "ValidationException"):
        put(ebs, snapshot_id, 1, data)
    assert read_snapshot(ebs, snapshot_id) == {0: data}
    ec2.delete_snapshot(SnapshotId=snapshot_id)
    with refused(404, "ResourceNotFoundException"):
        ebs.list_snapshot_blocks(SnapshotId=snapshot_id)
    with refused(404, "ResourceNotFoundException"):
        ebs.complete_snapshot(SnapshotId=snapshot_id, ChangedBlocksCount=1)


AGGREGATED = {"ChecksumAlgorithm": "SHA256", "ChecksumAggregationMethod": "LINEAR"}


def send(
    server: ServerProcess, method: str, target: str, body: bytes = b"", **headers: str
) -> tuple[int, str, dict[str, Any]]:
    """A signed request as nobody's client sends it: status, error's name and document."""
    endpoint = server.endpoint
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    request = AWSRequest(method, f"{endpoint.url}{target}", data=body, headers=named)
    keys = Credentials(endpoint.access_key, endpoint.secret_key)
    botocore.auth.SigV4Auth(keys, "ebs", "us-east-1").add_auth(request)
    connection = http.client.HTTPConnection(urllib.parse.urlsplit(endpoint.url).netloc, timeout=60)
    try:
        connection.request(method, target, body or None, dict(request.headers.items()))
        answer = connection.getresponse()
        text = answer.read()
    finally:
        connection.close()
    document = json.loads(text) if text and answer.status >= 300 else {}
    return answer.status, answer.headers.get("x-amzn-errortype", ""), document


@pytest.mark.parametrize(
    ("status", "name", "method", "target", "body"),
    [
        (404, "UnknownOperationException", "GET", "/snapshots", b""),
        (404, "UnknownOperationException", "DELETE", "/snapshots/snap-1", b""),
        (404, "UnknownOperationException", "PUT", "/snapshots/snap-1/blocks", b""),
        (404, "UnknownOperationException", "POST", "/snapshots/", b"{}"),
        (404, "UnknownOperationException", "GET", "/", b""),
        (400, "ValidationException", "GET", "/snapshots/snap-X/blocks", b""),
        (400, "ValidationException", "GET", "/snapshots/%2e%2e/blocks", b""),
        (400, "ValidationException", "GET", "/snapshots/%ff/blocks", b""),
        (400, "ValidationException", "GET", "/snapshots/snap-1/blocks/-1?blockToken=AA", b""),
        (400, "ValidationException", "GET", "/snapshots/snap-1/blocks/one?blockToken=AA", b""),
        (400, "ValidationException", "GET", "/snapshots/snap-1/blocks/0", b""),
        (400, "ValidationException", "GET", "/snapshots/snap-1/blocks?maxResults=all", b""),
        (400, "ValidationException", "GET", "/snapshots/snap-1/blocks?maxResults=99", b""),
        (400, "ValidationException", "GET", "/snapshots/snap-1/changedblocks", b""),
        (400, "ValidationException", "POST", "/snapshots/completion/snap-1", b""),
        (400, "ValidationException", "POST", "/snapshots", b""),
        (400, "ValidationException", "POST", "/snapshots", b"[1]"),
        (400, "ValidationException", "POST", "/snapshots", b"{"),
        (400, "ValidationException", "POST", "/snapshots", b"[" * 100_000),
        (400, "ValidationException", "POST", "/snapshots", b'{"VolumeSize": "1"}'),
        (400, "ValidationException", "POST", "/snapshots", b'{"VolumeSize": true}'),
        (400, "ValidationException", "POST", "/snapshots", b'{"VolumeSize": 1, "Colour": 1}'),
        (400, "ValidationException", "POST", "/snapshots", b'{"VolumeSize": 1, "Tags": {}}'),
        (
            400,
            "ValidationException",
            "POST",
            "/snapshots",
            b'{"VolumeSize": 1, "Description": "\\ud800"}',
        ),
        (400, "ValidationException", "POST", "/snapshots", b" " * (600 * 1024)),
    ],
)
def test_bad_requests(
    block_server: ServerProcess, status: int, name: str, method: str, target: str, body: bytes
) -> None:
    got = send(block_server, method, target, body)
    assert got[:2] == (status, name), got
    assert 0 < len(got[2]["Message"]) <= 256


def test_a_block_in_an_encoding(block_server: ServerProcess) -> None:
    got = send(
        block_server,
        "PUT",
        "/snapshots/snap-1/blocks/0",
        b"x",
        Content_Encoding="gzip",
    )
    assert (got[0], got[2]["Reason"]) == (400, "INVALID_CONTENT_ENCODING")


def test_strangers(block_server: ServerProcess) -> None:
    endpoint = block_server.endpoint
    nobody = service_client(endpoint, "ebs", aws_access_key_id="NOBODY")
    with refused(403, "UnrecognizedClientException"):
        nobody.start_snapshot(VolumeSize=1)
    wrong = service_client(endpoint, "ebs", aws_secret_access_key="wrong")
    with refused(403, "InvalidSignatureException"):
        wrong.start_snapshot(VolumeSize=1)
