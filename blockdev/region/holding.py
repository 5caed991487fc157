"""Which volumes this process holds, and how others ask it about them.

One process holds a volume: it has its files locked, and answers on a socket in its folder.

Lock order: the region's lock, then the database's.  Nothing takes the region's lock within
a transaction.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from functools import partial
from typing import Any, Final, TypeAlias

from blockdev.errors import DeviceError
from blockdev.filters.throttle import Budget
from blockdev.host import HostRefusedError, HostTimeoutError, NobodyHoldsError, VolumeHost, ask
from blockdev.live import LiveVolume, VolumeHeldError
from blockdev.model import MIB, ServiceError
from blockdev.region import rows
from blockdev.region.base import Surroundings, volume_not_found
from blockdev.region.database import Connection
from blockdev.region.held import HeldVolume, Performance, performance, saved_credits
from blockdev.region.jobs import CAPTURE
from blockdev.region.snapshot_rows import SnapshotRows

logger = logging.getLogger(__name__)

ASK_TIMEOUT_S: Final = 10.0
"""How long the process that holds a volume may take to answer."""

SAVE_EVERY_S: Final = 30.0
"""How often credit balances are written down, so that a kill loses no more than this."""

OPEN_ID_BYTES: Final = 8

SERVE_POLL_S: Final = 0.05
"""How often a request that waits for the region's lock looks whether its volume goes."""

_LEAVING: Final = "VolumeIsLeaving"

Body: TypeAlias = Mapping[str, Any]
HostVerb: TypeAlias = Callable[[str, Body], Body]
"""What the holder of a volume does for another process: volume id and arguments to answer."""


class VolumeHeldElsewhereError(ServiceError):
    """Another process holds the volume, or is just looking whether anybody does."""

    def __init__(self, volume_id: str) -> None:
        super().__init__("VolumeInUse", f"Volume {volume_id} is open in another process.")


class Holding(SnapshotRows):
    """Volumes held by this process."""

    def __init__(self, surroundings: Surroundings) -> None:
        super().__init__(surroundings)
        self._held: dict[str, HeldVolume] = {}
        self._leaving: set[str] = set()
        self._serving = threading.local()
        self._closing = threading.Event()
        self._saver: threading.Thread | None = None
        self._host_verbs: dict[str, HostVerb] = {"refresh": self._answer_refresh}

    # Holding and letting go; all under the region's lock.

    def _hold(self, volume_id: str) -> HeldVolume:
        """The volume, opened if this process does not hold it yet."""
        held = self._held.get(volume_id)
        if held is not None:
            return held
        with self._read() as (connection, now_ns):
            row, latest = volume_rows(connection, volume_id)
        if row is None:
            raise volume_not_found(volume_id)
        now = performance(row, latest, now_ns)
        held = self._put_together(volume_id, row, now, now_ns)
        self._held[volume_id] = held
        self._start_saver()
        return held

    def _put_together(
        self, volume_id: str, row: rows.Row, now: Performance, now_ns: int
    ) -> HeldVolume:
        """Open the volume and answer for it; what fails leaves nothing open."""
        handlers = {
            name: partial(self._serve, verb, volume_id) for name, verb in self._host_verbs.items()
        }
        with ExitStack() as undo:
            live = self._open_live(volume_id)
            undo.callback(live.close)
            host = VolumeHost(self._volume_folder(volume_id), handlers)
            undo.callback(host.close)
            saved = saved_credits(row, now.limits, now_ns)
            held = HeldVolume(
                volume_id,
                live,
                host,
                Budget(now.limits, self._clock.monotonic_ns(), saved),
                self._clock,
                self._entropy,
                touch_costs=not row["fast_restored"],
            )
            try:
                held.apply(now, lambda: self._refresh_held(volume_id))
                if row["initialization_mibps"] is not None:
                    live.initialize(row["initialization_mibps"] * MIB)
                host.start()
            except (OSError, RuntimeError, DeviceError) as error:  # out of descriptors, threads
                raise ServiceError("InternalError", f"Volume {volume_id}: {error}") from error
            undo.pop_all()
        return held

    def _open_live(self, volume_id: str) -> LiveVolume:
        try:
            return LiveVolume.open(
                self._volume_folder(volume_id), clock=self._clock, store=self._store
            )
        except VolumeHeldError as error:
            raise VolumeHeldElsewhereError(volume_id) from error
        except (DeviceError, OSError) as error:
            if self._is_deleted(volume_id):  # by another process, since its row was read
                raise volume_not_found(volume_id) from error
            raise ServiceError("InternalError", f"Volume {volume_id}: {error}") from error

    def _is_deleted(self, volume_id: str) -> bool:
        with self._read() as (connection, _):
            row, _latest = volume_rows(connection, volume_id)
        return row is None or row["deleted_ns"] is not None

    def _keep(self, volume_id: str) -> str:
        """Hold a volume until `_unkeep`, whoever closes it meanwhile; returns the keeper."""
        held = self._hold(volume_id)
        keeper = self._entropy.token_bytes(OPEN_ID_BYTES).hex()
        held.keepers.add(keeper)
        try:
            with self._database.write() as connection:
                connection.execute(
                    "INSERT INTO opens VALUES (?, ?, ?, ?)",
                    (keeper, volume_id, CAPTURE, self._owner.name),
                )
        except BaseException:
            held.keepers.discard(keeper)
            self._let_go_if_idle(held)
            raise
        return keeper

    def _unkeep(self, volume_id: str, keeper: str) -> None:
        """Undo `_keep`."""
        held = self._held.get(volume_id)
        if held is not None:
            held.keepers.discard(keeper)
            self._let_go_if_idle(held)
        self._strike_open(keeper)

    def _let_go_if_idle(self, held: HeldVolume) -> None:
        """Under the lock: close a volume that nobody needs open any more.

        While this thread serves a request another one does it, since to let go is to wait
        until nothing is served.
        """
        if not held.is_idle or self._held.get(held.volume_id) is not held:
            return
        if getattr(self._serving, "now", False):
            threading.Thread(target=self._let_go_later, args=(held,), daemon=True).start()
        else:
            self._let_go(held)

    def _let_go_later(self, held: HeldVolume) -> None:
        with self._lock, suppress(ServiceError):
            self._let_go_if_idle(held)

    def _let_go(self, held: HeldVolume) -> None:
        """Close a volume; its credits are kept, if they can be."""
        del self._held[held.volume_id]
        self._try_to_save_credits([held])
        self._leaving.add(held.volume_id)
        try:
            held.host.close()  # before the files are let go of: the next holder has its own socket
        finally:
            self._leaving.discard(held.volume_id)
            held.live.close()

    def _close_volumes(self) -> None:
        """Revoke every handle and let go of every volume; copies go on at the next open."""
        with self._lock:
            for held in list(self._held.values()):
                held.revoke(set())
                held.keepers.clear()
                self._let_go(held)
        self._forget_opens()

    def _check_region_open(self) -> None:
        if self._closing.is_set():
            raise ServiceError("Unavailable", "The region is closed.")

    def _forget_opens(self) -> None:
        """Strike off all that this process had open."""
        with self._database.write() as connection:
            connection.execute("DELETE FROM opens WHERE owner = ?", (self._owner.name,))

    def _strike_open(self, open_id: str) -> None:
        with self._write() as (connection, _):
            connection.execute("DELETE FROM opens WHERE open_id = ?", (open_id,))

    # What the holder of a volume is asked by others, and asks of others.

    def _ask(self, volume_id: str, verb: str, arguments: Mapping[str, Any] = {}) -> Body | None:
        """Ask the process that holds a volume; None when nobody does.

        Raises:
            ServiceError: as the other process raised it; Unavailable: it does not answer.
        """
        try:
            answer: Body = ask(self._volume_folder(volume_id), verb, arguments, ASK_TIMEOUT_S)
            return answer
        except NobodyHoldsError:
            return None
        except HostRefusedError as error:
            if error.code == _LEAVING:
                return None
            raise ServiceError(error.code or "InternalError", str(error)) from error
        except HostTimeoutError as error:
            raise ServiceError(
                "Unavailable", f"The process that holds volume {volume_id} does not answer."
            ) from error

    def _refresh(self, volume_id: str) -> None:
        """Let whoever holds a volume look at its rows again.

        One that does not answer finds the request when it goes on.
        """
        with self._lock:
            if volume_id in self._held:
                self._refresh_held(volume_id)
                return
        with suppress(ServiceError):
            self._ask(volume_id, "refresh")

    def _refresh_held(self, volume_id: str) -> None:
        """Make a volume held here what its rows say."""
        with self._lock:
            held = self._held.get(volume_id)
            if held is None:
                return
            with self._read() as (connection, now_ns):
                row, latest = volume_rows(connection, volume_id)
                found = connection.execute(
                    "SELECT open_id FROM opens WHERE volume_id = ?", (volume_id,)
                ).fetchall()
            held.revoke({one["open_id"] for one in found})
            self._let_go_if_idle(held)
            if not held.is_idle and row is not None:
                held.apply(performance(row, latest, now_ns), lambda: self._refresh_held(volume_id))

    def _serve(self, verb: HostVerb, volume_id: str, arguments: Body) -> Body:
        """Do a verb for another process, under the region's lock.

        Not while the volume is being let go of: whoever does that has the lock, and waits
        until nothing is served any more.
        """
        while not self._lock.acquire(timeout=SERVE_POLL_S):
            if volume_id in self._leaving:
                raise ServiceError(_LEAVING, f"Volume {volume_id} is being closed.")
        try:
            if volume_id not in self._held:
                raise ServiceError(_LEAVING, f"Volume {volume_id} was closed.")
            self._serving.now = True
            return verb(volume_id, arguments)
        finally:
            self._serving.now = False
            self._lock.release()

    def _answer_refresh(self, volume_id: str, _: Body) -> Body:
        self._refresh_held(volume_id)
        return {}

    # Credits.

    def _save_credits(self, several: list[HeldVolume]) -> None:
        """Write the balances down, with the moment at which they were such."""
        monotonic_ns, now_ns = self._clock.monotonic_ns(), self._clock.now_ns()
        found = [(one.budget.credit_balance(monotonic_ns), one.volume_id) for one in several]
        with self._database.write() as connection:
            connection.executemany(
                "UPDATE volumes SET credits = ?, credits_ns = ? WHERE volume_id = ?",
                [(balance, now_ns, volume_id) for balance, volume_id in found],
            )

    def _try_to_save_credits(self, several: list[HeldVolume]) -> None:
        """The same, unless the database cannot be written: no volume stays open for that."""
        try:
            self._save_credits(several)
        except (ServiceError, sqlite3.Error, OSError) as error:
            logger.warning("credit balances were not saved: %s", error)

    def _start_saver(self) -> None:
        if self._saver is None:
            self._saver = threading.Thread(
                target=self._save_now_and_then, name="volume credits", daemon=True
            )
            self._saver.start()

    def _join_saver(self) -> None:
        if self._saver is not None:
            self._saver.join()

    def _save_now_and_then(self) -> None:
        while not self._closing.wait(SAVE_EVERY_S):
            with self._lock:
                self._try_to_save_credits(list(self._held.values()))


def volume_rows(connection: Connection, volume_id: str) -> tuple[rows.Row | None, rows.Row | None]:
    """The row of a volume, if it has one, and that of its latest modification."""
    row = connection.execute("SELECT * FROM volumes WHERE volume_id = ?", (volume_id,)).fetchone()
    latest = connection.execute(
        "SELECT * FROM modifications WHERE volume_id = ? ORDER BY modification_id DESC LIMIT 1",
        (volume_id,),
    ).fetchone()
    return row, latest
