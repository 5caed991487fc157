"""What nobody signed gets nothing, whatever it asks for, unless a bucket's policy opens it."""

from __future__ import annotations

from objstore.auth.keys import ANONYMOUS, Grants, Identity
from objstore.s3.operation import Operation
from objstore.s3.table import OPERATIONS
from tests.s3.extremes import state, world
from tests.s3.harness import ROOT, S3, backend
from tests.s3.test_mutations import send
from tests.s3.valid import VALID, Valid

__all__ = ["backend"]

NO_RIGHTS = Identity(
    ROOT.id,
    "ann",
    arn="arn:aws:iam::000000000000:user/ann",
    grants=Grants(names=frozenset(("AWS:arn:aws:iam::000000000000:user/ann",))),
)


def made_up(row: Operation) -> Valid:
    """A request that names an operation, of which there is no valid one to begin with."""
    path = {"service": "/", "bucket": "/bucket", "object": "/bucket/key"}[row.level]
    query = "&".join(row.selectors)
    headers = {row.header_selector.decode(): "/bucket/key"} if row.header_selector else {}
    return Valid(row.name, row.method, path, query, b"", headers)


def test_every_operation_of_nobody() -> None:
    s3 = S3()
    ids = world(s3)
    before = state(s3, ids)
    known = {valid.operation for valid in VALID}
    asked = [*VALID, *(made_up(row) for row in OPERATIONS if row.name not in known)]
    assert {valid.operation for valid in asked} >= {row.name for row in OPERATIONS}
    for valid in asked:
        s3.authenticator.identity = ANONYMOUS
        reply = send(s3, ids, valid)
        s3.authenticator.identity = ROOT
        assert reply.status == 403, (valid.operation, reply)
    assert state(s3, ids) == before


def test_every_operation_of_somebody_without_rights() -> None:
    s3 = S3()
    ids = world(s3)
    before = state(s3, ids)
    for valid in VALID:
        s3.authenticator.identity = NO_RIGHTS
        reply = send(s3, ids, valid)
        s3.authenticator.identity = ROOT
        if valid.operation == "DeleteObjects":  # each key is judged by itself
            assert set(reply.texts("Error/Code")) == {"AccessDenied"}
        else:
            assert reply.status == 403, (valid.operation, reply)
    assert state(s3, ids) == before
