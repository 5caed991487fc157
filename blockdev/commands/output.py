"""What the command prints: tables, JSON, and figures for people."""

from __future__ import annotations

import json
import re
import sys
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, is_dataclass
from datetime import UTC, datetime
from typing import Any, Final

_NUMBER: Final = re.compile(r"[\d.,]+ ?[A-Za-z%]{0,3}")
_UNITS: Final = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


def human_bytes(size_bytes: float) -> str:
    """A size for people: ``1.5 MiB``."""
    number = float(size_bytes)
    for unit in _UNITS:
        if abs(number) < 1024 or unit == _UNITS[-1]:
            break
        number /= 1024
    digits = 0 if number == int(number) or abs(number) >= 100 else 1
    return f"{number:.{digits}f} {unit}"


def human_time(at_ns: int) -> str:
    """A time since the epoch as ISO 8601, in UTC, to the second."""
    return datetime.fromtimestamp(at_ns // 10**9, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def human_tags(tags: Mapping[str, str]) -> str:
    """Tags on one line."""
    return " ".join(f"{key}={value}" for key, value in sorted(tags.items()))


def table(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Columns as wide as they have to be; what is a number stands on the right.

    Columns in which nothing stands are left out.
    """
    cells = [[_cell(value) for value in row] for row in rows]
    kept = [n for n in range(len(headings)) if not cells or any(row[n] for row in cells)]
    right = {n for n in kept if cells and all(_is_numeric(row[n]) for row in cells)}
    lines = []
    widths = {n: max(_width(line[n]) for line in [headings, *cells]) for n in kept}
    for line in [headings, *cells]:
        padded = [_pad(line[n], widths[n], right=n in right) for n in kept]
        lines.append("  ".join(padded).rstrip())
    return "\n".join(lines)


def print_table(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table, or a dash where there is nothing to show."""
    listed = list(rows)
    print(table(headings, listed) if listed else "(none)")


def print_json(value: object) -> None:
    """Print values of the model as JSON; fields keep their names, and so their units."""
    json.dump(_plain(value), sys.stdout, indent=2, ensure_ascii=False)
    print()


def warn(message: str) -> None:
    """A line on stderr under the command's name."""
    print(f"blockdev: {message}", file=sys.stderr)


def _plain(value: object) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return value


def _cell(value: object) -> str:
    """One line of printable text: a description may hold anything, escape codes too."""
    if value is None:
        return ""
    return "".join(
        char if unicodedata.category(char)[0] != "C" else "\N{REPLACEMENT CHARACTER}"
        for char in str(value)
    )


def _is_numeric(cell: str) -> bool:
    return not cell or _NUMBER.fullmatch(cell) is not None


def _width(text: str) -> int:
    """Columns that a terminal gives to a text: two for the wide characters of East Asia."""
    wide = sum(unicodedata.east_asian_width(char) in "WF" for char in text)
    marks = sum(unicodedata.combining(char) > 0 for char in text)
    return len(text) + wide - marks


def _pad(text: str, width: int, *, right: bool) -> str:
    space = " " * (width - _width(text))
    return space + text if right else text + space
