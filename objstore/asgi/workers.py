"""Several worker processes behind one listening socket.

The parent accepts and passes each connection on to the worker with the fewest open ones.
With one socket shared by all workers, the kernel wakes whoever waited last: 15 of 16
connections end up in one process; and sockets with SO_REUSEPORT spread by hash, which is
even for thousands of connections and not for sixteen (docs/design has the figures).

The parent opens no store and runs no thread: forking it is safe at any time.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import mmap
import os
import selectors
import signal
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn

from blockdev.clock import Clock
from objstore.config import (
    ACCEPT_BATCH,
    ALONE_NS,
    DEAL_TRIES,
    FIRST_BACKOFF_NS,
    KILL_AFTER_NS,
    MAX_BACKOFF_NS,
    PAUSE_S,
    STABLE_NS,
)

logger = logging.getLogger("objstore.workers")

EXIT_NOT_STARTED = 3
"""Status of a worker that could not start; trying again at once would not help."""

EXIT_POISONED = 4
"""Status of a process that ended because the device failed under its store."""

DRAIN_SIGNAL = signal.SIGUSR2
"""Tells a worker that the server is about to stop."""

_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)

_STOPPED = frozenset({0, -signal.SIGTERM, -signal.SIGINT, EXIT_POISONED})
"""How a worker ends that was told to stop: of itself; before it listened to anybody; or of a
failed device, which it was finishing with already."""

READY = b"r"
TOLD_TO_STOP = b"t"
"""What a worker says: that it serves, and that it had a SIGTERM, which is its parent's to heed."""

CONNECTION = b"c"


class Tally:
    """How many connections each worker has closed: memory that parent and workers share."""

    def __init__(self, count: int) -> None:
        self._memory = mmap.mmap(-1, max(count * 8, mmap.PAGESIZE))
        self._closed = memoryview(self._memory).cast("Q")

    def note_closed(self, slot: int) -> None:
        """Called by the worker of `slot`, and by nobody else."""
        self._closed[slot] += 1

    def closed(self, slot: int) -> int:
        """The count of a worker since it was reset."""
        return self._closed[slot]

    def reset(self, slot: int) -> None:
        """A new worker starts from nought."""
        self._closed[slot] = 0


@dataclass(slots=True)
class Worker:
    """A worker process as its parent sees it."""

    slot: int
    pid: int
    channel: socket.socket
    started_ns: int
    ready: bool = False
    sent: int = 0
    end_ns: int | None = None
    """When it is to end that alone was told to stop."""


RunWorker = Callable[[socket.socket, Callable[[], None], bool], int]
"""Called in the worker: (channel, to be called for each closed connection, whether the server is
about to stop, so that the worker must not say that it is ready) → exit status.

Sends READY over the channel once it serves, and ends when the other side closes it.
"""


class Supervisor:
    """Starts workers, deals connections out, restarts what dies, stops on a signal.

    Args:
        listener: bound and listening; the supervisor closes it.
        count: number of workers.
        grace_s: how long workers take at most to finish what runs.
        drain_s: how long connections are still accepted after SIGTERM.
        on_ready: called once when all workers serve for the first time.
    """

    def __init__(
        self,
        listener: socket.socket,
        count: int,
        run_worker: RunWorker,
        *,
        clock: Clock,
        grace_s: float,
        on_ready: Callable[[], None],
        drain_s: float = 0.0,
    ) -> None:
        self._listener = listener
        self._run_worker = run_worker
        self._clock = clock
        self._grace_ns = int(grace_s * 1e9)
        self._drain_ns = int(drain_s * 1e9)
        self._drained_ns: int | None = None
        self._on_ready = on_ready
        self._tally = Tally(count)
        self._workers: list[Worker | None] = [None] * count
        self._restart_ns: list[int | None] = [None] * count
        self._backoff_ns = [0] * count
        self._next_slot = 0
        self._selector = selectors.DefaultSelector()
        self._accepting = False
        self._announced = False
        self._stop_signals = 0
        self._is_interrupted = False
        self._failed = False

    def run(self) -> int:
        """Supervise until told to stop; returns the exit status."""
        wake_read, wake_write = socket.socketpair()
        for end in (wake_read, wake_write):
            end.setblocking(False)
        self._wakeup = (wake_read, wake_write)
        self._selector.register(wake_read, selectors.EVENT_READ, None)
        self._listener.setblocking(False)
        signal.set_wakeup_fd(wake_write.fileno())
        for number in _STOP_SIGNALS:
            signal.signal(number, self._on_stop_signal)
        signal.signal(signal.SIGCHLD, lambda *_: None)  # only to wake the selector
        try:
            self._restart_ns[0] = 0  # the first alone: it may have a store to create or recover
            while not self._stop_signals and not self._failed:
                self._step()
            self._drain()
            return self._stop()
        finally:
            signal.set_wakeup_fd(-1)

    def _on_stop_signal(self, number: int, frame: object) -> None:
        self._stop_signals += 1
        self._is_interrupted = self._is_interrupted or number == signal.SIGINT

    def _step(self) -> None:
        self._start_due()
        self._end_due()
        self._listen(any(worker is not None and worker.ready for worker in self._workers))
        for key, _ in self._selector.select(self._timeout_s()):
            if key.fileobj is self._listener:
                self._accept()
            elif key.data is not None:
                self._hear(key.data)
            else:
                self._drain_wakeups()
        self._reap()

    def _timeout_s(self) -> float | None:
        due = [time_ns for time_ns in self._restart_ns if time_ns is not None]
        if not self._stop_signals:
            due += [worker.end_ns for worker in self._living() if worker.end_ns is not None]
        if self._drained_ns is not None:
            due.append(self._drained_ns)
        if not due:
            return None
        return max(0.0, (min(due) - self._clock.monotonic_ns()) / 1e9)

    def _living(self) -> list[Worker]:
        return [worker for worker in self._workers if worker is not None]

    def _drain_wakeups(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while self._wakeup[0].recv(4096):
                pass

    # Starting.

    def _start_due(self) -> None:
        now_ns = self._clock.monotonic_ns()
        for slot, due_ns in enumerate(self._restart_ns):
            if due_ns is not None and due_ns <= now_ns:
                self._restart_ns[slot] = None
                self._start(slot)

    def _end_due(self) -> None:
        """End who alone was told to stop; where all are, the end comes for all."""
        if self._stop_signals:
            return
        for worker in self._living():
            if worker.end_ns is not None and worker.end_ns <= self._clock.monotonic_ns():
                self._end(worker)

    def _start(self, slot: int) -> None:
        try:
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        except OSError as error:
            self._postpone(slot, error)
            return
        self._tally.reset(slot)
        sys.stdout.flush()
        sys.stderr.flush()
        try:
            pid = _fork()
        except OSError as error:
            ours.close()
            theirs.close()
            self._postpone(slot, error)
            return
        if pid == 0:
            ours.close()
            self._be_worker(slot, theirs)
        theirs.close()
        ours.setblocking(False)
        worker = Worker(slot, pid, ours, self._clock.monotonic_ns())
        self._workers[slot] = worker
        self._selector.register(ours, selectors.EVENT_READ, worker)

    def _postpone(self, slot: int, error: OSError) -> None:
        """The system has no process or descriptor to give, for now."""
        logger.warning("cannot start worker %d: %s", slot, error)
        self._restart_ns[slot] = self._clock.monotonic_ns() + self._back_off(slot)

    def _be_worker(self, slot: int, channel: socket.socket) -> NoReturn:
        """The life of a worker; leaves without running anything of the parent's."""
        status = 1
        try:
            signal.set_wakeup_fd(-1)
            for number in (*_STOP_SIGNALS, signal.SIGCHLD):
                signal.signal(number, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOP_SIGNALS)
            self._selector.close()
            self._listener.close()
            for end in self._wakeup:
                end.close()
            for other in self._workers:
                if other is not None:
                    other.channel.close()
            is_ending = self._drained_ns is not None
            status = self._run_worker(channel, lambda: self._tally.note_closed(slot), is_ending)
        except KeyboardInterrupt:
            status = 0
        except BaseException:
            logger.exception("worker %d failed", slot)
        finally:
            with contextlib.suppress(OSError, ValueError):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(status)

    def _hear(self, worker: Worker) -> None:
        """A word from a worker; silence means that it is gone."""
        try:
            said = worker.channel.recv(16)
        except BlockingIOError:
            return
        except OSError:
            said = b""
        if not said:
            if worker.channel in self._selector.get_map():
                self._selector.unregister(worker.channel)
            worker.ready = False
            return
        if said == TOLD_TO_STOP:
            # Its parent may be about to hear the same.
            worker.end_ns = self._clock.monotonic_ns() + ALONE_NS
            return
        if self._drained_ns is not None:
            self._signal(worker, DRAIN_SIGNAL)  # started before; and connections come after it
        worker.ready = True
        for slot, other in enumerate(self._workers):
            if other is None and self._restart_ns[slot] is None:
                self._restart_ns[slot] = 0
        ready = all(other is not None and other.ready for other in self._workers)
        if ready and not self._announced:
            self._announced = True
            self._on_ready()

    # Connections.

    def _listen(self, wanted: bool) -> None:
        if wanted and not self._accepting:
            self._selector.register(self._listener, selectors.EVENT_READ)
        elif self._accepting and not wanted:
            self._selector.unregister(self._listener)
        self._accepting = wanted

    def _accept(self) -> None:
        for _ in range(ACCEPT_BATCH):
            try:
                connection, _ = self._listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                if error.errno not in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                    raise
                logger.warning("cannot accept a connection: %s", error)
                self._pause()
                return
            with connection:
                self._deal_or_drop(connection)

    def _pause(self) -> None:
        self._clock.sleep_until(self._clock.monotonic_ns() + int(PAUSE_S * 1e9))

    def _deal_or_drop(self, connection: socket.socket) -> None:
        """Pass a connection on; while the workers' channels are full, the others wait behind it."""
        for _ in range(DEAL_TRIES):
            if self._deal(connection):
                return
            self._pause()
        logger.warning("no worker takes a connection: dropped")

    def _deal(self, connection: socket.socket) -> bool:
        """Pass a connection to the worker with the fewest; False when none takes it."""
        count = len(self._workers)
        ready = [worker for worker in self._workers if worker is not None and worker.ready]
        ready.sort(key=lambda w: (self._open(w), (w.slot - self._next_slot) % count))
        for worker in ready:
            try:
                socket.send_fds(worker.channel, [CONNECTION], [connection.fileno()])
            except OSError:
                continue  # full, or gone
            worker.sent += 1
            self._next_slot = (worker.slot + 1) % count
            return True
        return False

    def _open(self, worker: Worker) -> int:
        return worker.sent - self._tally.closed(worker.slot)

    # Ends.

    def _reap(self) -> None:
        for slot, worker in enumerate(self._workers):
            if worker is None:
                continue
            pid, wait_status = os.waitpid(worker.pid, os.WNOHANG)
            if pid:
                self._bury(worker, os.waitstatus_to_exitcode(wait_status))
                self._plan_restart(slot, worker, os.waitstatus_to_exitcode(wait_status))

    def _bury(self, worker: Worker, status: int) -> None:
        self._workers[worker.slot] = None
        if worker.channel in self._selector.get_map():
            self._selector.unregister(worker.channel)
        worker.channel.close()
        if status != 0 and not self._stop_signals:
            logger.error("worker %d (pid %d) ended with %d", worker.slot, worker.pid, status)

    def _plan_restart(self, slot: int, worker: Worker, status: int) -> None:
        if status == EXIT_NOT_STARTED and not self._announced:
            self._failed = True
            return
        now_ns = self._clock.monotonic_ns()
        if now_ns - worker.started_ns >= STABLE_NS:
            self._backoff_ns[slot] = 0
        self._restart_ns[slot] = now_ns + self._back_off(slot)

    def _back_off(self, slot: int) -> int:
        """How many nanoseconds to wait before the next start, which the one after doubles."""
        backoff_ns = self._backoff_ns[slot]
        self._backoff_ns[slot] = min(max(FIRST_BACKOFF_NS, backoff_ns * 2), MAX_BACKOFF_NS)
        return backoff_ns

    def _drain(self) -> None:
        """Go on for a while after SIGTERM, in which the workers say that they are not ready."""
        if not self._drain_ns or self._is_interrupted or self._failed:
            return
        self._drained_ns = self._clock.monotonic_ns() + self._drain_ns
        for worker in self._living():
            if worker.ready:  # before that the signal would end it
                self._signal(worker, DRAIN_SIGNAL)
        while self._stop_signals == 1 and self._clock.monotonic_ns() < self._drained_ns:
            self._step()

    def _stop(self) -> int:
        """Have the workers finish; kill those that do not in time, or at a second signal."""
        self._listen(False)
        self._listener.close()
        for worker in self._living():
            self._end(worker)
        signals = self._stop_signals
        deadline_ns = self._clock.monotonic_ns() + self._grace_ns + KILL_AFTER_NS
        clean = not self._failed
        while living := self._living():
            for worker in living:
                pid, wait_status = os.waitpid(worker.pid, os.WNOHANG)
                if pid:
                    status = os.waitstatus_to_exitcode(wait_status)
                    self._bury(worker, status)
                    clean = clean and status in _STOPPED
            late_ns = self._clock.monotonic_ns() - deadline_ns
            if late_ns >= 0 or self._stop_signals > max(signals, 1):
                for worker in self._living():
                    self._signal(worker, signal.SIGKILL)
                clean = False
            self._selector.select(0.1)
            self._drain_wakeups()
        return 0 if clean else 1

    def _end(self, worker: Worker) -> None:
        """Have a worker finish: it takes what it was sent, and then nobody any more."""
        worker.end_ns = None
        with contextlib.suppress(OSError):
            worker.channel.shutdown(socket.SHUT_WR)
        if not worker.ready:  # and may not listen for long
            self._signal(worker, signal.SIGTERM)
        worker.ready = False

    def _signal(self, worker: Worker, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(worker.pid, number)


def _fork() -> int:
    """`os.fork`, with the stop signals held back in the child.

    A worker that is told to stop before it has let go of the parent's handlers would count
    that as the parent does, and go on.

    Raises:
        OSError: there is no process to be had.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, _STOP_SIGNALS)
    pid = -1
    try:
        pid = os.fork()
    finally:
        if pid != 0:  # also where there was none: the parent must still hear
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOP_SIGNALS)
    return pid
