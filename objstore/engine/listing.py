"""Listing objects in the order of their keys' bytes, folded at a delimiter.

Rows come from the index a page at a time, and become entries all at once: of the time that
a row takes, most used to go into passing it on by itself.
"""

from __future__ import annotations

from objstore.engine import rows
from objstore.engine.core import Core
from objstore.index import keys
from objstore.index.base import ReadTransaction
from objstore.index.schema import FLAG_DELETE_MARKER, FLAGS_AT
from objstore.model import ListPage

Row = tuple[bytes, bytes]
"""Key and value in the index; the key is the bucket's prefix and the object's key."""

FIRST_ROWS = 8
GROWTH = 4
"""How many rows are read at first, and by how much more each time after that: with a
delimiter, most of what lies behind a row is often folded away."""


def list_objects(
    core: Core, bucket: str, prefix: str, delimiter: str, start_after: str, limit: int
) -> ListPage:
    """See `ObjectStore.list`."""
    with core.index.read() as txn:
        base = keys.current_prefix(core.bucket(txn, bucket).bucket_id)
        if limit <= 0:
            return ListPage(())
        start = _start(base, prefix.encode(), delimiter.encode(), start_after.encode())
        # One more than asked for tells whether there is more.
        found, prefixes = _find(txn, start, base + prefix.encode(), delimiter.encode(), limit + 1)
    next_after = None
    if len(found) + len(prefixes) > limit:
        _take_last(found, prefixes)
        next_after = max(found[-1:] + prefixes[-1:])
    at = len(base)
    return ListPage(
        tuple(rows.list_entries(found, at)),
        tuple([folded[at:].decode() for folded in prefixes]),
        next_after,
    )
