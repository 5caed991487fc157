"""`objstore trail`: the record of calls, also while the store is served."""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from blockdev.clock import Clock, SystemClock
from blockdev.commands.output import print_table
from objstore.trail.reader import Wanted, events, who
from objstore.trail.recorder import FOLDER_NAME

_UNITS_S: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_AGO: Final = re.compile(r"(\d+)([smhd])")
_FOLLOW_S: Final = 1.0
_HEADINGS: Final = ("TIME", "WHO", "FROM", "SOURCE", "EVENT", "ABOUT", "OUTCOME", "MS")


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The command's arguments."""
    parser = commands.add_parser(
        "trail",
        help="who called what, and what came of it",
        description="Show the record of calls of the store in DATA_DIR, in CloudTrail's form "
        "with --json, also while it is served.",
    )
    parser.add_argument("data_dir", metavar="DATA_DIR", type=Path, nargs="?", default=Path("data"))
    parser.add_argument("--user", default="", metavar="NAME", help="of a user, a session, or root")
    parser.add_argument("--since", default="", metavar="TIME", help="30m, 1h, 7d; or ISO 8601")
    parser.add_argument("--event", default="", metavar="NAME", help="such as CreateBucket")
    parser.add_argument("--source", default="", metavar="SERVICE", help="s3, ec2, iam, ...")
    parser.add_argument("--bucket", default="", metavar="NAME")
    parser.add_argument("--errors", action="store_true", help="what was refused alone")
    parser.add_argument("--json", action="store_true", help="a line of JSON for each event")
    parser.add_argument("--follow", action="store_true", help="go on as more come")
    parser.set_defaults(run=run)


def _since(text: str, clock: Clock) -> str:
    """ISO 8601 in UTC, as events have it.

    Raises:
        ValueError: it is none.
    """
    if not text:
        return ""
    ago = _AGO.fullmatch(text)
    if ago:
        seconds = clock.now_ns() // 10**9 - int(ago[1]) * _UNITS_S[ago[2]]
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%SZ}"
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text!r} is neither 30m, 1h, 7d nor a time in ISO 8601") from None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def run(arguments: argparse.Namespace) -> int:
    """`objstore trail`; the exit status."""
    if not (arguments.data_dir / FOLDER_NAME).is_dir():
        print(f"objstore trail: there is no record in {arguments.data_dir}", file=sys.stderr)
        return 1
    clock = SystemClock()
    try:
        since = _since(arguments.since, clock)
    except ValueError as error:
        print(f"objstore trail: {error}", file=sys.stderr)
        return 1
    wanted = Wanted(
        since,
        arguments.user,
        arguments.event,
        arguments.source,
        arguments.bucket,
        arguments.errors,
    )
    if arguments.follow:
        _follow(arguments, wanted, clock)
    elif arguments.json:
        _print_lines(events(arguments.data_dir, wanted))
    else:
        print_table(_HEADINGS, map(_row, events(arguments.data_dir, wanted)))
    return 0


def _follow(arguments: argparse.Namespace, wanted: Wanted, clock: Clock) -> None:
    seen: set[str] = set()
    while True:
        fresh = [e for e in events(arguments.data_dir, wanted) if e.get("eventID") not in seen]
        seen.update(str(each.get("eventID")) for each in fresh)
        if arguments.json:
            _print_lines(fresh)
        else:
            for each in fresh:
                print("  ".join(map(str, _row(each))))
        sys.stdout.flush()
        clock.sleep_until(clock.monotonic_ns() + int(_FOLLOW_S * 1e9))


def _print_lines(found: Iterable[dict[str, Any]]) -> None:
    for each in found:
        print(json.dumps(each, ensure_ascii=False))


def _row(found: dict[str, Any]) -> list[object]:
    more = found.get("additionalEventData") or {}
    resources = found.get("resources") or []
    about = resources[0]["ARN"].removeprefix("arn:aws:s3:::") if resources else _about(found)
    return [
        found["eventTime"],
        who(found),
        found.get("sourceIPAddress", "-"),
        found["eventSource"].partition(".")[0],
        found["eventName"],
        about or "-",
        found.get("errorCode") or more.get("httpStatus", "-"),
        more.get("latencyMs", "-"),
    ]


def _about(found: dict[str, Any]) -> str:
    """What is first among the parameters."""
    parameters = found.get("requestParameters") or {}
    return next((str(value) for name, value in parameters.items() if name != "Host"), "")
