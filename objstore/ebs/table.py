"""The operations of the EBS direct APIs: all six, by method and path."""

from __future__ import annotations

from typing import Final

from objstore.ebs import reading, writing
from objstore.ebs.operation import Operation

OPERATIONS: Final = (
    Operation("StartSnapshot", "POST", ("snapshots",), writing.start_snapshot),
    Operation(
        "PutSnapshotBlock",
        "PUT",
        ("snapshots", "{}", "blocks", "{}"),
        writing.put_block,
        unsigned_body=True,
    ),
    Operation(
        "CompleteSnapshot", "POST", ("snapshots", "completion", "{}"), writing.complete_snapshot
    ),
    Operation("GetSnapshotBlock", "GET", ("snapshots", "{}", "blocks", "{}"), reading.get_block),
    Operation("ListSnapshotBlocks", "GET", ("snapshots", "{}", "blocks"), reading.list_blocks),
    Operation(
        "ListChangedBlocks", "GET", ("snapshots", "{}", "changedblocks"), reading.list_changed
    ),
)


def find(method: str, raw_path: bytes) -> Operation | None:
    """The operation that a request names, by its path as it was sent."""
    segments = raw_path.decode("latin-1").split("/")[1:]
    for row in OPERATIONS:
        if row.method == method and len(row.path) == len(segments):
            pairs = zip(row.path, segments, strict=True)
            if all(wanted == "{}" or wanted == given for wanted, given in pairs):
                return row
    return None
