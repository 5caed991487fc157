"""kill -9 in the midst of EC2's verbs: two processes at work on one region, and they die.

Each worker makes volumes, writes to them, takes, restores, copies, deletes snapshots, runs
and terminates instances; it journals what it is about to do and what was acknowledged.  The
driver kills one or both at any point, opens the region, and looks:

* `Region.check` finds nothing wrong, while the other worker goes on;
* what was acknowledged is there, with its data; what was deleted is gone;
* a snapshot is completed by whoever is alive, and holds the volume as it was at the call;
* what was under way happened, or did not; nothing else is there.

    OBJSTORE_KILLS=1000   more of it
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from blockdev.service import Region
from tests.crash.region_worker import BLOCK, BLOCKS, PIECE, Image, number_of
from tests.regions import assert_region_whole, read

KILLS = int(os.environ.get("OBJSTORE_KILLS", "50")) // 5
WAIT_S = 120.0


@dataclass
class Known:
    """What one worker was told, and what it was told nothing of."""

    volumes: dict[str, Image] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    snapshots: dict[str, Image] = field(default_factory=dict)
    roots: dict[str, str] = field(default_factory=dict)
    terminated: set[str] = field(default_factory=set)
    gone: set[str] = field(default_factory=set)
    under_way: tuple[str, dict[str, Any]] | None = None
    acknowledged: int = 0

    def note(self, verb: str, facts: dict[str, Any]) -> None:
        """A verb was acknowledged."""
        match verb:
            case "create_volume":
                self.volumes[facts["id"]] = dict(facts["image"])
                self.sizes[facts["id"]] = facts["size_gib"]
            case "write":
                self.volumes[facts["id"]][facts["index"]] = facts["number"]
            case "modify":
                self.sizes[facts["id"]] = facts["size_gib"]
            case "delete_volume":
                del self.volumes[facts["id"]]
                self.gone.add(facts["id"])
            case "create_snapshot" | "write_directly" | "copy":
                self.snapshots[facts["id"]] = dict(facts["image"])
            case "delete_snapshot":
                del self.snapshots[facts["id"]]
                self.gone.add(facts["id"])
            case "run_instance":
                self.roots[facts["id"]] = facts["root"]
            case "terminate":
                self.gone.add(self.roots.pop(facts["id"]))
                self.terminated.add(facts["id"])

    def was_doing(self, verb: str, target: str) -> bool:
        """Whether this may have happened to `target` although nobody was told."""
        return (
            self.under_way is not None
            and self.under_way[0] == verb
            and self.under_way[1].get("id") == target
        )


class Victim:
    """A worker process, and the thread that reads its journal."""

    def __init__(self, folder: Path, name: str, seed: int) -> None:
        self.name = name
        self.known = Known()
        self.failure = ""
        self._moved = threading.Condition()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.crash.region_worker", str(folder), name, str(seed)],
            stdout=subprocess.PIPE,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if not line.endswith(b"\n"):
                break  # it was cut off: this never came
            with self._moved:
                self._take(json.loads(line))
                self._moved.notify_all()
        with self._moved:
            self.failure = self.failure or "ended"
            self._moved.notify_all()

    def _take(self, line: list[Any]) -> None:
        match line:
            case ["I", verb, facts]:
                self.known.under_way = verb, facts
            case ["A", verb, facts]:
                self.known.under_way = None
                self.known.acknowledged += 1
                self.known.note(verb, facts)
            case ["R", _]:
                self.known.under_way = None
            case ["X", text]:
                self.failure = text

    def wait(self, acknowledged: int) -> None:
        """Until it was told so much; fails if it ends by itself."""
        with self._moved:
            moved = self._moved.wait_for(
                lambda: self.failure or self.known.acknowledged >= acknowledged, WAIT_S
            )
        assert moved, f"{self.name} does not get on"
        assert not self.failure, self.failure

    def kill(self) -> Known:
        """kill -9; what it knew."""
        self._process.kill()
        self._process.wait()
        self._reader.join()
        assert self.failure == "ended", self.failure
        return self.known


def test_a_region_survives_kill_9(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    folder = tmp_path / "region"
    victims: dict[str, Victim] = {}
    killed = 0
    while killed < KILLS:
        for name in ("one", "two"):
            if name not in victims:
                victims[name] = Victim(folder, f"{name}-{killed}", rng.getrandbits(32))
        for victim in victims.values():
            victim.wait(victim.known.acknowledged + rng.randint(1, 12))
        dying = rng.choice([["one"], ["two"], ["one", "two"]])
        for name in dying:
            victim = victims.pop(name)
            with Region.open(folder) as region:
                _look(region, victim.kill(), victim.name)
            killed += 1
    for victim in victims.values():
        known = victim.kill()
        with Region.open(folder) as region:
            _look(region, known, victim.name)
    assert_region_whole(folder)


def _look(region: Region, known: Known, name: str) -> None:
    """Compare what there is with what a dead worker knew, and remove all of it."""
    problems = region.check(verify_blocks=False)
    assert problems == [], "\n".join(problems)
    _look_at_volumes(region, known, name)
    _look_at_snapshots(region, known, name)
    _look_at_instances(region, known, name)
    ids = {one.volume_id for one in region.describe_volumes() if one.tags.get("worker") == name}
    for instance in region.describe_instances():
        if instance.tags.get("worker") == name:
            region.terminate_instances([instance.instance_id])
    for volume_id in ids:
        region.delete_volume(volume_id)
    for snapshot in region.describe_snapshots():
        if snapshot.tags.get("worker") == name:
            region.delete_snapshot(snapshot.snapshot_id)


def _look_at_volumes(region: Region, known: Known, name: str) -> None:
    found = {
        one.volume_id: one
        for one in region.describe_volumes()
        if one.tags.get("worker") == name and one.state != "deleting"
    }
    assert not known.gone & set(found)
    surplus = set(found) - set(known.volumes)
    assert len(surplus) <= (known.under_way is not None and known.under_way[0] == "create_volume")
    for volume_id, image in known.volumes.items():
        if volume_id not in found:
            assert known.was_doing("delete_volume", volume_id), f"{volume_id} is lost"
            continue
        allowed_sizes = {known.sizes[volume_id]}
        if known.was_doing("modify", volume_id):
            allowed_sizes.add(known.under_way[1]["size_gib"])  # type: ignore[index]
        assert found[volume_id].spec.size_gib in allowed_sizes
        device = region.open_volume(volume_id, throttled=False, delayed=False)
        for index in range(BLOCKS):
            allowed = {image.get(str(index), 0)}
            if known.was_doing("write", volume_id):
                facts = known.under_way[1]  # type: ignore[index]
                if facts["index"] == str(index):
                    allowed.add(facts["number"])
            assert number_of(read(device, index * BLOCK, PIECE)) in allowed
        device.close()


def _look_at_snapshots(region: Region, known: Known, name: str) -> None:
    found = {
        one.snapshot_id for one in region.describe_snapshots() if one.tags.get("worker") == name
    }
    assert not known.gone & found
    making = {"create_snapshot", "write_directly", "copy"}
    surplus = found - set(known.snapshots)
    assert len(surplus) <= (known.under_way is not None and known.under_way[0] in making)
    for snapshot_id, image in known.snapshots.items():
        if snapshot_id not in found:
            assert known.was_doing("delete_snapshot", snapshot_id), f"{snapshot_id} is lost"
            continue
        completed = region.wait_snapshot(snapshot_id, WAIT_S)
        assert completed.state == "completed", completed
        holds = {
            str(index): number_of(region.get_snapshot_block(snapshot_id, index)[:PIECE])
            for index, _ in region.list_snapshot_blocks(snapshot_id)
        }
        assert holds == image


def _look_at_instances(region: Region, known: Known, name: str) -> None:
    found = {one.instance_id: one for one in region.describe_instances()}
    for instance_id in known.terminated:
        assert found[instance_id].state == "terminated"
    volumes = {one.volume_id for one in region.describe_volumes() if one.state != "deleting"}
    assert not known.gone & volumes
    for instance_id, root in known.roots.items():
        if known.was_doing("terminate", instance_id):
            continue
        assert found[instance_id].state == "running"
        assert [one.volume_id for one in found[instance_id].attachments] == [root]
    mine = [one for one in found.values() if one.tags.get("worker") == name]
    surplus = {one.instance_id for one in mine} - set(known.roots) - known.terminated
    assert len(surplus) <= (known.under_way is not None and known.under_way[0] == "run_instance")
