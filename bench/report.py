"""Medians over the rounds, ratios beside their targets, as a table and as JSON."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench.machine import Machine, speed_warning
from bench.measure import Measurement
from bench.workloads import Parameters, Workload

BUSY_CORES = 0.2
OWN = "objstore"
HEADER = (
    f"{'workload':24}{'target':16}{'rate':>10}{'':6}{'p50 ms':>9}{'p99 ms':>9}{'CPU µs':>10}"
    f"{'MiB':>7}{'spread':>9}"
)


@dataclass
class Line:
    """A workload on one target: medians over the rounds; `spread` is (highest - lowest) / median.

    Units as in `Measurement`; `peak_memory_bytes` is the highest of all rounds.
    """

    workload: str
    target: str
    unit: str
    rounds: int
    rate: float
    spread: float
    p50_us: float
    p99_us: float
    cpu_us: float | None
    client_cpu_us: float | None
    peak_memory_bytes: int | None
    other_cores: float | None


@dataclass
class Ratio:
    """A rate as a multiple of the peer's, from the medians; `target` None where none is set."""

    workload: str
    target: str
    peer: str
    ratio: float
    wanted: float | None


@dataclass
class Report:
    """All of a run."""

    machine: Machine
    parameters: Parameters
    command: str
    started: str
    measurements: list[Measurement]
    lines: list[Line]
    ratios: list[Ratio]
    warnings: list[str]

    @property
    def errors(self) -> list[str]:
        """Each wrong answer, with where it came from."""
        return [
            f"{m.workload} on {m.target}, round {m.round + 1}: {error}"
            for m in self.measurements
            for error in m.errors
        ]


def summarise_rounds(measurements: Sequence[Measurement]) -> list[Line]:
    """A line for each workload and target, in the order in which they first appear."""
    groups: dict[tuple[str, str], list[Measurement]] = {}
    for measurement in measurements:
        groups.setdefault((measurement.workload, measurement.target), []).append(measurement)
    return [_line(group) for group in groups.values()]


def _line(group: Sequence[Measurement]) -> Line:
    rates = [m.rate for m in group]
    rate = statistics.median(rates)
    return Line(
        workload=group[0].workload,
        target=group[0].target,
        unit=group[0].unit,
        rounds=len(group),
        rate=rate,
        spread=(max(rates) - min(rates)) / rate if rate else 0.0,
        p50_us=statistics.median(m.p50_us for m in group),
        p99_us=statistics.median(m.p99_us for m in group),
        cpu_us=_median([m.cpu_us for m in group]),
        client_cpu_us=_median([m.client_cpu_us for m in group]),
        peak_memory_bytes=max((m.peak_memory_bytes or 0 for m in group), default=0) or None,
        other_cores=_median([m.other_cores for m in group]),
    )


def _median(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None


def compare(
    lines: Sequence[Line],
    workloads: Sequence[Workload],
    peer: str,
    wanted_ratio: float | None = None,
) -> list[Ratio]:
    """Every other target's rate over the peer's, workload by workload.

    `wanted_ratio`: of all workloads; None for what each wants of a peer.
    """
    wanted = {workload.name: wanted_ratio or workload.target_ratio for workload in workloads}
    peers = {line.workload: line.rate for line in lines if line.target == peer}
    return [
        Ratio(
            line.workload,
            line.target,
            peer,
            line.rate / peers[line.workload],
            wanted[line.workload],
        )
        for line in lines
        if line.target != peer and peers.get(line.workload)
    ]


def find_warnings(measurements: Sequence[Measurement], lines: Sequence[Line]) -> list[str]:
    """What makes the figures doubtful: a machine that changed speed or had other work."""
    warnings = []
    if warning := speed_warning([m.calibration_ms for m in measurements]):
        warnings.append(warning)
    busy = [m.other_cores for m in measurements if m.other_cores is not None]
    disturbed = sum(cores > BUSY_CORES for cores in busy)
    if disturbed:
        warnings.append(
            f"other work took over {BUSY_CORES} cores in {disturbed} of {len(busy)} windows "
            f"(median {statistics.median(busy):.2f} cores)"
        )
    noisy = [f"{line.workload} on {line.target}" for line in lines if line.spread > 0.5]
    if noisy:
        warnings.append("rounds differ by over half of their median: " + "; ".join(noisy))
    return warnings


def as_text(report: Report, workloads: Sequence[Workload]) -> str:
    """The report for a terminal."""
    machine, sizes = report.machine, report.parameters
    parts = [
        f"{machine.cpu}, {machine.cores} cores, {machine.memory_bytes / 2**30:.1f} GiB, "
        f"Linux {machine.kernel}, {machine.filesystem}",
        f"Python {machine.python}, commit {machine.commit}, "
        + ", ".join(f"{name} {version}" for name, version in machine.versions.items()),
        f"{sizes.rounds} rounds of {sizes.seconds:g} s, medians; CPU is the server's for an "
        f"operation; large objects have {sizes.large_bytes / 2**20:g} MiB",
        "",
        HEADER,
        *map(_line_text, report.lines),
    ]
    parts += _targets_text(report.lines, workloads)
    if report.ratios:
        parts += ["", f"{'':24}{'':16}{'ratio':>10}  wanted", *map(_ratio_text, report.ratios)]
    parts += [f"warning: {warning}" for warning in report.warnings]
    parts += [f"ERROR: {error}" for error in report.errors]
    return "\n".join(parts)


def _line_text(line: Line) -> str:
    cpu = "-" if line.cpu_us is None else f"{line.cpu_us:.1f}"
    memory = "-" if line.peak_memory_bytes is None else f"{line.peak_memory_bytes / 2**20:.0f}"
    return (
        f"{line.workload:24}{line.target:16}{line.rate:10,.0f} {line.unit:5}"
        f"{line.p50_us / 1e3:9.3f}{line.p99_us / 1e3:9.3f}{cpu:>10}{memory:>7}{line.spread:9.0%}"
    )


def _targets_text(lines: Sequence[Line], workloads: Sequence[Workload]) -> list[str]:
    wanted = {w.name: w.target_rate for w in workloads if w.target_rate}
    return [
        f"{line.workload} of {line.target}: {line.rate:,.0f} {line.unit}, wanted {rate:,.0f}: "
        + ("reached" if line.rate >= rate else "MISSED")
        for line in lines
        if line.target.startswith(OWN) and (rate := wanted.get(line.workload))
    ]


def _ratio_text(ratio: Ratio) -> str:
    verdict = ""
    if ratio.wanted:
        verdict = f"≥ {ratio.wanted:g}×  {'reached' if ratio.ratio >= ratio.wanted else 'MISSED'}"
    return f"{ratio.workload:24}{ratio.target:16}{ratio.ratio:9.2f}×  {verdict}"


def as_markdown(report: Report, workloads: Sequence[Workload]) -> str:
    """The report for a page of the documentation: the run, and a row for each line."""
    machine = report.machine
    ratios = {(ratio.workload, ratio.target): ratio for ratio in report.ratios}
    versions = ", ".join(f"{name} {version}" for name, version in machine.versions.items())
    parts = [
        f"- started {report.started}, commit `{machine.commit}`: `{report.command}`",
        f"- {machine.cpu}, {machine.cores} cores, {machine.memory_bytes / 2**30:.1f} GiB, "
        f"Linux {machine.kernel}, {machine.filesystem}",
        f"- Python {machine.python}, {versions}",
        *(f"- warning: {warning}" for warning in report.warnings),
        "",
        "| workload | target | rate | p50 ms | p99 ms | CPU µs | peak MiB | ratio | wanted |",
        "|---|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    wanted_rates = {w.name: w.target_rate for w in workloads}
    for line in report.lines:
        ratio = ratios.get((line.workload, line.target))
        parts.append(_line_markdown(line, ratio, wanted_rates.get(line.workload)))
    return "\n".join(parts)


def _line_markdown(line: Line, ratio: Ratio | None, wanted_rate: float | None) -> str:
    cpu = "" if line.cpu_us is None else f"{line.cpu_us:,.0f}"
    memory = "" if line.peak_memory_bytes is None else f"{line.peak_memory_bytes / 2**20:.0f}"
    wanted = f"≥ {ratio.wanted:g}×" if ratio and ratio.wanted else ""
    if wanted_rate and line.target.startswith(OWN):
        wanted = f"≥ {wanted_rate:,.0f}"
    cells = [
        line.workload,
        line.target,
        f"{line.rate:,.0f} {line.unit}",
        f"{line.p50_us / 1e3:.2f}",
        f"{line.p99_us / 1e3:.2f}",
        cpu,
        memory,
        f"{ratio.ratio:.2f}×" if ratio else "",
        wanted,
    ]
    return "| " + " | ".join(cells) + " |"


def as_json(report: Report) -> str:
    """The whole report, every window included."""
    document: dict[str, Any] = asdict(report)
    document["errors"] = report.errors
    return json.dumps(document, indent=1, ensure_ascii=False)


def write_json(report: Report, path: Path) -> None:
    """Write the report to a file."""
    path.write_text(as_json(report) + "\n", encoding="utf-8")
