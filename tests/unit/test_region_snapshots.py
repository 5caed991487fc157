"""Snapshots of a region's volumes: the point in time, the limits, sets, sharing, usage."""

from __future__ import annotations

import threading

import pytest

from blockdev.device import BlockDevice
from blockdev.model import GIB, MIB, SNAPSHOT_BLOCK_BYTES, Snapshot
from blockdev.region import limits
from blockdev.region.held import FIRST_TOUCH_NS
from blockdev.service import Region, Timings
from tests.regions import HOUR_NS, SECOND_NS, RegionFactory, read, refused, running, volume

ABSENT = "snap-0123456789abcdef0"
BLOCK = SNAPSHOT_BLOCK_BYTES
WAIT_S = 120.0


@pytest.fixture
def region(region_factory: RegionFactory) -> Region:
    return region_factory()


def taken(region: Region, volume_id: str) -> Snapshot:
    """A snapshot of a volume, completed."""
    made = region.create_snapshot(volume_id)
    found = region.wait_snapshot(made.snapshot_id, WAIT_S)
    assert found.state == "completed", found
    return found


def filled(region: Region, volume_id: str, *blocks: int) -> None:
    """Write to these blocks of a volume: each its own content."""
    device = region.open_volume(volume_id, throttled=False, delayed=False)
    for index in blocks:
        device.write(index * BLOCK, _content(index))
    device.flush()
    device.close()


def _content(index: int) -> bytes:
    return f"block {index} ".encode().ljust(16, b".") * (BLOCK // 16)


def test_a_snapshot_is_the_volume_as_it_was(region: Region) -> None:
    made = volume(region)
    device = region.open_volume(made)
    device.write(5, b"before")
    answer = region.create_snapshot(made, description="nightly", tags={"a": "b"})
    device.write(5, b"after!")
    device.write(GIB - 6, b"after!")
    found = region.wait_snapshot(answer.snapshot_id, WAIT_S)
    assert (found.state, found.progress_percent) == ("completed", 100)
    assert (found.volume_id, found.volume_size_gib) == (made, 1)
    assert (found.description, found.tags, found.owner_id) == ("nightly", {"a": "b"}, "0" * 12)
    assert found.full_bytes == found.added_bytes == BLOCK
    assert found.completed_ns is not None
    restored = volume(region, snapshot_id=found.snapshot_id)
    copy = region.open_volume(restored)
    assert read(copy, 5, 6) == b"before"
    assert read(copy, GIB - 6, 6) == bytes(6)
    assert read(device, 5, 6) == b"after!"


def test_snapshots_are_incremental_and_deleted_in_any_order(region: Region) -> None:
    made = volume(region)
    filled(region, made, 0, 1, 2)
    first = taken(region, made)
    filled(region, made, 3)
    device = region.open_volume(made)
    device.write(BLOCK, b"changed")
    device.close()
    second = taken(region, made)
    assert (second.full_bytes, second.added_bytes) == (4 * BLOCK, 2 * BLOCK)
    assert second.parent_id == first.snapshot_id
    usage = region.snapshot_usage(first.snapshot_id)
    assert (usage.blocks, usage.exclusive_blocks) == (3, 1)
    assert region.usage_total().blocks == 5
    region.delete_snapshot(first.snapshot_id)
    assert region.usage_total().blocks == 4
    restored = region.open_volume(volume(region, snapshot_id=second.snapshot_id))
    assert read(restored, 0, BLOCK) == _content(0)
    assert read(restored, BLOCK, 7) == b"changed"
    assert read(restored, 3 * BLOCK, BLOCK) == _content(3)


def test_a_volume_that_loads_lazily_survives_the_deletion_of_its_snapshot(region: Region) -> None:
    made = volume(region)
    filled(region, made, 0, 7)
    snapshot = taken(region, made)
    restored = volume(region, snapshot_id=snapshot.snapshot_id, size_gib=2)
    region.delete_snapshot(snapshot.snapshot_id)
    region.delete_volume(made)
    with refused("InvalidSnapshot.NotFound"):
        region.describe_snapshot(snapshot.snapshot_id)
    device = region.open_volume(restored)
    assert read(device, 7 * BLOCK, BLOCK) == _content(7)
    assert device.geometry.size_bytes == 2 * GIB
    device.close()
    assert region.check() == []
    region.delete_volume(restored)
    assert region.usage_total().blocks == 0


def test_the_first_touch_is_slow_and_the_second_is_not(region_factory: RegionFactory) -> None:
    region, clock = region_factory(), region_factory.clock
    made = volume(region)
    filled(region, made, 0, 1)
    snapshot = taken(region, made)

    def touch_ns(device: BlockDevice, block: int) -> int:
        began_ns = clock.now_ns()
        read(device, block * BLOCK, 4096)
        return clock.now_ns() - began_ns

    lazy = region.open_volume(volume(region, snapshot_id=snapshot.snapshot_id))
    assert touch_ns(lazy, 0) >= FIRST_TOUCH_NS
    assert touch_ns(lazy, 0) < FIRST_TOUCH_NS
    undelayed = region.open_volume(
        volume(region, snapshot_id=snapshot.snapshot_id), throttled=False, delayed=False
    )
    assert touch_ns(undelayed, 1) == 0
    region.enable_fast_restores([snapshot.snapshot_id], [region.zones[0]])
    clock.advance(HOUR_NS)
    fast = volume(region, snapshot_id=snapshot.snapshot_id)
    assert region.describe_volume(fast).fast_restored
    assert touch_ns(region.open_volume(fast), 0) < FIRST_TOUCH_NS


def test_a_volume_of_a_snapshot(region: Region) -> None:
    made = volume(region, size_gib=4)
    snapshot = taken(region, made)
    with refused("InvalidParameterValue"):
        volume(region, snapshot_id=snapshot.snapshot_id, size_gib=3)
    for rate in (99, 301):
        with refused("InvalidParameterValue"):
            volume(region, snapshot_id=snapshot.snapshot_id, initialization_mibps=rate)
    restored = region.describe_volume(
        volume(region, snapshot_id=snapshot.snapshot_id, initialization_mibps=300)
    )
    assert (restored.spec.size_gib, restored.snapshot_id) == (4, snapshot.snapshot_id)
    assert restored.initialization_mibps == 300


def test_what_is_encrypted_stays_so(region: Region) -> None:
    made = volume(region, encrypted=True, kms_key_id="alias/mine")
    snapshot = taken(region, made)
    restored = region.describe_volume(volume(region, snapshot_id=snapshot.snapshot_id))
    copied = region.copy_snapshot(snapshot.snapshot_id)
    for one in (snapshot, restored, copied):
        assert (one.encrypted, one.kms_key_id) == (True, "alias/mine")


@pytest.mark.parametrize(("volume_type", "most"), [("gp2", 5), ("st1", 1)])
def test_so_many_snapshots_of_a_volume_may_be_pending(
    region_factory: RegionFactory, volume_type: str, most: int
) -> None:
    region, gate = region_factory.gated()
    made = volume(region, volume_type=volume_type, size_gib=125)
    filled(region, made, 0)
    ids = []
    for number in range(most):
        device = region.open_volume(made, throttled=False, delayed=False)
        device.write(GIB + number * BLOCK, b"x")
        device.close()
        ids.append(region.create_snapshot(made).snapshot_id)
    assert region._held[made].budget.snapshot_in_progress
    assert {one.state for one in region.describe_snapshots()} == {"pending"}
    with refused("ConcurrentSnapshotLimitExceeded"):
        region.create_snapshot(made)
    with refused("IncorrectState"):
        volume(region, snapshot_id=ids[0], size_gib=125)
    with refused("IncorrectState"):
        region.copy_snapshot(ids[0])
    with refused("IncorrectState"):
        region.snapshot_usage(ids[0])
    assert region.wait_snapshot(ids[0], 0.01).state == "pending"
    gate.set()
    assert {region.wait_snapshot(one, WAIT_S).state for one in ids} == {"completed"}
    _wait_idle(region)
    assert made not in region._held
    taken(region, made)


def test_what_cannot_be_snapshotted(region: Region, monkeypatch: pytest.MonkeyPatch) -> None:
    made = volume(region)
    with refused("InvalidVolume.NotFound"):
        region.create_snapshot("vol-0123456789abcdef0")
    with refused("InvalidParameterValue"):
        region.create_snapshot(made, description="d" * 256)
    with refused("InvalidParameterValue"):
        region.create_snapshot(made, tags={"": ""})
    monkeypatch.setattr(limits, "MAX_SNAPSHOTS", 0)
    with refused("SnapshotLimitExceeded"):
        region.create_snapshot(made)
    assert region.describe_snapshots() == []


def test_snapshots_are_described_in_their_order(region: Region) -> None:
    made = volume(region)
    ids = [taken(region, made).snapshot_id for _ in range(3)]
    assert [one.snapshot_id for one in region.describe_snapshots()] == ids
    with refused("InvalidSnapshot.NotFound"):
        region.describe_snapshots([ids[0], ABSENT])
    for verb in (
        region.delete_snapshot,
        region.snapshot_usage,
        region.copy_snapshot,
        region.archive_snapshot,
        region.share_snapshot,
        region.reset_snapshot_sharing,
        region.wait_snapshot,
        lambda one: region.restore_snapshot_tier(one, days=1),
        lambda one: region.snapshot_tiers([one]),
        lambda one: region.enable_fast_restores([one], [region.zones[0]]),
        lambda one: region.disable_fast_restores([one], [region.zones[0]]),
    ):
        with refused("InvalidSnapshot.NotFound"):
            verb(ABSENT)


def test_a_volume_may_be_deleted_while_it_is_copied(region_factory: RegionFactory) -> None:
    region, gate = region_factory.gated()
    made = volume(region)
    filled(region, made, *range(40))
    snapshot = region.create_snapshot(made)
    region.delete_volume(made)
    assert region.describe_volume(made).state == "deleting"
    with refused("IncorrectState"):
        region.open_volume(made)
    gate.set()
    found = region.wait_snapshot(snapshot.snapshot_id, WAIT_S)
    assert (found.state, found.full_bytes) == ("completed", 40 * BLOCK)
    _wait_idle(region)
    assert region.describe_volumes() == []
    assert list((region.path / "volumes").iterdir()) == []


def _wait_idle(region: Region) -> None:
    for watcher in list(region._watchers.values()):
        watcher.join(WAIT_S)


def test_a_copy_that_was_interrupted_goes_on(region_factory: RegionFactory) -> None:
    region, gate = region_factory.gated()
    made = volume(region)
    filled(region, made, *range(60))
    snapshot = region.create_snapshot(made)
    filled(region, made, 70)
    closer = threading.Thread(target=region.close)
    closer.start()
    gate.set()
    closer.join(WAIT_S)
    region = region_factory()
    found = region.wait_snapshot(snapshot.snapshot_id, WAIT_S)
    assert (found.state, found.full_bytes) == ("completed", 60 * BLOCK)


def test_a_pending_snapshot_can_be_deleted(region_factory: RegionFactory) -> None:
    region, gate = region_factory.gated()
    made = volume(region)
    filled(region, made, *range(60))
    snapshot = region.create_snapshot(made)
    region.delete_snapshot(snapshot.snapshot_id)
    assert region.describe_snapshots() == []
    gate.set()
    _wait_idle(region)
    filled(region, made, 61)
    taken(region, made)
    assert region.usage_total().blocks == 61


def test_st1_is_held_to_its_baseline_while_a_snapshot_is_in_progress(
    region_factory: RegionFactory,
) -> None:
    region, clock = region_factory(), region_factory.clock
    made = volume(region, volume_type="st1", size_gib=1024)
    device = region.open_volume(made, delayed=False)

    def mibps(mib: int) -> float:
        began_ns = clock.now_ns()
        for number in range(mib):
            device.write(number * MIB, b"x" * MIB)
        return mib * SECOND_NS / (clock.now_ns() - began_ns)

    assert mibps(500) == pytest.approx(250, rel=0.02)
    region._held[made].budget.snapshot_in_progress = True
    mibps(50)
    assert mibps(200) == pytest.approx(40, rel=0.02)


def test_snapshots_of_an_instance_are_of_one_moment(region: Region) -> None:
    instance = running(region, tags={"a": "b"})
    data = volume(region, tags={"role": "data"})
    region.attach_volume(data, instance, "/dev/sdf")
    root = region.describe_instances([instance])[0].attachments[0].volume_id
    filled(region, root, 0)
    filled(region, data, 1)
    found = region.create_snapshots(
        instance, description="set", tags={"set": "1"}, copy_volume_tags=True
    )
    assert sorted(one.volume_id for one in found) == sorted([root, data])
    assert len({one.started_ns for one in found}) == 1
    by_volume = {one.volume_id: one for one in found}
    assert by_volume[data].tags == {"role": "data", "set": "1"}
    assert by_volume[root].description == "set"
    for one in found:
        assert region.wait_snapshot(one.snapshot_id, WAIT_S).full_bytes == BLOCK
    (only,) = region.create_snapshots(instance, exclude_boot=True)
    assert only.volume_id == data
    (only,) = region.create_snapshots(instance, exclude_volume_ids=[data])
    assert only.volume_id == root
    with refused("InvalidParameterValue"):
        region.create_snapshots(instance, exclude_boot=True, exclude_volume_ids=[data])
    with refused("InvalidParameterValue"):
        region.create_snapshots(instance, exclude_volume_ids=["vol-0123456789abcdef0"])
    with refused("InvalidInstanceID.NotFound"):
        region.create_snapshots("i-0123456789abcdef0")


def test_sharing(region: Region) -> None:
    snapshot_id = taken(region, volume(region)).snapshot_id
    first, second = "111111111111", "222222222222"
    assert region.share_snapshot(snapshot_id, add=[second, first]).shared_with == (first, second)
    assert region.share_snapshot(snapshot_id, remove=[second]).shared_with == (first,)
    assert region.share_snapshot(snapshot_id, public=True).is_public
    reset = region.reset_snapshot_sharing(snapshot_id)
    assert (reset.shared_with, reset.is_public) == ((), False)
    with refused("InvalidParameterCombination"):
        region.share_snapshot(snapshot_id, add=[first], remove=[second])
    with refused("InvalidParameterValue"):
        region.share_snapshot(snapshot_id, add=["somebody"])
    with refused("InvalidParameterValue"):
        region.share_snapshot(snapshot_id, add=[f"{n:012}" for n in range(501)])
    default = taken(region, volume(region, encrypted=True)).snapshot_id
    own = taken(region, volume(region, encrypted=True, kms_key_id="alias/own")).snapshot_id
    for encrypted in (default, own):
        with refused("OperationNotPermitted"):
            region.share_snapshot(encrypted, public=True)
    with refused("OperationNotPermitted"):
        region.share_snapshot(default, add=[first])
    assert region.share_snapshot(own, add=[first]).shared_with == (first,)


def test_copies(region_factory: RegionFactory) -> None:
    east = region_factory("east")
    west = region_factory("west", name="us-west-2", account_id="222222222222")
    made = volume(east)
    filled(east, made, 0, 5)
    source = taken(east, made)
    with refused("InvalidSnapshot.NotFound"):
        west.copy_snapshot(source.snapshot_id, source_region=east)
    east.share_snapshot(source.snapshot_id, add=["222222222222"])
    answer = west.copy_snapshot(
        source.snapshot_id, source_region=east, description="far", tags={"a": "b"}, encrypted=True
    )
    copied = west.wait_snapshot(answer.snapshot_id, WAIT_S)
    assert (copied.state, copied.full_bytes, copied.description) == ("completed", 2 * BLOCK, "far")
    assert (copied.volume_id, copied.owner_id) == ("vol-ffffffff", "222222222222")
    assert (copied.encrypted, copied.kms_key_id) == (True, "alias/aws/ebs")
    near = east.wait_snapshot(east.copy_snapshot(source.snapshot_id).snapshot_id, WAIT_S)
    assert (near.full_bytes, near.added_bytes) == (2 * BLOCK, 0)
    east.delete_snapshot(source.snapshot_id)
    device = west.open_volume(
        volume(west, zone="us-west-2a", snapshot_id=copied.snapshot_id, size_gib=1)
    )
    assert read(device, 5 * BLOCK, BLOCK) == _content(5)
    with refused("InvalidParameterDependency"):
        east.copy_snapshot(near.snapshot_id, kms_key_id="alias/own")


def test_a_client_token_copies_once(region: Region) -> None:
    source = taken(region, volume(region)).snapshot_id
    first = region.copy_snapshot(source, client_token="t")
    assert region.copy_snapshot(source, client_token="t").snapshot_id == first.snapshot_id
    with refused("IdempotentParameterMismatch"):
        region.copy_snapshot(source, client_token="t", description="other")


def test_snapshots_of_one_volume_at_too_short_a_distance(region_factory: RegionFactory) -> None:
    region, gate = region_factory.gated()
    region._timings = Timings(snapshot_spacing_ns=15 * SECOND_NS)
    made = volume(region)
    filled(region, made, 0)
    region.create_snapshot(made)
    with refused("SnapshotCreationPerVolumeRateExceeded"):
        region.create_snapshot(made)
    region_factory.clock.advance(15 * SECOND_NS)
    region.create_snapshot(made)
    gate.set()
