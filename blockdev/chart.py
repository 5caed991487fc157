"""IOPS and credit balance over time, as a page that needs nothing else, or as a PNG."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from html import escape
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from blockdev.credits import NS_PER_S
from blockdev.simulate import Course

COLOURS: Final = ("#3366cc", "#dc3912", "#109618", "#ff9900", "#990099", "#0099c6", "#8b5e3c")

LONGEST_TO_SHORTEST: Final = 2
"""A volume that is hopelessly behind must not press all others into a corner: the axis ends at
this many times the shortest run."""

_WIDTH: Final = 960
_HEIGHT: Final = 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 80, 20, 40, 40

_TIME_UNITS: Final = (("h", 3_600, 3 * 3_600), ("min", 60, 180), ("s", 1, 0))
"""Name, seconds, and from how many seconds in all it is used."""


class ChartError(Exception):
    """The chart cannot be made; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Line:
    """What is drawn of one volume.  `credits_full`: None if it has no burst bucket."""

    label: str
    course: Course
    credits_full: float | None


@dataclass(frozen=True, slots=True)
class _Curve:
    label: str
    colour: str
    points: list[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class _Panel:
    title: str
    curves: list[_Curve]
    top: float
    seconds: float
    room: float = 1.0
    """How far the axis goes, in tops: a line at the very top would be cut in half."""


def write_chart(
    path: Path, title: str, lines: Sequence[Line], table: Sequence[Sequence[str]]
) -> None:
    """Write a chart in the format that the name ends with: ``.html``, ``.htm`` or ``.png``.

    `table`: rows of text to stand under it, the first one the header; not in a PNG.

    Raises:
        ChartError: no such format, matplotlib is missing, or the file cannot be written.
    """
    check_format(path)
    try:
        if path.suffix.lower() == ".png":
            _write_png(path, title, lines)
        else:
            path.write_text(html_page(title, lines, table), encoding="utf-8")
    except OSError as error:
        raise ChartError(f"cannot write {path}: {error.strerror or error}") from error


def check_format(path: Path) -> None:
    """Whether a chart could be written there, asked before hours are simulated for it.

    Raises:
        ChartError: no such format or folder, or matplotlib is missing.
    """
    suffix = path.suffix.lower()
    if suffix not in (".html", ".htm", ".png"):
        raise ChartError(f"a chart ends with .html or .png, not {path.name!r}")
    if not path.parent.is_dir():
        raise ChartError(f"cannot write {path}: there is no folder {path.parent}")
    if suffix == ".png":
        _matplotlib_figures()


def html_page(title: str, lines: Sequence[Line], table: Sequence[Sequence[str]]) -> str:
    """A page with inline SVG, that refers to nothing outside."""
    charts = "\n".join(_svg(panel) for panel in _panels(lines))
    rows = "\n".join(_row(cells, "td" if number else "th") for number, cells in enumerate(table))
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>{escape(title)}</title>
<style>
body {{ font: 14px sans-serif; max-width: {_WIDTH}px; margin: 2em auto; color: #222; }}
table {{ border-collapse: collapse; margin-top: 1em; }}
td, th {{ padding: 0.3em 0.8em; border-bottom: 1px solid #ddd; text-align: right; }}
td:first-child, th:first-child {{ text-align: left; }}
svg text {{ font: 12px sans-serif; fill: #444; }}
</style>
</head>
<body>
<h1>blockdev plan</h1>
<p>{escape(title)}</p>
{charts}
<table>
{rows}
</table>
</body>
</html>
"""


def _row(cells: Sequence[str], tag: str) -> str:
    return "<tr>" + "".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in cells) + "</tr>"


def _panels(lines: Sequence[Line]) -> Iterator[_Panel]:
    """IOPS of all volumes, and the credits of those that have any."""
    colours = [COLOURS[number % len(COLOURS)] for number in range(len(lines))]
    iops, credits = [], []
    for line, colour in zip(lines, colours, strict=True):
        iops.append(_Curve(line.label, colour, _iops_points(line.course)))
        if line.credits_full:
            credits.append(_Curve(line.label, colour, _credit_points(line)))
    ends_s = [curve.points[-1][0] for curve in iops if curve.points]
    seconds = min(max(ends_s), LONGEST_TO_SHORTEST * min(ends_s)) if ends_s else 1.0
    iops, credits = ([_cut(curve, seconds) for curve in curves] for curves in (iops, credits))
    highest = max((value for curve in iops for _, value in curve.points), default=1.0)
    yield _Panel("IOPS delivered", iops, _nice(highest), seconds)
    if credits:
        yield _Panel("credit balance, % of the bucket", credits, 100.0, seconds, 1.04)


def _cut(curve: _Curve, seconds: float) -> _Curve:
    return replace(curve, points=[point for point in curve.points if point[0] <= seconds])


def _iops_points(course: Course) -> list[tuple[float, float]]:
    """Without the last interval, of which only a part had I/O, if there are others."""
    width_s = course.interval_ns / NS_PER_S
    ios = course.ios[:-1] or course.ios
    return [((number + 0.5) * width_s, count / width_s) for number, count in enumerate(ios)]


def _credit_points(line: Line) -> list[tuple[float, float]]:
    width_s = line.course.interval_ns / NS_PER_S
    full = line.credits_full or 1.0
    return [
        (number * width_s, 100 * balance / full)
        for number, balance in enumerate(line.course.credits)
    ]


def _nice(value: float) -> float:
    """The least of 1, 2, 2.5 and 5 times a power of ten that is not below `value`."""
    power = 1.0
    while power * 10 < value:
        power *= 10
    return next(power * step for step in (1, 2, 2.5, 5, 10) if power * step >= value)


def _svg(panel: _Panel) -> str:
    inner_width, inner_height = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM

    def x_of(seconds: float) -> float:
        return _LEFT + inner_width * seconds / panel.seconds

    def y_of(value: float) -> float:
        return _TOP + inner_height * (1 - value / panel.top / panel.room)

    parts = [
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img">',
        f'<text x="{_LEFT}" y="16">{escape(panel.title)}</text>',
    ]
    for step in range(5):
        value = panel.top * step / 4
        y = y_of(value)
        parts.append(f'<path d="M{_LEFT} {y:.1f}H{_WIDTH - _RIGHT}" stroke="#ddd"/>')
        parts.append(f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{value:,g}</text>')
    unit, unit_s = _time_unit(panel.seconds)
    for step in range(7):
        seconds = panel.seconds * step / 6
        label = f"{seconds / unit_s:.3g} {unit}"
        y = _HEIGHT - _BOTTOM + 18
        parts.append(f'<text x="{x_of(seconds):.1f}" y="{y}" text-anchor="middle">{label}</text>')
    for number, curve in enumerate(panel.curves):
        points = " ".join(f"{x_of(t):.1f},{y_of(value):.1f}" for t, value in curve.points)
        parts.append(_polyline(points, curve))
        parts.append(_legend(number, curve))
    return "\n".join([*parts, "</svg>"])


def _polyline(points: str, curve: _Curve) -> str:
    return (
        f'<polyline points="{points}" fill="none" stroke="{curve.colour}" stroke-width="1.5">'
        f"<title>{escape(curve.label)}</title></polyline>"
    )


def _legend(number: int, curve: _Curve) -> str:
    x = _LEFT + 240 + number % 4 * 160
    y = 16 + number // 4 * 14
    return (
        f'<path d="M{x} {y - 4}h18" stroke="{curve.colour}" stroke-width="3"/>'
        f'<text x="{x + 24}" y="{y}">{escape(curve.label)}</text>'
    )


def _time_unit(seconds: float) -> tuple[str, int]:
    return next((name, size) for name, size, least in _TIME_UNITS if seconds >= least)


def _write_png(path: Path, title: str, lines: Sequence[Line]) -> None:
    panels = list(_panels(lines))
    figure: Any = _matplotlib_figures().Figure(
        figsize=(9.6, 3.2 * len(panels)), layout="constrained"
    )
    figure.suptitle(title, fontsize="small", wrap=True)
    unit, unit_s = _time_unit(panels[0].seconds)
    for axes, panel in zip(figure.subplots(len(panels), squeeze=False)[:, 0], panels, strict=True):
        for curve in panel.curves:
            times = [seconds / unit_s for seconds, _ in curve.points]
            values = [value for _, value in curve.points]
            axes.plot(times, values, color=curve.colour, label=curve.label, linewidth=1)
        axes.set_title(panel.title, fontsize="small")
        axes.set_ylim(0, panel.top * panel.room)
        axes.set_xlabel(unit)
        axes.grid(alpha=0.3)
        axes.legend(fontsize="small")
    figure.savefig(path, dpi=100)


def _matplotlib_figures() -> ModuleType:
    """The only place where matplotlib is asked for."""
    try:
        return importlib.import_module("matplotlib.figure")
    except ImportError as error:
        raise ChartError(
            "a PNG needs matplotlib: pip install 'objstore[plan]', or ask for .html"
        ) from error
