"""Every operation of S3's published model is called, and the whole store compared with before.

What is offered answers as S3 would, and what is not says so by its name: nothing falls through
to another operation.
"""

from __future__ import annotations

from typing import Any

import pytest

from objstore.s3.table import ALIASES, OPERATIONS
from tests.s3.extremes import state
from tests.s3.harness import S3, Reply, backend, md5_header
from tests.s3.test_mutations import rich_world
from tests.s3.test_router import MODEL, SERIALIZER, every_query_argument, required

__all__ = ["backend"]

ROWS = {row.name: row for row in OPERATIONS}
READS = ("Get", "Head", "List", "Select")


def call(server: S3, name: str, arguments: dict[str, Any]) -> Reply:
    """What botocore would send of an operation, but for its signature."""
    made = SERIALIZER.serialize_to_request(arguments, MODEL.operation_model(name))
    path, _, query = made["url_path"].partition("?")
    pairs = [query] if query else []
    pairs += [
        f"{key}={value}" if value != "" else key for key, value in made["query_string"].items()
    ]
    body = made["body"] if isinstance(made["body"], bytes) else b""
    headers = {key.lower(): str(value) for key, value in made["headers"].items()}
    if body:
        headers["content-md5"] = md5_header(body)
    return server(made["method"], path, body, query="&".join(pairs), headers=headers)


@pytest.mark.parametrize("name", MODEL.operation_names)
def test_an_operation(name: str) -> None:
    server = S3(min_part_bytes=1)
    ids = rich_world(server)
    row = ROWS[ALIASES.get(name, name)]
    for arguments in (required, every_query_argument):
        given = arguments(MODEL.operation_model(name))
        for member, value in (("Bucket", "bucket"), ("Key", "key"), ("UploadId", ids["upload"])):
            if member in given:
                given[member] = value
        before = state(server, ids)
        reply = call(server, name, given)
        after = state(server, ids)
        assert reply.status < 500 or reply.status == 501, reply
        if row.handler is None:
            assert reply.status == 501, reply
            if row.method != "HEAD":
                assert reply.code == "NotImplemented"
        if row.handler is None or reply.status >= 400 or name.startswith(READS):
            assert after == before, reply
