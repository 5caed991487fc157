"""The digest over an object's parts, kept under way, so that one part more costs one update.

The ETag of an object in parts is the MD5 of its parts' MD5s.  An MD5 goes on from where it
was, but cannot be taken up from its result: without what is kept here, every append would
read the ETags of all parts before it.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Protocol, Self

import msgspec

from objstore.engine.apply import manifest_body
from objstore.index import keys
from objstore.index.base import ReadTransaction
from objstore.index.schema import FLAG_MANIFEST, Head, VersionBody

if TYPE_CHECKING:
    from blockdev import Buffer


class Digest(Protocol):
    """A digest of hashlib."""

    def update(self, data: Buffer, /) -> None: ...
    def digest(self) -> bytes: ...
    def copy(self) -> Self: ...


class _PartEtag(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """The head of a `ManifestPart`."""

    part_number: int
    size_bytes: int
    etag: bytes


class _PartEtags(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A `ManifestBody` of which nothing behind the ETags is decoded."""

    start_byte: int
    parts: list[_PartEtag]


_decode_etags = msgspec.msgpack.Decoder(_PartEtags).decode


class PartDigests:
    """MD5s over the ETags of objects' parts, of those appended to last.  For any thread.

    `kept`: of how many objects.
    """

    def __init__(self, kept: int) -> None:
        self._kept = kept
        self._lock = threading.Lock()
        self._known: OrderedDict[int, tuple[int, Digest]] = OrderedDict()

    def of(self, txn: ReadTransaction, head: Head, body: VersionBody) -> Digest:
        """The digest over the parts of a version, for the caller to go on with.

        An object of one piece is its own first part, and an empty one has none.
        """
        if not head.flags & FLAG_MANIFEST:
            return new_digest([body.etag] if body.size_bytes else [])
        with self._lock:
            count, known = self._known.get(head.version_seq, (0, new_digest([])))
        digest = known.copy()
        missing = body.etag_parts - count
        if missing >= 0:
            for etag in _last_etags(txn, head.version_seq, missing):
                digest.update(etag)
            if digest.digest() == body.etag:
                return digest
        return new_digest(_last_etags(txn, head.version_seq, body.etag_parts))

    def note(self, version_seq: int, part_count: int, digest: Digest) -> None:
        """The digest of a version that was committed with so many parts."""
        with self._lock:
            self._known[version_seq] = (part_count, digest.copy())
            self._known.move_to_end(version_seq)
            while len(self._known) > self._kept:
                self._known.popitem(last=False)


def new_digest(etags: list[bytes]) -> Digest:
    """An MD5 that was fed the ETags of parts."""
    return hashlib.md5(b"".join(etags), usedforsecurity=False)


def _last_etags(txn: ReadTransaction, version_seq: int, count: int) -> list[bytes]:
    """The ETags of the last `count` parts, in order; reads no more rows than hold them."""
    prefix = keys.manifest_prefix(version_seq)
    stop = keys.after(prefix)
    runs: list[list[bytes]] = []
    found = 0
    while found < count and (row := txn.last(prefix, stop)) is not None:
        stop = row[0]
        runs.append([part.etag for part in _decode_etags(manifest_body(row[1])).parts])
        found += len(runs[-1])
    etags = [etag for run in reversed(runs) for etag in run]
    return etags[len(etags) - count :] if found >= count else etags
