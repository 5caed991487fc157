"""The Python in the README and in the pages does what it says it does: it runs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from objstore import ObjectStore
from tests.stores import SMALL_CONFIG, assert_whole

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks_of(page: str) -> list[str]:
    return BLOCK.findall((ROOT / page).read_text())


@pytest.mark.parametrize("page", ["README.md", "docs/embedding.md"])
def test_every_block_runs(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    consumed: list[int] = []
    names: dict[str, Any] = {
        "blocks": [b"a" * 1000, b"b" * 200_000],
        "consume": lambda piece: consumed.append(len(piece)),
    }
    blocks = blocks_of(page)
    assert blocks
    for block in blocks:
        if "ObjectStore.open(" in block:
            exec(block, names)
            continue
        with ObjectStore.open("data", config=SMALL_CONFIG) as names["store"]:
            exec(block, names)
    assert_whole("data")
    assert sum(consumed) == (201_000 if "consume(" in "".join(blocks) else 0)
