"""Finding events of the record again, in the files of all processes."""

from __future__ import annotations

import heapq
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from objstore.trail.recorder import FOLDER_NAME, OPEN, SENT, WHOLE


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which events; "" and False for any.

    `since`: ISO 8601 in UTC, as events have it.  `user`: a user's, a session's or a root's
    name.  `source`: such as ``s3``.
    """

    since: str = ""
    user: str = ""
    event: str = ""
    source: str = ""
    bucket: str = ""
    only_errors: bool = False

    def has(self, found: dict[str, Any]) -> bool:
        """Whether it is one of these."""
        return (
            found["eventTime"] >= self.since
            and self.user in ("", who(found), found["userIdentity"].get("userName", ""))
            and self.event in ("", found["eventName"])
            and self.source in ("", found["eventSource"].partition(".")[0])
            and self.bucket in ("", (found.get("requestParameters") or {}).get("bucketName", ""))
            and (not self.only_errors or "errorCode" in found)
        )


def who(found: dict[str, Any]) -> str:
    """Whom an event is of, for people."""
    identity = found["userIdentity"]
    if identity["type"] == "Root":
        return "root"
    arn = identity.get("arn", "")
    name = arn.partition("/")[2] if arn else identity.get("accountId", identity["type"])
    return str(identity.get("userName") or name)


def events(data_dir: Path, wanted: Wanted) -> Iterator[dict[str, Any]]:
    """Events in the order of their times, of all processes."""
    folders = sorted(path for path in (data_dir / FOLDER_NAME).glob("*") if path.is_dir())
    streams = [_of(folder, wanted) for folder in folders]
    return heapq.merge(*streams, key=_when)


def _when(found: dict[str, Any]) -> tuple[str, int]:
    return found["eventTime"], (found.get("additionalEventData") or {}).get("timeMs", 0)


def _of(folder: Path, wanted: Wanted) -> Iterator[dict[str, Any]]:
    paths = [path for path in folder.iterdir() if path.suffix in (OPEN, WHOLE, SENT)]
    for path in sorted(paths, key=lambda each: each.name):
        try:
            lines = path.read_bytes().split(b"\n")[:-1]
        except FileNotFoundError:  # sealed meanwhile
            lines = _renamed(path)
        # of one process's calls, the one that took longer comes later, and may be the earlier
        found = sorted((json.loads(line) for line in lines), key=_when)
        yield from filter(wanted.has, found)


def _renamed(path: Path) -> list[bytes]:
    for suffix in (WHOLE, SENT):
        other = path.with_suffix(suffix)
        if other.exists():
            return other.read_bytes().split(b"\n")[:-1]
    return []
