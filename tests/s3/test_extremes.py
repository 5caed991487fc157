"""Values at their worst, to every operation: bytes that are no text, numbers without end, markers
that contradict.  `test_bad_input` has what is wrong with each operation's own rules; here the
bytes of the request are the test's own, and what is compared is all that requests can see.
"""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from objstore.s3.operation import Operation
from objstore.s3.table import OPERATIONS
from tests.s3 import extremes_buckets, extremes_objects
from tests.s3.extremes import Bad, state, world
from tests.s3.harness import S3
from tests.s3.harness import backend as backend

OFFERED = [row for row in OPERATIONS if row.handler is not None]
ROWS = [*extremes_buckets.ROWS, *extremes_objects.ROWS]
_PATHS = {"service": "/", "bucket": "/bucket", "object": "/bucket/key"}


def _refused(rows: Iterable[Bad]) -> None:
    """Each row is answered as it says, and the server is afterwards what it was before."""
    server = S3(min_part_bytes=1)
    ids = world(server)
    before = state(server, ids)
    wrong = []
    for row in rows:
        reply = row.send(server, ids)
        code = "" if row.method == "HEAD" else reply.code
        if (reply.status, code) != (row.status, row.code):
            wrong.append((str(row)[:300], reply.status, reply.body[:300]))
        if state(server, ids) != before:
            wrong.append((str(row)[:300], reply.status, b"something was changed"))
            break
    assert wrong == []


@pytest.mark.parametrize("name", [operation.name for operation in OFFERED])
def test_extremes(name: str) -> None:
    _refused(row for row in ROWS if row.operation == name)


def test_every_operation_has_a_row() -> None:
    assert {row.operation for row in ROWS} == {operation.name for operation in OFFERED}


def _query(operation: Operation, more: str) -> str:
    """What selects an operation, and `more`."""
    return "&".join((*operation.selectors, more))


def _of_any(operation: Operation) -> Iterable[Bad]:
    """What is wrong with any request: text that is not UTF-8, parameters that nobody knows."""
    method, path = operation.method, _PATHS[operation.level]
    headers = {}
    if operation.header_selector:
        headers[operation.header_selector.decode()] = "bucket/other"

    def row(path: str, status: int, code: str, query: str = "") -> Bad:
        shown = "" if method == "HEAD" else code
        return Bad(operation.name, method, path, status, shown, query, headers=headers)

    yield row(path, 400, "InvalidURI", _query(operation, "x%FF=1"))
    yield row(path, 400, "InvalidURI", _query(operation, "prefix=%C3"))
    yield row(path, 501, "NotImplemented", _query(operation, "nobody-knows=1"))
    if operation.level == "object":
        query = "&".join(operation.selectors)
        yield row("/bucket/%FF", 400, "InvalidURI", query)
        yield row("/bucket/" + "k" * 1025, 400, "KeyTooLongError", query)
        yield row("/bucket/" + "%C3%A4" * 513, 400, "KeyTooLongError", query)
    if operation.level == "bucket":
        yield row("/%FF", 400, "InvalidURI", "&".join(operation.selectors))


@pytest.mark.parametrize("operation", OFFERED, ids=lambda operation: operation.name)
def test_what_is_wrong_with_any_request(operation: Operation) -> None:
    _refused(_of_any(operation))
