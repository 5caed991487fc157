"""After any sequence of operations and reboots, the store is what a dict would be.

Everything is small, so that segments roll, are compacted and used again, checkpoints
are taken and parts of large objects lie in several segments.  A reboot cuts the power:
the index is gone, and the store comes back from a checkpoint or from the log alone.

"""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, rule

from objstore.engine.check import rebuild
from objstore.engine.opening import Folder
from tests.crash.tiny import TINY, assert_clean, forget_checkpoints, forget_index
from tests.stateful.store_growth_rules import GrowthRules
from tests.stateful.store_strategies import BUCKETS, seeds


class StoreMachine(GrowthRules):
    """All rules, and what happens to a store besides requests."""

    @rule()
    def maintain(self) -> None:
        self.store.maintain()
        assert_clean(self.store)

    @rule()
    def checkpoint(self) -> None:
        self.store.checkpoint()
        assert_clean(self.store)

    @rule()
    def reopen(self) -> None:
        self.store.close()
        self.store = self.open()
        assert self.store.recovery is None

    @rule(
        seed=seeds,
        checkpoints=st.sampled_from(("kept", "kept", "gone", "newest gone", "newest damaged")),
    )
    def reboot(self, seed: int, checkpoints: str) -> None:
        device = self.device.cut(seed)
        self.store.close()
        self.device = device
        forget_index(self.path)
        if checkpoints == "gone":
            forget_checkpoints(self.path)
        elif checkpoints == "newest gone":
            for note in sorted((self.path / "checkpoints").glob("*.json"))[-1:]:
                note.unlink()
        elif checkpoints == "newest damaged":
            for image in sorted((self.path / "checkpoints").glob("*.mdb"))[-1:]:
                damaged = bytearray(image.read_bytes())
                damaged[len(damaged) // 2] ^= 1
                image.write_bytes(damaged)
        self.store = self.open()
        assert self.store.recovery is not None
        assert_clean(self.store)

    @rule()
    def rebuild_from_the_log(self) -> None:
        self.store.close()
        report = rebuild(Folder(self.path), self.device, TINY)
        assert report.problems == []
        self.store = self.open()
        assert_clean(self.store)

    @invariant()
    def same_keys(self) -> None:
        if hasattr(self, "store"):
            for name in BUCKETS:
                self.ask("list", name)


TestStoreMachine = StoreMachine.TestCase
TestStoreMachine.settings = settings(stateful_step_count=60)
