"""One flush for many writers: whoever comes while one runs shares the next."""

from __future__ import annotations

import threading

from blockdev import BlockDevice, DeviceError


class FlushGate:
    """Makes what was written durable, with as few flushes as there can be.

    A flush that failed is never retried: what it should have made durable may be
    gone, and a later one that succeeds would say nothing of it.
    """

    def __init__(self, device: BlockDevice) -> None:
        self._device = device
        self._mutex = threading.Condition()
        self._started = 0
        self._finished = 0
        self._is_running = False
        self._failure: DeviceError | None = None

    def flush(self) -> None:
        """Everything this thread has written is durable on return.

        Raises:
            DeviceError: this flush, or one before it, failed.
        """
        with self._mutex:
            # A flush that runs already may have begun before our write: wait for the next.
            wanted = self._started + 1
            while self._finished < wanted and self._failure is None and self._is_running:
                self._mutex.wait()
            if self._failure is not None:
                raise self._failure
            if self._finished >= wanted:
                return
            self._is_running = True
            self._started += 1
            number = self._started
        self._run(number)

    def _run(self, number: int) -> None:
        failure: DeviceError | None = None
        is_done = False
        try:
            self._device.flush()
            is_done = True
        except DeviceError as error:
            failure = error
            raise
        finally:  # also of a KeyboardInterrupt: then others flush for themselves
            with self._mutex:
                self._finished = number if is_done else self._finished
                self._is_running = False
                self._failure = self._failure or failure
                self._mutex.notify_all()
