"""The archive, and fast snapshot restore: what passes with time, and what it costs."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from blockdev.model import SNAPSHOT_BLOCK_BYTES
from blockdev.service import Region, Timings
from tests.regions import DAY_NS, HOUR_NS, RegionFactory, refused, volume


@pytest.fixture
def region(region_factory: RegionFactory) -> Region:
    return region_factory(timings=Timings(archiving_ns=HOUR_NS, unarchiving_ns=DAY_NS))


def taken(region: Region, size_gib: int = 1) -> str:
    """The id of a completed snapshot of a volume that holds one block."""
    made = volume(region, size_gib=size_gib)
    device = region.open_volume(made, throttled=False, delayed=False)
    device.write(0, b"x")
    device.close()
    snapshot_id = region.create_snapshot(made).snapshot_id
    assert region.wait_snapshot(snapshot_id, 60).state == "completed"
    return snapshot_id


def _uses(region: Region, snapshot_id: str) -> list[Callable[[], object]]:
    """What one does with a snapshot whose blocks can be read."""
    return [
        lambda: volume(region, snapshot_id=snapshot_id),
        lambda: region.copy_snapshot(snapshot_id),
        lambda: region.enable_fast_restores([snapshot_id], [region.zones[0]]),
    ]


def test_into_the_archive_and_back(region_factory: RegionFactory, region: Region) -> None:
    clock = region_factory.clock
    snapshot_id = taken(region)
    (tier,) = region.snapshot_tiers()
    assert (tier.tier, tier.last_tiering_status, tier.last_tiering_progress) == (
        "standard",
        "",
        None,
    )
    began_ns = clock.now_ns()
    tier = region.archive_snapshot(snapshot_id)
    assert (tier.tier, tier.last_tiering_status) == ("standard", "archival-in-progress")
    assert tier.last_tiering_start_ns == began_ns
    clock.advance(HOUR_NS // 2)
    assert region.snapshot_tiers([snapshot_id])[0].last_tiering_progress == 50
    with refused("IncorrectState"):
        region.archive_snapshot(snapshot_id)
    with refused("IncorrectState"):
        region.restore_snapshot_tier(snapshot_id, permanent=True)
    clock.advance(HOUR_NS // 2)
    (tier,) = region.snapshot_tiers()
    assert (tier.tier, tier.last_tiering_status) == ("archive", "archival-completed")
    assert tier.archived_ns == began_ns + HOUR_NS
    assert tier.minimum_ends_ns == began_ns + HOUR_NS + 90 * DAY_NS
    assert tier.archived_bytes == SNAPSHOT_BLOCK_BYTES
    assert region.describe_snapshot(snapshot_id).tier == "archive"
    usage = region.usage_total()
    assert (usage.archived_snapshots, usage.archived_bytes) == (1, SNAPSHOT_BLOCK_BYTES)
    for use in _uses(region, snapshot_id):
        with refused("IncorrectState"):
            use()
    with refused("ValidationException", "INVALID_SNAPSHOT_ID"):
        region.list_snapshot_blocks(snapshot_id)
    tier = region.restore_snapshot_tier(snapshot_id, permanent=True)
    assert tier.last_tiering_status == "permanent-restore-in-progress"
    with refused("IncorrectState"):
        region.restore_snapshot_tier(snapshot_id, days=1)
    with refused("IncorrectState"):
        volume(region, snapshot_id=snapshot_id)
    clock.advance(DAY_NS)
    (tier,) = region.snapshot_tiers()
    assert (tier.tier, tier.last_tiering_status) == ("standard", "permanent-restore-completed")
    volume(region, snapshot_id=snapshot_id)
    assert region.archive_snapshot(snapshot_id).last_tiering_status == "archival-in-progress"


def test_a_temporary_restore_ends(region_factory: RegionFactory, region: Region) -> None:
    clock = region_factory.clock
    snapshot_id = taken(region)
    region.archive_snapshot(snapshot_id)
    clock.advance(HOUR_NS)
    region.restore_snapshot_tier(snapshot_id, days=2)
    clock.advance(DAY_NS)
    found = region.describe_snapshot(snapshot_id)
    assert (found.tier, found.restore_expires_ns) == ("archive", clock.now_ns() + 2 * DAY_NS)
    for use in _uses(region, snapshot_id):
        use()
    region.disable_fast_restores([snapshot_id], [region.zones[0]])
    clock.advance(DAY_NS)
    region.restore_snapshot_tier(snapshot_id, days=3)
    clock.advance(3 * DAY_NS - 1)
    volume(region, snapshot_id=snapshot_id)
    clock.advance(1)
    assert region.describe_snapshot(snapshot_id).restore_expires_ns is None
    for use in _uses(region, snapshot_id):
        with refused("IncorrectState"):
            use()


@pytest.mark.parametrize(
    ("days", "permanent", "code"),
    [
        (None, False, "MissingParameter"),
        (1, True, "InvalidParameterCombination"),
        (0, False, "InvalidParameterValue"),
        (181, False, "InvalidParameterValue"),
        (1, False, "IncorrectState"),
    ],
)
def test_what_cannot_be_restored(
    region: Region, days: int | None, permanent: bool, code: str
) -> None:
    snapshot_id = taken(region)
    with refused(code):
        region.restore_snapshot_tier(snapshot_id, days=days, permanent=permanent)


def test_a_snapshot_that_is_restored_fast_is_not_archived(region: Region) -> None:
    snapshot_id = taken(region)
    region.enable_fast_restores([snapshot_id], region.zones)
    with refused("InvalidSnapshot.InUse"):
        region.archive_snapshot(snapshot_id)


def test_an_archived_snapshot_can_be_deleted(region_factory: RegionFactory, region: Region) -> None:
    snapshot_id = taken(region)
    region.archive_snapshot(snapshot_id)
    region_factory.clock.advance(HOUR_NS)
    region.delete_snapshot(snapshot_id)
    assert region.usage_total().archived_bytes == 0
    assert region.snapshot_tiers() == []


def test_fast_restore_passes_through_its_states(
    region_factory: RegionFactory, region: Region
) -> None:
    clock = region_factory.clock
    snapshot_id = taken(region, size_gib=512)
    zone, other = region.zones[:2]
    answer = region.enable_fast_restores([snapshot_id], [zone, other])
    assert [(one.zone, one.state) for one in answer] == [(zone, "enabling"), (other, "enabling")]
    clock.advance(1)
    (found,) = region.describe_fast_restores(zones=[zone])
    assert (found.state, found.credits) == ("optimizing", 0)
    assert not region.describe_volume(volume(region, snapshot_id=snapshot_id)).fast_restored
    clock.advance(HOUR_NS // 2)
    (found,) = region.describe_fast_restores([snapshot_id], [zone])
    assert (found.state, found.max_credits, found.credits_per_hour) == ("enabled", 2.0, 2.0)
    assert [one.state for one in region.disable_fast_restores([snapshot_id], [other])] == [
        "disabling"
    ]
    assert [one.zone for one in region.describe_fast_restores()] == [zone]
    assert region.disable_fast_restores([snapshot_id], [other]) == []


@pytest.mark.parametrize(
    ("size_gib", "most", "per_hour"), [(1, 10, 10), (100, 10, 10), (512, 2, 2), (2048, 1, 0.5)]
)
def test_fast_restore_credits(
    region_factory: RegionFactory, size_gib: int, most: int, per_hour: float
) -> None:
    region, clock = region_factory(timings=Timings(fast_restore_ns_per_tib=0)), region_factory.clock
    snapshot_id = taken(region, size_gib=size_gib)
    region.enable_fast_restores([snapshot_id], [region.zones[0]])

    def is_fast() -> bool:
        return region.describe_volume(volume(region, snapshot_id=snapshot_id)).fast_restored

    assert not is_fast()
    clock.advance(int(HOUR_NS / per_hour) - 1)
    assert not is_fast()
    clock.advance(1)
    assert is_fast()
    assert not is_fast()
    clock.advance(100 * HOUR_NS)
    (found,) = region.describe_fast_restores()
    assert (found.credits, found.max_credits, found.credits_per_hour) == (most, most, per_hour)
    assert [is_fast() for _ in range(most + 1)] == [True] * most + [False]
    elsewhere = volume(region, snapshot_id=snapshot_id, zone=region.zones[1])
    assert not region.describe_volume(elsewhere).fast_restored


def test_so_many_snapshots_are_restored_fast(region: Region) -> None:
    ids = [taken(region) for _ in range(6)]
    region.enable_fast_restores(ids[:5], region.zones)
    with refused("FastSnapshotRestoreLimitExceeded"):
        region.enable_fast_restores(ids[5:], region.zones)
    with refused("InvalidZone.NotFound"):
        region.enable_fast_restores(ids[:1], ["us-west-2a"])
    assert len(region.describe_fast_restores()) == 15
