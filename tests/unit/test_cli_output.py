"""Tables, figures, JSON and progress bars of the `blockdev` command."""

from __future__ import annotations

import io
import json

import pytest

from blockdev.clock import ManualClock
from blockdev.commands.output import human_bytes, human_time, print_json, print_table, table
from blockdev.commands.progress import Progress
from blockdev.model import Volume, VolumeSpec

MS = 1_000_000


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True

    def screen(self) -> str:
        """What stands on the line now."""
        return self.getvalue().rpartition("\r\x1b[K")[2]


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1 KiB"),
        (1536, "1.5 KiB"),
        (100 * 1024**3, "100 GiB"),
        (1024**3 * 3 // 2, "1.5 GiB"),
        (123.4 * 1024**2, "123 MiB"),
        (5 * 1024**6, "5120 PiB"),
    ],
)
def test_sizes_for_people(size_bytes: float, text: str) -> None:
    assert human_bytes(size_bytes) == text


def test_times_are_utc() -> None:
    assert human_time(1_700_000_000_999_999_999) == "2023-11-14T22:13:20Z"


def test_a_table_is_as_wide_as_it_has_to_be() -> None:
    rows = [("vol-1", 5, "a"), ("vol-22", 100, "bcd")]
    assert table(("ID", "SIZE", "NAME"), rows).splitlines() == [
        "ID      SIZE  NAME",
        "vol-1      5  a",
        "vol-22   100  bcd",
    ]


def test_columns_without_content_are_left_out() -> None:
    assert table(("ID", "TAGS", "N"), [("x", "", None), ("y", "", 3)]).splitlines() == [
        "ID  N",
        "x",
        "y   3",
    ]


def test_wide_and_dangerous_characters() -> None:
    shown = table(("NAME", "X"), [("東京", "1"), ("ab\x1b[31m\n", "2"), ("é", "3")])
    assert "\x1b" not in shown
    assert shown.splitlines() == [
        "NAME      X",
        "東京      1",
        "ab�[31m�  2",
        "é         3",
    ]


def test_an_empty_table_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("ID",), [])
    assert capsys.readouterr().out == "(none)\n"


def test_json_keeps_names_and_units(capsys: pytest.CaptureFixture[str]) -> None:
    spec = VolumeSpec("gp3", 10, 3000, 125)
    volume = Volume("vol-1", spec, "available", "z", 5, tags={"größe": "10"})
    print_json({"volumes": [volume]})
    [told] = json.loads(capsys.readouterr().out)["volumes"]
    assert told["volume_id"] == "vol-1"
    assert told["spec"]["throughput_mibps"] == 125
    assert told["created_ns"] == 5
    assert told["tags"] == {"größe": "10"}


def test_a_bar_moves_and_is_cleared() -> None:
    stream, clock = Terminal(), ManualClock()
    with Progress("copy", 4 << 20, stream=stream, clock=clock) as progress:
        clock.advance(1000 * MS)
        progress.advance(1 << 20)
        assert stream.screen() == f"copy [{'#' * 6}{'-' * 18}]  25% 1 MiB of 4 MiB, 1 MiB/s"
        clock.advance(1000 * MS)
        progress.advance(3 << 20)
        assert stream.screen() == f"copy [{'#' * 24}] 100% 4 MiB of 4 MiB, 2 MiB/s"[:79]
    assert stream.screen() == ""


def test_a_bar_is_not_drawn_more_often_than_it_is_seen() -> None:
    stream, clock = Terminal(), ManualClock()
    with Progress("x", 1000, stream=stream, clock=clock) as progress:
        for _ in range(1000):
            progress.advance(1)
            clock.advance(MS)
    assert stream.getvalue().count("x [") == 10


def test_a_bar_of_percents_has_no_rate() -> None:
    stream = Terminal()
    with Progress("snap-1", 100, stream=stream, clock=ManualClock(), is_bytes=False) as progress:
        progress.update(50)
        assert stream.screen() == f"snap-1 [{'#' * 12}{'-' * 12}]  50%"


def test_a_bar_of_nothing_is_full_at_once() -> None:
    stream = Terminal()
    with Progress("empty", 0, stream=stream, clock=ManualClock()) as progress:
        progress.update(0)
        assert "100%" in stream.screen()


def test_nothing_is_drawn_where_nobody_watches() -> None:
    stream = io.StringIO()
    with Progress("x", 10, stream=stream, clock=ManualClock()) as progress:
        progress.update(5)
    assert stream.getvalue() == ""


def test_the_line_is_cleared_when_something_fails() -> None:
    stream = Terminal()
    progress = Progress("x", 10, stream=stream, clock=ManualClock())

    def interrupted() -> None:
        with progress:
            progress.update(5)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert stream.screen() == ""
