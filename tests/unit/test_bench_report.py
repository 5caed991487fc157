"""Figures in, medians and ratios out; what makes them doubtful is said."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.machine import describe, speed_warning
from bench.measure import Measurement, percentile
from bench.report import (
    Report,
    as_markdown,
    as_text,
    compare,
    find_warnings,
    summarise_rounds,
    write_json,
)
from bench.workloads import EMBEDDED_WORKLOADS, WORKLOADS, Parameters

PUT = "PUT 4KiB x16"
WINDOW = Measurement(
    target="objstore w2",
    workload=PUT,
    round=0,
    unit="op/s",
    operations=100,
    seconds=1.0,
    rate=100.0,
    p50_us=10.0,
    p99_us=20.0,
    calibration_ms=4.0,
    cpu_us=50.0,
    client_cpu_us=20.0,
    peak_memory_bytes=1 << 20,
    other_cores=0.0,
)


def windows(target: str, *rates: float, workload: str = PUT) -> list[Measurement]:
    """Rounds of one workload."""
    return [
        replace(WINDOW, target=target, round=number, rate=rate, workload=workload)
        for number, rate in enumerate(rates)
    ]


def report_of(measurements: list[Measurement]) -> Report:
    """A report as a run makes it."""
    lines = summarise_rounds(measurements)
    return Report(
        machine=describe(Path.cwd()),
        parameters=Parameters(),
        command="python -m bench",
        started="2026-01-01T00:00:00Z",
        measurements=measurements,
        lines=lines,
        ratios=compare(lines, WORKLOADS, "seaweedfs"),
        warnings=find_warnings(measurements, lines),
    )


@given(st.lists(st.integers(0, 10**9), min_size=1), st.floats(0.01, 1.0))
def test_percentile_is_the_least_value_that_covers_the_share(
    values: list[int], share: float
) -> None:
    values.sort()
    result = percentile(values, share)
    assert result in values
    assert sum(value <= result for value in values) >= share * len(values)
    assert sum(value < result for value in values) < share * len(values)


def test_percentile_of_nothing_is_no_number() -> None:
    assert math.isnan(percentile([], 0.5))


def test_lines_hold_medians_and_spread() -> None:
    measurements = windows("objstore w2", 100, 300, 120)
    measurements[1].peak_memory_bytes = 5 << 20
    measurements[2].cpu_us = None
    (line,) = summarise_rounds(measurements)
    assert (line.rate, line.rounds) == (120, 3)
    assert line.spread == pytest.approx(200 / 120)
    assert line.peak_memory_bytes == 5 << 20
    assert line.cpu_us == 50.0


def test_ratios_stand_beside_what_is_wanted() -> None:
    list_name = "LIST 1000 x16"
    measurements = [
        *windows("objstore w1", 300),
        *windows("objstore w2", 290, 310, 299),
        *windows("seaweedfs", 100, 90, 110),
        *windows("objstore w2", 500, workload=list_name),
        *windows("seaweedfs", 100, workload=list_name),
        *windows("objstore w2", 7, workload="HEAD 4KiB x1"),
    ]
    ratios = compare(summarise_rounds(measurements), WORKLOADS, "seaweedfs")
    assert [(r.workload, r.target, r.ratio, r.wanted) for r in ratios] == [
        (PUT, "objstore w1", 3.0, 3.0),
        (PUT, "objstore w2", 2.99, 3.0),
        (list_name, "objstore w2", 5.0, 4.0),
    ]
    text = as_text(report_of(measurements), EMBEDDED_WORKLOADS)
    assert text.count("reached") == 2
    assert text.count("MISSED") == 1


def test_targets_of_embedded_stores_are_of_objstore_alone() -> None:
    name = "embedded PUT 4KiB x16"
    measurements = [
        *windows("objstore", 14_999, workload=name),
        *windows("sqlite", 1, workload=name),
    ]
    text = as_text(report_of(measurements), EMBEDDED_WORKLOADS)
    assert "14,999 op/s, wanted 15,000: MISSED" in text
    assert text.count("wanted 15,000") == 1


def test_markdown_has_a_row_for_each_line() -> None:
    name = "embedded PUT 4KiB x1"
    measurements = [
        *windows("objstore", 4_000, workload=name),
        *windows("objstore w2", 290),
        *windows("seaweedfs", 100),
    ]
    rows = as_markdown(report_of(measurements), EMBEDDED_WORKLOADS).splitlines()[-3:]
    assert rows[0].startswith(f"| {name} | objstore | 4,000 op/s |")
    assert rows[0].endswith("|  | ≥ 5,000 |")
    assert rows[1].endswith("| 2.90× | ≥ 3× |")
    assert rows[2].endswith("|  |  |")


def test_errors_are_in_the_report(tmp_path: Path) -> None:
    measurements = windows("objstore w2", 1, 2)
    measurements[1].errors = ["status 500, not 200: b''"]
    report = report_of(measurements)
    wanted = f"{PUT} on objstore w2, round 2: status 500, not 200: b''"
    assert report.errors == [wanted]
    assert f"ERROR: {wanted}" in as_text(report, EMBEDDED_WORKLOADS)
    write_json(report, tmp_path / "report.json")
    document = json.loads((tmp_path / "report.json").read_text())
    assert document["errors"] == [wanted]
    assert [m["rate"] for m in document["measurements"]] == [1, 2]
    assert document["machine"]["cores"] >= 1


def test_doubtful_figures_are_called_so() -> None:
    calm = windows("objstore w2", 100, 101, 99)
    assert find_warnings(calm, summarise_rounds(calm)) == []
    calm[0].calibration_ms = 6.0
    calm[1].other_cores = 0.9
    calm[2].rate = 30
    speed, other, noisy = find_warnings(calm, summarise_rounds(calm))
    assert "changed speed" in speed
    assert "1 of 3 windows" in other
    assert PUT in noisy


@pytest.mark.parametrize(
    ("samples", "warns"),
    [([4.0], False), ([4.0, 4.5, 4.1], False), ([4.0, 5.0, 4.0], True), ([4.0, 4.0, 3.0], True)],
)
def test_a_machine_that_changes_speed_is_noticed(samples: list[float], warns: bool) -> None:
    assert (speed_warning(samples) is not None) == warns
