"""Measuring one server: a window of a workload, what it cost, and the state it left behind."""

from __future__ import annotations

import os
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from bench.fleet import Fleet
from bench.load import Outcome, Plan
from bench.machine import (
    busy_seconds,
    calibrate,
    cpu_seconds,
    peak_memory_bytes,
    reset_peak_memory,
)
from bench.targets import Target
from bench.wire import BadResponse
from bench.workloads import (
    BUCKET,
    LARGE_PREFIX,
    READ_PREFIX,
    Parameters,
    Workload,
    fill_plan,
    plan,
)


class WorkloadFailed(Exception):
    """A server answered wrongly while it was made ready."""


@dataclass
class Measurement:
    """One window of one workload on one server or library.

    `rate`: in `unit`; MB/s are 10^6 bytes.
    `cpu_us`: CPU time of the server for an operation, None when its processes are out of reach.
    `client_cpu_us`: CPU time of the load generator for an operation, None within one process.
    `peak_memory_bytes`: VmHWM of the server's processes in this window, added up.
    `other_cores`: how many cores anything else on the machine kept busy, on average.
    `calibration_ms`: CPU time of a fixed piece of work just before.
    """

    target: str
    workload: str
    round: int
    unit: str
    operations: int
    seconds: float
    rate: float
    p50_us: float
    p99_us: float
    calibration_ms: float
    cpu_us: float | None = None
    client_cpu_us: float | None = None
    peak_memory_bytes: int | None = None
    other_cores: float | None = None
    errors: list[str] = field(default_factory=list)


def percentile(ascending: Sequence[int], share: float) -> float:
    """The smallest value that at least `share` (above 0, to 1) of the values do not exceed."""
    if not ascending:
        return float("nan")
    rank = -int(-share * len(ascending) // 1)  # rounded up
    return float(ascending[max(1, rank) - 1])


class Usage:
    """CPU and memory of some processes, and of the whole machine, between start and stop."""

    def __init__(self, pids: Sequence[int], calibration_ms: float) -> None:
        self.calibration_ms = calibration_ms
        self.is_known = bool(pids)
        self._pids = pids
        self.cpu_s = 0.0
        self.machine_s = 0.0
        self.peak_memory_bytes = 0

    def start(self) -> None:
        """Begin; the processes' peak of memory is what they have now."""
        reset_peak_memory(self._pids)
        self.machine_s = -busy_seconds()
        self.cpu_s = -cpu_seconds(self._pids)

    def stop(self) -> None:
        """End; the attributes now hold what was used."""
        self.cpu_s += cpu_seconds(self._pids)
        self.machine_s += busy_seconds()
        self.peak_memory_bytes = peak_memory_bytes(self._pids)


def settle(pids: Sequence[int]) -> Usage:
    """Sync before a window, or one store pays for what another has left unsynced."""
    os.sync()
    return Usage(pids, calibrate())


class Subject(Protocol):
    """What a run measures: a server or an embedded store."""

    @property
    def name(self) -> str:
        """As the report has it."""
        ...

    def prepare(self, workloads: Sequence[Workload]) -> None:
        """Make ready for these workloads; raises when that fails."""
        ...

    def measure(self, workload: Workload, round_number: int) -> Measurement:
        """One window.  Wrong answers are in the result, not raised."""
        ...


class Server:
    """A server under measurement, and which keys it was given to delete later."""

    def __init__(self, target: Target, fleet: Fleet, parameters: Parameters) -> None:
        self.name = target.name
        self.target = target
        self._fleet = fleet
        self._parameters = parameters
        self._written: dict[str, list[int]] = {}  # by prefix: keys that each generator has put

    def prepare(self, workloads: Sequence[Workload]) -> None:
        """Make the bucket and store what the reads are to find.

        Raises:
            WorkloadFailed, BadResponse, OSError: the server answered wrongly or not at all.
            TargetFailed: it does not verify signatures.
        """
        parameters, endpoint = self._parameters, self.target.endpoint
        self.target.check_signatures()
        self._make_bucket()
        small = (READ_PREFIX, parameters.preloaded_keys, parameters.small_bytes)
        large = (LARGE_PREFIX, parameters.large_keys, parameters.large_bytes)
        for prefix, count, size_bytes in [small, large]:
            if prefix == LARGE_PREFIX and not any(workload.is_large for workload in workloads):
                continue
            self._require(self._drive(fill_plan(prefix, count, size_bytes, endpoint)), count)

    def _make_bucket(self) -> None:
        try:
            self.target.call("PUT", f"/{BUCKET}", 200)
        except BadResponse:
            self.target.call("HEAD", f"/{BUCKET}", 200)  # from an earlier run, and ours

    def measure(self, workload: Workload, round_number: int) -> Measurement:
        """One window.  Wrong answers are in the result, not raised."""
        prefix = f"put-{workload.connections}-{round_number}-"
        is_delete = workload.operation == "DELETE"
        if is_delete and prefix not in self._written:
            self._write_victims(workload, prefix)
        todo = plan(workload, self.target.endpoint, self._parameters, prefix)
        counts = self._written.pop(prefix) if is_delete else None
        usage = settle(self.target.pids())
        outcomes = self._drive(todo, counts, usage)
        usage.stop()
        if workload.operation == "PUT" and not workload.is_large:
            self._written[prefix] = [outcome.operations for outcome in outcomes]
        return summarise(self.name, workload, round_number, outcomes, usage, self._parameters)

    def _write_victims(self, workload: Workload, prefix: str) -> None:
        put = replace(workload, operation="PUT")
        outcomes = self._drive(plan(put, self.target.endpoint, self._parameters, prefix))
        self._require(outcomes, None)
        self._written[prefix] = [outcome.operations for outcome in outcomes]

    def _drive(
        self, todo: Plan, counts: Sequence[int] | None = None, usage: Usage | None = None
    ) -> list[Outcome]:
        plans = share_out(todo, self._fleet.size, counts)
        return self._fleet.run(plans, before=usage.start if usage else lambda: None)

    def _require(self, outcomes: list[Outcome], count: int | None) -> None:
        errors = [error for outcome in outcomes for error in outcome.errors]
        done = sum(outcome.operations for outcome in outcomes)
        if errors or count not in (None, done):
            reason = errors[0] if errors else f"{done} of {count} objects stored"
            raise WorkloadFailed(f"{self.target.name}: {reason}")


def summarise(
    name: str,
    workload: Workload,
    round_number: int,
    outcomes: Sequence[Outcome],
    usage: Usage,
    parameters: Parameters,
) -> Measurement:
    """Put together what the generators, or the threads of an embedded store, have seen."""
    merged = array("q")
    for outcome in outcomes:
        merged.extend(outcome.latencies_ns)
    latencies_ns = sorted(merged)
    seconds = (max(o.ended_ns for o in outcomes) - min(o.started_ns for o in outcomes)) / 1e9
    client_s = sum(outcome.cpu_ns for outcome in outcomes) / 1e9
    count = len(latencies_ns)
    size = parameters.large_bytes / 1e6 if workload.is_large else 1
    known = usage.is_known and count > 0
    return Measurement(
        target=name,
        workload=workload.name,
        round=round_number,
        unit=workload.unit,
        operations=count,
        seconds=seconds,
        rate=count * size / seconds,
        p50_us=percentile(latencies_ns, 0.50) / 1e3,
        p99_us=percentile(latencies_ns, 0.99) / 1e3,
        calibration_ms=usage.calibration_ms,
        cpu_us=usage.cpu_s / count * 1e6 if known else None,
        client_cpu_us=client_s / count * 1e6 if count and client_s else None,
        peak_memory_bytes=usage.peak_memory_bytes if known else None,
        other_cores=max(0.0, usage.machine_s - usage.cpu_s - client_s) / seconds,
        errors=[error for outcome in outcomes for error in outcome.errors],
    )


def share_out(todo: Plan, generators: int, counts: Sequence[int] | None = None) -> list[Plan]:
    """The plan divided among generators: connections evenly, keys in turn.

    `counts`: how many keys each may use; generator `g` has the keys ``g, g + n, g + 2n …``.
    """
    generators = min(generators, todo.connections)
    plans = []
    for number in range(generators):
        connections = todo.connections // generators + (number < todo.connections % generators)
        keys = todo.key_count
        if counts is not None:
            keys = number + counts[number] * generators if number < len(counts) else 0
        plans.append(
            replace(todo, first=number, step=generators, connections=connections, key_count=keys)
        )
    return plans
