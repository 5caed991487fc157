"""ModifyVolume: what may change, how often, and what an open device notices of it."""

from __future__ import annotations

import pytest

from blockdev.device import BlockDevice
from blockdev.model import GIB, VolumeSpec
from blockdev.service import Region, Timings
from tests.regions import DAY_NS, HOUR_NS, SECOND_NS, RegionFactory, read, refused, running, volume

SMALL = Timings(modifying_ns=5 * SECOND_NS, optimizing_ns_per_gib=60 * SECOND_NS)


@pytest.fixture
def region(region_factory: RegionFactory) -> Region:
    return region_factory()


def test_a_modification_passes_through_its_states(region_factory: RegionFactory) -> None:
    region, clock = region_factory(timings=SMALL), region_factory.clock
    made = volume(region, size_gib=10)
    began_ns = clock.now_ns()
    answer = region.modify_volume(made, size_gib=20)
    assert (answer.state, answer.progress_percent) == ("modifying", 0)
    assert (answer.original, answer.target) == (VolumeSpec("gp2", 10), VolumeSpec("gp2", 20))

    def now() -> tuple[str, int, int]:
        (found,) = region.describe_modifications([made])
        return found.state, found.progress_percent, region.describe_volume(made).spec.size_gib

    assert now() == ("modifying", 0, 10)
    clock.advance(5 * SECOND_NS)
    assert now()[::2] == ("optimizing", 20)
    clock.advance(600 * SECOND_NS)
    assert now() == ("optimizing", 50, 20)
    clock.advance(600 * SECOND_NS)
    assert now() == ("completed", 100, 20)
    (found,) = region.describe_modifications()
    assert found.started_ns == began_ns
    assert found.ended_ns == began_ns + 1205 * SECOND_NS


def test_only_one_at_a_time_and_four_a_day(region_factory: RegionFactory) -> None:
    region, clock = region_factory(), region_factory.clock
    made = volume(region, size_gib=1)
    for size_gib in (2, 3, 4, 5):
        region.modify_volume(made, size_gib=size_gib)
        with refused("IncorrectModificationState"):
            region.modify_volume(made, size_gib=size_gib + 1)
        clock.advance(HOUR_NS)
    with refused("VolumeModificationRateExceeded"):
        region.modify_volume(made, size_gib=6)
    clock.advance(20 * HOUR_NS - 1)
    with refused("VolumeModificationRateExceeded"):
        region.modify_volume(made, size_gib=6)
    clock.advance(1)
    region.modify_volume(made, size_gib=6)
    clock.advance(HOUR_NS - 1)
    with refused("VolumeModificationRateExceeded"):
        region.modify_volume(made, size_gib=7)


def test_a_volume_never_shrinks(region: Region) -> None:
    made = volume(region, size_gib=10)
    with refused("InvalidParameterValue"):
        region.modify_volume(made, size_gib=9)
    assert region.describe_modifications() == []


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ({}, "MissingParameter"),
        ({"size_gib": 10}, "InvalidParameterValue"),
        ({"volume_type": "gp2"}, "InvalidParameterValue"),
        ({"volume_type": "gp9"}, "UnknownVolumeType"),
        ({"iops": 4000}, "InvalidParameterCombination"),
        ({"volume_type": "st1"}, "InvalidParameterValue"),
        ({"volume_type": "io1"}, "InvalidParameterValue"),  # 3,000 are over 50 a GiB
        ({"volume_type": "gp3", "throughput_mibps": 2001}, "InvalidParameterValue"),
        ({"multi_attach": True}, "InvalidParameterCombination"),
    ],
)
def test_what_cannot_be_changed_stays(
    region: Region, arguments: dict[str, object], code: str
) -> None:
    made = volume(region, size_gib=10)
    with refused(code):
        region.modify_volume(made, **arguments)  # type: ignore[arg-type]
    assert region.describe_volume(made).spec == VolumeSpec("gp2", 10)
    assert region.describe_modifications() == []


def test_what_is_left_out_stays_or_is_the_default_of_the_new_type(
    region_factory: RegionFactory,
) -> None:
    region, clock = region_factory(), region_factory.clock
    made = volume(region, size_gib=100)
    for arguments, spec in (
        ({"volume_type": "gp3"}, VolumeSpec("gp3", 100, 3000, 125)),
        ({"iops": 5000, "throughput_mibps": 300}, VolumeSpec("gp3", 100, 5000, 300)),
        ({"size_gib": 125}, VolumeSpec("gp3", 125, 5000, 300)),
        ({"volume_type": "st1"}, VolumeSpec("st1", 125)),
        ({"volume_type": "io2"}, VolumeSpec("io2", 125, 3000)),
    ):
        assert region.modify_volume(made, **arguments).target == spec
        clock.advance(DAY_NS)
        assert region.describe_volume(made).spec == spec


def test_multi_attach_can_be_switched(region_factory: RegionFactory) -> None:
    region, clock = region_factory(), region_factory.clock
    made = volume(region, volume_type="io2", size_gib=10, iops=1000)
    answer = region.modify_volume(made, multi_attach=True)
    assert (answer.original_multi_attach, answer.target_multi_attach) == (False, True)
    for _ in range(2):
        region.attach_volume(made, running(region), "/dev/sdf")
    clock.advance(DAY_NS)
    with refused("IncorrectState"):
        region.modify_volume(made, multi_attach=False)
    with refused("InvalidParameterCombination"):
        region.modify_volume(made, volume_type="gp3", multi_attach=True)


def test_an_open_device_grows(region: Region) -> None:
    made = volume(region, size_gib=1)
    device = region.open_volume(made)
    device.write(GIB - 5, b"edge!")
    region.modify_volume(made, size_gib=3)
    assert device.geometry.size_bytes == 3 * GIB
    device.write(3 * GIB - 4, b"end!")
    assert read(device, GIB - 5, 10) == b"edge!" + bytes(5)
    device.close()
    assert read(region.open_volume(made), 3 * GIB - 4, 4) == b"end!"


def test_an_open_device_grows_when_its_moment_comes(region_factory: RegionFactory) -> None:
    region = region_factory(timings=SMALL)
    made = volume(region, size_gib=1)
    device = region.open_volume(made, throttled=False, delayed=False)
    region.modify_volume(made, size_gib=2)
    assert device.geometry.size_bytes == GIB
    region_factory.clock.advance(5 * SECOND_NS)
    device.write(2 * GIB - 4, b"end!")
    assert device.geometry.size_bytes == 2 * GIB


def test_a_volume_that_is_closed_has_grown_when_it_is_opened(region: Region) -> None:
    made = volume(region, size_gib=1)
    region.modify_volume(made, size_gib=2)
    device = region.open_volume(made)
    assert device.geometry.size_bytes == 2 * GIB
    assert read(device, 2 * GIB - 4096, 4096) == bytes(4096)


def _iops(region_factory: RegionFactory, device: BlockDevice, writes: int) -> float:
    began_ns = region_factory.clock.now_ns()
    for number in range(writes):
        device.write((number * 7919 % 5000) * 4096, b"x" * 4096)
    return writes * SECOND_NS / (region_factory.clock.now_ns() - began_ns)


def test_performance_is_between_old_and_new_while_optimizing(
    region_factory: RegionFactory,
) -> None:
    region, clock = region_factory(), region_factory.clock
    made = volume(region, volume_type="io2", size_gib=100, iops=1000)
    device = region.open_volume(made, delayed=False)
    assert _iops(region_factory, device, 5000) == pytest.approx(1000, rel=0.01)
    region.modify_volume(made, iops=3000)
    assert _iops(region_factory, device, 10_000) == pytest.approx(2000, rel=0.01)
    clock.advance(HOUR_NS)
    assert region.describe_modifications([made])[0].state == "completed"
    _iops(region_factory, device, 100)  # what was saved up meanwhile
    assert _iops(region_factory, device, 15_000) == pytest.approx(3000, rel=0.01)


def test_gp2_credits_survive_a_restart_and_grow_while_nobody_looks(
    region_factory: RegionFactory,
) -> None:
    region, clock = region_factory(), region_factory.clock
    made = volume(region, size_gib=100)
    assert region.credit_balance(made) == 5_400_000
    device = region.open_volume(made, delayed=False)
    _iops(region_factory, device, 30_000)
    spent = region.credit_balance(made)
    assert spent is not None
    assert spent == pytest.approx(5_400_000 - 30_000 + 3_000, abs=500)
    region.close()
    clock.advance(20 * SECOND_NS)
    region = region_factory()
    earned = region.credit_balance(made)
    assert earned == pytest.approx(spent + 20 * 300, abs=1)
    device = region.open_volume(made, delayed=False)
    assert region.credit_balance(made) == pytest.approx(earned, abs=1)
    clock.advance(HOUR_NS)
    assert region.credit_balance(made) == 5_400_000
    assert region.credit_balance(volume(region, volume_type="gp3")) is None


def test_metrics_count_all_openings(region: Region) -> None:
    made = volume(region)
    assert region.volume_metrics(made).writes.calls == 0
    first, second = region.open_volume(made), region.open_volume(made, throttled=False)
    first.write(0, b"x" * 4096)
    second.write(0, b"x" * 512)
    region.modify_volume(made, size_gib=2)
    first.write(GIB, b"x")
    metrics = region.volume_metrics(made)
    assert (metrics.writes.calls, metrics.writes.bytes) == (3, 4096 + 512 + 1)
    assert metrics.reads.calls == 0
