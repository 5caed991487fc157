"""What the engine's operations are to the commit: each decides, and gives its records."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from objstore.index.base import WriteTransaction
from objstore.index.schema import BucketBody
from objstore.log.format import Record


@dataclass(slots=True)
class Decision:
    """What an operation may look at, and take numbers from, while it decides.

    `buckets`: those looked up in this batch already; records about buckets empty it.
    """

    txn: WriteTransaction
    now_ms: int
    next_lsn: int
    next_bucket_id: int
    buckets: dict[str, BucketBody] = field(default_factory=dict)

    def take_bucket_id(self) -> int:
        self.next_bucket_id += 1
        return self.next_bucket_id - 1


class NotPreparedError(Exception):
    """An operation needs something that may take long, and must not keep all writers waiting.

    `Core.commit` calls `prepare`, outside of any transaction, and commits the operation
    again.  No caller ever sees this.
    """

    def __init__(self, prepare: Callable[[], object]) -> None:
        super().__init__("the operation has to be prepared")
        self.prepare = prepare


class Operation(Protocol):
    """One mutation."""

    @property
    def size_bound_bytes(self) -> int:
        """The most that its records can take in the log."""
        ...

    @property
    def leaves_segments(self) -> int:
        """How many segments it must leave free: `space.FOR_WRITES` and the like."""
        ...

    def decide(self, decision: Decision) -> Sequence[Record]:
        """The records to write, in order; or raise a `StoreError` and nothing happens.

        Raises:
            NotPreparedError: something else has to be done first.
        """
        ...
