"""Delivery in the background: one process of a store does it, a thread for each destination."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Self

from objstore.config import EVENT_LEADER_POLL_NS, EVENT_TIMEOUT_S
from objstore.engine.sharing import SoleLock
from objstore.errors import StoreClosedError, StoreError
from objstore.events.courier import Courier
from objstore.events.dead_letters import FOLDER_NAME, DeadLetters
from objstore.events.destinations import Destination, check_destinations
from objstore.events.targets import open_target

logger = logging.getLogger("objstore.events")

LOCK_NAME: Final = "events"
_NS_PER_S = 1_000_000_000
_TROUBLE_NS = 1_000_000_000


class Delivery:
    """Delivers the events of a store, as soon as no other process does.

    ``with Delivery(store, folder, destinations): ...``; stop it before the store is closed.

    Args:
        store: an open `ObjectStore`.
        folder: the store's.
        destinations: what else waits in the outbox, waits.
        tokens: of webhooks, by the destination's name.

    Raises:
        DestinationError: as `check_destinations`.
    """

    def __init__(
        self,
        store: Any,
        folder: Path,
        destinations: Sequence[Destination],
        *,
        tokens: Mapping[str, str] | None = None,
    ) -> None:
        check_destinations(destinations)
        self._store = store
        letters = DeadLetters(folder / FOLDER_NAME)
        tokens = tokens or {}
        self._couriers = {
            destination.key: Courier(
                store,
                destination.key,
                open_target(destination, folder, tokens.get(destination.name, "")),
                letters,
                store.clock,
                store.entropy,
            )
            for destination in destinations
        }
        self._lock = SoleLock(folder / "run" / LOCK_NAME)
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self.is_delivering = threading.Event()

    @property
    def names(self) -> frozenset[str]:
        """The destinations, as buckets' configurations are checked against them."""
        return frozenset(self._couriers)

    def start(self) -> Self:
        """Begin; returns at once."""
        if self._couriers:
            self._spawn("objstore-events", self._lead)
        return self

    def stop(self) -> None:
        """End: what was told is noted, and another process may take over.  Idempotent."""
        if self._stop.is_set():
            return
        self._stop.set()
        for thread in self._threads:
            # A target that hangs is not waited for: what it may have taken is told again.
            thread.join(2 * EVENT_TIMEOUT_S)
        if self.is_delivering.is_set():
            self.is_delivering.clear()
            self._lock.release()
        if not any(thread.is_alive() for thread in self._threads):
            self._lock.close()

    def _spawn(self, name: str, run: Any, *arguments: Any) -> None:
        thread = threading.Thread(target=run, args=arguments, name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _lead(self) -> None:
        """Wait until nobody else delivers, then have every courier go."""
        while not self._stop.is_set():
            if self._lock.try_exclusive():
                self.is_delivering.set()
                for name, courier in self._couriers.items():
                    self._spawn(f"objstore-events-{name}", self._run, courier)
                return
            self._stop.wait(EVENT_LEADER_POLL_NS / _NS_PER_S)

    def _run(self, courier: Courier) -> None:
        """One courier's turns, until the end."""
        try:
            while not self._stop.is_set():
                try:
                    wait_ns = courier.turn()
                except StoreClosedError:
                    return
                except StoreError as error:
                    logger.error("events wait: %s", error)
                    wait_ns = _TROUBLE_NS
                if wait_ns:
                    self._stop.wait(wait_ns / _NS_PER_S)
            try:
                courier.settle()
            except StoreError as error:
                logger.warning("what was told last is told again: %s", error)
        finally:
            courier.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *exc: object) -> None:
        self.stop()
