"""The control plane against a model of a few lines: every answer and every refusal foretold.

Time is the model's: hours pass in no time.  The region is closed and opened, and it dies:
with file work written down and not done, and with devices open, as a kill leaves it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from blockdev.clock import ManualClock
from blockdev.device import BlockDevice
from blockdev.entropy import SeededEntropy
from blockdev.model import ServiceError
from blockdev.service import Region, Timings
from tests.regions import DAY_NS, HOUR_NS, IMAGE, assert_region_whole, read

DEVICES = ("/dev/sdf", "/dev/sdg", "xvdf")
SLOTS = {"/dev/sdf": "f", "/dev/sdg": "g", "xvdf": "f"}
ABSENT = {"volume": "vol-0123456789abcdef0", "instance": "i-0123456789abcdef0"}

picks = st.integers(0, 5)


@dataclass
class ModelVolume:
    """A volume: what it holds at its start, where it is attached, how it was modified."""

    zone: str
    size_gib: int
    content: bytes = bytes(4)
    on: str = ""
    device: str = ""
    busy: bool = False
    modified_ns: list[int] = field(default_factory=list)
    completed_ns: int = 0


class RegionMachine(RuleBasedStateMachine):
    """Verbs of one region, and what must come of them."""

    def __init__(self) -> None:
        super().__init__()
        self.scratch = tempfile.TemporaryDirectory()
        self.clock = ManualClock()
        self.entropy = SeededEntropy(1)
        self.volumes: dict[str, ModelVolume] = {}
        self.instances: dict[str, tuple[str, str]] = {}  # zone and state
        self.roots: dict[str, str] = {}
        self.snapshots: dict[str, tuple[int, bytes]] = {}
        self.open: dict[str, BlockDevice] = {}
        self.region = self.opened()

    def opened(self) -> Region:
        return Region.open(Path(self.scratch.name), clock=self.clock, entropy=self.entropy)

    def teardown(self) -> None:
        self.region.close()
        assert_region_whole(Path(self.scratch.name))
        self.scratch.cleanup()

    def volume(self, pick: int) -> str:
        """An id: one of the model's, or of none."""
        ids = list(self.volumes)
        return ids[pick] if pick < len(ids) else ABSENT["volume"]

    def instance(self, pick: int) -> str:
        ids = list(self.instances)
        return ids[pick] if pick < len(ids) else ABSENT["instance"]

    def expect(self, code: str, verb: Callable[[], object]) -> bool:
        """Call `verb`: refused with `code`, or not at all if that is empty."""
        happened = ""
        try:
            verb()
        except ServiceError as error:
            happened = error.code
        assert happened == code
        return not happened

    # Volumes.

    @precondition(lambda self: len(self.volumes) < 5)
    @rule(zone=st.sampled_from("ab"), size_gib=st.integers(1, 3))
    def create(self, zone: str, size_gib: int) -> None:
        made = self.region.create_volume(zone=f"us-east-1{zone}", size_gib=size_gib)
        self.volumes[made.volume_id] = ModelVolume(f"us-east-1{zone}", size_gib)

    @precondition(lambda self: self.snapshots and len(self.volumes) < 5)
    @rule(pick=picks)
    def restore(self, pick: int) -> None:
        snapshot_id = list(self.snapshots)[pick % len(self.snapshots)]
        size_gib, content = self.snapshots[snapshot_id]
        made = self.region.create_volume(zone="us-east-1a", snapshot_id=snapshot_id)
        self.volumes[made.volume_id] = ModelVolume("us-east-1a", size_gib, content)

    def delete_code(self, volume_id: str) -> str:
        found = self.volumes.get(volume_id)
        if found is None:
            return "InvalidVolume.NotFound"
        return "VolumeInUse" if found.on or volume_id in self.open else ""

    @rule(pick=picks)
    def delete(self, pick: int) -> None:
        volume_id = self.volume(pick)
        code = self.delete_code(volume_id)
        if self.expect(code, lambda: self.region.delete_volume(volume_id)):
            del self.volumes[volume_id]

    @rule(pick=picks, size_gib=st.integers(1, 6))
    def modify(self, pick: int, size_gib: int) -> None:
        volume_id, now_ns = self.volume(pick), self.clock.now_ns()
        found = self.volumes.get(volume_id)
        if found is None:
            code = "InvalidVolume.NotFound"
        elif now_ns < found.completed_ns:
            code = "IncorrectModificationState"
        elif size_gib < found.size_gib:
            code = "InvalidParameterValue"
        elif len([t for t in found.modified_ns if now_ns - t < DAY_NS]) >= 4:
            code = "VolumeModificationRateExceeded"
        else:
            code = "InvalidParameterValue" if size_gib == found.size_gib else ""
        if self.expect(code, lambda: self.region.modify_volume(volume_id, size_gib=size_gib)):
            assert found is not None
            found.size_gib = size_gib
            found.modified_ns.append(now_ns)
            spec = self.region.describe_volume(volume_id).spec
            found.completed_ns = now_ns + Timings().optimizing_ns(spec)

    # Attachments.

    def attach_code(self, volume_id: str, instance_id: str, device: str) -> str:
        found, instance = self.volumes.get(volume_id), self.instances.get(instance_id)
        if found is None:
            return "InvalidVolume.NotFound"
        if instance is None:
            return "InvalidInstanceID.NotFound"
        if found.on:
            return "VolumeInUse"
        zone, state = instance
        if state == "terminated":
            return "IncorrectState"
        if zone != found.zone:
            return "InvalidVolume.ZoneMismatch"
        taken = [SLOTS[one.device] for one in self.volumes.values() if one.on == instance_id]
        return "InvalidParameterValue" if SLOTS[device] in taken else ""

    @rule(pick=picks, on=picks, device=st.sampled_from(DEVICES))
    def attach(self, pick: int, on: int, device: str) -> None:
        volume_id, instance_id = self.volume(pick), self.instance(on)
        code = self.attach_code(volume_id, instance_id, device)
        if self.expect(code, lambda: self.region.attach_volume(volume_id, instance_id, device)):
            found = self.volumes[volume_id]
            found.on, found.device = instance_id, device

    @rule(pick=picks, force=st.booleans())
    def detach(self, pick: int, force: bool) -> None:
        volume_id = self.volume(pick)
        found = self.volumes.get(volume_id)
        if found is None:
            code = "InvalidVolume.NotFound"
        else:
            code = "" if found.on and (force or not found.busy) else "IncorrectState"
        if self.expect(code, lambda: self.region.detach_volume(volume_id, force=force)):
            assert found is not None
            if not force and volume_id in self.open:
                found.busy = True
                return
            self.open.pop(volume_id, None)
            found.on, found.busy = "", False

    # Data.

    @rule(pick=picks)
    def use(self, pick: int) -> None:
        """Open a volume for its instance; one that is attached to none is left alone."""
        volume_id = self.volume(pick)
        found = self.volumes.get(volume_id)
        if found is None or not found.on or volume_id in self.open or found.busy:
            return
        stopped = self.instances[found.on][1] != "running"
        if self.expect(
            "IncorrectState" if stopped else "",
            lambda: self.open.update(
                {volume_id: self.region.open_volume(volume_id, instance_id=found.on)}
            ),
        ):
            assert read(self.open[volume_id], 0, 4) == found.content

    @precondition(lambda self: self.open)
    @rule(pick=picks, content=st.binary(min_size=4, max_size=4))
    def write(self, pick: int, content: bytes) -> None:
        volume_id = list(self.open)[pick % len(self.open)]
        self.open[volume_id].write(0, content, fua=True)
        self.volumes[volume_id].content = content

    @precondition(lambda self: self.open)
    @rule(pick=picks)
    def close(self, pick: int) -> None:
        volume_id = list(self.open)[pick % len(self.open)]
        self.open.pop(volume_id).close()
        self.closed(volume_id)

    def closed(self, volume_id: str) -> None:
        found = self.volumes[volume_id]
        if found.busy:
            found.on, found.busy = "", False

    @precondition(lambda self: len(self.snapshots) < 4)
    @rule(pick=picks)
    def snapshot(self, pick: int) -> None:
        volume_id = self.volume(pick)
        found = self.volumes.get(volume_id)
        if found is not None:
            made = self.region.create_snapshot(volume_id).snapshot_id
            assert self.region.wait_snapshot(made, 60).state == "completed"
            self.snapshots[made] = found.size_gib, found.content

    @precondition(lambda self: self.snapshots)
    @rule(pick=picks)
    def delete_snapshot(self, pick: int) -> None:
        snapshot_id = list(self.snapshots)[pick % len(self.snapshots)]
        self.region.delete_snapshot(snapshot_id)
        del self.snapshots[snapshot_id]

    # Instances.

    @precondition(lambda self: len(self.instances) < 4)
    @rule(zone=st.sampled_from("ab"))
    def run_instance(self, zone: str) -> None:
        (made,) = self.region.run_instances(image_id=IMAGE, zone=f"us-east-1{zone}")
        self.instances[made.instance_id] = f"us-east-1{zone}", "running"
        self.roots[made.instance_id] = made.attachments[0].volume_id

    @rule(pick=picks, verb=st.sampled_from(["stop", "start", "reboot", "terminate"]))
    def change(self, pick: int, verb: str) -> None:
        instance_id = self.instance(pick)
        if instance_id not in self.instances:
            code = "InvalidInstanceID.NotFound"
        else:
            zone, state = self.instances[instance_id]
            refuses = state == "terminated" or (verb == "reboot" and state == "stopped")
            code = "IncorrectInstanceState" if refuses and verb != "terminate" else ""
        act = getattr(self.region, f"{verb}_instances")
        if not self.expect(code, lambda: act([instance_id])) or verb == "reboot":
            return
        after = {"stop": "stopped", "start": "running", "terminate": "terminated"}[verb]
        self.instances[instance_id] = zone, after
        for volume_id, found in self.volumes.items():
            if found.on == instance_id and after != "running":
                if self.open.pop(volume_id, None) is not None:
                    self.closed(volume_id)
                if after == "terminated":
                    found.on, found.busy = "", False
        if after == "terminated":
            self.roots.pop(instance_id, None)

    # Time, and the end of processes.

    @rule(hours=st.sampled_from([0.001, 0.1, 1, 7, 30]))
    def wait(self, hours: float) -> None:
        self.clock.advance(int(hours * HOUR_NS))
        if hours >= 1:  # all that were terminated by now are forgotten
            for instance_id in [i for i, (_, s) in self.instances.items() if s == "terminated"]:
                del self.instances[instance_id]

    @rule()
    def reopen(self) -> None:
        self.region.close()
        self.lost_devices()

    @rule(undone=st.booleans(), pick=picks)
    def die(self, undone: bool, pick: int) -> None:
        """Leave rows of open devices behind, and perhaps file work that was not done."""
        if undone:
            self.region._run_jobs = lambda: None  # type: ignore[method-assign]
            self.delete(pick)
            if len(self.volumes) < 5:
                self.create("a", 1)
        self.region._forget_opens = lambda: None  # type: ignore[method-assign]
        self.region.close()
        self.lost_devices()

    def lost_devices(self) -> None:
        for volume_id in list(self.open):
            del self.open[volume_id]
            self.closed(volume_id)
        self.region = self.opened()

    @invariant()
    def is_as_foretold(self) -> None:
        found = {one.volume_id: one for one in self.region.describe_volumes()}
        assert set(found) == set(self.volumes) | set(self.roots.values())
        for volume_id, model in self.volumes.items():
            one = found[volume_id]
            assert (one.zone, one.spec.size_gib) == (model.zone, model.size_gib)
            assert one.state == ("in-use" if model.on else "available")
            assert [(a.instance_id, a.state) for a in one.attachments] == (
                [(model.on, "busy" if model.busy else "attached")] if model.on else []
            )
        states = {one.instance_id: one.state for one in self.region.describe_instances()}
        assert states == {one: state for one, (_, state) in self.instances.items()}
        assert {one.snapshot_id for one in self.region.describe_snapshots()} == set(self.snapshots)


TestRegionMachine = RegionMachine.TestCase
TestRegionMachine.settings = settings(
    stateful_step_count=30, max_examples=settings().max_examples // 2
)
