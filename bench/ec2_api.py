"""Write the tables of actions in docs/ec2-api.md, and the list of EC2's action names.

python -m bench.ec2_api           write the page; with botocore, objstore/ec2/actions.txt too
python -m bench.ec2_api --check   exit with status 1 if the page is not current
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from objstore.ebs.table import OPERATIONS
from objstore.ec2.action import Action
from objstore.ec2.face import known_actions
from objstore.ec2.parameters import Ignored, Kind, ListOf, Refused, Struct
from objstore.ec2.table import ACTIONS, FAMILIES

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "ec2-api.md"
NAMES = ROOT / "objstore" / "ec2" / "actions.txt"
BEGIN, END = "<!-- actions -->\n", "<!-- end of actions -->\n"
MOST_NAMES = 40


def render(page: str) -> str:
    """The page with its generated part made anew."""
    head, _, rest = page.partition(BEGIN)
    _, _, tail = rest.partition(END)
    return f"{head}{BEGIN}\n{_tables()}\n{END}{tail}"


def _tables() -> str:
    lines = [
        f"{len(ACTIONS)} of EC2's {len(known_actions())} actions are offered; the others answer "
        "`501 UnsupportedOperation`, and what is no action at all `400 InvalidAction`. Not "
        "offered: parameters whose presence is `501 UnsupportedOperation`. No effect: "
        "parameters that are taken, and change nothing."
    ]
    for family, rows in FAMILIES.items():
        lines += ["", f"### {family}", "", "| Action | Not offered | No effect |", "|---|---|---|"]
        lines += [_line(row) for row in sorted(rows, key=lambda row: row.name)]
    lines += ["", "### EBS direct APIs", "", "| Operation | Request |", "|---|---|"]
    for operation in OPERATIONS:
        path = "/".join(operation.path)
        lines.append(f"| {operation.name} | `{operation.method} /{path}` |")
    lines += ["", "### Filters", "", "| Action | Filters |", "|---|---|"]
    lines += [
        _filters(row) for row in sorted(ACTIONS.values(), key=lambda r: r.name) if row.filters
    ]
    return "\n".join(lines) + "\n"


def _line(row: Action) -> str:
    refused = _code(_named(row.table, Refused))
    ignored = _code(_named(row.table, Ignored))
    return f"| {row.name} | {refused} | {ignored} |"


def _filters(row: Action) -> str:
    if len(row.filters) > MOST_NAMES:
        return f"| {row.name} | all {len(row.filters)} that EC2 documents |"
    return f"| {row.name} | {_code(row.filters)} |"


def _code(names: Iterator[str] | tuple[str, ...]) -> str:
    return ", ".join(f"`{name}`" for name in sorted(names))


def _named(kind: Kind, wanted: type[Kind], prefix: str = "") -> Iterator[str]:
    """The parameters of a kind, those inside structures and lists by their path."""
    if isinstance(kind, ListOf):
        yield from _named(kind.item, wanted, f"{prefix}N.")
    elif isinstance(kind, Struct):
        for name, member in kind.members.items():
            if isinstance(member, wanted):
                yield prefix + name
            else:
                yield from _named(member, wanted, f"{prefix}{name}.")


def _write_names() -> None:
    import botocore.session

    model = botocore.session.get_session().get_service_model("ec2")
    NAMES.write_text("\n".join(sorted(model.operation_names)) + "\n", "ascii")


def main(arguments: list[str]) -> int:
    """Write or check the page; the exit status."""
    page = PAGE.read_text("utf-8")
    if "--check" in arguments:
        return int(render(page) != page)
    _write_names()
    known_actions.cache_clear()
    PAGE.write_text(render(page), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
