"""Names of the code that the pages about its inside use: each of them exists."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [
    "docs/architecture.md",
    "docs/format.md",
    "docs/encryption.md",
    *sorted(str(page.relative_to(ROOT)) for page in (ROOT / "docs" / "design").glob("0*.md")),
]
CODE = re.compile(r"`([^`\n]+)`")
DOTTED = re.compile(r"(?:objstore|blockdev)(?:\.\w+)+")
PATH = re.compile(r"(?:objstore|blockdev|tests|docs|bench)/[\w/.-]+")


def exists(name: str) -> bool:
    """Whether a dotted name is a module, or what one holds, methods and fields included."""
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        try:
            found: object = importlib.import_module(".".join(parts[:length]))
        except ModuleNotFoundError:
            continue
        for part in parts[length:]:
            annotations = getattr(found, "__annotations__", {})
            if not hasattr(found, part) and part not in annotations:
                return False
            found = getattr(found, part, None)
        return True
    return False


def test_it_can_tell() -> None:
    assert exists("objstore.engine.commit.Committer.commit")
    assert exists("objstore.engine.commit.Committer")
    assert exists("objstore.model.BucketInfo.name")
    assert not exists("objstore.engine.commit.Committer.comit")
    assert not exists("objstore.engine.comit")


@pytest.mark.parametrize("page", PAGES)
def test_every_name_on_the_page_exists(page: str) -> None:
    codes = CODE.findall((ROOT / page).read_text())
    names = [code for code in codes if DOTTED.fullmatch(code)]
    assert [name for name in names if not exists(name)] == []
    paths = [code for code in codes if PATH.fullmatch(code)]
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_the_architecture_names_the_functions() -> None:
    """It follows a PUT and a GET by name; a page without names would pass the test above."""
    text = (ROOT / "docs/architecture.md").read_text()
    for layer in ("asgi", "s3", "auth", "engine", "log", "index"):
        assert re.search(rf"`objstore\.{layer}\.", text), layer
    assert len({name for name in CODE.findall(text) if DOTTED.fullmatch(name)}) > 40
