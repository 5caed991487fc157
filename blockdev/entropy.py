"""Randomness as an interface: nothing else in the tree asks the system for random bytes."""

from __future__ import annotations

import os
import random
import threading
from typing import Protocol


class Entropy(Protocol):
    """Where random bytes come from: ids, nonces, keys."""

    def token_bytes(self, length_bytes: int) -> bytes:
        """`length_bytes` random bytes."""
        ...


class SystemEntropy:
    """The operating system's generator; fit for secrets."""

    def token_bytes(self, length_bytes: int) -> bytes:
        return os.urandom(length_bytes)


class SeededEntropy:
    """Repeatable bytes for tests and simulation; never for secrets."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._lock = threading.Lock()

    def token_bytes(self, length_bytes: int) -> bytes:
        with self._lock:
            return self._random.randbytes(length_bytes)
