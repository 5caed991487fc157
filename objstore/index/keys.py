"""Keys of the index: one ordered space, a prefix byte for each kind of row.

=========================================  ================================================
key                                        row
=========================================  ================================================
``b name``                                 a bucket
``c bucket``                               the name of a bucket, by its id
``d destination``                          up to where a destination has been told
``e destination~ seq``                     an event that a destination is to be told
``m seq start``                            parts of a multipart object from byte `start` on
``n bucket``                               what a bucket holds: objects, versions, bytes
``o bucket key``                           the current version of a key
``p upload part``                          an uploaded part
``s segment``                              a segment of the device that is in use
``t``                                      the tail of the log
``u bucket key~ upload``                   a multipart upload
``v bucket key~ seq'``                     an older version, newest first
``w``                                      there while any bucket tells of itself
``w bucket``                               what a bucket tells of itself, and whom
``x segment offset owner start``           who uses an extent of a data segment
``z bucket key``                           where the null version is, when it is not current
``~…``                                     run-time rows (leases, quarantine): not from the log
=========================================  ================================================

`bucket` and `segment` are 4 bytes, `part` 2, `upload` 16, all others 8,
big-endian; `seq'` is the complement, so that newer sorts first; `key~` and
`destination~` are in the terminated form of `terminated`.  Everything but the
``~`` rows is a function of the log.
"""

from __future__ import annotations

import re
from struct import Struct

_U32 = Struct(">I")
_U64 = Struct(">Q")
_SEGMENT_OFFSET = Struct(">IQ")
_EXTENT = Struct(">IQQQ")
_MAX_U64 = 2**64 - 1

TAIL = b"t"
SEGMENT = b"s"
DELIVERED = b"d"
EVENT = b"e"
LISTENER = b"w"
RUNTIME = b"~"
RUNTIME_END = b"\x7f"
LEASE = b"~l"
QUARANTINE = b"~q"
ALLOCATION_HINT = b"~h"
ZEROED = b"~z"
ROLLING = b"~r"
LOW = b"~f"

_NUL_RUN = re.compile(rb"\x00+")
_CHUNK = 64


def after(prefix: bytes) -> bytes:
    """The least key greater than every key that starts with `prefix`."""
    stripped = prefix.rstrip(b"\xff")
    if not stripped:
        raise ValueError("no key follows a prefix of 0xff bytes alone")
    return stripped[:-1] + bytes([stripped[-1] + 1])


def terminated(key: bytes) -> bytes:
    """`key` in a form that something may follow, ordered as the keys themselves.

    Without NUL bytes: the key and two NULs.  A run of NULs is written as NUL
    and a code: 1-63, a run of that length at the key's end (and that ends the
    key); 128, a run of 64 after which the key goes on; 129-191, a run of
    192 minus the code, and a byte other than NUL follows.  Longer runs sort
    first where something follows, shorter ones where nothing does, which is
    the order of the keys.  At most 1.5 times the key and 2 bytes, against 2
    times for the usual escape: 1,024 NULs must fit into a key of LMDB.
    """
    if b"\x00" not in key:
        return key + b"\x00\x00"
    out = bytearray()
    position = 0
    for match in _NUL_RUN.finditer(key):
        out += key[position : match.start()]
        position = match.end()
        chunks, rest = divmod(match.end() - match.start(), _CHUNK)
        out += b"\x00\x80" * chunks
        if position == len(key):
            out += bytes((0, rest))
            return bytes(out)
        if rest:
            out += bytes((0, 192 - rest))
    return bytes(out + key[position:]) + b"\x00\x00"


def unterminated(data: bytes, start: int) -> tuple[bytes, int]:
    """The key whose terminated form begins at `start`, and where that form ends."""
    out = bytearray()
    while True:
        nul = data.index(b"\x00", start)
        out += data[start:nul]
        code = data[nul + 1]
        start = nul + 2
        if code < _CHUNK:
            return bytes(out) + bytes(code), start
        out += bytes(_CHUNK if code == 128 else 192 - code)


def bucket(name: bytes) -> bytes:
    return b"b" + name


def bucket_name(bucket_id: int) -> bytes:
    return b"c" + _U32.pack(bucket_id)


def delivered(destination: bytes) -> bytes:
    return DELIVERED + destination


def events_prefix(destination: bytes) -> bytes:
    return EVENT + terminated(destination)


def event(destination: bytes, seq: int) -> bytes:
    return events_prefix(destination) + _U64.pack(seq)


def listener(bucket_id: int) -> bytes:
    return LISTENER + _U32.pack(bucket_id)


def counters(bucket_id: int) -> bytes:
    return b"n" + _U32.pack(bucket_id)


def current_prefix(bucket_id: int) -> bytes:
    return b"o" + _U32.pack(bucket_id)


def current(bucket_id: int, key: bytes) -> bytes:
    return b"o" + _U32.pack(bucket_id) + key


def null_position(bucket_id: int, key: bytes) -> bytes:
    return b"z" + _U32.pack(bucket_id) + key


def versions_prefix(bucket_id: int, key: bytes) -> bytes:
    return b"v" + _U32.pack(bucket_id) + terminated(key)


def version(bucket_id: int, key: bytes, version_seq: int) -> bytes:
    return versions_prefix(bucket_id, key) + _U64.pack(_MAX_U64 - version_seq)


def manifest_prefix(version_seq: int) -> bytes:
    return b"m" + _U64.pack(version_seq)


def manifest(version_seq: int, start_byte: int) -> bytes:
    return b"m" + _U64.pack(version_seq) + _U64.pack(start_byte)


def uploads_prefix(bucket_id: int) -> bytes:
    return b"u" + _U32.pack(bucket_id)


def upload(bucket_id: int, key: bytes, upload_id: bytes) -> bytes:
    return b"u" + _U32.pack(bucket_id) + terminated(key) + upload_id


def parse_upload(row_key: bytes) -> tuple[bytes, bytes]:
    """(object key, upload id) of an upload row's key."""
    key, end = unterminated(row_key, 5)
    return key, row_key[end:]


def parts_prefix(upload_id: bytes) -> bytes:
    return b"p" + upload_id


def part(upload_id: bytes, part_number: int) -> bytes:
    return b"p" + upload_id + part_number.to_bytes(2, "big")


def segment(segment_id: int) -> bytes:
    return b"s" + _U32.pack(segment_id)


def parse_segment(row_key: bytes) -> int:
    """The segment of an ``s``, lease or quarantine row's key."""
    return int.from_bytes(row_key[-4:], "big")


def extent_prefix(segment_id: int, offset_bytes: int) -> bytes:
    return b"x" + _SEGMENT_OFFSET.pack(segment_id, offset_bytes)


def extents_prefix(segment_id: int) -> bytes:
    return b"x" + _U32.pack(segment_id)


def extent(segment_id: int, offset_bytes: int, owner_seq: int, start_byte: int) -> bytes:
    """`start_byte` tells the manifest rows of one version apart; 0 for all others."""
    return b"x" + _EXTENT.pack(segment_id, offset_bytes, owner_seq, start_byte)


def parse_extent(row_key: bytes) -> tuple[int, int, int, int]:
    """(segment, offset, owner, start) of an extent row's key."""
    segment_id, offset_bytes, owner_seq, start_byte = _EXTENT.unpack_from(row_key, 1)
    return segment_id, offset_bytes, owner_seq, start_byte


def lease(segment_id: int) -> bytes:
    return LEASE + _U32.pack(segment_id)


def quarantine(freed_seq: int, segment_id: int) -> bytes:
    return QUARANTINE + _U64.pack(freed_seq) + _U32.pack(segment_id)
