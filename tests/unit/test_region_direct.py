"""The EBS direct APIs: blocks put and got, checksums, timeouts, lineages, and every reason."""

from __future__ import annotations

import hashlib
import threading
from typing import Any

import pytest

from blockdev.blocks import FileBlockStore
from blockdev.errors import DeviceFullError
from blockdev.model import GIB, SNAPSHOT_BLOCK_BYTES
from blockdev.service import Region
from tests.regions import RegionFactory, read, refused, volume

BLOCK = SNAPSHOT_BLOCK_BYTES
MINUTE_NS = 60 * 10**9
ABSENT = "snap-0123456789abcdef0"


@pytest.fixture
def region(region_factory: RegionFactory) -> Region:
    return region_factory()


def content(number: int) -> bytes:
    """512 KiB, others for each number."""
    return number.to_bytes(4, "big") * (BLOCK // 4)


def started(region: Region, *blocks: int, **arguments: Any) -> str:
    """The id of a snapshot that holds these blocks, not completed."""
    arguments.setdefault("volume_size_gib", 1)
    snapshot_id = region.start_snapshot(**arguments).snapshot_id
    for index in blocks:
        region.put_snapshot_block(snapshot_id, index, content(index + 1))
    return snapshot_id


def made(region: Region, *blocks: int, **arguments: Any) -> str:
    """The same, completed."""
    snapshot_id = started(region, *blocks, **arguments)
    assert region.complete_snapshot(snapshot_id, len(blocks)) == "completed"
    return snapshot_id


def test_a_snapshot_is_written_and_becomes_a_volume(region: Region) -> None:
    answer = region.start_snapshot(volume_size_gib=2, description="from home", tags={"a": "b"})
    assert (answer.state, answer.volume_size_gib) == ("pending", 2)
    snapshot_id = answer.snapshot_id
    last = 2 * GIB // BLOCK - 1
    for index in (7, last, 0):
        region.put_snapshot_block(snapshot_id, index, content(index + 1))
    region.put_snapshot_block(snapshot_id, 7, content(99))
    checksums = [hashlib.sha256(content(n)).digest() for n in (1, 99, last + 1)]
    linear = hashlib.sha256(b"".join(checksums)).digest()
    with refused("ValidationException", "INVALID_PARAMETER_VALUE"):
        region.complete_snapshot(snapshot_id, 4, linear)
    with refused("ValidationException", "INVALID_PARAMETER_VALUE"):
        region.complete_snapshot(snapshot_id, 3, bytes(32))
    assert region.complete_snapshot(snapshot_id, 3, linear) == "completed"
    assert region.complete_snapshot(snapshot_id, 3, linear) == "completed"
    found = region.describe_snapshot(snapshot_id)
    assert (found.state, found.description, found.tags) == ("completed", "from home", {"a": "b"})
    assert found.full_bytes == 3 * BLOCK
    device = region.open_volume(volume(region, snapshot_id=snapshot_id))
    assert read(device, 7 * BLOCK, BLOCK) == content(99)
    assert read(device, last * BLOCK, BLOCK) == content(last + 1)
    assert read(device, 3 * BLOCK, BLOCK) == bytes(BLOCK)


def test_blocks_are_listed_and_got(region: Region) -> None:
    snapshot_id = made(region, 3, 900, 4)
    listed = list(region.list_snapshot_blocks(snapshot_id))
    assert [index for index, _ in listed] == [3, 4, 900]
    assert len({digest for _, digest in listed}) == 3
    assert [index for index, _ in region.list_snapshot_blocks(snapshot_id, start_index=4)] == [
        4,
        900,
    ]
    assert region.get_snapshot_block(snapshot_id, 900) == content(901)
    with refused("ValidationException", "INVALID_BLOCK"):
        region.get_snapshot_block(snapshot_id, 5)
    walked = region.list_snapshot_blocks(snapshot_id)
    next(walked)
    region.delete_snapshot(snapshot_id)
    assert [index for index, _ in walked] == [4, 900]


def test_a_child_holds_the_blocks_of_its_parent(region: Region) -> None:
    parent = made(region, 0, 1)
    child = started(region, 2, parent_snapshot_id=parent, volume_size_gib=2)
    region.put_snapshot_block(child, 1, bytes(BLOCK))
    region.complete_snapshot(child, 2)
    assert region.describe_snapshot(child).parent_id == parent
    assert [index for index, _ in region.list_snapshot_blocks(child)] == [0, 2]
    changes = list(region.list_changed_blocks(parent, child))
    assert [(index, one is None, other is None) for index, one, other in changes] == [
        (1, False, True),
        (2, True, False),
    ]
    assert [one[0] for one in region.list_changed_blocks(parent, child, start_index=2)] == [2]
    assert [one[0] for one in region.list_changed_blocks(None, child)] == [0, 2]
    region.delete_snapshot(parent)
    assert region.get_snapshot_block(child, 0) == content(1)


def test_lineages(region: Region) -> None:
    first = volume(region)
    one = region.wait_snapshot(region.create_snapshot(first).snapshot_id, 60).snapshot_id
    restored = volume(region, snapshot_id=one)
    two = region.wait_snapshot(region.create_snapshot(restored).snapshot_id, 60).snapshot_id
    copied = region.wait_snapshot(region.copy_snapshot(two).snapshot_id, 60).snapshot_id
    direct = made(region, 0, parent_snapshot_id=copied)
    for second in (two, copied, direct):
        list(region.list_changed_blocks(one, second))
    stranger = region.create_snapshot(volume(region)).snapshot_id
    region.wait_snapshot(stranger, 60)
    for second in (stranger, made(region, 0)):
        with refused("ValidationException", "UNRELATED_SNAPSHOTS"):
            region.list_changed_blocks(one, second)


@pytest.mark.parametrize(
    ("arguments", "code", "reason"),
    [
        ({"volume_size_gib": 0}, "ValidationException", "INVALID_VOLUME_SIZE"),
        ({"volume_size_gib": 65_537}, "ValidationException", "INVALID_VOLUME_SIZE"),
        ({"timeout_minutes": 9}, "ValidationException", "INVALID_PARAMETER_VALUE"),
        ({"timeout_minutes": 4321}, "ValidationException", "INVALID_PARAMETER_VALUE"),
        ({"kms_key_id": "k"}, "ValidationException", "INVALID_PARAMETER_VALUE"),
        ({"description": "d" * 256}, "ValidationException", "INVALID_PARAMETER_VALUE"),
        ({"tags": {"aws:": ""}}, "ValidationException", "INVALID_PARAMETER_VALUE"),
        ({"tags": {str(n): "" for n in range(51)}}, "ValidationException", "INVALID_TAG"),
        ({"parent_snapshot_id": ABSENT}, "ResourceNotFoundException", "SNAPSHOT_NOT_FOUND"),
    ],
)
def test_what_cannot_be_started(
    region: Region, arguments: dict[str, Any], code: str, reason: str
) -> None:
    with refused(code, reason):
        region.start_snapshot(**{"volume_size_gib": 1, **arguments})
    assert region.describe_snapshots() == []


def test_a_parent_must_be_fit(region: Region) -> None:
    parent = made(region, 0, volume_size_gib=2)
    with refused("ValidationException", "INVALID_PARAMETER_VALUE"):
        started(region, parent_snapshot_id=parent, encrypted=True)
    with refused("ValidationException", "INVALID_VOLUME_SIZE"):
        started(region, parent_snapshot_id=parent)
    pending = started(region)
    with refused("ValidationException", "INVALID_SNAPSHOT_ID"):
        started(region, parent_snapshot_id=pending)
    secret = made(region, encrypted=True)
    child = region.describe_snapshot(made(region, parent_snapshot_id=secret))
    assert (child.encrypted, child.kms_key_id) == (True, "alias/aws/ebs")


def test_a_client_token_starts_once(region: Region) -> None:
    first = started(region, client_token="t")
    assert started(region, client_token="t") == first
    with refused("ConflictException"):
        started(region, client_token="t", volume_size_gib=2)
    region.put_snapshot_block(first, 0, content(1))
    assert started(region, client_token="t") == first
    assert len(region.describe_snapshots()) == 1


def test_what_cannot_be_put(region: Region) -> None:
    pending = started(region)
    for index in (-1, GIB // BLOCK):
        with refused("ValidationException", "INVALID_BLOCK"):
            region.put_snapshot_block(pending, index, content(1))
    for data in (b"", content(1)[:-1], content(1) + b"x"):
        with refused("ValidationException", "INVALID_PARAMETER_VALUE"):
            region.put_snapshot_block(pending, 0, data)
    with refused("ResourceNotFoundException", "SNAPSHOT_NOT_FOUND"):
        region.put_snapshot_block(ABSENT, 0, content(1))
    with refused("ValidationException", "INVALID_SNAPSHOT_ID"):
        region.list_snapshot_blocks(pending)
    with refused("ValidationException", "INVALID_SNAPSHOT_ID"):
        region.get_snapshot_block(pending, 0)
    region.complete_snapshot(pending, 0)
    of_volume = region.create_snapshot(volume(region)).snapshot_id
    for snapshot_id in (pending, of_volume):
        with refused("ValidationException", "INVALID_SNAPSHOT_ID"):
            region.put_snapshot_block(snapshot_id, 0, content(1))
    with refused("ValidationException", "INVALID_SNAPSHOT_ID"):
        region.complete_snapshot(of_volume, 0)
    for verb in (
        lambda: region.complete_snapshot(ABSENT, 0),
        lambda: region.list_snapshot_blocks(ABSENT),
        lambda: region.list_changed_blocks(pending, ABSENT),
        lambda: region.list_changed_blocks(ABSENT, pending),
        lambda: region.get_snapshot_block(ABSENT, 0),
    ):
        with refused("ResourceNotFoundException", "SNAPSHOT_NOT_FOUND"):
            verb()


def test_a_snapshot_that_nobody_completes_fails(region_factory: RegionFactory) -> None:
    region, clock = region_factory(), region_factory.clock
    snapshot_id = started(region, 0, timeout_minutes=10)
    clock.advance(10 * MINUTE_NS)
    region.put_snapshot_block(snapshot_id, 1, content(2))
    clock.advance(10 * MINUTE_NS)
    assert region.describe_snapshot(snapshot_id).state == "pending"
    clock.advance(1)
    with refused("ValidationException", "WRITE_REQUEST_TIMEOUT"):
        region.put_snapshot_block(snapshot_id, 2, content(3))
    with refused("ValidationException", "WRITE_REQUEST_TIMEOUT"):
        region.complete_snapshot(snapshot_id, 2)
    found = region.describe_snapshot(snapshot_id)
    assert found.state == "error"
    assert found.state_message.startswith("WRITE_REQUEST_TIMEOUT")
    assert region.usage_total().blocks == 0
    region.delete_snapshot(snapshot_id)


def test_writing_goes_on_in_another_process(region_factory: RegionFactory) -> None:
    region = region_factory()
    snapshot_id = started(region, 0, 1)
    region.close()
    region = region_factory()
    region.put_snapshot_block(snapshot_id, 5, content(6))
    linear = hashlib.sha256(
        b"".join(hashlib.sha256(content(n)).digest() for n in (1, 2, 6))
    ).digest()
    assert region.complete_snapshot(snapshot_id, 3, linear) == "completed"


def test_two_puts_of_different_data_at_once_conflict(region_factory: RegionFactory) -> None:
    region, gate = region_factory.gated()
    snapshot_id = started(region)
    first = threading.Thread(
        target=region.put_snapshot_block, args=(snapshot_id, 0, content(1)), daemon=True
    )
    first.start()
    while not region._puts:
        first.join(0.01)
    with refused("ValidationException", "CONFLICTING_BLOCK_UPDATE"):
        region.put_snapshot_block(snapshot_id, 0, content(2))
    gate.set()
    first.join(60)
    region.complete_snapshot(snapshot_id, 1)
    assert region.get_snapshot_block(snapshot_id, 0) == content(1)


def test_a_full_block_store_fails_that_put_only(
    region: Region, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot_id = started(region, 0)

    def full(*_: object) -> int:
        raise DeviceFullError("no room")

    with monkeypatch.context() as patched:
        patched.setattr(FileBlockStore, "put", full)
        with refused("InternalServerException"):
            region.put_snapshot_block(snapshot_id, 1, content(2))
    region.put_snapshot_block(snapshot_id, 1, content(2))
    region.complete_snapshot(snapshot_id, 2)
    assert region.get_snapshot_block(snapshot_id, 1) == content(2)
