"""The `blockdev` command, verb by verb, over a region in a folder."""

from __future__ import annotations

import json
import random
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from blockdev.cli import main
from blockdev.model import GIB
from blockdev.service import Region
from tests.clients.nbd_process import NbdProcess, put
from tests.nbd_client import EPERM, ESHUTDOWN, FUA, LIST, READ, WRITE, RawClient

MIB = 1024 * 1024

Run = Callable[..., str]


@pytest.fixture
def region_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder for a region, which is checked whole at the end."""
    folder = tmp_path / "region"
    monkeypatch.setenv("BLOCKDEV_REGION", str(folder))
    yield folder
    if folder.exists():
        with Region.open(folder) as region:
            assert region.check() == []


@pytest.fixture
def run(region_dir: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a verb that has to succeed; its standard output without the last newline."""

    def run(*arguments: object) -> str:
        capsys.readouterr()
        status = main([str(word) for word in arguments])
        captured = capsys.readouterr()
        assert status == 0, captured.err
        return captured.out.removesuffix("\n")

    return run


@pytest.fixture
def fail(region_dir: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a verb that has to fail with status 1; what it says on standard error."""

    def fail(*arguments: object) -> str:
        capsys.readouterr()
        assert main([str(word) for word in arguments]) == 1
        captured = capsys.readouterr()
        assert captured.err.startswith("blockdev: ")
        return captured.err

    return fail


@pytest.fixture
def image(tmp_path: Path, seed: int) -> Path:
    """3 MiB of data and a hole of 5 MiB between its halves."""
    path = tmp_path / "image"
    numbers = random.Random(seed)
    with path.open("wb") as file:
        file.write(numbers.randbytes(MIB))
        file.seek(6 * MIB)
        file.write(numbers.randbytes(2 * MIB))
    return path


def described(run: Run, *what: str) -> Any:
    return json.loads(run("describe", *what, "--json"))


def test_create_makes_the_region_and_prints_the_id(run: Run, region_dir: Path) -> None:
    volume_id = run(
        *("create", "--size", 10, "--type", "gp3", "--iops", 4000, "--throughput", 250),
        *("--region", "eu-central-1", "--tag", "Name=data", "--tag", "empty="),
    )
    [volume] = described(run, volume_id)
    assert volume["volume_id"] == volume_id
    assert volume["zone"] == "eu-central-1a"
    assert volume["state"] == "available"
    assert volume["spec"] == {
        "volume_type": "gp3", "size_gib": 10, "iops": 4000, "throughput_mibps": 250,
    }  # fmt: skip
    assert volume["tags"] == {"Name": "data", "empty": ""}
    assert (region_dir / "region.sqlite").exists()


def test_create_tells_all_in_json(run: Run) -> None:
    made = json.loads(
        run("create", "--size", 4, "--type", "io2", "--iops", 100, "--multi-attach", "--json")
    )
    assert made["state"] == "available"
    assert made["multi_attach"]


def test_describe_shows_tables_of_everything(run: Run) -> None:
    volume_id = run("create", "--size", 1, "--tag", "Name=web root")
    instance_id = run("run-instance")
    shown = run("describe")
    assert [line for line in shown.splitlines() if line.endswith(":")] == [
        "volumes:", "snapshots:", "instances:",
    ]  # fmt: skip
    [line] = [line for line in shown.splitlines() if line.startswith(volume_id)]
    for word in ("available", "gp2", "1 GiB", "5,400,000", "us-east-1a", "Name=web root"):
        assert word in line
    assert "(none)" in shown
    assert instance_id in run("describe", "instances")
    assert volume_id not in run("describe", "instances")
    assert set(described(run)) == {"volumes", "snapshots", "instances"}


def test_a_volume_s_life_on_an_instance(run: Run) -> None:
    volume_id = run("create", "--size", 2)
    instance_id = run("run-instance", "--tag", "role=db")
    assert instance_id in run("attach", volume_id, instance_id, "/dev/sdf")
    [volume] = described(run, volume_id)
    assert volume["state"] == "in-use"
    [attachment] = volume["attachments"]
    assert (attachment["instance_id"], attachment["device"]) == (instance_id, "/dev/sdf")
    assert json.loads(run("detach", volume_id, "--json"))["volume_id"] == volume_id
    [volume] = described(run, volume_id)
    assert (volume["state"], volume["attachments"]) == ("available", [])
    run("delete", volume_id)
    assert volume_id not in run("describe", "volumes")


def test_detaching_by_instance_device_and_force(run: Run, fail: Run) -> None:
    volume_id = run("create", "--size", 4, "--type", "io2", "--iops", 100, "--multi-attach")
    one, other = run("run-instance", "--count", 2).splitlines()
    for instance_id in (one, other):
        run("attach", volume_id, instance_id, "/dev/sdf")
    run("detach", volume_id, "--instance", one, "--device", "/dev/sdf")
    fail("detach", volume_id, "--instance", one)
    run("detach", volume_id, "--instance", other, "--force")
    assert described(run, volume_id)[0]["state"] == "available"


def test_modify_grows_a_volume(run: Run, fail: Run) -> None:
    volume_id = run("create", "--size", 10)
    change = json.loads(run("modify", volume_id, "--size", 20, "--type", "gp3", "--json"))
    assert change["target"]["size_gib"] == 20
    [volume] = described(run, volume_id)
    assert (volume["spec"]["volume_type"], volume["spec"]["size_gib"]) == ("gp3", 20)
    [shown] = described(run, "modifications")
    assert shown["state"] in ("optimizing", "completed")
    assert "gp2 10 GiB" in run("describe", "modifications", volume_id)
    assert "modifications" in fail("modify", volume_id, "--size", 30)


def test_instances_stop_start_reboot_and_terminate(run: Run) -> None:
    instance_id = run("run-instance", "--type", "i3.large", "--map", "/dev/sdg=:3:false:gp3")
    [instance] = described(run, instance_id)
    assert [disk["state"] for disk in instance["disks"]] == ["present"]
    kept = next(one for one in instance["attachments"] if one["device"] == "/dev/sdg")
    assert run("reboot", instance_id) == f"{instance_id}: running"
    assert run("stop", instance_id) == f"{instance_id}: stopped"
    assert run("start", instance_id) == f"{instance_id}: running"
    assert json.loads(run("terminate", instance_id, "--json"))[0]["state"] == "terminated"
    [volume] = described(run, "volumes")
    assert volume["volume_id"] == kept["volume_id"]
    assert volume["spec"]["size_gib"] == 3
    assert volume["spec"]["volume_type"] == "gp3"


def test_an_image_goes_in_through_a_snapshot_and_out_again(
    run: Run, image: Path, tmp_path: Path
) -> None:
    volume_id = run("create", "--size", 1)
    run("import", image, volume_id)
    snapshot_id = run("snapshot", volume_id, "--description", "as imported", "--tag", "a=b")
    [snapshot] = described(run, snapshot_id)
    assert (snapshot["state"], snapshot["progress_percent"]) == ("completed", 100)
    assert snapshot["tags"] == {"a": "b"}
    assert "as imported" in run("describe", "snapshots")
    restored_id = run("restore", snapshot_id, "--type", "gp3")
    for number, source in enumerate((volume_id, snapshot_id, restored_id)):
        out = tmp_path / f"out{number}"
        run("export", source, out)
        assert out.stat().st_size == GIB
        with out.open("rb") as file:
            assert file.read(8 * MIB) == image.read_bytes()
            assert not any(file.read(8 * MIB))
        assert out.stat().st_blocks * 512 < 5 * MIB


def test_diff_and_du_tell_what_changed_and_what_it_takes(run: Run, region_dir: Path) -> None:
    volume_id = run("create", "--size", 1)
    put(region_dir, volume_id, 0, 4 * MIB)
    first = run("snapshot", volume_id)
    put(region_dir, volume_id, 3 * MIB, 2 * MIB)
    second = run("snapshot", volume_id)
    diff = json.loads(run("diff", first, second, "--json"))
    assert diff == {
        "changed_bytes": 2 * MIB,
        "ranges": [
            {"offset_bytes": 3 * MIB, "length_bytes": MIB, "kind": "changed"},
            {"offset_bytes": 4 * MIB, "length_bytes": MIB, "kind": "added"},
        ],
    }
    assert run("diff", first, second).splitlines()[-1].startswith("2 MiB differ")
    assert run("diff", first, first).startswith("0 B differ")
    used = json.loads(run("du", "--json"))
    by_id = {one["snapshot_id"]: one for one in used["snapshots"]}
    assert by_id[first]["full_bytes"] == by_id[first]["added_bytes"] == 4 * MIB
    assert by_id[second]["added_bytes"] == 2 * MIB
    assert by_id[second]["full_bytes"] == 5 * MIB
    # What the later one wrote over is the first one's alone: deleting that would free it.
    assert by_id[first]["exclusive_bytes"] == MIB
    assert by_id[second]["exclusive_bytes"] == 2 * MIB
    assert used["total"]["blocks"] == 12
    shown = run("du", second)
    assert "2 MiB" in shown
    assert first not in shown
    run("delete-snapshot", first)
    assert json.loads(run("du", "--json"))["total"]["blocks"] == 10


def test_a_snapshot_is_copied_to_another_region(run: Run, tmp_path: Path, image: Path) -> None:
    volume_id = run("create", "--size", 1)
    run("import", image, volume_id)
    snapshot_id = run("snapshot", volume_id)
    same = run("copy-snapshot", snapshot_id, "--description", "again")
    assert same != snapshot_id
    other = tmp_path / "other"
    run("create", "--size", 1, "--region-dir", other, "--region", "eu-west-1")
    copy_id = run(
        "copy-snapshot", snapshot_id, "--from", tmp_path / "region", "--region-dir", other
    )
    out = tmp_path / "out"
    run("--region-dir", other, "export", copy_id, out)
    with out.open("rb") as file:
        assert file.read(8 * MIB) == image.read_bytes()
    assert run("check", "--region-dir", other) == "clean"


def test_no_wait_leaves_the_copy_to_whoever_opens_the_region_next(
    run: Run, region_dir: Path, image: Path
) -> None:
    volume_id = run("create", "--size", 1)
    run("import", image, volume_id)
    snapshot_id = run("snapshot", volume_id, "--no-wait")
    with Region.open(region_dir) as region:
        assert region.wait_snapshot(snapshot_id, 60).state == "completed"


def test_tags_come_and_go(run: Run) -> None:
    volume_id = run("create", "--size", 1, "--tag", "a=1")
    run("tag", volume_id, "b=2", "c=x=y")
    assert described(run, volume_id)[0]["tags"] == {"a": "1", "b": "2", "c": "x=y"}
    run("untag", volume_id, "a", "c")
    assert described(run, volume_id)[0]["tags"] == {"b": "2"}


def test_check_finds_a_block_that_is_gone(run: Run, region_dir: Path, image: Path) -> None:
    volume_id = run("create", "--size", 1)
    run("import", image, volume_id)
    snapshot_id = run("snapshot", volume_id)
    assert run("check") == "clean"
    assert json.loads(run("check", "--json")) == {"problems": []}
    blocks = sorted(path for path in (region_dir / "blocks").rglob("*") if path.is_file())
    lost = max(blocks, key=lambda path: path.stat().st_size)
    content = lost.read_bytes()
    lost.unlink()
    assert main(["check"]) == 1
    lost.write_bytes(content)
    assert run("check") == "clean"
    assert snapshot_id in run("describe", "snapshots")


# What goes wrong: the code, what to do, and status 1 or 2.


def test_there_is_no_region(fail: Run, region_dir: Path) -> None:
    for verb in (["describe"], ["check"], ["du"], ["delete", "vol-1"]):
        told = fail(*verb)
        assert str(region_dir) in told
        assert "blockdev create" in told
    assert not region_dir.exists()


@pytest.mark.parametrize(
    ("arguments", "code", "advice"),
    [
        (["describe", "vol-00000000000000000"], "InvalidVolume.NotFound", "describe volumes"),
        (["describe", "snap-00000000000000000"], "InvalidSnapshot.NotFound", "snapshots"),
        (["delete", "vol-00000000000000000"], "InvalidVolume.NotFound", "describe volumes"),
        (["create", "--size", "1", "--type", "gp9"], "UnknownVolumeType", "gp2, gp3"),
        (["create", "--size", "20000"], "InvalidParameterValue", ""),
        (["create"], "MissingParameter", "--help"),
        (["create", "--size", "1", "--zone", "mars"], "InvalidZone.NotFound", "zones"),
        (["restore", "snap-00000000000000000"], "InvalidSnapshot.NotFound", "snapshots"),
        (["reboot", "i-00000000000000000"], "InvalidInstanceID.NotFound", "instances"),
        (["nbd", "vol-00000000000000000"], "InvalidVolume.NotFound", "describe volumes"),
    ],
)
def test_ec2_s_code_and_what_to_do(
    run: Run, fail: Run, arguments: list[str], code: str, advice: str
) -> None:
    run("create", "--size", 1)
    told = fail(*arguments)
    assert told.startswith(f"blockdev: {code}: ")
    assert advice in told


def test_an_image_larger_than_the_volume(run: Run, fail: Run, tmp_path: Path) -> None:
    volume_id = run("create", "--size", 1)
    large = tmp_path / "large"
    with large.open("wb") as file:
        file.truncate(GIB + 1)
    assert "--size 2" in fail("import", large, volume_id)
    assert "No such file" in fail("import", tmp_path / "absent", volume_id)


def test_a_file_is_replaced_only_by_force(run: Run, fail: Run, tmp_path: Path) -> None:
    volume_id = run("create", "--size", 1)
    out = tmp_path / "out"
    out.write_text("precious")
    assert "--force" in fail("export", volume_id, out)
    assert out.read_text() == "precious"
    run("export", volume_id, out, "--force")
    assert out.stat().st_size == GIB
    assert "--force" in fail("export", volume_id, tmp_path, "--force")


def test_a_volume_that_is_open_elsewhere(
    run: Run, fail: Run, region_dir: Path, tmp_path: Path
) -> None:
    volume_id = run("create", "--size", 1)
    holder = subprocess.Popen(
        [sys.executable, "-m", "blockdev", "nbd", volume_id, "--listen", "127.0.0.1:0"],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline().startswith("nbd://127.0.0.1:")
        assert "VolumeInUse" in fail("export", volume_id, tmp_path / "out")
        assert described(run, run("snapshot", volume_id))[0]["state"] == "completed"
    finally:
        holder.terminate()
        assert holder.wait(60) == 0
        assert holder.stdout is not None
        holder.stdout.close()
    run("export", volume_id, tmp_path / "out")


def test_describe_of_what_is_no_kind(run: Run, fail: Run) -> None:
    run("create", "--size", 1)
    assert "'volume'" in fail("describe", "volume")


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["nonsense"],
        ["create", "--size", "0"],
        ["create", "--size", "ten"],
        ["create", "--size", "1", "--tag", "no-value"],
        ["attach", "vol-1"],
        ["run-instance", "--map", "/dev/sdf"],
        ["run-instance", "--map", "/dev/sdf=::maybe"],
        ["run-instance", "--map", "/dev/sdf=:1:true:gp2:1:1"],
        ["run-instance", "--map", "/dev/sdf=:x"],
        ["nbd", "vol-1", "--listen", "127.0.0.1:99999"],
        ["nbd", "vol-1", "--listen", "unix:"],
        ["nbd", "vol-1", "--connections", "0"],
    ],
)
def test_wrong_usage_is_status_2(
    arguments: list[str], region_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "usage:" in capsys.readouterr().err
    assert not region_dir.exists()


def test_mappings_are_read(run: Run) -> None:
    volume_id = run("create", "--size", 1)
    snapshot_id = run("snapshot", volume_id)
    instance_id = run(
        *("run-instance", "--type", "i3.large"),
        *("--map", f"/dev/sdf={snapshot_id}", "--map", "/dev/sdg=:5:false:io1:100"),
        *("--map", "/dev/sdb=ephemeral0", "--map", "/dev/sdh=none"),
    )
    [instance] = described(run, instance_id)
    found = {one["device"]: one["volume_id"] for one in instance["attachments"]}
    assert {"/dev/sdf", "/dev/sdg"} < set(found)
    assert "/dev/sdh" not in found
    specs = {one["volume_id"]: one for one in described(run, "volumes")}
    assert specs[found["/dev/sdf"]]["snapshot_id"] == snapshot_id
    assert specs[found["/dev/sdf"]]["spec"]["size_gib"] == 1
    assert specs[found["/dev/sdg"]]["spec"]["volume_type"] == "io1"
    assert specs[found["/dev/sdg"]]["spec"]["iops"] == 100
    assert instance["disks"][0]["device"] == "/dev/sdb"


def test_only_the_root_volume_goes_with_its_instance_by_default(run: Run) -> None:
    words = ("--map", "/dev/xvda=:9", "--map", "/dev/sdf=:1", "--map", "/dev/sdg=:2:true")
    instance_id = run("run-instance", *words)
    run("terminate", instance_id)
    assert [one["spec"]["size_gib"] for one in described(run, "volumes")] == [1]


@pytest.mark.parametrize("force", [False, True])
def test_an_instance_s_disk_over_nbd_and_its_detachment(
    run: Run, fail: Run, region_dir: Path, force: bool
) -> None:
    """While it is served, a detachment waits for the server; a forced one does not."""
    volume_id = run("create", "--size", 1)
    instance_id = run("run-instance")
    assert "InvalidAttachment.NotFound" in fail("nbd", volume_id, "--instance", instance_id)
    run("attach", volume_id, instance_id, "/dev/sdf")
    server = NbdProcess(region_dir, volume_id, "--instance", instance_id)
    try:
        with RawClient(server.address) as client:
            client.go()
            client.write(0, b"of the instance", flags=FUA)
            run("detach", volume_id, *(["--force"] if force else []))
            [volume] = described(run, volume_id)
            if force:
                assert volume["state"] == "available"
                assert client.ask(READ, 0, 15).error == ESHUTDOWN
            else:
                assert [one["state"] for one in volume["attachments"]] == ["busy"]
                assert client.read(0, 15) == b"of the instance"
    finally:
        server.stop()
    assert described(run, volume_id)[0]["state"] == "available"


def test_nbd_refuses_writes_when_read_only(run: Run, region_dir: Path) -> None:
    one, other = run("create", "--size", 1), run("create", "--size", 125, "--type", "st1")
    server = NbdProcess(region_dir, one, other, "--read-only", "--no-throttle", "--no-delay")
    try:
        with RawClient(server.address) as client:
            listed = [data[4:25].decode() for _, data in client.option(LIST)[:-1]]
            assert listed == [one, other]
            _, flags = struct.unpack(">QH", client.go(other)[0])
            assert flags & 2, "read-only"
            assert flags & 16, "rotational"
            assert client.ask(WRITE, payload=b"x").error == EPERM
    finally:
        server.stop()


def test_an_address_that_is_taken(run: Run, fail: Run, region_dir: Path) -> None:
    volume_id, other = run("create", "--size", 1), run("create", "--size", 1)
    server = NbdProcess(region_dir, volume_id)
    try:
        assert "--listen" in fail("nbd", other, "--listen", str(server.address))
    finally:
        server.stop()


def test_help_and_version_need_no_region(
    capsys: pytest.CaptureFixture[str], region_dir: Path
) -> None:
    for arguments in (["--help"], ["--version"], ["create", "--help"], ["nbd", "--help"]):
        with pytest.raises(SystemExit) as caught:
            main(arguments)
        assert caught.value.code == 0
        assert "blockdev" in capsys.readouterr().out
    assert not region_dir.exists()


def test_it_runs_as_a_module_and_as_a_program(run: Run) -> None:
    run("create", "--size", 1)
    program = Path(sys.executable).with_name("blockdev")
    for command in ([sys.executable, "-m", "blockdev"], [str(program)]):
        done = subprocess.run(
            [*command, "check"], capture_output=True, text=True, timeout=60, check=True
        )
        assert done.stdout == "clean\n"


def test_a_reader_that_leaves_early_is_no_traceback(run: Run) -> None:
    run("create", "--size", 1)
    command = f"{sys.executable} -m blockdev describe | true"
    done = subprocess.run(
        command, shell=True, capture_output=True, text=True, timeout=60, check=False
    )
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr
