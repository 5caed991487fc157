"""The objstore command: its grammar, the root keys, what it prints, how it fails."""

from __future__ import annotations

import configparser
import errno
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from objstore import ObjectStore
from objstore.asgi.server import bind
from objstore.cli import main, make_parser
from objstore.commands.credentials import (
    ACCESS_KEY_VARIABLE,
    FILE_NAME,
    SECRET_KEY_VARIABLE,
    CredentialsError,
    RootKeys,
    root_keys,
)
from objstore.entropy import SeededEntropy, SystemEntropy


def run(
    *arguments: str | Path, cwd: Path | None = None, environ: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "objstore.cli", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=cwd,
        env=environ,
        check=False,
    )


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith("objstore 0.")


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["nonsense"],
        ["check"],
        ["rebuild-index"],
        ["serve", "--port", "http"],
        ["serve", "--port", "70000"],
        ["serve", "--workers", "0"],
        ["serve", "one", "two"],
    ],
)
def test_wrong_usage_is_status_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert "usage: objstore" in capsys.readouterr().err


def test_serve_has_the_defaults_that_the_readme_promises() -> None:
    parsed = make_parser().parse_args(["serve"])
    assert (parsed.data_dir, parsed.host, parsed.port) == ("./data", "127.0.0.1", 9000)
    assert (parsed.workers, parsed.region, parsed.access_log) == (1, "us-east-1", False)


def test_keys_are_made_once_and_kept_for_the_owner_alone(tmp_path: Path) -> None:
    made = root_keys(tmp_path, {}, SystemEntropy())
    assert made.is_new
    again = root_keys(tmp_path, {}, SystemEntropy())
    assert not again.is_new
    assert (again.access_key, again.secret_key) == (made.access_key, made.secret_key)
    path = tmp_path / FILE_NAME
    assert again.path == path
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [entry.name for entry in tmp_path.iterdir()] == [FILE_NAME]


def test_keys_look_like_keys(tmp_path: Path) -> None:
    keys = root_keys(tmp_path, {}, SystemEntropy())
    assert len(keys.access_key) == 20
    assert keys.access_key.isalnum()
    assert len(keys.secret_key) == 40
    assert keys.secret_key not in repr(keys)


def test_two_stores_have_different_keys(tmp_path: Path) -> None:
    secrets = set()
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        secrets.add(root_keys(tmp_path / name, {}, SystemEntropy()).secret_key)
    assert len(secrets) == 2


def test_the_file_is_one_that_aws_tools_read(tmp_path: Path) -> None:
    keys = root_keys(tmp_path, {}, SystemEntropy())
    parser = configparser.ConfigParser()
    parser.read(tmp_path / FILE_NAME)
    assert parser["default"]["aws_access_key_id"] == keys.access_key
    assert parser["default"]["aws_secret_access_key"] == keys.secret_key


def test_servers_that_start_at_once_agree_on_the_keys(tmp_path: Path) -> None:
    found: list[RootKeys] = []
    together = threading.Barrier(8)

    def start(seed: int) -> None:
        together.wait()
        found.append(root_keys(tmp_path, {}, SeededEntropy(seed)))

    threads = [threading.Thread(target=start, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({(keys.access_key, keys.secret_key) for keys in found}) == 1
    assert sum(keys.is_new for keys in found) == 1


def test_the_environment_wins_and_leaves_no_file(tmp_path: Path) -> None:
    environ = {ACCESS_KEY_VARIABLE: "ROOTKEY", SECRET_KEY_VARIABLE: "a secret+/="}
    keys = root_keys(tmp_path, environ, SystemEntropy())
    assert keys == RootKeys("ROOTKEY", "a secret+/=")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("access_key", "secret_key"),
    [
        ("ROOTKEY", ""),
        ("", "secretsecret"),
        ("R", "secretsecret"),
        ("ROOTKEY", "short"),
        ("ROOT/KEY", "secretsecret"),
        ("ROOTKEY", "secret\nsecret"),
        ("ROÖTKEY", "secretsecret"),
    ],
)
def test_keys_that_would_not_work_are_refused(
    tmp_path: Path, access_key: str, secret_key: str
) -> None:
    environ = {ACCESS_KEY_VARIABLE: access_key, SECRET_KEY_VARIABLE: secret_key}
    with pytest.raises(CredentialsError):
        root_keys(tmp_path, environ, SystemEntropy())


def test_a_broken_file_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_text("what?")
    with pytest.raises(CredentialsError, match="remove it"):
        root_keys(tmp_path, {}, SystemEntropy())
    assert (tmp_path / FILE_NAME).read_text() == "what?"


def test_a_port_in_use_is_status_1_and_says_so(tmp_path: Path) -> None:
    taken = bind("127.0.0.1", 0)
    port = taken.getsockname()[1]
    ended = run("serve", tmp_path / "data", "--port", str(port))
    taken.close()
    assert ended.returncode == 1
    assert f"127.0.0.1:{port}: Address already in use" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert not list(tmp_path.iterdir()), "keys that nobody was shown"


@pytest.mark.parametrize("workers", ["1", "2"])
def test_new_keys_are_shown_even_if_the_store_does_not_open(tmp_path: Path, workers: str) -> None:
    data_dir = tmp_path / "data"
    data_dir.mkdir()
    (data_dir / "device").mkdir()
    ended = run("serve", data_dir, "--port", "0", "--workers", workers)
    assert ended.returncode != 0
    assert "cannot open the store" in ended.stderr
    assert "Traceback" not in ended.stderr
    keys = root_keys(data_dir, {}, SystemEntropy())
    assert not keys.is_new
    assert keys.access_key in ended.stdout
    assert keys.secret_key in ended.stdout
    again = run("serve", data_dir, "--port", "0", "--workers", workers)
    assert keys.secret_key not in again.stdout


def test_a_folder_that_serve_makes_is_its_owners_alone(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    environ = os.environ | {ACCESS_KEY_VARIABLE: "half"}
    environ.pop(SECRET_KEY_VARIABLE, None)
    ended = run("serve", data_dir, "--port", "0", environ=environ)  # made, then refused
    assert ended.returncode == 1
    assert stat.S_IMODE(data_dir.stat().st_mode) == 0o700


def test_a_folder_that_was_there_keeps_its_mode(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    data_dir.mkdir()
    data_dir.chmod(0o750)
    environ = os.environ | {ACCESS_KEY_VARIABLE: "half"}
    environ.pop(SECRET_KEY_VARIABLE, None)
    run("serve", data_dir, "--port", "0", environ=environ)
    assert stat.S_IMODE(data_dir.stat().st_mode) == 0o750


@pytest.mark.parametrize(
    "region", ["", "us east", "us-east-1;id", "$(id)", "<b>", "ünï", "US-EAST-1", "a" * 33, "a\n"]
)
def test_what_is_no_region_is_refused(region: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["serve", "--region", region])
    assert ended.value.code == 2
    assert "is not a region's name: 1 to 32 of the characters" in capsys.readouterr().err


@pytest.mark.parametrize("region", ["us-east-1", "local", "eu-central-2", "a" * 32])
def test_regions(region: str) -> None:
    assert make_parser().parse_args(["serve", "--region", region]).region == region


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--port", "99999", "'99999' is not a port from 0 to 65535"),
        ("--port", "http", "'http' is not a port from 0 to 65535"),
        ("--workers", "0", "'0' is not a number of processes from 1 to 256"),
    ],
)
def test_wrong_numbers_are_told_in_a_sentence(
    option: str, value: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["serve", option, value])
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("command", ["check", "rebuild-index"])
@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS])
def test_a_folder_that_cannot_be_written_to(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: str,
    number: int,
) -> None:
    data_dir = tmp_path / "data"
    ObjectStore.open(data_dir).close()

    def refuse(path: Path) -> None:  # permissions do not stop a test that runs as root
        raise OSError(number, os.strerror(number), str(path))

    monkeypatch.setattr("objstore.engine.opening.FileLock", refuse)
    monkeypatch.setattr("objstore.engine.check.FileLock", refuse)
    assert main([command, str(data_dir)]) == 1
    said = capsys.readouterr().err
    assert os.strerror(number) in said
    assert f"{data_dir / 'run'} must be writable" in said


def test_a_data_dir_that_is_a_file_is_status_1(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    ended = run("serve", tmp_path / "data", "--port", "0")
    assert ended.returncode == 1
    assert "File exists" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("command", ["check", "rebuild-index"])
def test_no_store_is_status_1_and_says_so(tmp_path: Path, command: str) -> None:
    ended = run(command, tmp_path / "nothing")
    assert ended.returncode == 1
    assert "nothing" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert not list(tmp_path.iterdir())
