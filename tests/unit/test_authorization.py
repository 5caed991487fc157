"""The table of S3's operations and the actions that they need."""

from __future__ import annotations

from objstore.auth.vocabulary import ACTIONS as KNOWN
from objstore.s3.authorization import ACTIONS, FOR_NOBODY
from objstore.s3.table import OPERATIONS


def test_every_operation_that_is_offered_needs_something_that_s3_has() -> None:
    account = {"s3:ListAllMyBuckets"}
    offered = {row.name for row in OPERATIONS if row.handler is not None}
    assert offered <= ACTIONS.keys()
    for name in offered - {"DeleteObjects"}:
        assert ACTIONS[name], name
        assert set(ACTIONS[name]) <= KNOWN | account, name
    assert offered >= FOR_NOBODY
