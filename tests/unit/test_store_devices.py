"""Stores on simulated devices, without HTTP: made once, attached, reused, let go of."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from blockdev.entropy import SeededEntropy
from blockdev.memory import MemoryDevice
from blockdev.service import Region
from objstore import ObjectStore
from objstore.config import StoreConfig
from objstore.engine.check import check_store, rebuild_index
from objstore.volumes.device_spec import NewVolume, parse_device
from objstore.volumes.device_watch import DeviceWatch, credits_of
from objstore.volumes.placement import PlacementError, find_placement, place, write_note
from objstore.volumes.store_device import StoreDevice, open_to_look, open_to_serve
from tests.regions import RegionFactory, refused


class Served:
    """Opens the devices of stores below a folder, as servers would one after the other."""

    def __init__(self, regions: RegionFactory, seed: int) -> None:
        self.folder = regions.root / "data"
        self.folder.mkdir()
        self._regions = regions
        self._entropy = SeededEntropy(seed)

    @contextmanager
    def region(self) -> Iterator[Region]:
        """The server's own region."""
        with self._regions("data/region") as region:
            yield region

    @contextmanager
    def open(self, text: str | None, credits: float | None = None) -> Iterator[StoreDevice]:
        """The device of the store."""
        placement = place(self.folder, parse_device(text) if text else None)
        with (
            self.region() as region,
            open_to_serve(placement, lambda: region, self._entropy, credits) as opened,
        ):
            yield opened

    @contextmanager
    def store(self, text: str | None) -> Iterator[tuple[StoreDevice, ObjectStore]]:
        """The store on it."""
        with (
            self.open(text) as opened,
            ObjectStore.open(
                self.folder,
                config=replace(opened.config(), maintenance_interval_s=0),
                device=opened.device,
                clock=self._regions.clock,
            ) as store,
        ):
            yield opened, store


@pytest.fixture
def served(region_factory: RegionFactory, seed: int) -> Served:
    return Served(region_factory, seed)


def test_the_stores_own_file_is_left_to_the_engine(served: Served) -> None:
    with served.open("file") as opened:
        assert (opened.device, opened.is_throttled) == (None, False)
        assert opened.config() == StoreConfig()
    assert find_placement(served.folder) is None


def test_memory_holds_a_store_until_it_is_closed(served: Served) -> None:
    with served.store("memory:256MiB") as (opened, store):
        assert isinstance(opened.device, MemoryDevice)
        store.put("bucket", "key", b"bytes")
        assert store.check() == []
    assert find_placement(served.folder) is None
    with served.store("memory:256MiB") as (_, store):
        assert store.list_buckets() == []


@pytest.mark.parametrize("text", ["gp2:1", "gp3:2:3000:250", "io2:4:100", "st1:125", "standard:1"])
def test_a_volume_of_any_type_is_made_once_and_attached(served: Served, text: str) -> None:
    with served.store(text) as (first, store):
        store.put("bucket", "key", b"kept")
        volume = first.region.describe_volume(first.volume_id) if first.region else None
        assert volume is not None
        wanted = parse_device(text)
        assert isinstance(wanted, NewVolume)
        assert (volume.state, volume.spec) == ("in-use", wanted.spec)
        (attachment,) = volume.attachments
        assert (attachment.device, attachment.delete_on_termination) == ("/dev/sdf", False)
        assert first.is_throttled
    with served.store(None) as (again, store):
        assert again.volume_id == first.volume_id
        assert store.get("bucket", "key").read() == b"kept"
    with served.region() as region:
        roots = {one.volume_id for one in region.describe_volumes()} - {first.volume_id}
        assert (len(roots), len(region.describe_instances())) == (1, 1)


def test_what_was_begun_and_not_noted_is_not_made_twice(served: Served) -> None:
    with served.open("gp3:1") as opened:
        made = opened.placement
    write_note(replace(made, volume_id="", instance_id=""))  # as if killed in between
    with served.open(None) as again:
        assert again.placement == made


def test_writes_take_credits_by_what_they_count(
    served: Served, region_factory: RegionFactory
) -> None:
    with served.store("gp2:1") as (opened, store):
        region = opened.region
        assert region is not None
        store.create_bucket("bucket")
        before_ns = region_factory.clock.now_ns()
        balance = region.credit_balance(opened.volume_id)
        was = region.volume_metrics(opened.volume_id)
        for number in range(50):
            store.put("bucket", str(number), bytes(4096))
        done = region.volume_metrics(opened.volume_id).since(was)
        left = region.credit_balance(opened.volume_id)
        earned = 100 * (region_factory.clock.now_ns() - before_ns) / 1e9
        assert done.durable_writes.calls == 50
        assert balance is not None
        assert left is not None
        taken = min(balance + earned, 5_400_000) - left
        assert taken == pytest.approx(50, abs=0.01)  # each is one I/O, which none merges with


def test_credits_persist_and_can_be_set(served: Served, region_factory: RegionFactory) -> None:
    with served.open("gp2:1", credits=1000) as opened:
        assert opened.region is not None
        assert opened.region.credit_balance(opened.volume_id) == 1000
    region_factory.clock.advance(10 * 1_000_000_000)
    with served.open(None) as opened:
        assert opened.region is not None
        assert opened.region.credit_balance(opened.volume_id) == 1000 + 10 * 100
        with refused("VolumeInUse"):
            opened.region.set_credits(opened.volume_id, 5)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("file", "file has no burst credits"),
        ("memory:256MiB", "has no burst credits"),
        ("gp3:1", "InvalidParameterCombination: .* is of a type without credits"),
    ],
)
def test_credits_are_refused_where_there_are_none(served: Served, text: str, told: str) -> None:
    with pytest.raises(PlacementError, match=told), served.open(text, credits=10):
        pass


def test_one_process_at_a_time_has_it(served: Served) -> None:
    with (
        served.open("gp3:1"),
        pytest.raises(PlacementError, match="another process has the store in"),
        served.open(None),
    ):
        pass


def test_what_ec2_did_to_the_instance_meanwhile_is_seen_to(served: Served) -> None:
    with served.store("gp3:1") as (opened, store):
        store.put("bucket", "key", b"kept")
        first = opened.placement.instance_id
    with served.region() as region:
        region.stop_instances([first])
    with served.open(None) as opened:
        assert opened.placement.instance_id == first
    with served.region() as region:
        region.terminate_instances([first])
    with served.store(None) as (opened, store):
        assert opened.placement.instance_id != first
        assert store.get("bucket", "key").read() == b"kept"
    with served.region() as region:
        region.terminate_instances([opened.placement.instance_id])
        region.delete_volume(opened.volume_id)
    with pytest.raises(PlacementError, match=r"InvalidVolume\.NotFound"), served.open(None):
        pass


def test_an_instances_disk_lasts_as_long_as_it_runs(served: Served) -> None:
    with served.store("instance:i4i.large") as (opened, store):
        store.put("bucket", "key", b"bytes")
        instance_id = opened.placement.instance_id
        assert opened.is_throttled
    with open_to_look(place(served.folder, None)) as looked:
        assert check_store(served.folder, device=looked.device) == []
    with served.store(None) as (opened, store):
        assert store.get("bucket", "key").read() == b"bytes"
    with served.region() as region:
        region.stop_instances([instance_id])
    with served.store(None) as (opened, store):  # starts it, with an empty disk
        assert opened.placement.instance_id == instance_id
        assert store.list_buckets() == []
    with served.region() as region:
        region.terminate_instances([instance_id])
    with pytest.raises(PlacementError, match="was terminated"), served.open(None):
        pass


def test_a_path_is_used_as_it_is(served: Served, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    with pytest.raises(PlacementError, match="No such file"), served.open(f"path:{disk}"):
        pass
    with disk.open("wb") as file:
        file.truncate(256 * 1024 * 1024)
    with served.store(f"path:{disk}") as (opened, store):
        store.put("bucket", "key", b"bytes")
        assert not opened.is_throttled
    with served.store(None) as (_, store):
        assert store.get("bucket", "key").read() == b"bytes"
    with open_to_look(place(served.folder, None)) as looked:
        assert rebuild_index(served.folder, device=looked.device).batches > 0
        assert check_store(served.folder, device=looked.device) == []


def test_looking_makes_nothing(served: Served) -> None:
    with (
        pytest.raises(PlacementError, match="there is no region"),
        open_to_look(place(served.folder, parse_device("gp2:1"))),
    ):
        pass
    with (
        pytest.raises(PlacementError, match="gone with its server"),
        open_to_look(place(served.folder, parse_device("memory:1GiB"))),
    ):
        pass
    assert list(served.folder.iterdir()) == []


# What the log tells.


def test_the_log_tells_how_credits_run_dry(
    served: Served, region_factory: RegionFactory, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "objstore.device")
    with served.open("gp2:100") as opened:
        assert opened.region is not None
        assert opened.device is not None
        watch = DeviceWatch(opened.region, opened.volume_id)
        watch.look()
        assert caplog.messages == []  # a full bucket is no news
        for number in range(1000):
            opened.device.write(number * 524_288, b"x", fua=True)
        watch.ask()
        watch.look()
        assert "I/O credits" in caplog.messages[0]
        assert "1,000 writes" in caplog.messages[0]
    caplog.clear()
    with served.open(None, credits=100) as opened:
        assert opened.region is not None
        watch = DeviceWatch(opened.region, opened.volume_id)
        watch.look()
        assert caplog.messages == [
            f"{opened.volume_id}: its burst credits are used up: 300 IOPS now"
        ]
        region_factory.clock.advance(100 * 1_000_000_000)
        watch.look()  # 30,100 credits: under a hundredth, so nothing new
        region_factory.clock.advance(100 * 1_000_000_000)
        watch.look()
        assert len(caplog.messages) == 2
        assert "60,100 of 5,400,000 I/O credits (1.1%)" in caplog.messages[1]
        found = credits_of(opened.region, opened.volume_id)
        assert found is not None
        assert found.step(1) == 1
