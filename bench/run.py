"""A run: subjects made ready, workloads alternated between them, everything ended."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

from bench.embedded import EmbeddedSubject
from bench.fleet import Fleet
from bench.measure import Measurement, Server, Subject
from bench.targets import Target
from bench.workloads import Parameters, Workload

Progress = Callable[[Measurement], None]


def print_progress(measurement: Measurement) -> None:
    """One line a window, on standard error."""
    print(
        f"{measurement.workload} {measurement.target}: {measurement.rate:,.0f} {measurement.unit}",
        file=sys.stderr,
    )


def alternate(
    subjects: Sequence[Subject], workloads: Sequence[Workload], rounds: int, progress: Progress
) -> list[Measurement]:
    """Each workload on all subjects in turn: A B, B A, A B …, so that drift hits all alike."""
    measurements = []
    for workload in workloads:
        for round_number in range(rounds):
            order = subjects if round_number % 2 == 0 else list(reversed(subjects))
            for subject in order:
                measurement = subject.measure(workload, round_number)
                progress(measurement)
                measurements.append(measurement)
    return measurements


def run_http(
    starts: Sequence[Callable[[], Target]],
    workloads: Sequence[Workload],
    parameters: Parameters,
    generators: int,
    progress: Progress,
) -> list[Measurement]:
    """Start every server, measure them side by side, stop them."""
    with ExitStack() as stack:
        fleet = stack.enter_context(Fleet(generators))
        servers = []
        for start in starts:
            target = start()
            stack.callback(target.stop)
            servers.append(Server(target, fleet, parameters))
        for server in servers:
            server.prepare(workloads)
        return alternate(servers, workloads, parameters.rounds, progress)


def run_embedded(
    directory: Path,
    names: Sequence[str],
    workloads: Sequence[Workload],
    parameters: Parameters,
    progress: Progress,
) -> list[Measurement]:
    """Open every embedded store in a process of its own and measure them side by side."""
    with ExitStack() as stack:
        subjects = []
        for name in names:
            subject = EmbeddedSubject(name, directory / f"embedded-{name}", parameters)
            stack.callback(subject.stop)
            subjects.append(subject)
        for subject in subjects:
            subject.prepare(workloads)
        return alternate(subjects, workloads, parameters.rounds, progress)
