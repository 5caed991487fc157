"""The checker of histories: it has to find what is wrong, or its verdict is worth nothing."""

from __future__ import annotations

import random

import pytest

from tests.linearizability import UNKNOWN, Call, State, is_linearizable, step


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
