"""Randomness, which the block layer's interface hands in here as well."""

from __future__ import annotations

from blockdev.entropy import Entropy, SeededEntropy, SystemEntropy

__all__ = ["Entropy", "SeededEntropy", "SystemEntropy"]
