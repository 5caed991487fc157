"""A change to the keys, killed before each thing that it does to a file.

Afterwards the files are as before the change or as after it, everything that was wrapped is
unwrapped, and the same change goes through.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import objstore.files
from objstore.errors import KeyServiceError
from objstore.kms import files
from objstore.kms.service import LocalKeyService
from tests.keys import MATERIAL, Keys

STEPS = ("open", "unlink", "fsync", "link", "replace")


class KilledError(BaseException):
    """The process is no more."""


class DyingOs:
    """`os` up to the moment of death, and nothing after it."""

    def __init__(self, steps_left: int) -> None:
        self.steps_left = steps_left
        self.done: list[str] = []

    def __getattr__(self, name: str) -> Any:
        real = getattr(os, name)
        if name not in STEPS:
            return real

        def call(*arguments: Any, **options: Any) -> Any:
            if not self.steps_left:
                raise KilledError
            self.steps_left -= 1
            self.done.append(name)
            return real(*arguments, **options)

        return call


Change = Callable[[LocalKeyService], object]
CHANGES: dict[str, Change] = {
    "rotate_root": lambda service: service.rotate_root(),
    "create_key": lambda service: service.create_key("new", "alias/new"),
    "rotate": lambda service: service.rotate("alias/old"),
}


def watch(patch: pytest.MonkeyPatch, dying: DyingOs) -> None:
    """Have whatever writes key files do it through `dying`."""
    for module in (files, objstore.files):
        patch.setattr(module, "os", dying)


def killed(keys: Keys, change: Change, step: int, patch: pytest.MonkeyPatch) -> bool:
    """Run a change up to a step; whether it got no further."""
    with patch.context() as inner:
        watch(inner, DyingOs(step))
        try:
            change(keys.open())
        except KilledError:
            return True
    return False


def wrapped_before(keys: Keys) -> list[bytes]:
    service = keys.open()
    service.create_key("old", "alias/old")
    sealed = [service.wrap(name, MATERIAL, b"") for name in ("", "alias/aws/s3", "alias/old")]
    service.rotate("alias/old")
    return [*sealed, service.wrap("alias/old", MATERIAL, b"")]


@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.parametrize("elsewhere", [False, True])
def test_killed_at_every_step(
    tmp_path: Path, seed: int, name: str, elsewhere: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = 0
    while True:
        folder = tmp_path / str(step)
        keys = Keys(folder, seed, tmp_path / f"{step}.key" if elsewhere else None)
        sealed = wrapped_before(keys)
        was_killed = killed(keys, CHANGES[name], step, monkeypatch)
        service = keys.open()
        assert [service.unwrap(one, b"") for one in sealed] == [MATERIAL] * len(sealed)
        assert service.unwrap(service.wrap("", MATERIAL, b""), b"") == MATERIAL
        if was_killed and not any(alias.name == "alias/new" for alias in service.list_aliases()):
            CHANGES[name](service)
        assert [keys.open().unwrap(one, b"") for one in sealed] == [MATERIAL] * len(sealed)
        service.rotate("alias/old")  # any change ends what was interrupted
        assert len(keys.root.read_bytes()) == 32
        if not was_killed:
            break
        step += 1
    assert step >= 5


def test_killed_again_and_again_while_rotating(
    tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = Keys(tmp_path, seed)
    sealed = wrapped_before(keys)
    roots = set()
    for step in [*range(25), *reversed(range(25))]:
        killed(keys, CHANGES["rotate_root"], step, monkeypatch)
        assert len(keys.root.read_bytes()) in (32, 64)
        roots.add(keys.file.read_bytes()[16:24])
        assert [keys.open().unwrap(one, b"") for one in sealed] == [MATERIAL] * len(sealed)
    assert len(roots) > 10


@pytest.mark.parametrize("name", ["create_key", "rotate_root"])
def test_killed_at_every_step_of_the_first_use(
    tmp_path: Path, seed: int, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = 0
    while killed(keys := Keys(tmp_path / str(step), seed), CHANGES[name], step, monkeypatch):
        service = keys.open()
        assert service.unwrap(service.wrap("", MATERIAL, b""), b"") == MATERIAL
        assert keys.open().list_keys() == service.list_keys()
        assert len(keys.root.read_bytes()) == 32
        step += 1
    assert step >= 5


def test_a_file_is_durable_before_it_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded = DyingOs(1000)
    watch(monkeypatch, recorded)
    files.replace(tmp_path / "file", b"one")
    files.appear(tmp_path / "other", b"two")
    files.appear(tmp_path / "other", b"three")
    draft = ["open", "fsync"]
    assert [name for name in recorded.done if name != "unlink"] == [
        *(*draft, "replace", "open", "fsync"),
        *(*draft, "link", "open", "fsync"),
        *(*draft, "link", "open", "fsync"),
    ]
    assert (tmp_path / "file").read_bytes() == b"one"
    assert (tmp_path / "other").read_bytes() == b"two"


def test_the_old_root_key_is_worthless_afterwards(tmp_path: Path, seed: int) -> None:
    keys = Keys(tmp_path, seed)
    sealed = wrapped_before(keys)
    old = keys.root.read_bytes()
    service = keys.open()
    new_id = service.rotate_root()
    new = keys.root.read_bytes()
    assert (len(new), new == old) == (32, False)
    assert keys.file.read_bytes()[16:24].hex() == new_id
    assert [service.unwrap(one, b"") for one in sealed] == [MATERIAL] * len(sealed)
    keys.root.write_bytes(old)
    with pytest.raises(KeyServiceError, match="another root key"):
        keys.open().list_keys()
