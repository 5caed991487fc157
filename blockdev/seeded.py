"""Random numbers that a seed settles wholly: a failing run can be had again.

SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number
generators", OOPSLA 2014).  Good enough to choose which sectors survive; never
use it for secrets.
"""

from __future__ import annotations

_MASK = (1 << 64) - 1


class SeededNumbers:
    """A stream of numbers, the same for the same `seed`.  Not safe to share between threads."""

    def __init__(self, seed: int) -> None:
        self._state = seed & _MASK

    def next_u64(self) -> int:
        """The next 64 bits."""
        self._state = (self._state + 0x9E37_79B9_7F4A_7C15) & _MASK
        mixed = self._state
        mixed = ((mixed ^ (mixed >> 30)) * 0xBF58_476D_1CE4_E5B9) & _MASK
        mixed = ((mixed ^ (mixed >> 27)) * 0x94D0_49BB_1331_11EB) & _MASK
        return mixed ^ (mixed >> 31)

    def below(self, bound: int) -> int:
        """A number from 0 to `bound` - 1; `bound` is at most 2**64."""
        return self.next_u64() * bound >> 64

    def chance(self, probability: float) -> bool:
        """True with `probability` (0.0 never, 1.0 always)."""
        return self.next_u64() < probability * 2.0**64
