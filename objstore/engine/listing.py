"""Listing objects in the order of their keys' bytes, folded at a delimiter.

Rows come from the index a page at a time, and become entries all at once: handed on one by
one, each of them would cost twice as much.
"""

from __future__ import annotations

from objstore.config import LIST_FIRST_ROWS, LIST_GROWTH, LIST_MAX_ROWS
from objstore.engine import rows
from objstore.engine.core import Core
from objstore.index import keys
from objstore.index.base import ReadTransaction
from objstore.index.schema import FLAG_DELETE_MARKER, FLAGS_AT
from objstore.model import ListPage

Row = tuple[bytes, bytes]
"""Key and value in the index; the key is the bucket's prefix and the object's key."""


def list_objects(
    core: Core, bucket: str, prefix: str, delimiter: str, start_after: str, limit: int
) -> ListPage:
    """See `ObjectStore.list`."""
    with core.index.read() as txn:
        base = keys.current_prefix(core.bucket(txn, bucket).bucket_id)
        if limit <= 0:
            return ListPage(())
        wanted = base + prefix.encode()
        start = _start(base, wanted, delimiter.encode(), start_after.encode())
        # One more than asked for tells whether there is more.
        found, prefixes = _find(txn, start, wanted, delimiter.encode(), limit + 1)
    key_at = len(base)
    next_after = None
    if len(found) + len(prefixes) > limit:
        _drop_last(found, prefixes)
        next_after = _last(found, prefixes)[key_at:].decode()
    return ListPage(
        tuple(rows.list_entries(found, key_at)),
        tuple([folded[key_at:].decode() for folded in prefixes]),
        next_after,
    )


def _start(base: bytes, wanted: bytes, delimiter: bytes, start_after: bytes) -> bytes:
    """The least key in the index that may be listed."""
    if not start_after:
        return wanted
    after = base + start_after
    if delimiter and after.startswith(wanted):
        # A common prefix that sorts at or before `start_after` does not come up again.
        folded = fold(after, wanted, delimiter)
        if folded is not None:
            return keys.after(folded)
    return max(wanted, after + b"\x00")


def _find(
    txn: ReadTransaction, start: bytes, wanted: bytes, delimiter: bytes, limit: int
) -> tuple[list[Row], list[bytes]]:
    """Rows and common prefixes from `start` on, `limit` together.

    `wanted` is what the keys in the index begin with.  So do the common prefixes.
    """
    stop = keys.after(wanted)
    found: list[Row] = []
    prefixes: list[bytes] = []
    asked = LIST_FIRST_ROWS
    while left := limit - len(found) - len(prefixes):
        asked = min(asked, left)
        page = txn.page(start, stop, asked)
        live = [row for row in page if not row[1][FLAGS_AT] & FLAG_DELETE_MARKER]
        folded = _cut_at_fold(live, wanted, delimiter) if delimiter else None
        found += live
        if folded is not None:
            prefixes.append(folded)
            start = keys.after(folded)
            asked = LIST_FIRST_ROWS
        elif len(page) == asked:
            start = page[-1][0] + b"\x00"
            asked = min(asked * LIST_GROWTH, LIST_MAX_ROWS)
        else:
            break
    return found, prefixes


def _cut_at_fold(page: list[Row], wanted: bytes, delimiter: bytes) -> bytes | None:
    """Cut `page` before the first key that is folded; the common prefix of that one."""
    for index, (row_key, _) in enumerate(page):
        folded = fold(row_key, wanted, delimiter)
        if folded is not None:
            del page[index:]
            return folded
    return None


def _drop_last(found: list[Row], prefixes: list[bytes]) -> None:
    """Drop what comes last in the order of keys."""
    if found and found[-1][0] == _last(found, prefixes):
        found.pop()
    else:
        prefixes.pop()


def _last(found: list[Row], prefixes: list[bytes]) -> bytes:
    return max(found[-1][0] if found else b"", prefixes[-1] if prefixes else b"")


def fold(key: bytes, prefix: bytes, delimiter: bytes) -> bytes | None:
    """The common prefix that `key` is folded into, or None."""
    at = key.find(delimiter, len(prefix))
    return None if at < 0 else key[: at + len(delimiter)]
