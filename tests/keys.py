"""Key services for tests: seeded, on a clock that stands still until told otherwise."""

from __future__ import annotations

from pathlib import Path

from blockdev.clock import ManualClock
from objstore.entropy import SeededEntropy
from objstore.kms.service import LocalKeyService

DAY_NS = 24 * 3600 * 10**9
MATERIAL = bytes(range(32))
CONTEXT = b"bucket/key"
NOWHERE = "00000000-0000-4000-8000-000000000000"


class Keys:
    """Makes services over one folder, as several processes would have them.

    Every service has entropy of its own, so that none repeats what another drew.
    """

    def __init__(self, path: Path, seed: int, root: Path | None = None) -> None:
        self.folder = path / "kms"
        self.file = self.folder / "keys"
        self.root = root or self.folder / "root.key"
        self.clock = ManualClock()
        self._seed = seed
        self._root = root

    def open(self, **options: str) -> LocalKeyService:
        """Another service over the folder."""
        self._seed += 1
        entropy = SeededEntropy(self._seed)
        return LocalKeyService(self.folder, self.clock, entropy, self._root, **options)
