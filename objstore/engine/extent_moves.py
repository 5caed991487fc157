"""Moving extents out of sparse data segments, for all who use them.

Each extent is read, checked and written elsewhere.  Then every record that uses it is
written again with the new place: in one commit where they are few, in several where an
extent has many owners.  In between, some owners use the old bytes and some the new ones,
which are the same; the old ones fall free when the last owner has left them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

import msgspec
from xxhash import xxh3_64_intdigest

from objstore.config import COMPACT_RECORDS
from objstore.engine.apply import manifest_body, manifest_owner
from objstore.engine.compaction import group_bytes_of
from objstore.engine.core import Core
from objstore.engine.extent_writer import ExtentWriter
from objstore.engine.extents import CHECKSUM_BYTES, chunk_count, moved, seed, table_offset
from objstore.engine.operation import Decision
from objstore.engine.space import FOR_COMPACTION, FOR_MOVES
from objstore.errors import CorruptionError
from objstore.index import keys, schema
from objstore.index.base import ReadTransaction
from objstore.index.schema import (
    Extent,
    ExtentRow,
    ManifestPart,
    PartBody,
    VersionBody,
    row_body,
    unpack_head,
)
from objstore.log import format as log
from objstore.log.format import Record
from objstore.log.reader import read_bytes

_Owner = TypeVar("_Owner", VersionBody, PartBody, ManifestPart)

_SLACK_BYTES = 1024
"""By how much owners may grow between the look at them and the commit."""


class MoveExtent:
    """Point records that use an extent at a copy of it: as many as fit into a commit.

    `is_idle`: there was none.
    """

    leaves_segments = FOR_COMPACTION

    def __init__(self, core: Core, segment: int, old: Extent, new: Sequence[Extent]) -> None:
        self._old, self._new = old, list(new)
        self._uses: list[bytes] = []
        self.size_bound_bytes = _SLACK_BYTES
        limit_bytes = group_bytes_of(core.layout.segment_bytes)
        prefix = keys.extent_prefix(segment, old.offset_bytes)
        with core.index.read() as txn:
            for use_key, _use in txn.scan(prefix, keys.after(prefix)):
                record = self._rewritten(txn, use_key)
                if record is None:
                    continue
                bound_bytes = self.size_bound_bytes + record.stored_bytes
                if (self._uses and bound_bytes > limit_bytes) or len(self._uses) == COMPACT_RECORDS:
                    break
                self._uses.append(use_key)
                self.size_bound_bytes = bound_bytes
        self.is_idle = not self._uses

    def decide(self, decision: Decision) -> Sequence[Record]:
        records: list[Record] = []
        left_bytes = self.size_bound_bytes
        for use_key in self._uses:
            record = self._rewritten(decision.txn, use_key)
            if record is None:
                continue
            left_bytes -= record.stored_bytes
            if left_bytes < 0:  # owners have grown meanwhile: the next round has the rest
                break
            records.append(record)
        return records

    def _rewritten(self, txn: ReadTransaction, use_key: bytes) -> Record | None:
        """The record of one owner with the new place; None if it does not use the extent."""
        row = txn.get(use_key)
        use = ExtentRow.unpack(row) if row is not None else None
        if use is None or use.nonce != self._old.nonce:
            return None
        owner = use.owner
        if use.is_version:
            owner = _version_row_key(txn, owner, keys.parse_extent(use_key)[2])
        owner_row = txn.get(owner)
        assert owner_row is not None, f"an extent row names an owner that is not there: {use_key!r}"
        return self._record(owner, owner_row)

    def _record(self, key: bytes, row: bytes) -> Record:
        head = unpack_head(row)
        kind = key[:1]
        if kind == b"p":
            part = self._moved(schema.decode_part(row_body(row)))
            # A part's record names its key only for whoever reads the log; the row
            # does not keep it, and nothing is looked up by it.
            return Record(log.PART, 0, b"", schema.encode(part), head.version_seq, head.flags)
        if kind == b"m":
            manifest = schema.decode_manifest(manifest_body(row))
            parts = [self._moved(part) for part in manifest.parts]
            body = schema.encode(msgspec.structs.replace(manifest, parts=parts))
            bucket_id, name = manifest_owner(row)
            return Record(log.MANIFEST, bucket_id, name, body, head.version_seq, head.flags)
        version = self._moved(schema.decode_version(row_body(row)))
        bucket_id, name = _version_owner(key)
        body = schema.encode(version)
        return Record(log.VERSION, bucket_id, name, body, head.version_seq, head.flags)

    def _moved(self, body: _Owner) -> _Owner:
        extents = moved(body.extents, self._old, self._new)
        return msgspec.structs.replace(body, extents=extents)


def _version_row_key(txn: ReadTransaction, owner: bytes, version_seq: int) -> bytes:
    bucket_id, name = int.from_bytes(owner[:4], "big"), owner[4:]
    key = keys.current(bucket_id, name)
    row = txn.get(key)
    if row is not None and unpack_head(row).version_seq == version_seq:
        return key
    return keys.version(bucket_id, name, version_seq)


def _version_owner(row_key: bytes) -> tuple[int, bytes]:
    """(bucket id, key) of an ``o`` or ``v`` row's key."""
    bucket_id = int.from_bytes(row_key[1:5], "big")
    if row_key.startswith(b"o"):
        return bucket_id, row_key[5:]
    return bucket_id, keys.unterminated(row_key, 5)[0]


def compact_data_segment(core: Core, segment: int) -> int:
    """Move every extent out of a data segment; how many were moved.

    Raises:
        CorruptionError: an extent does not match its checksums; it stays.
        StoreFullError: there is nowhere to move it to.
    """
    prefix = keys.extents_prefix(segment)
    with core.index.read() as txn:
        extents = {
            Extent(keys.parse_extent(key)[1], use.length_bytes, use.nonce)
            for key, row in txn.scan(prefix, keys.after(prefix))
            for use in (ExtentRow.unpack(row),)
        }
    for extent in sorted(extents, key=lambda extent: extent.offset_bytes):
        _move(core, segment, extent)
    return len(extents)


def _move(core: Core, segment: int, extent: Extent) -> None:
    """Write an extent again elsewhere, and point its owners there."""
    writer = ExtentWriter(core, extent.length_bytes, FOR_MOVES)
    is_doubtful = False
    try:
        for piece in verified_pieces(core, extent):
            writer.write(piece)
        writer.finish()
        core.flush()
        is_doubtful = True
        # Who copies it meanwhile becomes an owner, and is found in the next round.
        while not (move := MoveExtent(core, segment, extent, writer.extents)).is_idle:
            core.committer.commit(move)
        is_doubtful = False
    finally:
        writer.settle(is_doubtful=is_doubtful)


def verified_pieces(core: Core, extent: Extent) -> Iterator[memoryview]:
    """The extent's data in whole chunks, each checked.

    Raises:
        CorruptionError: a chunk does not match its checksum.
    """
    chunk_bytes = core.superblock.chunk_bytes
    chunks = chunk_count(extent.length_bytes, chunk_bytes)
    table_at = extent.offset_bytes + table_offset(extent.length_bytes)
    table = memoryview(read_bytes(core.device, table_at, chunks * CHECKSUM_BYTES))
    for chunk in range(chunks):
        start = chunk * chunk_bytes
        length = min(chunk_bytes, extent.length_bytes - start)
        data = read_bytes(core.device, extent.offset_bytes + start, length)
        expected = int.from_bytes(table[chunk * 8 : chunk * 8 + 8], "little")
        if xxh3_64_intdigest(data, seed(extent.nonce, chunk)) != expected:
            raise CorruptionError(
                f"chunk {chunk} of the extent at {extent.offset_bytes} does not match its checksum"
            )
        yield memoryview(data)
