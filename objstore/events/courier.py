"""A courier: takes the events of one destination from the outbox to it, in their order.

It decides, and waits for nothing but the target: how long to wait until its next turn is
what a turn returns.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Protocol

from blockdev.clock import Clock
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
    EVENTS_A_PAGE,
)
from objstore.engine.notifications import BRIDGE
from objstore.engine.outbox import OutboxEvent
from objstore.entropy import Entropy
from objstore.events import message
from objstore.events.dead_letters import DeadLetters
from objstore.events.targets import Target, TargetError

logger = logging.getLogger("objstore.events")

_NS_PER_MS = 1_000_000


class Outbox(Protocol):
    """What a courier needs of an `ObjectStore`."""

    def next_events(
        self, destination: str, *, after_seq: int = 0, limit: int = 100
    ) -> list[OutboxEvent]: ...

    def end_events(
        self, destination: str, up_to_seq: int, *, delivered: int = 0, dead: int = 0
    ) -> None: ...


class Courier:
    """One destination's; for one thread.

    Args:
        destination: as the outbox calls it.
        letters: where what cannot be told ends.
    """

    def __init__(
        self,
        outbox: Outbox,
        destination: str,
        target: Target,
        letters: DeadLetters,
        clock: Clock,
        entropy: Entropy,
    ) -> None:
        self._outbox, self._destination = outbox, destination
        self._target, self._letters = target, letters
        self._clock, self._entropy = clock, entropy
        self._message: Callable[[Sequence[OutboxEvent]], bytes] = (
            message.bridge_message if destination == BRIDGE else message.s3_message
        )
        self._page: list[OutboxEvent] = []
        self._done_seq = self._noted_seq = 0
        self._delivered = self._dead = 0
        self._unnoted_since_ns = 0
        self._failures = self._refusals = 0
        self._alone_until_seq = 0

    def turn(self) -> int:
        """Tell one message's events, or try to; how many nanoseconds to wait now.

        Raises:
            StoreError: the outbox could not be asked, or told; the turn may be taken again.
        """
        if not self._page:
            self._page = self._outbox.next_events(
                self._destination, after_seq=self._done_seq, limit=EVENTS_A_PAGE
            )
        if not self._page:
            self.settle()
            return EVENT_POLL_NS
        if self._destination == BRIDGE and message.is_test(self._page[0]):
            self._pass(self._page[:1])  # there is none in EventBridge
            return 0
        events = self._next()
        now_ms = self._clock.now_ns() // _NS_PER_MS
        if now_ms - events[0].body.time_ms > EVENT_MAX_AGE_MS:
            return self._bury(events[:1], "it waited too long", now_ms)
        try:
            self._target.send(self._message(events))
        except TargetError as error:
            return self._failed(events, error, now_ms)
        self._failures = self._refusals = 0
        self._delivered += len(events)
        self._pass(events)
        # A message costs more than an event does: a few at a time would slow down who writes.
        return 0 if self._page else EVENT_GATHER_NS

    def _next(self) -> list[OutboxEvent]:
        """The events of the next message: a test event has one of its own."""
        most = 1 if self._page[0].seq <= self._alone_until_seq else EVENTS_A_MESSAGE
        events: list[OutboxEvent] = []
        for event in self._page[:most]:
            if message.is_test(event):
                return events or [event]
            events.append(event)
        return events

    def _pass(self, events: Sequence[OutboxEvent]) -> None:
        """These need not be looked at again."""
        del self._page[: len(events)]
        now_ns = self._clock.monotonic_ns()
        if self._done_seq == self._noted_seq:
            self._unnoted_since_ns = now_ns
        self._done_seq = events[-1].seq
        if now_ns - self._unnoted_since_ns >= EVENT_SETTLE_NS:
            self.settle()

    def settle(self) -> None:
        """Note in the outbox what was told.

        Raises:
            StoreError: it could not be noted.
        """
        if self._done_seq == self._noted_seq:
            return
        self._outbox.end_events(
            self._destination, self._done_seq, delivered=self._delivered, dead=self._dead
        )
        self._noted_seq = self._done_seq
        self._delivered = self._dead = 0

    def _failed(self, events: Sequence[OutboxEvent], error: TargetError, now_ms: int) -> int:
        """Try again later, or give up."""
        if error.is_refused and len(events) > 1:
            # One of them is what it does not take: each goes alone, the others get through.
            self._alone_until_seq = events[-1].seq
            return 0
        self._failures += 1
        self._refusals += error.is_refused
        if self._refusals >= EVENT_REFUSALS or self._failures >= EVENT_ATTEMPTS:
            return self._bury(events, str(error), now_ms)
        if self._failures == 1:
            logger.warning("%s: %s; trying again", self._destination, error)
        return self._backoff_ns()

    def _backoff_ns(self) -> int:
        """Twice as long each time, and between half of that and all of it, by chance."""
        wait_ns = min(EVENT_FIRST_RETRY_NS << min(self._failures - 1, 40), EVENT_MAX_RETRY_NS)
        chance = int.from_bytes(self._entropy.token_bytes(2), "big")
        return wait_ns // 2 + wait_ns // 2 * chance // 0xFFFF

    def _bury(self, events: Sequence[OutboxEvent], why: str, now_ms: int) -> int:
        """Make dead letters of events; where they cannot be kept, the queue waits."""
        try:
            is_kept = self._letters.add(self._destination, events, why, now_ms)
        except OSError as error:
            logger.error("%s: dead letters cannot be kept: %s", self._destination, error)
            return EVENT_MAX_RETRY_NS
        if not is_kept:
            logger.error("%s: %s is full; retry or remove it", self._destination, self._path_text())
            return EVENT_MAX_RETRY_NS
        logger.error(
            "%s: gave up %d events (%s); they are in %s",
            self._destination,
            len(events),
            why,
            self._path_text(),
        )
        self._failures = self._refusals = 0
        self._dead += len(events)
        self._pass(events)
        return 0

    def _path_text(self) -> str:
        return str(self._letters.path(self._destination))

    def close(self) -> None:
        """Let go of the target."""
        self._target.close()
