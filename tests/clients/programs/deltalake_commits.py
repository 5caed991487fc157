"""deltalake: several processes commit to one table at once, by conditional puts alone."""

from __future__ import annotations

import multiprocessing
import sys

import pyarrow as pa
from deltalake import DeltaTable, write_deltalake

WRITERS, COMMITS, ROWS = 4, 5, 100

url, access_key, secret_key, bucket = sys.argv[1:]
TABLE = f"s3://{bucket}/table"
OPTIONS = {
    "AWS_ENDPOINT_URL": url,
    "AWS_ACCESS_KEY_ID": access_key,
    "AWS_SECRET_ACCESS_KEY": secret_key,
    "AWS_REGION": "us-east-1",
    "AWS_ALLOW_HTTP": "true",
    "aws_conditional_put": "etag",
}


def rows(writer: int, commit: int) -> pa.Table:
    first = (writer * COMMITS + commit) * ROWS
    return pa.table({"id": range(first, first + ROWS), "writer": [writer] * ROWS})


def write(writer: int) -> None:
    for commit in range(COMMITS):
        write_deltalake(TABLE, rows(writer, commit), mode="append", storage_options=OPTIONS)


if __name__ == "__main__":
    empty = rows(0, 0).slice(0, 0)
    write_deltalake(TABLE, empty, storage_options=OPTIONS)
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=write, args=(number,)) for number in range(WRITERS)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * WRITERS
    table = DeltaTable(TABLE, storage_options=OPTIONS)
    assert table.version() == WRITERS * COMMITS, table.version()
    found = sorted(table.to_pyarrow_table()["id"].to_pylist())
    assert found == list(range(WRITERS * COMMITS * ROWS))
    compacted = table.optimize.compact()
    assert compacted["numFilesAdded"] == 1, compacted
    table.vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False)
    again = DeltaTable(TABLE, storage_options=OPTIONS)
    assert len(again.to_pyarrow_table()) == WRITERS * COMMITS * ROWS
    old = DeltaTable(TABLE, version=0, storage_options=OPTIONS)
    assert old.version() == 0
    print("done")
