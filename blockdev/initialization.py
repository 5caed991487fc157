"""Loading a restored volume in the background, at a rate."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from typing import Final

from blockdev.block_codec import BLOCK_BYTES
from blockdev.clock import Clock
from blockdev.errors import DeviceError
from blockdev.volume_blocks import VolumeBlocks

POLL_S: Final = 0.02
"""How often the thread looks at the clock.  It waits in real time and counts in the clock's,
so that it neither moves a clock that is moved by hand nor misses its moving."""


class Initializer:
    """One thread that loads remote blocks in order of their index."""

    def __init__(self, blocks: VolumeBlocks, clock: Clock) -> None:
        self._blocks = blocks
        self._clock = clock
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._bytes_per_s: int | None = None
        self._since_ns = 0
        self._loaded_bytes = 0

    def start(self, bytes_per_s: int | None, finished: Callable[[], None]) -> None:
        """Load at `bytes_per_s` from now on, None for as fast as it goes; then call `finished`.

        Raises:
            ValueError: a rate of nothing.
        """
        if bytes_per_s is not None and bytes_per_s < 1:
            raise ValueError(f"no rate of {bytes_per_s} bytes a second")
        with self._lock:
            self._bytes_per_s = bytes_per_s
            self._since_ns = self._clock.monotonic_ns()
            self._loaded_bytes = 0
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(
                    target=self._run, args=(finished,), name="initialize", daemon=True
                )
                self._thread.start()

    def stop(self) -> None:
        """End the thread; what is not loaded stays remote."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self, finished: Callable[[], None]) -> None:
        """A failed block ends it: whoever touches that block hears of it."""
        at = 0
        with contextlib.suppress(DeviceError):
            while self._blocks.remote_left and not self._stop.is_set():
                if not self._is_due():
                    self._stop.wait(POLL_S)
                    continue
                at = self._load_next(at)
            if not self._stop.is_set():
                self._blocks.flush()
                finished()

    def _is_due(self) -> bool:
        with self._lock:
            if self._bytes_per_s is None:
                return True
            elapsed_ns = self._clock.monotonic_ns() - self._since_ns
            return self._loaded_bytes < elapsed_ns * self._bytes_per_s // 1_000_000_000

    def _load_next(self, at: int) -> int:
        """Load the next remote block from `at` on; return where to go on."""
        limit = self._blocks.limit
        chunk_blocks = 4096
        while at < limit:
            found = self._blocks.remote_within(at, min(at + chunk_blocks, limit))
            if found:
                if self._blocks.load(found[0]):
                    with self._lock:
                        self._loaded_bytes += BLOCK_BYTES
                return found[0] + 1
            at = min(at + chunk_blocks, limit)
        return 0
