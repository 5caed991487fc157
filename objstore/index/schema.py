"""Values of the index's rows.

A row that stands for a record of the log is a fixed head, which says where the
record is and which one it was, and the record's body, byte for byte.  The
engine's own rows (segments, counters, tail) are fixed structures.
"""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct
from typing import Any, NamedTuple

import msgspec

# --- rows that stand for a record ------------------------------------------------

_HEAD = Struct("<QQQQIIQB")
HEAD_BYTES = _HEAD.size
FLAGS_AT = HEAD_BYTES - 1
"""Where the flags are in a row, for who needs nothing else of the head."""

FLAG_NULL = 1
FLAG_DELETE_MARKER = 2
FLAG_MANIFEST = 4
FLAG_EXTENTS = 8


class Head(NamedTuple):
    """Where a row's record is.

    `lsn`: number of the record; every mutation has its own.
    `version_seq`: the lsn that first made this version; orders versions.
    `record_offset`, `payload_offset`: bytes from the start of the device.
    `record_bytes`: record head, key and body; `payload_bytes` follow it.
    `payload_xxh3`: checksum of the payload (0 without one).
    `flags`: FLAG_… bits.
    """

    lsn: int
    version_seq: int
    record_offset: int
    payload_offset: int
    record_bytes: int
    payload_bytes: int
    payload_xxh3: int
    flags: int

    @property
    def charge_bytes(self) -> int:
        """What the record takes in its log segment."""
        return self.record_bytes + self.payload_bytes


pack_head = _HEAD.pack
"""The bytes of a head from its fields in order."""


def unpack_head(row: bytes) -> Head:
    return Head(*_HEAD.unpack_from(row))


unpack_version_seq = Struct("<8xQ").unpack_from
"""A tuple of the `version_seq` of a row's head, for who needs nothing else of it."""


def row_body(row: bytes) -> bytes:
    return row[HEAD_BYTES:]


# --- bodies -----------------------------------------------------------------------
# Arrays in msgpack: new fields go to the end, with a default, and old readers skip
# them; that is how the format grows without a new version.


class Extent(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """Bytes of an object in a data segment, followed there by their checksums.

    `offset_bytes` on the device; `length_bytes` of data; `nonce` seeds the
    checksums, so that stale bytes of an earlier extent never pass for these.
    `skip_bytes`, `used_bytes`: the slice of them that is meant; 0 of 0 for all.
    """

    offset_bytes: int
    length_bytes: int
    nonce: int
    skip_bytes: int = 0
    used_bytes: int = 0

    @property
    def size_bytes(self) -> int:
        """How many bytes of the object these are."""
        return self.used_bytes or self.length_bytes


class ChecksumRow(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """`algorithm`, base64 `value`, and `composite` or full object."""

    algorithm: str
    value: str
    composite: bool = False


class SizeBody(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """The first field of a `VersionBody` alone."""

    size_bytes: int


class BucketBody(msgspec.Struct, array_like=True, frozen=True):
    """A bucket.  `settings`: its sub-resources by name, each in its own form."""

    bucket_id: int
    created_ms: int
    region: str
    owner: str
    settings: dict[str, bytes] = {}


class ListingBody(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """The head of a `VersionBody`: what a listing needs, and no more to decode."""

    size_bytes: int
    modified_ms: int
    etag: bytes
    etag_parts: int
    storage_class: str
    owner: str
    checksums: list[ChecksumRow]


class LockRow(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """Object lock of a version.  `mode`: empty, GOVERNANCE or COMPLIANCE.

    `legal_hold`: None until one was first put on, or taken off.
    """

    mode: str = ""
    retain_until_ms: int = 0
    legal_hold: bool | None = None


class SealRow(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """How the bytes of a version, or of an upload's parts, are encrypted.

    `algorithm`: AES256, aws:kms, aws:kms:dsse, or SSE-C for a customer's key.
    `key_id`: the ARN of a key of the key service; of a customer's key, its MD5 in base64.
    `wrapped_key`: the data key, encrypted with that key.
    `salt`: of the one stream of an object that has no parts; parts have their own.
    `context`: the encryption context, as its JSON was given.
    `bucket_key`: whether a bucket key was asked for (said back, no more).
    """

    algorithm: str
    key_id: str
    wrapped_key: bytes
    salt: bytes = b""
    context: bytes = b""
    bucket_key: bool = False


class VersionBody(msgspec.Struct, array_like=True, frozen=True):
    """An object's version.

    `etag`: 16 bytes of MD5; `etag_parts` is N of an ETag ending in ``-N``.
    `storage_class`: empty for STANDARD.  `extents`: empty when the bytes are
    the record's payload, or in manifest rows (FLAG_MANIFEST).
    `version_id`: ``null``, or empty where head and time give it (`engine.versions`).
    `upload_id`: of the multipart upload this came from.
    `size_bytes` is of the plain bytes, whatever `seal` makes of them.
    """

    size_bytes: int
    modified_ms: int
    etag: bytes
    etag_parts: int
    storage_class: str
    owner: str
    checksums: list[ChecksumRow]
    headers: dict[str, str]
    metadata: dict[str, str]
    tags: dict[str, str]
    version_id: str
    extents: list[Extent] = []
    upload_id: bytes = b""
    lock: LockRow | None = None
    seal: SealRow | None = None


class PartBody(msgspec.Struct, array_like=True, frozen=True):
    """An uploaded part.  `part_seq` owns its extents; `salt` is of its encrypted stream."""

    upload_id: bytes
    part_number: int
    size_bytes: int
    modified_ms: int
    etag: bytes
    checksums: list[ChecksumRow]
    extents: list[Extent]
    part_seq: int = 0
    salt: bytes = b""


class ManifestPart(msgspec.Struct, array_like=True, frozen=True):
    """A part of a completed object."""

    part_number: int
    size_bytes: int
    etag: bytes
    checksums: list[ChecksumRow]
    extents: list[Extent]
    salt: bytes = b""


class ManifestBody(msgspec.Struct, array_like=True, frozen=True):
    """A run of parts; `start_byte` is where the first begins in the object."""

    start_byte: int
    parts: list[ManifestPart]


class UploadBody(msgspec.Struct, array_like=True, frozen=True):
    upload_id: bytes
    initiated_ms: int
    headers: dict[str, str]
    metadata: dict[str, str]
    tags: dict[str, str]
    storage_class: str
    owner: str
    checksum_algorithm: str
    checksum_type: str
    lock: LockRow | None = None
    seal: SealRow | None = None


class GoneBody(msgspec.Struct, array_like=True, frozen=True):
    """A tombstone.  `origin_lsn`: of the deletion; 0 where the record itself is it.

    `upload_id`: which upload, for the tombstone of one.
    """

    origin_lsn: int = 0
    upload_id: bytes = b""


class EventBody(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """What a destination is to be told.

    `name`: S3's, without ``s3:``.  `size_bytes`: -1 where it is of no object's bytes.
    `version_id`: empty in a bucket without versions.  `sequencer`: the number of the
    change; of two events of one key, the later has the greater.
    `rule_id`: of the configuration that asked for it.
    """

    name: str
    time_ms: int
    bucket: str
    key: str = ""
    size_bytes: int = -1
    etag: str = ""
    version_id: str = ""
    sequencer: int = 0
    region: str = ""
    owner: str = ""
    principal: str = ""
    source_ip: str = ""
    request_id: str = ""
    rule_id: str = ""

    def of_rule(self, rule_id: str) -> EventBody:
        """The same, as the rule of this id asked for it."""
        return msgspec.structs.replace(self, rule_id=rule_id) if rule_id else self


class DeliveredBody(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """How many events a destination was ever told, and how many were given up."""

    delivered: int = 0
    dead: int = 0


class SegmentsBody(msgspec.Struct, array_like=True, frozen=True):
    """Which log segments there are.

    Each: segment, its first batch, its last batch (0: still open), its first record.

    `current` is the segment that this record stands in, `successor` the one to
    go on in (-1: none could be had).
    """

    current: int
    successor: int
    segments: list[tuple[int, int, int, int]]


class SegmentFreedBody(msgspec.Struct, array_like=True, frozen=True):
    segment: int
    start_seq: int


_encode = msgspec.msgpack.Encoder().encode


def encode(body: msgspec.Struct) -> bytes:
    """The bytes of a body.  An extent that is no slice has three fields, as it always had."""
    if type(body) is VersionBody and not body.extents:  # of most objects: the least to do
        return _encode(body)
    shorten = _SHORTEN.get(type(body))
    return _encode(body if shorten is None else shorten(body))


def _short_extents(extents: list[Extent]) -> list[Any]:
    return [
        extent if extent.used_bytes else (extent.offset_bytes, extent.length_bytes, extent.nonce)
        for extent in extents
    ]


def _short_body(body: Any) -> Any:
    if not body.extents:
        return body
    return msgspec.structs.replace(body, extents=_short_extents(body.extents))


def _short_manifest(body: Any) -> Any:
    return msgspec.structs.replace(body, parts=[_short_body(part) for part in body.parts])


_SHORTEN: dict[type, Callable[[Any], Any]] = {
    VersionBody: _short_body,
    PartBody: _short_body,
    ManifestBody: _short_manifest,
}

decode_bucket = msgspec.msgpack.Decoder(BucketBody).decode
decode_listing = msgspec.msgpack.Decoder(ListingBody).decode
decode_size = msgspec.msgpack.Decoder(SizeBody).decode
decode_version = msgspec.msgpack.Decoder(VersionBody).decode
decode_part = msgspec.msgpack.Decoder(PartBody).decode
decode_manifest = msgspec.msgpack.Decoder(ManifestBody).decode
decode_upload = msgspec.msgpack.Decoder(UploadBody).decode
decode_gone = msgspec.msgpack.Decoder(GoneBody).decode
decode_event = msgspec.msgpack.Decoder(EventBody).decode
decode_delivered = msgspec.msgpack.Decoder(DeliveredBody).decode
decode_segments = msgspec.msgpack.Decoder(SegmentsBody).decode
decode_segment_freed = msgspec.msgpack.Decoder(SegmentFreedBody).decode

# --- the engine's own rows ----------------------------------------------------------

SEGMENT_LOG = 1
SEGMENT_NEXT = 2
SEGMENT_DATA = 3

_SEGMENT = Struct("<BIQQQQQ")


class SegmentRow(NamedTuple):
    """A segment in use.

    `kind`: SEGMENT_LOG, SEGMENT_NEXT (chosen to follow the last) or SEGMENT_DATA.
    `run`: how many adjacent segments the row stands for (1 for the log).
    `start_seq`, `end_seq`: first and last batch of a log segment (0: still open).
    `start_lsn`: its first record.
    `live_bytes`: records, or extents, that something still refers to.
    `tombstone_bytes`: tombstones in a log segment, dead or alive.
    """

    kind: int
    run: int = 1
    start_seq: int = 0
    end_seq: int = 0
    start_lsn: int = 0
    live_bytes: int = 0
    tombstone_bytes: int = 0

    def pack(self) -> bytes:
        return _SEGMENT.pack(*self)

    @classmethod
    def unpack(cls, row: bytes) -> SegmentRow:
        return cls(*_SEGMENT.unpack(row))


_COUNTERS = Struct("<qqq")


class Counters(NamedTuple):
    """What a bucket holds: keys with a current object, versions, bytes of all versions."""

    objects: int = 0
    versions: int = 0
    stored_bytes: int = 0

    def pack(self) -> bytes:
        return _COUNTERS.pack(*self)

    @classmethod
    def unpack(cls, row: bytes) -> Counters:
        return cls(*_COUNTERS.unpack(row))


_TAIL = Struct("<QQQQQQIiI")


class Tail(NamedTuple):
    """Where the log ends.

    `next_seq`, `next_lsn`: numbers of the next batch and record.
    `segment`, `offset_bytes`: where on the device the next batch goes.
    `previous_hash`: of the last batch's header, which the next one carries.
    `log_bytes`: bytes of batches ever appended.
    `next_bucket_id`: never used before.
    `successor`: the segment to go on in when this one is full; -1 for none.
    `log_segments`: how many log segments there were when that was decided.
    """

    next_seq: int
    next_lsn: int
    segment: int
    offset_bytes: int
    previous_hash: int
    log_bytes: int
    next_bucket_id: int
    successor: int
    log_segments: int

    def pack(self) -> bytes:
        return _TAIL.pack(*self)

    @classmethod
    def unpack(cls, row: bytes) -> Tail:
        return cls(*_TAIL.unpack(row))


_EXTENT_ROW = Struct("<QQB")


class ExtentRow(NamedTuple):
    """An owner of an extent: its length and nonce, and the key of the row that names it.

    `owner` is the row's key for parts and manifests; for versions, which move
    between rows, it is bucket id and key, and `is_version` is set.
    """

    length_bytes: int
    nonce: int
    is_version: bool
    owner: bytes

    def pack(self) -> bytes:
        return _EXTENT_ROW.pack(self.length_bytes, self.nonce, self.is_version) + self.owner

    @classmethod
    def unpack(cls, row: bytes) -> ExtentRow:
        length_bytes, nonce, is_version = _EXTENT_ROW.unpack_from(row)
        return cls(length_bytes, nonce, bool(is_version), row[_EXTENT_ROW.size :])


_LEASE = Struct("<II")


class LeaseRow(NamedTuple):
    """A data segment that a process writes into: `run` of segments, the process's slot."""

    run: int
    slot: int

    def pack(self) -> bytes:
        return _LEASE.pack(*self)

    @classmethod
    def unpack(cls, row: bytes) -> LeaseRow:
        return cls._make(_LEASE.unpack(row))
