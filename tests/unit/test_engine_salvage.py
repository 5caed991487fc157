"""`rebuild_index` on a damaged log: what can be read is kept, and the log is whole again."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from objstore import ObjectStore, StoreConfig
from objstore.config import KIB, MIB
from objstore.engine.check import check_store, rebuild_index
from objstore.errors import CorruptionError
from objstore.log.format import FormatError, Layout, SegmentHead
from objstore.log.reader import Batch, log_segments, read_batches

CONFIG = StoreConfig(
    device_bytes=64 * MIB,
    segment_bytes=256 * KIB,
    log_inline_bytes=4 * KIB,
    maintenance_interval_s=0,
    zero_ahead_bytes=0,
)
PUTS = 200


class Damaged:
    """A store of several log segments, and where its bytes are."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with ObjectStore.open(path, config=CONFIG) as store:
            for number in range(PUTS):
                store.put("bucket", f"key-{number:03}", b"%d" % number * 200)
            for number in range(0, PUTS, 3):
                store.delete("bucket", f"key-{number:03}")
            core = store._core
            self.layout: Layout = core.layout
            self.heads: list[SegmentHead] = log_segments(
                core.device, core.layout, core.superblock.store_id
            )
            self.batches: list[list[Batch]] = [
                [
                    found
                    for found in read_batches(core.device, core.layout, head)
                    if not isinstance(found, FormatError)
                ]
                for head in self.heads
            ]

    def flip(self, offset_bytes: int) -> None:
        with (self.path / "device").open("r+b") as device:
            device.seek(offset_bytes)
            byte = device.read(1)[0]
            device.seek(offset_bytes)
            device.write(bytes([byte ^ 1]))

    def hit(self, what: str) -> None:
        """Damage the store; `what` names the place."""
        middle = self.batches[1][5]
        places = {
            "head of a batch": middle.offset_bytes + 9,
            "record": middle.offset_bytes + 100,
            "head of a segment": self.layout.offset(self.heads[1].segment) + 20,
            "head of the first segment": self.layout.offset(self.heads[0].segment) + 20,
            "first batch of the open segment": self.batches[-1][0].offset_bytes + 90,
            "a batch in the open segment": self.batches[-1][3].offset_bytes + 9,
        }
        self.flip(places[what])


@pytest.mark.parametrize(
    "what",
    [
        "head of a batch",
        "record",
        "head of a segment",
        "head of the first segment",
        "first batch of the open segment",
        "a batch in the open segment",
    ],
)
def test_what_can_be_read_is_kept_and_the_log_is_whole_again(tmp_path: Path, what: str) -> None:
    store_path = tmp_path / "data"
    damaged = Damaged(store_path)
    assert len(damaged.heads) > 2, "damage is to be in several segments"
    damaged.hit(what)
    shutil.rmtree(store_path / "index")
    with pytest.raises(CorruptionError, match="rebuild-index"):
        ObjectStore.open(store_path, config=CONFIG)

    report = rebuild_index(store_path)

    assert report.problems
    assert report.damaged_segments
    assert check_store(store_path) == []
    lost = {f"key-{number:03}" for number in range(PUTS) if number % 3}
    with ObjectStore.open(store_path, config=CONFIG) as store:
        for entry in store.list("bucket").entries:
            lost.discard(entry.key)
            number = int(entry.key[4:])
            assert store.get("bucket", entry.key).read() == b"%d" % number * 200
        for number in range(PUTS):
            store.put("bucket", f"more-{number:03}", b"x" * 500)
        assert store.check() == []
    assert len(lost) <= 1, "one batch was damaged, with one object at the most"
    shutil.rmtree(store_path / "index")
    with ObjectStore.open(store_path, config=CONFIG) as store:
        assert store.check() == []
        assert store.head("bucket", "more-199").size_bytes == 500


def test_damaged_bytes_of_an_object_cost_that_object_alone(tmp_path: Path) -> None:
    store_path = tmp_path / "data"
    damaged = Damaged(store_path)
    victim = next(
        record
        for batch in damaged.batches[1]
        for record in batch.records
        if len(record.payload) and int(record.key[4:]) % 3
    )
    damaged.flip(victim.payload_offset + 5)
    shutil.rmtree(store_path / "index")
    with ObjectStore.open(store_path, config=CONFIG) as store:
        with pytest.raises(CorruptionError):
            store.get("bucket", victim.key.decode())
        assert any(str(victim.key) in problem.what for problem in store.check())
        others = [e.key for e in store.list("bucket").entries if e.key != victim.key.decode()]
        assert len(others) == sum(1 for number in range(PUTS) if number % 3) - 1
        for key in others:
            assert store.get("bucket", key).read() == b"%d" % int(key[4:]) * 200
