"""`python -m bench.events --quick`: small, so that the benchmark never rots."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.events import main


def test_quick(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--quick", "--dir", str(tmp_path)]) == 0
    output = capsys.readouterr().out
    for words in ("nobody is told", "some are told", "all are told", "events were delivered"):
        assert words in output
    assert output.count("reached") + output.count("MISSED") == 1
    assert list(tmp_path.iterdir()) == []  # it cleans up
