"""Directories for tests: seeded, on a clock that stands still until told otherwise."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from blockdev.clock import ManualClock
from objstore.entropy import SeededEntropy
from objstore.iam import Directory
from tests.keys import Keys

MAIN = "000000000000"
START_NS = 1_795_000_000 * 10**9
READ = "arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess"


class Directories:
    """Opens directories over one folder, as several processes would have them."""

    def __init__(self, path: Path, seed: int) -> None:
        self.path = path
        self.clock = ManualClock(START_NS)
        self._keys = Keys(path, seed)
        self._keys.clock = self.clock
        self._seed = seed

    def open(self) -> Directory:
        """Another one over the folder."""
        self._seed += 1
        return Directory(self.path, self.clock, SeededEntropy(self._seed), self._keys.open())


def document(action: Any = "s3:*", resource: Any = "*", effect: str = "Allow", **more: Any) -> str:
    """A policy of an identity with one statement."""
    statement = {"Effect": effect, "Action": action, "Resource": resource, **more}
    return json.dumps({"Version": "2012-10-17", "Statement": statement})


def trust(principal: Any, action: str = "sts:AssumeRole", **more: Any) -> str:
    """A role's trust policy with one statement."""
    statement = {"Effect": "Allow", "Principal": principal, "Action": action, **more}
    return json.dumps({"Version": "2012-10-17", "Statement": statement})
