"""`python -m bench.versions --quick`: every case small, so that the benchmark never rots."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.versions import main
from bench.versions_figures import Figure


def test_quick_runs_every_case(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--quick", "--dir", str(tmp_path)]) == 0
    output = capsys.readouterr().out
    for words in (
        "PUT 4 KiB, versioned",
        "list_versions of 1,000",
        "CopyObject of 4 MiB",
        "append 4 KiB",
        "GET 5 MiB, encrypted",
    ):
        assert words in output
    assert output.count("reached") + output.count("MISSED") == 6
    assert list(tmp_path.iterdir()) == []  # it cleans up


@pytest.mark.parametrize(
    ("figure", "verdict"),
    [
        (Figure("f", 85, "%", 85), "reached"),
        (Figure("f", 84.9, "%", 85), "MISSED"),
        (Figure("f", 50, "ms", 50, more_is_better=False), "reached"),
        (Figure("f", 50.1, "ms", 50, more_is_better=False), "MISSED"),
    ],
)
def test_a_figure_says_whether_it_reaches_its_goal(figure: Figure, verdict: str) -> None:
    assert figure.line().endswith(verdict)
