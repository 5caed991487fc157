"""The bytes of the log: superblock, segment head, batch, record.

`docs/format.md` specifies them with a worked example.  All integers are
little-endian; every checksum is XXH3-64.  Nothing here does I/O.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from struct import Struct
from typing import NamedTuple

from xxhash import xxh3_64_intdigest

from blockdev import Buffer

FORMAT_VERSION = 1
ALIGNMENT_BYTES = 4096
SEGMENTS_START_BYTES = 64 * 1024
SUPERBLOCK_COPIES = (0, 4096)

SUPERBLOCK_MAGIC = b"OBJSTORE"
SEGMENT_MAGIC = b"OBJSEGMT"
BATCH_MAGIC = b"OBJBATCH"

# Kinds of record.  A number is never used again for anything else.
BUCKET = 1
BUCKET_GONE = 2
VERSION = 3
VERSION_GONE = 4
MANIFEST = 5
UPLOAD = 6
UPLOAD_GONE = 7
PART = 8
SEGMENTS = 9
SEGMENT_FREED = 10
EVENT = 11
DELIVERED = 12
TOMBSTONES = frozenset({BUCKET_GONE, VERSION_GONE, UPLOAD_GONE})


class FormatError(Exception):
    """Bytes that are not what this format says; where they are is in the text."""


class UnknownFormatError(FormatError):
    """Bytes that are whole, and of a format that this release does not know."""


def align_up(value: int, alignment: int = ALIGNMENT_BYTES) -> int:
    return -(-value // alignment) * alignment


# --- superblock ---------------------------------------------------------------------

_SUPERBLOCK = Struct("<8sII16sQQQQ")
_CHECK = Struct("<Q")


class Superblock(NamedTuple):
    """What a store fixed when it was made; two copies, bytes 0 and 4,096."""

    store_id: bytes
    device_bytes: int
    segment_bytes: int
    chunk_bytes: int
    created_ms: int

    def pack(self) -> bytes:
        data = _SUPERBLOCK.pack(
            SUPERBLOCK_MAGIC,
            FORMAT_VERSION,
            0,
            self.store_id,
            self.device_bytes,
            self.segment_bytes,
            self.chunk_bytes,
            self.created_ms,
        )
        return (data + _CHECK.pack(xxh3_64_intdigest(data))).ljust(ALIGNMENT_BYTES, b"\x00")

    @classmethod
    def unpack(cls, data: Buffer) -> Superblock:
        """Read a superblock.

        Raises:
            UnknownFormatError: it is whole, and of another version.
            FormatError: `data` is no whole superblock.
        """
        magic, version, _flags, *fields = _SUPERBLOCK.unpack_from(data)
        if magic != SUPERBLOCK_MAGIC:
            raise FormatError("no superblock: this device holds no store")
        (check,) = _CHECK.unpack_from(data, _SUPERBLOCK.size)
        is_whole = check == xxh3_64_intdigest(bytes(data[: _SUPERBLOCK.size]))
        if version != FORMAT_VERSION:
            kind = UnknownFormatError if is_whole else FormatError
            raise kind(f"store format {version}; this release reads {FORMAT_VERSION}")
        if not is_whole:
            raise FormatError("the superblock does not match its checksum")
        return cls(*fields)


class Layout(NamedTuple):
    """Where segments lie on the device."""

    segment_bytes: int
    segment_count: int

    @classmethod
    def of(cls, superblock: Superblock) -> Layout:
        usable_bytes = superblock.device_bytes - SEGMENTS_START_BYTES
        return cls(superblock.segment_bytes, usable_bytes // superblock.segment_bytes)

    def offset(self, segment: int) -> int:
        return SEGMENTS_START_BYTES + segment * self.segment_bytes

    def segment_of(self, offset_bytes: int) -> int:
        return (offset_bytes - SEGMENTS_START_BYTES) // self.segment_bytes


# --- segment head -------------------------------------------------------------------

_SEGMENT_HEAD = Struct("<8sII16sQQ")


class SegmentHead(NamedTuple):
    """First 4 KiB of a log segment; batches follow at once."""

    store_id: bytes
    segment: int
    start_seq: int
    previous_hash: int

    def pack(self) -> bytes:
        data = _SEGMENT_HEAD.pack(
            SEGMENT_MAGIC,
            FORMAT_VERSION,
            self.segment,
            self.store_id,
            self.start_seq,
            self.previous_hash,
        )
        return (data + _CHECK.pack(xxh3_64_intdigest(data))).ljust(ALIGNMENT_BYTES, b"\x00")

    @classmethod
    def unpack(cls, data: Buffer) -> SegmentHead:
        """Raises `FormatError` unless `data` begins with a whole segment head."""
        magic, version, segment, store_id, start_seq, previous = _SEGMENT_HEAD.unpack_from(data)
        if magic != SEGMENT_MAGIC or version != FORMAT_VERSION:
            raise FormatError("not a log segment")
        (check,) = _CHECK.unpack_from(data, _SEGMENT_HEAD.size)
        if check != xxh3_64_intdigest(bytes(data[: _SEGMENT_HEAD.size])):
            raise FormatError("the segment head does not match its checksum")
        return cls(store_id, segment, start_seq, previous)


# --- batch --------------------------------------------------------------------------

_BATCH_HEAD = Struct("<8sQQQQQIIIIQ")
BATCH_HEAD_BYTES = _BATCH_HEAD.size + _CHECK.size


def batch_seed(store_id: bytes) -> int:
    """What the checksums of a store's batch headers are seeded with.

    A header left over from another store on the same device, or one that somebody
    has stored inside an object, never passes for one of this store's.
    """
    return int.from_bytes(store_id[:8], "little")


class BatchHead(NamedTuple):
    """What one commit wrote; 80 bytes, then the records, then zeroes to 4 KiB.

    `previous_hash`: the header checksum of the batch before; chains them.
    `log_bytes`: bytes of batches appended before this one.
    `body_bytes`: records with their payloads, without the padding.
    `meta_xxh3`: over all records without their payloads, which have their own.
    """

    seq: int
    previous_hash: int
    first_lsn: int
    log_bytes: int
    time_ms: int
    record_count: int
    body_bytes: int
    next_bucket_id: int
    meta_xxh3: int

    def pack(self, seed: int) -> tuple[bytes, int]:
        """The header's bytes, and its checksum; `seed` is the store's `batch_seed`."""
        data = _BATCH_HEAD.pack(
            BATCH_MAGIC,
            self.seq,
            self.previous_hash,
            self.first_lsn,
            self.log_bytes,
            self.time_ms,
            self.record_count,
            self.body_bytes,
            self.next_bucket_id,
            0,
            self.meta_xxh3,
        )
        check = xxh3_64_intdigest(data, seed)
        return data + _CHECK.pack(check), check

    @classmethod
    def unpack(cls, data: Buffer, seed: int) -> tuple[BatchHead, int]:
        """The header and its checksum; `FormatError` if they do not agree."""
        if bytes(data[:8]) != BATCH_MAGIC:
            raise FormatError("not a batch")
        (check,) = _CHECK.unpack_from(data, _BATCH_HEAD.size)
        if check != xxh3_64_intdigest(bytes(data[: _BATCH_HEAD.size]), seed):
            raise FormatError("a batch header does not match its checksum")
        fields = _BATCH_HEAD.unpack_from(data)
        return cls._make((*fields[1:9], fields[10])), check

    @property
    def stored_bytes(self) -> int:
        """What the batch takes on the device, padding included."""
        return align_up(BATCH_HEAD_BYTES + self.body_bytes)


# --- record -------------------------------------------------------------------------

_RECORD = Struct("<BBHIIIQQQ")
RECORD_HEAD_BYTES = _RECORD.size


@dataclass(slots=True)
class Record:
    """One mutation, self-describing: all that its index rows need.

    `payload_xxh3` is 0 without a payload.  `lsn` and the offsets (from the
    start of the device) are filled in when the record is placed.
    """

    kind: int
    bucket_id: int
    key: bytes
    body: bytes
    version_seq: int = 0
    flags: int = 0
    payload: Buffer = b""
    payload_xxh3: int = 0
    lsn: int = 0
    record_offset: int = 0
    payload_offset: int = 0

    @property
    def record_bytes(self) -> int:
        return RECORD_HEAD_BYTES + len(self.key) + len(self.body)

    @property
    def stored_bytes(self) -> int:
        return RECORD_HEAD_BYTES + len(self.key) + len(self.body) + len(self.payload)


class BatchBuilder:
    """Gathers records and gives each its number and place; then its bytes.

    `offset_bytes`: where on the device the batch will stand; `seed`: see `batch_seed`.
    """

    def __init__(
        self, offset_bytes: int, seq: int, first_lsn: int, previous_hash: int, seed: int
    ) -> None:
        self._seed = seed
        self._offset_bytes = offset_bytes
        self._seq = seq
        self._first_lsn = first_lsn
        self._previous_hash = previous_hash
        self._pieces: list[Buffer] = []
        self._metas: list[bytes] = []
        self.body_bytes = 0
        self.next_lsn = first_lsn

    @property
    def record_count(self) -> int:
        return len(self._metas)

    def place(self, record: Record) -> None:
        """Append `record`, filling in its lsn and offsets.

        A `version_seq` of 0 becomes the lsn: a version is named by its first record.
        """
        record.lsn = self.next_lsn
        self.next_lsn += 1
        if record.version_seq == 0:
            record.version_seq = record.lsn
        meta = (
            _RECORD.pack(
                record.kind,
                record.flags,
                len(record.key),
                record.bucket_id,
                len(record.body),
                len(record.payload),
                record.lsn,
                record.version_seq,
                record.payload_xxh3,
            )
            + record.key
            + record.body
        )
        record.record_offset = self._offset_bytes + BATCH_HEAD_BYTES + self.body_bytes
        record.payload_offset = record.record_offset + len(meta)
        self._metas.append(meta)
        self._pieces.append(meta)
        self._pieces.append(record.payload)
        self.body_bytes += len(meta) + len(record.payload)

    def finish(self, *, log_bytes: int, time_ms: int, next_bucket_id: int) -> tuple[bytes, int]:
        """The batch's bytes, padded to 4 KiB, and its header's checksum."""
        head, check = BatchHead(
            self._seq,
            self._previous_hash,
            self._first_lsn,
            log_bytes,
            time_ms,
            self.record_count,
            self.body_bytes,
            next_bucket_id,
            xxh3_64_intdigest(b"".join(self._metas)),
        ).pack(self._seed)
        padding = -(BATCH_HEAD_BYTES + self.body_bytes) % ALIGNMENT_BYTES
        return b"".join((head, *self._pieces, bytes(padding))), check


def parse_records(head: BatchHead, body: memoryview, body_offset: int) -> Iterator[Record]:
    """Records of a batch whose body stands at `body_offset` on the device.

    Raises:
        FormatError: the records do not add up to the header, or their checksum is
            wrong.  Payloads are not checked: see `payload_is_whole`.
    """
    records: list[Record] = []
    metas: list[memoryview] = []
    position = 0
    for _ in range(head.record_count):
        if position + RECORD_HEAD_BYTES > len(body):
            raise FormatError(f"batch {head.seq}: a record reaches past the end")
        kind, flags, key_bytes, bucket_id, body_bytes, payload_bytes, lsn, seq, xxh3 = (
            _RECORD.unpack_from(body, position)
        )
        key_start = position + RECORD_HEAD_BYTES
        body_start = key_start + key_bytes
        payload_start = body_start + body_bytes
        end = payload_start + payload_bytes
        if end > len(body):
            raise FormatError(f"batch {head.seq}: a record reaches past the end")
        metas.append(body[position:payload_start])
        records.append(
            Record(
                kind,
                bucket_id,
                bytes(body[key_start:body_start]),
                bytes(body[body_start:payload_start]),
                seq,
                flags,
                body[payload_start:end],
                xxh3,
                lsn,
                body_offset + position,
                body_offset + payload_start,
            )
        )
        position = end
    if position != head.body_bytes or xxh3_64_intdigest(b"".join(metas)) != head.meta_xxh3:
        raise FormatError(f"batch {head.seq}: the records do not match their checksum")
    yield from records


def payload_is_whole(record: Record) -> bool:
    """Whether a record's payload matches its checksum."""
    return not len(record.payload) or xxh3_64_intdigest(record.payload) == record.payload_xxh3
