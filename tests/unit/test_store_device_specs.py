"""What `--device` takes and refuses, what the folder notes of it, and the file of options."""

from __future__ import annotations

from pathlib import Path

import pytest

from objstore.cli import make_parser
from objstore.commands.config_file import ConfigError, load, with_config
from objstore.config import GIB, MIB
from objstore.volumes.device_spec import (
    DeviceSpecError,
    ExistingVolume,
    InstanceDisk,
    Memory,
    NewVolume,
    OwnFile,
    RawPath,
    parse_device,
)
from objstore.volumes.placement import (
    NOTE_NAME,
    Placement,
    PlacementError,
    find_placement,
    place,
    write_note,
)
from objstore.volumes.store_device import segment_bytes_of


@pytest.mark.parametrize(
    ("text", "kind", "normal"),
    [
        ("file", OwnFile, "file"),
        ("memory:2GiB", Memory, "memory:2GiB"),
        ("memory:512m", Memory, "memory:512MiB"),
        ("gp2:100", NewVolume, "gp2:100"),
        ("gp3:100", NewVolume, "gp3:100:3000:125"),
        ("gp3:100:6000:250", NewVolume, "gp3:100:6000:250"),
        ("io2:200:10000", NewVolume, "io2:200:10000"),
        ("st1:500", NewVolume, "st1:500"),
        ("standard:10", NewVolume, "standard:10"),
        ("instance:i4i.large", InstanceDisk, "instance:i4i.large"),
        ("volume:vol-0123456789abcdef0", ExistingVolume, "volume:vol-0123456789abcdef0"),
        ("volume:/srv/region/vol-0123abcd", ExistingVolume, "volume:/srv/region/vol-0123abcd"),
        ("path:/dev/nvme1n1", RawPath, "path:/dev/nvme1n1"),
    ],
)
def test_every_form_is_read_and_written_alike(text: str, kind: type, normal: str) -> None:
    spec = parse_device(text)
    assert type(spec) is kind
    assert str(spec) == normal
    assert parse_device(normal) == spec


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "is no device"),
        ("gp2", "is no device"),
        ("gp9:100", "is no device"),
        ("file:x", "is no device"),
        ("gp2:", "is not gp2:GIB"),
        ("gp2:large", "is not gp2:GIB"),
        ("gp3:1:2:3:4", "is not gp3:GIB, gp3:GIB:IOPS"),
        ("gp2:100:500", "iops is not supported for gp2"),
        ("gp2:99999", "too large"),
        ("gp3:10:80000", "ratio"),
        ("io2:10", "iops must be specified"),
        ("memory:", "is no device"),
        ("memory:lots", "not a size"),
        ("memory:1MiB", "takes from 128MiB"),
        ("memory:99999TiB", "to 8TiB"),
        ("instance:m5.large", "has no disks"),
        ("volume:vol-xyz", "the id of a volume"),
        ("volume:snap-0123abcd", "the id of a volume"),
        ("path:", "is no device"),
    ],
)
def test_what_is_no_device_is_refused_with_the_reason(text: str, told: str) -> None:
    with pytest.raises(DeviceSpecError, match=told):
        parse_device(text)


def test_relative_paths_become_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert parse_device("path:disk") == RawPath(tmp_path / "disk")
    wanted = ExistingVolume("vol-0123abcd", tmp_path / "region")
    assert parse_device("volume:region/vol-0123abcd") == wanted


# Where a store is.


def noted(folder: Path, text: str, volume_id: str = "", instance_id: str = "") -> Placement:
    placement = Placement(folder, parse_device(text), "t", volume_id, instance_id)
    write_note(placement)
    return placement


def test_a_new_store_goes_where_it_is_told_to(tmp_path: Path) -> None:
    assert find_placement(tmp_path) is None
    assert place(tmp_path, None).spec == OwnFile()
    assert place(tmp_path, parse_device("gp2:100")).spec == parse_device("gp2:100")


def test_a_store_is_found_where_it_is(tmp_path: Path) -> None:
    made = noted(tmp_path, "gp3:100", volume_id="vol-0123abcd", instance_id="i-1")
    assert find_placement(tmp_path) == made
    assert place(tmp_path, None) == made
    for same in ("gp3:100", "gp3:100:3000:125", "volume:vol-0123abcd"):
        assert place(tmp_path, parse_device(same)) == made
    here = f"volume:{tmp_path}/region/vol-0123abcd"
    assert place(tmp_path, parse_device(here)) == made


@pytest.mark.parametrize(
    "other", ["file", "gp2:100", "gp3:200", "memory:1GiB", "volume:vol-99999999", "path:/dev/sdz"]
)
def test_another_device_than_the_stores_is_refused(tmp_path: Path, other: str) -> None:
    noted(tmp_path, "gp3:100", volume_id="vol-0123abcd")
    with pytest.raises(PlacementError, match=r"is on gp3:100:3000:125 \(vol-0123abcd\), not on"):
        place(tmp_path, parse_device(other))


def test_a_volume_of_another_region_is_another_device(tmp_path: Path) -> None:
    noted(tmp_path, "gp3:100", volume_id="vol-0123abcd")
    with pytest.raises(PlacementError, match="not on volume:/elsewhere/vol-0123abcd"):
        place(tmp_path, parse_device("volume:/elsewhere/vol-0123abcd"))


def test_a_store_in_its_own_file_stays_there(tmp_path: Path) -> None:
    (tmp_path / "device").write_bytes(b"x")
    assert place(tmp_path, parse_device("file")).spec == OwnFile()
    with pytest.raises(PlacementError, match="is on file, not on gp2:1"):
        place(tmp_path, parse_device("gp2:1"))


@pytest.mark.parametrize("text", ["", "{", "[]", '{"device": "gp2:1"}', '{"device": 1}'])
def test_a_spoilt_note_is_told_of(tmp_path: Path, text: str) -> None:
    (tmp_path / NOTE_NAME).write_text(text)
    with pytest.raises(PlacementError, match="does not say where the store is"):
        find_placement(tmp_path)


def test_segments_fit_the_device() -> None:
    assert segment_bytes_of(128 * MIB) == 16 * MIB
    assert segment_bytes_of(GIB) == 16 * MIB
    assert segment_bytes_of(3 * GIB) == 32 * MIB
    assert segment_bytes_of(100 * GIB) == 64 * MIB


# The file of options.


def parsed(*arguments: str) -> dict[str, object]:
    parser = make_parser()
    found = parser.parse_args(["serve", *arguments])
    if with_config(found):
        found = parser.parse_args(["serve", *arguments])
    return vars(found)


def test_options_come_from_a_file_and_the_command_line_wins(tmp_path: Path) -> None:
    file = tmp_path / "objstore.toml"
    file.write_text(
        'data_dir = "/srv/objects"\nport = 9100\nworkers = 2\nregion = "eu-west-1"\n'
        'domain = ["a.example", "b.example"]\naccess_log = true\ndevice = "gp2:100"\ncredits = 5\n'
    )
    found = parsed("--config", str(file))
    assert (found["data_dir"], found["port"], found["workers"]) == ("/srv/objects", 9100, 2)
    assert (found["region"], found["access_log"]) == ("eu-west-1", True)
    assert (found["device"], found["credits"]) == ("gp2:100", 5)
    assert (found["domain"], found["config_domains"]) == (None, ("a.example", "b.example"))
    over = parsed(
        *("--config", str(file), "here", "--port", "1", "--no-access-log", "--domain", "c.example")
    )
    assert (over["data_dir"], over["port"], over["access_log"]) == ("here", 1, False)
    assert (over["domain"], over["device"]) == (["c.example"], "gp2:100")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("port", "is not TOML"),
        ("colour = 1", "there is no option 'colour'"),
        ('config = "x"', "there is no option 'config'"),
        ('port = "9000"', "port is not a whole number"),
        ("port = true", "port is not a whole number"),
        ("device = 1", "device is not a string"),
        ("access_log = 1", "access_log is not true or false"),
        ("domain = [1]", "domain is not a string or a list of them"),
    ],
)
def test_what_is_wrong_in_the_file_is_told(tmp_path: Path, text: str, told: str) -> None:
    file = tmp_path / "objstore.toml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=told):
        load(file)


def test_values_in_the_file_are_held_to_the_same_rules(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "objstore.toml"
    file.write_text("port = 70000")
    for arguments in (["--config", str(file)], ["--config", str(tmp_path / "none")]):
        with pytest.raises(SystemExit) as ended:
            parsed(*arguments)
        assert ended.value.code == 2
    told = capsys.readouterr().err
    assert "--port: '70000' is not a port" in told
    assert "cannot read" in told
