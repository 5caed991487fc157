"""``python -m bench``: measure the engine and the HTTP front, on request beside other stores."""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from bench.fleet import GeneratorFailed
from bench.machine import describe
from bench.measure import Measurement, WorkloadFailed
from bench.report import (
    Report,
    as_markdown,
    as_text,
    compare,
    find_warnings,
    summarise_rounds,
    write_json,
)
from bench.run import print_progress, run_embedded, run_http
from bench.signing import Credentials
from bench.targets import AGAINST, Objstore, SeaweedFS, Target, TargetFailed, remote
from bench.wire import BadResponse
from bench.workloads import EMBEDDED_WORKLOADS, MIB, WORKLOADS, Parameters, Workload

QUICK = Parameters(
    seconds=0.1,
    rounds=1,
    large_bytes=4 * MIB,
    preloaded_keys=1000,
    large_keys=2,
    requests_per_s=5_000,
)
QUICK_WORKLOADS = ("embedded", "4KiB x16", "LIST", "x4")


UNCHANGED = 0.95
"""What a new version may lose of the rate of an old one, before it counts as a loss."""


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    add = parser.add_argument
    add(
        "--only",
        metavar="TEXT",
        action="append",
        help="workloads whose name holds TEXT; repeatable",
    )
    add("--rounds", type=int, help="windows of each workload on each target (default 3)")
    add("--seconds", type=float, help="length of a window (default 2)")
    add(
        "--workers",
        type=int,
        action="append",
        help="worker processes of objstore (default 2); repeatable",
    )
    add("--generators", type=int, default=1, help="processes that make the load (default 1)")
    add("--peer", choices=["seaweedfs"], help="measure this server too, in alternation")
    add(
        "--against",
        type=Path,
        metavar="DIR",
        help="measure the objstore of this checkout too, in alternation; it has its own .venv",
    )
    add("--no-objstore", action="store_true", help="measure the peer alone")
    add("--no-embedded", action="store_true", help="HTTP alone")
    add("--no-http", action="store_true", help="embedded alone")
    add("--endpoint", metavar="URL", help="an S3 server that runs already, instead of objstore")
    keys = os.environ.get("AWS_ACCESS_KEY_ID", ""), os.environ.get("AWS_SECRET_ACCESS_KEY", "")
    add("--access-key", default=keys[0], help="for --endpoint (AWS_ACCESS_KEY_ID)")
    add("--secret-key", default=keys[1], help="for --endpoint (AWS_SECRET_ACCESS_KEY)")
    add("--pid", type=int, help="process of --endpoint, to measure its CPU and memory")
    add(
        "--dir",
        type=Path,
        help="where to put the data (default: the directory for temporary files)",
    )
    add("--markdown", type=Path, metavar="FILE", help="write the figures as tables to FILE")
    add("--json", type=Path, metavar="FILE", help="write every figure to FILE")
    add(
        "--quick",
        action="store_true",
        help="seconds instead of minutes: shows that it works, not how fast",
    )
    return parser.parse_args(arguments)


def choose(workloads: Sequence[Workload], arguments: argparse.Namespace) -> list[Workload]:
    """Those that the command line asks for."""
    wanted = arguments.only or (QUICK_WORKLOADS if arguments.quick else [""])
    return [workload for workload in workloads if any(text in workload.name for text in wanted)]


def servers(arguments: argparse.Namespace, root: Path) -> list[Callable[[], Target]]:
    """What starts each server that is to be measured."""
    starts: list[Callable[[], Target]] = []
    if arguments.endpoint:
        keys = Credentials(arguments.access_key, arguments.secret_key)
        starts.append(partial(remote, arguments.endpoint, keys, arguments.pid))
    elif not arguments.no_objstore:
        counts = arguments.workers or [2]
        starts += [partial(Objstore, root / f"objstore-{n}", n) for n in counts]
    if arguments.against:
        workers = (arguments.workers or [2])[0]
        starts.append(partial(Objstore, root / "against", workers, arguments.against))
    if arguments.peer == "seaweedfs":
        starts.append(partial(SeaweedFS, root / "seaweedfs"))
    return starts


def measure(arguments: argparse.Namespace, parameters: Parameters, root: Path) -> list[Measurement]:
    """Everything that the command line asks for, with data below `root`."""
    measurements: list[Measurement] = []
    embedded = choose(EMBEDDED_WORKLOADS, arguments)
    if embedded and not arguments.no_embedded:
        names = ["sqlite"] if arguments.no_objstore else ["objstore", "sqlite"]
        measurements += run_embedded(root, names, embedded, parameters, print_progress)
    http = choose(WORKLOADS, arguments)
    starts = servers(arguments, root)
    if http and starts and not arguments.no_http:
        generators = arguments.generators
        measurements += run_http(starts, http, parameters, generators, print_progress)
    return measurements


def report_on(
    measurements: list[Measurement],
    arguments: argparse.Namespace,
    parameters: Parameters,
    started: str,
    root: Path,
) -> Report:
    """Lines, ratios and warnings of a run."""
    lines = summarise_rounds(measurements)
    ratios = compare(lines, EMBEDDED_WORKLOADS, "sqlite")
    if arguments.against:
        ratios += compare(lines, WORKLOADS, AGAINST, UNCHANGED)
    if arguments.peer:
        ratios += compare(lines, WORKLOADS, arguments.peer)
    machine = describe(root)
    warnings = find_warnings(measurements, lines)
    if machine.filesystem == "tmpfs":
        warnings.append("the data lay in memory (tmpfs): writes say nothing; give --dir")
    command = shlex.join(["python", "-m", "bench", *sys.argv[1:]])
    return Report(machine, parameters, command, started, measurements, lines, ratios, warnings)


def settle_parameters(arguments: argparse.Namespace) -> Parameters:
    """The sizes of this run."""
    parameters = QUICK if arguments.quick else Parameters()
    if arguments.seconds is not None:
        parameters = replace(parameters, seconds=arguments.seconds)
    if arguments.rounds is not None:
        parameters = replace(parameters, rounds=arguments.rounds)
    return parameters


def main(argv: Sequence[str]) -> int:
    """0 when every answer was right, 1 when one was wrong or a server failed."""
    arguments = parse(argv)
    parameters = settle_parameters(arguments)
    started = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    root = Path(tempfile.mkdtemp(prefix="objstore-bench-", dir=arguments.dir))
    try:
        measurements = measure(arguments, parameters, root)
        if not measurements:
            print("nothing to measure: no workload of that name", file=sys.stderr)
            return 1
        report = report_on(measurements, arguments, parameters, started, root)
    except (TargetFailed, WorkloadFailed, GeneratorFailed, BadResponse, OSError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    finally:
        shutil.rmtree(root, ignore_errors=True)
    print(as_text(report, EMBEDDED_WORKLOADS))
    if arguments.markdown:
        text = as_markdown(report, EMBEDDED_WORKLOADS)
        arguments.markdown.write_text(text + "\n", encoding="utf-8")
    if arguments.json:
        write_json(report, arguments.json)
    return 1 if report.errors else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
