"""The generator processes: started once, given one plan after the other."""

from __future__ import annotations

import gc
import multiprocessing
import signal
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection as Pipe
from types import TracebackType
from typing import Any, Self

from bench.load import Driver, Outcome, Plan, sign_requests
from bench.signing import timestamp_now

PREPARE_TIMEOUT_S = 120.0


class GeneratorFailed(Exception):
    """A generator process could not do what it was told, or is gone."""


class Fleet:
    """`size` generator processes.  A context manager: they end with it."""

    def __init__(self, size: int = 1) -> None:
        # Spawned, not forked: they share nothing with a parent that may have threads.
        context = multiprocessing.get_context("spawn")
        self._processes = []
        self._pipes: list[Pipe[Any, Any]] = []
        for _ in range(size):
            ours, theirs = context.Pipe()
            process = context.Process(target=_generate, args=(theirs,), daemon=True)
            process.start()
            theirs.close()
            self._processes.append(process)
            self._pipes.append(ours)

    @property
    def size(self) -> int:
        """How many processes there are."""
        return len(self._pipes)

    def run(
        self, plans: Sequence[Plan], *, before: Callable[[], None] = lambda: None
    ) -> list[Outcome]:
        """Give each process its plan; when all have signed and connected, call `before` and start.

        Raises:
            GeneratorFailed: a process did not get ready, failed or went away.
        """
        timestamp = timestamp_now()
        pipes = self._pipes[: len(plans)]
        for pipe, plan in zip(pipes, plans, strict=True):
            pipe.send((plan, timestamp))
        for pipe in pipes:
            self._receive(pipe, PREPARE_TIMEOUT_S)
        before()
        for pipe in pipes:
            pipe.send("go")
        return [self._receive(pipe, plans[0].seconds + PREPARE_TIMEOUT_S) for pipe in pipes]

    def _receive(self, pipe: Pipe[Any, Any], timeout_s: float) -> Any:
        try:
            if not pipe.poll(timeout_s):
                raise GeneratorFailed(f"a generator said nothing for {timeout_s} s")
            answer = pipe.recv()
        except EOFError as error:
            raise GeneratorFailed("a generator process ended early") from error
        if isinstance(answer, str) and answer != "ready":
            raise GeneratorFailed(answer)
        return answer

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for pipe in self._pipes:
            pipe.close()  # a generator that waits sees the end and leaves
        for process in self._processes:
            process.join(5)
            if process.is_alive():
                process.kill()
                process.join()


def _generate(pipe: Pipe[Any, Any]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides when this ends
    while True:
        try:
            plan, timestamp = pipe.recv()
        except EOFError:
            return
        try:
            _drive(pipe, plan, timestamp)
        except Exception as error:
            pipe.send(f"a generator failed: {type(error).__name__}: {error}")


def _drive(pipe: Pipe[Any, Any], plan: Plan, timestamp: str) -> None:
    driver = Driver(plan, sign_requests(plan, timestamp))
    try:
        pipe.send("ready")
        pipe.recv()
        gc.disable()  # or it walks the signed requests again and again within the window
        outcome = driver.run()
    finally:
        gc.enable()
        driver.close()
    pipe.send(outcome)
