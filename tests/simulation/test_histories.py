"""Many writers on one key: what each of them was told agrees with one order of all calls."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from objstore import ObjectStore
from objstore.errors import AppendOffsetError, NoSuchKeyError, PreconditionFailedError
from objstore.model import CompletedPart, Conditions, Encryption, VersionEntry
from tests.linearizability import Call, Keys, explains, is_linearizable, step_of_keys
from tests.simulation.history_worker import KEY, Writer, now
from tests.simulation.keys_worker import KEYS, KeysWriter
from tests.stores import SMALL_CONFIG, StoreFactory

BUCKET = "bucket"
WRITERS, CALLS = 4, 40
TIMEOUT_S = 120


def in_threads(acts: list[Callable[[], object]]) -> None:
    """All at once; the first error is raised."""
    failures: list[BaseException] = []
    barrier = threading.Barrier(len(acts))

    def run(act: Callable[[], object]) -> None:
        try:
            barrier.wait(TIMEOUT_S)
            act()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=(act,)) for act in acts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(TIMEOUT_S)
    if failures:
        raise failures[0]


def check(history: list[Call]) -> None:
    kinds = {(call.kind, call.result == "ok") for call in history if call.kind != "get"}
    assert len(kinds) > 4, "the history is too dull to tell anything"
    assert is_linearizable(history)


@pytest.mark.parametrize("status", ["", "Enabled", "Suspended"])
def test_threads(store_factory: StoreFactory, seed: int, status: str) -> None:
    store = store_factory()
    store.create_bucket(BUCKET)
    if status:
        store.set_versioning(BUCKET, status)
    writers = [Writer(store, BUCKET, f"w{n}", seed + n) for n in range(WRITERS)]
    in_threads([lambda writer=writer: writer.run(CALLS) for writer in writers])  # type: ignore[misc]
    check([call for writer in writers for call in writer.recorder.calls])


def test_processes(store_factory: StoreFactory, seed: int) -> None:
    store = store_factory()
    store.create_bucket(BUCKET)
    workers = [
        subprocess.Popen(
            [
                *(sys.executable, "-m", "tests.simulation.history_worker"),
                *(store_factory.path(), BUCKET, f"w{n}", str(seed + n), str(CALLS)),
            ],
            stdout=subprocess.PIPE,
            cwd=Path(__file__).parents[2],
        )
        for n in range(3)
    ]
    own = Writer(store, BUCKET, "own", seed + 9)
    own.run(CALLS)
    history = own.recorder.calls
    for worker in workers:
        output, _ = worker.communicate(timeout=TIMEOUT_S)
        assert worker.returncode == 0
        history = history + [Call(**call) for call in json.loads(output)]
    check(history)


# --- several keys: copies, completions, appends, renames ------------------------------


EMPTY: Keys = (None,) * len(KEYS)


def check_keys(history: list[Call]) -> None:
    done = {call.kind for call in history if call.result == "ok"}
    assert done >= {"put", "append", "copy", "rename"}, "the history is too dull to tell anything"
    assert explains(history, EMPTY, step_of_keys)


@pytest.mark.parametrize("status", ["", "Enabled", "Suspended"])
@pytest.mark.parametrize("encryption", ["", "AES256"])
def test_keys_in_threads(
    store_factory: StoreFactory, seed: int, status: str, encryption: str
) -> None:
    store = store_factory(config=replace(SMALL_CONFIG, min_part_bytes=0))
    store.create_bucket(BUCKET)
    if status:
        store.set_versioning(BUCKET, status)
    if encryption:
        store.set_bucket_encryption(BUCKET, Encryption(encryption))
    writers = [KeysWriter(store, BUCKET, f"w{n}", seed + n) for n in range(WRITERS)]
    in_threads([lambda writer=writer: writer.run(2 * CALLS) for writer in writers])  # type: ignore[misc]
    history = [call for writer in writers for call in writer.recorder.calls]
    assert sum(writer.gave_up for writer in writers) < len(history) // 10
    check_keys(history)


def test_keys_in_processes(store_factory: StoreFactory, seed: int) -> None:
    store = store_factory(config=replace(SMALL_CONFIG, min_part_bytes=0))
    store.create_bucket(BUCKET)
    workers = [
        subprocess.Popen(
            [
                *(sys.executable, "-m", "tests.simulation.keys_worker"),
                *(store_factory.path(), BUCKET, f"w{n}", str(seed + n), str(2 * CALLS)),
            ],
            stdout=subprocess.PIPE,
            cwd=Path(__file__).parents[2],
        )
        for n in range(2)
    ]
    own = KeysWriter(store, BUCKET, "own", seed + 9)
    own.run(2 * CALLS)
    history = own.recorder.calls
    for worker in workers:
        output, _ = worker.communicate(timeout=TIMEOUT_S)
        assert worker.returncode == 0
        history = history + [Call(**call) for call in json.loads(output)]
    check_keys(history)


# --- versions -----------------------------------------------------------------------


def writes(store: ObjectStore, name: str, kind: str, count: int) -> list[tuple[float, float, str]]:
    """When each write began and ended, and the version that it made."""
    done = []
    for number in range(count):
        began = now()
        version = _write(store, kind, f"{name} {number}".encode())
        done.append((began, now(), version))
    return done


def _write(store: ObjectStore, kind: str, body: bytes) -> str:
    if kind == "put":
        return store.put(BUCKET, KEY, body).version_id
    if kind == "copy":
        return store.copy(BUCKET, "source", BUCKET, KEY).version_id
    if kind == "delete":
        version = store.delete(BUCKET, KEY).version_id
        assert version is not None
        return version
    upload_id = store.create_upload(BUCKET, KEY).upload_id
    with store.open_part(BUCKET, KEY, upload_id, 1) as part:
        part.write(body)
        done = CompletedPart(1, part.commit().etag)
    return store.complete_upload(BUCKET, KEY, upload_id, [done]).version_id


def test_every_write_is_a_version(store_factory: StoreFactory) -> None:
    """N writers with M writes each make N x M versions, in an order that agrees with time."""
    store = store_factory()
    store.create_bucket(BUCKET)
    store.set_versioning(BUCKET, "Enabled")
    store.put(BUCKET, "source", b"s" * 300_000)
    made: list[tuple[float, float, str]] = []

    def write(name: str, kind: str) -> None:
        made.extend(writes(store, name, kind, 25))

    kinds = ["put", "put", "copy", "delete", "complete"]
    in_threads([lambda n=n, kind=kind: write(f"w{n}", kind) for n, kind in enumerate(kinds)])  # type: ignore[misc]
    newest_first = list(reversed(all_versions(store)))
    assert len(newest_first) == len(made) == 125
    order = {entry.version_id: place for place, entry in enumerate(newest_first)}
    assert order.keys() == {version for _began, _ended, version in made}
    for began, _ended, version in made:
        for _began, ended, earlier in made:
            if ended < began:
                assert order[earlier] < order[version]
    assert sum(entry.is_delete_marker for entry in newest_first) == 25


def all_versions(store: ObjectStore) -> list[VersionEntry]:
    entries: list[VersionEntry] = []
    how: dict[str, Any] = {"prefix": KEY, "limit": 7}
    while True:
        page = store.list_versions(BUCKET, **how)
        entries += page.entries
        if page.next_key is None:
            return entries
        how |= {"key_marker": page.next_key, "version_id_marker": page.next_version_id or ""}


def test_two_writers_two_versions(store_factory: StoreFactory) -> None:
    """Each body can be had by the id that its writer was given."""
    store = store_factory()
    store.create_bucket(BUCKET)
    store.set_versioning(BUCKET, "Enabled")
    for turn in range(30):
        given: dict[str, bytes] = {}

        def write(name: str, turn: int = turn, given: dict[str, bytes] = given) -> None:
            body = f"{name} {turn}".encode()
            given[store.put(BUCKET, KEY, body).version_id] = body

        in_threads([lambda: write("a"), lambda: write("b")])
        assert len(given) == 2
        for version, body in given.items():
            with store.get(BUCKET, KEY, version_id=version) as reader:
                assert reader.read() == body
    assert len(all_versions(store)) == 60


def test_many_appenders_and_renamers(store_factory: StoreFactory, seed: int) -> None:
    """An object that wanders and grows is always whole, and nothing appended is lost."""
    store = store_factory()
    store.create_bucket(BUCKET)
    store.put(BUCKET, "k0", b"")
    appended: list[bytes] = []

    def append(name: str) -> None:
        dice = random.Random(f"{seed}{name}")
        for number in range(20):
            piece = f"<{name} {number} {dice.random()}>".encode()
            while not _append(store, piece):
                pass
            appended.append(piece)

    def rename() -> None:
        for number in range(40):
            store.rename(BUCKET, f"k{number}", f"k{number + 1}")

    in_threads([lambda: append("a"), lambda: append("b"), rename])
    with store.get(BUCKET, "k40") as reader:
        whole = reader.read()
    pieces = [piece + b">" for piece in whole.split(b">")[:-1]]
    assert sorted(pieces) == sorted(appended)


def _append(store: ObjectStore, piece: bytes) -> bool:
    """To wherever the object is; False where it has moved, or grown, meanwhile."""
    (entry, *others) = store.list(BUCKET, prefix="k").entries
    assert others == []
    try:
        same = Conditions(if_match=(entry.etag,))
        store.append(BUCKET, entry.key, piece, entry.size_bytes, conditions=same)
    except (NoSuchKeyError, AppendOffsetError, PreconditionFailedError):
        return False
    return True
