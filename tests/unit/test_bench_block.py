"""`python -m bench.block --quick`: every case small, so that the benchmark never rots."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bench import block
from bench.block import CASES, Figure, Size, as_line, main


def test_quick_runs_every_case(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["--quick", "--dir", str(tmp_path)]) == 0
    output = capsys.readouterr().out
    for words in (
        "a passthrough layer adds to an I/O",
        "the throttle adds to an I/O",
        "4 KiB random reads, memory behind the stack",
        "ratio of the two",
        "virtual time, gp3 that keeps up",
    ):
        assert words in output
    assert output.count("reached") + output.count("MISSED") >= 8
    assert list(tmp_path.iterdir()) == []  # it cleans up


def test_a_case_can_be_chosen_and_added(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(block, "CASES", [*CASES])

    def ships_at_sea(size: Size) -> Iterator[Figure]:
        yield Figure("ships", size.rounds, "ships", 3)

    block.CASES.append(ships_at_sea)
    assert main(["--quick", "--only", "at_sea"]) == 0
    assert capsys.readouterr().out.splitlines()[1].split() == [
        *("ships", "2.00", "ships", "≥", "3", "MISSED")
    ]


def test_a_case_that_does_not_exist_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--quick", "--only", "no such thing"]) == 1
    assert "there are passthrough_cost, throttle_cost" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("figure", "verdict"),
    [
        (Figure("f", 4.9, "µs", 5.0, more_is_better=False), "reached"),
        (Figure("f", 5.1, "µs", 5.0, more_is_better=False), "MISSED"),
        (Figure("f", 100_000, "/s", 100_000), "reached"),
        (Figure("f", 99_999, "/s", 100_000), "MISSED"),
    ],
)
def test_a_figure_says_whether_it_reaches_its_goal(figure: Figure, verdict: str) -> None:
    assert as_line(figure).endswith(verdict)
    assert "reached" not in as_line(Figure("f", 1, "/s"))
