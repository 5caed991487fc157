"""What a process leaves behind that dies in the middle, and what `check` says of damage."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from blockdev.model import SNAPSHOT_BLOCK_BYTES
from blockdev.region import holding
from blockdev.region.database import Database
from blockdev.service import Region, Timings
from tests.regions import HOUR_NS, SECOND_NS, RegionFactory, read, running, volume

WAIT_S = 60.0


def dies(region: Region) -> None:
    """End as a killed process does: its rows stay, its locks go."""
    region._forget_opens = lambda: None  # type: ignore[method-assign]
    region.close()


def completed(region: Region, volume_id: str) -> str:
    """The id of a completed snapshot."""
    snapshot_id = region.create_snapshot(volume_id).snapshot_id
    assert region.wait_snapshot(snapshot_id, WAIT_S).state == "completed"
    return snapshot_id


def test_files_are_made_and_removed_after_a_death(region_factory: RegionFactory) -> None:
    region = region_factory()
    doomed = volume(region)
    region._run_jobs = lambda: None  # type: ignore[method-assign]
    unmade = volume(region)
    assert region.describe_volume(unmade).state == "creating"
    region.delete_volume(doomed)
    assert region.describe_volume(doomed).state == "deleting"
    dies(region)
    region = region_factory()
    (found,) = region.describe_volumes()
    assert (found.volume_id, found.state) == (unmade, "available")
    assert [one.name for one in (region.path / "volumes").iterdir()] == [unmade]
    assert read(region.open_volume(unmade), 0, 4) == bytes(4)


def test_another_process_notices_a_death(region_factory: RegionFactory) -> None:
    victim, witness = region_factory(), region_factory()
    made, instance = volume(victim), running(victim)
    victim.attach_volume(made, instance, "/dev/sdf")
    victim.open_volume(made, instance_id=instance)
    witness.detach_volume(made)
    assert witness.describe_volume(made).attachments[0].state == "busy"
    dies(victim)
    assert witness.describe_volume(made).state == "available"
    witness.delete_volume(made)


def test_a_snapshot_that_was_never_begun_goes(
    region_factory: RegionFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    region, witness = region_factory(), region_factory()
    made = volume(region)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(region, "_begin", killed)
    monkeypatch.setattr(region, "_strike_snapshots", lambda _: None)
    with pytest.raises(KeyboardInterrupt):
        region.create_snapshot(made, tags={"a": "b"})
    assert [one.state for one in witness.describe_snapshots()] == ["pending"]
    dies(region)
    assert witness.describe_snapshots() == []
    assert witness.describe_tags() == []


def test_a_copy_whose_region_is_closed_fails(region_factory: RegionFactory) -> None:
    source = region_factory("source")
    made = volume(source)
    device = source.open_volume(made, throttled=False, delayed=False)
    for index in range(100):
        device.write(index * SNAPSHOT_BLOCK_BYTES, index.to_bytes(2, "big") + b"x")
    device.close()
    snapshot_id = completed(source, made)
    target, gate = region_factory.gated("target")
    copied = target.copy_snapshot(snapshot_id, source_region=source).snapshot_id
    closer = threading.Thread(target=target.close)
    closer.start()
    assert target._closing.wait(WAIT_S)
    gate.set()
    closer.join(WAIT_S)
    target = region_factory("target")
    found = target.describe_snapshot(copied)
    assert found.state == "error"
    assert "closed" in found.state_message
    target.delete_snapshot(copied)
    assert target.usage_total().blocks == 0


def test_a_copy_whose_process_dies_fails_and_its_source_is_let_go(
    region_factory: RegionFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    region = region_factory()
    snapshot_id = completed(region, volume(region))
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", lambda _: None)  # it dies before it begins
        copied = region.copy_snapshot(snapshot_id).snapshot_id
    region._store.begin(copied, size_bytes=1 << 30)
    assert region._store.status(snapshot_id).pinned_by == (copied,)
    region._copiers.clear()
    dies(region)
    region = region_factory()
    assert region.describe_snapshot(copied).state == "error"
    assert region._store.status(snapshot_id).pinned_by == ()


def test_credits_are_written_down_while_a_volume_is_open(
    region_factory: RegionFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(holding, "SAVE_EVERY_S", 0.01)
    region = region_factory()
    made = volume(region, size_gib=100)
    device = region.open_volume(made, delayed=False)
    for number in range(5000):
        device.write(number * 1_000_000, b"x")
    query = "SELECT credits FROM volumes WHERE credits < 5399000"
    for _ in range(1000):
        with Database.read(region._database) as connection:
            row = connection.execute(query).fetchone()
        if row is not None:
            break
        threading.Event().wait(0.01)
    assert row is not None
    monkeypatch.setattr(region, "_save_credits", lambda _: None)
    dies(region)
    region = region_factory()
    assert region.credit_balance(made) == pytest.approx(row["credits"], abs=600)


def test_realistic_waits(region_factory: RegionFactory) -> None:
    region, clock = region_factory(timings=Timings.realistic()), region_factory.clock
    instance = running(region)
    made = volume(region)
    clock.advance(10 * SECOND_NS)
    region.attach_volume(made, instance, "/dev/sdf")
    clock.advance(2 * SECOND_NS)
    region.modify_volume(made, size_gib=2)
    assert region.describe_modifications([made])[0].state == "modifying"
    clock.advance(HOUR_NS)
    assert region.describe_modifications([made])[0].state == "completed"
    region.detach_volume(made)
    clock.advance(3 * SECOND_NS)
    region.delete_volume(made)
    assert region.describe_volume(made).state == "deleting"
    region.terminate_instances([instance])
    clock.advance(20 * SECOND_NS)
    assert region.describe_volumes() == []


def test_a_folder_that_outlives_its_deleted_volume_is_found(
    region_factory: RegionFactory,
) -> None:
    region = region_factory(timings=Timings(deleting_ns=HOUR_NS))
    made = volume(region)
    region.delete_volume(made)
    assert region.check() == []
    folder = region_factory.path() / "volumes" / made
    folder.mkdir()
    assert region.check() == [f"volumes/{made}: the volume is deleted, its files are not"]
    folder.rmdir()


@pytest.mark.parametrize(
    ("damage", "finding"),
    [
        (lambda path, made: (path / "volumes" / made / "data").unlink(), "data is missing"),
        (lambda path, made: (path / "volumes" / made / "map").unlink(), "map is missing"),
        (lambda path, made: (path / "volumes" / "vol-stray").mkdir(), "there is no such volume"),
        (
            lambda path, made: (
                (path / "instances" / "i-stray").mkdir()
                or (path / "instances" / "i-stray" / "disk-0.0").touch()
            ),
            "no disk has this file",
        ),
        (lambda path, made: next((path / "snapshots").iterdir()).unlink(), "snap-"),
        (lambda path, made: next((path / "blocks").glob("*/*")).unlink(), "missing"),
    ],
)
def test_damage_is_found(tmp_path: Path, damage: object, finding: str) -> None:
    assert callable(damage)
    with Region.open(tmp_path) as region:
        made = volume(region)
        device = region.open_volume(made, throttled=False, delayed=False)
        device.write(0, b"content")
        device.close()
        completed(region, made)
        assert region.check() == []
        region._join_watchers()
        damage(tmp_path, made)
        problems = region.check()
    assert any(finding in problem for problem in problems), problems
