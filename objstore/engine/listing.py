"""Listing objects in the order of their keys' bytes, folded at a delimiter."""

from __future__ import annotations

from collections.abc import Iterator

from objstore.engine import rows
from objstore.engine.core import Core
from objstore.index import keys
from objstore.index.base import ReadTransaction
from objstore.index.schema import FLAG_DELETE_MARKER, FLAGS_AT
from objstore.model import ListEntry, ListPage


def list_objects(
    core: Core, bucket: str, prefix: str, delimiter: str, start_after: str, limit: int
) -> ListPage:
    """See `ObjectStore.list`."""
    with core.index.read() as txn:
        base = keys.current_prefix(core.bucket(txn, bucket).bucket_id)
        if limit <= 0:
            return ListPage(())
        entries: list[ListEntry] = []
        prefixes: list[str] = []
        last: bytes | None = None
        found = _walk(txn, base, prefix.encode(), delimiter.encode(), start_after.encode())
        for key, row in found:
            if len(entries) + len(prefixes) == limit:
                assert last is not None
                return ListPage(tuple(entries), tuple(prefixes), last.decode())
            last = key
            if row is None:
                prefixes.append(key.decode())
            else:
                entries.append(rows.list_entry(key, row))
        return ListPage(tuple(entries), tuple(prefixes))


def _walk(
    txn: ReadTransaction, base: bytes, prefix: bytes, delimiter: bytes, start_after: bytes
) -> Iterator[tuple[bytes, bytes | None]]:
    """(key, row) of objects and (common prefix, None), in order, after `start_after`."""
    stop = keys.after(base + prefix)
    start = base + max(prefix, start_after + b"\x00" if start_after else b"")
    if delimiter and start_after.startswith(prefix):
        # A common prefix that sorts at or before `start_after` does not come up again.
        folded = fold(start_after, prefix, delimiter)
        if folded is not None:
            start = keys.after(base + folded)
    skip = len(base)
    while start is not None and start < stop:
        seek = None
        for row_key, row in txn.scan(start, stop):
            if row[FLAGS_AT] & FLAG_DELETE_MARKER:
                continue
            key = row_key[skip:]
            folded = fold(key, prefix, delimiter) if delimiter else None
            if folded is None:
                yield key, row
                continue
            yield folded, None
            seek = keys.after(base + folded)
            break
        if seek is None:
            return
        start = seek


def fold(key: bytes, prefix: bytes, delimiter: bytes) -> bytes | None:
    """The common prefix that `key` is folded into, or None."""
    at = key.find(delimiter, len(prefix))
    return None if at < 0 else key[: at + len(delimiter)]
