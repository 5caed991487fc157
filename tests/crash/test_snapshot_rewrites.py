"""A writer and the copying of a snapshot come upon the same block.

A writer stores what it overwrites, whatever that is; the copy compares with the base first, and
stores what differs.  So a block that was written with what it held already is noted by the
one and passed over by the other: after a kill that came between note and put, or while the
writer is still at it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from blockdev.block_codec import BLOCK_BYTES
from blockdev.snapshot import SnapshotStore
from tests.crash.test_snapshot_steps import Story, folder_in_memory, reopen_after_kill, settle
from tests.faults import Killed, Steps, with_steps
from tests.volumes import WAIT_S, image_of, pattern_block

STEPS_MAX = 500

A_MOMENT_S = 0.3
"""Long enough for a copy that waits for nobody to come to its end; nothing depends on it."""


def tell(story: Story) -> None:
    """A snapshot, the same once more, another snapshot, and writes over what that has to copy."""
    story.write(0, 1)
    story.write(1, 2)
    story.snapshot("s1")
    story.volume.wait_snapshots(WAIT_S)
    story.write(0, 1)
    story.write(1, 3)
    story.snapshot("s2")
    story.write(0, 4)
    story.write(1, 5)
    story.volume.wait_snapshots(WAIT_S)


def test_a_kill_at_every_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each snapshot that was begun is completed by the next process."""
    with folder_in_memory(tmp_path) as folder:
        for at in range(1, STEPS_MAX):
            steps = Steps(at)
            story = Story(folder / f"{at}", steps)
            try:
                with monkeypatch.context() as patch:
                    with_steps(patch, steps)
                    tell(story)
            except Killed:
                reopen_after_kill(story)
                settle(story, killed=True)
            story.store.close()
            if not steps.is_dead:
                break
        assert 30 < at < STEPS_MAX - 1, "hardly a step was taken, or it never ends"


class Held:
    """A thread, which is held up when it is about to call a method of the store."""

    def __init__(
        self,
        patch: pytest.MonkeyPatch,
        store: SnapshotStore,
        method: str,
        action: Callable[[], object],
    ) -> None:
        self._reached = threading.Event()
        self._opened = threading.Event()
        self._thread = threading.Thread(target=action, daemon=True)
        inner: Callable[..., Any] = getattr(store, method)

        def held(*arguments: Any) -> Any:
            if threading.current_thread() is self._thread:
                self._reached.set()
                assert self._opened.wait(WAIT_S)
            return inner(*arguments)

        patch.setattr(store, method, held)
        self._thread.start()
        assert self._reached.wait(WAIT_S)

    def let_go(self, wait_s: float = WAIT_S) -> bool:
        """Whether it came to its end within `wait_s`."""
        self._opened.set()
        self._thread.join(wait_s)
        return not self._thread.is_alive()


@pytest.mark.parametrize("seed", [1, 3], ids=["as in the base", "changed"])
@pytest.mark.parametrize("method", ["digests", "put_blocks"])
def test_a_writer_stores_a_block_that_the_copy_has_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str, seed: int
) -> None:
    """The writer is before its note, or between note and put: all that is pending is completed."""
    story = Story(tmp_path, Steps())
    story.write(0, 1)
    story.snapshot("s1")
    story.volume.wait_snapshots(WAIT_S)
    story.write(0, seed)
    story.snapshot("s2")
    story.write(2, 2)
    story.snapshot("s3")
    copy = Held(monkeypatch, story.store, "digests", story.volume.step_snapshots)
    writer = Held(monkeypatch, story.store, method, lambda: story.write(0, 9))
    copy.let_go(A_MOMENT_S)
    assert writer.let_go()
    assert copy.let_go()
    assert story.volume.wait_snapshots(WAIT_S)
    states = {status.snapshot_id: status.state for status in story.store.statuses()}
    assert states == dict.fromkeys(("s1", "s2", "s3"), "completed")
    for name, held in (("s1", 1), ("s2", seed), ("s3", seed)):
        assert image_of(story.store, name)[:BLOCK_BYTES] == pattern_block(held)
    settle(story, killed=True)
    story.store.close()
