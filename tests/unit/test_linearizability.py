"""The checker of histories: it has to find what is wrong, or its verdict is worth nothing."""

from __future__ import annotations

import random

import pytest

from tests.linearizability import (
    UNKNOWN,
    Call,
    Keys,
    State,
    explains,
    is_linearizable,
    step,
    step_of_keys,
)


def at(kind: str, began: float, ended: float, **how: object) -> Call:
    return Call(kind, began=began, ended=ended, **how)  # type: ignore[arg-type]


GOOD = {
    "nothing": [],
    "a get before a put": [
        at("get", 0, 1, result=None),
        at("put", 2, 3, argument="a"),
        at("get", 4, 5, result="a"),
    ],
    "a get beside a put sees either": [
        at("put", 0, 10, argument="a"),
        at("get", 1, 2, result=None),
        at("get", 3, 4, result="a"),
    ],
    "two puts, in either order": [
        at("put", 0, 10, argument="a"),
        at("put", 1, 9, argument="b"),
        at("get", 11, 12, result="a"),
    ],
    "of two with a condition one wins": [
        at("put_if_absent", 0, 5, argument="a"),
        at("put_if_absent", 1, 6, argument="b", result="failed"),
        at("get", 7, 8, result="a"),
    ],
    "an interrupted put has happened": [
        at("put", 0, 1, argument="a", result=UNKNOWN),
        at("get", 2, 3, result="a"),
    ],
    "an interrupted put has not happened, and does later": [
        at("put", 0, 1, argument="a", result=UNKNOWN),
        at("get", 2, 3, result=None),
        at("get", 4, 5, result="a"),
    ],
}
BAD = {
    "a put that was lost": [at("put", 0, 1, argument="a"), at("get", 2, 3, result=None)],
    "a value that nobody wrote": [at("get", 0, 1, result="a")],
    "back in time": [
        at("put", 0, 10, argument="a"),
        at("get", 1, 2, result="a"),
        at("get", 3, 4, result=None),
    ],
    "an old value after a new one": [
        at("put", 0, 1, argument="a"),
        at("put", 2, 3, argument="b"),
        at("get", 4, 5, result="a"),
    ],
    "two that both were the first": [
        at("put_if_absent", 0, 5, argument="a"),
        at("put_if_absent", 1, 6, argument="b"),
    ],
    "two that replaced the same": [
        at("put", 0, 1, argument="a"),
        at("put_if_match", 2, 9, argument="b", expected="a"),
        at("put_if_match", 3, 8, argument="c", expected="a"),
    ],
    "a refusal without a reason": [
        at("put", 0, 1, argument="a"),
        at("put_if_match", 2, 3, argument="b", expected="a", result="failed"),
    ],
    "a delete of what was replaced": [
        at("put", 0, 1, argument="a"),
        at("put", 2, 3, argument="b"),
        at("delete_if_match", 4, 5, expected="a"),
    ],
    "it came back": [
        at("put", 0, 1, argument="a"),
        at("delete", 2, 3),
        at("get", 4, 5, result="a"),
    ],
    "an interrupted put that happened twice": [
        at("put", 0, 1, argument="a", result=UNKNOWN),
        at("get", 2, 3, result="a"),
        at("delete", 4, 5),
        at("get", 6, 7, result="a"),
    ],
}


@pytest.mark.parametrize("name", GOOD)
def test_histories_that_are(name: str) -> None:
    assert is_linearizable(GOOD[name])


@pytest.mark.parametrize("name", BAD)
def test_histories_that_are_not(name: str) -> None:
    assert not is_linearizable(BAD[name])


KEYS_GOOD = {
    "a copy is of what is there": [
        at("put", 0, 1, argument="a"),
        at("copy", 2, 3, to=1),
        at("get", 4, 5, result="a", key=1),
        at("get", 4, 5, result="a"),
    ],
    "a copy beside a put is of either": [
        at("put", 0, 1, argument="a"),
        at("put", 2, 9, argument="b"),
        at("copy", 3, 8, to=1),
        at("get", 10, 11, result="a", key=1),
    ],
    "a rename moves": [
        at("put", 0, 1, argument="a"),
        at("rename", 2, 3, to=1),
        at("get", 4, 5, result=None),
        at("get", 4, 5, result="a", key=1),
        at("rename", 6, 7, to=1, result="failed"),
    ],
    "of two appends at one place one is refused": [
        at("append", 0, 5, argument="a", expected="0"),
        at("append", 1, 6, argument="b", expected="0", result="failed"),
        at("append", 7, 8, argument="c", expected="1"),
        at("get", 9, 10, result="ac"),
    ],
    "conditions of both sides": [
        at("put", 0, 1, argument="a"),
        at("copy_if_match", 2, 3, to=1, expected="b", result="failed"),
        at("copy_if_match", 4, 5, to=1, expected="a"),
        at("rename_if_absent", 6, 7, to=1, result="failed"),
        at("rename_if_absent", 8, 9, to=2),
    ],
    "an interrupted rename": [
        at("put", 0, 1, argument="a"),
        at("rename", 2, 3, to=1, result=UNKNOWN),
        at("get", 4, 5, result="a"),
        at("get", 6, 7, result=None),
        at("get", 8, 9, result="a", key=1),
    ],
}
KEYS_BAD = {
    "a copy of nothing": [at("copy", 0, 1, to=1)],
    "a copy of what was replaced before it began": [
        at("put", 0, 1, argument="a"),
        at("put", 2, 3, argument="b"),
        at("copy", 4, 5, to=1),
        at("get", 6, 7, result="a", key=1),
    ],
    "both keys after a rename": [
        at("put", 0, 1, argument="a"),
        at("rename", 2, 3, to=1),
        at("get", 4, 5, result="a", key=1),
        at("get", 6, 7, result="a"),
    ],
    "neither key during a rename": [
        at("put", 0, 1, argument="a"),
        at("rename", 2, 9, to=1),
        at("get", 3, 4, result=None),
        at("get", 5, 6, result=None, key=1),
    ],
    "two renamers of one object": [
        at("put", 0, 1, argument="a"),
        at("rename", 2, 9, to=1),
        at("rename", 3, 8, to=2),
    ],
    "two appends at one place": [
        at("append", 0, 5, argument="a", expected="0"),
        at("append", 1, 6, argument="b", expected="0"),
    ],
    "an append that was lost": [
        at("append", 0, 1, argument="a", expected="0"),
        at("append", 2, 3, argument="b", expected="1"),
        at("get", 4, 5, result="a"),
    ],
    "a copy over what should not be there": [
        at("put", 0, 1, argument="a"),
        at("put", 0, 1, argument="b", key=1),
        at("copy_if_absent", 2, 3, to=1),
    ],
}
EMPTY: Keys = (None, None, None)


@pytest.mark.parametrize("name", KEYS_GOOD)
def test_histories_of_keys_that_are(name: str) -> None:
    assert explains(KEYS_GOOD[name], EMPTY, step_of_keys)


@pytest.mark.parametrize("name", KEYS_BAD)
def test_histories_of_keys_that_are_not(name: str) -> None:
    assert not explains(KEYS_BAD[name], EMPTY, step_of_keys)


def simulated(dice: random.Random, count: int) -> list[Call]:
    """Calls of four clients at a key that takes each of them at one moment."""
    state: State = None
    free = [0.0] * 4
    made: list[Call] = []
    moment = 0.0
    for number in range(count):
        moment += dice.random()
        client = dice.randrange(4)
        began = max(free[client], moment - dice.random() * 3)
        if began > moment:
            continue
        ended = moment + dice.random() * 3
        free[client] = ended
        kind = dice.choice(
            ["get", "put", "put_if_match", "put_if_absent", "delete", "delete_if_match"]
        )
        call = Call(kind, f"v{number}", dice.choice([state or "", "other"]), "ok", began, ended)
        if kind == "get":
            call = Call("get", result=state, began=began, ended=ended)
        else:
            fits, after = step(state, call)
            if not fits:
                call = Call(kind, call.argument, call.expected, "failed", began, ended)
            else:
                state = after
        made.append(call)
    return made


def test_what_was_taken_at_one_moment_each_is_found_so(seed: int) -> None:
    dice = random.Random(seed)
    for _turn in range(30):
        history = simulated(dice, 60)
        dice.shuffle(history)
        assert is_linearizable(history)


def test_a_result_that_is_changed_is_found(seed: int) -> None:
    """A value that is never written can be no result, wherever it is put in."""
    dice = random.Random(seed)
    for _turn in range(30):
        history = simulated(dice, 60)
        places = [n for n, call in enumerate(history) if call.kind == "get"]
        if not places:
            continue
        place = dice.choice(places)
        old = history[place]
        history[place] = Call("get", result="never", began=old.began, ended=old.ended)
        assert not is_linearizable(history)
