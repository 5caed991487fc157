"""Listing versions: current ones from ``o``, older ones from ``v``, merged by key.

Both run in the order of keys, and within ``v`` newest first.  Each key of ``v`` is in
``o`` as well, so a page is a walk along ``o`` with what ``v`` has of the same key behind
each row.  Rows come a page at a time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from objstore.config import LIST_FIRST_ROWS, LIST_GROWTH, LIST_MAX_ROWS
from objstore.engine import rows
from objstore.engine.core import Core
from objstore.engine.listing import fold
from objstore.engine.versions import seq_of_marker, version_id
from objstore.index import keys, schema
from objstore.index.base import ReadTransaction
from objstore.index.schema import FLAG_DELETE_MARKER, unpack_head, unpack_version_seq
from objstore.model import VersionEntry, VersionPage

Row = tuple[bytes, bytes]


class _Cursor:
    """Rows of a range in pages that grow."""

    def __init__(self, txn: ReadTransaction, start: bytes, stop: bytes) -> None:
        self._txn, self._next, self._stop = txn, start, stop
        self._page: list[Row] = []
        self._at = 0
        self._asked = LIST_FIRST_ROWS
        self._is_last = False

    def seek(self, start: bytes) -> None:
        """Go on at `start`, which is not before where this is."""
        while self._at < len(self._page) and self._page[self._at][0] < start:
            self._at += 1
        if self._at == len(self._page):
            self._next = max(self._next, start)

    def peek(self) -> Row | None:
        """The row that this is at; None at the end."""
        if self._at == len(self._page):
            if self._is_last:
                return None
            self._page = self._txn.page(self._next, self._stop, self._asked)
            self._at = 0
            self._is_last = len(self._page) < self._asked
            if not self._page:
                return None
            self._next = self._page[-1][0] + b"\x00"
            self._asked = min(self._asked * LIST_GROWTH, LIST_MAX_ROWS)
        return self._page[self._at]

    def step(self) -> None:
        self._at += 1

    def take(self, prefix: bytes, most: int, into: list[bytes]) -> bool:
        """Add the next rows whose keys begin with `prefix`; whether there are more than `most`.

        A page of rows at a time, since most rows of a listing come this way.
        """
        while self.peek() is not None:
            page = self._page
            for at in range(self._at, len(page)):
                row_key, row = page[at]
                if not row_key.startswith(prefix):
                    self._at = at
                    return False
                if not most:
                    self._at = at
                    return True
                into.append(row)
                most -= 1
            self._at = len(page)
        return False


class _Lister:
    """One page under way."""

    def __init__(
        self, txn: ReadTransaction, bucket_id: int, prefix: bytes, delimiter: bytes, limit: int
    ) -> None:
        self._txn = txn
        self._bucket_id = bucket_id
        self._prefix, self._delimiter = prefix, delimiter
        self._limit = limit
        self._base = keys.current_prefix(bucket_id)
        self._older_base = b"v" + self._base[1:]
        self.found: list[tuple[bytes, bytes, list[bytes]]] = []
        self.found_count = 0
        self.prefixes: list[bytes] = []
        # `found`: a key, its current row or none, and its older ones.

    def run(self, marker: bytes, version_marker: str) -> bool:
        """Fill the page; whether there is more."""
        start = self._base + self._prefix
        if marker:
            if version_marker and self._is_full_after(marker, version_marker):
                return True
            start = max(start, self._after(marker))
        wanted = self._base + self._prefix
        current = _Cursor(self._txn, start, keys.after(wanted))
        older_start = self._older_base + keys.terminated(start[5:])[:-2]
        older = _Cursor(self._txn, older_start, keys.after(self._older_base))
        while (row := current.peek()) is not None:
            key = row[0][5:]
            folded = fold(key, self._prefix, self._delimiter) if self._delimiter else None
            if self._is_full():
                return True
            if folded is not None:
                self.prefixes.append(folded)
                behind = keys.after(folded)
                current.seek(self._base + behind)
                older.seek(self._older_base + keys.terminated(behind)[:-2])
                continue
            current.step()
            if self._add(key, row[1], older):
                return True
        return False

    def _after(self, marker: bytes) -> bytes:
        """The least row that comes after all of `marker`, a key or a common prefix."""
        if self._delimiter and marker.startswith(self._prefix):
            folded = fold(marker, self._prefix, self._delimiter)
            if folded is not None:
                return self._base + keys.after(folded)
        return self._base + marker + b"\x00"

    def _is_full(self) -> bool:
        return self.found_count + len(self.prefixes) >= self._limit

    def _is_full_after(self, key: bytes, version_marker: str) -> bool:
        """List what is older than one version of `key`; whether there is more than fits."""
        marked_seq = seq_of_marker(self._txn, self._bucket_id, key, version_marker)
        if not key.startswith(self._prefix):
            return False
        if self._delimiter and fold(key, self._prefix, self._delimiter) is not None:
            return False  # within a common prefix, which is listed as one
        current = self._txn.get(keys.current(self._bucket_id, key))
        if current is None:
            return False
        start = prefix = keys.versions_prefix(self._bucket_id, key)
        if marked_seq is not None and unpack_head(current).version_seq >= marked_seq:
            current = b""
            start = keys.version(self._bucket_id, key, marked_seq) + b"\x00"
        return self._add(key, current, _Cursor(self._txn, start, keys.after(prefix)))

    def _add(self, key: bytes, current: bytes, older: _Cursor) -> bool:
        """Add a key's rows, `older` ones behind the `current`; whether there are more than fit."""
        prefix = keys.versions_prefix(self._bucket_id, key)
        older.seek(prefix)
        rows_of_key: list[bytes] = []
        room = self._limit - self.found_count - len(self.prefixes) - bool(current)
        is_full = older.take(prefix, room, rows_of_key)
        self.found.append((key, current, rows_of_key))
        self.found_count += len(rows_of_key) + bool(current)
        return is_full


def list_versions(
    core: Core,
    bucket: str,
    prefix: str,
    delimiter: str,
    key_marker: str,
    version_id_marker: str,
    limit: int,
) -> VersionPage:
    """See `ObjectStore.list_versions`."""
    with core.index.read() as txn:
        bucket_id = core.bucket(txn, bucket).bucket_id
        if limit <= 0:
            return VersionPage(())
        lister = _Lister(txn, bucket_id, prefix.encode(), delimiter.encode(), limit)
        has_more = lister.run(key_marker.encode(), version_id_marker)
    entries = tuple(version_entries(lister.found))
    prefixes = tuple([folded.decode() for folded in lister.prefixes])
    if not has_more:
        return VersionPage(entries, prefixes)
    last = entries[-1] if entries else None
    if last is None or (prefixes and prefixes[-1].encode() > last.key.encode()):
        return VersionPage(entries, prefixes, prefixes[-1], "")
    return VersionPage(entries, prefixes, last.key, last.version_id)


def version_entries(found: Iterable[tuple[bytes, bytes, list[bytes]]]) -> Iterator[VersionEntry]:
    """Lines of a listing: of each key the current row, if it is one of them, then older ones.

    One loop, as in `rows.list_entries` and for the same reason.
    """
    decode = schema.decode_listing
    for encoded_key, current, older in found:
        key = encoded_key.decode()
        is_latest = bool(current)
        for row in (current, *older) if current else older:
            flags = row[schema.FLAGS_AT]
            body = decode(row[schema.HEAD_BYTES :])
            checksums = body.checksums
            algorithms: tuple[str, ...] = ()
            kind = ""
            if checksums:
                algorithms = tuple([checksum.algorithm for checksum in checksums])
                kind = "COMPOSITE" if checksums[0].composite else "FULL_OBJECT"
            is_marker = flags & FLAG_DELETE_MARKER != 0
            etag = "" if is_marker else body.etag.hex()
            yield VersionEntry(
                key,
                version_id(flags, unpack_version_seq(row)[0], body.modified_ms),
                is_latest,
                is_marker,
                body.size_bytes,
                f"{etag}-{body.etag_parts}" if body.etag_parts else etag,
                body.modified_ms,
                body.storage_class or rows.STANDARD,
                body.owner,
                algorithms,
                kind,
            )
            is_latest = False
