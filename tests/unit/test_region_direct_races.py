"""CompleteSnapshot and PutSnapshotBlock at one time: what is counted is what is completed."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from blockdev import map_writer, snapshot
from blockdev.draft import Draft
from blockdev.model import SNAPSHOT_BLOCK_BYTES, ServiceError
from blockdev.service import Region
from tests.regions import RegionFactory, refused
from tests.unit.test_region_direct import content, started

DEADLINE_S = 60
ZEROES = bytes(SNAPSHOT_BLOCK_BYTES)


@pytest.fixture
def region(region_factory: RegionFactory) -> Region:
    return region_factory()


def after_the_map(monkeypatch: pytest.MonkeyPatch, action: Callable[[], object]) -> None:
    """Do `action` when a snapshot's map is written, and before its rows are; once."""
    write_map = map_writer.write_map

    def write_then_act(path: Path, **arguments: Any) -> int:
        blocks = write_map(path, **arguments)
        monkeypatch.setattr(snapshot, "write_map", write_map)
        action()
        return blocks

    monkeypatch.setattr(snapshot, "write_map", write_then_act)


def before_it_is_stored(monkeypatch: pytest.MonkeyPatch, action: Callable[[], object]) -> None:
    """Do `action` between the note that a block will be put and the block itself; once."""
    store_noted = Draft.store_noted

    def act_then_store(draft: Draft, *arguments: Any) -> None:
        monkeypatch.setattr(Draft, "store_noted", store_noted)
        action()
        store_noted(draft, *arguments)

    monkeypatch.setattr(Draft, "store_noted", act_then_store)


def linear(*blocks: bytes) -> bytes:
    """The checksum that CompleteSnapshot is given."""
    return hashlib.sha256(b"".join(hashlib.sha256(one).digest() for one in blocks)).digest()


def held(region: Region, snapshot_id: str) -> list[int]:
    return [index for index, _ in region.list_snapshot_blocks(snapshot_id)]


@pytest.mark.parametrize("data", [content(5), ZEROES], ids=["data", "zeroes"])
def test_a_block_that_comes_after_the_map_was_written(
    region: Region, monkeypatch: pytest.MonkeyPatch, data: bytes
) -> None:
    snapshot_id = started(region, 0, 1)
    after_the_map(monkeypatch, lambda: region.put_snapshot_block(snapshot_id, 7, data))
    with refused("ValidationException", "INVALID_PARAMETER_VALUE"):
        region.complete_snapshot(snapshot_id, 2)
    assert region.describe_snapshot(snapshot_id).state == "pending"
    checksum = linear(content(1), content(2), data)
    assert region.complete_snapshot(snapshot_id, 3, checksum) == "completed"
    assert held(region, snapshot_id) == ([0, 1] if data == ZEROES else [0, 1, 7])


@pytest.mark.parametrize("data", [content(5), ZEROES], ids=["data", "zeroes"])
def test_a_block_that_is_replaced_after_the_map_was_written(
    region: Region, monkeypatch: pytest.MonkeyPatch, data: bytes
) -> None:
    """The count is right, and the map is not."""
    snapshot_id = started(region, 0, 1)
    after_the_map(monkeypatch, lambda: region.put_snapshot_block(snapshot_id, 1, data))
    with refused("InternalServerException"):
        region.complete_snapshot(snapshot_id, 2)
    assert region.complete_snapshot(snapshot_id, 2, linear(content(1), data)) == "completed"
    assert held(region, snapshot_id) == ([0] if data == ZEROES else [0, 1])


@pytest.mark.parametrize("index", [1, 7], ids=["replaced", "new"])
@pytest.mark.parametrize("data", [content(5), ZEROES], ids=["data", "zeroes"])
def test_a_block_under_way_keeps_a_snapshot_from_being_completed(
    region: Region, monkeypatch: pytest.MonkeyPatch, data: bytes, index: int
) -> None:
    snapshot_id = started(region, 0, 1)
    refusals: list[str] = []

    def complete() -> None:
        for count in (2, 3):
            with pytest.raises(ServiceError) as caught:
                region.complete_snapshot(snapshot_id, count)
            refusals.append(caught.value.code)

    before_it_is_stored(monkeypatch, complete)
    region.put_snapshot_block(snapshot_id, index, data)
    assert refusals == ["InternalServerException"] * 2
    written = {0: content(1), 1: content(2), index: data}
    checksum = linear(*(written[one] for one in sorted(written)))
    assert region.complete_snapshot(snapshot_id, len(written), checksum) == "completed"
    assert held(region, snapshot_id) == [one for one in sorted(written) if written[one] != ZEROES]


def test_two_processes_put_different_data_to_one_block(
    region_factory: RegionFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The later note wins, whoever is stored first; the checksum is that of the winner."""
    one, other = region_factory(), region_factory()
    snapshot_id = started(one)
    before_it_is_stored(monkeypatch, lambda: other.put_snapshot_block(snapshot_id, 3, content(9)))
    with refused("ValidationException", "CONFLICTING_BLOCK_UPDATE"):
        one.put_snapshot_block(snapshot_id, 3, content(8))
    assert one.complete_snapshot(snapshot_id, 1, linear(content(9))) == "completed"
    assert one.get_snapshot_block(snapshot_id, 3) == content(9)


def test_the_same_block_put_twice_at_a_time_is_one_block(
    region: Region, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first call comes to its end when the second's block was completed already."""
    snapshot_id = started(region)

    def again() -> None:
        region.put_snapshot_block(snapshot_id, 3, content(9))
        assert region.complete_snapshot(snapshot_id, 1, linear(content(9))) == "completed"

    before_it_is_stored(monkeypatch, again)
    region.put_snapshot_block(snapshot_id, 3, content(9))
    assert region.get_snapshot_block(snapshot_id, 3) == content(9)


def test_a_snapshot_that_is_deleted_while_a_block_is_put(
    region: Region, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot_id = started(region, 0)
    before_it_is_stored(monkeypatch, lambda: region.delete_snapshot(snapshot_id))
    with refused("ValidationException", "INVALID_SNAPSHOT_ID"):
        region.put_snapshot_block(snapshot_id, 1, content(2))


def test_a_completion_that_is_asked_for_twice_at_a_time(
    region_factory: RegionFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client that got no answer asks again while the first call is at work."""
    one, other = region_factory(), region_factory()
    snapshot_id = started(one, 0, 1)
    answers: list[str] = []
    second = threading.Thread(
        target=lambda: answers.append(other.complete_snapshot(snapshot_id, 2)), daemon=True
    )
    after_the_map(monkeypatch, second.start)
    answers.append(one.complete_snapshot(snapshot_id, 2))
    second.join(DEADLINE_S)
    assert not second.is_alive()
    assert answers == ["completed"] * 2
    assert held(one, snapshot_id) == [0, 1]
