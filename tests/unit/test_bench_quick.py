"""`python -m bench --quick`: every workload small, so that the benchmarks never rot."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.__main__ import main
from tests.unit.bench_server import toy_server


def test_quick_measures_engine_and_http(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = tmp_path / "report.json"
    status = main(["--quick", "--dir", str(tmp_path), "--json", str(report)])
    output = capsys.readouterr()
    assert status == 0, output.out + output.err
    document = json.loads(report.read_text())
    assert document["errors"] == []
    measured = {(line["workload"], line["target"]) for line in document["lines"]}
    operations = (
        "PUT 4KiB x16",
        "GET 4KiB x16",
        "LIST 1000 x16",
        "DELETE 4KiB x16",
        "PUT 64MiB x4",
    )
    assert measured >= {(operation, "objstore w2") for operation in operations}
    assert measured >= {
        (f"embedded {operation}", store)
        for operation in ("PUT 4KiB x1", "PUT 4KiB x16", "GET 4KiB x1", "GET 64MiB x1")
        for store in ("objstore", "sqlite")
    }
    for line in document["lines"]:
        assert line["rate"] > 0
        assert line["p50_us"] <= line["p99_us"]
        assert line["peak_memory_bytes"] > 0
    assert [path.name for path in tmp_path.iterdir()] == ["report.json"]  # it cleans up


def test_sqlite_alone_with_no_server(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--quick", "--no-objstore", "--only", "embedded PUT 4KiB", "--seconds", "0.05"]
    assert main([*arguments, "--dir", str(tmp_path)]) == 0
    assert "embedded PUT 4KiB x16   sqlite " in capsys.readouterr().out


def test_a_server_that_checks_no_signature_is_not_measured(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with toy_server() as server:
        server.objects["/"] = b""
        url = f"http://127.0.0.1:{server.endpoint.port}"
        status = main(["--quick", "--no-embedded", "--endpoint", url])
    assert status == 1
    assert "does not refuse a wrong signature" in capsys.readouterr().err


def test_a_workload_that_does_not_exist_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--quick", "--only", "no such thing"]) == 1
    assert "no workload of that name" in capsys.readouterr().err
