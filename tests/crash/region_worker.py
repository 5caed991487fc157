"""A process that is killed: random verbs on one region, each journalled before and after.

Standard output is the journal, a line of JSON at a time: ``["I", verb, facts]`` before a
verb, ``["A", verb, facts]`` once it was acknowledged, ``["R", code]`` when it was refused.
The facts are what the region must hold from then on.  Volumes, snapshots and instances
carry the worker's name as a tag; what is written to a volume is a number, repeated.

    python -m tests.crash.region_worker FOLDER WORKER SEED
"""

from __future__ import annotations

import json
import random
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from blockdev.device import BlockDevice
from blockdev.model import SNAPSHOT_BLOCK_BYTES, ServiceError
from blockdev.service import Region

BLOCK = SNAPSHOT_BLOCK_BYTES
BLOCKS = 8
"""Blocks of a volume that are written to."""

PIECE = 4096
"""Bytes written to a block at a time."""

MOST_VOLUMES = 5
MOST_SNAPSHOTS = 6

PERMITTED = frozenset(
    {
        "ConcurrentSnapshotLimitExceeded",
        "IncorrectModificationState",
        "IncorrectState",
        "InvalidSnapshot.InUse",
        "InvalidSnapshot.NotFound",
        "InvalidVolume.NotFound",
        "Unavailable",
        "VolumeInUse",
        "VolumeModificationRateExceeded",
    }
)
"""Refusals that the other worker, or its death, may bring about."""

Image = dict[str, int]
"""What the blocks of a volume hold, by their index; JSON has no other keys."""


def piece_of(number: int) -> bytes:
    """Bytes that say which number they are."""
    return number.to_bytes(8, "big") * (PIECE // 8)


def number_of(piece: bytes) -> int:
    """The number that bytes say, 0 for zeroes; an AssertionError if they are torn."""
    number = int.from_bytes(piece[:8], "big")
    assert piece == piece_of(number), "a torn piece"
    return number


def tell(*line: Any) -> None:
    """A line of the journal, in one write."""
    sys.stdout.buffer.write(json.dumps(line).encode() + b"\n")
    sys.stdout.buffer.flush()


class Worker:
    """One process at work; what it knows of is its own."""

    def __init__(self, region: Region, name: str, seed: int) -> None:
        self.region, self.name = region, name
        self.rng = random.Random(seed)
        self.number = seed % 1_000_000 * 1000
        self.volumes: dict[str, Image] = {}
        self.snapshots: dict[str, Image] = {}
        self.instances: list[str] = []
        self.open: dict[str, BlockDevice] = {}

    @property
    def tags(self) -> dict[str, str]:
        return {"worker": self.name}

    def step(self) -> None:
        """One random verb."""
        verbs: list[tuple[int, Callable[[], None]]] = [
            (6, self.write),
            (3, self.create_volume),
            (4, self.create_snapshot),
            (2, self.snapshot_anything),
            (2, self.restore),
            (2, self.delete_volume),
            (2, self.delete_snapshot),
            (1, self.write_directly),
            (1, self.copy),
            (1, self.modify),
            (2, self.run_instance),
            (1, self.attach),
            (2, self.terminate),
            (2, self.close_one),
        ]
        (chosen,) = self.rng.choices(verbs, [weight for weight, _ in verbs])
        chosen[1]()

    def attempt(self, verb: str, facts: dict[str, Any], act: Callable[[], dict[str, Any]]) -> bool:
        """Journal a verb and do it; `act` returns the facts that only its answer tells."""
        tell("I", verb, facts)
        try:
            facts = {**facts, **act()}
        except ServiceError as error:
            if error.code not in PERMITTED:
                raise
            tell("R", error.code)
            return False
        tell("A", verb, facts)
        return True

    # Volumes.

    def create_volume(self) -> None:
        if len(self.volumes) < MOST_VOLUMES:
            self._create({}, size_gib=1)

    def restore(self) -> None:
        if self.snapshots and len(self.volumes) < MOST_VOLUMES:
            snapshot_id = self.rng.choice(list(self.snapshots))
            self._create(self.snapshots[snapshot_id], snapshot_id=snapshot_id)

    def _create(self, image: Image, **arguments: Any) -> None:
        def act() -> dict[str, Any]:
            zone = self.region.zones[0]
            made = self.region.create_volume(zone=zone, tags=self.tags, **arguments)
            self.volumes[made.volume_id] = dict(image)
            return {"id": made.volume_id, "size_gib": made.spec.size_gib}

        self.attempt("create_volume", {"image": image}, act)

    def delete_volume(self) -> None:
        if not self.volumes:
            return
        volume_id = self.rng.choice(list(self.volumes))
        self._close(volume_id)

        def act() -> dict[str, Any]:
            self.region.delete_volume(volume_id)
            del self.volumes[volume_id]
            return {}

        self.attempt("delete_volume", {"id": volume_id}, act)

    def modify(self) -> None:
        if not self.volumes:
            return
        volume_id = self.rng.choice(list(self.volumes))
        size_gib = self.rng.randint(2, 5)

        def act() -> dict[str, Any]:
            self.region.modify_volume(volume_id, size_gib=size_gib)
            return {}

        grown = self.region.describe_volume(volume_id).spec.size_gib < size_gib
        if grown:
            self.attempt("modify", {"id": volume_id, "size_gib": size_gib}, act)

    def write(self) -> None:
        if not self.volumes:
            return
        volume_id = self.rng.choice(list(self.volumes))
        index, number = self.rng.randrange(BLOCKS), self._next()

        def act() -> dict[str, Any]:
            device = self._opened(volume_id)
            if self.rng.random() < 0.5:
                device.write(index * BLOCK, piece_of(number), fua=True)
            else:
                device.write(index * BLOCK, piece_of(number))
                device.flush()
            self.volumes[volume_id][str(index)] = number
            return {}

        self.attempt("write", {"id": volume_id, "index": str(index), "number": number}, act)

    def close_one(self) -> None:
        if self.open:
            self._close(self.rng.choice(list(self.open)))

    def _opened(self, volume_id: str) -> BlockDevice:
        if volume_id not in self.open:
            self.open[volume_id] = self.region.open_volume(
                volume_id, throttled=False, delayed=False
            )
        return self.open[volume_id]

    def _close(self, volume_id: str) -> None:
        if volume_id in self.open:
            self.open.pop(volume_id).close()

    def _next(self) -> int:
        self.number += 1
        return self.number

    # Snapshots.

    def create_snapshot(self) -> None:
        if self.volumes and len(self.snapshots) < MOST_SNAPSHOTS:
            volume_id = self.rng.choice(list(self.volumes))
            image = dict(self.volumes[volume_id])
            self._snapshot(
                "create_snapshot",
                image,
                lambda: self.region.create_snapshot(volume_id, tags=self.tags).snapshot_id,
            )

    def snapshot_anything(self) -> None:
        """Of the other worker's volume, perhaps: then nobody knows what is in it."""
        found = [one.volume_id for one in self.region.describe_volumes()]
        if found:
            volume_id = self.rng.choice(found)

            def act() -> dict[str, Any]:
                snapshot_id = self.region.create_snapshot(volume_id).snapshot_id
                self.region.delete_snapshot(snapshot_id)
                return {}

            self.attempt("snapshot_anything", {}, act)

    def write_directly(self) -> None:
        """A snapshot by the EBS direct APIs."""
        if len(self.snapshots) >= MOST_SNAPSHOTS:
            return
        image = {str(index): self._next() for index in self.rng.sample(range(BLOCKS), 3)}

        def make() -> str:
            made = self.region.start_snapshot(volume_size_gib=1, tags=self.tags).snapshot_id
            for index, number in image.items():
                self.region.put_snapshot_block(
                    made, int(index), piece_of(number).ljust(BLOCK, b"\0")
                )
            self.region.complete_snapshot(made, len(image))
            return made

        self._snapshot("write_directly", image, make)

    def copy(self) -> None:
        if self.snapshots and len(self.snapshots) < MOST_SNAPSHOTS:
            source = self.rng.choice(list(self.snapshots))

            def make() -> str:
                made = self.region.copy_snapshot(source, tags=self.tags).snapshot_id
                state = self.region.wait_snapshot(made, 60).state
                assert state == "completed", state
                return made

            self._snapshot("copy", self.snapshots[source], make)

    def _snapshot(self, verb: str, image: Image, make: Callable[[], str]) -> None:
        def act() -> dict[str, Any]:
            snapshot_id = make()
            self.snapshots[snapshot_id] = dict(image)
            return {"id": snapshot_id}

        self.attempt(verb, {"image": image}, act)

    def delete_snapshot(self) -> None:
        if not self.snapshots:
            return
        snapshot_id = self.rng.choice(list(self.snapshots))

        def act() -> dict[str, Any]:
            self.region.delete_snapshot(snapshot_id)
            del self.snapshots[snapshot_id]
            return {}

        self.attempt("delete_snapshot", {"id": snapshot_id}, act)

    # Instances.

    def run_instance(self) -> None:
        if len(self.instances) >= 2:
            return

        def act() -> dict[str, Any]:
            (made,) = self.region.run_instances(
                image_id="ami-12345678", instance_type="i3.large", tags=self.tags
            )
            self.instances.append(made.instance_id)
            disk = self.region.open_disk(made.instance_id, 0)
            disk.write(0, b"scratch")
            disk.close()
            return {"id": made.instance_id, "root": made.attachments[0].volume_id}

        self.attempt("run_instance", {}, act)

    def attach(self) -> None:
        if not self.instances or not self.volumes:
            return
        volume_id, instance_id = self.rng.choice(list(self.volumes)), self.instances[0]

        def act() -> dict[str, Any]:
            self.region.attach_volume(volume_id, instance_id, "/dev/sdf")
            self.region.detach_volume(volume_id, force=True)
            return {}

        self._close(volume_id)
        taken = self.region.describe_volume(volume_id).attachments
        if not taken:
            self.attempt("attach", {"id": volume_id}, act)

    def terminate(self) -> None:
        if not self.instances:
            return
        instance_id = self.instances[0]

        def act() -> dict[str, Any]:
            self.region.terminate_instances([instance_id])
            self.instances.remove(instance_id)
            return {}

        self.attempt("terminate", {"id": instance_id}, act)


def main() -> None:
    folder, name, seed = sys.argv[1:]
    try:
        with Region.open(Path(folder)) as region:
            worker = Worker(region, name, int(seed))
            tell("A", "opened", {})
            while True:
                worker.step()
    except BaseException:
        tell("X", traceback.format_exc())
        raise


if __name__ == "__main__":
    main()
