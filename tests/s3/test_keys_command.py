"""`objstore keys`: what it prints, what it does to the keys, how it fails."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from blockdev.clock import SystemClock
from objstore.asgi.app import make_app, root_credentials
from objstore.cli import main, make_parser
from objstore.commands.config_file import load
from objstore.commands.keys import ROOT_KEY_VARIABLE, root_key_path
from objstore.entropy import SystemEntropy
from objstore.kms.service import LocalKeyService
from tests.stores import StoreFactory

ARN = r"arn:aws:kms:us-east-1:000000000000:key/[0-9a-f-]{36}"
TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"


@pytest.fixture(autouse=True)
def _no_root_key_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(ROOT_KEY_VARIABLE, raising=False)


class Command:
    """Runs the command over one folder."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self._capsys = capsys

    def __call__(self, *arguments: str) -> str:
        """What it prints where all is well."""
        assert main(["keys", str(self.folder), *arguments]) == 0
        captured = self._capsys.readouterr()
        assert captured.err == ""
        return captured.out

    def json(self, *arguments: str) -> Any:
        return json.loads(self(*arguments, "--json"))

    def fails(self, *arguments: str) -> str:
        """What it says where it is not."""
        assert main(["keys", str(self.folder), *arguments]) == 1
        captured = self._capsys.readouterr()
        assert captured.out == ""
        assert captured.err.startswith("objstore keys: ")
        return captured.err

    def service(self, root: Path | None = None) -> LocalKeyService:
        return LocalKeyService(self.folder / "kms", SystemClock(), SystemEntropy(), root)


@pytest.fixture
def command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Command:
    return Command(tmp_path, capsys)


def test_no_keys_yet(command: Command) -> None:
    assert command("list") == "(none)\n"
    assert command.json("list") == []
    assert list(command.folder.iterdir()) == []


def test_create_list_and_describe(command: Command) -> None:
    arn = command("create", "--description", "for invoices", "--alias", "alias/invoices").strip()
    assert re.fullmatch(ARN, arn)
    key_id = arn.rpartition("/")[2]
    heading, row = command("list").splitlines()
    columns = ["KEY", "ID", "STATE", "MANAGER", "VERSIONS", "CREATED", "ALIASES", "DESCRIPTION"]
    assert heading.split() == columns
    expected = rf"{key_id} +Enabled +CUSTOMER +1 +{TIME} +alias/invoices +for invoices"
    assert re.fullmatch(expected, row)
    described = command("describe", "alias/invoices")
    fields = dict(line.split(maxsplit=1) for line in described.splitlines()[1:])
    assert fields.keys() == {
        *("arn", "state", "manager", "description", "aliases", "created", "versions"),
        *("newest", "rotation"),
    }
    assert (fields["arn"], fields["versions"], fields["rotation"]) == (arn, "1", "by hand")
    for name in (key_id, arn):
        assert command("describe", name) == described
    assert command.json("list") == [command.json("describe", key_id)]
    assert command.json("describe", key_id)["arn"] == arn


def test_states(command: Command) -> None:
    made = command.json("create")
    key = made["key_id"]
    assert command("disable", key) == f"{made['arn']}  Disabled, version 1\n"
    assert "is disabled" in command.fails("rotate", key)
    assert command("enable", key) == f"{made['arn']}  Enabled, version 1\n"
    assert command("rotate", key) == f"{made['arn']}  Enabled, version 2\n"
    planned = command("schedule-deletion", key, "--days", "7")
    assert re.fullmatch(rf"{ARN}  PendingDeletion, version 2, deleted {TIME}\n", planned)
    assert "deleted" in command("describe", key)
    assert "is pending deletion" in command.fails("enable", key)
    cancelled = command.json("cancel-deletion", key)
    assert (cancelled["state"], cancelled["deletion_ms"]) == ("Disabled", 0)
    assert "for 7 to 30 days" in command.fails("schedule-deletion", key, "--days", "3")
    assert command.json("schedule-deletion", key)["deletion_ms"] > made["created_ms"]


def test_the_region_is_in_the_arn(command: Command) -> None:
    assert command("create", "--region", "eu-west-1").startswith("arn:aws:kms:eu-west-1:")


def test_rotation_of_a_served_stores_keys(command: Command) -> None:
    service = command.service()
    sealed = service.wrap("", b"data key", b"")
    (own,) = command.json("list")
    assert own["manager"] == "STORE"
    command("rotate", own["key_id"])
    text = command("rotate-root")
    root_id = (command.folder / "kms" / "keys").read_bytes()[16:24].hex()
    assert text == f"every key is wrapped under the new root key {root_id}\n"
    assert command.json("rotate-root")["root_key_id"] != root_id
    assert service.unwrap(sealed, b"") == b"data key"
    assert service.wrap("", b"data key", b"")[:21] != sealed[:21]


def test_the_root_key_elsewhere(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = command.folder / "one.key", command.folder / "other.key"
    command("create", "--root-key-file", str(one))
    assert not (command.folder / "kms" / "root.key").exists()
    assert "no root key in" in command.fails("list")
    monkeypatch.setenv(ROOT_KEY_VARIABLE, str(other))
    assert "put it back" in command.fails("list")
    one.rename(other)
    assert len(command.json("list")) == 1
    assert "no root key in" in command.fails("list", "--root-key-file", str(one))


def test_which_root_key_counts() -> None:
    asked, environ = Path("asked"), {ROOT_KEY_VARIABLE: "named"}
    assert root_key_path(asked, environ) == asked
    assert root_key_path(None, environ) == Path("named")
    assert root_key_path(None, {ROOT_KEY_VARIABLE: ""}) is root_key_path(None, {}) is None


def test_the_server_is_told_where_the_root_key_is(tmp_path: Path) -> None:
    assert make_parser().parse_args(["serve"]).root_key_file is None
    asked = make_parser().parse_args(["serve", "--root-key-file", "/media/root.key"])
    assert asked.root_key_file == Path("/media/root.key")
    config = tmp_path / "config.toml"
    config.write_text('root_key_file = "/run/secrets/root.key"')
    assert load(config) == {"root_key_file": "/run/secrets/root.key"}


def test_an_application_may_have_keys_without_regions(
    command: Command, store_factory: StoreFactory
) -> None:
    store = store_factory()
    credentials = [root_credentials("AKID", "secret key")]

    def claimed_by(service: str, **options: Any) -> bool:
        app = make_app(store, credentials, **options)
        scope = {
            "headers": [(b"authorization", b"/us-east-1/%b/aws4_request" % service.encode())],
            "query_string": b"",
        }
        return app._services is not None and app._services.face_of(scope) is not None

    assert claimed_by("kms", key_service=command.service())
    assert not claimed_by("ec2", key_service=command.service())
    assert not claimed_by("kms")


def test_what_is_refused(command: Command) -> None:
    for action in ("describe", "enable", "disable", "rotate", "schedule-deletion"):
        assert "there is no key 'alias/none'" in command.fails(action, "alias/none")
    assert "is not an alias" in command.fails("create", "--alias", "mine")


def test_a_folder_that_is_not_there_stays_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = Command(tmp_path / "none", capsys)
    assert f"there is no folder {missing.folder}" in missing.fails("create")
    assert not missing.folder.exists()


@pytest.mark.parametrize(
    "arguments",
    [["keys"], ["keys", "d"], ["keys", "d", "destroy"], ["keys", "d", "rotate"]],
)
def test_wrong_usage_is_status_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert "usage: objstore keys" in capsys.readouterr().err


def test_as_a_process(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "objstore.cli", "keys", str(tmp_path)]
    made = subprocess.run([*command, "create"], capture_output=True, text=True, timeout=60)
    assert (made.returncode, made.stderr) == (0, "")
    assert re.fullmatch(ARN + "\n", made.stdout)
