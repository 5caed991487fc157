"""A courier: what it tells, in which order, how often it tries, and when it gives up."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from blockdev import ManualClock
from objstore.config import (
    EVENT_ATTEMPTS,
    EVENT_FIRST_RETRY_NS,
    EVENT_GATHER_NS,
    EVENT_MAX_AGE_MS,
    EVENT_MAX_RETRY_NS,
    EVENT_POLL_NS,
    EVENT_REFUSALS,
    EVENT_SETTLE_NS,
    EVENTS_A_MESSAGE,
)
from objstore.engine.notifications import BRIDGE
from objstore.engine.outbox import OutboxEvent
from objstore.entropy import SeededEntropy
from objstore.errors import StoreUnavailableError
from objstore.events import dead_letters
from objstore.events.courier import Courier
from objstore.events.dead_letters import DeadLetters, read
from objstore.events.targets import TargetError
from objstore.index.schema import EventBody

NAME = "hook:webhook"


class FakeOutbox:
    """Numbers from one on; ends are noted."""

    def __init__(self, clock: ManualClock) -> None:
        self._clock = clock
        self.events: list[OutboxEvent] = []
        self.ends: list[tuple[int, int, int]] = []
        self.fails = False

    def add(self, *keys: str, name: str = "ObjectCreated:Put") -> None:
        for key in keys:
            body = EventBody(name, self._clock.now_ns() // 1_000_000, "bucket", key)
            self.events.append(OutboxEvent(len(self.events) + 1, body))

    def next_events(
        self, destination: str, *, after_seq: int = 0, limit: int = 100
    ) -> list[OutboxEvent]:
        ended = max([after_seq, *(end[0] for end in self.ends)])
        return [event for event in self.events if event.seq > ended][:limit]

    def end_events(
        self, destination: str, up_to_seq: int, *, delivered: int = 0, dead: int = 0
    ) -> None:
        if self.fails:
            raise StoreUnavailableError("not now")
        self.ends.append((up_to_seq, delivered, dead))


class FakeTarget:
    """Takes messages as `answer` says: None, or an error."""

    def __init__(self) -> None:
        self.taken: list[list[str]] = []
        self.tried = 0
        self.answer: Callable[[list[str]], TargetError | None] = lambda keys: None

    def send(self, message: bytes) -> None:
        self.tried += 1
        document = json.loads(message)
        if "Records" in document:
            keys = [record["s3"]["object"]["key"] for record in document["Records"]]
        elif "Events" in document:
            keys = [event["detail"]["object"]["key"] for event in document["Events"]]
        else:
            keys = [document["Event"]]
        error = self.answer(keys)
        if error is not None:
            raise error
        self.taken.append(keys)

    def close(self) -> None:
        pass


class World:
    """A courier with all that it needs."""

    def __init__(self, folder: Path, destination: str = NAME) -> None:
        self.clock = ManualClock()
        self.outbox = FakeOutbox(self.clock)
        self.target = FakeTarget()
        self.letters = DeadLetters(folder / "dead-letters")
        self.destination = destination
        self.courier = self.another()

    def another(self) -> Courier:
        """One that begins where the last one was killed."""
        return Courier(
            self.outbox,
            self.destination,
            self.target,
            self.letters,
            self.clock,
            SeededEntropy(1),
        )

    def run(self, turns: int = 1) -> list[int]:
        """The waits after each turn, which are waited for."""
        waits = []
        for _turn in range(turns):
            waits.append(self.courier.turn())
            self.clock.advance(waits[-1])
        return waits

    def dead(self) -> list[str]:
        path = self.letters.path(self.destination)
        return [body.key for body in read(path)] if path.exists() else []


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def broken(*, is_refused: bool = False) -> Callable[[list[str]], TargetError | None]:
    return lambda _keys: TargetError("broken", is_refused=is_refused)


def test_in_order_and_together(world: World) -> None:
    world.outbox.add(*(f"k{number}" for number in range(EVENTS_A_MESSAGE + 5)))
    assert world.run(3) == [0, EVENT_GATHER_NS, EVENT_POLL_NS]
    assert [len(keys) for keys in world.target.taken] == [EVENTS_A_MESSAGE, 5]
    told = [key for keys in world.target.taken for key in keys]
    assert told == [event.body.key for event in world.outbox.events]
    assert world.outbox.ends == [(EVENTS_A_MESSAGE + 5, EVENTS_A_MESSAGE + 5, 0)]


def test_a_test_event_is_a_message_of_its_own(world: World) -> None:
    world.outbox.add("a")
    world.outbox.add("", name="TestEvent")
    world.outbox.add("b", "c")
    world.run(4)
    assert world.target.taken == [["a"], ["s3:TestEvent"], ["b", "c"]]


def test_the_bridge_has_no_test_events(tmp_path: Path) -> None:
    world = World(tmp_path, BRIDGE)
    world.outbox.add("", name="TestEvent")
    world.outbox.add("a b")
    world.run(3)
    assert world.target.taken == [["a b"]]
    assert world.outbox.next_events(BRIDGE) == []


def test_what_is_told_is_noted_after_a_while(world: World) -> None:
    """And told once more by who comes after a kill before that."""
    world.outbox.add("a")
    world.run()
    assert world.outbox.ends == []
    world.courier = world.another()
    world.run()
    assert world.target.taken == [["a"], ["a"]]
    world.outbox.add("b")
    world.clock.advance(EVENT_SETTLE_NS)
    world.run(2)  # its page was empty; then it reads on
    assert world.outbox.ends[-1][0] >= 1
    world.run(2)
    assert world.outbox.next_events(NAME) == []


def test_a_busy_queue_is_noted_as_well(world: World) -> None:
    world.outbox.add(*(str(number) for number in range(20 * EVENTS_A_MESSAGE)))
    for _turn in range(10):
        world.courier.turn()
        world.clock.advance(EVENT_SETTLE_NS // 3)
    assert 1 < len(world.outbox.ends) < 5


def test_it_waits_longer_each_time(world: World) -> None:
    world.outbox.add("a", "b")
    world.target.answer = broken()
    waits = world.run(EVENT_ATTEMPTS - 1)
    assert world.target.tried == EVENT_ATTEMPTS - 1
    expected = EVENT_FIRST_RETRY_NS
    for wait_ns in waits:
        assert expected // 2 <= wait_ns <= expected
        expected = min(2 * expected, EVENT_MAX_RETRY_NS)
    assert world.dead() == []
    world.target.answer = lambda _keys: None
    world.run(2)
    assert world.target.taken == [["a", "b"]]
    world.outbox.add("c")
    world.target.answer = broken()
    assert world.run()[0] <= EVENT_FIRST_RETRY_NS  # it begins anew


def test_it_gives_up_in_the_end(world: World) -> None:
    world.outbox.add("a", "b")
    world.target.answer = broken()
    world.run(EVENT_ATTEMPTS)
    assert world.dead() == ["a", "b"]
    world.target.answer = lambda _keys: None
    world.outbox.add("c")
    world.run(3)
    assert world.target.taken == [["c"]]
    assert sum(delivered for _seq, delivered, _dead in world.outbox.ends) == 1
    assert sum(dead for _seq, _delivered, dead in world.outbox.ends) == 2


def test_one_that_is_refused_holds_up_no_other(world: World) -> None:
    world.outbox.add("a", "bad", "b")
    world.target.answer = lambda keys: (
        TargetError("it answered 400", is_refused=True) if "bad" in keys else None
    )
    world.run(4 + EVENT_REFUSALS)
    assert world.target.taken == [["a"], ["b"]]
    assert world.dead() == ["bad"]
    world.outbox.add("c", "d")
    world.run(2)
    assert world.target.taken[-1] == ["c", "d"]  # together again


def test_what_is_too_old_is_not_told(world: World) -> None:
    world.outbox.add("old")
    world.clock.advance((EVENT_MAX_AGE_MS + 1) * 1_000_000)
    world.outbox.add("new")
    world.run(3)
    assert world.target.taken == [["new"]]
    assert world.dead() == ["old"]


def test_where_letters_cannot_be_kept_the_queue_waits(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.outbox.add("a")
    world.target.answer = broken()
    world.run(EVENT_ATTEMPTS - 1)
    monkeypatch.setattr(dead_letters, "MAX_DEAD_LETTER_BYTES", 10)
    assert world.run(2) == [EVENT_MAX_RETRY_NS] * 2
    monkeypatch.setattr(dead_letters, "MAX_DEAD_LETTER_BYTES", 10_000)
    (world.letters.path(NAME)).unlink()
    world.letters.path(NAME).mkdir()  # nor can a folder be written to
    assert world.run() == [EVENT_MAX_RETRY_NS]
    assert world.outbox.next_events(NAME) != []
    world.letters.path(NAME).rmdir()
    world.run()
    assert world.dead() == ["a"]


def test_an_outbox_in_trouble_loses_nothing(world: World) -> None:
    world.outbox.add("a")
    world.run()
    world.outbox.fails = True
    with pytest.raises(StoreUnavailableError):
        world.run()
    world.outbox.fails = False
    world.run()
    assert world.outbox.ends == [(1, 1, 0)]


# --- dead letters -------------------------------------------------------------------


def letter(number: int, key: str = "key") -> OutboxEvent:
    return OutboxEvent(number, EventBody("ObjectCreated:Put", number, "bucket", key, 5, "etag"))


def test_letters_come_back_as_they_were(tmp_path: Path) -> None:
    letters = DeadLetters(tmp_path / "letters")
    assert letters.take(NAME) is None
    events = [letter(1), letter(2, "ü \n\u2028\udcff".encode(errors="replace").decode())]
    assert letters.add(NAME, events[:1], "why", 7)
    assert letters.add(NAME, events[1:], "why", 7)
    taken = letters.take(NAME)
    assert taken is not None
    assert list(read(taken)) == [event.body for event in events]
    assert letters.add(NAME, [letter(3)], "why", 7)
    assert letters.take(NAME) == taken  # which was not given up
    taken.unlink()
    again = letters.take(NAME)
    assert again is not None
    assert [body.time_ms for body in read(again)] == [3]


def test_half_a_line_is_no_letter(tmp_path: Path) -> None:
    """From a kill: the event is in the queue still."""
    letters = DeadLetters(tmp_path)
    letters.add(NAME, [letter(1)], "why", 7)
    path = letters.path(NAME)
    path.write_bytes(path.read_bytes() + path.read_bytes()[:50])
    letters.add(NAME, [letter(2)], "why", 7)
    assert [body.time_ms for body in read(path)] == [1, 2]


def test_names_of_files(tmp_path: Path) -> None:
    letters = DeadLetters(tmp_path)
    names: list[Any] = [letters.path(name).name for name in ("a:file", "a/../b:file", BRIDGE)]
    assert names == ["a%3Afile.jsonl", "a%2F..%2Fb%3Afile.jsonl", "eventbridge.jsonl"]
