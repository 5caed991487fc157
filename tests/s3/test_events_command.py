"""`objstore events`, and the destinations of `objstore serve`: what they print, how they fail."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from objstore import ObjectStore
from objstore.asgi.launch import Settings
from objstore.cli import main, make_parser
from objstore.commands import serve as serving
from objstore.commands.config_file import with_config
from objstore.engine import notifications
from objstore.engine.notifications import NOTIFICATION, Notifications, Rule
from objstore.events import DestinationError
from objstore.events.dead_letters import FOLDER_NAME, DeadLetters
from tests.clients.endpoint import Endpoint
from tests.s3.conftest import ServeProcess

NAME = "hook:webhook"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A store with two events that wait."""
    with ObjectStore.open(tmp_path / "data") as store:
        rule = Rule("queue", "id", f"arn:objstore:sqs::{NAME}", ["s3:ObjectCreated:*"])
        store.create_bucket("bucket")
        setting = notifications.encode(Notifications([rule]))
        store.set_bucket_setting("bucket", NOTIFICATION, setting)
        store.put("bucket", "key", b"")
    return tmp_path / "data"


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    status = main(["events", *map(str, arguments)])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def test_what_waits(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run(capsys, folder)
    assert (status, err) == (0, "")
    heading, row = (line.split() for line in out.splitlines())
    assert heading == ["DESTINATION", "WAITING", "SINCE", "DELIVERED", "DEAD"]
    assert row[:2] == [NAME, "2"]
    assert row[3:] == ["0", "0"]
    (queue,) = json.loads(run(capsys, folder, "--json")[1])
    assert (queue["destination"], queue["waiting"], queue["dead"]) == (NAME, 2, 0)


def test_letters_are_put_back(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    letters = DeadLetters(folder / FOLDER_NAME)
    with ObjectStore.open(folder) as store:
        events = store.next_events(NAME)
        letters.add(NAME, events, "why", 7)
        store.end_events(NAME, events[-1].seq, dead=2)
    status, out, err = run(capsys, folder, "--retry", NAME)
    assert (status, out, err) == (0, f"{NAME}: 2 events wait again\n", "")
    with ObjectStore.open(folder) as store:
        again = [event.body for event in store.next_events(NAME)]
    assert again == [event.body for event in events]
    status, out, err = run(capsys, folder, "--retry", NAME)
    assert (status, out) == (1, "")
    assert err == f"objstore events: {NAME} has no dead letters\n"


def test_no_store(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run(capsys, tmp_path / "missing")
    assert (status, out) == (1, "")
    assert "there is no store" in err
    assert not (tmp_path / "missing").exists()


# --- serve --------------------------------------------------------------------------


def test_destinations_of_the_command_line_and_the_file(tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text('event_destination = ["a=file:a", "b=http://host/"]\n')
    for extra, names in (([], ["a", "b"]), (["--event-destination", "c=file:c"], ["c"])):
        command = ["serve", "--config", str(config), *extra]
        parser = make_parser()
        arguments = parser.parse_args(command)
        assert with_config(arguments)
        arguments = parser.parse_args(command)
        assert [each.name for each in serving._destinations(arguments)] == names
    config.write_text('event_destination = "nonsense"\n')
    arguments = make_parser().parse_args(["serve", "--config", str(config)])
    with_config(arguments)
    again = arguments.serve_parser.parse_args([])
    with pytest.raises(DestinationError):
        serving._destinations(again)


def test_tokens_come_from_the_environment() -> None:
    parser = make_parser()
    arguments = parser.parse_args(["serve", "--event-destination", "my-hook=http://host/"])
    destinations = serving._destinations(arguments)
    environ = {"OBJSTORE_EVENT_TOKEN_MY_HOOK": "secret", "OBJSTORE_EVENT_TOKEN_OTHER": "x"}
    tokens = serving._tokens(destinations, environ)
    assert tokens == {"my-hook": "secret"}
    settings = Settings(Path(), "key", "secret", destinations=destinations, tokens=tokens)
    assert "secret" not in repr(settings)


@pytest.mark.parametrize("text", ["hook", "hook=ftp://host/", "log=file://host/path"])
def test_wrong_destinations_are_wrong_usage(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["serve", "--event-destination", text])
    assert caught.value.code == 2
    assert "argument --event-destination" in capsys.readouterr().err


def test_two_of_one_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    twice = ["--event-destination", "a=file:x"] * 2
    assert main(["serve", str(tmp_path / "data"), "--port", "0", *twice]) == 1
    assert "two destinations a:file" in capsys.readouterr().err
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("workers", [1, 2])
def test_a_client_configures_and_is_told(tmp_path: Path, workers: int) -> None:
    """By boto3, from the configuration to the file."""
    process = ServeProcess(
        tmp_path, "--workers", str(workers), "--event-destination", "log=file:told.jsonl"
    )
    try:
        keys = use(process.endpoint)
    finally:
        assert process.stop() == 0  # what waits is delivered, or waits
    path = tmp_path / "told.jsonl"
    if len(records(path)) < len(keys):
        ServeProcess(tmp_path, "--event-destination", "log=file:told.jsonl").stop()
    documents = [json.loads(line) for line in path.read_bytes().splitlines()]
    assert documents[0]["Event"] == "s3:TestEvent"
    told = [(each["eventName"], each["s3"]["object"]["key"]) for each in records(path)]
    assert [pair for pair in told if pair in keys] == keys


def records(path: Path) -> list[Any]:
    if not path.exists():
        return []
    documents = [json.loads(line) for line in path.read_bytes().splitlines()]
    return [record for document in documents for record in document.get("Records", [])]


def use(endpoint: Endpoint) -> list[tuple[str, str]]:
    s3 = endpoint.client()
    s3.create_bucket(Bucket="bucket")
    rule: dict[str, Any] = {
        "Id": "mine",
        "QueueArn": "arn:objstore:sqs::log:file",
        "Events": ["s3:ObjectCreated:*", "s3:ObjectRemoved:*", "s3:ObjectTagging:*"],
        "Filter": {"Key": {"FilterRules": [{"Name": "prefix", "Value": "in/"}]}},
    }
    configuration = {"QueueConfigurations": [rule]}
    s3.put_bucket_notification_configuration(
        Bucket="bucket", NotificationConfiguration=configuration
    )
    shown = s3.get_bucket_notification_configuration(Bucket="bucket")
    assert shown["QueueConfigurations"][0]["QueueArn"] == rule["QueueArn"]
    s3.put_object(Bucket="bucket", Key="out/a", Body=b"a")
    s3.put_object(Bucket="bucket", Key="in/a b", Body=b"a")
    s3.copy_object(Bucket="bucket", Key="in/c", CopySource="bucket/out/a")
    tags = {"TagSet": [{"Key": "k", "Value": "v"}]}
    s3.put_object_tagging(Bucket="bucket", Key="in/c", Tagging=tags)
    s3.delete_object(Bucket="bucket", Key="in/c")
    return [
        ("ObjectCreated:Put", "in/a+b"),
        ("ObjectCreated:Copy", "in/c"),
        ("ObjectTagging:Put", "in/c"),
        ("ObjectRemoved:Delete", "in/c"),
    ]
