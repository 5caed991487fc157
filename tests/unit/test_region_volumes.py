"""Volumes of a region: made, described, deleted; every rule by its code."""

from __future__ import annotations

from pathlib import Path

import pytest

from blockdev.errors import DeviceClosedError
from blockdev.model import GIB, VolumeSpec
from blockdev.region import limits
from blockdev.service import Region, Timings
from tests.regions import DAY_NS, SECOND_NS, RegionFactory, read, refused, running, volume


@pytest.fixture
def region(region_factory: RegionFactory) -> Region:
    return region_factory()


def test_a_new_volume_is_creating_then_available(region: Region) -> None:
    answer = region.create_volume(zone="us-east-1b", size_gib=3, tags={"name": "a"})
    assert answer.state == "creating"
    (found,) = region.describe_volumes()
    assert found.volume_id == answer.volume_id
    assert found.volume_id.startswith("vol-")
    assert len(found.volume_id) == 4 + 17
    assert (found.state, found.zone, found.spec.size_gib) == ("available", "us-east-1b", 3)
    assert found.tags == {"name": "a"}
    assert found.attachments == ()


def test_creating_lasts_as_long_as_told(region_factory: RegionFactory) -> None:
    region = region_factory(timings=Timings(creating_ns=5 * SECOND_NS))
    made = volume(region)
    instance = running(region)
    region_factory.clock.advance(4 * SECOND_NS)
    assert region.describe_volume(made).state == "creating"
    for verb in (
        lambda: region.attach_volume(made, instance, "/dev/sdf"),
        lambda: region.delete_volume(made),
        lambda: region.modify_volume(made, size_gib=2),
        lambda: region.create_snapshot(made),
        lambda: region.open_volume(made),
    ):
        with refused("IncorrectState"):
            verb()
    region_factory.clock.advance(SECOND_NS)
    assert region.describe_volume(made).state == "available"


def test_a_new_volume_reads_as_zeroes_and_keeps_what_is_written(region: Region) -> None:
    made = volume(region, size_gib=2)
    device = region.open_volume(made)
    assert device.geometry.size_bytes == 2 * GIB
    assert read(device, GIB, 4096) == bytes(4096)
    device.write(GIB - 3, b"across")
    device.flush()
    device.close()
    again = region.open_volume(made)
    assert read(again, GIB - 3, 6) == b"across"


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ({"zone": "us-west-2a", "size_gib": 1}, "InvalidZone.NotFound"),
        ({}, "MissingParameter"),
        ({"size_gib": 1, "volume_type": "gp9"}, "UnknownVolumeType"),
        ({"size_gib": 0}, "InvalidParameterValue"),
        ({"size_gib": 16_385}, "InvalidParameterValue"),
        ({"size_gib": 100, "volume_type": "st1"}, "InvalidParameterValue"),
        ({"size_gib": 10, "iops": 3000}, "InvalidParameterCombination"),
        ({"size_gib": 10, "volume_type": "io1"}, "InvalidParameterCombination"),
        ({"size_gib": 10, "volume_type": "io1", "iops": 501}, "InvalidParameterValue"),
        ({"size_gib": 10, "throughput_mibps": 250}, "InvalidParameterCombination"),
        ({"size_gib": 10, "multi_attach": True}, "InvalidParameterCombination"),
        ({"size_gib": 10, "kms_key_id": "k"}, "InvalidParameterDependency"),
        ({"size_gib": 10, "initialization_mibps": 200}, "InvalidParameterDependency"),
        ({"snapshot_id": "snap-0123456789abcdef0"}, "InvalidSnapshot.NotFound"),
        ({"size_gib": 1, "tags": {"aws:x": "1"}}, "InvalidParameterValue"),
        ({"size_gib": 1, "tags": {"k" * 129: ""}}, "InvalidParameterValue"),
        ({"size_gib": 1, "tags": {"k": "v" * 257}}, "InvalidParameterValue"),
        ({"size_gib": 1, "tags": {f"k{n}": "" for n in range(51)}}, "TagLimitExceeded"),
        ({"size_gib": 1, "client_token": "t" * 65}, "InvalidParameterValue"),
    ],
)
def test_what_cannot_be_made_changes_nothing(
    region: Region, arguments: dict[str, object], code: str
) -> None:
    with refused(code):
        region.create_volume(**{"zone": region.zones[0], **arguments})  # type: ignore[arg-type]
    assert region.describe_volumes() == []
    assert list((region.path / "volumes").iterdir()) == []


def test_a_region_holds_so_many_volumes(region: Region, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_VOLUMES", 2)
    volume(region)
    volume(region)
    with refused("VolumeLimitExceeded"):
        volume(region)


def test_a_client_token_makes_one_volume(region_factory: RegionFactory) -> None:
    region = region_factory()
    first = volume(region, client_token="t", tags={"a": "b"})
    assert volume(region, client_token="t", tags={"a": "b"}) == first
    with refused("IdempotentParameterMismatch"):
        volume(region, client_token="t", tags={"a": "b"}, size_gib=2)
    region.close()
    region = region_factory()
    assert volume(region, client_token="t", tags={"a": "b"}) == first
    region_factory.clock.advance(DAY_NS)
    assert volume(region, client_token="t") != first
    assert len(region.describe_volumes()) == 2


def test_a_client_token_of_a_volume_that_is_gone_is_new(region: Region) -> None:
    first = volume(region, client_token="t")
    region.delete_volume(first)
    assert volume(region, client_token="t") != first


def test_encryption_needs_no_key_but_keeps_one(region: Region) -> None:
    plain = region.describe_volume(volume(region))
    default = region.describe_volume(volume(region, encrypted=True))
    named = region.describe_volume(volume(region, encrypted=True, kms_key_id="alias/mine"))
    assert (plain.encrypted, plain.kms_key_id) == (False, "")
    assert (default.encrypted, default.kms_key_id) == (True, "alias/aws/ebs")
    assert (named.encrypted, named.kms_key_id) == (True, "alias/mine")


def test_volumes_are_described_in_the_order_of_their_creation(region: Region) -> None:
    ids = [volume(region) for _ in range(5)]
    assert [one.volume_id for one in region.describe_volumes()] == ids
    assert [one.volume_id for one in region.describe_volumes([ids[3], ids[1]])] == [ids[1], ids[3]]
    with refused("InvalidVolume.NotFound"):
        region.describe_volumes([ids[0], "vol-0123456789abcdef0"])


def test_a_deleted_volume_is_gone_with_its_files(region: Region) -> None:
    made = volume(region, tags={"a": "b"})
    region.delete_volume(made)
    assert region.describe_volumes() == []
    assert region.describe_tags() == []
    assert list((region.path / "volumes").iterdir()) == []
    for verb in (
        lambda: region.delete_volume(made),
        lambda: region.describe_volume(made),
        lambda: region.open_volume(made),
        lambda: region.modify_volume(made, size_gib=2),
        lambda: region.create_snapshot(made),
        lambda: region.credit_balance(made),
        lambda: region.volume_metrics(made),
        lambda: region.detach_volume(made),
        lambda: region.volume_status([made]),
        lambda: region.describe_modifications([made]),
        lambda: region.create_tags([made], {"a": "b"}),
    ):
        with refused("InvalidVolume.NotFound"):
            verb()


def test_deleting_lasts_as_long_as_told(region_factory: RegionFactory) -> None:
    region = region_factory(timings=Timings(deleting_ns=SECOND_NS))
    made = volume(region)
    region.delete_volume(made)
    assert region.describe_volume(made).state == "deleting"
    with refused("IncorrectState"):
        region.delete_volume(made)
    with refused("IncorrectState"):
        region.open_volume(made)
    region_factory.clock.advance(SECOND_NS)
    assert region.describe_volumes() == []


def test_what_is_open_or_attached_is_not_deleted(region: Region) -> None:
    made = volume(region)
    device = region.open_volume(made)
    with refused("VolumeInUse"):
        region.delete_volume(made)
    device.close()
    instance = running(region)
    region.attach_volume(made, instance, "/dev/sdf")
    with refused("VolumeInUse"):
        region.delete_volume(made)
    region.detach_volume(made)
    region.delete_volume(made)


def test_a_volume_whose_files_cannot_be_made_is_in_error(
    region: Region, monkeypatch: pytest.MonkeyPatch
) -> None:
    (region.path / "volumes").rmdir()
    (region.path / "volumes").write_text("no folder")
    made = region.create_volume(zone=region.zones[0], size_gib=1)
    assert made.state == "error"
    assert [one.status for one in region.volume_status()] == ["impaired"]
    with refused("IncorrectState"):
        region.open_volume(made.volume_id)
    (region.path / "volumes").unlink()
    (region.path / "volumes").mkdir()
    region.delete_volume(made.volume_id)
    assert region.describe_volumes() == []


def test_the_status_of_volumes(region: Region) -> None:
    made = volume(region)
    (status,) = region.volume_status()
    assert (status.volume_id, status.status, status.io_enabled) == (made, "ok", True)
    assert status.zone == region.zones[0]


def test_everything_is_there_when_it_is_opened_again(region_factory: RegionFactory) -> None:
    region = region_factory(name="eu-central-1", account_id="123456789012")
    volume(region, volume_type="gp3", size_gib=20, iops=4000, throughput_mibps=200, tags={"a": "b"})
    before = region.describe_volumes()
    region.close()
    region = region_factory(name="another", account_id="999999999999")
    assert region.describe_volumes() == before
    assert before[0].spec == VolumeSpec("gp3", 20, 4000, 200)
    assert (region.name, region.account_id) == ("eu-central-1", "123456789012")
    assert region.zones == ("eu-central-1a", "eu-central-1b", "eu-central-1c")


def test_a_closed_region_refuses(region_factory: RegionFactory) -> None:
    region = region_factory()
    made = volume(region)
    device = region.open_volume(made)
    region.close()
    region.close()
    with refused("Unavailable"):
        region.describe_volumes()
    with pytest.raises(DeviceClosedError):
        device.flush()
    device.close()


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "region.sqlite").write_bytes(b"this is no database, and long enough to be one" * 99)
    with refused("InternalError"):
        Region.open(tmp_path)


def test_tags(region: Region) -> None:
    made, instance = volume(region), running(region)
    region.create_tags([made, instance], {"a": "1", "b": "2"})
    region.create_tags([made], {"a": "3"})
    assert region.describe_volume(made).tags == {"a": "3", "b": "2"}
    region.delete_tags([made], ["b", "none"])
    region.delete_tags([instance], {"a": "9", "b": "2"})
    assert region.describe_tags() == sorted(
        [(instance, "instance", "a", "1"), (made, "volume", "a", "3")]
    )
    region.delete_tags([instance, made])
    assert region.describe_tags() == []
    with refused("InvalidInstanceID.NotFound"):
        region.create_tags(["i-0123456789abcdef0"], {"a": ""})
    with refused("InvalidSnapshot.NotFound"):
        region.delete_tags(["snap-0123456789abcdef0"], ["a"])
    with refused("InvalidID"):
        region.create_tags(["bucket"], {"a": ""})
    region.create_tags([made], {f"k{n}": "" for n in range(50)})
    with refused("TagLimitExceeded"):
        region.create_tags([made], {"one more": ""})
