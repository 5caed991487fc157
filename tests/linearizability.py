"""Whether a history of operations on one key could have been of one after the other.

Wing and Gong's search, with Lowe's memory of what was tried: an operation may come next if it
began before every other one that is left has ended; one whose outcome is unknown may come at
any time after it began, or never.  J. Wing, C. Gong: Testing and Verifying Concurrent
Objects (1993); G. Lowe: Testing for linearizability (2017).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Generic, TypeVar

State = str | None
"""The ETag of the key's object; None without one."""

S = TypeVar("S")

UNKNOWN: Final = object()
"""The result of what was interrupted: perhaps it has happened."""


@dataclass(frozen=True)
class Call:
    """An operation: ``put``, ``put_if_match``, ``put_if_absent``, ``delete``, ``delete_if_match``
    or ``get``.

    `argument`: the ETag that a put makes.  `expected`: of a condition.
    `result`: ``ok`` or ``failed`` of writes; of a get the ETag that was found, or None.
    `key`, `to`: which of several keys, and where a copy or a rename goes; see `step_of_keys`.
    """

    kind: str
    argument: str = ""
    expected: str = ""
    result: Any = "ok"
    began: float = 0.0
    ended: float = field(default=math.inf)
    key: int = 0
    to: int = 0


def step(state: State, call: Call) -> tuple[bool, State]:
    """Whether the call's result is right in this state, and the state after it."""
    if call.kind == "get":
        return call.result in (state, UNKNOWN), state
    succeeds, after = _effect(state, call)
    if call.result is UNKNOWN:
        return True, after if succeeds else state
    return (call.result == "ok") == succeeds, after if succeeds else state


def _effect(state: State, call: Call) -> tuple[bool, State]:
    effects: dict[str, tuple[bool, State]] = {
        "put": (True, call.argument),
        "put_if_match": (state is not None and state == call.expected, call.argument),
        "put_if_absent": (state is None, call.argument),
        "delete": (True, None),
        "delete_if_match": (state is not None and state == call.expected, None),
    }
    return effects[call.kind]


def is_linearizable(history: Sequence[Call], start: State = None) -> bool:
    """Whether some order explains every result and agrees with when calls began and ended."""
    return explains(history, start, step)


def explains(
    history: Sequence[Call], start: S, step_of: Callable[[S, Call], tuple[bool, S]]
) -> bool:
    """As `is_linearizable`, of any kind of state, which has to be hashable."""
    calls = sorted(history, key=lambda call: call.began)
    return _Search(calls, step_of).run(start)


class _Search(Generic[S]):
    def __init__(self, calls: Sequence[Call], step_of: Callable[[S, Call], tuple[bool, S]]) -> None:
        self._calls, self._step_of = calls, step_of
        self._seen: set[tuple[int, S]] = set()
        self._certain = sum(
            1 << number for number, call in enumerate(calls) if call.result is not UNKNOWN
        )

    def run(self, start: S) -> bool:
        """Depth first, without recursion: histories are longer than Python's stack."""
        stack: list[tuple[int, S]] = [(0, start)]
        while stack:
            done, state = stack.pop()
            if done & self._certain == self._certain:
                return True
            for number, call in self._candidates(done):
                fits, after = self._step_of(state, call)
                entry = (done | 1 << number, after)
                if fits and entry not in self._seen:
                    self._seen.add(entry)
                    stack.append(entry)
        return False

    def _candidates(self, done: int) -> list[tuple[int, Call]]:
        """Calls that may come next: nothing that is left had ended before they began."""
        left = [(n, call) for n, call in enumerate(self._calls) if not done >> n & 1]
        first_end = min(
            (call.ended for _n, call in left if call.result is not UNKNOWN), default=math.inf
        )
        return [(n, call) for n, call in left if call.began <= first_end]


# --- several keys -------------------------------------------------------------------

Keys = tuple[State, ...]
"""What each of some keys holds: here its bytes, as a text; None without an object."""


def step_of_keys(state: Keys, call: Call) -> tuple[bool, Keys]:
    """As `step`, of calls that may concern two keys, and of what objects hold.

    Besides the kinds of `Call`, which are about its `key`:

    * ``append``: of `argument`, at the offset that `expected` gives;
    * ``copy``, ``copy_if_match``, ``copy_if_absent``: to `to`; the one condition is on the
      source, the other on the target;
    * ``rename``, ``rename_if_match``, ``rename_if_absent``: likewise.
    """
    if call.kind == "get":
        return call.result in (state[call.key], UNKNOWN), state
    succeeds, changes = _changes(state, call)
    after = tuple(changes.get(key, held) for key, held in enumerate(state)) if succeeds else state
    if call.result is UNKNOWN:
        return True, after
    return (call.result == "ok") == succeeds, after


def _changes(state: Keys, call: Call) -> tuple[bool, dict[int, State]]:
    """Whether a write succeeds, and what keys hold after it."""
    held = state[call.key]
    what, _, condition = call.kind.partition("_if_")
    if what == "append":
        return len(held or "") == int(call.expected), {call.key: (held or "") + call.argument}
    if what in ("put", "delete"):
        succeeds, after = _effect(held, call)
        return succeeds, {call.key: after}
    succeeds = held is not None
    if condition == "match":
        succeeds = held is not None and held == call.expected
    elif condition == "absent":
        succeeds = held is not None and state[call.to] is None
    changes = {call.to: held}
    if what == "rename":
        changes[call.key] = None
    return succeeds, changes


class Recorder:
    """Takes down calls as they are made; one for each thread or process."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self.calls: list[Call] = []

    def take(
        self,
        kind: str,
        act: Callable[[], Any],
        argument: str = "",
        expected: str = "",
        key: int = 0,
        to: int = 0,
    ) -> Any:
        """Make a call and note it; its result."""
        began = self._now()
        result = act()
        call = Call(kind, argument, expected, result, began, self._now(), key, to)
        self.calls.append(call)
        return result
