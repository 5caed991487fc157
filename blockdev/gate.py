"""A gate that many pass through, and that one may hold shut for an instant."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator


class Gate:
    """Writers pass together; `shut` waits until they are out and keeps further ones waiting.

    A writer calls `enter`, and `leave` in any case, and neither enters twice nor shuts
    the gate while inside.  The price of passing is two uncontended locks.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._inside = 0
        self._shut = False
        self._frozen = False

    def enter(self) -> None:
        """Pass, as soon as the gate is open."""
        with self._lock:
            while self._shut or self._frozen:
                self._changed.wait()
            self._inside += 1

    def leave(self) -> None:
        """Be out."""
        with self._lock:
            self._inside -= 1
            if (self._shut or self._frozen) and not self._inside:
                self._changed.notify_all()

    def freeze(self) -> None:
        """Keep writers out until `thaw`, whichever thread calls that; waits until none is in.

        Others may still shut the gate meanwhile.
        """
        with self._lock:
            self._frozen = True
            while self._inside:
                self._changed.wait()

    def thaw(self) -> None:
        """Undo `freeze`; idempotent."""
        with self._lock:
            self._frozen = False
            self._changed.notify_all()

    @contextlib.contextmanager
    def shut(self) -> Iterator[None]:
        """Hold the gate shut, with nobody inside."""
        with self._lock:
            while self._shut:
                self._changed.wait()
            self._shut = True
            while self._inside:
                self._changed.wait()
        try:
            yield
        finally:
            with self._lock:
                self._shut = False
                self._changed.notify_all()
