"""A device that fails on demand: errors, torn and lost writes, flipped bits.

Rules are armed and disarmed while the device is in use, from any thread.  A
rule looks at the calls of its operations that touch its range, numbers them
from 1, and strikes at those numbered `first_call` to `last_call`, each with
`probability`.  Of several rules the one armed first that strikes wins; each
still counts the call.
"""

from __future__ import annotations

import enum
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from blockdev.device import BlockDevice, Buffer, byte_view, check_range
from blockdev.errors import DeviceFullError, DeviceIOError
from blockdev.filters.passthrough import Passthrough
from blockdev.seeded import SeededNumbers


class Operation(enum.Enum):
    """What a rule can strike at; `try_read_into` counts as a read."""

    READ = "read"
    WRITE = "write"
    WRITE_ZEROES = "write_zeroes"
    DISCARD = "discard"
    FLUSH = "flush"


class Fault(enum.Enum):
    """What goes wrong."""

    IO_ERROR = "io_error"
    """`DeviceIOError`; nothing is done."""
    FULL = "full"
    """`DeviceFullError`; nothing is done."""
    TEAR = "tear"
    """The first sectors land, then `DeviceIOError`."""
    FLIP_BIT = "flip_bit"
    """One bit is wrong: on a read in what is returned, on a write in what is stored."""
    LOSE = "lose"
    """Success is reported and nothing done, a flush included."""


_CHANGES: Final = frozenset({Operation.WRITE, Operation.WRITE_ZEROES, Operation.DISCARD})
_STRIKES_AT: Final = {
    Fault.IO_ERROR: frozenset(Operation),
    Fault.FULL: _CHANGES | {Operation.FLUSH},
    Fault.TEAR: _CHANGES,
    Fault.FLIP_BIT: frozenset({Operation.READ, Operation.WRITE}),
    Fault.LOSE: _CHANGES | {Operation.FLUSH},
}


@dataclass(frozen=True, slots=True)
class FaultRule:
    """What goes wrong, and when.

    `operations`: what it strikes at; empty means all that the fault has a meaning for.
    `offset_bytes`, `length_bytes`: only calls that touch this range (None: to
    the end of the device); a flush touches every range.  A flipped bit lies in it.
    `first_call`, `last_call`: numbers of the calls it strikes at (None: no last one).
    `probability`: of striking at each of them, decided by the device's seed.
    `sectors`: for TEAR, how many sectors land (None: decided by the seed).

    Raises:
        ValueError: the fault has no meaning for an operation, or a number is out of its bounds.
    """

    fault: Fault
    operations: frozenset[Operation] = frozenset()
    offset_bytes: int = 0
    length_bytes: int | None = None
    first_call: int = 1
    last_call: int | None = None
    probability: float = 1.0
    sectors: int | None = None

    def __post_init__(self) -> None:
        meaningless = self.operations - _STRIKES_AT[self.fault]
        if meaningless:
            names = ", ".join(sorted(operation.value for operation in meaningless))
            raise ValueError(f"{self.fault.value} has no meaning for {names}")
        if self.offset_bytes < 0 or self.first_call < 1 or not 0.0 <= self.probability <= 1.0:
            raise ValueError(f"out of bounds: {self}")

    def strikes_at(self, operation: Operation) -> bool:
        return operation in (self.operations or _STRIKES_AT[self.fault])

    def overlap(self, offset_bytes: int, length_bytes: int) -> range:
        """The byte offsets of a call that lie in the rule's range."""
        end_bytes = offset_bytes + length_bytes
        if self.length_bytes is not None:
            end_bytes = min(end_bytes, self.offset_bytes + self.length_bytes)
        return range(max(offset_bytes, self.offset_bytes), end_bytes)


class ArmedFault:
    """A rule in force: hand it to `FaultDevice.disarm`, or ask how often it struck."""

    def __init__(self, rule: FaultRule) -> None:
        self.rule: Final = rule
        self.calls = 0
        """Calls that it looked at."""
        self.hits = 0
        """Calls that it struck at."""


@dataclass(frozen=True, slots=True)
class _Strike:
    """A fault about to happen, with what chance had to decide already decided."""

    fault: Fault
    flip_at_bytes: int
    flip_mask: int
    sectors: int


class FaultDevice(Passthrough):
    """`below`, with faults by rule; with no rule armed it changes nothing."""

    def __init__(self, below: BlockDevice, rules: Iterable[FaultRule] = (), *, seed: int = 0):
        super().__init__(below)
        self._numbers = SeededNumbers(seed)
        self._lock = threading.Lock()
        self._armed: tuple[ArmedFault, ...] = tuple(ArmedFault(rule) for rule in rules)

    def arm(self, rule: FaultRule) -> ArmedFault:
        """Put a rule in force, after those already armed; its count of calls starts now."""
        armed = ArmedFault(rule)
        with self._lock:
            self._armed = (*self._armed, armed)
        return armed

    def disarm(self, armed: ArmedFault) -> None:
        """Take a rule out of force; does nothing if it is not in force."""
        with self._lock:
            self._armed = tuple(other for other in self._armed if other is not armed)

    def disarm_all(self) -> None:
        """Take every rule out of force."""
        with self._lock:
            self._armed = ()

    def flip_bit(self, offset_bytes: int, bit: int = 0) -> None:
        """Flip bit `bit` (0 to 7) of a stored byte now, as a medium that decays would."""
        cell = bytearray(1)
        self._below.read_into(offset_bytes, cell)
        cell[0] ^= 1 << bit
        self._below.write(offset_bytes, cell, fua=True)

    def read_into(self, offset_bytes: int, buffer: bytearray | memoryview) -> None:
        if not self._armed:
            self._below.read_into(offset_bytes, buffer)
            return
        strike = self._strike(Operation.READ, offset_bytes, byte_view(buffer).nbytes)
        self._below.read_into(offset_bytes, buffer)
        _flip(strike, offset_bytes, buffer)

    def try_read_into(self, offset_bytes: int, buffer: bytearray | memoryview) -> bool:
        if not self._armed:
            return self._below.try_read_into(offset_bytes, buffer)
        strike = self._strike(Operation.READ, offset_bytes, byte_view(buffer).nbytes)
        if not self._below.try_read_into(offset_bytes, buffer):
            return False
        _flip(strike, offset_bytes, buffer)
        return True

    def write(self, offset_bytes: int, data: Buffer, *, fua: bool = False) -> None:
        if not self._armed:
            self._below.write(offset_bytes, data, fua=fua)
            return
        view = byte_view(data)
        strike = self._strike(Operation.WRITE, offset_bytes, len(view))
        if strike is None:
            self._below.write(offset_bytes, data, fua=fua)
        elif strike.fault is Fault.TEAR:
            landed_bytes = self._landed(strike, offset_bytes, len(view))
            self._below.write(offset_bytes, view[:landed_bytes], fua=fua)
            raise _torn("write", landed_bytes, len(view))
        elif strike.fault is Fault.FLIP_BIT:
            spoilt = bytearray(view)
            _flip(strike, offset_bytes, spoilt)
            self._below.write(offset_bytes, spoilt, fua=fua)

    def write_zeroes(self, offset_bytes: int, length_bytes: int) -> None:
        strike = self._strike(Operation.WRITE_ZEROES, offset_bytes, length_bytes)
        if strike is None:
            self._below.write_zeroes(offset_bytes, length_bytes)
        elif strike.fault is Fault.TEAR:
            landed_bytes = self._landed(strike, offset_bytes, length_bytes)
            self._below.write_zeroes(offset_bytes, landed_bytes)
            raise _torn("write_zeroes", landed_bytes, length_bytes)

    def discard(self, offset_bytes: int, length_bytes: int) -> None:
        strike = self._strike(Operation.DISCARD, offset_bytes, length_bytes)
        if strike is None:
            self._below.discard(offset_bytes, length_bytes)
        elif strike.fault is Fault.TEAR:
            landed_bytes = self._landed(strike, offset_bytes, length_bytes)
            self._below.discard(offset_bytes, landed_bytes)
            raise _torn("discard", landed_bytes, length_bytes)

    def flush(self) -> None:
        if self._strike(Operation.FLUSH, 0, self._geometry.size_bytes) is None:
            self._below.flush()

    def _strike(self, operation: Operation, offset_bytes: int, length_bytes: int) -> _Strike | None:
        """Count the call in every rule; raise or return what the first striking one does.

        The range is checked first: a fault must not hide the caller's mistake.
        """
        check_range(self._geometry, offset_bytes, length_bytes)
        with self._lock:
            struck = [
                armed
                for armed in self._armed
                if self._counts_and_strikes(armed, operation, offset_bytes, length_bytes)
            ]
            if not struck:
                return None
            struck[0].hits += 1
            rule = struck[0].rule
            strike = self._decide(rule, offset_bytes, length_bytes)
        where = f"injected: {operation.value} of {length_bytes} bytes at {offset_bytes}"
        if rule.fault is Fault.IO_ERROR:
            raise DeviceIOError(where)
        if rule.fault is Fault.FULL:
            raise DeviceFullError(where)
        return strike

    def _counts_and_strikes(
        self, armed: ArmedFault, operation: Operation, offset_bytes: int, length_bytes: int
    ) -> bool:
        rule = armed.rule
        if not rule.strikes_at(operation):
            return False
        if operation is not Operation.FLUSH and not rule.overlap(offset_bytes, length_bytes):
            return False
        armed.calls += 1
        if armed.calls < rule.first_call:
            return False
        if rule.last_call is not None and armed.calls > rule.last_call:
            return False
        return rule.probability == 1.0 or self._numbers.chance(rule.probability)

    def _decide(self, rule: FaultRule, offset_bytes: int, length_bytes: int) -> _Strike:
        flip_at_bytes = flip_mask = sectors = 0
        if rule.fault is Fault.FLIP_BIT:
            touched = rule.overlap(offset_bytes, length_bytes)
            flip_at_bytes = touched[self._numbers.below(len(touched))]
            flip_mask = 1 << self._numbers.below(8)
        elif rule.fault is Fault.TEAR:
            unit = self._geometry.sector_bytes
            spanned = -(-(offset_bytes + length_bytes) // unit) - offset_bytes // unit
            sectors = self._numbers.below(spanned + 1) if rule.sectors is None else rule.sectors
        return _Strike(rule.fault, flip_at_bytes, flip_mask, sectors)

    def _landed(self, strike: _Strike, offset_bytes: int, length_bytes: int) -> int:
        """How many bytes of a torn call arrive: up to the end of its n-th sector."""
        if strike.sectors == 0:
            return 0
        unit = self._geometry.sector_bytes
        torn_at = (offset_bytes // unit + strike.sectors) * unit
        return min(length_bytes, torn_at - offset_bytes)


def _flip(strike: _Strike | None, offset_bytes: int, buffer: bytearray | memoryview) -> None:
    if strike is not None:
        byte_view(buffer)[strike.flip_at_bytes - offset_bytes] ^= strike.flip_mask


def _torn(action: str, landed_bytes: int, length_bytes: int) -> DeviceIOError:
    return DeviceIOError(f"injected: {action} torn after {landed_bytes} of {length_bytes} bytes")
