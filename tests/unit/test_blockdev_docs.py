"""The examples of the pages on block devices run as they stand."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
PAGES = {"block-device.md": 4, "planning.md": 1, "snapshots.md": 1}
"""How many examples each has at least."""


def examples_of(page: str) -> list[str]:
    text = (DOCS / page).read_text(encoding="utf-8")
    return re.findall(r"```python\n(.*?)```", text, re.DOTALL)


@pytest.mark.parametrize(("page", "count"), PAGES.items())
def test_the_page_has_examples(page: str, count: int) -> None:
    assert len(examples_of(page)) >= count


@pytest.mark.parametrize(
    ("page", "number"),
    [(page, number) for page in PAGES for number in range(len(examples_of(page)))],
)
def test_example_runs(
    page: str, number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    exec(compile(examples_of(page)[number], f"{page}, example {number + 1}", "exec"), {})
