"""The part of the whole-store check that is about versions: their order, and their parts.

What the index has is what the log says, which the check compares row by row.  Here it is
held against the invariants of `engine.apply`, which both of them could break alike.
"""

from __future__ import annotations

from collections.abc import Iterator

from objstore.engine.apply import manifest_body
from objstore.index import keys, schema
from objstore.index.base import ReadTransaction
from objstore.index.schema import FLAG_MANIFEST, FLAG_NULL, Head, row_body, unpack_head


def version_problems(txn: ReadTransaction) -> Iterator[str]:
    """What is wrong with versions and with the parts of objects, in words."""
    for key, row in txn.scan(b"o", keys.after(b"o")):
        head = unpack_head(row)
        yield from _key_problems(txn, int.from_bytes(key[1:5], "big"), key[5:], head)
        yield from _part_problems(txn, key, head, row)
    for key, row in txn.scan(b"v", keys.after(b"v")):
        name, _end = keys.unterminated(key, 5)
        if txn.get(keys.current(int.from_bytes(key[1:5], "big"), name)) is None:
            yield f"row {key!r} is of an older version, and there is no newer one"
        yield from _part_problems(txn, key, unpack_head(row), row)
    yield from _null_problems(txn)


def _key_problems(
    txn: ReadTransaction, bucket_id: int, name: bytes, current: Head
) -> Iterator[str]:
    """The current version is the newest, and one at most is the null version."""
    prefix = keys.versions_prefix(bucket_id, name)
    nulls = int(bool(current.flags & FLAG_NULL))
    for key, row in txn.scan(prefix, keys.after(prefix)):
        head = unpack_head(row)
        if head.version_seq >= current.version_seq:
            yield f"row {key!r} is of a version that is newer than the current one"
        if key != keys.version(bucket_id, name, head.version_seq):
            yield f"row {key!r} holds version {head.version_seq}"
        if head.flags & FLAG_NULL:
            nulls += 1
            position = txn.get(keys.null_position(bucket_id, name))
            if position != head.version_seq.to_bytes(8, "big"):
                yield f"row {key!r} is of the null version, which is said to be elsewhere"
    if nulls > 1:
        yield f"key {name!r} of bucket {bucket_id} has {nulls} null versions"


def _null_problems(txn: ReadTransaction) -> Iterator[str]:
    """Where a null version is said to be, one is."""
    for key, position in txn.scan(b"z", keys.after(b"z")):
        bucket_id = int.from_bytes(key[1:5], "big")
        row = txn.get(keys.version(bucket_id, key[5:], int.from_bytes(position, "big")))
        if row is None or not unpack_head(row).flags & FLAG_NULL:
            yield f"row {key!r} names a null version that is not there"


def _part_problems(txn: ReadTransaction, key: bytes, head: Head, row: bytes) -> Iterator[str]:
    """The parts of an object follow each other from its first byte to its last."""
    if not head.flags & FLAG_MANIFEST:
        return
    body = schema.decode_version(row_body(row))
    position = count = last_number = 0
    prefix = keys.manifest_prefix(head.version_seq)
    for run_key, run_row in txn.scan(prefix, keys.after(prefix)):
        run = schema.decode_manifest(manifest_body(run_row))
        if run.start_byte != position:
            yield f"row {run_key!r} begins at byte {run.start_byte} instead of {position}"
        for part in run.parts:
            if part.part_number <= last_number:
                yield f"row {run_key!r} has part {part.part_number} behind part {last_number}"
            last_number = part.part_number
            position += part.size_bytes
            count += 1
    if (position, count) != (body.size_bytes, body.etag_parts):
        yield (
            f"the {count} parts of row {key!r} have {position} bytes, "
            f"and not {body.etag_parts} parts {body.size_bytes}"
        )
