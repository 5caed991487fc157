"""Write the table of operations in docs/s3-compatibility.md from the routing table.

python -m bench.s3_compatibility          write it
python -m bench.s3_compatibility --check  exit with status 1 if it is not current
"""

from __future__ import annotations

import sys
from pathlib import Path

from objstore.s3.operation import Operation
from objstore.s3.table import OPERATIONS

PAGE = Path(__file__).parent.parent / "docs" / "s3-compatibility.md"
BEGIN, END = "<!-- operations -->\n", "<!-- end of operations -->\n"
LEVELS = {"service": "Service", "bucket": "Buckets", "object": "Objects"}


def render(page: str) -> str:
    """The page with its generated part made anew."""
    head, _, rest = page.partition(BEGIN)
    _, _, tail = rest.partition(END)
    return f"{head}{BEGIN}\n{_tables()}\n{END}{tail}"


def _tables() -> str:
    offered = sum(row.offered for row in OPERATIONS)
    lines = [f"{offered} of {len(OPERATIONS)} are offered; the others answer `501 NotImplemented`."]
    for level, title in LEVELS.items():
        rows = sorted((r for r in OPERATIONS if r.level == level), key=lambda r: r.name)
        lines += ["", f"### {title}", "", "| Operation | Request | Offered |", "|---|---|---|"]
        lines += [_line(row) for row in rows]
    return "\n".join(lines) + "\n"


def _line(row: Operation) -> str:
    path = {"service": "/", "bucket": "/bucket", "object": "/bucket/key"}[row.level]
    query = f"?{'&'.join(row.selectors)}" if row.selectors else ""
    header = f" with `{row.header_selector.decode('ascii')}`" if row.header_selector else ""
    return f"| {row.name} | `{row.method} {path}{query}`{header} | {'yes' if row.offered else ''} |"


def main(arguments: list[str]) -> int:
    """Write or check the page; the exit status."""
    page = PAGE.read_text("utf-8")
    made = render(page)
    if "--check" in arguments:
        return int(made != page)
    PAGE.write_text(made, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
