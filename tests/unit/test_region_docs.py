"""The examples of docs/ebs.md run as they stand, and leave regions that are whole."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.regions import assert_region_whole

PAGE = Path(__file__).parents[2] / "docs" / "ebs.md"
EXAMPLES = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


def test_the_page_has_examples() -> None:
    assert len(EXAMPLES) == 2


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_example_runs(number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    exec(compile(EXAMPLES[number], f"{PAGE.name}, example {number + 1}", "exec"), {})
    for folder in tmp_path.iterdir():
        assert_region_whole(folder)
