"""kill -9 of a server that delivers events: each change that was answered is told, in order.

OBJSTORE_KILLS=1000   more of it
"""

from __future__ import annotations

import json
import os
import random
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import BotoCoreError, ClientError

from tests.crash.tiny import memory_folder
from tests.s3.conftest import ServeProcess

BUCKET = "bucket"
ROUNDS = max(2, int(os.environ.get("OBJSTORE_KILLS", "50")) // 12)
WRITERS = 3
TIMEOUT_S = 60
ARN = "arn:objstore:sqs::log:file"


@pytest.fixture
def folder() -> Iterator[Path]:
    with memory_folder() as path:
        yield path


def start(folder: Path, workers: int) -> ServeProcess:
    process = ServeProcess(
        folder, "--workers", str(workers), "--event-destination", "log=file:told.jsonl"
    )
    return process


def write(s3: Any, name: str, begin: int, acknowledged: list[tuple[str, str]]) -> int:
    """PUTs until the server is gone; the number of the next."""
    number = begin
    while True:
        key = f"{name}-{number % 3}"
        try:
            answer = s3.put_object(Bucket=BUCKET, Key=key, Body=f"{name} {number}".encode())
        except (BotoCoreError, ClientError, OSError):
            return number + 1
        acknowledged.append((key, answer["ETag"].strip('"')))
        number += 1


def told(folder: Path) -> list[tuple[str, str, str]]:
    """Key, ETag and sequencer of each record; a line that a kill has cut is none."""
    found = []
    for line in (folder / "told.jsonl").read_bytes().splitlines():
        try:
            document = json.loads(line)
        except ValueError:
            continue
        for record in document.get("Records", []):
            what = record["s3"]["object"]
            found.append((what["key"], what["eTag"], what["sequencer"]))
    return found


@pytest.mark.parametrize("workers", [1, 2])
def test_kills_while_events_are_delivered(folder: Path, seed: int, workers: int) -> None:
    dice = random.Random(seed)
    acknowledged: list[list[tuple[str, str]]] = [[] for _ in range(WRITERS)]
    numbers = [0] * WRITERS
    for turn in range(ROUNDS):
        process = start(folder, workers)
        endpoint = process.endpoint
        s3 = endpoint.client()
        if not turn:
            s3.create_bucket(Bucket=BUCKET)
            rule = {"QueueArn": ARN, "Events": ["s3:ObjectCreated:*"]}
            s3.put_bucket_notification_configuration(
                Bucket=BUCKET, NotificationConfiguration={"QueueConfigurations": [rule]}
            )

        def run(writer: int, client: Any) -> None:
            numbers[writer] = write(client, f"w{writer}", numbers[writer], acknowledged[writer])

        threads = [
            threading.Thread(target=run, args=(n, endpoint.client())) for n in range(WRITERS)
        ]
        for thread in threads:
            thread.start()
        time.sleep(dice.uniform(0.05, 0.6))
        kill(process)
        for thread in threads:
            thread.join(TIMEOUT_S)
    settle(folder, workers, sum(map(len, acknowledged)))
    check(folder, [pair for pairs in acknowledged for pair in pairs])


def kill(process: ServeProcess) -> None:
    """The whole group of processes at once."""
    children = _children(process.process.pid)
    for pid in (*children, process.process.pid):
        os.kill(pid, signal.SIGKILL)
    process.process.wait(TIMEOUT_S)
    for stream in (process.process.stdout, process.process.stderr):
        if stream is not None:
            stream.close()


def _children(pid: int) -> list[int]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(child) for child in text.split()]


def settle(folder: Path, workers: int, count: int) -> None:
    """A last start, until all is told that waits; then a stop in good order."""
    process = start(folder, workers)
    deadline = time.monotonic() + TIMEOUT_S
    while len(set(told(folder))) < count:
        assert time.monotonic() < deadline, "events are missing"
        time.sleep(0.1)
    time.sleep(0.5)
    process.stop()


def check(folder: Path, acknowledged: list[tuple[str, str]]) -> None:
    records = told(folder)
    assert len(acknowledged) > 20, "nothing was written between the kills"
    assert {(key, etag) for key, etag, _sequencer in records} >= set(acknowledged)
    # In order for each key: what is told again after a kill starts at an earlier place, but
    # of those that are told for the first time, none is behind a later one.
    latest: dict[str, str] = {}
    seen: set[tuple[str, str]] = set()
    for key, _etag, sequencer in records:
        if (key, sequencer) not in seen:
            seen.add((key, sequencer))
            assert sequencer > latest.get(key, ""), "told out of order"
            latest[key] = sequencer
