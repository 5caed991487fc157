"""``blockdev plan`` as it is called: tables, JSON, charts, and what it says to bad input."""

from __future__ import annotations

import argparse
import io
import json
import re
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from blockdev import plan
from blockdev.model import GIB, VolumeSpec
from blockdev.pattern import Pattern, PatternError, parse_pattern
from blockdev.plan import PlanError, in_words, parse_candidate


def call(*words: str) -> int:
    parser = argparse.ArgumentParser(prog="blockdev")
    plan.add_parser(parser.add_subparsers(required=True))
    arguments = parser.parse_args(["plan", *words])
    status: int = arguments.run(arguments)
    return status


def as_json(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, dict[str, object]]:
    assert call("--json", *words) == 0
    document = json.loads(capsys.readouterr().out)
    return {entry["type"]: entry for entry in document["types"]}


def test_a_table_for_a_pattern(capsys: pytest.CaptureFixture[str]) -> None:
    types = ["gp2:100", "gp3:100:6000:250", "io2:200:10000", "i4i.large"]
    options = [word for kind in types for word in ("--type", kind)]
    assert call("rate=1000,size=16k,read=70%,duration=10s", *options) == 0
    title, blank, header, *rows = capsys.readouterr().out.splitlines()
    assert title == ("I/Os of 16 KiB, 1,000 a second, 70% reads, 100% random, for 10 s, depth 32")
    assert blank == ""
    assert header.split()[:4] == ["type", "IOPS", "MiB/s", "p50"]
    assert [row.split()[0] for row in rows] == types
    assert [row.split()[1] for row in rows] == ["1,000"] * 4
    assert [row.split()[-1] for row in rows] == ["10.00", "28.00", "675.00", "-"]
    assert "left" in rows[0]
    assert len({len(row) for row in [header, *rows]}) == 1


def test_json_says_when_credits_run_out(capsys: pytest.CaptureFixture[str]) -> None:
    options = ["-t", "sc1:125", "-t", "gp2:1", "--credits", "25"]
    found = as_json(capsys, "rate=250,duration=5m,size=64k", *options)
    sc1, gp2 = found["sc1:125"], found["gp2:1"]
    drain = (80 - 12) * 1024**2 * 125 / 1024
    assert sc1["credits_gone_after_s"] == pytest.approx(31.25 * GIB / drain, rel=0.01)
    assert gp2["credits_gone_after_s"] is None
    assert gp2["credits_left"] == pytest.approx(1_350_000 - 300 * 150, rel=0.01)
    assert gp2["iops"] == pytest.approx(250, rel=0.01)
    assert gp2["monthly_price_usd"] == pytest.approx(0.10)


LOG = "fio version 3 iolog\n0 f add\n" + "".join(
    f"{n * 500} f {'read' if n % 2 else 'write'} {n * 8192} 4096\n" for n in range(1_000)
)


def test_a_log_from_a_file_and_from_standard_input(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "trace.log"
    path.write_text(LOG)
    from_file = as_json(capsys, str(path), "-t", "gp3:100")
    monkeypatch.setattr(sys, "stdin", io.StringIO(LOG))
    assert as_json(capsys, "-", "-t", "gp3:100") == from_file
    assert from_file["gp3:100"]["ios"] == 1_000
    assert from_file["gp3:100"]["elapsed_s"] == pytest.approx(0.5, rel=0.02)


def test_a_volume_that_is_too_small_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "trace.log"
    path.write_text(f"fio version 2 iolog\nf read {2 * GIB} 4096\n")
    assert call(str(path), "-t", "gp2:1", "-t", "gp2:3") == 0
    notes = capsys.readouterr().err.splitlines()
    assert notes == ["note: the workload reaches to 2.00 GiB, gp2:1 ends at 1 GiB"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nowhere.log", "-t", "gp2:1"], "'nowhere.log' is neither a file nor a pattern"),
        (["rate=5", "-t", "gp9:1"], "unknown type 'gp9:1'; known are gp2, gp3"),
        (["rate=5", "-t", "gp2"], "'gp2' is not gp2:GIB"),
        (["rate=5", "-t", "gp2:ten"], "'gp2:ten' is not gp2:GIB"),
        (["rate=5", "-t", "gp2:1:2:3:4"], "is not gp2:GIB"),
        (["rate=5", "-t", "gp2:-5"], "is not gp2:GIB"),
        (["rate=5", "-t", "i4i.large:5"], "unknown type 'i4i.large:5'"),
        (["rate=5", "-t", "gp2:0"], "gp2:0: Volume of 0GiB is too small"),
        (["rate=5", "-t", "io1:100"], "io1:100: The parameter iops must be specified"),
        (["rate=5", "-t", "gp3:20:15000"], "Iops to volume size ratio of 750.000000"),
        (["rate=5", "-t", "gp2:1", "--depth", "0"], "a depth is from 1 to 65,536, not 0"),
        (["rate=5", "-t", "gp2:1", "--credits", "101"], "credits are from 0 to 100 percent"),
        (["rate=5", *["-t", "gp2:1"] * 33], "at most 32 types"),
        (["rate=5", "-t", "gp2:1", "--chart", "x.svg"], "ends with .html or .png"),
        (["rate=5,duration=1s", "-t", "gp2:1", "--chart", "no/x.html"], "cannot write no/x.html"),
        (["rate=5,depht=3", "-t", "gp2:1"], "unknown part 'depht=3'; known are rate, size"),
        (["rate=5,depth", "-t", "gp2:1"], "unknown part 'depth'"),
        (["rate=5,rate=6", "-t", "gp2:1"], "rate is given twice"),
        (["rate=0", "-t", "gp2:1"], "rate=0: not a rate from 0.001"),
        (["rate=nan", "-t", "gp2:1"], "rate=nan: not a rate"),
        (["size=0", "-t", "gp2:1"], "size=0: not a size from 1"),
        (["size=2g", "-t", "gp2:1"], "size=2g: not a size from 1"),
        (["size=4q", "-t", "gp2:1"], "size=4q: not a size such as"),
        (["read=101%", "-t", "gp2:1"], "read=101%: not a percentage"),
        (["read=1.5", "-t", "gp2:1"], "read=1.5: not a share"),
        (["duration=1y", "-t", "gp2:1"], "duration=1y: not a duration such as"),
        (["duration=401d", "-t", "gp2:1"], "not a duration up to 400 days"),
        (["duration=0s", "-t", "gp2:1"], "not a duration up to"),
        (["depth=1.5", "-t", "gp2:1"], "depth=1.5: not a depth"),
        (["arrivals=late", "-t", "gp2:1"], "arrivals=late: neither even nor poisson"),
        (["rate=10000,duration=400d", "-t", "gp2:1"], "345,600,000,000 I/Os are over 1,000,000,"),
        (["size=1m,span=4k", "-t", "gp2:1"], "an I/O of 1048576 bytes does not fit"),
    ],
)
def test_bad_input_is_refused_in_a_sentence(
    words: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert call(*words) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("blockdev plan: ")
    assert message in captured.err


def test_a_broken_log_is_refused_by_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "trace.log"
    path.write_bytes(LOG.encode() + b"\xff\xfe oops\n")
    assert call(str(path), "-t", "gp2:1") == 2
    assert "blockdev plan: trace.log, line 1003: " in capsys.readouterr().err


def test_patterns() -> None:
    text = "rate=2.5, size=16KiB, read=0.7, random=30%, duration=1.5h, depth=8, span=10g"
    assert parse_pattern(text + ",arrivals=poisson", Pattern()) == Pattern(
        io_bytes=16_384,
        rate=2.5,
        read_share=0.7,
        random_share=0.3,
        seconds=5_400.0,
        depth=8,
        span_bytes=10 * GIB,
        is_even=False,
    )
    assert parse_pattern("depth=3", Pattern(rate=9)) == Pattern(rate=9, depth=3)
    with pytest.raises(PatternError):
        parse_pattern("", Pattern())


def test_candidates() -> None:
    assert parse_candidate("gp3:100:6000:250").spec == VolumeSpec("gp3", 100, 6_000, 250)
    assert parse_candidate("gp3:100").spec == VolumeSpec("gp3", 100, 3_000, 125)
    disks = parse_candidate("i4i.32xlarge")
    assert disks.spec is None
    assert disks.size_bytes == 30_000 * 10**9
    with pytest.raises(PlanError):
        parse_candidate("")


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.00035, "0.35 ms"),
        (0.9999, "999.90 ms"),
        (59.94, "59.9 s"),
        (2_000, "33 min 20 s"),
        (3_600, "1 h 0 min"),
        (100_000, "1 d 3 h"),
    ],
)
def test_durations_in_words(seconds: float, words: str) -> None:
    assert in_words(seconds) == words


class Page(HTMLParser):
    """What a page holds and what it would load."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("src", "href")]

    def handle_data(self, data: str) -> None:
        self.words.append(data.strip())


def test_a_page_that_needs_nothing_else(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "chart.html"
    pattern = "rate=2000,duration=20s"
    assert call(pattern, "-t", "gp2:100", "-t", "gp3:100", "--chart", str(path)) == 0
    text = path.read_text()
    page = Page(text)
    assert page.links == []
    assert "url(" not in text
    assert "http" not in text
    assert page.tags.count("svg") == 2  # IOPS, and the credits of gp2
    assert page.tags.count("polyline") == 3
    assert page.words.count("gp2:100") == 5  # two lines with legends, and the table
    points = re.findall(r'points="([^"]+)"', text)
    assert all(len(line.split()) > 100 for line in points)
    capsys.readouterr()


def test_a_png(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    path = tmp_path / "chart.png"
    assert call("rate=2000,duration=2s", "-t", "gp2:100", "--chart", str(path)) == 0
    assert path.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")


def test_a_png_without_matplotlib_says_what_to_install(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    path = tmp_path / "chart.png"
    assert call("rate=2000,duration=2s", "-t", "gp2:100", "--chart", str(path)) == 2
    assert "pip install 'objstore[plan]'" in capsys.readouterr().err
    assert not path.exists()
