"""Parts of an upload made of an object's bytes, which both use from then on.

What a part has to say of its bytes, MD5 and checksum, is known where they are all of an
object in one piece, or exactly one part of it: then nothing is read.  Else they are read,
once, and still not written again.  Only bytes that nobody can share are: those of small
objects, which lie in the log, and encrypted ones.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

from blockdev import Buffer
from objstore.config import COPY_ATTEMPTS, MAX_PART_BYTES
from objstore.engine import encryption, multipart, rows
from objstore.engine.apply import manifest_body
from objstore.engine.copy import Source
from objstore.engine.core import Core, encode_key
from objstore.engine.extents import cut
from objstore.engine.get import find_row, get, object_extents
from objstore.engine.hash_queue import HashQueue, Use
from objstore.engine.multipart import PartStream
from objstore.engine.operation import Decision
from objstore.engine.reader import ObjectReader
from objstore.engine.space import FOR_WRITES
from objstore.errors import EntityTooLargeError, SourceChangedError
from objstore.index import keys, schema
from objstore.index.base import ReadTransaction
from objstore.index.schema import (
    FLAG_EXTENTS,
    FLAG_MANIFEST,
    ChecksumRow,
    Head,
    PartBody,
    UploadBody,
    VersionBody,
)
from objstore.log import format as log
from objstore.log.format import Record
from objstore.model import ByteRange, Checksum, Conditions, PartInfo

_BODY_BOUND_BYTES = 1024
_SLICE_BOUND_BYTES = 48
_SPARE_SLICES = 16
"""Extents into which compaction may split those of a source before the commit."""


class RunningDigest(Protocol):
    """A digest under way, big-endian in the end."""

    def update(self, data: Buffer, /) -> object: ...
    def digest(self) -> bytes: ...


NewDigest: TypeAlias = Callable[[str], RunningDigest]
"""Begins a digest by the name of its algorithm."""


@dataclass(frozen=True, slots=True)
class Target:
    """The part to be.

    `algorithms`: any of these checksums will do; the first is computed, by `new_digest`,
    where the source has none of them.
    """

    bucket: str
    key: str
    upload_id: str
    part_number: int
    algorithms: Sequence[str] = ()
    new_digest: NewDigest | None = None
    customer_key: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class Digests:
    """What is known of a range of bytes."""

    md5: bytes | None = None
    checksums: tuple[Checksum, ...] = ()

    def fitting(self, algorithms: Sequence[str]) -> tuple[Checksum, ...] | None:
        """The first checksum of those that will do; None if it has none of them."""
        if not algorithms:
            return ()
        known = {checksum.algorithm: checksum for checksum in self.checksums}
        if self.md5 is not None:
            known["MD5"] = Checksum("MD5", base64.b64encode(self.md5).decode("ascii"))
        for algorithm in algorithms:
            if algorithm in known:
                return (known[algorithm],)
        return None


def copy_part(
    core: Core,
    source: Source,
    target: Target,
    byte_range: ByteRange | None,
    source_conditions: Conditions,
    source_customer_key: bytes = b"",
) -> PartInfo:
    """See `ObjectStore.copy_part`."""
    multipart.check_part_number(target.part_number)
    upload = _upload(core, target)
    encryption.check_customer_key(upload.seal, target.customer_key)
    bucket, key, version_id = source
    for attempt in range(COPY_ATTEMPTS):
        with get(
            core, bucket, key, byte_range, source_conditions, version_id, source_customer_key
        ) as reader:
            if reader.length_bytes > MAX_PART_BYTES:
                raise EntityTooLargeError(reader.length_bytes, MAX_PART_BYTES)
            # A source that keeps changing: what the reader holds stays as it was.
            is_last = attempt == COPY_ATTEMPTS - 1
            if is_last or upload.seal is not None or not _is_shareable(reader):
                return _written(core, target, reader)
            try:
                return _shared(core, source, target, reader)
            except SourceChangedError:
                continue
    raise AssertionError("the last attempt returns or raises")


def _is_shareable(reader: ObjectReader) -> bool:
    return reader.extent_count > 0 and not reader.info.attributes.encryption


def _upload(core: Core, target: Target) -> UploadBody:
    upload_id = multipart.decode_upload_id(target.upload_id)
    with core.index.read() as txn:
        key = encode_key(target.key)
        row = multipart.find_upload(core, txn, target.bucket, key, upload_id)
    return schema.decode_upload(schema.row_body(row))


def _written(core: Core, target: Target, reader: ObjectReader) -> PartInfo:
    """The part with bytes of its own."""
    running = _new_digest(target)
    part = PartStream(
        core,
        target.bucket,
        target.key,
        target.upload_id,
        target.part_number,
        reader.length_bytes,
        [] if running is None else [running.update],
        target.customer_key,
    )
    with part:
        for piece in reader:
            part.write(piece)
        part.finish()
        digests = Digests(part.md5, _checksums(target, running))
        return part.commit(checksums=digests.fitting(target.algorithms) or ())


def _new_digest(target: Target) -> RunningDigest | None:
    """What is to be computed besides the MD5."""
    if not target.algorithms or target.algorithms[0] == "MD5" or target.new_digest is None:
        return None
    return target.new_digest(target.algorithms[0])


def _checksums(target: Target, running: RunningDigest | None) -> tuple[Checksum, ...]:
    if running is None:
        return ()
    value = base64.b64encode(running.digest()).decode("ascii")
    return (Checksum(target.algorithms[0], value),)


# --- sharing ------------------------------------------------------------------------


class SharePart:
    """Make a part of slices of an object's extents, if it is still what was read."""

    leaves_segments = FOR_WRITES

    def __init__(
        self, core: Core, source: Source, target: Target, reader: ObjectReader, digests: Digests
    ) -> None:
        assert digests.md5 is not None
        self._core, self._source, self._target = core, source, target
        self._key, self._upload = encode_key(target.key), bytes.fromhex(target.upload_id)
        self._info, self._md5 = reader.info, digests.md5
        self._start, self._length = reader.start_byte, reader.length_bytes
        self._checksums = rows.checksum_rows(digests.fitting(target.algorithms) or ())
        slices = reader.extent_count + _SPARE_SLICES
        self.size_bound_bytes = _BODY_BOUND_BYTES + len(self._key) + _SLICE_BOUND_BYTES * slices

    def decide(self, decision: Decision) -> Sequence[Record]:
        txn = decision.txn
        multipart.find_upload(self._core, txn, self._target.bucket, self._key, self._upload)
        head, body = _find_unchanged(self._core, txn, self._source, self._info.version_seq)
        if rows.etag_text(body.etag, body.etag_parts) != self._info.etag:
            raise SourceChangedError  # grown in place
        placed = object_extents(txn, head, body, self._start, self._length)
        part = PartBody(
            self._upload,
            self._target.part_number,
            self._length,
            decision.now_ms,
            self._md5,
            self._checksums,
            cut(placed, self._start, self._length),
        )
        bucket_id = self._core.bucket(txn, self._target.bucket).bucket_id
        return [Record(log.PART, bucket_id, self._key, schema.encode(part))]


def _find_unchanged(
    core: Core, txn: ReadTransaction, source: Source, version_seq: int
) -> tuple[Head, VersionBody]:
    """The source's row, if it is the version that was looked at before."""
    row = find_row(core, txn, *source)
    head = schema.unpack_head(row)
    if head.version_seq != version_seq or not head.flags & (FLAG_EXTENTS | FLAG_MANIFEST):
        raise SourceChangedError
    return head, schema.decode_version(schema.row_body(row))


def _shared(core: Core, source: Source, target: Target, reader: ObjectReader) -> PartInfo:
    known = _known(core, source, reader)
    if known.md5 is None or known.fitting(target.algorithms) is None:
        known = _computed(core, target, reader, known)
    (record,) = core.commit(SharePart(core, source, target, reader, known))
    return rows.part_info(schema.decode_part(record.body))


def _known(core: Core, source: Source, reader: ObjectReader) -> Digests:
    """What the source says of exactly these bytes: they are all of it, or one of its parts."""
    start, length = reader.start_byte, reader.length_bytes
    with core.index.read() as txn:
        head, body = _find_unchanged(core, txn, source, reader.info.version_seq)
        if not head.flags & FLAG_MANIFEST:
            is_whole = length == body.size_bytes
            return _digests(body.etag, body.checksums) if is_whole else Digests()
        prefix = keys.manifest_prefix(head.version_seq)
        row = txn.last(prefix, keys.manifest(head.version_seq, start) + b"\x00")
    if row is None:
        return Digests()
    manifest = schema.decode_manifest(manifest_body(row[1]))
    at = manifest.start_byte
    for part in manifest.parts:
        if (at, part.size_bytes) == (start, length):
            return _digests(part.etag, part.checksums)
        at += part.size_bytes
    return Digests()


def _digests(md5: bytes, checksums: Sequence[ChecksumRow]) -> Digests:
    return Digests(md5, rows.checksums_of(row for row in checksums if not row.composite))


def _computed(core: Core, target: Target, reader: ObjectReader, known: Digests) -> Digests:
    """Read the range for what is not known of it: the MD5 beside this thread, as for a put."""
    running = None if known.fitting(target.algorithms) is not None else _new_digest(target)
    md5 = hashlib.md5(usedforsecurity=False)
    queue = HashQueue(core.hash_pool(), md5.update, core.config.md5_queue_blocks)
    try:
        for piece in reader:
            if known.md5 is None:
                queue.put(memoryview(piece), Use(None))
            if running is not None:
                running.update(piece)
    finally:
        queue.join()
    checksums = _checksums(target, running) or known.checksums
    return Digests(known.md5 or md5.digest(), checksums)
