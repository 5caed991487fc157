"""``blockdev plan``: one workload on several volume types, side by side, before any is paid for."""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, TextIO

from blockdev.chart import ChartError, Line, check_format, write_chart
from blockdev.credits import NS_PER_S, Limits
from blockdev.instance_store import INSTANCE_STORES
from blockdev.iolog import IologError, read_iolog
from blockdev.model import GIB, MIB, ServiceError, VolumeSpec
from blockdev.pattern import Pattern, PatternError, parse_pattern
from blockdev.profiles import VOLUME_TYPES, limits, monthly_price_usd, resolve
from blockdev.simulate import Outcome, simulate
from blockdev.workload import MAX_DEPTH, Workload, from_iolog

MAX_CANDIDATES: Final = 32
DEFAULT_DEPTH: Final = 32
SECONDS_PER_MONTH: Final = 730 * 3_600
"""A month as AWS bills it: 730 hours."""

QUANTILES: Final = (0.5, 0.9, 0.99, 0.999)
HEADER: Final = (
    *("type", "IOPS", "MiB/s", "p50", "p90", "p99", "p99.9", "max"),
    *("held up", "took", "credits", "$/month"),
)

DESCRIPTION: Final = """\
Replays a workload in virtual time on each type and prints latencies, IOPS and throughput
delivered, when credits run out, and the price of the volume a month (us-east-1, July 2024).

WORKLOAD is an iolog of fio, version 2 or 3 (fio --write_iolog, or "-" for standard input), or
a pattern, all parts of which have defaults:

  rate=5000,size=16k,read=70%,random=100%,duration=1h,depth=32,span=50g,arrivals=even

  rate      I/Os a second; without it as many as the volume does
  size      of each I/O (4k)
  read      share of reads (100%)
  random    share of random I/O; the rest goes on where the last one ended (100%)
  duration  s, m, h or d (60s)
  depth     I/Os under way at once, at most (32)
  span      the part of the volume that is used (the whole of the smallest)
  arrivals  even, or poisson, as of independent clients (even)

TYPE is gp2:GIB, gp3:GIB[:IOPS[:MIBPS]], io1:GIB:IOPS, io2:GIB:IOPS, st1:GIB, sc1:GIB,
standard:GIB, or an instance type for the disks inside it, such as i4i.large.
"""


class PlanError(Exception):
    """What was asked for is not right; the message names the part that is wrong."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A volume to compare.  `spec`: None for instance-store disks, whose price the instance has."""

    label: str
    limits: Limits
    size_bytes: int
    spec: VolumeSpec | None


@dataclass(frozen=True, slots=True)
class Row:
    """A candidate and what came of it."""

    candidate: Candidate
    outcome: Outcome
    price_usd: float | None


def add_parser(commands: Any) -> None:
    """Add ``plan`` to the subcommands of an argparse parser.

    `commands` is what ``add_subparsers`` returned; ``arguments.run(arguments)`` is then `run`.
    """
    parser = commands.add_parser(
        "plan",
        help="a workload on several volume types: latencies, credits, price",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("workload", metavar="WORKLOAD")
    parser.add_argument(
        *("-t", "--type"),
        metavar="TYPE",
        dest="types",
        action="append",
        required=True,
        help="what to run it on; repeat it to compare",
    )
    parser.add_argument(
        "--depth", type=int, help="I/Os of an iolog under way at once (32; version 2: 1)"
    )
    parser.add_argument(
        "--credits",
        type=float,
        default=100.0,
        metavar="PERCENT",
        help="how full the burst buckets are at the start (100, as of new volumes)",
    )
    parser.add_argument("--seed", type=int, default=1, help="another seed, another luck (1)")
    parser.add_argument(
        *("--chart", "-o"),
        metavar="FILE",
        type=Path,
        help="draw IOPS and credits over time: FILE.html or FILE.png",
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """0 when all was simulated; 2, with a sentence on standard error, for what is wrong."""
    try:
        plan(arguments, sys.stdout, sys.stderr)
    except (PlanError, PatternError, ChartError, IologError) as error:
        print(f"blockdev plan: {error}", file=sys.stderr)
        return 2
    return 0


def plan(arguments: argparse.Namespace, output: TextIO, notes: TextIO) -> None:
    """Compare what the command line names.

    Raises:
        PlanError, PatternError, ChartError, IologError: as their messages say.
    """
    if len(arguments.types) > MAX_CANDIDATES:
        raise PlanError(f"at most {MAX_CANDIDATES} types at a time")
    if not 0 <= arguments.credits <= 100:
        raise PlanError(f"credits are from 0 to 100 percent, not {arguments.credits:g}")
    if arguments.chart:
        check_format(arguments.chart)
    candidates = [parse_candidate(text) for text in arguments.types]
    smallest_bytes = min(candidate.size_bytes for candidate in candidates)
    workload = load_workload(arguments.workload, arguments.depth, smallest_bytes, arguments.seed)
    for candidate in candidates:
        if workload.span_bytes > candidate.size_bytes:
            print(
                f"note: the workload reaches to {workload.span_bytes / GIB:,.2f} GiB, "
                f"{candidate.label} ends at {candidate.size_bytes / GIB:,.0f} GiB",
                file=notes,
            )
    share, rows = arguments.credits / 100, []
    for number, candidate in enumerate(candidates, 1):
        if notes.isatty():
            print(f"{candidate.label} ({number} of {len(candidates)}) ...", file=notes, flush=True)
        rows.append(compare(candidate, workload, arguments.seed, share))
    table = [HEADER, *map(cells, rows)]
    if arguments.json:
        print(json.dumps(as_document(workload, rows), indent=1), file=output)
    else:
        print(workload.title, "", *aligned(table), sep="\n", file=output)
    if arguments.chart:
        write_chart(arguments.chart, workload.title, [line_of(row) for row in rows], table)


def compare(
    candidate: Candidate, workload: Workload, seed: int = 1, credit_share: float = 1.0
) -> Row:
    """Run the workload on one candidate."""
    outcome = simulate(workload, candidate.limits, seed=seed, credit_share=credit_share)
    price = None
    if candidate.spec is not None:
        price = monthly_price_usd(candidate.spec, outcome.iops * SECONDS_PER_MONTH)
    return Row(candidate, outcome, price)


def line_of(row: Row) -> Line:
    """What the chart draws of a row."""
    return Line(row.candidate.label, row.outcome.course, row.outcome.credits_full)


def parse_candidate(text: str) -> Candidate:
    """``gp2:100``, ``gp3:100:6000:250``, ``i4i.large``.

    Raises:
        PlanError: no such type, or one that EC2 would not make.
    """
    name, *fields = text.strip().split(":")
    store = INSTANCE_STORES.get(name)
    if store is not None and not fields:
        return Candidate(name, store.limits(), store.disks * store.disk_bytes, None)
    if name not in VOLUME_TYPES:
        known = ", ".join([*VOLUME_TYPES, *INSTANCE_STORES])
        raise PlanError(f"unknown type {text!r}; known are {known}")
    if not 1 <= len(fields) <= 3 or not all(re.fullmatch("[0-9]{1,9}", f) for f in fields):
        raise PlanError(f"{text!r} is not {name}:GIB, {name}:GIB:IOPS or {name}:GIB:IOPS:MIBPS")
    size_gib, *provisioned = map(int, fields)
    try:
        spec = resolve(VolumeSpec(name, size_gib, *provisioned))
    except ServiceError as error:
        raise PlanError(f"{text}: {error.message}") from error
    return Candidate(text, limits(spec), size_gib * GIB, spec)


def load_workload(text: str, depth: int | None, smallest_bytes: int, seed: int) -> Workload:
    """A file, standard input, or a pattern.

    Raises:
        PlanError: none of these.
        PatternError, IologError: a part or a line of it is wrong.
    """
    if depth is not None and not 1 <= depth <= MAX_DEPTH:
        raise PlanError(f"a depth is from 1 to {MAX_DEPTH:,}, not {depth}")
    if text == "-":
        return _replay(sys.stdin, "standard input", depth)
    path = Path(text)
    if path.is_file():
        try:
            with path.open(encoding="utf-8", errors="surrogateescape") as file:
                return _replay(file, path.name, depth)
        except OSError as error:
            raise PlanError(f"cannot read {path}: {error.strerror}") from error
    if "=" not in text:
        raise PlanError(f"{text!r} is neither a file nor a pattern such as rate=1000,size=16k")
    pattern = parse_pattern(text, Pattern(span_bytes=smallest_bytes, seed=seed))
    return (pattern if depth is None else replace(pattern, depth=depth)).workload()


def _replay(lines: TextIO, name: str, depth: int | None) -> Workload:
    log = read_iolog(lines, name)
    return from_iolog(log, name, depth or (DEFAULT_DEPTH if log.is_paced else 1))


def cells(row: Row) -> tuple[str, ...]:
    """A row of the table."""
    outcome = row.outcome
    latencies = [outcome.latencies.quantile_ns(share) for share in QUANTILES]
    return (
        row.candidate.label,
        f"{outcome.iops:,.0f}",
        f"{outcome.bytes_per_s / MIB:,.1f}",
        *(in_words(ns / NS_PER_S) for ns in (*latencies, outcome.latencies.longest_ns)),
        f"{outcome.delayed / max(1, outcome.ios):.1%}",
        in_words(outcome.elapsed_ns / NS_PER_S),
        _credits(outcome),
        "-" if row.price_usd is None else f"{row.price_usd:,.2f}",
    )


def _credits(outcome: Outcome) -> str:
    if outcome.credits_full is None or outcome.credits_left is None:
        return "-"
    if outcome.credits_gone_ns is not None:
        return f"gone after {in_words(outcome.credits_gone_ns / NS_PER_S)}"
    return f"{outcome.credits_left / outcome.credits_full:.0%} left"


def in_words(seconds: float) -> str:
    """A duration in one unit, or in its two largest from a minute on."""
    if seconds < 1:
        return f"{seconds * 1e3:.2f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    for size, name, less, least in ((86_400, "d", 3_600, "h"), (3_600, "h", 60, "min")):
        if whole >= size:
            return f"{whole // size} {name} {whole % size // less} {least}"
    return f"{whole // 60} min {whole % 60} s"


def aligned(table: Sequence[Sequence[str]]) -> list[str]:
    """Lines with the first column to the left and the others to the right."""
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if number == 0 else cell.rjust(width)
            for number, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in table
    ]


def as_document(workload: Workload, rows: Sequence[Row]) -> dict[str, Any]:
    """The comparison for programs: seconds, bytes, and latencies in nanoseconds."""
    return {"workload": workload.title, "types": [_as_entry(row) for row in rows]}


def _as_entry(row: Row) -> dict[str, Any]:
    outcome = row.outcome
    gone_ns = outcome.credits_gone_ns
    return {
        "type": row.candidate.label,
        "ios": outcome.ios,
        "iops": outcome.iops,
        "bytes_per_s": outcome.bytes_per_s,
        "latency_ns": {
            **{f"p{share * 100:g}": outcome.latencies.quantile_ns(share) for share in QUANTILES},
            "max": outcome.latencies.longest_ns,
        },
        "delayed": outcome.delayed,
        "elapsed_s": outcome.elapsed_ns / NS_PER_S,
        "credits_gone_after_s": None if gone_ns is None else gone_ns / NS_PER_S,
        "credits_left": outcome.credits_left,
        "credits_full": outcome.credits_full,
        "monthly_price_usd": row.price_usd,
    }
